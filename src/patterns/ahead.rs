//! What the next events will need, looked at beforehand.
//!
//! Where many attempts are open, an event waits for memory again and again: for its bucket, who stands there, how far that
//! attempt is, what it has captured; each tells where the next one is. Events do so one after the other, but what several of them
//! need has nothing to do with each other: looked at together, the processor fetches it at once. Nothing is decided here.

use super::matcher::{Matcher, Prepared};
use super::shape::ElementId;
use super::waiting::Key;

/// So many events are looked at together: what they need fits into the nearest cache.
pub(super) const TOGETHER: usize = 16;

/// Fewer open attempts are near anyway.
const MANY: usize = 2_048;

/// What is looked at, kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    keys: Vec<Key>,
    buckets: Vec<u32>,
}

impl Matcher {
    /// Whether looking ahead pays.
    pub(super) fn looks_ahead(&self) -> bool {
        self.attempts.places() > MANY
    }

    /// Looks at what these events will need. *Cost.* A look-up for each event and element that may take it.
    pub(super) fn look_ahead<'a>(&mut self, events: impl Iterator<Item = (&'a Prepared, usize)>) {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.keys.clear();
        ahead.buckets.clear();
        for (prepared, row) in events {
            self.keys_of(prepared, row, &mut ahead.keys);
        }
        self.waiting.buckets_of(&ahead.keys, &mut ahead.buckets);
        let seen = ahead
            .buckets
            .iter()
            .fold(0, |seen, bucket| seen ^ self.seen_in(*bucket));
        std::hint::black_box(seen);
        self.ahead = ahead;
    }

    /// The buckets that an event will look into.
    fn keys_of(&self, prepared: &Prepared, row: usize, keys: &mut Vec<Key>) {
        let Some(partition) = prepared.partition(row) else {
            return;
        };
        let mut rest = prepared.takers[row];
        if let Some(open) = self.plan.program.always_open {
            rest &= !(1 << open);
        }
        while rest != 0 {
            let element = rest.trailing_zeros() as ElementId;
            rest &= rest - 1;
            keys.extend(self.key_for(prepared, row, partition, element));
        }
    }

    /// Something of all that an event in a bucket needs.
    fn seen_in(&self, bucket: u32) -> u64 {
        let Some(id) = self.waiting.latest_in(bucket) else {
            return 0;
        };
        let attempt = self.attempts.get(id);
        let link = self.events.links.event_of(attempt.link);
        attempt.waits ^ attempt.counter(0) ^ u64::from(link)
    }
}
