//! Windows: which events of a stream belong together.
//!
//! A window turns a stream of inserts into a *changelog of its content*: an event that enters is `+I` (CURRENT), one that
//! leaves is `-D` (EXPIRED). Aggregates add the one and retract the other, and a query's output takes either or both.
//!
//! There are two families.
//!
//! *Sliding* windows change with every event: what leaves goes out immediately before what pushes it out. Their batches are
//! runs of changes, in order, and may be cut anywhere.
//!
//! *Batch* windows gather events and close. Each batch that leaves such an operator is **one emission**: the events of the
//! window that leave (the former batch), then those that enter. The runtime passes batches between the operators of a query
//! as they are, so what comes after (filter, aggregate, ORDER BY) works emission by emission.

pub mod announce;
pub mod changes;
pub mod condition;
pub mod cron;
pub mod deadlines;
pub mod delay;
pub mod emission;
pub mod expression;
pub mod fifo;
pub mod frequent;
pub mod gather;
pub mod held;
pub mod hop;
pub mod keyed_fifo;
pub mod length_batch;
pub mod row_store;
pub mod session;
pub mod session_index;
pub mod sort;
pub mod time_batch;
pub mod time_column;
pub mod unique;

use crate::event::Micros;
use crate::operators::{END_OF_TIME, TimeUpdate};

/// What moves a window's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeDomain {
    /// Watermarks.
    Event,
    /// The clock.
    Processing,
}

impl TimeDomain {
    /// How far this time has come with an update; `None` if it was the other time that moved.
    pub fn reached(self, update: TimeUpdate) -> Option<Micros> {
        match (self, update) {
            (TimeDomain::Event, TimeUpdate::Watermark(now)) | (TimeDomain::Processing, TimeUpdate::Timer(now)) => {
                Some(now)
            }
            _ => None,
        }
    }

    /// The same, where the end of the input ends processing time, too.
    pub fn reached_or_ended(self, update: TimeUpdate) -> Option<Micros> {
        let ended = update == TimeUpdate::Watermark(END_OF_TIME);
        self.reached(update).or(ended.then_some(END_OF_TIME))
    }
}

impl std::fmt::Display for TimeDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TimeDomain::Event => "event time",
            TimeDomain::Processing => "processing time",
        })
    }
}

/// What of a window's past anybody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retained {
    /// Only what enters: a sliding window without aggregates holds nothing.
    Nothing,
    /// What leaves, too.
    Expired,
}

#[cfg(test)]
mod tests;
