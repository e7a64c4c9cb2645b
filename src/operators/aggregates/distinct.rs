//! `f(DISTINCT x)` for any f, and `distinctCount(x)`.
//!
//! How often each value is there is counted; f sees a row when its value comes in the first time, and takes it back when
//! the last row of that value goes. State: one entry for each different value, beside f's; O(1) a row, beside f's.
//! NULLs are handled by f alone: as f ignores them or not, so does `f(DISTINCT …)`, each NULL counting as equal.

use std::any::Any;
use std::borrow::Borrow;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use hashbrown::HashMap;

use super::changes::{group_count, weights};
use super::kinds::Kind;
use super::{Aggregate, Changes, Failure, GroupId, same_kind, saved};
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// Shows an aggregate each value once.
pub(super) struct Distinct<K: Kind> {
    kind: K,
    /// How many arguments the aggregate has, and how many columns it is ordered by: all of them are the value or constant.
    columns: usize,
    seen: Vec<Seen<K::Held>>,
    inner: Box<dyn Aggregate>,
}

/// How often a group has each value.
struct Seen<H> {
    values: HashMap<H, i64>,
    nulls: i64,
}

impl<H> Default for Seen<H> {
    fn default() -> Self {
        Seen {
            values: HashMap::new(),
            nulls: 0,
        }
    }
}

impl<H> Seen<H> {
    /// Changes the number of a value; whether it came or went by that.
    fn change<K: Kind<Held = H>>(&mut self, value: Option<&K::Key>, by: i64) -> bool
    where
        H: Borrow<K::Key> + Eq + std::hash::Hash,
    {
        let Some(value) = value else {
            let before = self.nulls;
            self.nulls += by;
            return (before != 0) != (self.nulls != 0);
        };
        match self.values.get_mut(value) {
            None => {
                self.values.insert(K::hold(value), by);
                true
            }
            Some(count) if *count + by == 0 => {
                self.values.remove(value);
                true
            }
            Some(count) => {
                *count += by;
                false
            }
        }
    }
}

impl<K: Kind> Distinct<K> {
    /// Shows `inner` each value once. It must take any retraction if there are retractions, and has `columns` columns.
    pub fn new(kind: K, columns: usize, inner: Box<dyn Aggregate>) -> Self {
        Distinct {
            kind,
            columns,
            seen: Vec::new(),
            inner,
        }
    }

    fn grow(&mut self, groups: usize) {
        if groups > self.seen.len() {
            self.seen.resize_with(groups, Seen::default);
        }
    }

    /// The rows that the inner aggregate shall see.
    fn first_and_last(&mut self, changes: &Changes) -> Result<BooleanArray> {
        self.grow(changes.group_count());
        let nulls = changes.arguments.first().and_then(|column| column.logical_nulls());
        let (column, _) = self.kind.open(changes.arguments)?;
        let weights = weights(changes, None);
        let shown = BooleanBuffer::collect_bool(changes.rows(), |row| {
            let weight = weights.as_ref().map_or(1, |weights| weights[row]);
            if weight == 0 {
                return false;
            }
            let seen = &mut self.seen[changes.groups[row] as usize];
            match nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                true => seen.change::<K>(None, weight.into()),
                false => seen.change::<K>(Some(K::get(&column, row).borrow()), weight.into()),
            }
        });
        Ok(BooleanArray::new(shown, None))
    }

    /// The values of a group that another group does not have, in order.
    fn missing<'a>(&self, from: &'a Seen<K::Held>, into: GroupId) -> Vec<Option<&'a K::Held>> {
        let into = &self.seen[into as usize];
        let values = from.values.keys();
        let new = values.filter(|value| !into.values.contains_key(Borrow::<K::Key>::borrow(*value)));
        let mut new: Vec<Option<&K::Held>> = new.map(Some).collect();
        new.sort_unstable();
        if from.nulls != 0 && into.nulls == 0 {
            new.push(None);
        }
        new
    }
}

impl<K: Kind> Aggregate for Distinct<K> {
    fn data_type(&self) -> &DataType {
        self.inner.data_type()
    }

    fn update(&mut self, changes: &Changes) -> Result<()> {
        let shown = self.first_and_last(changes)?;
        self.inner.update(&Changes {
            filter: Some(&shown),
            ..*changes
        })
    }

    fn running(&mut self, changes: &Changes) -> Result<ArrayRef> {
        let shown = self.first_and_last(changes)?;
        self.inner.running(&Changes {
            filter: Some(&shown),
            ..*changes
        })
    }

    fn values(&mut self, groups: &[GroupId]) -> Result<ArrayRef> {
        self.inner.values(groups)
    }

    fn failures(&mut self) -> Vec<Failure> {
        self.inner.failures()
    }

    fn merge(&mut self, other: &dyn Aggregate, from: &[GroupId], into: &[GroupId]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        self.grow(group_count(into));
        let (mut values, mut groups) = (self.kind.builder(0), Vec::new());
        for (&from, &into) in from.iter().zip(into) {
            let Some(from) = other.seen.get(from as usize) else {
                continue;
            };
            for value in self.missing(from, into) {
                K::push(&mut values, value.map(Borrow::borrow));
                groups.push(into);
            }
            let seen = &mut self.seen[into as usize];
            seen.nulls += from.nulls;
            for (value, count) in &from.values {
                seen.change::<K>(Some(value.borrow()), *count);
            }
        }
        let values = self.kind.finish(values)?;
        self.inner.update(&Changes {
            groups: &groups,
            ops: None,
            arguments: &vec![values; self.columns],
            filter: None,
        })
    }

    fn clear(&mut self, groups: &[GroupId]) {
        for &group in groups {
            if let Some(seen) = self.seen.get_mut(group as usize) {
                *seen = Seen::default();
            }
        }
        self.inner.clear(groups);
    }

    fn fresh(&self) -> Box<dyn Aggregate> {
        Box::new(Distinct::new(self.kind.clone(), self.columns, self.inner.fresh()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let groups = (0..).zip(&self.seen);
        let entries = groups.flat_map(|(group, seen)| {
            let nulls = (seen.nulls != 0).then_some((group, None, seen.nulls));
            let values = seen.values.iter();
            let values = values.map(move |(value, count)| (group, Some(value.borrow()), *count));
            values.chain(nulls)
        });
        saved::write_entries(&self.kind, self.seen.len(), entries, state)?;
        self.inner.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let saved = saved::read_entries(&self.kind, state)?;
        self.seen.clear();
        self.grow(saved.groups);
        for (group, value, count) in saved.entries {
            let seen = &mut self.seen[group as usize];
            match value {
                None => seen.nulls = count,
                Some(value) => {
                    seen.values.insert(value, count);
                }
            }
        }
        self.inner.restore(state)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
