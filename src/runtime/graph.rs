//! The running graph: operators and streams on one thread, and the order in which events go through them.
//!
//! # Order
//! A batch goes depth-first: all that one consumer makes of it, downstream to the sinks, happens before the next consumer
//! (in statement order) sees it. So a query that reads two streams of which one feeds the other sees the derived event first,
//! and one app gives one output whatever thread it runs on. The walk uses a stack of its own, so that long chains of
//! queries cannot overflow the thread's.
//!
//! # Time
//! Every input of a node remembers its watermark; the node's is the least of those that are not idle. An operator learns of
//! a new watermark after all events before it and passes it on after what it emits for it. When the last input becomes idle,
//! nothing is held back any more: the node comes up to the largest watermark that any of them had, and then is idle, too.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::errors::StreamErrors;
use super::exchange::{Heard, Outlet};
use super::graph_errors::ErrorOutput;
use super::metrics::{QueryMetrics, StreamMetrics};
use super::tap::Tap;
use crate::error::Result;
use crate::event::{EventBatch, Mark, Micros};
use crate::operators::state::{State, StateReader, StateWriter};
use crate::operators::{BEGINNING_OF_TIME, CONTROL, END_OF_TIME, Operator, Outcome, Output, TimeUpdate, Watermark};

/// So much of large states is copied at once: a fraction of a millisecond's work.
pub const STEP_BYTES: usize = 1 << 20;

/// Index of a node in its graph.
pub type NodeIndex = usize;

/// A node to be built into a [`Graph`].
pub struct NodeSpec {
    /// What it is.
    pub stage: Stage,
    /// Where its output goes: node and port.
    pub outputs: Vec<(NodeIndex, usize)>,
    /// Where late events go.
    pub late_output: Option<(NodeIndex, usize)>,
    /// Where its bad events go.
    pub error_outputs: Vec<ErrorOutput>,
    /// The initial state of each input.
    pub inputs: Vec<Watermark>,
    /// What it passes on before anything has come: `At(BEGINNING_OF_TIME)` if event time begins at or before it.
    pub passed: Watermark,
    /// Takes its bad events.
    pub errors: Arc<StreamErrors>,
    /// Counts what comes in and goes out.
    pub counters: Counters,
    /// A name for its state.
    pub id: String,
}

/// What a node counts.
#[derive(Default)]
pub struct Counters {
    /// Events through a stream.
    pub stream: Option<Arc<StreamMetrics>>,
    /// The first operators of a query count its input.
    pub query_in: Option<Arc<QueryMetrics>>,
    /// The last operator of a query counts its output.
    pub query_out: Option<Arc<QueryMetrics>>,
    /// A pattern counts for its query.
    pub pattern: Option<Arc<QueryMetrics>>,
}

/// What a node does.
pub enum Stage {
    /// Passes everything on, to taps first.
    Pass(Vec<Tap>),
    /// An operator.
    Operator(Box<dyn Operator>),
    /// Sends everything on to another task.
    Send(Outlet),
}

pub(super) struct Node {
    pub(super) spec: NodeSpec,
    /// The largest watermark that any input had; the end of one does not count.
    reached: Micros,
    /// The `reached` up to which the node has come because all inputs were idle.
    caught_up: Micros,
    wake_at: Option<Micros>,
    done: bool,
}

/// What is still to be done.
pub(super) enum Work {
    /// Events for a node.
    Batch {
        node: NodeIndex,
        port: usize,
        batch: EventBatch,
    },
    /// A watermark for a node.
    Time {
        node: NodeIndex,
        port: usize,
        watermark: Watermark,
    },
    /// The node has more to give.
    Resume(NodeIndex),
}

/// Streams and operators that run on one thread.
pub struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) work: Vec<Work>,
    timers: BinaryHeap<Reverse<(Micros, NodeIndex)>>,
    output: Output,
    /// Whether it goes on from a snapshot.
    restored: bool,
}

impl Graph {
    /// Of nodes in statement order.
    pub fn new(specs: Vec<NodeSpec>) -> Self {
        let nodes = specs.into_iter().map(|spec| Node {
            spec,
            reached: BEGINNING_OF_TIME,
            caught_up: BEGINNING_OF_TIME,
            wake_at: None,
            done: false,
        });
        Graph {
            nodes: nodes.collect(),
            work: Vec::new(),
            timers: BinaryHeap::new(),
            output: Output::new(0),
            restored: false,
        }
    }

    /// Lets operators set their first timers, and fires those that are due at once. Called once, before anything comes in.
    ///
    /// In a restored graph every operator tells its watermark once more: streams, ways to other tasks and operators that are new
    /// do not remember theirs.
    pub fn start(&mut self, now: Micros) -> Result<()> {
        if self.restored {
            for node in 0..self.nodes.len() {
                if matches!(self.nodes[node].spec.stage, Stage::Operator(_)) {
                    self.push_time(node, self.nodes[node].spec.passed);
                    self.run(now)?;
                }
            }
        }
        for node in 0..self.nodes.len() {
            self.fire(node, now, now)?;
        }
        self.fire_timers(now, now)
    }

    /// Takes a batch from outside and carries it all the way. `node` is the entry of its stream.
    pub fn send(&mut self, node: NodeIndex, batch: EventBatch, now: Micros) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let port = self.external_port(node);
        self.work.push(Work::Batch { node, port, batch });
        self.run(now)
    }

    /// Takes a batch from another task.
    pub fn receive(&mut self, node: NodeIndex, port: usize, batch: EventBatch, now: Micros) -> Result<()> {
        self.work.push(Work::Batch { node, port, batch });
        self.run(now)
    }

    /// Takes a watermark from another task.
    pub fn receive_time(&mut self, node: NodeIndex, port: usize, watermark: Watermark, now: Micros) -> Result<()> {
        self.work.push(Work::Time { node, port, watermark });
        self.run(now)
    }

    /// A source says something between its rows; `node` is the operator of its stream that hears it.
    pub fn mark(&mut self, node: NodeIndex, mark: Mark, now: Micros) -> Result<()> {
        let Stage::Operator(operator) = &mut self.nodes[node].spec.stage else {
            return Ok(());
        };
        self.output.set_now(now);
        operator.mark(mark, &mut self.output)?;
        let outcome = self.output.take();
        self.settle(node, outcome, None, now)?;
        self.run(now)
    }

    /// A source tells that no event older than `watermark` will come.
    pub fn tell_time(&mut self, node: NodeIndex, watermark: Micros, now: Micros) -> Result<()> {
        let port = self.external_port(node);
        let watermark = Watermark::At(watermark);
        self.work.push(Work::Time { node, port, watermark });
        self.run(now)
    }

    /// The outside input of an entry has ended.
    pub fn end(&mut self, node: NodeIndex, now: Micros) -> Result<()> {
        let port = self.external_port(node);
        self.work.push(Work::Time {
            node,
            port,
            watermark: Watermark::At(END_OF_TIME),
        });
        self.run(now)
    }

    /// When the next timer is due.
    pub fn next_timer(&mut self) -> Option<Micros> {
        while let Some(Reverse((at, node))) = self.timers.peek().copied() {
            if self.nodes[node].wake_at == Some(at) {
                return Some(at);
            }
            self.timers.pop();
        }
        None
    }

    /// Fires the timers due at `at` or before, in order of time, then of statements. `now` is processing time.
    pub fn fire_timers(&mut self, at: Micros, now: Micros) -> Result<()> {
        while let Some(due) = self.next_timer().filter(|due| *due <= at) {
            let Some(Reverse((_, node))) = self.timers.pop() else {
                break;
            };
            self.nodes[node].wake_at = None;
            self.fire(node, due.max(now.min(at)), now)?;
        }
        Ok(())
    }

    /// The watermark that `node` has passed on; `None` while it is idle.
    pub fn watermark(&self, node: NodeIndex) -> Option<Micros> {
        match self.nodes[node].spec.passed {
            Watermark::At(time) => Some(time),
            Watermark::Idle => None,
        }
    }

    /// Whether nothing that comes in by `node` can have any effect: all queries behind it have ended.
    pub fn is_done(&self, node: NodeIndex) -> bool {
        self.nodes[node].done
    }

    /// What the window at `node` holds.
    pub fn content(&self, node: NodeIndex) -> Result<Vec<EventBatch>> {
        match &self.nodes[node].spec.stage {
            Stage::Operator(operator) => Ok(operator.content()?.unwrap_or_default()),
            _ => Ok(Vec::new()),
        }
    }

    /// Adds a tap to a stream; those whose receivers have gone make room.
    pub fn add_tap(&mut self, node: NodeIndex, tap: Tap) {
        if let Stage::Pass(taps) = &mut self.nodes[node].spec.stage {
            taps.retain(|tap| !tap.has_gone());
            taps.push(tap);
        }
    }

    /// All taps, in statement order.
    pub fn all_taps(&mut self) -> impl Iterator<Item = &mut Tap> {
        self.nodes.iter_mut().flat_map(|node| match &mut node.spec.stage {
            Stage::Pass(taps) => taps.iter_mut(),
            _ => [].iter_mut(),
        })
    }

    /// All taps, to look at.
    pub fn taps(&self) -> impl Iterator<Item = &Tap> {
        self.nodes.iter().flat_map(|node| match &node.spec.stage {
            Stage::Pass(taps) => taps.iter(),
            _ => [].iter(),
        })
    }

    /// The state of every operator that has any, by its id. Call between batches: then it is a consistent cut.
    pub fn snapshot(&mut self) -> Result<Vec<(String, State)>> {
        let states = self.begin_snapshot()?;
        self.finish_snapshot()?;
        Ok(states.into_iter().map(|(id, state)| (id, state.settled())).collect())
    }

    /// As [`Graph::snapshot`]; what is large may be left for [`Graph::continue_snapshot`]. The states are to be settled then.
    pub fn begin_snapshot(&mut self) -> Result<Vec<(String, State)>> {
        let mut states = Vec::new();
        for node in &mut self.nodes {
            if let Stage::Operator(operator) = &mut node.spec.stage {
                let mut state = StateWriter::sharing();
                state.value(&(&node.spec.inputs, &node.spec.passed))?;
                operator.begin_snapshot(&mut state)?;
                states.push((node.spec.id.clone(), state.into_state()));
            }
        }
        Ok(states)
    }

    /// Lets operators copy all that a snapshot has begun with.
    pub fn finish_snapshot(&mut self) -> Result<()> {
        while self.continue_snapshot(STEP_BYTES)? > 0 {}
        Ok(())
    }

    /// Lets operators copy about so many bytes more of their states; how many it were. None: the snapshot is complete.
    pub fn continue_snapshot(&mut self, bytes: usize) -> Result<usize> {
        let mut copied = 0;
        for node in &mut self.nodes {
            if let Stage::Operator(operator) = &mut node.spec.stage
                && copied < bytes
            {
                copied += operator.continue_snapshot(bytes - copied)?;
            }
        }
        Ok(copied)
    }

    /// Puts back the states of [`Graph::snapshot`]. Called before [`Graph::start`].
    pub fn restore<'a>(&mut self, state_of: impl Fn(&str) -> Option<&'a State>) -> Result<()> {
        self.restored = true;
        for node in &mut self.nodes {
            if let Stage::Operator(operator) = &mut node.spec.stage
                && let Some(saved) = state_of(&node.spec.id)
            {
                let bytes = saved.bytes()?;
                let mut state = StateReader::new(&bytes);
                let (inputs, passed): (Vec<Watermark>, Watermark) = state.value()?;
                if inputs.len() == node.spec.inputs.len() {
                    node.reached = inputs.iter().filter_map(reached_by).max().unwrap_or(BEGINNING_OF_TIME);
                    (node.spec.inputs, node.spec.passed) = (inputs, passed);
                }
                if !state.is_empty() {
                    operator.restore(&mut state)?;
                }
            }
        }
        Ok(())
    }

    /// External input comes by the port after those of the edges.
    fn external_port(&self, node: NodeIndex) -> usize {
        self.nodes[node].spec.inputs.len().saturating_sub(1)
    }

    pub(super) fn run(&mut self, now: Micros) -> Result<()> {
        while let Some(work) = self.work.pop() {
            match work {
                Work::Batch { node, port, batch } => self.process(node, port, batch, now)?,
                Work::Time { node, port, watermark } => self.pass_time(node, port, watermark, now)?,
                Work::Resume(node) => self.resume(node, now)?,
            }
        }
        Ok(())
    }

    fn process(&mut self, index: NodeIndex, port: usize, batch: EventBatch, now: Micros) -> Result<()> {
        let node = &mut self.nodes[index];
        if node.done {
            return Ok(());
        }
        let counters = &node.spec.counters;
        let rows = batch.num_rows() as u64;
        if let Some(query) = &counters.query_in {
            query.rows_in.fetch_add(rows, Ordering::Relaxed);
        }
        match &mut node.spec.stage {
            Stage::Pass(taps) => {
                if let Some(stream) = &counters.stream {
                    stream.rows.fetch_add(rows, Ordering::Relaxed);
                }
                if let Some(query) = &counters.query_out {
                    query.rows_out.fetch_add(rows, Ordering::Relaxed);
                }
                let mut lost = Vec::new();
                for tap in taps {
                    tap.deliver(&batch, &mut lost)?;
                }
                // Done last.
                self.push_errors(index, &lost, now)?;
                self.push_batches(index, vec![batch]);
                Ok(())
            }
            Stage::Send(outlet) => {
                if outlet.send(&batch)? == Heard::No {
                    self.finish(index);
                }
                Ok(())
            }
            Stage::Operator(operator) => {
                self.output.set_now(now);
                operator.process(port, batch, &mut self.output)?;
                let outcome = self.output.take();
                self.settle(index, outcome, None, now)
            }
        }
    }

    fn resume(&mut self, index: NodeIndex, now: Micros) -> Result<()> {
        let node = &mut self.nodes[index];
        let Stage::Operator(operator) = &mut node.spec.stage else {
            return Ok(());
        };
        if node.done {
            return Ok(());
        }
        self.output.set_now(now);
        operator.resume(&mut self.output)?;
        let outcome = self.output.take();
        self.settle(index, outcome, None, now)
    }

    /// Remembers the watermark of one input and passes the node's on if it has moved.
    fn pass_time(&mut self, index: NodeIndex, port: usize, watermark: Watermark, now: Micros) -> Result<()> {
        if port == CONTROL {
            return Ok(());
        }
        let node = &mut self.nodes[index];
        if let Some(input) = node.spec.inputs.get_mut(port) {
            *input = watermark;
        }
        node.reached = reached_by(&watermark).map_or(node.reached, |time| node.reached.max(time));
        if node.caught_up < node.reached && are_idle(&node.spec.inputs) {
            node.caught_up = node.reached;
            let catch_up = Watermark::At(node.reached);
            // Looked at again when what the catching up releases is through.
            self.work.push(Work::Time {
                node: index,
                port,
                watermark,
            });
            return self.pass_combined(index, catch_up, now);
        }
        let Some(combined) = combine(&node.spec.inputs).filter(|combined| *combined != node.spec.passed) else {
            return Ok(());
        };
        self.pass_combined(index, combined, now)
    }

    /// Passes a node's own watermark on.
    fn pass_combined(&mut self, index: NodeIndex, combined: Watermark, now: Micros) -> Result<()> {
        let node = &mut self.nodes[index];
        if let (Watermark::At(new), Watermark::At(old)) = (combined, node.spec.passed)
            && new < old
        {
            return Ok(());
        }
        if node.done {
            node.spec.passed = combined;
            return Ok(());
        }
        if let Stage::Send(outlet) = &node.spec.stage {
            node.spec.passed = combined;
            if outlet.send_time(combined) == Heard::No {
                self.finish(index);
            }
            return Ok(());
        }
        let Stage::Operator(operator) = &mut node.spec.stage else {
            if let (Some(stream), Watermark::At(time)) = (&node.spec.counters.stream, combined) {
                stream.watermark.store(time, Ordering::Relaxed);
            }
            node.spec.passed = combined;
            self.push_time(index, combined);
            if combined == Watermark::At(END_OF_TIME) {
                self.flush_node(index, now)?;
            }
            return Ok(());
        };
        let mut onward = combined;
        self.output.set_now(now);
        if let Watermark::At(time) = combined {
            operator.advance(TimeUpdate::Watermark(time), &mut self.output)?;
            onward = Watermark::At(if time == END_OF_TIME {
                time
            } else {
                operator.watermark(time)
            });
        }
        node.spec.passed = onward;
        let outcome = self.output.take();
        self.settle(index, outcome, Some(onward), now)
    }

    fn fire(&mut self, index: NodeIndex, at: Micros, now: Micros) -> Result<()> {
        let node = &mut self.nodes[index];
        let Stage::Operator(operator) = &mut node.spec.stage else {
            return Ok(());
        };
        if node.done {
            return Ok(());
        }
        self.output.set_now(now);
        operator.advance(TimeUpdate::Timer(at), &mut self.output)?;
        let outcome = self.output.take();
        self.settle(index, outcome, None, now)?;
        self.run(now)
    }

    /// Does what an operator's call asks for. The watermark goes after the events.
    fn settle(&mut self, index: NodeIndex, outcome: Outcome, onward: Option<Watermark>, now: Micros) -> Result<()> {
        let node = &mut self.nodes[index];
        if outcome.late > 0
            && let Some(stream) = &node.spec.counters.stream
        {
            stream.late.fetch_add(outcome.late, Ordering::Relaxed);
        }
        if let Some(query) = &node.spec.counters.query_out {
            let rows: usize = outcome.batches.iter().map(EventBatch::num_rows).sum();
            query.rows_out.fetch_add(rows as u64, Ordering::Relaxed);
        }
        if let Some(pattern) = node
            .spec
            .counters
            .pattern
            .as_ref()
            .and_then(|query| query.pattern.as_ref())
        {
            pattern.add(outcome.patterns);
        }
        if let Some(at) = outcome.wake_at
            && node.wake_at.is_none_or(|earlier| at < earlier)
        {
            node.wake_at = Some(at);
            self.timers.push(Reverse((at, index)));
        }
        let mut onward = onward;
        if let Some(begun) = outcome.watermark {
            node.spec.passed = begun;
            onward = Some(begun);
        }
        let ended = matches!(&node.spec.stage, Stage::Operator(operator) if operator.is_done());
        if ended && !node.done {
            node.spec.passed = Watermark::At(END_OF_TIME);
            onward = Some(node.spec.passed);
        }
        if let Some(onward) = onward {
            self.push_time(index, onward);
        }
        self.push_errors(index, &outcome.errors, now)?;
        let late_output = self.nodes[index].spec.late_output;
        if let Some((node, port)) = late_output {
            let late = outcome.late_rows.into_iter().rev();
            self.work.extend(late.map(|batch| Work::Batch { node, port, batch }));
        }
        if outcome.again {
            self.work.push(Work::Resume(index));
        }
        self.push_batches(index, outcome.batches);
        if ended {
            self.finish(index);
        }
        Ok(())
    }

    fn push_batches(&mut self, index: NodeIndex, batches: Vec<EventBatch>) {
        let outputs = &self.nodes[index].spec.outputs;
        for batch in batches.into_iter().rev() {
            let Some(((node, port), others)) = outputs.split_first() else {
                return;
            };
            for (node, port) in others.iter().rev() {
                self.work.push(Work::Batch {
                    node: *node,
                    port: *port,
                    batch: batch.clone(),
                });
            }
            self.work.push(Work::Batch {
                node: *node,
                port: *port,
                batch,
            });
        }
    }

    fn push_time(&mut self, index: NodeIndex, watermark: Watermark) {
        let spec = &self.nodes[index].spec;
        let late = spec.late_output.iter();
        for &(node, port) in late.chain(spec.outputs.iter().rev()) {
            self.work.push(Work::Time { node, port, watermark });
        }
        // Errors come when they come: they have no event time, only an end.
        if watermark == Watermark::At(END_OF_TIME) {
            self.end_errors(index);
        }
    }

    /// Marks a node that has ended, and all nodes that then feed nobody.
    fn finish(&mut self, index: NodeIndex) {
        self.nodes[index].done = true;
        loop {
            let idle = (0..self.nodes.len()).find(|&index| {
                let node = &self.nodes[index];
                let mut outputs = node.spec.outputs.iter().chain(&node.spec.late_output).peekable();
                let untapped = !matches!(&node.spec.stage, Stage::Pass(taps) if !taps.is_empty());
                !node.done && untapped && outputs.peek().is_some() && outputs.all(|(to, _)| self.nodes[*to].done)
            });
            match idle {
                Some(index) => {
                    self.nodes[index].done = true;
                    self.end_errors(index);
                }
                None => return,
            }
        }
    }
}

/// The watermark of a node from those of its inputs: the least that is not idle. Inputs that have ended do not count as long
/// as an idle one may still bring something.
fn combine(inputs: &[Watermark]) -> Option<Watermark> {
    let mut least = None;
    let mut idle = false;
    for input in inputs {
        match *input {
            Watermark::Idle => idle = true,
            Watermark::At(time) => least = Some(least.map_or(time, |least: Micros| least.min(time))),
        }
    }
    match least {
        None => Some(Watermark::Idle),
        Some(END_OF_TIME) if idle => None,
        Some(time) => Some(Watermark::At(time)),
    }
}

/// The time that an input has come to, if it is neither idle nor at its end.
fn reached_by(input: &Watermark) -> Option<Micros> {
    match *input {
        Watermark::At(time) if time != END_OF_TIME => Some(time),
        _ => None,
    }
}

/// Whether all inputs that have not ended are idle, and there is one.
fn are_idle(inputs: &[Watermark]) -> bool {
    inputs.contains(&Watermark::Idle) && inputs.iter().all(|input| reached_by(input).is_none())
}

/// The state of an input before anything has come.
pub fn initial(event_time: bool) -> Watermark {
    match event_time {
        true => Watermark::At(BEGINNING_OF_TIME),
        false => Watermark::Idle,
    }
}
