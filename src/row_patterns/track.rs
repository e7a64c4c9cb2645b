//! The rows of one partition that anything still needs, and how far matching is.

use std::collections::VecDeque;

use super::attempt::Attempt;
use super::paths::Label;
use super::pattern::Variables;
use crate::event::Micros;
use crate::windows::row_store::{NO_ROW, RowId};

/// A row's number in its partition, from 0.
pub type RowNumber = u64;

/// A row of a partition.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// Where it is.
    pub id: RowId,
    /// Its event time.
    pub time: Micros,
    /// The variables that it may be by itself.
    pub fits: Variables,
}

/// A match that has been found.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// Its first row.
    pub start: RowNumber,
    /// What its rows are; none for an empty match.
    pub labels: Vec<Label>,
    /// What it is.
    pub kind: FoundKind,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FoundKind {
    /// A match with its number.
    Match(u64),
    /// A row that is in no match.
    Unmatched,
}

/// One partition.
#[derive(Debug, Default)]
pub struct Track {
    rows: VecDeque<Row>,
    /// The number of the first row of `rows`.
    base: RowNumber,
    /// The rows before this one know which variables they fit.
    pub evaluated: RowNumber,
    /// The first row of the attempt, or of the next one.
    pub start: RowNumber,
    /// The next row that the attempt takes.
    pub next: RowNumber,
    /// The attempt, if one is open.
    pub attempt: Option<Box<Attempt>>,
    /// How many matches there were.
    pub matches: u64,
    /// The rows before this one are in matches, or gave what they give.
    pub matched: RowNumber,
    /// What waits for rows that measures read ahead.
    pub found: VecDeque<Found>,
    /// The event time that the watermark behind must not pass, as far as the matcher has told.
    pub held: Option<Micros>,
    /// When WITHIN ends the attempt, as far as the matcher has asked for it.
    pub due: Option<Micros>,
    /// Whether it is among those to look at.
    pub touched: bool,
}

/// A partition as bytes. The attempt follows from its rows.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct SavedTrack {
    rows: VecDeque<Row>,
    base: RowNumber,
    evaluated: RowNumber,
    start: RowNumber,
    matches: u64,
    matched: RowNumber,
    found: VecDeque<Found>,
}

impl Track {
    /// One more row; its number.
    pub fn push(&mut self, row: Row) -> RowNumber {
        self.rows.push_back(row);
        self.arrived() - 1
    }

    /// The number of the row that comes next.
    pub fn arrived(&self) -> RowNumber {
        self.base + self.rows.len() as u64
    }

    /// A row that is still there.
    pub fn row(&self, number: RowNumber) -> Option<&Row> {
        let index = number.checked_sub(self.base)?;
        self.rows.get(usize::try_from(index).ok()?)
    }

    /// The same, to be changed.
    pub fn row_mut(&mut self, number: RowNumber) -> Option<&mut Row> {
        let index = number.checked_sub(self.base)?;
        self.rows.get_mut(usize::try_from(index).ok()?)
    }

    /// Where a row is; [`NO_ROW`] if it is not there.
    pub fn id(&self, number: Option<RowNumber>) -> RowId {
        number.and_then(|number| self.row(number)).map_or(NO_ROW, |row| row.id)
    }

    /// How many rows are held.
    pub fn held_rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing of it is left but counts.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.found.is_empty() && self.attempt.is_none()
    }

    /// Forgets the rows before a number.
    pub fn drop_before(&mut self, number: RowNumber, mut gone: impl FnMut(RowId)) {
        while self.base < number
            && let Some(row) = self.rows.pop_front()
        {
            gone(row.id);
            self.base += 1;
        }
    }

    /// What a snapshot has of it.
    pub fn saved(&self) -> SavedTrack {
        SavedTrack {
            rows: self.rows.clone(),
            base: self.base,
            evaluated: self.evaluated,
            start: self.start,
            matches: self.matches,
            matched: self.matched,
            found: self.found.clone(),
        }
    }

    /// Back from a snapshot, without its attempt.
    pub fn restored(saved: SavedTrack) -> Self {
        Track {
            rows: saved.rows,
            base: saved.base,
            evaluated: saved.evaluated,
            start: saved.start,
            next: saved.start,
            matches: saved.matches,
            matched: saved.matched,
            found: saved.found,
            ..Track::default()
        }
    }
}

/// The number of a row `shift` rows from another.
pub fn shifted(number: RowNumber, shift: i64) -> Option<RowNumber> {
    number.checked_add_signed(shift)
}
