//! Values as PostgreSQL writes them in texts, into columns.

use arrow::datatypes::DataType;

use super::interval;
use crate::formats::columns::{Column, Content, Reject, Values, parse_timestamp, scalar_text};

/// How deep arrays may be nested.
const DEEPEST: usize = 16;

/// Appends a value, or says why it does not fit. A refused value may leave a part behind: cut the column back.
pub(crate) fn push(column: &mut Column, text: &str) -> Result<(), Reject> {
    push_at(column, text, 0)
}

fn push_at(column: &mut Column, text: &str, depth: usize) -> Result<(), Reject> {
    match &mut column.values {
        Values::Float32(values) => match special(text) {
            Some(value) => values.push(value as f32),
            None => return scalar_text::push(column, text),
        },
        Values::Float64(values) => match special(text) {
            Some(value) => values.push(value),
            None => return scalar_text::push(column, text),
        },
        Values::Timestamp(values) => match timestamp(text) {
            Some(value) => values.push(value),
            // The time of Materialize's own clock: milliseconds.
            None => return scalar_text::push(column, text),
        },
        Values::Interval(values) => {
            let refused = || Reject::expected(&DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), text);
            values.push(interval::parse(text).ok_or_else(refused)?);
        }
        Values::Views(views, Content::Bytes) => {
            let refused = || Reject::new("expected bytea in the form \\x…");
            views.push_bytes(&hex(text).ok_or_else(refused)?);
        }
        Values::List(_) if text.trim_ascii_start().starts_with('{') => return array(column, text, depth),
        _ => return scalar_text::push(column, text),
    }
    Ok(())
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "inf" => Some(f64::INFINITY),
        "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A time; years have four digits or more.
fn timestamp(text: &str) -> Option<i64> {
    match text.find('-') {
        Some(year) if year > 4 => parse_timestamp(format!("+{text}").as_bytes()),
        _ => parse_timestamp(text.as_bytes()),
    }
}

/// The bytes of `\x…`.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

/// Appends `{a,"b c",NULL,{…}}`.
fn array(column: &mut Column, text: &str, depth: usize) -> Result<(), Reject> {
    let Values::List(lists) = &mut column.values else {
        return Err(Reject::new("an array where none is expected"));
    };
    let malformed = || {
        Reject::new(format!(
            "expected an array, found {}",
            crate::formats::columns::shorten(text)
        ))
    };
    if depth >= DEEPEST {
        return Err(Reject::new("an array nested too deep"));
    }
    let mut rest = text.trim_ascii().strip_prefix('{').ok_or_else(malformed)?;
    let mut any = false;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix('}') {
            if !after.is_empty() {
                return Err(malformed());
            }
            break;
        }
        if any {
            rest = rest.strip_prefix(',').ok_or_else(malformed)?.trim_ascii_start();
        }
        any = true;
        rest = match rest.as_bytes().first() {
            Some(b'"') => {
                let (item, after) = quoted_item(rest).ok_or_else(malformed)?;
                push_at(&mut lists.items, &item, depth + 1)?;
                after
            }
            Some(b'{') => {
                let end = closing(rest).ok_or_else(malformed)?;
                push_at(&mut lists.items, &rest[..end], depth + 1)?;
                &rest[end..]
            }
            _ => {
                let end = rest.find([',', '}']).ok_or_else(malformed)?;
                match rest[..end].trim_ascii() {
                    "" => return Err(malformed()),
                    null if null.eq_ignore_ascii_case("null") => lists.items.push_null()?,
                    item => push_at(&mut lists.items, item, depth + 1)?,
                }
                &rest[end..]
            }
        };
    }
    let end = i32::try_from(lists.items.len()).map_err(|_| Reject::new("too many items in arrays"))?;
    lists.ends.push(end);
    Ok(())
}

/// An item in double quotes, without its escapes, and what comes after it.
fn quoted_item(text: &str) -> Option<(String, &str)> {
    let mut item = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((item, &text[at + 1..])),
            '\\' => item.push(chars.next()?.1),
            c => item.push(c),
        }
    }
    None
}

/// Where the array that `text` begins with ends.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut in_quotes, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_quotes = !in_quotes,
            b'{' if !in_quotes => depth += 1,
            b'}' if !in_quotes => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
