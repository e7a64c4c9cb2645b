//! Columns of texts and bytes: 16 bytes a value as in an Arrow view array, longer ones in a heap of their chunk.
//!
//! A heap is only ever appended to, so that readers share it while it grows. What is overwritten stays as garbage until there is
//! more of it than of what lives; then the chunk's heap is written anew.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, StringViewArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};

use super::super::cells::Cells;
use super::super::places::{Position, chunk_of, offset_of, reach, runs};
use super::{ColumnStore, Valid};
use crate::error::{Error, Result};

/// The longest value that a view holds itself.
const INLINE: u32 = 12;

/// From this size on a heap begins a new part.
const PART: usize = 64 << 20;

/// Garbage that is not worth a rewrite.
const LITTER: usize = 16 << 10;

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Text,
    Bytes,
}

/// Texts or bytes.
#[derive(Debug)]
pub(super) struct Views {
    content: Content,
    chunks: Vec<Chunk>,
    /// Chunks that are being written.
    open: Vec<usize>,
    /// Whether there ever was a NULL.
    nulls: bool,
}

#[derive(Debug, Default)]
struct Chunk {
    views: Cells<u128>,
    valid: Valid,
    /// Full or shared parts of the heap.
    parts: Vec<Buffer>,
    /// The part that grows; its number is that of the parts before it.
    last: Cells<u8>,
    /// Bytes of long values that live, and of all ever appended.
    live: usize,
    total: usize,
}

fn length(view: u128) -> u32 {
    view as u32
}

/// A view of a long value: length, its first bytes, part of the heap, place in it.
fn view(prefix: u128, part: usize, offset: usize) -> u128 {
    prefix & u128::from(u64::MAX) | (part as u128) << 64 | (offset as u128) << 96
}

impl Chunk {
    fn bytes(&self, view: u128) -> &[u8] {
        let (part, from) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
        let part: &[u8] = match self.parts.get(part) {
            Some(part) => part,
            None => &self.last,
        };
        &part[from..from + length(view) as usize]
    }

    /// Appends a long value, whose view elsewhere is `of`, to the heap.
    fn append(&mut self, of: u128, bytes: &[u8]) -> Result<u128> {
        // A part that somebody shares is left to them; so is one that is full.
        if self.last.is_frozen() && !self.last.is_empty() && self.last.is_shared()
            || self.last.len() + bytes.len() > PART && !self.last.is_empty()
        {
            let mut last = std::mem::take(&mut self.last);
            last.freeze();
            self.parts.push(last.share(last.len()).into_inner());
        }
        if bytes.len() > u32::MAX as usize || self.parts.len() >= u32::MAX as usize {
            return Err(Error::failed("a value is too long for a table in memory"));
        }
        let last = self.last.open();
        let offset = last.len();
        last.extend_from_slice(bytes);
        self.live += bytes.len();
        self.total += bytes.len();
        Ok(view(of, self.parts.len(), offset))
    }

    fn forget(&mut self, offset: usize) {
        let Some(&old) = self.views.get(offset) else { return };
        if length(old) > INLINE {
            self.live -= length(old) as usize;
        }
    }

    /// Writes the heap anew when most of it is garbage.
    fn tidy(&mut self) -> Result<()> {
        if self.total < 2 * self.live + LITTER {
            return Ok(());
        }
        let old = std::mem::take(self);
        let mut views = old.views.to_vec();
        for view in views.iter_mut().filter(|view| length(**view) > INLINE) {
            *view = self.append(*view, old.bytes(*view))?;
        }
        *self.views.open() = views;
        self.valid = old.valid;
        Ok(())
    }
}

impl Views {
    /// An empty column.
    pub fn new(content: Content) -> Self {
        Views {
            content,
            chunks: Vec::new(),
            open: Vec::new(),
            nulls: false,
        }
    }

    fn array(&self, views: ScalarBuffer<u128>, heap: Vec<Buffer>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(match self.content {
            Content::Text => Arc::new(StringViewArray::try_new(views, heap, nulls)?),
            Content::Bytes => Arc::new(BinaryViewArray::try_new(views, heap, nulls)?),
        })
    }

    fn of(&self, values: &ArrayRef) -> BinaryViewArray {
        match self.content {
            Content::Text => values.as_string_view().clone().to_binary_view(),
            Content::Bytes => values.as_binary_view().clone(),
        }
    }

    #[inline]
    fn view(&self, at: Position) -> u128 {
        self.chunks[chunk_of(at)].views[offset_of(at)]
    }

    #[inline]
    fn is_valid(&self, at: Position) -> bool {
        !self.nulls || self.chunks[chunk_of(at)].valid.is_valid(offset_of(at))
    }

    fn chunk(&mut self, index: usize) -> &mut Chunk {
        if index >= self.chunks.len() {
            self.chunks.resize_with(index + 1, Chunk::default);
        }
        let chunk = &mut self.chunks[index];
        if chunk.views.is_frozen() {
            self.open.push(index);
        }
        chunk
    }
}

impl ColumnStore for Views {
    fn write(&mut self, values: &ArrayRef, rows: &[u32], at: &[Position]) -> Result<()> {
        let values = self.of(values);
        let views = values.views();
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        self.nulls |= nulls.is_some();
        for (index, run) in runs(at) {
            let chunk = self.chunk(index);
            chunk.views.open();
            for (&row, &at) in rows[run.clone()].iter().zip(&at[run]) {
                let (row, offset) = (row as usize, offset_of(at));
                let is_valid = nulls.is_none_or(|nulls| nulls.is_valid(row));
                chunk.forget(offset);
                let view = match views[row] {
                    _ if !is_valid => 0,
                    view if length(view) <= INLINE => view,
                    view => chunk.append(view, values.value(row))?,
                };
                let cells = chunk.views.open();
                reach(cells, offset, || 0);
                cells[offset] = view;
                chunk.valid.note(offset, is_valid);
            }
            chunk.tidy()?;
        }
        Ok(())
    }

    fn read(&self, at: &[Position]) -> Result<ArrayRef> {
        let mut heap = Vec::new();
        let mut parts = Vec::new();
        let mut views = Vec::with_capacity(at.len());
        for &at in at {
            let chunk = &self.chunks[chunk_of(at)];
            let mut value = chunk.views[offset_of(at)];
            if length(value) > INLINE {
                let bytes = chunk.bytes(value);
                if heap.len() + bytes.len() > PART && !heap.is_empty() {
                    parts.push(Buffer::from_vec(std::mem::take(&mut heap)));
                }
                value = view(value, parts.len(), heap.len());
                heap.extend_from_slice(bytes);
            }
            views.push(value);
        }
        if !heap.is_empty() {
            parts.push(Buffer::from_vec(heap));
        }
        let nulls = self
            .nulls
            .then(|| NullBuffer::new(BooleanBuffer::collect_bool(at.len(), |i| self.is_valid(at[i]))));
        self.array(views.into(), parts, nulls)
    }

    fn equal(&self, at: &[Position], values: &ArrayRef, rows: &[u32], equal: &mut [bool]) -> Result<()> {
        let values = self.of(values);
        let views = values.views();
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        for ((&at, &row), equal) in at.iter().zip(rows).zip(equal) {
            let row = row as usize;
            let (mine, theirs) = (self.view(at), views[row]);
            let same = match length(mine) <= INLINE {
                true => mine == theirs,
                // Length and first bytes, then all.
                false => mine as u64 == theirs as u64 && self.chunks[chunk_of(at)].bytes(mine) == values.value(row),
            };
            *equal &= same && self.is_valid(at) && nulls.is_none_or(|nulls| nulls.is_valid(row));
        }
        Ok(())
    }

    fn same(&self, a: Position, b: Position) -> bool {
        let (left, right) = (self.view(a), self.view(b));
        let same = match length(left) <= INLINE {
            true => left == right,
            false => {
                left as u64 == right as u64
                    && self.chunks[chunk_of(a)].bytes(left) == self.chunks[chunk_of(b)].bytes(right)
            }
        };
        same && self.is_valid(a) && self.is_valid(b)
    }

    fn share(&self, chunk: usize, rows: usize) -> Result<ArrayRef> {
        let chunk = &self.chunks[chunk];
        let nulls = chunk.valid.0.as_ref().map(|bits| NullBuffer::new(bits.buffer(rows)));
        let mut heap = chunk.parts.clone();
        if !chunk.last.is_empty() {
            heap.push(chunk.last.share(chunk.last.len()).into_inner());
        }
        self.array(chunk.views.share(rows), heap, nulls)
    }

    fn erase(&mut self, at: &[Position]) -> Result<()> {
        for (index, run) in runs(at) {
            // A value that is in its view need not be written over.
            let long = at[run].iter().filter(|at| length(self.view(**at)) > INLINE);
            let long: Vec<usize> = long.map(|at| offset_of(*at)).collect();
            if long.is_empty() {
                continue;
            }
            let chunk = self.chunk(index);
            for offset in long {
                chunk.forget(offset);
                chunk.views.open()[offset] = 0;
            }
            chunk.tidy()?;
        }
        Ok(())
    }

    fn release(&mut self, chunk: usize) {
        if let Some(chunk) = self.chunks.get_mut(chunk) {
            *chunk = Chunk::default();
        }
    }

    fn settle(&mut self) {
        for index in self.open.drain(..) {
            self.chunks[index].views.freeze();
            self.chunks[index].last.freeze();
        }
    }

    fn width(&self) -> usize {
        size_of::<u128>()
    }

    fn extra(&self, at: Position) -> usize {
        extra(self.view(at))
    }

    fn extra_of(&self, values: &ArrayRef) -> Vec<usize> {
        self.of(values).views().iter().map(|view| extra(*view)).collect()
    }
}

/// The bytes of a value that are not in its view.
fn extra(view: u128) -> usize {
    match length(view) {
        0..=INLINE => 0,
        length => length as usize,
    }
}
