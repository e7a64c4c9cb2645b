//! What must not come, what ends an attempt, and what begins again.

use super::super::tree::{Bound, Node};
use super::state::{
    Path, State, complete, disown, disowned, each, each_mut, each_with_rounds, earliest, node_at, settle_rounds,
    state_at, waits,
};
use super::{Attempt, Fails, TOO_MANY, Walk, us};

impl Walk<'_> {
    pub(super) fn violate(&mut self, attempt: &mut Attempt, e: usize, path: &Path) -> Fails {
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
    pub(super) fn fail(&self, attempt: &mut Attempt, path: &Path) -> Fails {
        // What the last alternative had counts for the EVERY around it, though it goes with it.
        let had_events: Vec<bool> = (0..path.len())
            .map(|depth| earliest(state_at(&mut attempt.root, &path[..depth])).is_some())
            .collect();
        for depth in (0..path.len()).rev() {
            let parent = path[..depth].to_vec();
            let index = path[depth];
            let node = node_at(&self.spec.root, &parent);
            match (node, state_at(&mut attempt.root, &parent)) {
                (Node::Or(nodes), State::Or { parts, winner }) => {
                    parts[index] = None;
                    // One whose places others have in a SEQUENCE will not come.
                    let may_come =
                        |(node, part): (&Node, &Option<State>)| part.as_ref().is_some_and(|part| waits(node, part));
                    if winner.is_none() && nodes.iter().zip(parts.iter()).any(may_come) {
                        return Fails::No;
                    }
                }
                (Node::Repeat(_, min, _), State::Repeat { rounds, round, .. }) if rounds.len() >= *min => {
                    *round = None;
                    return Fails::No;
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
                (Node::Every(_), State::Every { owns: true, .. }) if had_events[depth] => {
                    return Fails::Yes(Some(parent));
                }
                _ => {}
            }
        }
        Fails::Yes(None)
    }

    /// What begins again of an attempt whose time is over.
    pub(super) fn again_in_time(&mut self, attempt: &Attempt, now: i64, number: u64) -> Vec<Attempt> {
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
    pub(super) fn again_after(&mut self, attempt: &mut Attempt, matched: bool) -> Vec<Attempt> {
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
    pub(super) fn closed(&self, attempt: &Attempt, matched: bool) -> Option<Path> {
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
    pub(super) fn closed_in_round(&self, attempt: &Attempt) -> Option<Path> {
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
    pub(super) fn restart(&mut self, attempt: &Attempt, path: &Path) -> Attempt {
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
    pub(super) fn time_anew(&self, attempt: &mut Attempt) {
        let first = earliest(&attempt.root);
        attempt.first = first.map(|first| (us(self.events[first].ts), self.number_of(first), first as u64));
    }

    pub(super) fn is_leading(&self, path: &Path) -> bool {
        let mut node = &self.spec.root;
        for index in path {
            match node {
                Node::Chain(parts) => node = &parts[*index],
                _ => return false,
            }
        }
        matches!(node, Node::Every(_))
    }

    pub(super) fn restart_in(&mut self, node: &Node, state: &mut State, path: &[usize]) {
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
            (Node::And(nodes), State::And(parts)) => {
                // It is not complete any more, so what must not come counts again.
                for part in parts.iter_mut() {
                    if let State::Guard { closed, .. } = part {
                        *closed = false;
                    }
                }
                self.restart_in(&nodes[index], &mut parts[index], rest);
            }
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
    pub(super) fn renew_silences(&mut self, state: &mut State) {
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
}
