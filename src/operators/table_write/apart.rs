//! Parts of a batch that hold no key twice, for tables of which somebody wants to hear each change.
//!
//! A transaction is told as what it changed in the end: of three changes of one row in a batch that would be one, and how many came in a
//! batch is a matter of load. Written part by part, each change is told, however they came. *Cost.* A hash a row; a transaction
//! more for each time that a key comes again.

use std::collections::HashSet;

use arrow::row::{RowConverter, SortField};

use crate::error::Result;
use crate::event::{EventBatch, Op};

/// The parts, in order. `key`: the columns of the key; without one the batch is one part.
pub fn by_key(batch: &EventBatch, key: &[usize]) -> Result<Vec<EventBatch>> {
    if key.is_empty() || batch.num_rows() < 2 {
        return Ok(vec![batch.clone()]);
    }
    let columns: Vec<_> = key.iter().map(|column| batch.column(*column).clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let keys = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
    let mut seen = HashSet::new();
    let (mut parts, mut start) = (Vec::new(), 0);
    for row in 0..batch.num_rows() {
        // The two halves of an update stay together.
        let is_half = row > start && batch.op(row) == Op::UpdateAfter && batch.op(row - 1) == Op::UpdateBefore;
        let is_new = seen.insert(keys.row(row));
        if !is_new && !is_half {
            parts.push(batch.slice(start, row - start));
            start = row;
            seen.clear();
            seen.insert(keys.row(row));
        }
    }
    parts.push(batch.slice(start, batch.num_rows() - start));
    Ok(parts)
}

/// Each event by itself: which rows it changes nobody knows before.
pub fn each(batch: &EventBatch) -> Vec<EventBatch> {
    let is_half = |row: usize| row > 0 && batch.op(row) == Op::UpdateAfter && batch.op(row - 1) == Op::UpdateBefore;
    let mut starts: Vec<usize> = (0..batch.num_rows()).filter(|row| !is_half(*row)).collect();
    starts.push(batch.num_rows());
    let parts = starts.windows(2).map(|part| batch.slice(part[0], part[1] - part[0]));
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;
    use crate::event::Times;

    fn batch(rows: &[(Op, i64, i64)]) -> EventBatch {
        let column = |of: fn(&(Op, i64, i64)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
        };
        let columns = RecordBatch::try_from_iter([("k", column(|row| row.1)), ("v", column(|row| row.2))]).unwrap();
        EventBatch::changes(columns, Times::Same(0), rows.iter().map(|row| row.0).collect())
    }

    fn sizes(parts: &[EventBatch]) -> Vec<usize> {
        parts.iter().map(EventBatch::num_rows).collect()
    }

    #[test]
    fn no_part_holds_a_key_twice() {
        let insert = |k, v| (Op::Insert, k, v);
        let rows = batch(&[
            insert(1, 1),
            insert(2, 1),
            insert(1, 2),
            insert(1, 3),
            insert(2, 2),
            insert(3, 1),
        ]);
        assert_eq!(sizes(&by_key(&rows, &[0]).unwrap()), [2, 1, 3]);
        assert_eq!(sizes(&by_key(&rows, &[0, 1]).unwrap()), [6]);
        assert_eq!(sizes(&by_key(&rows, &[]).unwrap()), [6]);
        let changes = batch(&[
            insert(1, 1),
            (Op::UpdateBefore, 1, 1),
            (Op::UpdateAfter, 1, 2),
            (Op::UpdateBefore, 2, 1),
            (Op::UpdateAfter, 2, 2),
            (Op::Delete, 2, 2),
            insert(2, 3),
        ]);
        assert_eq!(sizes(&by_key(&changes, &[0]).unwrap()), [1, 4, 1, 1]);
        assert_eq!(sizes(&each(&changes)), [1, 2, 2, 1, 1]);
    }
}
