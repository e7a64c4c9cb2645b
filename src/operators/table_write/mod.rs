//! Writing to a table: INSERT, UPSERT, the changes of a changelog, and what is done to the rows that match an event.

mod apart;
mod changelog;
mod matched;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::row_errors::{report, report_all};
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventBatch, Micros};
use crate::tables::slot::TableSlot;
use crate::tables::{Refused, Table, TableWriter};

pub use matched::{MatchedAction, MatchedPlan};

/// Writes each batch of events to a table, in one transaction.
///
/// *Semantics.* Events are written in order, each as if it stood alone: it finds what those before it wrote. What is refused (a key
/// that is there already, a NULL in a key, an update that would make two keys collide) is reported for its event and changes
/// nothing; if the table cannot be reached, that is reported for all events of the batch, and none of it is written.
///
/// *Ops.* Inserts; with [`TableAction::Changes`] any. *Gives* nothing. *State.* The table's is its own. *Cost.* One
/// transaction a batch; while somebody wants to hear of each change, one more for each key that comes again (`apart`).
pub struct TableWrite {
    plan: TableWritePlan,
    action: Box<dyn Action>,
}

/// What a [`TableWrite`] does.
#[derive(Debug, Clone)]
pub struct TableWritePlan {
    /// The table.
    pub table: Arc<TableSlot>,
    /// What it does with an event.
    pub action: TableAction,
}

/// What is done with an event.
#[derive(Debug, Clone)]
pub enum TableAction {
    /// It is a row of the table, and must be a new one.
    Insert,
    /// It is a row of the table, and takes the place of the one with its key.
    Upsert,
    /// It is a change of the row with its key.
    Changes,
    /// Rows that match it are updated or deleted; if there are none, it may become one.
    Matched(Box<MatchedPlan>),
}

/// Does it, for a batch.
pub(super) trait Action: Send {
    /// *Errors.* Only those of the table; those of events are reported to `out`.
    fn write(&self, batch: &EventBatch, writer: &mut dyn TableWriter, out: &mut Output) -> Result<()>;
}

impl OperatorPlan for TableWritePlan {
    fn name(&self) -> &'static str {
        match &self.action {
            TableAction::Insert => "TableInsert",
            TableAction::Upsert => "TableUpsert",
            TableAction::Changes => "TableChanges",
            TableAction::Matched(matched) => matched.name(),
        }
    }

    fn details(&self) -> Vec<String> {
        match &self.action {
            TableAction::Matched(matched) => matched.details(),
            _ => vec![format!(
                "table {} ({})",
                self.table.def().name,
                self.table.def().backend
            )],
        }
    }

    fn splits_by_key(&self) -> bool {
        false
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(TableWrite {
            plan: self.clone(),
            action: self.action()?,
        }))
    }
}

impl TableWritePlan {
    /// Does it once, for rows that a statement on demand gives: all of it or, if a row is refused, nothing. *Errors.* What was
    /// refused first.
    pub fn apply(&self, batch: &EventBatch) -> Result<()> {
        let table = self.table.table()?;
        let action = self.action()?;
        let mut writer = table.write()?;
        let mut out = Output::new(0);
        action.write(batch, writer.as_mut(), &mut out)?;
        match out.take().errors.into_iter().next() {
            Some(error) => Err(Error::failed(error.message)),
            None => writer.commit(),
        }
    }

    /// The columns that rows must have: the table's, where they become its rows.
    pub fn rows_schema(&self) -> Option<SchemaRef> {
        match &self.action {
            TableAction::Matched(matched) if !matched.inserts => None,
            _ => Some(self.table.def().schema.clone()),
        }
    }

    fn action(&self) -> Result<Box<dyn Action>> {
        Ok(match &self.action {
            TableAction::Insert => Box::new(Insert),
            TableAction::Upsert => Box::new(Upsert),
            TableAction::Changes => Box::new(changelog::Changes::new(self.table.def())),
            TableAction::Matched(matched) => Box::new(matched.build()?),
        })
    }
}

impl TableWrite {
    /// Writes a batch in one transaction.
    fn write(&self, table: &dyn Table, batch: &EventBatch, out: &mut Output) {
        let mut errors = Output::new(out.now());
        let written = table.write().and_then(|mut writer| {
            self.action.write(batch, writer.as_mut(), &mut errors)?;
            writer.commit()
        });
        match written {
            Ok(()) => errors.take().errors.into_iter().for_each(|error| out.error(error)),
            Err(error) => report_all(batch, ErrorKind::Table, &error.to_string(), out),
        }
    }
}

impl Operator for TableWrite {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let table = self.plan.table.table()?.clone();
        if !table.tells_each_change() {
            self.write(table.as_ref(), &batch, out);
            return Ok(());
        }
        let parts = match &self.plan.action {
            TableAction::Matched(_) => apart::each(&batch),
            _ => apart::by_key(&batch, &table.def().primary_key)?,
        };
        parts.iter().for_each(|part| self.write(table.as_ref(), part, out));
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }
}

struct Insert;

impl Action for Insert {
    fn write(&self, batch: &EventBatch, writer: &mut dyn TableWriter, out: &mut Output) -> Result<()> {
        let refused = writer.insert(batch.columns())?;
        report_refused(batch, refused, out);
        Ok(())
    }
}

struct Upsert;

impl Action for Upsert {
    fn write(&self, batch: &EventBatch, writer: &mut dyn TableWriter, out: &mut Output) -> Result<()> {
        let refused = writer.upsert(batch.columns())?;
        report_refused(batch, refused, out);
        Ok(())
    }
}

pub(super) fn report_refused(batch: &EventBatch, refused: Refused, out: &mut Output) {
    for (row, error) in refused {
        report(batch, row, error.kind, &error.message, out);
    }
}
