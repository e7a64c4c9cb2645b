//! Random patterns: trees of elements, as SQL.

use std::fmt::Write;

use proptest::prelude::*;

/// What an element asks for.
#[derive(Debug, Clone)]
pub struct Asks {
    /// What the event is; anything if `None`.
    pub t: Option<char>,
    /// How it stands to an earlier element's last event: any number, and the relation.
    pub relation: Option<(usize, Relation)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Relation {
    Greater,
    /// Indexed where the earlier element is closed.
    SameKey,
    /// Not of a form that is compiled: evaluated by the SQL engine underneath.
    Modulo,
    /// More than the sum over the earlier events.
    AboveSum,
    /// Exactly one earlier event.
    OneOf,
    /// Not less than what the element itself has so far.
    Rising,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// In ms.
    Time(i64),
    Events(u64),
}

#[derive(Debug, Clone)]
pub enum Node {
    /// Events: the element's number, at least, at most.
    Take(usize, Asks, usize, Option<usize>),
    /// No event for so many ms.
    Silence(usize, Asks, i64),
    /// No event before what it stands beside.
    Guard(usize, Asks),
    Chain(Vec<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Repeat(Box<Node>, usize, Option<usize>),
    Every(Box<Node>),
    Within(Box<Node>, Bound),
}

/// An element, out of its tree.
#[derive(Debug, Clone)]
pub struct Element {
    pub asks: Asks,
    /// The earlier element that it is related to.
    pub to: Option<(usize, Relation)>,
    pub collects: bool,
    pub absent: bool,
}

#[derive(Debug, Clone)]
pub struct Spec {
    pub root: Node,
    pub elements: Vec<Element>,
    pub bound: Option<Bound>,
    pub strict: bool,
    pub by_key: bool,
}

impl Node {
    pub fn parts(&self) -> Vec<&Node> {
        match self {
            Node::Take(..) | Node::Silence(..) | Node::Guard(..) => Vec::new(),
            Node::Chain(parts) | Node::And(parts) | Node::Or(parts) => parts.iter().collect(),
            Node::Repeat(body, ..) | Node::Every(body) | Node::Within(body, _) => vec![body],
        }
    }

    pub fn may_be_empty(&self) -> bool {
        match self {
            Node::Take(_, _, min, _) => *min == 0,
            Node::Silence(..) => false,
            Node::Guard(..) => true,
            Node::Chain(parts) | Node::And(parts) => parts.iter().all(Node::may_be_empty),
            Node::Or(parts) => parts.iter().any(Node::may_be_empty),
            Node::Repeat(body, min, _) => *min == 0 || body.may_be_empty(),
            Node::Every(body) | Node::Within(body, _) => body.may_be_empty(),
        }
    }

    /// The same with an event at least.
    fn filled(self) -> Node {
        match self {
            Node::Take(e, asks, min, max) => Node::Take(e, asks, min.max(1), max),
            Node::Guard(e, asks) => Node::Silence(e, asks, 60),
            Node::Silence(..) => self,
            Node::Chain(mut parts) => {
                let last = parts.pop().map(Node::filled);
                parts.extend(last);
                Node::Chain(parts)
            }
            Node::And(mut parts) => {
                let last = parts.pop().map(Node::filled);
                parts.extend(last);
                Node::And(parts)
            }
            Node::Or(parts) => Node::Or(parts.into_iter().map(Node::filled).collect()),
            Node::Repeat(body, min, max) => match (min.max(1), max) {
                (1, Some(1)) => body.filled(),
                (min, max) => Node::Repeat(Box::new(body.filled()), min, max),
            },
            Node::Every(body) => Node::Every(Box::new(body.filled())),
            Node::Within(body, bound) => Node::Within(Box::new(body.filled()), bound),
        }
    }

    fn is_guard(&self) -> bool {
        matches!(self, Node::Guard(..))
    }

    /// A guard that guards nothing becomes an absence in time.
    fn no_guard(self) -> Node {
        match self {
            Node::Guard(e, asks) => Node::Silence(e, asks, 60),
            other => other,
        }
    }

    fn leads_with_every(&self) -> bool {
        match self {
            Node::Every(_) => true,
            Node::Chain(parts) => parts[0].leads_with_every(),
            Node::Within(body, _) => body.leads_with_every(),
            _ => false,
        }
    }

    fn takes_events(&self) -> bool {
        match self {
            Node::Take(_, _, min, _) => *min > 0,
            Node::Silence(..) | Node::Guard(..) => false,
            Node::Chain(parts) | Node::And(parts) => parts.iter().any(Node::takes_events),
            Node::Or(parts) => parts.iter().all(Node::takes_events),
            Node::Repeat(body, min, _) => *min > 0 && body.takes_events(),
            Node::Every(body) | Node::Within(body, _) => body.takes_events(),
        }
    }

    fn is_closed_when_complete(&self) -> bool {
        match self {
            Node::Take(_, _, min, max) => *max == Some(*min),
            Node::Silence(..) | Node::Guard(..) => true,
            Node::Chain(parts) => ends(parts).iter().all(Node::is_closed_when_complete),
            Node::And(parts) | Node::Or(parts) => parts.iter().all(Node::is_closed_when_complete),
            Node::Repeat(_, min, max) => *max == Some(*min),
            Node::Every(body) | Node::Within(body, _) => body.is_closed_when_complete(),
        }
    }

    fn ends_in_open_every(&self) -> bool {
        match self {
            Node::Every(body) => !body.is_closed_when_complete() || body.ends_in_open_every(),
            Node::Chain(parts) => ends(parts).iter().any(Node::ends_in_open_every),
            Node::And(parts) | Node::Or(parts) => parts.iter().any(Node::ends_in_open_every),
            Node::Within(body, _) => body.ends_in_open_every(),
            _ => false,
        }
    }

    pub fn everies(&self) -> usize {
        usize::from(matches!(self, Node::Every(_))) + self.parts().into_iter().map(Node::everies).sum::<usize>()
    }

    fn without_every(self) -> Node {
        match self {
            Node::Every(body) => body.without_every(),
            Node::Chain(parts) => Node::Chain(parts.into_iter().map(Node::without_every).collect()),
            Node::And(parts) => Node::And(parts.into_iter().map(Node::without_every).collect()),
            Node::Or(parts) => Node::Or(parts.into_iter().map(Node::without_every).collect()),
            Node::Repeat(body, min, max) => Node::Repeat(Box::new(body.without_every()), min, max),
            Node::Within(body, bound) => Node::Within(Box::new(body.without_every()), bound),
            leaf => leaf,
        }
    }

    /// The same with no EVERY but at the start.
    fn every_first(self) -> Node {
        match self {
            Node::Every(body) => Node::Every(Box::new(body.without_every())),
            Node::Chain(parts) => {
                let mut parts = parts.into_iter();
                let first = parts.next().map(Node::every_first);
                Node::Chain(first.into_iter().chain(parts.map(Node::without_every)).collect())
            }
            other => other.without_every(),
        }
    }

    /// The same as something that the language accepts.
    fn valid(self) -> Node {
        let several = |parts: Vec<Node>, make: fn(Vec<Node>) -> Node| match <[Node; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => make(parts),
        };
        match self {
            Node::Chain(parts) => {
                let mut parts: Vec<Node> = parts.into_iter().map(Node::valid).collect();
                let last = parts.pop().map(Node::no_guard);
                parts.extend(last);
                several(parts, Node::Chain)
            }
            Node::And(parts) => {
                let mut parts: Vec<Node> = parts.into_iter().map(Node::valid).collect();
                if parts.iter().all(Node::is_guard) {
                    parts = parts.into_iter().map(Node::no_guard).collect();
                }
                several(parts, Node::And)
            }
            Node::Or(parts) => {
                let parts = parts.into_iter().map(|part| {
                    let part = part.valid().no_guard();
                    let part = if part.may_be_empty() { part.filled() } else { part };
                    match part.ends_in_open_every() {
                        true => part.without_every(),
                        false => part,
                    }
                });
                several(parts.collect(), Node::Or)
            }
            Node::Repeat(body, 1, Some(1)) => body.valid(),
            Node::Repeat(body, min, max) => {
                let body = body.valid().no_guard();
                match if body.may_be_empty() { body.filled() } else { body } {
                    Node::Take(e, asks, 1, Some(1)) => Node::Take(e, asks, min, max),
                    body => Node::Repeat(Box::new(body), min, max),
                }
            }
            Node::Every(body) => match body.valid().no_guard() {
                body if body.leads_with_every() => body,
                body => Node::Every(Box::new(body)),
            },
            Node::Within(body, bound) => Node::Within(Box::new(body.valid().no_guard()), bound),
            leaf => leaf,
        }
    }

    /// EVERY of what is complete at once needs something after it.
    fn with_ends(self, followed: bool) -> Node {
        let all = |parts: Vec<Node>, followed: bool| parts.into_iter().map(|part| part.with_ends(followed)).collect();
        match self {
            Node::Chain(parts) => {
                let comes: Vec<bool> = parts.iter().map(|part| !part.may_be_empty()).collect();
                let parts = parts.into_iter().enumerate();
                let parts = parts.map(|(index, part)| part.with_ends(followed || comes[index + 1..].contains(&true)));
                Node::Chain(parts.collect())
            }
            Node::And(parts) => Node::And(all(parts, followed)),
            Node::Or(parts) => Node::Or(all(parts, false)),
            Node::Repeat(body, min, max) => Node::Repeat(Box::new(body.with_ends(false)), min, max),
            Node::Every(body) if body.may_be_empty() && !followed => {
                Node::Every(Box::new(body.filled().with_ends(followed)))
            }
            Node::Every(body) => Node::Every(Box::new(body.with_ends(followed))),
            Node::Within(body, bound) => Node::Within(Box::new(body.with_ends(followed)), bound),
            leaf => leaf,
        }
    }

    fn number(&mut self, elements: &mut Vec<Element>, repeated: bool) {
        let id = elements.len();
        match self {
            Node::Take(e, asks, min, max) => {
                *e = id;
                let collects = repeated || (*min, *max) != (1, Some(1));
                elements.push(element(elements, asks, collects, false));
            }
            Node::Silence(e, asks, _) | Node::Guard(e, asks) => {
                *e = id;
                elements.push(element(elements, asks, false, true));
            }
            Node::Chain(parts) | Node::And(parts) | Node::Or(parts) => {
                parts.iter_mut().for_each(|part| part.number(elements, repeated));
            }
            Node::Repeat(body, ..) => body.number(elements, true),
            Node::Every(body) | Node::Within(body, _) => body.number(elements, repeated),
        }
    }

    fn sql(&self, spec: &Spec) -> String {
        let list = |parts: &[Node], between: &str| {
            let parts: Vec<String> = parts.iter().map(|part| part.bracketed(spec)).collect();
            parts.join(between)
        };
        match self {
            Node::Take(e, _, min, max) => {
                let count = quantifier(*min, *max);
                format!("e{e}=E{}{count}", spec.condition(*e))
            }
            Node::Silence(e, _, wait) => format!("NOT E{} FOR {wait} ms", spec.condition(*e)),
            Node::Guard(e, _) => format!("NOT E{}", spec.condition(*e)),
            Node::Chain(parts) => list(parts, " -> "),
            Node::And(parts) => list(parts, " AND "),
            Node::Or(parts) => list(parts, " OR "),
            Node::Repeat(body, min, max) => format!("({}){}", body.sql(spec), quantifier(*min, *max)),
            Node::Every(body) => format!("EVERY {}", body.bracketed(spec)),
            Node::Within(body, bound) => format!("(({}) {})", body.sql(spec), bound.sql()),
        }
    }

    fn bracketed(&self, spec: &Spec) -> String {
        match self {
            Node::Take(..) | Node::Guard(..) | Node::Repeat(..) => self.sql(spec),
            _ => format!("({})", self.sql(spec)),
        }
    }
}

/// The parts of a chain that no event of a later one closes.
fn ends(parts: &[Node]) -> &[Node] {
    &parts[parts.iter().rposition(Node::takes_events).unwrap_or(0)..]
}

fn element(known: &[Element], asks: &Asks, collects: bool, absent: bool) -> Element {
    let earlier: Vec<usize> = (0..known.len()).filter(|e| !known[*e].absent).collect();
    let to = asks.relation.and_then(|(seed, relation)| match relation {
        Relation::Rising => collects.then_some((known.len(), relation)),
        _ if earlier.is_empty() => None,
        _ => {
            let to = earlier[seed % earlier.len()];
            let relation = match relation {
                Relation::AboveSum if !known[to].collects => Relation::Greater,
                relation => relation,
            };
            Some((to, relation))
        }
    });
    Element {
        asks: asks.clone(),
        to,
        collects,
        absent,
    }
}

fn quantifier(min: usize, max: Option<usize>) -> String {
    match (min, max) {
        (1, Some(1)) => String::new(),
        (min, Some(max)) => format!("{{{min},{max}}}"),
        (min, None) => format!("{{{min},}}"),
    }
}

impl Bound {
    fn sql(self) -> String {
        match self {
            Bound::Time(ms) => format!("WITHIN {ms} ms"),
            Bound::Events(events) => format!("WITHIN {events} EVENTS"),
        }
    }
}

impl Spec {
    fn condition(&self, e: usize) -> String {
        let element = &self.elements[e];
        let mut conditions = Vec::new();
        if let Some(t) = element.asks.t {
            conditions.push(format!("t = '{t}'"));
        }
        if let Some((to, relation)) = element.to {
            let other = match self.elements[to].collects {
                true => format!("e{to}[last]"),
                false => format!("e{to}"),
            };
            conditions.push(match relation {
                Relation::Greater => format!("v > {other}.v"),
                Relation::SameKey => format!("k = {other}.k"),
                Relation::Modulo => format!("(v + {other}.v) % 2 = 0"),
                Relation::AboveSum => format!("v > sum(e{to}.v)"),
                Relation::OneOf => format!("count(e{to}) = 1"),
                Relation::Rising => format!("({other}.v IS NULL OR v >= {other}.v)"),
            });
        }
        match conditions.is_empty() {
            true => String::new(),
            false => format!("[{}]", conditions.join(" AND ")),
        }
    }

    pub fn sql(&self) -> String {
        let present = (0..self.elements.len()).filter(|e| !self.elements[*e].absent);
        let shown: Vec<String> = present
            .map(|e| match self.elements[e].collects {
                true => format!("coalesce(array_to_string(e{e}.id, ','), '')"),
                false => format!("coalesce(CAST(e{e}.id AS STRING), '')"),
            })
            .chain(["''".to_string()])
            .collect();
        let word = if self.strict { "SEQUENCE" } else { "PATTERN" };
        let mut sql = format!(
            "CREATE STREAM E (id LONG, t STRING, k LONG, v LONG, ts LONG, WATERMARK FOR ts AS ts);
             INSERT INTO Out SELECT {} AS m FROM {word} ({})",
            shown.join(" || '|' || "),
            self.root.sql(self)
        );
        if let Some(bound) = self.bound {
            let _ = write!(sql, " {}", bound.sql());
        }
        if self.by_key {
            sql.push_str(" PARTITION BY k");
        }
        sql.push(';');
        sql
    }
}

fn asks() -> impl Strategy<Value = Asks> {
    let t = prop_oneof![1 => Just(None), 5 => prop::sample::select(vec!['A', 'B', 'C']).prop_map(Some)];
    let relation = prop::sample::select(vec![
        Relation::Greater,
        Relation::SameKey,
        Relation::SameKey,
        Relation::Modulo,
        Relation::AboveSum,
        Relation::OneOf,
        Relation::Rising,
    ]);
    let relation = prop::option::weighted(0.4, (0_usize..4, relation));
    (t, relation).prop_map(|(t, relation)| Asks { t, relation })
}

fn leaf() -> impl Strategy<Value = Node> {
    let counted = (asks(), 0_usize..3, prop::option::of(0_usize..3))
        .prop_map(|(asks, min, more)| Node::Take(0, asks, min, more.map(|more| (min + more).max(1))));
    prop_oneof![
        6 => asks().prop_map(|asks| Node::Take(0, asks, 1, Some(1))),
        3 => counted,
        1 => (asks(), prop::sample::select(vec![30_i64, 70, 150])).prop_map(|(asks, wait)| Node::Silence(0, asks, wait)),
        1 => asks().prop_map(|asks| Node::Guard(0, asks)),
    ]
}

fn bound() -> impl Strategy<Value = Bound> {
    prop_oneof![
        2 => prop::sample::select(vec![50_i64, 200, 1_000]).prop_map(Bound::Time),
        1 => prop::sample::select(vec![2_u64, 4, 9]).prop_map(Bound::Events),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    leaf().prop_recursive(3, 10, 3, |inner| {
        let some = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            4 => some().prop_map(Node::Chain),
            2 => prop::collection::vec(inner.clone(), 2..3).prop_map(Node::And),
            2 => prop::collection::vec(inner.clone(), 2..3).prop_map(Node::Or),
            2 => (inner.clone(), 0_usize..3, prop::option::of(0_usize..2))
                .prop_map(|(body, min, more)| Node::Repeat(Box::new(body), min, more.map(|more| (min + more).max(1)))),
            3 => inner.clone().prop_map(|body| Node::Every(Box::new(body))),
            1 => (inner.clone(), bound()).prop_map(|(body, bound)| Node::Within(Box::new(body), bound)),
        ]
    })
}

/// Patterns of any form.
pub fn spec() -> impl Strategy<Value = Spec> {
    let root = prop_oneof![
        2 => node(),
        3 => prop::collection::vec(node(), 2..4).prop_map(Node::Chain),
        2 => prop::collection::vec(node(), 1..4)
            .prop_map(|parts| Node::Every(Box::new(Node::Chain(parts)))),
        2 => prop::collection::vec(node(), 2..4).prop_map(|mut parts| {
            let first = std::mem::replace(&mut parts[0], Node::Chain(Vec::new()));
            parts[0] = Node::Every(Box::new(first));
            Node::Chain(parts)
        }),
    ];
    (root, prop::option::of(bound()), 0_u8..4, any::<bool>()).prop_map(|(root, bound, strict, by_key)| {
        let root = root.valid().no_guard();
        let root = if root.may_be_empty() { root.filled() } else { root };
        let root = if root.everies() > 3 { root.without_every() } else { root };
        // In a SEQUENCE other EVERYs than the first are not compared.
        let root = if strict == 0 { root.every_first() } else { root };
        // What was taken out may leave something to tidy.
        whole(root.valid().with_ends(false).valid(), bound, strict == 0, by_key)
    })
}

/// WITHIN of a group that is the whole is the whole's.
fn whole(root: Node, bound: Option<Bound>, strict: bool, by_key: bool) -> Spec {
    let (mut root, bound) = match (root, bound) {
        (Node::Within(body, own), None) => (*body, Some(own)),
        (Node::Every(body), None) => match *body {
            Node::Within(body, own) => (Node::Every(body), Some(own)),
            body => (Node::Every(Box::new(body)), None),
        },
        (root, bound) => (root, bound),
    };
    let mut elements = Vec::new();
    root.number(&mut elements, false);
    Spec {
        root,
        elements,
        bound,
        strict,
        by_key,
    }
}
