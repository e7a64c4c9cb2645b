//! Framing by messages.

use std::sync::Arc;

use super::message::{self, Front};
use crate::formats::fit::Fit;
use crate::formats::{DecodeSchema, Frame, FrameKind, Framer, Layout, Prologue};

/// The first bytes of an IPC *file*, which holds a stream after zeros up to a multiple of eight bytes, or of more.
const FILE_MARK: &[u8] = b"ARROW1";
/// The most such zeros.
const MAX_PADDING: usize = 64;

/// Finds where messages end. Damage has no end: from there on the input is one record that cannot be read.
#[derive(Debug)]
pub(super) struct ArrowFramer {
    schema: DecodeSchema,
    limit: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Messages,
    /// The stream has ended, or is damaged: what follows is not read.
    Over,
}

impl ArrowFramer {
    pub(super) fn new(schema: &DecodeSchema, limit: usize) -> Self {
        ArrowFramer {
            schema: schema.clone(),
            limit,
            state: State::Messages,
        }
    }

    fn give(&mut self, bytes: &[u8], kind: FrameKind) -> Frame {
        self.state = State::Over;
        Frame {
            end: bytes.len(),
            lines: 0,
            kind,
        }
    }
}

impl Framer for ArrowFramer {
    fn prologue(&mut self, bytes: &[u8], last: bool) -> Prologue {
        let skipped = match bytes.starts_with(FILE_MARK) {
            true => match bytes[FILE_MARK.len()..].iter().position(|byte| *byte != 0) {
                Some(zeros) if zeros <= MAX_PADDING => FILE_MARK.len() + zeros,
                None if !last && bytes.len() <= FILE_MARK.len() + MAX_PADDING => return Prologue::NeedMore,
                _ => return Prologue::Bad("it is an Arrow file without a stream".to_string()),
            },
            false if FILE_MARK.starts_with(bytes) && !last => return Prologue::NeedMore,
            false => 0,
        };
        let stream = &bytes[skipped..];
        let end = match message::front(stream, self.limit) {
            // An empty input is an empty stream.
            Front::NeedMore if last && stream.is_empty() => {
                return Prologue::Done {
                    consumed: skipped,
                    lines: 0,
                    layout: None,
                };
            }
            Front::NeedMore if !last => return Prologue::NeedMore,
            Front::Message(end) => end,
            Front::TooLong => return Prologue::Bad("its schema is too long".to_string()),
            Front::NeedMore | Front::End(_) => return Prologue::Bad("it ends amid its schema".to_string()),
            Front::Damaged => {
                return Prologue::Bad("it is not an IPC stream of Arrow (since its version 0.15)".to_string());
            }
        };
        let header = &stream[..end];
        let fits = message::schema(header).and_then(|theirs| Fit::new(&theirs, &self.schema));
        match fits {
            Ok(_) => Prologue::Done {
                consumed: skipped + end,
                lines: 0,
                layout: Some(Layout::Header(Arc::from(header))),
            },
            Err(reason) => Prologue::Bad(reason),
        }
    }

    fn complete(&mut self, bytes: &[u8]) -> Frame {
        if self.state == State::Over {
            return self.give(bytes, FrameKind::Rest);
        }
        let mut frame = Frame {
            end: 0,
            lines: 0,
            kind: FrameKind::Records,
        };
        loop {
            match message::front(&bytes[frame.end..], self.limit) {
                Front::Message(length) => {
                    frame.end += length;
                    frame.lines += 1;
                }
                // What is whole goes first.
                _ if frame.end > 0 => return frame,
                Front::NeedMore => return frame,
                Front::End(_) => return self.give(bytes, FrameKind::Rest),
                Front::TooLong | Front::Damaged => return self.give(bytes, FrameKind::Oversized),
            }
        }
    }

    fn rest(&mut self, bytes: &[u8]) -> Frame {
        let kind = match self.state {
            State::Over => FrameKind::Rest,
            // A message that is not whole.
            State::Messages if !bytes.is_empty() => FrameKind::Oversized,
            State::Messages => FrameKind::Records,
        };
        Frame {
            end: bytes.len(),
            lines: 0,
            kind,
        }
    }
}
