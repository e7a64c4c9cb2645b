//! [`Grouped`]: an array of states by group, and the loops over batches, for any [`Kernel`].

use std::any::Any;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::changes::{AllAdd, Weights, group_count, weights};
use super::kinds::Argument;
use super::{Aggregate, Changes, Failure, GroupId, same_kind};
use crate::error::Result;
use crate::operators::gradual::Gradual;
use crate::operators::state::{StateReader, StateWriter};

/// The value of a group does not fit the aggregate's type.
pub(super) struct Overflow;

/// The value of one row as a kernel sees it.
pub(super) type Value<'a, K> = <<K as Kernel>::Argument as Argument>::Value<'a>;

/// What an aggregate keeps of one group, and what a row does to it.
pub(super) trait Kernel: Clone + Send + Sync + 'static {
    /// How the argument is read.
    type Argument: Argument;
    /// What is kept of a group; its default is the empty group.
    type State: Clone + Default + Send + Sync + 'static;
    /// A column of results under construction.
    type Output;

    /// How the argument is read.
    fn argument(&self) -> &Self::Argument;

    /// The type of the results.
    fn data_type(&self) -> &DataType;

    /// Takes a row in.
    fn add(&self, state: &mut Self::State, value: Value<'_, Self>);

    /// Takes a row back.
    fn retract(&self, state: &mut Self::State, value: Value<'_, Self>);

    /// Does what the weight says.
    #[inline(always)]
    fn change(&self, state: &mut Self::State, value: Value<'_, Self>, weight: i8) {
        match weight {
            1.. => self.add(state, value),
            0 => {}
            ..0 => self.retract(state, value),
        }
    }

    /// Takes the first `rows` rows of a column in.
    fn add_all(&self, state: &mut Self::State, column: &<Self::Argument as Argument>::Column, rows: usize) {
        for row in 0..rows {
            self.add(state, Self::Argument::get(column, row));
        }
    }

    /// An empty column of results for this many rows.
    fn output(&self, rows: usize) -> Self::Output;

    /// Appends a group's value, or NULL.
    fn emit(&self, state: &Self::State, output: &mut Self::Output) -> Result<(), Overflow>;

    /// The finished column.
    fn finish(&self, output: Self::Output) -> Result<ArrayRef>;

    /// Adds a group's later rows.
    fn merge(&self, from: &Self::State, into: &mut Self::State);

    /// Writes the states of all groups.
    fn save(&self, states: &[Self::State], writer: &mut StateWriter) -> Result<()>;

    /// Reads back what [`Kernel::save`] wrote.
    fn load(&self, reader: &mut StateReader) -> Result<Vec<Self::State>>;
}

/// A kernel's states of all groups.
pub(super) struct Grouped<K: Kernel> {
    kernel: K,
    states: Gradual<K::State>,
    failures: Vec<Failure>,
}

impl<K: Kernel> Grouped<K> {
    /// No groups.
    pub fn new(kernel: K) -> Self {
        Grouped {
            kernel,
            states: Gradual::default(),
            failures: Vec::new(),
        }
    }

    fn grow(&mut self, groups: usize) {
        self.states.grow(groups, K::State::default);
    }

    fn take(&mut self, groups: &[GroupId], column: &<K::Argument as Argument>::Column, weights: &impl Weights) {
        let states = self.states.write(groups);
        for (row, &group) in groups.iter().enumerate() {
            let value = K::Argument::get(column, row);
            self.kernel.change(&mut states[group as usize], value, weights.get(row));
        }
    }

    fn run(
        &mut self,
        groups: &[GroupId],
        column: &<K::Argument as Argument>::Column,
        weights: &impl Weights,
    ) -> Result<ArrayRef> {
        let mut output = self.kernel.output(groups.len());
        let states = self.states.write(groups);
        for (row, &group) in groups.iter().enumerate() {
            let state = &mut states[group as usize];
            let weight = weights.get(row);
            if weight != 0 {
                let value = K::Argument::get(column, row);
                self.kernel.change(state, value, weight);
            }
            if let Err(Overflow) = self.kernel.emit(state, &mut output) {
                self.failures.push(failure(row, self.kernel.data_type()));
            }
        }
        self.kernel.finish(output)
    }
}

impl<K: Kernel> Aggregate for Grouped<K> {
    fn data_type(&self) -> &DataType {
        self.kernel.data_type()
    }

    fn update(&mut self, changes: &Changes) -> Result<()> {
        let (column, nulls) = self.kernel.argument().open(changes.arguments)?;
        self.grow(changes.group_count());
        match weights(changes, nulls.as_ref()) {
            None => match one_group(changes.groups) {
                Some(group) => {
                    if let Some(state) = self.states.write_one(group as usize) {
                        self.kernel.add_all(state, &column, changes.rows());
                    }
                }
                None => self.take(changes.groups, &column, &AllAdd),
            },
            Some(weights) => self.take(changes.groups, &column, &weights),
        }
        Ok(())
    }

    fn running(&mut self, changes: &Changes) -> Result<ArrayRef> {
        self.failures.clear();
        let (column, nulls) = self.kernel.argument().open(changes.arguments)?;
        self.grow(changes.group_count());
        match weights(changes, nulls.as_ref()) {
            None => self.run(changes.groups, &column, &AllAdd),
            Some(weights) => self.run(changes.groups, &column, &weights),
        }
    }

    fn values(&mut self, groups: &[GroupId]) -> Result<ArrayRef> {
        self.failures.clear();
        let empty = K::State::default();
        let mut output = self.kernel.output(groups.len());
        for (row, &group) in groups.iter().enumerate() {
            let state = self.states.read().get(group as usize).unwrap_or(&empty);
            if let Err(Overflow) = self.kernel.emit(state, &mut output) {
                self.failures.push(failure(row, self.kernel.data_type()));
            }
        }
        self.kernel.finish(output)
    }

    fn failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    fn merge(&mut self, other: &dyn Aggregate, from: &[GroupId], into: &[GroupId]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        self.grow(group_count(into));
        let states = self.states.write(into);
        for (&from, &into) in from.iter().zip(into) {
            if let Some(state) = other.states.read().get(from as usize) {
                self.kernel.merge(state, &mut states[into as usize]);
            }
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[GroupId]) {
        for &group in groups {
            if let Some(state) = self.states.write_one(group as usize) {
                *state = K::State::default();
            }
        }
    }

    fn fresh(&self) -> Box<dyn Aggregate> {
        Box::new(Grouped::new(self.kernel.clone()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.states
            .snapshot(state, |piece, state| self.kernel.save(piece, state))
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.states.begin_snapshot(state)
    }

    fn continue_snapshot(&mut self, bytes: usize) -> usize {
        let kernel = &self.kernel;
        self.states.continue_snapshot(bytes, || {
            let kernel = kernel.clone();
            move |piece: &[K::State], state: &mut StateWriter| kernel.save(piece, state)
        })
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.states = Gradual::restored(state, |state| self.kernel.load(state))?;
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The group that all rows are of.
fn one_group(groups: &[GroupId]) -> Option<GroupId> {
    let first = *groups.first()?;
    groups.iter().all(|group| *group == first).then_some(first)
}

#[cold]
fn failure(row: usize, data_type: &DataType) -> Failure {
    let name = crate::catalog::types::name(data_type);
    Failure {
        row,
        message: format!("the value of the aggregate does not fit into {name}"),
    }
}
