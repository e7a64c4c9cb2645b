//! The keys of a PARTITION that are alive: one list for the whole block.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::keyed::Purge;
use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::windows::deadlines::Deadlines;

/// Turns the keys of the partitioned streams' events into a changelog of the keys that are alive.
///
/// *Semantics.* A key comes alive (`+I`) with its first event, and goes (`-D`) when it has had none for `idle` of processing
/// time, looked for every `check`. What else the block does with a key (timers, inner streams, streams that go to every
/// partition) does not keep it.
///
/// *Ops.* Takes inserts with the key as their only column; gives inserts and deletes. *State.* The keys. *Cost.* O(1) an event;
/// a check looks only at keys whose time may be over.
pub struct PartitionKeys {
    plan: PartitionKeysPlan,
    keys: GroupTable,
    /// When each key was used last, by number.
    used: Vec<Micros>,
    /// Where keys are forgotten: when each may be over.
    over: Deadlines,
    next_check: Option<Micros>,
    ids: Vec<GroupId>,
}

/// What a [`PartitionKeys`] does.
#[derive(Debug, Clone)]
pub struct PartitionKeysPlan {
    /// The key's type.
    pub key_type: DataType,
    /// When unused keys are forgotten.
    pub purge: Option<Purge>,
}

impl PartitionKeysPlan {
    /// The columns that come in and go out: the key.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("key", self.key_type.clone(), true)]))
    }
}

impl OperatorPlan for PartitionKeysPlan {
    fn name(&self) -> &'static str {
        "PartitionKeys"
    }

    fn details(&self) -> Vec<String> {
        let idle = |purge: Purge| format!("idle after {} ms", purge.idle / 1_000);
        self.purge.map(idle).into_iter().collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(PartitionKeys {
            keys: GroupTable::new(std::slice::from_ref(&self.key_type))?,
            used: Vec::new(),
            over: Deadlines::new(self.purge.map_or(1, |purge| purge.idle)),
            next_check: None,
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for PartitionKeys {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        self.purge(out)?;
        let now = out.now();
        let mut ids = std::mem::take(&mut self.ids);
        let known = self.keys.len();
        self.keys
            .assign(std::slice::from_ref(batch.column(0)), batch.num_rows(), &mut ids)?;
        let grown = self.keys.capacity().max(self.used.len());
        self.used.resize(grown, NEVER);
        if self.keys.len() > known {
            let new = self.take_new(&ids, now);
            let (columns, times, _) = batch.take(new)?.into_parts();
            let columns = RecordBatch::try_new(self.plan.schema(), columns.columns().to_vec())?;
            out.emit(EventBatch::inserts(columns, times));
        }
        for &id in &ids {
            self.used[id as usize] = now;
        }
        self.ids = ids;
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let TimeUpdate::Timer(_) = time {
            self.purge(out)?;
            self.set_timer(out);
        }
        Ok(())
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        state.value(&(&self.used, self.next_check))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        (self.used, self.next_check) = state.value()?;
        self.used.resize(self.keys.capacity(), NEVER);
        if let Some(purge) = self.plan.purge {
            for id in self.keys.live() {
                self.over.push(self.used[id as usize].saturating_add(purge.idle), id);
            }
        }
        Ok(())
    }
}

/// The last use of a key that is not there.
const NEVER: Micros = Micros::MIN;

impl PartitionKeys {
    /// The first rows of keys that were not alive; they are now.
    fn take_new(&mut self, ids: &[GroupId], now: Micros) -> Vec<u32> {
        let mut rows = Vec::new();
        for (&id, row) in ids.iter().zip(0..) {
            let used = &mut self.used[id as usize];
            if *used == NEVER {
                *used = now;
                rows.push(row);
                if let Some(purge) = self.plan.purge {
                    self.over.push(now.saturating_add(purge.idle), id);
                }
            }
        }
        rows
    }

    /// Forgets keys that have not been used, if it is time to look for them.
    fn purge(&mut self, out: &mut Output) -> Result<()> {
        let Some(purge) = self.plan.purge else {
            return Ok(());
        };
        let now = out.now();
        if now < *self.next_check.get_or_insert(now.saturating_add(purge.check)) {
            return Ok(());
        }
        self.next_check = Some(now.saturating_add(purge.check));
        let used = &self.used;
        let mut gone = self
            .over
            .due(now, |id| Some(used[id as usize].saturating_add(purge.idle)));
        if gone.is_empty() {
            return Ok(());
        }
        gone.sort_unstable();
        let keys = self.keys.keys(&gone)?;
        self.keys.forget(&gone);
        gone.iter().for_each(|id| self.used[*id as usize] = NEVER);
        let columns = RecordBatch::try_new(self.plan.schema(), keys)?;
        let ops = vec![Op::Delete; gone.len()];
        out.emit(EventBatch::changes(columns, Times::Same(now), ops.into()));
        Ok(())
    }

    /// Looks again after `check`, as long as there are keys.
    fn set_timer(&mut self, out: &mut Output) {
        if self.keys.is_empty() {
            self.next_check = None;
        }
        if let Some(check) = self.next_check {
            out.wake_at(check);
        }
    }
}
