//! [`EventBatch`]: columns, event times and, for changelogs, operations.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{FilterBuilder, concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;

use super::{Micros, Op, Ops, Times};
use crate::error::Result;

/// Rows of one stream: an Arrow record batch, the event time of each row, and what each row does.
///
/// Cloning is cheap (columns are shared). `ops` is `None` when every row is an insert, which is the fast path.
#[derive(Debug, Clone)]
pub struct EventBatch {
    columns: RecordBatch,
    times: Times,
    ops: Option<Ops>,
}

impl EventBatch {
    /// A batch of inserts.
    pub fn inserts(columns: RecordBatch, times: Times) -> Self {
        debug_assert!(match &times {
            Times::Same(_) => true,
            Times::Each(each) => each.len() == columns.num_rows(),
        });
        EventBatch {
            columns,
            times,
            ops: None,
        }
    }

    /// A batch of a changelog; all-insert `ops` are dropped.
    pub fn changes(columns: RecordBatch, times: Times, ops: Ops) -> Self {
        debug_assert_eq!(ops.len(), columns.num_rows());
        let ops = ops.iter().any(|op| *op != Op::Insert).then_some(ops);
        EventBatch {
            ops,
            ..EventBatch::inserts(columns, times)
        }
    }

    /// A batch of a stream whose rows come and go: it has operations, even if all of them are inserts.
    pub fn changelog(columns: RecordBatch, times: Times, ops: Ops) -> Self {
        debug_assert_eq!(ops.len(), columns.num_rows());
        EventBatch {
            ops: Some(ops),
            ..EventBatch::inserts(columns, times)
        }
    }

    /// The columns.
    pub fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    /// One column.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.columns.column(index)
    }

    /// The schema of the columns.
    pub fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.columns.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.columns.num_rows() == 0
    }

    /// The event times.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// The event time of a row.
    pub fn time(&self, row: usize) -> Micros {
        self.times.get(row)
    }

    /// The operations; without any all rows are inserts.
    pub fn ops(&self) -> Option<&Ops> {
        self.ops.as_ref()
    }

    /// The operation of a row.
    pub fn op(&self, row: usize) -> Op {
        self.ops.as_ref().map_or(Op::Insert, |ops| ops[row])
    }

    /// The parts.
    pub fn into_parts(self) -> (RecordBatch, Times, Option<Ops>) {
        (self.columns, self.times, self.ops)
    }

    /// The same rows with other columns.
    pub fn with_columns(&self, columns: RecordBatch) -> Self {
        debug_assert_eq!(columns.num_rows(), self.num_rows());
        EventBatch {
            columns,
            times: self.times.clone(),
            ops: self.ops.clone(),
        }
    }

    /// The same rows with other event times.
    pub fn with_times(self, times: Times) -> Self {
        EventBatch { times, ..self }
    }

    /// Rows `offset .. offset + length`, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        EventBatch {
            columns: self.columns.slice(offset, length),
            times: self.times.slice(offset, length),
            ops: self.ops.as_ref().map(|ops| Ops::from(&ops[offset..offset + length])),
        }
    }

    /// The rows where `mask` is true (NULL counts as false).
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        let filter = FilterBuilder::new(mask).optimize().build();
        let columns = filter.filter_record_batch(&self.columns)?;
        let ops = self.ops.as_ref().map(|ops| {
            ops.iter()
                .zip(mask.iter())
                .filter_map(|(op, keep)| (keep == Some(true)).then_some(*op))
                .collect::<Ops>()
        });
        Ok(EventBatch {
            columns,
            times: self.times.filter(mask),
            ops,
        })
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: Vec<u32>) -> Result<Self> {
        let times = self.times.take(&indices);
        let ops = self
            .ops
            .as_ref()
            .map(|ops| indices.iter().map(|&row| ops[row as usize]).collect());
        let rows = indices.len();
        let columns = match self.columns.num_columns() {
            // There is nothing to take, but rows are counted.
            0 => {
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                RecordBatch::try_new_with_options(self.columns.schema(), Vec::new(), &options)?
            }
            _ => take_record_batch(&self.columns, &UInt32Array::from(indices))?,
        };
        Ok(EventBatch { columns, times, ops })
    }

    /// All rows of `batches`, one after the other. They must have one schema and there must be at least one.
    pub fn concat(schema: &SchemaRef, batches: &[EventBatch]) -> Result<Self> {
        if let [only] = batches {
            return Ok(only.clone());
        }
        let columns = concat_batches(schema, batches.iter().map(|batch| &batch.columns))?;
        let times = concat_times(batches);
        let ops = batches.iter().any(|batch| batch.ops.is_some()).then(|| {
            batches
                .iter()
                .flat_map(|batch| (0..batch.num_rows()).map(|row| batch.op(row)))
                .collect::<Arc<[Op]>>()
        });
        Ok(EventBatch { columns, times, ops })
    }
}

fn concat_times(batches: &[EventBatch]) -> Times {
    if let Some(Times::Same(first)) = batches.first().map(EventBatch::times)
        && batches.iter().all(|batch| batch.times == Times::Same(*first))
    {
        return Times::Same(*first);
    }
    let rows = batches.iter().map(EventBatch::num_rows).sum();
    let mut times = Vec::with_capacity(rows);
    for batch in batches {
        match &batch.times {
            Times::Same(time) => times.resize(times.len() + batch.num_rows(), *time),
            Times::Each(each) => times.extend_from_slice(each),
        }
    }
    Times::Each(times.into())
}
