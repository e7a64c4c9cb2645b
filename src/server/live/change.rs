//! [`Change`]: what happened to one row of a feed.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use smallvec::SmallVec;

use crate::error::Result;
use crate::formats::columns::scalar_writer::{Cells, cells};

/// What happened to a row, as the feed's filter lets it be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It came, or came into the filter.
    Insert,
    /// It changed and is still in the filter.
    Update,
    /// It went, or left the filter.
    Delete,
}

/// Columns with, once somebody writes of them, their types known.
pub struct Rows {
    batch: RecordBatch,
    cells: OnceLock<Vec<Cells>>,
}

impl Rows {
    /// Of a batch.
    pub fn new(batch: RecordBatch) -> Arc<Self> {
        Arc::new(Rows {
            batch,
            cells: OnceLock::new(),
        })
    }

    /// The columns.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The columns, ready to be written. *Errors.* For types that no text format writes.
    pub(super) fn cells(&self) -> Result<&[Cells]> {
        if let Some(cells) = self.cells.get() {
            return Ok(cells);
        }
        let made = cells(&self.batch.schema(), self.batch.columns())?;
        Ok(self.cells.get_or_init(|| made))
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("rows", &self.batch.num_rows()).finish()
    }
}

/// A set of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(SmallVec<[u64; 1]>);

impl Columns {
    /// None of so many.
    pub fn none(width: usize) -> Self {
        Columns(SmallVec::from_elem(0, width.div_ceil(64).max(1)))
    }

    /// All of so many but some.
    pub fn all_but(width: usize, except: &[usize]) -> Self {
        let mut columns = Columns::none(width);
        (0..width)
            .filter(|column| !except.contains(column))
            .for_each(|column| columns.add(column));
        columns
    }

    /// Adds one.
    pub fn add(&mut self, column: usize) {
        self.0[column / 64] |= 1 << (column % 64);
    }

    /// Whether one is in it.
    pub fn has(&self, column: usize) -> bool {
        self.0[column / 64] >> (column % 64) & 1 == 1
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Those of either.
    fn or(&self, other: &Columns) -> Self {
        Columns(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }
}

/// What happened to one row.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its number among the changes of the relation.
    pub seq: u64,
    /// What happened.
    pub kind: Kind,
    /// The row's key, as bytes; empty without one.
    pub key: Arc<[u8]>,
    /// Where the row is: as it is now, or for a delete as it was.
    pub rows: Arc<Rows>,
    /// Which of them it is.
    pub row: usize,
    /// Of an update: the columns that changed.
    pub changed: Columns,
    /// When it was committed.
    pub at: Instant,
}

impl Change {
    /// What two changes of one row are together, the older one first; `None`: nothing. `key` are the columns of the key.
    pub fn folded(older: &Change, newer: &Change, key: &[usize]) -> Option<Change> {
        let kind = match (older.kind, newer.kind) {
            (Kind::Insert, Kind::Delete) => return None,
            (Kind::Insert, _) => Kind::Insert,
            (_, Kind::Delete) => Kind::Delete,
            _ => Kind::Update,
        };
        let changed = match (older.kind, newer.kind) {
            // What it was before is not known any more.
            (Kind::Delete, Kind::Insert) => Columns::all_but(newer.rows.batch.num_columns(), key),
            _ => older.changed.or(&newer.changed),
        };
        Some(Change {
            kind,
            changed,
            // Who goes on from here must hear again of what came between the two: this is told before it.
            seq: older.seq,
            // It has waited since the older one.
            at: older.at,
            ..newer.clone()
        })
    }
}
