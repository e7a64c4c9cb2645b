//! The format's entry: its name, options and parts.

use arrow::datatypes::SchemaRef;

use super::decoder::JsonDecoder;
use super::encoder;
use super::framer::LineFramer;
use super::mapping::Mapping;
use super::options::OPTIONS;
use crate::config::options::{OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::{DecodeSchema, Decoder, Encoder, Format, Framer, records};

/// `format = 'json'`: one object a line.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonFormat;

const NAME: &str = "json";

impl Format for JsonFormat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "One JSON object a line; a line may also hold an array of objects."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn framer(&self, _schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Ok(Box::new(LineFramer::new(records::max_record(options))))
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        let mapping = Mapping::new(&schema.declared, options)?;
        Ok(Box::new(JsonDecoder::new(
            schema,
            &mapping,
            records::max_record(options),
        )?))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        encoder::encoder(schema, options)
    }
}
