//! Blocks of lines to columns.

use arrow::datatypes::SchemaRef;

use super::fast::Fast;
use super::mapping::{Faults, Mapping};
use super::rows::Rows;
use super::shape::Shape;
use super::strict;
use crate::error::{Code, Diagnostic, Result};
use crate::formats::columns;
use crate::formats::records::RowSize;
use crate::formats::{BadRecord, Block, DecodeSchema, Decoded, Decoder, FrameKind, records};

/// Reads the records of each line.
#[derive(Debug)]
pub(super) struct JsonDecoder {
    schema: SchemaRef,
    shape: Shape,
    rows: Rows,
    fast: Option<Fast>,
    faults: Faults,
    limit: usize,
    row_size: RowSize,
}

impl JsonDecoder {
    pub(super) fn new(schema: &DecodeSchema, mapping: &Mapping, limit: usize) -> Result<Self, Diagnostic> {
        let rows = Rows::new(schema, mapping).map_err(|reason| Diagnostic::new(Code::Unsupported, reason))?;
        let shape = mapping.shape(schema);
        Ok(JsonDecoder {
            schema: schema.decoded(),
            fast: Fast::new(&shape),
            shape,
            rows,
            faults: mapping.faults,
            limit,
            row_size: RowSize::new(),
        })
    }

    /// Without the quick way, to compare both.
    #[cfg(test)]
    pub(super) fn strict(self) -> Self {
        JsonDecoder { fast: None, ..self }
    }

    /// Reads valid text of whole lines; `line` is the number of the first.
    fn text(&mut self, text: &str, line: &mut u64, errors: &mut Vec<BadRecord>) {
        let mut at = 0;
        while at < text.len() {
            at = match self.quick(text, at) {
                Some(next) => next,
                None => self.strict_line(text, at, *line, errors),
            };
            *line += 1;
        }
    }

    #[inline(always)]
    fn quick(&mut self, text: &str, at: usize) -> Option<usize> {
        let rows = self.rows.rows;
        let next = self.fast.as_mut()?.line(text, at, &self.shape, &mut self.rows);
        match next {
            // Whether a line of the limit's length and a bit is too long, the strict way says.
            Some(next) if next - at <= self.limit => Some(next),
            _ => {
                self.rows.rows = rows;
                None
            }
        }
    }

    #[cold]
    fn strict_line(&mut self, text: &str, at: usize, line: u64, errors: &mut Vec<BadRecord>) -> usize {
        self.rows.roll_back();
        let rest = &text[at..];
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let content = rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]);
        if content.len() > self.limit {
            let message = records::too_long("json", self.limit);
            errors.push(records::bad(message, line, content.as_bytes(), self.rows.rows));
        } else {
            let report = |message, raw: &str, row| errors.push(records::bad(message, line, raw.as_bytes(), row));
            strict::line(&self.shape, &mut self.rows, content, report);
        }
        at + end + 1
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let mut errors = Vec::new();
        let mut line = block.first_line;
        let mut bytes = block.bytes.as_slice();
        match block.kind {
            FrameKind::Records => {}
            FrameKind::Oversized => {
                errors.push(records::bad(records::too_long("json", self.limit), line, bytes, 0));
                bytes = &[];
            }
            FrameKind::Rest => bytes = &[],
        }
        let expected = self.row_size.rows(bytes.len());
        for column in &mut self.rows.columns {
            column.reserve(expected);
        }
        loop {
            let invalid = match std::str::from_utf8(bytes) {
                Ok(text) => {
                    self.text(text, &mut line, &mut errors);
                    break;
                }
                Err(error) => error.valid_up_to(),
            };
            // Lines before the one with the invalid bytes, that line, and on after it.
            let start = memchr::memrchr(b'\n', &bytes[..invalid]).map_or(0, |at| at + 1);
            let end = memchr::memchr(b'\n', &bytes[invalid..]).map_or(bytes.len(), |at| invalid + at + 1);
            if let Ok(text) = std::str::from_utf8(&bytes[..start]) {
                self.text(text, &mut line, &mut errors);
            }
            let message = match records::content(&bytes[start..end]).len() > self.limit {
                true => records::too_long("json", self.limit),
                false => format!("invalid UTF-8 at column {}", invalid - start + 1),
            };
            errors.push(records::bad(message, line, &bytes[start..end], self.rows.rows));
            line += 1;
            bytes = &bytes[end..];
        }
        if self.faults == Faults::Ignored {
            errors.clear();
        }
        let rows = std::mem::take(&mut self.rows.rows);
        self.row_size.learn(block.bytes.len(), rows);
        Ok(Decoded {
            columns: columns::finish(&mut self.rows.columns, &self.schema, rows)?,
            errors,
        })
    }
}
