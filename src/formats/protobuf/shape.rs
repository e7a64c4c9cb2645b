//! How the fields of a message and the columns of a stream go together, found once.

use arrow::datatypes::{DataType, Field, Fields};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::formats::columns::native;

/// Which way values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// The field of a column, and the form of its values.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) field: FieldDescriptor,
    pub(super) shape: Shape,
}

/// The form of values.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// A number, text, bytes or the value of an enum.
    Scalar(Kind),
    /// `google.protobuf.Timestamp`.
    Timestamp(MessageDescriptor),
    /// `google.protobuf.Duration`.
    Duration(MessageDescriptor),
    /// One of `google.protobuf.Int64Value` and its kin: this field of it.
    Wrapped(MessageDescriptor, Box<Part>),
    List(Box<Shape>),
    Map(Kind, Box<Shape>),
    /// The fields of a struct's parts, in their order.
    Struct(MessageDescriptor, Vec<Part>),
    /// A list in a list or a map: a message whose only field is that list.
    Nested(MessageDescriptor, Box<Part>),
}

/// The fields of columns, by name, exactly or else but for case; or why they do not fit.
pub(super) fn fields(message: &MessageDescriptor, columns: &Fields, way: Direction) -> Result<Vec<Part>, String> {
    let names: Vec<String> = message.fields().map(|field| field.name().to_string()).collect();
    let parts = columns.iter().map(|column| {
        let found = match resolve(column.name(), names.iter().map(String::as_str)) {
            Resolved::One(name) => message.get_field_by_name(name),
            _ => None,
        };
        let field = found.ok_or_else(|| {
            let (message, names) = (message.full_name(), names.join(", "));
            format!("{message} has no field '{}'; its fields are {names}", column.name())
        })?;
        let shape = of_field(&field, column, way).map_err(|reason| format!("column '{}': {reason}", column.name()))?;
        Ok(Part { field, shape })
    });
    parts.collect()
}

fn of_field(field: &FieldDescriptor, column: &Field, way: Direction) -> Result<Shape, String> {
    if let Kind::Message(entry) = field.kind()
        && field.is_map()
    {
        let DataType::Map(entries, _) = column.data_type() else {
            return Err(refused(column, "a map"));
        };
        let DataType::Struct(parts) = entries.data_type() else {
            return Err(refused(column, "a map"));
        };
        let [key, value] = parts.as_ref() else {
            return Err(refused(column, "a map"));
        };
        let key = match of_kind(entry.map_entry_key_field().kind(), key, way)? {
            Shape::Scalar(kind) => kind,
            _ => return Err(refused(key, "a key")),
        };
        let value = of_kind(entry.map_entry_value_field().kind(), value, way)?;
        return Ok(Shape::Map(key, Box::new(value)));
    }
    if field.is_list() {
        let DataType::List(item) = column.data_type() else {
            return Err(refused(column, "repeated"));
        };
        return Ok(Shape::List(Box::new(of_kind(field.kind(), item, way)?)));
    }
    if way == Direction::Write && column.is_nullable() && !field.supports_presence() {
        return Err("it may be NULL, and the message's field is never absent: declare the column NOT NULL, or the field optional".to_string());
    }
    of_kind(field.kind(), column, way)
}

/// The form of one value.
fn of_kind(kind: Kind, column: &Field, way: Direction) -> Result<Shape, String> {
    let Kind::Message(message) = kind else {
        let fits = match way {
            Direction::Read => reads(&kind, column),
            Direction::Write => writes(&kind, column.data_type()),
        };
        return match fits {
            true => Ok(Shape::Scalar(kind)),
            false => Err(refused(column, &format!("{kind:?}").to_lowercase())),
        };
    };
    match (message.full_name(), column.data_type()) {
        ("google.protobuf.Timestamp", DataType::Timestamp(_, _)) => Ok(Shape::Timestamp(message)),
        ("google.protobuf.Duration", DataType::Interval(_)) => Ok(Shape::Duration(message)),
        (name, DataType::Struct(parts)) if !name.starts_with("google.protobuf.") => {
            let parts = fields(&message, parts, way)?;
            Ok(Shape::Struct(message, parts))
        }
        (name, of) => {
            let only = message.fields().next().filter(|_| message.fields().len() == 1);
            let wrapper = name.starts_with("google.protobuf.") && name.ends_with("Value");
            match only {
                Some(field) if wrapper && !field.is_list() && !field.is_map() => {
                    let shape = of_kind(field.kind(), column, way)?;
                    Ok(Shape::Wrapped(message, Box::new(Part { field, shape })))
                }
                Some(field) if field.is_list() && matches!(of, DataType::List(_)) => {
                    let shape = of_field(&field, column, way)?;
                    Ok(Shape::Nested(message, Box::new(Part { field, shape })))
                }
                _ => Err(refused(column, name)),
            }
        }
    }
}

fn refused(column: &Field, theirs: &str) -> String {
    format!(
        "it is {} and the message's field is {theirs}",
        types::name(column.data_type())
    )
}

fn reads(kind: &Kind, column: &Field) -> bool {
    let native = match kind {
        Kind::Bool => native::Kind::Bool,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => native::Kind::Int,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => native::Kind::Long,
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => native::Kind::Unsigned,
        Kind::Float => native::Kind::Float,
        Kind::Double => native::Kind::Double,
        Kind::String => native::Kind::Text,
        Kind::Bytes => native::Kind::Bytes,
        Kind::Enum(_) => return matches!(column.data_type(), DataType::Utf8View | DataType::Int32),
        Kind::Message(_) => return false,
    };
    native.fits(column)
}

/// Whether a field takes all values of a column, those without sign but for the negative ones.
fn writes(kind: &Kind, column: &DataType) -> bool {
    use DataType::{
        BinaryView, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Interval, Time64,
        Timestamp, Utf8View,
    };
    match kind {
        Kind::Bool => *column == Boolean,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
            matches!(column, Int8 | Int16 | Int32)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            matches!(column, Int8 | Int16 | Int32 | Int64)
        }
        Kind::Float => *column == Float32,
        Kind::Double => matches!(column, Float32 | Float64),
        Kind::String => matches!(
            column,
            Utf8View | Interval(_) | Decimal128(_, _) | Date32 | Time64(_) | Timestamp(_, _)
        ),
        Kind::Bytes => *column == BinaryView,
        Kind::Enum(_) => matches!(column, Utf8View | Int32),
        Kind::Message(_) => false,
    }
}
