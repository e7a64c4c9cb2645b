//! Putting one JSON value, given as its raw text, into a column.
//!
//! The text is known to be one well-formed value without blanks around it; `serde_json` saw to that. Nested values are
//! taken apart by `serde_json` too, one level at a time: a column's type bounds the levels.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::column::{Column, Lists, Maps, Structs, Values, last_end};
use super::dates::DateFormat;
use super::decimal::{self, Inexact};
use super::number::{self, Number};
use super::reject::Reject;
use super::views::{Content, Views};
use super::{interval, scalar_text, temporal};
use crate::catalog::types;

/// How deep a value of a JSON column may nest: what the JSON functions read.
const MAX_DEPTH: usize = 128;

/// Appends the value, or says why it does not fit. A refused value may leave a part behind: cut the column back.
pub(crate) fn push(column: &mut Column, raw: &str) -> Result<(), Reject> {
    if raw == "null" {
        return column.push_null();
    }
    let data_type = column.field.data_type();
    match &mut column.values {
        Values::Bool(values) => values.push(match raw {
            "true" => true,
            "false" => false,
            _ => return Err(Reject::expected(data_type, raw)),
        }),
        Values::Int8(values) => values.push(narrow(integer(data_type, raw)?, data_type, raw)?),
        Values::Int16(values) => values.push(narrow(integer(data_type, raw)?, data_type, raw)?),
        Values::Int32(values) => values.push(narrow(integer(data_type, raw)?, data_type, raw)?),
        Values::Int64(values) => values.push(integer(data_type, raw)?),
        Values::Float32(values) => values.push(float(data_type, raw, Number::float)?),
        Values::Float64(values) => values.push(float(data_type, raw, Number::double)?),
        Values::Timestamp(values) => values.push(timestamp(data_type, raw)?),
        Values::Dated(values, dates) => values.push(dated(dates, raw)?),
        Values::Date(values) => values.push(from_text(data_type, raw, |text| temporal::parse_date(text.as_bytes()))?),
        Values::Time(values) => values.push(from_text(data_type, raw, |text| temporal::parse_time(text.as_bytes()))?),
        Values::Decimal(values, precision, scale) => {
            let number = if raw.starts_with('"') {
                string(raw)?
            } else {
                Cow::Borrowed(raw)
            };
            values.push(scalar_text::decimal(&number, *precision, *scale).map_err(|why| why.reject(data_type, raw))?);
        }
        Values::Interval(values) => values.push(from_text(data_type, raw, interval::parse)?),
        Values::Views(views, Content::Text) => match raw.starts_with('"') {
            true => views.push_text(&string(raw)?),
            false => return Err(not_a_string(raw)),
        },
        Values::Views(views, Content::Json) => push_raw(views, raw)?,
        Values::Views(views, Content::Bytes) => views.push_bytes(&from_text(data_type, raw, bytes)?),
        Values::List(lists) => list(lists, data_type, raw)?,
        Values::Struct(structs) => parts(structs, data_type, raw)?,
        Values::Map(maps) => map(maps, data_type, raw)?,
    }
    Ok(())
}

/// Base64 of the standard alphabet, padded.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Appends JSON text that is known to be well-formed.
pub(crate) fn push_raw(views: &mut Views, raw: &str) -> Result<(), Reject> {
    if depth(raw) > MAX_DEPTH {
        return Err(Reject::new(format!("the value nests deeper than {MAX_DEPTH} levels")));
    }
    views.push_text(raw);
    Ok(())
}

/// How deep well-formed JSON nests.
fn depth(raw: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    if !raw.starts_with(['[', '{']) {
        return 0;
    }
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cold]
fn not_a_string(raw: &str) -> Reject {
    Reject::expected_as("STRING (declare the column JSON to take any value)", raw)
}

/// The text of a JSON string.
pub(crate) fn string(raw: &str) -> Result<Cow<'_, str>, Reject> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if memchr::memchr(b'\\', inner.as_bytes()).is_none() => Ok(Cow::Borrowed(inner)),
        _ => match serde_json::from_str::<String>(raw) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(error) => Err(Reject::new(format!("{} in {}", plain(&error), super::shorten(raw)))),
        },
    }
}

/// A message of `serde_json` without its " at line 1 column 7".
pub(crate) fn plain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_string(),
        None => message,
    }
}

fn integer(data_type: &DataType, raw: &str) -> Result<i64, Reject> {
    let quick = number::scan(raw.as_bytes(), 0).and_then(|number| number.integer());
    match quick {
        Some(value) => Ok(value),
        None => decimal::integer(raw).map_err(|why| why.reject(data_type, raw)),
    }
}

pub(crate) fn narrow<T: TryFrom<i64>>(value: i64, data_type: &DataType, raw: &str) -> Result<T, Reject> {
    T::try_from(value).map_err(|_| Reject::range(data_type, raw))
}

impl Inexact {
    #[cold]
    pub(crate) fn reject(self, data_type: &DataType, raw: &str) -> Reject {
        match self {
            Inexact::Range => Reject::range(data_type, raw),
            Inexact::Fraction | Inexact::NotANumber => Reject::expected(data_type, raw),
        }
    }
}

fn float<T>(data_type: &DataType, raw: &str, convert: impl Fn(&Number, &str) -> Option<T>) -> Result<T, Reject> {
    let number = number::scan(raw.as_bytes(), 0).ok_or_else(|| Reject::expected(data_type, raw))?;
    convert(&number, raw).ok_or_else(|| Reject::range(data_type, raw))
}

fn timestamp(data_type: &DataType, raw: &str) -> Result<i64, Reject> {
    if raw.starts_with('"') {
        return from_text(data_type, raw, |text| temporal::parse_timestamp(text.as_bytes()));
    }
    let millis = integer(data_type, raw)?;
    millis.checked_mul(1_000).ok_or_else(|| Reject::range(data_type, raw))
}

/// A time in a format of its own: a text, or a number of which a text will do, too.
fn dated(dates: &DateFormat, raw: &str) -> Result<i64, Reject> {
    let time = match raw.starts_with('"') {
        true => dates.read(&string(raw)?),
        false if dates.is_number() => dates.read(raw),
        false => None,
    };
    time.ok_or_else(|| Reject::expected_as(&format!("TIMESTAMP ({})", dates.form()), raw))
}

/// A value that JSON writes as a string.
fn from_text<T>(data_type: &DataType, raw: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Reject> {
    let value = if raw.starts_with('"') {
        parse(&string(raw)?)
    } else {
        None
    };
    value.ok_or_else(|| Reject::expected_as(&form(data_type), raw))
}

/// The type with the form its text must have, for messages.
pub(crate) fn form(data_type: &DataType) -> String {
    let name = types::name(data_type);
    match data_type {
        DataType::Timestamp(_, _) => format!("{name} (epoch milliseconds or 'YYYY-MM-DDTHH:MM:SSZ')"),
        DataType::Date32 => format!("{name} ('YYYY-MM-DD')"),
        DataType::Time64(_) => format!("{name} ('HH:MM:SS')"),
        DataType::Interval(_) => format!("{name} (an ISO 8601 duration, 'P1DT2H')"),
        DataType::BinaryView => format!("{name} (base64)"),
        _ => name,
    }
}

/// Reads a [`level`].
struct Level;

/// One level of a value: its elements, or its members in order, the last of each name.
pub(crate) enum Elements<'a> {
    Items(Vec<&'a RawValue>),
    Members(Vec<(Cow<'a, str>, &'a RawValue)>),
}

impl<'de> Visitor<'de> for Level {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Elements::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, &RawValue)> = Vec::new();
        let mut places: HashMap<Cow<'de, str>, usize> = HashMap::new();
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value()?;
            match places.get(&name) {
                Some(&place) => members[place].1 = value,
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
        }
        Ok(Elements::Members(members))
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Takes one level of an array or an object apart.
pub(crate) fn level(raw: &str) -> Result<Elements<'_>, Reject> {
    let mut json = serde_json::Deserializer::from_str(raw);
    json.deserialize_any(Level).map_err(|error| Reject::new(plain(&error)))
}

fn list(lists: &mut Lists, data_type: &DataType, raw: &str) -> Result<(), Reject> {
    let items = match raw.starts_with('[').then(|| level(raw)).transpose()? {
        Some(Elements::Items(items)) => items,
        _ => return Err(Reject::expected(data_type, raw)),
    };
    for (index, item) in items.into_iter().enumerate() {
        push(&mut lists.items, item.get()).map_err(|reject| reject.inside(&format!("[{index}]")))?;
    }
    lists.ends.push(end(lists.items.len())?);
    Ok(())
}

fn end(items: usize) -> Result<i32, Reject> {
    i32::try_from(items).map_err(|_| Reject::new("more than 2147483647 elements in one block"))
}

fn parts(structs: &mut Structs, data_type: &DataType, raw: &str) -> Result<(), Reject> {
    let members = match raw.starts_with('{').then(|| level(raw)).transpose()? {
        Some(Elements::Members(members)) => members,
        _ => return Err(Reject::expected(data_type, raw)),
    };
    let row = structs.rows();
    for (name, value) in members {
        if let Some(part) = structs.parts.iter_mut().find(|part| part.name() == name) {
            push(part, value.get()).map_err(|reject| reject.inside(&format!(".{name}")))?;
        }
    }
    for part in &mut structs.parts {
        if part.len() == row {
            part.push_null()
                .map_err(|reject| reject.inside(&format!(".{}", part.name())))?;
        }
    }
    structs.row_done();
    Ok(())
}

fn map(maps: &mut Maps, data_type: &DataType, raw: &str) -> Result<(), Reject> {
    let members = match raw.starts_with('{').then(|| level(raw)).transpose()? {
        Some(Elements::Members(members)) => members,
        _ => return Err(Reject::expected(data_type, raw)),
    };
    let start = last_end(&maps.ends);
    debug_assert_eq!(start, maps.keys.len());
    for (name, value) in members {
        let step = || format!("['{name}']");
        scalar_text::push(&mut maps.keys, &name).map_err(|reject| reject.inside(&step()))?;
        push(&mut maps.values, value.get()).map_err(|reject| reject.inside(&step()))?;
    }
    maps.ends.push(end(maps.keys.len())?);
    Ok(())
}
