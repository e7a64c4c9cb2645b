//! UPDATE … FROM, DELETE … USING, UPDATE OR INSERT, ON CONFLICT: what is done to the rows that match an event.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;
use datafusion_common::hash_utils::{RandomState, create_hashes};
use datafusion_physical_expr::PhysicalExpr;

use super::{Action, report_refused};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBatch;
use crate::operators::Output;
use crate::operators::expressions::{Narrowed, mask, reason, values};
use crate::operators::lookup::{Found, Lookup, LookupError, LookupPlan};
use crate::operators::row_errors::report;
use crate::tables::{RowId, TableWriter};

/// How rows that match are found, and what becomes of them.
#[derive(Debug, Clone)]
pub struct MatchedPlan {
    /// How they are found. An update reads all columns of the table, in order.
    pub lookup: LookupPlan,
    /// What becomes of them.
    pub action: MatchedAction,
    /// Whether an event that matches no row becomes one. Its columns are the table's, then.
    pub inserts: bool,
    /// Whether no event can meet what another one with other probe values did: events with different ones are written together.
    pub independent: bool,
}

/// What becomes of a row that matches.
#[derive(Debug, Clone)]
pub enum MatchedAction {
    /// It gets new values.
    Update {
        /// The table's columns that change, and their values over [`LookupPlan::joined`].
        set: Vec<(usize, Arc<dyn PhysicalExpr>)>,
        /// Only where this holds.
        when: Option<Arc<dyn PhysicalExpr>>,
    },
    /// It goes.
    Delete,
    /// Nothing.
    Keep,
}

impl MatchedPlan {
    pub(super) fn name(&self) -> &'static str {
        match (&self.action, self.inserts) {
            (MatchedAction::Update { .. }, false) => "TableUpdate",
            (MatchedAction::Update { .. }, true) => "TableUpdateOrInsert",
            (MatchedAction::Delete, _) => "TableDelete",
            (MatchedAction::Keep, _) => "TableInsertIfMissing",
        }
    }

    pub(super) fn details(&self) -> Vec<String> {
        let mut details = self.lookup.details();
        if let MatchedAction::Update { set, .. } = &self.action {
            let schema = &self.lookup.table.def().schema;
            let set = set
                .iter()
                .map(|(column, value)| format!("{} = {value}", schema.field(*column).name()));
            details.push(format!("set {}", set.collect::<Vec<_>>().join(", ")));
        }
        if !self.independent {
            details.push("one event at a time".to_string());
        }
        details
    }

    pub(super) fn build(&self) -> Result<MatchedWrite> {
        let exprs: Vec<Arc<dyn PhysicalExpr>> = match &self.action {
            MatchedAction::Update { set, when } => {
                set.iter().map(|(_, value)| value.clone()).chain(when.clone()).collect()
            }
            _ => Vec::new(),
        };
        Ok(MatchedWrite {
            lookup: self.lookup.build()?,
            exprs: Narrowed::new(&exprs)?,
            hashes: RandomState::with_seed(0),
            plan: self.clone(),
        })
    }
}

pub(super) struct MatchedWrite {
    plan: MatchedPlan,
    lookup: Lookup,
    /// The values of SET, then the condition, over the columns they read.
    exprs: Narrowed,
    hashes: RandomState,
}

/// New values for rows.
struct Updates {
    ids: Vec<RowId>,
    rows: RecordBatch,
}

impl Action for MatchedWrite {
    fn write(&self, batch: &EventBatch, writer: &mut dyn TableWriter, out: &mut Output) -> Result<()> {
        let mut waiting = self.runs(batch)?;
        waiting.reverse();
        while let Some(part) = waiting.pop() {
            if !self.apply(&part, writer, out)? {
                let rows = part.num_rows();
                waiting.push(part.slice(rows / 2, rows - rows / 2));
                waiting.push(part.slice(0, rows / 2));
            }
        }
        Ok(())
    }
}

impl MatchedWrite {
    /// The batch in pieces of events that do not meet each other.
    fn runs(&self, batch: &EventBatch) -> Result<Vec<EventBatch>> {
        let rows = batch.num_rows();
        if !self.plan.independent {
            return Ok((0..rows).map(|row| batch.slice(row, 1)).collect());
        }
        let exprs = self.plan.lookup.equal.iter();
        let keys: Result<Vec<ArrayRef>, _> = exprs.map(|expr| values(expr, batch.columns())).collect();
        // A value that cannot be computed is found, and reported, when its event stands alone.
        let Ok(keys) = keys else {
            return Ok((0..rows).map(|row| batch.slice(row, 1)).collect());
        };
        let mut hashes = vec![0; rows];
        create_hashes(&keys, &self.hashes, &mut hashes)?;
        let mut runs = Vec::new();
        let mut seen = HashSet::new();
        let mut from = 0;
        for (row, hash) in hashes.into_iter().enumerate() {
            if !seen.insert(hash) {
                runs.push(batch.slice(from, row - from));
                seen.clear();
                seen.insert(hash);
                from = row;
            }
        }
        if from < rows {
            runs.push(batch.slice(from, rows - from));
        }
        Ok(runs)
    }

    /// Does what is to be done for events that do not meet each other; `false` if nothing was done because one of them is bad.
    fn apply(&self, part: &EventBatch, writer: &mut dyn TableWriter, out: &mut Output) -> Result<bool> {
        let alone = part.num_rows() <= 1;
        let evaluated = self
            .lookup
            .find(part.columns(), &mut |access, probe, columns| {
                writer.lookup(access, probe, columns)
            })
            .and_then(|found| Ok((self.updates(part, &found)?, found)));
        let (updates, found) = match evaluated {
            Ok(evaluated) => evaluated,
            Err(LookupError::Table(error)) => return Err(error),
            Err(LookupError::Evaluate(error)) if alone => {
                report(part, 0, ErrorKind::Evaluate, &reason(&error), out);
                return Ok(true);
            }
            Err(LookupError::Evaluate(_)) => return Ok(false),
        };
        match (&self.plan.action, updates) {
            (MatchedAction::Update { .. }, Some(updates)) => {
                let refused = match self.null_in(&updates.rows) {
                    Some(message) => Some((ErrorKind::Constraint, message)),
                    None => {
                        let schema = self.plan.lookup.table.def().schema.clone();
                        let rows = RecordBatch::try_new(schema, updates.rows.columns().to_vec())?;
                        let refused = writer.update(&updates.ids, &rows)?;
                        refused.map(|error| (error.kind, error.message))
                    }
                };
                match refused {
                    Some((kind, message)) if alone => report(part, 0, kind, &message, out),
                    Some(_) => return Ok(false),
                    None => {}
                }
            }
            (MatchedAction::Delete, _) => writer.delete(&found.ids)?,
            _ => {}
        }
        if self.plan.inserts {
            self.insert(part, &found, writer, out)?;
        }
        Ok(true)
    }

    /// Events that found nothing become rows.
    fn insert(&self, part: &EventBatch, found: &Found, writer: &mut dyn TableWriter, out: &mut Output) -> Result<()> {
        let mut missing = vec![true; part.num_rows()];
        found.probes.iter().for_each(|probe| missing[*probe as usize] = false);
        let missing = (0..part.num_rows() as u32).filter(|row| missing[*row as usize]);
        let missing = part.take(missing.collect())?;
        if !missing.is_empty() {
            let refused = writer.insert(missing.columns())?;
            report_refused(&missing, refused, out);
        }
        Ok(())
    }

    /// The rows with their new values.
    fn updates(&self, part: &EventBatch, found: &Found) -> Result<Option<Updates>, LookupError> {
        let MatchedAction::Update { set, when } = &self.plan.action else {
            return Ok(None);
        };
        let pairs = self
            .lookup
            .pairs(part.columns(), &found.rows, &found.probes, None, &self.exprs.columns)?;
        let mut columns = found.rows.columns().to_vec();
        for ((column, _), value) in set.iter().zip(&self.exprs.exprs) {
            columns[*column] = values(value, &pairs)?;
        }
        // Whether a NULL may stand where it does is looked at afterwards.
        let fields = found.rows.schema();
        let fields = fields
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(found.probes.len()));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let (Some(_), Some(condition)) = (when, self.exprs.exprs.last()) else {
            let ids = found.ids.clone();
            return Ok(Some(Updates { ids, rows }));
        };
        let kept = mask(condition, &pairs)?;
        let ids = (0..kept.len()).filter(|row| kept.value(*row)).map(|row| found.ids[row]);
        Ok(Some(Updates {
            ids: ids.collect(),
            rows: filter_record_batch(&rows, &kept)?,
        }))
    }

    /// What is wrong if a column that is NOT NULL would be NULL.
    fn null_in(&self, rows: &RecordBatch) -> Option<String> {
        let schema = &self.plan.lookup.table.def().schema;
        let fields = schema.fields().iter().zip(rows.columns());
        let mut wrong = fields.filter(|(field, column)| !field.is_nullable() && column.null_count() > 0);
        let (field, _) = wrong.next()?;
        Some(format!(
            "column {} is NOT NULL but the update sets it to NULL",
            field.name()
        ))
    }
}

impl From<LookupError> for Error {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Table(error) => error,
            LookupError::Evaluate(error) => error.into(),
        }
    }
}
