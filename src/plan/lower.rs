//! From an optimised logical plan to operators: filters and projections fused, one node each time they cannot be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNode;
use datafusion_common::{Column, DFSchema, DFSchemaRef};
use datafusion_expr::{
    Distinct, Expr, Extension, FetchType, LogicalPlan, Operator as SqlOperator, Projection, SkipType, Sort,
    SubqueryAlias, TableScan,
};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;

use eventflux_sqlparser::OutputKind;

use super::broadcast_node::BroadcastNode;
use super::context::Source;
use super::event_time_node::EventTimeNode;
use super::lower_partition::key_column;
use super::lower_rate::{Groups, Rate};
use super::lower_top_n::{closing, top_n};
use super::meeting::holds_chunks;
use super::partition::PARTITION_KEY;
use super::pattern_node::PatternScan;
use super::physical::{physical_expr, reads_event_time, with_event_time};
use super::row_pattern_node::RowPatternNode;
use super::stream_plan::{NodeId, PlanNodeKind, StreamId, StreamPlan};
use super::trigger_side_node::TriggerSideNode;
use super::window_node::WindowNode;
use crate::catalog::streams::{LatePolicy, NamedWindow};
use crate::catalog::windows::{Family, WindowKind};
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::emission_order::EmissionOrderPlan;
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::filter_project::FilterProjectPlan;
use crate::operators::keyed::{KeyedForm, Purge};
use crate::operators::limit::LimitPlan;
use crate::operators::output_events::OutputEventsPlan;
use crate::operators::watermark::{WatermarkBound, WatermarkPlan};
use crate::windows::announce::{MARK, mark_field, marked_schema};

/// Turns one query's plan into nodes.
pub struct Lowering<'a> {
    /// The plan that grows.
    pub plan: &'a mut StreamPlan,
    /// The query's number, if it is one.
    pub query: Option<usize>,
    /// The stem of its operators' ids.
    pub stem: String,
    /// The first nodes of its branches.
    pub first: Vec<NodeId>,
    /// Which changes become events of the target.
    pub output: OutputEventsPlan,
    /// OUTPUT … EVERY.
    pub rate: Option<Rate>,
    /// The PARTITION that the query stands in.
    pub partition: Option<Block>,
    pub(super) operators: usize,
    /// Whether what is being lowered feeds an aggregate, which needs to know what leaves a window.
    pub(super) retracts: bool,
    /// Whether what is being lowered feeds a join, which needs to know all that a window holds.
    pub(super) holds: bool,
    /// Whether what is being lowered must come in event-time order.
    pub(super) in_order: bool,
    /// Whether the query sorts or limits its emissions: then those of different keys must stay apart.
    pub(super) sorts: bool,
    /// Whether batch windows give events when they arrive, too: EMIT CHANGES.
    pub changes: bool,
    /// Whether the query has a window that goes by the batches that come in.
    pub(super) chunks: bool,
}

/// A PARTITION, as far as its queries know it.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// When unused keys are forgotten, if they are.
    pub purge: Option<Purge>,
    /// The node that tells which keys are alive, if anybody must know.
    pub keys: Option<NodeId>,
    /// Whether keys come alive in event-time order.
    pub in_order: bool,
}

/// What the batches of a pipe are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Inserts.
    Inserts,
    /// The changes of a sliding window; `fifo` if rows leave in the order they came.
    Changes { fifo: bool },
    /// The emissions of a batch window, one a batch.
    Emissions,
    /// Inserts, updates and deletes of rows, which go on to the target as they are.
    Changelog,
}

/// A stream on its way: where it comes from, and what is to be done to it that is not a node yet.
pub(super) struct Pipe {
    pub(super) from: NodeId,
    pub(super) from_schema: SchemaRef,
    pub(super) errors: StreamId,
    pub(super) input: Option<Vec<usize>>,
    /// What names mean in expressions over the columns, as long as there is no projection.
    pub(super) base: DFSchemaRef,
    pub(super) event_time: bool,
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(super) projection: Option<Vec<Arc<dyn PhysicalExpr>>>,
    pub(super) is_stream: bool,
    pub(super) flow: Flow,
    /// Whether the last column is that of a window's marks, which no plan knows of.
    pub(super) marked: bool,
}

impl Flow {
    /// Of the changes of a window.
    pub(super) fn of(kind: &WindowKind) -> Self {
        match (kind.family(), kind.streams_current()) {
            (Family::Batch, false) => Flow::Emissions,
            (Family::Batch, true) => Flow::Changes { fifo: true },
            (Family::Sliding, _) => Flow::Changes { fifo: kind.is_fifo() },
        }
    }
}

/// What a named window gives.
pub(super) fn flow_of(window: &NamedWindow) -> Flow {
    match Flow::of(&window.kind) {
        Flow::Changes { .. } if !window.expired => Flow::Inserts,
        flow => flow,
    }
}

impl<'a> Lowering<'a> {
    /// For a query of a plan.
    pub fn new(
        plan: &'a mut StreamPlan,
        query: Option<usize>,
        stem: &str,
        output: OutputEventsPlan,
        rate: Option<Rate>,
    ) -> Self {
        Lowering {
            plan,
            query,
            stem: stem.to_string(),
            first: Vec::new(),
            output,
            rate,
            partition: None,
            operators: 0,
            retracts: false,
            holds: false,
            in_order: false,
            sorts: false,
            changes: false,
            chunks: false,
        }
    }

    /// Lowers the whole plan; the node it ends in gives batches of `schema`.
    pub fn lower(&mut self, plan: &LogicalPlan, schema: &SchemaRef) -> Result<NodeId, Diagnostic> {
        let sorting = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Sort(_) | LogicalPlan::Limit(_)));
        self.sorts = plan.exists(sorting).unwrap_or(true);
        self.chunks = holds_chunks(plan);
        let target = schema;
        let schema = &Arc::new(plan.schema().as_arrow().clone());
        let schema = if schema.fields().len() > target.fields().len() {
            schema
        } else {
            target
        };
        let (node, errors, flow) = match self.rate.clone() {
            Some(rate) => {
                let pipe = self.limited(plan, &rate)?;
                let (node, errors) = self.flush(pipe, schema)?;
                (node, errors, Flow::Inserts)
            }
            None => {
                let pipe = self.pipe(plan)?;
                let flow = pipe.flow;
                let (node, errors) = self.flush(pipe, schema)?;
                (node, errors, flow)
            }
        };
        let node = match self.rate {
            Some(_) => node,
            None => self.events_of(node, errors, flow)?,
        };
        let node = match schema.fields().len() > target.fields().len() {
            true => self.without_key(node, errors, target),
            false => node,
        };
        if self.first.is_empty() {
            self.first.push(node);
        }
        Ok(node)
    }

    /// The columns of the target, without the key of a PARTITION behind them.
    pub(super) fn without_key(&mut self, from: NodeId, errors: StreamId, target: &SchemaRef) -> NodeId {
        let operator = FilterProjectPlan {
            input: Some((0..target.fields().len()).collect()),
            event_time: false,
            filter: None,
            projection: None,
            schema: target.clone(),
        };
        let node = self.add("columns", errors, Arc::new(operator));
        self.plan.connect(from, node);
        node
    }

    /// A query with OUTPUT … EVERY: the rate stands below the last projections, where rows still have their groups.
    pub(super) fn limited(&mut self, plan: &LogicalPlan, rate: &Rate) -> Result<Pipe, Diagnostic> {
        let mut above = Vec::new();
        let mut inner = plan;
        while let LogicalPlan::Projection(Projection { input, .. })
        | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) = inner
        {
            if self.partition.is_some() && !has_key(input) {
                break;
            }
            above.push(inner);
            inner = input;
        }
        let groups = Groups::of(inner)?;
        let asked = self.output;
        if rate.kind == OutputKind::Snapshot {
            (self.output.current, self.output.expired) = (true, true);
        }
        let pipe = self.pipe(inner)?;
        if pipe.flow == Flow::Changelog {
            return Err(cannot_retract(
                "OUTPUT … EVERY drops events, and those of a changelog belong together",
            ));
        }
        let mut pipe = self.flushed(pipe, inner.schema())?;
        let flow = pipe.flow;
        self.output = asked;
        if rate.kind != OutputKind::Snapshot {
            pipe.from = self.events_of(pipe.from, pipe.errors, flow)?;
        }
        let operator = rate.plan(groups, flow, &pipe.from_schema);
        let schema = pipe.from_schema.clone();
        let (from, operator) = (pipe.from, Arc::new(operator));
        let node = self.add_keyed(
            from,
            "rate",
            pipe.errors,
            operator,
            (&schema, &schema),
            KeyedForm::Joined,
        );
        (pipe.from, pipe.flow) = (node, Flow::Inserts);
        self.projected(pipe, above)
    }

    /// A pipe with projections and aliases above it, the outermost first.
    pub(super) fn projected(&mut self, mut pipe: Pipe, above: Vec<&LogicalPlan>) -> Result<Pipe, Diagnostic> {
        for node in above.into_iter().rev() {
            match node {
                LogicalPlan::Projection(projection) => {
                    if pipe.projection.is_some() {
                        pipe = self.flushed(pipe, projection.input.schema())?;
                    }
                    let exprs = projection.expr.iter().map(|expr| pipe.physical(expr));
                    pipe.projection = Some(exprs.collect::<Result<_, _>>()?);
                }
                other if pipe.projection.is_none() => pipe.base = other.schema().clone(),
                _ => {}
            }
        }
        Ok(pipe)
    }

    /// Makes events of changes, as the query's target takes them.
    pub(super) fn events_of(&mut self, from: NodeId, errors: StreamId, flow: Flow) -> Result<NodeId, Diagnostic> {
        if flow == Flow::Changelog && !self.output.current {
            let error = Diagnostic::new(
                Code::Unstreamable,
                "a changelog has no EXPIRED EVENTS: it says itself what leaves",
            );
            return Err(error.hint("leave the word out; what leaves comes as -D"));
        }
        if matches!(flow, Flow::Inserts | Flow::Changelog) {
            return match self.output.current {
                true => Ok(from),
                false => Err(
                    Diagnostic::new(Code::Unstreamable, "only a query over a window has EXPIRED EVENTS")
                        .hint("give its stream a window, or leave the word out"),
                ),
            };
        }
        let node = self.add("output", errors, Arc::new(self.output));
        self.plan.connect(from, node);
        Ok(node)
    }

    pub(super) fn pipe(&mut self, plan: &LogicalPlan) -> Result<Pipe, Diagnostic> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let mut pipe = self.pipe(&alias.input)?;
                if pipe.projection.is_none() {
                    pipe.base = alias.schema.clone();
                    pipe.mark(pipe.marked)?;
                }
                Ok(pipe)
            }
            LogicalPlan::Filter(filter) => {
                let mut pipe = self.pipe(&filter.input)?;
                if pipe.projection.is_some() {
                    pipe = self.flushed(pipe, filter.input.schema())?;
                }
                let predicate = pipe.physical(&filter.predicate)?;
                pipe.filter = Some(match pipe.filter.take() {
                    Some(earlier) => Arc::new(BinaryExpr::new(earlier, SqlOperator::And, predicate)),
                    None => predicate,
                });
                Ok(pipe)
            }
            LogicalPlan::Projection(projection) => {
                let mut pipe = self.pipe(&projection.input)?;
                if pipe.projection.is_some() {
                    pipe = self.flushed(pipe, projection.input.schema())?;
                }
                pipe.project(projection.expr.iter())?;
                Ok(pipe)
            }
            LogicalPlan::Union(union) => {
                let schema = Arc::new(union.schema.as_arrow().clone());
                let mut inputs = Vec::with_capacity(union.inputs.len());
                let mut errors = 0;
                let mut whole = Flow::Inserts;
                // The rows of several windows are events, not emissions.
                let changes = std::mem::replace(&mut self.changes, false);
                for input in &union.inputs {
                    let pipe = self.pipe(input)?;
                    errors = pipe.errors;
                    let flow = pipe.flow;
                    let node = self.flush(pipe, &schema)?.0;
                    inputs.push(match flow {
                        Flow::Inserts => node,
                        Flow::Changelog => {
                            whole = Flow::Changelog;
                            node
                        }
                        flow => self.events_of(node, errors, flow)?,
                    });
                }
                self.changes = changes;
                let id = self.id("union");
                let node = self.plan.add(PlanNodeKind::Union, self.query, errors, id);
                inputs.into_iter().for_each(|input| self.plan.connect(input, node));
                let mut pipe = self.pipe_from(node, schema, errors, &union.schema);
                pipe.flow = whole;
                Ok(pipe)
            }
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Extension(extension) => self.extension(extension),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.over(window),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Limit(limit) => {
                let streams = self.plan.streams.iter().map(|stream| stream.def.as_ref());
                let closing = closing(streams);
                if let Some(query) = top_n(limit, &|name| closing.contains(name)) {
                    return self.top_n(limit, query);
                }
                let pipe = self.pipe(&limit.input)?;
                let flow = pipe.flow;
                self.no_changes(flow, "LIMIT")?;
                if flow == Flow::Changelog {
                    return Err(cannot_retract(
                        "LIMIT counts events, and those of a changelog may be taken back",
                    ));
                }
                let schema = Arc::new(limit.input.schema().as_arrow().clone());
                let (from, errors) = self.flush(pipe, &schema)?;
                let skip = match limit.get_skip_type() {
                    Ok(SkipType::Literal(skip)) => skip as u64,
                    _ => return Err(constant("OFFSET")),
                };
                let fetch = match limit.get_fetch_type() {
                    Ok(FetchType::Literal(fetch)) => fetch.map(|fetch| fetch as u64),
                    _ => return Err(constant("LIMIT")),
                };
                let operator: Arc<dyn OperatorPlan> = match flow {
                    Flow::Emissions => Arc::new(EmissionOrderPlan {
                        keys: Vec::new(),
                        skip: skip as usize,
                        fetch: fetch.map(|fetch| fetch as usize),
                    }),
                    _ => Arc::new(LimitPlan { skip, fetch }),
                };
                let node = match flow {
                    Flow::Emissions => self.add_after(from, "limit", errors, operator),
                    _ => self.add_keyed(from, "limit", errors, operator, (&schema, &schema), KeyedForm::Joined),
                };
                let mut pipe = self.pipe_from(node, schema, errors, limit.input.schema());
                pipe.flow = flow;
                Ok(pipe)
            }
            other => Err(Diagnostic::new(
                Code::Unsupported,
                format!("not supported yet: {}", other.display()),
            )),
        }
    }

    /// Refuses what works emission by emission where rows come one by one, too.
    pub(super) fn no_changes(&self, flow: Flow, what: &str) -> Result<(), Diagnostic> {
        match self.changes && flow == Flow::Emissions {
            true => Err(Diagnostic::new(
                Code::Unstreamable,
                format!("{what} works on all rows of a window, and EMIT CHANGES gives them one by one"),
            )
            .hint("leave one of the two out; EMIT FINAL gives the rows when the window closes")),
            false => Ok(()),
        }
    }

    /// ORDER BY of a batch window's emissions.
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<Pipe, Diagnostic> {
        let mut pipe = self.pipe(&sort.input)?;
        if pipe.flow != Flow::Emissions {
            let error = Diagnostic::new(Code::Unstreamable, "a stream has no end, so it cannot be sorted");
            return Err(error.hint("add LIMIT n for a continuous top-n, or a window that closes"));
        }
        self.no_changes(pipe.flow, "ORDER BY")?;
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, sort.input.schema())?;
        }
        let mut keys = Vec::with_capacity(sort.expr.len());
        for key in &sort.expr {
            let options = SortOptions {
                descending: !key.asc,
                nulls_first: key.nulls_first,
            };
            keys.push((physical_expr(&key.expr, sort.input.schema())?, options));
        }
        let mut pipe = self.flushed(pipe, sort.input.schema())?;
        let operator = EmissionOrderPlan {
            keys,
            skip: 0,
            fetch: sort.fetch,
        };
        let node = self.add("order", pipe.errors, Arc::new(operator));
        self.plan.connect(pipe.from, node);
        pipe.from = node;
        Ok(pipe)
    }

    pub(super) fn extension(&mut self, extension: &Extension) -> Result<Pipe, Diagnostic> {
        if let Some(node) = extension.node.as_any().downcast_ref::<EventTimeNode>() {
            return self.event_time(node);
        }
        if let Some(node) = extension.node.as_any().downcast_ref::<BroadcastNode>() {
            return self.broadcast(node);
        }
        if let Some(pattern) = extension.node.as_any().downcast_ref::<PatternScan>() {
            return self.pattern(pattern);
        }
        if let Some(rows) = extension.node.as_any().downcast_ref::<RowPatternNode>() {
            return self.row_pattern(rows);
        }
        if let Some(side) = extension.node.as_any().downcast_ref::<TriggerSideNode>() {
            return self.pipe(&side.input);
        }
        match extension.node.as_any().downcast_ref::<WindowNode>() {
            Some(window) => self.window(window),
            None => Err(Diagnostic::new(
                Code::Unsupported,
                format!("not supported yet: {}", extension.node.name()),
            )),
        }
    }

    /// Gives events their time from a column, and puts them into its order if that is asked for.
    pub(super) fn event_time(&mut self, node: &EventTimeNode) -> Result<Pipe, Diagnostic> {
        let in_order = std::mem::replace(&mut self.in_order, false);
        let pipe = self.pipe(&node.input);
        self.in_order = in_order;
        let schema = Arc::new(node.input.schema().as_arrow().clone());
        let (from, errors) = self.flush(pipe?, &schema)?;
        let column = schema.index_of(&node.column.name);
        let operator = WatermarkPlan {
            column: column.map_err(|error| Diagnostic::new(Code::UnknownColumn, error.to_string()))?,
            name: node.column.name.clone(),
            bound: WatermarkBound::Delay(0),
            late: LatePolicy::Drop,
            idle: self.plan.streams[errors].def.settings.idle_timeout,
        };
        let mut last = self.add_after(from, "event_time", errors, Arc::new(operator));
        self.plan.nodes[last].key = self.plan.nodes[from].key;
        if in_order {
            let operator = EventTimeOrderPlan { schema: schema.clone() };
            last = self.add_after(last, "in_order", errors, Arc::new(operator));
            self.plan.nodes[last].key = self.plan.nodes[from].key;
        }
        Ok(self.pipe_from(last, schema, errors, node.input.schema()))
    }

    /// The node from which a stream comes in event-time order. Queries share it.
    pub(super) fn ordered(&mut self, stream: StreamId, schema: &SchemaRef) -> NodeId {
        let from = self.plan.streams[stream].node;
        if self.plan.streams[stream].def.settings.ordered {
            return from;
        }
        if let Some(node) = self.plan.ordered.get(&from) {
            return *node;
        }
        let operator = EventTimeOrderPlan { schema: schema.clone() };
        let id = format!("{}/in_order", self.plan.streams[stream].def.name);
        let kind = PlanNodeKind::Operator(Arc::new(operator));
        let node = self.plan.add(kind, None, stream, id);
        self.plan.nodes[node].block = self.plan.nodes[from].block;
        self.plan.connect(from, node);
        self.plan.ordered.insert(from, node);
        node
    }

    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Pipe, Diagnostic> {
        let source = Source::of(scan);
        if let Some(table) = source.and_then(|source| source.table.as_ref()) {
            let message = format!(
                "'{}' is a table: it has nothing that sets a query going",
                table.def().name
            );
            let error = Diagnostic::new(Code::Unstreamable, message);
            return Err(error.hint("join it with a stream, or ask it on demand"));
        }
        let stream = source.and_then(|source| self.plan.stream(&source.stream));
        let Some(stream) = stream else {
            return Err(Diagnostic::new(
                Code::UnknownStream,
                format!("there is no stream '{}'", scan.table_name),
            ));
        };
        let place = &self.plan.streams[stream];
        let all = place.def.schema.fields().len();
        let read: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..all).collect());
        let positions: Option<Vec<usize>> = read
            .iter()
            .map(|index| place.wanted.binary_search(index).ok())
            .collect();
        let Some(positions) = positions else {
            return Err(Diagnostic::new(
                Code::UnknownColumn,
                "a column that is read was not kept",
            ));
        };
        let whole = positions.len() == place.wanted.len() && positions.is_sorted();
        let fields: Vec<_> = place
            .wanted
            .iter()
            .map(|&index| place.def.schema.fields()[index].clone())
            .collect();
        let from_schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let content = place.content.filter(|_| self.holds).zip(place.def.window.as_ref());
        let flow = match (&place.def.window, content) {
            (_, Some((_, window))) => Flow::of(&window.kind),
            (Some(window), None) => flow_of(window),
            (None, None) if self.plan.changelogs.contains(&place.def.name) => Flow::Changelog,
            (None, None) => Flow::Inserts,
        };
        if self.changes && flow == Flow::Emissions {
            let message = format!(
                "EMIT CHANGES over '{}', which gives its events when it closes",
                place.def.name
            );
            let error = Diagnostic::new(Code::Unstreamable, message);
            return Err(error.hint("read the stream that feeds it, with the window in this query"));
        }
        let from = match (content, self.in_order) {
            (Some((content, _)), _) => content,
            (None, true) => self.ordered(stream, &from_schema),
            (None, false) => place.node,
        };
        Ok(Pipe {
            from,
            from_schema,
            errors: stream,
            input: (!whole).then_some(positions),
            base: scan.projected_schema.clone(),
            event_time: false,
            filter: None,
            projection: None,
            is_stream: true,
            flow,
            marked: false,
        })
    }

    /// A new pipe after the node that the old one becomes.
    pub(super) fn flushed(&mut self, pipe: Pipe, schema: &DFSchemaRef) -> Result<Pipe, Diagnostic> {
        let arrow = Arc::new(schema.as_arrow().clone());
        let (flow, marked) = (pipe.flow, pipe.marked);
        let (node, errors) = self.flush(pipe, &arrow)?;
        let mut pipe = self.pipe_from(node, marked_if(marked, &arrow), errors, schema);
        pipe.flow = flow;
        pipe.mark(marked)?;
        Ok(pipe)
    }

    pub(super) fn pipe_from(
        &self,
        from: NodeId,
        from_schema: SchemaRef,
        errors: StreamId,
        schema: &DFSchemaRef,
    ) -> Pipe {
        let base = schema.clone();
        Pipe {
            from,
            from_schema,
            errors,
            input: None,
            base,
            event_time: false,
            filter: None,
            projection: None,
            is_stream: false,
            flow: Flow::Inserts,
            marked: false,
        }
    }

    /// Makes a node of what is to be done, if anything is; its batches have `schema`.
    pub(super) fn flush(&mut self, pipe: Pipe, schema: &SchemaRef) -> Result<(NodeId, StreamId), Diagnostic> {
        let errors = pipe.errors;
        let schema = &marked_if(pipe.marked, schema);
        let plan = FilterProjectPlan {
            input: pipe.input,
            event_time: pipe.event_time,
            filter: pipe.filter,
            projection: pipe.projection,
            schema: schema.clone(),
        };
        if plan.is_identity() && *schema == pipe.from_schema && !pipe.is_stream {
            return Ok((pipe.from, errors));
        }
        let node = self.add("filter_project", errors, Arc::new(plan));
        self.plan.nodes[node].key = self.partition.and_then(|_| key_column(schema));
        if pipe.is_stream {
            self.first.push(node);
        }
        self.plan.connect(pipe.from, node);
        Ok((node, errors))
    }

    pub(super) fn add(&mut self, kind: &str, errors: StreamId, operator: Arc<dyn OperatorPlan>) -> NodeId {
        let id = self.id(kind);
        self.plan.add(PlanNodeKind::Operator(operator), self.query, errors, id)
    }

    pub(super) fn id(&mut self, kind: &str) -> String {
        self.operators += 1;
        format!("{}/{}:{kind}", self.stem, self.operators)
    }
}

/// A schema with the column of marks, if rows are marked.
pub(super) fn marked_if(marked: bool, schema: &SchemaRef) -> SchemaRef {
    match marked {
        true => marked_schema(schema),
        false => schema.clone(),
    }
}

impl Pipe {
    /// Says whether rows are marked; the base is a plan's columns.
    pub(super) fn mark(&mut self, marked: bool) -> Result<(), Diagnostic> {
        self.marked = marked;
        if marked {
            let mark = DFSchema::from_unqualified_fields(vec![mark_field()].into(), HashMap::new());
            let base = mark.and_then(|mark| self.base.join(&mark));
            self.base = Arc::new(base.map_err(|error| Diagnostic::new(Code::Duplicate, error.strip_backtrace()))?);
        }
        Ok(())
    }

    /// Projects; marks go along.
    pub(super) fn project<'e>(&mut self, exprs: impl Iterator<Item = &'e Expr>) -> Result<(), Diagnostic> {
        let mark = Expr::Column(Column::new_unqualified(MARK));
        let mark = self.marked.then_some(mark);
        let mut projection: Vec<Arc<dyn PhysicalExpr>> =
            exprs.map(|expr| self.physical(expr)).collect::<Result<_, _>>()?;
        if let Some(mark) = mark {
            projection.push(self.physical(&mark)?);
        }
        self.projection = Some(projection);
        Ok(())
    }

    /// An expression over the columns of the pipe, which has no projection.
    pub(super) fn physical(&mut self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>, Diagnostic> {
        if !reads_event_time(expr) {
            return physical_expr(expr, &self.base);
        }
        self.event_time = true;
        physical_expr(expr, &with_event_time(&self.base)?)
    }
}

/// Whether rows carry the key of a PARTITION.
pub(super) fn has_key(plan: &LogicalPlan) -> bool {
    plan.schema().fields().iter().any(|field| field.name() == PARTITION_KEY)
}

/// The error of a plan in which an operator would have to take back what it cannot.
pub(super) fn cannot_retract(why: &str) -> Diagnostic {
    let error = Diagnostic::new(Code::Unstreamable, why.to_string());
    error.hint("keep the changelog in a table with its key, and join events with that; or aggregate it first")
}

pub(super) fn constant(what: &str) -> Diagnostic {
    Diagnostic::new(Code::Type, format!("{what} must be a constant number"))
}

/// The columns of each stream that a plan reads, by stream name.
pub fn columns_read(plan: &LogicalPlan, read: &mut BTreeMap<String, std::collections::BTreeSet<usize>>) {
    let _ = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = Source::of(scan)
            && source.table.is_none()
        {
            let columns = read.entry(source.stream.clone()).or_default();
            match &scan.projection {
                Some(projection) => columns.extend(projection.iter().copied()),
                None => columns.extend(0..scan.source.schema().fields().len()),
            }
        }
        Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
    });
}
