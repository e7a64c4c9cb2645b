//! The columns being built, a record at a time.

use super::mapping::{Faults, Mapping, Missing};
use crate::formats::DecodeSchema;
use crate::formats::columns::{Column, json_value};

/// The columns that are read, and how many rows they hold.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
    /// Where each column's value should be, for messages.
    paths: Vec<String>,
    missing: Missing,
    faults: Faults,
}

impl Rows {
    /// Empty ones for the columns that are read, or why a type cannot be.
    pub(super) fn new(schema: &DecodeSchema, mapping: &Mapping) -> Result<Self, String> {
        let decoded = schema.decoded();
        let columns = decoded.fields().iter().cloned().map(Column::new);
        let mut columns = columns.collect::<Result<Vec<_>, String>>()?;
        if let Some(dates) = &mapping.dates {
            columns.iter_mut().for_each(|column| column.set_dates(dates));
        }
        let paths = schema.wanted.iter().map(|&column| mapping.path(column).to_string());
        Ok(Rows {
            columns,
            rows: 0,
            paths: paths.collect(),
            missing: mapping.missing,
            faults: mapping.faults,
        })
    }

    /// Forgets what an unfinished row left.
    pub(super) fn roll_back(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
    }

    /// Forgets what the row holds of a column.
    pub(super) fn clear(&mut self, column: usize) {
        let column = &mut self.columns[column];
        if column.len() > self.rows {
            column.truncate(self.rows);
        }
    }

    /// Puts a value, given as its text, into a column of the row.
    pub(super) fn put(&mut self, column: usize, raw: &str) -> Result<(), String> {
        let column = &mut self.columns[column];
        let Err(reject) = json_value::push(column, raw) else {
            return Ok(());
        };
        if self.faults == Faults::Ignored {
            column.truncate(self.rows);
            if column.push_null().is_ok() {
                return Ok(());
            }
        }
        Err(reject.message(column.name()))
    }

    /// Ends a row: columns without a value get NULL, unless that is an error.
    pub(super) fn fill(&mut self) -> Result<(), String> {
        for (column, path) in self.columns.iter_mut().zip(&self.paths) {
            if column.len() > self.rows {
                continue;
            }
            if self.missing == Missing::Error {
                return Err(format!("column '{}': the record has no {path}", column.name()));
            }
            if column.push_null().is_err() {
                return Err(format!("column '{}' is NOT NULL but has no value", column.name()));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// What is done about a record that is not there.
    pub(super) fn missing(&self) -> Missing {
        self.missing
    }
}
