//! Putting one value, given as plain text, into a column: a CSV field, a key of a JSON map.

use arrow::datatypes::DataType;

use super::column::{Column, Values};
use super::decimal::{self, Inexact};
use super::json_value::{self, bytes, form, narrow};
use super::number::{self, Number};
use super::reject::Reject;
use super::views::Content;
use super::{interval, temporal};

/// Appends the value, or says why it does not fit. A refused value may leave a part behind: cut the column back.
pub(crate) fn push(column: &mut Column, text: &str) -> Result<(), Reject> {
    let data_type = column.field.data_type();
    match &mut column.values {
        Values::Bool(values) => values.push(boolean(text).ok_or_else(|| refused(data_type, text))?),
        Values::Int8(values) => values.push(narrow(integer(data_type, text)?, data_type, text)?),
        Values::Int16(values) => values.push(narrow(integer(data_type, text)?, data_type, text)?),
        Values::Int32(values) => values.push(narrow(integer(data_type, text)?, data_type, text)?),
        Values::Int64(values) => values.push(integer(data_type, text)?),
        Values::Float32(values) => values.push(float(data_type, text, Number::float)?),
        Values::Float64(values) => values.push(float(data_type, text, Number::double)?),
        Values::Timestamp(values) => values.push(timestamp(data_type, text)?),
        Values::Dated(values, dates) => {
            let expected = || Reject::expected_as(&format!("TIMESTAMP ({})", dates.form()), &quoted(text));
            values.push(dates.read(text.trim_ascii()).ok_or_else(expected)?);
        }
        Values::Date(values) => values.push(parse(data_type, text, |text| temporal::parse_date(text.as_bytes()))?),
        Values::Time(values) => values.push(parse(data_type, text, |text| temporal::parse_time(text.as_bytes()))?),
        Values::Decimal(values, precision, scale) => {
            let value = decimal(&plain_number(text), *precision, *scale);
            values.push(value.map_err(|why| why_refused(why, data_type, text))?);
        }
        Values::Interval(values) => values.push(parse(data_type, text, interval::parse)?),
        Values::Views(views, Content::Text) => views.push_text(text),
        Values::Views(views, Content::Bytes) => views.push_bytes(&parse(data_type, text, bytes)?),
        Values::Views(views, Content::Json) => json_value::push_raw(views, well_formed(text)?)?,
        Values::List(_) | Values::Struct(_) | Values::Map(_) => json_value::push(column, well_formed(text)?)?,
    }
    Ok(())
}

/// The text without blanks around it, when it is one JSON value.
fn well_formed(text: &str) -> Result<&str, Reject> {
    match serde_json::from_str::<&serde_json::value::RawValue>(text) {
        Ok(raw) => Ok(raw.get()),
        Err(error) => Err(Reject::new(format!(
            "expected JSON, found {}: {}",
            quoted(text),
            json_value::plain(&error)
        ))),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", super::shorten(text))
}

#[cold]
fn refused(data_type: &DataType, text: &str) -> Reject {
    Reject::expected_as(&form(data_type), &quoted(text))
}

#[cold]
fn why_refused(why: Inexact, data_type: &DataType, text: &str) -> Reject {
    match why {
        Inexact::Range => Reject::range(data_type, text.trim()),
        Inexact::Fraction | Inexact::NotANumber => refused(data_type, text),
    }
}

fn boolean(text: &str) -> Option<bool> {
    let text = text.trim_ascii();
    let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match (is(["true", "t", "1"]), is(["false", "f", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn parse<T>(data_type: &DataType, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Reject> {
    parse(text.trim_ascii()).ok_or_else(|| refused(data_type, text))
}

/// A number as people write it in JSON's grammar: without blanks around it, a plus sign, leading zeros, or with a zero
/// where a side of the point is empty.
fn plain_number(text: &str) -> std::borrow::Cow<'_, str> {
    let text = text.trim_ascii();
    if number::scan(text.as_bytes(), 0).is_some_and(|number| number.end == text.len()) {
        return text.into();
    }
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => ("-", &text[1..]),
        [b'+', ..] => ("", &text[1..]),
        _ => ("", text),
    };
    let digits = digits.trim_start_matches('0');
    let zero = if digits.starts_with(|c: char| c.is_ascii_digit()) {
        ""
    } else {
        "0"
    };
    // Nothing but a number may get this far: `-`, `+x`, `0x1` stay what they are.
    match text
        .trim_start_matches(['-', '+'])
        .starts_with(|c: char| c.is_ascii_digit() || c == '.')
    {
        true => format!("{sign}{zero}{digits}").into(),
        false => text.into(),
    }
}

/// A decimal in units of `10^-scale` that fits the precision.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, Inexact> {
    let value = decimal::scaled(text, scale)?;
    match 10u128.checked_pow(u32::from(precision)) {
        Some(limit) if value.unsigned_abs() < limit => Ok(value),
        _ => Err(Inexact::Range),
    }
}

fn integer(data_type: &DataType, text: &str) -> Result<i64, Reject> {
    decimal::integer(&plain_number(text)).map_err(|why| why_refused(why, data_type, text))
}

fn float<T>(data_type: &DataType, text: &str, convert: impl Fn(&Number, &str) -> Option<T>) -> Result<T, Reject> {
    let plain = plain_number(text);
    let number = number::scan(plain.as_bytes(), 0)
        .filter(|number| number.end == plain.len())
        .ok_or_else(|| refused(data_type, text))?;
    convert(&number, &plain).ok_or_else(|| Reject::range(data_type, text.trim_ascii()))
}

fn timestamp(data_type: &DataType, text: &str) -> Result<i64, Reject> {
    let text = text.trim_ascii();
    if let Some(micros) = temporal::parse_timestamp(text.as_bytes()) {
        return Ok(micros);
    }
    let millis = decimal::integer(text).map_err(|why| why_refused(why, data_type, text))?;
    millis.checked_mul(1_000).ok_or_else(|| Reject::range(data_type, text))
}
