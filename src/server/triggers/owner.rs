//! The thread of a relation's triggers: it hears of every change, and tells the courier what fires and clears.
//!
//! All it does waits for one of: a change, rows that it asked for, a checkpoint, an order, a time. It never waits for a receiver: what is told goes into
//! the courier's outbox, or where that has enough of a trigger, to the dead letters.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::Receiver;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::active::{Active, Awaits, Conditions, Trigger};
use super::dead::{DeadLetters, Letter};
use super::machine::Machine;
use super::saved::{Saved, SavedTrigger};
use super::seen::Seen;
use crate::app::WeakApp;
use crate::config::triggers::TriggerOptions;
use crate::connectors::http::courier::Courier;
use crate::connectors::http::entry::Entry;
use crate::error::{ErrorKind, Result};
use crate::event::{EventBatch, Micros};
use crate::server::failure::{Failure, Kind};
use crate::server::live::Relation;
use crate::tables::watch::{Watched, Watcher};

/// How long it sleeps at most: so late it notices that the app has gone.
const LOOK: Duration = Duration::from_secs(1);

/// The same while something is being delivered, and may be given up.
const LOOK_FOR_GIVEN_UP: Duration = Duration::from_millis(50);

/// What it is told to do.
pub enum Order {
    /// One more trigger; the answer comes when it runs.
    Create(Box<Create>),
    /// One less: it and what waits of it are forgotten. The answer comes when that is done.
    Delete(String, oneshot::Sender<()>),
    /// The rows that are there now, for triggers that go on.
    Compare,
}

/// A trigger that is to run.
pub struct Create {
    /// It.
    pub trigger: Arc<Trigger>,
    /// Its conditions.
    pub conditions: Conditions,
    /// Whether it runs.
    pub reply: oneshot::Sender<Result<(), Failure>>,
}

/// See the module.
pub struct Owner {
    app: WeakApp,
    relation: Arc<Relation>,
    options: TriggerOptions,
    watcher: Watcher,
    courier: Courier,
    dead: DeadLetters,
    triggers: Vec<Active>,
    /// Who waits for the rows, to begin with them: the trigger's id.
    beginning: Vec<(String, oneshot::Sender<Result<(), Failure>>)>,
    /// Whether the rows have been asked for.
    asked: bool,
    /// Whether the overflow of an outbox has been told of.
    told_full: bool,
    /// Frees rows whose time is over.
    freeing: Option<JoinHandle<()>>,
}

/// What there is to do.
enum Next {
    Heard(Watched),
    Order(Order),
    Time,
    /// Nobody gives orders any more.
    ServerEnds,
    End,
}

impl Owner {
    /// Of a relation, with the triggers of a checkpoint.
    pub fn new(
        app: WeakApp,
        relation: Arc<Relation>,
        options: &TriggerOptions,
        watcher: Watcher,
        courier: Courier,
    ) -> Result<Self> {
        Ok(Owner {
            dead: DeadLetters::open(&relation.name, options.dead_letters.as_deref())?,
            options: options.clone(),
            app,
            relation,
            watcher,
            courier,
            triggers: Vec::new(),
            beginning: Vec::new(),
            asked: false,
            told_full: false,
            freeing: None,
        })
    }

    /// Goes on with a trigger of a checkpoint. `awaits`: whether the rows that are there will be told.
    pub fn go_on(
        &mut self,
        saved: SavedTrigger,
        trigger: Arc<Trigger>,
        conditions: Conditions,
        awaits: Awaits,
    ) -> Result<()> {
        let rule = Active::rule(&saved.definition, self.options.max_rows);
        let machine = Machine::restored(rule, saved.machine);
        let mut active = Active::new(trigger, conditions, &self.relation, machine);
        (active.sequence, active.fired_at) = (saved.sequence, saved.fired_at);
        if !self.relation.key.is_empty() {
            active.awaits = awaits;
        }
        let shared = &active.shared;
        shared.active.store(active.machine.active(), Ordering::Relaxed);
        self.courier.route(&shared.definition.uid, shared.sending.clone())?;
        let waiting = active.queue(saved.waiting);
        self.triggers.push(active);
        self.courier.take(waiting)
    }

    /// The rows that are there come without being asked for.
    pub fn expect_rows(&mut self) {
        self.asked = true;
    }

    /// Works until the app has gone: its last checkpoint asks, when the server has ended.
    pub fn run(mut self, runtime: &Runtime, heard: &Receiver<Watched>, orders: &Receiver<Order>) {
        let mut is_served = true;
        loop {
            // The clock is the app's.
            let Some(now) = self.app.upgrade().map(|app| app.now()) else {
                return;
            };
            self.work(now);
            let sleep = self.sleep(now);
            let next = runtime.block_on(async {
                tokio::select! {
                    heard = heard.recv() => heard.map_or(Next::End, Next::Heard),
                    order = orders.recv(), if is_served => order.map_or(Next::ServerEnds, Next::Order),
                    () = tokio::time::sleep(sleep) => Next::Time,
                }
            });
            // It may have slept long.
            let Some(now) = self.app.upgrade().map(|app| app.now()) else {
                return;
            };
            let done = match next {
                Next::Heard(heard) => self.hear(heard, now),
                Next::Order(order) => self.order(order),
                Next::Time => {
                    self.free_aged();
                    Ok(())
                }
                // The last trigger has been deleted.
                Next::ServerEnds if self.triggers.is_empty() => return,
                Next::ServerEnds => {
                    is_served = false;
                    Ok(())
                }
                Next::End => return,
            };
            if let Err(error) = done {
                tracing::error!(%error, relation = self.relation.name, "triggers could not be looked at");
            }
        }
    }

    fn sleep(&self, now: Micros) -> Duration {
        let delivers = self.triggers.iter().any(|trigger| trigger.shared.waiting() > 0);
        let longest = match delivers {
            true => LOOK_FOR_GIVEN_UP,
            false => LOOK,
        };
        let due = self.triggers.iter().filter_map(Active::next_due).min();
        let due = due.map(|due| Duration::from_micros(due.saturating_sub(now).max(0).unsigned_abs()));
        due.map_or(longest, |due| due.min(longest))
    }

    /// What is due: ends of cool-downs, what the rate limit releases, what was given up.
    fn work(&mut self, now: Micros) {
        for number in 0..self.triggers.len() {
            let due = self.triggers[number].due(now);
            self.deliver(number, due, now);
            let released = self.triggers[number].released(now);
            if !released.is_empty() {
                self.hand_over(released);
            }
        }
        self.bury(now);
        self.told_full &= self.triggers.iter().any(|active| active.shared.waiting() > 0);
    }

    fn hear(&mut self, heard: Watched, now: Micros) -> Result<()> {
        match heard {
            Watched::Changes(batch) => self.changes(&batch, now),
            Watched::Rows(batches) => self.rows(batches, now),
            Watched::NoRows(why) => {
                self.asked = false;
                for (uid, reply) in std::mem::take(&mut self.beginning) {
                    self.remove(|definition| definition.uid == uid)?;
                    let why = format!("the rows of '{}' cannot be read: {why}", self.relation.name);
                    let _ = reply.send(Err(Failure::new(Kind::Unavailable, why)));
                }
                self.triggers
                    .iter_mut()
                    .for_each(|active| active.awaits = Awaits::Nothing);
                Ok(())
            }
            Watched::Cut(answer) => {
                // Nobody waits any more if the checkpoint has failed.
                let _ = answer.send(self.saved(now)?);
                Ok(())
            }
        }
    }

    fn changes(&mut self, batch: &EventBatch, now: Micros) -> Result<()> {
        if self.triggers.is_empty() {
            return Ok(());
        }
        let mut seen = Seen::changes(&self.relation, batch)?;
        for number in 0..self.triggers.len() {
            // What happens before the rows come is in them.
            if self.triggers[number].awaits == Awaits::Nothing {
                let entries = self.triggers[number].step(&mut seen, now)?;
                self.deliver(number, entries, now);
            }
        }
        Ok(())
    }

    /// The rows that are there have come.
    fn rows(&mut self, batches: Vec<arrow::array::RecordBatch>, now: Micros) -> Result<()> {
        self.asked = false;
        let batches = batches.into_iter().map(|rows| Seen::there(&self.relation, rows));
        let mut batches: Vec<Seen> = batches.collect::<Result<_>>()?;
        let mut there = HashSet::new();
        let compares = |active: &Active| active.awaits == Awaits::Again && active.machine.active() > 0;
        if self.triggers.iter().any(compares) {
            for seen in &mut batches {
                seen.make_keys()?;
                there.extend(seen.all.iter().map(|one| seen.key(one.row).to_string()));
            }
        }
        let mut beginning = std::mem::take(&mut self.beginning);
        let mut number = 0;
        while number < self.triggers.len() {
            let awaits = std::mem::replace(&mut self.triggers[number].awaits, Awaits::Nothing);
            let uid = &self.triggers[number].shared.definition.uid;
            let place = beginning.iter().position(|(beginning, _)| beginning == uid);
            let reply = place.map(|place| beginning.swap_remove(place).1);
            if let Some(refusal) = self.refusal(number, &mut batches, awaits) {
                let uid = self.triggers[number].shared.definition.uid.clone();
                self.remove(|definition| definition.uid == uid)?;
                let _ = reply.map(|reply| reply.send(Err(refusal)));
                continue;
            }
            for seen in &mut batches {
                let entries = match awaits {
                    Awaits::Nothing => break,
                    Awaits::First => self.triggers[number].begin(seen, now)?,
                    Awaits::Again => self.triggers[number].step(seen, now)?,
                };
                self.deliver(number, entries, now);
            }
            if awaits == Awaits::Again {
                let entries = self.triggers[number].clear_others(&there, now);
                self.deliver(number, entries, now);
            }
            let _ = reply.map(|reply| reply.send(Ok(())));
            number += 1;
        }
        Ok(())
    }

    /// Why a new trigger cannot begin with these rows.
    fn refusal(&self, number: usize, batches: &mut [Seen], awaits: Awaits) -> Option<Failure> {
        let active = &self.triggers[number];
        if awaits != Awaits::First {
            return None;
        }
        let firing: usize = batches.iter_mut().map(|seen| active.firing(seen)).sum();
        let most = match active.shared.definition.initial {
            true => self.options.max_waiting.min(self.options.max_rows),
            false => self.options.max_rows,
        };
        (firing > most).then(|| {
            Failure::bad(format!(
                "fire holds for {firing} of the rows that are there, and a trigger may have {most}: narrow it, or raise triggers.max-waiting \
                 and triggers.max-rows; with initial: false rows that are there do not fire"
            ))
        })
    }

    fn order(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Create(create) => self.create(*create)?,
            Order::Delete(uid, reply) => {
                self.remove(|definition| definition.uid == uid)?;
                let _ = reply.send(());
            }
            Order::Compare => {}
        }
        self.ask();
        Ok(())
    }

    fn create(&mut self, create: Create) -> Result<()> {
        let Create {
            trigger,
            conditions,
            reply,
        } = create;
        let definition = &trigger.definition;
        let machine = Machine::new(Active::rule(definition, self.options.max_rows));
        self.courier.route(&definition.uid, trigger.sending.clone())?;
        let uid = definition.uid.clone();
        let mut active = Active::new(trigger, conditions, &self.relation, machine);
        match self.relation.has_rows {
            true => {
                active.awaits = Awaits::First;
                self.beginning.push((uid, reply));
            }
            false => {
                let _ = reply.send(Ok(()));
            }
        }
        self.triggers.push(active);
        Ok(())
    }

    fn remove(&mut self, is_it: impl Fn(&super::definition::Definition) -> bool) -> Result<()> {
        let gone = self.triggers.iter().filter(|active| is_it(&active.shared.definition));
        for active in gone {
            self.courier.forget(&active.shared.definition.uid)?;
        }
        self.triggers.retain(|active| !is_it(&active.shared.definition));
        Ok(())
    }

    /// Asks for the rows if somebody waits for them. On another thread: who gives them may be waiting for this one.
    fn ask(&mut self) {
        let waits = self.triggers.iter().any(|active| active.awaits != Awaits::Nothing);
        if self.asked || !waits {
            return;
        }
        let Some(app) = self.app.upgrade() else {
            return;
        };
        self.asked = true;
        let (watcher, source) = (self.watcher.clone(), self.relation.source.clone());
        let asking = move || {
            if let Err(error) = app.tell_rows(&source, &watcher) {
                watcher.tell(Watched::NoRows(error.to_string()));
            }
        };
        let started = std::thread::Builder::new()
            .name("trigger rows".to_string())
            .spawn(asking);
        if let Err(error) = started {
            // It is tried again with the next order.
            self.asked = false;
            tracing::error!(%error, "a thread cannot be started");
        }
    }

    /// Lets rows go whose time is over, when nobody writes; on another thread, for what goes is told to this one.
    fn free_aged(&mut self) {
        if self.freeing.as_ref().is_some_and(|freeing| !freeing.is_finished()) {
            return;
        }
        let source = self.relation.source.clone();
        let Some(app) = self.app.upgrade().filter(|app| app.ages(&source)) else {
            return;
        };
        let free = move || {
            if let Err(error) = app.free_aged(&source) {
                tracing::warn!(%error, relation = source, "rows whose time is over cannot be freed");
            }
        };
        let started = std::thread::Builder::new().name("trigger rows".to_string()).spawn(free);
        self.freeing = started.ok();
    }

    /// Sends events of a trigger on their way, as far as there is room for them.
    fn deliver(&mut self, number: usize, mut entries: Vec<Entry>, now: Micros) {
        let shared = self.triggers[number].shared.clone();
        shared
            .active
            .store(self.triggers[number].machine.active(), Ordering::Relaxed);
        if entries.is_empty() {
            return;
        }
        let waiting_bytes = |active: &Active| active.shared.sending.tally.waiting_bytes.load(Ordering::Relaxed);
        let mut bytes: usize = self.triggers.iter().map(waiting_bytes).sum();
        let mut room = self.options.max_waiting.saturating_sub(shared.waiting());
        let fits = entries.iter().take_while(|entry| {
            bytes += entry.bytes();
            let fits = room > 0 && bytes <= self.options.max_waiting_bytes;
            room = room.saturating_sub(1);
            fits
        });
        let rest = entries.split_off(fits.count());
        let now_or_later = self.triggers[number].queue(entries);
        self.hand_over(now_or_later);
        if rest.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.told_full, true) {
            let (relation, trigger) = (&self.relation.name, &shared.definition.name);
            tracing::error!(relation, trigger, "as many events wait as may: more are dead letters");
        }
        shared
            .sending
            .tally
            .given_up
            .fetch_add(rest.len() as u64, Ordering::Relaxed);
        let letter = |entry| Letter {
            entry,
            trigger: &shared.definition.name,
            reason: "as many events wait as may",
            kind: ErrorKind::Sink,
        };
        let letters: Vec<Letter<'_>> = rest.iter().map(letter).collect();
        self.dead.write(&letters, now);
    }

    fn hand_over(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.courier.take(entries) {
            tracing::error!(%error, relation = self.relation.name, "events of triggers are lost");
        }
    }

    /// Writes down what was given up.
    fn bury(&mut self, now: Micros) {
        let given_up = self.courier.given_up();
        if given_up.is_empty() {
            return;
        }
        let name = |entry: &Entry| {
            let known = self.triggers.iter().map(|active| &active.shared.definition);
            let definition = known.into_iter().find(|definition| definition.uid == entry.route);
            definition.map_or("", |definition| &definition.name)
        };
        let letters = given_up.iter().map(|one| Letter {
            entry: &one.entry,
            trigger: name(&one.entry),
            reason: &one.reason,
            kind: one.kind,
        });
        let letters: Vec<Letter<'_>> = letters.collect();
        self.dead.write(&letters, now);
    }

    /// The state for a checkpoint. What is given up meanwhile is in it, or written down.
    fn saved(&mut self, now: Micros) -> Result<Vec<u8>> {
        let outbox = self.courier.show()?;
        self.bury(now);
        let of = |active: &Active| {
            let uid = &active.shared.definition.uid;
            let waiting = outbox.iter().filter(|entry| entry.route == *uid);
            SavedTrigger {
                definition: active.shared.definition.clone(),
                machine: active.machine.saved(),
                sequence: active.sequence,
                fired_at: active.fired_at,
                waiting: waiting
                    .map(|entry| Entry::clone(entry))
                    .chain(active.queue.iter().cloned())
                    .collect(),
            }
        };
        // One that waits for its first rows has not been made yet.
        let made = self.triggers.iter().filter(|active| active.awaits != Awaits::First);
        Saved::new(made.map(of).collect()).to_bytes()
    }
}
