//! `OUTPUT [ALL | FIRST | LAST] EVERY`.

use arrow::array::{ArrayRef, BooleanArray};

use super::last::LastRows;
use super::period::Period;
use super::{OutputRatePlan, RateKind};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::operators::group_table::GroupTable;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, Output, Port, TimeUpdate};
use crate::windows::emission::{read_batches, write_batches};

/// Emits at the end of each period what came in it: all rows or the last of each group; or the first of each group as it comes.
///
/// *Semantics.* Periods of rows count the rows that would have gone out. Periods of time begin with the app. What waits when
/// the input ends goes out then.
///
/// *Ops.* Inserts only. *State.* The period's rows for ALL, one row a group for LAST, the groups met for FIRST. *Cost.* O(1) a
/// row, amortised.
pub struct Collect {
    plan: OutputRatePlan,
    period: Period,
    all: Vec<EventBatch>,
    last: LastRows,
    /// The groups whose first row has gone out.
    met: Option<GroupTable>,
}

impl Collect {
    /// Before the first period.
    pub fn new(plan: OutputRatePlan) -> Self {
        Collect {
            period: Period::new(plan.every),
            all: Vec::new(),
            last: LastRows::new(plan.keys.clone()),
            met: None,
            plan,
        }
    }

    fn add(&mut self, part: EventBatch, out: &mut Output) -> Result<()> {
        match self.plan.kind {
            RateKind::First => {
                let first = self.first(&part)?;
                out.emit(first);
                Ok(())
            }
            RateKind::Last => self.last.add(part),
            _ => {
                self.all.push(part);
                Ok(())
            }
        }
    }

    /// The rows of groups that have not been met in this period.
    fn first(&mut self, part: &EventBatch) -> Result<EventBatch> {
        let columns: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| part.column(key).clone()).collect();
        let met = match &mut self.met {
            Some(met) => met,
            none => none.insert(GroupTable::new(&self.plan.key_types)?),
        };
        let mut known = if self.plan.keys.is_empty() {
            met.len().min(1)
        } else {
            met.len()
        };
        let mut ids = Vec::new();
        met.assign(&columns, part.num_rows(), &mut ids)?;
        // Ids are dense and in order of appearance as long as no group is forgotten.
        let is_new = ids.iter().map(|id| {
            let new = *id as usize >= known;
            if new {
                known = *id as usize + 1;
            }
            Some(new)
        });
        part.filter(&is_new.collect::<BooleanArray>())
    }

    fn end_period(&mut self, out: &mut Output) -> Result<()> {
        self.met = None;
        if let Some(last) = self.last.take()? {
            out.emit(last);
        }
        let all = std::mem::take(&mut self.all);
        if let Some(first) = all.first() {
            out.emit(EventBatch::concat(&first.schema(), &all)?);
        }
        Ok(())
    }
}

impl Operator for Collect {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let taken = self.period.take(batch.num_rows() - from);
            self.add(batch.slice(from, taken), out)?;
            from += taken;
            if self.period.count(taken) {
                self.end_period(out)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match self.period.advance(time, out) || time == TimeUpdate::Watermark(END_OF_TIME) {
            true => self.end_period(out),
            false => Ok(()),
        }
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.period.snapshot(state)?;
        write_batches(&self.all, state)?;
        write_batches(self.last.waiting(), state)?;
        state.value(&self.met.is_some())?;
        match &self.met {
            Some(met) => met.snapshot(state),
            None => Ok(()),
        }
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.period.restore(state)?;
        self.all = read_batches(state)?;
        for batch in read_batches(state)? {
            self.last.add(batch)?;
        }
        if state.value::<bool>()? {
            let mut met = GroupTable::new(&self.plan.key_types)?;
            met.restore(state)?;
            self.met = Some(met);
        }
        Ok(())
    }
}
