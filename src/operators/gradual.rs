//! [`Gradual`]: a large array that is copied bit by bit while it changes.
//!
//! A checkpoint wants the array as it was at one moment; copying it at that moment would hold up the pipeline for as long as the
//! array is large. So only the beginning is noted. Between two batches a few more items are copied, and a page that is about to
//! change before its turn has come is copied first (*copy before write*).

use std::collections::HashMap;

use super::aggregates::GroupId;

/// Items that are copied together when one of them is about to change. Small: a batch may touch as many pages as it has rows.
const PAGE: usize = 32;

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
}

/// A copy on its way.
#[derive(Debug)]
struct Copying<T> {
    /// How many items there were at the beginning.
    len: usize,
    /// All before this one are copied; the beginning of a page, or the end.
    next: usize,
    /// Pages after it that are copied because they were to change, by number.
    early: HashMap<usize, Box<[T]>>,
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Gradual<T> {
    fn default() -> Self {
        Gradual::of(Vec::new())
    }
}

impl<T> Gradual<T> {
    /// Of items.
    pub fn of(items: Vec<T>) -> Self {
        let copying = None;
        Gradual { items, copying }
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
            early: HashMap::new(),
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

impl<T: Clone> Copying<T> {
    /// An item is about to change.
    #[inline]
    fn keep(&mut self, items: &[T], place: usize) {
        let page = place / PAGE;
        if place < self.len && page * PAGE >= self.next {
            let end = self.len.min((page + 1) * PAGE);
            self.early.entry(page).or_insert_with(|| items[page * PAGE..end].into());
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
            let early = match self.early.is_empty() {
                true => None,
                false => self.early.remove(&(from / PAGE)),
            };
            if let Some(piece) = self.pieces.last_mut() {
                match early {
                    Some(page) => piece.extend(page),
                    None => piece.extend_from_slice(&items[from..self.next]),
                }
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
