//! [`Assembly`]: from the rows of a SUBSCRIBE to batches that begin and end with whole timestamps.
//!
//! A row belongs to a time, and rows of one time belong together: they are held until a progress row says that no more of them will
//! come. Progress at `t` means that everything before `t` is there: it is the watermark, and `t - 1` the time to go on after.
//!
//! Of a snapshot the first row, progress or not, has its time; it is whole when anything later comes.

use serde_json::json;

use super::statement::BEFORE;
use crate::connectors::pgwire::binary;
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
    places: Vec<Place>,
    keyed: bool,
    /// How many rows are held.
    whole: usize,
    phase: Phase,
    /// Rows of a time that is not complete have been handed over.
    torn: bool,
    /// What the positions are of.
    of: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its time, once it is known, and whether its beginning has been told.
    Snapshot { time: Option<u64>, begun: bool },
    /// Everything up to and with this time is there.
    Live(u64),
}

impl Assembly {
    /// Of a new SUBSCRIBE, which has a snapshot if it does not begin `after` a time.
    pub fn new(rows: Rows, places: Vec<Place>, keyed: bool, whole: usize, of: String, after: Option<u64>) -> Self {
        Assembly {
            rows,
            errors: Vec::new(),
            places,
            keyed,
            whole,
            phase: match after {
                None => Phase::Snapshot {
                    time: None,
                    begun: false,
                },
                Some(time) => Phase::Live(time),
            },
            torn: false,
            of,
        }
    }

    /// The time to go on after; `None` when only a snapshot can tell what is there.
    pub fn complete(&self) -> Option<u64> {
        match self.phase {
            Phase::Live(time) if !self.torn => Some(time),
            _ => None,
        }
    }

    /// Takes a row; `hand` is given what is to be handed over.
    pub fn take(&mut self, cells: &Cells, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let time = cells.get(0).and_then(time_of).ok_or_else(|| odd("time", cells))?;
        let progressed = cells.get(1).and_then(truth).ok_or_else(|| odd("progress", cells))?;
        if progressed {
            return self.progress(time, now, hand);
        }
        match &mut self.phase {
            Phase::Snapshot { time: known, .. } => match *known.get_or_insert(time) {
                whole if whole < time => self.snapshot_ends(whole, now, hand)?,
                _ => {}
            },
            // It was there before.
            Phase::Live(complete) if time <= *complete => return Ok(()),
            Phase::Live(_) => {}
        }
        self.change(cells, time, now, hand)
    }

    fn progress(&mut self, time: u64, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let complete = time.saturating_sub(1);
        let mut around = Around::default();
        match &mut self.phase {
            Phase::Snapshot { time: known, begun } => {
                let of_snapshot = *known.get_or_insert(time);
                if time <= of_snapshot {
                    return Ok(());
                }
                around.before = (!*begun).then_some(Mark::SnapshotBegins);
                around.after = Some(Mark::SnapshotEnds(micros(of_snapshot)));
            }
            Phase::Live(known) if complete <= *known && self.rows.len() == 0 && self.errors.is_empty() => return Ok(()),
            Phase::Live(_) => {}
        }
        around.watermark = Some(micros(time));
        self.phase = Phase::Live(complete);
        self.torn = false;
        hand.push(self.emitted(around, now)?);
        Ok(())
    }

    /// All rows of the snapshot are there: one of a later time has come.
    fn snapshot_ends(&mut self, time: u64, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let begun = matches!(self.phase, Phase::Snapshot { begun: true, .. });
        self.phase = Phase::Live(time);
        self.torn = false;
        let around = Around {
            before: (!begun).then_some(Mark::SnapshotBegins),
            after: Some(Mark::SnapshotEnds(micros(time))),
            watermark: Some(micros(time)),
        };
        hand.push(self.emitted(around, now)?);
        Ok(())
    }

    fn change(&mut self, cells: &Cells, time: u64, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let what = cells.get(2).ok_or_else(|| odd("change", cells))?;
        let (op, times) = match (self.keyed, what) {
            (true, b"upsert") => (Op::Insert, 1),
            (true, b"delete") => (Op::Delete, 1),
            (true, b"key_violation") => {
                let why = "key_violation: the relation has more than one row of this key, so that the stream has none"
                    .to_string();
                self.errors.push(bad_row(cells, why, now));
                (Op::Delete, 1)
            }
            (false, count) => match count_of(count).ok_or_else(|| odd("change", cells))? {
                count if count < 0 => (Op::Delete, count.unsigned_abs()),
                count => (Op::Insert, count.unsigned_abs()),
            },
            (true, _) => return Err(odd("change", cells)),
        };
        for _ in 0..times {
            if let Err(why) = self.rows.push(cells, &self.places, op, micros(time)) {
                self.errors.push(bad_row(cells, why, now));
                break;
            }
            if self.rows.len() >= self.whole {
                self.part(now, hand)?;
            }
        }
        if self.errors.len() >= self.whole {
            self.part(now, hand)?;
        }
        Ok(())
    }

    /// Hands over what is held, though there may be more of its time.
    fn part(&mut self, now: Micros, hand: &mut Vec<Emitted>) -> Result<()> {
        let mut around = Around::default();
        if let Phase::Snapshot { begun, .. } = &mut self.phase
            && !std::mem::replace(begun, true)
        {
            around.before = Some(Mark::SnapshotBegins);
        }
        self.torn = true;
        hand.push(self.emitted(around, now)?);
        Ok(())
    }

    fn emitted(&mut self, around: Around, now: Micros) -> Result<Emitted> {
        Ok(Emitted {
            batch: self.rows.take(now)?,
            errors: std::mem::take(&mut self.errors),
            position: Some(position(&self.of, self.complete())),
            around,
        })
    }
}

/// Where to go on: after a time, or with a snapshot.
pub(super) fn position(of: &str, complete: Option<u64>) -> Position {
    match complete {
        Some(time) => json!({"as_of": time, "of": of}),
        None => json!({"snapshot": true, "of": of}),
    }
}

/// A time of Materialize in microseconds: it counts milliseconds.
pub(super) fn micros(time: u64) -> Micros {
    i64::try_from(time).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// A number in text, or in the binary form of `numeric`.
fn time_of(raw: &[u8]) -> Option<u64> {
    if !raw.is_empty() && raw.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(raw).ok()?.parse().ok();
    }
    let mut text = String::new();
    binary::numeric(&mut text, raw)?;
    text.parse().ok()
}

fn truth(raw: &[u8]) -> Option<bool> {
    match raw {
        b"t" | [1] => Some(true),
        b"f" | [0] => Some(false),
        _ => None,
    }
}

/// A number in text, or as eight bytes; no number of eight digits looks like one of them.
fn count_of(raw: &[u8]) -> Option<i64> {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(raw).ok()?.parse().ok();
    }
    raw.try_into().ok().map(i64::from_be_bytes)
}

fn odd(what: &str, cells: &Cells) -> Error {
    Error::failed(format!(
        "a row of SUBSCRIBE has no {what} that can be read; it has {} cells, and {BEFORE} and the columns are expected",
        cells.len()
    ))
}
