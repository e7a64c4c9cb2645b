//! What the paths of columns compile to: a trie of the names and positions that are wanted.
//!
//! Both readers walk it with the message: at a member's name or an element's position they are at a node, or nobody wants what
//! follows. What is found once when the app starts (which columns lie beneath a node, in which way it can be read, its bit in
//! the quick way's set of visited nodes) is kept in the node.

use std::collections::HashMap;

use super::path::{Fold, JsonPath, Segment};

/// A node's place in its [`Shape`].
pub(super) type NodeId = usize;

/// The node of a record.
pub(super) const RECORD: NodeId = 0;

/// Elements further back than this are not looked for one by one: the whole array is taken apart.
const MAX_ELEMENT: usize = 16;

/// The trie.
#[derive(Debug)]
pub(super) struct Shape {
    nodes: Vec<Node>,
    /// Where the record is in the message.
    pub(super) root: Vec<Segment>,
    /// Whether an array in the record's place is an array of records.
    pub(super) exploded: bool,
    /// Whether a record is an array.
    pub(super) positional: bool,
    /// Columns that are found from the message's start on.
    pub(super) whole: Vec<(usize, Vec<Segment>)>,
    pub(super) fold: Fold,
    /// The node of the message, where the quick way begins; `None` when only the strict way can read it.
    message: Option<NodeId>,
    /// The bits of the nodes above the records.
    above: u64,
}

/// A place that a path leads through or to.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The columns that take the value itself.
    pub(super) columns: Vec<usize>,
    /// The columns that collect values from here on.
    pub(super) several: Vec<(usize, Vec<Segment>)>,
    members: HashMap<String, NodeId>,
    /// By position, ascending.
    elements: Vec<(usize, NodeId)>,
    /// By position from the end, negative.
    pub(super) from_end: Vec<(i64, NodeId)>,
    /// The columns here and further down.
    pub(super) beneath: Vec<usize>,
    pub(super) kind: Kind,
    /// Its bit in the quick way's set of visited nodes. 0: a column that needs none, as its length tells.
    pub(super) bit: u64,
}

/// How the quick way reads a node's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// One column takes it.
    Column(usize),
    /// Its parts are wanted, each by its name or position.
    #[default]
    Parts,
    /// It is the record, or an array of records.
    Records,
    /// The strict way takes it.
    Strict,
}

impl Node {
    /// The node of an element, by its position.
    pub(super) fn element(&self, index: usize) -> Option<NodeId> {
        let place = self.elements.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(self.elements[place].1)
    }

    /// The position after which no element is wanted by its position from the front.
    pub(super) fn elements_end(&self) -> usize {
        self.elements.last().map_or(0, |(index, _)| index + 1)
    }

    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn has_elements(&self) -> bool {
        !self.elements.is_empty() || !self.from_end.is_empty()
    }

    fn kind(&self) -> Kind {
        let children = self.has_members() || self.has_elements();
        match (self.columns.as_slice(), self.several.is_empty()) {
            ([column], true) if !children => Kind::Column(*column),
            ([], true) if self.from_end.is_empty() && self.elements_end() <= MAX_ELEMENT => Kind::Parts,
            _ => Kind::Strict,
        }
    }
}

impl Shape {
    /// Of the paths of columns, each at its column's place.
    pub(super) fn new(paths: &[&JsonPath], root: Option<&JsonPath>, positional: bool, fold: Fold) -> Self {
        let mut shape = Shape {
            nodes: vec![Node::default()],
            exploded: root.is_some() || !positional,
            root: root.map(|root| root.segments.clone()).unwrap_or_default(),
            positional,
            whole: Vec::new(),
            fold,
            message: None,
            above: 0,
        };
        for (column, path) in paths.iter().enumerate() {
            match path.whole {
                true => shape.whole.push((column, path.segments.clone())),
                false => shape.add(column, &path.segments),
            }
        }
        shape.nodes.iter_mut().for_each(|node| node.kind = node.kind());
        shape.message = shape.prepare();
        shape
    }

    fn add(&mut self, column: usize, path: &[Segment]) {
        let mut node = RECORD;
        self.nodes[node].beneath.push(column);
        for (depth, segment) in path.iter().enumerate() {
            if matches!(segment, Segment::Several(_)) {
                return self.nodes[node].several.push((column, path[depth..].to_vec()));
            }
            node = self.child(node, segment);
            self.nodes[node].beneath.push(column);
        }
        self.nodes[node].columns.push(column);
    }

    /// The node that a name or position leads to, made if it is not there.
    fn child(&mut self, node: NodeId, segment: &Segment) -> NodeId {
        let new = self.nodes.len();
        let fold = self.fold;
        let parent = &mut self.nodes[node];
        let child = match segment {
            Segment::Name(name) => *parent.members.entry(fold.name(name).into_owned()).or_insert(new),
            Segment::Index(index) => match usize::try_from(*index) {
                Ok(index) => match parent.elements.binary_search_by_key(&index, |(index, _)| *index) {
                    Ok(place) => parent.elements[place].1,
                    Err(place) => {
                        parent.elements.insert(place, (index, new));
                        new
                    }
                },
                Err(_) => match parent.from_end.iter().find(|(back, _)| back == index) {
                    Some((_, child)) => *child,
                    None => {
                        parent.from_end.push((*index, new));
                        new
                    }
                },
            },
            // Paths end before these.
            Segment::Several(_) => node,
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    /// Makes what the quick way needs: nodes for the way to the records, and bits. `None` when it cannot be taken.
    fn prepare(&mut self) -> Option<NodeId> {
        if !self.whole.is_empty() {
            return None;
        }
        let first = self.nodes.len();
        let mut last = first;
        self.nodes.push(Node::default());
        for segment in self.root.clone() {
            if matches!(segment, Segment::Index(index) if usize::try_from(index).is_ok_and(|index| index >= MAX_ELEMENT))
            {
                return None;
            }
            last = self.child(last, &segment);
        }
        if self.nodes[first..].iter().any(|node| !node.from_end.is_empty()) {
            return None;
        }
        self.nodes[last].kind = Kind::Records;
        let mut bits = (0..u64::BITS).map(|bit| 1u64 << bit);
        for node in &mut self.nodes[first..] {
            node.bit = bits.next()?;
            self.above |= node.bit;
        }
        let is_column = |node: &Node| matches!(node.kind, Kind::Column(_));
        for node in self.nodes[..first].iter_mut().filter(|node| !is_column(node)) {
            node.bit = bits.next()?;
        }
        for node in self.nodes[..first].iter_mut().filter(|node| is_column(node)) {
            node.bit = bits.next().unwrap_or(0);
        }
        Some(first)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The node of a member.
    #[inline]
    pub(super) fn member(&self, node: NodeId, name: &str) -> Option<NodeId> {
        let members = &self.nodes[node].members;
        match self.fold {
            Fold::Exact => members.get(name).copied(),
            fold => members.get(fold.name(name).as_ref()).copied(),
        }
    }

    /// The node of the message, unless only the strict way can read it.
    pub(super) fn message(&self) -> Option<NodeId> {
        self.message
    }

    /// The bits of the nodes above the records.
    pub(super) fn above(&self) -> u64 {
        self.above
    }
}
