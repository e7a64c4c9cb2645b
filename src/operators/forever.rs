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

/// The values of groups so far, whatever their windows. *State.* A value for each group and aggregate; groups stay. *Cost.*
/// O(1) a row that it takes.
pub struct Forever {
    /// Which of the plan's aggregates they are.
    columns: Vec<usize>,
    /// Which columns of what it takes tell groups apart.
    keys: Vec<usize>,
    groups: GroupTable,
    aggregates: Built,
    ids: Vec<GroupId>,
}

impl Forever {
    /// Over windows that close, for [`Forever::merge_windows`]; `None` if none of the plan's aggregates needs it.
    pub fn of_windows(plan: &AggregatePlan) -> Result<Option<Self>> {
        let columns = lasting(plan);
        let keys = (0..plan.keys.len()).filter(|&key| plan.window_keys.contains(&plan.keys[key]));
        let keys: Vec<usize> = keys.collect();
        let types = keys.iter().map(|&key| plan.key_types()[key].clone()).collect();
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
        let of_values = of_values.collect();
        Self::new(plan, columns, keys, types, of_values)
    }

    /// Over events one by one, for [`Forever::merge_events`]; `None` if none of the plan's aggregates needs it.
    pub fn of_events(plan: &AggregatePlan) -> Result<Option<Self>> {
        let columns = lasting(plan);
        let keys = plan.window_keys.clone();
        let types = keys.iter().map(|&key| plan.input.field(key).data_type().clone());
        let types = types.collect();
        let aggregates = columns.iter().map(|&column| plan.aggregates[column].clone());
        let aggregates = aggregates.collect();
        Self::new(plan, columns, keys, types, aggregates)
    }

    fn new(
        plan: &AggregatePlan,
        columns: Vec<usize>,
        keys: Vec<usize>,
        types: Vec<DataType>,
        aggregates: Vec<AggregateColumn>,
    ) -> Result<Option<Self>> {
        if columns.is_empty() {
            return Ok(None);
        }
        Ok(Some(Forever {
            groups: GroupTable::new(&types)?,
            aggregates: Built::of(aggregates, plan.retraction)?,
            keys,
            columns,
            ids: Vec::new(),
        }))
    }

    /// Takes the values of groups, a row for each of a window, and gives in their place those of all windows so far.
    pub fn merge_windows(&mut self, keys: &[ArrayRef], values: &mut [ArrayRef]) -> Result<()> {
        let rows = self.columns.first().map_or(0, |&column| values[column].len());
        let keys: Vec<ArrayRef> = self.keys.iter().map(|&key| keys[key].clone()).collect();
        self.groups.assign(&keys, rows, &mut self.ids)?;
        let of_window: Vec<ArrayRef> = self.columns.iter().map(|&column| values[column].clone()).collect();
        let so_far = self.aggregates.running_columns(&self.ids, &of_window)?;
        self.replace(values, so_far);
        Ok(())
    }

    /// Takes events, and gives their running values in the place of those of their windows.
    pub fn merge_events(&mut self, events: &EventBatch, values: &mut [ArrayRef]) -> Result<()> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|&key| events.column(key).clone()).collect();
        self.groups.assign(&keys, events.num_rows(), &mut self.ids)?;
        let so_far = self.aggregates.running(&self.ids, None, events)?;
        self.replace(values, so_far);
        Ok(())
    }

    fn replace(&self, values: &mut [ArrayRef], so_far: Vec<ArrayRef>) {
        for (&column, value) in self.columns.iter().zip(so_far) {
            values[column] = value;
        }
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
