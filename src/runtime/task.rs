//! A task: one thread that owns a graph and feeds it from its inputs.
//!
//! # Batching
//! The task takes what an input holds: small batches that wait are joined into one, so a batch is a single event when the app
//! is idle and thousands under load.
//!
//! # Order of inputs
//! Of several inputs with event time the one that is furthest behind goes first, and a bounded one that is furthest behind is
//! waited for: it will bring something or end. So files with history are merged in event-time order, and what an operator
//! has to hold back stays small. Inputs that may stay silent are never waited for; for those the watermark and the idle
//! time-out decide.
//!
//! # Other tasks
//! What they send is taken message by message, in turn with the sources (`exchange`).
//!
//! # Snapshots
//! Taken between two batches. The position that came with the last batch of each source belongs to that cut. Sinks on threads of their
//! own are not waited for: the barrier goes to them in the order of the events, and they answer by themselves (`cut`).
//!
//! A task that ends by itself leaves its last part behind, so that snapshots of the others go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};
use parking_lot::Mutex;

use super::cut::{Cut, Mark, Part, TableStates};
use super::exchange::{Inlet, Message};
use super::graph::{Graph, NodeIndex, STEP_BYTES};
use super::joined::Joined;
use super::snapshot::Snapshot;
use super::source_thread::Ended;
use super::tap::Tap;
use crate::connectors::{Around, Emitted, Position, StopSignal};
use crate::error::{Error, Result, RowError};
use crate::event::{Clock, EventBatch, Micros};
use crate::tables::slot::TableSlot;
use crate::tables::watch::{Watched, Watcher};

/// An input from a source.
pub struct SourceInput {
    /// The stream.
    pub stream: String,
    /// What its position is saved under.
    pub id: String,
    /// Where its events enter.
    pub node: NodeIndex,
    /// What hears its marks.
    pub relation: Option<NodeIndex>,
    /// Its events.
    pub events: Receiver<Emitted>,
    /// How it ended.
    pub ended: Arc<Mutex<Option<Ended>>>,
    /// Whether its watermarks count.
    pub tells_time: bool,
    /// Whether it has event time and will certainly bring something or end.
    pub waited_for: bool,
    /// Where it goes on, if it does.
    pub resumed: Resumed,
}

/// Where a source went on from.
#[derive(Debug, Clone, Default)]
pub struct Resumed {
    /// The position.
    pub position: Option<Position>,
    /// Whether its input had come to its end: then everything behind it has been closed.
    pub ended: bool,
}

/// Where events enter a task.
pub struct Inputs {
    /// From sources.
    pub sources: Vec<SourceInput>,
    /// From the embedding API alone.
    pub api_entries: Vec<NodeIndex>,
    /// From triggers that go on until the app is stopped.
    pub triggers: Vec<NodeIndex>,
    /// Whether batches that wait may be joined.
    pub joining: Joining,
    /// From other tasks.
    pub inlets: Vec<Inlet>,
    /// The nodes that these feed.
    pub merges: Vec<NodeIndex>,
    /// To other tasks.
    pub outlets: Vec<Sender<Message>>,
    /// The tables that it writes.
    pub writes: Vec<Arc<TableSlot>>,
    /// Whether its last part is wanted when it has ended.
    pub last_part: Option<LastPart>,
    /// Its number.
    pub number: usize,
}

/// Where a task leaves its last part of snapshots.
pub type LastPart = Arc<Mutex<Option<Snapshot>>>;

/// Whether batches that wait are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// They are: nobody cares which events came together.
    Yes,
    /// An operator goes by the batches that came in.
    No,
}

/// What the embedding API sends.
pub struct Sent {
    /// The entry of the stream.
    pub node: NodeIndex,
    /// The events.
    pub batch: EventBatch,
    /// Bad events met before.
    pub errors: Vec<RowError>,
}

/// What the app asks of a task.
pub enum Control {
    /// A part of a snapshot.
    Snapshot(Arc<Cut>),
    /// What the window at a node holds.
    Content(NodeIndex, Sender<Result<Vec<EventBatch>>>),
    /// A new tap on a stream.
    Tap(NodeIndex, Tap),
    /// Tells a watcher what the window at a node holds: so many columns of it.
    TellRows(NodeIndex, usize, Watcher),
    /// The embedding API will send nothing more: the inputs end.
    Finish,
}

/// One thread's work.
pub struct Task {
    graph: Graph,
    sources: Vec<SourceState>,
    api: Receiver<Sent>,
    api_entries: Vec<NodeIndex>,
    triggers: Vec<NodeIndex>,
    joining: Joining,
    inlets: Vec<Inlet>,
    merges: Vec<NodeIndex>,
    outlets: Vec<Sender<Message>>,
    writes: Vec<Arc<TableSlot>>,
    last_part: Option<LastPart>,
    number: usize,
    /// The snapshot whose barriers are coming in.
    barrier: Option<Arc<Cut>>,
    /// The one whose states are still being copied.
    taking: Option<Taking>,
    /// The number of the last one that has been answered.
    answered: u64,
    /// Whether other tasks were served last: sources are next.
    served_inlet: bool,
    /// The one of them that was.
    last_inlet: usize,
    api_open: bool,
    control: Receiver<Control>,
    stop: Option<StopSignal>,
    clock: Arc<dyn Clock>,
}

/// A snapshot of which the task has given its barriers, and of which it copies large states bit by bit.
struct Taking {
    cut: Arc<Cut>,
    part: Part,
}

struct SourceState {
    input: SourceInput,
    open: bool,
    /// Whether its input has come to its end.
    finished: bool,
    position: Option<Position>,
}

#[derive(Clone, Copy)]
enum Ready {
    Inlet(usize),
    Source(usize),
    Api,
    Control,
    Stop,
    Sink,
    Timer,
}

impl Task {
    /// Of a graph and its inputs.
    pub fn new(
        graph: Graph,
        inputs: Inputs,
        api: Receiver<Sent>,
        control: Receiver<Control>,
        stop: StopSignal,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let sources = inputs.sources.into_iter().map(|input| SourceState {
            open: true,
            finished: false,
            position: input.resumed.position.clone(),
            input,
        });
        Task {
            graph,
            sources: sources.collect(),
            api,
            api_entries: inputs.api_entries,
            triggers: inputs.triggers,
            joining: inputs.joining,
            inlets: inputs.inlets,
            merges: inputs.merges,
            outlets: inputs.outlets,
            writes: inputs.writes,
            last_part: inputs.last_part,
            number: inputs.number,
            barrier: None,
            taking: None,
            answered: 0,
            served_inlet: false,
            last_inlet: 0,
            api_open: true,
            control,
            stop: Some(stop),
            clock,
        }
    }

    /// Runs until all inputs have ended or all queries have, then flushes and closes the sinks.
    pub fn run(mut self) -> Result<()> {
        let result = self.run_inputs().and_then(|()| self.finish_taking());
        // Nothing comes after this; what came before is written when the sinks are closed.
        let last = match (&result, &self.last_part) {
            (Ok(()), Some(_)) => Some(self.part()),
            _ => None,
        };
        let closed = self.graph.close(self.clock.now());
        result?;
        closed?;
        if let (Some(part), Some(kept)) = (last, &self.last_part) {
            *kept.lock() = Some(part?.when_written()?);
        }
        Ok(())
    }

    fn run_inputs(&mut self) -> Result<()> {
        self.graph.start(self.clock.now())?;
        loop {
            let now = self.clock.now();
            self.graph.fire_timers(now, now)?;
            if !self.has_work() {
                return Ok(());
            }
            self.go_on_taking()?;
            match self.wait()? {
                Ready::Inlet(index) => self.take_inlet(index)?,
                Ready::Source(index) => self.take_source(index)?,
                Ready::Api => self.take_api()?,
                Ready::Control => self.take_control()?,
                Ready::Stop => {
                    self.stop = None;
                    self.drain_api()?;
                }
                // Sinks end after the task; one that has ended now has failed.
                Ready::Sink => self.graph.taps().try_for_each(Tap::check)?,
                Ready::Timer => {}
            }
        }
    }

    /// Whether anything may still come that has an effect.
    fn has_work(&self) -> bool {
        let sources = self
            .sources
            .iter()
            .any(|source| source.open && !self.graph.is_done(source.input.node));
        let api = self.api_open && self.api_entries.iter().any(|node| !self.graph.is_done(*node));
        let triggers = self.stop.is_some() && self.triggers.iter().any(|node| !self.graph.is_done(*node));
        let merges = self.merges.iter().any(|node| !self.graph.is_done(*node));
        let inlets = merges && self.inlets.iter().any(|inlet| inlet.open);
        sources || api || triggers || inlets
    }

    /// Waits until something is there. Sources first in line are those furthest behind in event time.
    fn wait(&mut self) -> Result<Ready> {
        let order = self.source_order();
        if let Some(ready) = self.waiting(&order) {
            // Control, API and stop must not starve behind a busy source.
            if !self.control.is_empty() {
                return Ok(Ready::Control);
            }
            if self.api_open && !self.api.is_empty() {
                return Ok(Ready::Api);
            }
            return Ok(ready);
        }
        if self.taking.is_some() && self.control.is_empty() && self.api.is_empty() {
            return Ok(Ready::Timer);
        }
        if self.api.is_empty() {
            // About to wait: nothing may be held back meanwhile.
            self.graph.flush(self.clock.now())?;
        }
        let sinks: Vec<_> = self.graph.taps().filter_map(Tap::ended).collect();
        let news: Vec<_> = self.graph.taps().filter_map(Tap::news).collect();
        let mut select = Select::new();
        let mut ready = Vec::with_capacity(order.len() + sinks.len() + 3);
        for &index in &order {
            select.recv(&self.sources[index].input.events);
            ready.push(Ready::Source(index));
        }
        for (index, inlet) in self.inlets.iter().enumerate().filter(|(_, inlet)| inlet.is_ready()) {
            select.recv(&inlet.messages);
            ready.push(Ready::Inlet(index));
        }
        if self.api_open {
            select.recv(&self.api);
            ready.push(Ready::Api);
        }
        select.recv(&self.control);
        ready.push(Ready::Control);
        if let Some(stop) = &self.stop {
            select.recv(stop);
            ready.push(Ready::Stop);
        }
        for sink in &sinks {
            select.recv(sink);
            ready.push(Ready::Sink);
        }
        // What they have given up is brought out before the next wait.
        for sink in &news {
            select.recv(sink);
            ready.push(Ready::Timer);
        }
        let selected = match self.graph.next_timer() {
            None => Some(select.ready()),
            Some(due) => {
                let micros = due.saturating_sub(self.clock.now()).clamp(0, 3_600_000_000);
                select.ready_timeout(Duration::from_micros(micros.unsigned_abs())).ok()
            }
        };
        Ok(selected.map_or(Ready::Timer, |index| ready.swap_remove(index)))
    }

    /// A source or another task that has something; they take turns.
    fn waiting(&mut self, order: &[usize]) -> Option<Ready> {
        let mut sources = order.iter();
        let source = sources.find(|index| !self.sources[**index].input.events.is_empty());
        let source = source.map(|index| Ready::Source(*index));
        let count = self.inlets.len();
        let mut inlets = (1..=count).map(|step| (self.last_inlet + step) % count);
        let inlet = inlets.find(|index| self.inlets[*index].is_ready() && !self.inlets[*index].messages.is_empty());
        self.last_inlet = inlet.unwrap_or(self.last_inlet);
        let inlet = inlet.map(Ready::Inlet);
        let ready = if self.served_inlet {
            source.or(inlet)
        } else {
            inlet.or(source)
        };
        self.served_inlet = matches!(ready, Some(Ready::Inlet(_)));
        ready
    }

    /// Takes what another task has sent, one message: what it causes may have to wait for room downstream.
    fn take_inlet(&mut self, index: usize) -> Result<()> {
        let now = self.clock.now();
        match self.inlets[index].messages.try_recv() {
            Ok(Message::Batch { node, port, batch }) => self.graph.receive(node, port, batch, now),
            Ok(Message::Time { node, port, watermark }) => self.graph.receive_time(node, port, watermark, now),
            Ok(Message::Barrier(cut)) => {
                self.inlets[index].waits = true;
                self.barrier = Some(cut);
                self.pass_barrier();
                Ok(())
            }
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => {
                self.inlets[index].open = false;
                self.pass_barrier();
                Ok(())
            }
        }
    }

    /// When the barrier has come from all that are alive: writes the own part of the snapshot and passes it on.
    fn pass_barrier(&mut self) {
        if self.inlets.iter().any(Inlet::is_ready) {
            return;
        }
        if let Some(cut) = self.barrier.take() {
            self.inlets.iter_mut().for_each(|inlet| inlet.waits = false);
            self.answer(&cut);
        }
    }

    /// Gives the own part of a snapshot, and the barrier to the others after what was sent before it.
    fn answer(&mut self, cut: &Arc<Cut>) {
        // One after the other: whoever asks waits for the whole of one.
        let before = self.finish_taking().and_then(|()| self.take_what_was_sent());
        let began = Instant::now();
        self.answered = cut.number();
        let mut part = before.and_then(|()| self.begin_part());
        for outlet in &self.outlets {
            // One that has ended is missed by whoever collects the parts.
            let _ = outlet.send(Message::Barrier(cut.clone()));
        }
        if !self.writes.is_empty() {
            match (cut.meet(self.number, || written(&self.writes)), &mut part) {
                (Ok(tables), Ok(part)) => part.add_tables(tables),
                (Err(error), Ok(_)) => part = Err(error),
                (_, Err(_)) => {}
            }
        }
        match part {
            Ok(mut part) => {
                part.snapshot.pause = began.elapsed();
                let cut = cut.clone();
                self.taking = Some(Taking { cut, part });
            }
            Err(error) => cut.give(self.number, Err(error)),
        }
    }

    /// Copies a little more of large states for the snapshot that is being taken; gives the part when it is whole.
    fn go_on_taking(&mut self) -> Result<()> {
        let Some(mut taking) = self.taking.take() else {
            return Ok(());
        };
        let began = Instant::now();
        let copied = self.graph.continue_snapshot(STEP_BYTES)?;
        let pause = &mut taking.part.snapshot.pause;
        *pause = (*pause).max(began.elapsed());
        if copied > 0 {
            self.taking = Some(taking);
            return Ok(());
        }
        taking.part.snapshot = taking.part.snapshot.settled();
        taking.cut.give(self.number, Ok(taking.part));
        Ok(())
    }

    /// Takes the rest at once: nothing comes that would have to wait.
    fn finish_taking(&mut self) -> Result<()> {
        while self.taking.is_some() {
            self.go_on_taking()?;
        }
        Ok(())
    }

    /// The open sources that somebody still needs, furthest behind first. If one that will certainly bring something is furthest behind,
    /// only it.
    fn source_order(&self) -> Vec<usize> {
        let mut order: Vec<(Micros, usize)> = self
            .sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.open && !self.graph.is_done(source.input.node))
            .map(|(index, source)| (self.graph.watermark(source.input.node).unwrap_or(Micros::MAX), index))
            .collect();
        order.sort_unstable();
        if let Some(&(behind, first)) = order.first()
            && behind < Micros::MAX
            && self.sources[first].input.waited_for
        {
            order.truncate(1);
        }
        order.into_iter().map(|(_, index)| index).collect()
    }

    fn take_source(&mut self, index: usize) -> Result<()> {
        let first = match self.sources[index].input.events.try_recv() {
            Ok(first) => first,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => return self.end_source(index),
        };
        let source = &mut self.sources[index];
        let node = source.input.node;
        if source.input.resumed.ended && !first.is_nothing() {
            return Err(more_after_the_end(&source.input.stream));
        }
        let mut errors = first.errors;
        let mut joined = Joined::new(first.batch);
        let mut position = first.position;
        let mut around = first.around;
        // What stands around events parts them from the others.
        let alone = around != Around::default();
        if let (Some(mark), Some(relation)) = (around.before.take(), source.input.relation) {
            self.graph.mark(relation, mark, self.clock.now())?;
        }
        while self.joining == Joining::Yes && !alone && joined.wants_more() {
            let Ok(mut next) = source.input.events.try_recv() else {
                break;
            };
            errors.extend(next.errors);
            if next.around != Around::default() {
                let before = std::mem::replace(&mut joined, Joined::new(next.batch));
                self.graph.send(node, before.finish()?, self.clock.now())?;
                if let (Some(mark), Some(relation)) = (next.around.before.take(), source.input.relation) {
                    self.graph.mark(relation, mark, self.clock.now())?;
                }
                position = next.position.or(position);
                around = next.around;
                break;
            }
            position = next.position.or(position);
            if let Some(full) = joined.add(next.batch) {
                self.graph.send(node, full.finish()?, self.clock.now())?;
            }
        }
        self.graph.report(node, errors, self.clock.now())?;
        self.graph.send(node, joined.finish()?, self.clock.now())?;
        self.after_events(index, around)?;
        if position.is_some() {
            self.sources[index].position = position;
        }
        Ok(())
    }

    /// What a source says after events.
    fn after_events(&mut self, index: usize, around: Around) -> Result<()> {
        let input = &self.sources[index].input;
        if let (Some(mark), Some(relation)) = (around.after, input.relation) {
            self.graph.mark(relation, mark, self.clock.now())?;
        }
        match around.watermark.filter(|_| input.tells_time) {
            Some(watermark) => self.graph.tell_time(input.node, watermark, self.clock.now()),
            None => Ok(()),
        }
    }

    fn end_source(&mut self, index: usize) -> Result<()> {
        let source = &mut self.sources[index];
        source.open = false;
        let node = source.input.node;
        match source.input.ended.lock().take() {
            Some(Ended::Failed(error)) => Err(error),
            Some(Ended::Finished) => {
                source.finished = true;
                self.graph.end(node, self.clock.now())
            }
            Some(Ended::Stopped) | None => Ok(()),
        }
    }

    fn take_api(&mut self) -> Result<()> {
        let first = match self.api.try_recv() {
            Ok(first) => first,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => {
                self.api_open = false;
                return Ok(());
            }
        };
        let mut node = first.node;
        self.graph.report(node, first.errors, self.clock.now())?;
        let mut joined = Joined::new(first.batch);
        while self.joining == Joining::Yes && joined.wants_more() {
            let Ok(next) = self.api.try_recv() else {
                break;
            };
            self.graph.report(next.node, next.errors, self.clock.now())?;
            if next.node != node {
                let full = std::mem::replace(&mut joined, Joined::new(next.batch));
                self.graph.send(node, full.finish()?, self.clock.now())?;
                node = next.node;
            } else if let Some(full) = joined.add(next.batch) {
                self.graph.send(node, full.finish()?, self.clock.now())?;
            }
        }
        self.graph.send(node, joined.finish()?, self.clock.now())
    }

    /// Takes what was sent before the stop; nothing is accepted after it.
    fn drain_api(&mut self) -> Result<()> {
        while !self.api.is_empty() {
            self.take_api()?;
        }
        self.api_open = false;
        Ok(())
    }

    fn take_control(&mut self) -> Result<()> {
        match self.control.try_recv() {
            // With the barrier of another task it may have been answered already.
            Ok(Control::Snapshot(cut)) if cut.number() > self.answered => {
                self.barrier = Some(cut);
                self.pass_barrier();
            }
            Ok(Control::Snapshot(_)) => {}
            Ok(Control::Content(node, reply)) => {
                let content = self.graph.content(node);
                let _ = reply.send(content);
            }
            Ok(Control::Tap(node, tap)) => self.graph.add_tap(node, tap),
            Ok(Control::TellRows(node, columns, watcher)) => {
                let rows = window_rows(self.graph.content(node)?, columns)?;
                watcher.tell(Watched::Rows(rows));
            }
            Ok(Control::Finish) => {
                self.drain_api()?;
                for node in std::mem::take(&mut self.api_entries) {
                    self.graph.end(node, self.clock.now())?;
                }
            }
            Err(TryRecvError::Empty) => {}
            // The app has been dropped without a word: as if stopped.
            Err(TryRecvError::Disconnected) => self.api_open = false,
        }
        Ok(())
    }

    /// The whole part at once.
    fn part(&mut self) -> Result<Part> {
        self.take_what_was_sent()?;
        let mut part = self.begin_part()?;
        self.graph.finish_snapshot()?;
        part.snapshot = part.snapshot.settled();
        Ok(part)
    }

    /// What was sent before a snapshot is asked for belongs to it; who goes on sending does not put it off.
    fn take_what_was_sent(&mut self) -> Result<()> {
        (0..self.api.len()).try_for_each(|_| self.take_api())
    }

    /// The part, of which large states are still to be copied.
    fn begin_part(&mut self) -> Result<Part> {
        let marks = self.graph.marks(self.clock.now())?;
        let operators = self.graph.begin_snapshot()?.into_iter().collect();
        let positions = self
            .sources
            .iter()
            .filter_map(|source| Some((source.input.id.clone(), source.position.clone()?)))
            .collect();
        let finished = self.sources.iter().filter(|source| source.finished);
        let ended = finished.map(|source| source.input.id.clone()).collect();
        let snapshot = Snapshot {
            operators,
            positions,
            ended,
            ..Snapshot::default()
        };
        Ok(Part { snapshot, marks })
    }
}

/// The rows of tables as bytes, and marks for those who watch them. Nobody writes meanwhile.
pub(super) fn written(tables: &[Arc<TableSlot>]) -> Result<TableStates> {
    let mut taken = TableStates::default();
    for slot in tables {
        taken.rows.insert(slot.def().state_id().to_string(), slot.snapshot()?);
        taken.marks.extend(slot.table()?.marks().into_iter().map(Mark::Watcher));
    }
    Ok(taken)
}

/// The error of a source whose input had come to its end before the app was restarted.
pub(super) fn more_after_the_end(stream: &str) -> Error {
    Error::failed(format!(
        "the input of stream {stream} had come to its end, and what it feeds was closed, when the state that the app goes on from \
         was written; now there is more of it. Use a source that follows its input, or start anew without the state"
    ))
}

/// What a window holds, without its bounds, which come last and are no columns of it.
pub(super) fn window_rows(content: Vec<EventBatch>, columns: usize) -> Result<Vec<RecordBatch>> {
    let columns: Vec<usize> = (0..columns).collect();
    let content = content.into_iter().map(|batch| Ok(batch.columns().project(&columns)?));
    content.collect()
}
