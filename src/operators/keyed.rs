//! An operator for each key: the state of a PARTITION.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::aggregates::GroupId;
use super::live_keys::LiveKeys;
use super::state::{StateReader, StateWriter};
use super::wake_ups::WakeUps;
use super::{CONTROL, END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros};

/// Gives each key an operator of its own, which is made with the key's first event and sees only that key's events, in order.
///
/// *Semantics.* Outputs keep the order of the events: a batch is cut where the key changes, unless the operator takes all rows
/// of a key at once ([`OperatorPlan::takes_chunks`]); then keys come in the order in which the batch first has them. Every operator
/// learns of time when it asked for it: by a timer of its own, or by the watermark that [`Operator::next_watermark`] names.
/// A key that is purged ([`super::live_keys`]) is forgotten with its state.
///
/// *Ops.* As the operator inside. *State.* That of all keys. *Cost.* O(1) an event over the operator's own, and O(log keys) for
/// a timer. Time that no key waits for costs nothing.
pub struct Keyed {
    plan: KeyedPlan,
    keys: LiveKeys,
    instances: Vec<Option<Instance>>,
    /// One without events: how much it holds the watermark back.
    fresh: Box<dyn Operator>,
    /// When which key's timer is due.
    timers: WakeUps,
    /// Which watermark which key waits for.
    watermarks: WakeUps,
    /// How many keys hold the watermark back at a time.
    holding: BTreeMap<Micros, usize>,
    inner: Output,
    ids: Vec<GroupId>,
}

/// What a [`Keyed`] does.
#[derive(Clone)]
pub struct KeyedPlan {
    /// What each key has.
    pub operator: Arc<dyn OperatorPlan>,
    /// The key of each input.
    pub keys: KeyedBy,
    /// Whether one batch goes out for one that comes in; emissions of batch windows stay apart.
    pub form: KeyedForm,
    /// The columns that go out.
    pub schema: SchemaRef,
}

/// The key of a PARTITION.
#[derive(Debug, Clone)]
pub struct KeyedBy {
    /// Its column, by input.
    pub columns: Vec<usize>,
    /// Its type.
    pub data_type: DataType,
    /// When unused keys are forgotten.
    pub purge: Option<Purge>,
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

/// One key's.
struct Instance {
    operator: Box<dyn Operator>,
    /// When its timer is due, the watermark it waits for, and what it holds the watermark back at; [`NEVER`] for none.
    timer: Micros,
    watermark: Micros,
    holds: Micros,
}

/// No time.
const NEVER: Micros = END_OF_TIME;

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
            keys: LiveKeys::new(&self.keys.data_type, self.keys.purge)?,
            plan: self.clone(),
            instances: Vec::new(),
            fresh: self.operator.build()?,
            timers: WakeUps::default(),
            watermarks: WakeUps::default(),
            holding: BTreeMap::new(),
            inner: Output::new(0),
            ids: Vec::new(),
        }))
    }
}

impl Operator for Keyed {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if port == CONTROL {
            let gone = self.keys.change(&batch)?;
            self.forget(&gone);
            return Ok(());
        }
        self.forget_strays(out);
        let mut ids = std::mem::take(&mut self.ids);
        let column = self.plan.keys.columns.get(port).copied().unwrap_or_default();
        self.keys.assign(batch.column(column), out.now(), &mut ids)?;
        let mut results = Vec::new();
        for (id, rows) in parts(&ids, self.plan.operator.takes_chunks()) {
            // A slice would keep the whole batch alive for as long as the key holds one of its rows.
            let part = match rows.len() == batch.num_rows() {
                true => batch.clone(),
                false => batch.take(rows)?,
            };
            self.call(id, out, &mut results, |operator, inner| {
                operator.process(port, part, inner)
            })?;
        }
        self.ids = ids;
        self.emit(results, out)?;
        self.ask(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        let mut results = Vec::new();
        match time {
            TimeUpdate::Timer(now) => {
                self.forget_strays(out);
                while let Some((at, id)) = self.timers.pop(now) {
                    if self.instance(id).is_some_and(|instance| instance.timer == at) {
                        self.set_timer(id, NEVER);
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
        let fresh = self.fresh.watermark(input);
        let held = self.holding.keys().next();
        held.map_or(fresh, |held| (*held).min(fresh))
    }

    fn next_watermark(&self) -> Option<Micros> {
        self.watermarks.next()
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        state.value(&self.instances.len())?;
        for instance in &self.instances {
            let Some(instance) = instance else {
                state.value(&None::<Micros>)?;
                continue;
            };
            state.value(&Some(instance.timer))?;
            let mut inner = StateWriter::default();
            instance.operator.snapshot(&mut inner)?;
            state.bytes(&inner.into_bytes());
        }
        Ok(())
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        let instances: usize = state.value()?;
        for id in 0..instances as GroupId {
            let Some(timer) = state.value::<Option<Micros>>()? else {
                self.instances.push(None);
                continue;
            };
            let mut operator = self.plan.operator.build()?;
            let bytes = state.bytes()?;
            if !bytes.is_empty() {
                operator.restore(&mut StateReader::new(bytes))?;
            }
            if timer != NEVER {
                self.timers.push(timer, id);
            }
            self.instances.push(Some(Instance {
                timer,
                ..Instance::new(operator)
            }));
            self.remember(id);
        }
        Ok(())
    }
}

impl Instance {
    fn new(operator: Box<dyn Operator>) -> Self {
        Instance {
            operator,
            timer: NEVER,
            watermark: NEVER,
            holds: NEVER,
        }
    }
}

impl Keyed {
    fn instance(&self, id: GroupId) -> Option<&Instance> {
        self.instances.get(id as usize)?.as_ref()
    }

    fn instance_mut(&mut self, id: GroupId) -> Option<&mut Instance> {
        self.instances.get_mut(id as usize)?.as_mut()
    }

    fn set_timer(&mut self, id: GroupId, at: Micros) {
        if let Some(instance) = self.instance_mut(id) {
            instance.timer = at;
        }
    }

    /// Takes out the keys that wait for a watermark up to `now`, each once: one may wait for the next, whatever that is.
    fn waiting_until(&mut self, now: Micros) -> Vec<GroupId> {
        let mut waiting = Vec::new();
        while let Some((at, id)) = self.watermarks.pop(now) {
            if let Some(instance) = self.instance_mut(id).filter(|instance| instance.watermark == at) {
                instance.watermark = NEVER;
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
                none.insert(Instance::new(operator))
            }
        };
        call(instance.operator.as_mut(), &mut self.inner)?;
        let mut outcome = self.inner.take();
        loop {
            results.extend(outcome.batches);
            out.count_patterns(outcome.patterns);
            outcome.errors.into_iter().for_each(|error| out.error(error));
            if let Some(at) = outcome.wake_at
                && at < instance.timer
            {
                instance.timer = at;
                self.timers.push(at, id);
            }
            if !outcome.again {
                break;
            }
            instance.operator.resume(&mut self.inner)?;
            outcome = self.inner.take();
        }
        self.remember(id);
        Ok(())
    }

    /// Notes which watermark a key waits for, and which it holds back.
    fn remember(&mut self, id: GroupId) {
        let unheld = self.fresh.watermark(END_OF_TIME);
        let Some(instance) = self.instances.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        let next = instance.operator.next_watermark().unwrap_or(NEVER);
        if next != instance.watermark {
            instance.watermark = next;
            if next != NEVER {
                self.watermarks.push(next, id);
            }
        }
        let held = instance.operator.watermark(END_OF_TIME);
        let holds = if held < unheld { held } else { NEVER };
        if holds != instance.holds {
            let before = std::mem::replace(&mut instance.holds, holds);
            self.release(before);
            if holds != NEVER {
                *self.holding.entry(holds).or_default() += 1;
            }
        }
    }

    fn release(&mut self, held: Micros) {
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
    fn ask(&mut self, out: &mut Output) {
        let instances = &self.instances;
        let is = |at, id: GroupId, of: fn(&Instance) -> Micros| {
            let instance = instances.get(id as usize).and_then(Option::as_ref);
            instance.is_some_and(|instance| of(instance) == at)
        };
        self.timers.tidy(|at, id| is(at, id, |instance| instance.timer));
        self.watermarks.tidy(|at, id| is(at, id, |instance| instance.watermark));
        let stray = self.keys.next_check(out.now());
        for at in self.timers.next().into_iter().chain(stray) {
            out.wake_at(at);
        }
    }

    /// Forgets keys that nobody else knows and that have not been met for long.
    fn forget_strays(&mut self, out: &mut Output) {
        let gone = self.keys.idle_strays(out.now());
        self.forget(&gone);
    }

    fn forget(&mut self, gone: &[GroupId]) {
        for &id in gone {
            let instance = self.instances.get_mut(id as usize).and_then(Option::take);
            if let Some(instance) = instance {
                self.release(instance.holds);
            }
        }
    }
}

/// The rows of each call: runs of one key, or all rows of a key, keys in order of appearance.
fn parts(ids: &[GroupId], chunks: bool) -> Vec<(GroupId, Vec<u32>)> {
    let rows = 0..ids.len() as u32;
    if !chunks {
        let mut runs: Vec<(GroupId, Vec<u32>)> = Vec::new();
        for (row, &id) in rows.zip(ids) {
            match runs.last_mut().filter(|(last, _)| *last == id) {
                Some((_, run)) => run.push(row),
                None => runs.push((id, vec![row])),
            }
        }
        return runs;
    }
    let mut order: Vec<u32> = rows.collect();
    order.sort_by_key(|row| ids[*row as usize]);
    let of_one_key = order.chunk_by(|a, b| ids[*a as usize] == ids[*b as usize]);
    let mut parts: Vec<(GroupId, Vec<u32>)> = of_one_key.map(|rows| (ids[rows[0] as usize], rows.to_vec())).collect();
    parts.sort_by_key(|(_, rows)| rows[0]);
    parts
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::event::Times;
    use crate::operators::limit::LimitPlan;
    use crate::operators::partition_keys::PartitionKeysPlan;
    use crate::windows::delay::DelayPlan;
    use crate::windows::{Retained, TimeDomain, fifo::FifoPlan};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]))
    }

    fn batch(keys: impl Iterator<Item = i64>, time: Micros) -> EventBatch {
        let keys: ArrayRef = Arc::new(keys.collect::<Int64Array>());
        let columns = RecordBatch::try_new(schema(), vec![keys]).expect("one column");
        EventBatch::inserts(columns, Times::Same(time))
    }

    const PURGE: Purge = Purge {
        idle: 1_000_000,
        check: 100_000,
    };

    fn by() -> KeyedBy {
        KeyedBy {
            columns: vec![0],
            data_type: DataType::Int64,
            purge: Some(PURGE),
        }
    }

    fn keyed(operator: impl OperatorPlan + 'static) -> Keyed {
        let plan = KeyedPlan {
            operator: Arc::new(operator),
            keys: by(),
            form: KeyedForm::Joined,
            schema: schema(),
        };
        Keyed {
            keys: LiveKeys::new(&DataType::Int64, Some(PURGE)).expect("a key"),
            fresh: plan.operator.build().expect("it builds"),
            plan,
            instances: Vec::new(),
            timers: WakeUps::default(),
            watermarks: WakeUps::default(),
            holding: BTreeMap::new(),
            inner: Output::new(0),
            ids: Vec::new(),
        }
    }

    /// Calls an operator and gives what it emits.
    fn call(
        operator: &mut dyn Operator,
        now: Micros,
        call: impl FnOnce(&mut dyn Operator, &mut Output) -> Result<()>,
    ) -> Vec<EventBatch> {
        let mut out = Output::new(now);
        call(operator, &mut out).expect("it works");
        out.take().batches
    }

    /// A million keys, each met for a second: what is kept are those of the last two seconds.
    #[test]
    fn keys_that_come_and_go_for_ever_leave_nothing() {
        let day = 86_400_000_000;
        let window = FifoPlan {
            size: None,
            duration: Some(day),
            column: None,
            domain: TimeDomain::Processing,
            retained: Retained::Expired,
            schema: schema(),
        };
        let delay = |domain| DelayPlan {
            duration: day,
            domain,
            schema: schema(),
        };
        let mut told = PartitionKeysPlan {
            key_type: DataType::Int64,
            purge: Some(PURGE),
        }
        .build()
        .expect("it builds");
        let mut windows = window.for_keys(&by()).expect("it has one").build().expect("it builds");
        let mut by_timer = keyed(delay(TimeDomain::Processing));
        let mut by_watermark = keyed(delay(TimeDomain::Event));
        // Nobody tells of the keys of this one: all are strays.
        let mut alone = keyed(LimitPlan {
            skip: 0,
            fetch: Some(1),
        });
        let (chunk, chunks) = (1_000, 1_000);
        for number in 0..chunks {
            let now = number * 50_000;
            let first = number * chunk;
            let events = batch(first..first + chunk, now);
            let changes = call(told.as_mut(), now, |told, out| told.process(0, events.clone(), out));
            let mut heirs: Vec<&mut dyn Operator> = vec![windows.as_mut()];
            // What is made for each key takes its time to make.
            let some = number % 4 == 0;
            if some {
                let given = call(&mut alone, now, |alone, out| alone.process(0, events.clone(), out));
                assert_eq!(given[0].num_rows(), chunk as usize, "each key begins anew");
                heirs.push(&mut by_timer);
                heirs.push(&mut by_watermark);
            }
            for heir in heirs {
                for change in &changes {
                    call(heir, now, |heir, out| heir.process(CONTROL, change.clone(), out));
                }
                call(heir, now, |heir, out| heir.process(0, events.clone(), out));
                call(heir, now, |heir, out| heir.advance(TimeUpdate::Timer(now), out));
            }
        }
        let few = 40 * chunk as usize;
        for keyed in [&by_timer, &by_watermark, &alone] {
            assert!(
                keyed.keys.len() <= few && keyed.keys.capacity() <= few,
                "{}",
                keyed.keys.capacity()
            );
            assert!(keyed.instances.len() <= few);
            assert!(keyed.instances.iter().flatten().count() <= few);
            assert!(keyed.timers.len() <= 3 * few && keyed.watermarks.len() <= 3 * few);
            assert!(keyed.holding.len() <= few);
        }
        // Its events, with their links, are all that a window of a day would keep.
        let mut state = StateWriter::default();
        windows.snapshot(&mut state).expect("it writes its state");
        let bytes = state.into_bytes().len();
        assert!(bytes < 100 * few, "{bytes}");
    }

    #[test]
    fn rows_of_a_key_together_or_in_runs() {
        let ids = [3, 3, 1, 3, 1, 2];
        let runs = [(3, vec![0, 1]), (1, vec![2]), (3, vec![3]), (1, vec![4]), (2, vec![5])];
        assert_eq!(parts(&ids, false), runs);
        let chunks = [(3, vec![0, 1, 3]), (1, vec![2, 4]), (2, vec![5])];
        assert_eq!(parts(&ids, true), chunks);
    }
}
