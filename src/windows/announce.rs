//! `EMIT CHANGES` over a batch window: events go on when they arrive, not only when their window closes.
//!
//! An aggregation that gives running rows must know which window an event is in, and when it can forget that window. So the
//! window *marks* its rows: one more column, the last, holds the window's number and what the row is there for. All rows of a
//! batch are there for the same.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::error::Result;
use crate::event::EventBatch;

/// The column of marks. It is never seen outside of a query.
pub const MARK: &str = "__mark";

/// What a batch window gives before it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// Nothing.
    Nothing,
    /// Its events, when they arrive.
    Events,
    /// The same for an aggregation: rows are marked.
    Marked,
}

/// What a marked row is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It has arrived; its window is open.
    Arrived = 0,
    /// It is part of an emission, after which its window is closed.
    Closes = 1,
    /// It is part of an emission, but its window stays open.
    Given = 2,
    /// It belongs to the window now, but arrived before in another: nothing is to be given for it.
    Moved = 3,
    /// Its window is no more, and gives nothing.
    Gone = 4,
}

const KINDS: i64 = 8;

impl Mark {
    /// The mark of a window's row.
    pub fn of(self, window: i64) -> i64 {
        window.wrapping_mul(KINDS) | self as i64
    }

    /// What the rows of a marked batch are there for, and the window of each.
    pub fn read(batch: &EventBatch) -> (Mark, Int64Array) {
        let marks = batch.columns().columns().last();
        let marks = marks.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let Some(marks) = marks.filter(|marks| !marks.is_empty()) else {
            return (Mark::Gone, Int64Array::from(vec![0; batch.num_rows()]));
        };
        let mark = match marks.value(0).rem_euclid(KINDS) {
            0 => Mark::Arrived,
            1 => Mark::Closes,
            2 => Mark::Given,
            3 => Mark::Moved,
            _ => Mark::Gone,
        };
        (mark, marks.unary(|mark| mark.div_euclid(KINDS)))
    }
}

/// The column of marks.
pub fn mark_field() -> Field {
    Field::new(MARK, DataType::Int64, false)
}

/// A schema with the column of marks behind it.
pub fn marked_schema(schema: &Schema) -> SchemaRef {
    let mark = Arc::new(mark_field());
    Arc::new(Schema::new(
        schema.fields().iter().cloned().chain([mark]).collect::<Vec<_>>(),
    ))
}

/// Events with their marks.
pub fn marked(batch: &EventBatch, marks: Int64Array) -> Result<EventBatch> {
    let schema = marked_schema(&batch.schema());
    let mut columns = batch.columns().columns().to_vec();
    columns.push(Arc::new(marks));
    Ok(batch.with_columns(RecordBatch::try_new(schema, columns)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Times;

    #[test]
    fn a_mark_tells_its_window() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let columns = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![7, 8]))]).unwrap();
        let batch = EventBatch::inserts(columns, Times::Same(0));
        for mark in [Mark::Arrived, Mark::Closes, Mark::Given, Mark::Moved, Mark::Gone] {
            let marks = Int64Array::from(vec![mark.of(-3), mark.of(1 << 55)]);
            let (read, windows) = Mark::read(&marked(&batch, marks).unwrap());
            assert_eq!((read, windows.values().to_vec()), (mark, vec![-3, 1 << 55]));
        }
    }
}
