//! [`Active`]: a trigger that runs, on the thread of its relation.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::definition::Definition;
use super::event::entry;
use super::machine::{Kind, Machine, Row, Rule, Step, Told};
use super::pace::Pace;
use super::seen::{Condition, One, Seen};
use crate::connectors::http::entry::Entry;
use crate::connectors::http::settings::Sending;
use crate::error::Result;
use crate::event::Micros;
use crate::server::live::Relation;

/// A trigger as everybody may look at it.
#[derive(Debug)]
pub struct Trigger {
    /// What was asked for.
    pub definition: Definition,
    /// How its calls are made, and what became of them.
    pub sending: Arc<Sending>,
    /// FIREs there have been.
    pub fired: AtomicU64,
    /// CLEARs there have been.
    pub cleared: AtomicU64,
    /// Rows without a key that were left out during a cool-down.
    pub left_out: AtomicU64,
    /// Rows that would have fired, but too many were fired.
    pub too_many: AtomicU64,
    /// Keys that are fired.
    pub active: AtomicUsize,
    /// Events that wait for the rate limit.
    pub paced: AtomicUsize,
    /// Whether it has been made; before, it may yet be refused.
    pub is_made: AtomicBool,
}

impl Trigger {
    /// Of a definition.
    pub fn new(definition: Definition, sending: Arc<Sending>) -> Arc<Self> {
        Arc::new(Trigger {
            definition,
            sending,
            fired: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            too_many: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            paced: AtomicUsize::new(0),
            is_made: AtomicBool::new(false),
        })
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.sending.tally.waiting.load(Ordering::Relaxed) + self.paced.load(Ordering::Relaxed)
    }
}

/// The conditions of a trigger, compiled.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// When it fires.
    pub fire: Condition,
    /// When it clears.
    pub clear: Option<Condition>,
    /// What its owner sees.
    pub visible: Option<Condition>,
}

/// What a trigger still has to hear of the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// Nothing.
    Nothing,
    /// The rows there are when it is made.
    First,
    /// The rows there are when it goes on: what differs from what it knows fires or clears.
    Again,
}

/// See the module.
pub struct Active {
    /// What everybody may see of it.
    pub shared: Arc<Trigger>,
    conditions: Conditions,
    is_keyed: bool,
    /// The columns that its events have.
    columns: Vec<usize>,
    /// Whether the key is among them.
    shows_key: bool,
    /// Its keys.
    pub machine: Machine,
    /// Without a key: how often it has fired, and when last.
    pub sequence: u64,
    /// See there.
    pub fired_at: Micros,
    /// What waits for the rate limit.
    pub queue: VecDeque<Entry>,
    pace: Option<Pace>,
    /// What it waits for; meanwhile it looks at no changes.
    pub awaits: Awaits,
}

impl Active {
    /// That begins or goes on with what a machine knows.
    pub fn new(shared: Arc<Trigger>, conditions: Conditions, relation: &Relation, machine: Machine) -> Self {
        let hidden = &shared.definition.hidden;
        let fields = relation.schema.fields().iter().enumerate();
        let columns = fields.filter(|(_, field)| !hidden.contains(field.name()));
        let columns: Vec<usize> = columns.map(|(column, _)| column).collect();
        Active {
            is_keyed: !relation.key.is_empty(),
            shows_key: relation.key.iter().all(|column| columns.contains(column)),
            columns,
            pace: shared.definition.rate.map(Pace::new),
            shared,
            conditions,
            machine,
            sequence: 0,
            fired_at: Micros::MIN,
            queue: VecDeque::new(),
            awaits: Awaits::Nothing,
        }
    }

    /// What bounds the machine of a trigger.
    pub fn rule(definition: &Definition, max_rows: usize) -> Rule {
        Rule {
            cool_down: definition.cool_down,
            max_rows,
        }
    }

    /// What follows from rows that came, changed or went.
    pub fn step(&mut self, seen: &mut Seen, now: Micros) -> Result<Vec<Entry>> {
        let steps = match self.is_keyed {
            true => self.steps(seen, now, Machine::row)?,
            false => self.steps_without_key(seen, now),
        };
        self.entries(seen, &steps, now)
    }

    /// The rows that are there when it is made fire, or do so silently.
    pub fn begin(&mut self, seen: &mut Seen, now: Micros) -> Result<Vec<Entry>> {
        if self.shared.definition.initial {
            return self.step(seen, now);
        }
        if self.is_keyed {
            self.steps(seen, now, |machine, key, row, now| match row {
                Row::Firing => machine.silence(key, now),
                Row::Between | Row::Clear => Step::Nothing,
            })?;
        }
        Ok(Vec::new())
    }

    /// How many of these rows fire.
    pub fn firing(&self, seen: &mut Seen) -> usize {
        let fire = seen.mask(&self.conditions.fire);
        let visible = self.conditions.visible.as_ref().map(|visible| seen.mask(visible));
        let is_visible = |row: usize| visible.as_ref().is_none_or(|visible| visible.value(row));
        let all = seen.all.iter();
        all.filter(|one| !one.gone && fire.value(one.row) && is_visible(one.row))
            .count()
    }

    /// When all rows that are there have been looked at: keys that are fired and not among them have cleared.
    pub fn clear_others(&mut self, there: &HashSet<String>, now: Micros) -> Vec<Entry> {
        if !self.is_keyed {
            return Vec::new();
        }
        let active = self.machine.active_keys();
        let mut gone: Vec<Arc<str>> = active.filter(|key| !there.contains(&***key)).cloned().collect();
        gone.sort_unstable();
        let clear = |key: Arc<str>| match self.machine.gone(&key) {
            // Of the row nothing but the key is known.
            Step::Tell(told) => Some((key, told)),
            _ => None,
        };
        let cleared: Vec<(Arc<str>, Told)> = gone.into_iter().filter_map(clear).collect();
        let entries = cleared
            .into_iter()
            .map(|(key, told)| self.tell(&key, told, self.key_data(&key), now));
        entries.collect()
    }

    fn steps(
        &mut self,
        seen: &mut Seen,
        now: Micros,
        step: impl Fn(&mut Machine, &str, Row, Micros) -> Step,
    ) -> Result<Vec<(One, Step, Shows)>> {
        let fire = seen.mask(&self.conditions.fire);
        // Nothing is fired, and nothing fires: most batches end here.
        if self.machine.active() == 0 && fire.true_count() == 0 {
            return Ok(Vec::new());
        }
        seen.make_keys()?;
        let clear = self.conditions.clear.as_ref().map(|clear| seen.mask(clear));
        let visible = self.conditions.visible.as_ref().map(|visible| seen.mask(visible));
        let mut steps = Vec::new();
        for one in seen.all.iter().copied() {
            let is_visible = visible.as_ref().is_none_or(|visible| visible.value(one.row));
            let row = match (fire.value(one.row), &clear) {
                (true, _) => Row::Firing,
                (false, None) => Row::Clear,
                (false, Some(clear)) if clear.value(one.row) => Row::Clear,
                (false, Some(_)) => Row::Between,
            };
            let goes = one.gone || !is_visible;
            if self.machine.active() == 0 && (goes || row != Row::Firing) {
                continue;
            }
            let key = seen.key(one.row);
            let done = match goes {
                true => self.machine.gone(key),
                false => step(&mut self.machine, key, row, now),
            };
            let shows = match is_visible {
                true => Shows::Row,
                false => Shows::Key,
            };
            if done != Step::Nothing {
                steps.push((one, done, shows));
            }
        }
        Ok(steps)
    }

    fn steps_without_key(&mut self, seen: &mut Seen, now: Micros) -> Vec<(One, Step, Shows)> {
        let fire = seen.mask(&self.conditions.fire);
        let visible = self.conditions.visible.as_ref().map(|visible| seen.mask(visible));
        let cool_down = self.shared.definition.cool_down;
        let mut steps = Vec::new();
        for one in seen.all.iter().copied() {
            let is_visible = visible.as_ref().is_none_or(|visible| visible.value(one.row));
            if one.gone || !is_visible || !fire.value(one.row) {
                continue;
            }
            if cool_down > 0 && now < self.fired_at.saturating_add(cool_down) && self.fired_at > Micros::MIN {
                self.shared.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            (self.sequence, self.fired_at) = (self.sequence + 1, now);
            let told = Told {
                kind: Kind::Fire,
                generation: self.sequence,
            };
            steps.push((one, Step::Tell(told), Shows::Row));
        }
        steps
    }

    /// The events of steps; rows that wait for the end of a cool-down are kept.
    fn entries(&mut self, seen: &Seen, steps: &[(One, Step, Shows)], now: Micros) -> Result<Vec<Entry>> {
        let shown = steps
            .iter()
            .filter(|(_, step, shows)| *shows == Shows::Row && matches!(step, Step::Tell(_) | Step::Hold));
        let rows = shown
            .map(|(one, ..)| u32::try_from(one.row).unwrap_or(u32::MAX))
            .collect();
        let mut data = seen.data(rows, &self.columns)?.into_iter();
        let mut entries = Vec::new();
        for (one, step, shows) in steps {
            let key = seen.key(one.row);
            let data = match (step, shows) {
                (Step::Tell(_) | Step::Hold, Shows::Row) => data.next().unwrap_or_default(),
                _ => self.key_data(key).to_string(),
            };
            match step {
                Step::Nothing => {}
                Step::Tell(told) => entries.push(self.tell(key, *told, &data, now)),
                Step::Hold => self.machine.hold(key, data.into()),
                Step::Full => {
                    let before = self.shared.too_many.fetch_add(1, Ordering::Relaxed);
                    if before == 0 {
                        let trigger = &self.shared.definition.name;
                        tracing::error!(
                            trigger,
                            "as many keys are fired as may be: others do not fire meanwhile"
                        );
                    }
                }
            }
        }
        Ok(entries)
    }

    /// Held keys whose cool-down is over.
    pub fn due(&mut self, now: Micros) -> Vec<Entry> {
        let mut entries = Vec::new();
        while let Some((key, told, data)) = self.machine.pop_due(now) {
            entries.push(self.tell(&key, told, &data, now));
        }
        entries
    }

    /// What is told of a row of which no more than the key may be.
    fn key_data<'a>(&self, key: &'a str) -> &'a str {
        match self.shows_key {
            true => key,
            false => "{}",
        }
    }

    fn tell(&self, key: &str, told: Told, data: &str, now: Micros) -> Entry {
        let count = match told.kind {
            Kind::Fire => &self.shared.fired,
            Kind::Clear => &self.shared.cleared,
        };
        count.fetch_add(1, Ordering::Relaxed);
        entry(&self.shared.definition, key, told, data, now)
    }

    /// Adds events to what waits for the rate limit; without one they are given back at once.
    pub fn queue(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        if self.pace.is_none() {
            return entries;
        }
        self.queue.extend(entries);
        self.shared.paced.store(self.queue.len(), Ordering::Relaxed);
        Vec::new()
    }

    /// What may go now.
    pub fn released(&mut self, now: Micros) -> Vec<Entry> {
        let mut released = Vec::new();
        if let Some(pace) = &mut self.pace {
            while pace.next() <= now
                && let Some(entry) = self.queue.pop_front()
            {
                pace.goes(now);
                released.push(entry);
            }
        }
        self.shared.paced.store(self.queue.len(), Ordering::Relaxed);
        released
    }

    /// When something is to be done for it, if nothing comes before.
    pub fn next_due(&self) -> Option<Micros> {
        let paced = self.pace.as_ref().filter(|_| !self.queue.is_empty()).map(Pace::next);
        [self.machine.next_due(), paced].into_iter().flatten().min()
    }
}

/// What of a row is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// All that its owner may see.
    Row,
    /// The key: the row has left what its owner may see.
    Key,
}
