//! `lengthBatch` and `batch`: windows that close after a number of events, or with each incoming chunk.

use arrow::datatypes::SchemaRef;

use super::Retained;
use super::announce::Announce;
use super::emission::{Emissions, read_batches, write_batches};
use super::gather::gather;
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Gathers `size` events, then closes; without a size each batch that comes in is a window.
///
/// *Semantics.* What has been gathered when the input ends is a last, smaller window. With `stream_current` events go on at
/// once, and those of a full window leave together when the first of the next comes.
///
/// *Ops.* Takes inserts; one batch out is one emission, unless `stream_current`. *State.* The window's events, and the former
/// window's if anybody asks for them. *Cost.* O(1) an event.
pub struct LengthBatch {
    plan: LengthBatchPlan,
    held: Vec<EventBatch>,
    rows: usize,
    emissions: Emissions,
}

/// What a [`LengthBatch`] does.
#[derive(Debug, Clone)]
pub struct LengthBatchPlan {
    /// The number of events; `None` for one chunk.
    pub size: Option<usize>,
    /// Events go on as they come.
    pub stream_current: bool,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// What is given before the window closes.
    pub announce: Announce,
    /// The columns.
    pub schema: SchemaRef,
}

/// The number of the open window: there is only one.
const OPEN: i64 = 0;

impl OperatorPlan for LengthBatchPlan {
    fn name(&self) -> &'static str {
        match self.size {
            Some(_) => "LengthBatchWindow",
            None => "BatchWindow",
        }
    }

    fn details(&self) -> Vec<String> {
        self.size.map(|size| format!("{size} events")).into_iter().collect()
    }

    fn keeps_batches(&self) -> bool {
        self.size.is_none()
    }

    fn takes_chunks(&self) -> bool {
        self.size.is_none()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(LengthBatch {
            emissions: Emissions::new(self.schema.clone(), false, self.retained).announcing(self.announce),
            plan: self.clone(),
            held: Vec::new(),
            rows: 0,
        }))
    }
}

impl Operator for LengthBatch {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let Some(size) = self.plan.size else {
            let time = latest(std::slice::from_ref(&batch));
            self.emissions.announce(&batch, (time, time), OPEN, out)?;
            return self.emit(vec![batch], time, out);
        };
        let mut from = 0;
        while from < batch.num_rows() {
            if self.rows == size {
                self.leave(batch.time(from), out)?;
            }
            let taken = (size - self.rows).min(batch.num_rows() - from);
            let part = batch.slice(from, taken);
            from += taken;
            self.rows += taken;
            if self.plan.stream_current {
                out.emit(part.clone());
            }
            self.emissions.announce(&part, (0, 0), OPEN, out)?;
            gather(&mut self.held, part)?;
            if self.rows == size && !self.plan.stream_current {
                self.close(out)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match time {
            TimeUpdate::Watermark(END_OF_TIME) if !self.plan.stream_current => self.close(out),
            _ => Ok(()),
        }
    }

    fn watermark(&self, input: Micros) -> Micros {
        let oldest = self.held.first().map(|batch| batch.time(0));
        match self.plan.stream_current {
            true => input,
            false => oldest.map_or(input, |oldest| oldest.min(input)),
        }
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(Some(match self.plan.stream_current {
            true => self.held.clone(),
            false => self.emissions.content(),
        }))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        write_batches(&self.held, state)?;
        self.emissions.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.held = read_batches(state)?;
        self.rows = self.held.iter().map(EventBatch::num_rows).sum();
        self.emissions.restore(state)
    }
}

impl LengthBatch {
    fn close(&mut self, out: &mut Output) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.rows = 0;
        let held = std::mem::take(&mut self.held);
        let time = latest(&held);
        self.emit(held, time, out)
    }

    fn emit(&mut self, events: Vec<EventBatch>, time: Micros, out: &mut Output) -> Result<()> {
        self.emissions.close(&events, (time, time), time, OPEN, out)
    }

    /// The events of a full window, which went on one by one, leave together.
    fn leave(&mut self, time: Micros, out: &mut Output) -> Result<()> {
        self.rows = 0;
        let held = std::mem::take(&mut self.held);
        if self.plan.retained == Retained::Expired {
            let all = EventBatch::concat(&self.plan.schema, &held)?;
            let ops = vec![Op::Delete; all.num_rows()];
            let (columns, _, _) = all.into_parts();
            out.emit(EventBatch::changes(columns, Times::Same(time), ops.into()));
        }
        Ok(())
    }
}

/// The time of the last of some events.
pub fn latest(events: &[EventBatch]) -> Micros {
    let last = events.last().filter(|batch| !batch.is_empty());
    last.map_or(0, |batch| batch.time(batch.num_rows() - 1))
}
