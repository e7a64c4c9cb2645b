//! Blocks of containers, or of messages, to columns.
//!
//! A bad message takes only itself: what it left in the columns is cut off again. A bad record of a container takes the rest of its block,
//! because where the next one begins is not known.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::container::{self, Codec, Front, Header, MARK, Start};
use super::reader::{Columns, RecordReader};
use super::wire::Input;
use crate::error::{Error, Result};
use crate::formats::columns::{self, Column};
use crate::formats::delimited::{self, Messages};
use crate::formats::{BadRecord, Block, DecodeSchema, Decoded, Decoder, FrameKind, Layout, records};

/// Columns in the making, and the rows they have.
#[derive(Debug)]
struct Rows {
    schema: SchemaRef,
    columns: Vec<Column>,
    count: usize,
}

impl Rows {
    fn new(schema: SchemaRef) -> Result<Self, String> {
        let columns = schema.fields().iter().cloned().map(Column::new);
        Ok(Rows {
            columns: columns.collect::<Result<_, _>>()?,
            schema,
            count: 0,
        })
    }

    /// A record; of one that is refused nothing stays.
    fn read(&mut self, reader: &RecordReader, input: &mut Input) -> Result<(), String> {
        let read = reader.read(input, &mut self.columns);
        match read {
            Ok(()) => self.count += 1,
            Err(_) => self.columns.iter_mut().for_each(|column| column.truncate(self.count)),
        }
        read
    }

    /// A record that must be all of its message.
    fn whole(&mut self, reader: &RecordReader, message: &[u8]) -> Result<(), String> {
        let mut input = Input::new(message);
        self.read(reader, &mut input)?;
        let left = input.rest().len();
        if left == 0 {
            return Ok(());
        }
        self.count -= 1;
        self.columns.iter_mut().for_each(|column| column.truncate(self.count));
        Err(format!("{left} bytes follow the record: it may be of another schema"))
    }

    fn finish(&mut self, errors: Vec<BadRecord>) -> Result<Decoded> {
        let count = std::mem::take(&mut self.count);
        Ok(Decoded {
            columns: columns::finish(&mut self.columns, &self.schema, count)?,
            errors,
        })
    }
}

/// Whose messages there are.
#[derive(Debug)]
pub(super) enum Readers {
    /// Of one schema.
    One(Box<RecordReader>),
    /// Of those with numbers, or why one does not fit the stream.
    Registry(HashMap<u32, Result<RecordReader, String>>),
}

/// Decodes messages.
#[derive(Debug)]
pub(super) struct MessageDecoder {
    readers: Readers,
    rows: Rows,
    limit: usize,
}

impl MessageDecoder {
    pub(super) fn new(schema: &DecodeSchema, readers: Readers, limit: usize) -> Result<Self, String> {
        Ok(MessageDecoder {
            readers,
            rows: Rows::new(schema.decoded())?,
            limit,
        })
    }

    fn message(&mut self, message: &[u8]) -> Result<(), String> {
        if message.len() > self.limit {
            return Err(records::too_long("avro", self.limit));
        }
        match &self.readers {
            Readers::One(reader) => self.rows.whole(reader, message),
            Readers::Registry(readers) => {
                let [0, number @ ..] = message
                    .first_chunk::<5>()
                    .ok_or("it is shorter than a number of a schema")?
                else {
                    return Err("it does not begin with the byte 0 and the number of a schema".to_string());
                };
                let number = u32::from_be_bytes(*number);
                match readers.get(&number) {
                    Some(Ok(reader)) => self.rows.whole(reader, &message[5..]),
                    Some(Err(reason)) => Err(format!("schema {number}: {reason}")),
                    None => Err(format!("there is no schema {number}")),
                }
            }
        }
    }
}

impl Decoder for MessageDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let mut errors = Vec::new();
        match block.kind {
            FrameKind::Rest => {}
            FrameKind::Oversized => {
                let message = delimited::why(&block.bytes, "avro", self.limit);
                errors.push(records::bad(message, block.first_line, &block.bytes, 0));
            }
            FrameKind::Records => {
                for (message, number) in Messages::new(&block.bytes, block.layout.as_ref()).zip(block.first_line..) {
                    if let Err(reason) = self.message(message) {
                        errors.push(records::bad(reason, number, message, self.rows.count));
                    }
                }
            }
        }
        self.rows.finish(errors)
    }
}

/// Decodes blocks of a container.
#[derive(Debug)]
pub(super) struct ContainerDecoder {
    schema: DecodeSchema,
    rows: Rows,
    limit: usize,
    file: Option<File>,
}

/// The file that the last block came from.
#[derive(Debug)]
struct File {
    header: Arc<[u8]>,
    codec: Codec,
    reader: RecordReader,
}

impl ContainerDecoder {
    pub(super) fn new(schema: &DecodeSchema, limit: usize) -> Result<Self, String> {
        Ok(ContainerDecoder {
            rows: Rows::new(schema.decoded())?,
            schema: schema.clone(),
            limit,
            file: None,
        })
    }

    /// Learns what the header of a block's file says.
    fn open(&mut self, layout: Option<&Layout>) -> Result<()> {
        let Some(Layout::Header(bytes)) = layout else {
            return Err(Error::failed("a block of an Avro container without its header"));
        };
        if self.file.as_ref().is_some_and(|file| file.header == *bytes) {
            return Ok(());
        }
        let Start::Header(Header { schema, codec, .. }) = container::header(bytes) else {
            return Err(Error::failed("the header of an Avro container is damaged"));
        };
        self.file = Some(File {
            header: bytes.clone(),
            codec,
            reader: RecordReader::new(schema, &self.schema, Columns::Some).map_err(Error::failed)?,
        });
        Ok(())
    }

    /// The records of one block of the file.
    fn block(&mut self, count: u64, data: &[u8]) -> Result<(), String> {
        let file = self.file.as_ref().ok_or("a block without its file")?;
        let unpacked = container::decompress(data, file.codec, self.limit)?;
        let mut input = Input::new(&unpacked);
        for index in 0..count {
            // Records of no fields take no bytes; of those that take some there are no more than bytes.
            if input.rest().is_empty() && index > unpacked.len() as u64 {
                return Err(format!(
                    "the block says that it has {count} records, but it ends before"
                ));
            }
            let read = self.rows.read(&file.reader, &mut input);
            read.map_err(|reason| format!("record {} of {count} of the block: {reason}", index + 1))?;
        }
        match input.rest().len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes follow the records of the block")),
        }
    }
}

impl Decoder for ContainerDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let mut errors = Vec::new();
        match block.kind {
            FrameKind::Rest => {}
            FrameKind::Oversized => {
                let message = "a block of the file is damaged, cut off, or longer than avro.max-record-bytes";
                errors.push(records::bad(message.to_string(), block.first_line, b"", 0));
            }
            FrameKind::Records if block.bytes.is_empty() => {}
            FrameKind::Records => {
                self.open(block.layout.as_ref())?;
                let (mut bytes, mut number) = (block.bytes.as_slice(), block.first_line);
                while let Front::Block { count, start, length } = container::front(bytes) {
                    let end = usize::try_from(length)
                        .ok()
                        .and_then(|length| start.checked_add(length));
                    let Some((data, rest)) =
                        end.and_then(|end| Some((bytes.get(start..end)?, bytes.get(end + MARK..)?)))
                    else {
                        break;
                    };
                    if let Err(reason) = self.block(count, data) {
                        errors.push(records::bad(reason, number, b"", self.rows.count));
                    }
                    (bytes, number) = (rest, number + 1);
                }
            }
        }
        self.rows.finish(errors)
    }
}
