//! Formats: how bytes become columns and columns become bytes.
//!
//! A [`Format`] makes three things for a stream: a [`Framer`] that finds where records end (so that a source can cut
//! its input into blocks of whole records and decode them in parallel), a [`Decoder`] that turns a block into
//! Arrow columns, and an [`Encoder`] for the way out. Formats know nothing of where bytes come from.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::config::options::{OptionSpec, Options};
use crate::error::{Diagnostic, Result};
use crate::event::EventBatch;

pub mod arrow_ipc;
#[cfg(feature = "avro")]
pub mod avro;
pub(crate) mod columns;
pub mod csv;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod delimited;
mod fit;
pub mod json;
mod mapped;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(test)]
#[path = "poison/tests.rs"]
mod poison;
#[cfg(feature = "protobuf")]
pub mod protobuf;
pub(crate) mod records;
pub(crate) mod template;
#[cfg(test)]
mod testing;
pub mod text;

/// The formats that are part of a build only with the cargo features of their names.
pub(crate) const OPTIONAL: &[&str] = &["avro", "parquet", "protobuf"];

/// The formats that come with the engine.
pub fn builtin() -> Vec<Arc<dyn Format>> {
    vec![
        Arc::new(arrow_ipc::ArrowFormat),
        #[cfg(feature = "avro")]
        Arc::new(avro::AvroFormat),
        Arc::new(text::BytesFormat),
        Arc::new(csv::CsvFormat),
        Arc::new(json::JsonFormat),
        #[cfg(feature = "parquet")]
        Arc::new(parquet::ParquetFormat),
        #[cfg(feature = "protobuf")]
        Arc::new(protobuf::ProtobufFormat),
        Arc::new(text::TextFormat),
    ]
}

/// A format: `format = 'json'`.
pub trait Format: Send + Sync {
    /// The name used in `format = '…'` and as the prefix of its options.
    fn name(&self) -> &'static str;
    /// One sentence for the reference.
    fn doc(&self) -> &'static str;
    /// Its options.
    fn options(&self) -> &'static [OptionSpec];
    /// A framer for one input (a file, a connection).
    fn framer(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic>;
    /// A decoder. Several may work on blocks of the same input in parallel.
    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic>;
    /// An encoder for batches of that schema.
    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic>;
}

/// What to decode: all declared columns, and which of them anybody reads.
#[derive(Debug, Clone)]
pub struct DecodeSchema {
    /// The stream's columns as declared.
    pub declared: SchemaRef,
    /// Indices into `declared`, ascending: the columns to build. The others are skipped, not checked.
    pub wanted: Arc<[usize]>,
}

impl DecodeSchema {
    /// All columns wanted.
    pub fn all(declared: SchemaRef) -> Self {
        let wanted = (0..declared.fields().len()).collect();
        DecodeSchema { declared, wanted }
    }

    /// The schema of decoded batches: the wanted columns.
    pub fn decoded(&self) -> SchemaRef {
        let fields: Vec<_> = self.wanted.iter().map(|&i| self.declared.fields()[i].clone()).collect();
        Arc::new(arrow::datatypes::Schema::new(fields))
    }
}

/// Finds the ends of records in one input, read from its start.
pub trait Framer: Send {
    /// Called with the first bytes of the input until it is done: skips what stands before the first record (byte-order
    /// mark, header) and learns the layout from it. `last` says that no more bytes will come.
    fn prologue(&mut self, bytes: &[u8], last: bool) -> Prologue;

    /// The end of the last complete record in `bytes`, and the number of lines up to there. `bytes` starts at a record;
    /// 0 when no record is complete. Called again with more bytes appended; may keep state between calls for the same
    /// start, which [`Framer::taken`] resets.
    fn complete(&mut self, bytes: &[u8]) -> Frame;

    /// Tells that the bytes up to the last [`Frame::end`] have been taken away.
    fn taken(&mut self) {}

    /// Whether every line end ends a record whatever came before it, so that inputs without a prologue can be put one behind the other.
    fn is_by_lines(&self) -> bool {
        false
    }

    /// What the bytes that are left at the end of the input are: whole, though the last record may lack its terminator.
    fn rest(&mut self, bytes: &[u8]) -> Frame {
        Frame {
            end: bytes.len(),
            lines: 0,
            kind: FrameKind::Records,
        }
    }
}

/// Where the last complete record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes up to and with the last record's terminator.
    pub end: usize,
    /// Lines (`\n`) in those bytes.
    pub lines: u64,
    /// What the bytes are; it goes into the [`Block`] made of them.
    pub kind: FrameKind,
}

/// What the bytes of a [`Frame`] or [`Block`] are.
///
/// A record over the format's limit must not fill the memory while its end is looked for. So its first bytes, as many
/// as the limit, come out as one [`FrameKind::Oversized`] frame, which the decoder turns into one error, and whatever
/// else belongs to it as [`FrameKind::Rest`] frames, which the decoder drops (a source may do so itself). A source
/// that treats all frames alike is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrameKind {
    /// Whole records.
    #[default]
    Records,
    /// The beginning of a record that is too long.
    Oversized,
    /// More of that record.
    Rest,
}

/// The outcome of [`Framer::prologue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prologue {
    /// More bytes are needed to tell.
    NeedMore,
    /// The records start after `consumed` bytes, which held `lines` line ends.
    Done {
        /// Bytes to skip.
        consumed: usize,
        /// Lines in them.
        lines: u64,
        /// What it says of the records. `None`: nothing; fields are in declared order.
        layout: Option<Layout>,
    },
    /// The input cannot be read at all (no header column fits, say), with the reason.
    Bad(String),
}

/// What the beginning of an input says of the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// For positional formats: the declared column of each position, `None` for columns nobody declared.
    Positions(Arc<[Option<usize>]>),
    /// For self-describing formats: that beginning itself.
    Header(Arc<[u8]>),
}

/// A run of whole records.
#[derive(Debug, Clone)]
pub struct Block {
    /// The bytes. The last record may lack its terminator at the end of an input.
    pub bytes: Vec<u8>,
    /// The line number of the first byte in its input, from 1.
    pub first_line: u64,
    /// What the framer learned from the header.
    pub layout: Option<Layout>,
    /// What the bytes are.
    pub kind: FrameKind,
}

/// What a block held.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that could be decoded, in order.
    pub columns: RecordBatch,
    /// The records that could not.
    pub errors: Vec<BadRecord>,
}

/// A record that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// The reason, naming the column where known.
    pub message: String,
    /// The record's line in its input, from 1.
    pub line: u64,
    /// The raw text, cut at [`crate::error::RAW_LIMIT`] bytes, invalid UTF-8 replaced.
    pub raw: String,
    /// How many good rows of the block came before it.
    pub row: usize,
}

/// Turns blocks into columns.
pub trait Decoder: Send {
    /// Decodes a block. A bad record takes only itself; an `Err` means that decoding cannot go on at all.
    fn decode(&mut self, block: &Block) -> Result<Decoded>;
}

/// Turns batches into bytes.
pub trait Encoder: Send {
    /// What stands before the first row of an output (a CSV header).
    fn begin(&mut self, _out: &mut Vec<u8>) {}
    /// Appends the rows of a batch, each with its terminator.
    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()>;
    /// Appends what stands after the last row of an output (a footer), and is ready for another output.
    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
    /// Whether an output can be read only when it is finished, so that nothing can be appended to it nor cut off.
    fn is_whole_when_finished(&self) -> bool {
        false
    }
    /// What an output is called on the web.
    fn media_type(&self) -> &'static str {
        "application/octet-stream"
    }
    /// Whether every row ends with a line end, so that an output that does not was cut off.
    fn writes_lines(&self) -> bool {
        true
    }
}
