//! On-demand queries that one lookup answers: rows of a table by its key or an index, without the batch engine.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;

use super::access::{Lookups, TableSide};
use super::physical::physical_expr;
use crate::error::{Error, Result};
use crate::operators::expressions::{reason, values};
use crate::operators::lookup::{LookupError, LookupPlan};

/// What is computed of the rows of one table that a key or an index finds.
///
/// *Cost.* The lookup and the expressions: planning a query for the batch engine costs a hundred times as much.
pub struct PointQuery {
    lookup: LookupPlan,
    /// Over the columns that the lookup gives.
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl PointQuery {
    /// Of a plan; `None` if it asks for more, or if neither a key nor an index serves it.
    pub fn of(plan: &LogicalPlan) -> Option<Self> {
        let (side, exprs) = side_of(plan)?;
        if exprs.iter().chain(&side.filters).any(asks_more) {
            return None;
        }
        let names: Vec<String> = exprs
            .iter()
            .flat_map(|expr| expr.column_refs().into_iter().map(|column| column.name.clone()))
            .collect();
        let table = &side.table.def().schema;
        let columns = names.iter().map(|name| table.index_of(name));
        let lookups = Lookups {
            table: &side.table,
            events: Arc::new(DFSchema::empty()),
            conjuncts: side.filters.clone(),
            columns: columns.collect::<std::result::Result<_, _>>().ok()?,
        };
        // What cannot be planned here, the batch engine tells about.
        let lookup = lookups.plan().ok().filter(LookupPlan::is_keyed)?;
        let rows = lookups.joined(&lookup.columns).ok()?;
        let exprs = exprs.iter().map(|expr| physical_expr(expr, &rows).ok());
        Some(PointQuery {
            exprs: exprs.collect::<Option<_>>()?,
            lookup,
            schema: plan.schema().inner().clone(),
        })
    }

    /// The rows and their schema.
    pub fn run(&self) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let asking = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &one)?;
        let table = self.lookup.table.table()?;
        let reader = &mut |access: &_, probe: &_, columns: &_| table.lookup(access, probe, columns);
        let found = self.lookup.build()?.find(&asking, reader).map_err(failed)?;
        let columns = self.exprs.iter().map(|expr| values(expr, &found.rows));
        let columns = columns
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| failed(error.into()))?;
        let count = RecordBatchOptions::new().with_row_count(Some(found.rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &count)?;
        Ok((self.schema.clone(), vec![rows]))
    }
}

/// A table's rows and what is computed of them, over the table's columns.
fn side_of(plan: &LogicalPlan) -> Option<(TableSide, Vec<Expr>)> {
    if let Some(side) = TableSide::of(plan).ok()? {
        let columns = side.columns.clone();
        return Some((side, columns));
    }
    let LogicalPlan::Projection(projection) = plan else {
        return None;
    };
    let side = TableSide::of(&projection.input).ok()??;
    let exprs = projection.expr.iter();
    let exprs = exprs.map(|expr| {
        side.over_table(expr, projection.input.schema())
            .map(Expr::unalias_nested)
    });
    let exprs = exprs.map(|expr| Some(expr.ok()?.data)).collect::<Option<_>>()?;
    Some((side, exprs))
}

/// Whether an expression asks for other rows than its own.
fn asks_more(expr: &Expr) -> bool {
    let mut more = false;
    let _ = expr.apply(|node| {
        more |= matches!(
            node,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        );
        Ok(match more {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    more
}

fn failed(error: LookupError) -> Error {
    match error {
        LookupError::Table(error) => error,
        LookupError::Evaluate(error) => Error::failed(reason(&error)),
    }
}
