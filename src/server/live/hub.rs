//! [`Hub`]: the views there are, started with their first subscriber.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Relation;
use super::queue::{Closed, Queue};
use super::subscriber::{Subscribe, Subscriber};
use super::view::{self, Command, Join};
use crate::app::App;
use crate::error::{Error, Result};
use crate::plan::row_filter::RowFilter;
use crate::server::histogram::Histogram;

/// How many subscribers may wait to join a view.
const JOINING: usize = 1_024;

/// How many filters are remembered compiled; then all are forgotten.
const FILTERS: usize = 1_024;

/// How long a subscriber waits before it tries again to get in.
const BUSY: Duration = Duration::from_millis(2);

/// What bounds views.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a view goes on without subscribers.
    pub linger: Duration,
    /// How many changes of a feed are remembered for who comes back.
    pub replay: usize,
    /// How many rows `coalesce` tells apart for one subscriber.
    pub coalesce_rows: usize,
}

/// What happened in all views.
#[derive(Debug, Default)]
pub struct LiveCounters {
    /// Views there are.
    pub views: AtomicI64,
    /// Subscribers there are.
    pub subscribers: AtomicI64,
    /// Subscriptions there have been.
    pub subscriptions: AtomicU64,
    /// Of these, that went on from a token.
    pub resumed: AtomicU64,
    /// Changes of relations.
    pub changes: AtomicU64,
    /// References put into queues.
    pub pushed: AtomicU64,
    /// Changes left out because a subscriber was slow.
    pub missed: AtomicU64,
    /// Changes that became part of others because a subscriber was slow.
    pub folded: AtomicU64,
    /// Subscribers disconnected because they were slow.
    pub too_slow: AtomicU64,
    /// From the commit of a change until it was written to a client, in seconds.
    pub latency: Histogram,
}

/// The views of an app. One for each server.
pub struct Hub {
    app: App,
    limits: Limits,
    /// What happened.
    pub counters: Arc<LiveCounters>,
    views: Mutex<HashMap<String, Entry>>,
    filters: Mutex<HashMap<(String, String), RowFilter>>,
}

struct Entry {
    commands: Sender<Command>,
    left: Arc<Notify>,
    epoch: u64,
}

impl Hub {
    /// Without any view yet.
    pub fn new(app: App, limits: Limits) -> Arc<Self> {
        Arc::new(Hub {
            app,
            limits,
            counters: Arc::default(),
            views: Mutex::default(),
            filters: Mutex::default(),
        })
    }

    /// Subscribes to a relation. *Errors.* A filter that is none; an app that has ended.
    pub async fn subscribe(self: &Arc<Self>, relation: &Arc<Relation>, want: Subscribe) -> Result<Subscriber> {
        let filter = self.filter(relation, &want.filter)?;
        let queue = Queue::new(want.policy, want.queue, self.limits.coalesce_rows, want.wake);
        let mut join = Join {
            filter: (want.filter, filter),
            selection: want.selection,
            queue: queue.clone(),
            rows: want.rows && relation.has_rows,
            resume: want.resume,
        };
        loop {
            let (left, epoch) = match self.try_join(relation, join)? {
                Ok(joined) => joined,
                Err(back) => {
                    join = *back;
                    tokio::time::sleep(BUSY).await;
                    continue;
                }
            };
            return Ok(Subscriber { queue, left, epoch });
        }
    }

    /// Compiles a condition, or finds it compiled.
    pub fn filter(&self, relation: &Relation, text: &str) -> Result<Option<RowFilter>> {
        if text.is_empty() {
            return Ok(None);
        }
        let key = (relation.source.clone(), text.to_string());
        if let Some(known) = self.filters.lock().get(&key) {
            return Ok(Some(known.clone()));
        }
        let filter = self.app.row_filter(text, &relation.schema)?;
        let mut filters = self.filters.lock();
        if filters.len() >= FILTERS {
            filters.clear();
        }
        filters.insert(key, filter.clone());
        Ok(Some(filter))
    }

    /// Hands a subscriber to the view, which is started if there is none. The inner error: it is busy.
    #[allow(clippy::type_complexity)]
    fn try_join(
        self: &Arc<Self>,
        relation: &Arc<Relation>,
        join: Join,
    ) -> Result<Result<(Arc<Notify>, u64), Box<Join>>> {
        // The lock is what a view takes to end: a subscriber is never handed to one that has ended.
        let mut views = self.views.lock();
        let is_dead = |entry: &Entry| entry.commands.is_closed();
        if views.get(&relation.name).is_none_or(is_dead) {
            views.insert(relation.name.clone(), self.start(relation)?);
        }
        let Some(entry) = views.get(&relation.name) else {
            return Err(Error::Closed);
        };
        match entry.commands.try_send(Command::Join(Box::new(join))) {
            Ok(()) => {
                self.counters.subscriptions.fetch_add(1, Ordering::Relaxed);
                Ok(Ok((entry.left.clone(), entry.epoch)))
            }
            Err(TrySendError::Full(Command::Join(join))) => Ok(Err(join)),
            Err(_) => Err(Error::Closed),
        }
    }

    fn start(self: &Arc<Self>, relation: &Arc<Relation>) -> Result<Entry> {
        let (commands, inbox) = bounded(JOINING);
        let left = Arc::new(Notify::new());
        let epoch = rand::random::<u64>() >> 16;
        let view = view::View::new(
            self.clone(),
            self.app.clone(),
            relation.clone(),
            self.limits.clone(),
            epoch,
        );
        let handle = Handle::current();
        let (hears, runtime) = (left.clone(), handle.clone());
        std::thread::Builder::new()
            .name(format!("live {}", relation.name))
            .spawn(move || runtime.block_on(view.run(&inbox, &hears)))
            .map_err(|error| Error::io("starting the thread of a live view", error))?;
        Ok(Entry { commands, left, epoch })
    }

    /// Ends a view if nobody waits to join it; whether it has ended.
    pub(super) fn end(&self, relation: &str, inbox: &async_channel::Receiver<Command>) -> bool {
        let mut views = self.views.lock();
        if !inbox.is_empty() {
            return false;
        }
        inbox.close();
        views.remove(relation);
        true
    }

    /// Ends all subscriptions: what waits for them is still given, and then that it is the end.
    pub async fn close(&self) {
        let senders: Vec<Sender<Command>> = self.views.lock().values().map(|entry| entry.commands.clone()).collect();
        for sender in senders {
            // A view that has ended has told its subscribers.
            let _ = sender.send(Command::Close(Closed::Ended)).await;
        }
    }
}
