//! Which sessions are open: by key and time, and in the order in which they will close.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::deadlines::Deadlines;
use crate::error::{Error, Result};
use crate::event::{Micros, Times};
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::operators::state::{StateReader, StateWriter};

/// The number of an open session. Given again once it is closed.
pub type Slot = u32;

const NONE: Slot = u32::MAX;

/// The open sessions of each key.
///
/// An event belongs to a session of its key if it is at most `gap` before its first or after its last event. If it fits two it
/// bridges them, and they become one. A session is over when time has passed its last event by more than `gap`, and by
/// `lateness` on top for events that come late.
///
/// *Cost.* O(1) an event, whatever the number of keys: a look-up of the key, whose sessions are a list, the latest first. The
/// end of a session moves with each event; [`Deadlines`] asks for it once a while.
pub struct SessionIndex {
    gap: Micros,
    lateness: Micros,
    keys: GroupTable,
    /// The latest session of each key.
    latest: Vec<Slot>,
    sessions: Vec<Session>,
    free: Vec<Slot>,
    deadlines: Deadlines,
    begun: i64,
    ids: Vec<GroupId>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    start: Micros,
    last: Micros,
    key: GroupId,
    /// The session of the same key before it.
    older: Slot,
    /// How many began before it.
    number: i64,
    state: SessionState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionState {
    Free,
    Open,
    /// Became part of another; its place is free when its deadline is met.
    Merged {
        into: Slot,
    },
}

/// A session that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Its number.
    pub slot: Slot,
    /// Its key's number.
    pub key: GroupId,
    /// The time of its first event.
    pub start: Micros,
    /// The time of its last event.
    pub last: Micros,
}

/// The sessions of a batch's events.
#[derive(Debug, Default)]
pub struct Assigned {
    /// The session of each row.
    pub slots: Vec<Slot>,
    /// Sessions that became part of another.
    pub merged: Vec<Merge>,
    /// The sessions as each row found and left them.
    pub seen: Vec<Seen>,
}

/// A session as an event left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number; a later event may have made it part of another.
    pub slot: Slot,
    /// The time of its first event so far.
    pub start: Micros,
    /// The time of its last event so far.
    pub last: Micros,
}

/// A session that became part of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// The one that is no more.
    pub from: Slot,
    /// The one it is part of now.
    pub into: Slot,
    /// The one it became part of then.
    pub then: Slot,
    /// The row that bridged them.
    pub row: usize,
}

impl SessionIndex {
    /// Without a session; keys are of these types.
    pub fn new(gap: Micros, lateness: Micros, key_types: &[DataType]) -> Result<Self> {
        Ok(SessionIndex {
            gap,
            lateness,
            keys: GroupTable::new(key_types)?,
            latest: Vec::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            deadlines: Deadlines::new(gap.saturating_add(lateness)),
            begun: 0,
            ids: Vec::new(),
        })
    }

    /// Puts events into their sessions.
    pub fn assign(&mut self, keys: &[ArrayRef], times: &Times, rows: usize, assigned: &mut Assigned) -> Result<()> {
        assigned.slots.clear();
        assigned.merged.clear();
        assigned.seen.clear();
        let mut ids = std::mem::take(&mut self.ids);
        self.keys.assign(keys, rows, &mut ids)?;
        if self.latest.len() < self.keys.capacity() {
            self.latest.resize(self.keys.capacity(), NONE);
        }
        for (row, &key) in ids.iter().enumerate() {
            let merged = assigned.merged.len();
            let slot = self.join(key, times.get(row), &mut assigned.merged)?;
            assigned.slots.push(slot);
            for merge in &mut assigned.merged[merged..] {
                merge.row = row;
            }
            let Session { start, last, .. } = self.sessions[slot as usize];
            assigned.seen.push(Seen { slot, start, last });
        }
        self.ids = ids;
        if !assigned.merged.is_empty() {
            // A session may have been merged after rows of this batch were put into it, and into one that was merged, too.
            for slot in &mut assigned.slots {
                *slot = self.resolve(*slot);
            }
            for merge in &mut assigned.merged {
                merge.into = self.resolve(merge.into);
            }
        }
        Ok(())
    }

    /// The sessions that are over at `now`, in the order in which they ended. Their numbers stay taken until
    /// [`SessionIndex::release`].
    pub fn over(&mut self, now: Micros) -> Vec<Closed> {
        let (sessions, wait) = (&self.sessions, self.wait());
        let due = self.deadlines.due(now, |slot| {
            let session = &sessions[slot as usize];
            (session.state == SessionState::Open).then(|| session.last.saturating_add(wait))
        });
        let mut closed = Vec::with_capacity(due.len());
        for slot in due {
            match self.sessions[slot as usize].state {
                SessionState::Open => closed.push(slot),
                _ => self.free_slot(slot),
            }
        }
        closed.sort_unstable_by_key(|&slot| {
            let session = &self.sessions[slot as usize];
            (session.last, session.number)
        });
        let of = |slot: Slot| {
            let session = &self.sessions[slot as usize];
            Closed {
                slot,
                key: session.key,
                start: session.start,
                last: session.last,
            }
        };
        closed.into_iter().map(of).collect()
    }

    /// The key columns of sessions.
    pub fn keys(&self, closed: &[Closed]) -> Result<Vec<ArrayRef>> {
        let ids: Vec<GroupId> = closed.iter().map(|closed| closed.key).collect();
        self.keys.keys(&ids)
    }

    /// Forgets sessions that [`SessionIndex::over`] gave, and keys without any.
    pub fn release(&mut self, closed: &[Closed]) {
        let mut gone = Vec::new();
        for session in closed {
            self.unlink(session.key, session.slot);
            self.free_slot(session.slot);
            if self.latest[session.key as usize] == NONE {
                gone.push(session.key);
            }
        }
        self.keys.forget(&gone);
    }

    /// No session is over before this.
    pub fn next(&self) -> Option<Micros> {
        self.deadlines.next()
    }

    /// The first event's time of an open session.
    pub fn start(&self, slot: Slot) -> Option<Micros> {
        let session = self.sessions.get(slot as usize)?;
        (session.state == SessionState::Open).then_some(session.start)
    }

    /// No open session's last event is before this.
    pub fn oldest_last(&self) -> Option<Micros> {
        Some(self.next()?.saturating_sub(self.wait()))
    }

    /// Where a session ends.
    pub fn end(&self, last: Micros) -> Micros {
        last.saturating_add(self.gap)
    }

    /// Writes the open sessions.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        state.value(&(self.sessions.len(), self.begun))?;
        let open: Vec<(usize, &Session)> = self
            .sessions
            .iter()
            .enumerate()
            .filter(|(_, session)| session.state == SessionState::Open)
            .collect();
        let column = |name: &str, of: fn(&(usize, &Session)) -> i64| {
            let values: Int64Array = open.iter().map(|entry| Some(of(entry))).collect();
            (Field::new(name, DataType::Int64, false), Arc::new(values) as ArrayRef)
        };
        let columns = [
            column("slot", |(slot, _)| *slot as i64),
            column("start", |(_, session)| session.start),
            column("last", |(_, session)| session.last),
            column("key", |(_, session)| i64::from(session.key)),
            column("number", |(_, session)| session.number),
        ];
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        state.columns(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// Reads back what [`SessionIndex::snapshot`] wrote, into an empty index.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        let (slots, begun): (usize, i64) = state.value()?;
        self.begun = begun;
        self.latest = vec![NONE; self.keys.capacity()];
        self.sessions = vec![FREE; slots];
        let saved = state.columns()?;
        let column = |index: usize| saved.column(index).as_primitive::<Int64Type>().values();
        let (slot, start, last, key, number) = (column(0), column(1), column(2), column(3), column(4));
        for row in 0..saved.num_rows() {
            let key = GroupId::try_from(key[row]).map_err(Error::failed)?;
            let slot = Slot::try_from(slot[row]).map_err(Error::failed)?;
            if slot as usize >= slots || key as usize >= self.latest.len() {
                return Err(Error::failed("the snapshot is damaged: a session without a key"));
            }
            self.sessions[slot as usize] = Session {
                start: start[row],
                last: last[row],
                key,
                older: NONE,
                number: number[row],
                state: SessionState::Open,
            };
            let later = self.later_than(key, start[row]);
            self.link(slot, later);
            self.deadlines.push(last[row].saturating_add(self.wait()), slot);
        }
        let slots = (0..).zip(&self.sessions);
        self.free = slots
            .filter_map(|(slot, session)| (session.state == SessionState::Free).then_some(slot))
            .collect();
        self.free.reverse();
        Ok(())
    }

    /// How long after its last event a session is over. An event exactly `gap` later still belongs.
    fn wait(&self) -> Micros {
        self.gap.saturating_add(self.lateness).saturating_add(1)
    }

    /// The session of an event.
    fn join(&mut self, key: GroupId, time: Micros, merged: &mut Vec<Merge>) -> Result<Slot> {
        let latest = self.latest[key as usize];
        if let Some(session) = self.sessions.get_mut(latest as usize) {
            // The usual case: the event goes on with the latest session.
            if time >= session.start && time <= session.last.saturating_add(self.gap) {
                session.last = session.last.max(time);
                return Ok(latest);
            }
        }
        let later = self.later_than(key, time.saturating_add(self.gap));
        let found = self.after(key, later);
        let Some(session) = self.sessions.get_mut(found as usize) else {
            return self.begin(key, time, later);
        };
        if time > session.last.saturating_add(self.gap) {
            return self.begin(key, time, later);
        }
        session.start = session.start.min(time);
        session.last = session.last.max(time);
        let (start, older) = (session.start, session.older);
        match self.sessions.get(older as usize) {
            Some(before) if before.last.saturating_add(self.gap) >= start => {
                self.merge(older, found, later);
                merged.push(Merge {
                    from: found,
                    into: older,
                    then: older,
                    row: 0,
                });
                Ok(older)
            }
            _ => Ok(found),
        }
    }

    /// The oldest session of a key that begins after `time`; [`NONE`] if none does.
    fn later_than(&self, key: GroupId, time: Micros) -> Slot {
        let mut later = NONE;
        let mut at = self.latest[key as usize];
        while let Some(session) = self.sessions.get(at as usize)
            && session.start > time
        {
            later = at;
            at = session.older;
        }
        later
    }

    /// The session before `later`, or the latest of all.
    fn after(&self, key: GroupId, later: Slot) -> Slot {
        match self.sessions.get(later as usize) {
            Some(later) => later.older,
            None => self.latest[key as usize],
        }
    }

    fn begin(&mut self, key: GroupId, time: Micros, later: Slot) -> Result<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.sessions.push(FREE);
                Slot::try_from(self.sessions.len() - 1).map_err(Error::failed)?
            }
        };
        self.sessions[slot as usize] = Session {
            start: time,
            last: time,
            key,
            older: NONE,
            number: self.begun,
            state: SessionState::Open,
        };
        self.begun += 1;
        self.link(slot, later);
        self.deadlines.push(time.saturating_add(self.wait()), slot);
        Ok(slot)
    }

    /// Puts a session into its key's list, before `later`.
    fn link(&mut self, slot: Slot, later: Slot) {
        let key = self.sessions[slot as usize].key;
        self.sessions[slot as usize].older = self.after(key, later);
        self.set_after(key, later, slot);
    }

    fn set_after(&mut self, key: GroupId, later: Slot, slot: Slot) {
        match self.sessions.get_mut(later as usize) {
            Some(later) => later.older = slot,
            None => self.latest[key as usize] = slot,
        }
    }

    /// Makes `younger`, which comes after `older` and before `later`, part of `older`.
    fn merge(&mut self, older: Slot, younger: Slot, later: Slot) {
        let gone = self.sessions[younger as usize];
        self.set_after(gone.key, later, older);
        self.sessions[younger as usize].state = SessionState::Merged { into: older };
        let kept = &mut self.sessions[older as usize];
        kept.start = kept.start.min(gone.start);
        kept.last = kept.last.max(gone.last);
    }

    fn unlink(&mut self, key: GroupId, slot: Slot) {
        let older = self.sessions[slot as usize].older;
        let mut later = NONE;
        let mut at = self.latest[key as usize];
        while at != slot {
            let Some(session) = self.sessions.get(at as usize) else {
                return;
            };
            later = at;
            at = session.older;
        }
        self.set_after(key, later, older);
    }

    fn resolve(&self, slot: Slot) -> Slot {
        let mut slot = slot;
        while let SessionState::Merged { into } = self.sessions[slot as usize].state {
            slot = into;
        }
        slot
    }

    fn free_slot(&mut self, slot: Slot) {
        self.sessions[slot as usize] = FREE;
        self.free.push(slot);
    }
}

const FREE: Session = Session {
    start: 0,
    last: 0,
    key: 0,
    older: NONE,
    number: 0,
    state: SessionState::Free,
};
