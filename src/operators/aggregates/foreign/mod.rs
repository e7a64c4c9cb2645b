//! Every other aggregate of the SQL engine underneath (`approx_distinct`, `approx_percentile_cont_with_weight`, sums of other
//! types, …), through its own accumulators.
//!
//! [`accumulated`]: one accumulator a group, when rows are only added or the accumulator can take them back.
//! [`recomputed`]: otherwise the rows of each group are kept and its value is computed from all of them when it is asked for
//! and has changed: O(n) a value, so O(n) a row in the running form.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;
use datafusion_expr::function::AccumulatorArgs;
use datafusion_physical_expr::expressions::{Column, Literal};
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};

use super::build::Built;
use super::{AggregateSpec, Retraction};
use crate::error::{Error, Result};

mod accumulated;
mod recomputed;

use accumulated::Accumulated;
use recomputed::Recomputed;

/// The aggregate, by the engine's accumulators.
pub(super) fn build(spec: &AggregateSpec, retraction: Retraction) -> Built {
    let maker = Maker::new(spec, retraction);
    let sample = maker.accumulator().map_err(|error| refusal(spec, &error))?;
    match retraction == Retraction::Never || sample.supports_retract_batch() {
        true => Ok(Box::new(Accumulated::new(maker))),
        false => Ok(Box::new(Recomputed::new(maker)?)),
    }
}

fn refusal(spec: &AggregateSpec, error: &Error) -> String {
    format!("{} is not available on streams: {error}", spec.function.name())
}

/// Makes accumulators of one call.
#[derive(Clone)]
struct Maker {
    spec: AggregateSpec,
    schema: Arc<Schema>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    order_by: Vec<PhysicalSortExpr>,
    retraction: Retraction,
}

impl Maker {
    fn new(spec: &AggregateSpec, retraction: Retraction) -> Self {
        let order_fields = spec.order_by.iter().enumerate();
        let order_fields = order_fields.map(|(i, (of, _))| Arc::new(Field::new(format!("o{i}"), of.clone(), true)));
        let fields: Vec<FieldRef> = spec.arguments.iter().cloned().chain(order_fields).collect();
        let column = |(i, field): (usize, &FieldRef)| -> Arc<dyn PhysicalExpr> {
            match spec.constants.get(i).and_then(Option::as_ref) {
                Some(value) => Arc::new(Literal::new(value.clone())),
                None => Arc::new(Column::new(field.name(), i)),
            }
        };
        let mut columns: Vec<_> = fields.iter().enumerate().map(column).collect();
        let order = columns.split_off(spec.arguments.len());
        let order_by = order.into_iter().zip(&spec.order_by);
        let order_by = order_by.map(|(expr, (_, options))| PhysicalSortExpr::new(expr, *options));
        Maker {
            spec: spec.clone(),
            schema: Arc::new(Schema::new(fields)),
            order_by: order_by.collect(),
            arguments: columns,
            retraction,
        }
    }

    /// An accumulator of no rows.
    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        let arguments = AccumulatorArgs {
            return_field: Arc::new(Field::new(
                self.spec.function.name(),
                self.spec.return_type.clone(),
                true,
            )),
            schema: &self.schema,
            ignore_nulls: self.spec.ignore_nulls,
            order_bys: &self.order_by,
            is_reversed: false,
            name: self.spec.function.name(),
            is_distinct: self.spec.distinct,
            exprs: &self.arguments,
            expr_fields: &self.spec.arguments,
        };
        Ok(match self.retraction {
            Retraction::Never => self.spec.function.accumulator(arguments)?,
            Retraction::Fifo | Retraction::Any => self.spec.function.create_sliding_accumulator(arguments)?,
        })
    }

    /// The argument columns as the accumulator takes them: constants that were left out are put in.
    fn columns(&self, given: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
        let columns = self.schema.fields().iter().enumerate();
        let columns = columns.map(|(i, field)| match self.spec.constants.get(i).and_then(Option::as_ref) {
            Some(value) => Ok(value.to_array_of_size(rows)?),
            None => given
                .get(i)
                .cloned()
                .ok_or_else(|| Error::failed(format!("an aggregate lacks its argument {}", field.name()))),
        });
        columns.collect()
    }

    fn data_type(&self) -> &DataType {
        &self.spec.return_type
    }

    /// Values as a column of the result's type.
    fn column(&self, values: Vec<ScalarValue>) -> Result<ArrayRef> {
        if values.is_empty() {
            return Ok(arrow::array::new_empty_array(self.data_type()));
        }
        let column = ScalarValue::iter_to_array(values)?;
        match column.data_type() == self.data_type() {
            true => Ok(column),
            false => Ok(arrow::compute::cast(&column, self.data_type())?),
        }
    }
}

/// What the engine's accumulator makes of rows.
#[cfg(test)]
pub(super) fn reference(spec: &AggregateSpec, columns: &[ArrayRef]) -> ArrayRef {
    let maker = Maker::new(spec, Retraction::Never);
    let mut accumulator = maker.accumulator().unwrap();
    accumulator.update_batch(columns).unwrap();
    maker.column(vec![accumulator.evaluate().unwrap()]).unwrap()
}
