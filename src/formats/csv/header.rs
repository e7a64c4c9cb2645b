//! The header: which declared column stands where.

use super::grammar::{self, Form};
use super::options::Dialect;
use crate::catalog::names::{Resolved, resolve};
use crate::formats::{DecodeSchema, Prologue, records};

/// Reads the first record. Names resolve exactly, else but for case; columns that nobody declared are ignored.
pub(super) fn read(bytes: &[u8], last: bool, dialect: &Dialect, schema: &DecodeSchema) -> Prologue {
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
    match layout(&names, schema) {
        Ok(layout) => done(bytes, end, Some(layout.into())),
        Err(reason) => Prologue::Bad(reason),
    }
}

fn done(bytes: &[u8], consumed: usize, layout: Option<crate::formats::Layout>) -> Prologue {
    Prologue::Done {
        consumed,
        lines: memchr::memchr_iter(b'\n', &bytes[..consumed]).count() as u64,
        layout,
    }
}

fn layout(names: &[String], schema: &DecodeSchema) -> Result<Vec<Option<usize>>, String> {
    let declared = schema.declared.fields();
    let mut layout: Vec<Option<usize>> = Vec::with_capacity(names.len());
    for name in names {
        let candidates = declared.iter().map(|field| field.name().as_str());
        let column = match resolve(name, candidates) {
            Resolved::One(found) => declared.iter().position(|field| field.name() == found),
            Resolved::None => None,
            Resolved::Ambiguous(candidates) => {
                return Err(format!(
                    "the header's '{name}' could be any of the columns {}",
                    list(candidates)
                ));
            }
        };
        if let Some(column) = column
            && layout.contains(&Some(column))
        {
            return Err(format!(
                "the header names the column '{}' twice",
                declared[column].name()
            ));
        }
        layout.push(column);
    }
    let columns = || list(declared.iter().map(|field| field.name().as_str()));
    if layout.iter().all(Option::is_none) {
        return Err(format!(
            "the header ({}) names none of the columns {}; for a file without header set csv.header = 'false'",
            list(names.iter().map(String::as_str)),
            columns()
        ));
    }
    for (index, field) in declared.iter().enumerate() {
        if !field.is_nullable() && !layout.contains(&Some(index)) {
            return Err(format!(
                "the header lacks the column '{}', which is NOT NULL",
                field.name()
            ));
        }
    }
    Ok(layout)
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
