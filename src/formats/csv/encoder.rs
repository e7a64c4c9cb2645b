//! Batches to records.

use arrow::datatypes::SchemaRef;

use super::options::{Dialect, Header};
use crate::error::Result;
use crate::event::EventBatch;
use crate::formats::Encoder;
use crate::formats::columns::json_writer;
use crate::formats::columns::scalar_writer::{self, Cells, Typed};
use crate::formats::template::Template;

/// Writes a header and one record a row; quotes only what needs them.
#[derive(Debug)]
pub(super) struct CsvEncoder {
    schema: SchemaRef,
    dialect: Dialect,
    /// No number, date or boolean can hold a special character or be the null text.
    scalars_are_plain: bool,
    scratch: Vec<u8>,
    template: Option<Template>,
}

/// Characters of numbers, booleans, dates and intervals besides letters and digits.
const SCALAR_MARKS: &[u8] = b"+-.:/=";

impl CsvEncoder {
    pub(super) fn new(schema: &SchemaRef, dialect: Dialect, template: Option<Template>) -> Self {
        let occurs = |byte: u8| byte.is_ascii_alphanumeric() || SCALAR_MARKS.contains(&byte);
        CsvEncoder {
            schema: schema.clone(),
            scalars_are_plain: !occurs(dialect.delimiter) && !occurs(dialect.quote) && dialect.null.is_empty(),
            dialect,
            scratch: Vec::new(),
            template,
        }
    }

    fn cell(&mut self, out: &mut Vec<u8>, cells: &Cells, row: usize) {
        if cells.is_null(row) {
            return out.extend_from_slice(&self.dialect.null);
        }
        match &cells.values {
            Typed::Text(array) => text(out, array.value(row).as_bytes(), &self.dialect),
            Typed::Json(_) | Typed::List(..) | Typed::Struct(_) | Typed::Map(..) => {
                self.scratch.clear();
                json_writer::write(&mut self.scratch, cells, row);
                text(out, &self.scratch, &self.dialect);
            }
            // Empty bytes are empty text: in quotes, or they would be NULL.
            values if self.scalars_are_plain && !matches!(values, Typed::Bytes(_)) => {
                scalar_writer::write(out, values, row);
            }
            values => {
                self.scratch.clear();
                match scalar_writer::write(&mut self.scratch, values, row) {
                    true => text(out, &self.scratch, &self.dialect),
                    false => out.extend_from_slice(&self.dialect.null),
                }
            }
        }
    }
}

/// Appends a text that is not NULL.
fn text(out: &mut Vec<u8>, text: &[u8], dialect: &Dialect) {
    let special = |byte: &u8| [dialect.delimiter, dialect.quote, b'\n', b'\r'].contains(byte);
    if !text.is_empty() && text != dialect.null && !text.iter().any(special) {
        return out.extend_from_slice(text);
    }
    out.push(dialect.quote);
    for &byte in text {
        if byte == dialect.quote {
            out.push(dialect.quote);
        } else if Some(byte) == dialect.escape {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(dialect.quote);
}

impl Encoder for CsvEncoder {
    fn media_type(&self) -> &'static str {
        "text/csv; charset=utf-8"
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.dialect.header == Header::Absent || self.template.is_some() {
            return;
        }
        for (index, field) in self.schema.fields().iter().enumerate() {
            if index > 0 {
                out.push(self.dialect.delimiter);
            }
            text(out, field.name().as_bytes(), &self.dialect);
        }
        out.push(b'\n');
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        if let Some(template) = self.template.take() {
            let value = |out: &mut Vec<u8>, cells: &Cells, row: usize, _| self.cell(out, cells, row);
            let encoded = template.encode(batch, None, b"\n", out, value);
            self.template = Some(template);
            return encoded;
        }
        let cells = scalar_writer::cells(&self.schema, batch.columns().columns())?;
        for row in 0..batch.num_rows() {
            for (index, cells) in cells.iter().enumerate() {
                if index > 0 {
                    out.push(self.dialect.delimiter);
                }
                self.cell(out, cells, row);
            }
            out.push(b'\n');
        }
        Ok(())
    }
}
