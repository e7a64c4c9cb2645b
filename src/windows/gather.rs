//! Batches put together: an Arrow batch costs about a kilobyte, however few its rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{Error, Result};
use crate::event::EventBatch;

/// Batches of at least so many rows are left as they are.
pub const SMALL: usize = 4_096;

/// Appends events. The last batches are joined as long as they are small and of like size, so that sizes grow like powers of
/// two: there are few batches, and each event is copied O(log) times.
pub fn gather(batches: &mut Vec<EventBatch>, events: EventBatch) -> Result<()> {
    batches.push(events);
    while let [.., before, last] = batches.as_slice()
        && is_joined(before.num_rows(), last.num_rows())
    {
        let joined = join(&[before.clone(), last.clone()])?;
        batches.truncate(batches.len() - 2);
        batches.push(joined);
    }
    Ok(())
}

/// Whether two neighbours are put together.
pub fn is_joined(before: usize, last: usize) -> bool {
    before <= 2 * last && before + last <= SMALL
}

/// Batches of one schema as one that shares no memory with them.
pub fn join(batches: &[EventBatch]) -> Result<EventBatch> {
    let Some(first) = batches.first() else {
        return Err(Error::failed("no batch to join"));
    };
    let joined = EventBatch::concat(&first.schema(), batches)?;
    let columns = without_slack(joined.columns())?;
    Ok(joined.with_columns(columns))
}

/// The same columns; texts no longer refer to the buffers they came in.
pub fn without_slack(columns: &RecordBatch) -> Result<RecordBatch> {
    let compact = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View if !column.as_string_view().data_buffers().is_empty() => {
                Arc::new(column.as_string_view().gc())
            }
            DataType::BinaryView if !column.as_binary_view().data_buffers().is_empty() => {
                Arc::new(column.as_binary_view().gc())
            }
            _ => column.clone(),
        }
    };
    let compacted = columns.columns().iter().map(compact).collect();
    batch_of(columns.schema(), compacted, columns.num_rows())
}

/// Rows of several batches of one schema, in any order. There must be at least one batch.
pub fn interleave(batches: &[&RecordBatch], picks: &[(usize, usize)]) -> Result<RecordBatch> {
    let Some(first) = batches.first() else {
        return Err(Error::failed("no batch to pick rows from"));
    };
    let columns = (0..first.num_columns()).map(|column| {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        Ok(arrow::compute::interleave(&arrays, picks)?)
    });
    batch_of(first.schema(), columns.collect::<Result<_>>()?, picks.len())
}

/// A batch of columns; there may be none, but there are rows.
pub fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
