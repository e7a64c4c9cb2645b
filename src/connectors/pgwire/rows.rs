//! [`Rows`]: changes of a relation on their way into a batch.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use tokio::runtime::Runtime;
use tokio_postgres::types::Type;

use super::cells::Cells;
use super::{binary, text};
use crate::error::{Error, ErrorKind, RAW_LIMIT, Result, RowError};
use crate::event::{EventBatch, Micros, Op, Times};
use crate::formats::columns::{Column, finish};

/// The runtime of one source, on its own thread.
pub(crate) fn runtime() -> Result<Runtime> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Error::io("starting a source", error))
}

/// How a cell comes.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// As text.
    Text,
    /// In the binary form of that type.
    Binary(Type),
}

/// Where a column's cell stands in the rows that come, and how.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its number.
    pub cell: usize,
    /// Its form.
    pub form: Form,
}

/// Changes of a relation on their way into a batch.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Which of the columns are of the key.
    key: BTreeSet<usize>,
    ops: Vec<Op>,
    times: Vec<Micros>,
}

impl Rows {
    /// None yet, of a batch's schema and the columns of it that are the key.
    pub fn new(schema: SchemaRef, key: impl IntoIterator<Item = usize>) -> Result<Self> {
        let columns = schema.fields().iter().cloned().map(Column::new);
        Ok(Rows {
            columns: columns.collect::<Result<_, _>>().map_err(Error::failed)?,
            schema,
            key: key.into_iter().collect(),
            ops: Vec::new(),
            times: Vec::new(),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Adds a row whose cells stand in those places. *Errors.* Why a value does not fit; then there is nothing of the row.
    pub fn push(&mut self, cells: &Cells, places: &[Place], op: Op, time: Micros) -> Result<(), String> {
        // With a key the key says what is deleted; the rest need not be there.
        let by_key = op == Op::Delete && !self.key.is_empty();
        for (index, (column, place)) in self.columns.iter_mut().zip(places).enumerate() {
            let pushed = match (cells.get(place.cell), &place.form) {
                _ if by_key && !self.key.contains(&index) => {
                    column.push_filler();
                    continue;
                }
                (None, _) => column.push_null(),
                (Some(raw), Form::Binary(of)) => binary::push(column, of, raw),
                (Some(raw), Form::Text) => match std::str::from_utf8(raw) {
                    Ok(written) => text::push(column, written),
                    Err(_) => text::push(column, &String::from_utf8_lossy(raw)),
                },
            };
            if let Err(why) = pushed {
                let why = why.message(column.name());
                let rows = self.ops.len();
                self.columns.iter_mut().for_each(|column| column.truncate(rows));
                return Err(why);
            }
        }
        self.ops.push(op);
        self.times.push(time);
        Ok(())
    }

    /// The batch of all rows; `now` is the time of one without any.
    pub fn take(&mut self, now: Micros) -> Result<EventBatch> {
        let columns = finish(&mut self.columns, &self.schema, self.ops.len())?;
        let (ops, times) = (std::mem::take(&mut self.ops), std::mem::take(&mut self.times));
        let times = match times.first() {
            None => Times::Same(now),
            Some(first) if times.iter().all(|time| time == first) => Times::Same(*first),
            Some(_) => Times::Each(times.into()),
        };
        Ok(EventBatch::changes(columns, times, ops.into()))
    }
}

/// The error of a row that does not fit.
pub(crate) fn bad_row(cells: &Cells, why: String, at: Micros) -> RowError {
    let cell = |index| match cells.get(index) {
        Some(raw) => String::from_utf8_lossy(raw).into_owned(),
        None => "NULL".to_string(),
    };
    let mut event = (0..cells.len()).map(cell).collect::<Vec<_>>().join("\t");
    event.truncate(event.floor_char_boundary(RAW_LIMIT));
    RowError {
        kind: ErrorKind::Decode,
        message: why,
        event,
        line: None,
        at,
        attempts: 1,
    }
}
