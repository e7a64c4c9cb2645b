//! `memory` and `cache`: tables whose rows live in this process.
//!
//! Rows are columns in chunks of 4096 ([`column`]), found by hash indexes that hold hashes and positions only
//! (`index`). Readers share a lock and hold it for one batch of lookups; a scan takes the chunks' buffers and lets go. A writer
//! works beside the table (`writer`) and holds the lock alone to commit; chunks that a scan still holds are copied then, all
//! others are written in place.
//!
//! *Cost.* A lookup by key or index: one hash, one look into the index, the row. In memory, beside the values: 9 bytes a row, 14
//! to 20 for each index (8 more if several rows have one key), 8 to 32 for each of `ttl` and `policy`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use hashbrown::DefaultHashBuilder;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::rows::project;
use super::watch::{Watched, Watcher, WatcherMark};
use super::watchers::Watchers;
use super::{Access, Matches, Probe, Table, TableWriter};
use crate::catalog::tables::TableDef;
use crate::error::{Error, Result};
#[cfg(feature = "postgres")]
use crate::event::Micros;
use crate::event::{Clock, EventBatch, Op, Times};
use crate::operators::state::{StateReader, StateWriter};

mod backend;
mod bits;
mod cells;
mod column;
#[cfg(feature = "postgres")]
mod distinct;
mod find;
mod index;
mod keys;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod loaded;
mod ordered;
mod places;
mod retention;
mod store;
mod writer;

pub use backend::{Cache, Memory};
#[cfg(feature = "postgres")]
pub(super) use distinct::first_and_last;
use find::Found;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) use loaded::Loaded;
use places::Position;
use retention::{Limits, Retention};
use store::{Counting, Store};
use writer::MemoryWriter;

/// Rows that are too old are freed so many at a time, when nobody writes.
const AGED: usize = 8_192;

/// A table in memory.
#[derive(Debug)]
pub struct MemoryTable {
    def: TableDef,
    limits: Limits,
    clock: Arc<dyn Clock>,
    shared: RwLock<Shared>,
    /// Held by the writer whose turn it is.
    turn: Mutex<()>,
    watchers: Watchers,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    retention: Retention,
}

impl Shared {
    /// Closes holes. Removing rows pays for moving as many at most.
    fn tidy(&mut self, removed: usize) -> Result<()> {
        for _ in 0..=removed / 1024 {
            let moved = self.store.tidy()?;
            if moved.is_empty() {
                break;
            }
            self.retention.moved(&self.store.places, &moved);
        }
        self.store.settle();
        Ok(())
    }
}

/// The state that is not in rows.
#[derive(Serialize, Deserialize)]
struct Saved {
    batches: usize,
    next_order: u64,
    uses: u64,
}

impl MemoryTable {
    fn new(def: TableDef, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let counting = match limits.max_bytes {
            Some(_) => Counting::Yes,
            None => Counting::No,
        };
        let store = Store::new(&def, limits.marks(), DefaultHashBuilder::default(), counting);
        let retention = Retention::new(limits.clone(), clock.clone());
        MemoryTable {
            def,
            limits,
            clock,
            shared: RwLock::new(Shared { store, retention }),
            turn: Mutex::new(()),
            watchers: Watchers::default(),
        }
    }

    /// A cache of so many rows, the most recently used ones, for so long.
    #[cfg(feature = "postgres")]
    pub(super) fn cache(def: TableDef, size: usize, ttl: Option<Micros>, clock: Arc<dyn Clock>) -> Self {
        let limits = Limits {
            max_rows: Some(size),
            max_bytes: None,
            refuses: false,
            policy: retention::Policy::Lru,
            ttl,
        };
        MemoryTable::new(def, limits, clock)
    }

    /// Makes the order of a column if a lookup is the first to need it.
    fn prepare(&self, access: &Access) -> Result<()> {
        let missing = match &access.range {
            Some(_) => self.shared.read().store.unordered(access),
            None => None,
        };
        match missing {
            Some(column) => self.shared.write().store.order_by(column),
            None => Ok(()),
        }
    }

    /// Finds rows that are not too old, and counts that as a use.
    fn find(&self, shared: &Shared, access: &Access, probe: &Probe) -> Result<Found> {
        let Shared { store, retention } = shared;
        let mut found = store.find(access, probe)?;
        if self.limits.ttl.is_some() {
            let now = self.clock.now();
            found.retain(|at| !retention.is_aged(&store.places, at, now));
        }
        retention.touch(&store.places, &found.at);
        Ok(found)
    }

    /// Frees the rows that are too old, some at a time, and tells of them. It is the caller's turn.
    fn let_aged_go(&self) -> Result<()> {
        while self.ages() {
            let mut guard = self.shared.write();
            let Shared { store, retention } = &mut *guard;
            retention.keep_evicted();
            let freed = retention.free_aged(store, AGED, self.clock.now())?;
            let evicted = retention.take_evicted();
            guard.tidy(freed)?;
            drop(guard);
            for rows in evicted {
                let ops = vec![Op::Delete; rows.num_rows()].into();
                let gone = EventBatch::changelog(rows, Times::Same(self.clock.now()), ops);
                self.watchers.tell(&gone);
            }
            if freed < AGED {
                break;
            }
        }
        Ok(())
    }

    /// The chunks as they are: columns shared, and which rows live. Marked: with what is known of each row.
    fn chunks(&self, shared: &Shared, columns: &[usize], marks: Marked) -> Result<Vec<Chunk>> {
        self.chunks_at(shared, columns, marks, self.clock.now())
    }

    /// The same, with the rows that were not too old at a time.
    fn chunks_at(&self, shared: &Shared, columns: &[usize], marks: Marked, now: Micros) -> Result<Vec<Chunk>> {
        let Shared { store, retention } = shared;
        let mut chunks = Vec::new();
        for chunk in 0..store.places.chunks() {
            let (bits, rows) = store.places.live(chunk);
            if rows == 0 {
                continue;
            }
            let mut live = bits.buffer(rows);
            if self.limits.ttl.is_some() {
                let first = (chunk * places::CHUNK) as Position;
                live = BooleanBuffer::collect_bool(rows, |row| {
                    live.value(row) && !retention.is_aged(&store.places, first + row as Position, now)
                });
            }
            let values = columns.iter().map(|column| store.columns[*column].share(chunk, rows));
            let mut rows = project(&store.schema, columns, values.collect::<Result<_>>()?, rows)?;
            if marks == Marked::Yes {
                rows = marked(store, chunk, &rows)?;
            }
            chunks.push(Chunk { rows, live });
        }
        Ok(chunks)
    }
}

/// Living rows of chunks.
fn living(chunks: &[Chunk]) -> Result<Vec<RecordBatch>> {
    let rows: Vec<RecordBatch> = chunks.iter().map(Chunk::living).collect::<Result<_>>()?;
    Ok(rows.into_iter().filter(|rows| rows.num_rows() > 0).collect())
}

/// Whether rows come with what is known of each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marked {
    Yes,
    No,
}

/// A chunk's rows, dead ones too.
struct Chunk {
    rows: RecordBatch,
    live: BooleanBuffer,
}

impl Chunk {
    fn living(&self) -> Result<RecordBatch> {
        match self.live.count_set_bits() == self.live.len() {
            true => Ok(self.rows.clone()),
            false => Ok(filter_record_batch(
                &self.rows,
                &BooleanArray::new(self.live.clone(), None),
            )?),
        }
    }
}

/// The columns of what is kept of each row, in snapshots.
const ORDER: &str = "order of the row";
const RANK: &str = "rank of the row";
const WRITTEN: &str = "time of the row";

/// Adds to a chunk's rows their order, rank and time; those of dead rows are 0.
fn marked(store: &Store, chunk: usize, rows: &RecordBatch) -> Result<RecordBatch> {
    let mut orders = vec![0; rows.num_rows()];
    let mut ranks = vec![0; rows.num_rows()];
    let mut written = vec![0; rows.num_rows()];
    for at in store.places.positions(chunk) {
        let (row, mark) = (places::offset_of(at), store.places.mark(at));
        orders[row] = mark.order;
        ranks[row] = mark.rank.unwrap_or_default();
        written[row] = mark.written.unwrap_or_default();
    }
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ORDER, DataType::UInt64, false)));
    fields.push(Arc::new(Field::new(RANK, DataType::UInt64, false)));
    fields.push(Arc::new(Field::new(WRITTEN, DataType::Int64, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from(orders)));
    columns.push(Arc::new(UInt64Array::from(ranks)));
    columns.push(Arc::new(Int64Array::from(written)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn damaged() -> Error {
    Error::failed("the snapshot is damaged: the columns of a table")
}

fn numbers<T: arrow::datatypes::ArrowPrimitiveType>(column: &ArrayRef) -> Result<&[T::Native]> {
    use arrow::array::AsArray;
    let numbers = column.as_primitive_opt::<T>().ok_or_else(damaged)?;
    Ok(numbers.values())
}

impl Table for MemoryTable {
    fn def(&self) -> &TableDef {
        &self.def
    }

    fn lookup(&self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        self.prepare(access)?;
        let shared = self.shared.read();
        let found = self.find(&shared, access, probe)?;
        Ok(Matches {
            rows: shared.store.read(&found.at, columns)?,
            probes: found.probes,
            ids: Vec::new(),
        })
    }

    fn contains(&self, access: &Access, probe: &Probe) -> Result<Vec<bool>> {
        self.prepare(access)?;
        let mut contained = vec![false; probe.rows];
        for probe in self.find(&self.shared.read(), access, probe)?.probes {
            contained[probe as usize] = true;
        }
        Ok(contained)
    }

    fn scan(&self, columns: &[usize]) -> Result<Vec<RecordBatch>> {
        living(&self.chunks(&self.shared.read(), columns, Marked::No)?)
    }

    fn len(&self) -> Result<usize> {
        let shared = self.shared.read();
        if self.limits.ttl.is_none() {
            return Ok(shared.store.places.len());
        }
        let chunks = self.chunks(&shared, &[], Marked::No)?;
        Ok(chunks.iter().map(|chunk| chunk.live.count_set_bits()).sum())
    }

    fn write(&self) -> Result<Box<dyn TableWriter + '_>> {
        let turn = self.turn.lock();
        Ok(Box::new(MemoryWriter::new(self, turn)))
    }

    fn watch(&self, watcher: Watcher) -> Result<()> {
        let _turn = self.turn.lock();
        self.watchers.add(watcher);
        Ok(())
    }

    fn tell_rows(&self, watcher: &Watcher) -> Result<()> {
        let all: Vec<usize> = (0..self.def.schema.fields().len()).collect();
        // Nobody commits, and so nobody tells of changes, meanwhile.
        let _turn = self.turn.lock();
        self.let_aged_go()?;
        // A row that becomes too old right now is one that will be told to go.
        let rows = living(&self.chunks_at(&self.shared.read(), &all, Marked::No, Micros::MIN)?)?;
        watcher.tell(Watched::Rows(rows));
        Ok(())
    }

    fn tells_each_change(&self) -> bool {
        self.watchers.keep()
    }

    fn marks(&self) -> Vec<WatcherMark> {
        let _turn = self.turn.lock();
        self.watchers.marks()
    }

    fn ages(&self) -> bool {
        self.limits.ttl.is_some()
    }

    fn free_aged(&self) -> Result<()> {
        let _turn = self.turn.lock();
        self.let_aged_go()
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let shared = self.shared.read();
        let all: Vec<usize> = (0..self.def.schema.fields().len()).collect();
        let chunks = self.chunks(&shared, &all, Marked::Yes)?;
        let saved = Saved {
            batches: chunks.len(),
            next_order: shared.store.places.next_order(),
            uses: shared.retention.uses(),
        };
        drop(shared);
        state.value(&saved)?;
        for chunk in chunks {
            // Whoever writes the state leaves the dead rows out.
            state.unwritten(move |state| state.columns(&chunk.living()?))?;
        }
        Ok(())
    }

    fn restore(&self, state: &mut StateReader) -> Result<()> {
        let _turn = self.turn.lock();
        let saved: Saved = state.value()?;
        let mut guard = self.shared.write();
        let Shared { store, retention } = &mut *guard;
        if store.places.len() > 0 {
            return Err(Error::failed("a snapshot is restored into a table that has rows"));
        }
        retention.set_uses(saved.uses);
        let now = self.clock.now();
        for _ in 0..saved.batches {
            let rows = state.columns()?;
            let width = self.def.schema.fields().len();
            if rows.num_columns() != width + 3 {
                return Err(damaged());
            }
            let (values, marks) = rows.columns().split_at(width);
            let orders = numbers::<arrow::datatypes::UInt64Type>(&marks[0])?;
            let ranks = numbers::<arrow::datatypes::UInt64Type>(&marks[1])?;
            let written = numbers::<arrow::datatypes::Int64Type>(&marks[2])?;
            let numbers: Vec<u32> = (0..rows.num_rows() as u32).collect();
            let at = store.add_ordered(values, &numbers, orders.to_vec())?;
            for (row, &at) in at.iter().enumerate() {
                let mark = places::Mark {
                    order: orders[row],
                    rank: Some(ranks[row]),
                    written: Some(written[row]),
                };
                store.places.set_mark(at, mark);
            }
            retention.admit(store, &at, now)?;
        }
        store.places.skip_to(saved.next_order);
        store.settle();
        Ok(())
    }
}
