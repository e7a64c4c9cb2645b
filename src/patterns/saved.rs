//! The matcher's state as bytes: attempts and links as words, captured columns as they are. Where attempts wait and when they
//! time out follows from that.

use arrow::array::{ArrayRef, RecordBatch};

use super::captures::{EventId, LinkId, NOTHING};
use super::matcher::{Matcher, Partition};
use super::opened::Opened;
use super::program::PartKind;
use super::progress::{Attempt, NOT_STARTED, Slots};
use super::timers::{AttemptId, Due};
use crate::error::{Error, Result};
use crate::event::Micros;
use crate::operators::state::{StateReader, StateWriter};
use crate::windows::gather::batch_of;

/// An attempt without its place.
#[derive(serde::Serialize, serde::Deserialize)]
struct SavedAttempt {
    order: u64,
    waits: u64,
    started: Micros,
    first: u64,
    link: LinkId,
    partition: u32,
    begun: bool,
    slots: Option<Slots>,
    timers: Vec<(Micros, Due)>,
}

impl Matcher {
    /// Writes the state.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&(self.clock, self.orders))?;
        if let Some(keys) = &self.keys {
            keys.snapshot(state)?;
        }
        let partitions = self
            .partitions
            .iter()
            .map(|partition| (partition.armed, partition.events));
        state.value(&partitions.collect::<Vec<_>>())?;
        let mut ids: Vec<AttemptId> = self.attempts.ids().collect();
        ids.sort_by_key(|id| self.attempts.get(*id).id);
        let mut timers = self.timers.by_attempt();
        let attempts: Vec<SavedAttempt> = ids
            .iter()
            .map(|id| {
                let attempt = self.attempts.get(*id);
                let own = timers.remove(&(*id, attempt.generation)).unwrap_or_default();
                saved(attempt, own)
            })
            .collect();
        state.unwritten(move |state| state.value(&attempts))?;
        // Links and events are written by their places.
        let links = self.events.links.clone();
        state.unwritten(move |state| state.value(&links))?;
        for store in &self.events.stores {
            let uses = store.uses.clone();
            state.unwritten(move |state| state.value(&uses))?;
            let places: Vec<EventId> = store.uses.live().collect();
            let columns: Result<Vec<ArrayRef>> = store.columns.iter().map(|column| column.gather(&places)).collect();
            state.columns(&batch_of(store.schema.clone(), columns?, places.len())?)?;
        }
        Ok(())
    }

    /// Reads it back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        (self.clock, self.orders) = state.value()?;
        if let Some(keys) = &mut self.keys {
            keys.restore(state)?;
        }
        let partitions: Vec<(bool, u64)> = state.value()?;
        self.partitions = partitions
            .into_iter()
            .map(|(armed, events)| Partition {
                armed,
                events,
                ..Partition::default()
            })
            .collect();
        let attempts: Vec<SavedAttempt> = state.value()?;
        self.events.links = state.value()?;
        for store in &mut self.events.stores {
            store.uses = state.value()?;
            let columns: RecordBatch = state.columns()?;
            if columns.num_rows() != store.uses.len() || columns.num_columns() != store.columns.len() {
                return Err(Error::failed("the snapshot is damaged: captured events"));
            }
            let places: Vec<EventId> = store.uses.live().collect();
            for (column, array) in store.columns.iter_mut().zip(columns.columns()) {
                let array = Opened::of(array);
                for (row, place) in places.iter().enumerate() {
                    column.put(*place, &array, row);
                }
            }
        }
        for saved in attempts {
            if saved.link != NOTHING && !self.events.links.has(saved.link) {
                return Err(Error::failed("the snapshot is damaged: an attempt without its events"));
            }
            let timers = saved.timers;
            let attempt = Attempt {
                order: saved.order,
                waits: saved.waits,
                started: saved.started,
                first: saved.first,
                link: saved.link,
                begun: saved.begun,
                slots: saved.slots.map(Box::new),
                ..Attempt::new(&self.plan.program, saved.partition)
            };
            let id = self.add((attempt, timers.into()));
            self.count_groups(id);
        }
        Ok(())
    }

    /// From which event on the groups bounded by WITHIN n EVENTS count.
    fn count_groups(&mut self, id: AttemptId) {
        let program = self.plan.program.clone();
        for (index, &part) in program.counted.iter().enumerate() {
            if let PartKind::Within { mark, .. } = program.part(part).kind {
                let from = self.attempts.get(id).mark(&program, mark);
                if from != NOT_STARTED {
                    self.count_from(id, index + 1, from as u64);
                }
            }
        }
    }
}

fn saved(attempt: &Attempt, timers: Vec<(Micros, Due)>) -> SavedAttempt {
    SavedAttempt {
        order: attempt.order,
        waits: attempt.waits,
        started: attempt.started,
        first: attempt.first,
        link: attempt.link,
        partition: attempt.partition,
        begun: attempt.begun,
        slots: attempt.slots.as_deref().cloned(),
        timers,
    }
}
