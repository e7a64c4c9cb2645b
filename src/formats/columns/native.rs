//! Values of binary formats: typed already, put into columns of the same or a wider type.

use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};

use super::column::{Column, Values};
use super::reject::Reject;
use super::scalar_text;
use super::views::Content;
use crate::catalog::types;

/// A value as a binary format has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Native<'a> {
    Bool(bool),
    Int(i32),
    Long(i64),
    /// Without sign.
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Microseconds.
    Timestamp(i64),
    /// Days.
    Date(i32),
    /// Microseconds of the day.
    Time(i64),
    /// In units of `10^-scale`, the second.
    Decimal(i128, i8),
    Interval(IntervalMonthDayNano),
}

/// The kind of a format's values, to see before the first whether a column takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Long,
    Unsigned,
    Float,
    Double,
    Text,
    Bytes,
    Timestamp,
    Date,
    Time,
    /// Precision and scale.
    Decimal(u8, i8),
    Interval,
}

impl Kind {
    /// Whether a column takes values of the kind: of its type, of a narrower one, or the texts of those that formats lack.
    pub(crate) fn fits(self, field: &Field) -> bool {
        use DataType::{
            BinaryView, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Interval, Time64,
            Timestamp, Utf8View,
        };
        let to = field.data_type();
        match self {
            Kind::Bool => *to == Boolean,
            // The narrow ones are checked value by value: formats have no type for them.
            Kind::Int => matches!(to, Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(_, _)),
            Kind::Long => matches!(to, Int64 | Float32 | Float64 | Decimal128(_, _)),
            Kind::Unsigned => matches!(to, Int64 | Decimal128(_, _)),
            Kind::Float => matches!(to, Float32 | Float64),
            Kind::Double => *to == Float64,
            Kind::Text => matches!(
                to,
                Utf8View | Interval(_) | Decimal128(_, _) | Date32 | Time64(_) | Timestamp(_, _)
            ),
            Kind::Bytes => *to == BinaryView,
            Kind::Timestamp => matches!(to, Timestamp(_, _)),
            Kind::Date => *to == Date32,
            Kind::Time => matches!(to, Time64(_)),
            Kind::Decimal(precision, scale) => types::widens(&Decimal128(precision, scale), to),
            Kind::Interval => matches!(to, Interval(_)),
        }
    }
}

/// Appends a value, or says why it does not fit.
#[inline]
pub(crate) fn push(column: &mut Column, value: Native) -> Result<(), Reject> {
    match (&mut column.values, value) {
        (Values::Bool(values), Native::Bool(value)) => values.push(value),
        (Values::Int8(values), Native::Int(value)) => values.push(narrow(value, &DataType::Int8)?),
        (Values::Int16(values), Native::Int(value)) => values.push(narrow(value, &DataType::Int16)?),
        (Values::Int32(values), Native::Int(value)) => values.push(value),
        (Values::Int64(values), Native::Int(value)) => values.push(value.into()),
        (Values::Int64(values), Native::Long(value)) => values.push(value),
        (Values::Int64(values), Native::Unsigned(value)) => values.push(narrow(value, &DataType::Int64)?),
        (Values::Float32(values), Native::Int(value)) => values.push(value as f32),
        (Values::Float32(values), Native::Long(value)) => values.push(value as f32),
        (Values::Float32(values), Native::Float(value)) => values.push(value),
        (Values::Float64(values), Native::Int(value)) => values.push(value.into()),
        (Values::Float64(values), Native::Long(value)) => values.push(value as f64),
        (Values::Float64(values), Native::Float(value)) => values.push(value.into()),
        (Values::Float64(values), Native::Double(value)) => values.push(value),
        (Values::Timestamp(values), Native::Timestamp(value)) => values.push(value),
        (Values::Date(values), Native::Date(value)) => values.push(value),
        (Values::Time(values), Native::Time(value)) => values.push(value),
        (Values::Interval(values), Native::Interval(value)) => values.push(value),
        (Values::Decimal(values, precision, scale), value) if let Some((digits, from)) = decimal(value) => {
            values.push(rescaled(digits, from, *precision, *scale)?);
        }
        (Values::Views(views, Content::Text), Native::Text(value)) => views.push_text(value),
        (Values::Views(views, Content::Bytes), Native::Bytes(value)) => views.push_bytes(value),
        (_, Native::Text(value)) => return scalar_text::push(column, value),
        (_, other) => return Err(Reject::expected(column.field.data_type(), &format!("{other:?}"))),
    }
    Ok(())
}

fn narrow<T: TryFrom<V>, V: Copy + std::fmt::Display>(value: V, to: &DataType) -> Result<T, Reject> {
    T::try_from(value).map_err(|_| Reject::range(to, &value.to_string()))
}

/// A number as digits and how many of them are behind the point.
fn decimal(value: Native) -> Option<(i128, i8)> {
    match value {
        Native::Int(value) => Some((value.into(), 0)),
        Native::Long(value) => Some((value.into(), 0)),
        Native::Unsigned(value) => Some((value.into(), 0)),
        Native::Decimal(digits, scale) => Some((digits, scale)),
        _ => None,
    }
}

fn rescaled(digits: i128, from: i8, precision: u8, scale: i8) -> Result<i128, Reject> {
    let power = u32::try_from(i16::from(scale) - i16::from(from)).ok();
    let limit = 10i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
    power
        .and_then(|power| digits.checked_mul(10i128.checked_pow(power)?))
        .filter(|value| value.unsigned_abs() < limit.unsigned_abs())
        .ok_or_else(|| {
            let mut text = Vec::new();
            super::decimal::write(&mut text, digits, from);
            Reject::range(&DataType::Decimal128(precision, scale), &String::from_utf8_lossy(&text))
        })
}
