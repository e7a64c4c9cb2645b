//! [`Assembly`]: from the rows of a subscription cursor to batches of whole timestamps.
//!
//! Rows of a snapshot have no time. Others come in the order of their times, and nothing says that a time is complete but a row of a
//! later one, or that there is nothing more to fetch.

use serde_json::json;

use crate::connectors::pgwire::cells::Cells;
use crate::connectors::pgwire::rows::{Place, Rows, bad_row};
use crate::connectors::{Around, Emitted, Position};
use crate::error::{Error, Result, RowError};
use crate::event::{Mark, Micros, Op};

/// See the module.
#[derive(Debug)]
pub(super) struct Assembly {
    rows: Rows,
    errors: Vec<RowError>,
    whole: usize,
    /// Whether rows of the snapshot may come, and whether its beginning has been told.
    snapshot: Option<bool>,
    /// Everything up to and with this time is there.
    complete: Option<u64>,
    /// The time of the rows that are held.
    open: Option<u64>,
    torn: bool,
    of: String,
}

impl Assembly {
    /// Of a new cursor: with a snapshot, if it does not begin `after` a time.
    pub fn new(rows: Rows, whole: usize, of: String, after: Option<u64>) -> Self {
        Assembly {
            rows,
            errors: Vec::new(),
            whole,
            snapshot: after.is_none().then_some(false),
            complete: after,
            open: None,
            torn: false,
            of,
        }
    }

    /// The time to go on after; `None` when only a snapshot can tell what is there.
    pub fn complete(&self) -> Option<u64> {
        self.complete.filter(|_| !self.torn)
    }

    /// Takes a row: its change, its time, and its cells in those places.
    pub fn take(
        &mut self,
        (change, time): (&str, Option<u64>),
        (cells, places): (&Cells, &[Place]),
        now: Micros,
        hand: &mut Vec<Emitted>,
    ) -> Result<()> {
        let op = match change {
            "Insert" | "1" => Op::Insert,
            "Delete" | "2" => Op::Delete,
            "UpdateInsert" | "3" => Op::UpdateAfter,
            "UpdateDelete" | "4" => Op::UpdateBefore,
            other => {
                return Err(Error::failed(format!(
                    "RisingWave tells of a change '{other}', which is not known"
                )));
            }
        };
        if let Some(time) = time {
            // It was there before.
            if self.complete().is_some_and(|complete| time <= complete) {
                return Ok(());
            }
            if self.open.is_none_or(|open| open < time) {
                self.settle(now, hand)?;
                self.open = Some(time);
            }
        }
        if let Err(why) = self.rows.push(cells, places, op, now) {
            self.errors.push(bad_row(cells, why, now));
        }
        // The two halves of an update stay together.
        if self.rows.len().max(self.errors.len()) >= self.whole && op != Op::UpdateBefore {
            self.part(now, hand)?;
        }
        Ok(())
    }

    /// Nothing more comes of what is held.
    pub fn settle(&mut self, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let mut around = Around::default();
        if let Some(begun) = self.snapshot.take() {
            around.before = (!begun).then_some(Mark::SnapshotBegins);
            around.after = Some(Mark::SnapshotEnds(now));
        }
        let time = self.open.take();
        self.complete = self.complete.max(time);
        self.torn = false;
        match around == Around::default() && time.is_none() {
            true => Ok(()),
            false => self.emit(around, now, hand),
        }
    }

    fn part(&mut self, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let begins = self
            .snapshot
            .as_mut()
            .is_some_and(|begun| !std::mem::replace(begun, true));
        self.torn = true;
        let around = Around {
            before: begins.then_some(Mark::SnapshotBegins),
            ..Around::default()
        };
        self.emit(around, now, hand)
    }

    fn emit(&mut self, around: Around, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        hand.push(Emitted {
            batch: self.rows.take(now)?,
            errors: std::mem::take(&mut self.errors),
            position: Some(position(&self.of, self.complete())),
            around,
        });
        Ok(())
    }
}

/// Where to go on: after a time, or with a snapshot.
pub(super) fn position(of: &str, complete: Option<u64>) -> Position {
    match complete {
        Some(time) => json!({"since": time, "of": of}),
        None => json!({"snapshot": true, "of": of}),
    }
}
