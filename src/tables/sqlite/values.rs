//! Values on their way into SQLite and back.
//!
//! | language | SQLite |
//! |---|---|
//! | `BOOL` | integer, 0 or 1 |
//! | `INT`, `LONG` | integer |
//! | `FLOAT`, `DOUBLE` | real; NaN is the text `NaN`, which SQLite orders behind all numbers |
//! | `STRING`, `JSON` | text |
//! | `BYTES` | blob |
//! | `TIMESTAMP` | integer: microseconds since 1970 |
//! | `DATE`, `TIME` | integer: days since 1970, microseconds of the day |
//! | `DECIMAL`, `INTERVAL` | text |
//! | `ARRAY`, `STRUCT`, `MAP` | text: JSON |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, Float64Array, Float64Builder, Int64Array,
    Int64Builder, StringViewArray, StringViewBuilder,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Float64Type, Int64Type};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use crate::error::{Error, Result};
use crate::tables::text_values::{FromTexts, texts};

/// How a type is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Integer,
    Real,
    Text,
    Blob,
    /// As text whose order is not that of the values.
    Written,
}

/// How a type is kept.
pub(super) fn kept(data_type: &DataType) -> Kept {
    match data_type {
        DataType::Float32 | DataType::Float64 => Kept::Real,
        DataType::Utf8View => Kept::Text,
        DataType::BinaryView => Kept::Blob,
        DataType::Decimal128(_, _) | DataType::Interval(_) => Kept::Written,
        nested if nested.is_nested() => Kept::Written,
        _ => Kept::Integer,
    }
}

/// A column about to be written.
pub(super) enum Outgoing {
    Integer(Int64Array),
    Real(Float64Array),
    Text(StringViewArray),
    Blob(BinaryViewArray),
    Written(Vec<Option<String>>),
}

impl Outgoing {
    /// Of values of a field's type.
    pub fn new(field: &FieldRef, values: &ArrayRef) -> Result<Self> {
        let values = match values.data_type() == field.data_type() {
            true => values.clone(),
            false => cast(values, field.data_type())?,
        };
        Ok(match kept(field.data_type()) {
            Kept::Integer => Outgoing::Integer(integers(&values)?),
            Kept::Real => Outgoing::Real(cast(&values, &DataType::Float64)?.as_primitive::<Float64Type>().clone()),
            Kept::Text => Outgoing::Text(values.as_string_view().clone()),
            Kept::Blob => Outgoing::Blob(values.as_binary_view().clone()),
            Kept::Written => Outgoing::Written(texts(field, &values)?),
        })
    }

    /// The value of a row.
    pub fn value(&self, row: usize) -> ToSqlOutput<'_> {
        let value = match self {
            Outgoing::Integer(values) => values.is_valid(row).then(|| ValueRef::Integer(values.value(row))),
            Outgoing::Real(values) if values.is_valid(row) && values.value(row).is_nan() => {
                Some(ValueRef::Text(b"NaN"))
            }
            Outgoing::Real(values) => values.is_valid(row).then(|| ValueRef::Real(values.value(row))),
            Outgoing::Text(values) => values
                .is_valid(row)
                .then(|| ValueRef::Text(values.value(row).as_bytes())),
            Outgoing::Blob(values) => values.is_valid(row).then(|| ValueRef::Blob(values.value(row))),
            Outgoing::Written(values) => values[row].as_ref().map(|text| ValueRef::Text(text.as_bytes())),
        };
        value.map_or(ToSqlOutput::Owned(Value::Null), ToSqlOutput::Borrowed)
    }

    /// Whether the value of a row is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Outgoing::Integer(values) => values.is_null(row),
            Outgoing::Real(values) => values.is_null(row),
            Outgoing::Text(values) => values.is_null(row),
            Outgoing::Blob(values) => values.is_null(row),
            Outgoing::Written(values) => values[row].is_none(),
        }
    }
}

fn integers(values: &ArrayRef) -> Result<Int64Array> {
    let values = match values.data_type() {
        DataType::Date32 => cast(values, &DataType::Int32)?,
        _ => values.clone(),
    };
    Ok(cast(&values, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// A column being read.
pub(super) struct Incoming {
    field: FieldRef,
    rows: usize,
    values: Values,
}

enum Values {
    Integer(Int64Builder),
    Real(Float64Builder),
    Text(StringViewBuilder),
    Blob(BinaryViewBuilder),
    Written(FromTexts),
}

impl Incoming {
    /// None yet.
    pub fn new(field: &FieldRef) -> Result<Self> {
        Ok(Incoming {
            field: field.clone(),
            rows: 0,
            values: match kept(field.data_type()) {
                Kept::Integer => Values::Integer(Int64Builder::new()),
                Kept::Real => Values::Real(Float64Builder::new()),
                Kept::Text => Values::Text(StringViewBuilder::new()),
                Kept::Blob => Values::Blob(BinaryViewBuilder::new()),
                Kept::Written => Values::Written(FromTexts::new(field)?),
            },
        })
    }

    /// The next value.
    pub fn push(&mut self, value: ValueRef<'_>) -> Result<()> {
        self.rows += 1;
        match (&mut self.values, value) {
            (Values::Integer(values), ValueRef::Integer(value)) => values.append_value(value),
            (Values::Integer(values), ValueRef::Null) => values.append_null(),
            (Values::Real(values), ValueRef::Real(value)) => values.append_value(value),
            (Values::Real(values), ValueRef::Integer(value)) => values.append_value(value as f64),
            (Values::Real(values), ValueRef::Text(b"NaN")) => values.append_value(f64::NAN),
            (Values::Real(values), ValueRef::Null) => values.append_null(),
            (Values::Text(values), ValueRef::Text(text)) => values.append_value(self::text(&self.field, text)?),
            (Values::Text(values), ValueRef::Null) => values.append_null(),
            (Values::Blob(values), ValueRef::Blob(bytes) | ValueRef::Text(bytes)) => values.append_value(bytes),
            (Values::Blob(values), ValueRef::Null) => values.append_null(),
            (Values::Written(values), ValueRef::Text(text)) => values.push(Some(self::text(&self.field, text)?))?,
            (Values::Written(values), ValueRef::Null) => values.push(None)?,
            (_, other) => {
                return Err(Error::failed(format!(
                    "column '{}' holds a value of SQLite's type {} there",
                    self.field.name(),
                    other.data_type()
                )));
            }
        }
        Ok(())
    }

    /// All values, in the field's type.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        let values: ArrayRef = match &mut self.values {
            Values::Integer(values) => {
                let values: ArrayRef = Arc::new(values.finish());
                match self.field.data_type() {
                    DataType::Date32 => strict(&strict(&values, &DataType::Int32)?, &DataType::Date32)?,
                    other => strict(&values, other)?,
                }
            }
            Values::Real(values) => strict(&(Arc::new(values.finish()) as ArrayRef), self.field.data_type())?,
            Values::Text(values) => Arc::new(values.finish()),
            Values::Blob(values) => Arc::new(values.finish()),
            Values::Written(values) => values.finish(rows)?,
        };
        Ok(values)
    }
}

/// A cast in which nothing is lost.
fn strict(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(values, to, &options)?)
}

fn text<'a>(field: &FieldRef, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|_| Error::failed(format!("column '{}' holds a text that is not UTF-8", field.name())))
}
