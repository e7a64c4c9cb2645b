//! A changelog's updates and deletes, applied by primary key.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::{Action, report_refused};
use crate::catalog::tables::TableDef;
use crate::error::Result;
use crate::event::{EventBatch, Op};
use crate::operators::Output;
use crate::tables::TableWriter;

/// Applies changes: `+I` and `+U` put the row in the place of its key, `-D` removes it, and so does `-U` if the `+U` that follows
/// has another key.
pub struct Changes {
    key: Vec<usize>,
    fields: Vec<SortField>,
}

/// What neighbouring changes have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Remove,
    Skip,
}

impl Changes {
    /// Of a table with a primary key.
    pub fn new(def: &TableDef) -> Self {
        let field = |&column: &usize| SortField::new(def.schema.field(column).data_type().clone());
        Changes {
            fields: def.primary_key.iter().map(field).collect(),
            key: def.primary_key.clone(),
        }
    }

    fn keys(&self, columns: &RecordBatch) -> Vec<ArrayRef> {
        self.key.iter().map(|&column| columns.column(column).clone()).collect()
    }

    fn kinds(&self, batch: &EventBatch) -> Result<Vec<Kind>> {
        let Some(ops) = batch.ops() else {
            return Ok(vec![Kind::Put; batch.num_rows()]);
        };
        let converter = RowConverter::new(self.fields.clone())?;
        let keys = converter.convert_columns(&self.keys(batch.columns()))?;
        let mut before: Option<OwnedRow> = None;
        let mut kinds = Vec::with_capacity(ops.len());
        for (row, op) in ops.iter().enumerate() {
            let kind = match op {
                Op::Insert => Kind::Put,
                Op::Delete => Kind::Remove,
                // Removed when it turns out that the row moves to another key.
                Op::UpdateBefore => Kind::Skip,
                Op::UpdateAfter => {
                    if before.take().is_some_and(|before| before.row() != keys.row(row)) {
                        kinds[row - 1] = Kind::Remove;
                    }
                    Kind::Put
                }
            };
            kinds.push(kind);
            before = (*op == Op::UpdateBefore).then(|| keys.row(row).owned());
        }
        Ok(kinds)
    }
}

impl Action for Changes {
    fn write(&self, batch: &EventBatch, writer: &mut dyn TableWriter, out: &mut Output) -> Result<()> {
        let kinds = self.kinds(batch)?;
        let mut from = 0;
        while from < kinds.len() {
            let kind = kinds[from];
            let rows = kinds[from..].iter().take_while(|other| **other == kind).count();
            let part = batch.slice(from, rows);
            match kind {
                Kind::Put => {
                    let refused = writer.upsert(part.columns())?;
                    report_refused(&part, refused, out);
                }
                Kind::Remove => writer.delete_keys(&self.keys(part.columns()), rows)?,
                Kind::Skip => {}
            }
            from += rows;
        }
        Ok(())
    }
}
