//! Batches to lines or messages.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;
use crate::formats::columns::json_writer;
use crate::formats::columns::scalar_writer::{self, Cells, Typed};
use crate::formats::template::Template;

/// Writes the values of the one column as they are. NULL is written as nothing.
#[derive(Debug)]
pub(super) struct WholeEncoder {
    /// What stands after each value.
    pub(super) end: &'static [u8],
    /// What it writes.
    pub(super) media_type: &'static str,
}

impl Encoder for WholeEncoder {
    fn media_type(&self) -> &'static str {
        self.media_type
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        let Some(column) = batch.columns().columns().first() else {
            return Err(Error::failed("a batch without columns has no text"));
        };
        let bytes = match column.data_type() {
            DataType::Utf8View => column.as_string_view().clone().to_binary_view(),
            DataType::BinaryView => column.as_binary_view().clone(),
            other => return Err(Error::failed(format!("{other} is neither text nor bytes"))),
        };
        for row in 0..bytes.len() {
            if bytes.is_valid(row) {
                out.extend_from_slice(bytes.value(row));
            }
            out.extend_from_slice(self.end);
        }
        Ok(())
    }

    fn writes_lines(&self) -> bool {
        !self.end.is_empty()
    }
}

/// Writes what a template says.
#[derive(Debug)]
pub(super) struct TextTemplateEncoder {
    pub(super) template: Template,
    /// What stands after each record.
    pub(super) end: &'static [u8],
}

impl Encoder for TextTemplateEncoder {
    fn media_type(&self) -> &'static str {
        "text/plain; charset=utf-8"
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        self.template
            .encode(batch, None, self.end, out, |out, cells, row, _| text(out, cells, row))
    }

    fn writes_lines(&self) -> bool {
        !self.end.is_empty()
    }
}

/// Appends a value as text: NULL as nothing, what is no scalar as JSON.
fn text(out: &mut Vec<u8>, cells: &Cells, row: usize) {
    if cells.is_null(row) {
        return;
    }
    match &cells.values {
        Typed::List(..) | Typed::Struct(_) | Typed::Map(..) => json_writer::write(out, cells, row),
        values => {
            scalar_writer::write(out, values, row);
        }
    }
}
