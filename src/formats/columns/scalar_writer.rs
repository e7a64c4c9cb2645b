//! Finished columns as text, one value at a time: the scalars' texts, the same in every format.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, BooleanArray, ListArray, MapArray, PrimitiveArray,
    StringViewArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::dates::DateFormat;
use super::{decimal, interval, temporal};
use crate::catalog::types;
use crate::error::{Error, Result};

/// A column to write, its type known.
pub(crate) struct Cells {
    nulls: Option<NullBuffer>,
    pub(crate) values: Typed,
}

/// The values by type. Cloned arrays share their buffers.
pub(crate) enum Typed {
    Bool(BooleanArray),
    Int8(PrimitiveArray<Int8Type>),
    Int16(PrimitiveArray<Int16Type>),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>),
    /// The same, written in a format.
    Dated(PrimitiveArray<TimestampMicrosecondType>, Arc<DateFormat>),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Time64MicrosecondType>),
    Decimal(PrimitiveArray<Decimal128Type>, i8),
    Interval(PrimitiveArray<IntervalMonthDayNanoType>),
    Text(StringViewArray),
    Json(StringViewArray),
    Bytes(BinaryViewArray),
    List(ListArray, Box<Cells>),
    Struct(Vec<(Vec<u8>, Cells)>),
    Map(MapArray, Box<Cells>, Box<Cells>),
}

impl Cells {
    /// A column, cast to the language's type first when it is a relative of it (a dictionary, another time unit).
    pub(crate) fn new(field: &Field, column: &ArrayRef) -> Result<Self> {
        let wanted = types::canonical(column.data_type());
        let column = match *column.data_type() == wanted {
            true => column.clone(),
            false => cast(column, &wanted)?,
        };
        let values = match column.data_type() {
            DataType::Boolean => Typed::Bool(column.as_boolean().clone()),
            DataType::Int8 => Typed::Int8(primitive(&column)),
            DataType::Int16 => Typed::Int16(primitive(&column)),
            DataType::Int32 => Typed::Int32(primitive(&column)),
            DataType::Int64 => Typed::Int64(primitive(&column)),
            DataType::Float32 => Typed::Float32(primitive(&column)),
            DataType::Float64 => Typed::Float64(primitive(&column)),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Typed::Timestamp(primitive(&column)),
            DataType::Date32 => Typed::Date(primitive(&column)),
            DataType::Time64(TimeUnit::Microsecond) => Typed::Time(primitive(&column)),
            DataType::Decimal128(_, scale) => Typed::Decimal(primitive(&column), *scale),
            DataType::Interval(IntervalUnit::MonthDayNano) => Typed::Interval(primitive(&column)),
            DataType::Utf8View if types::is_json(field) => Typed::Json(column.as_string_view().clone()),
            DataType::Utf8View => Typed::Text(column.as_string_view().clone()),
            DataType::BinaryView => Typed::Bytes(column.as_binary_view().clone()),
            DataType::List(item) => {
                let list = column.as_list::<i32>();
                let items = Cells::new(item, list.values())?;
                Typed::List(list.clone(), Box::new(items))
            }
            DataType::Struct(fields) => Typed::Struct(structure(fields, column.as_struct())?),
            DataType::Map(_, _) => {
                let map = column.as_map();
                let (keys, values) = map.entries_fields();
                let keys = Cells::new(keys, map.keys())?;
                let values = Cells::new(values, map.values())?;
                Typed::Map(map.clone(), Box::new(keys), Box::new(values))
            }
            other => return Err(Error::failed(format!("no text format writes {}", types::name(other)))),
        };
        Ok(Cells {
            nulls: column.logical_nulls(),
            values,
        })
    }

    /// Writes times, however deep in the column, in this format.
    pub(crate) fn set_dates(&mut self, dates: &Arc<DateFormat>) {
        match &mut self.values {
            Typed::Timestamp(array) => self.values = Typed::Dated(array.clone(), dates.clone()),
            Typed::List(_, items) => items.set_dates(dates),
            Typed::Struct(parts) => parts.iter_mut().for_each(|(_, part)| part.set_dates(dates)),
            Typed::Map(_, keys, values) => {
                keys.set_dates(dates);
                values.set_dates(dates);
            }
            _ => {}
        }
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}

fn primitive<T: ArrowPrimitiveType>(column: &ArrayRef) -> PrimitiveArray<T> {
    column.as_primitive::<T>().clone()
}

fn structure(fields: &arrow::datatypes::Fields, array: &StructArray) -> Result<Vec<(Vec<u8>, Cells)>> {
    let parts = fields.iter().zip(array.columns()).map(|(field, column)| {
        let mut key = Vec::new();
        super::json_writer::write_string(&mut key, field.name());
        key.push(b':');
        Ok((key, Cells::new(field, column)?))
    });
    parts.collect()
}

/// Columns of a batch, ready to be written.
pub(crate) fn cells(schema: &arrow::datatypes::SchemaRef, columns: &[Arc<dyn Array>]) -> Result<Vec<Cells>> {
    let pairs = schema.fields().iter().zip(columns);
    pairs.map(|(field, column)| Cells::new(field, column)).collect()
}

/// Appends the text of a scalar that is not NULL: nothing in it needs escaping, except in texts.
///
/// Returns false, having written nothing, when the value has no text: a NaN or infinite number, a time that its format cannot say,
/// or not a scalar.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, values: &Typed, row: usize) -> bool {
    match values {
        Typed::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
        Typed::Int8(array) => integer(out, array.value(row)),
        Typed::Int16(array) => integer(out, array.value(row)),
        Typed::Int32(array) => integer(out, array.value(row)),
        Typed::Int64(array) => integer(out, array.value(row)),
        Typed::Float32(array) => return float(out, array.value(row), f32::is_finite),
        Typed::Float64(array) => return float(out, array.value(row), f64::is_finite),
        Typed::Timestamp(array) => temporal::write_timestamp(out, array.value(row)),
        Typed::Dated(array, dates) => return dates.write(out, array.value(row)),
        Typed::Date(array) => temporal::write_date(out, i64::from(array.value(row))),
        Typed::Time(array) => temporal::write_time(out, array.value(row)),
        Typed::Decimal(array, scale) => decimal::write(out, array.value(row), *scale),
        Typed::Interval(array) => interval::write(out, array.value(row)),
        Typed::Text(array) | Typed::Json(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Typed::Bytes(array) => base64(out, array.value(row)),
        Typed::List(..) | Typed::Struct(_) | Typed::Map(..) => return false,
    }
    true
}

fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The shortest text that reads back as the same number; whole ones end in `.0`.
fn float<F: zmij::Float + Copy>(out: &mut Vec<u8>, value: F, finite: impl Fn(F) -> bool) -> bool {
    if !finite(value) {
        return false;
    }
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    true
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut text = String::new();
    STANDARD.encode_string(bytes, &mut text);
    out.extend_from_slice(text.as_bytes());
}
