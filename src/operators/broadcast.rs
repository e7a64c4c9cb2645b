//! Streams without a key in a PARTITION: their events go to every partition alive.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::running_aggregate::adds;
use super::state::{StateReader, StateWriter};
use super::{CONTROL, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::windows::TimeDomain;
use crate::windows::emission::{read_batches, write_batches};
use crate::windows::gather::batch_of;

/// Gives each event once for each key that is alive, with the key as a last column.
///
/// *Semantics.* The keys are told by a changelog ([`super::partition_keys`]): on the control port, or, in event time, on
/// [`KEYS`], an input like the other. An event goes to the keys in the order in which they appeared. In event time an event meets the keys
/// whose first event is not later than itself: both inputs come in order and wait for their common watermark. A key that was
/// purged gets nothing from then on.
///
/// *Ops.* Any. *State.* The keys; in event time also the events that wait. *Cost.* What it gives, O(keys) an event; it gives
/// it in batches of limited size. After a change of the keys the next event costs O(keys log keys) more.
pub struct Broadcast {
    plan: BroadcastPlan,
    keys: GroupTable,
    /// The keys alive in the order in which they appeared, as long as they have not changed.
    column: Option<ArrayRef>,
    /// In event time: what waits for the watermark, in its order.
    events: VecDeque<EventBatch>,
    appearing: VecDeque<EventBatch>,
    /// What is to be given yet.
    pending: VecDeque<Pending>,
    ids: Vec<GroupId>,
}

/// In event time: the input of the keys.
pub const KEYS: Port = 1;

/// So many rows go out at once.
const ROWS: usize = 8_192;

/// What a [`Broadcast`] does.
#[derive(Debug, Clone)]
pub struct BroadcastPlan {
    /// The key's type.
    pub key_type: DataType,
    /// Whether events and keys meet in event-time order.
    pub domain: TimeDomain,
    /// How events are multiplied.
    pub form: BroadcastForm,
    /// The columns that go out, the key last.
    pub schema: SchemaRef,
}

/// How the events of a batch are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BroadcastForm {
    /// Each event goes to all keys before the next: it does not matter which events came together.
    Events,
    /// Each batch goes to one key after the other: it is an emission, or a chunk that a window goes by.
    Batches,
}

/// Events on their way to the keys that were alive when they came.
struct Pending {
    events: EventBatch,
    keys: ArrayRef,
    /// How many rows have been given.
    given: usize,
}

impl OperatorPlan for BroadcastPlan {
    fn name(&self) -> &'static str {
        "ToEveryPartition"
    }

    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    fn keeps_batches(&self) -> bool {
        self.form == BroadcastForm::Batches
    }

    fn gives_to_every_key(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Broadcast {
            keys: GroupTable::new(std::slice::from_ref(&self.key_type))?,
            column: None,
            events: VecDeque::new(),
            appearing: VecDeque::new(),
            pending: VecDeque::new(),
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for Broadcast {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        match (port, self.plan.domain) {
            (CONTROL, _) => self.change(&batch),
            (KEYS, _) => self.appear(batch),
            (_, TimeDomain::Event) => {
                self.events.push_back(batch);
                Ok(())
            }
            (_, TimeDomain::Processing) => {
                self.give(batch)?;
                self.resume(out)
            }
        }
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        let (TimeUpdate::Watermark(now), TimeDomain::Event) = (time, self.plan.domain) else {
            return Ok(());
        };
        while let Some(events) = self.events.pop_front() {
            // Up to the first event that is later than a key that appears, or than the watermark.
            self.appear_until(events.time(0).min(now))?;
            let next = self
                .appearing
                .front()
                .map_or(now, |keys| keys.time(0).saturating_sub(1).min(now));
            let ready = (0..events.num_rows())
                .take_while(|row| events.time(*row) <= next)
                .count();
            if ready > 0 {
                self.give(events.slice(0, ready))?;
            }
            if ready < events.num_rows() {
                self.events.push_front(events.slice(ready, events.num_rows() - ready));
                if events.time(ready) > now {
                    break;
                }
            }
        }
        self.appear_until(now)?;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<()> {
        let mut room = ROWS;
        while room > 0
            && let Some(mut pending) = self.pending.pop_front()
        {
            let batch = match self.plan.form {
                BroadcastForm::Events => self.next_rows(&mut pending, room)?,
                BroadcastForm::Batches => self.next_key(&mut pending)?,
            };
            room = room.saturating_sub(batch.num_rows());
            out.emit(batch);
            if pending.given < pending.events.num_rows() * pending.keys.len() {
                self.pending.push_front(pending);
            }
        }
        if !self.pending.is_empty() {
            out.call_again();
        }
        Ok(())
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        write_batches(&self.events.iter().cloned().collect::<Vec<_>>(), state)?;
        write_batches(&self.appearing.iter().cloned().collect::<Vec<_>>(), state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.events = read_batches(state)?.into();
        self.appearing = read_batches(state)?.into();
        Ok(())
    }
}

impl Broadcast {
    /// Takes changes of the keys alive.
    fn change(&mut self, batch: &EventBatch) -> Result<()> {
        self.column = None;
        let mut ids = std::mem::take(&mut self.ids);
        self.keys
            .assign(std::slice::from_ref(batch.column(0)), batch.num_rows(), &mut ids)?;
        let gone = ids.iter().enumerate().filter(|(row, _)| !adds(batch.op(*row)));
        let gone: Vec<GroupId> = gone.map(|(_, id)| *id).collect();
        self.keys.forget(&gone);
        self.ids = ids;
        Ok(())
    }

    /// In event time keys wait until they have appeared; that they go is a matter of the clock.
    fn appear(&mut self, batch: EventBatch) -> Result<()> {
        match batch.ops() {
            None => self.appearing.push_back(batch),
            Some(_) => {
                // A key that is purged has had no event for long: what waited for it has waited even longer.
                self.appear_until(Micros::MAX)?;
                self.change(&batch)?;
            }
        }
        Ok(())
    }

    /// Lets the keys appear whose first event is not later than `time`.
    fn appear_until(&mut self, time: Micros) -> Result<()> {
        while let Some(keys) = self.appearing.pop_front() {
            let due = (0..keys.num_rows()).take_while(|row| keys.time(*row) <= time).count();
            if due > 0 {
                self.change(&keys.slice(0, due))?;
            }
            if due < keys.num_rows() {
                self.appearing.push_front(keys.slice(due, keys.num_rows() - due));
                break;
            }
        }
        Ok(())
    }

    /// Sends events to the keys that are alive now.
    fn give(&mut self, events: EventBatch) -> Result<()> {
        let keys = match &self.column {
            Some(column) => column.clone(),
            None => {
                let column = self.keys.keys(&self.keys.live())?.swap_remove(0);
                self.column.insert(column).clone()
            }
        };
        if !keys.is_empty() && !events.is_empty() {
            self.pending.push_back(Pending { events, keys, given: 0 });
        }
        Ok(())
    }

    /// Up to `room` more rows, event by event.
    fn next_rows(&self, pending: &mut Pending, room: usize) -> Result<EventBatch> {
        let keys = pending.keys.len();
        let all = pending.events.num_rows() * keys;
        let rows = pending.given..(pending.given + room).min(all);
        pending.given = rows.end;
        let events: Vec<u32> = rows.clone().map(|row| (row / keys) as u32).collect();
        let keys: UInt32Array = rows.map(|row| Some((row % keys) as u32)).collect();
        self.with_keys(pending.events.take(events)?, take(&pending.keys, &keys, None)?)
    }

    /// All events, for the next key.
    fn next_key(&self, pending: &mut Pending) -> Result<EventBatch> {
        let rows = pending.events.num_rows();
        let key = UInt32Array::from(vec![(pending.given / rows) as u32; rows]);
        pending.given += rows;
        self.with_keys(pending.events.clone(), take(&pending.keys, &key, None)?)
    }

    fn with_keys(&self, events: EventBatch, keys: ArrayRef) -> Result<EventBatch> {
        let mut columns = events.columns().columns().to_vec();
        columns.push(keys);
        let columns = batch_of(self.plan.schema.clone(), columns, events.num_rows())?;
        Ok(events.with_columns(columns))
    }
}
