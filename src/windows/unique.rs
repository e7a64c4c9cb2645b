//! `unique`, `uniqueLength`, `firstUnique`: one event of each key.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, SchemaRef};

use super::Retained;
use super::changes::Changes;
use super::row_store::{RowId, RowStore};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output, Port};

/// Holds the latest event of each key, at most `size` of them.
///
/// *Semantics.* An event makes the former one of its key leave, which goes out before it. If its key is new and there are `size`
/// events, the one that came first leaves.
///
/// *Ops.* Takes inserts; gives inserts and deletes. *State.* An event a key. *Cost.* O(1) an event; O(log n) with a size.
pub struct Unique {
    plan: UniquePlan,
    keys: GroupTable,
    events: RowStore,
    /// The event of each key, by the key's number, and when it came.
    held: Vec<Option<(RowId, u64)>>,
    /// The keys by when their events came; only with a size.
    order: BTreeMap<u64, GroupId>,
    arrived: u64,
    ids: Vec<GroupId>,
}

/// What a [`Unique`] does.
#[derive(Debug, Clone)]
pub struct UniquePlan {
    /// The columns that make the key.
    pub keys: Vec<usize>,
    /// At most so many events.
    pub size: Option<usize>,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// The columns.
    pub schema: SchemaRef,
}

/// The types of columns.
pub fn types_of(columns: &[usize], schema: &SchemaRef) -> Vec<DataType> {
    let types = columns.iter().map(|&column| schema.field(column).data_type().clone());
    types.collect()
}

/// The names of columns, for EXPLAIN.
pub fn names_of(columns: &[usize], schema: &SchemaRef) -> String {
    let names = columns.iter().map(|&column| schema.field(column).name().as_str());
    names.collect::<Vec<_>>().join(", ")
}

impl OperatorPlan for UniquePlan {
    fn name(&self) -> &'static str {
        match self.size {
            Some(_) => "UniqueLengthWindow",
            None => "UniqueWindow",
        }
    }

    fn details(&self) -> Vec<String> {
        let size = self.size.map(|size| format!("{size} events"));
        let by = format!("by {}", names_of(&self.keys, &self.schema));
        std::iter::once(by).chain(size).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Unique {
            keys: GroupTable::new(&types_of(&self.keys, &self.schema))?,
            events: RowStore::default(),
            held: Vec::new(),
            order: BTreeMap::new(),
            arrived: 0,
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for Unique {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if self.plan.retained == Retained::Nothing {
            out.emit(batch);
            return Ok(());
        }
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        self.keys.assign(&keys, batch.num_rows(), &mut self.ids)?;
        self.held.resize(self.keys.capacity(), None);
        let rows = self.events.push(batch.clone())?;
        let mut changes = Changes::default();
        let arriving = changes.source(&batch);
        let mut gone = Vec::new();
        for (row, id) in rows.into_iter().enumerate() {
            let time = batch.time(row);
            if let Some(left) = self.place(self.ids[row], id, &mut gone) {
                self.events.expire(left, &mut changes, time);
            }
            changes.push(arriving, row, Op::Insert, time);
        }
        // A key that left may have come back within the batch.
        gone.retain(|key| self.held[*key as usize].is_none());
        self.keys.forget(&gone);
        if let Some(changed) = changes.finish()? {
            out.emit(changed);
        }
        self.events.settle()
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        let mut rows: Vec<(RowId, u64)> = self.held.iter().flatten().copied().collect();
        rows.sort_unstable_by_key(|(_, arrived)| *arrived);
        let rows: Vec<RowId> = rows.into_iter().map(|(row, _)| row).collect();
        Ok(Some(self.events.get(&rows)?.into_iter().collect()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        self.events.snapshot(state)?;
        state.value(&(&self.held, self.arrived))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.events.restore(state)?;
        (self.held, self.arrived) = state.value()?;
        if self.plan.size.is_some() {
            let held = (0..).zip(&self.held);
            self.order = held.filter_map(|(key, held)| Some(((*held)?.1, key))).collect();
        }
        Ok(())
    }
}

impl Unique {
    /// Makes an event that of its key; the event that leaves for it. Keys that have none any more are added to `gone`.
    fn place(&mut self, key: GroupId, event: RowId, gone: &mut Vec<GroupId>) -> Option<RowId> {
        self.arrived += 1;
        let former = self.held[key as usize].replace((event, self.arrived));
        let Some(size) = self.plan.size else {
            return former.map(|(row, _)| row);
        };
        if let Some((_, arrived)) = former {
            self.order.remove(&arrived);
        }
        self.order.insert(self.arrived, key);
        if former.is_some() || self.order.len() <= size {
            return former.map(|(row, _)| row);
        }
        let (_, oldest) = self.order.pop_first()?;
        gone.push(oldest);
        self.held[oldest as usize].take().map(|(row, _)| row)
    }
}

/// Lets the first event of each key through, and no other.
///
/// *Ops.* Takes and gives inserts; nothing leaves. *State.* The keys. *Cost.* O(1) an event.
pub struct FirstUnique {
    plan: FirstUniquePlan,
    keys: GroupTable,
    ids: Vec<GroupId>,
}

/// What a [`FirstUnique`] does.
#[derive(Debug, Clone)]
pub struct FirstUniquePlan {
    /// The columns that make the key.
    pub keys: Vec<usize>,
    /// The columns.
    pub schema: SchemaRef,
}

impl OperatorPlan for FirstUniquePlan {
    fn name(&self) -> &'static str {
        "FirstUniqueWindow"
    }

    fn details(&self) -> Vec<String> {
        vec![format!("by {}", names_of(&self.keys, &self.schema))]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(FirstUnique {
            keys: GroupTable::new(&types_of(&self.keys, &self.schema))?,
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for FirstUnique {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        // Numbers are given in order, and none is given back.
        let mut known = self.keys.capacity() as GroupId;
        self.keys.assign(&keys, batch.num_rows(), &mut self.ids)?;
        let mut is_first = |id: &GroupId| {
            let first = *id >= known;
            if first {
                known = *id + 1;
            }
            Some(first)
        };
        let first: BooleanArray = self.ids.iter().map(&mut is_first).collect();
        out.emit(batch.filter(&first)?);
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)
    }
}
