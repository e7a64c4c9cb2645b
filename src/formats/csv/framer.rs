//! Framing by records: lines, except where a quoted field holds the line end.

use super::grammar;
use super::header;
use super::mapping::Mapping;
use super::options::{Dialect, Header};
use crate::formats::{DecodeSchema, Frame, FrameKind, Framer, Prologue, records};

/// Jumps from quote to quote, so that blocks without quotes cost one search. Every byte is looked at once, however
/// often the framer is asked.
#[derive(Debug)]
pub(super) struct CsvFramer {
    dialect: Dialect,
    schema: DecodeSchema,
    mapping: Option<Mapping>,
    /// Bytes looked at, from the start of what is there, and where that is.
    scanned: usize,
    place: Place,
    /// The byte before the first one there is: tells whether a quote there opens a field.
    before: u8,
    /// The end of the last record in the scanned bytes, and the lines up to there.
    end: usize,
    lines: u64,
    /// The beginning of the current record was given out as oversized.
    skipping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    InQuotes,
}

/// Which record end is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    First,
    Last,
}

impl CsvFramer {
    pub(super) fn new(dialect: Dialect, schema: &DecodeSchema, mapping: Option<Mapping>) -> Self {
        CsvFramer {
            dialect,
            schema: schema.clone(),
            mapping,
            scanned: 0,
            place: Place::Outside,
            before: b'\n',
            end: 0,
            lines: 0,
            skipping: false,
        }
    }

    /// Looks at the new bytes and gives the end of the first or last record that ends in them.
    fn scan(&mut self, bytes: &[u8], wanted: Wanted) -> Option<usize> {
        let mut end = None;
        while self.scanned < bytes.len() {
            let rest = &bytes[self.scanned..];
            match self.place {
                Place::Outside => {
                    let quote = memchr::memchr(self.dialect.quote, rest);
                    let stretch = &rest[..quote.unwrap_or(rest.len())];
                    let newline = match wanted {
                        Wanted::First => memchr::memchr(b'\n', stretch),
                        Wanted::Last => memchr::memrchr(b'\n', stretch),
                    };
                    if let Some(at) = newline {
                        end = Some(self.scanned + at + 1);
                        if wanted == Wanted::First {
                            self.scanned += at + 1;
                            return end;
                        }
                    }
                    self.scanned += stretch.len();
                    if quote.is_some() {
                        let before = match self.scanned.checked_sub(1) {
                            Some(at) => bytes[at],
                            None => self.before,
                        };
                        if before == self.dialect.delimiter || before == b'\n' {
                            self.place = Place::InQuotes;
                        }
                        self.scanned += 1;
                    }
                }
                Place::InQuotes => {
                    let Some(stop) = grammar::find(rest, &self.dialect) else {
                        self.scanned = bytes.len();
                        break;
                    };
                    // What a quote or escape means, the byte after it says.
                    let Some(&after) = rest.get(stop + 1) else {
                        self.scanned += stop;
                        break;
                    };
                    if rest[stop] == self.dialect.quote && after != self.dialect.quote {
                        self.place = Place::Outside;
                        self.scanned += stop + 1;
                    } else {
                        self.scanned += stop + 2;
                    }
                }
            }
        }
        end
    }

    /// Hands out bytes that belong to a record that is too long.
    fn give(&mut self, bytes: &[u8], end: usize, kind: FrameKind) -> Frame {
        self.end = end;
        self.lines = lines(&bytes[..end]);
        if let Some(&last) = bytes[..end].last() {
            self.before = last;
        }
        Frame {
            end,
            lines: self.lines,
            kind,
        }
    }
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

impl Framer for CsvFramer {
    fn prologue(&mut self, bytes: &[u8], last: bool) -> Prologue {
        match self.dialect.header {
            Header::Absent => records::bom_only(bytes, last),
            Header::Present => header::read(bytes, last, &self.dialect, &self.schema, self.mapping.as_ref()),
        }
    }

    fn complete(&mut self, bytes: &[u8]) -> Frame {
        if self.skipping {
            let end = self.scan(bytes, Wanted::First);
            self.skipping = end.is_none();
            return self.give(bytes, end.unwrap_or(self.scanned), FrameKind::Rest);
        }
        if let Some(end) = self.scan(bytes, Wanted::Last) {
            self.lines += lines(&bytes[self.end..end]);
            self.end = end;
        }
        // One more for a `\r` that is not part of the record, one for a quote whose meaning is still open.
        if self.end == 0 && self.scanned > self.dialect.limit + 1 {
            self.skipping = true;
            return self.give(bytes, self.scanned, FrameKind::Oversized);
        }
        Frame {
            end: self.end,
            lines: self.lines,
            kind: FrameKind::Records,
        }
    }

    fn taken(&mut self) {
        if self.end > 0 && !self.skipping {
            self.before = b'\n';
        }
        self.scanned = self.scanned.saturating_sub(self.end);
        (self.end, self.lines) = (0, 0);
    }

    fn rest(&mut self, bytes: &[u8]) -> Frame {
        Frame {
            end: bytes.len(),
            lines: lines(bytes),
            kind: if self.skipping {
                FrameKind::Rest
            } else {
                FrameKind::Records
            },
        }
    }
}
