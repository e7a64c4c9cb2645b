//! [`Waiting`]: rows of one side of an interval join that the other side may still meet.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Int64Type, UInt32Type};

use super::keys::NO_KEY;
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros};
use crate::operators::aggregates::GroupId;
use crate::operators::state::{StateReader, StateWriter};
use crate::windows::row_store::{NO_ROW, RowId, RowStore};

/// An emptied queue keeps its memory for the next key, unless it was longer than this.
const SHORT: usize = 64;

/// Rows by key and time, and all in the order of time, in which they are dropped.
///
/// *Cost.* O(1) to add a row that is not earlier than the others and to drop the earliest; O(log n) to find the first of a span.
pub struct Waiting {
    rows: RowStore,
    by_key: Vec<VecDeque<(Micros, RowId)>>,
    by_time: VecDeque<Entry>,
    /// By row: whether it has met another. `None` when nobody asks.
    marks: Option<Vec<bool>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    time: Micros,
    row: RowId,
    key: GroupId,
}

/// Whether it is to be known which rows have met another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Nobody asks.
    No,
    /// Those that have not go out in the end.
    Yes,
}

/// Rows that wait no longer; still in the store until [`Waiting::forget`].
#[derive(Default)]
pub struct Gone {
    rows: Vec<(RowId, GroupId)>,
    /// Time and number of those that have met nothing, if anybody asks.
    pub lonely: Vec<(Micros, RowId)>,
}

impl Gone {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Their keys.
    pub fn keys(&self) -> impl Iterator<Item = GroupId> {
        self.rows.iter().map(|(_, key)| *key)
    }
}

impl Waiting {
    /// No rows.
    pub fn new(marked: Marked) -> Self {
        Waiting {
            rows: RowStore::default(),
            by_key: Vec::new(),
            by_time: VecDeque::new(),
            marks: (marked == Marked::Yes).then(Vec::new),
        }
    }

    /// The rows.
    pub fn rows(&self) -> &RowStore {
        &self.rows
    }

    /// Whether there is a row of a key.
    pub fn has(&self, key: GroupId) -> bool {
        self.by_key.get(key as usize).is_some_and(|queue| !queue.is_empty())
    }

    /// The earliest time.
    pub fn oldest(&self) -> Option<Micros> {
        self.by_time.front().map(|entry| entry.time)
    }

    /// Adds the rows that have a key; the number of each, [`NO_ROW`] for the others.
    pub fn push(&mut self, batch: &EventBatch, keys: &[GroupId]) -> Result<Vec<RowId>> {
        let ids = self.rows.push_where(batch.clone(), |row| keys[row] != NO_KEY)?;
        for (at, (&row, &key)) in ids.iter().zip(keys).enumerate() {
            if row != NO_ROW {
                let time = batch.time(at);
                self.enter(Entry { time, row, key });
            }
        }
        self.rows.settle()?;
        Ok(ids)
    }

    fn enter(&mut self, entry: Entry) {
        let Entry { time, row, key } = entry;
        if self.by_key.len() <= key as usize {
            self.by_key.resize_with(key as usize + 1, VecDeque::new);
        }
        insert(&mut self.by_key[key as usize], (time, row), |(time, _)| *time);
        insert(&mut self.by_time, entry, |entry| entry.time);
        if let Some(marks) = &mut self.marks {
            if marks.len() <= row as usize {
                marks.resize(row as usize + 1, false);
            }
            marks[row as usize] = false;
        }
    }

    /// The rows of a key whose time is `from ..= to`, earliest first.
    pub fn within(&self, key: GroupId, from: Micros, to: Micros) -> impl ExactSizeIterator<Item = RowId> {
        let queue = self.by_key.get(key as usize);
        let start = queue.map_or(0, |queue| queue.partition_point(|(time, _)| *time < from));
        let end = queue.map_or(0, |queue| queue.partition_point(|(time, _)| *time <= to));
        (start..end.max(start)).map(move |at| queue.map_or(NO_ROW, |queue| queue[at].1))
    }

    /// A row has met another.
    pub fn mark(&mut self, row: RowId) {
        if let Some(mark) = self.marks.as_mut().and_then(|marks| marks.get_mut(row as usize)) {
            *mark = true;
        }
    }

    /// Takes out the earliest rows as long as their times are `over`.
    pub fn take_while(&mut self, over: impl Fn(Micros) -> bool) -> Gone {
        let mut gone = Gone::default();
        while let Some(&Entry { time, row, key }) = self.by_time.front().filter(|entry| over(entry.time)) {
            self.by_time.pop_front();
            if let Some(queue) = self.by_key.get_mut(key as usize) {
                let first = queue.pop_front();
                debug_assert_eq!(first, Some((time, row)));
                if queue.is_empty() && queue.capacity() > SHORT {
                    *queue = VecDeque::new();
                }
            }
            gone.rows.push((row, key));
            let marked = self.marks.as_ref().and_then(|marks| marks.get(row as usize));
            if marked == Some(&false) {
                gone.lonely.push((time, row));
            }
        }
        gone
    }

    /// Forgets rows that wait no longer.
    pub fn forget(&mut self, gone: &Gone) -> Result<()> {
        gone.rows.iter().for_each(|(row, _)| self.rows.remove(*row));
        self.rows.settle()
    }

    /// Writes the rows, their keys and times, and which have met another.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.rows.snapshot(state)?;
        let (by_time, marks) = (self.by_time.clone(), self.marks.clone());
        state.unwritten(move |state| write_entries(&by_time, marks.as_deref(), state))
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.rows.restore(state)?;
        let saved = state.columns()?;
        let [times, rows, keys, marks] = saved.columns() else {
            return Err(damaged());
        };
        let times = times.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?;
        let rows = rows.as_primitive_opt::<UInt32Type>().ok_or_else(damaged)?;
        let keys = keys.as_primitive_opt::<UInt32Type>().ok_or_else(damaged)?;
        let marks = marks.as_boolean_opt().ok_or_else(damaged)?;
        for at in 0..saved.num_rows() {
            let (time, row, key) = (times.value(at), rows.value(at), keys.value(at));
            self.enter(Entry { time, row, key });
            if marks.value(at) {
                self.mark(row);
            }
        }
        Ok(())
    }
}

fn write_entries(by_time: &VecDeque<Entry>, marks: Option<&[bool]>, state: &mut StateWriter) -> Result<()> {
    let entries = || by_time.iter();
    let marked = |entry: &Entry| marks.is_some_and(|marks| marks[entry.row as usize]);
    let times = Int64Array::from_iter_values(entries().map(|entry| entry.time));
    let rows = UInt32Array::from_iter_values(entries().map(|entry| entry.row));
    let keys = UInt32Array::from_iter_values(entries().map(|entry| entry.key));
    let marks = BooleanArray::from_iter(entries().map(|entry| Some(marked(entry))));
    let columns: [(&str, ArrayRef); 4] = [
        ("time", Arc::new(times)),
        ("row", Arc::new(rows)),
        ("key", Arc::new(keys)),
        ("marked", Arc::new(marks)),
    ];
    state.columns(&RecordBatch::try_from_iter(columns)?)
}

fn damaged() -> Error {
    Error::failed("the snapshot is damaged: rows without times")
}

/// Inserts by time, behind those of the same time; nearly always at the end.
fn insert<T>(queue: &mut VecDeque<T>, value: T, time: impl Fn(&T) -> Micros) {
    match queue.back().is_none_or(|last| time(last) <= time(&value)) {
        true => queue.push_back(value),
        false => {
            let at = queue.partition_point(|other| time(other) <= time(&value));
            queue.insert(at, value);
        }
    }
}
