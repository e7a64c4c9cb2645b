//! Aggregation event by event: each gives its group's values after it.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};

use super::aggregate_plan::{AggregatePlan, Built};
use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::state::{StateReader, StateWriter};
use super::{Operator, Output, Port};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};

/// Groups a changelog and gives, for each of its rows, the group's values after it.
///
/// *Semantics.* `+I` adds, `-D` retracts. The output row of a `-D` has the values after the retraction; those of a group in
/// which nothing is left are NULL (a count is 0). It goes out only if the plan asks for what expires.
///
/// *Ops.* Takes inserts and deletes; gives the same. *State.* The groups' accumulators; with a window a group that becomes
/// empty is forgotten. *Cost.* O(1) a row and aggregate.
pub struct RunningAggregate {
    plan: AggregatePlan,
    groups: GroupTable,
    /// The rows in each group, by its id.
    sizes: Vec<u64>,
    aggregates: Built,
    ids: Vec<GroupId>,
}

impl RunningAggregate {
    /// Without any group yet.
    pub fn new(plan: AggregatePlan) -> Result<Self> {
        Ok(RunningAggregate {
            groups: GroupTable::new(&plan.key_types())?,
            sizes: Vec::new(),
            aggregates: Built::new(&plan)?,
            ids: Vec::new(),
            plan,
        })
    }

    /// Counts the rows of each group; gives those that have become empty.
    fn count(&mut self, ops: &[Op]) -> Vec<GroupId> {
        let mut emptied = Vec::new();
        for (&id, op) in self.ids.iter().zip(ops) {
            let index = id as usize;
            if self.sizes.len() <= index {
                self.sizes.resize(index + 1, 0);
            }
            match adds(*op) {
                true => self.sizes[index] += 1,
                false => {
                    self.sizes[index] = self.sizes[index].saturating_sub(1);
                    if self.sizes[index] == 0 {
                        emptied.push(id);
                    }
                }
            }
        }
        emptied.sort_unstable();
        emptied.dedup();
        emptied.retain(|&id| self.sizes[id as usize] == 0);
        emptied
    }
}

/// Whether a row of that operation comes into being.
pub fn adds(op: Op) -> bool {
    matches!(op, Op::Insert | Op::UpdateAfter)
}

impl Operator for RunningAggregate {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        self.groups.assign(&keys, batch.num_rows(), &mut self.ids)?;
        let ops = batch.ops().cloned();
        let mut columns = keys;
        columns.extend(self.aggregates.running(&self.ids, ops.as_deref(), &batch)?);
        let columns = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        let result = self.aggregates.checked(batch.with_columns(columns), out)?;
        match &ops {
            None => out.emit(result),
            Some(ops) => {
                let emptied = self.count(ops);
                if !emptied.is_empty() && !self.plan.keys.is_empty() {
                    self.aggregates.clear(&emptied);
                    self.groups.forget(&emptied);
                }
                match self.plan.expired {
                    true => out.emit(result),
                    false => {
                        let rows = 0..result.num_rows();
                        let deletes = self.plan.deletes;
                        let gives = |op: Op| adds(op) || deletes && op == Op::Delete;
                        let entered: BooleanArray = rows.map(|row| Some(gives(result.op(row)))).collect();
                        let entered = result.filter(&entered)?;
                        let (columns, times, _) = entered.into_parts();
                        out.emit(EventBatch::inserts(columns, times));
                    }
                }
            }
        }
        if ops.is_none() && self.plan.counts_rows {
            let all = vec![Op::Insert; self.ids.len()];
            self.count(&all);
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        state.value(&self.sizes)?;
        self.aggregates.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        self.sizes = state.value()?;
        self.aggregates.restore(state)
    }
}

/// The mask of a FILTER clause.
pub fn filter_mask(batch: &EventBatch, column: Option<usize>) -> Option<BooleanArray> {
    column.map(|column| batch.column(column).as_boolean().clone())
}
