//! What came out of a stream.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::cell::Cell;
use crate::catalog::faults;
use crate::error::RowError;
use crate::event::{EventBatch, Op};

/// All rows of a stream.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    pub(super) schema: SchemaRef,
    pub(super) rows: Vec<CapturedRow>,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct CapturedRow {
    pub(super) op: Op,
    pub(super) cells: Vec<Cell>,
}

impl Captured {
    /// The rows of some batches.
    pub(super) fn batches(schema: SchemaRef, batches: &[EventBatch]) -> Self {
        let rows = batches.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(|row| CapturedRow {
                op: batch.op(row),
                cells: batch
                    .columns()
                    .columns()
                    .iter()
                    .map(|column| Cell::new(column.as_ref(), row))
                    .collect(),
            })
        });
        Captured {
            schema,
            rows: rows.collect(),
        }
    }

    /// The run-time errors of a stream, with the columns of its fault stream.
    pub(super) fn errors(stream: &str, errors: &[RowError]) -> Self {
        let row = |error: &RowError| CapturedRow {
            op: Op::Insert,
            cells: vec![
                Cell::Text(error.event.clone()),
                Cell::Text(error.message.clone()),
                Cell::Text(error.kind.as_str().to_string()),
                Cell::Timestamp(error.at),
                Cell::Int(error.attempts.into()),
                Cell::Text(stream.to_string()),
            ],
        };
        Captured {
            schema: faults::schema(),
            rows: errors.iter().map(row).collect(),
        }
    }
}

/// What a callback has collected so far.
#[derive(Debug)]
pub(super) struct Collected<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Collected(self.0.clone())
    }
}

impl<T: Clone> Collected<T> {
    pub(super) fn new() -> Self {
        Collected(Arc::default())
    }

    pub(super) fn add(&self, item: T) {
        self.0.lock().push(item);
    }

    pub(super) fn items(&self) -> Vec<T> {
        self.0.lock().clone()
    }
}
