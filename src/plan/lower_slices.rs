//! Recognises aggregations over windows on a grid of time that can go slice by slice, without keeping events.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{Aggregate, Expr, Extension, LogicalPlan, Projection, UserDefinedLogicalNodeCore};

use super::window_node::WindowNode;
use crate::catalog::aggregates::CURRENT;
use crate::catalog::windows::WindowKind;
use crate::operators::slice_aggregate::SliceColumn;
use crate::windows::hop::Grid;

/// An aggregation that can go slice by slice.
pub struct Sliced {
    /// The windows.
    pub grid: Grid,
    /// The aggregation's input without the window: its bounds are NULL there, and nothing depends on them.
    pub input: LogicalPlan,
    /// The columns of `input` that are the window's bounds.
    pub bounds: Bounds,
    /// Whether an aggregate depends on the order of events.
    pub ordered: bool,
}

/// Names of columns that are a window's bounds, and which.
pub type Bounds = BTreeMap<String, SliceColumn>;

/// The aggregation slice by slice, unless a window's bounds are used for more than to be passed on.
pub fn sliced(aggregate: &Aggregate) -> Option<Sliced> {
    let mut window = None;
    let bounds = trace(&aggregate.input, &mut window)?;
    let grid = grid_of(&window?.kind)?;
    if !passes_bounds(aggregate, &bounds) {
        return None;
    }
    let input = without_window(&aggregate.input).ok()?;
    Some(Sliced {
        grid,
        input,
        ordered: is_ordered(aggregate, &bounds),
        bounds,
    })
}

/// Whether an aggregation does nothing with a window's bounds but pass them on.
pub fn passes_bounds(aggregate: &Aggregate, bounds: &Bounds) -> bool {
    let aggregates = aggregate.aggr_expr.iter().map(|expr| current_of(expr).unwrap_or(expr));
    let clean = |expr: &Expr| bound_of(expr, bounds).is_some() || !reads(expr, bounds);
    aggregate.group_expr.iter().chain(aggregates).all(clean)
}

/// Whether an aggregate depends on the order of events.
pub fn is_ordered(aggregate: &Aggregate, bounds: &Bounds) -> bool {
    aggregate
        .aggr_expr
        .iter()
        .filter(|expr| current_of(expr).and_then(|column| bound_of(column, bounds)).is_none())
        .any(depends_on_order)
}

/// Which bound an expression is, if it is one and nothing more.
pub fn bound_of(expr: &Expr, bounds: &Bounds) -> Option<SliceColumn> {
    match expr {
        Expr::Column(column) => bounds.get(&column.name).copied(),
        Expr::Alias(alias) => bound_of(&alias.expr, bounds),
        _ => None,
    }
}

/// The argument of the aggregate that stands for the current event's value.
pub fn current_of(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::AggregateFunction(call) if call.func.name() == CURRENT => call.params.args.first(),
        Expr::Alias(alias) => current_of(&alias.expr),
        _ => None,
    }
}

/// The columns of a plan that are the bounds of the window below it; `None` if they are computed with, or there is no such
/// window.
pub fn trace<'p>(plan: &'p LogicalPlan, found: &mut Option<&'p WindowNode>) -> Option<Bounds> {
    match plan {
        LogicalPlan::Extension(extension) => {
            let window = extension.node.as_any().downcast_ref::<WindowNode>()?;
            *found = Some(window);
            let fields = UserDefinedLogicalNodeCore::schema(window).fields();
            let bounds = fields[window.input_columns()..]
                .iter()
                .zip([SliceColumn::Start, SliceColumn::End]);
            Some(bounds.map(|(field, bound)| (field.name().clone(), bound)).collect())
        }
        LogicalPlan::SubqueryAlias(alias) => trace(&alias.input, found),
        LogicalPlan::Filter(filter) => {
            let bounds = trace(&filter.input, found)?;
            (!reads(&filter.predicate, &bounds)).then_some(bounds)
        }
        LogicalPlan::Projection(projection) => {
            let below = trace(&projection.input, found)?;
            let mut bounds = Bounds::new();
            for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
                match bound_of(expr, &below) {
                    Some(bound) => {
                        bounds.insert(field.name().clone(), bound);
                    }
                    None if reads(expr, &below) => return None,
                    None => {}
                }
            }
            Some(bounds)
        }
        _ => None,
    }
}

/// The columns of a plan that are the bounds of a window below it, whatever else is done with them.
pub fn passed_bounds(plan: &LogicalPlan) -> Bounds {
    match plan {
        LogicalPlan::Extension(_) => trace(plan, &mut None).unwrap_or_default(),
        LogicalPlan::SubqueryAlias(alias) => passed_bounds(&alias.input),
        LogicalPlan::Filter(filter) => passed_bounds(&filter.input),
        LogicalPlan::Projection(projection) => {
            let below = passed_bounds(&projection.input);
            let columns = projection.expr.iter().zip(projection.schema.fields());
            let passed = columns.filter_map(|(expr, field)| Some((field.name().clone(), bound_of(expr, &below)?)));
            passed.collect()
        }
        _ => Bounds::new(),
    }
}

fn grid_of(kind: &WindowKind) -> Option<Grid> {
    match *kind {
        WindowKind::Hop { size, slide, offset } => Some(Grid {
            size,
            slide,
            offset,
            cumulate: false,
        }),
        WindowKind::Cumulate { step, size, offset } => Some(Grid {
            size,
            slide: step,
            offset,
            cumulate: true,
        }),
        _ => None,
    }
}

fn reads(expr: &Expr, bounds: &Bounds) -> bool {
    expr.column_refs()
        .iter()
        .any(|column| bounds.contains_key(&column.name))
}

/// Aggregates whose value is the same in whatever order the events come.
const ANY_ORDER: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var",
    "var_pop",
    "var_samp",
    "variance",
    "bool_and",
    "bool_or",
    "and",
    "or",
    "median",
    "distinctcount",
    "minforever",
    "maxforever",
    "percentile",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "percentile_cont",
    "bit_and",
    "bit_or",
    "bit_xor",
];

fn depends_on_order(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(call) => !ANY_ORDER.contains(&call.func.name().to_lowercase().as_str()),
        Expr::Alias(alias) => depends_on_order(&alias.expr),
        _ => true,
    }
}

/// The plan with NULLs in the place of the window's bounds.
pub fn without_window(plan: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let replaced = plan.clone().transform_down(|node| {
        let LogicalPlan::Extension(Extension { node: extension }) = &node else {
            return Ok(Transformed::no(node));
        };
        let Some(window) = extension.as_any().downcast_ref::<WindowNode>() else {
            return Ok(Transformed::no(node));
        };
        let schema = UserDefinedLogicalNodeCore::schema(window).clone();
        let input = window.input.schema().columns().into_iter().map(Expr::Column);
        let bounds = schema.fields()[window.input_columns()..].iter();
        let bounds = bounds.map(|field| ScalarValue::try_new_null(field.data_type()));
        let bounds = bounds.collect::<Result<Vec<_>, _>>()?;
        let exprs = input.chain(bounds.into_iter().map(|null| Expr::Literal(null, None)));
        let projection = Projection::try_new_with_schema(exprs.collect(), Arc::new(window.input.clone()), schema)?;
        Ok(Transformed::new(
            LogicalPlan::Projection(projection),
            true,
            TreeNodeRecursion::Jump,
        ))
    });
    Ok(replaced?.data)
}
