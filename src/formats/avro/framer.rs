//! Framing by the blocks of object container files.

use std::sync::Arc;

use super::container::{self, Front, Header, MARK, Start};
use super::reader::{Columns, RecordReader};
use crate::formats::{DecodeSchema, Frame, FrameKind, Framer, Layout, Prologue};

/// Finds where blocks end. After damage it goes on behind the next mark of the file.
#[derive(Debug)]
pub(super) struct ContainerFramer {
    schema: DecodeSchema,
    limit: usize,
    mark: Option<[u8; MARK]>,
    damaged: bool,
}

impl ContainerFramer {
    pub(super) fn new(schema: &DecodeSchema, limit: usize) -> Self {
        ContainerFramer {
            schema: schema.clone(),
            limit,
            mark: None,
            damaged: false,
        }
    }

    /// Passes over what is damaged, up to the end of the next mark.
    fn pass(&mut self, bytes: &[u8], kind: FrameKind) -> Frame {
        let found = self.mark.and_then(|mark| memchr::memmem::find(bytes, &mark));
        let end = match found {
            Some(at) => at + MARK,
            // The beginning of a mark may be there already.
            None => bytes.len().saturating_sub(MARK - 1),
        };
        // Nothing given out is nothing passed over: more bytes are needed first.
        if end > 0 {
            self.damaged = found.is_none();
        }
        Frame { end, lines: 1, kind }
    }
}

impl Framer for ContainerFramer {
    fn prologue(&mut self, bytes: &[u8], last: bool) -> Prologue {
        let header = match container::header(bytes) {
            Start::Header(header) => header,
            // An empty input is an empty file.
            Start::NeedMore if last && bytes.is_empty() => {
                return Prologue::Done {
                    consumed: 0,
                    lines: 0,
                    layout: None,
                };
            }
            Start::NeedMore if last => return Prologue::Bad("it ends amid its header".to_string()),
            Start::NeedMore => return Prologue::NeedMore,
            Start::Bad(reason) => return Prologue::Bad(reason),
        };
        let Header {
            schema,
            mark,
            bytes: length,
            ..
        } = header;
        self.mark = Some(mark);
        match RecordReader::new(schema, &self.schema, Columns::Some) {
            Ok(_) => Prologue::Done {
                consumed: length,
                lines: 0,
                layout: Some(Layout::Header(Arc::from(&bytes[..length]))),
            },
            Err(reason) => Prologue::Bad(reason),
        }
    }

    fn complete(&mut self, bytes: &[u8]) -> Frame {
        if self.damaged {
            return self.pass(bytes, FrameKind::Rest);
        }
        let mut whole = Frame {
            end: 0,
            lines: 0,
            kind: FrameKind::Records,
        };
        loop {
            let rest = &bytes[whole.end..];
            match container::front(rest) {
                Front::NeedMore => return whole,
                Front::Block { start, length, .. } if length <= self.limit as u64 => {
                    let data = start + usize::try_from(length).unwrap_or(usize::MAX);
                    match rest.get(data..data + MARK) {
                        Some(mark) if self.mark.is_some_and(|ours| ours == mark) => {
                            whole.end += data + MARK;
                            whole.lines += 1;
                            continue;
                        }
                        None => return whole,
                        Some(_) => {}
                    }
                }
                Front::Block { .. } | Front::Damaged => {}
            }
            // Damaged or too long; what is whole goes first.
            return match whole.end {
                0 => self.pass(bytes, FrameKind::Oversized),
                _ => whole,
            };
        }
    }

    fn rest(&mut self, bytes: &[u8]) -> Frame {
        let kind = match (self.damaged, bytes.is_empty()) {
            (true, _) => FrameKind::Rest,
            (false, true) => FrameKind::Records,
            (false, false) => FrameKind::Oversized,
        };
        Frame {
            end: bytes.len(),
            lines: 0,
            kind,
        }
    }
}
