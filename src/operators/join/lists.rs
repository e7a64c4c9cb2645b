//! [`Lists`]: the rows of each key, in the order they came.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::UInt32Type;

use crate::error::{Error, Result};
use crate::operators::aggregates::GroupId;
use crate::operators::state::{StateReader, StateWriter};
use crate::windows::row_store::{NO_ROW, RowId};

/// In no list.
const NO_LIST: GroupId = GroupId::MAX;

/// Doubly linked lists of rows, by number of key and of row: two arrays, nothing to allocate for a key.
///
/// A row is in one list at most. *Cost.* O(1) to append and to take out any row. *State.* 12 bytes a row, 8 a key.
#[derive(Default, Clone)]
pub struct Lists {
    ends: Vec<Ends>,
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Ends {
    first: RowId,
    last: RowId,
}

#[derive(Clone, Copy)]
struct Link {
    former: RowId,
    next: RowId,
    list: GroupId,
}

const EMPTY: Ends = Ends {
    first: NO_ROW,
    last: NO_ROW,
};

const UNLINKED: Link = Link {
    former: NO_ROW,
    next: NO_ROW,
    list: NO_LIST,
};

impl Lists {
    /// Appends a row that is in no list.
    pub fn push(&mut self, list: GroupId, row: RowId) {
        if self.ends.len() <= list as usize {
            self.ends.resize(list as usize + 1, EMPTY);
        }
        if self.links.len() <= row as usize {
            self.links.resize(row as usize + 1, UNLINKED);
        }
        let ends = &mut self.ends[list as usize];
        let former = std::mem::replace(&mut ends.last, row);
        match self.links.get_mut(former as usize) {
            Some(link) => link.next = row,
            None => ends.first = row,
        }
        self.links[row as usize] = Link {
            former,
            next: NO_ROW,
            list,
        };
    }

    /// Takes a row out of its list; the list it was in.
    pub fn remove(&mut self, row: RowId) -> Option<GroupId> {
        let link = self.links.get_mut(row as usize).filter(|link| link.list != NO_LIST)?;
        let Link { former, next, list } = std::mem::replace(link, UNLINKED);
        let ends = &mut self.ends[list as usize];
        match self.links.get_mut(former as usize) {
            Some(link) => link.next = next,
            None => ends.first = next,
        }
        match self.links.get_mut(next as usize) {
            Some(link) => link.former = former,
            None => ends.last = former,
        }
        Some(list)
    }

    /// The row of a list that came first.
    pub fn first(&self, list: GroupId) -> Option<RowId> {
        let first = self.ends.get(list as usize)?.first;
        (first != NO_ROW).then_some(first)
    }

    /// Whether a list has no rows.
    pub fn is_empty(&self, list: GroupId) -> bool {
        self.first(list).is_none()
    }

    /// The row of the same list that came next.
    pub fn after(&self, row: RowId) -> Option<RowId> {
        let next = self.links.get(row as usize)?.next;
        (next != NO_ROW).then_some(next)
    }

    /// The rows of a list, oldest first.
    pub fn rows(&self, list: GroupId) -> impl Iterator<Item = RowId> {
        std::iter::successors(self.first(list), |row| self.after(*row))
    }

    /// Writes the lists. Only copied for now; gone through when the bytes are made.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let copy = self.clone();
        state.unwritten(move |state| copy.write(state))
    }

    fn write(&self, state: &mut StateWriter) -> Result<()> {
        let all = 0..self.ends.len() as GroupId;
        let pairs = all.flat_map(|list| self.rows(list).map(move |row| (list, row)));
        let (lists, rows): (Vec<GroupId>, Vec<RowId>) = pairs.unzip();
        write_pairs(lists, rows, state)
    }

    /// Reads back what [`Lists::snapshot`] wrote.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        *self = Lists::default();
        for (list, row) in read_pairs(state)? {
            self.push(list, row);
        }
        Ok(())
    }
}

/// Writes two columns of numbers.
pub fn write_pairs(first: Vec<u32>, second: Vec<u32>, state: &mut StateWriter) -> Result<()> {
    let column = |numbers: Vec<u32>| Arc::new(UInt32Array::from(numbers)) as ArrayRef;
    let columns = [("a", column(first)), ("b", column(second))];
    state.columns(&RecordBatch::try_from_iter(columns)?)
}

/// Reads what [`write_pairs`] wrote.
pub fn read_pairs(state: &mut StateReader) -> Result<Vec<(u32, u32)>> {
    let columns = state.columns()?;
    let numbers = |index: usize| columns.columns().get(index)?.as_primitive_opt::<UInt32Type>();
    let (Some(first), Some(second)) = (numbers(0), numbers(1)) else {
        return Err(Error::failed("the snapshot is damaged: rows without keys"));
    };
    let pairs = first.values().iter().zip(second.values());
    Ok(pairs.map(|(first, second)| (*first, *second)).collect())
}
