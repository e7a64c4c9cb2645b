//! Recognises aggregations over sessions that can go without keeping events.

use datafusion_common::Column;
use datafusion_expr::{Aggregate, Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::lower_slices::{Bounds, bound_of, is_ordered, passes_bounds, trace, without_window};
use crate::catalog::windows::WindowKind;
use crate::event::Micros;

/// An aggregation over sessions whose keys are its own, so that a session is one group.
pub struct Sessions {
    /// Events of a key that are further apart belong to two sessions.
    pub gap: Micros,
    /// How long a session waits for late events.
    pub lateness: Micros,
    /// The aggregation's input without the window: its bounds are NULL there, and nothing depends on them.
    pub input: LogicalPlan,
    /// The columns of `input` that are the window's bounds.
    pub bounds: Bounds,
    /// Whether an aggregate depends on the order of events.
    pub ordered: bool,
}

/// The aggregation over sessions. Not if a filter stands between: what it drops still makes its session longer.
pub fn sessions(aggregate: &Aggregate) -> Option<Sessions> {
    let mut window = None;
    let bounds = trace(&aggregate.input, &mut window)?;
    let WindowKind::Session { gap, keys, lateness } = &window?.kind else {
        return None;
    };
    let session_keys: Vec<Expr> = keys
        .iter()
        .map(|key| above(&aggregate.input, key).map(Expr::Column))
        .collect::<Option<_>>()?;
    let own = aggregate
        .group_expr
        .iter()
        .filter(|expr| bound_of(expr, &bounds).is_none());
    let own: Vec<Expr> = own.map(|expr| expr.clone().unalias()).collect();
    let same = own.iter().all(|key| session_keys.contains(key)) && session_keys.iter().all(|key| own.contains(key));
    if !same || !passes_bounds(aggregate, &bounds) {
        return None;
    }
    Some(Sessions {
        gap: *gap,
        lateness: *lateness,
        input: without_window(&aggregate.input).ok()?,
        ordered: is_ordered(aggregate, &bounds),
        bounds,
    })
}

/// What a window's key is called above it, if only projections of columns stand between.
fn above(plan: &LogicalPlan, key: &Column) -> Option<Column> {
    match plan {
        LogicalPlan::Extension(extension) => {
            let window = extension
                .node
                .as_any()
                .downcast_ref::<super::window_node::WindowNode>()?;
            let mut columns = UserDefinedLogicalNodeCore::schema(window).columns().into_iter();
            columns.find(|column| column.name == key.name)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let below = above(&alias.input, key)?;
            let mut columns = alias.schema.columns().into_iter();
            columns.find(|column| column.name == below.name)
        }
        LogicalPlan::Projection(projection) => {
            let below = Expr::Column(above(&projection.input, key)?);
            let mut exprs = projection.expr.iter();
            let position = exprs.position(|expr| expr.clone().unalias() == below)?;
            projection.schema.columns().into_iter().nth(position)
        }
        _ => None,
    }
}
