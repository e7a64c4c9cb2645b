//! Expressions of MATCH_RECOGNIZE, planned as those of any query are: types coerced, functions of the app put in, simplified.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_common::{DFSchema, DataFusionError, internal_err};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Aggregate, EmptyRelation, Expr, LogicalPlan, Projection};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use sqlparser::ast::Expr as SqlExpr;

use super::logical::Planner;
use super::pattern::planned;
use crate::catalog::functions::Functions;

/// What an expression is in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A value of each row.
    Value,
    /// An aggregate of rows.
    Aggregate,
}

/// Plans an expression over columns.
pub fn finished(expr: SqlExpr, schema: &DFSchema, form: Form, functions: &Functions) -> Result<Expr, DataFusionError> {
    let expr = planned(expr, schema, functions)?;
    let schema = Arc::new(schema.clone());
    let rows = Arc::new(LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: false,
        schema: schema.clone(),
    }));
    let plan = match form {
        Form::Value => LogicalPlan::Projection(Projection::try_new(vec![expr], rows)?),
        Form::Aggregate => LogicalPlan::Aggregate(Aggregate::try_new(rows, Vec::new(), vec![expr])?),
    };
    let sources = HashMap::new();
    let exprs = match Planner::new(&sources, functions).analyze(plan)? {
        LogicalPlan::Projection(projection) => projection.expr,
        LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr,
        _ => Vec::new(),
    };
    let Some(expr) = exprs.into_iter().next() else {
        return internal_err!("an expression got lost");
    };
    let context = SimplifyContext::builder().with_schema(schema).build();
    ExprSimplifier::new(context).simplify(expr.unalias())
}
