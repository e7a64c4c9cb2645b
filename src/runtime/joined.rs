//! Small batches that wait, joined into one.

use crate::error::{Error, Result};
use crate::event::EventBatch;

/// Up to how many rows waiting batches are joined. Measured: below a thousand rows the cost per batch shows, above some ten
/// thousand the columns leave the cache.
const JOINED_ROWS: usize = 8_192;

/// Batches of at least this many rows are not copied to be joined.
const LARGE_ROWS: usize = 1_024;

/// Waiting batches of one input on their way to become one.
pub struct Joined {
    batches: Vec<EventBatch>,
    rows: usize,
}

impl Joined {
    /// Of one.
    pub fn new(batch: EventBatch) -> Self {
        Joined {
            rows: batch.num_rows(),
            batches: vec![batch],
        }
    }

    /// Whether another may join.
    pub fn wants_more(&self) -> bool {
        self.rows < LARGE_ROWS || (self.rows < JOINED_ROWS && self.batches.len() > 1)
    }

    /// Adds a batch. If it does not fit, what was joined so far is returned and joining starts again with it.
    pub fn add(&mut self, batch: EventBatch) -> Option<Joined> {
        let fits = self.rows + batch.num_rows() <= JOINED_ROWS && batch.num_rows() < LARGE_ROWS;
        if !fits && self.rows > 0 {
            return Some(std::mem::replace(self, Joined::new(batch)));
        }
        self.rows += batch.num_rows();
        self.batches.push(batch);
        None
    }

    /// The one batch.
    pub fn finish(self) -> Result<EventBatch> {
        let mut batches = self.batches;
        if batches.len() > 1 && batches.iter().any(|batch| !batch.is_empty()) {
            batches.retain(|batch| !batch.is_empty());
        }
        match batches.first() {
            Some(first) => EventBatch::concat(&first.schema(), &batches),
            None => Err(Error::failed("no batch to join")),
        }
    }
}
