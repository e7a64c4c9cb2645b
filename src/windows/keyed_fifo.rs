//! The FIFO windows of all keys of a PARTITION in one.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};

use super::changes::Changes;
use super::deadlines::Deadlines;
use super::fifo::FifoPlan;
use super::row_store::{RowId, RowStore};
use super::time_column::column_times;
use super::{Retained, TimeDomain};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Op};
use crate::operators::aggregates::GroupId;
use crate::operators::keyed::KeyedBy;
use crate::operators::live_keys::LiveKeys;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{CONTROL, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Does for each key what [`super::fifo::Fifo`] does.
///
/// All keys' events lie together in the batches they came in; a key is a chain of rows through them. So a key costs some
/// bytes, not an operator with buffers of its own, and a batch is worked off in the order of its events, whatever their keys.
///
/// *Semantics.* As one window for each key. What leaves at a watermark or a timer goes out in the order of the times at
/// which it leaves, of one time key by key.
///
/// *Ops.* Takes inserts; gives inserts and deletes. *State.* The events, 16 bytes more for each, and some 70 bytes a key.
/// *Cost.* O(1) an event; a key whose oldest event may be over is looked at once a 64th of the duration.
pub struct KeyedFifo {
    plan: KeyedFifoPlan,
    keys: LiveKeys,
    chains: Chains,
    /// Keys with events, by when their oldest may be over.
    deadlines: Deadlines,
    ids: Vec<GroupId>,
}

/// What a [`KeyedFifo`] does.
#[derive(Debug, Clone)]
pub struct KeyedFifoPlan {
    /// What each key has.
    pub window: FifoPlan,
    /// The key.
    pub keys: KeyedBy,
}

/// The rows of each key.
#[derive(Default)]
struct Chains {
    events: RowStore,
    /// By row: the next of its key.
    next: Vec<RowId>,
    /// By row, in windows that go by a column: its time.
    marks: Vec<Micros>,
    by_key: Vec<Chain>,
}

#[derive(Debug, Clone, Copy)]
struct Chain {
    first: RowId,
    last: RowId,
    length: u32,
    /// Whether the key stands in the queue of deadlines.
    queued: bool,
}

const EMPTY: Chain = Chain {
    first: 0,
    last: 0,
    length: 0,
    queued: false,
};

impl OperatorPlan for KeyedFifoPlan {
    fn name(&self) -> &'static str {
        "ByPartition"
    }

    fn details(&self) -> Vec<String> {
        let name = std::iter::once(self.window.name().to_string());
        name.chain(self.window.details()).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(KeyedFifo {
            keys: LiveKeys::new(&self.keys.data_type, self.keys.purge)?,
            chains: Chains::default(),
            deadlines: Deadlines::new(self.window.duration.unwrap_or(1)),
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for KeyedFifo {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if port == CONTROL {
            let gone = self.keys.change(&batch)?;
            return self.forget(&gone);
        }
        if self.plan.window.retained == Retained::Nothing {
            out.emit(batch);
            return Ok(());
        }
        let gone = self.keys.idle_strays(out.now());
        self.forget(&gone)?;
        let mut ids = std::mem::take(&mut self.ids);
        let column = batch.column(self.plan.keys.columns[0]);
        self.keys.assign(column, out.now(), &mut ids)?;
        let changes = self.slide(&batch, &ids)?;
        self.ids = ids;
        if let Some(changed) = changes.finish()? {
            out.emit(changed);
        }
        self.chains.events.settle()?;
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        let gone = self.keys.idle_strays(out.now());
        self.forget(&gone)?;
        if let Some(now) = self.plan.window.domain.reached(time) {
            self.expire_until(now, out)?;
        }
        self.set_timer(out);
        Ok(())
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        self.chains.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.chains.restore(state)?;
        for id in 0..self.chains.by_key.len() as GroupId {
            self.queue(id);
        }
        Ok(())
    }
}

impl KeyedFifo {
    /// The changes that arriving events make.
    fn slide(&mut self, batch: &EventBatch, ids: &[GroupId]) -> Result<Changes> {
        let FifoPlan { size, duration, .. } = self.plan.window;
        let marks = match self.plan.window.column {
            Some(column) => column_times(batch, column)?,
            None => batch.times().clone(),
        };
        let mut changes = Changes::default();
        let arrivals = changes.source(batch);
        if size == Some(0) {
            for row in 0..batch.num_rows() {
                changes.push(arrivals, row, Op::Insert, batch.time(row));
                changes.push(arrivals, row, Op::Delete, batch.time(row));
            }
            return Ok(changes);
        }
        let rows = self.chains.events.push(batch.clone())?;
        if self.chains.by_key.len() < self.keys.capacity() {
            self.chains.by_key.resize(self.keys.capacity(), EMPTY);
        }
        for (row, (&key, &id)) in ids.iter().zip(&rows).enumerate() {
            let (mark, time) = (marks.get(row), batch.time(row));
            while let Some(at) = self.leaves_at(key).filter(|at| duration.is_some() && *at <= mark) {
                self.chains.expire(key, &mut changes, at.min(time));
            }
            while size.is_some_and(|size| self.chains.by_key[key as usize].length as usize >= size) {
                self.chains.expire(key, &mut changes, time);
            }
            let column = self.plan.window.column.map(|_| mark);
            self.chains.append(key, id, column);
            changes.push(arrivals, row, Op::Insert, time);
            self.queue(key);
        }
        Ok(changes)
    }

    /// When the oldest event of a key leaves.
    fn leaves_at(&self, key: GroupId) -> Option<Micros> {
        let duration = self.plan.window.duration?;
        Some(self.chains.oldest(key)?.saturating_add(duration))
    }

    /// Sees to it that a key is looked at when its oldest event leaves by time alone.
    fn queue(&mut self, key: GroupId) {
        if self.plan.window.column.is_some() || self.chains.by_key[key as usize].queued {
            return;
        }
        if let Some(at) = self.leaves_at(key) {
            self.deadlines.push(at, key);
            self.chains.by_key[key as usize].queued = true;
        }
    }

    fn expire_until(&mut self, now: Micros, out: &mut Output) -> Result<()> {
        let Some(duration) = self.plan.window.duration else {
            return Ok(());
        };
        let chains = &self.chains;
        let leaves_at = |key| Some(chains.oldest(key)?.saturating_add(duration));
        let due = self.deadlines.due(now, leaves_at);
        let mut leaving: Vec<(Micros, RowId)> = Vec::new();
        for key in due {
            while let Some(at) = self.leaves_at(key).filter(|at| *at <= now) {
                leaving.extend(self.chains.unlink(key).map(|row| (at, row)));
            }
            self.chains.by_key[key as usize].queued = false;
            self.queue(key);
        }
        leaving.sort_by_key(|(at, _)| *at);
        let mut changes = Changes::default();
        for (at, row) in leaving {
            self.chains.events.expire(row, &mut changes, at);
        }
        if let Some(changed) = changes.finish()? {
            out.emit(changed);
        }
        self.chains.events.settle()
    }

    /// The windows of keys that are no more.
    fn forget(&mut self, gone: &[GroupId]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        for &key in gone {
            if (key as usize) < self.chains.by_key.len() {
                while let Some(row) = self.chains.unlink(key) {
                    self.chains.events.remove(row);
                }
            }
        }
        self.chains.events.settle()
    }

    fn set_timer(&self, out: &mut Output) {
        let due = self
            .deadlines
            .next()
            .filter(|_| self.plan.window.domain == TimeDomain::Processing);
        let stray = self.keys.next_check(out.now());
        for at in due.into_iter().chain(stray) {
            out.wake_at(at);
        }
    }
}

impl Chains {
    fn append(&mut self, key: GroupId, row: RowId, mark: Option<Micros>) {
        let at = row as usize;
        if self.next.len() <= at {
            self.next.resize(at + 1, 0);
        }
        if let Some(mark) = mark {
            self.marks.resize(self.next.len(), 0);
            self.marks[at] = mark;
        }
        let chain = &mut self.by_key[key as usize];
        match chain.length {
            0 => chain.first = row,
            _ => self.next[chain.last as usize] = row,
        }
        chain.last = row;
        chain.length += 1;
    }

    /// The mark of a key's oldest event.
    fn oldest(&self, key: GroupId) -> Option<Micros> {
        let chain = self.by_key.get(key as usize).filter(|chain| chain.length > 0)?;
        match self.marks.get(chain.first as usize) {
            Some(mark) => Some(*mark),
            None => self.events.time(chain.first),
        }
    }

    /// Takes a key's oldest event out of its chain.
    fn unlink(&mut self, key: GroupId) -> Option<RowId> {
        let chain = self.by_key.get_mut(key as usize).filter(|chain| chain.length > 0)?;
        let first = chain.first;
        chain.length -= 1;
        chain.first = self.next[first as usize];
        Some(first)
    }

    fn expire(&mut self, key: GroupId, changes: &mut Changes, time: Micros) {
        if let Some(row) = self.unlink(key) {
            self.events.expire(row, changes, time);
        }
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.events.snapshot(state)?;
        state.value(&self.marks)?;
        let numbers = |values: Vec<u32>| Arc::new(UInt32Array::from(values)) as _;
        let field = |name: &str| Field::new(name, DataType::UInt32, false);
        let chains = |of: fn(&Chain) -> u32| numbers(self.by_key.iter().map(of).collect());
        let schema = Schema::new(vec![field("first"), field("last"), field("length")]);
        let columns = vec![
            chains(|chain| chain.first),
            chains(|chain| chain.last),
            chains(|chain| chain.length),
        ];
        state.columns(&RecordBatch::try_new(schema.into(), columns)?)?;
        let next = RecordBatch::try_new(
            Schema::new(vec![field("next")]).into(),
            vec![numbers(self.next.clone())],
        )?;
        state.columns(&next)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.events.restore(state)?;
        self.marks = state.value()?;
        let (chains, next) = (state.columns()?, state.columns()?);
        let numbers = |columns: &RecordBatch, index: usize| {
            let column = columns.column(index).as_any().downcast_ref::<UInt32Array>();
            let column = column.map(|column| column.values().to_vec());
            column.ok_or_else(|| Error::failed("the snapshot is damaged: no chains of events"))
        };
        let (first, last, length) = (numbers(&chains, 0)?, numbers(&chains, 1)?, numbers(&chains, 2)?);
        self.next = numbers(&next, 0)?;
        let by_key = first.into_iter().zip(last).zip(length);
        self.by_key = by_key
            .map(|((first, last), length)| Chain {
                first,
                last,
                length,
                queued: false,
            })
            .collect();
        let rows = self.next.len();
        let known = |chain: &Chain| chain.length == 0 || (chain.first as usize) < rows && (chain.last as usize) < rows;
        match self.by_key.iter().all(known) {
            true => Ok(()),
            false => Err(Error::failed(
                "the snapshot is damaged: chains of events that are not there",
            )),
        }
    }
}
