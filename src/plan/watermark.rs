//! The expression of `WATERMARK FOR column AS expression`, ready to run.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::DFSchema;
use datafusion_expr::ExprSchemable;
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use sqlparser::ast::{BinaryOperator, Expr};

use super::context::Context;
use super::logical::parser_options;
use super::physical::physical_expr;
use super::text::Text;
use crate::catalog::functions::Functions;
use crate::catalog::streams::{StreamDef, WatermarkDef};
use crate::catalog::types;
use crate::error::{Code, Diagnostic};
use crate::event::{Clock, Micros, SystemClock};
use crate::operators::watermark::WatermarkBound;

/// The bound of a watermark: a constant delay where it is the time column minus a constant, else an expression.
pub(super) fn bound_of(def: &StreamDef, watermark: &WatermarkDef, text: &Text) -> Result<WatermarkBound, Diagnostic> {
    let column = def.schema.field(watermark.column);
    if let Some(delay) = constant_delay(&watermark.bound, column.name()) {
        return Ok(WatermarkBound::Delay(delay));
    }
    let at = |error: Diagnostic| {
        let error = if error.span.is_some() {
            error
        } else {
            error.at(watermark.span.clone())
        };
        text.finish(error)
    };
    let schema = DFSchema::try_from(def.schema.as_ref().clone());
    let schema = schema.map_err(|error| at(Diagnostic::new(Code::Type, error.strip_backtrace())))?;
    let functions = Functions::builtin(&(Arc::new(SystemClock) as Arc<dyn Clock>));
    let sources = HashMap::new();
    let context = Context::new(&sources, &functions, &[], &[], &[]);
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let mut planner_context = PlannerContext::new();
    let planned = planner
        .sql_to_expr(watermark.bound.clone(), &schema, &mut planner_context)
        .and_then(|expr| {
            let simplifier = ExprSimplifier::new(Default::default());
            let expr = simplifier.coerce(expr, &schema)?;
            let data_type = expr.get_type(&schema)?;
            Ok((expr, data_type))
        });
    let (expr, data_type) = planned.map_err(|error| at(Diagnostic::new(Code::Type, error.strip_backtrace())))?;
    if !matches!(data_type, DataType::Timestamp(_, _)) {
        let error = Diagnostic::new(
            Code::Type,
            format!("a watermark is a TIMESTAMP, not {}", types::name(&data_type)),
        );
        return Err(at(
            error.hint(format!("write {} - 5 SECONDS, for example", column.name()))
        ));
    }
    physical_expr(&expr, &schema)
        .map(WatermarkBound::Expression)
        .map_err(at)
}

/// Whether the bound is evaluated for each event, and may read any column.
pub(super) fn bound_is_computed(def: &StreamDef, watermark: &WatermarkDef) -> bool {
    constant_delay(&watermark.bound, def.schema.field(watermark.column).name()).is_none()
}

/// The delay, in µs, of `column`, `column - d` or `column + d`.
fn constant_delay(bound: &Expr, column: &str) -> Option<Micros> {
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case(column));
    match bound {
        Expr::Nested(inner) => constant_delay(inner, column),
        expr if is_column(expr) => Some(0),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Minus,
            right,
        } if is_column(left) => eventflux_sqlparser::duration_micros(right),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Plus,
            right,
        } if is_column(left) => eventflux_sqlparser::duration_micros(right).map(|delay| -delay),
        _ => None,
    }
}
