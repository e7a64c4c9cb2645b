//! One attempt at a match: its threads, in the order of preference.

use super::aggregate::Tally;
use super::conditions::{Candidate, Conditions};
use super::paths::{Label, NOTHING, PathId, Paths, SetId, Sets};
use super::pattern::has;
use super::program::{Closure, Instruction, Place, Position, Program, Stop, Wanted};
use super::track::{RowNumber, Track};
use crate::windows::row_store::RowStore;

/// A thread.
#[derive(Debug, Clone, Copy)]
struct Thread {
    /// Where it is: at an instruction that takes a row, or at `$`.
    place: Place,
    /// What its rows were.
    path: PathId,
    /// The thread that was at the same place before it, among those of its row.
    same_place: u32,
}

/// An attempt from one row.
#[derive(Debug, Default)]
pub struct Attempt {
    threads: Vec<Thread>,
    /// The registers of each thread.
    words: Vec<u64>,
    /// The most preferred match so far: threads that are there are preferred to it.
    best: Option<PathId>,
    paths: Paths,
    sets: Sets,
    tallies: Vec<Tally>,
    /// Without registers: a bit for each row and each instruction that takes one. Set when a thread was there: another has the
    /// same future. Kept from an attempt that fails for the next one: that future is none.
    seen: Vec<u64>,
    /// The row of the first bits.
    seen_from: RowNumber,
    /// With registers: the last thread at each place, of the row in `stamp`.
    last_at: Vec<(u64, u32)>,
    stamp: u64,
    /// Threads of the next row.
    next: Vec<Thread>,
    next_words: Vec<u64>,
    scratch: Vec<u64>,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is not decided yet.
    Open,
    /// There is no match.
    Failed,
    /// The preferred match: what its rows are.
    Matched(Vec<Label>),
    /// It has more threads than are allowed.
    TooLarge,
}

/// What attempts are made with.
pub struct Machine<'a> {
    /// The pattern.
    pub program: &'a Program,
    /// Its conditions.
    pub conditions: &'a Conditions,
    /// What variables are called.
    pub variables: &'a [String],
    /// The most threads of an attempt.
    pub max_threads: usize,
    /// Whether what an attempt that fails has seen is so for the next one, too.
    pub learns: bool,
    /// The ways through the program.
    pub closure: &'a mut Closure,
    /// The rows of all partitions.
    pub store: &'a RowStore,
    /// Conditions that failed: the row and why.
    pub failures: &'a mut Vec<(RowNumber, String)>,
}

impl Attempt {
    /// Begins at a row that has arrived. `seen` from before is kept if the attempt before, from an earlier row, failed.
    pub fn begin(&mut self, machine: &mut Machine, start: RowNumber, failed_before: bool) {
        self.threads.clear();
        self.words.clear();
        self.best = None;
        self.paths.clear();
        self.sets.clear();
        self.tallies
            .resize_with(machine.conditions.aggregates.len(), Tally::default);
        self.tallies.iter_mut().for_each(Tally::clear);
        let stride = stride(machine.program);
        if failed_before && machine.learns && start >= self.seen_from {
            self.trim(start, stride);
        } else {
            self.seen.clear();
            self.seen_from = start;
        }
        let mut words = std::mem::take(&mut self.scratch);
        machine.conditions.registers.begin(&mut words);
        self.next.clear();
        self.next_words.clear();
        self.stamp += 1;
        machine.closure.renew();
        let position = if start == 0 { Position::First } else { Position::Inside };
        self.schedule(machine, 0, position, start, NOTHING, &words);
        self.scratch = words;
        self.swap();
    }

    /// Forgets what was seen of rows that are over.
    fn trim(&mut self, start: RowNumber, stride: usize) {
        let over = (start - self.seen_from) as usize * stride;
        if over * 2 > self.seen.len() {
            self.seen.drain(..over.min(self.seen.len()));
            self.seen_from = start;
        }
    }

    /// Whether there is nothing to wait for, and what then came out. `threads` that wait for rows or the end are not there.
    pub fn outcome(&mut self) -> Outcome {
        if !self.threads.is_empty() {
            return Outcome::Open;
        }
        match self.best.take() {
            Some(best) => Outcome::Matched(self.paths.labels(best)),
            None => Outcome::Failed,
        }
    }

    /// Gives the next row to all threads.
    pub fn step(
        &mut self,
        machine: &mut Machine,
        track: &Track,
        start: RowNumber,
        number: RowNumber,
        matches: u64,
    ) -> Outcome {
        let Some(row) = track.row(number).copied() else {
            return Outcome::Failed;
        };
        let place_in_match = (number - start) as u32;
        let stride = machine.conditions.registers.words();
        self.next.clear();
        self.next_words.clear();
        self.stamp += 1;
        machine.closure.renew();
        let threads = std::mem::take(&mut self.threads);
        let mut scratch = std::mem::take(&mut self.scratch);
        for (index, thread) in threads.iter().enumerate() {
            let Instruction::Take { variable, excluded, .. } = machine.program.at(thread.place) else {
                // `$`, and here is a row.
                continue;
            };
            if !has(row.fits, variable) {
                continue;
            }
            scratch.clear();
            scratch.extend_from_slice(&self.words[index * stride..(index + 1) * stride]);
            machine
                .conditions
                .registers
                .take(&mut scratch, place_in_match, variable, &mut self.sets);
            let candidate = Candidate {
                store: machine.store,
                track,
                start,
                row: place_in_match,
                words: &scratch,
                sets: &self.sets,
                number: matches + 1,
                variables: machine.variables,
            };
            match machine.conditions.holds(variable, &candidate, &mut self.tallies) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(message) => {
                    machine.failures.push((number, message));
                    continue;
                }
            }
            let path = self.paths.push(thread.path, Label::new(variable, excluded));
            let wanted = self.schedule(machine, thread.place + 1, Position::Inside, number + 1, path, &scratch);
            if self.next.len() > machine.max_threads {
                (self.threads, self.scratch) = (threads, scratch);
                return Outcome::TooLarge;
            }
            if wanted == Wanted::No {
                break;
            }
        }
        (self.threads, self.scratch) = (threads, scratch);
        self.swap();
        self.sweep(&machine.conditions.registers.set_words().collect::<Vec<_>>(), stride);
        self.outcome()
    }

    /// No more rows can be taken: WITHIN is over. Those that wait for the end still do.
    pub fn cut(&mut self, machine: &Machine) -> Outcome {
        let waits = |thread: &Thread| matches!(machine.program.at(thread.place), Instruction::End);
        if !self.threads.iter().any(waits) {
            self.threads.clear();
            self.words.clear();
            return self.outcome();
        }
        // They are few and take no row any more: their words do not matter.
        let stride = machine.conditions.registers.words();
        self.threads.retain(waits);
        self.words.resize(self.threads.len() * stride, 0);
        Outcome::Open
    }

    /// No row comes after: what waits for that goes on.
    pub fn end(&mut self, machine: &mut Machine) -> Outcome {
        machine.closure.renew();
        for thread in std::mem::take(&mut self.threads) {
            if machine.program.at(thread.place) != Instruction::End {
                continue;
            }
            let ended = machine
                .closure
                .run(machine.program, thread.place, Position::Ended, |stop| match stop {
                    Stop::Match => Wanted::No,
                    _ => Wanted::Yes,
                });
            if ended == Wanted::No {
                self.best = Some(thread.path);
                break;
            }
        }
        self.words.clear();
        self.outcome()
    }

    /// Adds the threads that a thread becomes which goes on at a place.
    fn schedule(
        &mut self,
        machine: &mut Machine,
        place: Place,
        position: Position,
        row: RowNumber,
        path: PathId,
        words: &[u64],
    ) -> Wanted {
        let Machine { program, closure, .. } = machine;
        if !words.is_empty() {
            // Threads with other pasts may be at the same places.
            closure.renew();
        }
        let mut best = None;
        let wanted = closure.run(program, place, position, |stop| match stop {
            Stop::Match => {
                best = Some(path);
                Wanted::No
            }
            Stop::Take(place) | Stop::End(place) => {
                let new = match words.is_empty() {
                    true => self.is_new(program, place, row),
                    false => self.is_new_past(program, place, words),
                };
                if new {
                    let last = self.last_at.get(place as usize).copied();
                    let same_place = last.filter(|(stamp, _)| *stamp == self.stamp);
                    if !words.is_empty() {
                        self.last_at[place as usize] = (self.stamp, self.next.len() as u32);
                    }
                    self.next.push(Thread {
                        place,
                        path,
                        same_place: same_place.map_or(NOTHING, |(_, thread)| thread),
                    });
                    self.next_words.extend_from_slice(words);
                }
                Wanted::Yes
            }
        });
        if best.is_some() {
            self.best = best;
        }
        wanted
    }

    /// Whether no thread was at a place before a row.
    fn is_new(&mut self, program: &Program, place: Place, row: RowNumber) -> bool {
        let Instruction::Take { number, .. } = program.at(place) else {
            return true;
        };
        let stride = stride(program);
        let at = (row - self.seen_from) as usize * stride + number as usize / 64;
        if self.seen.len() <= at {
            self.seen.resize((at / stride + 1) * stride, 0);
        }
        let bit = 1 << (number % 64);
        let new = self.seen[at] & bit == 0;
        self.seen[at] |= bit;
        new
    }

    /// Whether no thread is at a place with such words.
    fn is_new_past(&mut self, program: &Program, place: Place, words: &[u64]) -> bool {
        if self.last_at.len() < program.len() {
            self.last_at.resize(program.len(), (0, NOTHING));
        }
        let (stamp, last) = self.last_at[place as usize];
        let mut at = if stamp == self.stamp { last } else { NOTHING };
        while at != NOTHING {
            let from = at as usize * words.len();
            if self.next_words[from..from + words.len()] == *words {
                return false;
            }
            at = self.next[at as usize].same_place;
        }
        true
    }

    fn swap(&mut self) {
        std::mem::swap(&mut self.threads, &mut self.next);
        std::mem::swap(&mut self.words, &mut self.next_words);
    }

    /// Drops the pasts of threads that are gone, when they are most.
    fn sweep(&mut self, set_words: &[usize], stride: usize) {
        if self.paths.is_full() {
            let threads = self.threads.iter_mut().map(|thread| &mut thread.path);
            self.paths.sweep(threads.chain(&mut self.best));
        }
        if !self.sets.is_full() {
            return;
        }
        let words = &self.words;
        let used = (0..self.threads.len())
            .flat_map(|thread| set_words.iter().map(move |word| words[thread * stride + word] as SetId));
        let places = self.sets.sweep(used.filter(|set| *set != NOTHING));
        for thread in 0..self.threads.len() {
            for word in set_words {
                let word = &mut self.words[thread * stride + word];
                if *word != u64::from(NOTHING) {
                    *word = u64::from(places[*word as usize]);
                }
            }
        }
        self.tallies.iter_mut().for_each(|tally| tally.renumber(&places));
    }
}

/// How many words of bits a row takes.
fn stride(program: &Program) -> usize {
    program.takes().div_ceil(64).max(1)
}
