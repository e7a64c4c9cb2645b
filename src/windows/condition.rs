//! A condition over the events of a window, kept up as they come and leave.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use super::gather::batch_of;
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};
use crate::operators::aggregate_plan::{AggregatePlan, Built};
use crate::operators::state::{StateReader, StateWriter};

/// A condition as planned.
#[derive(Debug, Clone)]
pub struct ConditionPlan {
    /// As written.
    pub text: String,
    /// What its aggregates read, over the columns of the events.
    pub inputs: Vec<Arc<dyn PhysicalExpr>>,
    /// Its aggregates over `inputs`, if it has any.
    pub aggregate: Option<AggregatePlan>,
    /// What the condition reads.
    pub operands: Vec<Operand>,
    /// The columns of `operands`.
    pub operand_schema: SchemaRef,
    /// The condition over them.
    pub condition: Arc<dyn PhysicalExpr>,
    /// The columns of the events.
    pub schema: SchemaRef,
}

/// A value that a condition reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// The value of an aggregate over the window.
    Aggregate(usize),
    /// A column of the oldest event.
    First(usize),
    /// A column of the newest event.
    Last(usize),
    /// The time of the oldest event.
    FirstTime,
    /// The time of the newest event.
    LastTime,
}

/// An event: a row of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The batch.
    pub batch: &'a EventBatch,
    /// Which of its rows.
    pub row: usize,
}

/// The aggregates of a condition over the events that are in the window.
///
/// *State.* That of the aggregates. *Cost.* O(1) an event in or out, and one evaluation of the condition on one row.
pub struct Watched {
    plan: ConditionPlan,
    /// Its arguments are columns after those of the events.
    aggregates: Option<Built>,
    wide: SchemaRef,
}

impl ConditionPlan {
    /// Over no events.
    pub fn build(&self) -> Result<Watched> {
        let own = self.schema.fields().len();
        let mut aggregate = self.aggregate.clone();
        for column in aggregate.iter_mut().flat_map(|plan| &mut plan.aggregates) {
            column.arguments.iter_mut().for_each(|argument| *argument += own);
            column.filter.iter_mut().for_each(|filter| *filter += own);
        }
        let inputs = aggregate.iter().flat_map(|plan| plan.input.fields().iter()).enumerate();
        let inputs =
            inputs.map(|(index, field)| Field::new(format!("__input:{index}"), field.data_type().clone(), true));
        let events = self.schema.fields().iter().map(|field| field.as_ref().clone());
        Ok(Watched {
            wide: Arc::new(Schema::new(events.chain(inputs).collect::<Vec<_>>())),
            aggregates: aggregate.as_ref().map(Built::new).transpose()?,
            plan: self.clone(),
        })
    }
}

impl Watched {
    /// The events with what the aggregates read as further columns.
    pub fn widen(&self, batch: &EventBatch) -> Result<EventBatch> {
        let mut columns = batch.columns().columns().to_vec();
        for input in &self.plan.inputs {
            columns.push(input.evaluate(batch.columns())?.into_array(batch.num_rows())?);
        }
        let typed = columns.iter().zip(self.wide.fields());
        let columns = typed
            .map(|(column, field)| match column.data_type() == field.data_type() {
                true => Ok(column.clone()),
                false => Ok(arrow::compute::cast(column, field.data_type())?),
            })
            .collect::<Result<_>>()?;
        Ok(batch.with_columns(batch_of(self.wide.clone(), columns, batch.num_rows())?))
    }

    /// The events without those columns.
    pub fn narrow(&self, batch: &EventBatch) -> Result<EventBatch> {
        let own: Vec<usize> = (0..self.plan.schema.fields().len()).collect();
        Ok(batch.with_columns(batch.columns().project(&own)?))
    }

    /// Takes an event of [`Watched::widen`] in.
    pub fn add(&mut self, event: Row) -> Result<()> {
        self.change(event, None)
    }

    /// Lets an event out.
    pub fn retract(&mut self, event: Row) -> Result<()> {
        self.change(event, Some(&[Op::Delete]))
    }

    fn change(&mut self, event: Row, ops: Option<&[Op]>) -> Result<()> {
        match &mut self.aggregates {
            Some(aggregates) => aggregates.update(&[0], ops, &event.batch.slice(event.row, 1)),
            None => Ok(()),
        }
    }

    /// Lets all events out.
    pub fn clear(&mut self) {
        self.aggregates = self.aggregates.as_ref().map(Built::fresh);
    }

    /// Whether the condition holds for the events that are in, of which these are the oldest and the newest. NULL is no.
    pub fn holds(&mut self, first: Row, last: Row) -> Result<bool> {
        let values = match &mut self.aggregates {
            Some(aggregates) => aggregates.values(&[0])?,
            None => Vec::new(),
        };
        let time = |time: Micros| -> ArrayRef {
            let times = TimestampMicrosecondArray::from(vec![time]);
            match &crate::catalog::types::TIMESTAMP {
                DataType::Timestamp(_, zone) => Arc::new(times.with_timezone_opt(zone.clone())),
                _ => Arc::new(times),
            }
        };
        let cell = |event: Row, column: usize| event.batch.column(column).slice(event.row, 1);
        let operands = self.plan.operands.iter().map(|operand| match *operand {
            Operand::Aggregate(number) => values[number].clone(),
            Operand::First(column) => cell(first, column),
            Operand::Last(column) => cell(last, column),
            Operand::FirstTime => time(first.batch.time(first.row)),
            Operand::LastTime => time(last.batch.time(last.row)),
        });
        let row = batch_of(self.plan.operand_schema.clone(), operands.collect(), 1)?;
        let holds = self.plan.condition.evaluate(&row)?.into_array(1)?;
        let holds = holds.as_boolean();
        Ok(holds.is_valid(0) && holds.value(0))
    }

    /// Writes the aggregates.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.aggregates
            .iter()
            .try_for_each(|aggregates| aggregates.snapshot(state))
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.aggregates
            .iter_mut()
            .try_for_each(|aggregates| aggregates.restore(state))
    }
}
