//! How many attempts may be open, what happens to those that are too many, and the count of all.

use super::captures::LinkId;
use super::matcher::Matcher;
use super::progress::{Attempt, Slots};
use super::shape::Mode;
use super::timers::AttemptId;
use crate::error::{Error, Result};

/// A bound on open attempts: those that have begun. What waits for a first event is one a key at most, and does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// At most so many.
    pub most: usize,
    /// What happens to those beyond.
    pub overflow: Overflow,
}

impl Bound {
    /// More than so many places are not numbered.
    pub const LARGEST: usize = 1_000_000_000;
}

/// What happens when too many attempts are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Those go that began first.
    DropOldest,
    /// No more begin.
    DropNewest,
    /// The app stops.
    Fail,
}

impl Overflow {
    /// The names of all, as options have them.
    pub const NAMES: [&'static str; 3] = ["drop-oldest", "drop-newest", "fail"];

    /// Of its name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "drop-oldest" => Some(Overflow::DropOldest),
            "drop-newest" => Some(Overflow::DropNewest),
            "fail" => Some(Overflow::Fail),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Overflow::DropOldest => Overflow::NAMES[0],
            Overflow::DropNewest => Overflow::NAMES[1],
            Overflow::Fail => Overflow::NAMES[2],
        }
    }
}

/// A million attempts, each of some hundred bytes, are what one machine bears well beside other things.
pub const DEFAULT_BOUND: Bound = Bound {
    most: 1_000_000,
    overflow: Overflow::DropOldest,
};

/// How many attempts are open and what became of others.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Attempts that have begun.
    pub open: usize,
    /// Matches.
    pub matches: u64,
    /// Attempts that timed out.
    pub timeouts: u64,
    /// Attempts dropped because there were too many.
    pub dropped: u64,
    /// Attempts are being dropped, and that has been reported.
    bursting: bool,
    /// It is to be reported.
    unreported: bool,
}

/// How many events the open attempts of a pattern may have, each counted once for each attempt or beginning that has it.
const MOST_EVENTS: usize = 20_000_000;

/// Fewer entries of attempts that are gone are not worth sweeping.
const FEW: usize = 1_024;

impl Matcher {
    /// Whether no more attempts may begin.
    pub(super) fn turns_away(&self) -> bool {
        let bound = self.plan.bound;
        bound.overflow == Overflow::DropNewest && self.tally.open >= bound.most
    }

    /// One that would have been too many, with its events.
    pub(super) fn turn_away(&mut self, link: LinkId) {
        self.count_dropped();
        self.events.release(link);
    }

    fn count_dropped(&mut self) {
        self.tally.dropped += 1;
        self.tally.unreported |= !self.tally.bursting;
        self.tally.bursting = true;
    }

    /// Sweeps out what attempts that are gone have left. Once a batch.
    pub(super) fn sweep(&mut self) {
        let attempts = &self.attempts;
        if self.ages.len() > FEW.max(2 * self.tally.open) {
            self.ages.retain(|(id, generation)| attempts.is_alive(*id, *generation));
        }
        self.timers
            .sweep(|timer| attempts.is_alive(timer.attempt, timer.generation));
    }

    /// Lets attempts go while there are too many.
    pub(super) fn keep_within_bound(&mut self) -> Result<()> {
        let most = self.plan.bound.most;
        while self.tally.open > most || self.events.links.len() > MOST_EVENTS {
            if !self.drop_one()? {
                break;
            }
        }
        if self.tally.bursting && self.tally.open < most - most / 10 {
            self.tally.bursting = false;
        }
        Ok(())
    }

    /// Lets an attempt go, by the policy; whether there was one.
    fn drop_one(&mut self) -> Result<bool> {
        loop {
            let next = match self.plan.bound.overflow {
                Overflow::DropOldest => self.ages.pop_front(),
                Overflow::DropNewest => self.ages.pop_back(),
                Overflow::Fail => return Err(Error::failed(self.too_many())),
            };
            let Some((id, generation)) = next else {
                return Ok(false);
            };
            if self.attempts.is_alive(id, generation) {
                self.count_dropped();
                self.drop_attempt(id);
                return Ok(true);
            }
        }
    }

    /// Takes an attempt away. An EVERY at the start that it was to begin again begins.
    fn drop_attempt(&mut self, id: AttemptId) {
        let program = &self.plan.program;
        let every = program.leading_every.filter(|_| program.mode == Mode::Skipping);
        let every = every.and_then(|part| program.everies.iter().position(|every| *every == part));
        let attempt = self.attempts.get(id);
        let (partition, again) = (attempt.partition, every.is_some_and(|every| attempt.is_inside(every)));
        self.remove(id);
        self.events.let_go();
        if again && !self.ending {
            self.start(partition);
        }
    }

    /// That attempts are being dropped: once when it begins, and again when there were fewer in between.
    pub fn take_report(&mut self) -> Option<String> {
        std::mem::take(&mut self.tally.unreported).then(|| self.too_many())
    }

    fn too_many(&self) -> String {
        let Bound { most, overflow } = self.plan.bound;
        let then = match overflow {
            Overflow::DropOldest => ": the oldest are dropped",
            Overflow::DropNewest => ": no more begin until there are fewer",
            Overflow::Fail => "",
        };
        format!("more than {most} attempts at the pattern are open{then}")
    }

    /// How many attempts there are.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What the open attempts take, in bytes: theirs, where they wait, their events and timers. O(streams and columns).
    pub fn bytes(&self) -> usize {
        let program = &self.plan.program;
        let numbers = program.counters + program.marks + program.deadlines + program.quiets;
        let slots = match program.has_slots() {
            true => size_of::<Slots>() + numbers.saturating_sub(4) * size_of::<i64>(),
            false => 0,
        };
        let stores = self.events.stores.iter().map(|store| {
            let columns = store.columns.iter().map(super::columns::Column::bytes);
            store.uses.bytes() + columns.sum::<usize>()
        });
        self.attempts.places() * size_of::<Attempt>()
            + self.attempts.len() * slots
            + self.events.links.bytes()
            + self.waiting.bytes()
            + self.timers.bytes()
            + self.ages.capacity() * size_of::<(AttemptId, u32)>()
            + stores.sum::<usize>()
    }
}
