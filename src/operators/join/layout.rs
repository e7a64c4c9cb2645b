//! [`Layout`]: which columns a join keeps of its inputs, and how it puts them together.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_expr::utils::collect_columns;

use super::filter::PairFilter;
use super::spec::{JoinSpec, Side};
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::windows::gather::batch_of;
use crate::windows::row_store::{NO_ROW, RowStore};

/// Rows of one side to be gathered: which of what. [`NO_ROW`] is a row of NULLs.
#[derive(Clone, Copy)]
pub enum Picked<'a> {
    /// By their place in a batch.
    Of(&'a RecordBatch, &'a [u32]),
    /// By their number in a store.
    In(&'a RowStore, &'a [u32]),
}

/// The columns of each side that the output or the condition reads; the others are not kept.
pub struct Layout {
    kept: [Vec<usize>; 2],
    schemas: [SchemaRef; 2],
    /// The columns that go out, by their place among the kept ones.
    output: Vec<(Side, usize)>,
    schema: SchemaRef,
    filter: Option<PairFilter>,
}

impl Layout {
    /// For a join.
    pub fn new(join: &JoinSpec) -> Result<Self> {
        let left = join.inputs[0].schema.fields().len();
        let of = |column: usize| match column.checked_sub(left) {
            None => (Side::Left, column),
            Some(column) => (Side::Right, column),
        };
        let filter = join.filter.as_ref();
        let read = filter.map(collect_columns).unwrap_or_default();
        let read = read.iter().map(|column| of(column.index()));
        let needed: BTreeSet<(Side, usize)> = join.output.iter().copied().chain(read).collect();
        let kept = Side::BOTH.map(|side| {
            let columns = needed.iter().filter(|(of, _)| *of == side);
            columns.map(|(_, column)| *column).collect::<Vec<usize>>()
        });
        let schemas = Side::BOTH.map(|side| -> Result<SchemaRef> {
            let schema = &join.input(side).schema;
            let fields = kept[side.port()]
                .iter()
                .map(|&column| schema.fields().get(column).cloned());
            let fields: Option<Vec<_>> = fields.collect();
            let fields = fields.ok_or_else(|| Error::failed("a join reads a column that its input does not have"))?;
            Ok(Arc::new(Schema::new(fields)))
        });
        let [left_schema, right_schema] = schemas;
        let schemas = [left_schema?, right_schema?];
        let place = |(side, column): (Side, usize)| {
            let place = kept[side.port()].binary_search(&column).unwrap_or_default();
            (side, place)
        };
        let filter = filter.map(|filter| PairFilter::new(filter, |column| place(of(column)), &schemas));
        Ok(Layout {
            output: join.output.iter().map(|column| place(*column)).collect(),
            schema: join.schema.clone(),
            filter: filter.transpose()?,
            kept,
            schemas,
        })
    }

    /// What is left of the condition.
    pub fn filter(&self) -> Option<&PairFilter> {
        self.filter.as_ref()
    }

    /// A side's batch with the columns that are kept.
    pub fn keep(&self, side: Side, batch: &EventBatch) -> Result<EventBatch> {
        let kept = self.kept[side.port()].iter();
        let columns = kept.map(|&column| batch.column(column).clone()).collect();
        let columns = batch_of(self.schemas[side.port()].clone(), columns, batch.num_rows())?;
        Ok(batch.with_columns(columns))
    }

    /// Rows of a side, with all columns that are kept.
    pub fn rows(&self, side: Side, picked: Picked<'_>) -> Result<RecordBatch> {
        let schema = &self.schemas[side.port()];
        let places = Places::of(picked);
        let columns = schema.fields().iter().enumerate().map(|(column, field)| {
            let null = || new_null_array(field.data_type(), 1);
            places.gather(column, &null)
        });
        batch_of(schema.clone(), columns.collect::<Result<_>>()?, picked.len())
    }

    /// The output's columns of pairs of rows: those of the left side, and as many of the right one.
    pub fn joined(&self, pairs: [Picked<'_>; 2]) -> Result<RecordBatch> {
        let rows = pairs[0].len();
        let columns = self.gather(pairs, &self.output)?;
        batch_of(self.schema.clone(), columns, rows)
    }

    /// Columns of pairs of rows, by their place among the kept ones.
    pub fn gather(&self, pairs: [Picked<'_>; 2], columns: &[(Side, usize)]) -> Result<Vec<ArrayRef>> {
        let [left, right] = pairs;
        debug_assert_eq!(left.len(), right.len());
        let places = [Places::of(left), Places::of(right)];
        let gathered = columns.iter().map(|&(side, column)| {
            let data_type = self.schemas[side.port()].field(column).data_type();
            places[side.port()].gather(column, &|| new_null_array(data_type, 1))
        });
        gathered.collect()
    }
}

impl Picked<'_> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Picked::Of(_, rows) | Picked::In(_, rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where picked rows are; found once for all columns.
enum Places<'a> {
    /// All rows of a batch, in order.
    Whole(&'a RecordBatch),
    /// In one batch.
    One(&'a RecordBatch, UInt32Array),
    /// In several, and NULLs in the one after the last.
    Several(Vec<&'a RecordBatch>, Vec<(usize, usize)>),
}

impl<'a> Places<'a> {
    fn of(picked: Picked<'a>) -> Self {
        match picked {
            Picked::Of(batch, rows) => Places::of_batch(batch, rows),
            Picked::In(store, ids) => Places::of_store(store, ids),
        }
    }

    fn of_batch(batch: &'a RecordBatch, rows: &[u32]) -> Self {
        let whole = rows.len() == batch.num_rows() && (0..).zip(rows).all(|(at, row)| at == *row);
        match whole {
            true => Places::Whole(batch),
            false => Places::One(batch, indices(rows.iter().copied())),
        }
    }

    fn of_store(store: &'a RowStore, ids: &[u32]) -> Self {
        let nowhere = (usize::MAX, 0);
        let places = ids.iter().map(|&id| store.locate(id).unwrap_or(nowhere));
        let mut places: Vec<(usize, usize)> = places.collect();
        let used = used_chunks(&places, store.num_chunks());
        let sources: Vec<&RecordBatch> = used
            .iter()
            .filter_map(|&chunk| store.chunk(chunk))
            .map(|events| events.columns())
            .collect();
        if let [only] = sources.as_slice() {
            let rows = places.iter().map(|(chunk, row)| match *chunk {
                usize::MAX => NO_ROW,
                _ => *row as u32,
            });
            return Places::One(only, indices(rows));
        }
        if used.len() < store.num_chunks() || places.contains(&nowhere) {
            for (chunk, _) in &mut places {
                *chunk = used.binary_search(chunk).unwrap_or(sources.len());
            }
        }
        Places::Several(sources, places)
    }

    fn gather(&self, column: usize, null: &dyn Fn() -> ArrayRef) -> Result<ArrayRef> {
        match self {
            Places::Whole(batch) => Ok(batch.column(column).clone()),
            Places::One(batch, rows) => Ok(take(batch.column(column), rows, None)?),
            Places::Several(batches, places) => {
                let null = null();
                let sources = batches.iter().map(|batch| batch.column(column).as_ref());
                let sources: Vec<&dyn Array> = sources.chain([null.as_ref()]).collect();
                Ok(interleave(&sources, places)?)
            }
        }
    }
}

/// The chunks that places are in, ascending, of those that there are. Few rows do not pay for many chunks.
fn used_chunks(places: &[(usize, usize)], chunks: usize) -> Vec<usize> {
    let chunks_of = places.iter().map(|(chunk, _)| *chunk).filter(|chunk| *chunk < chunks);
    if chunks <= places.len() {
        let mut used = vec![false; chunks];
        chunks_of.for_each(|chunk| used[chunk] = true);
        return (0..chunks).filter(|chunk| used[*chunk]).collect();
    }
    let mut used: Vec<usize> = chunks_of.collect();
    used.sort_unstable();
    used.dedup();
    used
}

/// Rows as indices; [`NO_ROW`] is NULL.
fn indices(rows: impl Iterator<Item = u32>) -> UInt32Array {
    let rows: Vec<u32> = rows.collect();
    match rows.contains(&NO_ROW) {
        false => UInt32Array::from(rows),
        true => rows.iter().map(|row| (*row != NO_ROW).then_some(*row)).collect(),
    }
}
