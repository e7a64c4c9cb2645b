//! Messages to columns.
//!
//! What a message says of its body is checked before anything is made of it, and what is made of it is checked by Arrow. A batch
//! that does not hold is one error; so is a row with NULL in a NOT NULL column.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::MessageHeader;
use arrow::ipc::reader::read_record_batch;

use super::message::{self, Front};
use crate::error::{Error, Result};
use crate::formats::fit::Fit;
use crate::formats::{BadRecord, Block, DecodeSchema, Decoded, Decoder, FrameKind, Layout, records};

/// Reads batches of the schema that the framer found.
#[derive(Debug)]
pub(super) struct ArrowDecoder {
    schema: DecodeSchema,
    decoded: SchemaRef,
    input: Option<Input>,
}

/// The input that the last block came from.
#[derive(Debug)]
struct Input {
    header: Arc<[u8]>,
    schema: SchemaRef,
    fit: Fit,
}

impl ArrowDecoder {
    pub(super) fn new(schema: &DecodeSchema) -> Self {
        ArrowDecoder {
            decoded: schema.decoded(),
            schema: schema.clone(),
            input: None,
        }
    }

    /// What the header says of its input.
    fn input(&mut self, layout: Option<&Layout>) -> Result<&Input> {
        let Some(Layout::Header(header)) = layout else {
            return Err(Error::failed("a block of an Arrow stream without its schema"));
        };
        let known = self.input.take().filter(|input| input.header == *header);
        let input = match known {
            Some(input) => input,
            None => {
                let schema = message::schema(header).map_err(Error::failed)?;
                Input {
                    header: header.clone(),
                    fit: Fit::new(&schema, &self.schema).map_err(Error::failed)?,
                    schema: Arc::new(schema),
                }
            }
        };
        Ok(self.input.insert(input))
    }
}

/// The rows of a message; none of one that holds no batch.
fn rows(input: &Input, message: &[u8], bad: &mut Vec<(String, usize)>) -> Result<Option<RecordBatch>, String> {
    let (metadata, body) = message::parts(message).ok_or("a message is damaged")?;
    if metadata.header_type() == MessageHeader::DictionaryBatch {
        // Of columns that nobody reads.
        return Ok(None);
    }
    let batch = metadata
        .header_as_record_batch()
        .ok_or("a message is no batch of rows")?;
    let length = usize::try_from(metadata.bodyLength()).unwrap_or(0);
    let body = body.get(..length).ok_or("a message is shorter than it says")?;
    let inside = |offset: i64, size: i64| {
        let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok());
        offset >= 0 && size >= 0 && end.is_some_and(|end| end <= body.len())
    };
    let buffers = batch.buffers().ok_or("a batch has no buffers")?;
    if !buffers.iter().all(|buffer| inside(buffer.offset(), buffer.length())) {
        return Err("a batch is damaged: a column lies outside of its message".to_string());
    }
    // A row of a column takes a bit at least.
    let most = i64::try_from(body.len().saturating_mul(8)).unwrap_or(i64::MAX);
    if batch.length() < 0 || batch.length() > most {
        return Err(format!(
            "a batch is damaged: it says that it has {} rows",
            batch.length()
        ));
    }
    let body = Buffer::from(body);
    let (none, version) = (HashMap::new(), metadata.version());
    let read = || {
        read_record_batch(
            &body,
            batch,
            input.schema.clone(),
            &none,
            Some(&input.fit.read),
            &version,
        )
    };
    // What the library does not check makes it panic.
    let batch = catch_unwind(AssertUnwindSafe(read)).map_err(|_| "a batch is damaged".to_string())?;
    let batch = batch.map_err(|error| format!("a batch is damaged: {error}"))?;
    input.fit.convert(&batch, bad).map(Some)
}

impl Decoder for ArrowDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let mut errors: Vec<BadRecord> = Vec::new();
        let mut batches = Vec::new();
        let (mut count, mut number) = (0, block.first_line);
        let mut bytes = block.bytes.as_slice();
        match block.kind {
            FrameKind::Records if bytes.is_empty() => {}
            FrameKind::Records => {
                let input = self.input(block.layout.as_ref())?;
                while let Front::Message(length) = message::front(bytes, usize::MAX) {
                    let mut bad = Vec::new();
                    match rows(input, &bytes[..length], &mut bad) {
                        Ok(batch) => {
                            let told = bad.into_iter();
                            errors.extend(told.map(|(message, row)| records::bad(message, number, b"", count + row)));
                            count += batch.as_ref().map_or(0, RecordBatch::num_rows);
                            batches.extend(batch);
                        }
                        Err(message) => errors.push(records::bad(message, number, b"", count)),
                    }
                    bytes = &bytes[length..];
                    number += 1;
                }
            }
            FrameKind::Oversized => {
                let message = "the stream is damaged, cut off, or has a message longer than arrow.max-record-bytes: \
                               what follows is not read";
                errors.push(records::bad(message.to_string(), number, b"", 0));
            }
            FrameKind::Rest => {}
        }
        Ok(Decoded {
            columns: concat_batches(&self.decoded, &batches)?,
            errors,
        })
    }
}
