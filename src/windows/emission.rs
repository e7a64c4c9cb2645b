//! What a batch window gives when it closes: one batch, the events that leave before those that enter.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use super::Retained;
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::state::{StateReader, StateWriter};

/// Where a window begins and ends.
pub type Bounds = (Micros, Micros);

/// Puts emissions together and, if anybody asks for what leaves, remembers the events of the last one.
pub struct Emissions {
    schema: SchemaRef,
    with_bounds: bool,
    retained: Retained,
    former: Vec<EventBatch>,
}

impl Emissions {
    /// Emissions of `schema`, which ends in the window's bounds if `with_bounds`.
    pub fn new(schema: SchemaRef, with_bounds: bool, retained: Retained) -> Self {
        Emissions {
            schema,
            with_bounds,
            retained,
            former: Vec::new(),
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

    /// The window closes with these events, at `time`. `None` if nothing enters and nothing leaves.
    pub fn close(&mut self, events: &[EventBatch], bounds: Bounds, time: Micros) -> Result<Option<EventBatch>> {
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
        match parts.is_empty() {
            true => Ok(None),
            false => EventBatch::concat(&self.schema, &parts).map(Some),
        }
    }

    /// Events with the window's bounds as columns.
    pub fn bounded(&self, batch: &EventBatch, (start, end): Bounds) -> Result<EventBatch> {
        if !self.with_bounds {
            return Ok(batch.clone());
        }
        let rows = batch.num_rows();
        let bound = |time: Micros| {
            let times = TimestampMicrosecondArray::from(vec![time; rows]);
            let column = self.schema.fields().last().map(|field| field.data_type().clone());
            match column {
                Some(arrow::datatypes::DataType::Timestamp(_, zone)) => {
                    Arc::new(times.with_timezone_opt(zone)) as ArrayRef
                }
                _ => Arc::new(times) as ArrayRef,
            }
        };
        let mut columns = batch.columns().columns().to_vec();
        columns.extend([bound(start), bound(end)]);
        Ok(batch.with_columns(RecordBatch::try_new(self.schema.clone(), columns)?))
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
