//! [`Cutter`]: bytes of one input, in; blocks of whole records, out.

use super::{Buffers, ReadOptions};
use crate::error::RAW_LIMIT;
use crate::formats::{BadRecord, Block, FrameKind, Framer, Layout, Prologue};

/// The least room for a read. Small enough that an idle input costs little, big enough for a pipe's content.
const MIN_READ: usize = 64 << 10;

/// What comes out of an input.
#[derive(Debug)]
pub enum Piece {
    /// Whole records to decode.
    Block(Block),
    /// A record over the limit, already skipped.
    TooLong(BadRecord),
}

/// Cuts one input at record ends.
///
/// The owner reads into [`Cutter::space`], says with [`Cutter::filled`] how much, and takes pieces with
/// [`Cutter::cut`] until there are none; at the end of the input, [`Cutter::finish`]. Memory is bounded by the block
/// size or the longest record allowed, whichever is larger.
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
    /// Inside a record over the limit, whose line end has not been seen.
    skipping: bool,
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
            skipping: false,
        }
    }

    /// The offset of the first byte not yet given away: where to continue later.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The line number of that byte, from 1.
    pub fn line(&self) -> u64 {
        self.line
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
        self.skipping = false;
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
            // A record longer than a block: double, so that looking for its end stays cheap. One byte over the limit
            // is enough to know that it is too long.
            (self.filled * 2)
                .min(self.options.max_record_bytes + 1)
                .max(self.filled + MIN_READ)
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
        if !self.start(false)? {
            return Ok(None);
        }
        if self.skipping && !self.skip() {
            return Ok(None);
        }
        if self.filled == 0 {
            return Ok(None);
        }
        let frame = self.framer.complete(&self.buffer[..self.filled]);
        if frame.end > 0 {
            return Ok(Some(Piece::Block(self.take(frame.end, frame.lines, frame.kind, buffers))));
        }
        if self.filled > self.options.max_record_bytes {
            return Ok(Some(Piece::TooLong(self.too_long())));
        }
        Ok(None)
    }

    /// The last piece: at the end of the input a record needs no terminator.
    pub fn finish(&mut self, buffers: &mut Buffers) -> Result<Option<Piece>, String> {
        if !self.start(true)? {
            return Ok(None);
        }
        if self.skipping {
            self.discard(self.filled);
            self.skipping = false;
        }
        if self.filled == 0 {
            return Ok(None);
        }
        let bytes = &self.buffer[..self.filled];
        let ends = memchr::memchr_iter(b'\n', bytes).count() as u64;
        let open = u64::from(bytes.last() != Some(&b'\n'));
        Ok(Some(Piece::Block(self.take(self.filled, ends + open, FrameKind::Records, buffers))))
    }

    /// Gives the buffer away as a block of its first `end` bytes; the rest moves to another buffer.
    fn take(&mut self, end: usize, lines: u64, kind: FrameKind, buffers: &mut Buffers) -> Block {
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
        block
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
            Prologue::NeedMore if self.filled > self.options.max_record_bytes => Err(format!(
                "its header does not end within {} bytes (max-record-bytes)",
                self.options.max_record_bytes
            )),
            Prologue::NeedMore => Ok(false),
            Prologue::Bad(reason) => Err(reason),
        }
    }

    /// Drops bytes up to the end of the line; false when it does not end within what has been read.
    fn skip(&mut self) -> bool {
        let end = memchr::memchr(b'\n', &self.buffer[..self.filled]);
        self.discard(end.map_or(self.filled, |at| at + 1));
        self.skipping = end.is_none();
        self.line += u64::from(end.is_some());
        end.is_some()
    }

    /// Starts to skip a record over the limit. It ends for us at its first line end: an unbalanced quote, which makes
    /// the rest of an input look like one record, then costs one line.
    fn too_long(&mut self) -> BadRecord {
        let raw = &self.buffer[..self.filled.min(RAW_LIMIT)];
        let bad = BadRecord {
            message: format!(
                "the record is longer than {} bytes (max-record-bytes)",
                self.options.max_record_bytes
            ),
            line: self.line,
            raw: String::from_utf8_lossy(raw).into_owned(),
            row: 0,
        };
        self.skip();
        self.framer.taken();
        bad
    }

    fn discard(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
        self.offset += count as u64;
    }
}
