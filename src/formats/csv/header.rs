//! The header: which declared column stands where.

use super::grammar::{self, Form};
use super::mapping::Mapping;
use super::options::Dialect;
use crate::catalog::names::{Resolved, resolve};
use crate::formats::{DecodeSchema, Layout, Prologue, records};

/// Reads the first record. Names resolve exactly, else but for case; columns that nobody declared are ignored.
pub(super) fn read(
    bytes: &[u8],
    last: bool,
    dialect: &Dialect,
    schema: &DecodeSchema,
    mapping: Option<&Mapping>,
) -> Prologue {
    let Some(start) = records::bom(bytes, last) else {
        return Prologue::NeedMore;
    };
    // Blank lines before the header are no header.
    let blank = bytes[start..]
        .iter()
        .take_while(|byte| matches!(byte, b'\n' | b'\r'))
        .count();
    let start = start + blank;
    if start == bytes.len() {
        return match last {
            true => done(bytes, start, None),
            false => Prologue::NeedMore,
        };
    }
    let (fields, end) = grammar::record(bytes, start, dialect);
    let complete = fields.last().is_some_and(|field| bytes.get(field.next) == Some(&b'\n'));
    if !complete && !last {
        return match bytes.len() > dialect.limit {
            true => Prologue::Bad(records::too_long("csv", dialect.limit)),
            false => Prologue::NeedMore,
        };
    }
    let mut names = Vec::new();
    for field in fields {
        let Ok(content) = std::str::from_utf8(&bytes[field.start..field.end]) else {
            return Prologue::Bad("the header is not valid UTF-8".to_string());
        };
        names.push(match field.form {
            Form::Plain | Form::Quoted => content.to_string(),
            Form::Escaped => grammar::unescape(content, dialect),
            Form::Unclosed => return Prologue::Bad("a quote in the header is not closed".to_string()),
            Form::Trailing => return Prologue::Bad("text follows a closing quote in the header".to_string()),
        });
    }
    match layout(&names, schema, mapping) {
        Ok(layout) => done(bytes, end, Some(Layout::Positions(layout.into()))),
        Err(reason) => Prologue::Bad(reason),
    }
}

fn done(bytes: &[u8], consumed: usize, layout: Option<Layout>) -> Prologue {
    Prologue::Done {
        consumed,
        lines: memchr::memchr_iter(b'\n', &bytes[..consumed]).count() as u64,
        layout,
    }
}

/// The declared column of each name. What the mapping says of a position holds whatever its name.
fn layout(names: &[String], schema: &DecodeSchema, mapping: Option<&Mapping>) -> Result<Vec<Option<usize>>, String> {
    let declared = schema.declared.fields();
    let wanted: Vec<(&str, usize)> = match mapping {
        Some(mapping) => mapping.names().collect(),
        None => declared.iter().map(|field| field.name().as_str()).zip(0..).collect(),
    };
    if let Some((position, column)) = mapping.and_then(Mapping::last)
        && position >= names.len()
    {
        return Err(format!(
            "the header has {} fields, but csv.mapping.{} is the one at position {position} (from 0)",
            names.len(),
            declared[column].name()
        ));
    }
    let mut layout: Vec<Option<usize>> = Vec::with_capacity(names.len());
    for (position, name) in names.iter().enumerate() {
        let column = match mapping.and_then(|mapping| mapping.at(position)) {
            Some(column) => Some(column),
            None => named(name, &wanted)?,
        };
        if let Some(column) = column
            && layout.contains(&Some(column))
        {
            return Err(match mapping {
                Some(_) => format!("the header names '{name}' twice"),
                None => format!("the header names the column '{}' twice", declared[column].name()),
            });
        }
        layout.push(column);
    }
    if layout.iter().all(Option::is_none) {
        return Err(format!(
            "the header ({}) names none of the {} {}; for a file without header set csv.header = 'false'",
            list(names.iter().map(String::as_str)),
            if mapping.is_some() { "fields" } else { "columns" },
            list(wanted.iter().map(|(name, _)| *name))
        ));
    }
    for (index, field) in declared
        .iter()
        .enumerate()
        .filter(|(index, _)| !layout.contains(&Some(*index)))
    {
        if let Some((name, _)) = wanted.iter().find(|(_, column)| mapping.is_some() && *column == index) {
            return Err(format!(
                "the header ({}) lacks '{name}', which csv.mapping.{} says is its field",
                list(names.iter().map(String::as_str)),
                field.name()
            ));
        }
        if !field.is_nullable() {
            return Err(format!(
                "the header lacks the column '{}', which is NOT NULL",
                field.name()
            ));
        }
    }
    Ok(layout)
}

/// The declared column that a name of the header means.
fn named(name: &str, wanted: &[(&str, usize)]) -> Result<Option<usize>, String> {
    match resolve(name, wanted.iter().map(|(name, _)| *name)) {
        Resolved::One(found) => Ok(wanted
            .iter()
            .find(|(name, _)| *name == found)
            .map(|(_, column)| *column)),
        Resolved::None => Ok(None),
        Resolved::Ambiguous(candidates) => Err(format!(
            "the header's '{name}' could be any of the columns {}",
            list(candidates)
        )),
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
