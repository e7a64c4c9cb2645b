//! [`Cutter`]: bytes of one input, in; blocks of whole records, out.

use super::{Buffers, ReadOptions};
use crate::formats::{Block, FrameKind, Framer, Layout, Prologue};

/// The least room for a read. Small enough that an idle input costs little, big enough for a pipe's content.
const MIN_READ: usize = 64 << 10;

/// The longest header. Formats limit records, and so how much is buffered for one; a header has no end until it is read.
const MAX_HEADER: usize = 16 << 20;

/// What comes out of an input: whole records to decode, and where the input stands after them.
#[derive(Debug)]
pub struct Piece {
    /// The records.
    pub block: Block,
    /// The offset of the record after them.
    pub offset: u64,
    /// Its line number, from 1.
    pub line: u64,
}

/// Cuts one input at record ends.
///
/// The owner reads into [`Cutter::space`], says with [`Cutter::filled`] how much, and takes pieces with
/// [`Cutter::cut`] until there are none; at the end of the input, with [`Cutter::finish`]. Memory is bounded by the block
/// size or twice the format's longest record, whichever is larger. The beginning of a record over that limit is held back
/// until its end has been skipped, so that every piece ends where a record does.
pub struct Cutter {
    framer: Box<dyn Framer>,
    options: ReadOptions,
    started: bool,
    layout: Option<Layout>,
    /// Bytes from `offset` on; the first `filled` of them are input, the rest is room.
    buffer: Vec<u8>,
    filled: usize,
    offset: u64,
    line: u64,
    /// The beginning of a record over the format's limit, while its end is looked for, and where that is as far as known.
    oversized: Option<Piece>,
    /// What was cut together with the piece given out last.
    next: Option<Piece>,
}

impl Cutter {
    /// For an input that starts at its beginning.
    pub fn new(framer: Box<dyn Framer>, options: ReadOptions) -> Self {
        Cutter {
            framer,
            options,
            started: false,
            layout: None,
            buffer: Vec::new(),
            filled: 0,
            offset: 0,
            line: 1,
            oversized: None,
            next: None,
        }
    }

    /// Where the next record starts, when nothing is being cut: its offset and line number, from 1.
    pub fn place(&self) -> (u64, u64) {
        (self.offset, self.line)
    }

    /// The offset of the next byte to read.
    pub fn read_offset(&self) -> u64 {
        self.offset + self.filled as u64
    }

    /// Reads what stands before the first record; false when more bytes are needed. [`Cutter::cut`] does so by itself.
    pub fn start(&mut self, last: bool) -> Result<bool, String> {
        Ok(self.started || self.prologue(last)?)
    }

    /// Continues at another place of the same input, which must be the start of a record. Forgets what is buffered.
    pub fn jump(&mut self, offset: u64, line: u64) {
        self.filled = 0;
        self.offset = offset;
        self.line = line;
        self.oversized = None;
        self.framer.taken();
    }

    /// Room to read into, never empty. `expected` is how much may be there to read.
    pub fn space(&mut self, buffers: &mut Buffers, expected: usize) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = buffers.take();
        }
        let block = self.options.block_bytes.max(MIN_READ);
        let room = expected.clamp(MIN_READ, block);
        let end = if self.filled + MIN_READ <= block {
            block.min(self.filled + room)
        } else {
            // A record longer than a block: double, so that looking for its end stays cheap.
            (self.filled * 2).max(self.filled + MIN_READ)
        };
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.filled..end]
    }

    /// Tells that `count` bytes were read into [`Cutter::space`].
    pub fn filled(&mut self, count: usize) {
        self.filled += count;
    }

    /// Gives an unused buffer back, for inputs that wait.
    pub fn rest(&mut self, buffers: &mut Buffers) {
        if self.filled == 0 {
            buffers.give(std::mem::take(&mut self.buffer));
        }
    }

    /// The next piece, `None` when more must be read. `Err` when the input as a whole cannot be read.
    pub fn cut(&mut self, buffers: &mut Buffers) -> Result<Option<Piece>, String> {
        if self.next.is_some() {
            return Ok(self.next.take());
        }
        if !self.start(false)? {
            return Ok(None);
        }
        while self.filled > 0 {
            let frame = self.framer.complete(&self.buffer[..self.filled]);
            if frame.end == 0 {
                return Ok(None);
            }
            let piece = self.take(frame.end, frame.lines, frame.kind, buffers);
            if let Some(piece) = self.order(piece, buffers) {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The last pieces, one by one: at the end of the input a record needs no terminator.
    pub fn finish(&mut self, buffers: &mut Buffers) -> Result<Option<Piece>, String> {
        if self.next.is_some() {
            return Ok(self.next.take());
        }
        if !self.start(true)? || self.filled == 0 {
            return Ok(self.oversized.take());
        }
        let bytes = &self.buffer[..self.filled];
        let kind = self.framer.rest(bytes).kind;
        let ends = memchr::memchr_iter(b'\n', bytes).count() as u64;
        let open = u64::from(bytes.last() != Some(&b'\n'));
        let piece = self.take(self.filled, ends + open, kind, buffers);
        Ok(self.order(piece, buffers).or_else(|| self.oversized.take()))
    }

    /// Holds the beginning of an oversized record back, drops the rest of it, and gives it out before what follows it.
    fn order(&mut self, piece: Piece, buffers: &mut Buffers) -> Option<Piece> {
        match piece.block.kind {
            FrameKind::Oversized => self.oversized.replace(piece),
            FrameKind::Rest => {
                if let Some(oversized) = &mut self.oversized {
                    (oversized.offset, oversized.line) = (piece.offset, piece.line);
                }
                buffers.give(piece.block.bytes);
                None
            }
            FrameKind::Records => match self.oversized.take() {
                Some(oversized) => {
                    self.next = Some(piece);
                    Some(oversized)
                }
                None => Some(piece),
            },
        }
    }

    /// Gives the buffer away as a block of its first `end` bytes; the rest moves to another buffer.
    fn take(&mut self, end: usize, lines: u64, kind: FrameKind, buffers: &mut Buffers) -> Piece {
        let mut next = buffers.take();
        let rest = self.filled - end;
        if next.len() < rest {
            next.resize(rest, 0);
        }
        next[..rest].copy_from_slice(&self.buffer[end..self.filled]);
        let mut bytes = std::mem::replace(&mut self.buffer, next);
        bytes.truncate(end);
        let block = Block {
            bytes,
            first_line: self.line,
            layout: self.layout.clone(),
            kind,
        };
        self.filled = rest;
        self.offset += end as u64;
        self.line += lines;
        self.framer.taken();
        Piece {
            block,
            offset: self.offset,
            line: self.line,
        }
    }

    fn prologue(&mut self, last: bool) -> Result<bool, String> {
        match self.framer.prologue(&self.buffer[..self.filled], last) {
            Prologue::Done {
                consumed,
                lines,
                layout,
            } => {
                self.discard(consumed.min(self.filled));
                self.line += lines;
                self.layout = layout;
                self.started = true;
                Ok(true)
            }
            Prologue::NeedMore if self.filled > MAX_HEADER => {
                Err(format!("its header does not end within {MAX_HEADER} bytes"))
            }
            Prologue::NeedMore => Ok(false),
            Prologue::Bad(reason) => Err(reason),
        }
    }

    fn discard(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
        self.offset += count as u64;
    }
}
