//! Blocks of records to columns.
//!
//! Fields are read straight into their columns, numbers without looking for the field's end first. A record with
//! anything unusual is undone and read again field by field, which also decides what is an error and what the message
//! says.

use std::borrow::Cow;

use arrow::datatypes::SchemaRef;

use super::grammar::{self, Field, Form};
use super::mapping::Mapping;
use super::options::Dialect;
use crate::error::{Code, Diagnostic, Result};
use crate::formats::columns::number::{self, Number};
use crate::formats::columns::{self, Column, Content, Values, scalar_text};
use crate::formats::records::RowSize;
use crate::formats::{BadRecord, Block, DecodeSchema, Decoded, Decoder, FrameKind, Layout, records};

/// Reads records of fields.
#[derive(Debug)]
pub(super) struct CsvDecoder {
    schema: SchemaRef,
    dialect: Dialect,
    mapping: Option<Mapping>,
    wanted: std::sync::Arc<[usize]>,
    declared: usize,
    columns: Vec<Column>,
    rows: usize,
    /// The null text could be taken for a number.
    null_is_number: bool,
    row_size: RowSize,
}

/// Where the fields of a record go.
struct Targets {
    /// For each position the column that reads it.
    positions: Vec<Option<usize>>,
    /// Columns that have no position: NULL.
    absent: Vec<usize>,
    /// Whether more fields may follow, which nobody reads.
    open: bool,
}

impl CsvDecoder {
    pub(super) fn new(schema: &DecodeSchema, dialect: Dialect, mapping: Option<Mapping>) -> Result<Self, Diagnostic> {
        let decoded = schema.decoded();
        let columns = decoded.fields().iter().cloned().map(Column::new);
        let columns = columns
            .collect::<Result<_, String>>()
            .map_err(|reason| Diagnostic::new(Code::Unsupported, reason))?;
        Ok(CsvDecoder {
            null_is_number: dialect.null.iter().any(u8::is_ascii_digit),
            schema: decoded,
            dialect,
            mapping,
            wanted: schema.wanted.clone(),
            declared: schema.declared.fields().len(),
            columns,
            rows: 0,
            row_size: RowSize::new(),
        })
    }

    fn targets(&self, layout: Option<&Layout>) -> Targets {
        let column = |declared: usize| self.wanted.iter().position(|&wanted| wanted == declared);
        let positions: Vec<_> = match (layout, &self.mapping) {
            (Some(Layout::Positions(layout)), _) => layout.iter().map(|place| place.and_then(column)).collect(),
            (_, Some(mapping)) => {
                let declared = mapping.positions().into_iter();
                declared.map(|place| place.and_then(column)).collect()
            }
            (_, None) => (0..self.declared).map(column).collect(),
        };
        let absent = (0..self.columns.len()).filter(|column| !positions.contains(&Some(*column)));
        Targets {
            absent: absent.collect(),
            positions,
            open: layout.is_none() && self.mapping.is_some(),
        }
    }

    /// Reads the record at `at` and gives where the next starts. `None`: not that simple; the columns may hold a part.
    #[inline(always)]
    fn quick(&mut self, text: &str, at: usize, targets: &Targets) -> Option<usize> {
        let bytes = text.as_bytes();
        let start = at;
        let mut at = at;
        let last = targets.positions.len().checked_sub(1)?;
        for (position, column) in targets.positions.iter().enumerate() {
            let next = match column {
                None => {
                    let field = grammar::field(bytes, at, &self.dialect);
                    (!matches!(field.form, Form::Unclosed | Form::Trailing)).then_some(field.next)?
                }
                Some(column) => self.quick_field(text, at, *column)?,
            };
            let end = bytes.get(next);
            if position < last {
                (end == Some(&self.dialect.delimiter)).then_some(())?;
            } else if targets.open {
                at = self.unread(bytes, next)? + 1;
                break;
            } else {
                matches!(end, None | Some(b'\n')).then_some(())?;
            }
            at = next + 1;
        }
        let next = at.min(bytes.len());
        if next - start > self.dialect.limit {
            return None;
        }
        for &column in &targets.absent {
            self.columns[column].push_null().ok()?;
        }
        self.rows += 1;
        Some(next)
    }

    /// Where the line end after fields that nobody reads stands. `next` is where the delimiter or line end before them does.
    fn unread(&self, bytes: &[u8], mut next: usize) -> Option<usize> {
        while bytes.get(next) == Some(&self.dialect.delimiter) {
            let field = grammar::field(bytes, next + 1, &self.dialect);
            (!matches!(field.form, Form::Unclosed | Form::Trailing)).then_some(())?;
            next = field.next;
        }
        matches!(bytes.get(next), None | Some(b'\n')).then_some(next)
    }

    /// Reads the field at `at` and gives where the delimiter or line end after it stands.
    #[inline(always)]
    fn quick_field(&mut self, text: &str, at: usize, column: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        let column = &mut self.columns[column];
        let delimiter = self.dialect.delimiter;
        match &mut column.values {
            _ if self.null_is_number => {}
            Values::Int64(values) => {
                if let Some((number, next)) = number_field(bytes, at, delimiter)
                    && let Some(value) = number.integer()
                {
                    values.push(value);
                    return Some(next);
                }
            }
            Values::Timestamp(values) => {
                if let Some((number, next)) = number_field(bytes, at, delimiter)
                    && let Some(value) = number.integer().and_then(|millis| millis.checked_mul(1_000))
                {
                    values.push(value);
                    return Some(next);
                }
            }
            Values::Int32(values) => {
                if let Some((number, next)) = number_field(bytes, at, delimiter)
                    && let Some(value) = number.integer().and_then(|value| i32::try_from(value).ok())
                {
                    values.push(value);
                    return Some(next);
                }
            }
            Values::Float64(values) => {
                if let Some((number, next)) = number_field(bytes, at, delimiter)
                    && let Some(value) = number.double(text.get(at..number.end)?)
                {
                    values.push(value);
                    return Some(next);
                }
            }
            Values::Views(views, Content::Text) if bytes.get(at) != Some(&self.dialect.quote) => {
                let field = grammar::plain(bytes, at, &self.dialect);
                if bytes[field.start..field.end] != *self.dialect.null {
                    views.push_part(text, field.start, field.end)?;
                    return Some(field.next);
                }
            }
            _ => {}
        }
        let field = grammar::field(bytes, at, &self.dialect);
        push(column, text, field, &self.dialect).ok()?;
        Some(field.next)
    }

    /// Reads the record at `at` field by field, or says why it cannot be read.
    #[cold]
    fn strict(&mut self, text: &str, fields: &[Field], targets: &Targets) -> Result<(), String> {
        for field in fields {
            match field.form {
                Form::Unclosed => return Err("a quoted field is not closed".to_string()),
                Form::Trailing => return Err("text follows the closing quote of a field".to_string()),
                Form::Plain | Form::Quoted | Form::Escaped => {}
            }
        }
        let expected = targets.positions.len();
        if fields.len() < expected || (fields.len() > expected && !targets.open) {
            let fields = match fields.len() {
                1 => "1 field".to_string(),
                count => format!("{count} fields"),
            };
            let least = if targets.open { "at least " } else { "" };
            return Err(format!("{fields}, expected {least}{expected}"));
        }
        for (field, column) in fields.iter().zip(&targets.positions) {
            if let Some(column) = column {
                let column = &mut self.columns[*column];
                push(column, text, *field, &self.dialect)?;
            }
        }
        for &column in &targets.absent {
            let column = &mut self.columns[column];
            column.push_null().map_err(|reject| reject.message(column.name()))?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Reads valid text of whole records.
    fn text(&mut self, text: &str, targets: &Targets, mut line: Line<'_>, errors: &mut Vec<BadRecord>) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if let Some(next) = blank_line(bytes, at, targets) {
                at = next;
                continue;
            }
            if let Some(next) = self.quick(text, at, targets) {
                at = next;
                continue;
            }
            self.roll_back();
            let (fields, next) = grammar::record(bytes, at, &self.dialect);
            let raw = &bytes[at..next];
            let read = match records::content(raw).len() > self.dialect.limit {
                true => Err(records::too_long("csv", self.dialect.limit)),
                false => self.strict(text, &fields, targets),
            };
            if let Err(message) = read {
                self.roll_back();
                errors.push(records::bad(message, line.at(at), raw, self.rows));
            }
            at = next;
        }
    }

    /// Reads records some of which are not valid UTF-8.
    #[cold]
    fn invalid(&mut self, bytes: &[u8], targets: &Targets, first_line: u64, errors: &mut Vec<BadRecord>) {
        let mut line = Line::new(bytes, first_line);
        let mut at = 0;
        while at < bytes.len() {
            let (_, next) = grammar::record(bytes, at, &self.dialect);
            let raw = &bytes[at..next];
            match std::str::from_utf8(raw) {
                Ok(text) => self.text(text, targets, Line::new(raw, line.at(at)), errors),
                Err(error) => {
                    let message = match records::content(raw).len() > self.dialect.limit {
                        true => records::too_long("csv", self.dialect.limit),
                        false => format!("invalid UTF-8 at byte {} of the record", error.valid_up_to() + 1),
                    };
                    errors.push(records::bad(message, line.at(at), raw, self.rows));
                }
            }
            at = next;
        }
    }

    fn roll_back(&mut self) {
        let rows = self.rows;
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }
}

/// A number that is a whole field, and where the delimiter or line end after it stands.
#[inline(always)]
fn number_field(bytes: &[u8], at: usize, delimiter: u8) -> Option<(Number, usize)> {
    let number = number::scan(bytes, at)?;
    match bytes.get(number.end) {
        Some(b'\r') if bytes.get(number.end + 1) == Some(&b'\n') => Some((number, number.end + 1)),
        None | Some(b'\n') => Some((number, number.end)),
        Some(byte) if *byte == delimiter => Some((number, number.end)),
        Some(_) => None,
    }
}

/// Appends a field to its column.
fn push(column: &mut Column, text: &str, field: Field, dialect: &Dialect) -> Result<(), String> {
    let content = text.get(field.start..field.end).unwrap_or_default();
    let pushed = match field.form {
        Form::Plain if content.as_bytes() == dialect.null => column.push_null(),
        Form::Plain | Form::Quoted => scalar_text::push(column, content),
        Form::Escaped => scalar_text::push(column, &Cow::from(grammar::unescape(content, dialect))),
        Form::Unclosed | Form::Trailing => return Err("a quoted field does not end properly".to_string()),
    };
    pushed.map_err(|reject| reject.message(column.name()))
}

/// Where the next record starts when an empty line stands at `at`. Where records have one field, an empty line is one.
#[inline(always)]
fn blank_line(bytes: &[u8], at: usize, targets: &Targets) -> Option<usize> {
    if targets.positions.len() == 1 && !targets.open {
        return None;
    }
    match bytes[at..] {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        [b'\r'] => Some(at + 1),
        _ => None,
    }
}

/// Line numbers, counted only when asked for.
struct Line<'a> {
    bytes: &'a [u8],
    counted: usize,
    line: u64,
}

impl<'a> Line<'a> {
    fn new(bytes: &'a [u8], first: u64) -> Self {
        Line {
            bytes,
            counted: 0,
            line: first,
        }
    }

    /// The line of the byte at `at`, which is never before the last one asked for.
    fn at(&mut self, at: usize) -> u64 {
        let new = self.bytes.get(self.counted..at).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', new).count() as u64;
        self.counted = at;
        self.line
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let mut errors = Vec::new();
        let targets = self.targets(block.layout.as_ref());
        let expected = self.row_size.rows(block.bytes.len());
        for column in &mut self.columns {
            column.reserve(expected);
        }
        let bytes = block.bytes.as_slice();
        match (block.kind, std::str::from_utf8(bytes)) {
            (FrameKind::Records, Ok(text)) => {
                self.text(text, &targets, Line::new(bytes, block.first_line), &mut errors);
            }
            (FrameKind::Records, Err(_)) => self.invalid(bytes, &targets, block.first_line, &mut errors),
            (FrameKind::Oversized, _) => {
                let message = records::too_long("csv", self.dialect.limit);
                errors.push(records::bad(message, block.first_line, bytes, 0));
            }
            (FrameKind::Rest, _) => {}
        }
        let rows = std::mem::take(&mut self.rows);
        self.row_size.learn(block.bytes.len(), rows);
        Ok(Decoded {
            columns: columns::finish(&mut self.columns, &self.schema, rows)?,
            errors,
        })
    }
}
