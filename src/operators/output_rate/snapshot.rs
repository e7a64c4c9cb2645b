//! `OUTPUT SNAPSHOT EVERY`.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;

use super::last::{LastRows, group_ids};
use super::period::Period;
use super::{Content, OutputRatePlan};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Times};
use crate::operators::running_aggregate::adds;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, Output, Port, TimeUpdate};
use crate::windows::emission::{read_batches, write_batches};

/// Emits at the end of each period what there is at that moment, whether or not anything came in it.
///
/// *Semantics.* With a sliding window: its rows, with the latest aggregates of their groups. With a batch window: the rows of
/// the last emission. Without a window: the last row of each group.
///
/// *Ops.* Takes inserts and deletes; gives inserts. *State.* The rows it would show. *Cost.* O(1) a row that enters or is the
/// oldest to leave; a row that leaves out of order is looked for among those held. A snapshot costs its rows.
pub struct SnapshotRate {
    plan: OutputRatePlan,
    content: Content,
    period: Period,
    /// The rows of the window, oldest first, one batch a row or run of rows.
    held: VecDeque<EventBatch>,
    last: LastRows,
}

impl SnapshotRate {
    /// Before the first period.
    pub fn new(plan: OutputRatePlan, content: Content) -> Self {
        SnapshotRate {
            period: Period::new(plan.every),
            held: VecDeque::new(),
            last: LastRows::new(plan.keys.clone()),
            content,
            plan,
        }
    }

    fn change(&mut self, batch: EventBatch) -> Result<()> {
        match self.content {
            Content::LastRows => self.last.add(batch),
            Content::Emission => {
                let entering = (0..batch.num_rows() as u32).filter(|row| adds(batch.op(*row as usize)));
                let entering = batch.take(entering.collect())?;
                self.held.clear();
                self.held.push_back(entering);
                Ok(())
            }
            Content::Window => {
                self.last.add(batch.clone())?;
                for run in runs_of_ops(&batch) {
                    match adds(run.op(0)) {
                        true => self.held.push_back(run),
                        false => (0..run.num_rows()).try_for_each(|row| self.leave(&run.slice(row, 1)))?,
                    }
                }
                Ok(())
            }
        }
    }

    /// A row has left: the first that equals it but for its aggregates.
    fn leave(&mut self, gone: &EventBatch) -> Result<()> {
        for index in 0..self.held.len() {
            let batch = &self.held[index];
            let row = (0..batch.num_rows()).find(|row| self.same(&batch.slice(*row, 1), gone));
            let Some(row) = row else {
                continue;
            };
            let (before, after) = (batch.slice(0, row), batch.slice(row + 1, batch.num_rows() - row - 1));
            self.held.remove(index);
            if !after.is_empty() {
                self.held.insert(index, after);
            }
            if !before.is_empty() {
                self.held.insert(index, before);
            }
            return Ok(());
        }
        Ok(())
    }

    fn same(&self, a: &EventBatch, b: &EventBatch) -> bool {
        let columns = (0..a.columns().num_columns()).filter(|column| !self.plan.aggregates.contains(column));
        columns.into_iter().all(|column| a.column(column) == b.column(column))
    }

    fn show(&mut self, out: &mut Output) -> Result<()> {
        let now = out.now();
        let rows = match self.content {
            Content::LastRows => self.last.rows()?,
            _ => self.rows_of_window()?,
        };
        if let Some(rows) = rows {
            let (columns, _, _) = rows.into_parts();
            out.emit(EventBatch::inserts(columns, Times::Same(now)));
        }
        Ok(())
    }

    fn rows_of_window(&mut self) -> Result<Option<EventBatch>> {
        let held: Vec<EventBatch> = self.held.iter().cloned().collect();
        let Some(first) = held.first() else {
            return Ok(None);
        };
        let rows = EventBatch::concat(&first.schema(), &held)?;
        match self.content {
            Content::Window if !self.plan.aggregates.is_empty() => self.with_latest(&rows).map(Some),
            _ => Ok(Some(rows)),
        }
    }

    /// The rows with the latest aggregates of their groups.
    fn with_latest(&mut self, rows: &EventBatch) -> Result<EventBatch> {
        let Some(last) = self.last.rows()? else {
            return Ok(rows.clone());
        };
        let both = EventBatch::concat(&rows.schema(), &[last.clone(), rows.clone()])?;
        let ids = group_ids(&self.plan.keys, &both)?;
        let (known, wanted) = ids.split_at(last.num_rows());
        let mut row_of = vec![0_u32; ids.iter().max().map_or(0, |id| *id as usize + 1)];
        for (row, id) in known.iter().enumerate() {
            row_of[*id as usize] = row as u32;
        }
        let indices: UInt32Array = wanted.iter().map(|id| Some(row_of[*id as usize])).collect();
        let columns = rows.columns().columns().iter().enumerate().map(|(index, column)| {
            let aggregate = self.plan.aggregates.contains(&index);
            if aggregate {
                Ok(take(last.column(index), &indices, None)?)
            } else {
                Ok(column.clone())
            }
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        Ok(rows.with_columns(RecordBatch::try_new(rows.schema(), columns)?))
    }
}

/// Runs of rows that all enter or all leave.
fn runs_of_ops(batch: &EventBatch) -> Vec<EventBatch> {
    let mut runs = Vec::new();
    let mut from = 0;
    for row in 1..=batch.num_rows() {
        if row == batch.num_rows() || adds(batch.op(row)) != adds(batch.op(from)) {
            runs.push(batch.slice(from, row - from));
            from = row;
        }
    }
    runs
}

impl Operator for SnapshotRate {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let taken = self.period.take(batch.num_rows() - from);
            self.change(batch.slice(from, taken))?;
            from += taken;
            if self.period.count(taken) {
                self.show(out)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match self.period.advance(time, out) {
            true => self.show(out),
            false => Ok(()),
        }
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.period.snapshot(state)?;
        let held: Vec<EventBatch> = self.held.iter().cloned().collect();
        write_batches(&held, state)?;
        write_batches(self.last.waiting(), state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.period.restore(state)?;
        self.held = read_batches(state)?.into();
        for batch in read_batches(state)? {
            self.last.add(batch)?;
        }
        Ok(())
    }
}
