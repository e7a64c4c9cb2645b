//! Expressions ready to run: DataFusion's, with integer overflow as an error and the event time as a column.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DataFusionError};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, Operator as SqlOperator};
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::failure;
use crate::catalog::functions::EVENT_TIMESTAMP;
use crate::catalog::types;
use crate::error::{Code, Diagnostic};
use crate::operators::filter_project::EVENT_TIME;

pub(super) fn internal(error: DataFusionError) -> Diagnostic {
    Diagnostic::new(Code::Type, failure::plain(&error.strip_backtrace()))
}

pub(super) fn reads_event_time(expr: &Expr) -> bool {
    expr.exists(|node| Ok(is_event_time(node))).unwrap_or(false)
}

pub(super) fn is_event_time(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function) if function.name() == EVENT_TIMESTAMP)
}

pub(super) fn with_event_time(base: &DFSchema) -> Result<DFSchema, Diagnostic> {
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
pub(super) fn checked(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
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
