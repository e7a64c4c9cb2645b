//! Join of rows whose times are near each other.

use std::ops::Bound;

use super::spec::JoinSpec;
use crate::event::Micros;
use crate::windows::TimeDomain;

/// What an interval join does.
#[derive(Debug, Clone)]
pub struct IntervalJoinPlan {
    /// Which rows match, besides the times.
    pub join: JoinSpec,
    /// How far their times may be apart.
    pub interval: Interval,
    /// The columns that hold the times of the left and the right rows, TIMESTAMP; `None` for the events' times. A column must
    /// be the one that the watermark is about. Rows that have NULL there match nothing.
    pub times: [Option<usize>; 2],
    /// What moves time: watermarks, or the clock when events' times are those of their arrival.
    pub domain: TimeDomain,
}

/// The times that a right row may have, counted from the left row's: `left + lower ..= left + upper`.
///
/// Both ends must be there: were one missing, the rows of one side could never be dropped (that is a plain join with a
/// condition). An interval whose upper end is before its lower one holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// From here on.
    pub lower: Micros,
    /// Up to and including this.
    pub upper: Micros,
}

impl Interval {
    /// Between two bounds of `right.time - left.time`; `None` if either is missing. Times are whole µs, so an end that does not
    /// belong is the same as one µs less.
    pub fn between(lower: Bound<Micros>, upper: Bound<Micros>) -> Option<Self> {
        let lower = match lower {
            Bound::Included(lower) => lower,
            Bound::Excluded(lower) => lower.saturating_add(1),
            Bound::Unbounded => return None,
        };
        let upper = match upper {
            Bound::Included(upper) => upper,
            Bound::Excluded(upper) => upper.saturating_sub(1),
            Bound::Unbounded => return None,
        };
        Some(Interval { lower, upper })
    }
}
