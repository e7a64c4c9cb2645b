//! The format's entry: its name, options and parts.

use std::fs;

use arrow::datatypes::SchemaRef;
use prost_reflect::{DescriptorPool, MessageDescriptor};

use super::decoder::ProtobufDecoder;
use super::encoder::ProtobufEncoder;
use super::shape::{self, Direction};
use crate::config::nearest::nearest;
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::delimited::DelimitedFramer;
use crate::formats::{DecodeSchema, Decoder, Encoder, Format, Framer, records};

/// `format = 'protobuf'`: messages by a descriptor.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProtobufFormat;

const DESCRIPTOR: &str = "descriptor";
const MESSAGE: &str = "message";

/// The longest descriptor set.
const MAX_DESCRIPTOR: u64 = 64 << 20;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        DESCRIPTOR,
        OptionKind::Path,
        "The file of the descriptor set, which `protoc --include_imports --descriptor_set_out=FILE` writes.",
    )
    .required(),
    OptionSpec::new(
        MESSAGE,
        OptionKind::Text,
        "The full name of the message, with its package.",
    )
    .required(),
    records::MAX_RECORD,
];

impl Format for ProtobufFormat {
    fn name(&self) -> &'static str {
        "protobuf"
    }

    fn doc(&self) -> &'static str {
        "Messages of Protocol Buffers, by a descriptor set; in files each after its length."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn framer(&self, _schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Ok(Box::new(DelimitedFramer::new(records::max_record(options))))
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        let message = message(options)?;
        let unfit = |reason: String| options.invalid(MESSAGE, reason).hint(CURE);
        // All that are declared, whether or not they are read.
        shape::fields(&message, schema.declared.fields(), Direction::Read).map_err(unfit)?;
        let decoded = schema.decoded();
        let fields = shape::fields(&message, decoded.fields(), Direction::Read).map_err(unfit)?;
        let decoder = ProtobufDecoder::new(message, fields, decoded, records::max_record(options));
        Ok(Box::new(decoder.map_err(unfit)?))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        let message = message(options)?;
        let fields = shape::fields(&message, schema.fields(), Direction::Write);
        let fields = fields.map_err(|reason| options.invalid(MESSAGE, reason).hint(CURE))?;
        Ok(Box::new(ProtobufEncoder::new(message, fields, schema)))
    }
}

/// What to do about columns and fields that do not fit.
const CURE: &str = "declare the stream's columns as the message has its fields";

fn message(options: &Options) -> Result<MessageDescriptor, Diagnostic> {
    let path = options.text(DESCRIPTOR).unwrap_or_default();
    let pool = read(path).map_err(|reason| {
        let error = options.invalid(DESCRIPTOR, reason);
        error.hint("make it by protoc --include_imports --descriptor_set_out=FILE your.proto")
    })?;
    let name = options.text(MESSAGE).unwrap_or_default();
    pool.get_message_by_name(name).ok_or_else(|| {
        let there: Vec<String> = pool
            .all_messages()
            .map(|message| message.full_name().to_string())
            .collect();
        let error = options.invalid(MESSAGE, format!("the descriptor has no message '{name}'"));
        match nearest(name, there.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => {
                let there: Vec<&str> = there
                    .iter()
                    .map(String::as_str)
                    .filter(|name| !name.starts_with("google."))
                    .collect();
                error.hint(format!("there are: {}", there[..there.len().min(20)].join(", ")))
            }
        }
    })
}

fn read(path: &str) -> Result<DescriptorPool, String> {
    let cannot = |error| format!("cannot read {path}: {error}");
    if fs::metadata(path).map_err(cannot)?.len() > MAX_DESCRIPTOR {
        return Err(format!("{path} is longer than {MAX_DESCRIPTOR} bytes"));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    DescriptorPool::decode(bytes.as_slice()).map_err(|error| format!("{path} is no descriptor set: {error}"))
}
