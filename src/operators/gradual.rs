//! [`Gradual`]: a large array that is copied bit by bit while it changes.
//!
//! A checkpoint wants the array as it was at one moment; copying it at that moment would hold up the pipeline for as long as the
//! array is large. So only the beginning is noted. Between two batches a few more items are copied, and a page that is about to
//! change before its turn has come is copied first (*copy before write*).

use super::aggregates::GroupId;
use super::state::{Later, StatePart, StateReader, StateWriter};
use crate::error::Result;

/// Items that are copied together when one of them is about to change. Few: a batch may touch as many pages as it has rows.
const PAGE: usize = 8;

/// Pages of one block of those that are copied early.
const BLOCK: usize = 1 << 12;

/// A page that has not been copied early. Zero, which takes no memory until it is written to.
const NOT_YET: u32 = 0;

/// Items of one piece of the copy, which is written as one object.
pub const PIECE: usize = 1 << 18;

/// An array by group number.
///
/// *Cost.* Nothing while no copy is made but a test a batch. While one is: a look-up a row, and a copy of a page for the first
/// row that changes it.
#[derive(Debug)]
pub struct Gradual<T> {
    items: Vec<T>,
    copying: Option<Copying<T>>,
    /// Where the items go whose snapshot has begun.
    later: Option<Later>,
}

/// A copy on its way.
#[derive(Debug)]
struct Copying<T> {
    /// How many items there were at the beginning.
    len: usize,
    /// All before this one are copied; the beginning of a page, or the end.
    next: usize,
    /// Where in `early` pages after it are that were to change; by page.
    early_at: Vec<u32>,
    early: Early<T>,
    pieces: Vec<Vec<T>>,
}

/// Pages one after the other, in blocks: growing copies nothing.
#[derive(Debug)]
struct Early<T> {
    blocks: Vec<Vec<T>>,
    pages: u32,
}

impl<T: Clone> Early<T> {
    /// Takes a page; its number among these, from 1. The last page of an array may be shorter.
    fn add(&mut self, page: &[T]) -> u32 {
        let place = self.pages as usize % BLOCK;
        if place == 0 {
            self.blocks.push(Vec::with_capacity(BLOCK * PAGE));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.extend_from_slice(page);
            // Pages are found by their number: all take the same room.
            if let Some(last) = page.last() {
                block.resize((place + 1) * PAGE, last.clone());
            }
        }
        self.pages += 1;
        self.pages
    }

    fn page(&self, number: u32, len: usize) -> &[T] {
        let number = number as usize - 1;
        let from = number % BLOCK * PAGE;
        &self.blocks[number / BLOCK][from..from + len]
    }
}

impl<T> Default for Gradual<T> {
    fn default() -> Self {
        Gradual::of(Vec::new())
    }
}

impl<T> Gradual<T> {
    /// Of items.
    pub fn of(items: Vec<T>) -> Self {
        Gradual {
            items,
            copying: None,
            later: None,
        }
    }

    /// The items, to look at.
    pub fn read(&self) -> &[T] {
        &self.items
    }

    /// Whether a copy is being made.
    pub fn is_copying(&self) -> bool {
        self.copying.is_some()
    }
}

impl<T: Clone> Gradual<T> {
    /// All items; those at `places` may be changed, and no others.
    pub fn write(&mut self, places: &[GroupId]) -> &mut [T] {
        if let Some(copying) = &mut self.copying {
            places
                .iter()
                .for_each(|place| copying.keep(&self.items, *place as usize));
        }
        &mut self.items
    }

    /// The item at a place, to change, if there is one.
    pub fn write_one(&mut self, place: usize) -> Option<&mut T> {
        if let Some(copying) = &mut self.copying {
            copying.keep(&self.items, place);
        }
        self.items.get_mut(place)
    }

    /// Makes it at least so long.
    pub fn grow(&mut self, len: usize, fill: impl FnMut() -> T) {
        if len > self.items.len() {
            self.items.resize_with(len, fill);
        }
    }

    /// Begins a copy of what there is now. How many pieces it will have.
    pub fn begin_copy(&mut self) -> usize {
        let len = self.items.len();
        self.copying = Some(Copying {
            len,
            next: 0,
            early_at: vec![NOT_YET; len.div_ceil(PAGE)],
            early: Early {
                blocks: Vec::new(),
                pages: 0,
            },
            pieces: Vec::with_capacity(len.div_ceil(PIECE)),
        });
        len.div_ceil(PIECE)
    }

    /// Copies about so many bytes more; how many it were. Less than asked for: all is copied.
    pub fn copy(&mut self, bytes: usize) -> usize {
        match &mut self.copying {
            Some(copying) => copying.go_on(&self.items, bytes),
            None => 0,
        }
    }

    /// The copy, when all is copied; none is being made then.
    pub fn take_copy(&mut self) -> Option<Vec<Vec<T>>> {
        let is_whole = |copying: &Copying<T>| copying.next == copying.len;
        let copying = self.copying.take_if(|copying| is_whole(copying))?;
        Some(copying.pieces)
    }
}

/// As a part of an operator's state: the number of pieces, then each as `write` writes it.
impl<T: Clone + Send + Sync + 'static> Gradual<T> {
    /// Writes all items.
    pub fn snapshot(
        &self,
        state: &mut StateWriter,
        write: impl Fn(&[T], &mut StateWriter) -> Result<()>,
    ) -> Result<()> {
        state.value(&self.items.len().div_ceil(PIECE))?;
        self.items.chunks(PIECE).try_for_each(|piece| write(piece, state))
    }

    /// As [`Gradual::snapshot`], with the pieces left for [`Gradual::continue_snapshot`].
    pub fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        state.value(&self.begin_copy())?;
        self.later = Some(state.later());
        Ok(())
    }

    /// Copies about so many bytes more of what a snapshot has begun with; how many it were. Less than asked for: it is complete.
    pub fn continue_snapshot<W>(&mut self, bytes: usize, write: impl FnOnce() -> W) -> usize
    where
        W: Fn(&[T], &mut StateWriter) -> Result<()> + Clone + Send + Sync + 'static,
    {
        let copied = self.copy(bytes);
        if copied < bytes
            && let (Some(pieces), Some(later)) = (self.take_copy(), self.later.take())
        {
            let write = write();
            let unwritten = pieces.into_iter().map(|piece| {
                let write = write.clone();
                StatePart::unwritten(move |state| write(&piece, state))
            });
            later.give(unwritten.collect());
        }
        copied
    }

    /// Reads back what [`Gradual::snapshot`] wrote; `read` reads a piece.
    pub fn restored(state: &mut StateReader, mut read: impl FnMut(&mut StateReader) -> Result<Vec<T>>) -> Result<Self> {
        let pieces: usize = state.value()?;
        let mut items = Vec::new();
        for _ in 0..pieces {
            items.append(&mut read(state)?);
        }
        Ok(Gradual::of(items))
    }
}

impl<T: Clone> Copying<T> {
    /// An item is about to change.
    #[inline]
    fn keep(&mut self, items: &[T], place: usize) {
        let page = place / PAGE;
        if place < self.len && page * PAGE >= self.next && self.early_at[page] == NOT_YET {
            let end = self.len.min((page + 1) * PAGE);
            self.early_at[page] = self.early.add(&items[page * PAGE..end]);
        }
    }

    fn go_on(&mut self, items: &[T], bytes: usize) -> usize {
        let mut copied = 0;
        while copied < bytes && self.next < self.len {
            let from = self.next;
            self.next = self.len.min(from + PAGE);
            if from.is_multiple_of(PIECE) {
                self.pieces.push(Vec::with_capacity(PIECE.min(self.len - from)));
            }
            if let Some(piece) = self.pieces.last_mut() {
                piece.extend_from_slice(match self.early_at[from / PAGE] {
                    NOT_YET => &items[from..self.next],
                    early => self.early.page(early, self.next - from),
                });
            }
            copied += (self.next - from) * size_of::<T>().max(1);
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finished(array: &mut Gradual<u32>) -> Vec<u32> {
        while array.copy(1 << 20) > 0 {}
        array.take_copy().unwrap().concat()
    }

    #[test]
    fn pieces_are_of_one_length() {
        let mut array = Gradual::of((0..PIECE as u32 + 5).collect());
        assert_eq!(array.begin_copy(), 2);
        while array.copy(1 << 16) > 0 {}
        let pieces = array.take_copy().unwrap();
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [PIECE, 5]);
        assert_eq!(pieces.concat(), array.read());
        assert!(!array.is_copying());
    }

    #[test]
    fn a_copy_of_nothing_is_whole_at_once() {
        let mut array = Gradual::<u32>::default();
        assert_eq!(array.begin_copy(), 0);
        assert_eq!(array.copy(100), 0);
        assert!(array.take_copy().unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn the_copy_is_what_there_was_at_the_beginning(
            len in 0_u32..400,
            steps in prop::collection::vec((prop::collection::vec(0_u32..500, 0..20), 0_usize..400), 0..20),
        ) {
            let mut array = Gradual::of((0..len).collect());
            array.begin_copy();
            for (number, (places, bytes)) in steps.iter().enumerate() {
                array.grow(500, || 77);
                let items = array.write(places);
                places.iter().for_each(|place| items[*place as usize] = 1_000 + number as u32);
                if let Some(one) = places.first() {
                    *array.write_one(*one as usize).unwrap() += 5_000;
                }
                array.copy(*bytes);
            }
            prop_assert_eq!(finished(&mut array), (0..len).collect::<Vec<_>>());
        }
    }
}
