//! Events that a window holds, oldest first.

use std::collections::VecDeque;

use super::changes::{Changes, Source};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::state::{StateReader, StateWriter};

/// A queue of events. Batches are shared, not copied; one goes when its last event has left. Each event has a *mark*, the
/// time that decides when it leaves, which is its event time unless the window goes by a column.
///
/// *Cost.* O(1) an event in and out.
#[derive(Default)]
pub struct Held {
    batches: VecDeque<HeldBatch>,
    /// Events of the first batch that have left.
    gone: usize,
    rows: usize,
}

struct HeldBatch {
    events: EventBatch,
    marks: Times,
    /// Its place among the sources of the changelog being built.
    source: Option<Source>,
}

impl Held {
    /// The number of events.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends events.
    pub fn push(&mut self, events: EventBatch, marks: Times) {
        if events.is_empty() {
            return;
        }
        self.rows += events.num_rows();
        self.batches.push_back(HeldBatch {
            events,
            marks,
            source: None,
        });
    }

    /// The mark of the oldest event.
    pub fn oldest(&self) -> Option<Micros> {
        self.batches.front().map(|batch| batch.marks.get(self.gone))
    }

    /// Lets the oldest event leave, as a change at `time`.
    pub fn expire(&mut self, changes: &mut Changes, time: Micros) {
        let Some(front) = self.batches.front_mut() else {
            return;
        };
        let source = *front.source.get_or_insert_with(|| changes.source(&front.events));
        changes.push(source, self.gone, Op::Delete, time);
        self.rows -= 1;
        self.gone += 1;
        if self.gone == front.events.num_rows() {
            self.batches.pop_front();
            self.gone = 0;
        }
    }

    /// Forgets the places that [`Held::expire`] has taken among the sources of a changelog. Call when it is finished.
    pub fn settle(&mut self) {
        // Only batches at the front can have been touched.
        for batch in &mut self.batches {
            if batch.source.take().is_none() {
                return;
            }
        }
    }

    /// All events, oldest first, as slices of the batches they came in.
    pub fn events(&self) -> impl Iterator<Item = EventBatch> {
        self.batches.iter().enumerate().map(|(index, batch)| {
            let gone = if index == 0 { self.gone } else { 0 };
            batch.events.slice(gone, batch.events.num_rows() - gone)
        })
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Vec<EventBatch> {
        let events = self.events().collect();
        *self = Held::default();
        events
    }

    /// Writes the events and their marks.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&self.batches.len())?;
        for (index, batch) in self.batches.iter().enumerate() {
            let gone = if index == 0 { self.gone } else { 0 };
            let rows = batch.events.num_rows() - gone;
            state.events(&batch.events.slice(gone, rows))?;
            let marks = batch.marks.slice(gone, rows);
            state.value(&marks.to_buffer(rows).to_vec())?;
        }
        Ok(())
    }

    /// Reads back what [`Held::snapshot`] wrote.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        *self = Held::default();
        let batches: usize = state.value()?;
        for _ in 0..batches {
            let events = state.events()?;
            let marks: Vec<Micros> = state.value()?;
            self.push(events, Times::Each(marks.into()));
        }
        Ok(())
    }
}
