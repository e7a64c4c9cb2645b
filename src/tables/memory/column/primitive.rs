//! Columns of values of one width.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::super::cells::Cells;
use super::super::keys::Rank;
use super::super::places::{Position, chunk_of, offset_of, reach, runs};
use super::{ColumnStore, Valid};
use crate::error::Result;

/// Values of one width.
#[derive(Debug)]
pub(super) struct Primitive<P: ArrowPrimitiveType> {
    data_type: DataType,
    chunks: Vec<Chunk<P>>,
    /// Chunks that are being written.
    open: Vec<usize>,
    /// Whether there ever was a NULL.
    nulls: bool,
}

#[derive(Debug)]
struct Chunk<P: ArrowPrimitiveType> {
    values: Cells<P::Native>,
    valid: Valid,
}

impl<P: ArrowPrimitiveType> Primitive<P> {
    /// An empty column; the type says unit, precision and so on.
    pub fn new(data_type: &DataType) -> Self {
        Primitive {
            data_type: data_type.clone(),
            chunks: Vec::new(),
            open: Vec::new(),
            nulls: false,
        }
    }

    #[inline]
    fn value(&self, at: Position) -> P::Native {
        self.chunks[chunk_of(at)].values[offset_of(at)]
    }

    #[inline]
    fn is_valid(&self, at: Position) -> bool {
        !self.nulls || self.chunks[chunk_of(at)].valid.is_valid(offset_of(at))
    }

    fn chunk(&mut self, index: usize) -> &mut Chunk<P> {
        if index >= self.chunks.len() {
            self.chunks.resize_with(index + 1, || Chunk {
                values: Cells::default(),
                valid: Valid::default(),
            });
        }
        let chunk = &mut self.chunks[index];
        if chunk.values.is_frozen() {
            self.open.push(index);
        }
        chunk
    }
}

impl<P: ArrowPrimitiveType<Native: Rank> + Debug> ColumnStore for Primitive<P> {
    fn write(&mut self, values: &ArrayRef, rows: &[u32], at: &[Position]) -> Result<()> {
        let values = values.as_primitive::<P>();
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        self.nulls |= nulls.is_some();
        for (index, run) in runs(at) {
            let chunk = self.chunk(index);
            let cells = chunk.values.open();
            for (&row, &at) in rows[run.clone()].iter().zip(&at[run]) {
                let (row, offset) = (row as usize, offset_of(at));
                reach(cells, offset, Default::default);
                cells[offset] = values.value(row);
                chunk.valid.note(offset, nulls.is_none_or(|nulls| nulls.is_valid(row)));
            }
        }
        Ok(())
    }

    fn read(&self, at: &[Position]) -> Result<ArrayRef> {
        let values: Vec<P::Native> = at.iter().map(|&at| self.value(at)).collect();
        let nulls = self
            .nulls
            .then(|| NullBuffer::new(BooleanBuffer::collect_bool(at.len(), |i| self.is_valid(at[i]))));
        let array = PrimitiveArray::<P>::try_new(values.into(), nulls)?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn equal(&self, at: &[Position], values: &ArrayRef, rows: &[u32], equal: &mut [bool]) -> Result<()> {
        let values = values.as_primitive::<P>();
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        for ((&at, &row), equal) in at.iter().zip(rows).zip(equal) {
            let row = row as usize;
            *equal &= self.value(at).rank() == values.value(row).rank()
                && self.is_valid(at)
                && nulls.is_none_or(|nulls| nulls.is_valid(row));
        }
        Ok(())
    }

    fn same(&self, a: Position, b: Position) -> bool {
        self.value(a).rank() == self.value(b).rank() && self.is_valid(a) && self.is_valid(b)
    }

    fn share(&self, chunk: usize, rows: usize) -> Result<ArrayRef> {
        let chunk = &self.chunks[chunk];
        let nulls = chunk.valid.0.as_ref().map(|bits| NullBuffer::new(bits.buffer(rows)));
        let array = PrimitiveArray::<P>::try_new(chunk.values.share(rows), nulls)?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn erase(&mut self, _at: &[Position]) -> Result<()> {
        Ok(())
    }

    fn release(&mut self, chunk: usize) {
        if let Some(chunk) = self.chunks.get_mut(chunk) {
            chunk.values = Cells::default();
            chunk.valid = Valid::default();
        }
    }

    fn settle(&mut self) {
        for index in self.open.drain(..) {
            self.chunks[index].values.freeze();
        }
    }

    fn width(&self) -> usize {
        size_of::<P::Native>()
    }

    fn extra(&self, _at: Position) -> usize {
        0
    }

    fn extra_of(&self, values: &ArrayRef) -> Vec<usize> {
        vec![0; values.len()]
    }
}
