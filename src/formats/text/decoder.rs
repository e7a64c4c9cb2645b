//! Blocks of lines, or messages, to one column.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::format::Framing;
use crate::error::Result;
use crate::formats::columns::{Content, Views};
use crate::formats::{BadRecord, Block, DecodeSchema, Decoded, Decoder, FrameKind, records};

/// Makes a value of each line or message. Texts must be UTF-8; a message that is none is an error, as is one over the limit.
#[derive(Debug)]
pub(super) struct WholeDecoder {
    format: &'static str,
    schema: SchemaRef,
    content: Content,
    framing: Framing,
    limit: usize,
    views: Views,
}

impl WholeDecoder {
    pub(super) fn new(
        format: &'static str,
        schema: &DecodeSchema,
        content: Content,
        framing: Framing,
        limit: usize,
    ) -> Self {
        WholeDecoder {
            format,
            schema: schema.decoded(),
            content,
            framing,
            limit,
            views: Views::default(),
        }
    }

    fn value(&mut self, bytes: &[u8], line: u64, errors: &mut Vec<BadRecord>) {
        let message = match std::str::from_utf8(bytes) {
            _ if bytes.len() > self.limit => records::too_long(self.format, self.limit),
            Err(error) if self.content == Content::Text => {
                format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1)
            }
            _ => return self.views.push_bytes(bytes),
        };
        errors.push(records::bad(message, line, bytes, self.views.len()));
    }
}

impl Decoder for WholeDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let mut errors = Vec::new();
        let bytes = block.bytes.as_slice();
        match (block.kind, self.framing) {
            (FrameKind::Rest, _) => {}
            (FrameKind::Oversized, _) => {
                let message = records::too_long(self.format, self.limit);
                errors.push(records::bad(message, block.first_line, bytes, 0));
            }
            (FrameKind::Records, Framing::Message) => self.value(bytes, block.first_line, &mut errors),
            (FrameKind::Records, Framing::Line) => {
                let lines = bytes.split_inclusive(|byte| *byte == b'\n');
                for (line, number) in lines.zip(block.first_line..) {
                    self.value(records::content(line), number, &mut errors);
                }
            }
        }
        let rows = self.views.len();
        let values = self.views.finish(self.content, None)?;
        let columns = if self.schema.fields().is_empty() {
            vec![]
        } else {
            vec![values]
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Decoded { columns, errors })
    }
}
