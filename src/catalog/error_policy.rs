//! What happens to a stream's events in trouble: its options `error.…`, checked.
//!
//! Two kinds of trouble are told apart. *An event is wrong*: it cannot be decoded, an expression fails on it, a table or a sink
//! refuses what it holds. Trying again would change nothing. *The outside is not there*: a source or a sink cannot read or write.
//! Trying again is the cure, and there may be nothing wrong with any event. So where nobody gives a strategy, a wrong event is
//! dropped, and an outside that fails stops the app.

use crate::error::ErrorKind;
use crate::event::Micros;

/// What a stream does about trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorPolicy {
    /// What is said; `None`: nothing.
    pub strategy: Option<ErrorStrategy>,
    /// How often and when the outside is tried again.
    pub retry: Retry,
    /// What follows the last attempt.
    pub exhausted: Action,
    /// Where dead letters go.
    pub dead_letters: Option<String>,
    /// What happens to a dead letter that its stream cannot take.
    pub fallback: Fallback,
    /// How events in trouble are logged.
    pub log: ErrorLog,
}

/// `error.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStrategy {
    /// The event is dropped.
    Drop,
    /// The outside is tried again.
    Retry,
    /// The event goes to the stream of dead letters.
    DeadLetter,
    /// The app stops.
    Fail,
}

/// What happens to one event in trouble. It is counted, logged and told to whoever listens in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is dropped.
    Drop,
    /// It goes to the stream of dead letters.
    DeadLetter,
    /// The app stops.
    Fail,
}

/// `error.dlq.fallback-strategy`, from mild to strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fallback {
    /// The dead letter is logged, whole.
    Log,
    /// It is tried again, and then the app stops.
    Retry,
    /// The app stops.
    Fail,
}

/// How events in trouble are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorLog {
    /// As what; `None`: not at all.
    pub level: Option<LogLevel>,
    /// Whether each is, and whole: there is no other place left for it.
    pub each: bool,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// An error.
    Error,
    /// A warning.
    Warn,
    /// For information.
    Info,
    /// For whoever looks for a bug.
    Debug,
    /// For whoever wants to see everything.
    Trace,
}

/// When the outside is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// How often it is tried, the first time included; 0: without end.
    pub max_attempts: u32,
    /// The wait after the first attempt.
    pub initial_delay: Micros,
    /// The longest wait.
    pub max_delay: Micros,
    /// By how much each wait is longer than the one before.
    pub multiplier: f64,
    /// The part of a wait that is left to chance, from 0 to 1, so that many that failed together do not come back together.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            max_attempts: 10,
            initial_delay: 100_000,
            max_delay: 30_000_000,
            multiplier: 2.0,
            jitter: 0.2,
        }
    }
}

impl Retry {
    /// How long to wait after `attempts` attempts have failed, given a random number from 0 to 1; `None` when that was the last.
    ///
    /// `initial-delay × multiplier ^ (attempts - 1)`, at most `max-delay`, made shorter by chance.
    pub fn delay(&self, attempts: u32, random: f64) -> Option<Micros> {
        if self.max_attempts > 0 && attempts >= self.max_attempts {
            return None;
        }
        let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max_delay.max(0) as f64;
        // Infinite after very many attempts, which `min` takes care of.
        let whole = (self.initial_delay.max(0) as f64 * self.multiplier.powi(exponent)).min(longest);
        Some((whole * (1.0 - self.jitter * random.clamp(0.0, 1.0))) as Micros)
    }
}

impl ErrorPolicy {
    /// What happens to an event in trouble of that kind.
    pub fn action(&self, kind: ErrorKind) -> Action {
        match kind {
            ErrorKind::Sink => self.of_the_outside(),
            // There is no event that could go anywhere.
            ErrorKind::Source => Action::Drop,
            _ => self.of_an_event(),
        }
    }

    /// What happens to an event that is wrong.
    fn of_an_event(&self) -> Action {
        match (self.strategy, &self.dead_letters) {
            (Some(ErrorStrategy::Fail), _) => Action::Fail,
            (Some(ErrorStrategy::DeadLetter), _) | (Some(ErrorStrategy::Retry), Some(_)) => Action::DeadLetter,
            (None | Some(ErrorStrategy::Drop | ErrorStrategy::Retry), _) => Action::Drop,
        }
    }

    /// What happens, after the last attempt, to events that a sink cannot write.
    pub fn of_the_outside(&self) -> Action {
        match self.strategy {
            None | Some(ErrorStrategy::Fail) => Action::Fail,
            Some(ErrorStrategy::Drop) => Action::Drop,
            Some(ErrorStrategy::DeadLetter) => Action::DeadLetter,
            Some(ErrorStrategy::Retry) => self.exhausted,
        }
    }

    /// How the outside is tried again, if it is.
    pub fn retries(&self) -> Option<&Retry> {
        (self.strategy == Some(ErrorStrategy::Retry)).then_some(&self.retry)
    }

    /// The stream that its dead letters go to, if any may go there.
    pub fn queue(&self) -> Option<&str> {
        let any = [self.of_an_event(), self.of_the_outside()].contains(&Action::DeadLetter);
        self.dead_letters.as_deref().filter(|_| any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(max_attempts: u32, jitter: f64) -> Retry {
        Retry {
            max_attempts,
            initial_delay: 100,
            max_delay: 1_000,
            multiplier: 2.0,
            jitter,
        }
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_end() {
        let waits: Vec<_> = (1..=6).map(|attempt| retry(6, 0.0).delay(attempt, 0.7)).collect();
        assert_eq!(waits, [Some(100), Some(200), Some(400), Some(800), Some(1_000), None]);
        assert_eq!(retry(1, 0.0).delay(1, 0.0), None);
        assert_eq!(retry(0, 0.0).delay(u32::MAX, 0.0), Some(1_000));
    }

    #[test]
    fn chance_only_makes_them_shorter() {
        let shortest = retry(9, 0.5).delay(2, 1.0);
        assert_eq!((shortest, retry(9, 0.5).delay(2, 0.0)), (Some(100), Some(200)));
        assert_eq!(retry(9, 1.0).delay(4, 1.0), Some(0));
        let odd = Retry {
            multiplier: 1e300,
            max_delay: i64::MAX,
            ..retry(0, 0.2)
        };
        assert!(odd.delay(900, 0.5).is_some_and(|wait| wait > 0));
    }
}
