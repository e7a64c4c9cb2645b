//! What an aggregation computes, common to all its forms: running, at the close of a window, in slices.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::aggregates::{Aggregate, AggregateSpec, Changes, Failure, GroupId, Retraction, build};
use super::batch_aggregate::BatchAggregate;
use super::changes_aggregate::ChangesAggregate;

use super::running_aggregate::{RunningAggregate, filter_mask};
use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output};
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{EventBatch, Op, pretty};
use crate::windows::gather::batch_of;

/// Keys and aggregates over the columns of the input. The output has the keys, then the aggregates.
#[derive(Debug, Clone)]
pub struct AggregatePlan {
    /// When values go out.
    pub form: Form,
    /// The columns that are grouped by.
    pub keys: Vec<usize>,
    /// Those of them that tell groups of one window apart: not its bounds, which may change while it is open.
    pub window_keys: Vec<usize>,
    /// What is computed of each group.
    pub aggregates: Vec<AggregateColumn>,
    /// How rows leave groups.
    pub retraction: Retraction,
    /// Whether rows that leave give output.
    pub expired: bool,
    /// Whether rows that enter give output.
    pub current: bool,
    /// Whether a row that is deleted gives its group's values after it, as an event: the input is a changelog.
    pub deletes: bool,
    /// Whether rows may leave, so that it is worth knowing how many there are.
    pub counts_rows: bool,
    /// The columns of the input.
    pub input: SchemaRef,
    /// The columns of the output.
    pub schema: SchemaRef,
}

/// When an aggregation gives its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With every event.
    Running,
    /// With every event, as the row of its group that takes the place of the one before; as a deletion when the group is empty.
    Latest,
    /// Once for each emission of a batch window.
    Emission,
    /// With every event of a batch window, and once more for each emission: the window marks its rows.
    Changes,
}

/// One aggregate of a query.
#[derive(Debug, Clone)]
pub struct AggregateColumn {
    /// As one would write it.
    pub text: String,
    /// The name of its column.
    pub name: String,
    /// What it is.
    pub spec: AggregateSpec,
    /// The columns of its arguments.
    pub arguments: Vec<usize>,
    /// The column of its FILTER.
    pub filter: Option<usize>,
}

impl AggregatePlan {
    /// Whether an aggregate goes on when its window has closed.
    pub fn remembers(&self) -> bool {
        self.aggregates.iter().any(|column| column.spec.outlives_windows())
    }

    /// The types of the keys.
    pub fn key_types(&self) -> Vec<DataType> {
        let types = self.keys.iter().map(|&key| self.input.field(key).data_type().clone());
        types.collect()
    }
}

impl OperatorPlan for AggregatePlan {
    fn name(&self) -> &'static str {
        match self.form {
            Form::Running | Form::Latest => "RunningAggregate",
            Form::Emission | Form::Changes => "WindowAggregate",
        }
    }

    fn details(&self) -> Vec<String> {
        let keys: Vec<&str> = self
            .keys
            .iter()
            .map(|&key| self.input.field(key).name().as_str())
            .collect();
        let aggregates: Vec<&str> = self
            .aggregates
            .iter()
            .map(|aggregate| aggregate.text.as_str())
            .collect();
        let keys = (!keys.is_empty()).then(|| format!("by {}", keys.join(", ")));
        let early = (self.form == Form::Changes).then(|| "with each event".to_string());
        keys.into_iter().chain([aggregates.join(", ")]).chain(early).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(match self.form {
            Form::Running | Form::Latest => Box::new(RunningAggregate::new(self.clone())?),
            Form::Emission => Box::new(BatchAggregate::new(self.clone())?),
            Form::Changes => Box::new(ChangesAggregate::new(self.clone())?),
        })
    }
}

/// The running aggregates of a plan.
pub struct Built {
    columns: Vec<AggregateColumn>,
    aggregates: Vec<Box<dyn Aggregate>>,
}

impl Built {
    /// Fresh ones.
    pub fn new(plan: &AggregatePlan) -> Result<Self> {
        Built::of(plan.aggregates.clone(), plan.retraction)
    }

    /// Fresh ones of some columns.
    pub fn of(columns: Vec<AggregateColumn>, retraction: Retraction) -> Result<Self> {
        let aggregates = columns
            .iter()
            .map(|column| build(&column.spec, retraction).map_err(Error::failed));
        Ok(Built {
            aggregates: aggregates.collect::<Result<_>>()?,
            columns,
        })
    }

    /// As [`Built::running`] of rows whose columns are the arguments, one for each aggregate.
    pub fn running_columns(&mut self, groups: &[GroupId], columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let aggregates = self.aggregates.iter_mut().zip(columns);
        let running = aggregates.map(|(aggregate, column)| {
            aggregate.running(&Changes {
                groups,
                ops: None,
                arguments: std::slice::from_ref(column),
                filter: None,
            })
        });
        running.collect()
    }

    /// Takes rows.
    pub fn update(&mut self, groups: &[GroupId], ops: Option<&[Op]>, batch: &EventBatch) -> Result<()> {
        self.each(groups, ops, batch, |aggregate, changes| aggregate.update(changes))?;
        Ok(())
    }

    /// Takes rows and gives the values of each row's group after it.
    pub fn running(&mut self, groups: &[GroupId], ops: Option<&[Op]>, batch: &EventBatch) -> Result<Vec<ArrayRef>> {
        self.each(groups, ops, batch, |aggregate, changes| aggregate.running(changes))
    }

    fn each<T>(
        &mut self,
        groups: &[GroupId],
        ops: Option<&[Op]>,
        batch: &EventBatch,
        mut call: impl FnMut(&mut dyn Aggregate, &Changes) -> Result<T>,
    ) -> Result<Vec<T>> {
        let columns = self.columns.iter().zip(&mut self.aggregates);
        let called = columns.map(|(column, aggregate)| {
            let arguments: Vec<ArrayRef> = column
                .arguments
                .iter()
                .map(|&index| batch.column(index).clone())
                .collect();
            let filter = filter_mask(batch, column.filter);
            let changes = Changes {
                groups,
                ops,
                arguments: &arguments,
                filter: filter.as_ref(),
            };
            call(aggregate.as_mut(), &changes)
        });
        called.collect()
    }

    /// The values of groups.
    pub fn values(&mut self, groups: &[GroupId]) -> Result<Vec<ArrayRef>> {
        self.aggregates
            .iter_mut()
            .map(|aggregate| aggregate.values(groups))
            .collect()
    }

    /// The rows of a result without those of which a value could not be given (a sum that overflows): they are reported.
    pub fn checked(&mut self, result: EventBatch, out: &mut Output) -> Result<EventBatch> {
        let mut failures: Vec<Failure> = Vec::new();
        for (column, aggregate) in self.columns.iter().zip(&mut self.aggregates) {
            failures.extend(aggregate.failures().into_iter().map(|failure| Failure {
                message: format!("{}: {}", column.text, failure.message),
                ..failure
            }));
        }
        if failures.is_empty() {
            return Ok(result);
        }
        let written = self.as_written(result.columns())?;
        for failure in &failures {
            out.error(RowError {
                kind: ErrorKind::Evaluate,
                message: failure.message.clone(),
                event: pretty::row(&written, failure.row),
                line: None,
                at: out.now(),
            });
        }
        let bad: BTreeSet<usize> = failures.into_iter().map(|failure| failure.row).collect();
        let good = (0..result.num_rows()).filter(|row| !bad.contains(row));
        result.take(good.map(|row| row as u32).collect())
    }

    /// A result with its aggregates called what they were written as.
    fn as_written(&self, result: &RecordBatch) -> Result<RecordBatch> {
        let schema = result.schema();
        let fields = schema.fields().iter().map(|field| {
            let column = self.columns.iter().find(|column| column.name == *field.name());
            match column {
                Some(column) => Arc::new(field.as_ref().clone().with_name(&column.text)),
                None => field.clone(),
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        batch_of(schema, result.columns().to_vec(), result.num_rows())
    }

    /// Merges groups of others into these.
    pub fn merge(&mut self, other: &Built, from: &[GroupId], into: &[GroupId]) -> Result<()> {
        let pairs = self.aggregates.iter_mut().zip(&other.aggregates);
        for (aggregate, other) in pairs {
            aggregate.merge(other.as_ref(), from, into)?;
        }
        Ok(())
    }

    /// The same aggregates, empty.
    pub fn fresh(&self) -> Self {
        Built {
            columns: self.columns.clone(),
            aggregates: self.aggregates.iter().map(|aggregate| aggregate.fresh()).collect(),
        }
    }

    /// Empties groups.
    pub fn clear(&mut self, groups: &[GroupId]) {
        for aggregate in &mut self.aggregates {
            aggregate.clear(groups);
        }
    }

    /// Whether some go on when their window's rows have left.
    pub fn outlive_windows(&self) -> bool {
        self.columns.iter().any(|column| column.spec.outlives_windows())
    }

    /// Empties groups but for what outlives windows.
    pub fn clear_windows(&mut self, groups: &[GroupId]) {
        for (column, aggregate) in self.columns.iter().zip(&mut self.aggregates) {
            if !column.spec.outlives_windows() {
                aggregate.clear(groups);
            }
        }
    }

    /// Writes the state of all.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.aggregates
            .iter()
            .try_for_each(|aggregate| aggregate.snapshot(state))
    }

    /// As [`Built::snapshot`], with what is large left for [`Built::continue_snapshot`].
    pub fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.aggregates
            .iter_mut()
            .try_for_each(|aggregate| aggregate.begin_snapshot(state))
    }

    /// Copies about so many bytes more of what a snapshot has begun with; how many it were. None: it is complete.
    pub fn continue_snapshot(&mut self, bytes: usize) -> usize {
        let mut copied = 0;
        for aggregate in &mut self.aggregates {
            if copied < bytes {
                copied += aggregate.continue_snapshot(bytes - copied);
            }
        }
        copied
    }

    /// Reads it back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.aggregates
            .iter_mut()
            .try_for_each(|aggregate| aggregate.restore(state))
    }
}
