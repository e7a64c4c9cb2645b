//! Events in trouble as rows of a fault stream or a stream of dead letters.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use crate::error::{Result, RowError};
use crate::event::{EventBatch, Micros, Times};

/// The errors of a stream as a batch that arrives now. `schema` has the columns of `catalog::faults`.
pub fn batch(schema: &SchemaRef, stream: &str, errors: &[&RowError], now: Micros) -> Result<EventBatch> {
    let nullable = schema.fields().first().is_none_or(|field| field.is_nullable());
    let event = |error: &&RowError| (!nullable || !error.event.is_empty()).then(|| error.event.clone());
    let text = |value: fn(&RowError) -> &str| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(
            errors.iter().map(|error| value(error)),
        ))
    };
    let times = errors.iter().map(|error| error.at);
    let attempts = errors
        .iter()
        .map(|error| i32::try_from(error.attempts).unwrap_or(i32::MAX));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(errors.iter().map(event).collect::<StringViewArray>()),
        text(|error| &error.message),
        text(|error| error.kind.as_str()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
        Arc::new(Int32Array::from_iter_values(attempts)),
        Arc::new(StringViewArray::from_iter_values(errors.iter().map(|_| stream))),
    ];
    let columns = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(EventBatch::inserts(columns, Times::Same(now)))
}
