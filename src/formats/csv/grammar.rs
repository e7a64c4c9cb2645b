//! Where fields and records end.
//!
//! RFC 4180, with two freedoms: a line ends with `\n` or `\r\n`, and a quote inside a field that does not start with
//! one is an ordinary character. Text after a closing quote is an error of its record, which still ends where the next
//! line ends.

use super::options::Dialect;
use crate::formats::columns::scan;

/// A field in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Where its content begins and ends, quotes excluded.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) form: Form,
    /// Where the delimiter or `\n` after it stands, or the end of the bytes.
    pub(super) next: usize,
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Without quotes.
    Plain,
    /// In quotes; the content is as it stands.
    Quoted,
    /// In quotes, with doubled quotes or escapes inside.
    Escaped,
    /// The bytes end before the closing quote.
    Unclosed,
    /// Text follows the closing quote.
    Trailing,
}

/// The field that starts at `at`.
pub(super) fn field(bytes: &[u8], at: usize, dialect: &Dialect) -> Field {
    match bytes.get(at) {
        Some(&byte) if byte == dialect.quote => quoted(bytes, at, dialect),
        _ => plain(bytes, at, dialect),
    }
}

/// The field that starts at `at`, not with a quote.
#[inline(always)]
pub(super) fn plain(bytes: &[u8], at: usize, dialect: &Dialect) -> Field {
    let next = scan::either(bytes, at, dialect.delimiter, b'\n');
    let ends_line = bytes.get(next).is_none_or(|&byte| byte == b'\n');
    let carriage = ends_line && next > at && bytes[next - 1] == b'\r';
    Field {
        start: at,
        end: next - usize::from(carriage),
        form: Form::Plain,
        next,
    }
}

fn quoted(bytes: &[u8], at: usize, dialect: &Dialect) -> Field {
    let start = at + 1;
    let mut form = Form::Quoted;
    let mut from = start;
    let end = loop {
        let Some(stop) = bytes.get(from..).and_then(|rest| find(rest, dialect)) else {
            let end = bytes.len();
            return Field {
                start: start.min(end),
                end,
                form: Form::Unclosed,
                next: end,
            };
        };
        let stop = from + stop;
        if bytes[stop] == dialect.quote && bytes.get(stop + 1) != Some(&dialect.quote) {
            break stop;
        }
        form = Form::Escaped;
        from = stop + 2;
    };
    let after = bytes.get(end + 1..).unwrap_or_default();
    let next = match after {
        [] | [b'\n', ..] => end + 1,
        [byte, ..] if *byte == dialect.delimiter => end + 1,
        [b'\r'] | [b'\r', b'\n', ..] => end + 2,
        _ => {
            form = Form::Trailing;
            scan::either(bytes, end + 1, dialect.delimiter, b'\n')
        }
    };
    Field { start, end, form, next }
}

/// The first quote or escape.
pub(super) fn find(bytes: &[u8], dialect: &Dialect) -> Option<usize> {
    match dialect.escape {
        None => memchr::memchr(dialect.quote, bytes),
        Some(escape) => memchr::memchr2(dialect.quote, escape, bytes),
    }
}

/// The fields of the record at `at`, and where the next record starts.
pub(super) fn record(bytes: &[u8], mut at: usize, dialect: &Dialect) -> (Vec<Field>, usize) {
    let mut fields = Vec::new();
    loop {
        let field = field(bytes, at, dialect);
        fields.push(field);
        at = field.next + 1;
        if bytes.get(field.next) != Some(&dialect.delimiter) {
            return (fields, at.min(bytes.len()));
        }
    }
}

/// The text of an escaped field.
pub(super) fn unescape(content: &str, dialect: &Dialect) -> String {
    let mut text = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(stop) = find(rest.as_bytes(), dialect) {
        text.push_str(&rest[..stop]);
        let mut after = rest[stop + 1..].chars();
        text.extend(after.next());
        rest = after.as_str();
    }
    text.push_str(rest);
    text
}
