//! The format's entry: its name, options and parts.

use arrow::datatypes::SchemaRef;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::decoder::ParquetDecoder;
use super::encoder::ParquetEncoder;
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::text::MessageFramer;
use crate::formats::{DecodeSchema, Decoder, Encoder, Format, Framer, records};

/// `format = 'parquet'`: files of columns.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParquetFormat;

const COMPRESSION: &str = "compression";
const GROUP_ROWS: &str = "row-group-rows";

/// The name is that of the other formats' limit: here a record is a file.
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        COMPRESSION,
        OptionKind::Choice(&["none", "snappy", "zstd"]),
        "How a sink compresses. Sources read these, and gzip.",
    )
    .default("snappy"),
    OptionSpec::new(
        GROUP_ROWS,
        OptionKind::Integer {
            min: 1,
            max: 100_000_000,
        },
        "The most rows of a row group that a sink writes. It is held in memory until it is full, or 64 MiB large.",
    )
    .default("1048576"),
    OptionSpec::new(
        records::MAX_RECORD.name,
        OptionKind::Integer { min: 64, max: 1 << 30 },
        "The largest file read, in bytes: it is held in memory.",
    )
    .default("268435456"),
];

impl Format for ParquetFormat {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn doc(&self) -> &'static str {
        "Apache Parquet: whole files of columns; the file sink writes one at each checkpoint."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn framer(&self, _schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Ok(Box::new(MessageFramer::new(records::max_record(options))))
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        Ok(Box::new(ParquetDecoder::new(schema, records::max_record(options))))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        let compression = match options.text(COMPRESSION) {
            Some("none") => Compression::UNCOMPRESSED,
            Some("zstd") => Compression::ZSTD(ZstdLevel::default()),
            _ => Compression::SNAPPY,
        };
        let rows = options.integer(GROUP_ROWS).and_then(|rows| usize::try_from(rows).ok());
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(rows);
        let encoder = ParquetEncoder::new(schema, properties.build());
        Ok(Box::new(encoder.map_err(|reason| {
            let error = options.invalid(COMPRESSION, reason);
            error.hint("leave the column out, or give it another type")
        })?))
    }
}
