//! `min` and `max`, three ways by what retractions come:
//!
//! - [`Best`], none: the best value so far. O(1) a row, one value a group. Also `minForever`/`maxForever`, which
//!   ignore retractions.
//! - [`Deque`], first in, first out: a value is dropped when a better one comes after it, because it leaves before that one
//!   and can never be the best again. What is left is ordered, its front the best. Amortised O(1) a row; at most the rows of
//!   the window, for random values about the logarithm of their number.
//! - [`Multiset`], any: all values in order, with their number. O(log n) a row, one entry for each different value.
//!
//! NaN is greater than everything, as in PostgreSQL.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::grouped::{Kernel, Overflow};
use super::kinds::Kind;
use super::saved;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// Which end of the order is asked for.
pub(super) trait End: Clone + Send + Sync + 'static {
    /// Whether `a` is nearer to the end than `b`.
    fn beats<T: PartialOrd + ?Sized>(a: &T, b: &T) -> bool;
    /// The first or last key.
    fn of<K: Ord, V>(map: &BTreeMap<K, V>) -> Option<&K>;
}

/// The least.
#[derive(Clone)]
pub(super) struct Least;

/// The greatest.
#[derive(Clone)]
pub(super) struct Greatest;

impl End for Least {
    #[inline(always)]
    fn beats<T: PartialOrd + ?Sized>(a: &T, b: &T) -> bool {
        a < b
    }
    fn of<K: Ord, V>(map: &BTreeMap<K, V>) -> Option<&K> {
        map.first_key_value().map(|(key, _)| key)
    }
}

impl End for Greatest {
    #[inline(always)]
    fn beats<T: PartialOrd + ?Sized>(a: &T, b: &T) -> bool {
        a > b
    }
    fn of<K: Ord, V>(map: &BTreeMap<K, V>) -> Option<&K> {
        map.last_key_value().map(|(key, _)| key)
    }
}

/// The best value of rows that are never taken back.
#[derive(Clone)]
pub(super) struct Best<K, E> {
    kind: K,
    end: PhantomData<E>,
}

impl<K, E> Best<K, E> {
    /// Of values of this kind.
    pub fn new(kind: K) -> Self {
        Best { kind, end: PhantomData }
    }
}

impl<K: Kind, E: End> Kernel for Best<K, E> {
    type Argument = K;
    type State = Option<K::Held>;
    type Output = K::Builder;

    fn argument(&self) -> &K {
        &self.kind
    }

    fn data_type(&self) -> &DataType {
        self.kind.data_type()
    }

    #[inline(always)]
    fn add(&self, best: &mut Option<K::Held>, value: K::Value<'_>) {
        let value: &K::Key = value.borrow();
        match best {
            None => *best = Some(K::hold(value)),
            Some(held) if E::beats(value, Borrow::<K::Key>::borrow(held)) => K::hold_in(held, value),
            Some(_) => {}
        }
    }

    /// A best value cannot be taken back.
    fn retract(&self, _best: &mut Option<K::Held>, _value: K::Value<'_>) {}

    fn output(&self, rows: usize) -> K::Builder {
        self.kind.builder(rows)
    }

    #[inline(always)]
    fn emit(&self, best: &Option<K::Held>, output: &mut K::Builder) -> Result<(), Overflow> {
        K::push(output, best.as_ref().map(Borrow::borrow));
        Ok(())
    }

    fn finish(&self, output: K::Builder) -> Result<ArrayRef> {
        self.kind.finish(output)
    }

    fn merge(&self, from: &Option<K::Held>, into: &mut Option<K::Held>) {
        match (from, &into) {
            (None, _) => {}
            (Some(from), Some(held)) if !E::beats(from, held) => {}
            (Some(from), _) => *into = Some(from.clone()),
        }
    }

    fn save(&self, states: &[Option<K::Held>], writer: &mut StateWriter) -> Result<()> {
        let held = (0..)
            .zip(states)
            .filter_map(|(group, best)| Some((group, best.as_ref()?)));
        let entries = held.map(|(group, best)| (group, Some(best.borrow()), 1));
        saved::write_entries(&self.kind, states.len(), entries, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<Option<K::Held>>> {
        let saved = saved::read_entries(&self.kind, reader)?;
        let mut states = vec![None; saved.groups];
        for (group, value, _) in saved.entries {
            states[group as usize] = value;
        }
        Ok(states)
    }
}

/// The values that may still become the best of rows taken back in the order in which they came.
#[derive(Clone)]
pub(super) struct Deque<K, E> {
    kind: K,
    end: PhantomData<E>,
}

impl<K, E> Deque<K, E> {
    /// Of values of this kind.
    pub fn new(kind: K) -> Self {
        Deque { kind, end: PhantomData }
    }
}

/// Appends a value and drops those that it makes hopeless.
#[inline(always)]
fn append<K: Kind, E: End>(candidates: &mut VecDeque<K::Held>, value: &K::Key) {
    while let Some(last) = candidates.back()
        && E::beats(value, last.borrow())
    {
        candidates.pop_back();
    }
    candidates.push_back(K::hold(value));
}

impl<K: Kind, E: End> Kernel for Deque<K, E> {
    type Argument = K;
    type State = VecDeque<K::Held>;
    type Output = K::Builder;

    fn argument(&self) -> &K {
        &self.kind
    }

    fn data_type(&self) -> &DataType {
        self.kind.data_type()
    }

    #[inline(always)]
    fn add(&self, candidates: &mut VecDeque<K::Held>, value: K::Value<'_>) {
        append::<K, E>(candidates, value.borrow());
    }

    /// The oldest row leaves. If it is still a candidate it is the front one; if it is not, then a better one is.
    #[inline(always)]
    fn retract(&self, candidates: &mut VecDeque<K::Held>, value: K::Value<'_>) {
        let value: &K::Key = value.borrow();
        if candidates
            .front()
            .is_some_and(|front| Borrow::<K::Key>::borrow(front) == value)
        {
            candidates.pop_front();
        }
    }

    fn output(&self, rows: usize) -> K::Builder {
        self.kind.builder(rows)
    }

    #[inline(always)]
    fn emit(&self, candidates: &VecDeque<K::Held>, output: &mut K::Builder) -> Result<(), Overflow> {
        K::push(output, candidates.front().map(Borrow::borrow));
        Ok(())
    }

    fn finish(&self, output: K::Builder) -> Result<ArrayRef> {
        self.kind.finish(output)
    }

    fn merge(&self, from: &VecDeque<K::Held>, into: &mut VecDeque<K::Held>) {
        for value in from {
            append::<K, E>(into, value.borrow());
        }
    }

    fn save(&self, states: &[VecDeque<K::Held>], writer: &mut StateWriter) -> Result<()> {
        let groups = (0..).zip(states);
        let entries = groups.flat_map(|(group, held)| held.iter().map(move |value| (group, Some(value.borrow()), 1)));
        saved::write_entries(&self.kind, states.len(), entries, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<VecDeque<K::Held>>> {
        let saved = saved::read_entries(&self.kind, reader)?;
        let mut states = vec![VecDeque::new(); saved.groups];
        for (group, value, _) in saved.entries {
            states[group as usize].extend(value);
        }
        Ok(states)
    }
}

/// All values in order, each with its number.
#[derive(Clone)]
pub(super) struct Multiset<K, E> {
    kind: K,
    end: PhantomData<E>,
}

impl<K, E> Multiset<K, E> {
    /// Of values of this kind.
    pub fn new(kind: K) -> Self {
        Multiset { kind, end: PhantomData }
    }
}

/// Values in order, each with its number, which is not 0.
pub(super) type Counted<H> = BTreeMap<H, i64>;

/// Changes the number of a value.
pub(super) fn count<K: Kind>(values: &mut Counted<K::Held>, value: &K::Key, by: i64) {
    match values.get_mut(value) {
        Some(count) => {
            *count += by;
            if *count == 0 {
                values.remove(value);
            }
        }
        None => {
            values.insert(K::hold(value), by);
        }
    }
}

/// Writes the values of groups.
pub(super) fn save_counted<K: Kind>(kind: &K, states: &[Counted<K::Held>], writer: &mut StateWriter) -> Result<()> {
    let groups = (0..).zip(states);
    let entries = groups.flat_map(|(group, held)| {
        let values = held.iter();
        values.map(move |(value, count)| (group, Some(value.borrow()), *count))
    });
    saved::write_entries(kind, states.len(), entries, writer)
}

/// Reads what [`save_counted`] wrote.
pub(super) fn load_counted<K: Kind>(kind: &K, reader: &mut StateReader) -> Result<Vec<Counted<K::Held>>> {
    let saved = saved::read_entries(kind, reader)?;
    let mut states = vec![BTreeMap::new(); saved.groups];
    for (group, value, count) in saved.entries {
        states[group as usize].extend(value.map(|value| (value, count)));
    }
    Ok(states)
}

impl<K: Kind, E: End> Kernel for Multiset<K, E> {
    type Argument = K;
    type State = Counted<K::Held>;
    type Output = K::Builder;

    fn argument(&self) -> &K {
        &self.kind
    }

    fn data_type(&self) -> &DataType {
        self.kind.data_type()
    }

    fn add(&self, values: &mut Counted<K::Held>, value: K::Value<'_>) {
        count::<K>(values, value.borrow(), 1);
    }

    fn retract(&self, values: &mut Counted<K::Held>, value: K::Value<'_>) {
        count::<K>(values, value.borrow(), -1);
    }

    fn output(&self, rows: usize) -> K::Builder {
        self.kind.builder(rows)
    }

    fn emit(&self, values: &Counted<K::Held>, output: &mut K::Builder) -> Result<(), Overflow> {
        K::push(output, E::of(values).map(Borrow::borrow));
        Ok(())
    }

    fn finish(&self, output: K::Builder) -> Result<ArrayRef> {
        self.kind.finish(output)
    }

    fn merge(&self, from: &Counted<K::Held>, into: &mut Counted<K::Held>) {
        for (value, times) in from {
            count::<K>(into, value.borrow(), *times);
        }
    }

    fn save(&self, states: &[Counted<K::Held>], writer: &mut StateWriter) -> Result<()> {
        save_counted(&self.kind, states, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<Counted<K::Held>>> {
        load_counted(&self.kind, reader)
    }
}
