//! The owner of a live view: hears of every change of a relation, and tells its subscribers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use async_channel::Receiver;
use tokio::sync::Notify;

use super::Relation;
use super::change::{Change, Rows};
use super::commit::{Commit, holds};
use super::hub::{Hub, Limits};
use super::queue::{Closed, Joined, Queue};
use super::selection::{Message, Selection};
use super::snapshot::Snapshot;
use super::subscriber::Token;
use crate::app::App;
use crate::error::Result;
use crate::event::EventBatch;
use crate::plan::row_filter::RowFilter;
use crate::tables::watch::{Watched, Watcher};

/// How often subscribers that have left are looked for, at most.
const SWEEP: Duration = Duration::from_millis(500);

/// What a view is told to do.
#[derive(Debug)]
pub(super) enum Command {
    /// One more subscriber.
    Join(Box<Join>),
    /// All subscriptions end.
    Close(Closed),
}

/// A subscriber that wants in.
#[derive(Debug)]
pub(super) struct Join {
    /// As text, by which equal ones are known, and compiled.
    pub filter: (String, Option<RowFilter>),
    pub selection: Selection,
    pub queue: Arc<Queue>,
    pub rows: bool,
    pub resume: Option<Token>,
}

/// A relation's view.
pub(super) struct View {
    hub: Arc<Hub>,
    app: App,
    relation: Arc<Relation>,
    limits: Limits,
    epoch: u64,
    /// The number of the last change.
    seq: u64,
    feeds: HashMap<String, Feed>,
    /// Who waits for the rows that were asked for.
    asked: Vec<Join>,
    /// Who came since.
    waiting: Vec<Join>,
    subscribers: usize,
    idle_since: Option<Instant>,
    swept: Instant,
    /// Whether some subscribers are known to have left since.
    some_left: bool,
    /// Whether rows go when their time is over.
    ages: bool,
    /// Lets them go.
    freeing: Option<tokio::task::JoinHandle<()>>,
}

/// All who have one filter.
struct Feed {
    filter: Option<RowFilter>,
    /// The last changes, the oldest first.
    replay: VecDeque<Arc<Change>>,
    /// After this number all changes are in it.
    complete_after: u64,
    channels: HashMap<Arc<Selection>, Vec<Arc<Queue>>>,
    idle_since: Option<Instant>,
}

impl View {
    pub fn new(hub: Arc<Hub>, app: App, relation: Arc<Relation>, limits: Limits, epoch: u64) -> Self {
        let ages = app.ages(&relation.source);
        View {
            hub,
            app,
            relation,
            limits,
            epoch,
            seq: 0,
            feeds: HashMap::new(),
            asked: Vec::new(),
            waiting: Vec::new(),
            subscribers: 0,
            idle_since: None,
            swept: Instant::now(),
            some_left: false,
            ages,
            freeing: None,
        }
    }

    /// Runs until nobody has looked for a while, or the app ends.
    pub async fn run(mut self, inbox: &Receiver<Command>, left: &Notify) {
        let counters = self.hub.counters.clone();
        counters.views.fetch_add(1, Ordering::Relaxed);
        let (watcher, heard) = Watcher::new();
        let why = match self.app.watch(&self.relation.source, watcher.clone()) {
            Ok(()) => self.live(inbox, left, &heard, watcher).await,
            Err(error) => Closed::Failed(error.to_string()),
        };
        // Whoever is still on the way in is told, too.
        inbox.close();
        while let Ok(command) = inbox.try_recv() {
            if let Command::Join(join) = command {
                join.queue.close(why.clone());
            }
        }
        self.close(&why);
        counters
            .subscribers
            .fetch_sub(self.subscribers as i64, Ordering::Relaxed);
        counters.views.fetch_sub(1, Ordering::Relaxed);
    }

    async fn live(
        &mut self,
        inbox: &Receiver<Command>,
        left: &Notify,
        heard: &Receiver<Watched>,
        watcher: Watcher,
    ) -> Closed {
        // While this view holds one end, the channel never looks closed: that the app has ended the hub tells.
        loop {
            let tick = self
                .limits
                .linger
                .clamp(Duration::from_millis(10), Duration::from_secs(1));
            tokio::select! {
                told = heard.recv() => match told {
                    Ok(told) => if let Err(error) = self.hear(told) {
                        return Closed::Failed(error.to_string());
                    },
                    Err(_) => return Closed::Ended,
                },
                command = inbox.recv() => match command {
                    Ok(Command::Join(join)) => self.join(*join),
                    Ok(Command::Close(why)) => return why,
                    Err(_) => return Closed::Ended,
                },
                () = left.notified() => self.some_left = true,
                () = tokio::time::sleep(tick) => {
                    self.sweep();
                    self.free_aged();
                }
            }
            if self.some_left && self.swept.elapsed() >= SWEEP {
                self.sweep();
            }
            self.ask(&watcher);
            if self.has_lingered() && self.hub.end(&self.relation.name, inbox) {
                return Closed::Ended;
            }
        }
    }

    fn hear(&mut self, told: Watched) -> Result<()> {
        match told {
            Watched::Changes(batch) => self.changes(&batch),
            Watched::Rows(batches) => {
                self.rows(batches);
                Ok(())
            }
            // Clients have no state to keep.
            Watched::Cut(_) => Ok(()),
            Watched::NoRows(why) => {
                for join in std::mem::take(&mut self.asked) {
                    join.queue.close(Closed::Failed(why.clone()));
                    // Counted as one that has left.
                    self.enter(join);
                }
                Ok(())
            }
        }
    }

    /// Tells everybody what happened.
    fn changes(&mut self, batch: &EventBatch) -> Result<()> {
        let commit = Commit::new(&self.relation, batch, &mut self.seq, Instant::now())?;
        let counters = &self.hub.counters;
        counters.changes.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        for feed in self.feeds.values_mut() {
            let seen = commit.seen(feed.filter.as_ref());
            for (selection, queues) in &feed.channels {
                let message = |change: &Arc<Change>| Message::new(change.clone(), selection.clone());
                let told = seen.iter().filter(|change| selection.tells(change));
                let messages: Vec<Arc<Message>> = told.map(message).collect();
                if messages.is_empty() {
                    continue;
                }
                counters
                    .pushed
                    .fetch_add((messages.len() * queues.len()) as u64, Ordering::Relaxed);
                for queue in queues {
                    let pushed = queue.push(&messages);
                    self.some_left |= pushed.gone | pushed.too_slow;
                    counters.missed.fetch_add(pushed.missed, Ordering::Relaxed);
                    counters.folded.fetch_add(pushed.folded, Ordering::Relaxed);
                    counters
                        .too_slow
                        .fetch_add(u64::from(pushed.too_slow), Ordering::Relaxed);
                }
            }
            feed.replay.extend(seen);
            while feed.replay.len() > self.limits.replay {
                if let Some(oldest) = feed.replay.pop_front() {
                    feed.complete_after = oldest.seq;
                }
            }
        }
        Ok(())
    }

    /// Lets a subscriber in, at once if it can go on from where it was or wants no rows.
    fn join(&mut self, mut join: Join) {
        join.selection.token = format!("{:x}-", self.epoch);
        self.subscribers += 1;
        self.hub.counters.subscribers.fetch_add(1, Ordering::Relaxed);
        self.idle_since = None;
        let token = join
            .resume
            .filter(|token| token.epoch == self.epoch && token.seq <= self.seq);
        let feed = self.feeds.get(&join.filter.0);
        if let Some((token, feed)) = token.zip(feed)
            && token.seq >= feed.complete_after
        {
            let selection = Arc::new(join.selection.clone());
            let is_newer = |change: &&Arc<Change>| change.seq > token.seq && selection.tells(change);
            let newer = feed.replay.iter().filter(is_newer);
            let newer: Vec<Arc<Message>> = newer
                .map(|change| Message::new(change.clone(), selection.clone()))
                .collect();
            join.queue.join(Joined::Resumed, None);
            join.queue.push(&newer);
            self.hub.counters.resumed.fetch_add(1, Ordering::Relaxed);
            self.enter(join);
            return;
        }
        if join.rows {
            self.waiting.push(join);
            return;
        }
        join.queue.join(Joined::Live, None);
        self.enter(join);
    }

    fn feed(&mut self, filter: &(String, Option<RowFilter>)) -> &mut Feed {
        let seq = self.seq;
        let fresh = || Feed {
            filter: filter.1.clone(),
            replay: VecDeque::new(),
            complete_after: seq,
            channels: HashMap::new(),
            idle_since: None,
        };
        self.feeds.entry(filter.0.clone()).or_insert_with(fresh)
    }

    /// From now on the subscriber hears of changes.
    fn enter(&mut self, join: Join) {
        let feed = self.feed(&join.filter);
        feed.idle_since = None;
        feed.channels
            .entry(Arc::new(join.selection))
            .or_default()
            .push(join.queue);
    }

    /// Asks for the rows if somebody waits for them and nobody has asked. On another thread: who gives them may be waiting for this
    /// view to make room in its channel.
    fn ask(&mut self, watcher: &Watcher) {
        if !self.asked.is_empty() || self.waiting.is_empty() {
            return;
        }
        self.asked = std::mem::take(&mut self.waiting);
        let (app, watcher, source) = (self.app.clone(), watcher.clone(), self.relation.source.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = app.tell_rows(&source, &watcher) {
                tracing::warn!(%error, relation = source, "the rows cannot be read");
                // Nobody shall wait for ever.
                watcher.tell(Watched::NoRows(error.to_string()));
            }
        });
    }

    /// Lets rows go whose time is over. Those who write the relation do so, too: this is for when nobody does.
    fn free_aged(&mut self) {
        if !self.ages || self.freeing.as_ref().is_some_and(|freeing| !freeing.is_finished()) {
            return;
        }
        let (app, source) = (self.app.clone(), self.relation.source.clone());
        // What goes is told through the channel that this thread empties.
        self.freeing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = app.free_aged(&source) {
                tracing::warn!(%error, relation = source, "rows whose time is over cannot be freed");
            }
        }));
    }

    /// The rows have come: who waited for them begins here.
    fn rows(&mut self, batches: Vec<RecordBatch>) {
        let batches: Vec<Arc<Rows>> = batches.into_iter().map(Rows::new).collect();
        let mut filtered: HashMap<String, Vec<Arc<Rows>>> = HashMap::new();
        let mut snapshots: HashMap<(String, Arc<Selection>), Arc<Snapshot>> = HashMap::new();
        for join in std::mem::take(&mut self.asked) {
            if join.queue.is_over() {
                self.enter(join);
                continue;
            }
            let (text, filter) = &join.filter;
            let seq = self.seq;
            let selection = Arc::new(join.selection.clone());
            let snapshot = snapshots.entry((text.clone(), selection.clone())).or_insert_with(|| {
                let rows = filtered
                    .entry(text.clone())
                    .or_insert_with(|| those_in(filter.as_ref(), &batches));
                Snapshot::new(rows, seq, selection)
            });
            join.queue.join(Joined::Rows, Some(snapshot.clone()));
            self.enter(join);
        }
    }

    /// Forgets subscribers that have left, and feeds that nobody has wanted for a while.
    fn sweep(&mut self) {
        let now = Instant::now();
        (self.swept, self.some_left) = (now, false);
        let mut gone = 0;
        let mut check = |queues: &mut Vec<Arc<Queue>>| {
            let before = queues.len();
            queues.retain(|queue| !queue.is_over());
            gone += before - queues.len();
        };
        for feed in self.feeds.values_mut() {
            feed.channels.values_mut().for_each(&mut check);
            feed.channels.retain(|_, queues| !queues.is_empty());
            match feed.channels.is_empty() {
                true => feed.idle_since.get_or_insert(now),
                false => feed.idle_since.insert(now),
            };
        }
        let linger = self.limits.linger;
        self.feeds.retain(|_, feed| {
            !feed.channels.is_empty() || feed.idle_since.is_none_or(|since| now.duration_since(since) < linger)
        });
        self.subscribers -= gone.min(self.subscribers);
        self.hub.counters.subscribers.fetch_sub(gone as i64, Ordering::Relaxed);
        if self.subscribers == 0 {
            self.idle_since.get_or_insert(now);
        }
    }

    fn has_lingered(&self) -> bool {
        self.subscribers == 0
            && self
                .idle_since
                .is_some_and(|since| since.elapsed() >= self.limits.linger)
    }

    fn close(&mut self, why: &Closed) {
        let channels = self.feeds.values().flat_map(|feed| feed.channels.values().flatten());
        let waiting = self.asked.iter().chain(&self.waiting).map(|join| &join.queue);
        channels.chain(waiting).for_each(|queue| queue.close(why.clone()));
        self.feeds.clear();
    }
}

/// The rows in a filter.
fn those_in(filter: Option<&RowFilter>, batches: &[Arc<Rows>]) -> Vec<Arc<Rows>> {
    let Some(filter) = filter else {
        return batches.to_vec();
    };
    let rows = batches.iter().filter_map(|rows| {
        let mask = holds(filter, rows.batch());
        // The mask is as long as the rows.
        filter_record_batch(rows.batch(), &mask).ok()
    });
    rows.filter(|rows| rows.num_rows() > 0).map(Rows::new).collect()
}
