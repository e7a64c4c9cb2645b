//! [`Paced`]: a subscription that is told no more often than it wants, no longer than it may be, and not without a note if there has to
//! be one.

use std::time::Instant;

use super::access::Principal;
use super::audit::{Event, sent};
use super::exposed::Pace;
use super::live::{Closed, Item, LiveCounters, Subscriber};

/// A subscription with its pace.
#[derive(Debug)]
pub struct Paced {
    /// The subscription.
    pub subscriber: Subscriber,
    pace: Pace,
    /// Not before.
    next: Option<Instant>,
    /// Who is told.
    principal: Principal,
    /// Of what.
    relation: String,
    /// Whether it was told that it is the end, though the subscription goes on.
    over: bool,
}

impl Paced {
    /// Told at once, first.
    pub fn new(subscriber: Subscriber, pace: Pace, principal: &Principal, relation: &str) -> Self {
        Paced {
            subscriber,
            pace,
            next: None,
            principal: principal.clone(),
            relation: relation.to_string(),
            over: false,
        }
    }

    /// What is to be told now.
    pub fn take(&mut self, counters: &LiveCounters) -> Vec<Item> {
        let now = Instant::now();
        if self.over {
            return Vec::new();
        }
        if self.principal.has_ended(now) {
            self.over = true;
            return vec![Item::Closed(Closed::Expired)];
        }
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
        if !self.note(&items) {
            self.over = true;
            return vec![Item::Closed(Closed::NotNoted)];
        }
        // After what it was told; when there is nothing, the next change is told at once.
        self.next = self.pace.every.filter(|_| changes).map(|every| now + every);
        items
    }

    /// Notes what is sent, if that is to be noted. Whether it may be sent.
    fn note(&self, items: &[Item]) -> bool {
        let audit = &self.principal.place().audit;
        if !audit.notes(Event::Sent) {
            return true;
        }
        let texts = items.iter().filter_map(|item| match item {
            Item::Row(text) => Some(text.clone()),
            Item::Change(message) => Some(message.text()),
            _ => None,
        });
        let texts: Vec<bytes::Bytes> = texts.collect();
        if texts.is_empty() {
            return true;
        }
        let shown = if audit.notes_rows() { texts.as_slice() } else { &[] };
        let more = sent(texts.len(), shown);
        audit
            .note(Event::Sent, &self.principal, &self.relation, "CHANGES", more)
            .is_ok()
    }

    /// When it must be told that it is over, whatever there is.
    pub fn ends(&self) -> Option<Instant> {
        self.principal.ends()
    }

    /// When there will be something to tell, if not now.
    pub fn due(&self) -> Option<Instant> {
        self.next
    }
}
