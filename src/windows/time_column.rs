//! The time that a window goes by: the events' own, or a column's.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};

use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Times};

/// Milliseconds of a LONG time column, in microseconds.
const MILLI: Micros = 1_000;

/// The times of a batch by a column: TIMESTAMP, or LONG in ms. NULL counts as the time before it.
pub fn column_times(batch: &EventBatch, column: usize) -> Result<Times> {
    let array = batch.column(column);
    let (values, scale) = match array.data_type() {
        DataType::Int64 => (array.as_primitive::<Int64Type>().values(), MILLI),
        DataType::Timestamp(_, _) => (array.as_primitive::<TimestampMicrosecondType>().values(), 1),
        other => return Err(Error::failed(format!("{other} is no time"))),
    };
    let mut last = Micros::MIN;
    let times = values.iter().enumerate().map(|(row, value)| {
        if array.is_valid(row) {
            last = value.saturating_mul(scale);
        }
        last
    });
    Ok(Times::Each(times.collect()))
}
