//! What operators do with the engine's expressions: evaluate them over only the columns they read, and say why one failed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;

use crate::catalog::types;
use crate::error::{Error, Result};

/// Expressions over only the columns they read.
#[derive(Debug, Clone)]
pub struct Narrowed {
    /// The columns read, ascending, by their indices in the whole input.
    pub columns: Vec<usize>,
    /// The expressions, over these.
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Narrowed {
    /// Of expressions over a whole input.
    pub fn new(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let used: BTreeSet<usize> = exprs
            .iter()
            .flat_map(collect_columns)
            .map(|column| column.index())
            .collect();
        let columns: Vec<usize> = used.into_iter().collect();
        let exprs = exprs.iter().map(|expr| moved(expr, &columns)).collect::<Result<_>>()?;
        Ok(Narrowed { columns, exprs })
    }
}

/// The expression over the columns at `columns`, which are ascending.
fn moved(expr: &Arc<dyn PhysicalExpr>, columns: &[usize]) -> Result<Arc<dyn PhysicalExpr>> {
    let moved = Arc::clone(expr).transform_up(|node| {
        let Some(column) = node.downcast_ref::<Column>() else {
            return Ok(Transformed::no(node));
        };
        let position = columns.binary_search(&column.index());
        let position = position.map_err(|_| DataFusionError::Internal("a column got lost".to_string()))?;
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), position)) as _))
    })?;
    Ok(moved.data)
}

/// The values of an expression, an array as long as its input.
pub fn values(expr: &Arc<dyn PhysicalExpr>, input: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    expr.evaluate(input)?.into_array(input.num_rows())
}

/// Where a condition holds; NULL is not.
pub fn mask(condition: &Arc<dyn PhysicalExpr>, input: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
    let mask = values(condition, input)?;
    let mask = mask
        .as_any()
        .downcast_ref::<BooleanArray>()
        .ok_or_else(|| DataFusionError::Internal("a condition is not BOOL".to_string()))?;
    Ok(match mask.null_count() {
        0 => mask.clone(),
        _ => mask.iter().map(|value| Some(value == Some(true))).collect(),
    })
}

/// The innermost reason of an evaluation's failure, without the engine's prefixes.
pub fn reason(error: &DataFusionError) -> String {
    let reason = match error.find_root() {
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            arrow::error::ArrowError::DivideByZero => "division by zero".to_string(),
            arrow::error::ArrowError::ArithmeticOverflow(what)
            | arrow::error::ArrowError::ComputeError(what)
            | arrow::error::ArrowError::CastError(what)
            | arrow::error::ArrowError::InvalidArgumentError(what)
            | arrow::error::ArrowError::ParseError(what) => what.clone(),
            other => other.to_string(),
        },
        DataFusionError::Execution(what) => what.clone(),
        other => Error::failed(other.strip_backtrace()).to_string(),
    };
    types::in_our_names(&reason)
}
