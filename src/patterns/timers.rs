//! What time will do to attempts: deadlines of absence and of WITHIN.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::event::Micros;

/// The place of an attempt.
pub type AttemptId = u32;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Due {
    /// The WITHIN of the whole is over.
    Expiry,
    /// The WITHIN of a group is over.
    GroupExpiry(u16),
    /// What must not come has not come.
    Silence(u8),
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
/// Timers of one WITHIN or FOR are set in the order they are due: such rows of timers are queues, a few of them for as many
/// different times to wait; what fits into none goes to a heap.
///
/// *Cost.* Setting and taking is O(1) in a queue, O(log n) in the heap. Timers of attempts that are gone are swept out when they
/// are most.
#[derive(Debug)]
pub struct Timers {
    queues: [VecDeque<Timer>; QUEUES],
    heap: BinaryHeap<Reverse<Timer>>,
    set: u64,
    /// None is due before.
    earliest: Micros,
    /// Swept when there are more than so many.
    limit: usize,
}

/// How many rows of timers there are.
const QUEUES: usize = 3;

/// Fewer timers are not worth sweeping.
const FEW: usize = 1_024;

impl Default for Timers {
    fn default() -> Self {
        Timers {
            queues: Default::default(),
            heap: BinaryHeap::new(),
            set: 0,
            earliest: Micros::MAX,
            limit: 0,
        }
    }
}

impl Timers {
    /// Sets one.
    pub fn set(&mut self, at: Micros, attempt: AttemptId, generation: u32, due: Due) {
        self.set += 1;
        self.earliest = self.earliest.min(at);
        let timer = Timer {
            at,
            number: self.set,
            attempt,
            generation,
            due,
        };
        let fits = |queue: &&mut VecDeque<Timer>| queue.back().is_none_or(|last| last.at <= at);
        match self.queues.iter_mut().find(fits) {
            Some(queue) => queue.push_back(timer),
            None => self.heap.push(Reverse(timer)),
        }
    }

    /// The earliest, and the row it is in; none for the heap.
    fn first(&self) -> Option<(&Timer, Option<usize>)> {
        let queues = self.queues.iter().enumerate();
        let fronts = queues.filter_map(|(index, queue)| Some((queue.front()?, Some(index))));
        let top = self.heap.peek().map(|Reverse(timer)| (timer, None));
        fronts.chain(top).min_by_key(|(timer, _)| (timer.at, timer.number))
    }

    /// When the earliest is due.
    pub fn next(&self) -> Option<Micros> {
        self.first().map(|(timer, _)| timer.at)
    }

    /// Whether one may be due; if not, none is. O(1) and cheap: it is asked for each event.
    pub fn may_be_due(&self, now: Micros) -> bool {
        self.earliest <= now
    }

    /// Takes the earliest if it is due.
    pub fn take(&mut self, now: Micros) -> Option<Timer> {
        let first = self.first();
        let earliest = first.map_or(Micros::MAX, |(timer, _)| timer.at);
        let queue = first.filter(|_| earliest <= now).map(|(_, queue)| queue);
        self.earliest = earliest;
        match queue? {
            Some(index) => self.queues[index].pop_front(),
            None => self.heap.pop().map(|Reverse(timer)| timer),
        }
    }

    /// All, by whose they are, each in the order they were set.
    pub fn by_attempt(&self) -> HashMap<(AttemptId, u32), Vec<(Micros, Due)>> {
        let in_heap = self.heap.iter().map(|Reverse(timer)| timer);
        let mut all: Vec<&Timer> = self.queues.iter().flatten().chain(in_heap).collect();
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
        let queued: usize = self.queues.iter().map(VecDeque::capacity).sum();
        (self.heap.capacity() + queued) * size_of::<Timer>()
    }

    /// Throws out those of attempts that are gone, if there may be many.
    pub fn sweep(&mut self, is_alive: impl Fn(&Timer) -> bool) {
        if self.len() > self.limit.max(FEW) {
            self.heap.retain(|Reverse(timer)| is_alive(timer));
            for queue in &mut self.queues {
                queue.retain(&is_alive);
            }
            self.limit = self.len() * 2;
        }
    }

    fn len(&self) -> usize {
        self.heap.len() + self.queues.iter().map(VecDeque::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_taken_by_time_and_then_as_they_were_set() {
        let mut timers = Timers::default();
        // Waits of 5 and 90 in turn, and some that fit nowhere.
        for number in 0..200_i64 {
            let wait = match number % 10 {
                9 => 1,
                8 => 40,
                7 => 20,
                even if even % 2 == 0 => 5,
                _ => 90,
            };
            timers.set(number + wait, number as u32, 0, Due::Expiry);
        }
        assert!(!timers.heap.is_empty() && timers.queues.iter().all(|queue| !queue.is_empty()));
        timers.sweep(|timer| timer.attempt != 7);
        assert_eq!(timers.by_attempt().len(), 200);
        let (mut taken, mut now) = (Vec::new(), 0);
        while let Some(at) = timers.next() {
            assert_eq!(timers.take(at - 1), None);
            assert!(at >= now);
            now = at;
            let timer = timers.take(at).expect("one is due");
            taken.push((timer.at, timer.number));
        }
        assert_eq!(taken.len(), 200);
        assert!(taken.is_sorted());
    }
}
