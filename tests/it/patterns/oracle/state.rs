//! The state of an attempt: a tree like the pattern's, and what can be seen of it.

use super::super::tree::Node;
use super::NEVER;

/// The state of a part.
#[derive(Debug, Clone)]
pub enum State {
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
pub type Path = Vec<usize>;

/// Whether a part has what it needs.
pub fn complete(node: &Node, state: &State) -> bool {
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
pub fn active<'n, 's>(node: &'n Node, state: &'s State) -> Vec<(usize, &'n Node, &'s State)> {
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

pub fn each(node: &Node, state: &State, path: &mut Path, visit: &mut dyn FnMut(&Node, &State, &Path)) {
    visit(node, state, path);
    for (index, node, state) in active(node, state) {
        path.push(index);
        each(node, state, path, visit);
        path.pop();
    }
}

/// The same with the round that has just been completed instead of the one after it.
pub fn each_with_rounds(
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

pub fn each_mut(state: &mut State, visit: &mut dyn FnMut(&mut State)) {
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
pub fn settle_rounds(state: &mut State) {
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
pub fn waiting(node: &Node, state: &State) -> Vec<usize> {
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

pub fn waits(node: &Node, state: &State) -> bool {
    !waiting(node, state).is_empty()
}

/// A part takes no more. A round that is not complete does not count.
pub fn close(node: &Node, state: &mut State) {
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
pub fn close_element(node: &Node, state: &mut State, element: usize) {
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
pub fn path_of(node: &Node, state: &State, element: usize) -> Option<Path> {
    let mut found = None;
    each(node, state, &mut Vec::new(), &mut |node, _, path| match node {
        Node::Take(e, ..) | Node::Silence(e, ..) | Node::Guard(e, _) if *e == element => found = Some(path.clone()),
        _ => {}
    });
    found.filter(|_| waiting(node, state).contains(&element))
}

pub fn node_at<'n>(node: &'n Node, path: &Path) -> &'n Node {
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

pub fn state_at<'s>(state: &'s mut State, path: &[usize]) -> &'s mut State {
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

pub fn disown(state: &mut State, path: &Path) {
    disowned(state_at(state, path));
}

pub fn disowned(state: &mut State) {
    if let State::Every { owns, .. } = state {
        *owns = false;
    }
}

pub fn elements_of(node: &Node, elements: &mut Vec<usize>) {
    if let Node::Take(e, ..) | Node::Silence(e, ..) | Node::Guard(e, _) = node {
        elements.push(*e);
    }
    node.parts().into_iter().for_each(|part| elements_of(part, elements));
}

/// The events of each element, in order. Those of an alternative that another was before do not count.
pub fn captured(node: &Node, state: &State, taken: &mut [Vec<usize>]) {
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
pub fn earliest(state: &State) -> Option<usize> {
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
