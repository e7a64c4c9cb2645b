//! When which of many operators is to be called.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::aggregates::GroupId;
use crate::event::Micros;

/// A queue of moments, the earliest first, of one moment the least number. An entry that its owner no longer means stays until
/// its moment or until [`WakeUps::tidy`] finds too many of them: owners may come and go for ever.
#[derive(Debug, Default)]
pub struct WakeUps {
    heap: BinaryHeap<Reverse<(Micros, GroupId)>>,
    /// At how many entries it is tidied next.
    limit: usize,
}

/// So few entries are never too many.
const SLACK: usize = 1_024;

impl WakeUps {
    /// Adds a moment for one.
    pub fn push(&mut self, at: Micros, id: GroupId) {
        self.heap.push(Reverse((at, id)));
    }

    /// Takes out the first entry if it is `until` or before.
    pub fn pop(&mut self, until: Micros) -> Option<(Micros, GroupId)> {
        let Reverse(first) = self.heap.peek().copied().filter(|Reverse((at, _))| *at <= until)?;
        self.heap.pop();
        Some(first)
    }

    /// The first moment.
    pub fn next(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Drops entries that do not hold any more, once the queue has doubled. O(1) an entry, amortised.
    pub fn tidy(&mut self, holds: impl Fn(Micros, GroupId) -> bool) {
        if self.heap.len() <= self.limit.max(SLACK) {
            return;
        }
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.sort_unstable();
        entries.dedup();
        entries.retain(|Reverse((at, id))| holds(*at, *id));
        self.limit = 2 * entries.len();
        entries.shrink_to(self.limit);
        self.heap = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_does_not_pile_up() {
        let mut queue = WakeUps::default();
        for at in 0..1_000_000 {
            queue.push(at + 10_000_000, 7);
            queue.tidy(|due, _| due == at + 10_000_000);
        }
        assert!(queue.heap.len() <= SLACK + 1, "{}", queue.heap.len());
        let last = 1_000_000 - 1 + 10_000_000;
        queue.tidy(|at, _| at == last);
        let mut rest = std::iter::from_fn(|| queue.pop(last));
        assert!(rest.any(|entry| entry == (last, 7)));
        assert_eq!(queue.next(), None);
    }
}
