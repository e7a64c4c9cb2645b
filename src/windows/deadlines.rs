//! When things are over whose end keeps moving away.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::event::Micros;

/// A queue of deadlines that only grow. A thing is in it once, under a deadline that may have passed on since; what it is by
/// now is asked only when the old one is due. So moving a deadline costs nothing.
///
/// Those far away lie unsorted in buckets of time; only the bucket that is reached is put in order.
///
/// *Cost.* O(1) in, O(log of a bucket) out; each deadline is looked at once a `width` at most.
pub struct Deadlines {
    width: Micros,
    far: BTreeMap<i64, Vec<(Micros, u32)>>,
    near: BinaryHeap<Reverse<(Micros, u32)>>,
    /// The last bucket that is in `near`.
    reached: i64,
}

impl Deadlines {
    /// Empty; deadlines lie about `ahead` in the future.
    pub fn new(ahead: Micros) -> Self {
        Deadlines {
            width: (ahead / BUCKETS).max(1),
            far: BTreeMap::new(),
            near: BinaryHeap::new(),
            reached: i64::MIN,
        }
    }

    /// Adds a thing.
    pub fn push(&mut self, at: Micros, thing: u32) {
        let bucket = at.div_euclid(self.width);
        match bucket <= self.reached {
            true => self.near.push(Reverse((at, thing))),
            false => self.far.entry(bucket).or_default().push((at, thing)),
        }
    }

    /// No deadline is before this.
    pub fn next(&self) -> Option<Micros> {
        match self.near.peek() {
            Some(Reverse((at, _))) => Some(*at),
            None => {
                let (bucket, _) = self.far.first_key_value()?;
                Some(bucket.saturating_mul(self.width))
            }
        }
    }

    /// Takes out the things whose deadline is `limit` or before. `deadline` says what a thing's is by now; things without one
    /// are taken out, too.
    pub fn due(&mut self, limit: Micros, deadline: impl Fn(u32) -> Option<Micros>) -> Vec<u32> {
        let mut due = Vec::new();
        loop {
            while let Some(&Reverse((at, thing))) = self.near.peek()
                && at <= limit
            {
                self.near.pop();
                match deadline(thing) {
                    Some(later) if later > limit => self.push(later, thing),
                    _ => due.push(thing),
                }
            }
            if !self.near.is_empty() || !self.reach(limit, &deadline) {
                return due;
            }
        }
    }

    /// Puts the next bucket in order, if it begins at `limit` or before. Things whose deadline has moved on go to theirs.
    fn reach(&mut self, limit: Micros, deadline: &impl Fn(u32) -> Option<Micros>) -> bool {
        let Some(bucket) = self.far.first_entry() else {
            return false;
        };
        if bucket.key().saturating_mul(self.width) > limit {
            return false;
        }
        self.reached = *bucket.key();
        for (at, thing) in bucket.remove() {
            self.push(deadline(thing).unwrap_or(at), thing);
        }
        true
    }
}

/// Buckets of the time ahead: few enough to be cheap, enough that one holds a small part of all.
const BUCKETS: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moved_is_met_later() {
        let mut queue = Deadlines::new(1_000);
        queue.push(100, 1);
        queue.push(90, 2);
        queue.push(5_000, 3);
        let now = |thing: u32| [None, Some(100), Some(2_000), Some(5_000)][thing as usize];
        assert_eq!(queue.due(99, now), Vec::<u32>::new());
        assert_eq!(queue.due(100, now), [1]);
        assert!(queue.next().is_some_and(|at| at <= 2_000));
        assert_eq!(queue.due(Micros::MAX, now), [2, 3]);
        assert_eq!(queue.next(), None);
    }
}
