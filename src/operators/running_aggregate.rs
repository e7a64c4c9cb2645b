//! Aggregation event by event: each gives its group's values after it.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};

use super::aggregate_plan::{AggregatePlan, Built, Form};
use super::aggregates::GroupId;
use super::gradual::Gradual;
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
/// In the form [`Form::Latest`] every row, whether it adds or retracts, gives the row of its group as an update (`+U`), and a
/// deletion when nothing is left in the group.
///
/// *Ops.* Takes inserts and deletes; gives the same. *State.* The groups' accumulators; with a window a group that becomes
/// empty is forgotten, unless an aggregate outlives windows (`minForever`). *Cost.* O(1) a row and aggregate.
pub struct RunningAggregate {
    plan: AggregatePlan,
    groups: GroupTable,
    /// The rows in each group, by its id.
    sizes: Gradual<u64>,
    aggregates: Built,
    ids: Vec<GroupId>,
}

impl RunningAggregate {
    /// Without any group yet.
    pub fn new(plan: AggregatePlan) -> Result<Self> {
        Ok(RunningAggregate {
            groups: GroupTable::new(&plan.key_types())?,
            sizes: Gradual::default(),
            aggregates: Built::new(&plan)?,
            ids: Vec::new(),
            plan,
        })
    }

    /// Counts the rows of each group; what each change makes of its group's row, if anybody asks, and the groups that have
    /// become empty.
    fn count(&mut self, ops: Option<&[Op]>) -> (Vec<Op>, Vec<GroupId>) {
        let mut emptied = Vec::new();
        let mut latest = Vec::new();
        let tells = self.plan.form == Form::Latest;
        self.sizes.grow(self.groups.capacity(), || 0);
        let sizes = self.sizes.write(&self.ids);
        for (row, &id) in self.ids.iter().enumerate() {
            let size = &mut sizes[id as usize];
            match ops.is_none_or(|ops| adds(ops[row])) {
                true => *size += 1,
                false => {
                    *size = size.saturating_sub(1);
                    if *size == 0 {
                        emptied.push(id);
                    }
                }
            }
            if tells {
                latest.push(match *size {
                    0 => Op::Delete,
                    _ => Op::UpdateAfter,
                });
            }
        }
        emptied.sort_unstable();
        emptied.dedup();
        emptied.retain(|&id| sizes[id as usize] == 0);
        (latest, emptied)
    }

    /// Forgets groups in which nothing is left.
    fn forget(&mut self, emptied: &[GroupId]) {
        if emptied.is_empty() || self.plan.keys.is_empty() {
            return;
        }
        match self.aggregates.outlive_windows() {
            true => self.aggregates.clear_windows(emptied),
            false => {
                self.aggregates.clear(emptied);
                self.groups.forget(emptied);
            }
        }
    }
}

/// The rows that enter, and those of deletions if they give output; as inserts.
fn given(rows: &EventBatch, deletes: bool) -> Result<EventBatch> {
    let gives = |op: Op| adds(op) || deletes && op == Op::Delete;
    let given: BooleanArray = (0..rows.num_rows()).map(|row| Some(gives(rows.op(row)))).collect();
    let (columns, times, _) = rows.filter(&given)?.into_parts();
    Ok(EventBatch::inserts(columns, times))
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
        let counts = ops.is_some() || self.plan.counts_rows || self.plan.form == Form::Latest;
        let (latest, emptied) = match counts {
            true => self.count(ops.as_deref()),
            false => (Vec::new(), Vec::new()),
        };
        let rows = match self.plan.form {
            Form::Latest => EventBatch::changelog(columns, batch.times().clone(), latest.into()),
            _ => batch.with_columns(columns),
        };
        let rows = self.aggregates.checked(rows, out)?;
        out.emit(
            match ops.is_none() || self.plan.expired || self.plan.form == Form::Latest {
                true => rows,
                false => given(&rows, self.plan.deletes)?,
            },
        );
        self.forget(&emptied);
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        self.sizes.snapshot(state, write_sizes)?;
        self.aggregates.snapshot(state)
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.groups.begin_snapshot(state)?;
        self.sizes.begin_snapshot(state)?;
        self.aggregates.begin_snapshot(state)
    }

    fn continue_snapshot(&mut self, bytes: usize) -> Result<usize> {
        let mut copied = self.groups.continue_snapshot(bytes);
        if copied < bytes {
            copied += self.sizes.continue_snapshot(bytes - copied, || write_sizes);
        }
        if copied < bytes {
            copied += self.aggregates.continue_snapshot(bytes - copied);
        }
        Ok(copied)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        self.sizes = Gradual::restored(state, read_sizes)?;
        self.aggregates.restore(state)
    }
}

fn write_sizes(sizes: &[u64], state: &mut StateWriter) -> Result<()> {
    state.numbers(&sizes.iter().map(|size| *size as i64).collect())
}

fn read_sizes(state: &mut StateReader) -> Result<Vec<u64>> {
    Ok(state.numbers()?.iter().map(|size| size.unsigned_abs()).collect())
}

/// The mask of a FILTER clause.
pub fn filter_mask(batch: &EventBatch, column: Option<usize>) -> Option<BooleanArray> {
    column.map(|column| batch.column(column).as_boolean().clone())
}
