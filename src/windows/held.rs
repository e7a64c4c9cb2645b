//! Events that a window holds, oldest first.

use std::collections::VecDeque;

use super::changes::{Changes, Source};
use super::gather::{is_joined, join};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::state::{StateReader, StateWriter};

/// A queue of events. Large batches are shared, not copied; one goes when its last event has left. Each event has a *mark*,
/// the time that decides when it leaves, which is its event time unless the window goes by a column.
///
/// *Cost.* O(1) an event in and out; an event that comes in a small batch is copied O(log) times.
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
    pub fn push(&mut self, events: EventBatch, marks: Times) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        self.rows += events.num_rows();
        self.batches.push_back(HeldBatch {
            events,
            marks,
            source: None,
        });
        self.join_small()
    }

    /// Joins the last batch to the one before as long as that is small and not much larger: sizes grow like powers of two, so
    /// that there are few batches and each event is copied few times.
    fn join_small(&mut self) -> Result<()> {
        loop {
            let count = self.batches.len();
            let rows = |index: usize| self.batches[index].events.num_rows();
            // The first batch is not touched: some of its events may have left.
            if count < 3 || !is_joined(rows(count - 2), rows(count - 1)) {
                return Ok(());
            }
            let (Some(last), Some(before)) = (self.batches.pop_back(), self.batches.pop_back()) else {
                return Ok(());
            };
            let rows = [before.events.num_rows(), last.events.num_rows()];
            let marks = match (&before.marks, &last.marks) {
                (Times::Same(a), Times::Same(b)) if a == b => Times::Same(*a),
                (before, last) => {
                    let before = before.to_buffer(rows[0]);
                    let last = last.to_buffer(rows[1]);
                    Times::Each(before.iter().chain(last.iter()).copied().collect())
                }
            };
            let events = join(&[before.events, last.events])?;
            self.batches.push_back(HeldBatch {
                events,
                marks,
                source: None,
            });
        }
    }

    /// The events, shared, not copied.
    pub fn content(&self) -> Vec<EventBatch> {
        let mut content: Vec<EventBatch> = self.batches.iter().map(|batch| batch.events.clone()).collect();
        if let Some(first) = content.first_mut() {
            *first = first.slice(self.gone, first.num_rows() - self.gone);
        }
        content
    }

    /// The mark of the oldest event.
    pub fn oldest(&self) -> Option<Micros> {
        self.batches.front().map(|batch| batch.marks.get(self.gone))
    }

    /// The oldest event: its batch, and which of its rows.
    pub fn front(&self) -> Option<(&EventBatch, usize)> {
        self.batches.front().map(|batch| (&batch.events, self.gone))
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

    /// Takes out the oldest events as long as their marks are `limit` or before.
    pub fn take_until(&mut self, limit: Micros) -> Vec<EventBatch> {
        let mut taken = Vec::new();
        while let Some(front) = self.batches.front() {
            let rows = front.events.num_rows();
            let over = match &front.marks {
                Times::Same(mark) if *mark <= limit => rows,
                Times::Same(_) => self.gone,
                Times::Each(marks) => {
                    let over = marks[self.gone..].iter().take_while(|mark| **mark <= limit);
                    self.gone + over.count()
                }
            };
            if over > self.gone {
                taken.push(front.events.slice(self.gone, over - self.gone));
                self.rows -= over - self.gone;
            }
            self.gone = over;
            if over < rows {
                break;
            }
            self.batches.pop_front();
            self.gone = 0;
        }
        taken
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

    /// All events, oldest first.
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
            state.numbers(&marks.to_buffer(rows))?;
        }
        Ok(())
    }

    /// Reads back what [`Held::snapshot`] wrote.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        *self = Held::default();
        let batches: usize = state.value()?;
        for _ in 0..batches {
            let events = state.events()?;
            let marks = state.numbers()?;
            if marks.len() != events.num_rows() {
                return Err(Error::failed("the snapshot is damaged: events without times"));
            }
            self.push(events, Times::Each(marks))?;
        }
        Ok(())
    }
}
