//! Batches as text, one row a line, for tests and messages: `+I 10:00:00 IBM 75.6`.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::EventBatch;

/// A row as `name=value, …`, for messages. Values that cannot be shown are `?`.
pub fn row(columns: &RecordBatch, row: usize) -> String {
    let schema = columns.schema();
    let cells = schema
        .fields()
        .iter()
        .zip(columns.columns())
        .map(|(field, column)| format!("{}={}", field.name(), cell(column.as_ref(), row)));
    cells.collect::<Vec<_>>().join(", ")
}

/// One value as text; `null` for NULL.
pub fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_string();
    }
    let options = FormatOptions::new().with_null("null");
    match ArrayFormatter::try_new(column, &options) {
        Ok(formatter) => formatter.value(row).try_to_string().unwrap_or_else(|_| "?".to_string()),
        Err(_) => "?".to_string(),
    }
}

/// A batch as one line per row: operation, event time in µs, values.
pub fn lines(batch: &EventBatch) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let values: Vec<String> = batch
                .columns()
                .columns()
                .iter()
                .map(|column| cell(column.as_ref(), row))
                .collect();
            format!("{} {} {}", batch.op(row).sign(), batch.time(row), values.join(" "))
        })
        .collect()
}
