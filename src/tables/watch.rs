//! Watching a relation: who hears of every change of a table, a window or a stream, in order, and may ask for its rows at a point
//! in that order.
//!
//! What a [`Watcher`] is told goes through one bounded channel. The rows it asks for come through the same channel, put there by
//! whoever changes the relation (or while nobody can): so what comes before them is in them, what comes after is not, and
//! nothing needs to be compared or numbered to know that.

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
}

/// Told of the changes of a relation. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Watcher(Sender<Watched>);

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
        (Watcher(sender), receiver)
    }

    /// Tells it; waits while its queue is full.
    pub fn tell(&self, watched: Watched) -> Listens {
        match self.0.send_blocking(watched) {
            Ok(()) => Listens::Yes,
            Err(_) => Listens::No,
        }
    }

    /// Whether it has gone.
    pub fn has_gone(&self) -> bool {
        self.0.is_closed()
    }
}
