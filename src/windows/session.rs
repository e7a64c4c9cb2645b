//! `session`: events of a key that are close to each other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};

use super::announce::{Announce, Mark, marked};
use super::changes::Changes;
use super::emission::Emissions;
use super::row_store::{RowId, RowStore};
use super::session_index::{Assigned, Closed, Merge, Seen, SessionIndex, Slot};
use super::{Retained, TimeDomain};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Gives the events of each session when it closes.
///
/// *Semantics.* Those of [`SessionIndex`]: an event exactly `gap` after the last still belongs, so a session closes when time
/// has passed that. It begins with its first event and ends `gap` after its last. If anybody asks for what leaves, its events
/// leave as they are given: nothing holds them longer.
///
/// *Ops.* Takes inserts; one batch out is one emission, of one session. *State.* The events of the open sessions. *Cost.* O(1)
/// an event, whatever the number of keys.
pub struct Session {
    plan: SessionPlan,
    index: SessionIndex,
    events: RowStore,
    /// The events of each session, by its number.
    rows: Vec<Vec<RowId>>,
    /// Where sessions began, the earliest first; may name sessions that are no more.
    starts: BinaryHeap<Reverse<(Micros, Slot)>>,
    emissions: Emissions,
    assigned: Assigned,
}

/// What a [`Session`] does.
#[derive(Debug, Clone)]
pub struct SessionPlan {
    /// Events of a key that are further apart belong to two sessions.
    pub gap: Micros,
    /// How long a session waits for late events.
    pub lateness: Micros,
    /// The columns that make the key.
    pub keys: Vec<usize>,
    /// What moves time.
    pub domain: TimeDomain,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// What is given before a session closes.
    pub announce: Announce,
    /// The columns, the window's bounds last.
    pub schema: SchemaRef,
}

impl SessionPlan {
    fn key_types(&self) -> Vec<DataType> {
        let types = self.keys.iter().map(|&key| self.schema.field(key).data_type().clone());
        types.collect()
    }
}

impl OperatorPlan for SessionPlan {
    fn name(&self) -> &'static str {
        "SessionWindow"
    }

    fn details(&self) -> Vec<String> {
        let keys: Vec<&str> = self
            .keys
            .iter()
            .map(|&key| self.schema.field(key).name().as_str())
            .collect();
        let by = (!keys.is_empty()).then(|| format!("by {}", keys.join(", ")));
        let gap = format!("gap {} ms of {}", self.gap / 1_000, self.domain);
        std::iter::once(gap).chain(by).collect()
    }

    fn takes_chunks(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Session {
            index: SessionIndex::new(self.gap, self.lateness, &self.key_types())?,
            events: RowStore::default(),
            rows: Vec::new(),
            starts: BinaryHeap::new(),
            emissions: Emissions::new(self.schema.clone(), true, Retained::Nothing).announcing(self.announce),
            assigned: Assigned::default(),
            plan: self.clone(),
        }))
    }
}

impl Operator for Session {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        self.index
            .assign(&keys, batch.times(), batch.num_rows(), &mut self.assigned)?;
        let assigned = std::mem::take(&mut self.assigned);
        let ids = self.events.push(batch.clone())?;
        let mut merged = assigned.merged.iter().peekable();
        let mut given = 0;
        for (row, id) in ids.into_iter().enumerate() {
            while let Some(merge) = merged.next_if(|merge| merge.row == row) {
                self.announce(&batch, &assigned.seen, given..row, out)?;
                given = row;
                self.merge(merge, assigned.seen[row], out)?;
            }
            self.add(id, assigned.seen[row].slot, assigned.slots[row]);
        }
        self.announce(&batch, &assigned.seen, given..batch.num_rows(), out)?;
        self.assigned = assigned;
        self.events.settle()?;
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let Some(now) = self.plan.domain.reached_or_ended(time) {
            self.close(now, out)?;
        }
        self.set_timer(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        // Events keep their times.
        self.starts
            .peek()
            .map_or(input, |Reverse((start, _))| (*start).min(input))
    }

    fn next_watermark(&self) -> Option<Micros> {
        self.index.next().filter(|_| self.plan.domain == TimeDomain::Event)
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        let rows: Vec<RowId> = self.rows.iter().flatten().copied().collect();
        Ok(Some(self.events.get(&rows)?.into_iter().collect()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.index.snapshot(state)?;
        self.events.snapshot(state)?;
        state.value(&self.rows)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.index.restore(state)?;
        self.events.restore(state)?;
        self.rows = state.value()?;
        let slots = 0..self.rows.len() as Slot;
        self.starts = slots
            .filter_map(|slot| Some(Reverse((self.index.start(slot)?, slot))))
            .collect();
        Ok(())
    }
}

impl Session {
    /// Puts an event into a session, which later events of the batch have made part of `finally`.
    fn add(&mut self, id: RowId, slot: Slot, finally: Slot) {
        if self.rows.len() <= slot as usize {
            self.rows.resize_with(slot as usize + 1, Vec::new);
        }
        self.rows[slot as usize].push(id);
        if let Some(time) = self.events.time(id)
            && self.index.start(finally) == Some(time)
        {
            self.starts.push(Reverse((time, finally)));
        }
    }

    /// Makes a session part of another, as the event that bridges them leaves it.
    fn merge(&mut self, merge: &Merge, seen: Seen, out: &mut Output) -> Result<()> {
        let younger = self.rows.get_mut(merge.from as usize).map(std::mem::take);
        let younger = younger.unwrap_or_default();
        if self.plan.announce == Announce::Marked
            && let Some(events) = self.events.get(&younger)?
        {
            let bounds = (seen.start, self.index.end(seen.last));
            let events = self.emissions.bounded(&events, bounds)?;
            for (mark, slot) in [(Mark::Gone, merge.from), (Mark::Moved, merge.then)] {
                out.emit(self.emissions.marked(events.clone(), mark, i64::from(slot))?);
            }
        }
        if let Some(older) = self.rows.get_mut(merge.then as usize) {
            older.extend(younger);
        }
        Ok(())
    }

    /// Gives events at once, each with the bounds that it left its session with.
    fn announce(&self, batch: &EventBatch, seen: &[Seen], rows: Range<usize>, out: &mut Output) -> Result<()> {
        if self.plan.announce == Announce::Nothing || rows.is_empty() {
            return Ok(());
        }
        let seen = &seen[rows.clone()];
        let bounds = seen.iter().map(|seen| (seen.start, self.index.end(seen.last)));
        let events = self
            .emissions
            .bounded_each(&batch.slice(rows.start, rows.len()), bounds)?;
        out.emit(match self.plan.announce {
            Announce::Marked => {
                let marks = seen.iter().map(|seen| Mark::Arrived.of(i64::from(seen.slot)));
                marked(&events, marks.collect::<Vec<_>>().into())?
            }
            _ => events,
        });
        Ok(())
    }

    fn close(&mut self, now: Micros, out: &mut Output) -> Result<()> {
        let closed = self.index.over(now);
        for session in &closed {
            self.give(session, out)?;
        }
        self.index.release(&closed);
        self.events.settle()?;
        while let Some(Reverse((start, slot))) = self.starts.peek()
            && self.index.start(*slot) != Some(*start)
        {
            self.starts.pop();
        }
        Ok(())
    }

    fn give(&mut self, session: &Closed, out: &mut Output) -> Result<()> {
        let mut rows = std::mem::take(&mut self.rows[session.slot as usize]);
        rows.sort_by_key(|&row| self.events.time(row));
        let end = self.index.end(session.last);
        let mut changes = Changes::default();
        if self.plan.retained == Retained::Expired {
            for &row in &rows {
                self.events.pick(row, &mut changes, Op::Delete, end);
            }
        }
        for &row in &rows {
            let time = self.events.time(row).unwrap_or(session.last);
            self.events.pick(row, &mut changes, Op::Insert, time);
            self.events.remove(row);
        }
        self.events.unpick();
        if let Some(events) = changes.finish()? {
            let events = self.emissions.bounded(&events, (session.start, end))?;
            out.emit(self.emissions.marked(events, Mark::Closes, i64::from(session.slot))?);
        }
        Ok(())
    }

    fn set_timer(&self, out: &mut Output) {
        if let (TimeDomain::Processing, Some(next)) = (self.plan.domain, self.index.next()) {
            out.wake_at(next.max(out.now()));
        }
    }
}
