//! How far one attempt is.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::captures::{LinkId, NOTHING};
use super::program::Program;
use super::shape::Elements;
use crate::event::Micros;

/// The start of an attempt that has no event yet.
pub const NOT_STARTED: Micros = Micros::MIN;

/// An attempt at a match.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// In the order of creation.
    pub id: u64,
    /// In the order of their first events; the largest number before.
    pub order: u64,
    /// What it waits for; nothing when its place is free.
    pub waits: Elements,
    /// The time of its first event.
    pub started: Micros,
    /// The number of its first event among those of its partition.
    pub first: u64,
    /// Its latest event.
    pub link: LinkId,
    /// Whose it is.
    pub partition: u32,
    /// The head of the list of where it waits.
    pub places: u32,
    /// Tells it from others that had its place before.
    pub generation: u32,
    /// Whether anything has happened to it: before, it is the start that waits.
    pub begun: bool,
    /// Counters and the like, for patterns that need them.
    pub slots: Option<Box<Slots>>,
}

/// What attempts at patterns with collections, groups, absence or AND have beside.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Slots {
    /// Guards that have seen what must not come.
    pub violated: Elements,
    /// EVERY parts it is in, by their number.
    pub inside: u64,
    /// Those of them that are complete but may still take events.
    pub complete: u64,
    /// It began again complete as it is: what it takes next makes it a match.
    #[serde(default)]
    pub whole: bool,
    /// The WITHIN parts that are complete but may still take events, by their number.
    pub ended: u64,
    /// The counters, the marks, the deadlines, the times of guards.
    #[serde(serialize_with = "as_slice", deserialize_with = "from_vec")]
    pub numbers: SmallVec<[i64; 4]>,
}

fn as_slice<S: serde::Serializer>(numbers: &SmallVec<[i64; 4]>, serializer: S) -> Result<S::Ok, S::Error> {
    numbers.as_slice().serialize(serializer)
}

fn from_vec<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SmallVec<[i64; 4]>, D::Error> {
    Vec::deserialize(deserializer).map(SmallVec::from_vec)
}

/// A link as a mark.
pub fn mark_of(link: LinkId) -> i64 {
    i64::from(link)
}

/// The link of a mark.
fn link_of(mark: i64) -> LinkId {
    LinkId::try_from(mark).unwrap_or(NOTHING)
}

impl Attempt {
    /// One that waits for nothing yet.
    pub fn new(program: &Program, partition: u32) -> Self {
        let quiets = program.counters + program.marks + program.deadlines;
        let slots = program.has_slots().then(|| {
            let mut numbers = SmallVec::from_elem(0, quiets);
            numbers.resize(quiets + program.quiets, NOT_STARTED);
            Box::new(Slots {
                numbers,
                ..Slots::default()
            })
        });
        Attempt {
            id: 0,
            order: u64::MAX,
            waits: 0,
            started: NOT_STARTED,
            first: 0,
            link: NOTHING,
            partition,
            places: u32::MAX,
            generation: 0,
            begun: false,
            slots,
        }
    }

    /// Whether it has its first event.
    pub fn has_started(&self) -> bool {
        self.started != NOT_STARTED
    }

    /// A counter.
    pub fn counter(&self, index: usize) -> u64 {
        let numbers = self.slots.as_ref().map(|slots| &slots.numbers);
        numbers
            .and_then(|numbers| numbers.get(index))
            .map_or(0, |count| *count as u64)
    }

    /// Sets a counter.
    pub fn set_counter(&mut self, index: usize, value: u64) {
        if let Some(slots) = &mut self.slots {
            slots.numbers[index] = value as i64;
        }
    }

    /// A mark.
    pub fn mark(&self, program: &Program, index: usize) -> i64 {
        let index = program.counters + index;
        self.slots.as_ref().map_or(0, |slots| slots.numbers[index])
    }

    /// Sets a mark.
    pub fn set_mark(&mut self, program: &Program, index: usize, value: i64) {
        if let Some(slots) = &mut self.slots {
            slots.numbers[program.counters + index] = value;
        }
    }

    /// A mark that is a link.
    pub fn link_mark(&self, program: &Program, index: usize) -> LinkId {
        link_of(self.mark(program, index))
    }

    /// A deadline.
    pub fn deadline(&self, program: &Program, index: usize) -> Micros {
        let index = program.counters + program.marks + index;
        self.slots.as_ref().map_or(Micros::MAX, |slots| slots.numbers[index])
    }

    /// Sets a deadline.
    pub fn set_deadline(&mut self, program: &Program, index: usize, at: Micros) {
        if let Some(slots) = &mut self.slots {
            slots.numbers[program.counters + program.marks + index] = at;
        }
    }

    /// At the start: up to when what a guard forbids still counts.
    pub fn quiet_until(&self, program: &Program, index: usize) -> Micros {
        let index = program.counters + program.marks + program.deadlines + index;
        self.slots.as_ref().map_or(NOT_STARTED, |slots| slots.numbers[index])
    }

    /// Sets it.
    pub fn set_quiet_until(&mut self, program: &Program, index: usize, until: Micros) {
        if let Some(slots) = &mut self.slots {
            slots.numbers[program.counters + program.marks + program.deadlines + index] = until;
        }
    }

    /// It is in these EVERY parts no more, by their numbers.
    pub fn leave_everies(&mut self, everies: u64) {
        if let Some(slots) = &mut self.slots {
            slots.inside &= !everies;
            slots.complete &= !everies;
        }
    }

    /// Whether it began again complete as it is.
    pub fn is_whole(&self) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.whole)
    }

    /// Says so, or not.
    pub fn set_whole(&mut self, whole: bool) {
        if let Some(slots) = &mut self.slots {
            slots.whole = whole;
        }
    }

    /// Whether it is in an EVERY, by its number.
    pub fn is_inside(&self, every: usize) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.inside >> every & 1 == 1)
    }
}
