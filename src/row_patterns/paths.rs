//! The pasts of threads: which variables their rows were, and the sets of rows that aggregates are about.
//!
//! Threads fork, so pasts are lists that share their beginnings. A list of the second kind is made once for equal content, so
//! that equality of numbers is equality of sets.

use std::collections::HashMap;

use super::pattern::Variable;

/// A path's last step; [`NOTHING`] before the first.
pub type PathId = u32;

/// The empty list.
pub const NOTHING: u32 = u32::MAX;

/// The variable of a row in a match, and whether the row is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Label(u8);

const EXCLUDED: u8 = 0x80;

impl Label {
    /// A row of a variable.
    pub fn new(variable: Variable, excluded: bool) -> Self {
        Label(variable | if excluded { EXCLUDED } else { 0 })
    }

    /// Its variable.
    pub fn variable(self) -> Variable {
        self.0 & !EXCLUDED
    }

    /// Whether it stands in `{- -}`.
    pub fn is_excluded(self) -> bool {
        self.0 & EXCLUDED != 0
    }
}

/// The labels of threads' rows. *Cost.* 8 bytes a step; steps that no thread has any more go when they are most.
#[derive(Debug, Default)]
pub struct Paths {
    steps: Vec<(PathId, Label)>,
    limit: usize,
}

/// So few steps are not worth looking for those that can go.
const SLACK: usize = 4_096;

impl Paths {
    /// One step on.
    pub fn push(&mut self, before: PathId, label: Label) -> PathId {
        self.steps.push((before, label));
        (self.steps.len() - 1) as PathId
    }

    /// All labels up to a step, the first first.
    pub fn labels(&self, last: PathId) -> Vec<Label> {
        let mut labels = Vec::new();
        let mut at = last;
        while at != NOTHING {
            let (before, label) = self.steps[at as usize];
            labels.push(label);
            at = before;
        }
        labels.reverse();
        labels
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.limit = 0;
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it is time for [`Paths::sweep`].
    pub fn is_full(&self) -> bool {
        self.steps.len() > self.limit.max(SLACK)
    }

    /// Drops the steps that lead to none of `last`, and numbers the others anew. O(1) a step, amortised.
    pub fn sweep<'p>(&mut self, last: impl Iterator<Item = &'p mut PathId>) {
        let last: Vec<&mut PathId> = last.collect();
        let ends: Vec<u32> = last.iter().map(|last| **last).collect();
        let places = kept(self.steps.len(), ends.into_iter(), |step| self.steps[step as usize].0);
        let mut to = 0;
        for from in 0..self.steps.len() {
            if places[from] != NOTHING {
                let (before, label) = self.steps[from];
                self.steps[to] = (place_in(&places, before), label);
                to += 1;
            }
        }
        self.steps.truncate(to);
        last.into_iter().for_each(|last| *last = place_in(&places, *last));
        self.limit = 2 * self.steps.len();
    }
}

/// The new places of those nodes that are on a way from `ends`; [`NOTHING`] for the others.
fn kept(nodes: usize, ends: impl Iterator<Item = u32>, before: impl Fn(u32) -> u32) -> Vec<u32> {
    const KEPT: u32 = 0;
    let mut places = vec![NOTHING; nodes];
    for end in ends {
        let mut at = end;
        while at != NOTHING && places[at as usize] != KEPT {
            places[at as usize] = KEPT;
            at = before(at);
        }
    }
    let mut next = 0;
    for place in places.iter_mut().filter(|place| **place == KEPT) {
        *place = next;
        next += 1;
    }
    places
}

fn place_in(places: &[u32], node: u32) -> u32 {
    match node {
        NOTHING => NOTHING,
        node => places[node as usize],
    }
}

/// A set of rows, made once; [`NOTHING`] is the empty one.
pub type SetId = u32;

/// A row of a set: its place in the match, and its variable where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// Counted from the match's first row.
    pub row: u32,
    /// Its variable, or 0 where only the row counts.
    pub variable: Variable,
}

/// Sets of rows. *Cost.* About 40 bytes a set.
#[derive(Debug, Default)]
pub struct Sets {
    nodes: Vec<(SetId, Member)>,
    made: HashMap<(SetId, Member), SetId>,
    limit: usize,
}

impl Sets {
    /// A set and one more row.
    pub fn with(&mut self, set: SetId, member: Member) -> SetId {
        let next = self.nodes.len() as SetId;
        let id = *self.made.entry((set, member)).or_insert(next);
        if id == next {
            self.nodes.push((set, member));
        }
        id
    }

    /// The set without its last row, and that row.
    pub fn split(&self, set: SetId) -> Option<(SetId, Member)> {
        self.nodes.get(set as usize).copied()
    }

    /// The rows of a set, in order.
    pub fn members(&self, set: SetId) -> Vec<Member> {
        let mut members = Vec::new();
        let mut at = set;
        while let Some((before, member)) = self.split(at) {
            members.push(member);
            at = before;
        }
        members.reverse();
        members
    }

    /// The number of sets.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none but the empty one.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.made.clear();
        self.limit = 0;
    }

    /// Whether it is time for [`Sets::sweep`].
    pub fn is_full(&self) -> bool {
        self.nodes.len() > self.limit.max(SLACK)
    }

    /// Drops the sets that none of `used` begins with. The new number of each, [`NOTHING`] for those that are gone.
    pub fn sweep(&mut self, used: impl Iterator<Item = SetId>) -> Vec<SetId> {
        let places = kept(self.nodes.len(), used, |set| self.nodes[set as usize].0);
        let mut to = 0;
        self.made.clear();
        for from in 0..self.nodes.len() {
            if places[from] != NOTHING {
                let (before, member) = self.nodes[from];
                let node = (place_in(&places, before), member);
                self.nodes[to] = node;
                self.made.insert(node, to as SetId);
                to += 1;
            }
        }
        self.nodes.truncate(to);
        self.limit = 2 * to;
        places
    }
}
