//! `ORDER BY`, `LIMIT` and `OFFSET` of a query over a batch window: they apply to each emission.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices};
use datafusion_physical_expr::PhysicalExpr;

use super::running_aggregate::adds;
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::Result;
use crate::event::EventBatch;

/// Sorts each batch, which is one emission, and keeps `fetch` rows after the first `skip`. Rows that leave come before those
/// that enter, and are sorted and counted apart from them. Ties stay in their order.
///
/// *Ops.* Any. *State.* None. *Cost.* O(n log n) an emission of n rows.
pub struct EmissionOrder {
    plan: EmissionOrderPlan,
}

/// What an [`EmissionOrder`] does.
#[derive(Debug, Clone)]
pub struct EmissionOrderPlan {
    /// By what rows are sorted, most important first; empty to leave them as they are.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// Rows left out at the beginning.
    pub skip: usize,
    /// Rows kept after them; `None` for all.
    pub fetch: Option<usize>,
}

impl OperatorPlan for EmissionOrderPlan {
    fn name(&self) -> &'static str {
        "EmissionOrder"
    }

    fn details(&self) -> Vec<String> {
        let key = |(expr, options): &(Arc<dyn PhysicalExpr>, SortOptions)| {
            format!("{expr} {}", if options.descending { "DESC" } else { "ASC" })
        };
        let keys: Vec<String> = self.keys.iter().map(key).collect();
        let keys = (!keys.is_empty()).then(|| format!("by {}", keys.join(", ")));
        let limit = self.fetch.map(|fetch| format!("{fetch} rows after {}", self.skip));
        keys.into_iter().chain(limit).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(EmissionOrder { plan: self.clone() }))
    }
}

impl Operator for EmissionOrder {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let order = self.order(&batch)?;
        let (leaving, entering): (Vec<u32>, Vec<u32>) = order.iter().partition(|row| !adds(batch.op(**row as usize)));
        let kept = [leaving, entering].into_iter().flat_map(|rows| {
            let fetch = self.plan.fetch.unwrap_or(usize::MAX);
            rows.into_iter().skip(self.plan.skip).take(fetch)
        });
        out.emit(batch.take(kept.collect())?);
        Ok(())
    }
}

impl EmissionOrder {
    fn order(&self, batch: &EventBatch) -> Result<Vec<u32>> {
        let rows = batch.num_rows() as u32;
        if self.plan.keys.is_empty() {
            return Ok((0..rows).collect());
        }
        let mut columns = Vec::with_capacity(self.plan.keys.len() + 1);
        for (expr, options) in &self.plan.keys {
            let values: ArrayRef = expr.evaluate(batch.columns())?.into_array(batch.num_rows())?;
            columns.push(SortColumn {
                values,
                options: Some(*options),
            });
        }
        // The sort is not stable; the row's number decides ties.
        columns.push(SortColumn {
            values: Arc::new(UInt32Array::from_iter_values(0..rows)),
            options: None,
        });
        Ok(lexsort_to_indices(&columns, None)?.values().to_vec())
    }
}
