//! The stream plan: the graph of streams and operators that an app becomes. EXPLAIN prints it, the runtime runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion_expr::LogicalPlan;

use super::event_time_node::begins_in;
use super::fingerprint::Fingerprint;
use super::lower::columns_read;
use super::state_ids::StateNames;
use crate::catalog::streams::StreamDef;
use crate::error::Diagnostic;
use crate::event::Micros;
use crate::operators::{CONTROL, OperatorPlan};
use crate::tables::slot::TableSlot;
use crate::windows::TimeDomain;

/// Index of a node in [`StreamPlan::nodes`]. Nodes are in statement order.
pub type NodeId = usize;

/// Index of a stream in [`StreamPlan::streams`].
pub type StreamId = usize;

/// A compiled app.
pub struct StreamPlan {
    /// All streams: declared, and declared by being inserted into.
    pub streams: Vec<StreamPlanStream>,
    /// All queries, in statement order.
    pub queries: Vec<QueryPlan>,
    /// The graph.
    pub nodes: Vec<PlanNode>,
    /// What the app's author should know.
    pub warnings: Vec<Diagnostic>,
    /// By a stream's node: the node from which its events come in event-time order.
    pub ordered: BTreeMap<NodeId, NodeId>,
    /// The streams whose events have event time, from a WATERMARK of their own or from what feeds them.
    pub event_time: BTreeSet<String>,
    /// By PARTITION: the node that tells which keys are alive, where anybody must know.
    pub blocks: BTreeMap<usize, NodeId>,
    /// The column of each stream that holds the events' time, where there is one.
    pub time_columns: BTreeMap<String, usize>,
    /// The streams whose events may be updates and deletes.
    pub changelogs: BTreeSet<String>,
    /// The tables.
    pub tables: Vec<Arc<TableSlot>>,
    /// What is saved under another id than its name.
    pub state_names: StateNames,
}

/// A stream and its place in the graph.
pub struct StreamPlanStream {
    /// What it is.
    pub def: Arc<StreamDef>,
    /// Where events from outside enter: the watermark assigner, or the stream itself.
    pub entry: NodeId,
    /// The node of the stream itself.
    pub node: NodeId,
    /// Of a stream that copies a relation: the node that hears what its source says between rows.
    pub relation: Option<NodeId>,
    /// For a named window: the node that gives all changes of its content.
    pub content: Option<NodeId>,
    /// For a named window: the node that holds it.
    pub held_by: Option<NodeId>,
    /// The declared columns that any query, sink or subscriber reads, ascending; batches of the stream have these.
    pub wanted: Arc<[usize]>,
}

/// A query: its name and where it goes.
pub struct QueryPlan {
    /// `query_1`, `query_2`, …
    pub name: String,
    /// What it feeds.
    pub target: QueryTarget,
    /// The first node of each branch: they count what comes in.
    pub first: Vec<NodeId>,
    /// The last node: it counts what goes out.
    pub last: NodeId,
    /// Its logical plan, in a few bytes: two that differ have different ones.
    pub definition: Fingerprint,
}

/// What a query feeds.
pub enum QueryTarget {
    /// A stream.
    Stream(StreamId),
    /// A table, by the query's last node.
    Table(Arc<TableSlot>),
}

/// A node of the graph.
pub struct PlanNode {
    /// What it is.
    pub kind: PlanNodeKind,
    /// The query it belongs to.
    pub query: Option<usize>,
    /// The stream that its events' errors are counted for.
    pub errors: StreamId,
    /// Where its output goes, in statement order.
    pub outputs: Vec<Edge>,
    /// Where late events go.
    pub late_output: Option<Edge>,
    /// Where its bad events go.
    pub error_outputs: Vec<ErrorEdge>,
    /// The nodes that feed it; the position here is the port they come in by.
    pub inputs: Vec<NodeId>,
    /// The nodes that tell it something beside, by the port [`CONTROL`].
    pub controls: Vec<NodeId>,
    /// The PARTITION it belongs to.
    pub block: Option<usize>,
    /// The column of the PARTITION's key in what it gives, where it has just been computed.
    pub key: Option<usize>,
    /// A name for its state that does not change when other statements are added.
    pub id: String,
}

/// A way from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The node that receives.
    pub node: NodeId,
    /// By which of its inputs.
    pub port: usize,
}

/// A way of bad events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorEdge {
    /// Where it leads.
    pub to: Edge,
    /// Which of them go.
    pub flow: ErrorFlow,
}

/// Which bad events go a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFlow {
    /// All, to the fault stream.
    Fault,
    /// Those that the stream's strategy sends to the stream of dead letters.
    DeadLetters,
}

/// What a node is.
pub enum PlanNodeKind {
    /// A stream: passes on to its sinks, subscribers and queries.
    Stream(StreamId),
    /// An operator.
    Operator(Arc<dyn OperatorPlan>),
    /// Several inputs become one, in the order they come.
    Union,
}

impl PlanNode {
    /// All ways out of it.
    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        let errors = self.error_outputs.iter().map(|edge| &edge.to);
        self.outputs.iter().chain(&self.late_output).chain(errors)
    }

    /// Whether an edge into `to` is one of its bad events.
    pub fn sends_errors(&self, to: Edge) -> bool {
        self.error_outputs.iter().any(|edge| edge.to == to)
    }
}

impl StreamPlan {
    /// Adds a node.
    pub fn add(&mut self, kind: PlanNodeKind, query: Option<usize>, errors: StreamId, id: String) -> NodeId {
        self.nodes.push(PlanNode {
            kind,
            query,
            errors,
            outputs: Vec::new(),
            late_output: None,
            error_outputs: Vec::new(),
            inputs: Vec::new(),
            controls: Vec::new(),
            block: None,
            key: None,
            id,
        });
        self.nodes.len() - 1
    }

    /// Lets the output of `from` flow into `to`.
    pub fn connect(&mut self, from: NodeId, to: NodeId) {
        let port = self.nodes[to].inputs.len();
        self.nodes[to].inputs.push(from);
        self.nodes[from].outputs.push(Edge { node: to, port });
    }

    /// Lets what `from` gives tell `to` something, without a part in its time.
    pub fn connect_control(&mut self, from: NodeId, to: NodeId) {
        self.nodes[to].controls.push(from);
        self.nodes[from].outputs.push(Edge {
            node: to,
            port: CONTROL,
        });
    }

    /// Lets the late events of `from` flow into `to`.
    pub fn connect_late(&mut self, from: NodeId, to: NodeId) {
        let port = self.nodes[to].inputs.len();
        self.nodes[to].inputs.push(from);
        self.nodes[from].late_output = Some(Edge { node: to, port });
    }

    /// Lets the bad events of `from` flow into `to`.
    pub fn connect_error(&mut self, from: NodeId, to: NodeId, flow: ErrorFlow) {
        let port = self.nodes[to].inputs.len();
        self.nodes[to].inputs.push(from);
        let to = Edge { node: to, port };
        self.nodes[from].error_outputs.push(ErrorEdge { to, flow });
    }

    /// What moves the time of a query's input: watermarks if all streams it reads have them, or it begins inside the query.
    pub fn time_domain(&self, input: &LogicalPlan) -> TimeDomain {
        if begins_in(input) {
            return TimeDomain::Event;
        }
        let mut read = BTreeMap::new();
        columns_read(input, &mut read);
        match !read.is_empty() && read.keys().all(|stream| self.event_time.contains(stream)) {
            true => TimeDomain::Event,
            false => TimeDomain::Processing,
        }
    }

    /// How long a query remembers what its input does not repeat: the longest `state.ttl` of the streams it reads, if all have
    /// one.
    pub fn state_ttl(&self, input: &LogicalPlan) -> Option<Micros> {
        let mut read = BTreeMap::new();
        columns_read(input, &mut read);
        let ttl = |stream: &String| self.streams[self.stream(stream)?].def.settings.state_ttl;
        let ttls: Option<Vec<Micros>> = read.keys().map(ttl).collect();
        ttls?.into_iter().max()
    }

    /// The stream of that name.
    pub fn stream(&self, name: &str) -> Option<StreamId> {
        self.streams.iter().position(|stream| stream.def.name == name)
    }

    /// Groups of nodes that no edge connects: each can run on a thread of its own. Every node is in exactly one group;
    /// groups and their nodes are in statement order.
    pub fn components(&self) -> Vec<Vec<NodeId>> {
        let mut root: Vec<NodeId> = (0..self.nodes.len()).collect();
        fn find(root: &mut [NodeId], mut node: NodeId) -> NodeId {
            while root[node] != node {
                root[node] = root[root[node]];
                node = root[node];
            }
            node
        }
        for node in 0..self.nodes.len() {
            for edge in self.nodes[node].edges() {
                let (a, b) = (find(&mut root, node), find(&mut root, edge.node));
                root[a.max(b)] = a.min(b);
            }
        }
        let mut groups: std::collections::BTreeMap<NodeId, Vec<NodeId>> = std::collections::BTreeMap::new();
        for node in 0..self.nodes.len() {
            groups.entry(find(&mut root, node)).or_default().push(node);
        }
        groups.into_values().collect()
    }

    /// The nodes such that every edge goes forward; `Err` with the nodes of a circle when there is one.
    pub fn topological(&self) -> Result<Vec<NodeId>, Vec<NodeId>> {
        let mut missing: Vec<usize> = {
            let edges = |node: &PlanNode| node.inputs.len() + node.controls.len();
            self.nodes.iter().map(edges).collect()
        };
        let mut ready: std::collections::VecDeque<NodeId> =
            (0..self.nodes.len()).filter(|&node| missing[node] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(node) = ready.pop_front() {
            order.push(node);
            for edge in self.nodes[node].edges() {
                missing[edge.node] -= 1;
                if missing[edge.node] == 0 {
                    ready.push_back(edge.node);
                }
            }
        }
        if order.len() == self.nodes.len() {
            return Ok(order);
        }
        Err((0..self.nodes.len()).filter(|&node| missing[node] > 0).collect())
    }
}
