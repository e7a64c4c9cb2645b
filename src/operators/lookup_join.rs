//! Events joined with a table's rows as they are now.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::lookup::{Found, Lookup, LookupError, LookupPlan, events_at_a_time};
use super::row_errors::{isolate, report_all};
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::{ErrorKind, Result};
use crate::event::{EventBatch, Micros, Ops};

/// Joins each event with the rows that its lookup finds.
///
/// *Semantics.* Only events trigger: what a table changes joins nothing. Rows come in the order of the events, those of one event
/// in the table's order. With [`LookupKind::Outer`] an event that finds nothing goes on with NULLs. A joined row has the event's
/// time. An event on which the condition fails is reported and left out; if the table's backend cannot be reached, all events
/// of the batch are.
///
/// *Ops.* Any: each joined row has its event's, found in the table as it is then. *State.* None, the table's is its own.
/// *Cost.* One lookup a batch; O(1) an event with a fitting index, and the rows found.
pub struct LookupJoin {
    plan: LookupJoinPlan,
    lookup: Lookup,
}

/// What a [`LookupJoin`] does.
#[derive(Debug, Clone)]
pub struct LookupJoinPlan {
    /// How rows are found.
    pub lookup: LookupPlan,
    /// What becomes of the events.
    pub kind: LookupKind,
    /// The output's columns: indices into [`LookupPlan::joined`]; with [`LookupKind::Mark`] one past these is the mark.
    pub output: Vec<usize>,
    /// The schema of the output.
    pub schema: SchemaRef,
}

/// What becomes of events by what they find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupKind {
    /// One row for each row found.
    Inner,
    /// The same, and one with NULLs for an event that finds nothing.
    Outer,
    /// The event itself, if it finds anything (`EXISTS`, `IN`).
    Semi,
    /// The event itself, if it finds nothing (`NOT EXISTS`).
    Anti,
    /// The event itself, with whether it found anything as a column.
    Mark,
}

impl OperatorPlan for LookupJoinPlan {
    fn name(&self) -> &'static str {
        match self.kind {
            LookupKind::Inner => "LookupJoin",
            LookupKind::Outer => "OuterLookupJoin",
            LookupKind::Semi => "LookupSemiJoin",
            LookupKind::Anti => "LookupAntiJoin",
            LookupKind::Mark => "LookupMarkJoin",
        }
    }

    fn details(&self) -> Vec<String> {
        self.lookup.details()
    }

    fn splits_by_key(&self) -> bool {
        false
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(LookupJoin {
            lookup: self.lookup.build()?,
            plan: self.clone(),
        }))
    }
}

impl Operator for LookupJoin {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let step = self.step()?;
        for from in (0..batch.num_rows()).step_by(step) {
            let part = batch.slice(from, step.min(batch.num_rows() - from));
            isolate(&part, out, &mut |part, out| match self.join(part) {
                Ok(joined) => {
                    out.emit(joined);
                    Ok(())
                }
                Err(LookupError::Evaluate(error)) => Err(error),
                Err(LookupError::Table(error)) => {
                    report_all(part, ErrorKind::Table, &error.to_string(), out);
                    Ok(())
                }
            });
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }
}

impl LookupJoin {
    /// How many events are joined at a time: all, unless each may meet the whole table.
    fn step(&self) -> Result<usize> {
        let access = &self.plan.lookup.access;
        if !access.is_scan() {
            return Ok(usize::MAX);
        }
        let rows = self.plan.lookup.table.table()?.len();
        Ok(rows.map_or(1, events_at_a_time))
    }

    fn join(&self, batch: &EventBatch) -> Result<EventBatch, LookupError> {
        match self.plan.kind {
            LookupKind::Inner | LookupKind::Outer => self.rows(batch),
            LookupKind::Semi | LookupKind::Anti | LookupKind::Mark => self.events(batch),
        }
    }

    /// A row for each pair.
    fn rows(&self, batch: &EventBatch) -> Result<EventBatch, LookupError> {
        let table = self.plan.lookup.table.table().map_err(LookupError::Table)?;
        let reader = &mut |access: &_, probe: &_, columns: &_| table.lookup(access, probe, columns);
        let found = self.lookup.find(batch.columns(), reader)?;
        let (events, rows) = match self.plan.kind {
            LookupKind::Outer => with_missing(&found, batch.num_rows()),
            _ => (UInt32Array::from(found.probes), None),
        };
        let width = self.plan.lookup.events.fields().len();
        let column = |&column: &usize| match (column < width, &rows) {
            (true, _) => take(batch.column(column), &events, None),
            (false, Some(rows)) => take(found.rows.column(column - width), rows, None),
            (false, None) => Ok(found.rows.column(column - width).clone()),
        };
        let columns = self.plan.output.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let columns = self.batch(columns, events.len())?;
        let times = batch.times().take(events.values());
        Ok(match batch.ops() {
            None => EventBatch::inserts(columns, times),
            Some(ops) => {
                let ops: Ops = events.values().iter().map(|event| ops[*event as usize]).collect();
                EventBatch::changes(columns, times, ops)
            }
        })
    }

    /// Events as they are, by whether they find anything.
    fn events(&self, batch: &EventBatch) -> Result<EventBatch, LookupError> {
        let contains = BooleanArray::from(self.lookup.contains(batch.columns())?);
        let joined = self.plan.lookup.joined().fields().len();
        let column = |&column: &usize| -> ArrayRef {
            match column < joined {
                true => batch.column(column).clone(),
                false => Arc::new(contains.clone()),
            }
        };
        let columns = self.plan.output.iter().map(column).collect();
        let all = batch.with_columns(self.batch(columns, batch.num_rows())?);
        let kept = match self.plan.kind {
            LookupKind::Mark => return Ok(all),
            LookupKind::Semi => contains,
            _ => arrow::compute::not(&contains)?,
        };
        all.filter(&kept).map_err(LookupError::Table)
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, LookupError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            self.plan.schema.clone(),
            columns,
            &options,
        )?)
    }
}

/// The events of the rows, those without rows in their places; and the rows, NULL for these. `None` when none is missing.
fn with_missing(found: &Found, events: usize) -> (UInt32Array, Option<UInt32Array>) {
    let mut all = Vec::with_capacity(found.probes.len().max(events));
    let mut rows: Vec<Option<u32>> = Vec::with_capacity(all.capacity());
    let mut next = 0;
    for event in 0..events as u32 {
        let from = next;
        while found.probes.get(next) == Some(&event) {
            all.push(event);
            rows.push(Some(next as u32));
            next += 1;
        }
        if from == next {
            all.push(event);
            rows.push(None);
        }
    }
    let missing = rows.iter().any(Option::is_none);
    (all.into(), missing.then(|| rows.into()))
}
