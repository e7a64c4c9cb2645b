//! A running app: its tasks or, in inline mode, its graph on the caller's thread.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use super::errors::{Listener, StreamErrors};
use super::graph::{Counters, Graph, NodeIndex, NodeSpec, Stage, initial};
use super::metrics::{Metrics, QueryMetrics, StreamMetrics};
use super::snapshot::Snapshot;
use super::source_thread::{Ended, SourceThread};
use super::tap::{OwnSink, SinkThread, Tap};
use super::task::{Control, Inputs, Joining, Sent, SourceInput, Task};
use crate::catalog::streams::Role;
use crate::connectors::{Emitted, Registry, Source, StopSignal};
use crate::error::{Error, Result, RowError};
use crate::event::{Clock, EventBatch, Micros, VirtualClock};
use crate::formats::DecodeSchema;
use crate::operators::Watermark;
use crate::plan::stream_plan::{NodeId, PlanNodeKind, QueryTarget, StreamId, StreamPlan, StreamPlanStream};

/// How many batches sent through the API may wait for a task; then `send` waits.
const API_QUEUE: usize = 1_024;

/// Where a pipeline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each independent part of the app on a thread of its own.
    Threads,
    /// On the thread that sends: no channel, no wake-up.
    Inline,
}

/// What an instance is started with.
pub struct Setup {
    /// Where it runs.
    pub mode: Mode,
    /// Processing time.
    pub clock: Arc<dyn Clock>,
    /// Whether sources and sinks are connected; tests run without.
    pub connect: bool,
    /// Taps set before the start, by stream.
    pub taps: Vec<(StreamId, Tap)>,
    /// Listeners to bad events, by stream.
    pub listeners: Vec<(StreamId, Listener)>,
    /// A snapshot to go on from.
    pub snapshot: Option<Snapshot>,
}

/// A running app.
pub struct Instance {
    driver: Driver,
    /// By stream: its task, and its entry and own node there.
    places: Vec<Place>,
    lifecycle: Arc<Lifecycle>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy)]
struct Place {
    task: usize,
    entry: NodeIndex,
    node: NodeIndex,
    /// Of a named window: what holds its events.
    content: Option<NodeIndex>,
    /// The number of its columns.
    columns: usize,
}

enum Driver {
    Threads(Vec<TaskHandle>),
    Inline(Arc<Mutex<Inline>>, Mutex<Vec<JoinHandle<()>>>),
}

struct TaskHandle {
    api: Sender<Sent>,
    control: Sender<Control>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The graph of inline mode.
struct Inline {
    graph: Graph,
    positions: Vec<(String, crate::connectors::Position)>,
    api_entries: Vec<NodeIndex>,
    closed: bool,
}

/// How the whole app ends.
struct Lifecycle {
    stop: Mutex<Option<Sender<Infallible>>>,
    failure: Mutex<Option<Error>>,
}

impl Lifecycle {
    /// Tells sources and tasks to stop.
    fn stop(&self) {
        self.stop.lock().take();
    }

    /// Remembers the first failure, and stops everything.
    fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        self.stop();
    }
}

impl Instance {
    /// Builds and starts a plan.
    pub fn start(plan: &StreamPlan, registry: &Registry, mut setup: Setup) -> Result<Self> {
        let metrics = Arc::new(metrics_of(plan));
        let (stop, stop_signal) = bounded::<Infallible>(0);
        let lifecycle = Arc::new(Lifecycle {
            stop: Mutex::new(Some(stop)),
            failure: Mutex::new(None),
        });
        let groups = match setup.mode {
            Mode::Threads => plan.components(),
            Mode::Inline => vec![(0..plan.nodes.len()).collect()],
        };
        let errors: Vec<Arc<StreamErrors>> = plan
            .streams
            .iter()
            .zip(&metrics.streams)
            .map(|(stream, metrics)| Arc::new(StreamErrors::new(metrics.clone(), stream.def.settings.on_error)))
            .collect();
        for (stream, listener) in setup.listeners.drain(..) {
            errors[stream].listen(listener);
        }
        let mut builder = Builder {
            plan,
            registry,
            metrics: &metrics,
            errors: &errors,
            setup,
            stop: stop_signal,
        };
        let places = builder.places(&groups);
        let clock = builder.setup.clock.clone();
        let built = groups
            .iter()
            .map(|group| builder.build(group))
            .collect::<Result<Vec<Part>>>();
        let parts = match built {
            Ok(parts) => parts,
            Err(error) => {
                lifecycle.stop();
                return Err(error);
            }
        };
        let driver = match builder.setup.mode {
            Mode::Threads => {
                let tasks = parts
                    .into_iter()
                    .map(|part| start_task(part, &lifecycle, &clock, &builder.stop));
                Driver::Threads(tasks.collect::<Result<_>>()?)
            }
            Mode::Inline => start_inline(parts, &lifecycle, &clock)?,
        };
        Ok(Instance {
            driver,
            places,
            lifecycle,
            metrics,
            clock,
        })
    }

    /// Sends events into a stream. In threaded mode waits while the app is busy; in inline mode returns when they, and all
    /// they cause, are processed.
    pub fn send(&self, stream: StreamId, batch: EventBatch, errors: Vec<RowError>) -> Result<()> {
        let place = self.places[stream];
        match &self.driver {
            Driver::Threads(tasks) => {
                if self.lifecycle.stop.lock().is_none() {
                    return Err(self.closed());
                }
                let sent = Sent {
                    node: place.entry,
                    batch,
                    errors,
                };
                tasks[place.task].api.send(sent).map_err(|_| self.closed())
            }
            Driver::Inline(inline, _) => {
                let mut inline = inline.lock();
                if inline.closed {
                    return Err(Error::Closed);
                }
                let now = self.clock.now();
                let done = inline.take(
                    place.entry,
                    Emitted {
                        batch,
                        errors,
                        position: None,
                    },
                    now,
                );
                done.inspect_err(|_| self.lifecycle.stop())
            }
        }
    }

    /// Adds a tap to a stream while running.
    pub fn tap(&self, stream: StreamId, tap: Tap) -> Result<()> {
        let place = self.places[stream];
        match &self.driver {
            Driver::Threads(tasks) => tasks[place.task]
                .control
                .send(Control::Tap(place.node, tap))
                .map_err(|_| self.closed()),
            Driver::Inline(inline, _) => {
                if let Some(taps) = inline.lock().graph.taps_mut(place.node) {
                    taps.push(tap);
                }
                Ok(())
            }
        }
    }

    /// Moves a virtual clock to `to`, firing every timer on the way at its own time. Inline mode only.
    pub fn advance(&self, clock: &VirtualClock, to: Micros) -> Result<()> {
        let Driver::Inline(inline, _) = &self.driver else {
            return Err(Error::usage("a virtual clock needs inline mode"));
        };
        let mut inline = inline.lock();
        while let Some(due) = inline.graph.next_timer().filter(|due| *due <= to) {
            let due = due.max(clock.now());
            clock.set(due);
            inline.graph.fire_timers(due, due)?;
        }
        clock.set(to.max(clock.now()));
        Ok(())
    }

    /// Fires the timers that are due now. Inline mode has no thread to do so between sends.
    pub fn tick(&self) -> Result<()> {
        if let Driver::Inline(inline, _) = &self.driver {
            let now = self.clock.now();
            inline.lock().graph.fire_timers(now, now)?;
        }
        Ok(())
    }

    /// What a named window holds, between two batches.
    pub fn window_content(&self, stream: StreamId) -> Result<Vec<RecordBatch>> {
        let place = self.places[stream];
        let Some(node) = place.content else {
            return Ok(Vec::new());
        };
        let content = match &self.driver {
            Driver::Threads(tasks) => {
                let (reply, answer) = bounded(1);
                let asked = tasks[place.task].control.send(Control::Content(node, reply));
                asked.map_err(|_| self.closed())?;
                answer.recv().map_err(|_| self.closed())??
            }
            Driver::Inline(inline, _) => inline.lock().graph.content(node)?,
        };
        // The bounds of a window, which come last, are no columns of the named one.
        let columns: Vec<usize> = (0..place.columns).collect();
        let content = content.into_iter().map(|batch| Ok(batch.columns().project(&columns)?));
        content.collect()
    }

    /// The state between two events. Waits until the tasks have come to a point where it is whole.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut whole = Snapshot::default();
        match &self.driver {
            Driver::Threads(tasks) => {
                for task in tasks {
                    let (reply, answer) = bounded(1);
                    task.control.send(Control::Snapshot(reply)).map_err(|_| self.closed())?;
                    whole.merge(answer.recv().map_err(|_| self.closed())??);
                }
            }
            Driver::Inline(inline, _) => {
                let mut inline = inline.lock();
                for tap in inline.graph.all_taps() {
                    tap.barrier()?;
                }
                whole.operators = inline.graph.snapshot()?.into_iter().collect();
                whole.positions = inline.positions.iter().cloned().collect();
            }
        }
        Ok(whole)
    }

    /// The API will send nothing more: its inputs end, as a bounded source does.
    pub fn finish(&self) -> Result<()> {
        match &self.driver {
            Driver::Threads(tasks) => {
                for task in tasks {
                    // A task that has ended already needs no telling.
                    let _ = task.control.send(Control::Finish);
                }
                Ok(())
            }
            Driver::Inline(inline, _) => {
                let mut inline = inline.lock();
                let now = self.clock.now();
                let entries = std::mem::take(&mut inline.api_entries);
                entries.into_iter().try_for_each(|node| inline.graph.end(node, now))
            }
        }
    }

    /// Tells the sources to stop. What they have handed over is processed and flushed.
    pub fn stop(&self) {
        self.lifecycle.stop();
    }

    /// Whether all threads have ended.
    pub fn is_finished(&self) -> bool {
        match &self.driver {
            Driver::Threads(tasks) => tasks
                .iter()
                .all(|task| task.thread.lock().as_ref().is_none_or(JoinHandle::is_finished)),
            Driver::Inline(_, threads) => threads.lock().iter().all(JoinHandle::is_finished),
        }
    }

    /// Waits until everything has ended, closes the sinks, and tells what went wrong, if anything.
    pub fn join(&self) -> Result<()> {
        let threads: Vec<JoinHandle<()>> = match &self.driver {
            Driver::Threads(tasks) => tasks.iter().filter_map(|task| task.thread.lock().take()).collect(),
            Driver::Inline(_, threads) => std::mem::take(&mut *threads.lock()),
        };
        for thread in threads {
            if let Err(panic) = thread.join() {
                self.lifecycle.fail(Error::failed(super::panic_message(panic.as_ref())));
            }
        }
        if let Driver::Inline(inline, _) = &self.driver {
            let mut inline = inline.lock();
            if !inline.closed {
                inline.closed = true;
                for tap in inline.graph.all_taps() {
                    let tap = std::mem::replace(tap, Tap::Callback(Box::new(|_| {})));
                    tap.close()?;
                }
            }
        }
        self.lifecycle.stop();
        match self.lifecycle.failure.lock().take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn closed(&self) -> Error {
        match self.lifecycle.failure.lock().as_ref() {
            Some(error) => Error::failed(error),
            None => Error::Closed,
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

impl Inline {
    fn take(&mut self, node: NodeIndex, emitted: Emitted, now: Micros) -> Result<()> {
        self.graph.fire_timers(now, now)?;
        for error in &emitted.errors {
            self.graph.report(node, error)?;
        }
        self.graph.send(node, emitted.batch, now)?;
        self.graph.all_taps().try_for_each(Tap::flush)
    }
}

/// The part of a plan that runs on one thread.
struct Part {
    graph: Graph,
    sources: Vec<(String, NodeIndex, SourceThread, bool)>,
    api_entries: Vec<NodeIndex>,
    /// The entries of triggers that go on for ever.
    triggers: Vec<NodeIndex>,
    joining: Joining,
}

struct Builder<'a> {
    plan: &'a StreamPlan,
    registry: &'a Registry,
    metrics: &'a Metrics,
    errors: &'a [Arc<StreamErrors>],
    setup: Setup,
    stop: StopSignal,
}

impl Builder<'_> {
    fn places(&self, groups: &[Vec<NodeId>]) -> Vec<Place> {
        let find = |id: NodeId| {
            groups
                .iter()
                .enumerate()
                .find_map(|(task, group)| Some((task, group.binary_search(&id).ok()?)))
        };
        let place = |stream: &StreamPlanStream| {
            let (task, entry) = find(stream.entry)?;
            let (_, node) = find(stream.node)?;
            let content = stream.held_by.and_then(find).map(|(_, node)| node);
            Some(Place {
                task,
                entry,
                node,
                content,
                columns: stream.def.schema.fields().len(),
            })
        };
        self.plan.streams.iter().filter_map(place).collect()
    }

    fn build(&mut self, group: &[NodeId]) -> Result<Part> {
        let event_time = event_time_nodes(self.plan);
        let specs = group
            .iter()
            .map(|&id| self.node(id, group, &event_time))
            .collect::<Result<Vec<_>>>()?;
        let mut graph = Graph::new(specs);
        if let Some(snapshot) = &self.setup.snapshot {
            graph.restore(|id| snapshot.state_of(id))?;
        }
        let mut sources = Vec::new();
        let mut api_entries = Vec::new();
        let mut triggers = Vec::new();
        for stream in &self.plan.streams {
            let Ok(entry) = group.binary_search(&stream.entry) else {
                continue;
            };
            match (&stream.def.role, self.setup.connect) {
                (Role::Source(_), true) => {
                    let schema = DecodeSchema {
                        declared: stream.def.schema.clone(),
                        wanted: stream.wanted.clone(),
                    };
                    let mut source = self
                        .registry
                        .build_source(&stream.def, schema)?
                        .ok_or_else(|| Error::failed("a source stream has no source"))?;
                    let position = self
                        .setup
                        .snapshot
                        .as_ref()
                        .and_then(|snapshot| snapshot.positions.get(&stream.def.name));
                    if let Some(position) = position {
                        source.seek(position)?;
                    }
                    let waited_for = stream.def.watermark.is_some() && source.is_bounded();
                    let thread = self.start_source(&stream.def.name, source)?;
                    sources.push((stream.def.name.clone(), entry, thread, waited_for));
                }
                (Role::Trigger(schedule), _) if schedule.recurs() => triggers.push(entry),
                _ => api_entries.push(entry),
            }
        }
        Ok(Part {
            graph,
            sources,
            api_entries,
            triggers,
            joining: self.joining(group),
        })
    }

    /// Whether no operator of a group goes by the batches that come in.
    fn joining(&self, group: &[NodeId]) -> Joining {
        let keeps = group.iter().any(|&node| match &self.plan.nodes[node].kind {
            PlanNodeKind::Operator(operator) => operator.keeps_batches(),
            _ => false,
        });
        if keeps { Joining::No } else { Joining::Yes }
    }

    fn start_source(&self, name: &str, source: Box<dyn Source>) -> Result<SourceThread> {
        SourceThread::start(name, source, self.stop.clone(), self.setup.clock.clone())
    }

    fn node(&mut self, id: NodeId, group: &[NodeId], event_time: &[bool]) -> Result<NodeSpec> {
        let node = &self.plan.nodes[id];
        let local = |id: NodeId| {
            group
                .binary_search(&id)
                .map_err(|_| Error::failed("a plan's part is not whole"))
        };
        let (stage, own_stream) = match &node.kind {
            PlanNodeKind::Stream(stream) => (Stage::Pass(self.taps(*stream)?), Some(*stream)),
            PlanNodeKind::Union => (Stage::Pass(Vec::new()), None),
            PlanNodeKind::Operator(plan) => (Stage::Operator(plan.build()?), None),
        };
        let entry_of = self.plan.streams.iter().position(|stream| stream.entry == id);
        let mut inputs: Vec<Watermark> = node.inputs.iter().map(|&from| initial(event_time[from])).collect();
        if let Some(stream) = entry_of {
            let outside = self.plan.streams[stream].def.watermark.is_some();
            inputs.push(initial(
                outside && matches!(self.plan.streams[stream].def.role, Role::Source(_)),
            ));
        }
        let query = node
            .query
            .map(|query| (&self.plan.queries[query], &self.metrics.queries[query]));
        let is_first = query.is_some_and(|(query, _)| query.first.contains(&id));
        let is_last = query.is_some_and(|(query, _)| query.last == id);
        let counted = own_stream.or(entry_of);
        Ok(NodeSpec {
            stage,
            outputs: node
                .outputs
                .iter()
                .map(|edge| Ok((local(edge.node)?, edge.port)))
                .collect::<Result<_>>()?,
            late_output: node
                .late_output
                .map(|edge| Ok::<_, Error>((local(edge.node)?, edge.port)))
                .transpose()?,
            inputs,
            passed: initial(event_time[id]),
            errors: self.errors[node.errors].clone(),
            counters: Counters {
                stream: counted.map(|stream| self.metrics.streams[stream].clone()),
                query_in: query.filter(|_| is_first).map(|(_, metrics)| metrics.clone()),
                query_out: query.filter(|_| is_last).map(|(_, metrics)| metrics.clone()),
            },
            id: node.id.clone(),
        })
    }

    fn taps(&mut self, stream: StreamId) -> Result<Vec<Tap>> {
        let mut taps = Vec::new();
        let mut index = 0;
        while index < self.setup.taps.len() {
            if self.setup.taps[index].0 == stream {
                taps.push(self.setup.taps.remove(index).1);
            } else {
                index += 1;
            }
        }
        let def = &self.plan.streams[stream].def;
        if self.setup.connect
            && let Some(sink) = self.registry.build_sink(def)?
        {
            if self.setup.mode == Mode::Inline || sink.is_immediate() {
                taps.push(Tap::Sink(OwnSink::open(&def.name, sink)?));
            } else {
                taps.push(Tap::Thread(SinkThread::start(&def.name, sink)?));
            }
        }
        Ok(taps)
    }
}

/// By node: whether event time begins at it or before it.
fn event_time_nodes(plan: &StreamPlan) -> Vec<bool> {
    let mut event_time = vec![false; plan.nodes.len()];
    for id in plan.topological().unwrap_or_default() {
        let begins = plan
            .streams
            .iter()
            .any(|stream| stream.entry == id && stream.def.watermark.is_some())
            || matches!(&plan.nodes[id].kind, PlanNodeKind::Operator(operator) if operator.begins_event_time());
        event_time[id] = begins || plan.nodes[id].inputs.iter().any(|&from| event_time[from]);
    }
    event_time
}

fn metrics_of(plan: &StreamPlan) -> Metrics {
    let role = |role: &Role| match role {
        Role::Internal => "internal",
        Role::Source(_) => "source",
        Role::Sink(_) => "sink",
        Role::Trigger(_) => "trigger",
    };
    let streams = plan
        .streams
        .iter()
        .map(|stream| Arc::new(StreamMetrics::new(stream.def.name.clone(), role(&stream.def.role))));
    let queries = plan.queries.iter().map(|query| {
        let target = match &query.target {
            QueryTarget::Stream(stream) => plan.streams[*stream].def.name.clone(),
            QueryTarget::Table(table) => table.def().name.clone(),
        };
        Arc::new(QueryMetrics::new(query.name.clone(), target))
    });
    Metrics {
        streams: streams.collect(),
        queries: queries.collect(),
    }
}

fn start_task(part: Part, lifecycle: &Arc<Lifecycle>, clock: &Arc<dyn Clock>, stop: &StopSignal) -> Result<TaskHandle> {
    let (api, api_inbox) = bounded(API_QUEUE);
    let (control, control_inbox) = bounded(16);
    let sources = part
        .sources
        .into_iter()
        .map(|(stream, node, thread, waited_for)| SourceInput {
            stream,
            node,
            events: thread.events,
            ended: thread.ended,
            waited_for,
        });
    let inputs = Inputs {
        sources: sources.collect(),
        api_entries: part.api_entries,
        triggers: part.triggers,
        joining: part.joining,
    };
    let task = Task::new(
        part.graph,
        inputs,
        api_inbox,
        control_inbox,
        stop.clone(),
        clock.clone(),
    );
    let lifecycle = lifecycle.clone();
    let thread = std::thread::Builder::new()
        .name("pipeline".to_string())
        .spawn(move || {
            let run = std::panic::AssertUnwindSafe(|| task.run());
            let outcome = std::panic::catch_unwind(run)
                .unwrap_or_else(|panic| Err(Error::failed(super::panic_message(panic.as_ref()))));
            if let Err(error) = outcome {
                lifecycle.fail(error);
            }
        })
        .map_err(|error| Error::io("starting a pipeline's thread", error))?;
    Ok(TaskHandle {
        api,
        control,
        thread: Mutex::new(Some(thread)),
    })
}

/// In inline mode sources still have threads, which carry their events through the graph themselves.
fn start_inline(parts: Vec<Part>, lifecycle: &Arc<Lifecycle>, clock: &Arc<dyn Clock>) -> Result<Driver> {
    let Some(mut part) = parts.into_iter().next() else {
        return Err(Error::failed("an app without parts"));
    };
    part.graph.start(clock.now())?;
    part.graph.all_taps().try_for_each(Tap::flush)?;
    let inline = Inline {
        graph: part.graph,
        positions: Vec::new(),
        // No thread would wake them: triggers fire until the app says that nothing more comes.
        api_entries: part.api_entries.into_iter().chain(part.triggers).collect(),
        closed: false,
    };
    let inline = Arc::new(Mutex::new(inline));
    let mut threads = Vec::new();
    for (stream, node, source, _) in part.sources {
        let (inline, lifecycle, clock) = (inline.clone(), lifecycle.clone(), clock.clone());
        let carry = move || {
            if let Err(error) = carry_source(&stream, node, &source, &inline, &clock) {
                lifecycle.fail(error);
            }
        };
        let thread = std::thread::Builder::new().name("inline".to_string()).spawn(carry);
        threads.push(thread.map_err(|error| Error::io("starting a source's thread", error))?);
    }
    Ok(Driver::Inline(inline, Mutex::new(threads)))
}

fn carry_source(
    stream: &str,
    node: NodeIndex,
    source: &SourceThread,
    inline: &Mutex<Inline>,
    clock: &Arc<dyn Clock>,
) -> Result<()> {
    while let Ok(mut emitted) = source.events.recv() {
        let mut inline = inline.lock();
        let position = emitted.position.take();
        inline.take(node, emitted, clock.now())?;
        if let Some(position) = position {
            inline.positions.retain(|(known, _)| known != stream);
            inline.positions.push((stream.to_string(), position));
        }
    }
    match source.ended.lock().take() {
        Some(Ended::Failed(error)) => Err(error),
        Some(Ended::Finished) => {
            let mut inline = inline.lock();
            inline.graph.end(node, clock.now())?;
            inline.graph.all_taps().try_for_each(Tap::flush)
        }
        Some(Ended::Stopped) | None => Ok(()),
    }
}
