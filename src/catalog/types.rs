//! The language's types and the Arrow types that hold them.
//!
//! | language | Arrow |
//! |---|---|
//! | `BOOL` | Boolean |
//! | `INT`, `LONG` | Int32, Int64 |
//! | `FLOAT`, `DOUBLE` | Float32, Float64 |
//! | `STRING` | Utf8View |
//! | `BYTES`, `OBJECT` | BinaryView |
//! | `TIMESTAMP` | Timestamp(µs), UTC, without zone |
//! | `DATE`, `TIME` | Date32, Time64(µs) |
//! | `DECIMAL(p, s)` | Decimal128 |
//! | `INTERVAL` | Interval(MonthDayNano) |
//! | `ARRAY<T>`, `STRUCT<…>`, `MAP<K, V>` | List, Struct, Map |
//! | `JSON` | Utf8View marked by [`JSON_MARK`] |
//!
//! View strings let filters and gathers move 16 bytes a value whatever its length.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo};

/// Key and value of the metadata that marks a text column as JSON.
pub const JSON_MARK: (&str, &str) = ("eventflux.type", "json");

/// The Arrow type of `TIMESTAMP`.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The widest decimal: precision 38.
const MAX_PRECISION: u64 = 38;

/// A column of a declared type, or why there is no such type.
pub fn field(name: &str, sql: &SqlType, nullable: bool) -> Result<Field, String> {
    let field = Field::new(name, arrow_type(sql)?, nullable);
    Ok(match sql {
        SqlType::JSON | SqlType::JSONB => {
            field.with_metadata(HashMap::from([(JSON_MARK.0.to_string(), JSON_MARK.1.to_string())]))
        }
        _ => field,
    })
}

/// Whether a column holds JSON text.
pub fn is_json(field: &Field) -> bool {
    field
        .metadata()
        .get(JSON_MARK.0)
        .is_some_and(|mark| mark == JSON_MARK.1)
}

/// The Arrow type of a declared type, or why there is none.
pub fn arrow_type(sql: &SqlType) -> Result<DataType, String> {
    Ok(match sql {
        SqlType::Bool | SqlType::Boolean => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::Float(_) | SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        SqlType::String(_)
        | SqlType::Varchar(_)
        | SqlType::CharacterVarying(_)
        | SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::Text
        | SqlType::JSON
        | SqlType::JSONB => DataType::Utf8View,
        SqlType::Bytes(_) | SqlType::Bytea | SqlType::Binary(_) | SqlType::Varbinary(_) | SqlType::Blob(_) => {
            DataType::BinaryView
        }
        SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | SqlType::Datetime(_) => TIMESTAMP,
        SqlType::Timestamp(_, _) => {
            return Err("TIMESTAMP is always in UTC and has no time zone; write TIMESTAMP".to_string());
        }
        SqlType::Date => DataType::Date32,
        SqlType::Time(_, _) => DataType::Time64(TimeUnit::Microsecond),
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => decimal(info)?,
        SqlType::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(of)
            | ArrayElemTypeDef::SquareBracket(of, _)
            | ArrayElemTypeDef::Parenthesis(of),
        ) => DataType::List(Arc::new(field("item", of, true)?)),
        SqlType::Struct(fields, _) => {
            let fields = fields.iter().enumerate().map(|(i, part)| {
                let name = part
                    .field_name
                    .as_ref()
                    .map_or_else(|| format!("c{i}"), |ident| ident.value.clone());
                field(&name, &part.field_type, true)
            });
            DataType::Struct(fields.collect::<Result<Fields, String>>()?)
        }
        SqlType::Map(key, value) => {
            let entries = vec![field("key", key, false)?, field("value", value, true)?];
            DataType::Map(
                Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)),
                false,
            )
        }
        SqlType::Custom(name, arguments) if arguments.is_empty() => custom(&name.to_string())?,
        other => return Err(format!("there is no type {other}")),
    })
}

fn custom(name: &str) -> Result<DataType, String> {
    match name.to_ascii_uppercase().as_str() {
        "LONG" => Ok(DataType::Int64),
        "STRING" => Ok(DataType::Utf8View),
        "OBJECT" | "BYTES" | "BINARY" => Ok(DataType::BinaryView),
        _ => Err(format!("there is no type {name}")),
    }
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (MAX_PRECISION, 10),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if 0 <= s && scale.unsigned_abs() <= precision => Ok(DataType::Decimal128(p, s)),
        _ => Err(format!(
            "DECIMAL({precision}, {scale}): precision is 1 to {MAX_PRECISION}, scale 0 to precision"
        )),
    }
}

/// The type a query's column has when it becomes a stream's: view strings, microseconds, signed integers. Types
/// outside the language map to the nearest inside it.
pub fn canonical(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::BinaryView,
        DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Timestamp(_, _) | DataType::Date64 => TIMESTAMP,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Dictionary(_, value) => canonical(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(canonical_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(canonical_field).collect()),
        other => other.clone(),
    }
}

fn canonical_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(canonical(field.data_type())))
}

/// Whether a value of `from` may be put into a column of `to` without the user saying CAST: equal types, wider numbers,
/// and NULL.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Null};
    // An undeclared NULL is TEXT once it names a column; here it is still nothing in particular.
    if from == &Null {
        return true;
    }
    let from = &canonical(from);
    match (from, &canonical(to)) {
        (a, b) if a == b => true,
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(_, _)) => true,
        (Int16, Int32 | Int64 | Float32 | Float64 | Decimal128(_, _)) => true,
        (Int32 | Int64, Int64 | Float32 | Float64 | Decimal128(_, _)) => true,
        (Float32, Float64) => true,
        (Decimal128(p, s), Decimal128(to_p, to_s)) => {
            to_s >= s && i16::from(*to_p) - i16::from(*to_s) >= i16::from(*p) - i16::from(*s)
        }
        (Decimal128(_, _), Float64) => true,
        (DataType::Date32, DataType::Timestamp(_, _)) => true,
        (DataType::List(a), DataType::List(b)) => widens(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.name() == b.name() && widens(a.data_type(), b.data_type()))
        }
        _ => false,
    }
}

/// The type as the language names it, for messages.
pub fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOL".to_string(),
        DataType::Int32 => "INT".to_string(),
        DataType::Int64 => "LONG".to_string(),
        DataType::Float32 => "FLOAT".to_string(),
        DataType::Float64 => "DOUBLE".to_string(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_string(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".to_string(),
        DataType::Timestamp(_, _) => "TIMESTAMP".to_string(),
        DataType::Date32 | DataType::Date64 => "DATE".to_string(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_string(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_string(),
        DataType::Decimal128(p, s) => format!("DECIMAL({p},{s})"),
        DataType::List(item) => format!("ARRAY<{}>", name(item.data_type())),
        DataType::Struct(fields) => {
            let parts = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), name(field.data_type())));
            format!("STRUCT<{}>", parts.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => {
                format!("MAP<{}, {}>", name(parts[0].data_type()), name(parts[1].data_type()))
            }
            _ => "MAP".to_string(),
        },
        other => other.to_string().to_uppercase(),
    }
}

/// A message of the engine underneath with our names of types for its own.
pub fn in_our_names(message: &str) -> String {
    let names = [
        ("Utf8View", "STRING"),
        ("LargeUtf8", "STRING"),
        ("Utf8", "STRING"),
        ("Float64", "DOUBLE"),
        ("Float32", "FLOAT"),
        ("Int64", "LONG"),
        ("Int32", "INT"),
        ("Boolean", "BOOL"),
        ("Timestamp(µs)", "TIMESTAMP"),
        ("Date32", "DATE"),
        ("Time64(µs)", "TIME"),
        ("BinaryView", "BYTES"),
    ];
    names.into_iter().fold(message.to_string(), |message, (theirs, ours)| {
        message.replace(theirs, ours)
    })
}
