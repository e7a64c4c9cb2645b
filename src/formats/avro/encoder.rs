//! Batches to containers or messages.

use arrow::datatypes::SchemaRef;

use super::container::{self, Codec, MARK};
use super::writer::RecordWriter;
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;
use crate::formats::columns::scalar_writer;
use crate::formats::delimited;

/// How much data a block of a container holds at most, about, before it is compressed.
const BLOCK_BYTES: usize = 64 << 10;

/// What stands around records.
#[derive(Debug)]
pub(super) enum Around {
    /// Blocks of a file of that schema.
    Container {
        schema: String,
        codec: Codec,
        mark: [u8; MARK],
    },
    /// The length, and then this.
    Message(Vec<u8>),
}

/// Writes records of a schema.
#[derive(Debug)]
pub(super) struct AvroEncoder {
    schema: SchemaRef,
    writer: RecordWriter,
    around: Around,
}

impl AvroEncoder {
    pub(super) fn new(schema: &SchemaRef, writer: RecordWriter, around: Around) -> Self {
        AvroEncoder {
            schema: schema.clone(),
            writer,
            around,
        }
    }
}

impl Encoder for AvroEncoder {
    fn media_type(&self) -> &'static str {
        "application/avro"
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if let Around::Container { schema, codec, mark } = &self.around {
            container::write_header(out, schema, *codec, mark);
        }
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        let cells = scalar_writer::cells(&self.schema, batch.columns().columns())?;
        let cannot = |reason: String| Error::failed(format!("a row cannot be written as Avro: {reason}"));
        let (mut data, mut count) = (Vec::new(), 0);
        for row in 0..batch.num_rows() {
            self.writer.write(&mut data, &cells, row).map_err(cannot)?;
            match &self.around {
                Around::Message(front) => {
                    delimited::write_length(out, front.len() + data.len());
                    out.extend_from_slice(front);
                    out.append(&mut data);
                }
                Around::Container { codec, mark, .. } => {
                    count += 1;
                    if data.len() >= BLOCK_BYTES || row + 1 == batch.num_rows() {
                        container::write_block(out, count, &data, *codec, mark).map_err(cannot)?;
                        (count, data) = (0, Vec::new());
                    }
                }
            }
        }
        Ok(())
    }

    fn writes_lines(&self) -> bool {
        false
    }
}
