//! The conditions of a pattern's elements, split by what they need.
//!
//! (a) What needs only the candidate event is a filter, evaluated once for a batch. (b) Equalities with earlier events say
//! which bucket of [`super::waiting`] an event looks into, and a comparison ([`super::order`]) whom it meets there. (c) The rest, and equalities of texts or several columns once more, is evaluated for the attempts of
//! that bucket: by a compiled form where there is one ([`super::scalar`]), else for all of them at once over a batch made for it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;

use super::captures::LinkId;
use super::gather::{Capture, Captures, Gathered};
use super::order::Order;
use super::scalar::{Inputs, Scalar};
use crate::error::{ErrorKind, Result, RowError};
use crate::event::{EventBatch, Micros, json_row};
use crate::windows::gather::batch_of;

/// What an element asks of an event.
#[derive(Debug, Clone)]
pub struct Condition {
    /// (a) Over the columns of the stream's batches.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// (b) Columns of the event that equal values of earlier ones.
    pub equal: Vec<(usize, Capture)>,
    /// There is one equality at most, and its value is the bucket's key: whoever stands there has it.
    pub exact: bool,
    /// (b) A column of the event that is above or below something of earlier ones.
    pub order: Option<Order>,
    /// (c) With earlier events; an equality that is exact is not asked again.
    pub join: Option<Join>,
}

impl Condition {
    /// That has only a filter.
    pub fn of_filter(filter: Option<Arc<dyn PhysicalExpr>>) -> Self {
        Condition {
            filter,
            equal: Vec::new(),
            exact: true,
            order: None,
            join: None,
        }
    }
}

/// A condition over an event and an attempt.
#[derive(Debug, Clone)]
pub struct Join {
    /// The condition over `candidate` and then `captured` columns.
    pub expr: Arc<dyn PhysicalExpr>,
    /// The columns of the stream's batches that it reads.
    pub candidate: Vec<usize>,
    /// What it reads of the attempt.
    pub captured: Vec<Gathered>,
    /// The columns of both.
    pub schema: SchemaRef,
    /// The same, compiled.
    pub scalar: Option<Scalar>,
}

impl Join {
    /// Of an expression over these columns.
    pub fn new(expr: Arc<dyn PhysicalExpr>, candidate: Vec<usize>, captured: Vec<Gathered>, schema: SchemaRef) -> Self {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let inputs = Inputs {
            candidate: &candidate,
            captured: &captured,
            types: &types,
        };
        Join {
            scalar: Scalar::compile(&expr, &inputs),
            expr,
            candidate,
            captured,
            schema,
        }
    }

    /// Whether it runs without building columns.
    pub fn is_compiled(&self) -> bool {
        self.scalar.is_some()
    }

    /// For which of the chains it holds with a row of a batch, evaluated over a batch of all. A failure is reported, and does
    /// not hold.
    pub fn holding(
        &self,
        batch: &EventBatch,
        row: usize,
        chains: &[LinkId],
        captures: &Captures,
        report: &mut Reports,
    ) -> Result<Vec<bool>> {
        match self.evaluate(batch, row, chains, captures)? {
            Ok(holds) => Ok(holds),
            Err(error) if chains.len() == 1 => {
                report.failed(&error, batch, row);
                Ok(vec![false])
            }
            // Some fail: each by itself.
            Err(_) => {
                let mut holds = Vec::with_capacity(chains.len());
                for chain in chains {
                    match self.evaluate(batch, row, &[*chain], captures)? {
                        Ok(one) => holds.extend(one),
                        Err(error) => {
                            report.failed(&error, batch, row);
                            holds.push(false);
                        }
                    }
                }
                Ok(holds)
            }
        }
    }

    fn evaluate(
        &self,
        batch: &EventBatch,
        row: usize,
        chains: &[LinkId],
        captures: &Captures,
    ) -> Result<Result<Vec<bool>, DataFusionError>> {
        let repeated = UInt32Array::from(vec![row as u32; chains.len()]);
        let candidate = self.candidate.iter();
        let candidate = candidate.map(|column| Ok(arrow::compute::take(batch.column(*column), &repeated, None)?));
        let captured = self.captured.iter().map(|captured| captures.column(chains, captured));
        let columns: Vec<ArrayRef> = candidate.chain(captured).collect::<Result<_>>()?;
        let rows = batch_of(self.schema.clone(), columns, chains.len())?;
        let evaluated = self
            .expr
            .evaluate(&rows)
            .and_then(|value| value.into_array(chains.len()));
        Ok(evaluated.map(|array| {
            let holds = array.as_boolean();
            (0..chains.len())
                .map(|row| holds.is_valid(row) && holds.value(row))
                .collect()
        }))
    }
}

/// Bad events met on the way.
#[derive(Debug, Default)]
pub struct Reports {
    /// Processing time.
    pub now: Micros,
    /// The errors.
    pub errors: Vec<RowError>,
}

impl Reports {
    /// Of errors met at a time.
    pub fn at(now: Micros) -> Self {
        Reports {
            now,
            errors: Vec::new(),
        }
    }

    fn failed(&mut self, error: &DataFusionError, batch: &EventBatch, row: usize) {
        self.add(
            crate::operators::expressions::reason(error),
            json_row::row(batch.columns(), row),
        );
    }

    /// Something went wrong with an event.
    pub fn add(&mut self, message: String, event: String) {
        self.errors.push(RowError {
            kind: ErrorKind::Evaluate,
            message,
            event,
            line: None,
            at: self.now,
            attempts: 1,
        });
    }
}

/// The rows of a batch where a filter holds.
pub fn filtered(filter: &Arc<dyn PhysicalExpr>, batch: &EventBatch, report: &mut Reports) -> Result<BooleanBuffer> {
    let rows = batch.num_rows();
    let evaluated = filter
        .evaluate(batch.columns())
        .and_then(|value| value.into_array(rows));
    let array = match evaluated {
        Ok(array) => array,
        Err(error) if rows == 1 => {
            report.failed(&error, batch, 0);
            return Ok(BooleanBuffer::new_unset(1));
        }
        Err(_) => {
            let halves = [batch.slice(0, rows / 2), batch.slice(rows / 2, rows - rows / 2)];
            let mut holds = Vec::with_capacity(rows);
            for half in &halves {
                holds.extend(filtered(filter, half, report)?.iter());
            }
            return Ok(holds.into());
        }
    };
    let holds = array.as_boolean();
    Ok(match holds.nulls() {
        Some(nulls) => holds.values() & nulls.inner(),
        None => holds.values().clone(),
    })
}
