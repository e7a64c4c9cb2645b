//! The format's entry: its name, options and parts.

use arrow::datatypes::SchemaRef;

use super::container::MARK;
use super::decoder::{ContainerDecoder, MessageDecoder, Readers};
use super::encoder::{Around, AvroEncoder};
use super::framer::ContainerFramer;
use super::options::{self, Framing, Named, OPTIONS, SCHEMA, SCHEMA_ID, SCHEMAS};
use super::reader::{Columns, RecordReader};
use super::writer::RecordWriter;
use crate::config::options::{OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::delimited::DelimitedFramer;
use crate::formats::{DecodeSchema, Decoder, Encoder, Format, Framer, records};

/// `format = 'avro'`: records by a schema.
#[derive(Debug, Clone, Copy, Default)]
pub struct AvroFormat;

impl Format for AvroFormat {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn doc(&self) -> &'static str {
        "Apache Avro: object container files, or messages by a schema or by the numbers of a registry."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn framer(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        let limit = records::max_record(options);
        Ok(match Framing::of(options)? {
            Framing::Container => Box::new(ContainerFramer::new(schema, limit)),
            Framing::Message | Framing::Registry => Box::new(DelimitedFramer::new(limit)),
        })
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        let limit = records::max_record(options);
        let framing = Framing::of(options)?;
        let unreadable = |reason: String| options.invalid(options::FRAMING, reason);
        let readers = match framing {
            Framing::Container => {
                if options.text(SCHEMA).is_some() {
                    let error = options.invalid(SCHEMA, "a container holds its schema");
                    return Err(error.hint("remove it; or, if these are messages, add \"avro.framing\" = 'message'"));
                }
                let decoder = ContainerDecoder::new(schema, limit).map_err(unreadable)?;
                return Ok(Box::new(decoder));
            }
            Framing::Message => {
                let Named { schema: theirs, .. } = match options::given(options)? {
                    Some(given) => given,
                    None => options::derived(&schema.declared, options)?,
                };
                let reader = RecordReader::new(theirs, schema, Columns::All);
                Readers::One(Box::new(
                    reader.map_err(|reason| options.invalid(SCHEMA, reason).hint(CURE))?,
                ))
            }
            Framing::Registry => registry(schema, options)?,
        };
        Ok(Box::new(
            MessageDecoder::new(schema, readers, limit).map_err(unreadable)?,
        ))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        let framing = Framing::of(options)?;
        let (named, at) = match framing {
            Framing::Registry => (of_number(options)?, SCHEMA_ID),
            _ => match options::given(options)? {
                Some(given) => (given, SCHEMA),
                None => (options::derived(schema, options)?, SCHEMA),
            },
        };
        let writer = RecordWriter::new(&named.schema, schema);
        let writer = writer.map_err(|reason| options.invalid(at, reason).hint(CURE))?;
        let around = match framing {
            Framing::Container => Around::Container {
                mark: mark(&named.text, options.text(options::CODEC).unwrap_or_default()),
                schema: named.text,
                codec: options::codec(options),
            },
            Framing::Message => Around::Message(Vec::new()),
            Framing::Registry => {
                let number = options.integer(SCHEMA_ID).and_then(|number| u32::try_from(number).ok());
                Around::Message([&[0], number.unwrap_or_default().to_be_bytes().as_slice()].concat())
            }
        };
        Ok(Box::new(AvroEncoder::new(schema, writer, around)))
    }
}

/// What to do about columns and fields that do not fit.
const CURE: &str = "declare the stream's columns as the schema has its fields, or give another schema";

/// The mark of files of a schema and a codec. It need not be random, only unlike what stands in blocks. A file that is appended to goes on
/// with the one that it began with; were it of another schema, the mark tells.
fn mark(schema: &str, codec: &str) -> [u8; MARK] {
    let hash = blake3::hash(format!("{codec} {schema}").as_bytes());
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Readers of all schemas; some must fit.
fn registry(schema: &DecodeSchema, options: &Options) -> Result<Readers, Diagnostic> {
    let schemas = options::registry(options)?;
    let readers = schemas
        .into_iter()
        .map(|(number, named)| (number, RecordReader::new(named.schema, schema, Columns::Some)));
    let readers: std::collections::HashMap<_, _> = readers.collect();
    if readers.values().any(Result::is_ok) {
        return Ok(Readers::Registry(readers));
    }
    let first = readers.iter().min_by_key(|(number, _)| **number);
    let reason = first.map_or(String::new(), |(number, reader)| {
        format!("schema {number}: {}", reader.as_ref().err().map_or("", String::as_str))
    });
    Err(options
        .invalid(SCHEMAS, format!("none fits the stream: {reason}"))
        .hint(CURE))
}

/// The schema that a sink writes.
fn of_number(options: &Options) -> Result<Named, Diagnostic> {
    let mut schemas = options::registry(options)?;
    let Some(number) = options.integer(SCHEMA_ID).and_then(|number| u32::try_from(number).ok()) else {
        let error = options.invalid(options::FRAMING, "a sink needs the number of the schema that it writes");
        return Err(error.hint(format!("add \"avro.{SCHEMA_ID}\" = '…'")));
    };
    schemas.remove(&number).ok_or_else(|| {
        let there: Vec<String> = schemas.keys().take(20).map(u32::to_string).collect();
        let error = options.invalid(SCHEMA_ID, format!("there is no schema {number}"));
        error.hint(format!("there are: {}", there.join(", ")))
    })
}
