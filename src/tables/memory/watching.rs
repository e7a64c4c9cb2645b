//! Telling watchers what a transaction changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Ops, Times};
use crate::tables::watch::{Listens, Watched, Watcher, WatcherMark};

/// Those who are told what is committed. Told by one writer at a time, so that they hear it in order.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Vec<Watcher>>);

impl Watchers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// One more.
    pub fn add(&self, watcher: Watcher) {
        self.0.lock().push(watcher);
    }

    /// A checkpoint is taken here: those that answer with their state.
    pub fn marks(&self) -> Vec<WatcherMark> {
        let watchers = self.0.lock().clone();
        watchers.iter().filter_map(Watcher::mark).collect()
    }

    /// Tells all of them, and forgets those that have gone.
    pub fn tell(&self, batch: &EventBatch) {
        let watchers = self.0.lock().clone();
        let mut gone = false;
        for watcher in watchers {
            gone |= watcher.tell(Watched::Changes(batch.clone())) == Listens::No;
        }
        if gone {
            self.0.lock().retain(|watcher| !watcher.has_gone());
        }
    }
}

/// What a transaction does, as rows.
pub(super) struct Committed {
    /// The rows that go.
    pub deleted: RecordBatch,
    /// The rows that get a new version, and their new versions, in the same order.
    pub replaced: RecordBatch,
    /// See there.
    pub versions: Vec<ArrayRef>,
    /// New rows.
    pub fresh: Vec<ArrayRef>,
    /// Rows that made room.
    pub evicted: Vec<RecordBatch>,
}

impl Committed {
    /// As a changelog; none if nothing changes.
    pub fn changelog(self, schema: &SchemaRef, now: Micros) -> Result<Option<EventBatch>> {
        let versions = RecordBatch::try_new(schema.clone(), self.versions)?;
        let fresh = RecordBatch::try_new(schema.clone(), self.fresh)?;
        let pairs: Vec<(usize, usize)> = (0..versions.num_rows()).flat_map(|row| [(0, row), (1, row)]).collect();
        let pairs = interleave_record_batch(&[&self.replaced, &versions], &pairs)?;
        let evicted = concat_batches(schema, &self.evicted)?;
        let parts = [
            (&self.deleted, [Op::Delete, Op::Delete]),
            (&pairs, [Op::UpdateBefore, Op::UpdateAfter]),
            (&fresh, [Op::Insert, Op::Insert]),
            (&evicted, [Op::Delete, Op::Delete]),
        ];
        let ops: Ops = parts
            .iter()
            .flat_map(|(rows, ops)| (0..rows.num_rows()).map(|row| ops[row % 2]))
            .collect();
        if ops.is_empty() {
            return Ok(None);
        }
        let rows = concat_batches(schema, parts.iter().map(|(rows, _)| *rows))?;
        Ok(Some(EventBatch::changelog(rows, Times::Same(now), Arc::clone(&ops))))
    }
}
