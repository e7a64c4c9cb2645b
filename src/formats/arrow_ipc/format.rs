//! The format's entry: its name, options and parts.

use arrow::datatypes::SchemaRef;

use super::decoder::ArrowDecoder;
use super::encoder::ArrowEncoder;
use super::framer::ArrowFramer;
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::{DecodeSchema, Decoder, Encoder, Format, Framer, records};

/// `format = 'arrow'`: an IPC stream of record batches.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArrowFormat;

/// The name is that of the other formats' limit: here a record is a batch.
const OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    records::MAX_RECORD.name,
    OptionKind::Integer { min: 64, max: 1 << 30 },
    "The largest message (a batch of rows) read, in bytes. At a larger one reading ends with an error.",
)
.default("268435456")];

impl Format for ArrowFormat {
    fn name(&self) -> &'static str {
        "arrow"
    }

    fn doc(&self) -> &'static str {
        "Apache Arrow's IPC stream: batches of columns."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn framer(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Ok(Box::new(ArrowFramer::new(schema, records::max_record(options))))
    }

    fn decoder(&self, schema: &DecodeSchema, _options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        Ok(Box::new(ArrowDecoder::new(schema)))
    }

    fn encoder(&self, schema: &SchemaRef, _options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        Ok(Box::new(ArrowEncoder::new(schema)?))
    }
}
