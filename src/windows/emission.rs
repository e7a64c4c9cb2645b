//! What a batch window gives when it closes: one batch, the events that leave before those that enter.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, SchemaRef};

use super::Retained;
use super::announce::{Announce, Mark, marked};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::Output;
use crate::operators::state::{StateReader, StateWriter};

/// Where a window begins and ends.
pub type Bounds = (Micros, Micros);

/// Puts emissions together and, if anybody asks for what leaves, remembers the events of the last one.
pub struct Emissions {
    schema: SchemaRef,
    with_bounds: bool,
    retained: Retained,
    announce: Announce,
    former: Vec<EventBatch>,
}

impl Emissions {
    /// Emissions of `schema`, which ends in the window's bounds if `with_bounds`.
    pub fn new(schema: SchemaRef, with_bounds: bool, retained: Retained) -> Self {
        Emissions {
            schema,
            with_bounds,
            retained,
            announce: Announce::Nothing,
            former: Vec::new(),
        }
    }

    /// The same, with what is given before the close.
    pub fn announcing(self, announce: Announce) -> Self {
        Emissions { announce, ..self }
    }

    /// Gives events that have arrived in an open window, if that is asked for.
    pub fn announce(&self, events: &EventBatch, bounds: Bounds, window: i64, out: &mut Output) -> Result<()> {
        if self.announce != Announce::Nothing {
            let events = self.bounded(events, bounds)?;
            out.emit(self.marked(events, Mark::Arrived, window)?);
        }
        Ok(())
    }

    /// Tells that a window with these events is no more and gives nothing.
    pub fn forget(&self, events: &[EventBatch], bounds: Bounds, window: i64, out: &mut Output) -> Result<()> {
        if self.announce == Announce::Marked {
            for batch in events {
                let batch = self.bounded(batch, bounds)?;
                out.emit(self.marked(batch, Mark::Gone, window)?);
            }
        }
        Ok(())
    }

    /// A batch of one window's rows with its mark, if rows are marked.
    pub fn marked(&self, batch: EventBatch, mark: Mark, window: i64) -> Result<EventBatch> {
        match self.announce {
            Announce::Marked => marked(&batch, Int64Array::from_value(mark.of(window), batch.num_rows())),
            _ => Ok(batch),
        }
    }

    /// The events of the last emission, if anybody asks for what leaves.
    pub fn content(&self) -> Vec<EventBatch> {
        self.former.clone()
    }

    /// Whether a former emission has not left yet.
    pub fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// The window closes with these events, at `time`: gives what leaves and what enters.
    pub fn close(
        &mut self,
        events: &[EventBatch],
        bounds: Bounds,
        time: Micros,
        window: i64,
        out: &mut Output,
    ) -> Result<()> {
        self.give(events, bounds, time, (Mark::Closes, window), out)
    }

    /// As [`Emissions::close`], but the mark may say that the window stays open.
    pub fn give(
        &mut self,
        events: &[EventBatch],
        bounds: Bounds,
        time: Micros,
        (mark, window): (Mark, i64),
        out: &mut Output,
    ) -> Result<()> {
        let entering = events
            .iter()
            .map(|batch| self.bounded(batch, bounds))
            .collect::<Result<Vec<_>>>()?;
        let leaving = match self.retained {
            Retained::Expired => std::mem::replace(&mut self.former, entering.clone()),
            Retained::Nothing => Vec::new(),
        };
        let leaving = leaving.into_iter().map(|batch| as_deletes(batch, time));
        let parts: Vec<EventBatch> = leaving.chain(entering).collect();
        if !parts.is_empty() {
            let emission = EventBatch::concat(&self.schema, &parts)?;
            out.emit(self.marked(emission, mark, window)?);
        }
        Ok(())
    }

    /// Events with the window's bounds as columns.
    pub fn bounded(&self, batch: &EventBatch, bounds: Bounds) -> Result<EventBatch> {
        self.bounded_each(batch, std::iter::repeat_n(bounds, batch.num_rows()))
    }

    /// Events, each with the bounds of a window of its own.
    pub fn bounded_each(&self, batch: &EventBatch, bounds: impl Iterator<Item = Bounds>) -> Result<EventBatch> {
        if !self.with_bounds {
            return Ok(batch.clone());
        }
        let (starts, ends): (Vec<Micros>, Vec<Micros>) = bounds.unzip();
        let mut columns = batch.columns().columns().to_vec();
        columns.extend([self.bound(starts), self.bound(ends)]);
        Ok(batch.with_columns(RecordBatch::try_new(self.schema.clone(), columns)?))
    }

    fn bound(&self, times: Vec<Micros>) -> ArrayRef {
        let times = TimestampMicrosecondArray::from(times);
        match self.schema.fields().last().map(|field| field.data_type()) {
            Some(DataType::Timestamp(_, zone)) => Arc::new(times.with_timezone_opt(zone.clone())),
            _ => Arc::new(times),
        }
    }

    /// Writes the former emission.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        write_batches(&self.former, state)
    }

    /// Reads it back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.former = read_batches(state)?;
        Ok(())
    }
}

fn as_deletes(batch: EventBatch, time: Micros) -> EventBatch {
    let ops = vec![Op::Delete; batch.num_rows()];
    let (columns, _, _) = batch.into_parts();
    EventBatch::changes(columns, Times::Same(time), ops.into())
}

/// Writes batches, their number first.
pub fn write_batches(batches: &[EventBatch], state: &mut StateWriter) -> Result<()> {
    state.value(&batches.len())?;
    batches.iter().try_for_each(|batch| state.events(batch))
}

/// Reads what [`write_batches`] wrote.
pub fn read_batches(state: &mut StateReader) -> Result<Vec<EventBatch>> {
    let batches: usize = state.value()?;
    (0..batches).map(|_| state.events()).collect()
}
