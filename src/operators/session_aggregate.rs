//! Aggregation over sessions, without keeping their events.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::DataType;

use super::aggregate_plan::{AggregatePlan, Built};
use super::aggregates::GroupId;
use super::forever::Forever;
use super::keyed::KeyedForm;
use super::slice_aggregate::SliceColumn;
use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Times};
use crate::windows::TimeDomain;
use crate::windows::session_index::{Assigned, Closed, SessionIndex, Slot};

/// Adds events to the accumulators of their sessions, and gives a row for each session when it closes.
///
/// *Semantics.* As of the session's events aggregated at once; the sessions' keys are the query's. Two sessions that an event
/// bridges are merged, and so are their accumulators. Event time need not be in order. A row's event time is that of its
/// session's last event. Sessions that close at one moment go out in the order in which they ended. Each is an emission of its
/// own; where nothing depends on that they go out as one batch.
///
/// *Ops.* Inserts. *State.* The open sessions and their accumulators. *Cost.* O(1) an event and aggregate, whatever the number
/// of keys; nothing is scanned when time moves.
pub struct SessionAggregate {
    plan: SessionAggregatePlan,
    index: SessionIndex,
    aggregates: Built,
    forever: Option<Forever>,
    assigned: Assigned,
}

/// What a [`SessionAggregate`] does.
#[derive(Debug, Clone)]
pub struct SessionAggregatePlan {
    /// Events of a key that are further apart belong to two sessions.
    pub gap: Micros,
    /// How long a session waits for late events.
    pub lateness: Micros,
    /// What moves time.
    pub domain: TimeDomain,
    /// Keys and aggregates; the output's columns are those of `columns`.
    pub aggregate: AggregatePlan,
    /// Where each column of the output comes from.
    pub columns: Vec<SliceColumn>,
    /// Whether sessions that close at one moment go out as one batch; as emissions each is one.
    pub form: KeyedForm,
}

impl OperatorPlan for SessionAggregatePlan {
    fn name(&self) -> &'static str {
        "SessionAggregate"
    }

    fn details(&self) -> Vec<String> {
        let gap = format!("gap {} ms of {}", self.gap / 1_000, self.domain);
        std::iter::once(gap).chain(self.aggregate.details()).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SessionAggregate {
            index: SessionIndex::new(self.gap, self.lateness, &self.aggregate.key_types())?,
            aggregates: Built::new(&self.aggregate)?,
            forever: Forever::of_windows(&self.aggregate)?,
            assigned: Assigned::default(),
            plan: self.clone(),
        }))
    }
}

impl Operator for SessionAggregate {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let keys = self.plan.aggregate.keys.iter();
        let keys: Vec<ArrayRef> = keys.map(|&key| batch.column(key).clone()).collect();
        self.index
            .assign(&keys, batch.times(), batch.num_rows(), &mut self.assigned)?;
        self.merge()?;
        self.aggregates.update(&self.assigned.slots, None, &batch)?;
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let Some(now) = self.plan.domain.reached_or_ended(time) {
            self.close(now, out)?;
        }
        self.set_timer(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        self.index.oldest_last().map_or(input, |oldest| oldest.min(input))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.index.snapshot(state)?;
        self.aggregates.snapshot(state)?;
        self.forever.as_ref().map_or(Ok(()), |forever| forever.snapshot(state))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.index.restore(state)?;
        self.aggregates.restore(state)?;
        self.forever.as_mut().map_or(Ok(()), |forever| forever.restore(state))
    }
}

impl SessionAggregate {
    /// Merges the accumulators of sessions that became one.
    fn merge(&mut self) -> Result<()> {
        let merged = &self.assigned.merged;
        if merged.is_empty() {
            return Ok(());
        }
        let from: Vec<GroupId> = merged.iter().map(|merge| merge.from).collect();
        let into: Vec<GroupId> = merged.iter().map(|merge| merge.into).collect();
        let aside: Vec<GroupId> = (0..from.len() as GroupId).collect();
        let mut gone = self.aggregates.fresh();
        gone.merge(&self.aggregates, &from, &aside)?;
        self.aggregates.clear(&from);
        self.aggregates.merge(&gone, &aside, &into)
    }

    fn close(&mut self, now: Micros, out: &mut Output) -> Result<()> {
        let closed = self.index.over(now);
        if closed.is_empty() {
            return Ok(());
        }
        let slots: Vec<Slot> = closed.iter().map(|session| session.slot).collect();
        let mut values = self.aggregates.values(&slots)?;
        let keys = self.index.keys(&closed)?;
        if let Some(forever) = &mut self.forever {
            forever.merge_windows(&keys, &mut values)?;
        }
        let rows = self.rows(&closed, &keys, &values)?;
        let rows = self.aggregates.checked(rows, out)?;
        match self.plan.form {
            KeyedForm::Joined => out.emit(rows),
            KeyedForm::Emissions => (0..rows.num_rows()).for_each(|row| out.emit(rows.slice(row, 1))),
        }
        self.aggregates.clear(&slots);
        self.index.release(&closed);
        Ok(())
    }

    fn rows(&self, closed: &[Closed], keys: &[ArrayRef], values: &[ArrayRef]) -> Result<EventBatch> {
        let schema = &self.plan.aggregate.schema;
        let bound = |of: &dyn Fn(&Closed) -> Micros, column: usize| {
            let times: TimestampMicrosecondArray = closed.iter().map(|session| Some(of(session))).collect();
            match schema.field(column).data_type() {
                DataType::Timestamp(_, zone) => Arc::new(times.with_timezone_opt(zone.clone())) as ArrayRef,
                _ => Arc::new(times),
            }
        };
        let columns = (0..).zip(&self.plan.columns).map(|(index, column)| match column {
            SliceColumn::Key(key) => keys[*key].clone(),
            SliceColumn::Aggregate(aggregate) => values[*aggregate].clone(),
            SliceColumn::Start => bound(&|session| session.start, index),
            SliceColumn::End => bound(&|session| self.index.end(session.last), index),
        });
        let columns = RecordBatch::try_new(schema.clone(), columns.collect())?;
        let times = closed.iter().map(|session| session.last).collect();
        Ok(EventBatch::inserts(columns, Times::Each(times)))
    }

    fn set_timer(&self, out: &mut Output) {
        if let (TimeDomain::Processing, Some(next)) = (self.plan.domain, self.index.next()) {
            out.wake_at(next.max(out.now()));
        }
    }
}
