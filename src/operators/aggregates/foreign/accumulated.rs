//! One accumulator a group.

use std::any::Any;
use std::cell::RefCell;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;

use super::super::changes::{group_count, weights};
use super::super::{Aggregate, Changes, GroupId, same_kind, saved};
use super::Maker;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// The accumulators of all groups.
pub(super) struct Accumulated {
    maker: Maker,
    groups: Vec<Group>,
}

/// One group: its accumulator, and how many rows it has taken. An accumulator gives its state away when asked for it and
/// must then be made anew, which snapshots do behind a shared reference; hence the cell.
#[derive(Default)]
struct Group {
    accumulator: RefCell<Option<Box<dyn Accumulator>>>,
    rows: i64,
}

/// Rows of one group that stand together in a sorted batch and all add or all are taken back.
struct Run {
    group: GroupId,
    weight: i8,
    start: usize,
    length: usize,
}

impl Accumulated {
    /// No groups.
    pub fn new(maker: Maker) -> Self {
        Accumulated {
            maker,
            groups: Vec::new(),
        }
    }

    fn grow(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, Group::default);
        }
    }

    fn change(&mut self, group: GroupId, weight: i8, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let group = &mut self.groups[group as usize];
        let slot = group.accumulator.get_mut();
        let accumulator = match slot {
            Some(accumulator) => accumulator,
            None => slot.insert(self.maker.accumulator()?),
        };
        match weight > 0 {
            true => accumulator.update_batch(columns)?,
            false => accumulator.retract_batch(columns)?,
        }
        group.rows += i64::from(weight) * rows as i64;
        if group.rows == 0 {
            *slot = None;
        }
        Ok(())
    }

    fn value(&mut self, group: GroupId) -> Result<ScalarValue> {
        let held = self.groups.get_mut(group as usize);
        match held.and_then(|group| group.accumulator.get_mut().as_mut()) {
            Some(accumulator) => Ok(accumulator.evaluate()?),
            None => Ok(self.maker.accumulator()?.evaluate()?),
        }
    }

    /// The state of a group that has rows; the group is as before.
    fn state(&self, group: &Group) -> Result<Option<Vec<ScalarValue>>> {
        let mut slot = group.accumulator.borrow_mut();
        let Some(accumulator) = slot.as_mut() else {
            return Ok(None);
        };
        let state = accumulator.state()?;
        let mut anew = self.maker.accumulator()?;
        anew.merge_batch(&arrays(&state)?)?;
        *slot = Some(anew);
        Ok(Some(state))
    }

    fn merge_state(&mut self, group: GroupId, state: &[ArrayRef], rows: i64) -> Result<()> {
        let group = &mut self.groups[group as usize];
        let slot = group.accumulator.get_mut();
        let accumulator = match slot {
            Some(accumulator) => accumulator,
            None => slot.insert(self.maker.accumulator()?),
        };
        accumulator.merge_batch(state)?;
        group.rows += rows;
        Ok(())
    }
}

fn arrays(state: &[ScalarValue]) -> Result<Vec<ArrayRef>> {
    state.iter().map(|value| Ok(value.to_array()?)).collect()
}

/// The rows that do something, sorted by group, and their runs.
fn runs(changes: &Changes) -> (Vec<u32>, Vec<Run>) {
    let weights = weights(changes, None);
    let weight = |row: u32| weights.as_ref().map_or(1, |weights| weights[row as usize]);
    let rows = (0..).zip(changes.groups).map(|(row, _)| row);
    let mut rows: Vec<u32> = rows.filter(|row| weight(*row) != 0).collect();
    rows.sort_by_key(|row| changes.groups[*row as usize]);
    let mut runs: Vec<Run> = Vec::new();
    for (start, &row) in rows.iter().enumerate() {
        let (group, weight) = (changes.groups[row as usize], weight(row));
        match runs.last_mut() {
            Some(run) if (run.group, run.weight) == (group, weight) => run.length += 1,
            _ => runs.push(Run {
                group,
                weight,
                start,
                length: 1,
            }),
        }
    }
    (rows, runs)
}

impl Aggregate for Accumulated {
    fn data_type(&self) -> &DataType {
        self.maker.data_type()
    }

    fn update(&mut self, changes: &Changes) -> Result<()> {
        self.grow(changes.group_count());
        let (rows, runs) = runs(changes);
        let rows = UInt32Array::from(rows);
        let columns = self.maker.columns(changes.arguments, changes.rows())?;
        let sorted = columns.iter().map(|column| Ok(take(column, &rows, None)?));
        let sorted = sorted.collect::<Result<Vec<_>>>()?;
        for run in runs {
            let slices = sorted.iter().map(|column| column.slice(run.start, run.length));
            self.change(run.group, run.weight, &slices.collect::<Vec<_>>(), run.length)?;
        }
        Ok(())
    }

    fn running(&mut self, changes: &Changes) -> Result<ArrayRef> {
        self.grow(changes.group_count());
        let weights = weights(changes, None);
        let columns = self.maker.columns(changes.arguments, changes.rows())?;
        let mut values = Vec::with_capacity(changes.rows());
        for (row, &group) in changes.groups.iter().enumerate() {
            let weight = weights.as_ref().map_or(1, |weights| weights[row]);
            if weight != 0 {
                let row: Vec<ArrayRef> = columns.iter().map(|column| column.slice(row, 1)).collect();
                self.change(group, weight, &row, 1)?;
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
            let Some(from) = other.groups.get(from as usize) else {
                continue;
            };
            if let Some(state) = other.state(from)? {
                self.merge_state(into, &arrays(&state)?, from.rows)?;
            }
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[GroupId]) {
        for &group in groups {
            if let Some(group) = self.groups.get_mut(group as usize) {
                *group = Group::default();
            }
        }
    }

    fn fresh(&self) -> Box<dyn Aggregate> {
        Box::new(Accumulated::new(self.maker.clone()))
    }

    /// Group numbers, row counts, and a column for each part of the accumulators' states.
    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        let mut parts: Vec<Vec<ScalarValue>> = Vec::new();
        for (id, group) in (0..).zip(&self.groups) {
            if let Some(state) = self.state(group)? {
                ids.push(id);
                rows.push(group.rows);
                parts.resize_with(state.len(), Vec::new);
                for (part, value) in parts.iter_mut().zip(state) {
                    part.push(value);
                }
            }
        }
        state.value(&(ids, rows))?;
        let columns = parts.into_iter().enumerate();
        let columns = columns.map(|(i, part)| Ok((format!("c{i}"), ScalarValue::iter_to_array(part)?, true)));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        if !columns.is_empty() {
            state.columns(&RecordBatch::try_from_iter_with_nullable(columns)?)?;
        }
        Ok(())
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        *self = Accumulated::new(self.maker.clone());
        let (ids, rows): (Vec<GroupId>, Vec<i64>) = state.value()?;
        self.grow(group_count(&ids));
        if ids.is_empty() {
            return Ok(());
        }
        let states = state.columns()?;
        if states.num_rows() != ids.len() || rows.len() != ids.len() {
            return Err(saved::damaged());
        }
        for (at, (id, rows)) in ids.into_iter().zip(rows).enumerate() {
            let state: Vec<ArrayRef> = states.columns().iter().map(|column| column.slice(at, 1)).collect();
            self.merge_state(id, &state, rows)?;
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
