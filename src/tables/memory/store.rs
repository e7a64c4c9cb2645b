//! [`Store`]: columns, places and indexes as one: rows are added, changed and removed in all of them.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use hashbrown::DefaultHashBuilder;

use super::column::{self, ColumnStore};
use super::index::{Index, Uniqueness};
use super::keys::{Hashed, Keys, keys_of};
use super::ordered::Ordered;
use super::places::{CHUNK, Marks, Places, Position, chunk_of};
use crate::catalog::tables::TableDef;
use crate::error::Result;
use crate::tables::rows::project;

/// What an index takes for a row, about: what `max_memory` counts.
const INDEX_BYTES: usize = 20;
/// What is kept of any row beside its values.
const ORDER_BYTES: usize = 9;

/// Rows with their indexes. One thread changes it, many may read it meanwhile that nobody does.
#[derive(Debug)]
pub(super) struct Store {
    pub schema: SchemaRef,
    pub columns: Vec<Box<dyn ColumnStore>>,
    pub places: Places,
    /// The primary key's first, if there is one.
    pub indexes: Vec<Index>,
    /// By column, for those of which ranges were asked for.
    pub ordered: Vec<(usize, Ordered)>,
    pub hasher: DefaultHashBuilder,
    /// Bytes of values beyond their columns' widths, if they are counted.
    extra: usize,
    counting: Counting,
}

/// Whether bytes are counted: only `max_memory` needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    Yes,
    No,
}

impl Store {
    /// An empty store of a table's rows.
    pub fn new(def: &TableDef, marks: Marks, hasher: DefaultHashBuilder, counting: Counting) -> Self {
        let is_keyed = !def.primary_key.is_empty();
        let primary = is_keyed.then(|| Index::new(def.primary_key.clone(), Uniqueness::Unique));
        let same = |index: &&Vec<usize>| !index.is_empty() && **index != def.primary_key;
        let others = def.indexes.iter().filter(same);
        let others = others.map(|columns| Index::new(columns.clone(), Uniqueness::Shared));
        Store {
            schema: def.schema.clone(),
            columns: def.schema.fields().iter().map(|field| column::new(field)).collect(),
            places: Places::new(marks),
            indexes: primary.into_iter().chain(others).collect(),
            ordered: Vec::new(),
            hasher,
            extra: 0,
            counting,
        }
    }

    /// The bytes that its rows take, as `max_memory` counts them.
    pub fn bytes(&self) -> usize {
        self.places.len() * self.row_width() + self.extra
    }

    /// The bytes of a row, whatever its values.
    pub fn row_width(&self) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.width()).sum();
        columns + ORDER_BYTES + INDEX_BYTES * (self.indexes.len() + self.ordered.len())
    }

    /// The bytes of a row.
    pub fn row_bytes(&self, at: Position) -> usize {
        self.row_width() + self.extra_at(at)
    }

    /// The bytes of a row's values beyond their columns' widths.
    pub fn extra_at(&self, at: Position) -> usize {
        self.columns.iter().map(|column| column.extra(at)).sum()
    }

    fn counted(&self, at: &[Position]) -> usize {
        match self.counting {
            Counting::Yes => at.iter().map(|at| self.extra_at(*at)).sum(),
            Counting::No => 0,
        }
    }

    /// The same of rows that are not written yet.
    pub fn extra_of(&self, values: &[ArrayRef], rows: usize) -> Vec<usize> {
        let mut extra = vec![0; rows];
        for (column, values) in self.columns.iter().zip(values) {
            for (sum, bytes) in extra.iter_mut().zip(column.extra_of(values)) {
                *sum += bytes;
            }
        }
        extra
    }

    /// Adds rows behind all others. Their keys must be new.
    pub fn add(&mut self, values: &[ArrayRef], rows: &[u32]) -> Result<Vec<Position>> {
        let at = self.places.give(rows.len())?;
        self.fill(values, rows, &at)?;
        Ok(at)
    }

    /// Adds rows of that order.
    pub fn add_ordered(&mut self, values: &[ArrayRef], rows: &[u32], orders: Vec<u64>) -> Result<Vec<Position>> {
        let at = self.places.give_ordered(orders.into_iter())?;
        self.fill(values, rows, &at)?;
        Ok(at)
    }

    fn fill(&mut self, values: &[ArrayRef], rows: &[u32], at: &[Position]) -> Result<()> {
        self.write(values, rows, at)?;
        for index in 0..self.indexes.len() {
            self.indexes[index].reserve(rows.len());
            self.link(index, values, rows, at)?;
        }
        for (column, ordered) in &mut self.ordered {
            ordered.add(&Keys::of(&values[*column])?, rows, at);
        }
        Ok(())
    }

    fn write(&mut self, values: &[ArrayRef], rows: &[u32], at: &[Position]) -> Result<()> {
        for (column, values) in self.columns.iter_mut().zip(values) {
            column.write(values, rows, at)?;
        }
        self.extra += self.counted(at);
        Ok(())
    }

    /// Gives rows new values in their places.
    pub fn replace(&mut self, at: &[Position], values: &[ArrayRef], rows: &[u32]) -> Result<()> {
        // Of each index: which of the rows change their key.
        let mut moved = Vec::new();
        for index in 0..self.indexes.len() {
            let changed = self.changed(&self.indexes[index].columns, at, values, rows)?;
            let old: Vec<Position> = changed.iter().map(|&i| at[i]).collect();
            let rows: Vec<u32> = changed.iter().map(|&i| rows[i]).collect();
            self.unlink(index, &old)?;
            moved.push((old, rows));
        }
        let mut shifted = Vec::new();
        for index in 0..self.ordered.len() {
            let column = self.ordered[index].0;
            let changed = self.changed(&[column], at, values, rows)?;
            let old: Vec<Position> = changed.iter().map(|&i| at[i]).collect();
            let rows: Vec<u32> = changed.iter().map(|&i| rows[i]).collect();
            let keys = Keys::of(&self.columns[column].read(&old)?)?;
            self.ordered[index].1.remove(&keys, &old);
            shifted.push((old, rows));
        }
        self.extra -= self.counted(at);
        self.write(values, rows, at)?;
        for (index, (at, rows)) in moved.into_iter().enumerate() {
            self.link(index, values, &rows, &at)?;
        }
        for ((column, ordered), (at, rows)) in self.ordered.iter_mut().zip(shifted) {
            ordered.add(&Keys::of(&values[*column])?, &rows, &at);
        }
        Ok(())
    }

    /// Which of the rows have other values in some columns than those that stand there.
    fn changed(&self, columns: &[usize], at: &[Position], values: &[ArrayRef], rows: &[u32]) -> Result<Vec<usize>> {
        let mut same = vec![true; at.len()];
        for &column in columns {
            self.columns[column].equal(at, &values[column], rows, &mut same)?;
        }
        Ok((0..at.len()).filter(|i| !same[*i]).collect())
    }

    /// Removes rows.
    pub fn remove(&mut self, at: &[Position]) -> Result<()> {
        let at: Vec<Position> = at.iter().copied().filter(|at| self.places.is_live(*at)).collect();
        for index in 0..self.indexes.len() {
            self.unlink(index, &at)?;
        }
        for index in 0..self.ordered.len() {
            let keys = Keys::of(&self.columns[self.ordered[index].0].read(&at)?)?;
            self.ordered[index].1.remove(&keys, &at);
        }
        self.extra -= self.counted(&at);
        for column in &mut self.columns {
            column.erase(&at)?;
        }
        for at in at {
            if self.places.take_back(at) {
                let chunk = chunk_of(at);
                self.columns.iter_mut().for_each(|column| column.release(chunk));
            }
        }
        Ok(())
    }

    fn link(&mut self, index: usize, values: &[ArrayRef], rows: &[u32], at: &[Position]) -> Result<()> {
        if at.is_empty() {
            return Ok(());
        }
        let columns = &self.columns;
        let index = &mut self.indexes[index];
        let keys: Vec<ArrayRef> = index.columns.iter().map(|column| values[*column].clone()).collect();
        let hashed = Hashed::of(&keys_of(&keys)?, keys[0].len(), &self.hasher);
        let key = index.columns.clone();
        for (&row, &at) in rows.iter().zip(at) {
            if !hashed.is_null(row as usize) {
                let same = |other| key.iter().all(|column| columns[*column].same(other, at));
                index.add(hashed.tags[row as usize], at, same);
            }
        }
        Ok(())
    }

    fn unlink(&mut self, index: usize, at: &[Position]) -> Result<()> {
        if at.is_empty() {
            return Ok(());
        }
        let columns = &self.columns;
        let index = &mut self.indexes[index];
        let keys = index.columns.iter().map(|column| columns[*column].read(at));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let hashed = Hashed::of(&keys_of(&keys)?, at.len(), &self.hasher);
        for (row, &at) in at.iter().enumerate() {
            if !hashed.is_null(row) {
                index.remove(hashed.tags[row], at);
            }
        }
        Ok(())
    }

    /// Makes the order of a column, for ranges.
    pub fn order_by(&mut self, column: usize) -> Result<()> {
        if self.ordered.iter().any(|(of, _)| *of == column) {
            return Ok(());
        }
        let at = self.places.all();
        let keys = Keys::of(&self.columns[column].read(&at)?)?;
        self.ordered.push((column, Ordered::new(&keys, &at)));
        Ok(())
    }

    /// Ends a run of changes.
    pub fn settle(&mut self) {
        self.columns.iter_mut().for_each(|column| column.settle());
    }

    /// The values of rows.
    pub fn read(&self, at: &[Position], columns: &[usize]) -> Result<RecordBatch> {
        let values = columns.iter().map(|column| self.columns[*column].read(at));
        project(&self.schema, columns, values.collect::<Result<_>>()?, at.len())
    }

    /// All values of rows.
    pub fn read_all(&self, at: &[Position]) -> Result<Vec<ArrayRef>> {
        self.columns.iter().map(|column| column.read(at)).collect()
    }

    /// Moves the rows of the emptiest chunk elsewhere when most of what the chunks hold are holes; the rows' new places, or
    /// none when nothing was moved. *Cost.* At most a quarter of a chunk; that many rows were removed before.
    pub fn tidy(&mut self) -> Result<Vec<Position>> {
        if self.places.used_chunks() * CHUNK <= 4 * self.places.len() + 4 * CHUNK {
            return Ok(Vec::new());
        }
        let Some(chunk) = self.places.sparsest() else {
            return Ok(Vec::new());
        };
        self.places.close(chunk);
        let old = self.places.positions(chunk);
        let values = self.read_all(&old)?;
        let kept: Vec<_> = old.iter().map(|at| self.places.mark(*at)).collect();
        self.remove(&old)?;
        let rows: Vec<u32> = (0..old.len() as u32).collect();
        let orders = kept.iter().map(|mark| mark.order).collect();
        let at = self.add_ordered(&values, &rows, orders)?;
        for (&at, mark) in at.iter().zip(kept) {
            self.places.set_mark(at, mark);
        }
        self.places.reopen(chunk);
        let chunks = self.places.chunks();
        self.indexes.iter_mut().for_each(|index| index.shrink(chunks));
        Ok(at)
    }
}
