//! Whole files to columns: what a file holds stands at its end, so that none of it is read before all of it is there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::intervals;
use crate::catalog::names::{Resolved, resolve};
use crate::error::Result;
use crate::formats::fit::Fit;
use crate::formats::{BadRecord, Block, DecodeSchema, Decoded, Decoder, FrameKind, records};

/// How many rows are unpacked at once.
const ROWS: usize = 8192;

/// How many times the limit the unpacked rows of a file may have.
const MAX_FACTOR: usize = 16;

/// Decodes files.
#[derive(Debug)]
pub(super) struct ParquetDecoder {
    schema: DecodeSchema,
    limit: usize,
}

impl ParquetDecoder {
    pub(super) fn new(schema: &DecodeSchema, limit: usize) -> Self {
        ParquetDecoder {
            schema: schema.clone(),
            limit,
        }
    }

    /// The rows of a file, as far as it can be read.
    fn file(&self, bytes: Vec<u8>, batches: &mut Vec<RecordBatch>, errors: &mut Vec<BadRecord>) -> Result<(), String> {
        let unreadable =
            |error: parquet::errors::ParquetError| format!("the file is damaged, or not of Parquet: {error}");
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).map_err(unreadable)?;
        let size: i64 = builder
            .metadata()
            .row_groups()
            .iter()
            .map(|group| group.total_byte_size().max(0))
            .fold(0, i64::saturating_add);
        let most = self.limit.saturating_mul(MAX_FACTOR);
        if usize::try_from(size).is_ok_and(|size| size > most) {
            return Err(format!(
                "its rows take {size} bytes, more than {MAX_FACTOR} times parquet.max-record-bytes"
            ));
        }
        let texts = self.texts_of_intervals(builder.schema());
        let fit = Fit::new(&intervals::schema(builder.schema(), &texts), &self.schema)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), fit.read.iter().copied());
        // Their places among the columns that are read.
        let texts: Vec<usize> = texts
            .iter()
            .filter_map(|text| fit.read.binary_search(text).ok())
            .collect();
        let reader = builder
            .with_projection(mask)
            .with_batch_size(ROWS)
            .build()
            .map_err(unreadable)?;
        for batch in reader {
            let batch = batch.map_err(|error| format!("the file is damaged: {error}"))?;
            let mut bad = Vec::new();
            let before: usize = batches.iter().map(RecordBatch::num_rows).sum();
            batches.push(fit.convert(&intervals::of_text(&batch, &texts)?, &mut bad)?);
            errors.extend(
                bad.into_iter()
                    .map(|(reason, row)| records::bad(reason, 1, b"", before + row)),
            );
        }
        Ok(())
    }

    /// The file's columns of text that are INTERVALs of the stream.
    fn texts_of_intervals(&self, theirs: &Schema) -> Vec<usize> {
        let names = || theirs.fields().iter().map(|field| field.name().as_str());
        let decoded = self.schema.decoded();
        let intervals = decoded
            .fields()
            .iter()
            .filter(|field| matches!(field.data_type(), DataType::Interval(_)));
        let places = intervals.filter_map(|field| match resolve(field.name(), names()) {
            Resolved::One(found) => names().position(|name| name == found),
            _ => None,
        });
        places
            .filter(|place| theirs.field(*place).data_type().is_string())
            .collect()
    }
}

impl Decoder for ParquetDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let (mut batches, mut errors) = (Vec::new(), Vec::new());
        match block.kind {
            FrameKind::Rest => {}
            FrameKind::Oversized => {
                let message = records::too_long("parquet", self.limit);
                errors.push(records::bad(message, block.first_line, b"", 0));
            }
            FrameKind::Records if block.bytes.is_empty() => {}
            FrameKind::Records => {
                // What the library does not check makes it panic.
                let read = || self.file(block.bytes.clone(), &mut batches, &mut errors);
                let read =
                    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the file is damaged".to_string()));
                if let Err(reason) = read {
                    let rows = batches.iter().map(RecordBatch::num_rows).sum();
                    errors.push(records::bad(reason, block.first_line, b"", rows));
                }
            }
        }
        Ok(Decoded {
            columns: concat_batches(&self.schema.decoded(), &batches)?,
            errors,
        })
    }
}
