//! The formats' entries: their names, options and parts.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::decoder::WholeDecoder;
use super::encoder::{TextTemplateEncoder, WholeEncoder};
use super::framer::MessageFramer;
use crate::catalog::types;
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::{Code, Diagnostic};
use crate::formats::columns::Content;
use crate::formats::json::LineFramer;
use crate::formats::template::{Syntax, TEMPLATE, Template};
use crate::formats::{DecodeSchema, Decoder, Encoder, Format, Framer, records};

/// `format = 'text'`: a line is a text.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextFormat;

/// `format = 'bytes'`: a line is bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct BytesFormat;

const FRAMING: OptionSpec = OptionSpec::new(
    "framing",
    OptionKind::Choice(&["line", "message"]),
    "What one value is: a line without its end, or a message as it is (of a file: all of it).",
)
.default("line");

const TEXT_OPTIONS: &[OptionSpec] = &[
    FRAMING,
    OptionSpec::new(
        TEMPLATE,
        OptionKind::Text,
        "Sink: the text of a record, with {{column}} for values and {{#if column}}…{{else}}…{{/if}}. The stream may then have any \
         columns.",
    ),
    records::MAX_RECORD,
];

const BYTES_OPTIONS: &[OptionSpec] = &[FRAMING, records::MAX_RECORD];

/// What one value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Line,
    Message,
}

impl Framing {
    fn of(options: &Options) -> Self {
        match options.text(FRAMING.name) {
            Some("message") => Framing::Message,
            _ => Framing::Line,
        }
    }

    /// What stands after a value.
    fn end(self) -> &'static [u8] {
        match self {
            Framing::Line => b"\n",
            Framing::Message => b"",
        }
    }

    fn framer(self, limit: usize) -> Box<dyn Framer> {
        match self {
            Framing::Line => Box::new(LineFramer::new(limit)),
            Framing::Message => Box::new(MessageFramer::new(limit)),
        }
    }
}

/// Checks that a stream has one column, of the type.
fn one_column(format: &str, schema: &Schema, wanted: &DataType) -> Result<(), Diagnostic> {
    let fits = |field: &Field| field.data_type() == wanted && !types::is_json(field);
    match schema.fields().as_ref() {
        [field] if fits(field) => Ok(()),
        fields => {
            let wanted = types::name(wanted);
            let there: Vec<String> = fields
                .iter()
                .map(|field| match types::is_json(field) {
                    true => format!("{} JSON", field.name()),
                    false => format!("{} {}", field.name(), types::name(field.data_type())),
                })
                .collect();
            let message = format!(
                "format '{format}' takes one {wanted} column, not ({})",
                there.join(", ")
            );
            let error = Diagnostic::new(Code::OptionValue, message);
            Err(match format {
                "text" => error.hint("a sink of other columns needs \"text.template\" = '…{{column}}…'"),
                _ => error.hint(format!("declare one: (payload {wanted})")),
            })
        }
    }
}

impl Format for TextFormat {
    fn name(&self) -> &'static str {
        "text"
    }

    fn doc(&self) -> &'static str {
        "A line, or a message, is the value of one STRING column; a sink may write lines by a template."
    }

    fn options(&self) -> &'static [OptionSpec] {
        TEXT_OPTIONS
    }

    fn framer(&self, _schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Ok(Framing::of(options).framer(records::max_record(options)))
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        if options.text(TEMPLATE).is_some() {
            return Err(options
                .invalid(TEMPLATE, "it says how to write, and a source reads")
                .hint("remove it"));
        }
        one_column("text", &schema.declared, &DataType::Utf8View)?;
        let (framing, limit) = (Framing::of(options), records::max_record(options));
        Ok(Box::new(WholeDecoder::new(
            "text",
            schema,
            Content::Text,
            framing,
            limit,
        )))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        let end = Framing::of(options).end();
        if let Some(template) = Template::of(options, schema, Syntax::Plain)? {
            return Ok(Box::new(TextTemplateEncoder { template, end }));
        }
        one_column("text", schema, &DataType::Utf8View)?;
        let media_type = "text/plain; charset=utf-8";
        Ok(Box::new(WholeEncoder { end, media_type }))
    }
}

impl Format for BytesFormat {
    fn name(&self) -> &'static str {
        "bytes"
    }

    fn doc(&self) -> &'static str {
        "A line, or a message, is the value of one BYTES column, whatever its bytes are."
    }

    fn options(&self) -> &'static [OptionSpec] {
        BYTES_OPTIONS
    }

    fn framer(&self, _schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Ok(Framing::of(options).framer(records::max_record(options)))
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        one_column("bytes", &schema.declared, &DataType::BinaryView)?;
        let (framing, limit) = (Framing::of(options), records::max_record(options));
        Ok(Box::new(WholeDecoder::new(
            "bytes",
            schema,
            Content::Bytes,
            framing,
            limit,
        )))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        one_column("bytes", schema, &DataType::BinaryView)?;
        let end = Framing::of(options).end();
        let media_type = "application/octet-stream";
        Ok(Box::new(WholeEncoder { end, media_type }))
    }
}
