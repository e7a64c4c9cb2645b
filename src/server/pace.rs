//! [`Paced`]: a subscription that is told no more often than it wants.

use std::time::Instant;

use super::exposed::Pace;
use super::live::{Item, LiveCounters, Subscriber};

/// A subscription with its pace.
#[derive(Debug)]
pub struct Paced {
    /// The subscription.
    pub subscriber: Subscriber,
    pace: Pace,
    /// Not before.
    next: Option<Instant>,
}

impl Paced {
    /// Told at once, first.
    pub fn new(subscriber: Subscriber, pace: Pace) -> Self {
        Paced {
            subscriber,
            pace,
            next: None,
        }
    }

    /// What is to be told now.
    pub fn take(&mut self, counters: &LiveCounters) -> Vec<Item> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return Vec::new();
        }
        self.next = None;
        let items = self.subscriber.pop(self.pace.max_rows, self.pace.every.is_some());
        let mut changes = false;
        for item in &items {
            if let Item::Change(message) = item {
                counters
                    .latency
                    .observe(now.saturating_duration_since(message.change.at));
                changes = true;
            }
        }
        // After what it was told; when there is nothing, the next change is told at once.
        self.next = self.pace.every.filter(|_| changes).map(|every| now + every);
        items
    }

    /// When there will be something to tell, if not now.
    pub fn due(&self) -> Option<Instant> {
        self.next
    }
}
