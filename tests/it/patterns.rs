//! Patterns over random events equal what a slow reading of their definition finds.
//!
//! The oracle covers chains of elements with conditions over earlier events, counts (also from 0), AND and OR of two elements,
//! EVERY before the first element or the whole, WITHIN, PARTITION BY, and SEQUENCEs of single events. It keeps no attempts: for
//! each event that may begin one it walks through all later events again.

use std::fmt::Write;

use eventflux::EventFlux;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::send_in_batches;

/// An event: its number, what it is, key, value, time in ms.
#[derive(Debug, Clone, Serialize)]
struct Event {
    id: i64,
    t: String,
    k: i64,
    v: i64,
    ts: i64,
}

/// What an element asks for.
#[derive(Debug, Clone)]
struct Element {
    /// What the event is; anything if `None`.
    t: Option<char>,
    /// How it stands to an earlier step's last event.
    relation: Option<(usize, Relation)>,
}

#[derive(Debug, Clone, Copy)]
enum Relation {
    Greater,
    SameKey,
    /// Not of a form that is compiled: evaluated by the SQL engine underneath.
    Modulo,
}

#[derive(Debug, Clone)]
enum Step {
    Events {
        element: Element,
        min: usize,
        max: Option<usize>,
    },
    Both(Element, Element),
    Either(Element, Element),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Every {
    None,
    First,
    Whole,
}

#[derive(Debug, Clone)]
struct Spec {
    every: Every,
    steps: Vec<Step>,
    within: Option<i64>,
    strict: bool,
    by_key: bool,
}

impl Element {
    fn sql(&self, alias: &str, spec: &Spec, own: usize) -> String {
        let mut conditions = Vec::new();
        if let Some(t) = self.t {
            conditions.push(format!("t = '{t}'"));
        }
        if let Some((earlier, relation)) = self.earlier(own) {
            let other = match &spec.steps[earlier] {
                Step::Events {
                    min: 1, max: Some(1), ..
                } => format!("e{earlier}"),
                Step::Events { .. } => format!("e{earlier}[last]"),
                _ => format!("e{earlier}a"),
            };
            conditions.push(match relation {
                Relation::Greater => format!("v > {other}.v"),
                Relation::SameKey => format!("k = {other}.k"),
                Relation::Modulo => format!("(v + {other}.v) % 2 = 0"),
            });
        }
        match conditions.is_empty() {
            true => format!("{alias}=E"),
            false => format!("{alias}=E[{}]", conditions.join(" AND ")),
        }
    }

    fn earlier(&self, own: usize) -> Option<(usize, Relation)> {
        self.relation
            .filter(|_| own > 0)
            .map(|(step, relation)| (step % own, relation))
    }

    fn takes(&self, event: &Event, own: usize, attempt: &Attempt) -> bool {
        let is = self.t.is_none_or(|t| event.t == t.to_string());
        is && self.earlier(own).is_none_or(|(step, relation)| {
            attempt.last_of(step).is_some_and(|other| match relation {
                Relation::Greater => event.v > other.v,
                Relation::SameKey => event.k == other.k,
                Relation::Modulo => (event.v + other.v) % 2 == 0,
            })
        })
    }
}

impl Spec {
    fn sql(&self) -> String {
        let mut parts = Vec::new();
        let mut shown = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Events { element, min, max } => {
                    let single = (*min, *max) == (1, Some(1));
                    let count = match (single, max) {
                        (true, _) => String::new(),
                        (_, Some(max)) => format!("{{{min},{max}}}"),
                        (_, None) => format!("{{{min},}}"),
                    };
                    parts.push(format!("{}{count}", element.sql(&format!("e{index}"), self, index)));
                    shown.push(match single {
                        true => format!("coalesce(CAST(e{index}.id AS STRING), '')"),
                        false => format!("coalesce(array_to_string(e{index}.id, ','), '')"),
                    });
                }
                Step::Both(a, b) | Step::Either(a, b) => {
                    let word = if matches!(step, Step::Both(..)) { "AND" } else { "OR" };
                    let (a, b) = (
                        a.sql(&format!("e{index}a"), self, index),
                        b.sql(&format!("e{index}b"), self, index),
                    );
                    parts.push(format!("{a} {word} {b}"));
                    for side in ["a", "b"] {
                        shown.push(format!("coalesce(CAST(e{index}{side}.id AS STRING), '')"));
                    }
                }
            }
        }
        let chain = parts.join(" -> ");
        let chain = match self.every {
            Every::None => chain,
            Every::First => match parts.split_first() {
                Some((first, rest)) => std::iter::once(format!("EVERY ({first})"))
                    .chain(rest.iter().cloned())
                    .collect::<Vec<_>>()
                    .join(" -> "),
                None => chain,
            },
            Every::Whole => format!("EVERY ({chain})"),
        };
        let word = if self.strict { "SEQUENCE" } else { "PATTERN" };
        let mut sql = format!(
            "CREATE STREAM E (id LONG, t STRING, k LONG, v LONG, ts LONG, WATERMARK FOR ts AS ts);
             INSERT INTO Out SELECT {} AS m FROM {word} ({chain})",
            shown.join(" || '|' || ")
        );
        if let Some(within) = self.within {
            let _ = write!(sql, " WITHIN {within} ms");
        }
        if self.by_key {
            sql.push_str(" PARTITION BY k");
        }
        sql.push(';');
        sql
    }
}

/// One walk through the events.
#[derive(Default)]
struct Attempt<'a> {
    /// The events of each step; of an AND or OR those of its two sides.
    taken: Vec<[Vec<&'a Event>; 2]>,
}

impl<'a> Attempt<'a> {
    fn last_of(&self, step: usize) -> Option<&'a Event> {
        self.taken[step][0].last().copied()
    }

    fn satisfied(&self, spec: &Spec, step: usize) -> bool {
        let [a, b] = &self.taken[step];
        match &spec.steps[step] {
            Step::Events { min, .. } => a.len() >= *min,
            Step::Both(..) => !a.is_empty() && !b.is_empty(),
            Step::Either(..) => !a.is_empty() || !b.is_empty(),
        }
    }

    /// Gives an event to a step, if it takes it.
    fn give(&mut self, spec: &Spec, step: usize, event: &'a Event) -> bool {
        match &spec.steps[step] {
            Step::Events { element, max, .. } => {
                let room = max.is_none_or(|max| self.taken[step][0].len() < max);
                let takes = room && element.takes(event, step, self);
                if takes {
                    self.taken[step][0].push(event);
                }
                takes
            }
            Step::Both(a, b) => {
                let takes = [a, b].map(|side| side.takes(event, step, self));
                let mut taken = false;
                for (side, takes) in takes.into_iter().enumerate() {
                    if takes && self.taken[step][side].is_empty() {
                        self.taken[step][side].push(event);
                        taken = true;
                    }
                }
                taken
            }
            Step::Either(..) if self.satisfied(spec, step) => false,
            Step::Either(a, b) => {
                let side = [a, b].iter().position(|side| side.takes(event, step, self));
                if let Some(side) = side {
                    self.taken[step][side].push(event);
                }
                side.is_some()
            }
        }
    }

    fn shown(&self, spec: &Spec) -> String {
        let ids = |events: &[&Event]| {
            events
                .iter()
                .map(|event| event.id.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        let steps = self
            .taken
            .iter()
            .zip(&spec.steps)
            .flat_map(|([a, b], step)| match step {
                Step::Events { .. } => vec![ids(a)],
                _ => vec![ids(a), ids(b)],
            });
        steps.collect::<Vec<_>>().join("|")
    }
}

/// How an attempt that began at some event went on.
struct Walked {
    matched: Option<(usize, String)>,
    /// The event with which its first step was full or left.
    closed: Option<usize>,
    /// The first event after its time.
    expired: Option<usize>,
}

fn walk(spec: &Spec, events: &[&Event], from: usize) -> Option<Walked> {
    let mut attempt = Attempt {
        taken: spec.steps.iter().map(|_| Default::default()).collect(),
    };
    let mut at = 0;
    let mut closed = None;
    let mut began = false;
    for (index, event) in events.iter().enumerate().skip(from) {
        if began && spec.within.is_some_and(|within| event.ts - events[from].ts > within) {
            return Some(Walked {
                matched: None,
                closed,
                expired: Some(index),
            });
        }
        // The furthest step that can be reached.
        let mut reach = at;
        while reach + 1 < spec.steps.len() && attempt.satisfied(spec, reach) {
            reach += 1;
        }
        let taker = (at..=reach).rev().find(|&step| attempt.give(spec, step, event));
        match taker {
            None if !began => return None,
            None if spec.strict => {
                return Some(Walked {
                    matched: None,
                    closed,
                    expired: None,
                });
            }
            None => continue,
            Some(step) => at = step,
        }
        began = true;
        let full = match &spec.steps[0] {
            Step::Events { max, .. } => max.is_some_and(|max| attempt.taken[0][0].len() >= max),
            _ => attempt.satisfied(spec, 0),
        };
        if closed.is_none() && (at > 0 || full) {
            closed = Some(index);
        }
        if (at..spec.steps.len()).all(|step| attempt.satisfied(spec, step)) {
            let matched = Some((index, attempt.shown(spec)));
            return Some(Walked {
                matched,
                closed: closed.or(Some(index)),
                expired: None,
            });
        }
    }
    began.then_some(Walked {
        matched: None,
        closed,
        expired: None,
    })
}

/// All matches, by the event that completes them and then by the order in which they began.
fn oracle(spec: &Spec, events: &[Event]) -> Vec<String> {
    let mut keys: Vec<Option<i64>> = vec![None];
    if spec.by_key {
        keys = events.iter().map(|event| Some(event.k)).collect();
        keys.sort();
        keys.dedup();
    }
    let mut found: Vec<(i64, i64, String)> = Vec::new();
    for key in keys {
        let own: Vec<&Event> = events
            .iter()
            .filter(|event| key.is_none_or(|key| event.k == key))
            .collect();
        let mut from = 0;
        while from < own.len() {
            let Some(walked) = walk(spec, &own, from) else {
                from += 1;
                continue;
            };
            if let Some((end, shown)) = &walked.matched {
                found.push((own[*end].id, own[from].id, shown.clone()));
            }
            let next = match spec.every {
                Every::None => None,
                Every::First if spec.strict => Some(from + 1),
                Every::First => walked.closed.map(|closed| closed + 1).or(walked.expired),
                Every::Whole => walked.matched.map(|(end, _)| end + 1).or(walked.expired),
            };
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
    }
    found.sort();
    found.into_iter().map(|(.., shown)| shown).collect()
}

#[derive(Deserialize)]
struct Match {
    m: String,
}

/// What the engine finds, with events that come in batches of these sizes.
fn engine(sql: &str, events: &[Event], sizes: &[usize]) -> Vec<String> {
    let app = EventFlux::builder().sql(sql).inline().build().unwrap();
    let out = app.subscribe("Out").unwrap();
    app.start().unwrap();
    let input = app.input("E").unwrap();
    send_in_batches(&input, events, sizes);
    app.wait().unwrap();
    let rows = out.flat_map(|batch| eventflux::Rows::rows::<Match>(&batch).unwrap());
    rows.map(|row| row.m).collect()
}

fn element() -> impl Strategy<Value = Element> {
    let t = prop_oneof![1 => Just(None), 4 => prop::sample::select(vec!['A', 'B', 'C']).prop_map(Some)];
    let relation = prop::sample::select(vec![Relation::Greater, Relation::SameKey, Relation::Modulo]);
    let relation = prop::option::of((0_usize..4, relation));
    (t, relation).prop_map(|(t, relation)| Element { t, relation })
}

fn step() -> impl Strategy<Value = Step> {
    let counted = (element(), 0_usize..3, prop::option::of(0_usize..3)).prop_map(|(element, min, more)| Step::Events {
        element,
        min,
        max: more.map(|more| (min + more).max(1)),
    });
    prop_oneof![
        5 => element().prop_map(|element| Step::Events { element, min: 1, max: Some(1) }),
        3 => counted,
        1 => (element(), element()).prop_map(|(a, b)| Step::Both(a, b)),
        1 => (element(), element()).prop_map(|(a, b)| Step::Either(a, b)),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let every = prop::sample::select(vec![Every::None, Every::First, Every::First, Every::Whole]);
    let within = prop::option::of(prop::sample::select(vec![50_i64, 200, 1_000]));
    (
        every,
        prop::collection::vec(step(), 1..5),
        within,
        any::<bool>(),
        0_u8..4,
    )
        .prop_map(|(every, mut steps, within, by_key, strict)| {
            // The first step takes what begins an attempt.
            if let Step::Events { min, max, .. } = &mut steps[0] {
                *min = (*min).max(1);
                *max = max.map(|max| max.max(*min));
            }
            // An OR's other side may be missing: what is asked of it is asked of nothing.
            let strict = strict == 0;
            if strict {
                for step in &mut steps {
                    if let Step::Events { min, max, .. } = step {
                        (*min, *max) = (1, Some(1));
                    }
                }
                steps.retain(|step| matches!(step, Step::Events { .. }));
                if steps.is_empty() {
                    let element = Element {
                        t: Some('A'),
                        relation: None,
                    };
                    steps.push(Step::Events {
                        element,
                        min: 1,
                        max: Some(1),
                    });
                }
            }
            let every = match (strict, every) {
                (true, Every::Whole) => Every::First,
                (_, every) => every,
            };
            Spec {
                every,
                steps,
                within,
                strict,
                by_key,
            }
        })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (
        prop::sample::select(vec!["A", "B", "C"]),
        0_i64..3,
        0_i64..6,
        0_i64..120,
    );
    prop::collection::vec(event, 1..60).prop_map(|drawn| {
        let mut now = 1_000;
        drawn
            .into_iter()
            .enumerate()
            .map(|(id, (t, k, v, step))| {
                now += step;
                Event {
                    id: id as i64,
                    t: t.to_string(),
                    k,
                    v,
                    ts: now,
                }
            })
            .collect()
    })
}

proptest! {

    #[test]
    fn patterns_find_what_their_definition_says(
        spec in spec(),
        events in events(),
        sizes in prop::collection::vec(1_usize..20, 1..4),
    ) {
        let sql = spec.sql();
        let expected = oracle(&spec, &events);
        prop_assert_eq!(engine(&sql, &events, &sizes), expected, "{}", sql);
    }
}
