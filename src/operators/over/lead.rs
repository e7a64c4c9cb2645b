//! `LEAD(x, n, default) OVER (…)`: the value of the row n rows later.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::store::{Pick, Queues, RowStore, Seq};
use super::{key_types, partition_text};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Times};
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Holds each row until the rows that its LEADs ask for have come, then gives it.
///
/// *Semantics.* A row goes out when as many rows of its partition have followed as its farthest LEAD needs; at the end of the
/// input the rest goes out, with defaults for what has not come. So rows go out in the order in which they are complete, and
/// the watermark behind does not pass those that wait.
///
/// *Ops.* Takes inserts, gives inserts: a row for each row. *State.* As many rows of each partition as the farthest LEAD needs.
/// *Cost.* O(1) a row and function.
pub struct Lead {
    plan: LeadPlan,
    groups: GroupTable,
    /// The columns of the input, then the rows' times.
    rows: RowStore,
    waiting: Queues,
    ids: Vec<GroupId>,
}

/// What a [`Lead`] does.
#[derive(Debug, Clone)]
pub struct LeadPlan {
    /// The columns that partition.
    pub keys: Vec<usize>,
    /// The functions.
    pub calls: Vec<LeadCall>,
    /// Where each column of the output comes from.
    pub columns: Vec<LeadColumn>,
    /// The columns that come in.
    pub input: SchemaRef,
    /// The columns that go out.
    pub schema: SchemaRef,
}

/// A LEAD.
#[derive(Debug, Clone)]
pub struct LeadCall {
    /// As written.
    pub text: String,
    /// The column of the value.
    pub argument: usize,
    /// How many rows later.
    pub offset: usize,
    /// The column of the value if there is no such row; NULL otherwise.
    pub default: Option<usize>,
}

/// A column of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadColumn {
    /// One of the input.
    Input(usize),
    /// That of a LEAD, by its number.
    Lead(usize),
}

/// Rows that go out.
struct Ready {
    rows: Vec<Seq>,
    /// For each LEAD the value of each row.
    picks: Vec<Vec<Pick>>,
}

impl LeadPlan {
    fn farthest(&self) -> usize {
        self.calls.iter().map(|call| call.offset).max().unwrap_or(0)
    }

    fn stored(&self) -> SchemaRef {
        let time = Arc::new(Field::new("", DataType::Int64, false));
        let fields: Vec<_> = self.input.fields().iter().cloned().chain([time]).collect();
        Arc::new(Schema::new(fields))
    }
}

impl OperatorPlan for LeadPlan {
    fn name(&self) -> &'static str {
        "Lead"
    }

    fn details(&self) -> Vec<String> {
        let calls = self.calls.iter().map(|call| call.text.clone());
        let keys = partition_text(&self.keys, &self.input);
        keys.into_iter().chain(calls).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Lead {
            groups: GroupTable::new(&key_types(&self.keys, &self.input))?,
            rows: RowStore::new(self.stored()),
            waiting: Queues::default(),
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for Lead {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        self.groups.assign(&keys, batch.num_rows(), &mut self.ids)?;
        let first = self.store(&batch)?;
        let farthest = self.plan.farthest();
        let mut ready = self.nothing_ready();
        let ids = std::mem::take(&mut self.ids);
        for (seq, &group) in (first..).zip(&ids) {
            let queue = self.waiting.of(group);
            queue.push_back(seq);
            if queue.len() > farthest {
                complete(&self.plan, queue, &mut ready);
            }
        }
        self.ids = ids;
        self.give(ready, out)
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if time != TimeUpdate::Watermark(END_OF_TIME) {
            return Ok(());
        }
        let mut ready = self.nothing_ready();
        for queue in self.waiting.iter_mut() {
            while !queue.is_empty() {
                complete(&self.plan, queue, &mut ready);
            }
        }
        self.give(ready, out)
    }

    fn watermark(&self, input: Micros) -> Micros {
        let oldest = self.rows.oldest().and_then(|row| self.rows.gather(&[row]).ok());
        let time = oldest.map(|row| {
            row.column(self.plan.input.fields().len())
                .as_primitive::<Int64Type>()
                .value(0)
        });
        time.map_or(input, |time| time.min(input))
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        self.rows.snapshot(state)?;
        self.waiting.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        self.rows.restore(state)?;
        self.waiting.restore(state)
    }
}

impl Lead {
    /// Stores rows with their times; the number of the first.
    fn store(&mut self, batch: &EventBatch) -> Result<Seq> {
        let times: ArrayRef = Arc::new(Int64Array::new(batch.times().to_buffer(batch.num_rows()), None));
        let columns = batch.columns().columns().iter().cloned().chain([times]);
        let rows = RecordBatch::try_new(self.rows.schema().clone(), columns.collect())?;
        self.rows.push(rows)
    }

    fn nothing_ready(&self) -> Ready {
        Ready {
            rows: Vec::new(),
            picks: vec![Vec::new(); self.plan.calls.len()],
        }
    }

    /// Gives rows, those that came first ahead.
    fn give(&mut self, mut ready: Ready, out: &mut Output) -> Result<()> {
        if ready.rows.is_empty() {
            return Ok(());
        }
        ready.sort();
        let rows = self.rows.gather(&ready.rows)?;
        let leads = self.plan.calls.iter().zip(&ready.picks);
        let leads = leads.map(|(call, picks)| self.rows.pick(call.argument, call.default, picks));
        let leads: Vec<ArrayRef> = leads.collect::<Result<_>>()?;
        let columns = self.plan.columns.iter().map(|column| match column {
            LeadColumn::Input(index) => rows.column(*index).clone(),
            LeadColumn::Lead(index) => leads[*index].clone(),
        });
        let columns = RecordBatch::try_new(self.plan.schema.clone(), columns.collect())?;
        let times = rows.column(self.plan.input.fields().len()).as_primitive::<Int64Type>();
        out.emit(EventBatch::inserts(columns, Times::Each(times.values().clone())));
        ready.rows.iter().for_each(|row| self.rows.release(*row));
        if let Some(renumbered) = self.rows.settle()? {
            self.waiting.renumber(&renumbered);
        }
        Ok(())
    }
}

impl Ready {
    fn sort(&mut self) {
        if self.rows.is_sorted() {
            return;
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_unstable_by_key(|&index| self.rows[index]);
        self.rows = order.iter().map(|&index| self.rows[index]).collect();
        for picks in &mut self.picks {
            *picks = order.iter().map(|&index| picks[index]).collect();
        }
    }
}

/// The first row of a partition's waiting ones goes out.
fn complete(plan: &LeadPlan, waiting: &mut VecDeque<Seq>, ready: &mut Ready) {
    let Some(&row) = waiting.front() else {
        return;
    };
    for (call, picks) in plan.calls.iter().zip(&mut ready.picks) {
        picks.push(
            waiting
                .get(call.offset)
                .map_or(Pick::DefaultOf(row), |later| Pick::Of(*later)),
        );
    }
    ready.rows.push(row);
    waiting.pop_front();
}
