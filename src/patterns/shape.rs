//! The parts of a pattern, as the planner gives them.

use crate::event::Micros;

/// The number of an element, in the order of the text.
pub type ElementId = usize;

/// A set of elements, one bit each.
pub type Elements = u64;

/// How many elements a pattern may have: one bit each in [`Elements`].
pub const MAX_ELEMENTS: usize = 64;

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Events of a stream: at least `min`, at most `max`.
    Events {
        /// Which element.
        element: ElementId,
        /// At least.
        min: u32,
        /// At most; without bound if `None`.
        max: Option<u32>,
    },
    /// No event that matches: for a time, or while what it stands beside comes.
    Absent {
        /// Which element.
        element: ElementId,
        /// For how long.
        wait: Option<Micros>,
    },
    /// One after the other.
    Chain(Vec<Shape>),
    /// All, in any order.
    And(Vec<Shape>),
    /// Whichever comes first.
    Or(Vec<Shape>),
    /// So often.
    Repeat {
        /// What is repeated.
        body: Box<Shape>,
        /// At least.
        min: u32,
        /// At most; without bound if `None`.
        max: Option<u32>,
    },
    /// Again when it is complete.
    Every(Box<Shape>),
    /// Within so much time, or so many events, from its first event to its last.
    Within {
        /// What is bounded.
        body: Box<Shape>,
        /// By how much.
        limit: Limit,
    },
}

/// PATTERN or SEQUENCE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Events that do not match are skipped.
    Skipping,
    /// Each event must match.
    Strict,
}

/// WITHIN of a whole pattern or of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Last minus first event's time.
    Time(Micros),
    /// The number of events of any of its streams, from the first to the last.
    Events(u64),
}

impl Shape {
    /// Its elements.
    pub fn elements(&self) -> Elements {
        match self {
            Shape::Events { element, .. } | Shape::Absent { element, .. } => 1 << element,
            Shape::Chain(parts) | Shape::And(parts) | Shape::Or(parts) => {
                parts.iter().fold(0, |all, part| all | part.elements())
            }
            Shape::Repeat { body, .. } | Shape::Every(body) | Shape::Within { body, .. } => body.elements(),
        }
    }

    /// Whether it is complete without any event having come or time having passed.
    pub fn may_be_empty(&self) -> bool {
        match self {
            Shape::Events { min, .. } => *min == 0,
            Shape::Absent { wait, .. } => wait.is_none(),
            Shape::Chain(parts) | Shape::And(parts) => parts.iter().all(Shape::may_be_empty),
            Shape::Or(parts) => parts.iter().any(Shape::may_be_empty),
            Shape::Repeat { body, min, .. } => *min == 0 || body.may_be_empty(),
            Shape::Every(body) | Shape::Within { body, .. } => body.may_be_empty(),
        }
    }

    /// Whether it may have events before it is complete.
    pub fn may_be_partial(&self) -> bool {
        match self {
            Shape::Events { min, .. } => *min > 1,
            Shape::Absent { .. } => false,
            Shape::Chain(_) | Shape::And(_) | Shape::Repeat { .. } => true,
            Shape::Or(parts) => parts.iter().any(Shape::may_be_partial),
            Shape::Every(body) | Shape::Within { body, .. } => body.may_be_partial(),
        }
    }

    /// Whether it takes no more events once it is complete.
    pub fn is_closed_when_complete(&self) -> bool {
        match self {
            Shape::Events { min, max, .. } => *max == Some(*min),
            Shape::Absent { .. } => true,
            Shape::Chain(_) => self.ends().iter().all(|part| part.is_closed_when_complete()),
            Shape::And(parts) | Shape::Or(parts) => parts.iter().all(Shape::is_closed_when_complete),
            // A round is over when it is complete.
            Shape::Repeat { min, max, .. } => *max == Some(*min),
            Shape::Every(body) | Shape::Within { body, .. } => body.is_closed_when_complete(),
        }
    }

    /// Of a chain the parts that may still take events when it is complete, as far as their kind goes: an event that a part
    /// takes closes those before it, time that passes does not.
    pub fn ends(&self) -> &[Shape] {
        let Shape::Chain(parts) = self else {
            return std::slice::from_ref(self);
        };
        let from = parts.iter().rposition(Shape::takes_events).unwrap_or(0);
        &parts[from..]
    }

    /// Whether it takes an event in any case.
    fn takes_events(&self) -> bool {
        match self {
            Shape::Events { min, .. } => *min > 0,
            Shape::Absent { .. } => false,
            Shape::Chain(parts) | Shape::And(parts) => parts.iter().any(Shape::takes_events),
            Shape::Or(parts) => parts.iter().all(Shape::takes_events),
            Shape::Repeat { body, min, .. } => *min > 0 && body.takes_events(),
            Shape::Every(body) | Shape::Within { body, .. } => body.takes_events(),
        }
    }

    /// Whether it begins with an EVERY that begins again by itself, whatever comes after.
    pub fn leads_with_every(&self) -> bool {
        match self {
            Shape::Every(_) => true,
            Shape::Chain(parts) => parts.first().is_some_and(Shape::leads_with_every),
            Shape::Within { body, .. } => body.leads_with_every(),
            _ => false,
        }
    }
}
