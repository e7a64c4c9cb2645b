//! Messages to columns. A bad message takes only itself: what it left in the columns is cut off again.
//!
//! A message is taken apart by the library before it becomes columns, because its fields may come in any order and in several pieces. Lengths
//! in it are checked against the bytes there are, and it nests at most 100 deep.

use arrow::datatypes::SchemaRef;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::shape::Part;
use super::values;
use crate::error::Result;
use crate::formats::columns::{self, Column};
use crate::formats::delimited::{self, Messages};
use crate::formats::{Block, Decoded, Decoder, FrameKind, records};

/// Decodes messages of one kind.
#[derive(Debug)]
pub(super) struct ProtobufDecoder {
    message: MessageDescriptor,
    parts: Vec<Part>,
    schema: SchemaRef,
    columns: Vec<Column>,
    limit: usize,
}

impl ProtobufDecoder {
    pub(super) fn new(
        message: MessageDescriptor,
        parts: Vec<Part>,
        schema: SchemaRef,
        limit: usize,
    ) -> Result<Self, String> {
        let columns = schema
            .fields()
            .iter()
            .cloned()
            .map(Column::new)
            .collect::<Result<_, _>>()?;
        Ok(ProtobufDecoder {
            message,
            parts,
            schema,
            columns,
            limit,
        })
    }

    fn message(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > self.limit {
            return Err(records::too_long("protobuf", self.limit));
        }
        let message = DynamicMessage::decode(self.message.clone(), bytes).map_err(|error| error.to_string())?;
        for (part, column) in self.parts.iter().zip(&mut self.columns) {
            values::read(part, &message, column).map_err(|reject| reject.message(column.name()))?;
        }
        Ok(())
    }
}

impl Decoder for ProtobufDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let (mut errors, mut count) = (Vec::new(), 0);
        match block.kind {
            FrameKind::Rest => {}
            FrameKind::Oversized => {
                let message = delimited::why(&block.bytes, "protobuf", self.limit);
                errors.push(records::bad(message, block.first_line, &block.bytes, 0));
            }
            FrameKind::Records => {
                for (message, number) in Messages::new(&block.bytes, block.layout.as_ref()).zip(block.first_line..) {
                    match self.message(message) {
                        Ok(()) => count += 1,
                        Err(reason) => {
                            self.columns.iter_mut().for_each(|column| column.truncate(count));
                            errors.push(records::bad(reason, number, message, count));
                        }
                    }
                }
            }
        }
        Ok(Decoded {
            columns: columns::finish(&mut self.columns, &self.schema, count)?,
            errors,
        })
    }
}
