//! Filter and projection, fused: the rows a condition keeps, with new columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::compute::FilterBuilder;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;

use super::expressions::Narrowed;
use super::row_errors::{isolate, report};
use super::{Operator, OperatorPlan, Output, Port};
use crate::catalog::types;
use crate::error::{ErrorKind, Result};
use crate::event::{EventBatch, Op, Ops};

/// The column, appended to the input, that `eventTimestamp()` reads.
pub const EVENT_TIME: &str = "__event_time";

/// Keeps the rows where `filter` is true and computes new columns from them.
///
/// *Semantics.* NULL in the filter drops the row. A row on which an expression fails (division by zero, overflow, a failed
/// CAST), or that has NULL in a NOT NULL output column, is reported and left out; the others of its batch are not
/// affected. Event times and, if any, operations stay.
///
/// *Ops.* Any. Of an update of which only one half passes, the half that does becomes a delete or an insert.
///
/// *Cost.* One evaluation of each expression per batch; only the columns that the projection reads are gathered. A batch
/// with failing rows is halved until they stand alone: O(log rows) evaluations for each.
pub struct FilterProject {
    plan: FilterProjectPlan,
    /// The projection's expressions over `gathered` columns.
    projection: Option<Vec<Arc<dyn PhysicalExpr>>>,
    /// Indices of the input columns that the projection reads.
    gathered: Vec<usize>,
    not_null: Vec<usize>,
}

/// What a [`FilterProject`] does.
#[derive(Debug, Clone)]
pub struct FilterProjectPlan {
    /// The columns of the arriving batches that `filter` and `projection` are written over; `None` for all.
    pub input: Option<Vec<usize>>,
    /// Whether [`EVENT_TIME`] is appended to these.
    pub event_time: bool,
    /// The condition.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The new columns; `None` keeps the input's.
    pub projection: Option<Vec<Arc<dyn PhysicalExpr>>>,
    /// The schema of the output.
    pub schema: SchemaRef,
}

impl FilterProjectPlan {
    /// Whether it would pass every batch on as it is.
    pub fn is_identity(&self) -> bool {
        self.input.is_none() && self.filter.is_none() && self.projection.is_none()
    }
}

impl OperatorPlan for FilterProjectPlan {
    fn name(&self) -> &'static str {
        match (&self.filter, &self.projection) {
            (Some(_), Some(_)) => "FilterProject",
            (Some(_), None) => "Filter",
            (None, _) => "Project",
        }
    }

    fn details(&self) -> Vec<String> {
        let mut details = Vec::new();
        if let Some(filter) = &self.filter {
            details.push(types::in_our_names(&format!("where {filter}")));
        }
        if let Some(projection) = &self.projection {
            let columns = projection
                .iter()
                .zip(self.schema.fields())
                .map(|(expr, field)| format!("{}={}", field.name(), types::in_our_names(&expr.to_string())));
            details.push(columns.collect::<Vec<_>>().join(", "));
        }
        details
    }

    fn forwards(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let not_null = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| !field.is_nullable());
        let not_null = not_null.map(|(index, _)| index).collect();
        let Some(exprs) = &self.projection else {
            return Ok(Box::new(FilterProject {
                plan: self.clone(),
                projection: None,
                gathered: Vec::new(),
                not_null,
            }));
        };
        let narrowed = Narrowed::new(exprs)?;
        Ok(Box::new(FilterProject {
            plan: self.clone(),
            projection: Some(narrowed.exprs),
            gathered: narrowed.columns,
            not_null,
        }))
    }
}

impl Operator for FilterProject {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let mut emitted = Ok(());
        isolate(&batch, out, &mut |part, out| {
            if let Some(result) = self.evaluate(part)? {
                let result = self.emit(result, out);
                emitted = std::mem::replace(&mut emitted, Ok(())).and(result);
            }
            Ok(())
        });
        emitted
    }
}

impl FilterProject {
    /// The result for a batch; `None` when no row is left.
    fn evaluate(&self, batch: &EventBatch) -> Result<Option<EventBatch>, DataFusionError> {
        let input = self.input(batch)?;
        let Some(filter) = &self.plan.filter else {
            let columns = self.project(&self.gather(&input)?)?;
            return Ok(Some(batch.with_columns(columns)));
        };
        let mask = filter.evaluate(&input)?.into_array(input.num_rows())?;
        let mask = mask
            .as_any()
            .downcast_ref::<BooleanArray>()
            .ok_or_else(|| DataFusionError::Internal("a condition is not BOOL".to_string()))?;
        let kept = mask.true_count();
        if kept == 0 {
            return Ok(None);
        }
        let gathered = self.gather(&input)?;
        if kept == mask.len() {
            return Ok(Some(batch.with_columns(self.project(&gathered)?)));
        }
        let columns = FilterBuilder::new(mask)
            .optimize()
            .build()
            .filter_record_batch(&gathered)?;
        let columns = self.project(&columns)?;
        let ops = batch.ops().map(|ops| kept_ops(ops, mask));
        let times = batch.times().filter(mask);
        Ok(Some(match ops {
            Some(ops) => EventBatch::changes(columns, times, ops),
            None => EventBatch::inserts(columns, times),
        }))
    }

    fn input(&self, batch: &EventBatch) -> Result<RecordBatch, DataFusionError> {
        let columns = match &self.plan.input {
            Some(indices) => batch.columns().project(indices)?,
            None => batch.columns().clone(),
        };
        if !self.plan.event_time {
            return Ok(columns);
        }
        let times = TimestampMicrosecondArray::new(batch.times().to_buffer(batch.num_rows()), None);
        let mut fields: Vec<_> = columns.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(EVENT_TIME, types::TIMESTAMP, false)));
        let mut arrays: Vec<ArrayRef> = columns.columns().to_vec();
        arrays.push(Arc::new(times));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }

    fn gather(&self, input: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        match &self.projection {
            Some(_) => Ok(input.project(&self.gathered)?),
            None => Ok(input.clone()),
        }
    }

    fn project(&self, gathered: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let rows = gathered.num_rows();
        let columns = match &self.projection {
            Some(exprs) => exprs
                .iter()
                .map(|expr| expr.evaluate(gathered)?.into_array(rows))
                .collect::<Result<_, _>>()?,
            None => gathered.columns().to_vec(),
        };
        // Nullability is checked afterwards, row by row, so that one NULL takes only its own event.
        let schema = if self.not_null.is_empty() {
            self.plan.schema.clone()
        } else {
            nullable(&self.plan.schema)
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// Emits a result, without the rows that have NULL where that is not allowed.
    fn emit(&self, result: EventBatch, out: &mut Output) -> Result<()> {
        if self
            .not_null
            .iter()
            .all(|&column| result.column(column).null_count() == 0)
        {
            if self.not_null.is_empty() {
                out.emit(result);
            } else {
                let columns = RecordBatch::try_new(self.plan.schema.clone(), result.columns().columns().to_vec())?;
                out.emit(result.with_columns(columns));
            }
            return Ok(());
        }
        let mut good = Vec::new();
        for row in 0..result.num_rows() {
            match self.not_null.iter().find(|&&column| result.column(column).is_null(row)) {
                None => good.push(row as u32),
                Some(&column) => {
                    let name = self.plan.schema.field(column).name();
                    let message = format!("column {name} is NOT NULL but the event has NULL there");
                    report(&result, row, ErrorKind::Constraint, &message, out);
                }
            }
        }
        let good = result.take(good)?;
        let columns = RecordBatch::try_new(self.plan.schema.clone(), good.columns().columns().to_vec())?;
        out.emit(good.with_columns(columns));
        Ok(())
    }
}

/// The operations of the rows that are kept. The halves of an update stand next to each other.
fn kept_ops(ops: &Ops, mask: &BooleanArray) -> Ops {
    let kept = |row: usize| mask.is_valid(row) && mask.value(row);
    let op = |row: usize| match ops[row] {
        Op::UpdateBefore if ops.get(row + 1) == Some(&Op::UpdateAfter) && !kept(row + 1) => Op::Delete,
        Op::UpdateAfter if row > 0 && ops[row - 1] == Op::UpdateBefore && !kept(row - 1) => Op::Insert,
        op => op,
    };
    (0..ops.len()).filter(|row| kept(*row)).map(op).collect()
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}
