//! `frequent` and `lossyFrequent`: the events of keys that come often, counted in little memory.
//!
//! Misra and Gries, *Finding repeated elements*, 1982; Manku and Motwani, *Approximate frequency counts over data streams*,
//! VLDB 2002.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::Retained;
use super::changes::Changes;
use super::row_store::{RowId, RowStore};
use super::unique::{names_of, types_of};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output, Port};

/// Lets events of frequent keys through and holds them until their keys are not frequent any more.
///
/// *Semantics.* `frequent`: there are `size` counters. An event of a key that has one counts; one of another key takes a free
/// counter, or else all counters go down by one and the keys that reach zero leave with their events; if that frees a counter
/// the event takes it, else it is dropped.
///
/// `lossyFrequent`: an event goes through if its key has come at least `(support - error) * n` times in the `n` events so far.
/// After every `1 / error` events the keys are forgotten that cannot have come more than `error * n` times; their events leave.
///
/// *Ops.* Takes inserts; gives inserts and deletes. *State.* The counters, and, if anybody asks for what leaves, the events of
/// their keys. *Cost.* O(log n) an event: counters go down together by moving the zero.
pub struct Frequent {
    plan: FrequentPlan,
    keys: GroupTable,
    counters: BTreeMap<GroupId, Counter>,
    /// The counters of `frequent` by their values, then by when they were taken.
    values: BTreeSet<(u64, u64, GroupId)>,
    /// What has been taken off all counters.
    zero: u64,
    /// The number of events so far.
    seen: u64,
    events: RowStore,
}

#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
struct Counter {
    /// `frequent`: its value above the zero at the time; `lossyFrequent`: how often the key came since it is counted.
    count: u64,
    /// The number of the event that took it: keys leave in that order.
    taken: u64,
    /// `lossyFrequent`: how often it may have come before.
    missed: u64,
    /// The events that went through.
    rows: Vec<RowId>,
}

/// What a [`Frequent`] does.
#[derive(Debug, Clone)]
pub struct FrequentPlan {
    /// Which keys are frequent.
    pub measure: Measure,
    /// The columns that make the key.
    pub keys: Vec<usize>,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// The columns.
    pub schema: SchemaRef,
}

/// Which keys are frequent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Misra–Gries with so many counters.
    Counters(usize),
    /// Lossy Counting: shares of all events.
    Shares {
        /// Keys that come more often than this.
        support: f64,
        /// By how much a count may be too small.
        error: f64,
    },
}

impl OperatorPlan for FrequentPlan {
    fn name(&self) -> &'static str {
        match self.measure {
            Measure::Counters(_) => "FrequentWindow",
            Measure::Shares { .. } => "LossyFrequentWindow",
        }
    }

    fn details(&self) -> Vec<String> {
        let measure = match self.measure {
            Measure::Counters(size) => format!("{size} keys"),
            Measure::Shares { support, error } => format!("support {support}, error {error}"),
        };
        vec![measure, format!("by {}", names_of(&self.keys, &self.schema))]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Frequent {
            keys: GroupTable::new(&types_of(&self.keys, &self.schema))?,
            counters: BTreeMap::new(),
            values: BTreeSet::new(),
            zero: 0,
            seen: 0,
            events: RowStore::default(),
            plan: self.clone(),
        }))
    }
}

impl Operator for Frequent {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let columns: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        let mut ids = Vec::new();
        self.keys.assign(&columns, batch.num_rows(), &mut ids)?;
        let rows = match self.plan.retained {
            Retained::Expired => self.events.push(batch.clone())?,
            Retained::Nothing => Vec::new(),
        };
        let mut changes = Changes::default();
        let arriving = changes.source(&batch);
        let mut uncounted = ids.clone();
        for (row, &key) in ids.iter().enumerate() {
            let time = batch.time(row);
            let (passes, gone) = match self.plan.measure {
                Measure::Counters(size) => self.count(key, size),
                Measure::Shares { support, error } => self.estimate(key, support, error),
            };
            for (key, counter) in gone {
                uncounted.push(key);
                for event in counter.rows {
                    self.events.expire(event, &mut changes, time);
                }
            }
            if passes {
                changes.push(arriving, row, Op::Insert, time);
            }
            let Some(&event) = rows.get(row) else { continue };
            match self.counters.get_mut(&key) {
                Some(counter) if passes => counter.rows.push(event),
                // Its key has been forgotten with it.
                None if passes => self.events.expire(event, &mut changes, time),
                _ => self.events.remove(event),
            }
        }
        uncounted.sort_unstable();
        uncounted.dedup();
        uncounted.retain(|key| !self.counters.contains_key(key));
        self.keys.forget(&uncounted);
        if let Some(changed) = changes.finish()? {
            out.emit(changed);
        }
        self.events.settle()
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        let rows: Vec<RowId> = self
            .counters
            .values()
            .flat_map(|counter| counter.rows.iter().copied())
            .collect();
        Ok(Some(self.events.get(&rows)?.into_iter().collect()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        self.events.snapshot(state)?;
        let counters: Vec<(&GroupId, &Counter)> = self.counters.iter().collect();
        state.value(&(counters, self.zero, self.seen))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.events.restore(state)?;
        let counters: Vec<(GroupId, Counter)>;
        (counters, self.zero, self.seen) = state.value()?;
        self.counters = counters.into_iter().collect();
        if let Measure::Counters(_) = self.plan.measure {
            let values = self
                .counters
                .iter()
                .map(|(key, counter)| (counter.count, counter.taken, *key));
            self.values = values.collect();
        }
        Ok(())
    }
}

/// Keys that are not counted any more.
type Gone = Vec<(GroupId, Counter)>;

impl Frequent {
    /// Counts a key with `size` counters: whether its event goes through, and whose counters have gone.
    fn count(&mut self, key: GroupId, size: usize) -> (bool, Gone) {
        self.seen += 1;
        if let Some(counter) = self.counters.get_mut(&key) {
            self.values.remove(&(counter.count, counter.taken, key));
            counter.count += 1;
            self.values.insert((counter.count, counter.taken, key));
            return (true, Vec::new());
        }
        let mut gone = Vec::new();
        if self.counters.len() >= size {
            self.zero += 1;
            while let Some(&(count, _, key)) = self.values.first()
                && count <= self.zero
            {
                self.values.pop_first();
                gone.extend(self.counters.remove(&key).map(|counter| (key, counter)));
            }
            if gone.is_empty() {
                return (false, gone);
            }
        }
        let count = self.zero + 1;
        self.values.insert((count, self.seen, key));
        self.counters.insert(
            key,
            Counter {
                count,
                taken: self.seen,
                ..Counter::default()
            },
        );
        (true, gone)
    }

    /// Counts a key by Lossy Counting: whether its event goes through, and whose counters have gone.
    fn estimate(&mut self, key: GroupId, support: f64, error: f64) -> (bool, Gone) {
        let width = (1.0 / error).ceil().max(1.0) as u64;
        self.seen += 1;
        let bucket = self.seen.div_ceil(width);
        let counter = self.counters.entry(key).or_insert_with(|| Counter {
            missed: bucket - 1,
            taken: self.seen,
            ..Counter::default()
        });
        counter.count += 1;
        let passes = counter.count as f64 >= (support - error) * self.seen as f64;
        let mut gone = Vec::new();
        if self.seen.is_multiple_of(width) {
            let over = |counter: &Counter| counter.count + counter.missed <= bucket;
            let keys: Vec<GroupId> = self
                .counters
                .iter()
                .filter(|(_, counter)| over(counter))
                .map(|(key, _)| *key)
                .collect();
            for key in keys {
                gone.extend(self.counters.remove(&key).map(|counter| (key, counter)));
            }
            gone.sort_by_key(|(_, counter)| counter.taken);
        }
        (passes, gone)
    }
}
