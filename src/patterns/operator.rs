//! The matcher as a node of the pipeline.

use super::ahead::TOGETHER;
use super::conditions::Reports;
use super::matcher::{Matcher, MatcherPlan, Prepared};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{
    BEGINNING_OF_TIME, CONTROL, END_OF_TIME, Operator, OperatorPlan, Output, PatternCounts, Port, TimeUpdate,
};
use crate::windows::TimeDomain;

/// Finds matches of a pattern in the events of its streams, one input each.
///
/// *Semantics.* By event time the events of all inputs are taken in the order of their times (ties: as they came), up to the
/// watermark; an accepted late one as it comes. By processing time as they come. A match goes out with the time of its last
/// event, or the time at which what must not come had not come. See `feat/patterns/README.md`.
///
/// *Ops.* Takes inserts. Gives inserts, and, where attempts that time out are asked for, these as deletes. *State.* Open
/// attempts: for each some hundred bytes, and once what is read later of each event. By event time with several inputs also the
/// events ahead of the watermark. *Cost.* One evaluation of each filter a batch; an event costs its candidates: the attempts
/// that wait for its stream, and, with an equality, for its value.
pub struct PatternOperator {
    matcher: Matcher,
    domain: TimeDomain,
    /// Whether events of several inputs have to be put in order.
    merges: bool,
    /// By event time: batches ahead of the watermark, in the order they came.
    held: Vec<(Port, EventBatch)>,
    released: Micros,
    /// The counts as they were told last.
    told: PatternCounts,
}

/// What a [`PatternOperator`] does.
#[derive(Debug, Clone)]
pub struct PatternPlan {
    /// The pattern.
    pub matcher: MatcherPlan,
    /// What moves its time.
    pub domain: TimeDomain,
    /// For EXPLAIN.
    pub lines: Vec<String>,
}

impl OperatorPlan for PatternPlan {
    fn name(&self) -> &'static str {
        "Pattern"
    }

    fn details(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn counts_patterns(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(PatternOperator {
            matcher: Matcher::new(self.matcher.clone())?,
            domain: self.domain,
            merges: self.domain == TimeDomain::Event && self.matcher.ports.len() > 1,
            held: Vec::new(),
            released: BEGINNING_OF_TIME,
            told: PatternCounts::default(),
        }))
    }
}

impl Operator for PatternOperator {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if port == CONTROL {
            self.matcher.forget_keys(&batch)?;
            self.count(out);
            return Ok(());
        }
        if self.domain == TimeDomain::Processing {
            self.matcher.reach(out.now())?;
            self.flush(out)?;
        }
        if self.merges {
            let times = batch.times().to_buffer(batch.num_rows());
            let rows = 0..batch.num_rows() as u32;
            let (late, ahead): (Vec<u32>, Vec<u32>) = rows.partition(|row| times[*row as usize] <= self.released);
            if late.is_empty() {
                self.held.push((port, batch));
                return Ok(());
            }
            if !ahead.is_empty() {
                self.held.push((port, batch.take(ahead)?));
            }
            self.take(port, batch.take(late)?, out)?;
        } else {
            self.take(port, batch, out)?;
        }
        self.flush(out)?;
        self.ask(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match (time, self.domain) {
            (TimeUpdate::Timer(now), domain) => {
                if domain == TimeDomain::Processing {
                    self.matcher.reach(now)?;
                }
                self.begin();
                self.flush(out)?;
            }
            (TimeUpdate::Watermark(END_OF_TIME), _) => {
                self.release(END_OF_TIME, out)?;
                self.matcher.end();
                self.flush(out)?;
            }
            (TimeUpdate::Watermark(watermark), TimeDomain::Event) => {
                self.release(watermark, out)?;
                self.begin();
                self.matcher.reach(watermark)?;
                self.flush(out)?;
            }
            (TimeUpdate::Watermark(_), TimeDomain::Processing) => {}
        }
        self.ask(out);
        Ok(())
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.matcher.snapshot(state)?;
        let ports: Vec<Port> = self.held.iter().map(|(port, _)| *port).collect();
        state.value(&(ports, self.released))?;
        self.held.iter().try_for_each(|(_, batch)| state.events(batch))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.matcher.restore(state)?;
        let ports: Vec<Port>;
        (ports, self.released) = state.value()?;
        self.held = ports
            .into_iter()
            .map(|port| Ok((port, state.events()?)))
            .collect::<Result<_>>()?;
        Ok(())
    }
}

impl PatternOperator {
    /// Without partitions the pattern begins to wait with the app, or with the first time there is.
    fn begin(&mut self) {
        if self.matcher.keys.is_some() {
            return;
        }
        let has_time = self.domain == TimeDomain::Processing || self.matcher.clock != BEGINNING_OF_TIME;
        if has_time {
            self.matcher.arm(0);
        }
    }

    /// Takes the events of a batch in its order.
    fn take(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let mut report = Reports::at(out.now());
        let prepared = self.matcher.prepare(port, batch, &mut report)?;
        let count = prepared.batch.num_rows();
        for from in (0..count).step_by(TOGETHER) {
            let rows = from..count.min(from + TOGETHER);
            if self.matcher.looks_ahead() {
                self.matcher.look_ahead(rows.clone().map(|row| (&prepared, row)));
            }
            for row in rows {
                self.event(&prepared, row, &mut report)?;
            }
        }
        report.errors.into_iter().for_each(|error| out.error(error));
        Ok(())
    }

    fn event(&mut self, prepared: &Prepared, row: usize, report: &mut Reports) -> Result<()> {
        if self.matcher.passes_by(prepared, row) {
            return Ok(());
        }
        if self.domain == TimeDomain::Event {
            // What is due before the event happens before it.
            self.matcher.reach(prepared.batch.time(row))?;
        }
        self.matcher.event(prepared, row, report)
    }

    /// Takes the events that a watermark has passed, those of all inputs in the order of their times.
    fn release(&mut self, watermark: Micros, out: &mut Output) -> Result<()> {
        self.released = self.released.max(watermark);
        if self.held.is_empty() {
            return Ok(());
        }
        let mut report = Reports::at(out.now());
        let mut due = Vec::new();
        let mut order = Vec::new();
        for (port, batch) in std::mem::take(&mut self.held) {
            let times = batch.times().to_buffer(batch.num_rows());
            let rows = 0..batch.num_rows() as u32;
            let (passed, ahead): (Vec<u32>, Vec<u32>) = rows.partition(|row| times[*row as usize] <= watermark);
            if ahead.is_empty() || passed.is_empty() {
                match passed.is_empty() {
                    true => self.held.push((port, batch)),
                    false => due.push(self.matcher.prepare(port, batch, &mut report)?),
                }
            } else {
                self.held.push((port, batch.take(ahead)?));
                due.push(self.matcher.prepare(port, batch.take(passed)?, &mut report)?);
            }
        }
        for (index, prepared) in due.iter().enumerate() {
            let rows = 0..prepared.batch.num_rows();
            order.extend(rows.map(|row| (prepared.batch.time(row), index, row)));
        }
        // Ties in the order they came.
        order.sort_by_key(|(time, ..)| *time);
        for events in order.chunks(TOGETHER) {
            if self.matcher.looks_ahead() {
                let events = events.iter().map(|(_, index, row)| (&due[*index], *row));
                self.matcher.look_ahead(events);
            }
            for (_, index, row) in events {
                self.event(&due[*index], *row, &mut report)?;
            }
        }
        report.errors.into_iter().for_each(|error| out.error(error));
        self.flush(out)
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        if let Some(matches) = self.matcher.flush()? {
            out.emit(matches);
        }
        if let Some(message) = self.matcher.take_report() {
            let mut report = Reports::at(out.now());
            report.add(message, String::new());
            report.errors.into_iter().for_each(|error| out.error(error));
        }
        self.count(out);
        Ok(())
    }

    /// Tells how the counts have changed.
    fn count(&mut self, out: &mut Output) {
        let tally = self.matcher.tally();
        let now = PatternCounts {
            open: tally.open as i64,
            bytes: self.matcher.bytes() as i64,
            matches: tally.matches,
            timeouts: tally.timeouts,
            dropped: tally.dropped,
        };
        let told = std::mem::replace(&mut self.told, now);
        out.count_patterns(PatternCounts {
            open: now.open - told.open,
            bytes: now.bytes - told.bytes,
            matches: now.matches - told.matches,
            timeouts: now.timeouts - told.timeouts,
            dropped: now.dropped - told.dropped,
        });
    }

    /// Asks for the timer that is due next.
    fn ask(&self, out: &mut Output) {
        if self.domain == TimeDomain::Processing
            && let Some(next) = self.matcher.timers.next()
        {
            out.wake_at(next);
        }
    }
}
