//! Framing by lines.

use crate::formats::{Frame, FrameKind, Framer, Prologue, records};

/// Records end with `\n`. Every byte is looked at once, however often the framer is asked.
#[derive(Debug)]
pub(crate) struct LineFramer {
    limit: usize,
    /// Bytes looked at, from the start of what is there.
    scanned: usize,
    /// The end of the last line in them, and the lines up to there.
    end: usize,
    lines: u64,
    /// The beginning of the current line was given out as oversized.
    skipping: bool,
}

impl LineFramer {
    pub(crate) fn new(limit: usize) -> Self {
        LineFramer {
            limit,
            scanned: 0,
            end: 0,
            lines: 0,
            skipping: false,
        }
    }

    /// While skipping: the end of the line that is too long, or all there is.
    fn skip(&mut self, bytes: &[u8]) -> Frame {
        let newline = memchr::memchr(b'\n', bytes);
        if newline.is_some() {
            self.skipping = false;
        }
        self.give(
            newline.map_or(bytes.len(), |at| at + 1),
            u64::from(newline.is_some()),
            FrameKind::Rest,
        )
    }

    fn give(&mut self, end: usize, lines: u64, kind: FrameKind) -> Frame {
        (self.end, self.lines) = (end, lines);
        self.scanned = end;
        Frame { end, lines, kind }
    }
}

impl Framer for LineFramer {
    fn prologue(&mut self, bytes: &[u8], last: bool) -> Prologue {
        records::bom_only(bytes, last)
    }

    fn complete(&mut self, bytes: &[u8]) -> Frame {
        if self.skipping {
            return self.skip(bytes);
        }
        let new = bytes.get(self.scanned..).unwrap_or_default();
        if let Some(at) = memchr::memrchr(b'\n', new) {
            self.lines += memchr::memchr_iter(b'\n', &new[..=at]).count() as u64;
            self.end = self.scanned + at + 1;
        }
        self.scanned = bytes.len();
        // One more for a `\r` that is not part of the record.
        if self.end == 0 && bytes.len() > self.limit + 1 {
            self.skipping = true;
            return self.give(bytes.len(), 0, FrameKind::Oversized);
        }
        Frame {
            end: self.end,
            lines: self.lines,
            kind: FrameKind::Records,
        }
    }

    fn taken(&mut self) {
        self.scanned = self.scanned.saturating_sub(self.end);
        (self.end, self.lines) = (0, 0);
    }

    fn is_by_lines(&self) -> bool {
        true
    }

    fn rest(&mut self, bytes: &[u8]) -> Frame {
        Frame {
            end: bytes.len(),
            lines: memchr::memchr_iter(b'\n', bytes).count() as u64,
            kind: if self.skipping {
                FrameKind::Rest
            } else {
                FrameKind::Records
            },
        }
    }
}
