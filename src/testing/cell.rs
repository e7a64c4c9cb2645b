//! Values as streams give them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
    TimeUnit, TimestampMicrosecondType,
};

use super::value::Value;
use crate::app::Rows;
use crate::event::{EventBatch, Micros, Times, pretty};

/// One value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f32),
    Double(f64),
    /// Unscaled value and scale.
    Decimal(i128, i8),
    Text(String),
    Timestamp(Micros),
    /// A DATE, TIME, INTERVAL or BYTES as JSON writes it, or a type outside the language.
    Written(String),
    List(Vec<Cell>),
    /// A STRUCT, or a MAP with its keys as text.
    Members(Vec<(String, Cell)>),
}

impl Cell {
    /// The value of a row.
    pub(super) fn new(column: &dyn Array, row: usize) -> Self {
        if column.is_null(row) {
            return Cell::Null;
        }
        match column.data_type() {
            DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
            DataType::Int8 => Cell::Int(column.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => Cell::Int(column.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Cell::Int(column.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => Cell::Float(column.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => Cell::Double(column.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, scale) => Cell::Decimal(column.as_primitive::<Decimal128Type>().value(row), *scale),
            DataType::Utf8View => Cell::Text(column.as_string_view().value(row).to_string()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Cell::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::List(_) => {
                let items = column.as_list::<i32>().value(row);
                Cell::List((0..items.len()).map(|item| Cell::new(items.as_ref(), item)).collect())
            }
            DataType::Struct(fields) => {
                let parts = fields.iter().zip(column.as_struct().columns());
                Cell::Members(
                    parts
                        .map(|(field, part)| (field.name().clone(), Cell::new(part.as_ref(), row)))
                        .collect(),
                )
            }
            DataType::Map(_, _) => {
                let entries = column.as_map().value(row);
                let (keys, values) = (entries.column(0), entries.column(1));
                let entry = |entry| {
                    (
                        Cell::new(keys.as_ref(), entry).bare(),
                        Cell::new(values.as_ref(), entry),
                    )
                };
                Cell::Members((0..entries.len()).map(entry).collect())
            }
            _ => Cell::Written(written(column, row)),
        }
    }

    /// The value without the quotes that [`fmt::Display`] puts around text.
    fn bare(self) -> String {
        match self {
            Cell::Text(text) | Cell::Written(text) => text,
            other => other.to_string(),
        }
    }
}

/// A value as the JSON format writes it, without quotes.
fn written(column: &dyn Array, row: usize) -> String {
    let schema = Arc::new(Schema::new(vec![Field::new("value", column.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![column.slice(row, 1)]).ok();
    let rows = batch.and_then(|columns| EventBatch::inserts(columns, Times::Same(0)).rows::<(Value,)>().ok());
    match rows.and_then(|rows| rows.into_iter().next()) {
        Some((Value::Text(text),)) => text,
        Some((value,)) => value.to_string(),
        None => pretty::cell(column, row),
    }
}

/// As a case file would have it: JSON, with timestamps and the like as text.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("null"),
            Cell::Bool(value) => write!(f, "{value}"),
            Cell::Int(value) => write!(f, "{value}"),
            Cell::Float(value) => write!(f, "{value:?}"),
            Cell::Double(value) => write!(f, "{value:?}"),
            Cell::Decimal(value, scale) => f.write_str(&decimal(*value, *scale)),
            Cell::Text(text) | Cell::Written(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
            Cell::Timestamp(micros) => match chrono::DateTime::from_timestamp_micros(*micros) {
                Some(time) => write!(f, "\"{}\"", time.format("%Y-%m-%dT%H:%M:%S%.fZ")),
                None => write!(f, "{micros} µs"),
            },
            Cell::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Cell::Members(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{value}", serde_json::Value::from(name.as_str()))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn decimal(value: i128, scale: i8) -> String {
    let Some(places) = usize::try_from(scale).ok().filter(|places| *places > 0) else {
        return value.to_string();
    };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" })
}
