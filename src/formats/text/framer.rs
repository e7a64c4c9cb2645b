//! A whole input as one record.

use crate::formats::{Frame, FrameKind, Framer, Prologue};

/// The input has one record, which ends where the input does. What is over the limit is given out and dropped as it comes.
#[derive(Debug)]
pub(crate) struct MessageFramer {
    limit: usize,
    /// The beginning was given out as oversized.
    skipping: bool,
}

impl MessageFramer {
    pub(crate) fn new(limit: usize) -> Self {
        MessageFramer { limit, skipping: false }
    }

    fn frame(&self, bytes: &[u8], kind: FrameKind) -> Frame {
        Frame {
            end: bytes.len(),
            lines: memchr::memchr_iter(b'\n', bytes).count() as u64,
            kind,
        }
    }
}

impl Framer for MessageFramer {
    /// Nothing is skipped: not even what looks like a byte-order mark.
    fn prologue(&mut self, _bytes: &[u8], _last: bool) -> Prologue {
        Prologue::Done {
            consumed: 0,
            lines: 0,
            layout: None,
        }
    }

    fn complete(&mut self, bytes: &[u8]) -> Frame {
        if self.skipping {
            return self.frame(bytes, FrameKind::Rest);
        }
        if bytes.len() > self.limit {
            self.skipping = true;
            return self.frame(bytes, FrameKind::Oversized);
        }
        self.frame(&[], FrameKind::Records)
    }

    fn rest(&mut self, bytes: &[u8]) -> Frame {
        let kind = if self.skipping {
            FrameKind::Rest
        } else {
            FrameKind::Records
        };
        self.frame(bytes, kind)
    }
}
