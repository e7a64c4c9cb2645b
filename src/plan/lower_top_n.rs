//! `ORDER BY … LIMIT n` without a batch window: recognised, and lowered to a continuous top-n.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::{Aggregate, Expr, ExprSchemable, FetchType, Limit, LogicalPlan, SkipType, Sort};

use super::context::Source;
use super::event_time_node::EventTimeNode;
use super::lower::{Flow, Lowering, Pipe, constant, flow_of};
use super::lower_slices::Bounds;
use super::partition::PARTITION_KEY;
use super::physical::internal;
use super::window_node::WindowNode;
use crate::catalog::streams::StreamDef;
use crate::error::{Code, Diagnostic};
use crate::operators::aggregate_plan::Form;
use crate::operators::keyed::KeyedForm;
use crate::operators::top_n::{TopNInput, TopNPlan};

/// The ORDER BY of a LIMIT, and the projections between the two, the outermost first.
pub struct TopNQuery<'p> {
    sort: &'p Sort,
    between: Vec<&'p LogicalPlan>,
}

/// The continuous top-n that a LIMIT is, unless it has no ORDER BY or applies to the emissions of a batch window.
pub fn top_n<'p>(limit: &'p Limit, closes: &dyn Fn(&str) -> bool) -> Option<TopNQuery<'p>> {
    let mut between = Vec::new();
    let mut inner = limit.input.as_ref();
    loop {
        inner = match inner {
            LogicalPlan::Projection(projection) => {
                between.push(inner);
                &projection.input
            }
            LogicalPlan::SubqueryAlias(alias) => {
                between.push(inner);
                &alias.input
            }
            LogicalPlan::Sort(sort) if !emits(&sort.input, closes) => return Some(TopNQuery { sort, between }),
            _ => return None,
        }
    }
}

/// Whether a plan reads a window that closes, wherever.
pub fn closes(plan: &LogicalPlan, streams: &[Arc<StreamDef>]) -> bool {
    let closing = closing(streams.iter().map(Arc::as_ref));
    let closes = |node: &LogicalPlan| match node {
        LogicalPlan::Extension(_) | LogicalPlan::TableScan(_) => emits(node, &|name| closing.contains(name)),
        _ => false,
    };
    plan.exists(|node| Ok(closes(node))).unwrap_or(true)
}

/// The named windows that close.
pub fn closing<'s>(streams: impl Iterator<Item = &'s StreamDef>) -> BTreeSet<&'s str> {
    let closes = |stream: &&StreamDef| {
        stream
            .window
            .as_ref()
            .is_some_and(|window| flow_of(window) == Flow::Emissions)
    };
    streams.filter(closes).map(|stream| stream.name.as_str()).collect()
}

/// Whether a plan gives the emissions of a batch window; `closes` knows the named ones that do.
fn emits(plan: &LogicalPlan, closes: &dyn Fn(&str) -> bool) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<WindowNode>() {
            Some(window) => Flow::of(&window.kind) == Flow::Emissions,
            None => extension
                .node
                .as_any()
                .downcast_ref::<EventTimeNode>()
                .is_some_and(|node| emits(&node.input, closes)),
        },
        LogicalPlan::TableScan(scan) => {
            let source = Source::of(scan);
            source.is_some_and(|source| closes(&source.stream))
        }
        // What is numbered row by row is no emission any more.
        LogicalPlan::Window(_) | LogicalPlan::Union(_) => false,
        other => matches!(other.inputs().as_slice(), [input] if emits(input, closes)),
    }
}

/// Whether there is a continuous top-n in a plan.
pub fn ranks(plan: &LogicalPlan, streams: &[Arc<StreamDef>]) -> bool {
    let closing = closing(streams.iter().map(Arc::as_ref));
    let closes = |name: &str| closing.contains(name);
    let ranks = |node: &LogicalPlan| matches!(node, LogicalPlan::Limit(limit) if top_n(limit, &closes).is_some());
    plan.exists(|node| Ok(ranks(node))).unwrap_or(false)
}

impl Lowering<'_> {
    /// A continuous top-n. It stands below the projections of its query, where rows still have their groups.
    pub(super) fn top_n(&mut self, limit: &Limit, query: TopNQuery) -> Result<Pipe, Diagnostic> {
        let skip = match limit.get_skip_type() {
            Ok(SkipType::Literal(skip)) => skip,
            _ => return Err(constant("OFFSET")),
        };
        let fetch = match limit.get_fetch_type() {
            Ok(FetchType::Literal(Some(fetch))) => fetch,
            Ok(FetchType::Literal(None)) => {
                let error = Diagnostic::new(Code::Unstreamable, "a stream has no end, so it cannot be sorted");
                return Err(error.hint("add LIMIT n for a continuous top-n, or a window that closes"));
            }
            _ => return Err(constant("LIMIT")),
        };
        let mut above = query.between;
        let mut sorted: Vec<Expr> = query.sort.expr.iter().map(|key| key.expr.clone()).collect();
        let mut having: Vec<Expr> = Vec::new();
        let mut inner = query.sort.input.as_ref();
        let grouped = is_grouped(inner);
        loop {
            let input = match inner {
                LogicalPlan::Filter(filter) if grouped => {
                    having.push(filter.predicate.clone());
                    inner = &filter.input;
                    continue;
                }
                LogicalPlan::Projection(projection) => &projection.input,
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                _ => break,
            };
            if self.partition.is_some() && !has_key(input.schema()) {
                break;
            }
            for expr in sorted.iter_mut().chain(&mut having) {
                *expr = below(expr, inner).map_err(internal)?;
            }
            above.push(inner);
            inner = input;
        }
        let having: Option<Expr> = having.into_iter().reduce(Expr::and);
        let (mut pipe, input) = self.ranked(inner)?;
        let base = inner.schema();
        let types = sorted.iter().chain(&having).map(|expr| expr.get_type(base));
        let types: Vec<DataType> = types.collect::<Result<_, _>>().map_err(internal)?;
        let columns = base.columns().into_iter().map(Expr::Column);
        let computed: Vec<Expr> = columns.chain(sorted).chain(having.clone()).collect();
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, base)?;
        }
        pipe.project(computed.iter())?;
        let schema = Arc::new(base.as_arrow().clone());
        let known = schema.fields().len();
        let names = computed[known..].iter().map(|expr| expr.schema_name().to_string());
        let extra = names
            .zip(types)
            .map(|(name, data_type)| Field::new(name, data_type, true));
        let wide: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .chain(extra)
            .collect();
        let wide = Arc::new(Schema::new(wide));
        let (from, errors) = self.flush(pipe, &wide)?;
        let options = query.sort.expr.iter().map(|key| SortOptions {
            descending: !key.asc,
            nulls_first: key.nulls_first,
        });
        let operator = TopNPlan {
            keys: (known..).zip(options).collect(),
            skip,
            fetch,
            input,
            keep: having.is_some().then(|| wide.fields().len() - 1),
            columns: wide.clone(),
            schema: schema.clone(),
        };
        let comparable = operator.groups().map(|_| ());
        comparable.map_err(|error| Diagnostic::new(Code::Type, error.to_string()))?;
        let operator = Arc::new(operator);
        let node = self.add_keyed(from, "top", errors, operator, (&wide, &schema), KeyedForm::Joined);
        let mut pipe = self.pipe_from(node, schema, errors, base);
        pipe.flow = Flow::Changelog;
        self.projected(pipe, above)
    }

    /// The rows that are ranked: of an aggregation the latest row of each group.
    fn ranked(&mut self, plan: &LogicalPlan) -> Result<(Pipe, TopNInput), Diagnostic> {
        if let LogicalPlan::Aggregate(aggregate) = plan {
            let keys = (0..aggregate.group_expr.len()).collect();
            return Ok((self.latest(aggregate)?, TopNInput::Latest(keys)));
        }
        let retracts = std::mem::replace(&mut self.retracts, true);
        let pipe = self.pipe(plan);
        self.retracts = retracts;
        let pipe = pipe?;
        let input = match pipe.flow {
            Flow::Changes { .. } | Flow::Changelog => TopNInput::Changes,
            _ => TopNInput::Inserts,
        };
        Ok((pipe, input))
    }

    /// An aggregation that tells the latest row of each group.
    fn latest(&mut self, aggregate: &Aggregate) -> Result<Pipe, Diagnostic> {
        let retracts = std::mem::replace(&mut self.retracts, true);
        let pipe = self.pipe(&aggregate.input);
        self.retracts = retracts;
        let pipe = pipe?;
        let flow = pipe.flow;
        let (from, errors, mut columns, input) =
            self.aggregated(pipe, aggregate, &aggregate.input, &Bounds::default())?;
        let mut operator = columns.plan(flow, self.output, input.clone())?;
        operator.form = Form::Latest;
        let schema = operator.schema.clone();
        let node = self.add_aggregation(from, "aggregate", errors, operator, &input);
        Ok(self.pipe_from(node, schema, errors, &aggregate.schema))
    }
}

/// Whether a plan is an aggregation, and what is made of its rows.
fn is_grouped(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::Filter(filter) => is_grouped(&filter.input),
        LogicalPlan::Projection(projection) => is_grouped(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_grouped(&alias.input),
        _ => false,
    }
}

fn has_key(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| field.name() == PARTITION_KEY)
}

/// An expression over the columns of a projection or an alias, over those of its input.
fn below(expr: &Expr, plan: &LogicalPlan) -> Result<Expr, DataFusionError> {
    let replaced = expr.clone().transform_up(|node| {
        let Expr::Column(column) = &node else {
            return Ok(Transformed::no(node));
        };
        let index = plan.schema().index_of_column(column)?;
        Ok(Transformed::yes(match plan {
            LogicalPlan::Projection(projection) => projection.expr[index].clone().unalias(),
            LogicalPlan::SubqueryAlias(alias) => Expr::Column(alias.input.schema().columns().swap_remove(index)),
            _ => node,
        }))
    })?;
    Ok(replaced.data)
}
