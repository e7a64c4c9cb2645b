//! `SELECT DISTINCT`: each row once.

use std::collections::VecDeque;

use arrow::array::BooleanArray;
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::running_aggregate::adds;
use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};

/// Passes on the first of equal rows. What bounds it says which are compared.
///
/// *Semantics.* NULLs are equal. Of a stream ([`Bound::Never`], [`Bound::Unseen`]) a row goes out when it comes for the first
/// time, or again when it was not seen for so long. Of a sliding window ([`Bound::Present`]) when it becomes present among the
/// window's rows, and as a delete when its last copy leaves. Of a batch window ([`Bound::Emission`]) once in each emission, also
/// among the rows of the former one, which leave.
///
/// *Ops.* Of windows inserts and deletes, otherwise inserts; gives the same. *State.* The different rows, by what bounds them;
/// of emissions none. *Cost.* O(1) a row.
pub struct Distinct {
    plan: DistinctPlan,
    groups: GroupTable,
    /// By row: how often it is there, or when it was last seen. Rows that are not there have none.
    known: Vec<Option<i64>>,
    /// With a time to live: when each row is to be looked at, oldest first.
    due: VecDeque<(Micros, GroupId)>,
    ids: Vec<GroupId>,
}

/// What a [`Distinct`] does.
#[derive(Debug, Clone)]
pub struct DistinctPlan {
    /// What bounds it.
    pub bound: Bound,
    /// The columns.
    pub schema: SchemaRef,
}

/// Which rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// All.
    Never,
    /// Those that were seen less than so many µs ago.
    Unseen(Micros),
    /// Those in the sliding window.
    Present,
    /// Those of an emission.
    Emission,
}

impl OperatorPlan for DistinctPlan {
    fn name(&self) -> &'static str {
        "Distinct"
    }

    fn details(&self) -> Vec<String> {
        vec![match self.bound {
            Bound::Never => "of all rows".to_string(),
            Bound::Unseen(ttl) => format!("of rows seen in the last {} ms", ttl / 1_000),
            Bound::Present => "of the window's rows".to_string(),
            Bound::Emission => "of each emission".to_string(),
        }]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Distinct {
            groups: self.groups()?,
            known: Vec::new(),
            due: VecDeque::new(),
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl DistinctPlan {
    /// A table of rows; an error when there are columns that cannot be compared.
    pub fn groups(&self) -> Result<GroupTable> {
        let types = self.schema.fields().iter().map(|field| field.data_type().clone());
        GroupTable::new(&types.collect::<Vec<DataType>>())
    }
}

impl Operator for Distinct {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if self.plan.bound == Bound::Emission {
            self.groups = self.plan.groups()?;
            self.known.clear();
        }
        self.groups
            .assign(batch.columns().columns(), batch.num_rows(), &mut self.ids)?;
        let unknown = self.known.len().max(self.groups.capacity());
        self.known.resize(unknown, None);
        let kept: BooleanArray = match self.plan.bound {
            Bound::Never => self.first_seen(),
            Bound::Unseen(ttl) => self.long_unseen(&batch, ttl),
            Bound::Present => self.present(&batch),
            Bound::Emission => self.of_emission(&batch),
        };
        let kept = batch.filter(&kept)?;
        out.emit(match self.plan.bound {
            Bound::Present => whole_changes(kept),
            _ => kept,
        });
        match self.plan.bound {
            Bound::Unseen(ttl) => self.forget_unseen(latest(&batch), ttl),
            Bound::Present => self.forget_absent(),
            _ => {}
        }
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, _out: &mut Output) -> Result<()> {
        if let (TimeUpdate::Watermark(watermark), Bound::Unseen(ttl)) = (time, self.plan.bound) {
            self.forget_unseen(watermark, ttl);
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        self.due.front().map(|(at, _)| *at)
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        if self.plan.bound == Bound::Emission {
            return Ok(());
        }
        self.groups.snapshot(state)?;
        self.write_known(state)
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        if self.plan.bound == Bound::Emission {
            return Ok(());
        }
        self.groups.begin_snapshot(state)?;
        self.write_known(state)
    }

    fn continue_snapshot(&mut self, bytes: usize) -> Result<usize> {
        match self.plan.bound {
            Bound::Emission => Ok(0),
            _ => Ok(self.groups.continue_snapshot(bytes)),
        }
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        if self.plan.bound == Bound::Emission {
            return Ok(());
        }
        self.groups.restore(state)?;
        (self.known, self.due) = state.value()?;
        Ok(())
    }
}

impl Distinct {
    /// When rows were last seen, and when they are to be looked at; copied for now.
    fn write_known(&self, state: &mut StateWriter) -> Result<()> {
        let known = (self.known.clone(), self.due.clone());
        state.unwritten(move |state| state.value(&known))
    }

    fn first_seen(&mut self) -> BooleanArray {
        let known = &mut self.known;
        let first = self.ids.iter().map(|&id| Some(known[id as usize].replace(1).is_none()));
        first.collect()
    }

    fn long_unseen(&mut self, batch: &EventBatch, ttl: Micros) -> BooleanArray {
        let (known, due) = (&mut self.known, &mut self.due);
        let kept = self.ids.iter().enumerate().map(|(row, &id)| {
            let now = batch.time(row);
            let last = &mut known[id as usize];
            let unseen = last.is_none_or(|last| last.saturating_add(ttl) <= now);
            if last.is_none() {
                due.push_back((now.saturating_add(ttl), id));
            }
            // A late event does not make a row older.
            *last = Some(last.map_or(now, |last| last.max(now)));
            Some(unseen)
        });
        kept.collect()
    }

    /// Forgets rows that were not seen for so long. Each is looked at again once in that time, at most.
    fn forget_unseen(&mut self, now: Micros, ttl: Micros) {
        let mut gone = Vec::new();
        while let Some(&(at, id)) = self.due.front()
            && at <= now
        {
            self.due.pop_front();
            let last = &mut self.known[id as usize];
            match last.map(|last| last.saturating_add(ttl)).filter(|at| *at > now) {
                Some(later) => self.due.push_back((later, id)),
                None => {
                    *last = None;
                    gone.push(id);
                }
            }
        }
        self.groups.forget(&gone);
    }

    fn present(&mut self, batch: &EventBatch) -> BooleanArray {
        let known = &mut self.known;
        let kept = self.ids.iter().enumerate().map(|(row, &id)| {
            let copies = known[id as usize].get_or_insert(0);
            let enters = adds(batch.op(row));
            *copies += if enters { 1 } else { -1 };
            Some(*copies == i64::from(enters))
        });
        kept.collect()
    }

    fn forget_absent(&mut self) {
        let mut gone = Vec::new();
        for &id in &self.ids {
            let copies = &mut self.known[id as usize];
            if copies.is_some_and(|copies| copies <= 0) {
                *copies = None;
                gone.push(id);
            }
        }
        self.groups.forget(&gone);
    }

    fn of_emission(&mut self, batch: &EventBatch) -> BooleanArray {
        const ENTERED: i64 = 1;
        const LEFT: i64 = 2;
        let known = &mut self.known;
        let kept = self.ids.iter().enumerate().map(|(row, &id)| {
            let seen = known[id as usize].get_or_insert(0);
            let now = if adds(batch.op(row)) { ENTERED } else { LEFT };
            let first = *seen & now == 0;
            *seen |= now;
            Some(first)
        });
        kept.collect()
    }
}

/// Half of an update may be all that changes what is present: it is an insert or a delete.
fn whole_changes(batch: EventBatch) -> EventBatch {
    let Some(ops) = batch.ops() else {
        return batch;
    };
    let whole = |op: &Op| if adds(*op) { Op::Insert } else { Op::Delete };
    let ops = ops.iter().map(whole).collect();
    let (columns, times, _) = batch.into_parts();
    EventBatch::changes(columns, times, ops)
}

fn latest(batch: &EventBatch) -> Micros {
    let times = (0..batch.num_rows()).map(|row| batch.time(row));
    times.max().unwrap_or(Micros::MIN)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::event::Times;

    /// A row: its operation, time and value.
    type Row = (Op, Micros, Option<i64>);

    fn batch(rows: &[Row]) -> EventBatch {
        let values: ArrayRef = Arc::new(rows.iter().map(|(_, _, value)| *value).collect::<Int64Array>());
        let columns = RecordBatch::try_new(schema(), vec![values]).expect("one column");
        let times = Times::Each(rows.iter().map(|(_, time, _)| *time).collect());
        EventBatch::changes(columns, times, rows.iter().map(|(op, _, _)| *op).collect())
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]))
    }

    /// What comes out of batches of three; after each the operator is replaced by one restored from its snapshot.
    fn run(bound: Bound, rows: &[Row]) -> Vec<Row> {
        let plan = DistinctPlan {
            bound,
            schema: schema(),
        };
        let mut out = Output::new(0);
        let mut operator = plan.build().expect("it builds");
        for rows in rows.chunks(3) {
            operator.process(0, batch(rows), &mut out).expect("it takes rows");
            let mut state = StateWriter::default();
            operator.snapshot(&mut state).expect("it writes its state");
            operator = plan.build().expect("it builds");
            let bytes = state.into_bytes();
            let read = operator.restore(&mut StateReader::new(&bytes));
            read.expect("it reads its state");
        }
        let batches = out.take().batches;
        let row = |batch: &EventBatch, row: usize| {
            let values = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(0)).clone();
            (batch.op(row), batch.time(row), values.iter().nth(row).flatten())
        };
        let rows = batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at)));
        rows.collect()
    }

    fn arrivals() -> impl Strategy<Value = Vec<(Micros, Option<i64>)>> {
        let row = (0..4i64, proptest::option::of(0..4i64));
        proptest::collection::vec(row, 0..50).prop_map(|rows| {
            let mut time = 0;
            let row = |(step, value)| {
                time += step;
                (time, value)
            };
            rows.into_iter().map(row).collect()
        })
    }

    proptest! {
        #[test]
        fn of_a_stream(rows in arrivals()) {
            let rows: Vec<Row> = rows.into_iter().map(|(time, value)| (Op::Insert, time, value)).collect();
            for (bound, ttl) in [(Bound::Never, Micros::MAX), (Bound::Unseen(5), 5)] {
                let mut seen: BTreeMap<Option<i64>, Micros> = BTreeMap::new();
                let unseen = |(_, time, value): &&Row| {
                    seen.insert(*value, *time).is_none_or(|last| time - last >= ttl)
                };
                let expected: Vec<Row> = rows.iter().filter(unseen).copied().collect();
                prop_assert_eq!(run(bound, &rows), expected);
            }
        }

        /// Rows stay for 5 µs.
        #[test]
        fn of_a_sliding_window(rows in arrivals()) {
            let mut window: VecDeque<(Micros, Option<i64>)> = VecDeque::new();
            let (mut changes, mut expected) = (Vec::new(), Vec::new());
            let copies = |window: &VecDeque<(Micros, Option<i64>)>, value| {
                window.iter().filter(|(_, other)| *other == value).count()
            };
            for (time, value) in rows {
                while let Some((_, left)) = window.pop_front_if(|(entered, _)| *entered + 5 <= time) {
                    changes.push((Op::Delete, time, left));
                    if copies(&window, left) == 0 {
                        expected.push((Op::Delete, time, left));
                    }
                }
                changes.push((Op::Insert, time, value));
                if copies(&window, value) == 0 {
                    expected.push((Op::Insert, time, value));
                }
                window.push_back((time, value));
            }
            prop_assert_eq!(run(Bound::Present, &changes), expected);
        }
    }
}
