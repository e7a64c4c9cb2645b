//! `minForever` and `maxForever` over batch windows: what they remember from one window to the next.
//!
//! The least of all values so far is the least of each window's least. So a window is aggregated by itself, as ever, and its
//! values go through a memory by group. A running row is one event later than the last: its memory takes the events themselves.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};

use super::aggregate_plan::{AggregateColumn, AggregatePlan, Built};
use super::aggregates::{AggregateSpec, GroupId};
use super::group_table::GroupTable;
use super::state::{StateReader, StateWriter};
use crate::error::Result;
use crate::event::EventBatch;

/// The values of groups over all windows that have closed. *State.* A value for each group and aggregate; groups stay. *Cost.*
/// O(1) a group of a window.
pub struct Forever {
    /// Which of the plan's aggregates they are.
    columns: Vec<usize>,
    /// Which of the plan's keys tell groups apart.
    keys: Vec<usize>,
    groups: GroupTable,
    aggregates: Built,
    ids: Vec<GroupId>,
}

impl Forever {
    /// For the aggregates of a plan that need it; `None` without any.
    pub fn new(plan: &AggregatePlan) -> Result<Option<Self>> {
        let columns = lasting(plan);
        if columns.is_empty() {
            return Ok(None);
        }
        let keys = (0..plan.keys.len()).filter(|&key| plan.window_keys.contains(&plan.keys[key]));
        let keys: Vec<usize> = keys.collect();
        let types: Vec<DataType> = keys.iter().map(|&key| plan.key_types()[key].clone()).collect();
        // The argument of each is the value of a window.
        let of_values = columns.iter().enumerate().map(|(index, &column)| {
            let column = &plan.aggregates[column];
            let argument = Field::new("", column.spec.return_type.clone(), true);
            AggregateColumn {
                text: column.text.clone(),
                name: column.name.clone(),
                spec: AggregateSpec {
                    arguments: vec![Arc::new(argument)],
                    constants: vec![None],
                    distinct: false,
                    order_by: Vec::new(),
                    ..column.spec.clone()
                },
                arguments: vec![index],
                filter: None,
            }
        });
        Ok(Some(Forever {
            keys,
            groups: GroupTable::new(&types)?,
            aggregates: Built::of(of_values.collect(), plan.retraction)?,
            columns,
            ids: Vec::new(),
        }))
    }

    /// Takes the values of groups, a row for each of a window, and gives in their place those of all windows so far.
    pub fn merge(&mut self, keys: &[ArrayRef], values: &mut [ArrayRef]) -> Result<()> {
        let rows = self.columns.first().map_or(0, |&column| values[column].len());
        let keys: Vec<ArrayRef> = self.keys.iter().map(|&key| keys[key].clone()).collect();
        self.groups.assign(&keys, rows, &mut self.ids)?;
        let of_window: Vec<ArrayRef> = self.columns.iter().map(|&column| values[column].clone()).collect();
        let so_far = self.aggregates.running_columns(&self.ids, &of_window)?;
        for (&column, value) in self.columns.iter().zip(so_far) {
            values[column] = value;
        }
        Ok(())
    }

    /// Writes what is remembered.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        self.aggregates.snapshot(state)
    }

    /// Reads it back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        self.aggregates.restore(state)
    }
}

/// The values of groups after each event, whatever its window. *State.*, *Cost.* As those of [`Forever`], for each event.
pub struct RunningForever {
    columns: Vec<usize>,
    /// The columns of the input that tell groups apart.
    keys: Vec<usize>,
    groups: GroupTable,
    aggregates: Built,
    ids: Vec<GroupId>,
}

impl RunningForever {
    /// For the aggregates of a plan that need it; `None` without any.
    pub fn new(plan: &AggregatePlan) -> Result<Option<Self>> {
        let columns = lasting(plan);
        if columns.is_empty() {
            return Ok(None);
        }
        let keys = plan.window_keys.clone();
        let types = keys.iter().map(|&key| plan.input.field(key).data_type().clone());
        let aggregates = columns.iter().map(|&column| plan.aggregates[column].clone());
        Ok(Some(RunningForever {
            groups: GroupTable::new(&types.collect::<Vec<DataType>>())?,
            aggregates: Built::of(aggregates.collect(), plan.retraction)?,
            keys,
            columns,
            ids: Vec::new(),
        }))
    }

    /// Takes events, and gives their running values in the place of those of their windows.
    pub fn merge(&mut self, events: &EventBatch, values: &mut [ArrayRef]) -> Result<()> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|&key| events.column(key).clone()).collect();
        self.groups.assign(&keys, events.num_rows(), &mut self.ids)?;
        let running = self.aggregates.running(&self.ids, None, events)?;
        for (&column, value) in self.columns.iter().zip(running) {
            values[column] = value;
        }
        Ok(())
    }

    /// Writes what is remembered.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        self.aggregates.snapshot(state)
    }

    /// Reads it back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        self.aggregates.restore(state)
    }
}

/// The aggregates that outlive windows.
fn lasting(plan: &AggregatePlan) -> Vec<usize> {
    let all = plan.aggregates.iter().enumerate();
    let lasting = all.filter(|(_, column)| column.spec.outlives_windows());
    lasting.map(|(index, _)| index).collect()
}
