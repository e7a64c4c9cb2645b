//! Batches to row groups, and the footer at the end.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::intervals;
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;

/// How many bytes a row group holds in memory before it is written.
const GROUP_BYTES: usize = 64 << 20;

/// Writes files of Parquet, one after the other.
pub(super) struct ParquetEncoder {
    /// The columns as they are written.
    schema: SchemaRef,
    properties: WriterProperties,
    /// The file that is being written.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl ParquetEncoder {
    /// Of columns that Parquet has; else why not.
    pub(super) fn new(schema: &SchemaRef, properties: WriterProperties) -> Result<Self, String> {
        let mut encoder = ParquetEncoder {
            schema: intervals::as_text(schema)?,
            properties,
            writer: None,
        };
        // Whether it can be written the library says when it begins.
        encoder.writer().map_err(|error| error.to_string())?;
        encoder.writer = None;
        Ok(encoder)
    }

    fn writer(&mut self) -> Result<&mut ArrowWriter<Vec<u8>>, ParquetError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => ArrowWriter::try_new(Vec::new(), self.schema.clone(), Some(self.properties.clone()))?,
        };
        Ok(self.writer.insert(writer))
    }
}

fn cannot(error: ParquetError) -> Error {
    Error::failed(format!("rows cannot be written as Parquet: {error}"))
}

impl Encoder for ParquetEncoder {
    fn media_type(&self) -> &'static str {
        "application/vnd.apache.parquet"
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        let columns = batch.columns().columns().iter().map(intervals::to_text).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let writer = self.writer().map_err(cannot)?;
        writer.write(&batch).map_err(cannot)?;
        if writer.in_progress_size() >= GROUP_BYTES {
            writer.flush().map_err(cannot)?;
        }
        // What the writer has given out counts as written; it looks at it no more.
        out.append(writer.inner_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.writer().map_err(cannot)?;
        if let Some(writer) = self.writer.take() {
            out.append(&mut writer.into_inner().map_err(cannot)?);
        }
        Ok(())
    }

    fn is_whole_when_finished(&self) -> bool {
        true
    }

    fn writes_lines(&self) -> bool {
        false
    }
}
