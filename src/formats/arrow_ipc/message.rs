//! Where messages end, and what they hold.
//!
//! A message is `FF FF FF FF`, the length of its metadata (32 bits, little endian), the metadata (a flatbuffer) and a body whose length the
//! metadata tells. Metadata of length 0 ends the stream.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::datatypes::Schema;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::{Message, root_as_message};

/// The first bytes of a message.
const MARK: [u8; 4] = [0xFF; 4];
/// How many bytes stand before the metadata.
pub(super) const PREFIX: usize = 8;
/// The longest metadata: of a schema with many columns.
const MAX_METADATA: usize = 16 << 20;

/// What stands at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// Not enough bytes to tell, or to hold all of the message.
    NeedMore,
    /// A message of so many bytes.
    Message(usize),
    /// A message that is too long.
    TooLong,
    /// The end of the stream, which takes so many bytes.
    End(usize),
    /// No message.
    Damaged,
}

/// Looks for a message at the front; at most `limit` bytes long.
pub(super) fn front(bytes: &[u8], limit: usize) -> Front {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else {
        return match bytes.iter().take(4).all(|byte| *byte == 0xFF) {
            true => Front::NeedMore,
            false => Front::Damaged,
        };
    };
    let [a, b, c, d, length @ ..] = *prefix;
    let Ok(metadata) = usize::try_from(i32::from_le_bytes(length)) else {
        return Front::Damaged;
    };
    match metadata {
        _ if [a, b, c, d] != MARK => return Front::Damaged,
        0 => return Front::End(PREFIX),
        _ if metadata > MAX_METADATA.min(limit) => return Front::TooLong,
        _ => {}
    }
    let body = PREFIX + metadata;
    let Some(metadata) = bytes.get(PREFIX..body) else {
        return Front::NeedMore;
    };
    let Ok(length) = root_as_message(metadata).map(|message| message.bodyLength()) else {
        return Front::Damaged;
    };
    match usize::try_from(length) {
        Ok(length) if length <= limit => match bytes.len() >= body + length {
            true => Front::Message(body + length),
            false => Front::NeedMore,
        },
        Ok(_) => Front::TooLong,
        Err(_) => Front::Damaged,
    }
}

/// The metadata and the body of a message that is whole.
pub(super) fn parts(message: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let [_, _, _, _, length @ ..] = *message.first_chunk::<PREFIX>()?;
    let metadata = usize::try_from(i32::from_le_bytes(length)).ok()?;
    let body = message.get(PREFIX + metadata..)?;
    let metadata = root_as_message(message.get(PREFIX..PREFIX + metadata)?).ok()?;
    Some((metadata, body))
}

/// The schema in a message of one.
pub(super) fn schema(message: &[u8]) -> Result<Schema, String> {
    let (metadata, _) = parts(message).ok_or("its first message is damaged")?;
    let schema = metadata
        .header_as_schema()
        .ok_or("it does not begin with a schema: the format is Arrow's IPC stream")?;
    // The library panics at types that it does not know.
    catch_unwind(AssertUnwindSafe(|| fb_to_schema(schema)))
        .map_err(|_| "its schema has a type that is not Arrow's".to_string())
}
