//! The matcher as a node of the pipeline.

use std::sync::Arc;

use arrow::array::{Int64Array, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices};

use super::matcher::{Matcher, MatcherPlan};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{BEGINNING_OF_TIME, CONTROL, END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::windows::TimeDomain;

/// Finds the rows of a stream that match a pattern, partition by partition.
///
/// *Semantics.* SQL:2016 row pattern recognition, over the rows so far: a match goes out as soon as no row to come can change it. Rows come in
/// event-time order, or as they come; with further keys those of one time wait until the watermark has passed it, and are put in
/// order. Rows go out with the time of their match's last row. See `feat/match-recognize/README.md`.
///
/// *Ops.* Takes and gives inserts. *State.* The rows from the beginning of the attempts on, and a few before that PREV reads; for each
/// partition some hundred bytes. *Cost.* One evaluation a batch of each condition that reads no labels; a row costs the threads of its partition's
/// attempt, at most the size of the program unless conditions read labels. A match costs its rows.
pub struct RowPatternOperator {
    plan: RowPatternPlan,
    matcher: Matcher,
    /// With further keys: rows that the watermark has not passed.
    waiting: Vec<EventBatch>,
    /// The latest time of rows that have been matched.
    reached: Micros,
}

/// What a [`RowPatternOperator`] does.
#[derive(Debug, Clone)]
pub struct RowPatternPlan {
    /// What is looked for.
    pub matcher: MatcherPlan,
    /// What moves its time.
    pub domain: TimeDomain,
    /// The columns that order rows of one time.
    pub order: Vec<(usize, SortOptions)>,
    /// For EXPLAIN.
    pub lines: Vec<String>,
}

impl OperatorPlan for RowPatternPlan {
    fn name(&self) -> &'static str {
        "MatchRecognize"
    }

    fn details(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(RowPatternOperator {
            matcher: Matcher::new(self.matcher.clone())?,
            plan: self.clone(),
            waiting: Vec::new(),
            reached: BEGINNING_OF_TIME,
        }))
    }
}

impl Operator for RowPatternOperator {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if port == CONTROL {
            return self.matcher.forget(&batch);
        }
        if self.plan.domain == TimeDomain::Processing {
            self.matcher.reach(out.now(), out)?;
        }
        if self.plan.order.is_empty() {
            self.matcher.take(batch, out)?;
        } else {
            self.wait(batch, out)?;
        }
        self.ask(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match (time, self.plan.domain) {
            (TimeUpdate::Timer(now), TimeDomain::Processing) => self.matcher.reach(now, out)?,
            (TimeUpdate::Watermark(END_OF_TIME), _) => {
                self.release(END_OF_TIME, out)?;
                self.matcher.end(out)?;
            }
            (TimeUpdate::Watermark(watermark), TimeDomain::Event) => {
                self.release(watermark, out)?;
                self.matcher.reach(watermark, out)?;
            }
            _ => {}
        }
        self.ask(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        match (self.plan.domain, self.matcher.held()) {
            (TimeDomain::Event, Some(held)) => input.min(held),
            _ => input,
        }
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&(self.waiting.len(), self.reached))?;
        self.waiting.iter().try_for_each(|batch| state.events(batch))?;
        self.matcher.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let waiting: usize;
        (waiting, self.reached) = state.value()?;
        self.waiting = (0..waiting).map(|_| state.events()).collect::<Result<_>>()?;
        self.matcher.restore(state)
    }
}

impl RowPatternOperator {
    /// Keeps rows until all of their time are there. A late one that was accepted goes as it comes.
    fn wait(&mut self, batch: EventBatch, out: &mut Output) -> Result<()> {
        let rows = 0..batch.num_rows() as u32;
        let (late, ahead): (Vec<u32>, Vec<u32>) = rows.partition(|row| batch.time(*row as usize) <= self.reached);
        if late.is_empty() {
            self.waiting.push(batch);
            return Ok(());
        }
        if !ahead.is_empty() {
            self.waiting.push(batch.take(ahead)?);
        }
        self.matcher.take(batch.take(late)?, out)
    }

    /// Matches the rows before the watermark, in order.
    fn release(&mut self, watermark: Micros, out: &mut Output) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let all = EventBatch::concat(&self.plan.matcher.input, &waiting)?;
        // Others of the watermark's own time may come.
        let passed = |row: &u32| watermark == END_OF_TIME || all.time(*row as usize) < watermark;
        let (due, ahead): (Vec<u32>, Vec<u32>) = (0..all.num_rows() as u32).partition(passed);
        if !ahead.is_empty() {
            self.waiting.push(all.take(ahead)?);
        }
        if due.is_empty() {
            return Ok(());
        }
        let due = all.take(due)?;
        let rows = due.num_rows();
        let times = Int64Array::new(due.times().to_buffer(rows), None);
        let mut columns = vec![SortColumn {
            values: Arc::new(times),
            options: None,
        }];
        columns.extend(self.plan.order.iter().map(|(column, options)| SortColumn {
            values: due.column(*column).clone(),
            options: Some(*options),
        }));
        // Ties in the order they came.
        let arrival = UInt32Array::from_iter_values(0..rows as u32);
        columns.push(SortColumn {
            values: Arc::new(arrival),
            options: None,
        });
        let order = lexsort_to_indices(&columns, None)?;
        let due = due.take(order.values().to_vec())?;
        self.reached = self.reached.max(due.time(rows - 1));
        self.matcher.take(due, out)
    }

    /// Asks for the timer that is due next.
    fn ask(&self, out: &mut Output) {
        if self.plan.domain == TimeDomain::Processing
            && let Some(next) = self.matcher.next_due()
        {
            // WITHIN includes its end.
            out.wake_at(next.saturating_add(1));
        }
    }
}
