//! Telling watchers what a transaction changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::watch::{Listens, Watched, Watcher, WatcherMark};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Ops, Times};

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

    /// Whether one of them is kept.
    pub fn keep(&self) -> bool {
        self.0.lock().iter().any(Watcher::is_kept)
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

/// What a transaction does, as rows of one schema.
pub(super) struct Committed {
    /// The rows that go.
    pub deleted: RecordBatch,
    /// The rows that get a new version.
    pub replaced: RecordBatch,
    /// Their new versions, in the same order.
    pub versions: RecordBatch,
    /// New rows.
    pub fresh: RecordBatch,
    /// Rows that made room.
    pub evicted: Vec<RecordBatch>,
}

impl Committed {
    /// As a changelog; none if nothing changes. A row that gets another key goes, and comes after all that go: the row that had the
    /// key may get another one, too.
    pub fn changelog(self, key: &[usize], now: Micros) -> Result<Option<EventBatch>> {
        let schema = self.deleted.schema();
        let moves = moves(&self.replaced, &self.versions, key)?;
        let evicted = concat_batches(&schema, &self.evicted)?;
        let mut picks = Vec::new();
        let mut ops = Vec::new();
        let mut add = |source: usize, row: usize, op: Op| {
            picks.push((source, row));
            ops.push(op);
        };
        (0..self.deleted.num_rows()).for_each(|row| add(0, row, Op::Delete));
        (0..moves.len())
            .filter(|row| moves[*row])
            .for_each(|row| add(1, row, Op::Delete));
        for row in (0..moves.len()).filter(|row| !moves[*row]) {
            add(1, row, Op::UpdateBefore);
            add(2, row, Op::UpdateAfter);
        }
        (0..moves.len())
            .filter(|row| moves[*row])
            .for_each(|row| add(2, row, Op::Insert));
        (0..self.fresh.num_rows()).for_each(|row| add(3, row, Op::Insert));
        (0..evicted.num_rows()).for_each(|row| add(4, row, Op::Delete));
        if ops.is_empty() {
            return Ok(None);
        }
        let sources = [&self.deleted, &self.replaced, &self.versions, &self.fresh, &evicted];
        let rows = gathered(&schema, &sources, &picks)?;
        Ok(Some(EventBatch::changelog(rows, Times::Same(now), Ops::from(ops))))
    }
}

/// Which rows have another key than before. Without a key, none.
fn moves(before: &RecordBatch, after: &RecordBatch, key: &[usize]) -> Result<Vec<bool>> {
    let mut moves = vec![false; before.num_rows()];
    for &column in key {
        let (before, after) = (before.column(column), after.column(column));
        let same = make_comparator(before, after, SortOptions::default())?;
        for (row, moves) in moves.iter_mut().enumerate() {
            *moves |= same(row, row).is_ne();
        }
    }
    Ok(moves)
}

/// Rows of several batches of one schema.
pub(super) fn gathered(schema: &SchemaRef, sources: &[&RecordBatch], picks: &[(usize, usize)]) -> Result<RecordBatch> {
    match picks.is_empty() {
        true => Ok(RecordBatch::new_empty(schema.clone())),
        // The batches that somebody wants written may allow NULL where the table does not.
        false => rows_of(schema, interleave_record_batch(sources, picks)?.columns().to_vec()),
    }
}

/// Columns as rows.
pub(super) fn rows_of(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
