//! Messages of binary formats in an input without bounds of its own: each after its length, as Protocol Buffers writes them (a number of
//! 7 bits a byte, the lowest first).
//!
//! Where a broker's message is a block by itself there is no length: a block that no framer cut has no layout, and is one message.

use std::sync::Arc;

use super::{Frame, FrameKind, Framer, Layout, Prologue};

/// The longest form of a length.
const MAX_VARINT: usize = 10;

/// What stands at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// Not enough to tell.
    NeedMore,
    /// A message of `length` bytes after the first `start`.
    Message {
        /// Bytes of the length itself.
        start: usize,
        /// Bytes of the message.
        length: u64,
    },
    /// No length.
    Damaged,
}

/// Looks for a length.
pub(crate) fn front(bytes: &[u8]) -> Front {
    let mut length = 0u64;
    for (index, byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        if index == MAX_VARINT - 1 && *byte > 1 {
            return Front::Damaged;
        }
        length |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Front::Message {
                start: index + 1,
                length,
            };
        }
    }
    Front::NeedMore
}

/// Appends a length.
pub(crate) fn write_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length as u64;
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The messages of a block, one after the other, until one is not whole.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
    delimited: bool,
}

impl<'a> Messages<'a> {
    /// Of a block's bytes: after their lengths if a framer cut it, else one message.
    pub(crate) fn new(bytes: &'a [u8], layout: Option<&Layout>) -> Self {
        Messages {
            rest: bytes,
            delimited: layout.is_some(),
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        if !self.delimited {
            return Some(std::mem::take(&mut self.rest));
        }
        let Front::Message { start, length } = front(self.rest) else {
            return None;
        };
        let (message, rest) = self.rest[start..].split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(message)
    }
}

/// Why the bytes of an oversized frame are no message.
pub(crate) fn why(bytes: &[u8], format: &str, limit: usize) -> String {
    match front(bytes) {
        Front::Damaged => "the length of a message is damaged: what follows is not read".to_string(),
        Front::Message { length, .. } if length > limit as u64 => super::records::too_long(format, limit),
        Front::Message { .. } | Front::NeedMore => "the input ends amid a message".to_string(),
    }
}

/// Finds the ends of messages. A message over the limit is passed over; behind a damaged length nothing can be found any more.
#[derive(Debug)]
pub(crate) struct DelimitedFramer {
    limit: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Messages,
    /// So many bytes of a message that is too long are to come.
    Skipping(u64),
    Damaged,
}

impl DelimitedFramer {
    /// For messages of at most so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        DelimitedFramer {
            limit,
            state: State::Messages,
        }
    }
}

fn frame(end: usize, lines: u64, kind: FrameKind) -> Frame {
    Frame { end, lines, kind }
}

impl Framer for DelimitedFramer {
    fn prologue(&mut self, _bytes: &[u8], _last: bool) -> Prologue {
        Prologue::Done {
            consumed: 0,
            lines: 0,
            layout: Some(Layout::Header(Arc::from([]))),
        }
    }

    fn complete(&mut self, bytes: &[u8]) -> Frame {
        match self.state {
            State::Messages => {}
            State::Damaged => return frame(bytes.len(), 0, FrameKind::Rest),
            State::Skipping(left) => {
                let end = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.state = match left - end as u64 {
                    0 => State::Messages,
                    left => State::Skipping(left),
                };
                return frame(end, 0, FrameKind::Rest);
            }
        }
        let mut whole = frame(0, 0, FrameKind::Records);
        loop {
            let rest = &bytes[whole.end..];
            match front(rest) {
                Front::Message { start, length } if length <= self.limit as u64 => {
                    // A message within the limit fits in memory.
                    let end = start + usize::try_from(length).unwrap_or(usize::MAX);
                    if rest.len() < end {
                        return whole;
                    }
                    whole.end += end;
                    whole.lines += 1;
                }
                Front::NeedMore => return whole,
                // What is whole goes first.
                _ if whole.end > 0 => return whole,
                Front::Message { start, length } => {
                    let all = length.saturating_add(start as u64);
                    let end = usize::try_from(all).map_or(bytes.len(), |all| all.min(bytes.len()));
                    if all > end as u64 {
                        self.state = State::Skipping(all - end as u64);
                    }
                    return frame(end, 1, FrameKind::Oversized);
                }
                Front::Damaged => {
                    self.state = State::Damaged;
                    return frame(bytes.len(), 0, FrameKind::Oversized);
                }
            }
        }
    }

    fn rest(&mut self, bytes: &[u8]) -> Frame {
        let kind = match self.state {
            State::Messages if bytes.is_empty() => FrameKind::Records,
            State::Messages => FrameKind::Oversized,
            State::Skipping(_) | State::Damaged => FrameKind::Rest,
        };
        frame(bytes.len(), 0, kind)
    }
}
