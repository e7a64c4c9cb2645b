//! The columns of a table in memory: values in chunks, written in place, gathered into Arrow arrays.

use std::fmt::Debug;

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::bits::Bits;
use super::places::Position;
use crate::error::Result;

mod bools;
mod nested;
mod primitive;
mod views;

use primitive::Primitive;

/// One column. Arrays have the column's type.
pub(super) trait ColumnStore: Debug + Send + Sync {
    /// Puts the values of `rows` at positions, one for one.
    fn write(&mut self, values: &ArrayRef, rows: &[u32], at: &[Position]) -> Result<()>;

    /// The values at positions.
    fn read(&self, at: &[Position]) -> Result<ArrayRef>;

    /// Clears what is not equal: the value at each position and that of the row beside it. NULL equals nothing.
    fn equal(&self, at: &[Position], values: &ArrayRef, rows: &[u32], equal: &mut [bool]) -> Result<()>;

    /// Whether two positions hold equal values, neither NULL.
    fn same(&self, a: Position, b: Position) -> bool;

    /// The first rows of a chunk, dead ones too, shared where nobody is writing.
    fn share(&self, chunk: usize, rows: usize) -> Result<ArrayRef>;

    /// Frees what values of their own length take at these positions.
    fn erase(&mut self, at: &[Position]) -> Result<()>;

    /// Frees a chunk.
    fn release(&mut self, chunk: usize);

    /// Ends a run of writes: from here on, chunks can be shared.
    fn settle(&mut self);

    /// The bytes that a value takes whatever it is.
    fn width(&self) -> usize;

    /// The bytes that the value at a position takes beside them.
    fn extra(&self, at: Position) -> usize;

    /// [`ColumnStore::extra`] of values that are not written yet.
    fn extra_of(&self, values: &ArrayRef) -> Vec<usize>;
}

/// An empty column of a type.
pub(super) fn new(field: &Field) -> Box<dyn ColumnStore> {
    let data_type = field.data_type();
    match data_type {
        DataType::Boolean => Box::new(bools::Bools::default()),
        DataType::Int8 => Box::new(Primitive::<Int8Type>::new(data_type)),
        DataType::Int16 => Box::new(Primitive::<Int16Type>::new(data_type)),
        DataType::Int32 => Box::new(Primitive::<Int32Type>::new(data_type)),
        DataType::Int64 => Box::new(Primitive::<Int64Type>::new(data_type)),
        DataType::Float32 => Box::new(Primitive::<Float32Type>::new(data_type)),
        DataType::Float64 => Box::new(Primitive::<Float64Type>::new(data_type)),
        DataType::Timestamp(_, _) => Box::new(Primitive::<TimestampMicrosecondType>::new(data_type)),
        DataType::Date32 => Box::new(Primitive::<Date32Type>::new(data_type)),
        DataType::Time64(_) => Box::new(Primitive::<Time64MicrosecondType>::new(data_type)),
        DataType::Decimal128(_, _) => Box::new(Primitive::<Decimal128Type>::new(data_type)),
        DataType::Interval(_) => Box::new(Primitive::<IntervalMonthDayNanoType>::new(data_type)),
        DataType::Utf8View => Box::new(views::Views::new(views::Content::Text)),
        DataType::BinaryView => Box::new(views::Views::new(views::Content::Bytes)),
        other => Box::new(nested::Nested::new(other)),
    }
}

/// The NULLs of a chunk: a set bit is a value. `None`: no NULLs so far.
#[derive(Debug, Default)]
struct Valid(Option<Bits>);

impl Valid {
    /// Notes whether there is a value. `rows`: how many the chunk has room for, all valid so far when this is the first NULL.
    #[inline]
    fn note(&mut self, offset: usize, is_valid: bool) {
        match (&mut self.0, is_valid) {
            (None, true) => {}
            (Some(bits), true) => bits.set(offset),
            (Some(bits), false) => bits.clear(offset),
            (None, false) => {
                let mut bits = Bits::default();
                (0..super::places::CHUNK).for_each(|bit| bits.set(bit));
                bits.clear(offset);
                self.0 = Some(bits);
            }
        }
    }

    #[inline]
    fn is_valid(&self, offset: usize) -> bool {
        self.0.as_ref().is_none_or(|bits| bits.get(offset))
    }
}
