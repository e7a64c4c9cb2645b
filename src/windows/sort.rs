//! `sort`: the smallest events by an order.

use std::collections::BinaryHeap;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::Retained;
use super::changes::Changes;
use super::row_store::{RowId, RowStore};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output, Port};

/// Holds the `size` smallest events.
///
/// *Semantics.* If an event is one too many, the largest leaves, of equal ones the latest, and goes out before the event; the
/// event itself leaves at once after it came if it is the largest. NULL is larger than every value.
///
/// *Ops.* Takes inserts; gives inserts and deletes. *State.* The events and their keys. *Cost.* O(log n) an event.
pub struct Sort {
    plan: SortPlan,
    converter: RowConverter,
    events: RowStore,
    /// The largest first.
    heap: BinaryHeap<Entry>,
    arrived: u64,
}

/// An event: its key, when it came, its number.
type Entry = (OwnedRow, u64, RowId);

/// What a [`Sort`] does.
#[derive(Debug, Clone)]
pub struct SortPlan {
    /// At most so many events.
    pub size: usize,
    /// The columns that are compared, and how.
    pub keys: Vec<(usize, SortOptions)>,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// The columns.
    pub schema: SchemaRef,
}

impl OperatorPlan for SortPlan {
    fn name(&self) -> &'static str {
        "SortWindow"
    }

    fn details(&self) -> Vec<String> {
        let keys = self.keys.iter().map(|(column, options)| {
            let order = if options.descending { " DESC" } else { "" };
            format!("{}{order}", self.schema.field(*column).name())
        });
        let by = format!("by {}", keys.collect::<Vec<_>>().join(", "));
        vec![format!("{} events", self.size), by]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let fields = self.keys.iter().map(|(column, options)| {
            let data_type = self.schema.field(*column).data_type().clone();
            SortField::new_with_options(data_type, *options)
        });
        Ok(Box::new(Sort {
            converter: RowConverter::new(fields.collect())?,
            events: RowStore::default(),
            heap: BinaryHeap::new(),
            arrived: 0,
            plan: self.clone(),
        }))
    }
}

impl Operator for Sort {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if self.plan.retained == Retained::Nothing {
            out.emit(batch);
            return Ok(());
        }
        let ids = self.events.push(batch.clone())?;
        let entries = self.entries(&batch, &ids)?;
        let mut changes = Changes::default();
        let arriving = changes.source(&batch);
        for (row, entry) in entries.into_iter().enumerate() {
            let time = batch.time(row);
            let own = entry.2;
            self.heap.push(entry);
            let over = self.heap.len() > self.plan.size;
            let left = if over { self.heap.pop() } else { None };
            let left = left.map(|(_, _, id)| id);
            if let Some(other) = left.filter(|left| *left != own) {
                self.events.expire(other, &mut changes, time);
            }
            changes.push(arriving, row, Op::Insert, time);
            if left == Some(own) {
                self.events.expire(own, &mut changes, time);
            }
        }
        if let Some(changed) = changes.finish()? {
            out.emit(changed);
        }
        self.events.settle()
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        let mut rows: Vec<(u64, RowId)> = self.heap.iter().map(|(_, arrived, row)| (*arrived, *row)).collect();
        rows.sort_unstable();
        let rows: Vec<RowId> = rows.into_iter().map(|(_, row)| row).collect();
        Ok(Some(self.events.get(&rows)?.into_iter().collect()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.events.snapshot(state)?;
        let held: Vec<(u64, RowId)> = self.heap.iter().map(|(_, arrived, id)| (*arrived, *id)).collect();
        state.value(&(held, self.arrived))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.events.restore(state)?;
        let (held, arrived): (Vec<(u64, RowId)>, u64) = state.value()?;
        let ids: Vec<RowId> = held.iter().map(|(_, id)| *id).collect();
        if let Some(events) = self.events.get(&ids)? {
            let entries = self.entries(&events, &ids)?;
            let entries = entries
                .into_iter()
                .zip(held)
                .map(|((key, _, id), (arrived, _))| (key, arrived, id));
            self.heap = entries.collect();
        }
        self.arrived = arrived;
        Ok(())
    }
}

impl Sort {
    fn entries(&mut self, events: &EventBatch, ids: &[RowId]) -> Result<Vec<Entry>> {
        let columns: Vec<ArrayRef> = self
            .plan
            .keys
            .iter()
            .map(|(column, _)| events.column(*column).clone())
            .collect();
        let keys = self.converter.convert_columns(&columns)?;
        let mut entries = Vec::with_capacity(ids.len());
        for (key, id) in keys.iter().zip(ids) {
            self.arrived += 1;
            entries.push((key.owned(), self.arrived, *id));
        }
        Ok(entries)
    }
}
