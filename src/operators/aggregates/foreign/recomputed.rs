//! The rows of each group, from which its value is computed anew.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StructArray};
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use super::super::changes::{group_count, weights};
use super::super::extreme::{Counted, count, load_counted, save_counted};
use super::super::kinds::{Argument, Encoded, Kind};
use super::super::{Aggregate, Changes, GroupId, same_kind};
use super::Maker;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// The rows of all groups.
pub(super) struct Recomputed {
    maker: Maker,
    /// A row is the struct of its arguments.
    rows: Encoded,
    groups: Vec<Counted<Box<[u8]>>>,
    /// By group: its value, unless it has changed since.
    values: Vec<Option<ScalarValue>>,
}

impl Recomputed {
    /// No groups.
    pub fn new(maker: Maker) -> Result<Self, String> {
        let rows = Encoded::new(DataType::Struct(maker.schema.fields().clone()))?;
        Ok(Recomputed {
            maker,
            rows,
            groups: Vec::new(),
            values: Vec::new(),
        })
    }

    fn grow(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, Counted::default);
            self.values.resize(groups, None);
        }
    }

    /// The encoded rows of a batch.
    fn encoded(&self, changes: &Changes) -> Result<<Encoded as Argument>::Column> {
        let columns = self.maker.columns(changes.arguments, changes.rows())?;
        let rows = StructArray::try_new(self.maker.schema.fields().clone(), columns, None)?;
        Ok(self.rows.open(&[Arc::new(rows)])?.0)
    }

    fn change(&mut self, group: GroupId, row: &[u8], weight: i8) {
        count::<Encoded>(&mut self.groups[group as usize], row, weight.into());
        self.values[group as usize] = None;
    }

    fn value(&mut self, group: GroupId) -> Result<ScalarValue> {
        if let Some(Some(value)) = self.values.get(group as usize) {
            return Ok(value.clone());
        }
        let mut accumulator = self.maker.accumulator()?;
        if let Some(rows) = self.groups.get(group as usize) {
            let mut column = self.rows.builder(rows.len());
            for (row, times) in rows {
                (0..*times).for_each(|_| Encoded::push(&mut column, Some(row)));
            }
            let rows = self.rows.finish(column)?;
            accumulator.update_batch(rows.as_struct().columns())?;
        }
        let value = accumulator.evaluate()?;
        if let Some(known) = self.values.get_mut(group as usize) {
            *known = Some(value.clone());
        }
        Ok(value)
    }
}

impl Aggregate for Recomputed {
    fn data_type(&self) -> &DataType {
        self.maker.data_type()
    }

    fn update(&mut self, changes: &Changes) -> Result<()> {
        self.grow(changes.group_count());
        let weights = weights(changes, None);
        let rows = self.encoded(changes)?;
        for (row, &group) in changes.groups.iter().enumerate() {
            let weight = weights.as_ref().map_or(1, |weights| weights[row]);
            if weight != 0 {
                self.change(group, Encoded::get(&rows, row), weight);
            }
        }
        Ok(())
    }

    fn running(&mut self, changes: &Changes) -> Result<ArrayRef> {
        self.grow(changes.group_count());
        let weights = weights(changes, None);
        let rows = self.encoded(changes)?;
        let mut values = Vec::with_capacity(changes.rows());
        for (row, &group) in changes.groups.iter().enumerate() {
            let weight = weights.as_ref().map_or(1, |weights| weights[row]);
            if weight != 0 {
                self.change(group, Encoded::get(&rows, row), weight);
            }
            values.push(self.value(group)?);
        }
        self.maker.column(values)
    }

    fn values(&mut self, groups: &[GroupId]) -> Result<ArrayRef> {
        let values = groups.iter().map(|&group| self.value(group));
        let values = values.collect::<Result<Vec<_>>>()?;
        self.maker.column(values)
    }

    fn merge(&mut self, other: &dyn Aggregate, from: &[GroupId], into: &[GroupId]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        self.grow(group_count(into));
        for (&from, &into) in from.iter().zip(into) {
            for (row, times) in other.groups.get(from as usize).into_iter().flatten() {
                count::<Encoded>(&mut self.groups[into as usize], row, *times);
            }
            self.values[into as usize] = None;
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[GroupId]) {
        for &group in groups {
            if let Some(rows) = self.groups.get_mut(group as usize) {
                *rows = Counted::default();
                self.values[group as usize] = None;
            }
        }
    }

    fn fresh(&self) -> Box<dyn Aggregate> {
        Box::new(Recomputed {
            maker: self.maker.clone(),
            rows: self.rows.clone(),
            groups: Vec::new(),
            values: Vec::new(),
        })
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        save_counted(&self.rows, &self.groups, state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups = load_counted(&self.rows, state)?;
        self.values = vec![None; self.groups.len()];
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
