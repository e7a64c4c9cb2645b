//! Tables: rows that stay, found by key, index or scan, and changed by statements.
//!
//! The engine knows tables by two small traits only. [`Table`] is read by many threads at once; [`TableWriter`] is one
//! writer's transaction. Whatever cannot be said in them (conditions of any expression, SET expressions) is done by the
//! engine over the rows they hand out, vectorised, so that every backend behaves the same.
//!
//! # Consistency
//! A lookup and a scan see the table as it is at one moment: all of a committed write or nothing of it. Readers never wait for
//! a writer that computes, and writers never wait for a reader that reads on: what a reader holds is a snapshot. Writers of one
//! table take turns; what one reads in its transaction nobody changes before it commits, so no update is lost.

pub mod batch_engine;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod provider;
pub mod registry;
mod rows;
pub mod slot;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod text_values;
pub mod told;
pub mod watch;
mod watchers;

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use crate::catalog::tables::TableDef;
use crate::error::{Error, Result, RowError};
use crate::operators::state::{StateReader, StateWriter};

/// Names a row of one table until it is deleted: a sequence number, a rowid, a physical place. An update may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u64);

/// How rows are found: all that satisfy every part. No part: all rows.
///
/// The planner asks for any columns; a backend that has no fitting index scans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Columns that must equal the probe's values, one for one. NULL equals nothing.
    pub equal: Vec<usize>,
    /// A column between the probe's bounds.
    pub range: Option<RangeAccess>,
}

impl Access {
    /// Whether nothing narrows the rows: each probe meets all of them.
    pub fn is_scan(&self) -> bool {
        self.equal.is_empty() && self.range.is_none()
    }
}

/// A column between bounds of which at least one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeAccess {
    /// The column.
    pub column: usize,
    /// The lower bound.
    pub low: Option<Bound>,
    /// The upper bound.
    pub high: Option<Bound>,
}

/// Whether a bound itself belongs to the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It does.
    Inclusive,
    /// It does not.
    Exclusive,
}

/// The values to look for, a row a lookup. Their types are those of the table's columns.
#[derive(Debug, Clone)]
pub struct Probe {
    /// How many lookups.
    pub rows: usize,
    /// For each of [`Access::equal`].
    pub equal: Vec<ArrayRef>,
    /// For [`RangeAccess::low`]. A NULL finds nothing.
    pub low: Option<ArrayRef>,
    /// For [`RangeAccess::high`]. A NULL finds nothing.
    pub high: Option<ArrayRef>,
}

/// What lookups found: grouped by lookup, in order of the lookups; within one, in the order rows were inserted where the backend
/// knows it.
#[derive(Debug, Clone)]
pub struct Matches {
    /// For each row found, the lookup that found it.
    pub probes: Vec<u32>,
    /// The rows found, with the columns asked for.
    pub rows: RecordBatch,
    /// Their names; only a [`TableWriter`] gives them, else empty.
    pub ids: Vec<RowId>,
}

/// Rows that a write refused, by their number in the batch, with the reason. All others were written.
pub type Refused = Vec<(usize, RowError)>;

/// A table, shared by all who use it.
///
/// `columns` are indices into the schema: what is read of each row, in that order.
pub trait Table: Send + Sync + Debug {
    /// What was declared.
    fn def(&self) -> &TableDef;

    /// The rows that each lookup finds. *Cost.* By the primary key or an index: O(1) (ranges O(log n)) and the rows found; else a
    /// scan for the whole batch of lookups. *Errors.* A backend that cannot be reached, after retries.
    fn lookup(&self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches>;

    /// For each lookup, whether it finds a row. Cheaper than [`Table::lookup`] where rows need not be built.
    fn contains(&self, access: &Access, probe: &Probe) -> Result<Vec<bool>> {
        let mut found = vec![false; probe.rows];
        for probe in self.lookup(access, probe, &[])?.probes {
            found[probe as usize] = true;
        }
        Ok(found)
    }

    /// All rows at one moment, in batches. *Cost.* For tables in memory, that of a few pointers a batch.
    fn scan(&self, columns: &[usize]) -> Result<Vec<RecordBatch>>;

    /// The number of rows.
    fn len(&self) -> Result<usize>;

    /// Whether there are none.
    fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Begins a transaction when the one before has ended. Dropped without [`TableWriter::commit`], it has not been.
    fn write(&self) -> Result<Box<dyn TableWriter + '_>>;

    /// Tells a watcher of every transaction that is committed from now on, as a changelog: rows that go (`-D`), those that change
    /// (`-U`, `+U`, one pair after the other), new ones (`+I`). *Errors.* For backends that do not know what a write changes:
    /// [`told::ToldTable`] finds it out.
    fn watch(&self, _watcher: watch::Watcher) -> Result<()> {
        Err(Error::usage(format!(
            "the changes of the table '{}' are not known: it is kept in '{}' (please report it)",
            self.def().name,
            self.def().backend
        )))
    }

    /// Tells a watcher the rows, at their place among the changes it is told. Waits for the writer whose turn it is.
    fn tell_rows(&self, watcher: &watch::Watcher) -> Result<()> {
        watcher.tell(watch::Watched::Rows(Vec::new()));
        Ok(())
    }

    /// Whether somebody watches who wants to hear of each change of a row, not of what a transaction changed in the end.
    fn tells_each_change(&self) -> bool {
        false
    }

    /// A checkpoint is taken, and nobody writes: where the states of watchers that are kept will come.
    fn marks(&self) -> Vec<watch::WatcherMark> {
        Vec::new()
    }

    /// Whether rows go by themselves when their time is over.
    fn ages(&self) -> bool {
        false
    }

    /// Frees the rows whose time is over, and tells watchers that they are gone. Waits for the writer whose turn it is.
    fn free_aged(&self) -> Result<()> {
        Ok(())
    }

    /// Writes the rows of a table whose rows live in this process; others write nothing.
    fn snapshot(&self, state: &mut StateWriter) -> Result<()>;

    /// Reads back what [`Table::snapshot`] wrote, into an empty table.
    fn restore(&self, state: &mut StateReader) -> Result<()>;
}

/// One writer's transaction: sees its own writes, and nobody else writes meanwhile.
pub trait TableWriter {
    /// As [`Table::lookup`], with names of the rows.
    fn lookup(&mut self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches>;

    /// Adds rows in order; one whose key is there already (or NULL) is refused.
    fn insert(&mut self, rows: &RecordBatch) -> Result<Refused>;

    /// Adds rows in order, each in the place of the one with its primary key if there is one. The table has a primary key. Rows
    /// with a NULL in the key are refused.
    fn upsert(&mut self, rows: &RecordBatch) -> Result<Refused>;

    /// Gives the named rows new values, whole and at once: `None`, or why nothing was changed (two rows would have one key, a key
    /// would be NULL). A name may stand there once only.
    fn update(&mut self, ids: &[RowId], rows: &RecordBatch) -> Result<Option<RowError>>;

    /// Removes the named rows. Those that are gone are passed over.
    fn delete(&mut self, ids: &[RowId]) -> Result<()>;

    /// Removes the rows with these keys (the columns of the primary key). Keys that are not there are passed over.
    fn delete_keys(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()>;

    /// Makes the writes visible, all at once.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// The backends that come with the engine.
fn builtin() -> Vec<Arc<dyn registry::TableBackend>> {
    vec![
        Arc::new(memory::Memory),
        Arc::new(memory::Cache),
        #[cfg(feature = "sqlite")]
        Arc::new(sqlite::Sqlite),
        #[cfg(feature = "postgres")]
        Arc::new(postgres::Postgres::default()),
    ]
}
