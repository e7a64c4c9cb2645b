//! An operator for each key: the state of a PARTITION.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::state::{StateReader, StateWriter};
use super::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros};

/// Gives each key an operator of its own, which is made with the key's first event and sees only that key's events, in order.
///
/// *Semantics.* Events keep their order: a batch is cut where the key changes. Every operator learns of time when it asked for
/// it: by a timer of its own, or by the watermark that [`Operator::next_watermark`] names. A key unused for `idle` of
/// processing time is forgotten with its state; looked for every `check`.
///
/// *Ops.* As the operator inside. *State.* That of all keys. *Cost.* O(1) an event over the operator's own, and O(log keys) for
/// a timer. Time that no key waits for costs nothing.
pub struct Keyed {
    plan: KeyedPlan,
    keys: GroupTable,
    instances: Vec<Option<Instance>>,
    /// When which key's timer is due. Entries that no longer hold are skipped.
    timers: BinaryHeap<Reverse<(Micros, GroupId)>>,
    /// Which watermark which key waits for, likewise.
    watermarks: BinaryHeap<Reverse<(Micros, GroupId)>>,
    /// How many keys hold the watermark back at a time.
    holding: BTreeMap<Micros, usize>,
    inner: Output,
    next_check: Option<Micros>,
}

/// What a [`Keyed`] does.
#[derive(Clone)]
pub struct KeyedPlan {
    /// What each key has.
    pub operator: Arc<dyn OperatorPlan>,
    /// The column of the key.
    pub key: usize,
    /// Its type.
    pub key_type: DataType,
    /// When unused keys are forgotten.
    pub purge: Option<Purge>,
    /// Whether one batch goes out for one that comes in; emissions of batch windows stay apart.
    pub form: KeyedForm,
    /// The columns that go out.
    pub schema: SchemaRef,
}

/// How the batches of several keys go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyedForm {
    /// As one.
    Joined,
    /// Each is an emission.
    Emissions,
}

/// When unused keys are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    /// After so long.
    pub idle: Micros,
    /// Looked for so often.
    pub check: Micros,
}

struct Instance {
    operator: Box<dyn Operator>,
    used: Micros,
    timer: Option<Micros>,
    watermark: Option<Micros>,
    holds: Option<Micros>,
}

impl OperatorPlan for KeyedPlan {
    fn name(&self) -> &'static str {
        "ByPartition"
    }

    fn details(&self) -> Vec<String> {
        let name = std::iter::once(self.operator.name().to_string());
        name.chain(self.operator.details()).collect()
    }

    fn keeps_batches(&self) -> bool {
        self.operator.keeps_batches()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Keyed {
            keys: GroupTable::new(std::slice::from_ref(&self.key_type))?,
            plan: self.clone(),
            instances: Vec::new(),
            timers: BinaryHeap::new(),
            watermarks: BinaryHeap::new(),
            holding: BTreeMap::new(),
            inner: Output::new(0),
            next_check: None,
        }))
    }
}

impl Operator for Keyed {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        self.purge(out)?;
        let mut ids = Vec::new();
        let key = batch.column(self.plan.key).clone();
        self.keys.assign(&[key], batch.num_rows(), &mut ids)?;
        let mut from = 0;
        let mut results = Vec::new();
        while from < ids.len() {
            let id = ids[from];
            let rows = ids[from..].iter().take_while(|other| **other == id).count();
            // A slice would keep the whole batch alive for as long as the key holds one of its rows.
            let part = match rows == batch.num_rows() {
                true => batch.clone(),
                false => batch.take((from as u32..(from + rows) as u32).collect())?,
            };
            self.call(id, out, &mut results, |operator, inner| {
                operator.process(port, part, inner)
            })?;
            // Only events use a key: that time passes for it does not keep it.
            if let Some(instance) = self.instance_mut(id) {
                instance.used = out.now();
            }
            from += rows;
        }
        self.emit(results, out)
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        let mut results = Vec::new();
        match time {
            TimeUpdate::Timer(now) => {
                self.purge(out)?;
                while let Some(Reverse((at, id))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
                    self.timers.pop();
                    let due = self.instance(id).is_some_and(|instance| instance.timer == Some(at));
                    if due {
                        self.forget_timer(id);
                        self.call(id, out, &mut results, |operator, inner| {
                            operator.advance(TimeUpdate::Timer(at), inner)
                        })?;
                    }
                }
            }
            TimeUpdate::Watermark(END_OF_TIME) => {
                for id in 0..self.instances.len() as GroupId {
                    if self.instance(id).is_some() {
                        self.call(id, out, &mut results, |operator, inner| operator.advance(time, inner))?;
                    }
                }
            }
            TimeUpdate::Watermark(now) => {
                for id in self.waiting_until(now) {
                    self.call(id, out, &mut results, |operator, inner| operator.advance(time, inner))?;
                }
            }
        }
        self.emit(results, out)?;
        self.ask(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        let held = self.holding.keys().next();
        held.map_or(input, |held| (*held).min(input))
    }

    fn next_watermark(&self) -> Option<Micros> {
        self.watermarks.peek().map(|Reverse((at, _))| *at)
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        state.value(&(self.instances.len(), self.next_check))?;
        for instance in &self.instances {
            let Some(instance) = instance else {
                state.value(&None::<(Micros, Option<Micros>)>)?;
                continue;
            };
            state.value(&Some((instance.used, instance.timer)))?;
            let mut inner = StateWriter::default();
            instance.operator.snapshot(&mut inner)?;
            state.bytes(&inner.into_bytes());
        }
        Ok(())
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        let (instances, next_check): (usize, Option<Micros>) = state.value()?;
        self.next_check = next_check;
        for id in 0..instances {
            let Some((used, timer)) = state.value::<Option<(Micros, Option<Micros>)>>()? else {
                self.instances.push(None);
                continue;
            };
            let mut operator = self.plan.operator.build()?;
            let bytes = state.bytes()?;
            if !bytes.is_empty() {
                operator.restore(&mut StateReader::new(bytes))?;
            }
            if let Some(timer) = timer {
                self.timers.push(Reverse((timer, id as GroupId)));
            }
            self.instances.push(Some(Instance {
                operator,
                used,
                timer,
                watermark: None,
                holds: None,
            }));
            self.remember(id as GroupId);
        }
        Ok(())
    }
}

impl Keyed {
    fn instance(&self, id: GroupId) -> Option<&Instance> {
        self.instances.get(id as usize)?.as_ref()
    }

    fn instance_mut(&mut self, id: GroupId) -> Option<&mut Instance> {
        self.instances.get_mut(id as usize)?.as_mut()
    }

    fn forget_timer(&mut self, id: GroupId) {
        if let Some(instance) = self.instance_mut(id) {
            instance.timer = None;
        }
    }

    fn forget_watermark(&mut self, id: GroupId) {
        if let Some(instance) = self.instance_mut(id) {
            instance.watermark = None;
        }
    }

    /// Takes out the keys that wait for a watermark up to `now`, each once: one may wait for the next, whatever that is.
    fn waiting_until(&mut self, now: Micros) -> Vec<GroupId> {
        let mut waiting = Vec::new();
        while let Some(Reverse((at, id))) = self.watermarks.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.watermarks.pop();
            if self.instance(id).is_some_and(|instance| instance.watermark == Some(at)) {
                self.forget_watermark(id);
                waiting.push(id);
            }
        }
        waiting
    }

    /// Calls a key's operator, which is made if there is none, and collects what it gives.
    fn call(
        &mut self,
        id: GroupId,
        out: &mut Output,
        results: &mut Vec<EventBatch>,
        call: impl FnOnce(&mut dyn Operator, &mut Output) -> Result<()>,
    ) -> Result<()> {
        let now = out.now();
        self.inner.set_now(now);
        if self.instances.len() <= id as usize {
            self.instances.resize_with(id as usize + 1, || None);
        }
        let slot = &mut self.instances[id as usize];
        let instance = match slot {
            Some(instance) => instance,
            none => {
                let mut operator = self.plan.operator.build()?;
                // As at the start of the app, for operators that begin with a timer.
                operator.advance(TimeUpdate::Timer(now), &mut self.inner)?;
                none.insert(Instance {
                    operator,
                    used: now,
                    timer: None,
                    watermark: None,
                    holds: None,
                })
            }
        };
        call(instance.operator.as_mut(), &mut self.inner)?;
        let outcome = self.inner.take();
        results.extend(outcome.batches);
        outcome.errors.into_iter().for_each(|error| out.error(error));
        if let Some(at) = outcome.wake_at
            && instance.timer.is_none_or(|earlier| at < earlier)
        {
            instance.timer = Some(at);
            self.timers.push(Reverse((at, id)));
            out.wake_at(at);
        }
        self.remember(id);
        Ok(())
    }

    /// Notes which watermark a key waits for, and which it holds back.
    fn remember(&mut self, id: GroupId) {
        let Some(instance) = self.instances.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        let next = instance.operator.next_watermark();
        if next != instance.watermark {
            instance.watermark = next;
            if let Some(next) = next {
                self.watermarks.push(Reverse((next, id)));
            }
        }
        let holds = Some(instance.operator.watermark(END_OF_TIME)).filter(|held| *held < END_OF_TIME);
        if holds != instance.holds {
            let before = std::mem::replace(&mut instance.holds, holds);
            self.release(before);
            if let Some(holds) = holds {
                *self.holding.entry(holds).or_default() += 1;
            }
        }
    }

    fn release(&mut self, held: Option<Micros>) {
        let Some(held) = held else {
            return;
        };
        if let Some(keys) = self.holding.get_mut(&held) {
            *keys -= 1;
            if *keys == 0 {
                self.holding.remove(&held);
            }
        }
    }

    fn emit(&self, results: Vec<EventBatch>, out: &mut Output) -> Result<()> {
        match (self.plan.form, results.as_slice()) {
            (_, []) => {}
            (KeyedForm::Joined, results) => out.emit(EventBatch::concat(&self.plan.schema, results)?),
            (KeyedForm::Emissions, _) => results.into_iter().for_each(|batch| out.emit(batch)),
        }
        Ok(())
    }

    /// Asks for the timer that is due next.
    fn ask(&self, out: &mut Output) {
        if let Some(Reverse((at, _))) = self.timers.peek() {
            out.wake_at(*at);
        }
        if let Some(check) = self.next_check {
            out.wake_at(check);
        }
    }

    /// Forgets keys that have not been used.
    fn purge(&mut self, out: &mut Output) -> Result<()> {
        let Some(purge) = self.plan.purge else {
            return Ok(());
        };
        let now = out.now();
        let next = *self.next_check.get_or_insert(now.saturating_add(purge.check));
        if now >= next {
            self.next_check = Some(now.saturating_add(purge.check));
            let idle = |instance: &Instance| now.saturating_sub(instance.used) >= purge.idle;
            let gone: Vec<GroupId> = (0..self.instances.len() as GroupId)
                .filter(|id| self.instance(*id).is_some_and(idle))
                .collect();
            for &id in &gone {
                let instance = self.instances[id as usize].take();
                self.release(instance.and_then(|instance| instance.holds));
            }
            self.keys.forget(&gone);
        }
        if let Some(check) = self.next_check {
            out.wake_at(check);
        }
        Ok(())
    }
}
