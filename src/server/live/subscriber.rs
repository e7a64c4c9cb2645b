//! [`Subscriber`]: a client's end of a subscription.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;

use super::queue::{Item, Policy, Queue};
use super::selection::Selection;

/// What a client wants.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The condition on the rows, as SQL; empty: all rows.
    pub filter: String,
    /// What it wants to see of a change.
    pub selection: Selection,
    /// What happens when it does not keep up.
    pub policy: Policy,
    /// How many changes may wait.
    pub queue: usize,
    /// Whether it begins with the rows there are.
    pub rows: bool,
    /// Where an earlier subscription had come to.
    pub resume: Option<Token>,
    /// Notified when there is something for it. Several subscriptions may share one.
    pub wake: Arc<Notify>,
}

/// A point in the changes of a relation: of one life of its view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Which life.
    pub epoch: u64,
    /// After which change.
    pub seq: u64,
}

impl Token {
    /// Of its text, `1f3a-17`.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.trim().split_once('-')?;
        Some(Token {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.seq)
    }
}

/// A subscription; dropping it ends it.
#[derive(Debug)]
pub struct Subscriber {
    pub(super) queue: Arc<Queue>,
    pub(super) left: Arc<Notify>,
    /// What its resume tokens begin with.
    pub epoch: u64,
}

impl Subscriber {
    /// What there is now, `most` changes at most. `folding`: if it coalesces, changes of one row become one first.
    pub fn pop(&self, most: usize, folding: bool) -> Vec<Item> {
        self.queue.pop(most, folding)
    }

    /// How many changes wait.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Where a subscription goes on after that change.
    pub fn token(&self, seq: u64) -> Token {
        Token { epoch: self.epoch, seq }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.queue.leave();
        self.left.notify_one();
    }
}
