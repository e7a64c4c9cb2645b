//! From an optimised logical plan to operators: filters and projections fused, one node each time they cannot be.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion_common::DFSchemaRef;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::{
    Distinct, Expr, Extension, FetchType, LogicalPlan, Operator as SqlOperator, Projection, SkipType, Sort,
    SubqueryAlias, TableScan,
};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;

use eventflux_sqlparser::OutputKind;

use super::context::Source;
use super::event_time_node::EventTimeNode;
use super::lower_rate::{Groups, Rate};
use super::partition::PARTITION_KEY;
use super::pattern_node::PatternScan;
use super::physical::{physical_expr, reads_event_time, with_event_time};
use super::stream_plan::{NodeId, PlanNodeKind, StreamId, StreamPlan};
use super::window_node::WindowNode;
use crate::catalog::streams::{LatePolicy, NamedWindow};
use crate::catalog::windows::{Family, WindowKind};
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::emission_order::EmissionOrderPlan;
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::filter_project::FilterProjectPlan;
use crate::operators::keyed::{KeyedForm, KeyedPlan, Purge};
use crate::operators::limit::LimitPlan;
use crate::operators::output_events::OutputEventsPlan;
use crate::operators::watermark::{WatermarkBound, WatermarkPlan};

/// Turns one query's plan into nodes.
pub struct Lowering<'a> {
    /// The plan that grows.
    pub plan: &'a mut StreamPlan,
    /// The query's number.
    pub query: usize,
    /// The query's name, the stem of its operators' ids.
    pub name: String,
    /// The first nodes of its branches.
    pub first: Vec<NodeId>,
    /// Which changes become events of the target.
    pub output: OutputEventsPlan,
    /// OUTPUT … EVERY.
    pub rate: Option<Rate>,
    /// In a PARTITION: when unused keys are forgotten, if they are.
    pub partition: Option<Option<Purge>>,
    pub(super) operators: usize,
    /// Whether what is being lowered feeds an aggregate, which needs to know what leaves a window.
    pub(super) retracts: bool,
    /// Whether what is being lowered must come in event-time order.
    pub(super) in_order: bool,
    /// Whether the query sorts or limits its emissions: then those of different keys must stay apart.
    pub(super) sorts: bool,
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
        query: usize,
        name: &str,
        output: OutputEventsPlan,
        rate: Option<Rate>,
    ) -> Self {
        Lowering {
            plan,
            query,
            name: name.to_string(),
            first: Vec::new(),
            output,
            rate,
            partition: None,
            operators: 0,
            retracts: false,
            in_order: false,
            sorts: false,
        }
    }

    /// Lowers the whole plan; the node it ends in gives batches of `schema`.
    pub fn lower(&mut self, plan: &LogicalPlan, schema: &SchemaRef) -> Result<NodeId, Diagnostic> {
        let sorting = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Sort(_) | LogicalPlan::Limit(_)));
        self.sorts = plan.exists(sorting).unwrap_or(true);
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
        let mut pipe = self.flushed(pipe, inner.schema())?;
        let flow = pipe.flow;
        self.output = asked;
        if rate.kind != OutputKind::Snapshot {
            pipe.from = self.events_of(pipe.from, pipe.errors, flow)?;
        }
        let operator = rate.plan(groups, flow, &pipe.from_schema);
        let schema = pipe.from_schema.clone();
        let operator = self.keyed(Arc::new(operator), &schema, &schema, KeyedForm::Joined);
        let node = self.add("rate", pipe.errors, operator);
        self.plan.connect(pipe.from, node);
        (pipe.from, pipe.flow) = (node, Flow::Inserts);
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
        if flow == Flow::Inserts {
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
                let exprs = projection
                    .expr
                    .iter()
                    .map(|expr| pipe.physical(expr))
                    .collect::<Result<_, _>>()?;
                pipe.projection = Some(exprs);
                Ok(pipe)
            }
            LogicalPlan::Union(union) => {
                let schema = Arc::new(union.schema.as_arrow().clone());
                let mut inputs = Vec::with_capacity(union.inputs.len());
                let mut errors = 0;
                for input in &union.inputs {
                    let pipe = self.pipe(input)?;
                    errors = pipe.errors;
                    let flow = pipe.flow;
                    let node = self.flush(pipe, &schema)?.0;
                    inputs.push(match flow {
                        Flow::Inserts => node,
                        flow => self.events_of(node, errors, flow)?,
                    });
                }
                let id = self.id("union");
                let node = self.plan.add(PlanNodeKind::Union, Some(self.query), errors, id);
                inputs.into_iter().for_each(|input| self.plan.connect(input, node));
                Ok(self.pipe_from(node, schema, errors, &union.schema))
            }
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Extension(extension) => self.extension(extension),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.over(window),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Limit(limit) => {
                let pipe = self.pipe(&limit.input)?;
                let flow = pipe.flow;
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
                let operator = match flow {
                    Flow::Emissions => operator,
                    _ => self.keyed(operator, &schema, &schema, KeyedForm::Joined),
                };
                let node = self.add("limit", errors, operator);
                self.plan.connect(from, node);
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

    /// ORDER BY of a batch window's emissions.
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<Pipe, Diagnostic> {
        let mut pipe = self.pipe(&sort.input)?;
        if pipe.flow != Flow::Emissions {
            let error = Diagnostic::new(Code::Unsupported, "not supported yet: ORDER BY without a batch window");
            return Err(error.hint("a batch window closes: each of its emissions can be sorted"));
        }
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
        if let Some(pattern) = extension.node.as_any().downcast_ref::<PatternScan>() {
            return self.pattern(pattern);
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
        let mut last = self.add("event_time", errors, Arc::new(operator));
        self.plan.connect(from, last);
        if in_order {
            let operator = EventTimeOrderPlan { schema: schema.clone() };
            let order = self.add("in_order", errors, Arc::new(operator));
            self.plan.connect(last, order);
            last = order;
        }
        Ok(self.pipe_from(last, schema, errors, node.input.schema()))
    }

    /// An operator with state: in a PARTITION one for each key, which its input has as a column.
    pub(super) fn keyed(
        &self,
        operator: Arc<dyn OperatorPlan>,
        input: &SchemaRef,
        schema: &SchemaRef,
        form: KeyedForm,
    ) -> Arc<dyn OperatorPlan> {
        let (Some(purge), Ok(key)) = (self.partition, input.index_of(PARTITION_KEY)) else {
            return operator;
        };
        Arc::new(KeyedPlan {
            operator,
            key,
            key_type: input.field(key).data_type().clone(),
            purge,
            form,
            schema: schema.clone(),
        })
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
        self.plan.connect(from, node);
        self.plan.ordered.insert(from, node);
        node
    }

    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Pipe, Diagnostic> {
        let source = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<Source>();
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
        let flow = place.def.window.as_ref().map_or(Flow::Inserts, flow_of);
        let from = match self.in_order {
            true => self.ordered(stream, &from_schema),
            false => place.node,
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
        })
    }

    /// A new pipe after the node that the old one becomes.
    pub(super) fn flushed(&mut self, pipe: Pipe, schema: &DFSchemaRef) -> Result<Pipe, Diagnostic> {
        let arrow = Arc::new(schema.as_arrow().clone());
        let flow = pipe.flow;
        let (node, errors) = self.flush(pipe, &arrow)?;
        let mut pipe = self.pipe_from(node, arrow, errors, schema);
        pipe.flow = flow;
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
        }
    }

    /// Makes a node of what is to be done, if anything is; its batches have `schema`.
    pub(super) fn flush(&mut self, pipe: Pipe, schema: &SchemaRef) -> Result<(NodeId, StreamId), Diagnostic> {
        let errors = pipe.errors;
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
        if pipe.is_stream {
            self.first.push(node);
        }
        self.plan.connect(pipe.from, node);
        Ok((node, errors))
    }

    pub(super) fn add(&mut self, kind: &str, errors: StreamId, operator: Arc<dyn OperatorPlan>) -> NodeId {
        let id = self.id(kind);
        self.plan
            .add(PlanNodeKind::Operator(operator), Some(self.query), errors, id)
    }

    pub(super) fn id(&mut self, kind: &str) -> String {
        self.operators += 1;
        format!("{}/{}:{kind}", self.name, self.operators)
    }
}

impl Pipe {
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

pub(super) fn constant(what: &str) -> Diagnostic {
    Diagnostic::new(Code::Type, format!("{what} must be a constant number"))
}

/// The columns of each stream that a plan reads, by stream name.
pub fn columns_read(plan: &LogicalPlan, read: &mut BTreeMap<String, std::collections::BTreeSet<usize>>) {
    let _ = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<Source>()
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
