//! From an optimised logical plan to operators: filters and projections fused, one node each time they cannot be.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, DataFusionError};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{
    Aggregate, Distinct, Expr, Extension, FetchType, LogicalPlan, Operator as SqlOperator, Projection, SkipType, Sort,
    SubqueryAlias, TableScan, Window,
};
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use eventflux_sqlparser::OutputKind;

use super::context::Source;
use super::event_time_node::EventTimeNode;
use super::failure;
use super::lower_aggregate::AggregateColumns;
use super::lower_over::{OverOperators, disorders};
use super::lower_rate::{Groups, Rate};
use super::lower_sessions::{Sessions, sessions};
use super::lower_slices::{Bounds, Sliced, sliced};
use super::lower_window::{Windowed, window_plan};
use super::partition::PARTITION_KEY;
use super::stream_plan::{NodeId, PlanNodeKind, StreamId, StreamPlan};
use super::window_node::WindowNode;
use crate::catalog::functions::EVENT_TIMESTAMP;
use crate::catalog::streams::{LatePolicy, NamedWindow};
use crate::catalog::types;
use crate::catalog::windows::{Family, WindowKind};
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::distinct::{Bound, DistinctPlan};
use crate::operators::emission_order::EmissionOrderPlan;
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::filter_project::{EVENT_TIME, FilterProjectPlan};
use crate::operators::keyed::{KeyedForm, KeyedPlan, Purge};
use crate::operators::limit::LimitPlan;
use crate::operators::output_events::OutputEventsPlan;
use crate::operators::session_aggregate::SessionAggregatePlan;
use crate::operators::slice_aggregate::SliceAggregatePlan;
use crate::operators::watermark::{WatermarkBound, WatermarkPlan};
use crate::windows::{Retained, TimeDomain};

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
    operators: usize,
    /// Whether what is being lowered feeds an aggregate, which needs to know what leaves a window.
    retracts: bool,
    /// Whether what is being lowered must come in event-time order.
    in_order: bool,
    /// Whether the query sorts or limits its emissions: then those of different keys must stay apart.
    sorts: bool,
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
struct Pipe {
    from: NodeId,
    from_schema: SchemaRef,
    errors: StreamId,
    input: Option<Vec<usize>>,
    /// What names mean in expressions over the columns, as long as there is no projection.
    base: DFSchemaRef,
    event_time: bool,
    filter: Option<Arc<dyn PhysicalExpr>>,
    projection: Option<Vec<Arc<dyn PhysicalExpr>>>,
    is_stream: bool,
    flow: Flow,
}

impl Flow {
    /// Of the changes of a window.
    fn of(kind: &WindowKind) -> Self {
        match (kind.family(), kind.streams_current()) {
            (Family::Batch, false) => Flow::Emissions,
            (Family::Batch, true) => Flow::Changes { fifo: true },
            (Family::Sliding, _) => Flow::Changes { fifo: kind.is_fifo() },
        }
    }
}

/// What a named window gives.
fn flow_of(window: &NamedWindow) -> Flow {
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
    fn without_key(&mut self, from: NodeId, errors: StreamId, target: &SchemaRef) -> NodeId {
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
    fn limited(&mut self, plan: &LogicalPlan, rate: &Rate) -> Result<Pipe, Diagnostic> {
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
    fn events_of(&mut self, from: NodeId, errors: StreamId, flow: Flow) -> Result<NodeId, Diagnostic> {
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

    fn pipe(&mut self, plan: &LogicalPlan) -> Result<Pipe, Diagnostic> {
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
    fn sort(&mut self, sort: &Sort) -> Result<Pipe, Diagnostic> {
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

    fn extension(&mut self, extension: &Extension) -> Result<Pipe, Diagnostic> {
        if let Some(node) = extension.node.as_any().downcast_ref::<EventTimeNode>() {
            return self.event_time(node);
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
    fn event_time(&mut self, node: &EventTimeNode) -> Result<Pipe, Diagnostic> {
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

    fn window(&mut self, window: &WindowNode) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&window.input);
        let in_order = std::mem::replace(&mut self.in_order, domain == TimeDomain::Event);
        let pipe = self.pipe(&window.input);
        self.in_order = in_order;
        let pipe = of_inserts(pipe?)?;
        let input = Arc::new(window.input.schema().as_arrow().clone());
        let schema = Arc::new(
            datafusion_expr::UserDefinedLogicalNodeCore::schema(window)
                .as_arrow()
                .clone(),
        );
        let (from, errors) = self.flush(pipe, &input)?;
        let expired = self.output.expired || self.retracts && window.kind.family() == Family::Sliding;
        let operator = window_plan(
            &window.kind,
            &Windowed {
                input: input.clone(),
                schema: schema.clone(),
                domain,
                retained: if expired { Retained::Expired } else { Retained::Nothing },
                retracts: self.retracts,
            },
        )?;
        let form = match Flow::of(&window.kind) {
            Flow::Emissions => KeyedForm::Emissions,
            _ => KeyedForm::Joined,
        };
        let operator = self.keyed(operator, &input, &schema, form);
        let node = self.add("window", errors, operator);
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(
            node,
            schema,
            errors,
            datafusion_expr::UserDefinedLogicalNodeCore::schema(window),
        );
        pipe.flow = Flow::of(&window.kind);
        Ok(pipe)
    }

    /// SELECT DISTINCT, and UNION without ALL.
    fn distinct(&mut self, input: &LogicalPlan) -> Result<Pipe, Diagnostic> {
        let ttl = self.plan.state_ttl(input);
        let by_event_time = self.plan.time_domain(input) == TimeDomain::Event;
        let in_order = self.in_order;
        self.in_order |= by_event_time && ttl.is_some();
        let retracts = std::mem::replace(&mut self.retracts, true);
        let pipe = self.pipe(input);
        (self.retracts, self.in_order) = (retracts, in_order);
        let pipe = pipe?;
        let flow = pipe.flow;
        let schema = Arc::new(input.schema().as_arrow().clone());
        let (from, errors) = self.flush(pipe, &schema)?;
        let bound = match (flow, ttl) {
            (Flow::Emissions, _) => Bound::Emission,
            (Flow::Changes { .. }, _) => Bound::Present,
            (Flow::Inserts, Some(ttl)) => Bound::Unseen(ttl),
            (Flow::Inserts, None) => {
                self.plan
                    .warnings
                    .push(unbounded("DISTINCT remembers every different row"));
                Bound::Never
            }
        };
        let operator = DistinctPlan {
            bound,
            schema: schema.clone(),
        };
        let comparable = operator.groups().map(|_| ());
        comparable.map_err(|error| Diagnostic::new(Code::Type, error.to_string()))?;
        let node = self.add("distinct", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, input.schema());
        pipe.flow = flow;
        Ok(pipe)
    }

    /// Functions with OVER.
    fn over(&mut self, window: &Window) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&window.input);
        let by_event_time = domain == TimeDomain::Event;
        let disorders = disorders(&window.input);
        let in_order = std::mem::replace(&mut self.in_order, by_event_time && !disorders);
        let pipe = self.pipe(&window.input);
        self.in_order = in_order;
        let mut pipe = pipe?;
        if pipe.flow != Flow::Inserts {
            let error = Diagnostic::new(Code::Unstreamable, "OVER has a frame of its own, so it takes no WINDOW");
            return Err(error.hint("give OVER a frame: RANGE BETWEEN 10 SECONDS PRECEDING AND CURRENT ROW"));
        }
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, window.input.schema())?;
        }
        let operators = OverOperators::new(window, domain)?;
        let exprs = operators.inputs.iter().map(|expr| pipe.physical(expr));
        pipe.projection = Some(exprs.collect::<Result<_, _>>()?);
        let (mut node, errors) = self.flush(pipe, &operators.input)?;
        let sorted: Option<Arc<dyn OperatorPlan>> = (by_event_time && disorders).then(|| {
            let schema = operators.input.clone();
            Arc::new(EventTimeOrderPlan { schema }) as _
        });
        let over = operators.over.map(|over| Arc::new(over) as _);
        let lead = operators.lead.map(|lead| Arc::new(lead) as _);
        for (kind, operator) in [("in_order", sorted), ("over", over), ("lead", lead)] {
            if let Some(operator) = operator {
                let next = self.add(kind, errors, operator);
                self.plan.connect(node, next);
                node = next;
            }
        }
        let schema = Arc::new(window.schema.as_arrow().clone());
        Ok(self.pipe_from(node, schema, errors, &window.schema))
    }

    /// An aggregation over windows on a grid, slice by slice.
    fn slices(&mut self, aggregate: &Aggregate, sliced: &Sliced) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&sliced.input);
        let in_order = std::mem::replace(&mut self.in_order, sliced.ordered && domain == TimeDomain::Event);
        let pipe = self.pipe(&sliced.input);
        self.in_order = in_order;
        let (from, errors, mut columns, input) =
            self.aggregated(of_inserts(pipe?)?, aggregate, &sliced.input, &sliced.bounds)?;
        let operator = SliceAggregatePlan {
            grid: sliced.grid,
            domain,
            aggregate: columns.plan(Flow::Inserts, self.output, input),
            columns: columns.columns,
        };
        let schema = operator.aggregate.schema.clone();
        let node = self.add("slices", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, &aggregate.schema);
        pipe.flow = Flow::Emissions;
        Ok(pipe)
    }

    /// An aggregation over sessions, session by session.
    fn sessions(&mut self, aggregate: &Aggregate, sessions: &Sessions) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&sessions.input);
        let in_order = std::mem::replace(&mut self.in_order, sessions.ordered && domain == TimeDomain::Event);
        let pipe = self.pipe(&sessions.input);
        self.in_order = in_order;
        let (from, errors, mut columns, input) =
            self.aggregated(pipe?, aggregate, &sessions.input, &sessions.bounds)?;
        let operator = SessionAggregatePlan {
            gap: sessions.gap,
            lateness: sessions.lateness,
            domain,
            aggregate: columns.plan(Flow::Inserts, self.output, input),
            columns: columns.columns,
        };
        let schema = operator.aggregate.schema.clone();
        let node = self.add("sessions", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, &aggregate.schema);
        pipe.flow = Flow::Emissions;
        Ok(pipe)
    }

    /// Computes the columns that an aggregation reads: the node that gives them.
    fn aggregated(
        &mut self,
        mut pipe: Pipe,
        aggregate: &Aggregate,
        input: &LogicalPlan,
        bounds: &Bounds,
    ) -> Result<(NodeId, StreamId, AggregateColumns, SchemaRef), Diagnostic> {
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, input.schema())?;
        }
        let columns = AggregateColumns::new(aggregate, bounds)?;
        let exprs = columns.inputs.iter().map(|(expr, _)| pipe.physical(expr));
        pipe.projection = Some(exprs.collect::<Result<_, _>>()?);
        let schema = columns.input_schema();
        let (from, errors) = self.flush(pipe, &schema)?;
        Ok((from, errors, columns, schema))
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Pipe, Diagnostic> {
        if !self.output.expired
            && !(self.partition.is_some() && self.sorts)
            && let Some(sliced) = sliced(aggregate)
        {
            return self.slices(aggregate, &sliced);
        }
        if !self.output.expired
            && let Some(sessions) = sessions(aggregate)
        {
            return self.sessions(aggregate, &sessions);
        }
        let retracts = std::mem::replace(&mut self.retracts, true);
        let pipe = self.pipe(&aggregate.input);
        self.retracts = retracts;
        let pipe = pipe?;
        let flow = pipe.flow;
        let (from, errors, mut columns, input) =
            self.aggregated(pipe, aggregate, &aggregate.input, &Bounds::default())?;
        let operator = columns.plan(flow, self.output, input);
        let schema = operator.schema.clone();
        let expired = operator.expired;
        let node = self.add("aggregate", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, &aggregate.schema);
        pipe.flow = match flow {
            Flow::Changes { .. } if !expired => Flow::Inserts,
            flow => flow,
        };
        Ok(pipe)
    }

    /// An operator with state: in a PARTITION one for each key, which its input has as a column.
    fn keyed(
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
    fn ordered(&mut self, stream: StreamId, schema: &SchemaRef) -> NodeId {
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

    fn scan(&mut self, scan: &TableScan) -> Result<Pipe, Diagnostic> {
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
    fn flushed(&mut self, pipe: Pipe, schema: &DFSchemaRef) -> Result<Pipe, Diagnostic> {
        let arrow = Arc::new(schema.as_arrow().clone());
        let flow = pipe.flow;
        let (node, errors) = self.flush(pipe, &arrow)?;
        let mut pipe = self.pipe_from(node, arrow, errors, schema);
        pipe.flow = flow;
        Ok(pipe)
    }

    fn pipe_from(&self, from: NodeId, from_schema: SchemaRef, errors: StreamId, schema: &DFSchemaRef) -> Pipe {
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
    fn flush(&mut self, pipe: Pipe, schema: &SchemaRef) -> Result<(NodeId, StreamId), Diagnostic> {
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

    fn add(&mut self, kind: &str, errors: StreamId, operator: Arc<dyn OperatorPlan>) -> NodeId {
        let id = self.id(kind);
        self.plan
            .add(PlanNodeKind::Operator(operator), Some(self.query), errors, id)
    }

    fn id(&mut self, kind: &str) -> String {
        self.operators += 1;
        format!("{}/{}:{kind}", self.name, self.operators)
    }
}

impl Pipe {
    /// An expression over the columns of the pipe, which has no projection.
    fn physical(&mut self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>, Diagnostic> {
        if !reads_event_time(expr) {
            return physical_expr(expr, &self.base);
        }
        self.event_time = true;
        physical_expr(expr, &with_event_time(&self.base)?)
    }
}

/// What a window can hold: events, not the changes of another window.
fn of_inserts(pipe: Pipe) -> Result<Pipe, Diagnostic> {
    match pipe.flow {
        Flow::Inserts => Ok(pipe),
        _ => Err(Diagnostic::new(
            Code::Unstreamable,
            "a window cannot hold what another window gives in the same query",
        )
        .hint("send the first to a stream with INSERT INTO, and read that")),
    }
}

/// Whether rows carry the key of a PARTITION.
fn has_key(plan: &LogicalPlan) -> bool {
    plan.schema().fields().iter().any(|field| field.name() == PARTITION_KEY)
}

/// A warning about state that grows for ever.
fn unbounded(what: &str) -> Diagnostic {
    let warning = Diagnostic::new(
        Code::Unstreamable,
        format!("{what}, so its memory grows with the stream"),
    );
    warning
        .hint("give the stream a WINDOW, or 'state.ttl' = '1 hour', after which what was not seen again is forgotten")
}

fn constant(what: &str) -> Diagnostic {
    Diagnostic::new(Code::Type, format!("{what} must be a constant number"))
}

fn internal(error: DataFusionError) -> Diagnostic {
    Diagnostic::new(Code::Type, failure::plain(&error.strip_backtrace()))
}

fn reads_event_time(expr: &Expr) -> bool {
    expr.exists(|node| Ok(is_event_time(node))).unwrap_or(false)
}

fn is_event_time(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function) if function.name() == EVENT_TIMESTAMP)
}

fn with_event_time(base: &DFSchema) -> Result<DFSchema, Diagnostic> {
    let mut fields: Vec<_> = base
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
        .collect();
    fields.push((None, Arc::new(Field::new(EVENT_TIME, types::TIMESTAMP, false))));
    DFSchema::new_with_metadata(fields, std::collections::HashMap::new()).map_err(internal)
}

/// An expression ready to run over batches with the columns of `schema`.
pub fn physical_expr(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, Diagnostic> {
    let expr = expr.clone().transform_up(|node| {
        Ok(match is_event_time(&node) {
            true => Transformed::yes(Expr::Column(Column::new_unqualified(EVENT_TIME))),
            false => Transformed::no(node),
        })
    });
    let expr = expr.map_err(internal)?.data;
    let mut props = ExecutionProps::new();
    props.config_options = Some(Arc::new(ConfigOptions::default()));
    let physical =
        create_physical_expr(&expr, schema, &props, &PhysicalPlanningContext::default()).map_err(internal)?;
    checked(physical).map_err(internal)
}

/// Integer overflow is an error of its event, not a wrong number.
fn checked(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let checked = expr.transform_up(|node| {
        let Some(binary) = node.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(node));
        };
        if !matches!(
            binary.op(),
            SqlOperator::Plus | SqlOperator::Minus | SqlOperator::Multiply
        ) {
            return Ok(Transformed::no(node));
        }
        let checked = BinaryExpr::new(binary.left().clone(), *binary.op(), binary.right().clone());
        Ok(Transformed::yes(Arc::new(checked.with_fail_on_overflow(true)) as _))
    })?;
    Ok(checked.data)
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
