//! What the backends share about rows: [`RowCheck`], which every row passes before it is written, and [`project`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::catalog::tables::TableDef;
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{Micros, json_row, pretty};

/// Rows about to be written to a table, and the errors of those that may not be.
#[derive(Debug)]
pub(super) struct RowCheck<'a> {
    def: &'a TableDef,
    rows: &'a RecordBatch,
    now: Micros,
    /// Columns where NULL may not stand and does: index, and whether it is of the key.
    nulls: Vec<(usize, bool)>,
}

impl<'a> RowCheck<'a> {
    /// Of rows with as many columns as the table has.
    pub fn new(def: &'a TableDef, rows: &'a RecordBatch, now: Micros) -> Result<Self> {
        let fields = def.schema.fields();
        if rows.num_columns() != fields.len() {
            return Err(Error::failed(format!(
                "rows of {} columns for the table '{}' of {}",
                rows.num_columns(),
                def.name,
                fields.len()
            )));
        }
        let strict = fields.iter().enumerate().filter_map(|(column, field)| {
            let is_key = def.primary_key.contains(&column);
            let is_strict = is_key || !field.is_nullable();
            (is_strict && rows.column(column).null_count() > 0).then_some((column, is_key))
        });
        Ok(RowCheck {
            def,
            nulls: strict.collect(),
            rows,
            now,
        })
    }

    /// An error of a row. The message gets the table's name in front.
    pub fn error(&self, row: usize, message: impl std::fmt::Display) -> RowError {
        RowError {
            kind: ErrorKind::Constraint,
            message: format!("table {}: {message}", self.def.name),
            event: json_row::row(self.rows, row),
            line: None,
            at: self.now,
            attempts: 1,
        }
    }

    /// Why a row may not be in the table whatever else is in it.
    pub fn fault(&self, row: usize) -> Option<RowError> {
        let (column, is_key) = *self
            .nulls
            .iter()
            .find(|(column, _)| self.rows.column(*column).is_null(row))?;
        let name = self.def.schema.field(column).name();
        Some(match is_key {
            true => self.error(row, format!("column {name} is in the key and the row has NULL there")),
            false => self.error(row, format!("column {name} is NOT NULL but the row has NULL there")),
        })
    }

    /// The error of a row whose key is taken.
    pub fn taken(&self, row: usize) -> RowError {
        let key = match self.rows.project(&self.def.primary_key) {
            Ok(key) => pretty::row(&key, row),
            Err(error) => error.to_string(),
        };
        self.error(row, format!("there is a row with the key {key}"))
    }

    /// The error of a row that a database refused for a constraint: the key's, if there is one, else what it says.
    #[cfg(feature = "sqlite")]
    pub fn collision(&self, row: usize, why: &str) -> RowError {
        let is_key = !self.def.primary_key.is_empty() && why.to_ascii_lowercase().contains("unique");
        match is_key {
            true => self.taken(row),
            false => self.error(row, why),
        }
    }
}

/// A batch of some of a schema's columns.
pub(super) fn project(
    schema: &SchemaRef,
    columns: &[usize],
    values: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = match columns.iter().copied().eq(0..schema.fields().len()) {
        true => schema.clone(),
        false => Arc::new(schema.project(columns)?),
    };
    Ok(RecordBatch::try_new_with_options(schema, values, &options)?)
}
