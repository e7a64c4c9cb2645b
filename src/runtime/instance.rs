//! A running app: its tasks or, in inline mode, its graph on the caller's thread.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::build::{Builder, Built, BuiltSource, Place, metrics_of};
use super::cut::{Cut, Mark, Part as SnapshotPart};
use super::errors::{Listener, StreamErrors};
use super::graph::{Graph, NodeIndex};
use super::metrics::Metrics;
use super::placement::{Part, parts};
use super::snapshot::Snapshot;
use super::source_thread::Ended;
use super::tap::Tap;
use super::task::{Control, Inputs, LastPart, Sent, SourceInput, Task, more_after_the_end, window_rows, written};
use crate::connectors::{Around, DurablePosition, Emitted, Position, Registry, StopSignal};
use crate::error::{Error, Result, RowError};
use crate::event::{Clock, EventBatch, Micros, VirtualClock};
use crate::plan::stream_plan::{StreamId, StreamPlan};
use crate::tables::slot::TableSlot;
use crate::tables::watch::{Watched, Watcher};

/// How many batches sent through the API may wait for a task; then `send` waits.
const API_QUEUE: usize = 1_024;

/// How long to wait for parts of a snapshot before looking whether a task has ended instead.
const LOOK: Duration = Duration::from_millis(2);

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
    /// On how many threads the keys of a partition are worked off; not in inline mode.
    pub parallelism: usize,
    /// A snapshot to go on from.
    pub snapshot: Option<Snapshot>,
    /// Whether what does not fit the snapshot starts anew, instead of failing.
    pub lossy: bool,
    /// Called when the sinks are open, before anything is written to them. With it, snapshots go on when a part of the app has ended.
    pub opened: Option<Opened>,
}

/// Told where the sinks stand that can go back there, on how many workers partitions live, and what the app goes on from.
pub type Opened = Box<dyn FnOnce(&Snapshot, Option<&Snapshot>) -> Result<()>>;

/// A running app.
pub struct Instance {
    /// With checkpoints, by the id of a source: where it is told what is durable.
    durable: BTreeMap<String, DurablePosition>,
    driver: Driver,
    /// By stream: its task, and its entry and own node there.
    places: Vec<Place>,
    /// On how many workers partitions live.
    workers: usize,
    /// One snapshot is taken at a time: tasks tell barriers by their number, which this counts.
    snapshots: Mutex<u64>,
    tables: Vec<Arc<TableSlot>>,
    /// Those who watch streams and whose state belongs to snapshots.
    kept: Mutex<Vec<(StreamId, Watcher)>>,
    lifecycle: Arc<Lifecycle>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

enum Driver {
    Threads(Vec<TaskHandle>),
    Inline(Arc<Mutex<Inline>>, Mutex<Vec<JoinHandle<()>>>),
}

struct TaskHandle {
    api: Sender<Sent>,
    control: Sender<Control>,
    /// Whether it writes tables.
    writes: bool,
    /// Its part of all snapshots after its end.
    last_part: LastPart,
    /// Whether it has ended, well or not.
    ended: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The graph of inline mode.
struct Inline {
    graph: Graph,
    positions: BTreeMap<String, Position>,
    /// The sources whose input has come to its end.
    ended: BTreeSet<String>,
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
        let parts = match setup.mode {
            Mode::Threads => parts(plan, setup.parallelism),
            Mode::Inline => vec![Part {
                nodes: (0..plan.nodes.len()).collect(),
                workers: 1,
            }],
        };
        let errors: Vec<Arc<StreamErrors>> = plan
            .streams
            .iter()
            .zip(&metrics.streams)
            .map(|(stream, metrics)| Arc::new(StreamErrors::new(metrics.clone(), stream.def.settings.errors.clone())))
            .collect();
        for (stream, listener) in setup.listeners.drain(..) {
            errors[stream].listen(listener);
        }
        let mut builder = Builder::new(plan, registry, (&metrics, &errors), setup, stop_signal, parts);
        let places = builder.places();
        let workers = builder.workers();
        let clock = builder.setup.clock.clone();
        let built = builder.build();
        let built = built.and_then(|mut parts| tell_opened(&mut builder.setup, &mut parts, workers).map(|()| parts));
        let parts = match built {
            Ok(parts) => parts,
            Err(error) => {
                lifecycle.stop();
                return Err(error);
            }
        };
        let keep = builder.keeps_last_parts();
        let driver = match builder.setup.mode {
            Mode::Threads => {
                let tasks = parts
                    .into_iter()
                    .enumerate()
                    .map(|(number, part)| start_task(number, part, keep, &lifecycle, &clock, &builder.stop));
                Driver::Threads(tasks.collect::<Result<_>>()?)
            }
            Mode::Inline => start_inline(parts, &lifecycle, &clock)?,
        };
        Ok(Instance {
            durable: std::mem::take(&mut builder.durable),
            driver,
            places,
            workers,
            snapshots: Mutex::new(0),
            kept: Mutex::default(),
            tables: plan.tables.clone(),
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
                        around: Around::default(),
                    },
                    now,
                );
                done.inspect_err(|_| self.lifecycle.stop())
            }
        }
    }

    /// A snapshot is where it survives a crash: tells the sources.
    pub fn keep(&self, snapshot: &Snapshot) {
        for (id, durable) in &self.durable {
            if let Some(position) = snapshot.positions.get(id) {
                *durable.lock() = Some(position.clone());
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
                inline.lock().graph.add_tap(place.node, tap);
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
        window_rows(content, place.columns)
    }

    /// Tells a watcher that is tapped to a stream what the window that the stream is holds, at its place among the stream's events;
    /// of a stream that is no window, that it holds nothing.
    pub fn tell_rows(&self, stream: StreamId, watcher: Watcher) -> Result<()> {
        let place = self.places[stream];
        let Some(node) = place.content else {
            watcher.tell(Watched::Rows(Vec::new()));
            return Ok(());
        };
        match &self.driver {
            Driver::Threads(tasks) => tasks[place.task]
                .control
                .send(Control::TellRows(node, place.columns, watcher))
                .map_err(|_| self.closed()),
            Driver::Inline(inline, _) => {
                let inline = inline.lock();
                let rows = window_rows(inline.graph.content(node)?, place.columns)?;
                watcher.tell(Watched::Rows(rows));
                Ok(())
            }
        }
    }

    /// The state between two events. Waits until the tasks have come to a point where it is whole, and the sinks have written what
    /// came before it.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut number = self.snapshots.lock();
        *number += 1;
        let mut whole = SnapshotPart::default();
        match &self.driver {
            Driver::Threads(tasks) => {
                let writers = tasks
                    .iter()
                    .enumerate()
                    .filter(|(_, task)| task.is_alive() && task.writes);
                let writers = writers.map(|(task, _)| task).collect();
                let (cut, parts) = Cut::new(*number, tasks.len(), writers);
                let cut = Arc::new(cut);
                let collected = self.collect(tasks, &cut, &parts, &mut whole);
                // Nobody shall wait for a cut that has failed.
                cut.end();
                collected?;
            }
            Driver::Inline(inline, _) => {
                let mut inline = inline.lock();
                whole.marks = inline.graph.marks(self.clock.now())?;
                whole.snapshot.operators = inline.graph.snapshot()?.into_iter().collect();
                whole.snapshot.positions.clone_from(&inline.positions);
                whole.snapshot.ended.clone_from(&inline.ended);
                whole.add_tables(written(&self.tables)?);
            }
        }
        whole.snapshot.workers = self.workers;
        for table in &self.tables {
            // Those that no running query writes.
            if !whole.snapshot.tables.contains_key(table.def().state_id()) {
                whole.add_tables(written(std::slice::from_ref(table))?);
            }
        }
        whole.marks.extend(self.marks_after_the_end());
        whole.when_written().map_err(|error| self.failure_or(error))
    }

    /// Remembers somebody who watches a stream and whose state belongs to snapshots.
    pub fn keep_watcher(&self, stream: StreamId, watcher: Watcher) {
        let mut kept = self.kept.lock();
        kept.retain(|(_, watcher)| !watcher.has_gone());
        kept.push((stream, watcher));
    }

    /// The states of those who watch streams whose tasks have ended: nothing comes there, but what they do by themselves goes on.
    fn marks_after_the_end(&self) -> Vec<Mark> {
        let Driver::Threads(tasks) = &self.driver else {
            return Vec::new();
        };
        let kept = self.kept.lock().clone();
        let ended = kept
            .iter()
            .filter(|(stream, _)| !tasks[self.places[*stream].task].is_alive());
        ended
            .filter_map(|(_, watcher)| watcher.mark())
            .map(Mark::Watcher)
            .collect()
    }

    /// Collects the parts of all tasks.
    fn collect(
        &self,
        tasks: &[TaskHandle],
        cut: &Arc<Cut>,
        parts: &Receiver<(usize, Result<SnapshotPart>)>,
        whole: &mut SnapshotPart,
    ) -> Result<()> {
        let mut missing: BTreeSet<usize> = (0..tasks.len()).collect();
        for task in tasks {
            // One that has ended is seen below.
            let _ = task.control.send(Control::Snapshot(cut.clone()));
        }
        while !missing.is_empty() {
            match parts.recv_timeout(LOOK) {
                Ok((task, part)) => {
                    let part = part.map_err(|error| self.failure_or(error))?;
                    missing.remove(&task);
                    whole.snapshot.merge(part.snapshot);
                    whole.marks.extend(part.marks);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.closed()),
                Err(RecvTimeoutError::Timeout) => {
                    // What a task gave before it ended is taken first.
                    for task in missing.clone().into_iter().filter(|_| parts.is_empty()) {
                        let Some(last) = tasks[task].after_end() else {
                            continue;
                        };
                        if let Some(tables) = cut.absent(task, || written(&self.tables)) {
                            whole.add_tables(tables?);
                        }
                        whole.snapshot.merge(last.ok_or_else(|| self.closed())?);
                        missing.remove(&task);
                    }
                }
            }
        }
        Ok(())
    }

    /// Why the app has failed, or if it has not, another error.
    fn failure_or(&self, error: Error) -> Error {
        match self.lifecycle.failure.lock().as_ref() {
            Some(failure) => Error::failed(failure),
            None => error,
        }
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
            Driver::Threads(tasks) => !tasks.iter().any(TaskHandle::is_alive),
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
                inline.graph.close(self.clock.now())?;
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

impl TaskHandle {
    fn is_alive(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// When it has ended: its last part, if it ended well and that is kept.
    fn after_end(&self) -> Option<Option<Snapshot>> {
        match self.is_alive() {
            true => None,
            false => Some(self.last_part.lock().clone()),
        }
    }
}

/// Tells whoever wants to know where the sinks stand at the start.
fn tell_opened(setup: &mut Setup, parts: &mut [Built], workers: usize) -> Result<()> {
    let Some(opened) = setup.opened.take() else {
        return Ok(());
    };
    let mut at_start = SnapshotPart::default();
    at_start.snapshot.workers = workers;
    for part in parts {
        at_start.marks.extend(part.graph.marks(setup.clock.now())?);
    }
    opened(&at_start.when_written()?, setup.snapshot.as_ref())
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

impl Inline {
    fn take(&mut self, node: NodeIndex, emitted: Emitted, now: Micros) -> Result<()> {
        self.graph.fire_timers(now, now)?;
        self.graph.report(node, emitted.errors, now)?;
        self.graph.send(node, emitted.batch, now)?;
        self.graph.flush(now)
    }
}

fn start_task(
    number: usize,
    part: Built,
    keep: bool,
    lifecycle: &Arc<Lifecycle>,
    clock: &Arc<dyn Clock>,
    stop: &StopSignal,
) -> Result<TaskHandle> {
    let (api, api_inbox) = bounded(API_QUEUE);
    let (control, control_inbox) = bounded(16);
    let sources = part.sources.into_iter().map(|source| SourceInput {
        stream: source.stream,
        id: source.id,
        node: source.entry,
        relation: source.relation,
        events: source.thread.events,
        ended: source.thread.ended,
        tells_time: source.tells_time,
        waited_for: source.waited_for,
        resumed: source.resumed,
    });
    let last_part = LastPart::default();
    let writes = !part.writes.is_empty();
    let inputs = Inputs {
        sources: sources.collect(),
        api_entries: part.api_entries,
        triggers: part.triggers,
        joining: part.joining,
        inlets: part.inlets,
        merges: part.merges,
        outlets: part.outlets,
        writes: part.writes,
        last_part: keep.then(|| last_part.clone()),
        number,
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
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = ended.clone();
    let thread = std::thread::Builder::new()
        .name("pipeline".to_string())
        .spawn(move || {
            let run = std::panic::AssertUnwindSafe(|| task.run());
            let outcome = std::panic::catch_unwind(run)
                .unwrap_or_else(|panic| Err(Error::failed(super::panic_message(panic.as_ref()))));
            if let Err(error) = outcome {
                lifecycle.fail(error);
            }
            has_ended.store(true, Ordering::Release);
        })
        .map_err(|error| Error::io("starting a pipeline's thread", error))?;
    Ok(TaskHandle {
        api,
        control,
        writes,
        last_part,
        ended,
        thread: Mutex::new(Some(thread)),
    })
}

/// In inline mode sources still have threads, which carry their events through the graph themselves.
fn start_inline(parts: Vec<Built>, lifecycle: &Arc<Lifecycle>, clock: &Arc<dyn Clock>) -> Result<Driver> {
    let Some(mut part) = parts.into_iter().next() else {
        return Err(Error::failed("an app without parts"));
    };
    part.graph.start(clock.now())?;
    part.graph.flush(clock.now())?;
    let resumed = part.sources.iter().map(|source| (&source.id, &source.resumed));
    let positions = resumed.filter_map(|(id, resumed)| Some((id.clone(), resumed.position.clone()?)));
    let inline = Inline {
        graph: part.graph,
        positions: positions.collect(),
        ended: BTreeSet::new(),
        // No thread would wake them: triggers fire until the app says that nothing more comes.
        api_entries: part.api_entries.into_iter().chain(part.triggers).collect(),
        closed: false,
    };
    let inline = Arc::new(Mutex::new(inline));
    let mut threads = Vec::new();
    for source in part.sources {
        let (inline, lifecycle, clock) = (inline.clone(), lifecycle.clone(), clock.clone());
        let carry = move || {
            if let Err(error) = carry_source(&source, &inline, &clock) {
                lifecycle.fail(error);
            }
        };
        let thread = std::thread::Builder::new().name("inline".to_string()).spawn(carry);
        threads.push(thread.map_err(|error| Error::io("starting a source's thread", error))?);
    }
    Ok(Driver::Inline(inline, Mutex::new(threads)))
}

fn carry_source(source: &BuiltSource, inline: &Mutex<Inline>, clock: &Arc<dyn Clock>) -> Result<()> {
    while let Ok(mut emitted) = source.thread.events.recv() {
        if source.resumed.ended && !emitted.is_nothing() {
            return Err(more_after_the_end(&source.stream));
        }
        let mut inline = inline.lock();
        let position = emitted.position.take();
        let around = emitted.around;
        if let (Some(mark), Some(relation)) = (around.before, source.relation) {
            inline.graph.mark(relation, mark, clock.now())?;
        }
        inline.take(source.entry, emitted, clock.now())?;
        if let (Some(mark), Some(relation)) = (around.after, source.relation) {
            inline.graph.mark(relation, mark, clock.now())?;
        }
        if let Some(watermark) = around.watermark.filter(|_| source.tells_time) {
            inline.graph.tell_time(source.entry, watermark, clock.now())?;
        }
        inline.graph.flush(clock.now())?;
        if let Some(position) = position {
            inline.positions.insert(source.id.clone(), position);
        }
    }
    match source.thread.ended.lock().take() {
        Some(Ended::Failed(error)) => Err(error),
        Some(Ended::Finished) => {
            let mut inline = inline.lock();
            inline.ended.insert(source.id.clone());
            inline.graph.end(source.entry, clock.now())?;
            inline.graph.flush(clock.now())
        }
        Some(Ended::Stopped) | None => Ok(()),
    }
}
