//! Aggregation of a batch window's emissions: a row for each group when the window closes.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};

use super::aggregate_plan::{AggregatePlan, Built};
use super::aggregates::GroupId;
use super::forever::Forever;
use super::group_table::GroupTable;
use super::running_aggregate::adds;
use super::state::{StateReader, StateWriter};
use super::{Operator, Output, Port};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};

/// Groups each batch, which is one emission of a batch window, and gives a row for each group, in the order in which the
/// groups first appear.
///
/// *Semantics.* The rows that enter are aggregated from nothing. Of the rows that leave, the former emission's, a group gives
/// one row if the plan asks for what expires: of ALL EVENTS only the groups that the new emission lacks, and before its rows.
/// Nothing is left in such a group: its aggregates are NULL, a count is 0.
///
/// *Ops.* Takes inserts and deletes; gives the same. *State.* None between batches, but for `minForever` and its like. *Cost.* O(1) a row and aggregate.
pub struct BatchAggregate {
    plan: AggregatePlan,
    aggregates: Built,
    forever: Option<Forever>,
}

impl BatchAggregate {
    /// For any number of emissions.
    pub fn new(plan: AggregatePlan) -> Result<Self> {
        Ok(BatchAggregate {
            aggregates: Built::new(&plan)?,
            forever: Forever::of_windows(&plan)?,
            plan,
        })
    }

    fn keys(&self, batch: &EventBatch) -> Vec<ArrayRef> {
        self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect()
    }

    /// The groups of some rows in order of appearance, and their values.
    fn aggregate(&mut self, rows: &EventBatch, groups: &mut GroupTable) -> Result<Grouped> {
        let mut ids = Vec::new();
        groups.assign(&self.keys(rows), rows.num_rows(), &mut ids)?;
        self.aggregates = self.aggregates.fresh();
        self.aggregates.update(&ids, None, rows)?;
        Ok(Grouped {
            groups: in_order(&ids),
            time: latest(rows),
        })
    }

    fn remember(&mut self, keys: &[ArrayRef], values: &mut [ArrayRef]) -> Result<()> {
        match &mut self.forever {
            Some(forever) => forever.merge_windows(keys, values),
            None => Ok(()),
        }
    }

    fn row_batch(&self, mut columns: Vec<ArrayRef>, values: Vec<ArrayRef>, time: Micros, op: Op) -> Result<EventBatch> {
        columns.extend(values);
        let columns = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        let ops = vec![op; columns.num_rows()];
        Ok(EventBatch::changes(columns, Times::Same(time), ops.into()))
    }

    /// The rows of groups that leave.
    fn leaving(
        &mut self,
        rows: &EventBatch,
        groups: &mut GroupTable,
        entered: &[GroupId],
    ) -> Result<Option<EventBatch>> {
        let mut ids = Vec::new();
        groups.assign(&self.keys(rows), rows.num_rows(), &mut ids)?;
        let mut gone = in_order(&ids);
        if self.plan.current {
            gone.retain(|id| !entered.contains(id));
        }
        if gone.is_empty() {
            return Ok(None);
        }
        // Added and retracted: what is left is nothing, but the current value is the last one's.
        let mut aggregates = self.aggregates.fresh();
        aggregates.update(&ids, None, rows)?;
        aggregates.update(&ids, Some(&vec![Op::Delete; ids.len()]), rows)?;
        let mut values = aggregates.values(&gone)?;
        let keys = groups.keys(&gone)?;
        self.remember(&keys, &mut values)?;
        self.row_batch(keys, values, latest(rows), Op::Delete).map(Some)
    }
}

struct Grouped {
    groups: Vec<GroupId>,
    time: Micros,
}

/// Each id once, in order of first appearance.
fn in_order(ids: &[GroupId]) -> Vec<GroupId> {
    let mut seen = vec![false; ids.iter().max().map_or(0, |max| *max as usize + 1)];
    let mut order = Vec::new();
    for &id in ids {
        if !std::mem::replace(&mut seen[id as usize], true) {
            order.push(id);
        }
    }
    order
}

fn latest(rows: &EventBatch) -> Micros {
    match rows.times() {
        Times::Same(time) => *time,
        Times::Each(times) => times.iter().copied().max().unwrap_or(Micros::MIN),
    }
}

impl Operator for BatchAggregate {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let (entering, leaving) = split(&batch)?;
        let mut groups = GroupTable::new(&self.plan.key_types())?;
        let entered = match entering.is_empty() {
            true => None,
            false => Some(self.aggregate(&entering, &mut groups)?),
        };
        let mut parts = Vec::new();
        if self.plan.expired && !leaving.is_empty() {
            let entered = entered.as_ref().map_or(&[][..], |entered| &entered.groups);
            parts.extend(self.leaving(&leaving, &mut groups, entered)?);
        }
        if let Some(entered) = entered {
            let mut values = self.aggregates.values(&entered.groups)?;
            let keys = groups.keys(&entered.groups)?;
            self.remember(&keys, &mut values)?;
            let rows = self.row_batch(keys, values, entered.time, Op::Insert)?;
            let rows = self.aggregates.checked(rows, out)?;
            if self.plan.current {
                parts.push(rows);
            }
        }
        if let Some(emission) = joined(&parts)? {
            out.emit(emission);
        }
        Ok(())
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.forever.as_ref().map_or(Ok(()), |forever| forever.snapshot(state))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.forever.as_mut().map_or(Ok(()), |forever| forever.restore(state))
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }
}

/// The rows that enter and those that leave.
fn split(batch: &EventBatch) -> Result<(EventBatch, EventBatch)> {
    let Some(ops) = batch.ops() else {
        return Ok((batch.clone(), batch.slice(0, 0)));
    };
    let enters: BooleanArray = ops.iter().map(|op| Some(adds(*op))).collect();
    let leaves: BooleanArray = ops.iter().map(|op| Some(!adds(*op))).collect();
    Ok((batch.filter(&enters)?, batch.filter(&leaves)?))
}

/// One batch of several, since a batch is an emission.
pub fn joined(parts: &[EventBatch]) -> Result<Option<EventBatch>> {
    let Some(first) = parts.first() else {
        return Ok(None);
    };
    EventBatch::concat(&first.schema(), parts).map(Some)
}
