//! The schema of a stream's columns, for sinks that are given none, and for sources of what such sinks write.

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use crate::catalog::types;

/// The schema, as JSON; or why there is none.
pub(super) fn schema(columns: &Schema) -> Result<Value, String> {
    record("row", columns.fields().iter().map(AsRef::as_ref))
}

fn record<'a>(name: &str, fields: impl Iterator<Item = &'a Field>) -> Result<Value, String> {
    let fields = fields.map(|field| {
        let column = field.name();
        if !is_name(column) {
            return Err(format!(
                "'{column}' cannot be the name of a field, which is letters, digits and '_'"
            ));
        }
        let of = of(field, &format!("{name}_{column}"))?;
        Ok(match field.is_nullable() {
            true => json!({"name": column, "type": ["null", of], "default": null}),
            false => json!({"name": column, "type": of}),
        })
    });
    Ok(json!({"type": "record", "name": name, "fields": fields.collect::<Result<Vec<_>, String>>()?}))
}

/// A type; records in it are called by where they are.
fn of(field: &Field, name: &str) -> Result<Value, String> {
    let nullable = |field: &Field| {
        let of = of(field, name)?;
        Ok::<Value, String>(match field.is_nullable() {
            true => json!(["null", of]),
            false => of,
        })
    };
    Ok(match field.data_type() {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Timestamp(_, _) => json!({"type": "long", "logicalType": "timestamp-micros"}),
        DataType::Date32 => json!({"type": "int", "logicalType": "date"}),
        DataType::Time64(_) => json!({"type": "long", "logicalType": "time-micros"}),
        DataType::Decimal128(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        // Avro's own durations are neither negative nor finer than a millisecond.
        DataType::Utf8View | DataType::Interval(_) => json!("string"),
        DataType::BinaryView => json!("bytes"),
        DataType::List(item) => json!({"type": "array", "items": nullable(item)?}),
        DataType::Struct(parts) => record(name, parts.iter().map(AsRef::as_ref))?,
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => json!({"type": "map", "values": nullable(&parts[1])?}),
            _ => return Err(format!("no field holds {}", types::name(field.data_type()))),
        },
        other => return Err(format!("no field holds {}", types::name(other))),
    })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}
