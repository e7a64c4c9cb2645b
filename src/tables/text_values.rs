//! Values that a database keeps as text: the same texts as in JSON, and back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, Schema};

use crate::error::{Error, Result};
use crate::formats::columns::{Column, finish, json_value, json_writer, scalar_writer};

/// The values of a column as texts; NULL is `None`. Nested values are JSON, others what stands in JSON's strings and numbers.
pub(super) fn texts(field: &FieldRef, values: &ArrayRef) -> Result<Vec<Option<String>>> {
    let cells = scalar_writer::Cells::new(field, values)?;
    let text = |row: usize| {
        if values.is_null(row) {
            return Ok(None);
        }
        let mut out = Vec::new();
        if !scalar_writer::write(&mut out, &cells.values, row) {
            json_writer::write(&mut out, &cells, row);
        }
        String::from_utf8(out).map(Some).map_err(Error::failed)
    };
    (0..values.len()).map(text).collect()
}

/// Reads texts back, one after the other.
#[derive(Debug)]
pub(super) struct FromTexts {
    column: Column,
    field: FieldRef,
}

impl FromTexts {
    /// For a column that may hold NULLs whatever is declared.
    pub fn new(field: &FieldRef) -> Result<Self> {
        let field: FieldRef = Arc::new(field.as_ref().clone().with_nullable(true));
        Ok(FromTexts {
            column: Column::new(field.clone()).map_err(Error::failed)?,
            field,
        })
    }

    /// The next value.
    pub fn push(&mut self, text: Option<&str>) -> Result<()> {
        let pushed = match text {
            None => self.column.push_null(),
            Some(text) if self.field.data_type().is_nested() => json_value::push(&mut self.column, text),
            // Texts of scalars need no escapes.
            Some(text) => json_value::push(&mut self.column, &format!("\"{text}\"")),
        };
        pushed.map_err(|why| Error::failed(why.message(self.field.name())))
    }

    /// All values.
    pub fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        let schema = Arc::new(Schema::new(vec![self.field.clone()]));
        let batch: RecordBatch = finish(std::slice::from_mut(&mut self.column), &schema, rows)?;
        Ok(batch.column(0).clone())
    }
}
