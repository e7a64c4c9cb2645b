//! Aggregation for `EMIT CHANGES` over a batch window: running rows while the window is open, and its rows when it closes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::DataType;

use super::aggregate_plan::{AggregatePlan, Built};
use super::aggregates::GroupId;
use super::batch_aggregate::BatchAggregate;
use super::forever::Forever;
use super::group_table::GroupTable;
use super::state::{StateReader, StateWriter};
use super::{Operator, Output, Port};
use crate::error::Result;
use crate::event::EventBatch;
use crate::windows::announce::Mark;

/// Gives, for each event that arrives in an open window, the values of its group in that window after it; then the emission's
/// rows, as [`BatchAggregate`] does.
///
/// *Semantics.* An event that is in several windows gives a row for each. Rows that leave do so with the emission; running rows
/// are what enters. A session that becomes part of another takes its events there, which gives nothing by itself.
///
/// *Ops.* Takes the marked rows of a batch window (see [`crate::windows::announce`]); gives inserts and, with the emission,
/// deletes. *State.* The accumulators of the open windows' groups; the window holds the events. *Cost.* O(1) a row and
/// aggregate, twice.
pub struct ChangesAggregate {
    plan: AggregatePlan,
    /// Of a window's number and the keys.
    groups: GroupTable,
    aggregates: Built,
    emissions: BatchAggregate,
    forever: Option<Forever>,
    ids: Vec<GroupId>,
}

impl ChangesAggregate {
    /// Without any window yet.
    pub fn new(plan: AggregatePlan) -> Result<Self> {
        let keys = plan.window_keys.iter();
        let keys = keys.map(|&key| plan.input.field(key).data_type().clone());
        let types: Vec<DataType> = std::iter::once(DataType::Int64).chain(keys).collect();
        Ok(ChangesAggregate {
            groups: GroupTable::new(&types)?,
            aggregates: Built::new(&plan)?,
            emissions: BatchAggregate::new(plan.clone())?,
            forever: Forever::of_events(&plan)?,
            ids: Vec::new(),
            plan,
        })
    }

    fn assign(&mut self, batch: &EventBatch, windows: Int64Array) -> Result<()> {
        let mut keys: Vec<ArrayRef> = vec![Arc::new(windows)];
        keys.extend(self.plan.window_keys.iter().map(|&key| batch.column(key).clone()));
        self.groups.assign(&keys, batch.num_rows(), &mut self.ids)
    }

    fn arrived(&mut self, batch: &EventBatch, out: &mut Output) -> Result<()> {
        let mut columns: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        let mut values = self.aggregates.running(&self.ids, None, batch)?;
        if let Some(forever) = &mut self.forever {
            forever.merge_events(batch, &mut values)?;
        }
        columns.extend(values);
        let columns = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        let rows = self.aggregates.checked(batch.with_columns(columns), out)?;
        out.emit(rows);
        Ok(())
    }

    /// Forgets the groups of the rows: all of their windows, for each gave a row when it arrived, and all of them come here.
    fn forget(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        self.aggregates.clear(&self.ids);
        self.groups.forget(&self.ids);
    }
}

impl Operator for ChangesAggregate {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let (mark, windows) = Mark::read(&batch);
        if self.plan.current {
            match mark {
                Mark::Arrived => {
                    self.assign(&batch, windows)?;
                    return self.arrived(&batch, out);
                }
                Mark::Moved => {
                    self.assign(&batch, windows)?;
                    return self.aggregates.update(&self.ids, None, &batch);
                }
                Mark::Closes | Mark::Gone => {
                    self.assign(&batch, windows)?;
                    self.forget();
                }
                Mark::Given => {}
            }
        }
        match mark {
            Mark::Closes | Mark::Given => self.emissions.process(port, batch, out),
            _ => Ok(()),
        }
    }

    fn next_watermark(&self) -> Option<crate::event::Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        self.aggregates.snapshot(state)?;
        self.emissions.snapshot(state)?;
        self.forever.as_ref().map_or(Ok(()), |forever| forever.snapshot(state))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        self.aggregates.restore(state)?;
        self.emissions.restore(state)?;
        self.forever.as_mut().map_or(Ok(()), |forever| forever.restore(state))
    }
}
