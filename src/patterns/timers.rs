//! What time will do to attempts: deadlines of absence and of WITHIN.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::program::PartId;
use super::shape::ElementId;
use crate::event::Micros;

/// The place of an attempt.
pub type AttemptId = u32;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Due {
    /// The WITHIN of the whole is over.
    Expiry,
    /// The WITHIN of a group is over.
    GroupExpiry(PartId),
    /// What must not come has not come.
    Silence(ElementId),
}

/// Something due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// When.
    pub at: Micros,
    /// In the order they were set.
    pub number: u64,
    /// Whose.
    pub attempt: AttemptId,
    /// Which of those that had the place.
    pub generation: u32,
    /// What.
    pub due: Due,
}

/// All timers, the earliest first.
///
/// *Cost.* Setting one that is later than all others, as those of one WITHIN are, is O(1); taking one O(log n). Timers of
/// attempts that are gone are swept out when they are most.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    set: u64,
    /// Swept when there are more than so many.
    limit: usize,
}

/// Fewer timers are not worth sweeping.
const FEW: usize = 1_024;

impl Timers {
    /// Sets one.
    pub fn set(&mut self, at: Micros, attempt: AttemptId, generation: u32, due: Due) {
        self.set += 1;
        self.heap.push(Reverse(Timer {
            at,
            number: self.set,
            attempt,
            generation,
            due,
        }));
    }

    /// When the earliest is due.
    pub fn next(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes the earliest if it is due.
    pub fn take(&mut self, now: Micros) -> Option<Timer> {
        match self.heap.peek() {
            Some(Reverse(timer)) if timer.at <= now => self.heap.pop().map(|Reverse(timer)| timer),
            _ => None,
        }
    }

    /// All, by whose they are, each in the order they were set.
    pub fn by_attempt(&self) -> HashMap<(AttemptId, u32), Vec<(Micros, Due)>> {
        let mut all: Vec<&Timer> = self.heap.iter().map(|Reverse(timer)| timer).collect();
        all.sort_by_key(|timer| timer.number);
        let mut by_attempt: HashMap<_, Vec<_>> = HashMap::new();
        for timer in all {
            let own = by_attempt.entry((timer.attempt, timer.generation)).or_default();
            own.push((timer.at, timer.due));
        }
        by_attempt
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<Timer>>()
    }

    /// Throws out those of attempts that are gone, if there may be many.
    pub fn sweep(&mut self, is_alive: impl Fn(&Timer) -> bool) {
        if self.heap.len() > self.limit.max(FEW) {
            self.heap.retain(|Reverse(timer)| is_alive(timer));
            self.limit = self.heap.len() * 2;
        }
    }
}
