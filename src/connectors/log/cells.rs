//! Values as text for people: the columns of a batch are looked at once, then values are written without allocating.

use std::io::Write;

use arrow::array::{
    Array, AsArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::Result;
use crate::event::Micros;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A column, ready to be written.
pub enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Text(&'a StringViewArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Date(&'a Date32Array),
    Other(Box<ArrayFormatter<'a>>),
}

impl<'a> Cells<'a> {
    /// Of a column.
    pub fn new(column: &'a dyn Array) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Boolean => Cells::Boolean(column.as_boolean()),
            DataType::Int32 => Cells::Int32(column.as_primitive::<Int32Type>()),
            DataType::Int64 => Cells::Int64(column.as_primitive::<Int64Type>()),
            DataType::Float32 => Cells::Float32(column.as_primitive::<Float32Type>()),
            DataType::Float64 => Cells::Float64(column.as_primitive::<Float64Type>()),
            DataType::Utf8View => Cells::Text(column.as_string_view()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Cells::Timestamp(column.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Date32 => Cells::Date(column.as_primitive::<Date32Type>()),
            _ => Cells::Other(Box::new(ArrayFormatter::try_new(column, &OPTIONS)?)),
        })
    }

    /// Appends a value.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = match self {
            Cells::Boolean(column) if column.is_valid(row) => write!(out, "{}", column.value(row)),
            Cells::Int32(column) if column.is_valid(row) => write!(out, "{}", column.value(row)),
            Cells::Int64(column) if column.is_valid(row) => write!(out, "{}", column.value(row)),
            Cells::Float32(column) if column.is_valid(row) => write!(out, "{:?}", column.value(row)),
            Cells::Float64(column) if column.is_valid(row) => write!(out, "{:?}", column.value(row)),
            Cells::Text(column) if column.is_valid(row) => text(column.value(row), out),
            Cells::Timestamp(column) if column.is_valid(row) => {
                timestamp(column.value(row), out);
                Ok(())
            }
            Cells::Date(column) if column.is_valid(row) => {
                date(i64::from(column.value(row)), out);
                Ok(())
            }
            Cells::Other(formatter) => write!(out, "{}", formatter.value(row)),
            _ => out.write_all(b"null"),
        };
    }
}

const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_null("null").with_display_error(true);

/// Text as it is where that is unambiguous, else quoted and escaped, so that no value can forge a column, a line or a terminal
/// command.
fn text(text: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    let special = |byte: u8| byte <= b' ' || matches!(byte, b'"' | b'=' | b'\\' | 0x7f);
    let plain = match text.is_ascii() {
        true => !text.bytes().any(special),
        false => !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '=' | '\\')),
    };
    match plain && !text.is_empty() && text != "null" {
        true => out.write_all(text.as_bytes()),
        false => write!(out, "{text:?}"),
    }
}

/// Appends a time in ISO 8601, with as many decimals (0, 3 or 6) as it needs.
pub fn timestamp(time: Micros, out: &mut Vec<u8>) {
    date(time.div_euclid(DAY), out);
    let of_day = time.rem_euclid(DAY);
    let seconds = of_day / SECOND;
    out.push(b'T');
    digits::<2>(seconds / 3600, out);
    out.push(b':');
    digits::<2>(seconds / 60 % 60, out);
    out.push(b':');
    digits::<2>(seconds % 60, out);
    match of_day % SECOND {
        0 => {}
        micros if micros % 1000 == 0 => {
            out.push(b'.');
            digits::<3>(micros / 1000, out);
        }
        micros => {
            out.push(b'.');
            digits::<6>(micros, out);
        }
    }
    out.push(b'Z');
}

/// Appends the last `N` digits of a number that is not negative.
fn digits<const N: usize>(mut number: i64, out: &mut Vec<u8>) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text);
}

/// Appends the date of a day since 1970-01-01, in the proleptic Gregorian calendar.
fn date(days: i64, out: &mut Vec<u8>) {
    // Howard Hinnant's `civil_from_days`: years start in March, so that the leap day is the last.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match (0..=9999).contains(&year) {
        true => digits::<4>(year, out),
        // Writing to a Vec cannot fail.
        false => drop(write!(out, "{year:+05}")),
    }
    out.push(b'-');
    digits::<2>(month, out);
    out.push(b'-');
    digits::<2>(day, out);
}
