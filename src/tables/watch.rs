//! Watching a relation: who hears of every change of a table, a window or a stream, in order, and may ask for its rows at a point
//! in that order.
//!
//! What a [`Watcher`] is told goes through one bounded channel. The rows it asks for come through the same channel, put there by
//! whoever changes the relation (or while nobody can): so what comes before them is in them, what comes after is not, and
//! nothing needs to be compared or numbered to know that.
//!
//! A watcher that is *kept* has state that belongs to the app's checkpoints. Whoever takes one puts a mark into the channel at the cut,
//! and the watcher answers it with its state there.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_channel::{Receiver, Sender, bounded};

use crate::event::EventBatch;

/// How many messages may wait for a watcher; then who changes the relation waits.
const QUEUE: usize = 1_024;

/// What a watcher is told.
#[derive(Debug)]
pub enum Watched {
    /// What happened at once: a committed transaction of a table, a batch of a stream.
    Changes(EventBatch),
    /// The rows at this point, as asked for.
    Rows(Vec<RecordBatch>),
    /// Why the rows that were asked for cannot be read.
    NoRows(String),
    /// A checkpoint: the state here is to be sent there.
    Cut(crossbeam_channel::Sender<Vec<u8>>),
}

/// A watcher's state at a cut, which comes when the watcher has come to it.
#[derive(Debug, Clone)]
pub struct WatcherMark {
    /// What it is saved under.
    pub id: Arc<str>,
    /// Brings it. Disconnects when the watcher has gone.
    pub state: crossbeam_channel::Receiver<Vec<u8>>,
}

/// Told of the changes of a relation. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Watcher {
    to: Sender<Watched>,
    /// What its state is saved under, if it is kept.
    kept_as: Option<Arc<str>>,
}

/// Whether a watcher is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// It is.
    Yes,
    /// It has gone: it needs to be told no more.
    No,
}

impl Watcher {
    /// A watcher and what it will be told.
    pub fn new() -> (Self, Receiver<Watched>) {
        let (sender, receiver) = bounded(QUEUE);
        let watcher = Watcher {
            to: sender,
            kept_as: None,
        };
        (watcher, receiver)
    }

    /// The same, with state that is kept under that name.
    pub fn kept_as(mut self, id: &str) -> Self {
        self.kept_as = Some(id.into());
        self
    }

    /// Whether its state is kept.
    pub fn is_kept(&self) -> bool {
        self.kept_as.is_some()
    }

    /// A checkpoint is taken here: where the state of a watcher that is kept will come. `None` of one that has gone, too: what was
    /// saved of it before is handed on.
    pub fn mark(&self) -> Option<WatcherMark> {
        let id = self.kept_as.clone()?;
        let (answer, state) = crossbeam_channel::bounded(1);
        match self.tell(Watched::Cut(answer)) {
            Listens::Yes => Some(WatcherMark { id, state }),
            Listens::No => None,
        }
    }

    /// Tells it; waits while its queue is full.
    pub fn tell(&self, watched: Watched) -> Listens {
        match self.to.send_blocking(watched) {
            Ok(()) => Listens::Yes,
            Err(_) => Listens::No,
        }
    }

    /// Whether it has gone.
    pub fn has_gone(&self) -> bool {
        self.to.is_closed()
    }
}
