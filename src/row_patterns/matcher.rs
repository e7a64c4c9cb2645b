//! The matcher: rows in, matches out. It looks for one match after the other in each partition.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::attempt::{Attempt, Machine, Outcome};
use super::conditions::Conditions;
use super::leaf::From;
use super::measures::{Given, Measures, MeasuresPlan};
use super::paths::Label;
use super::pattern::{Variables, has};
use super::program::{Closure, Program, first_variables};
use super::track::{Found, FoundKind, Row, RowNumber, Track};
use crate::error::{ErrorKind, Result, RowError};
use crate::event::{EventBatch, Micros, json_row};
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::operators::wake_ups::WakeUps;
use crate::operators::{BEGINNING_OF_TIME, Output};
use crate::windows::row_store::{RowId, RowStore};

/// What is looked for, and what is given of it.
#[derive(Debug, Clone)]
pub struct MatcherPlan {
    /// The pattern.
    pub program: Arc<Program>,
    /// What its variables are called.
    pub variables: Vec<String>,
    /// Their conditions.
    pub conditions: Conditions,
    /// What goes out.
    pub measures: MeasuresPlan,
    /// Where matching resumes.
    pub skip: Skip,
    /// How long a match may be.
    pub within: Option<Limit>,
    /// The columns that partition.
    pub keys: Vec<usize>,
    /// Whether the first of them is the key of a PARTITION.
    pub in_block: bool,
    /// How many rows before a match are read.
    pub back: u64,
    /// How many rows after a candidate conditions read.
    pub ahead: u64,
    /// How many rows after a match measures read.
    pub measured_ahead: u64,
    /// The columns that come in.
    pub input: SchemaRef,
    /// Whether a partition without rows is as one that has not been met: nothing asks for its first row or counts its matches.
    pub forgets: bool,
    /// The most rows of a partition that are held.
    pub max_rows: usize,
    /// The most threads of an attempt.
    pub max_threads: usize,
}

/// AFTER MATCH SKIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// PAST LAST ROW.
    PastLastRow,
    /// TO NEXT ROW.
    ToNextRow,
    /// TO FIRST or LAST of some variables.
    To {
        /// Which of their rows.
        from: From,
        /// The variables.
        variables: Variables,
        /// As written.
        text: String,
    },
}

/// WITHIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// From the first row's time to the last one's.
    Time(Micros),
    /// So many rows.
    Rows(u64),
}

/// Finds matches.
pub struct Matcher {
    pub(super) plan: MatcherPlan,
    pub(super) keys: GroupTable,
    pub(super) tracks: Vec<Track>,
    pub(super) store: RowStore,
    pub(super) measures: Measures,
    /// No match goes beyond rows of this time: the watermark, or the time of day.
    pub(super) clock: Micros,
    pub(super) ended: bool,
    /// When WITHIN ends attempts.
    pub(super) due: WakeUps,
    /// What event times are held.
    pub(super) holds: WakeUps,
    closure: Closure,
    /// The variables of a first row that is not the partition's; none if a match may be empty.
    first: Option<Variables>,
    learns: bool,
    /// Attempts to be used again.
    #[expect(clippy::vec_box, reason = "they go from here to partitions and back")]
    spare: Vec<Box<Attempt>>,
    failures: Vec<(RowNumber, String)>,
    touched: Vec<GroupId>,
    gone: Vec<RowId>,
    ids: Vec<GroupId>,
    /// At how many partitions those of which nothing is left are looked for next.
    sweep_at: usize,
}

/// So few partitions are not worth looking for those that can be forgotten.
const FEW: usize = 65_536;

/// So many attempts that are over are kept for others.
const SPARE: usize = 256;

impl Matcher {
    /// Without rows.
    pub fn new(plan: MatcherPlan) -> Result<Self> {
        let types: Vec<DataType> = plan
            .keys
            .iter()
            .map(|key| plan.input.field(*key).data_type().clone())
            .collect();
        Ok(Matcher {
            keys: GroupTable::new(&types)?,
            tracks: Vec::new(),
            store: RowStore::default(),
            measures: Measures::new(plan.measures.clone())?,
            clock: BEGINNING_OF_TIME,
            ended: false,
            due: WakeUps::default(),
            holds: WakeUps::default(),
            closure: Closure::new(&plan.program),
            first: first_variables(&plan.program),
            learns: plan.within.is_none() && !plan.conditions.reads_past,
            spare: Vec::new(),
            failures: Vec::new(),
            touched: Vec::new(),
            gone: Vec::new(),
            ids: Vec::new(),
            sweep_at: FEW,
            plan,
        })
    }

    /// Takes rows in their order, and emits what is certain with them.
    pub fn take(&mut self, batch: EventBatch, out: &mut Output) -> Result<()> {
        let rows = batch.num_rows();
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        let mut ids = std::mem::take(&mut self.ids);
        self.keys.assign(&keys, rows, &mut ids)?;
        if self.tracks.len() < self.keys.capacity() {
            self.tracks.resize_with(self.keys.capacity(), Track::default);
        }
        let times = batch.times().clone();
        let places = self.store.push(batch)?;
        // Rows are stepped in the order in which they can be, which is that of the batch if nothing is read ahead.
        let mut ready: Vec<(GroupId, RowNumber)> = Vec::with_capacity(rows);
        for (row, (&id, &place)) in ids.iter().zip(&places).enumerate() {
            let track = &mut self.tracks[id as usize];
            let number = track.push(Row {
                id: place,
                time: times.get(row),
                fits: 0,
            });
            if let Some(number) = number.checked_sub(self.plan.ahead)
                && number >= track.evaluated
            {
                ready.push((id, number));
            }
        }
        self.ids = ids;
        self.evaluate(&ready, out)?;
        for &(id, number) in &ready {
            self.tracks[id as usize].evaluated = number + 1;
            self.touch(id);
            self.run(id, out)?;
        }
        self.flush(out)
    }

    /// Time has come to `clock`.
    pub fn reach(&mut self, clock: Micros, out: &mut Output) -> Result<()> {
        self.clock = self.clock.max(clock);
        // A row of the very end still belongs, and may come.
        while let Some((at, id)) = self.due.pop(self.clock.saturating_sub(1)) {
            let is_due = self.tracks.get(id as usize).is_some_and(|track| track.due == Some(at));
            if is_due {
                self.tracks[id as usize].due = None;
                self.touch(id);
                self.run(id, out)?;
            }
        }
        self.flush(out)
    }

    /// No more rows come.
    pub fn end(&mut self, out: &mut Output) -> Result<()> {
        self.ended = true;
        let live = self.keys.live();
        let mut ready = Vec::new();
        for &id in &live {
            let track = &self.tracks[id as usize];
            ready.extend((track.evaluated..track.arrived()).map(|number| (id, number)));
        }
        self.evaluate(&ready, out)?;
        for id in live {
            let track = &mut self.tracks[id as usize];
            track.evaluated = track.arrived();
            self.touch(id);
            self.run(id, out)?;
        }
        self.flush(out)
    }

    /// When WITHIN ends an attempt next.
    pub fn next_due(&self) -> Option<Micros> {
        self.due.next()
    }

    /// The earliest event time that rows may still go out with.
    pub fn held(&self) -> Option<Micros> {
        self.holds.next()
    }

    /// Forgets the partitions of keys that a PARTITION has forgotten: the rows of the batch that are deletions.
    pub fn forget(&mut self, keys: &EventBatch) -> Result<()> {
        let gone: Vec<u32> = (0..keys.num_rows() as u32)
            .filter(|row| !crate::operators::running_aggregate::adds(keys.op(*row as usize)))
            .collect();
        if gone.is_empty() || !self.plan.in_block {
            return Ok(());
        }
        let gone = keys.take(gone)?;
        let key_type = gone.column(0).data_type().clone();
        let mut dead = GroupTable::new(std::slice::from_ref(&key_type))?;
        let mut ids = Vec::new();
        dead.assign(std::slice::from_ref(gone.column(0)), gone.num_rows(), &mut ids)?;
        let dead_keys = dead.len();
        let live = self.keys.live();
        let columns = self.keys.keys(&live)?;
        let Some(column) = columns.first() else {
            return Ok(());
        };
        dead.assign(std::slice::from_ref(column), live.len(), &mut ids)?;
        let forgotten: Vec<GroupId> = live
            .iter()
            .zip(&ids)
            .filter(|(_, id)| (**id as usize) < dead_keys)
            .map(|(live, _)| *live)
            .collect();
        for &id in &forgotten {
            let mut track = std::mem::take(&mut self.tracks[id as usize]);
            let store = &mut self.store;
            track.drop_before(RowNumber::MAX, |row| store.remove(row));
        }
        self.keys.forget(&forgotten);
        self.tidy();
        self.store.settle()
    }

    /// Which variables rows fit by themselves.
    fn evaluate(&mut self, ready: &[(GroupId, RowNumber)], out: &mut Output) -> Result<()> {
        if ready.is_empty() {
            return Ok(());
        }
        let conditions = &self.plan.conditions;
        let rows: Vec<(&Track, RowNumber)> = ready
            .iter()
            .map(|(id, number)| (&self.tracks[*id as usize], *number))
            .collect();
        let leaves = (0..conditions.leaves.len()).map(|leaf| conditions.leaf(leaf, &self.store, &rows));
        let leaves = leaves.collect::<Result<Vec<ArrayRef>>>()?;
        let mut failed = Vec::new();
        let fits = conditions.fits(leaves, rows.len(), &mut |row, message| failed.push((row, message)))?;
        for (row, message) in failed {
            let (track, number) = rows[row];
            report(&self.store, track, number, &message, out)?;
        }
        for (&(id, number), fits) in ready.iter().zip(fits) {
            if let Some(row) = self.tracks[id as usize].row_mut(number) {
                row.fits = fits;
            }
        }
        Ok(())
    }

    pub(super) fn touch(&mut self, id: GroupId) {
        let touched = &mut self.tracks[id as usize].touched;
        if !std::mem::replace(touched, true) {
            self.touched.push(id);
        }
    }

    /// Goes on with a partition as far as its rows allow.
    pub(super) fn run(&mut self, id: GroupId, out: &mut Output) -> Result<()> {
        let mut track = std::mem::take(&mut self.tracks[id as usize]);
        let ran = self.run_track(&mut track, out);
        self.tracks[id as usize] = track;
        ran
    }

    fn run_track(&mut self, track: &mut Track, out: &mut Output) -> Result<()> {
        // What another partition's attempt has seen is nothing to this one.
        let mut failed_before = false;
        loop {
            if track.attempt.is_none() {
                if track.start >= track.evaluated {
                    break;
                }
                if self.cannot_start(track) {
                    self.unmatched(track);
                    continue;
                }
            }
            let outcome = self.advance(track, failed_before);
            self.report_failures(track, out)?;
            failed_before = outcome == Outcome::Failed;
            match outcome {
                Outcome::Open => break,
                Outcome::Failed => self.unmatched(track),
                Outcome::Matched(labels) => self.matched(track, labels, out)?,
                Outcome::TooLarge => {
                    let most = self.plan.max_threads;
                    let why = format!("an attempt at the pattern has more than {most} ways to go on: it was dropped");
                    self.give_up(track, &why, out)?;
                }
            }
        }
        if track.undecided_rows() > self.plan.max_rows {
            let most = self.plan.max_rows;
            let why =
                format!("a partition holds more than {most} rows for a match that is not decided: it was dropped");
            self.give_up(track, &why, out)?;
        }
        self.release(track);
        self.give(track);
        Ok(())
    }

    /// Whether no match starts at the next row, as far as the row alone tells.
    fn cannot_start(&self, track: &Track) -> bool {
        let (Some(first), Some(row)) = (self.first, track.row(track.start)) else {
            return false;
        };
        row.fits & first == 0 && (track.start > 0 || !self.plan.program.has_start)
    }

    /// Begins an attempt if none is open, and gives it the rows there are.
    fn advance(&mut self, track: &mut Track, failed_before: bool) -> Outcome {
        let mut machine = Machine {
            program: &self.plan.program,
            conditions: &self.plan.conditions,
            variables: &self.plan.variables,
            max_threads: self.plan.max_threads,
            learns: self.learns,
            closure: &mut self.closure,
            store: &self.store,
            failures: &mut self.failures,
        };
        let start = track.start;
        let mut attempt = match track.attempt.take() {
            Some(attempt) => attempt,
            None => {
                let mut attempt = self.spare.pop().unwrap_or_default();
                attempt.begin(&mut machine, start, failed_before);
                track.next = start;
                attempt
            }
        };
        let mut outcome = attempt.outcome();
        while outcome == Outcome::Open && track.next < track.evaluated {
            outcome = match self.plan.within {
                Some(within) if is_over(within, track, track.next) => attempt.cut(&machine),
                _ => attempt.step(&mut machine, track, start, track.next, track.matches),
            };
            if outcome == Outcome::Open
                && self
                    .plan
                    .within
                    .is_some_and(|within| is_over(within, track, track.next))
            {
                // Only `$` is waited for, and here is a row.
                outcome = attempt.step(&mut machine, track, start, track.next, track.matches);
            }
            track.next += 1;
        }
        if outcome == Outcome::Open && track.next == track.arrived() {
            let past = |limit: Micros| {
                let first = track.row(start).map_or(BEGINNING_OF_TIME, |row| row.time);
                self.clock > first.saturating_add(limit)
            };
            if self.ended {
                outcome = attempt.end(&mut machine);
            } else if let Some(Limit::Time(limit)) = self.plan.within
                && past(limit)
            {
                outcome = attempt.cut(&machine);
            }
        }
        match outcome {
            Outcome::Open => track.attempt = Some(attempt),
            // What it has seen is for the next one.
            _ => self.spare.push(attempt),
        }
        outcome
    }

    fn unmatched(&mut self, track: &mut Track) {
        let start = track.start;
        if start >= track.matched {
            if matches!(self.plan.measures.given, Given::All { unmatched: true, .. }) {
                track.found.push_back(Found {
                    start,
                    labels: Vec::new(),
                    kind: FoundKind::Unmatched,
                });
            }
            track.matched = start + 1;
        }
        track.start += 1;
    }

    fn matched(&mut self, track: &mut Track, labels: Vec<Label>, out: &mut Output) -> Result<()> {
        let start = track.start;
        let rows = labels.len() as u64;
        let resume = match rows {
            0 => Ok(start + 1),
            _ => resume(&self.plan.skip, start, &labels),
        };
        match resume {
            Ok(resume) => {
                track.matches += 1;
                track.found.push_back(Found {
                    start,
                    labels,
                    kind: FoundKind::Match(track.matches),
                });
                track.matched = track.matched.max(start + rows.max(1));
                track.start = resume;
            }
            Err(why) => {
                report(&self.store, track, start, &why, out)?;
                track.matched = track.matched.max(start + 1);
                track.start = start + 1;
            }
        }
        Ok(())
    }

    /// Drops the attempt; matching resumes after the rows it had.
    fn give_up(&mut self, track: &mut Track, why: &str, out: &mut Output) -> Result<()> {
        report(&self.store, track, track.start, why, out)?;
        track.attempt = None;
        track.start = track.evaluated;
        track.next = track.start;
        track.matched = track.matched.max(track.start);
        Ok(())
    }

    /// Lets out what does not wait for rows any more.
    fn release(&mut self, track: &mut Track) {
        while let Some(first) = track.found.front() {
            let needed = first.start + first.labels.len() as u64 + self.plan.measured_ahead;
            if !self.ended && !first.labels.is_empty() && needed > track.arrived() {
                break;
            }
            if let Some(first) = track.found.pop_front() {
                self.measures.add(track, &first);
            }
        }
    }

    /// Notes the rows that nothing needs any more, and when WITHIN ends the attempt.
    fn give(&mut self, track: &mut Track) {
        let first = track
            .found
            .front()
            .map_or(track.start, |found| found.start.min(track.start));
        let gone = &mut self.gone;
        track.drop_before(first.saturating_sub(self.plan.back), |row| gone.push(row));
        self.spare.truncate(SPARE);
    }

    fn report_failures(&mut self, track: &Track, out: &mut Output) -> Result<()> {
        for (number, message) in std::mem::take(&mut self.failures) {
            report(&self.store, track, number, &message, out)?;
        }
        Ok(())
    }

    /// Emits what was found, lets rows go, and tells what is waited for.
    pub(super) fn flush(&mut self, out: &mut Output) -> Result<()> {
        self.measures.flush(&self.store, &self.plan.variables, out)?;
        for id in std::mem::take(&mut self.touched) {
            let least = self.earliest();
            let track = &mut self.tracks[id as usize];
            track.touched = false;
            let due = match (self.plan.within, &track.attempt, track.row(track.start)) {
                (Some(Limit::Time(limit)), Some(_), Some(row)) => Some(row.time.saturating_add(limit)),
                _ => None,
            };
            // One that is over waits for `$`, or for rows that are read ahead.
            let due = due.filter(|due| *due >= self.clock);
            if due != track.due {
                track.due = due;
                due.into_iter().for_each(|due| self.due.push(due, id));
            }
            let waits = track
                .found
                .front()
                .map(|found| found.start + found.labels.len().max(1) as u64 - 1);
            let next = waits.unwrap_or(track.start + least);
            let held = track.row(next).map(|row| row.time).filter(|_| !self.ended);
            if held != track.held {
                track.held = held;
                held.into_iter().for_each(|held| self.holds.push(held, id));
            }
        }
        self.tidy();
        for row in std::mem::take(&mut self.gone) {
            self.store.remove(row);
        }
        if self.keys.len() > self.sweep_at && self.plan.forgets {
            self.sweep();
        }
        self.store.settle()
    }

    /// Forgets partitions of which nothing is left. O(1) a partition, amortised.
    fn sweep(&mut self) {
        let mut empty = self.keys.live();
        empty.retain(|id| self.tracks[*id as usize].is_empty());
        for &id in &empty {
            self.tracks[id as usize] = Track::default();
        }
        self.keys.forget(&empty);
        self.sweep_at = FEW.max(2 * self.keys.len());
    }

    /// How many rows after the next start the first row is whose time something may go out with.
    fn earliest(&self) -> u64 {
        match self.plan.measures.given {
            Given::All { unmatched: true, .. } => 0,
            _ => self.plan.program.least_rows.saturating_sub(1),
        }
    }

    fn tidy(&mut self) {
        let tracks = &self.tracks;
        let track = |id: GroupId| tracks.get(id as usize);
        self.due
            .tidy(|at, id| track(id).is_some_and(|track| track.due == Some(at)));
        let holds = |at, id| track(id).is_some_and(|track| track.held == Some(at));
        self.holds.tidy(holds);
        while let Some((at, id)) = self.holds.pop(Micros::MAX) {
            if holds(at, id) {
                self.holds.push(at, id);
                break;
            }
        }
    }
}

/// Whether a row is too far from the attempt's first one.
fn is_over(within: Limit, track: &Track, number: RowNumber) -> bool {
    let (Some(first), Some(row)) = (track.row(track.start), track.row(number)) else {
        return false;
    };
    match within {
        Limit::Time(limit) => row.time.saturating_sub(first.time) > limit,
        Limit::Rows(rows) => number - track.start >= rows,
    }
}

/// Where matching resumes after a match with rows.
fn resume(skip: &Skip, start: RowNumber, labels: &[Label]) -> Result<RowNumber, String> {
    let (from, variables, text) = match skip {
        Skip::PastLastRow => return Ok(start + labels.len() as u64),
        Skip::ToNextRow => return Ok(start + 1),
        Skip::To { from, variables, text } => (from, *variables, text),
    };
    let is_target = |label: &Label| has(variables, label.variable());
    let target = match from {
        From::First => labels.iter().position(is_target),
        From::Last => labels.iter().rposition(is_target),
    };
    match target {
        None => Err(format!("{text}: pattern variable is not present in match")),
        Some(0) => Err(format!("{text}: cannot skip to first row of match")),
        Some(row) => Ok(start + row as u64),
    }
}

/// Reports a row that conditions or skipping failed on.
fn report(store: &RowStore, track: &Track, number: RowNumber, message: &str, out: &mut Output) -> Result<()> {
    let rows = store.get(&[track.id(Some(number))])?;
    let columns = rows.map(EventBatch::into_parts).map(|(columns, ..)| columns);
    let event = columns.map_or_else(String::new, |columns: RecordBatch| json_row::row(&columns, 0));
    let at = out.now();
    out.error(RowError {
        kind: ErrorKind::Evaluate,
        message: message.to_string(),
        event,
        line: None,
        at,
        attempts: 1,
    });
    Ok(())
}
