//! Values on their way to PostgreSQL and back, in its binary protocol.
//!
//! | language | PostgreSQL | accepted as well |
//! |---|---|---|
//! | `BOOL` | `boolean` | |
//! | `INT`, `LONG` | `integer`, `bigint` | `smallint` |
//! | `FLOAT`, `DOUBLE` | `real`, `double precision` | |
//! | `STRING` | `text COLLATE "C"` | `varchar`, `char` |
//! | `BYTES` | `bytea` | |
//! | `TIMESTAMP` | `timestamp with time zone` | `timestamp` (in UTC) |
//! | `DATE`, `TIME`, `INTERVAL` | `date`, `time`, `interval` | |
//! | `DECIMAL(p, s)` | `numeric(p, s)` | any `numeric` |
//! | `JSON` | `json`; in a key or an index `text` | `jsonb`, `text` |
//! | `ARRAY`, `STRUCT`, `MAP` | `json` | `jsonb`, `text` |

use std::error::Error as StdError;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, StringViewBuilder,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::catalog::types;
use crate::error::{Error, Result};
use crate::tables::RowId;
use crate::tables::text_values::{FromTexts, texts};

/// What PostgreSQL counts microseconds and days from: 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// How a type travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Integer,
    Double,
    Text,
    Bytes,
    Timestamp,
    Date,
    Time,
    Interval,
    /// As text, cast by the server.
    Number,
    /// As text, which is compared as such.
    Json,
}

impl Wire {
    /// How values of a field travel.
    pub fn of(field: &Field) -> Self {
        match field.data_type() {
            DataType::Boolean => Wire::Bool,
            DataType::Float32 | DataType::Float64 => Wire::Double,
            DataType::Utf8View if types::is_json(field) => Wire::Json,
            DataType::Utf8View => Wire::Text,
            DataType::BinaryView => Wire::Bytes,
            DataType::Timestamp(_, _) => Wire::Timestamp,
            DataType::Date32 => Wire::Date,
            DataType::Time64(_) => Wire::Time,
            DataType::Interval(_) => Wire::Interval,
            DataType::Decimal128(_, _) => Wire::Number,
            nested if nested.is_nested() => Wire::Json,
            _ => Wire::Integer,
        }
    }

    /// Whether a column of PostgreSQL's type can hold the values.
    pub fn fits(self, typname: &str) -> bool {
        let types: &[&str] = match self {
            Wire::Bool => &["bool"],
            Wire::Integer => &["int2", "int4", "int8"],
            Wire::Double => &["float4", "float8"],
            Wire::Text => &["text", "varchar", "bpchar"],
            Wire::Bytes => &["bytea"],
            Wire::Timestamp => &["timestamp", "timestamptz"],
            Wire::Date => &["date"],
            Wire::Time => &["time"],
            Wire::Interval => &["interval"],
            Wire::Number => &["numeric"],
            Wire::Json => &["json", "jsonb", "text", "varchar"],
        };
        types.contains(&typname)
    }

    /// The type of a parameter for a column of that type.
    pub fn parameter(self, actual: &str) -> &str {
        match self {
            Wire::Bool => "boolean",
            Wire::Integer => "bigint",
            Wire::Double => "double precision",
            Wire::Text | Wire::Number | Wire::Json => "text",
            Wire::Bytes => "bytea",
            Wire::Timestamp => actual,
            Wire::Date => "date",
            Wire::Time => "time",
            Wire::Interval => "interval",
        }
    }

    /// A parameter as a value of the column.
    pub fn value(self, parameter: &str, actual: &str) -> String {
        match self {
            Wire::Number | Wire::Json => format!("{parameter}::{actual}"),
            _ => parameter.to_string(),
        }
    }

    /// A column, in the form in which it travels.
    pub fn selected(self, column: &str) -> String {
        match self {
            Wire::Integer => format!("{column}::bigint"),
            Wire::Double => format!("{column}::double precision"),
            Wire::Text | Wire::Number | Wire::Json => format!("{column}::text"),
            _ => column.to_string(),
        }
    }
}

/// The declared type of a new column.
pub(super) fn declared(field: &Field, is_indexed: bool) -> String {
    match (Wire::of(field), field.data_type()) {
        (Wire::Integer, DataType::Int8 | DataType::Int16) => "smallint".to_string(),
        (Wire::Integer, DataType::Int32) => "integer".to_string(),
        (Wire::Integer, _) => "bigint".to_string(),
        (Wire::Double, DataType::Float32) => "real".to_string(),
        (Wire::Double, _) => "double precision".to_string(),
        (Wire::Text, _) => "text COLLATE \"C\"".to_string(),
        // It can be in no index.
        (Wire::Json, _) if is_indexed => "text COLLATE \"C\"".to_string(),
        (Wire::Json, _) => "json".to_string(),
        (Wire::Number, DataType::Decimal128(precision, scale)) => format!("numeric({precision}, {scale})"),
        (Wire::Number, _) => "numeric".to_string(),
        (Wire::Timestamp, _) => "timestamp with time zone".to_string(),
        (other, _) => other.parameter("").to_string(),
    }
}

/// A parameter.
pub(super) type Parameter = Box<dyn ToSql + Sync + Send>;

/// A value in the server's own form, for the types that have no counterpart.
macro_rules! native {
    ($name:ident, $of:ty, [$($type:ident),+], $put:expr, $take:expr) => {
        #[derive(Debug, Clone, Copy)]
        struct $name($of);

        impl ToSql for $name {
            fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
                let put: fn($of) -> Vec<u8> = $put;
                out.extend_from_slice(&put(self.0));
                Ok(IsNull::No)
            }

            fn accepts(of: &Type) -> bool {
                [$(Type::$type),+].contains(of)
            }

            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $name {
            fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
                let take: fn(&[u8]) -> Option<$of> = $take;
                take(raw).map($name).ok_or_else(|| "a value out of range".into())
            }

            fn accepts(of: &Type) -> bool {
                [$(Type::$type),+].contains(of)
            }
        }
    };
}

fn long(raw: &[u8]) -> Option<i64> {
    raw.try_into().ok().map(i64::from_be_bytes)
}

native!(
    Stamp,
    i64,
    [TIMESTAMP, TIMESTAMPTZ],
    // What leaves the range is left to the server to refuse.
    |micros| micros
        .saturating_sub(EPOCH_MICROS)
        .max(i64::MIN + 1)
        .to_be_bytes()
        .to_vec(),
    |raw| long(raw)
        .filter(|micros| *micros > i64::MIN && *micros < i64::MAX)
        .and_then(|micros| micros.checked_add(EPOCH_MICROS))
);
native!(
    Day,
    i32,
    [DATE],
    |days| days.saturating_sub(EPOCH_DAYS).max(i32::MIN + 1).to_be_bytes().to_vec(),
    |raw| raw
        .try_into()
        .ok()
        .map(i32::from_be_bytes)
        .filter(|days| *days > i32::MIN && *days < i32::MAX)
        .and_then(|days| days.checked_add(EPOCH_DAYS))
);
native!(TimeOfDay, i64, [TIME], |micros| micros.to_be_bytes().to_vec(), |raw| {
    long(raw)
});
native!(
    Span,
    IntervalMonthDayNano,
    [INTERVAL],
    |span| {
        let mut bytes = (span.nanoseconds / 1000).to_be_bytes().to_vec();
        bytes.extend_from_slice(&span.days.to_be_bytes());
        bytes.extend_from_slice(&span.months.to_be_bytes());
        bytes
    },
    |raw| {
        let (micros, rest) = raw.split_first_chunk::<8>()?;
        let (days, months) = rest.split_first_chunk::<4>()?;
        let nanos = i64::from_be_bytes(*micros).checked_mul(1000)?;
        let months = i32::from_be_bytes(months.try_into().ok()?);
        Some(IntervalMonthDayNano::new(months, i32::from_be_bytes(*days), nanos))
    }
);
native!(
    Place,
    u64,
    [TID],
    |place| {
        let mut bytes = ((place >> 16) as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(place as u16).to_be_bytes());
        bytes
    },
    |raw| {
        let (block, item) = raw.split_first_chunk::<4>()?;
        let item = u16::from_be_bytes(item.try_into().ok()?);
        Some(u64::from(u32::from_be_bytes(*block)) << 16 | u64::from(item))
    }
);

/// Names of rows as a parameter.
pub(super) fn places(ids: &[RowId]) -> Parameter {
    Box::new(ids.iter().map(|id| Place(id.0)).collect::<Vec<_>>())
}

/// The name of a row, in a column.
pub(super) fn place(row: &Row, column: usize) -> Result<RowId, tokio_postgres::Error> {
    row.try_get::<_, Place>(column).map(|place| RowId(place.0))
}

/// Values of a column as an array parameter.
pub(super) fn parameter(field: &FieldRef, values: &ArrayRef) -> Result<Parameter> {
    let values = match values.data_type() == field.data_type() {
        true => values.clone(),
        false => cast(values, field.data_type())?,
    };
    Ok(match Wire::of(field) {
        Wire::Bool => Box::new(values.as_boolean().iter().collect::<Vec<_>>()),
        Wire::Integer => {
            let values = cast(&values, &DataType::Int64)?;
            Box::new(values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>())
        }
        Wire::Double => {
            let values = cast(&values, &DataType::Float64)?;
            Box::new(values.as_primitive::<Float64Type>().iter().collect::<Vec<_>>())
        }
        Wire::Text => {
            let values = values.as_string_view().iter();
            Box::new(values.map(|text| text.map(str::to_string)).collect::<Vec<_>>())
        }
        Wire::Bytes => {
            let values = values.as_binary_view().iter();
            Box::new(values.map(|bytes| bytes.map(<[u8]>::to_vec)).collect::<Vec<_>>())
        }
        Wire::Timestamp => {
            let values = values.as_primitive::<TimestampMicrosecondType>().iter();
            Box::new(values.map(|value| value.map(Stamp)).collect::<Vec<_>>())
        }
        Wire::Date => {
            let values = values.as_primitive::<Date32Type>().iter();
            Box::new(values.map(|value| value.map(Day)).collect::<Vec<_>>())
        }
        Wire::Time => {
            let values = values.as_primitive::<Time64MicrosecondType>().iter();
            Box::new(values.map(|value| value.map(TimeOfDay)).collect::<Vec<_>>())
        }
        Wire::Interval => {
            let values = values.as_primitive::<IntervalMonthDayNanoType>().iter();
            Box::new(values.map(|value| value.map(Span)).collect::<Vec<_>>())
        }
        Wire::Number | Wire::Json => Box::new(texts(field, &values)?),
    })
}

/// Why PostgreSQL cannot hold the value of a row.
pub(super) fn unfit(field: &Field, values: &ArrayRef, row: usize) -> Option<String> {
    if values.is_null(row) {
        return None;
    }
    let name = field.name();
    match field.data_type() {
        DataType::Utf8View => {
            let text = values.as_string_view_opt()?.value(row);
            text.contains('\0')
                .then(|| format!("column {name}: PostgreSQL holds no text with the character 0"))
        }
        DataType::Interval(_) => {
            let span = values.as_primitive_opt::<IntervalMonthDayNanoType>()?.value(row);
            (span.nanoseconds % 1000 != 0)
                .then(|| format!("column {name}: PostgreSQL's intervals are of whole microseconds"))
        }
        _ => None,
    }
}

/// A column being read.
pub(super) struct Incoming {
    field: FieldRef,
    rows: usize,
    values: Values,
}

enum Values {
    Bool(BooleanBuilder),
    Integer(Int64Builder),
    Double(Float64Builder),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Timestamp(Int64Builder),
    Date(Int32Builder),
    Time(Int64Builder),
    Interval(IntervalMonthDayNanoBuilder),
    Written(FromTexts),
}

impl Incoming {
    /// None yet.
    pub fn new(field: &FieldRef) -> Result<Self> {
        let values = match Wire::of(field) {
            Wire::Bool => Values::Bool(BooleanBuilder::new()),
            Wire::Integer => Values::Integer(Int64Builder::new()),
            Wire::Double => Values::Double(Float64Builder::new()),
            Wire::Text => Values::Text(StringViewBuilder::new()),
            Wire::Json if !field.data_type().is_nested() => Values::Text(StringViewBuilder::new()),
            Wire::Bytes => Values::Bytes(BinaryViewBuilder::new()),
            Wire::Timestamp => Values::Timestamp(Int64Builder::new()),
            Wire::Date => Values::Date(Int32Builder::new()),
            Wire::Time => Values::Time(Int64Builder::new()),
            Wire::Interval => Values::Interval(IntervalMonthDayNanoBuilder::new()),
            Wire::Number | Wire::Json => Values::Written(FromTexts::new(field)?),
        };
        Ok(Incoming {
            field: field.clone(),
            rows: 0,
            values,
        })
    }

    /// The value of a row.
    pub fn push(&mut self, row: &Row, column: usize) -> Result<()> {
        self.rows += 1;
        let name = self.field.name();
        let failed = |error: tokio_postgres::Error| {
            let why = StdError::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::failed(format!("column '{name}': {why}"))
        };
        match &mut self.values {
            Values::Bool(values) => values.append_option(row.try_get(column).map_err(failed)?),
            Values::Integer(values) => values.append_option(row.try_get(column).map_err(failed)?),
            Values::Double(values) => values.append_option(row.try_get(column).map_err(failed)?),
            Values::Text(values) => values.append_option(row.try_get::<_, Option<&str>>(column).map_err(failed)?),
            Values::Bytes(values) => values.append_option(row.try_get::<_, Option<&[u8]>>(column).map_err(failed)?),
            Values::Timestamp(values) => {
                let value: Option<Stamp> = row.try_get(column).map_err(failed)?;
                values.append_option(value.map(|value| value.0));
            }
            Values::Date(values) => {
                let value: Option<Day> = row.try_get(column).map_err(failed)?;
                values.append_option(value.map(|value| value.0));
            }
            Values::Time(values) => {
                let value: Option<TimeOfDay> = row.try_get(column).map_err(failed)?;
                values.append_option(value.map(|value| value.0));
            }
            Values::Interval(values) => {
                let value: Option<Span> = row.try_get(column).map_err(failed)?;
                values.append_option(value.map(|value| value.0));
            }
            Values::Written(values) => values.push(row.try_get(column).map_err(failed)?)?,
        }
        Ok(())
    }

    /// All values, in the field's type.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        let values: ArrayRef = match &mut self.values {
            Values::Bool(values) => Arc::new(values.finish()),
            Values::Integer(values) | Values::Timestamp(values) | Values::Time(values) => Arc::new(values.finish()),
            Values::Double(values) => Arc::new(values.finish()),
            Values::Text(values) => Arc::new(values.finish()),
            Values::Bytes(values) => Arc::new(values.finish()),
            Values::Date(values) => Arc::new(values.finish()),
            Values::Interval(values) => Arc::new(values.finish()),
            Values::Written(values) => values.finish(rows)?,
        };
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        Ok(cast_with_options(&values, self.field.data_type(), &options)?)
    }
}
