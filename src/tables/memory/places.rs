//! [`Places`]: which positions hold a row, in which order the rows came, and what is known of each.
//!
//! A position is a chunk and an offset in it. Positions are given again, the holes of a chunk first, so a table that deletes
//! as much as it inserts does not grow; the order of rows is kept as a number beside each. A chunk in which nothing lives gives
//! its memory back.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bits::Bits;
use crate::error::{Error, Result};
use crate::event::Micros;

/// Where a row stands: chunk and offset.
pub(super) type Position = u32;

/// Rows of a chunk: what a scan hands out at once, and at most copies of a chunk that a scan shares.
pub(super) const CHUNK: usize = 1 << SHIFT;
const SHIFT: u32 = 12;

/// The least rows that a chunk has room for.
const LEAST: usize = 16;

/// So that no position is [`Position::MAX`].
const MAX_CHUNKS: usize = (1 << (32 - SHIFT)) - 1;

/// The chunk of a position.
#[inline]
pub(super) fn chunk_of(at: Position) -> usize {
    (at >> SHIFT) as usize
}

/// The offset of a position in its chunk.
#[inline]
pub(super) fn offset_of(at: Position) -> usize {
    at as usize & (CHUNK - 1)
}

/// Positions cut into runs of one chunk each.
pub(super) fn runs(at: &[Position]) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let chunk = chunk_of(*at.get(start)?);
        let length = at[start..].iter().take_while(|at| chunk_of(**at) == chunk).count();
        let run = start..start + length;
        start = run.end;
        Some((chunk, run))
    })
}

/// Makes an array of a chunk long enough for an offset: doubling, so that small tables stay small.
pub(super) fn reach<T>(cells: &mut Vec<T>, offset: usize, fill: impl FnMut() -> T) {
    if offset >= cells.len() {
        let rows = (offset + 1).next_power_of_two().max(LEAST);
        cells.reserve_exact(rows - cells.len());
        cells.resize_with(rows, fill);
    }
}

/// What is kept of each row beside its place and order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// How much it is used: see [`Places::rank`].
    pub ranks: bool,
    /// When it was last written.
    pub written: bool,
}

/// What is known of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub order: u64,
    pub rank: Option<u64>,
    pub written: Option<Micros>,
}

/// Positions and what is known of their rows. *Cost.* 8 bytes and a bit a row, and 8 more for each of [`Marks`].
#[derive(Debug, Default)]
pub(super) struct Places {
    chunks: Vec<Chunk>,
    /// Chunks with room, each once.
    room: Vec<u32>,
    marks: Marks,
    len: usize,
    next: u64,
}

#[derive(Debug, Default)]
struct Chunk {
    live: Bits,
    count: usize,
    /// Whether it is in [`Places::room`].
    listed: bool,
    /// Below it nothing is free.
    full_to: usize,
    orders: Vec<u64>,
    ranks: Vec<AtomicU64>,
    written: Vec<Micros>,
}

impl Places {
    /// None yet.
    pub fn new(marks: Marks) -> Self {
        Places {
            marks,
            ..Places::default()
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number that the next row gets.
    pub fn next_order(&self) -> u64 {
        self.next
    }

    /// Makes the next row get at least this number.
    pub fn skip_to(&mut self, order: u64) {
        self.next = self.next.max(order);
    }

    /// Finds places for new rows, which come after all others.
    pub fn give(&mut self, rows: usize) -> Result<Vec<Position>> {
        let first = self.next;
        let orders = first..first + rows as u64;
        self.next = orders.end;
        self.give_ordered(orders)
    }

    /// Finds places for rows of that order.
    pub fn give_ordered(&mut self, orders: impl Iterator<Item = u64>) -> Result<Vec<Position>> {
        let mut given = Vec::with_capacity(orders.size_hint().0);
        for order in orders {
            let index = self.with_room()?;
            let marks = self.marks;
            let chunk = &mut self.chunks[index];
            let Some(offset) = chunk.live.first_clear(chunk.full_to) else {
                return Err(Error::failed("a chunk of a table is full and listed as having room"));
            };
            chunk.live.set(offset);
            chunk.full_to = offset + 1;
            chunk.count += 1;
            if chunk.count == CHUNK {
                chunk.listed = false;
                self.room.pop();
            }
            reach(&mut chunk.orders, offset, || 0);
            chunk.orders[offset] = order;
            if marks.ranks {
                reach(&mut chunk.ranks, offset, AtomicU64::default);
                chunk.ranks[offset].store(0, Ordering::Relaxed);
            }
            if marks.written {
                reach(&mut chunk.written, offset, || 0);
            }
            given.push(((index << SHIFT) | offset) as Position);
        }
        self.len += given.len();
        Ok(given)
    }

    fn with_room(&mut self) -> Result<usize> {
        if let Some(&index) = self.room.last() {
            return Ok(index as usize);
        }
        let index = self.chunks.len();
        if index >= MAX_CHUNKS {
            return Err(Error::failed("a table in memory holds at most 4294963200 rows"));
        }
        self.chunks.push(Chunk {
            listed: true,
            ..Chunk::default()
        });
        self.room.push(index as u32);
        Ok(index)
    }

    /// Takes a place back; whether nothing is left in its chunk, whose memory may go.
    pub fn take_back(&mut self, at: Position) -> bool {
        let index = chunk_of(at);
        let chunk = &mut self.chunks[index];
        let offset = offset_of(at);
        if !chunk.live.get(offset) {
            return false;
        }
        chunk.live.clear(offset);
        chunk.count -= 1;
        chunk.full_to = chunk.full_to.min(offset);
        self.len -= 1;
        if !chunk.listed {
            chunk.listed = true;
            self.room.push(index as u32);
        }
        if chunk.count == 0 {
            (chunk.orders, chunk.ranks, chunk.written) = Default::default();
            chunk.full_to = 0;
        }
        chunk.count == 0
    }

    /// Whether a row stands there.
    #[inline]
    pub fn is_live(&self, at: Position) -> bool {
        self.chunks
            .get(chunk_of(at))
            .is_some_and(|chunk| chunk.live.get(offset_of(at)))
    }

    /// The order of a row among all rows ever.
    #[inline]
    pub fn order(&self, at: Position) -> u64 {
        self.chunks[chunk_of(at)].orders[offset_of(at)]
    }

    /// How much a row is used: what that is, the policy knows. Readers may write it.
    #[inline]
    pub fn rank(&self, at: Position) -> &AtomicU64 {
        &self.chunks[chunk_of(at)].ranks[offset_of(at)]
    }

    /// When a row was last written.
    #[inline]
    pub fn written(&self, at: Position) -> Micros {
        self.chunks[chunk_of(at)].written[offset_of(at)]
    }

    /// Notes when a row was written.
    pub fn set_written(&mut self, at: Position, now: Micros) {
        self.chunks[chunk_of(at)].written[offset_of(at)] = now;
    }

    /// All that is known of a row.
    pub fn mark(&self, at: Position) -> Mark {
        let (chunk, offset) = (&self.chunks[chunk_of(at)], offset_of(at));
        Mark {
            order: chunk.orders[offset],
            rank: chunk.ranks.get(offset).map(|rank| rank.load(Ordering::Relaxed)),
            written: chunk.written.get(offset).copied(),
        }
    }

    /// Sets what [`Places::mark`] gave; the order is given with the place.
    pub fn set_mark(&mut self, at: Position, mark: Mark) {
        let (chunk, offset) = (&mut self.chunks[chunk_of(at)], offset_of(at));
        if let (Some(to), Some(rank)) = (chunk.ranks.get(offset), mark.rank) {
            to.store(rank, Ordering::Relaxed);
        }
        if let (Some(to), Some(written)) = (chunk.written.get_mut(offset), mark.written) {
            *to = written;
        }
    }

    /// How many chunks there are, empty ones too.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// How many chunks hold rows.
    pub fn used_chunks(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.count > 0).count()
    }

    /// The chunk with the fewest rows, of those that have any.
    pub fn sparsest(&self) -> Option<usize> {
        let used = self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.count > 0);
        used.min_by_key(|(_, chunk)| chunk.count).map(|(index, _)| index)
    }

    /// Gives no places of a chunk until it is empty.
    pub fn close(&mut self, chunk: usize) {
        self.room.retain(|&index| index as usize != chunk);
        self.chunks[chunk].listed = true;
    }

    /// Gives places of a chunk that was closed again.
    pub fn reopen(&mut self, chunk: usize) {
        self.room.push(chunk as u32);
    }

    /// The bits of a chunk's rows, and the length up to the last.
    pub fn live(&self, chunk: usize) -> (&Bits, usize) {
        let live = &self.chunks[chunk].live;
        (live, live.length())
    }

    /// The rows of a chunk.
    pub fn positions(&self, chunk: usize) -> Vec<Position> {
        let base = chunk << SHIFT;
        let live = self.chunks[chunk].live.ones();
        live.map(|offset| (base | offset) as Position).collect()
    }

    /// The rows of all chunks, in no order.
    pub fn all(&self) -> Vec<Position> {
        let mut all = Vec::with_capacity(self.len);
        for chunk in 0..self.chunks.len() {
            all.append(&mut self.positions(chunk));
        }
        all
    }
}
