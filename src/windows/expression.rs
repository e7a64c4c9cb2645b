//! `expression` and `expressionBatch`: windows as long as a condition over their events holds.

use arrow::datatypes::SchemaRef;

use super::Retained;
use super::announce::Announce;
use super::changes::Changes;
use super::condition::{ConditionPlan, Row, Watched};
use super::emission::{Emissions, read_batches, write_batches};
use super::gather::gather;
use super::held::Held;
use super::length_batch::latest;
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{EventBatch, Micros, Op, json_row};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Holds the latest events for which the condition holds.
///
/// *Semantics.* An event comes in, and the oldest leave, which go out before it, until the condition holds or nothing is left:
/// then the event itself leaves after it came. A condition that cannot be computed does not hold, and is an error of its event.
///
/// *Ops.* Takes inserts; gives inserts and deletes. *State.* The events, and the condition's aggregates over them. *Cost.* One
/// evaluation of the condition for each event in and out.
pub struct Expression {
    plan: ExpressionPlan,
    condition: Watched,
    /// The events, with what the aggregates read.
    held: Held,
}

/// What an [`Expression`] does.
#[derive(Debug, Clone)]
pub struct ExpressionPlan {
    /// The condition.
    pub condition: ConditionPlan,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
}

impl OperatorPlan for ExpressionPlan {
    fn name(&self) -> &'static str {
        "ExpressionWindow"
    }

    fn details(&self) -> Vec<String> {
        vec![format!("while {}", self.condition.text)]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Expression {
            condition: self.condition.build()?,
            held: Held::default(),
            plan: self.clone(),
        }))
    }
}

impl Operator for Expression {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if self.plan.retained == Retained::Nothing {
            out.emit(batch);
            return Ok(());
        }
        let wide = self.condition.widen(&batch)?;
        let mut changes = Changes::default();
        let arriving = changes.source(&wide);
        let before = self.held.len();
        self.held.push(wide.clone(), wide.times().clone())?;
        let mut left = 0;
        for row in 0..wide.num_rows() {
            let time = wide.time(row);
            let event = Row { batch: &wide, row };
            self.condition.add(event)?;
            // What is in the window ends with this event: the rest of the batch is held, but has not come yet.
            let mut inside = before + row + 1 - left;
            let mut entered = false;
            while inside > 0 && !self.holds(event, out) {
                if inside == 1 {
                    changes.push(arriving, row, Op::Insert, time);
                    entered = true;
                }
                if let Some((events, oldest)) = self.held.front() {
                    let oldest = Row {
                        batch: events,
                        row: oldest,
                    };
                    self.condition.retract(oldest)?;
                }
                self.held.expire(&mut changes, time);
                left += 1;
                inside -= 1;
            }
            if !entered {
                changes.push(arriving, row, Op::Insert, time);
            }
        }
        self.held.settle();
        if let Some(changed) = changes.finish()? {
            out.emit(self.condition.narrow(&changed)?);
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(Some(self.held.content()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.condition.snapshot(state)?;
        self.held.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.condition.restore(state)?;
        self.held.restore(state)
    }
}

impl Expression {
    fn holds(&mut self, last: Row, out: &mut Output) -> bool {
        let Some((batch, row)) = self.held.front() else {
            return true;
        };
        holds(&mut self.condition, Row { batch, row }, last, out)
    }
}

/// Whether the condition holds; an error is the newest event's.
fn holds(condition: &mut Watched, first: Row, last: Row, out: &mut Output) -> bool {
    match condition.holds(first, last) {
        Ok(holds) => holds,
        Err(error) => {
            report(&error, last, out);
            false
        }
    }
}

fn report(error: &Error, event: Row, out: &mut Output) {
    out.error(RowError {
        kind: ErrorKind::Evaluate,
        message: format!("the window's condition: {error}"),
        event: json_row::row(event.batch.columns(), event.row),
        line: None,
        at: out.now(),
        attempts: 1,
    });
}

/// Gathers events as long as the condition holds; an event with which it does not closes the window and begins the next.
///
/// *Semantics.* A window has at least one event, whatever the condition says of it alone. What has been gathered when the
/// input ends is given, too.
///
/// *Ops.* Takes inserts; one batch out is one emission. *State.* The window's events and the condition's aggregates over them,
/// and the former window's events if anybody asks for them. *Cost.* One evaluation of the condition an event.
pub struct ExpressionBatch {
    condition: Watched,
    /// The events of the open window.
    held: Vec<EventBatch>,
    emissions: Emissions,
}

/// What an [`ExpressionBatch`] does.
#[derive(Debug, Clone)]
pub struct ExpressionBatchPlan {
    /// The condition.
    pub condition: ConditionPlan,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// What is given before the window closes.
    pub announce: Announce,
    /// The columns.
    pub schema: SchemaRef,
}

/// The number of the open window: there is only one.
const OPEN: i64 = 0;

impl OperatorPlan for ExpressionBatchPlan {
    fn name(&self) -> &'static str {
        "ExpressionBatchWindow"
    }

    fn details(&self) -> Vec<String> {
        vec![format!("while {}", self.condition.text)]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(ExpressionBatch {
            condition: self.condition.build()?,
            held: Vec::new(),
            emissions: Emissions::new(self.schema.clone(), false, self.retained).announcing(self.announce),
        }))
    }
}

impl Operator for ExpressionBatch {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let wide = self.condition.widen(&batch)?;
        let mut from = 0;
        for row in 0..wide.num_rows() {
            let event = Row { batch: &wide, row };
            self.condition.add(event)?;
            let first = match self.held.first() {
                Some(batch) => Row { batch, row: 0 },
                None => Row {
                    batch: &wide,
                    row: from,
                },
            };
            let alone = self.held.is_empty() && from == row;
            if holds(&mut self.condition, first, event, out) || alone {
                continue;
            }
            self.hold(wide.slice(from, row - from), out)?;
            self.close(out)?;
            from = row;
            self.condition.add(event)?;
        }
        self.hold(wide.slice(from, wide.num_rows() - from), out)
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match time {
            TimeUpdate::Watermark(END_OF_TIME) => self.close(out),
            _ => Ok(()),
        }
    }

    fn watermark(&self, input: Micros) -> Micros {
        let oldest = self.held.first().map(|batch| batch.time(0));
        oldest.map_or(input, |oldest| oldest.min(input))
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(Some(self.emissions.content()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.condition.snapshot(state)?;
        write_batches(&self.held, state)?;
        self.emissions.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.condition.restore(state)?;
        self.held = read_batches(state)?;
        self.emissions.restore(state)
    }
}

impl ExpressionBatch {
    fn hold(&mut self, events: EventBatch, out: &mut Output) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        self.emissions
            .announce(&self.condition.narrow(&events)?, (0, 0), OPEN, out)?;
        gather(&mut self.held, events)
    }

    fn close(&mut self, out: &mut Output) -> Result<()> {
        self.condition.clear();
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let time = latest(&held);
        let events = held.iter().map(|batch| self.condition.narrow(batch));
        let events = events.collect::<Result<Vec<_>>>()?;
        self.emissions.close(&events, (time, time), time, OPEN, out)
    }
}
