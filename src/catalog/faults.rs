//! Streams of errors: the *fault stream* `!S` of a stream S, and streams of dead letters. They have the same columns.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::types;

/// What sets the name of a fault stream apart from that of its stream.
pub const FAULT: char = '!';

/// The columns of a stream of errors.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name: &str| Field::new(name, DataType::Utf8View, true);
        Arc::new(Schema::new(vec![
            text("originalEvent"),
            text("errorMessage"),
            text("errorType"),
            Field::new("timestamp", types::TIMESTAMP, true),
            Field::new("attemptCount", DataType::Int32, true),
            text("streamName"),
        ]))
    });
    SCHEMA.clone()
}

/// The name of the fault stream of a stream.
pub fn fault_of(stream: &str) -> String {
    format!("{FAULT}{stream}")
}

/// The statement that declares a stream of dead letters.
pub fn declaration(name: &str) -> String {
    let schema = schema();
    let columns = schema.fields().iter();
    let columns = columns.map(|field| format!("{} {}", field.name(), types::name(field.data_type())));
    format!("CREATE STREAM {name} ({})", columns.collect::<Vec<_>>().join(", "))
}
