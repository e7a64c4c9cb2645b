//! Values of messages into columns, and of columns into messages.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::datatypes::IntervalMonthDayNano;
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, Value};

use super::shape::{Part, Shape};
use crate::formats::columns::native::{self, Native};
use crate::formats::columns::scalar_writer::{self, Cells, Typed};
use crate::formats::columns::{Column, Reject, Values};

const MICROS: i64 = 1_000_000;
const NANOS: i64 = 1_000_000_000;

/// Appends the value that a message has for a part; NULL where the field can be absent and is.
pub(super) fn read(part: &Part, message: &DynamicMessage, column: &mut Column) -> Result<(), Reject> {
    if part.field.supports_presence() && !message.has_field(&part.field) {
        return column.push_null();
    }
    push(&part.shape, &message.get_field(&part.field), column)
}

fn push(shape: &Shape, value: &Value, column: &mut Column) -> Result<(), Reject> {
    match (shape, value) {
        (Shape::Scalar(Kind::Enum(of)), Value::EnumNumber(number)) if matches!(column.values, Values::Views(_, _)) => {
            let name = match of.get_value(*number) {
                Some(value) => value.name().to_string(),
                // A value of a later version of the enum.
                None => number.to_string(),
            };
            native::push(column, Native::Text(&name))
        }
        (Shape::Scalar(_), value) => native::push(column, scalar(value)?),
        (Shape::Timestamp(_), Value::Message(message)) => {
            let (seconds, nanos) = seconds(message);
            let micros = seconds
                .checked_mul(MICROS)
                .and_then(|micros| micros.checked_add(nanos.div_euclid(1_000)));
            let micros = micros.ok_or_else(|| Reject::new(format!("{seconds} s is no time")))?;
            native::push(column, Native::Timestamp(micros))
        }
        (Shape::Duration(_), Value::Message(message)) => {
            let (seconds, nanos) = seconds(message);
            let all = seconds.checked_mul(NANOS).and_then(|all| all.checked_add(nanos));
            let all = all.ok_or_else(|| Reject::new(format!("a duration of {seconds} s")))?;
            native::push(column, Native::Interval(IntervalMonthDayNano::new(0, 0, all)))
        }
        (Shape::Wrapped(_, part), Value::Message(message)) => {
            push(&part.shape, &message.get_field(&part.field), column)
        }
        (Shape::Nested(_, part), Value::Message(message)) => push(&part.shape, &message.get_field(&part.field), column),
        (Shape::List(of), Value::List(items)) => list(of, items, column),
        (Shape::Map(_, of), Value::Map(entries)) => map(of, entries, column),
        (Shape::Struct(_, parts), Value::Message(message)) => {
            let Values::Struct(structs) = &mut column.values else {
                return Err(Reject::new("it is no struct"));
            };
            for (part, column) in parts.iter().zip(&mut structs.parts) {
                read(part, message, column).map_err(|reject| reject.inside(&format!(".{}", part.field.name())))?;
            }
            structs.row_done();
            Ok(())
        }
        _ => Err(Reject::new("a value of another type than the descriptor has")),
    }
}

fn scalar(value: &Value) -> Result<Native<'_>, Reject> {
    Ok(match value {
        Value::Bool(value) => Native::Bool(*value),
        Value::I32(value) | Value::EnumNumber(value) => Native::Int(*value),
        Value::I64(value) => Native::Long(*value),
        Value::U32(value) => Native::Unsigned((*value).into()),
        Value::U64(value) => Native::Unsigned(*value),
        Value::F32(value) => Native::Float(*value),
        Value::F64(value) => Native::Double(*value),
        Value::String(value) => Native::Text(value),
        Value::Bytes(value) => Native::Bytes(value),
        Value::Message(_) | Value::List(_) | Value::Map(_) => {
            return Err(Reject::new("a value of another type than the descriptor has"));
        }
    })
}

/// The fields of a timestamp or duration.
fn seconds(message: &DynamicMessage) -> (i64, i64) {
    let field = |name: &str| message.get_field_by_name(name).map(Cow::into_owned);
    let seconds = field("seconds").and_then(|value| value.as_i64()).unwrap_or(0);
    let nanos = field("nanos").and_then(|value| value.as_i32()).unwrap_or(0);
    (seconds, nanos.into())
}

fn list(of: &Shape, items: &[Value], column: &mut Column) -> Result<(), Reject> {
    let Values::List(lists) = &mut column.values else {
        return Err(Reject::new("it is no list"));
    };
    for (index, item) in items.iter().enumerate() {
        push(of, item, &mut lists.items).map_err(|reject| reject.inside(&format!("[{index}]")))?;
    }
    lists.ends.push(end(lists.items.len())?);
    Ok(())
}

/// Entries in the order of their keys: a message has none.
fn map(of: &Shape, entries: &HashMap<MapKey, Value>, column: &mut Column) -> Result<(), Reject> {
    let Values::Map(maps) = &mut column.values else {
        return Err(Reject::new("it is no map"));
    };
    let mut sorted: Vec<(&MapKey, &Value)> = entries.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    for (key, value) in sorted {
        let native = match key {
            MapKey::Bool(value) => Native::Bool(*value),
            MapKey::I32(value) => Native::Int(*value),
            MapKey::I64(value) => Native::Long(*value),
            MapKey::U32(value) => Native::Unsigned((*value).into()),
            MapKey::U64(value) => Native::Unsigned(*value),
            MapKey::String(value) => Native::Text(value),
        };
        let inside = |reject: Reject| reject.inside(&format!("[{key:?}]"));
        native::push(&mut maps.keys, native).map_err(inside)?;
        push(of, value, &mut maps.values).map_err(inside)?;
    }
    maps.ends.push(end(maps.keys.len())?);
    Ok(())
}

fn end(items: usize) -> Result<i32, Reject> {
    i32::try_from(items).map_err(|_| Reject::new("more than 2147483647 elements in one block"))
}

/// Sets a part of a message; NULL leaves the field absent.
pub(super) fn write(part: &Part, message: &mut DynamicMessage, cells: &Cells, row: usize) -> Result<(), String> {
    if cells.is_null(row) {
        return match part.field.supports_presence() || part.field.is_list() || part.field.is_map() {
            true => Ok(()),
            false => Err("NULL in a field that is never absent".to_string()),
        };
    }
    let value = value(&part.shape, cells, row)?;
    message.set_field(&part.field, value);
    Ok(())
}

/// An item of a list or a value of a map, which is never NULL in a message.
fn item(shape: &Shape, cells: &Cells, row: usize) -> Result<Value, String> {
    match cells.is_null(row) {
        true => Err("NULL in a list or map, which messages cannot hold".to_string()),
        false => value(shape, cells, row),
    }
}

fn value(shape: &Shape, cells: &Cells, row: usize) -> Result<Value, String> {
    match (shape, &cells.values) {
        (Shape::Scalar(kind), values) => scalar_value(kind, values, row),
        (Shape::Timestamp(of), Typed::Timestamp(array)) => {
            let micros = array.value(row);
            Ok(time(of, micros.div_euclid(MICROS), micros.rem_euclid(MICROS) * 1_000))
        }
        (Shape::Duration(of), Typed::Interval(array)) => {
            let interval = array.value(row);
            match (interval.months, interval.days) {
                (0, 0) => Ok(time(of, interval.nanoseconds / NANOS, interval.nanoseconds % NANOS)),
                _ => Err("months and days have no place in google.protobuf.Duration".to_string()),
            }
        }
        (Shape::Wrapped(of, part), _) | (Shape::Nested(of, part), _) => {
            let mut message = DynamicMessage::new(of.clone());
            message.set_field(&part.field, value(&part.shape, cells, row)?);
            Ok(Value::Message(message))
        }
        (Shape::List(of), Typed::List(array, items)) => {
            let (start, end) = span(array.value_offsets(), row);
            let items = (start..end).map(|index| item(of, items, index));
            Ok(Value::List(items.collect::<Result<_, _>>()?))
        }
        (Shape::Map(key, of), Typed::Map(array, keys, values)) => {
            let (start, end) = span(array.value_offsets(), row);
            let entries = (start..end).map(|index| {
                let key = scalar_value(key, &keys.values, index)?.into_map_key();
                let key = key.ok_or("a key that messages cannot hold")?;
                Ok((key, item(of, values, index)?))
            });
            Ok(Value::Map(entries.collect::<Result<_, String>>()?))
        }
        (Shape::Struct(of, parts), Typed::Struct(cells)) => {
            let mut message = DynamicMessage::new(of.clone());
            for (part, (_, cells)) in parts.iter().zip(cells) {
                write(part, &mut message, cells, row)?;
            }
            Ok(Value::Message(message))
        }
        _ => Err("a value that the message's field does not take".to_string()),
    }
}

fn time(of: &MessageDescriptor, seconds: i64, nanos: i64) -> Value {
    let mut message = DynamicMessage::new(of.clone());
    message.set_field_by_name("seconds", Value::I64(seconds));
    message.set_field_by_name("nanos", Value::I32(i32::try_from(nanos).unwrap_or(0)));
    Value::Message(message)
}

fn span(offsets: &[i32], row: usize) -> (usize, usize) {
    (offsets[row] as usize, offsets[row + 1] as usize)
}

fn scalar_value(kind: &Kind, values: &Typed, row: usize) -> Result<Value, String> {
    Ok(match (kind, values) {
        (Kind::Bool, Typed::Bool(array)) => Value::Bool(array.value(row)),
        (Kind::Float, Typed::Float32(array)) => Value::F32(array.value(row)),
        (Kind::Double, Typed::Float32(array)) => Value::F64(array.value(row).into()),
        (Kind::Double, Typed::Float64(array)) => Value::F64(array.value(row)),
        (Kind::Bytes, Typed::Bytes(array)) => Value::Bytes(array.value(row).to_vec().into()),
        (Kind::Enum(of), Typed::Text(array)) => {
            let name = array.value(row);
            let value = of.get_value_by_name(name);
            Value::EnumNumber(
                value
                    .ok_or_else(|| format!("{} has no value '{name}'", of.full_name()))?
                    .number(),
            )
        }
        (Kind::Enum(_), Typed::Int32(array)) => Value::EnumNumber(array.value(row)),
        (Kind::String, Typed::Text(array) | Typed::Json(array)) => Value::String(array.value(row).to_string()),
        (Kind::String, other) => {
            let mut text = Vec::new();
            scalar_writer::write(&mut text, other, row);
            Value::String(String::from_utf8_lossy(&text).into_owned())
        }
        (kind, values) => integer(
            kind,
            whole(values, row).ok_or("a value that the message's field does not take")?,
        )?,
    })
}

fn whole(values: &Typed, row: usize) -> Option<i64> {
    Some(match values {
        Typed::Int8(array) => array.value(row).into(),
        Typed::Int16(array) => array.value(row).into(),
        Typed::Int32(array) => array.value(row).into(),
        Typed::Int64(array) => array.value(row),
        _ => return None,
    })
}

fn integer(kind: &Kind, value: i64) -> Result<Value, String> {
    let range = |_| format!("{value} is out of range for {kind:?}");
    Ok(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::try_from(value).map_err(range)?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::try_from(value).map_err(range)?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::try_from(value).map_err(range)?),
        _ => Value::I64(value),
    })
}
