//! Batches to messages.

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;

use crate::error::{Code, Diagnostic, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;

/// Writes a schema and a message for each batch. No end of the stream is written, so that it can be appended to.
pub(super) struct ArrowEncoder {
    writer: StreamWriter<Vec<u8>>,
    /// The message of the schema.
    header: Vec<u8>,
}

impl ArrowEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Diagnostic> {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)
            .map_err(|error| Diagnostic::new(Code::Unsupported, format!("Arrow cannot write the columns: {error}")))?;
        let header = std::mem::take(writer.get_mut());
        Ok(ArrowEncoder { writer, header })
    }
}

impl Encoder for ArrowEncoder {
    fn media_type(&self) -> &'static str {
        "application/vnd.apache.arrow.stream"
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        self.writer.write(batch.columns())?;
        out.append(self.writer.get_mut());
        Ok(())
    }

    fn writes_lines(&self) -> bool {
        false
    }
}
