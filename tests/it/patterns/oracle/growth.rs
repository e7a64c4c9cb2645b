//! How the tree of an attempt grows: what begins, what an event does to it, what follows from that.

use super::super::tree::Node;
use super::state::{Path, State, close, complete, node_at, state_at, waiting};
use super::{Attempt, Offer, Walk, us};

impl Walk<'_> {
    pub(super) fn next_timer(&mut self) -> u64 {
        self.timers += 1;
        self.timers
    }

    pub(super) fn begin(&mut self, node: &Node) -> State {
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
    pub(super) fn go_on(&mut self, nodes: &[Node], parts: &mut Vec<State>) {
        while parts.len() < nodes.len() && complete(&nodes[parts.len() - 1], &parts[parts.len() - 1]) {
            let next = self.begin(&nodes[parts.len()]);
            parts.push(next);
        }
    }

    /// Offers an event to a part; whether it took it. What follows from that in the part happens, too.
    pub(super) fn offer(&mut self, offer: &mut Offer, node: &Node, state: &mut State) -> bool {
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
                    let mut before = nodes[..index].iter().rev().take_while(|node| node.may_be_empty());
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
    pub(super) fn settle_tree(&mut self, attempt: &mut Attempt, path: &Path) {
        for depth in (0..path.len()).rev() {
            let parent = path[..depth].to_vec();
            let node = node_at(&self.spec.root, &parent).clone();
            let mut state = std::mem::replace(state_at(&mut attempt.root, &parent), State::Chain(Vec::new()));
            match (&node, &mut state) {
                (Node::Chain(nodes), State::Chain(parts)) => {
                    let (index, begun) = (path[depth], parts.len());
                    if complete(&nodes[index], &parts[index]) {
                        let guards = (0..index)
                            .rev()
                            .take_while(|guard| matches!(nodes[*guard], Node::Guard(..)));
                        guards.for_each(|guard| close(&nodes[guard], &mut parts[guard]));
                    }
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
