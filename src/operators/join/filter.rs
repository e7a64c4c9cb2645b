//! [`PairFilter`]: what a join's condition says beyond its keys, for many pairs at once.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;

use super::layout::{Layout, Picked};
use super::spec::Side;
use crate::error::Result;
use crate::event::json_row;
use crate::operators::expressions::{Narrowed, reason};
use crate::windows::gather::batch_of;

/// A condition over pairs of rows. NULL is not true.
///
/// *Cost.* One evaluation for a block of pairs, over the columns that it reads. A block in which pairs fail is halved until they
/// stand alone: O(log pairs) evaluations for each.
pub struct PairFilter {
    /// Over `columns`, in their order.
    condition: Arc<dyn PhysicalExpr>,
    columns: Vec<(Side, usize)>,
    schema: SchemaRef,
}

/// A pair on which a condition could not be evaluated. It does not match.
#[derive(Debug)]
pub struct FailedPair {
    /// Which of the pairs.
    pub pair: usize,
    /// Why.
    pub reason: String,
    /// The columns that the condition reads.
    pub values: String,
}

impl PairFilter {
    /// A condition over the columns of both inputs; `place` says where a column is kept, `kept` what else is.
    pub fn new(
        condition: &Arc<dyn PhysicalExpr>,
        place: impl Fn(usize) -> (Side, usize),
        kept: &[SchemaRef; 2],
    ) -> Result<Self> {
        let narrowed = Narrowed::new(std::slice::from_ref(condition))?;
        let columns: Vec<(Side, usize)> = narrowed.columns.iter().map(|column| place(*column)).collect();
        let field = |&(side, column): &(Side, usize)| kept[side.port()].field(column).clone();
        let fields: Vec<_> = columns.iter().map(field).collect();
        Ok(PairFilter {
            condition: narrowed.exprs[0].clone(),
            columns,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// Which pairs the condition holds for, and which it fails on.
    pub fn matches(&self, layout: &Layout, pairs: [Picked<'_>; 2]) -> Result<(BooleanBuffer, Vec<FailedPair>)> {
        let rows = pairs[0].len();
        let columns = layout.gather(pairs, &self.columns)?;
        let values = batch_of(self.schema.clone(), columns, rows)?;
        match self.evaluate(&values) {
            Ok(mask) => Ok((mask, Vec::new())),
            Err(error) => {
                let mut mask = vec![false; rows];
                let mut failed = Vec::new();
                self.isolate(&values, 0, &error, &mut mask, &mut failed);
                Ok((BooleanBuffer::from(mask), failed))
            }
        }
    }

    fn evaluate(&self, values: &RecordBatch) -> Result<BooleanBuffer, DataFusionError> {
        let mask = self.condition.evaluate(values)?.into_array(values.num_rows())?;
        let mask = mask
            .as_boolean_opt()
            .ok_or_else(|| DataFusionError::Internal("a condition is not BOOL".to_string()))?;
        Ok(match mask.nulls() {
            Some(nulls) => mask.values() & nulls.inner(),
            None => mask.values().clone(),
        })
    }

    /// Halves pairs that failed until those that fail stand alone; `first` is the number of the first of them.
    fn isolate(
        &self,
        values: &RecordBatch,
        first: usize,
        error: &DataFusionError,
        mask: &mut [bool],
        failed: &mut Vec<FailedPair>,
    ) {
        let rows = values.num_rows();
        if rows <= 1 {
            failed.extend((0..rows).map(|_| FailedPair {
                pair: first,
                reason: reason(error),
                values: json_row::row(values, 0),
            }));
            return;
        }
        for (from, length) in [(0, rows / 2), (rows / 2, rows - rows / 2)] {
            let half = values.slice(from, length);
            match self.evaluate(&half) {
                Ok(holds) => {
                    let marks = mask.iter_mut().skip(first + from);
                    marks.zip(holds.iter()).for_each(|(mark, holds)| *mark = holds);
                }
                Err(error) => self.isolate(&half, first + from, &error, mask, failed),
            }
        }
    }
}
