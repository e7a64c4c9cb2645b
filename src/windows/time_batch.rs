//! `timeBatch` and `externalTimeBatch`: periods that begin with the first event, or at a given point.

use std::ops::Range;

use arrow::datatypes::SchemaRef;

use super::announce::{Announce, Mark};
use super::emission::{Bounds, Emissions, read_batches, write_batches};
use super::gather::gather;
use super::hop::floor;
use super::time_column::column_times;
use super::{Retained, TimeDomain};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Gathers the events of one period after the other; the periods have one length and touch.
///
/// *Semantics.* The grid of periods begins with the first event, or goes through `start`, and stays. A period closes when time
/// reaches its end: by an event at or past it, by the watermark, or by a timer in processing time. A period without events
/// closes, too, and lets the former one's events leave. An event behind its time belongs to the period that is open.
///
/// By a column only events move time, so a period without any is never met: the former events leave when the next ones close.
/// After `timeout` of processing time the open period is given as it is; events that come for it later give it whole once more
/// (what was given leaves), at the next time-out or when it closes.
///
/// With `stream_current` events go on at once, and those of a period leave together when it ends.
///
/// *Ops.* Takes inserts; one batch out is one emission, unless `stream_current`. *State.* The period's events, and the former
/// period's if anybody asks for them. *Cost.* O(1) an event.
pub struct TimeBatch {
    plan: TimeBatchPlan,
    state: State,
    held: Vec<EventBatch>,
    emissions: Emissions,
}

/// What a [`TimeBatch`] does.
#[derive(Debug, Clone)]
pub struct TimeBatchPlan {
    /// The length of a period.
    pub duration: Micros,
    /// A point of the grid; the first event otherwise.
    pub start: Option<Micros>,
    /// The time column that it goes by; the events' own times otherwise.
    pub column: Option<usize>,
    /// After so much processing time a period is given before its end.
    pub timeout: Option<Micros>,
    /// Events go on as they come.
    pub stream_current: bool,
    /// What moves time.
    pub domain: TimeDomain,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// What is given before a period closes.
    pub announce: Announce,
    /// The columns, the window's bounds last.
    pub schema: SchemaRef,
}

/// The number of the open period: there is only one.
const OPEN: i64 = 0;

#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
struct State {
    /// A point of the grid, once it is known.
    origin: Option<Micros>,
    /// The end of the open period. None while nothing is to be closed.
    end: Option<Micros>,
    /// Whether the open period has events that were not given yet.
    fresh: bool,
    /// When the open period is given, closed or not.
    timeout_at: Option<Micros>,
}

impl OperatorPlan for TimeBatchPlan {
    fn name(&self) -> &'static str {
        match self.column {
            Some(_) => "ExternalTimeBatchWindow",
            None => "TimeBatchWindow",
        }
    }

    fn details(&self) -> Vec<String> {
        let millis = |micros: Micros| micros / 1_000;
        let by = match self.column {
            Some(column) => self.schema.field(column).name().clone(),
            None => self.domain.to_string(),
        };
        let mut details = vec![format!("{} ms of {by}", millis(self.duration))];
        details.extend(self.start.map(|start| format!("start: {} ms", millis(start))));
        details.extend(self.timeout.map(|timeout| format!("timeout: {} ms", millis(timeout))));
        details.extend(self.stream_current.then(|| "stream current".to_string()));
        details
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(TimeBatch {
            emissions: Emissions::new(self.schema.clone(), true, self.retained).announcing(self.announce),
            plan: self.clone(),
            state: State::default(),
            held: Vec::new(),
        }))
    }
}

impl Operator for TimeBatch {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let marks = match self.plan.column {
            Some(column) => column_times(&batch, column)?,
            None => batch.times().clone(),
        };
        let origin = *self
            .state
            .origin
            .get_or_insert_with(|| self.plan.start.unwrap_or_else(|| marks.get(0)));
        let duration = self.plan.duration;
        let period = |mark: Micros| floor(mark, origin, duration);
        for (start, rows) in mark_runs(&marks, batch.num_rows(), period) {
            self.close_until(start, out)?;
            self.state.end.get_or_insert(start.saturating_add(duration));
            self.add(batch.slice(rows.start, rows.len()), out)?;
        }
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match (time, self.plan.domain, self.plan.column) {
            (TimeUpdate::Watermark(END_OF_TIME), ..) => self.close_all(out)?,
            (TimeUpdate::Watermark(now), TimeDomain::Event, None)
            | (TimeUpdate::Timer(now), TimeDomain::Processing, None) => self.close_until(now, out)?,
            _ => {}
        }
        if let TimeUpdate::Timer(now) = time
            && self.state.timeout_at.is_some_and(|at| at <= now)
        {
            self.give(Mark::Given, out)?;
        }
        self.set_timer(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        let oldest = self.held.first().map(|batch| batch.time(0));
        match self.plan.stream_current {
            true => input,
            false => oldest.map_or(input, |oldest| oldest.min(input)),
        }
    }

    fn next_watermark(&self) -> Option<Micros> {
        match (self.plan.domain, self.plan.column) {
            (TimeDomain::Event, None) => self.state.end,
            _ => None,
        }
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(Some(match self.plan.stream_current {
            true => self.held.clone(),
            false => self.emissions.content(),
        }))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&self.state)?;
        write_batches(&self.held, state)?;
        self.emissions.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.state = state.value()?;
        self.held = read_batches(state)?;
        self.emissions.restore(state)
    }
}

impl TimeBatch {
    /// Takes events of the open period.
    fn add(&mut self, events: EventBatch, out: &mut Output) -> Result<()> {
        if self.plan.stream_current {
            out.emit(self.emissions.bounded(&events, self.bounds())?);
        }
        self.emissions.announce(&events, self.bounds(), OPEN, out)?;
        gather(&mut self.held, events)?;
        self.state.fresh = true;
        if let Some(timeout) = self.plan.timeout {
            let at = out.now().saturating_add(timeout);
            self.state.timeout_at.get_or_insert(at);
        }
        Ok(())
    }

    fn bounds(&self) -> Bounds {
        let end = self.state.end.unwrap_or_default();
        (end.saturating_sub(self.plan.duration), end)
    }

    /// Closes the periods that end at `now` or before.
    fn close_until(&mut self, now: Micros, out: &mut Output) -> Result<()> {
        while self.state.end.is_some_and(|end| end <= now) {
            self.close(out)?;
        }
        Ok(())
    }

    /// The input has ended. In event time all periods that may come are over, in processing time only the open one is closed.
    fn close_all(&mut self, out: &mut Output) -> Result<()> {
        match (self.plan.domain, self.plan.column) {
            (TimeDomain::Event, None) => self.close_until(END_OF_TIME, out),
            _ if self.held.is_empty() => Ok(()),
            _ => self.close(out),
        }
    }

    /// Closes the open period. The next one is open if anything is to be done at its end.
    fn close(&mut self, out: &mut Output) -> Result<()> {
        let Some(end) = self.state.end else {
            return Ok(());
        };
        match self.plan.stream_current {
            true => self.leave(end, out)?,
            false if self.state.fresh || self.held.is_empty() => self.give(Mark::Closes, out)?,
            false => self.emissions.forget(&self.held, self.bounds(), OPEN, out)?,
        }
        self.held.clear();
        self.state.fresh = false;
        self.state.timeout_at = None;
        let expects = self.plan.column.is_none() && self.emissions.has_former();
        self.state.end = expects.then(|| end.saturating_add(self.plan.duration));
        Ok(())
    }

    /// Gives the events of the open period; they stay.
    fn give(&mut self, mark: Mark, out: &mut Output) -> Result<()> {
        self.state.timeout_at = None;
        self.state.fresh = false;
        let (start, end) = self.bounds();
        self.emissions
            .give(&self.held, (start, end), end - 1, (mark, OPEN), out)
    }

    /// The events of the period, which went on one by one, leave together.
    fn leave(&self, end: Micros, out: &mut Output) -> Result<()> {
        if self.plan.retained == Retained::Nothing || self.held.is_empty() {
            return Ok(());
        }
        let events = self
            .held
            .iter()
            .map(|batch| self.emissions.bounded(batch, self.bounds()))
            .collect::<Result<Vec<_>>>()?;
        let all = EventBatch::concat(&self.plan.schema, &events)?;
        let ops = vec![Op::Delete; all.num_rows()];
        let (columns, _, _) = all.into_parts();
        out.emit(EventBatch::changes(columns, Times::Same(end - 1), ops.into()));
        Ok(())
    }

    fn set_timer(&self, out: &mut Output) {
        let end = match (self.plan.domain, self.plan.column) {
            (TimeDomain::Processing, None) => self.state.end,
            _ => None,
        };
        for at in end.into_iter().chain(self.state.timeout_at) {
            out.wake_at(at);
        }
    }
}

/// Runs of rows whose marks have one key.
pub fn mark_runs(marks: &Times, rows: usize, key: impl Fn(Micros) -> Micros) -> Vec<(Micros, Range<usize>)> {
    let times = match marks {
        Times::Same(mark) => return vec![(key(*mark), 0..rows)],
        Times::Each(times) => times,
    };
    let mut runs: Vec<(Micros, Range<usize>)> = Vec::new();
    for (row, mark) in times.iter().enumerate() {
        let of = key(*mark);
        match runs.last_mut() {
            Some((last, range)) if *last == of => range.end = row + 1,
            _ => runs.push((of, row..row + 1)),
        }
    }
    runs
}
