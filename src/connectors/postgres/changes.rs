//! [`Changes`]: from the changes of the log to batches that begin and end with whole transactions.

use serde_json::json;

use super::pgoutput::{Described, Old, Tuple};
use crate::connectors::pgwire::cells::Cells;
use crate::connectors::pgwire::rows::{Form, Place, Rows, bad_row};
use crate::connectors::{Around, Emitted, Position};
use crate::error::{Code, Diagnostic, Error, ErrorKind, Result, RowError};
use crate::event::{Mark, Micros, Op};

/// See the module.
#[derive(Debug)]
pub(super) struct Changes {
    rows: Rows,
    errors: Vec<RowError>,
    /// The names of the columns of the batches, as the table has them, and whether they are of the key.
    columns: Vec<(String, bool)>,
    /// Where their cells stand in the tuples of the log.
    places: Vec<Place>,
    /// By cell: whether it is part of what names a row.
    identity: Vec<bool>,
    keyed: bool,
    ignores_deletes: bool,
    whole: usize,
    /// Everything up to and with here is there.
    complete: Option<u64>,
    /// A part of what comes next has been handed over.
    torn: bool,
    of: String,
}

/// What [`Changes`] must know of its stream.
#[derive(Debug)]
pub(super) struct Shape {
    /// The names of the columns of the batches, as the table has them, and whether they are of the key.
    pub columns: Vec<(String, bool)>,
    /// Whether rows that go do not matter.
    pub ignores_deletes: bool,
    /// How many rows are held.
    pub whole: usize,
    /// What the positions are of.
    pub of: String,
}

impl Changes {
    /// That go on after a place of the log, or begin with a snapshot.
    pub fn new(rows: Rows, shape: Shape, complete: Option<u64>) -> Self {
        let cells = 0..shape.columns.len();
        let place = |cell| Place { cell, form: Form::Text };
        Changes {
            rows,
            errors: Vec::new(),
            keyed: shape.columns.iter().any(|(_, key)| *key),
            columns: shape.columns,
            // A snapshot has the columns in their order.
            places: cells.map(place).collect(),
            identity: Vec::new(),
            ignores_deletes: shape.ignores_deletes,
            whole: shape.whole,
            complete,
            torn: false,
            of: shape.of,
        }
    }

    /// The place to go on after; `None` when only a snapshot can tell what is there.
    pub fn complete(&self) -> Option<u64> {
        self.complete.filter(|_| !self.torn)
    }

    /// Whether anything of a transaction is held.
    pub fn is_amid(&self) -> bool {
        self.torn || self.rows.len() > 0 || !self.errors.is_empty()
    }

    /// A row of the snapshot.
    pub fn snapshot_row(
        &mut self,
        cells: &Cells,
        begun: &mut bool,
        now: Micros,
        hand: &mut Vec<Emitted>,
    ) -> Result<()> {
        self.push(cells, Op::Insert, now);
        if self.rows.len() >= self.whole {
            let before = (!std::mem::replace(begun, true)).then_some(Mark::SnapshotBegins);
            self.torn = true;
            let around = Around {
                before,
                ..Around::default()
            };
            hand.push(self.emitted(around, now)?);
        }
        Ok(())
    }

    /// The snapshot is whole; it was taken at that place.
    pub fn snapshot_ends(&mut self, at: u64, begun: bool, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        self.complete = Some(at);
        self.torn = false;
        let around = Around {
            before: (!begun).then_some(Mark::SnapshotBegins),
            after: Some(Mark::SnapshotEnds(now)),
            watermark: None,
        };
        hand.push(self.emitted(around, now)?);
        Ok(())
    }

    /// The columns of the table from here on.
    pub fn describe(&mut self, found: &[Described]) -> Result<()> {
        let mut places = Vec::with_capacity(self.columns.len());
        for (name, is_key) in &self.columns {
            let Some(cell) = found.iter().position(|column| column.name == *name) else {
                let message = format!("the table has no column '{name}' any more, or the publication leaves it out");
                return Err(Diagnostic::new(Code::UnknownColumn, message).into());
            };
            if *is_key && !found[cell].identity {
                let message = format!("a deleted row does not tell its '{name}', which is of the stream's PRIMARY KEY");
                let error = Diagnostic::new(Code::Type, message);
                return Err(error
                    .hint("ALTER TABLE … REPLICA IDENTITY FULL, or let both have the same primary key")
                    .into());
            }
            places.push(Place { cell, form: Form::Text });
        }
        self.places = places;
        self.identity = found.iter().map(|column| column.identity).collect();
        Ok(())
    }

    /// The cells of unchanged values that nobody has sent, of those that are read; each with its column's name.
    pub fn missing(&self, new: &Tuple) -> Vec<(usize, String)> {
        let read = |cell: &usize| {
            let column = self.places.iter().position(|place| place.cell == *cell)?;
            Some((*cell, self.columns[column].0.clone()))
        };
        new.unchanged.iter().filter_map(read).collect()
    }

    /// The columns of the key with their values in a row.
    pub fn key_of<'a>(&'a self, new: &'a Tuple) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let columns = self.columns.iter().zip(&self.places).filter(|((_, key), _)| *key);
        columns.map(|((name, _), place)| (name.as_str(), new.cells.get(place.cell)))
    }

    /// A new row.
    pub fn insert(&mut self, new: &Tuple, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        self.push(&new.cells, Op::Insert, now);
        self.part(now, hand)
    }

    /// A row is another now.
    pub fn update(&mut self, old: Option<&Old>, new: &Tuple, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        match old {
            Some(old) if self.keyed => {
                let same = self.key_of(&old.tuple).eq(self.key_of(new));
                if !same {
                    self.push(&old.tuple.cells, Op::Delete, now);
                }
            }
            Some(old) if old.whole => self.push(&old.tuple.cells, Op::Delete, now),
            _ if self.keyed => {}
            _ => self.unsayable(&new.cells, "was updated", now),
        }
        self.push(&new.cells, Op::Insert, now);
        self.part(now, hand)
    }

    /// A row is gone.
    pub fn delete(&mut self, old: &Old, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        match self.keyed || old.whole {
            true => self.push(&old.tuple.cells, Op::Delete, now),
            false => self.unsayable(&old.tuple.cells, "was deleted", now),
        }
        self.part(now, hand)
    }

    /// All rows are gone: a snapshot of nothing.
    pub fn truncate(&mut self, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        self.torn = true;
        hand.push(self.emitted(Around::default(), now)?);
        let around = Around {
            before: Some(Mark::SnapshotBegins),
            after: Some(Mark::SnapshotEnds(now)),
            watermark: None,
        };
        hand.push(self.emitted(around, now)?);
        Ok(())
    }

    /// The transaction is committed, and the log goes on from `end`.
    pub fn commit(&mut self, end: u64, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let amid = self.is_amid();
        self.torn = false;
        self.complete = self.complete.max(Some(end));
        if amid {
            hand.push(self.emitted(Around::default(), now)?);
        }
        Ok(())
    }

    /// There is nothing for this stream before `end`.
    pub fn nothing_before(&mut self, end: u64, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        if !self.is_amid() && self.complete.is_some_and(|complete| complete < end) {
            self.complete = Some(end);
            hand.push(self.emitted(Around::default(), now)?);
        }
        Ok(())
    }

    fn push(&mut self, cells: &Cells, op: Op, now: Micros) {
        if let Err(why) = self.rows.push(cells, &self.places, op, now) {
            self.errors.push(bad_row(cells, why, now));
        }
    }

    /// A change of a row of which the log does not say what it was, in a stream that has no key to say it by.
    fn unsayable(&mut self, cells: &Cells, what: &str, now: Micros) {
        if self.ignores_deletes {
            return;
        }
        let why = format!(
            "a row {what}, which a stream without PRIMARY KEY cannot say: declare one, or deletes = 'ignore' if they do not matter"
        );
        self.errors.push(RowError {
            kind: ErrorKind::Constraint,
            ..bad_row(cells, why, now)
        });
    }

    fn part(&mut self, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        if self.rows.len() < self.whole && self.errors.len() < self.whole {
            return Ok(());
        }
        self.torn = true;
        hand.push(self.emitted(Around::default(), now)?);
        Ok(())
    }

    fn emitted(&mut self, around: Around, now: Micros) -> Result<Emitted> {
        let batch = self
            .rows
            .take(now)
            .map_err(|error| Error::failed(format!("a batch of changes: {error}")))?;
        Ok(Emitted {
            batch,
            errors: std::mem::take(&mut self.errors),
            position: Some(position(&self.of, self.complete())),
            around,
        })
    }
}

/// Where to go on: after a place of the log, or with a snapshot.
pub(super) fn position(of: &str, complete: Option<u64>) -> Position {
    match complete {
        Some(place) => json!({"lsn": super::pgoutput::lsn(place), "of": of}),
        None => json!({"snapshot": true, "of": of}),
    }
}
