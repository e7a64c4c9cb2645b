//! The format's entry: its name, options and parts.

use arrow::datatypes::SchemaRef;

use super::decoder::CsvDecoder;
use super::encoder::CsvEncoder;
use super::framer::CsvFramer;
use super::mapping::Mapping;
use super::options::{Dialect, OPTIONS};
use crate::config::options::{OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::template::{Syntax, TEMPLATE, Template};
use crate::formats::{DecodeSchema, Decoder, Encoder, Format, Framer};

/// `format = 'csv'`: records of fields between delimiters.
#[derive(Debug, Clone, Copy, Default)]
pub struct CsvFormat;

impl Format for CsvFormat {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn doc(&self) -> &'static str {
        "Fields between delimiters, a record a line, with or without a header (RFC 4180)."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn framer(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        let dialect = Dialect::new(options)?;
        let mapping = Mapping::new(&schema.declared, options, &dialect)?;
        Ok(Box::new(CsvFramer::new(dialect, schema, mapping)))
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        let dialect = Dialect::new(options)?;
        let mapping = Mapping::new(&schema.declared, options, &dialect)?;
        if options.text(TEMPLATE).is_some() {
            return Err(options
                .invalid(TEMPLATE, "it says how to write, and a source reads")
                .hint("remove it"));
        }
        Ok(Box::new(CsvDecoder::new(schema, dialect, mapping)?))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        Mapping::refuse_at_sink(options)?;
        let template = Template::of(options, schema, Syntax::Plain)?;
        Ok(Box::new(CsvEncoder::new(schema, Dialect::new(options)?, template)))
    }
}
