//! What a pattern finds, by a slow reading of its definition.
//!
//! An attempt is a copy of the pattern's tree in which every part knows what it has. Nothing is indexed, shared or counted: each
//! event walks through the whole tree of every attempt, what is complete is found by looking, and what EVERY begins again is
//! another copy of the tree.

use std::cmp::Reverse;

use super::Event;
use super::tree::{Bound, Node, Relation, Spec};

/// More attempts than this are not worth the time: the case is skipped.
const TOO_MANY: usize = 3_000;

/// The state of a part.
#[derive(Debug, Clone)]
enum State {
    Take {
        taken: Vec<usize>,
        closed: bool,
    },
    Silence {
        due: i64,
        number: u64,
        done: bool,
    },
    Guard {
        violated: bool,
        closed: bool,
    },
    /// Those that have begun.
    Chain(Vec<State>),
    And(Vec<State>),
    Or {
        parts: Vec<Option<State>>,
        winner: Option<usize>,
    },
    Repeat {
        rounds: Vec<State>,
        round: Option<Box<State>>,
        fresh: bool,
    },
    Every {
        owns: bool,
        body: Box<State>,
    },
    Within {
        body: Box<State>,
        over: bool,
    },
}

/// The way to a part: which of its parts, from the root. Of a repeated group: which round.
type Path = Vec<usize>;

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
            ) => {
                if *due != NEVER {
                    all.push((*due, *number, attempt.id, Due::Silence(path.clone())));
                }
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

    // ---- what must not come, and what ends

    fn violate(&mut self, attempt: &mut Attempt, e: usize, path: &Path) -> Fails {
        let restarts = !self.spec.strict || self.leading;
        let in_and = path
            .split_last()
            .is_some_and(|(_, parent)| matches!(node_at(&self.spec.root, &parent.to_vec()), Node::And(_)));
        let (number, clock) = (self.next_timer(), self.clock);
        match (node_at(&self.spec.root, path), state_at(&mut attempt.root, path)) {
            (Node::Silence(_, _, wait), State::Silence { due, number: own, .. }) if !attempt.begun && restarts => {
                // At the same moment it is the same timer.
                if *due != clock + us(*wait) {
                    *due = clock + us(*wait);
                    *own = number;
                }
                Fails::No
            }
            (Node::Guard(..), State::Guard { violated, .. })
                if in_and && (!self.spec.strict || !attempt.begun && restarts) =>
            {
                *violated = true;
                Fails::No
            }
            (Node::Guard(..), _) if !in_and && attempt.first.is_none() => {
                attempt.quiet[e] = match self.spec.bound {
                    Some(Bound::Time(bound)) => clock + us(bound),
                    _ => i64::MAX,
                };
                Fails::No
            }
            _ => self.fail(attempt, path),
        }
    }

    /// A part has become impossible.
    fn fail(&self, attempt: &mut Attempt, path: &Path) -> Fails {
        for depth in (0..path.len()).rev() {
            let parent = path[..depth].to_vec();
            let index = path[depth];
            let node = node_at(&self.spec.root, &parent);
            match (node, state_at(&mut attempt.root, &parent)) {
                (Node::Or(_), State::Or { parts, winner }) => {
                    parts[index] = None;
                    if winner.is_none() && parts.iter().any(Option::is_some) {
                        return Fails::No;
                    }
                }
                (Node::Repeat(_, min, _), State::Repeat { rounds, round, .. }) => {
                    if rounds.len() >= *min {
                        *round = None;
                        return Fails::No;
                    }
                }
                (Node::Chain(nodes), State::Chain(parts)) => {
                    let mut last = None;
                    for earlier in 0..index {
                        let mut from = parent.clone();
                        from.push(earlier);
                        each(&nodes[earlier], &parts[earlier], &mut from, &mut |_, state, path| {
                            if let State::Every { owns: true, .. } = state {
                                last = Some(path.clone());
                            }
                        });
                    }
                    if last.is_some() {
                        return Fails::Yes(last);
                    }
                }
                (Node::Every(_), State::Every { owns: true, body }) if earliest(body).is_some() => {
                    return Fails::Yes(Some(parent));
                }
                _ => {}
            }
        }
        Fails::Yes(None)
    }

    /// What begins again of an attempt whose time is over.
    fn again_in_time(&mut self, attempt: &Attempt, now: i64, number: u64) -> Vec<Attempt> {
        let mut everies = Vec::new();
        each(
            &self.spec.root,
            &attempt.root,
            &mut Vec::new(),
            &mut |_, state, path| {
                if let State::Every { owns: true, body } = state
                    && earliest(body).is_some()
                {
                    everies.push(path.clone());
                }
            },
        );
        for path in everies.into_iter().rev() {
            let timers = self.timers;
            let again = self.restart(attempt, &path);
            let old = again.first.is_some_and(|(time, first, _)| match self.spec.bound {
                Some(Bound::Time(bound)) => now - time > us(bound),
                Some(Bound::Events(bound)) => number - first >= bound,
                None => false,
            });
            if !old {
                return vec![again];
            }
            self.timers = timers;
        }
        Vec::new()
    }

    // ---- EVERY

    /// What begins again after a step.
    fn again_after(&mut self, attempt: &mut Attempt, matched: bool) -> Vec<Attempt> {
        let mut again = Vec::new();
        while let Some(path) = self.closed_in_round(attempt) {
            again.push(self.restart(attempt, &path));
            disown(&mut attempt.root, &path);
        }
        settle_rounds(&mut attempt.root);
        while let Some(path) = self.closed(attempt, matched) {
            again.push(self.restart(attempt, &path));
            disown(&mut attempt.root, &path);
        }
        let mut next = 0;
        while next < again.len() {
            while let Some(path) = self.closed(&again[next], false) {
                let one = self.restart(&again[next], &path);
                disown(&mut again[next].root, &path);
                again.push(one);
            }
            next += 1;
            if again.len() > TOO_MANY {
                self.too_many = true;
                break;
            }
        }
        again
    }

    /// The outermost EVERY that is complete and takes no more.
    fn closed(&self, attempt: &Attempt, matched: bool) -> Option<Path> {
        let mut found = None;
        each(
            &self.spec.root,
            &attempt.root,
            &mut Vec::new(),
            &mut |node, state, path| {
                if let (Node::Every(inner), State::Every { owns: true, body }) = (node, state)
                    && found.is_none()
                    && complete(inner, body)
                    && (matched || !waits(inner, body))
                {
                    found = Some(path.clone());
                }
            },
        );
        found
    }

    /// The same in a round that has just been completed.
    fn closed_in_round(&self, attempt: &Attempt) -> Option<Path> {
        let mut found = None;
        each_with_rounds(
            &self.spec.root,
            &attempt.root,
            &mut Vec::new(),
            false,
            &mut |node, state, path, fresh| {
                if let (Node::Every(inner), State::Every { owns: true, body }) = (node, state)
                    && fresh
                    && found.is_none()
                    && complete(inner, body)
                {
                    found = Some(path.clone());
                }
            },
        );
        found
    }

    /// Another copy of an attempt, in which an EVERY begins.
    fn restart(&mut self, attempt: &Attempt, path: &Path) -> Attempt {
        let mut again = attempt.clone();
        let mut root = std::mem::replace(&mut again.root, State::Chain(Vec::new()));
        self.renew_silences(&mut root);
        self.restart_in(&self.spec.root, &mut root, path);
        settle_rounds(&mut root);
        again.root = root;
        again.begun = !(self.leading && path.iter().all(|index| *index == 0) && self.is_leading(path));
        self.time_anew(&mut again);
        again
    }

    /// An attempt's time begins with the first event it has.
    fn time_anew(&self, attempt: &mut Attempt) {
        let first = earliest(&attempt.root);
        attempt.first = first.map(|first| (us(self.events[first].ts), self.number_of(first), first as u64));
    }

    fn is_leading(&self, path: &Path) -> bool {
        let mut node = &self.spec.root;
        for index in path {
            match node {
                Node::Chain(parts) => node = &parts[*index],
                _ => return false,
            }
        }
        matches!(node, Node::Every(_))
    }

    fn restart_in(&mut self, node: &Node, state: &mut State, path: &[usize]) {
        let Some((&index, rest)) = path.split_first() else {
            if let Node::Every(body) = node {
                let body = Box::new(self.begin(body));
                *state = State::Every { owns: true, body };
            }
            return;
        };
        match (node, state) {
            (Node::Chain(nodes), State::Chain(parts)) => {
                parts.truncate(index + 1);
                // Those before begin again once, out of the attempt that goes on.
                parts[..index].iter_mut().for_each(|part| each_mut(part, &mut disowned));
                self.restart_in(&nodes[index], &mut parts[index], rest);
                self.go_on(nodes, parts);
            }
            (Node::And(nodes), State::And(parts)) => self.restart_in(&nodes[index], &mut parts[index], rest),
            (Node::Or(nodes), State::Or { parts, winner }) => {
                *winner = None;
                if let Some(part) = &mut parts[index] {
                    self.restart_in(&nodes[index], part, rest);
                }
            }
            (Node::Repeat(body, ..), State::Repeat { rounds, round, .. }) => {
                if index < rounds.len() {
                    let mut again = rounds[index].clone();
                    rounds.truncate(index);
                    self.restart_in(body, &mut again, rest);
                    *round = Some(Box::new(again));
                } else if let Some(round) = round {
                    self.restart_in(body, round, rest);
                }
            }
            (Node::Every(body), State::Every { owns, body: state }) => {
                *owns = false;
                self.restart_in(body, state, rest);
            }
            (Node::Within(body, _), State::Within { body: state, over }) => {
                *over = false;
                self.restart_in(body, state, rest);
            }
            _ => {}
        }
    }

    /// The absences that stay in a copy have timers of their own.
    fn renew_silences(&mut self, state: &mut State) {
        let mut timers = self.timers;
        let clock = self.clock;
        each_mut(state, &mut |state| {
            if let State::Silence {
                due,
                number,
                done: false,
            } = state
            {
                timers += 1;
                *number = timers;
                *due = (*due).max(clock);
            }
        });
        self.timers = timers;
    }

    // ---- SEQUENCE

    fn settle(&mut self, event: usize, created: u64, mut hits: Vec<Hit>, mut revived: Option<u64>) {
        let took: Vec<u64> = hits
            .iter()
            .filter(|(took, ..)| took.0.is_some())
            .map(|(_, _, id, _)| *id)
            .collect();
        self.attempts
            .retain(|attempt| !attempt.begun || attempt.id > created || took.contains(&attempt.id));
        let mut occupied = Vec::new();
        self.one_place_each(&mut hits, &mut occupied);
        if let Some(start) = self.revive(&hits, &mut revived) {
            let mut own = Vec::new();
            self.offer_to(start, event, &mut own, &mut revived);
            self.one_place_each(&mut own, &mut occupied);
            self.revive(&own, &mut revived);
        }
    }

    fn one_place_each(&mut self, hits: &mut [Hit], occupied: &mut Vec<usize>) {
        hits.sort_unstable();
        for (_, _, id, _) in hits.iter().filter(|(took, ..)| took.0.is_some()) {
            let Some(index) = self.attempts.iter().position(|attempt| attempt.id == *id) else {
                continue;
            };
            let root = &self.spec.root;
            let attempt = &mut self.attempts[index];
            let waits = waiting(root, &attempt.root);
            for e in &waits {
                match occupied.contains(e) {
                    true => close_element(root, &mut attempt.root, *e),
                    false => occupied.push(*e),
                }
            }
            if waiting(root, &attempt.root).is_empty() {
                self.attempts.remove(index);
            }
        }
    }

    /// Makes the start wait again if nobody is in it.
    fn revive(&mut self, hits: &[Hit], revived: &mut Option<u64>) -> Option<u64> {
        if !self.leading || self.ending {
            return None;
        }
        let leading_path = |attempt: &Attempt| {
            let mut found = None;
            each(
                &self.spec.root,
                &attempt.root,
                &mut Vec::new(),
                &mut |_, state, path| {
                    if let State::Every { owns: true, .. } = state
                        && found.is_none()
                        && path.iter().all(|index| *index == 0)
                        && self.is_leading(path)
                    {
                        found = Some(());
                    }
                },
            );
            found
        };
        if self
            .attempts
            .iter()
            .any(|attempt| !attempt.begun || leading_path(attempt).is_some())
        {
            return revived.take();
        }
        self.start();
        let start = self.ids;
        // Who took the event in the start and then lost its place has used it up.
        let used = hits.iter().any(|(.., in_start)| *in_start);
        (!used).then_some(start)
    }

    // ---- the tree

    fn next_timer(&mut self) -> u64 {
        self.timers += 1;
        self.timers
    }

    fn begin(&mut self, node: &Node) -> State {
        match node {
            Node::Take(..) => State::Take {
                taken: Vec::new(),
                closed: false,
            },
            Node::Silence(_, _, wait) => State::Silence {
                due: self.clock.saturating_add(us(*wait)),
                number: self.next_timer(),
                done: false,
            },
            Node::Guard(..) => State::Guard {
                violated: false,
                closed: false,
            },
            Node::Chain(nodes) => {
                let mut parts = vec![self.begin(&nodes[0])];
                self.go_on(nodes, &mut parts);
                State::Chain(parts)
            }
            Node::And(nodes) => State::And(nodes.iter().map(|node| self.begin(node)).collect()),
            Node::Or(nodes) => State::Or {
                parts: nodes.iter().map(|node| Some(self.begin(node))).collect(),
                winner: None,
            },
            Node::Repeat(body, ..) => State::Repeat {
                rounds: Vec::new(),
                round: Some(Box::new(self.begin(body))),
                fresh: false,
            },
            Node::Every(body) => State::Every {
                owns: true,
                body: Box::new(self.begin(body)),
            },
            Node::Within(body, _) => State::Within {
                body: Box::new(self.begin(body)),
                over: false,
            },
        }
    }

    /// Of a chain, what follows a complete part begins.
    fn go_on(&mut self, nodes: &[Node], parts: &mut Vec<State>) {
        while parts.len() < nodes.len() && complete(&nodes[parts.len() - 1], &parts[parts.len() - 1]) {
            let next = self.begin(&nodes[parts.len()]);
            parts.push(next);
        }
    }

    /// Offers an event to a part; whether it took it. What follows from that in the part happens, too.
    fn offer(&mut self, offer: &mut Offer, node: &Node, state: &mut State) -> bool {
        match (node, state) {
            (Node::Take(e, _, _, max), State::Take { taken, closed }) => {
                if *closed || !offer.takers.contains(e) || max.is_some_and(|max| taken.len() >= max) {
                    return false;
                }
                taken.push(offer.event);
                offer.took.push(*e);
                true
            }
            (Node::Chain(nodes), State::Chain(parts)) => {
                for index in (0..parts.len()).rev() {
                    let mut before = nodes[..index]
                        .iter()
                        .rev()
                        .take_while(|node| matches!(node, Node::Guard(..)));
                    let quiet = before.any(|guard| match guard {
                        Node::Guard(e, _) => offer.now <= offer.quiet[*e],
                        _ => false,
                    });
                    if quiet || !self.offer(offer, &nodes[index], &mut parts[index]) {
                        continue;
                    }
                    for earlier in 0..index {
                        close(&nodes[earlier], &mut parts[earlier]);
                    }
                    self.go_on(nodes, parts);
                    return true;
                }
                false
            }
            (Node::And(nodes), State::And(parts)) => {
                let would_take = |nodes: &[Node], parts: &[State]| {
                    nodes.iter().zip(parts).any(|(node, part)| {
                        let waits = waiting(node, part);
                        offer.takers.iter().any(|e| waits.contains(e))
                    })
                };
                if !would_take(nodes, parts) {
                    return false;
                }
                let violated = parts
                    .iter()
                    .any(|part| matches!(part, State::Guard { violated: true, .. }));
                if violated {
                    for part in parts.iter_mut() {
                        if let State::Guard { violated, .. } = part {
                            *violated = false;
                        }
                    }
                    return false;
                }
                let mut taken = false;
                for (node, part) in nodes.iter().zip(parts) {
                    taken |= self.offer(offer, node, part);
                }
                taken
            }
            (Node::Or(nodes), State::Or { parts, winner }) => {
                let mut taken = false;
                for (index, node) in nodes.iter().enumerate() {
                    if winner.is_some_and(|winner| winner != index) {
                        continue;
                    }
                    let decided = winner.is_some();
                    if let Some(part) = &mut parts[index] {
                        taken |= self.offer(offer, node, part);
                        if !decided && complete(node, part) {
                            *winner = Some(index);
                        }
                    }
                }
                taken
            }
            (Node::Repeat(body, _, max), State::Repeat { rounds, round, fresh }) => {
                let Some(current) = round else {
                    return false;
                };
                let taken = self.offer(offer, body, current);
                if complete(body, current) {
                    rounds.push(std::mem::replace(current, State::Chain(Vec::new())));
                    *fresh = true;
                    let more = max.is_none_or(|max| rounds.len() < max);
                    *round = more.then(|| Box::new(self.begin(body)));
                }
                taken
            }
            (Node::Every(body), State::Every { body: state, .. }) => self.offer(offer, body, state),
            (
                Node::Within(body, _),
                State::Within {
                    body: state,
                    over: false,
                },
            ) => self.offer(offer, body, state),
            _ => false,
        }
    }

    /// What follows from a part that has become complete by itself.
    fn settle_tree(&mut self, attempt: &mut Attempt, path: &Path) {
        for depth in (0..path.len()).rev() {
            let parent = path[..depth].to_vec();
            let node = node_at(&self.spec.root, &parent).clone();
            let mut state = std::mem::replace(state_at(&mut attempt.root, &parent), State::Chain(Vec::new()));
            match (&node, &mut state) {
                (Node::Chain(nodes), State::Chain(parts)) => {
                    let begun = parts.len();
                    self.go_on(nodes, parts);
                    attempt.begun |= parts.len() > begun;
                }
                (
                    Node::Or(nodes),
                    State::Or {
                        parts,
                        winner: winner @ None,
                    },
                ) => {
                    let part = parts[path[depth]].as_ref();
                    if part.is_some_and(|part| complete(&nodes[path[depth]], part)) {
                        *winner = Some(path[depth]);
                    }
                }
                (Node::Repeat(body, min, max), State::Repeat { rounds, round, fresh }) => {
                    if let Some(current) = round
                        && complete(body, current)
                    {
                        rounds.push(std::mem::replace(current, State::Chain(Vec::new())));
                        attempt.begun = true;
                        *fresh = true;
                        let more = max.is_none_or(|max| rounds.len() < max);
                        let more = more && (!self.ending || rounds.len() < *min);
                        *round = more.then(|| Box::new(self.begin(body)));
                    }
                }
                _ => {}
            }
            *state_at(&mut attempt.root, &parent) = state;
        }
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

/// Whether a part has what it needs.
fn complete(node: &Node, state: &State) -> bool {
    match (node, state) {
        (Node::Take(_, _, min, _), State::Take { taken, .. }) => taken.len() >= *min,
        (Node::Silence(..), State::Silence { done, .. }) => *done,
        (Node::Guard(..), State::Guard { .. }) => true,
        (Node::Chain(nodes), State::Chain(parts)) => {
            parts.len() == nodes.len() && complete(&nodes[nodes.len() - 1], &parts[parts.len() - 1])
        }
        (Node::And(nodes), State::And(parts)) => nodes.iter().zip(parts).all(|(node, part)| complete(node, part)),
        (Node::Or(_), State::Or { winner, .. }) => winner.is_some(),
        (Node::Repeat(_, min, _), State::Repeat { rounds, .. }) => rounds.len() >= *min,
        (Node::Every(body), State::Every { body: state, .. }) => complete(body, state),
        (Node::Within(body, _), State::Within { body: state, .. }) => complete(body, state),
        _ => false,
    }
}

/// The parts of a state that go on, with their ways.
fn active<'n, 's>(node: &'n Node, state: &'s State) -> Vec<(usize, &'n Node, &'s State)> {
    match (node, state) {
        (Node::Chain(nodes), State::Chain(parts)) => parts
            .iter()
            .enumerate()
            .map(|(index, part)| (index, &nodes[index], part))
            .collect(),
        (Node::And(nodes), State::And(parts)) => {
            // Complete, it has no use for what must not come.
            let done = complete(node, state);
            let parts = parts.iter().enumerate();
            parts
                .filter(|(_, part)| !done || !matches!(part, State::Guard { .. }))
                .map(|(index, part)| (index, &nodes[index], part))
                .collect()
        }
        (Node::Or(nodes), State::Or { parts, winner }) => parts
            .iter()
            .enumerate()
            .filter(|(index, _)| winner.is_none_or(|winner| winner == *index))
            .filter_map(|(index, part)| part.as_ref().map(|part| (index, &nodes[index], part)))
            .collect(),
        (Node::Repeat(body, ..), State::Repeat { rounds, round, .. }) => {
            let round = round
                .as_ref()
                .map(|round| (rounds.len(), body.as_ref(), round.as_ref()));
            round.into_iter().collect()
        }
        (Node::Every(body), State::Every { body: state, .. }) => vec![(0, body, state)],
        (Node::Within(body, _), State::Within { body: state, .. }) => vec![(0, body, state)],
        _ => Vec::new(),
    }
}

fn each(node: &Node, state: &State, path: &mut Path, visit: &mut dyn FnMut(&Node, &State, &Path)) {
    visit(node, state, path);
    for (index, node, state) in active(node, state) {
        path.push(index);
        each(node, state, path, visit);
        path.pop();
    }
}

/// The same with the round that has just been completed instead of the one after it.
fn each_with_rounds(
    node: &Node,
    state: &State,
    path: &mut Path,
    fresh: bool,
    visit: &mut dyn FnMut(&Node, &State, &Path, bool),
) {
    visit(node, state, path, fresh);
    if let (
        Node::Repeat(body, ..),
        State::Repeat {
            rounds, fresh: true, ..
        },
    ) = (node, state)
    {
        path.push(rounds.len() - 1);
        each_with_rounds(body, &rounds[rounds.len() - 1], path, true, visit);
        path.pop();
        return;
    }
    for (index, node, state) in active(node, state) {
        path.push(index);
        each_with_rounds(node, state, path, fresh, visit);
        path.pop();
    }
}

fn each_mut(state: &mut State, visit: &mut dyn FnMut(&mut State)) {
    visit(state);
    match state {
        State::Chain(parts) | State::And(parts) => parts.iter_mut().for_each(|part| each_mut(part, visit)),
        State::Or { parts, .. } => parts.iter_mut().flatten().for_each(|part| each_mut(part, visit)),
        State::Repeat { round: Some(round), .. } => each_mut(round, visit),
        State::Every { body, .. } | State::Within { body, .. } => each_mut(body, visit),
        _ => {}
    }
}

/// EVERYs in rounds that are over do not begin again.
fn settle_rounds(state: &mut State) {
    match state {
        State::Chain(parts) | State::And(parts) => parts.iter_mut().for_each(settle_rounds),
        State::Or { parts, .. } => parts.iter_mut().flatten().for_each(settle_rounds),
        State::Repeat { round, fresh, .. } => {
            *fresh = false;
            if let Some(round) = round {
                settle_rounds(round);
            }
        }
        State::Every { body, .. } | State::Within { body, .. } => settle_rounds(body),
        _ => {}
    }
}

/// The elements that a part waits for, in order.
fn waiting(node: &Node, state: &State) -> Vec<usize> {
    let mut elements = Vec::new();
    each(
        node,
        state,
        &mut Vec::new(),
        &mut |node, state, _| match (node, state) {
            (Node::Take(e, _, _, max), State::Take { taken, closed: false })
                if max.is_none_or(|max| taken.len() < max) =>
            {
                elements.push(*e);
            }
            (Node::Silence(e, ..), State::Silence { done: false, due, .. }) if *due != NEVER => elements.push(*e),
            (Node::Guard(e, _), State::Guard { closed: false, .. }) => elements.push(*e),
            _ => {}
        },
    );
    elements
}

fn waits(node: &Node, state: &State) -> bool {
    !waiting(node, state).is_empty()
}

/// A part takes no more. A round that is not complete does not count.
fn close(node: &Node, state: &mut State) {
    match (node, state) {
        (_, State::Take { closed, .. } | State::Guard { closed, .. }) => *closed = true,
        (_, State::Silence { done, .. }) => *done = true,
        (Node::Chain(nodes), State::Chain(parts)) | (Node::And(nodes), State::And(parts)) => {
            nodes.iter().zip(parts).for_each(|(node, part)| close(node, part));
        }
        (Node::Or(nodes), State::Or { parts, .. }) => {
            for (node, part) in nodes.iter().zip(parts) {
                if let Some(part) = part {
                    close(node, part);
                }
            }
        }
        (_, State::Repeat { round, .. }) => *round = None,
        (Node::Every(body), State::Every { body: state, .. }) => close(body, state),
        (Node::Within(body, _), State::Within { body: state, .. }) => close(body, state),
        _ => {}
    }
}

/// An element takes no more, and is not complete by that.
fn close_element(node: &Node, state: &mut State, element: usize) {
    let Some(path) = path_of(node, state, element) else {
        return;
    };
    match state_at(state, &path) {
        State::Take { closed, .. } | State::Guard { closed, .. } => *closed = true,
        // It will never be.
        State::Silence { due, .. } => *due = NEVER,
        _ => {}
    }
}

/// The way to an element that waits.
fn path_of(node: &Node, state: &State, element: usize) -> Option<Path> {
    let mut found = None;
    each(node, state, &mut Vec::new(), &mut |node, _, path| match node {
        Node::Take(e, ..) | Node::Silence(e, ..) | Node::Guard(e, _) if *e == element => found = Some(path.clone()),
        _ => {}
    });
    found.filter(|_| waiting(node, state).contains(&element))
}

fn node_at<'n>(node: &'n Node, path: &Path) -> &'n Node {
    let mut node = node;
    for index in path {
        node = match node {
            Node::Chain(parts) | Node::And(parts) | Node::Or(parts) => &parts[*index],
            Node::Repeat(body, ..) | Node::Every(body) | Node::Within(body, _) => body,
            leaf => leaf,
        };
    }
    node
}

fn state_at<'s>(state: &'s mut State, path: &[usize]) -> &'s mut State {
    let Some((&index, rest)) = path.split_first() else {
        return state;
    };
    match state {
        State::Chain(parts) | State::And(parts) => state_at(&mut parts[index], rest),
        State::Or { parts, .. } => state_at(parts[index].as_mut().expect("an alternative that is there"), rest),
        State::Repeat { rounds, round, .. } => match index < rounds.len() {
            true => state_at(&mut rounds[index], rest),
            false => state_at(round.as_mut().expect("a round"), rest),
        },
        State::Every { body, .. } | State::Within { body, .. } => state_at(body, rest),
        leaf => leaf,
    }
}

fn disown(state: &mut State, path: &Path) {
    disowned(state_at(state, path));
}

fn disowned(state: &mut State) {
    if let State::Every { owns, .. } = state {
        *owns = false;
    }
}

fn elements_of(node: &Node, elements: &mut Vec<usize>) {
    if let Node::Take(e, ..) | Node::Silence(e, ..) | Node::Guard(e, _) = node {
        elements.push(*e);
    }
    node.parts().into_iter().for_each(|part| elements_of(part, elements));
}

/// The events of each element, in order. Those of an alternative that another was before do not count.
fn captured(node: &Node, state: &State, taken: &mut [Vec<usize>]) {
    match (node, state) {
        (Node::Take(e, ..), State::Take { taken: own, .. }) => taken[*e].extend(own),
        (Node::Repeat(body, ..), State::Repeat { rounds, round, .. }) => {
            rounds.iter().for_each(|round| captured(body, round, taken));
            if let Some(round) = round {
                captured(body, round, taken);
            }
        }
        (Node::And(nodes), State::And(parts)) => {
            nodes
                .iter()
                .zip(parts)
                .for_each(|(node, part)| captured(node, part, taken));
        }
        _ => active(node, state)
            .into_iter()
            .for_each(|(_, node, state)| captured(node, state, taken)),
    }
}

/// The first event that a part has.
fn earliest(state: &State) -> Option<usize> {
    match state {
        State::Take { taken, .. } => taken.iter().min().copied(),
        State::Silence { .. } | State::Guard { .. } => None,
        State::Chain(parts) | State::And(parts) => parts.iter().filter_map(earliest).min(),
        State::Or { parts, winner } => match winner {
            Some(winner) => parts[*winner].as_ref().and_then(earliest),
            None => parts.iter().flatten().filter_map(earliest).min(),
        },
        State::Repeat { rounds, round, .. } => {
            let rounds = rounds.iter().filter_map(earliest);
            rounds.chain(round.as_deref().and_then(earliest)).min()
        }
        State::Every { body, .. } | State::Within { body, .. } => earliest(body),
    }
}
