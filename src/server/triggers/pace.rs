//! [`Pace`]: so many in such a time, never more.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::Micros;

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time, in µs.
    pub per: Micros,
}

/// Lets through what a rate allows. In whatever stretch of that time, there are never more. *Cost.* O(1); a time for each of the count.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    /// When the last ones went.
    gone: VecDeque<Micros>,
}

impl Pace {
    /// Of a rate, with nothing gone yet.
    pub fn new(rate: Rate) -> Self {
        Pace {
            rate,
            gone: VecDeque::new(),
        }
    }

    /// When the next one may go; a time that has come: now.
    pub fn next(&self) -> Micros {
        match self.gone.front() {
            Some(first) if self.gone.len() >= self.rate.count as usize => first.saturating_add(self.rate.per),
            _ => Micros::MIN,
        }
    }

    /// One goes.
    pub fn goes(&mut self, now: Micros) {
        if self.gone.len() >= self.rate.count as usize {
            self.gone.pop_front();
        }
        self.gone.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_in_any_stretch() {
        let mut pace = Pace::new(Rate { count: 3, per: 100 });
        let mut went = Vec::new();
        for now in 0..1_000 {
            // Somebody who is eager, and now and then is not.
            while pace.next() <= now && now % 7 != 0 {
                pace.goes(now);
                went.push(now);
            }
        }
        assert!(went.windows(4).all(|four| four[3] - four[0] >= 100), "{went:?}");
        assert!(went.len() > 25);
    }
}
