//! Puts events into event-time order: what comes out is sorted, whatever order and input it came in by.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

use super::state::{StateReader, StateWriter};
use super::{BEGINNING_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::windows::gather::{is_joined, join};

/// Holds events until the watermark has passed them, then emits them by time; ties in the order they came.
///
/// *Semantics.* An event that comes behind what has already been emitted (a late one that was accepted) is emitted at
/// once.
///
/// *Ops.* Any. *State.* The events ahead of the watermark. *Cost.* O(log n) an event: each is sorted once within the batch
/// it came in and once among those released with it, those of small batches O(log) times more; a watermark touches only batches that have events before it.
pub struct EventTimeOrder {
    schema: SchemaRef,
    /// Sorted batches by the time of their first event, then by arrival.
    held: BTreeMap<Key, EventBatch>,
    /// The latest batches, one after the other, as far as they are worth joining.
    recent: Vec<Key>,
    arrived: u64,
    released: Micros,
}

/// The time of a batch's first event, and when it came.
type Key = (Micros, u64);

/// So many batches whose sizes double hold more events than are ever joined.
const RECENT: usize = 16;

/// What an [`EventTimeOrder`] does.
#[derive(Debug, Clone)]
pub struct EventTimeOrderPlan {
    /// The columns.
    pub schema: SchemaRef,
}

impl OperatorPlan for EventTimeOrderPlan {
    fn name(&self) -> &'static str {
        "EventTimeOrder"
    }

    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    fn forwards(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(EventTimeOrder {
            schema: self.schema.clone(),
            held: BTreeMap::new(),
            recent: Vec::new(),
            arrived: 0,
            released: BEGINNING_OF_TIME,
        }))
    }
}

impl Operator for EventTimeOrder {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let times = batch.times().to_buffer(batch.num_rows());
        let rows = 0..batch.num_rows() as u32;
        let (behind, mut ahead): (Vec<u32>, Vec<u32>) = rows.partition(|&row| times[row as usize] <= self.released);
        let sorted = behind.is_empty() && times.is_sorted();
        if !behind.is_empty() {
            out.emit(batch.take(behind)?);
        }
        ahead.sort_by_key(|&row| times[row as usize]);
        if let Some(&first) = ahead.first() {
            let first = times[first as usize];
            let batch = if sorted { batch } else { batch.take(ahead)? };
            self.recent.push((first, self.arrived));
            self.held.insert((first, self.arrived), batch);
            self.arrived += 1;
            self.join_recent()?;
        }
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        let TimeUpdate::Watermark(watermark) = time else {
            return Ok(());
        };
        self.released = self.released.max(watermark);
        let mut due: BTreeMap<u64, EventBatch> = BTreeMap::new();
        while let Some(entry) = self.held.first_entry() {
            // More events of the watermark's own time may come; they leave as they do, after these, as ties shall.
            let (first, arrived) = *entry.key();
            if first > watermark {
                break;
            }
            let batch = entry.remove();
            let rows = batch.num_rows();
            let times = batch.times().to_buffer(rows);
            let passed = times.partition_point(|time| *time <= watermark);
            if passed < rows {
                self.held
                    .insert((times[passed], arrived), batch.slice(passed, rows - passed));
            }
            due.insert(arrived, batch.slice(0, passed));
        }
        if due.is_empty() {
            return Ok(());
        }
        let due: Vec<EventBatch> = due.into_values().collect();
        let all = EventBatch::concat(&self.schema, &due)?;
        out.emit(sorted(all)?);
        Ok(())
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let keys: Vec<(Micros, u64)> = self.held.keys().copied().collect();
        state.value(&(keys, self.arrived, self.released))?;
        self.held.values().try_for_each(|batch| state.events(batch))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let keys: Vec<(Micros, u64)>;
        (keys, self.arrived, self.released) = state.value()?;
        self.held = keys
            .into_iter()
            .map(|key| Ok((key, state.events()?)))
            .collect::<Result<_>>()?;
        Ok(())
    }
}

impl EventTimeOrder {
    /// Joins the latest batches as long as they are small and of like size. They came one after the other, so ties stay in the
    /// order of their coming.
    fn join_recent(&mut self) -> Result<()> {
        while let [.., before, last] = *self.recent.as_slice() {
            let (Some(earlier), Some(later)) = (self.held.get(&before), self.held.get(&last)) else {
                // Some of the earlier one's events have left.
                self.recent = vec![last];
                break;
            };
            if !is_joined(earlier.num_rows(), later.num_rows()) {
                break;
            }
            let joined = sorted(join(&[earlier.clone(), later.clone()])?)?;
            self.held.remove(&before);
            self.held.remove(&last);
            let key = (joined.time(0), before.1);
            self.recent.truncate(self.recent.len() - 2);
            self.recent.push(key);
            self.held.insert(key, joined);
        }
        if self.recent.len() > RECENT {
            self.recent.remove(0);
        }
        Ok(())
    }
}

/// A batch by time.
fn sorted(batch: EventBatch) -> Result<EventBatch> {
    let times = batch.times().to_buffer(batch.num_rows());
    if times.is_sorted() {
        return Ok(batch);
    }
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    order.sort_by_key(|&row| times[row as usize]);
    batch.take(order)
}
