//! Batches to messages, each after its length.

use arrow::datatypes::SchemaRef;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::shape::Part;
use super::values;
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::formats::columns::scalar_writer;
use crate::formats::{Encoder, delimited};

/// Writes messages of one kind.
#[derive(Debug)]
pub(super) struct ProtobufEncoder {
    message: MessageDescriptor,
    parts: Vec<Part>,
    schema: SchemaRef,
}

impl ProtobufEncoder {
    pub(super) fn new(message: MessageDescriptor, parts: Vec<Part>, schema: &SchemaRef) -> Self {
        ProtobufEncoder {
            message,
            parts,
            schema: schema.clone(),
        }
    }
}

impl Encoder for ProtobufEncoder {
    fn media_type(&self) -> &'static str {
        "application/x-protobuf"
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        let cells = scalar_writer::cells(&self.schema, batch.columns().columns())?;
        for row in 0..batch.num_rows() {
            let mut message = DynamicMessage::new(self.message.clone());
            for ((part, cells), field) in self.parts.iter().zip(&cells).zip(self.schema.fields()) {
                values::write(part, &mut message, cells, row).map_err(|reason| {
                    Error::failed(format!(
                        "a row cannot be written as Protobuf: column '{}': {reason}",
                        field.name()
                    ))
                })?;
            }
            delimited::write_length(out, message.encoded_len());
            out.extend_from_slice(&message.encode_to_vec());
        }
        Ok(())
    }

    fn writes_lines(&self) -> bool {
        false
    }
}
