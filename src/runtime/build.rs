//! From a plan to graphs with their sources, sinks and ways to each other: one for each task.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::errors::StreamErrors;
use super::exchange::{Inlet, Message, Outlet, channel};
use super::graph::{Counters, Graph, NodeIndex, NodeSpec, Stage, initial};
use super::graph_errors::ErrorOutput;
use super::guarded_sink::{Guard, GuardedSink};
use super::instance::{Mode, Setup};
use super::metrics::{Metrics, PatternMetrics, QueryMetrics, StreamMetrics};
use super::placement::{Part, route};
use super::source_thread::{SourceRetry, SourceThread};
use super::tap::{SinkThread, Tap};
use super::task::{Joining, Resumed};
use crate::catalog::streams::{Role, StreamDef};
use crate::connectors::{DurablePosition, Position, Registry, Sink, Source, StopSignal};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::formats::DecodeSchema;
use crate::operators::Watermark;
use crate::plan::stream_plan::{Edge, NodeId, PlanNodeKind, QueryTarget, StreamId, StreamPlan, StreamPlanStream};
use crate::tables::slot::TableSlot;

/// What one task runs.
pub struct Built {
    /// Its operators and streams.
    pub graph: Graph,
    /// Its sources.
    pub sources: Vec<BuiltSource>,
    /// The entries of streams that the embedding API feeds.
    pub api_entries: Vec<NodeIndex>,
    /// The entries of triggers that go on for ever.
    pub triggers: Vec<NodeIndex>,
    /// Whether batches that wait may be joined.
    pub joining: Joining,
    /// What comes from other tasks.
    pub inlets: Vec<Inlet>,
    /// The nodes that it comes in by.
    pub merges: Vec<NodeIndex>,
    /// The channels to other tasks.
    pub outlets: Vec<Sender<Message>>,
    /// The tables that its queries write.
    pub writes: Vec<Arc<TableSlot>>,
}

/// A source that has been started.
pub struct BuiltSource {
    /// Its stream.
    pub stream: String,
    /// What its position is saved under.
    pub id: String,
    /// Where its events enter.
    pub entry: NodeIndex,
    /// What hears its marks.
    pub relation: Option<NodeIndex>,
    /// Whether the stream goes by the time that the source tells.
    pub tells_time: bool,
    /// Its thread.
    pub thread: SourceThread,
    /// Whether it has event time and will certainly bring something or end.
    pub waited_for: bool,
    /// Where it goes on.
    pub resumed: Resumed,
}

/// A stream in its task; of one that workers share, in the first of them.
#[derive(Clone, Copy)]
pub struct Place {
    /// The task.
    pub task: usize,
    /// Where its events enter.
    pub entry: NodeIndex,
    /// Its own node.
    pub node: NodeIndex,
    /// Of a named window: what holds its events.
    pub content: Option<NodeIndex>,
    /// The number of its columns.
    pub columns: usize,
}

/// Builds the tasks of a plan.
pub struct Builder<'a> {
    plan: &'a StreamPlan,
    registry: &'a Registry,
    metrics: &'a Metrics,
    errors: &'a [Arc<StreamErrors>],
    /// What the app is started with.
    pub setup: Setup,
    /// Tells sources to stop.
    pub stop: StopSignal,
    parts: Vec<Part>,
    /// By node: its part.
    part_of: Vec<usize>,
    /// By node: whether event time begins at it or before it.
    event_time: Vec<bool>,
    /// The edges from one part to another.
    crossings: Vec<Crossing>,
    /// By sending and receiving task.
    channels: Vec<Channel>,
    keeps_last_parts: bool,
    /// With checkpoints, by the id of a source: where it is told what is durable.
    pub durable: BTreeMap<String, DurablePosition>,
}

/// An edge from one part to another. Those of a part, and those into it, have nodes after its own: first what comes in.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    from: NodeId,
    to: Edge,
    way: Way,
}

/// What goes along an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Output,
    Late,
    Errors,
}

struct Channel {
    from: usize,
    to: usize,
    sender: Sender<Message>,
    receiver: Option<Receiver<Message>>,
}

impl<'a> Builder<'a> {
    /// For a plan in parts.
    pub fn new(
        plan: &'a StreamPlan,
        registry: &'a Registry,
        (metrics, errors): (&'a Metrics, &'a [Arc<StreamErrors>]),
        setup: Setup,
        stop: StopSignal,
        parts: Vec<Part>,
    ) -> Self {
        let mut part_of = vec![0; plan.nodes.len()];
        for (index, part) in parts.iter().enumerate() {
            part.nodes.iter().for_each(|node| part_of[*node] = index);
        }
        let mut builder = Builder {
            keeps_last_parts: setup.opened.is_some(),
            plan,
            registry,
            metrics,
            errors,
            setup,
            stop,
            parts,
            part_of,
            event_time: event_time_nodes(plan),
            crossings: Vec::new(),
            channels: Vec::new(),
            durable: BTreeMap::new(),
        };
        builder.connect();
        builder
    }

    /// Where the streams are.
    pub fn places(&self) -> Vec<Place> {
        let place = |stream: &StreamPlanStream| {
            let part = self.part_of[stream.entry];
            let find = |node: NodeId| self.parts[part].nodes.binary_search(&node).ok();
            Some(Place {
                task: self.first_task(part),
                entry: find(stream.entry)?,
                node: find(stream.node)?,
                content: stream.held_by.and_then(find),
                columns: stream.def.schema.fields().len(),
            })
        };
        self.plan.streams.iter().filter_map(place).collect()
    }

    /// On how many workers partitions live.
    pub fn workers(&self) -> usize {
        self.parts.iter().map(|part| part.workers).max().unwrap_or(1)
    }

    /// Builds all tasks.
    pub fn build(&mut self) -> Result<Vec<Built>> {
        self.check_workers()?;
        let mut built = Vec::new();
        for part in 0..self.parts.len() {
            for worker in 0..self.parts[part].workers {
                built.push(self.task(part, worker)?);
            }
        }
        // From here on a channel lives as long as the tasks at its ends.
        self.channels.clear();
        Ok(built)
    }

    /// The state of a key is where its worker was.
    fn check_workers(&self) -> Result<()> {
        let Some(snapshot) = &self.setup.snapshot else {
            return Ok(());
        };
        match (snapshot.workers.max(1), self.workers()) {
            (then, now) if then == now || self.setup.lossy => Ok(()),
            (then, now) => {
                let message = format!(
                    "the state was written with the partitions' keys on {then} worker(s), and they would now be on {now}: \
                     start with parallelism = {then}"
                );
                Err(Diagnostic::new(Code::StateMismatch, message)
                    .hint("or --allow-state-loss lets the partitions begin anew")
                    .into())
            }
        }
    }

    /// Whether tasks leave a last part of snapshots when they end.
    pub fn keeps_last_parts(&self) -> bool {
        self.keeps_last_parts
    }

    fn first_task(&self, part: usize) -> usize {
        self.parts[..part].iter().map(|part| part.workers).sum()
    }

    /// Finds the edges between parts, and makes a channel for each pair of tasks that they connect.
    fn connect(&mut self) {
        for (from, node) in self.plan.nodes.iter().enumerate() {
            let late = node.late_output.iter().map(|edge| (edge, Way::Late));
            let errors = node.error_outputs.iter().map(|edge| (&edge.to, Way::Errors));
            let outputs = node.outputs.iter().map(|edge| (edge, Way::Output));
            for (to, way) in outputs.chain(late).chain(errors) {
                if self.part_of[from] == self.part_of[to.node] {
                    continue;
                }
                self.crossings.push(Crossing { from, to: *to, way });
                let (sending, receiving) = (self.part_of[from], self.part_of[to.node]);
                for sender in self.tasks(sending) {
                    for receiver in self.tasks(receiving) {
                        self.add_channel(sender, receiver);
                    }
                }
            }
        }
    }

    fn tasks(&self, part: usize) -> std::ops::Range<usize> {
        let first = self.first_task(part);
        first..first + self.parts[part].workers
    }

    fn add_channel(&mut self, from: usize, to: usize) {
        if self
            .channels
            .iter()
            .any(|channel| (channel.from, channel.to) == (from, to))
        {
            return;
        }
        let (sender, receiver) = channel();
        self.channels.push(Channel {
            from,
            to,
            sender,
            receiver: Some(receiver),
        });
    }

    /// The edges into a part.
    fn edges_into(&self, part: usize) -> impl Iterator<Item = &Crossing> {
        let edges = self.crossings.iter();
        edges.filter(move |edge| self.part_of[edge.to.node] == part)
    }

    /// The edges out of a part.
    fn edges_out_of(&self, part: usize) -> impl Iterator<Item = &Crossing> {
        let edges = self.crossings.iter();
        edges.filter(move |edge| self.part_of[edge.from] == part)
    }

    fn task(&mut self, part: usize, worker: usize) -> Result<Built> {
        let task = self.first_task(part) + worker;
        let nodes = self.parts[part].nodes.clone();
        let mut specs = nodes
            .iter()
            .map(|&id| self.node(id, part, worker))
            .collect::<Result<Vec<_>>>()?;
        let merges = specs.len();
        specs.extend(self.edges_into(part).map(|edge| self.merge(edge)));
        let merges: Vec<NodeIndex> = (merges..specs.len()).collect();
        specs.extend(self.edges_out_of(part).map(|edge| self.sender(edge, task, worker)));
        let mut graph = Graph::new(specs);
        if let Some(snapshot) = &self.setup.snapshot {
            graph.restore(|id| snapshot.state_of(id))?;
        }
        let own = self.channels.iter_mut().filter(|channel| channel.to == task);
        let inlets = own
            .filter_map(|channel| channel.receiver.take())
            .map(Inlet::new)
            .collect();
        let outlets = self.channels.iter().filter(|channel| channel.from == task);
        let outlets = outlets.map(|channel| channel.sender.clone()).collect();
        let mut built = Built {
            graph,
            sources: Vec::new(),
            api_entries: Vec::new(),
            triggers: Vec::new(),
            joining: self.joining(&nodes),
            inlets,
            merges,
            outlets,
            writes: self.writes(&nodes),
        };
        self.add_entries(&nodes, &mut built)?;
        Ok(built)
    }

    /// The tables that queries among some nodes write.
    fn writes(&self, nodes: &[NodeId]) -> Vec<Arc<TableSlot>> {
        let mut writes: Vec<Arc<TableSlot>> = Vec::new();
        for query in &self.plan.queries {
            if let QueryTarget::Table(table) = &query.target
                && nodes.contains(&query.last)
                && !writes.iter().any(|known| known.def().name == table.def().name)
            {
                writes.push(table.clone());
            }
        }
        writes
    }

    /// Where events come in from outside.
    fn add_entries(&mut self, nodes: &[NodeId], built: &mut Built) -> Result<()> {
        for stream in &self.plan.streams {
            let Ok(entry) = nodes.binary_search(&stream.entry) else {
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
                        .build_source(&stream.def, schema.clone())?
                        .ok_or_else(|| Error::failed("a source stream has no source"))?;
                    let resumed = self.resumed(stream.def.state_id());
                    if let Some(position) = &resumed.position {
                        source.seek(position)?;
                    }
                    let waited_for = stream.def.has_event_time() && source.is_bounded();
                    let retry = self.source_retry(&stream.def, schema, &resumed);
                    let id = stream.def.state_id();
                    let durable = self.setup.opened.is_some().then(DurablePosition::default);
                    self.durable
                        .extend(durable.clone().map(|durable| (id.to_string(), durable)));
                    let thread = self.start_source(&stream.def.name, source, retry, durable)?;
                    built.sources.push(BuiltSource {
                        stream: stream.def.name.clone(),
                        id: stream.def.state_id().to_string(),
                        entry,
                        relation: stream.relation.and_then(|node| nodes.binary_search(&node).ok()),
                        tells_time: stream.def.source_tells_time(),
                        thread,
                        waited_for,
                        resumed,
                    });
                }
                (Role::Trigger(schedule), _) if schedule.recurs() => built.triggers.push(entry),
                _ => built.api_entries.push(entry),
            }
        }
        Ok(())
    }

    /// Where the source of the stream with that state id goes on.
    fn resumed(&self, id: &str) -> Resumed {
        match &self.setup.snapshot {
            Some(snapshot) => Resumed {
                position: snapshot.positions.get(id).cloned(),
                ended: snapshot.ended.contains(id),
            },
            None => Resumed::default(),
        }
    }

    /// Whether no operator of a group goes by the batches that come in.
    fn joining(&self, group: &[NodeId]) -> Joining {
        let upstream = self.crossings.iter().filter(|edge| group.contains(&edge.from));
        let downstream: Vec<NodeId> = upstream.map(|edge| edge.to.node).collect();
        let keeps = |node: &NodeId| match &self.plan.nodes[*node].kind {
            PlanNodeKind::Operator(operator) => operator.keeps_batches(),
            _ => false,
        };
        let reached = downstream
            .iter()
            .flat_map(|node| self.parts[self.part_of[*node]].nodes.iter());
        match group.iter().chain(reached).any(keeps) {
            true => Joining::No,
            false => Joining::Yes,
        }
    }

    fn start_source(
        &self,
        name: &str,
        source: Box<dyn Source>,
        retry: Option<SourceRetry>,
        durable: Option<DurablePosition>,
    ) -> Result<SourceThread> {
        let (stop, clock) = (self.stop.clone(), self.setup.clock.clone());
        SourceThread::start(name, source, retry, durable, stop, clock)
    }

    /// How a source that has failed begins again, if it does: a new one where the last one was.
    fn source_retry(&self, def: &Arc<StreamDef>, schema: DecodeSchema, resumed: &Resumed) -> Option<SourceRetry> {
        let retry = *def.settings.errors.retries()?;
        let stream = self.plan.stream(&def.name)?;
        let (registry, def, decoded) = (self.registry.clone(), def.clone(), schema.decoded());
        let make = move |position: Option<&Position>| {
            let source = registry.build_source(&def, schema.clone())?;
            let mut source = source.ok_or_else(|| Error::failed("a source stream has no source"))?;
            if let Some(position) = position {
                source.seek(position)?;
            }
            Ok(source)
        };
        Some(SourceRetry {
            retry,
            errors: self.errors[stream].clone(),
            schema: decoded,
            from: resumed.position.clone(),
            make: Box::new(make),
        })
    }

    /// Where what goes along an edge goes in its own part: to the node, or to what sends it on.
    fn output(&self, from: NodeId, to: Edge, way: Way) -> Result<(NodeIndex, usize)> {
        let part = self.part_of[from];
        let nodes = &self.parts[part].nodes;
        let missing = || Error::failed("a plan's part is not whole");
        if self.part_of[to.node] == part {
            return Ok((nodes.binary_search(&to.node).map_err(|_| missing())?, to.port));
        }
        let same = |edge: &Crossing| (edge.from, edge.to, edge.way) == (from, to, way);
        let sender = self.edges_out_of(part).position(same).ok_or_else(missing)?;
        Ok((nodes.len() + self.edges_into(part).count() + sender, 0))
    }

    fn node(&mut self, id: NodeId, part: usize, worker: usize) -> Result<NodeSpec> {
        let node = &self.plan.nodes[id];
        let (stage, own_stream) = match &node.kind {
            PlanNodeKind::Stream(stream) => (Stage::Pass(self.taps(*stream)?), Some(*stream)),
            PlanNodeKind::Union => (Stage::Pass(Vec::new()), None),
            PlanNodeKind::Operator(plan) => (Stage::Operator(plan.build()?), None),
        };
        let entry_of = self.plan.streams.iter().position(|stream| stream.entry == id);
        let input = |(port, &from): (usize, &NodeId)| {
            let errs = self.plan.nodes[from].sends_errors(Edge { node: id, port });
            initial(self.event_time[from] && !errs)
        };
        let mut inputs: Vec<Watermark> = node.inputs.iter().enumerate().map(input).collect();
        if let Some(stream) = entry_of {
            let outside = self.plan.streams[stream].def.has_event_time();
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
        let outputs = node.outputs.iter().map(|edge| self.output(id, *edge, Way::Output));
        Ok(NodeSpec {
            stage,
            outputs: outputs.collect::<Result<_>>()?,
            error_outputs: self.error_outputs(id)?,
            late_output: node
                .late_output
                .map(|edge| self.output(id, edge, Way::Late))
                .transpose()?,
            inputs,
            passed: initial(self.event_time[id]),
            errors: self.errors[node.errors].clone(),
            counters: Counters {
                stream: counted.map(|stream| self.metrics.streams[stream].clone()),
                query_in: query.filter(|_| is_first).map(|(_, metrics)| metrics.clone()),
                query_out: query.filter(|_| is_last).map(|(_, metrics)| metrics.clone()),
                pattern: query
                    .filter(|(_, metrics)| metrics.pattern.is_some())
                    .map(|(_, metrics)| metrics.clone()),
            },
            id: match self.parts[part].workers {
                1 => node.id.clone(),
                _ => format!("{}@{worker}", node.id),
            },
        })
    }

    /// Where a node's bad events go.
    fn error_outputs(&self, id: NodeId) -> Result<Vec<ErrorOutput>> {
        let outputs = self.plan.nodes[id].error_outputs.iter().map(|edge| {
            let mut streams = self.plan.streams.iter();
            let target = streams.find(|stream| stream.entry == edge.to.node);
            let target = target.ok_or_else(|| Error::failed("errors lead to no stream"))?;
            Ok(ErrorOutput {
                to: self.output(id, edge.to, Way::Errors)?,
                flow: edge.flow,
                schema: target.def.schema.clone(),
            })
        });
        outputs.collect()
    }

    /// Where an edge from other tasks comes in: each of them is an input with its own watermark.
    fn merge(&self, edge: &Crossing) -> NodeSpec {
        let state = initial(self.event_time[edge.from] && edge.way != Way::Errors);
        let nodes = &self.parts[self.part_of[edge.to.node]].nodes;
        NodeSpec {
            stage: Stage::Pass(Vec::new()),
            outputs: nodes
                .binary_search(&edge.to.node)
                .map(|node| (node, edge.to.port))
                .into_iter()
                .collect(),
            inputs: vec![state; self.parts[self.part_of[edge.from]].workers],
            ..self.bare(edge.to.node, state)
        }
    }

    /// What sends an edge's events on.
    fn sender(&self, edge: &Crossing, task: usize, worker: usize) -> NodeSpec {
        let state = initial(self.event_time[edge.from] && edge.way != Way::Errors);
        let to = self.part_of[edge.to.node];
        let same = |other: &Crossing| (other.from, other.to, other.way) == (edge.from, edge.to, edge.way);
        let number = self.edges_into(to).position(same).unwrap_or_default();
        let node = self.parts[to].nodes.len() + number;
        let receivers = self.tasks(to).filter_map(|receiver| {
            let mut channels = self.channels.iter();
            let channel = channels.find(|channel| (channel.from, channel.to) == (task, receiver));
            channel.map(|channel| channel.sender.clone())
        });
        let way = route(self.plan, edge.from, self.parts[to].workers);
        NodeSpec {
            stage: Stage::Send(Outlet::new(node, worker, way, receivers.collect())),
            inputs: vec![state],
            ..self.bare(edge.from, state)
        }
    }

    /// A node that is not in the plan, beside one that is.
    fn bare(&self, beside: NodeId, passed: Watermark) -> NodeSpec {
        NodeSpec {
            stage: Stage::Pass(Vec::new()),
            outputs: Vec::new(),
            late_output: None,
            error_outputs: Vec::new(),
            inputs: Vec::new(),
            passed,
            errors: self.errors[self.plan.nodes[beside].errors].clone(),
            counters: Counters::default(),
            id: String::new(),
        }
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
            && let Some(mut sink) = self.registry.build_sink(def)?
        {
            self.restore_sink(def, sink.as_mut())?;
            let guard = Guard {
                id: def.state_id().to_string(),
                errors: self.errors[stream].clone(),
                stop: self.stop.clone(),
                clock: self.setup.clock.clone(),
            };
            // What flows on from a sink has its place in the pipeline, so the sink has, too.
            let flows = !self.plan.nodes[self.plan.streams[stream].node].error_outputs.is_empty();
            if self.setup.mode == Mode::Inline || flows || sink.is_immediate() {
                taps.push(Tap::Sink(GuardedSink::open(&def.name, sink, Some(guard))?));
            } else {
                taps.push(Tap::Thread(SinkThread::start(&def.name, sink, Some(guard))?));
            }
        }
        Ok(taps)
    }
}

impl Builder<'_> {
    /// Lets a sink go on where it stood.
    fn restore_sink(&self, def: &StreamDef, sink: &mut dyn Sink) -> Result<()> {
        let snapshot = self.setup.snapshot.as_ref();
        let Some(position) = snapshot.and_then(|snapshot| snapshot.sinks.get(def.state_id())) else {
            return Ok(());
        };
        match sink.restore(position) {
            Err(error) if self.setup.lossy => {
                tracing::warn!(stream = def.name, %error, "the sink goes on as if new");
                Ok(())
            }
            restored => restored,
        }
    }
}

/// By node: whether event time begins at it or before it.
fn event_time_nodes(plan: &StreamPlan) -> Vec<bool> {
    let mut event_time = vec![false; plan.nodes.len()];
    for id in plan.topological().unwrap_or_default() {
        let begins = plan
            .streams
            .iter()
            .any(|stream| stream.entry == id && stream.def.has_event_time())
            || matches!(&plan.nodes[id].kind, PlanNodeKind::Operator(operator) if operator.begins_event_time());
        let mut inputs = plan.nodes[id].inputs.iter().enumerate();
        let timed = |(port, &from): (usize, &NodeId)| {
            event_time[from] && !plan.nodes[from].sends_errors(Edge { node: id, port })
        };
        event_time[id] = begins || inputs.any(timed);
    }
    event_time
}

/// Counters for a plan, all zero.
pub fn metrics_of(plan: &StreamPlan) -> Metrics {
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
    let has_pattern = |number: usize| {
        plan.nodes.iter().any(|node| {
            node.query == Some(number)
                && matches!(&node.kind, PlanNodeKind::Operator(operator) if operator.counts_patterns())
        })
    };
    let queries = plan.queries.iter().enumerate().map(|(number, query)| {
        let target = match &query.target {
            QueryTarget::Stream(stream) => plan.streams[*stream].def.name.clone(),
            QueryTarget::Table(table) => table.def().name.clone(),
        };
        let pattern = has_pattern(number).then(PatternMetrics::default);
        Arc::new(QueryMetrics::new(query.name.clone(), target, pattern))
    });
    Metrics {
        streams: streams.collect(),
        queries: queries.collect(),
    }
}
