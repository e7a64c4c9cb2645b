//! `__current(x)`: the current event's value of a column that is neither grouped nor aggregated.
//!
//! In the running form that is the row's own value, also of a row that is retracted; in a batch the value of the group's
//! latest added row. Retractions change nothing. State: one value a group; a batch copies one value for each group in it.

use std::any::Any;
use std::borrow::Borrow;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;

use super::changes::{group_count, weights};
use super::kinds::Kind;
use super::{Aggregate, Changes, GroupId, same_kind, saved};
use crate::error::{Error, Result};
use crate::operators::state::{StateReader, StateWriter};

/// Latest values.
pub(super) struct Current<K: Kind> {
    kind: K,
    latest: Vec<Option<K::Held>>,
    /// Of the batch in hand, by group: its latest row, counted from 1; 0 for none.
    rows: Vec<u32>,
}

impl<K: Kind> Current<K> {
    /// No groups.
    pub fn new(kind: K) -> Self {
        Current {
            kind,
            latest: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn grow(&mut self, groups: usize) {
        if groups > self.latest.len() {
            self.latest.resize(groups, None);
            self.rows.resize(groups, 0);
        }
    }

    /// The groups that a batch adds to, and the latest added row of each.
    fn latest_rows(&mut self, changes: &Changes) -> (Vec<GroupId>, Vec<u32>) {
        let weights = weights(changes, None);
        let (mut groups, mut latest) = (Vec::new(), Vec::new());
        for (row, &group) in (1..).zip(changes.groups) {
            if weights.as_ref().is_none_or(|weights| weights[row as usize - 1] > 0) {
                let last = &mut self.rows[group as usize];
                if *last == 0 {
                    groups.push(group);
                }
                *last = row;
            }
        }
        for &group in &groups {
            latest.push(std::mem::take(&mut self.rows[group as usize]) - 1);
        }
        (groups, latest)
    }
}

impl<K: Kind> Aggregate for Current<K> {
    fn data_type(&self) -> &DataType {
        self.kind.data_type()
    }

    fn update(&mut self, changes: &Changes) -> Result<()> {
        let column = changes
            .arguments
            .first()
            .ok_or_else(|| Error::failed("an aggregate lacks its argument"))?;
        self.grow(changes.group_count());
        let (groups, rows) = self.latest_rows(changes);
        let values = take(column, &UInt32Array::from(rows), None)?;
        let nulls = values.logical_nulls();
        let (values, _) = self.kind.open(&[values])?;
        for (row, group) in groups.into_iter().enumerate() {
            let latest = &mut self.latest[group as usize];
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                *latest = None;
                continue;
            }
            let value = K::get(&values, row);
            match latest {
                Some(held) => K::hold_in(held, value.borrow()),
                None => *latest = Some(K::hold(value.borrow())),
            }
        }
        Ok(())
    }

    fn running(&mut self, changes: &Changes) -> Result<ArrayRef> {
        self.update(changes)?;
        let own = changes
            .arguments
            .first()
            .ok_or_else(|| Error::failed("an aggregate lacks its argument"))?;
        match own.data_type() == self.kind.data_type() {
            true => Ok(own.clone()),
            false => Ok(cast(own, self.kind.data_type())?),
        }
    }

    fn values(&mut self, groups: &[GroupId]) -> Result<ArrayRef> {
        let mut values = self.kind.builder(groups.len());
        for &group in groups {
            let latest = self.latest.get(group as usize).and_then(Option::as_ref);
            K::push(&mut values, latest.map(Borrow::borrow));
        }
        self.kind.finish(values)
    }

    fn merge(&mut self, other: &dyn Aggregate, from: &[GroupId], into: &[GroupId]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        self.grow(group_count(into));
        for (&from, &into) in from.iter().zip(into) {
            if let Some(latest) = other.latest.get(from as usize) {
                self.latest[into as usize] = latest.clone();
            }
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[GroupId]) {
        for &group in groups {
            if let Some(latest) = self.latest.get_mut(group as usize) {
                *latest = None;
            }
        }
    }

    fn fresh(&self) -> Box<dyn Aggregate> {
        Box::new(Current::new(self.kind.clone()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let held = (0..).zip(&self.latest);
        let entries = held.filter_map(|(group, latest)| Some((group, Some(latest.as_ref()?.borrow()), 1)));
        saved::write_entries(&self.kind, self.latest.len(), entries, state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let saved = saved::read_entries(&self.kind, state)?;
        *self = Current::new(self.kind.clone());
        self.grow(saved.groups);
        for (group, value, _) in saved.entries {
            self.latest[group as usize] = value;
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
