//! The general way to read a line: `serde_json` takes it apart, by the letter of RFC 8259.
//!
//! It decides what is an error and what the message says; [`super::fast`] only ever agrees with it. Values are put into their
//! columns as they come, along the trie of what is wanted; there is no tree of values. A member that comes twice replaces the
//! former with all it held, as in `serde_json`, JavaScript and PostgreSQL's `jsonb`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::mapping::Missing;
use super::path::{Segment, find, place};
use super::rows::Rows;
use super::shape::{NodeId, RECORD, Shape};
use crate::formats::columns::{json_value, shorten};

/// Blanks of a line that is not a record.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

/// The most bytes that the records of one message get of what stands once in it.
const MAX_COPIED: usize = 256 << 20;

/// Reads a line without its end. Each bad record is reported with its raw text and the number of good rows before.
pub(super) fn line(shape: &Shape, rows: &mut Rows, line: &str, mut report: impl FnMut(String, &str, usize)) {
    let text = line.trim_matches(BLANKS);
    if text.is_empty() {
        return;
    }
    if !text.starts_with(['{', '[']) {
        return report(not_a_record(shape, text), line, rows.rows);
    }
    let message: &RawValue = match serde_json::from_str(text) {
        Ok(message) => message,
        Err(error) => return report(syntax(&error), line, rows.rows),
    };
    let mut found = Vec::new();
    find(message, &shape.root, shape.fold, &mut found);
    let records = match found.first().map(|found| found.get()) {
        // Nothing where the records should be is no records.
        None | Some("null") => {
            if rows.missing() == Missing::Error {
                report("there is nothing at json.root".to_string(), line, rows.rows);
            }
            return;
        }
        Some(records) => records,
    };
    let whole = of_message(shape, message);
    if !(shape.exploded && records.starts_with('[')) {
        record(shape, rows, records, &whole).unwrap_or_else(|message| fail(rows, &mut report, message, line));
        return;
    }
    let items: Vec<&RawValue> = serde_json::from_str(records).unwrap_or_default();
    let copied: usize = whole.iter().map(|(_, value)| value.len()).sum();
    if copied.saturating_mul(items.len()) > MAX_COPIED {
        let message = format!("the columns with '$$' would take more than {MAX_COPIED} bytes in its records");
        return report(message, line, rows.rows);
    }
    for item in items {
        record(shape, rows, item.get(), &whole).unwrap_or_else(|message| fail(rows, &mut report, message, item.get()));
    }
}

/// The values of columns that are found from the message's start on.
fn of_message(shape: &Shape, message: &RawValue) -> Vec<(usize, String)> {
    let mut values = Vec::new();
    for (column, path) in &shape.whole {
        let mut found = Vec::new();
        find(message, path, shape.fold, &mut found);
        let texts: Vec<&str> = found.iter().map(|value| value.get()).collect();
        let singular = !path.iter().any(|segment| matches!(segment, Segment::Several(_)));
        match (texts.as_slice(), singular) {
            ([], true) => {}
            ([text], true) => values.push((*column, text.to_string())),
            _ => values.push((*column, format!("[{}]", texts.join(",")))),
        }
    }
    values
}

fn fail(rows: &mut Rows, report: &mut impl FnMut(String, &str, usize), message: String, raw: &str) {
    rows.roll_back();
    report(message, raw, rows.rows);
}

fn record(shape: &Shape, rows: &mut Rows, text: &str, whole: &[(usize, String)]) -> Result<(), String> {
    let open = if shape.positional { '[' } else { '{' };
    if !text.starts_with(open) {
        return Err(not_a_record(shape, text));
    }
    value(shape, rows, RECORD, text)?;
    for (column, value) in whole {
        rows.put(*column, value)?;
    }
    rows.fill()
}

fn not_a_record(shape: &Shape, text: &str) -> String {
    let what = if shape.positional {
        "a JSON array"
    } else {
        "a JSON object"
    };
    format!("expected {what}, found {}", shorten(text))
}

/// A syntax error with its place in the line.
fn syntax(error: &serde_json::Error) -> String {
    format!(
        "not valid JSON: {} at column {}",
        json_value::plain(error),
        error.column()
    )
}

/// Puts a node's value, which is well-formed, where it is wanted.
pub(super) fn value(shape: &Shape, rows: &mut Rows, node: NodeId, raw: &str) -> Result<(), String> {
    let here = shape.node(node);
    // If the value came before: the last counts.
    here.beneath.iter().for_each(|&column| rows.clear(column));
    for &column in &here.columns {
        rows.put(column, raw)?;
    }
    if !here.several.is_empty() {
        several(shape, rows, node, raw)?;
    }
    let mut refused = None;
    let parts = Parts {
        shape,
        rows,
        node,
        refused: &mut refused,
    };
    let mut json = serde_json::Deserializer::from_str(raw);
    let read = match raw.as_bytes().first() {
        Some(b'{') if here.has_members() => json.deserialize_map(parts),
        Some(b'[') if here.has_elements() => json.deserialize_seq(parts),
        _ => Ok(()),
    };
    match (read, refused) {
        (_, Some(message)) => Err(message),
        (Err(error), None) => Err(syntax(&error)),
        (Ok(()), None) => Ok(()),
    }
}

/// Collects the values of columns that take any number of them.
fn several(shape: &Shape, rows: &mut Rows, node: NodeId, raw: &str) -> Result<(), String> {
    let value: &RawValue = serde_json::from_str(raw).map_err(|error| syntax(&error))?;
    for (column, path) in &shape.node(node).several {
        let mut found = Vec::new();
        find(value, path, shape.fold, &mut found);
        let texts: Vec<&str> = found.iter().map(|value| value.get()).collect();
        rows.put(*column, &format!("[{}]", texts.join(",")))?;
    }
    Ok(())
}

/// Goes through the parts of a value.
struct Parts<'a> {
    shape: &'a Shape,
    rows: &'a mut Rows,
    node: NodeId,
    /// Why a value was refused: it takes the place of the error that stops `serde_json`.
    refused: &'a mut Option<String>,
}

impl Parts<'_> {
    fn value<E: serde::de::Error>(&mut self, node: NodeId, raw: &RawValue) -> Result<(), E> {
        value(self.shape, self.rows, node, raw.get()).map_err(|message| {
            *self.refused = Some(message);
            E::custom("refused")
        })
    }
}

impl<'de> Visitor<'de> for Parts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (shape, node) = (self.shape, self.node);
        while let Some(child) = map.next_key_seed(Name { shape, node })? {
            match child {
                Some(child) => {
                    let raw: &RawValue = map.next_value()?;
                    self.value(child, raw)?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let node = self.shape.node(self.node);
        // All elements, if some are wanted by their distance from the end.
        let mut all: Vec<&RawValue> = Vec::new();
        for index in 0.. {
            let child = node.element(index);
            if child.is_none() && node.from_end.is_empty() {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    break;
                }
                continue;
            }
            let Some(raw) = seq.next_element::<&RawValue>()? else {
                break;
            };
            if let Some(child) = child {
                self.value(child, raw)?;
            }
            if !node.from_end.is_empty() {
                all.push(raw);
            }
        }
        for &(back, child) in &node.from_end {
            if let Some(index) = place(all.len(), back) {
                self.value::<A::Error>(child, all[index])?;
            }
        }
        Ok(())
    }
}

/// A member's name, as the node it leads to.
struct Name<'a> {
    shape: &'a Shape,
    node: NodeId,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<NodeId>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<NodeId>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.shape.member(self.node, name))
    }
}
