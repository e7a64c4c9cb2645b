//! What a pattern finds, by a slow reading of its definition.
//!
//! An attempt is a copy of the pattern's tree in which every part knows what it has. Nothing is indexed, shared or counted: each
//! event walks through the whole tree of every attempt, what is complete is found by looking, and what EVERY begins again is
//! another copy of the tree.

use std::cmp::Reverse;

mod again;
mod growth;
mod state;
mod strict;

use super::Event;
use super::tree::{Bound, Node, Relation, Spec};
use state::{
    Path, State, active, captured, close, complete, each, earliest, elements_of, node_at, path_of, state_at, waiting,
    waits,
};

/// More attempts than this are not worth the time: the case is skipped.
const TOO_MANY: usize = 3_000;

#[derive(Debug, Clone)]
struct Attempt {
    id: u64,
    root: State,
    begun: bool,
    /// Time in µs, number, and order of the first event.
    first: Option<(i64, u64, u64)>,
    /// By element: up to when what must not come counts at the start.
    quiet: Vec<i64>,
}

/// A match: when and by which event it was complete, in which order it began, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub at: (i64, u64),
    pub began: u64,
    pub text: String,
}

struct Walk<'a> {
    spec: &'a Spec,
    events: &'a [Event],
    /// The pattern begins with EVERY, under nothing but chains.
    leading: bool,
    attempts: Vec<Attempt>,
    ids: u64,
    timers: u64,
    clock: i64,
    ending: bool,
    order: u64,
    found: Vec<Found>,
    too_many: bool,
}

/// The time of a silence that has lost its place.
const NEVER: i64 = i64::MAX;

const fn us(ms: i64) -> i64 {
    ms * 1_000
}

/// All matches, or nothing if there are too many attempts.
pub fn oracle(spec: &Spec, events: &[Event]) -> Option<Vec<Found>> {
    let mut keys: Vec<Option<i64>> = vec![None];
    if spec.by_key {
        keys = events.iter().map(|event| Some(event.k)).collect();
        keys.sort();
        keys.dedup();
    }
    let mut found = Vec::new();
    for key in keys {
        let mut walk = Walk {
            spec,
            events,
            leading: leads(&spec.root),
            attempts: Vec::new(),
            ids: 0,
            timers: 0,
            clock: 0,
            ending: false,
            order: 0,
            found: Vec::new(),
            too_many: false,
        };
        walk.all(key);
        if walk.too_many {
            return None;
        }
        found.extend(walk.found);
    }
    found.sort();
    Some(found)
}

/// Whether EVERY comes first, under nothing but chains.
fn leads(node: &Node) -> bool {
    match node {
        Node::Every(_) => true,
        Node::Chain(parts) => leads(&parts[0]),
        _ => false,
    }
}

impl Walk<'_> {
    fn all(&mut self, key: Option<i64>) {
        let mut number = 0;
        for (index, event) in self.events.iter().enumerate() {
            if self.too_many {
                return;
            }
            // Time goes on for all keys.
            if number > 0 {
                self.reach(us(event.ts));
            }
            self.clock = us(event.ts);
            if key.is_some_and(|key| event.k != key) {
                continue;
            }
            if number == 0 {
                self.start();
            }
            number += 1;
            self.order = index as u64;
            self.event(index, number);
        }
        self.ending = true;
        self.reach(i64::MAX);
    }

    fn start(&mut self) {
        let root = self.begin(&self.spec.root);
        let quiet = vec![i64::MIN; self.spec.elements.len()];
        self.add(Attempt {
            id: 0,
            root,
            begun: false,
            first: None,
            quiet,
        });
    }

    fn add(&mut self, mut attempt: Attempt) -> u64 {
        self.ids += 1;
        attempt.id = self.ids;
        self.too_many |= self.attempts.len() > TOO_MANY;
        self.attempts.push(attempt);
        self.ids
    }

    /// Everything due up to a time happens, the earliest first.
    fn reach(&mut self, time: i64) {
        while let Some((at, _, id, due)) = self.next_due().filter(|(at, ..)| *at <= time) {
            self.clock = self.clock.max(at);
            let Some(index) = self.attempts.iter().position(|attempt| attempt.id == id) else {
                return;
            };
            let mut attempt = self.attempts.remove(index);
            match due {
                Due::Whole => {
                    let again = self.again_in_time(&attempt, at, 0);
                    self.take_in(again);
                }
                Due::Group(path) => self.group_over(attempt, &path),
                Due::Silence(path) => {
                    if let State::Silence { done, .. } = state_at(&mut attempt.root, &path) {
                        *done = true;
                    }
                    self.settle_tree(&mut attempt, &path);
                    self.after_timer(attempt, at);
                }
            }
        }
    }

    /// The earliest thing due: when, its number, whose, what.
    fn next_due(&self) -> Option<(i64, u64, u64, Due)> {
        let mut all = Vec::new();
        for attempt in &self.attempts {
            if let (Some((time, ..)), Some(Bound::Time(bound))) = (attempt.first, self.spec.bound) {
                all.push((time + us(bound) + 1, 0, attempt.id, Due::Whole));
            }
            self.dues(attempt, &self.spec.root, &attempt.root, &mut Vec::new(), &mut all);
        }
        all.into_iter().min_by_key(|(at, number, id, _)| (*at, *number, *id))
    }

    fn dues(
        &self,
        attempt: &Attempt,
        node: &Node,
        state: &State,
        path: &mut Path,
        all: &mut Vec<(i64, u64, u64, Due)>,
    ) {
        match (node, state) {
            (
                Node::Silence(..),
                State::Silence {
                    due,
                    number,
                    done: false,
                },
            ) if *due != NEVER => {
                all.push((*due, *number, attempt.id, Due::Silence(path.clone())));
            }
            (Node::Within(_, bound), State::Within { body, over: false }) => {
                if let (Bound::Time(bound), Some(first)) = (bound, earliest(body))
                    && waits(node.parts()[0], body)
                {
                    let at = us(self.events[first].ts) + us(*bound) + 1;
                    all.push((at, 0, attempt.id, Due::Group(path.clone())));
                }
            }
            _ => {}
        }
        for (index, node, state) in active(node, state) {
            path.push(index);
            self.dues(attempt, node, state, path, all);
            path.pop();
        }
    }

    fn group_over(&mut self, mut attempt: Attempt, path: &Path) {
        let node = node_at(&self.spec.root, path);
        if let State::Within { body, over } = state_at(&mut attempt.root, path)
            && let Node::Within(inner, _) = node
            && complete(inner, body)
        {
            close(inner, body);
            *over = true;
            let again = self.again_after(&mut attempt, false);
            self.attempts.push(attempt);
            self.take_in(again);
            return;
        }
        match self.fail(&mut attempt, path) {
            Fails::No => {
                self.time_anew(&mut attempt);
                let again = self.again_after(&mut attempt, false);
                self.attempts.push(attempt);
                self.take_in(again);
            }
            Fails::Yes(None) => {}
            Fails::Yes(Some(every)) => {
                let again = self.restart(&attempt, &every);
                self.take_in(vec![again]);
            }
        }
    }

    fn after_timer(&mut self, mut attempt: Attempt, at: i64) {
        self.time_anew(&mut attempt);
        let matched = complete(&self.spec.root, &attempt.root);
        let again = self.again_after(&mut attempt, matched);
        if matched {
            self.emit(&attempt, (at, 0));
        } else {
            if self.spec.strict && attempt.begun {
                let waits = waiting(&self.spec.root, &attempt.root);
                let root = &self.spec.root;
                let meets = |other: &Attempt| waiting(root, &other.root).iter().any(|e| waits.contains(e));
                self.attempts.retain(|other| !other.begun || !meets(other));
            }
            self.attempts.push(attempt);
        }
        self.take_in(again);
    }

    fn take_in(&mut self, again: Vec<Attempt>) -> Vec<u64> {
        if self.ending {
            return Vec::new();
        }
        again.into_iter().map(|attempt| self.add(attempt)).collect()
    }

    fn emit(&mut self, attempt: &Attempt, at: (i64, u64)) {
        let mut taken = vec![Vec::new(); self.spec.elements.len()];
        captured(&self.spec.root, &attempt.root, &mut taken);
        let present = (0..taken.len()).filter(|e| !self.spec.elements[*e].absent);
        let shown = present.map(|e| {
            let ids: Vec<String> = taken[e]
                .iter()
                .map(|event| self.events[*event].id.to_string())
                .collect();
            ids.join(",")
        });
        let text = shown.chain([String::new()]).collect::<Vec<_>>().join("|");
        let began = attempt.first.map_or(u64::MAX, |(.., order)| order);
        self.found.push(Found { at, began, text });
    }

    fn event(&mut self, event: usize, number: u64) {
        self.expire_by_number(number);
        let created = self.ids;
        let ids: Vec<u64> = {
            let mut order: Vec<(u64, u64)> = self
                .attempts
                .iter()
                .map(|attempt| (attempt.first.map_or(u64::MAX, |(.., order)| order), attempt.id))
                .collect();
            order.sort_unstable();
            order.into_iter().map(|(_, id)| id).collect()
        };
        let mut revived = None;
        let mut hits = Vec::new();
        for id in ids {
            self.offer_to(id, event, &mut hits, &mut revived);
        }
        if self.spec.strict {
            self.settle(event, created, hits, revived);
        }
    }

    /// Offers an event to an attempt. `hits`: who took it and goes on, as what, and since when.
    fn offer_to(&mut self, id: u64, event: usize, hits: &mut Vec<Hit>, revived: &mut Option<u64>) {
        let Some(index) = self.attempts.iter().position(|attempt| attempt.id == id) else {
            return;
        };
        let takers = self.takers(&self.attempts[index], event);
        if takers.is_empty() {
            return;
        }
        let mut attempt = self.attempts.remove(index);
        let (was_first, was_begun) = (attempt.first, attempt.begun);
        for e in takers.iter().copied().filter(|e| self.spec.elements[*e].absent) {
            let Some(path) = path_of(&self.spec.root, &attempt.root, e) else {
                continue;
            };
            match self.violate(&mut attempt, e, &path) {
                Fails::No => {}
                Fails::Yes(every) => {
                    if let Some(every) = every.filter(|_| !self.spec.strict) {
                        let again = self.restart(&attempt, &every);
                        self.take_in(vec![again]);
                    }
                    return;
                }
            }
        }
        let present: Vec<usize> = takers.into_iter().filter(|e| !self.spec.elements[*e].absent).collect();
        let mut offer = Offer {
            event,
            takers: &present,
            took: Vec::new(),
            quiet: &attempt.quiet.clone(),
            now: us(self.events[event].ts),
        };
        self.offer(&mut offer, &self.spec.root, &mut attempt.root);
        let took = offer.took;
        if !took.is_empty() {
            attempt.begun = true;
        }
        self.time_anew(&mut attempt);
        let matched = !took.is_empty() && complete(&self.spec.root, &attempt.root);
        let again = self.again_after(&mut attempt, matched);
        if matched {
            self.emit(&attempt, (us(self.events[event].ts), self.order + 1));
        } else {
            let order = was_first.map_or(u64::MAX, |(.., order)| order);
            let in_start = took.iter().any(|e| self.start_elements().contains(e));
            hits.push((Reverse(took.iter().max().copied()), order, id, in_start));
            self.attempts.push(attempt);
        }
        let starts: Vec<bool> = again.iter().map(|attempt| !attempt.begun).collect();
        let ids = self.take_in(again);
        let in_start = took.iter().any(|e| self.start_elements().contains(e));
        for (id, start) in ids.into_iter().zip(starts) {
            if start && was_begun && !in_start {
                *revived = Some(id);
            }
        }
    }

    /// The elements of the EVERY at the start.
    fn start_elements(&self) -> Vec<usize> {
        fn find(node: &Node) -> Option<&Node> {
            match node {
                Node::Every(_) => Some(node),
                Node::Chain(parts) => find(&parts[0]),
                _ => None,
            }
        }
        let mut elements = Vec::new();
        if let Some(every) = find(&self.spec.root) {
            elements_of(every, &mut elements);
        }
        elements
    }

    /// Which elements an attempt waits for take an event.
    fn takers(&self, attempt: &Attempt, event: usize) -> Vec<usize> {
        let mut taken = vec![Vec::new(); self.spec.elements.len()];
        captured(&self.spec.root, &attempt.root, &mut taken);
        let waits = waiting(&self.spec.root, &attempt.root);
        waits.into_iter().filter(|e| self.holds(*e, event, &taken)).collect()
    }

    fn holds(&self, e: usize, event: usize, taken: &[Vec<usize>]) -> bool {
        let element = &self.spec.elements[e];
        let event = &self.events[event];
        let is = element.asks.t.is_none_or(|t| event.t == t.to_string());
        is && element.to.is_none_or(|(to, relation)| {
            let others = &taken[to];
            let last = others.last().map(|other| &self.events[*other]);
            match relation {
                Relation::Greater => last.is_some_and(|other| event.v > other.v),
                Relation::SameKey => last.is_some_and(|other| event.k == other.k),
                Relation::Modulo => last.is_some_and(|other| (event.v + other.v) % 2 == 0),
                Relation::AboveSum => {
                    let sum: i64 = others.iter().map(|other| self.events[*other].v).sum();
                    !others.is_empty() && event.v > sum
                }
                Relation::OneOf => others.len() == 1,
                Relation::Rising => last.is_none_or(|other| event.v >= other.v),
            }
        })
    }

    fn expire_by_number(&mut self, number: u64) {
        if let Some(Bound::Events(bound)) = self.spec.bound {
            let old = |attempt: &Attempt| attempt.first.filter(|(_, first, _)| number - first >= bound);
            let mut ids: Vec<(u64, u64)> = self
                .attempts
                .iter()
                .filter_map(|attempt| old(attempt).map(|(_, first, _)| (first, attempt.id)))
                .collect();
            ids.sort_unstable();
            for (_, id) in ids {
                let index = self.attempts.iter().position(|attempt| attempt.id == id);
                let attempt = self.attempts.remove(index.unwrap());
                let again = self.again_in_time(&attempt, self.clock, number);
                self.take_in(again);
            }
        }
        while let Some((id, path)) = self.group_by_number(number) {
            let index = self.attempts.iter().position(|attempt| attempt.id == id);
            let attempt = self.attempts.remove(index.unwrap());
            self.group_over(attempt, &path);
        }
    }

    fn group_by_number(&self, number: u64) -> Option<(u64, Path)> {
        let find = |attempt: &Attempt| {
            let mut found = None;
            each(
                &self.spec.root,
                &attempt.root,
                &mut Vec::new(),
                &mut |node, state, path| {
                    if let (Node::Within(inner, Bound::Events(bound)), State::Within { body, over: false }) =
                        (node, state)
                        && let Some(first) = earliest(body)
                        && number - self.number_of(first) >= *bound
                        && waits(inner, body)
                        && found.is_none()
                    {
                        found = Some(path.clone());
                    }
                },
            );
            found.map(|path| (attempt.id, path))
        };
        self.attempts.iter().find_map(find)
    }

    /// The number of an event among those of its key.
    fn number_of(&self, event: usize) -> u64 {
        let key = self.spec.by_key.then(|| self.events[event].k);
        let before = self.events[..=event].iter();
        before.filter(|other| key.is_none_or(|key| other.k == key)).count() as u64
    }
}

/// How far along it took the event (the further the earlier), since when, who, and whether as a part of the start.
type Hit = (Reverse<Option<usize>>, u64, u64, bool);

struct Offer<'a> {
    event: usize,
    takers: &'a [usize],
    took: Vec<usize>,
    quiet: &'a [i64],
    now: i64,
}

enum Fails {
    No,
    /// The attempt has failed; this EVERY begins again.
    Yes(Option<Path>),
}

enum Due {
    Whole,
    Group(Path),
    Silence(Path),
}
