//! What waits to be delivered: requests in lanes, and when which may go.
//!
//! Of a lane, which is the order of a key, only the first request is on its way or waits for another attempt; those behind it wait for it
//! to be delivered or given up. Lanes do not wait for each other, but for the servers' breakers and the number of requests at once.
//!
//! No I/O and no clock: times are given, in µs.
//!
//! *Cost.* O(log lanes) a request and attempt, whatever else waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::breaker::{Breaker, BreakerSettings};
use super::entry::{Entry, Lane};
use crate::catalog::error_policy::Retry;
use crate::error::ErrorKind;
use crate::event::Micros;

/// Of how many servers is remembered how they do.
const MOST_SERVERS: usize = 1_024;

/// How the outbox works.
#[derive(Debug, Clone, Copy)]
pub struct OutboxSettings {
    /// Requests on their way at once.
    pub concurrency: usize,
    /// When a request is tried again.
    pub retry: Retry,
    /// When a server is left alone.
    pub breaker: BreakerSettings,
    /// How many events may wait.
    pub max_events: usize,
    /// How many bytes they may have.
    pub max_bytes: usize,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it.
    Delivered,
    /// Another attempt may help.
    Again {
        /// Why this one did not.
        reason: String,
        /// How long the server wants to be left alone, in µs.
        after: Option<Micros>,
        /// Whether the server, not the request, is to blame.
        server: bool,
    },
    /// No other attempt will help.
    Never {
        /// Why.
        reason: String,
        /// Whose fault it is.
        kind: ErrorKind,
    },
}

/// A request that nobody will try again.
#[derive(Debug, Clone)]
pub struct GivenUp {
    /// The request.
    pub entry: Arc<Entry>,
    /// Why.
    pub reason: String,
    /// Whose fault it is.
    pub kind: ErrorKind,
}

/// A request that is to be made now.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The request.
    pub entry: Arc<Entry>,
    /// The server, as [`Outbox::push`] was told.
    pub server: Arc<str>,
}

struct Waiting {
    entry: Arc<Entry>,
    server: Arc<str>,
}

/// See the module.
pub struct Outbox {
    settings: OutboxSettings,
    lanes: HashMap<Lane, VecDeque<Waiting>>,
    /// Lanes whose first request may go.
    ready: VecDeque<Lane>,
    /// Lanes whose first request may go later, and when.
    later: BinaryHeap<Reverse<(Micros, Lane)>>,
    servers: HashMap<Arc<str>, Breaker>,
    /// Lanes whose first request is on its way.
    flying: HashSet<Lane>,
    events: usize,
    bytes: usize,
}

impl Outbox {
    /// With nothing in it.
    pub fn new(settings: OutboxSettings) -> Self {
        Outbox {
            settings,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            later: BinaryHeap::new(),
            servers: HashMap::new(),
            flying: HashSet::new(),
            events: 0,
            bytes: 0,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether it takes more.
    pub fn has_room(&self) -> bool {
        self.events < self.settings.max_events && self.bytes < self.settings.max_bytes
    }

    /// Adds a request to a server.
    pub fn push(&mut self, entry: Entry, server: Arc<str>) {
        self.events += entry.events.len();
        self.bytes += entry.bytes();
        let lane = entry.lane;
        let waiting = self.lanes.entry(lane).or_default();
        if waiting.is_empty() {
            self.ready.push_back(lane);
        }
        let entry = Arc::new(entry);
        waiting.push_back(Waiting { entry, server });
    }

    /// The next request that may go, if there is one.
    pub fn next(&mut self, now: Micros) -> Option<Attempt> {
        while let Some(Reverse((due, lane))) = self.later.peek()
            && *due <= now
        {
            self.ready.push_back(*lane);
            self.later.pop();
        }
        while self.flying.len() < self.settings.concurrency {
            let lane = self.ready.pop_front()?;
            if self.flying.contains(&lane) {
                continue;
            }
            let Some(first) = self.lanes.get(&lane).and_then(VecDeque::front) else {
                continue;
            };
            let breaker = match self.servers.get_mut(&first.server) {
                Some(breaker) => breaker,
                None => {
                    if self.servers.len() >= MOST_SERVERS {
                        self.servers.clear();
                    }
                    self.servers.entry(first.server.clone()).or_default()
                }
            };
            match breaker.admit(now, self.settings.breaker) {
                Ok(()) => {
                    self.flying.insert(lane);
                    return Some(Attempt {
                        entry: first.entry.clone(),
                        server: first.server.clone(),
                    });
                }
                Err(until) => self.later.push(Reverse((until, lane))),
            }
        }
        None
    }

    /// When to ask [`Outbox::next`] again if nothing happens before.
    pub fn due(&self) -> Option<Micros> {
        match self.flying.len() < self.settings.concurrency {
            true => self.later.peek().map(|Reverse((due, _))| *due),
            false => None,
        }
    }

    /// An attempt is over. The request, if it is given up by that; `random` is from 0 to 1.
    pub fn done(&mut self, attempt: &Attempt, outcome: Outcome, now: Micros, random: f64) -> Option<GivenUp> {
        let lane = attempt.entry.lane;
        self.flying.remove(&lane);
        let tried = attempt.entry.attempts.saturating_add(1);
        if let Some(breaker) = self.servers.get_mut(&attempt.server) {
            match &outcome {
                Outcome::Again { server: true, .. } if breaker.failed(now, self.settings.breaker) => {
                    tracing::warn!(server = &*attempt.server, pause = ?std::time::Duration::from_micros(self.settings.breaker.pause.unsigned_abs()), "too many failures: the server is left alone for a while");
                }
                Outcome::Again { server: true, .. } => {}
                // It is there, whatever it thinks of the request.
                _ => breaker.succeeded(),
            }
            if let Outcome::Again { after: Some(after), .. } = &outcome {
                breaker.wait_until(now.saturating_add(*after));
            }
        }
        let (reason, kind) = match outcome {
            Outcome::Delivered => {
                self.pop(lane);
                return None;
            }
            Outcome::Never { reason, kind } => (reason, kind),
            Outcome::Again { reason, .. } => match self.settings.retry.delay(tried, random) {
                Some(delay) => {
                    tracing::debug!(
                        server = &*attempt.server,
                        id = attempt.entry.id,
                        tried,
                        reason,
                        "tried again later"
                    );
                    self.tried(lane, tried);
                    self.later.push(Reverse((now.saturating_add(delay), lane)));
                    return None;
                }
                None => (reason, ErrorKind::Sink),
            },
        };
        self.tried(lane, tried);
        let entry = self.pop(lane)?;
        Some(GivenUp { entry, reason, kind })
    }

    /// All requests, each lane in its order.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let all = self.lanes.values().flatten();
        all.map(|waiting| waiting.entry.clone()).collect()
    }

    /// Takes requests out that nobody wants delivered any more, but for those on their way. How many there are.
    pub fn forget(&mut self, is_unwanted: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let mut gone = Vec::new();
        for (lane, waiting) in &mut self.lanes {
            let flies = self.flying.contains(lane);
            let mut number = 0;
            waiting.retain(|one| {
                number += 1;
                let stays = (flies && number == 1) || !is_unwanted(&one.entry);
                if !stays {
                    gone.push(one.entry.clone());
                }
                stays
            });
        }
        // A lane that is ready, or will be, and is not there is passed over.
        self.lanes.retain(|_, waiting| !waiting.is_empty());
        for entry in &gone {
            self.events -= entry.events.len();
            self.bytes -= entry.bytes();
        }
        gone
    }

    fn tried(&mut self, lane: Lane, attempts: u32) {
        if let Some(first) = self.lanes.get_mut(&lane).and_then(VecDeque::front_mut) {
            let mut entry = Entry::clone(&first.entry);
            entry.attempts = attempts;
            first.entry = Arc::new(entry);
        }
    }

    /// Takes the first request of a lane out; the next may go.
    fn pop(&mut self, lane: Lane) -> Option<Arc<Entry>> {
        let waiting = self.lanes.get_mut(&lane)?;
        let first = waiting.pop_front()?;
        match waiting.is_empty() {
            true => {
                self.lanes.remove(&lane);
            }
            false => self.ready.push_back(lane),
        }
        self.events -= first.entry.events.len();
        self.bytes -= first.entry.bytes();
        Some(first.entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(concurrency: usize, max_attempts: u32) -> OutboxSettings {
        OutboxSettings {
            concurrency,
            retry: Retry {
                max_attempts,
                initial_delay: 10,
                max_delay: 1_000,
                multiplier: 2.0,
                jitter: 0.0,
            },
            breaker: BreakerSettings { failures: 0, pause: 0 },
            max_events: 1_000,
            max_bytes: 1 << 20,
        }
    }

    fn entry(number: usize, lane: Lane) -> Entry {
        Entry {
            id: number.to_string(),
            route: String::new(),
            lane,
            url: None,
            headers: Vec::new(),
            body: Vec::new(),
            events: vec!["{}".to_string()],
            attempts: 0,
        }
    }

    fn again() -> Outcome {
        Outcome::Again {
            reason: "503".to_string(),
            after: None,
            server: true,
        }
    }

    #[test]
    fn a_lane_waits_for_its_first_and_others_do_not() {
        let mut outbox = Outbox::new(settings(8, 3));
        for (number, lane) in [(0, 1), (1, 1), (2, 2)] {
            outbox.push(entry(number, lane), "s".into());
        }
        let first = outbox.next(0).unwrap();
        let other = outbox.next(0).unwrap();
        assert_eq!((first.entry.id.as_str(), other.entry.id.as_str()), ("0", "2"));
        assert!(outbox.next(0).is_none());
        assert!(outbox.done(&first, again(), 5, 0.0).is_none());
        assert!(outbox.done(&other, Outcome::Delivered, 5, 0.0).is_none());
        assert_eq!(outbox.due(), Some(15));
        assert!(outbox.next(14).is_none());
        for (now, attempts) in [(15, 1), (40, 2)] {
            let first = outbox.next(now).unwrap();
            assert_eq!((first.entry.id.as_str(), first.entry.attempts), ("0", attempts));
            let given_up = outbox.done(&first, again(), now, 0.0);
            assert_eq!(given_up.is_some(), attempts == 2);
            if let Some(given_up) = given_up {
                assert_eq!((given_up.entry.attempts, given_up.kind), (3, ErrorKind::Sink));
            }
        }
        assert_eq!(outbox.next(40).unwrap().entry.id, "1");
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it_from_all_lanes() {
        let mut outbox = Outbox::new(settings(8, 0));
        (0..3).for_each(|number| outbox.push(entry(number, number as u64), "s".into()));
        outbox.push(entry(3, 3), "t".into());
        let first = outbox.next(0).unwrap();
        let wait = Outcome::Again {
            reason: "429".to_string(),
            after: Some(5_000),
            server: false,
        };
        outbox.done(&first, wait, 0, 0.0);
        assert_eq!(outbox.next(0).unwrap().entry.id, "3");
        assert!(outbox.next(4_999).is_none());
        assert_eq!(outbox.due(), Some(5_000));
        let mut ids: Vec<String> = (0..3).map(|_| outbox.next(5_000).unwrap().entry.id.clone()).collect();
        ids.sort();
        assert_eq!(ids, ["0", "1", "2"]);
    }

    #[test]
    fn what_is_forgotten_is_not_delivered_but_what_is_on_its_way_ends() {
        let mut outbox = Outbox::new(settings(1, 0));
        for (number, lane) in [(0, 1), (1, 1), (2, 2), (3, 3)] {
            outbox.push(entry(number, lane), "s".into());
        }
        let first = outbox.next(0).unwrap();
        let gone = outbox.forget(|entry| entry.id != "3");
        let mut gone: Vec<&str> = gone.iter().map(|entry| entry.id.as_str()).collect();
        gone.sort_unstable();
        assert_eq!(gone, ["1", "2"]);
        assert!(outbox.done(&first, again(), 0, 0.0).is_none());
        let next = outbox.next(0).unwrap();
        assert_eq!(next.entry.id, "3");
        outbox.done(&next, Outcome::Delivered, 0, 0.0);
        // It was on its way when it was forgotten; once it is back it may be forgotten, too.
        assert_eq!(outbox.forget(|_| true).len(), 1);
        assert!(outbox.is_empty() && outbox.next(1_000_000).is_none());
        outbox.push(entry(4, 1), "s".into());
        assert_eq!(outbox.next(1_000_000).unwrap().entry.id, "4");
        assert!(outbox.next(1_000_000).is_none() && outbox.events == 1);
    }

    proptest! {
        /// Whatever fails, each lane is delivered or given up in its order, once, and nothing is left.
        #[test]
        fn all_are_delivered_in_order(
            lanes in prop::collection::vec(0_u64..4, 0..40),
            outcomes in prop::collection::vec((0_usize..4, 0_usize..8), 0..200),
            concurrency in 1_usize..6,
            max_attempts in 0_u32..4,
        ) {
            let mut outbox = Outbox::new(OutboxSettings {
                breaker: BreakerSettings { failures: 2, pause: 500 },
                ..settings(concurrency, max_attempts)
            });
            for (number, lane) in lanes.iter().enumerate() {
                outbox.push(entry(number, *lane), if lane % 2 == 0 { "a".into() } else { "b".into() });
            }
            let (mut over, mut flying, mut now) = (Vec::new(), Vec::new(), 0);
            let mut outcomes = outcomes.into_iter();
            let mut calls = 0;
            while !outbox.is_empty() {
                while let Some(attempt) = outbox.next(now) {
                    flying.push(attempt);
                    prop_assert!(flying.len() <= concurrency);
                }
                if flying.is_empty() {
                    now = outbox.due().expect("something is due");
                    continue;
                }
                let (outcome, which) = outcomes.next().unwrap_or((0, 0));
                let attempt = flying.swap_remove(which % flying.len());
                let outcome = match outcome {
                    0 => Outcome::Delivered,
                    1 => Outcome::Never { reason: String::new(), kind: ErrorKind::Refused },
                    2 => Outcome::Again { reason: String::new(), after: Some(77), server: false },
                    _ => again(),
                };
                let delivered = outcome == Outcome::Delivered;
                let given_up = outbox.done(&attempt, outcome, now, 0.5);
                if delivered || given_up.is_some() {
                    over.push((attempt.entry.lane, attempt.entry.id.parse::<usize>().unwrap()));
                }
                now += 3;
                calls += 1;
                prop_assert!(calls < 10_000);
            }
            prop_assert!(flying.is_empty() && outbox.events == 0 && outbox.bytes == 0 && outbox.flying.is_empty());
            prop_assert_eq!(over.len(), lanes.len());
            for lane in 0..4 {
                let own: Vec<usize> = over.iter().filter(|(of, _)| *of == lane).map(|(_, number)| *number).collect();
                prop_assert!(own.is_sorted());
            }
        }
    }
}
