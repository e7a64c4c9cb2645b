//! `delay`: lets each event out some time later.

use arrow::datatypes::SchemaRef;

use super::TimeDomain;
use super::held::Held;
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Holds each event for `duration`.
///
/// *Semantics.* An event of time `t` goes on when time reaches `t + duration`, with its own time; it never leaves. What is held
/// when the input ends goes on.
///
/// *Ops.* Inserts. *State.* The events held. *Cost.* O(1) an event.
pub struct Delay {
    plan: DelayPlan,
    held: Held,
}

/// What a [`Delay`] does.
#[derive(Debug, Clone)]
pub struct DelayPlan {
    /// For how long.
    pub duration: Micros,
    /// What moves time.
    pub domain: TimeDomain,
    /// The columns.
    pub schema: SchemaRef,
}

impl OperatorPlan for DelayPlan {
    fn name(&self) -> &'static str {
        "DelayWindow"
    }

    fn details(&self) -> Vec<String> {
        vec![format!("{} ms of {}", self.duration / 1_000, self.domain)]
    }

    fn takes_chunks(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Delay {
            plan: self.clone(),
            held: Held::default(),
        }))
    }
}

impl Operator for Delay {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let marks = batch.times().clone();
        self.held.push(batch, marks)?;
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        let Some(now) = self.plan.domain.reached_or_ended(time) else {
            return Ok(());
        };
        let until = match now {
            END_OF_TIME => now,
            now => now.saturating_sub(self.plan.duration),
        };
        for events in self.held.take_until(until) {
            out.emit(events);
        }
        self.set_timer(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        // An event that comes now will go on with its time.
        input.saturating_sub(self.plan.duration)
    }

    fn next_watermark(&self) -> Option<Micros> {
        let oldest = self.held.oldest().filter(|_| self.plan.domain == TimeDomain::Event);
        oldest.map(|oldest| oldest.saturating_add(self.plan.duration))
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(Some(self.held.content()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.held.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.held.restore(state)
    }
}

impl Delay {
    fn set_timer(&self, out: &mut Output) {
        if self.plan.domain == TimeDomain::Processing
            && let Some(oldest) = self.held.oldest()
        {
            out.wake_at(oldest.saturating_add(self.plan.duration));
        }
    }
}
