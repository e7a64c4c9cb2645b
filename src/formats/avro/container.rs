//! Object container files: a header with the schema, then blocks of records, each compressed by itself and followed by the file's mark.

use std::io::Read;

use super::schema::Schema;
use super::wire::{Input, write_bytes, write_long};

/// The first bytes of a file.
pub(super) const MAGIC: &[u8; 4] = b"Obj\x01";
/// The length of the mark after each block.
pub(super) const MARK: usize = 16;
/// The key of the schema in the header, and of the compression.
const SCHEMA: &str = "avro.schema";
const CODEC: &str = "avro.codec";
/// How many times its compressed length a block may have beyond the limit of records before it is refused.
const MAX_FACTOR: usize = 64;

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "null" => Some(Codec::Null),
            "deflate" => Some(Codec::Deflate),
            "snappy" => Some(Codec::Snappy),
            "zstandard" => Some(Codec::Zstandard),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Codec::Null => "null",
            Codec::Deflate => "deflate",
            Codec::Snappy => "snappy",
            Codec::Zstandard => "zstandard",
        }
    }
}

/// What a file says of itself.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) schema: Schema,
    pub(super) codec: Codec,
    pub(super) mark: [u8; MARK],
    /// Its length.
    pub(super) bytes: usize,
}

/// Whether a header is there.
pub(super) enum Start {
    NeedMore,
    Header(Header),
    Bad(String),
}

/// Reads the header at the front of a file.
pub(super) fn header(bytes: &[u8]) -> Start {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return match MAGIC.starts_with(bytes) {
            true => Start::NeedMore,
            false => Start::Bad("it is not an object container file of Avro".to_string()),
        };
    };
    let mut input = Input::new(rest);
    let Ok((schema, codec)) = metadata(&mut input) else {
        return Start::NeedMore;
    };
    let Ok(mark) = input.take(MARK) else {
        return Start::NeedMore;
    };
    let codec = match std::str::from_utf8(codec.unwrap_or(b"null"))
        .ok()
        .map(|name| (name, Codec::parse(name)))
    {
        Some((_, Some(codec))) => codec,
        other => {
            let name = other.map_or("that is no text", |(name, _)| name);
            return Start::Bad(format!("it is compressed by '{name}', which is not supported"));
        }
    };
    let text = std::str::from_utf8(schema.unwrap_or_default()).map_err(|_| "it is not UTF-8".to_string());
    match text.and_then(Schema::parse) {
        Ok(schema) => Start::Header(Header {
            schema,
            codec,
            mark: mark.first_chunk().copied().unwrap_or_default(),
            bytes: bytes.len() - input.rest().len(),
        }),
        Err(reason) => Start::Bad(format!("its schema cannot be read: {reason}")),
    }
}

/// A value of the header's map, if it is there.
type Entry<'a> = Option<&'a [u8]>;

/// The schema and the codec in the header's map; an error when it is not whole.
fn metadata<'a>(input: &mut Input<'a>) -> Result<(Entry<'a>, Entry<'a>), String> {
    let (mut schema, mut codec) = (None, None);
    loop {
        let count = input.block()?;
        for _ in 0..count {
            let key = input.bytes()?;
            let value = input.bytes()?;
            match key {
                key if key == SCHEMA.as_bytes() => schema = Some(value),
                key if key == CODEC.as_bytes() => codec = Some(value),
                _ => {}
            }
        }
        if count == 0 {
            return Ok((schema, codec));
        }
    }
}

/// Appends a header.
pub(super) fn write_header(out: &mut Vec<u8>, schema: &str, codec: Codec, mark: &[u8; MARK]) {
    out.extend_from_slice(MAGIC);
    write_long(out, 2);
    write_bytes(out, SCHEMA.as_bytes());
    write_bytes(out, schema.as_bytes());
    write_bytes(out, CODEC.as_bytes());
    write_bytes(out, codec.name().as_bytes());
    write_long(out, 0);
    out.extend_from_slice(mark);
}

/// A block that may not be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    NeedMore,
    /// So many records in `start..start + length`; the mark follows.
    Block {
        count: u64,
        start: usize,
        length: u64,
    },
    Damaged,
}

/// Looks for a block at the front.
pub(super) fn front(bytes: &[u8]) -> Front {
    let mut input = Input::new(bytes);
    let numbers = input.long().and_then(|count| Ok((count, input.long()?)));
    let Ok((count, length)) = numbers else {
        return match bytes.len() < 20 {
            true => Front::NeedMore,
            false => Front::Damaged,
        };
    };
    match (u64::try_from(count), u64::try_from(length)) {
        (Ok(count), Ok(length)) => Front::Block {
            count,
            start: bytes.len() - input.rest().len(),
            length,
        },
        _ => Front::Damaged,
    }
}

/// Appends a block.
pub(super) fn write_block(
    out: &mut Vec<u8>,
    count: usize,
    data: &[u8],
    codec: Codec,
    mark: &[u8; MARK],
) -> Result<(), String> {
    let data = compress(data, codec)?;
    write_long(out, count as i64);
    write_bytes(out, &data);
    out.extend_from_slice(mark);
    Ok(())
}

fn compress(data: &[u8], codec: Codec) -> Result<Vec<u8>, String> {
    match codec {
        Codec::Null => Ok(data.to_vec()),
        Codec::Deflate => {
            let mut packed = Vec::new();
            let mut deflate = flate2::read::DeflateEncoder::new(data, flate2::Compression::default());
            deflate.read_to_end(&mut packed).map_err(|error| error.to_string())?;
            Ok(packed)
        }
        Codec::Snappy => {
            let mut packed = snap::raw::Encoder::new()
                .compress_vec(data)
                .map_err(|error| error.to_string())?;
            packed.extend_from_slice(&checksum(data).to_be_bytes());
            Ok(packed)
        }
        Codec::Zstandard => zstd::stream::encode_all(data, 0).map_err(|error| error.to_string()),
    }
}

/// The data of a block; refused when it grows far beyond its length and `limit`, so that a few bytes do not fill the memory.
pub(super) fn decompress(data: &[u8], codec: Codec, limit: usize) -> Result<Vec<u8>, String> {
    let most = data.len().saturating_mul(MAX_FACTOR).saturating_add(limit);
    let too_much = || format!("the block unpacks to more than {most} bytes");
    let unpack = |reader: &mut dyn Read| {
        let mut unpacked = Vec::new();
        let most = most as u64;
        let read = reader.take(most.saturating_add(1)).read_to_end(&mut unpacked);
        match read {
            Ok(count) if count as u64 > most => Err(too_much()),
            Ok(_) => Ok(unpacked),
            Err(error) => Err(format!("the block cannot be unpacked: {error}")),
        }
    };
    match codec {
        Codec::Null => Ok(data.to_vec()),
        Codec::Deflate => unpack(&mut flate2::read::DeflateDecoder::new(data)),
        Codec::Zstandard => {
            let mut reader = zstd::stream::Decoder::new(data).map_err(|error| error.to_string())?;
            unpack(&mut reader)
        }
        Codec::Snappy => {
            let (packed, sum) = data.split_last_chunk::<4>().ok_or("the block lacks its checksum")?;
            let length =
                snap::raw::decompress_len(packed).map_err(|error| format!("the block cannot be unpacked: {error}"))?;
            if length > most {
                return Err(too_much());
            }
            let unpacked = snap::raw::Decoder::new().decompress_vec(packed);
            let unpacked = unpacked.map_err(|error| format!("the block cannot be unpacked: {error}"))?;
            match checksum(&unpacked) == u32::from_be_bytes(*sum) {
                true => Ok(unpacked),
                false => Err("the block is damaged: its checksum is another".to_string()),
            }
        }
    }
}

fn checksum(data: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(data);
    sum.sum()
}
