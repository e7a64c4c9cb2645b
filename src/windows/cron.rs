//! `cron`: a window that closes at the moments of a schedule.

use arrow::datatypes::SchemaRef;

use super::Retained;
use super::announce::Announce;
use super::emission::{Emissions, read_batches, write_batches};
use super::gather::gather;
use super::length_batch::latest;
use crate::error::{Error, Result};
use crate::event::cron::CronSchedule;
use crate::event::{EventBatch, Micros};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Gathers events until the schedule fires.
///
/// *Semantics.* Goes by the clock, whatever event time there is. The first firing is after the start. One without events does
/// nothing: the former events leave at a firing that has some. What has been gathered when the input ends is given, too.
///
/// *Ops.* Takes inserts; one batch out is one emission. *State.* The events since the last firing, and the former ones if
/// anybody asks for them. *Cost.* O(1) an event.
pub struct CronWindow {
    schedule: CronSchedule,
    next: Option<Micros>,
    held: Vec<EventBatch>,
    emissions: Emissions,
}

/// What a [`CronWindow`] does.
#[derive(Debug, Clone)]
pub struct CronPlan {
    /// The cron expression.
    pub schedule: String,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// What is given before a firing.
    pub announce: Announce,
    /// The columns.
    pub schema: SchemaRef,
}

/// The number of the open window: there is only one.
const OPEN: i64 = 0;

impl OperatorPlan for CronPlan {
    fn name(&self) -> &'static str {
        "CronWindow"
    }

    fn details(&self) -> Vec<String> {
        vec![format!("at {}", self.schedule)]
    }

    fn takes_chunks(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(CronWindow {
            schedule: CronSchedule::parse(&self.schedule).map_err(Error::failed)?,
            next: None,
            held: Vec::new(),
            emissions: Emissions::new(self.schema.clone(), false, self.retained).announcing(self.announce),
        }))
    }
}

impl Operator for CronWindow {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        self.emissions.announce(&batch, (0, 0), OPEN, out)?;
        gather(&mut self.held, batch)
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match time {
            // The first timer is the start.
            TimeUpdate::Timer(now) => {
                if self.next.is_some_and(|next| next <= now) {
                    self.close(now, out)?;
                }
                if self.next.is_none_or(|next| next <= now) {
                    self.next = self.schedule.next_after(now);
                }
                if let Some(next) = self.next {
                    out.wake_at(next);
                }
            }
            TimeUpdate::Watermark(END_OF_TIME) => self.close(latest(&self.held), out)?,
            TimeUpdate::Watermark(_) => {}
        }
        Ok(())
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
        state.value(&self.next)?;
        write_batches(&self.held, state)?;
        self.emissions.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.next = state.value()?;
        self.held = read_batches(state)?;
        self.emissions.restore(state)
    }
}

impl CronWindow {
    fn close(&mut self, now: Micros, out: &mut Output) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.emissions.close(&held, (now, now), now, OPEN, out)
    }
}
