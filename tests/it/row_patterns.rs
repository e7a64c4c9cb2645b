//! MATCH_RECOGNIZE over random rows equals what a slow reading of its definition finds.
//!
//! The oracle writes down, in the order of preference, the ways in which a pattern may go on, by recursion over the pattern; it takes
//! the first that ends. It has no program, no threads and no registers, and evaluates conditions by looking at all labels so far.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventflux::{App, EventFlux, Snapshot, VirtualClock};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// A row: its number, key, value, time in ms.
#[derive(Debug, Clone, Serialize)]
struct Event {
    id: i64,
    k: i64,
    v: i64,
    ts: i64,
}

const NAMES: [char; 4] = ['A', 'B', 'C', 'D'];

#[derive(Debug, Clone)]
enum Tree {
    Empty,
    Row(usize),
    Concat(Vec<Tree>),
    Alternation(Vec<Tree>),
    Permute(Vec<Tree>),
    Exclude(Box<Tree>),
    Repeat(Box<Tree>, usize, Option<usize>, bool),
    Start,
    End,
}

/// Rows of one variable, of A or B (the SUBSET U), or all.
#[derive(Debug, Clone, Copy)]
enum Of {
    One(usize),
    Union,
    All,
}

#[derive(Debug, Clone)]
enum Condition {
    AtLeast(i64),
    Rising,
    BeforeLess(i64),
    AboveFirst(Of, usize),
    AboveLast(Of, usize),
    SumAtMost(Of, i64),
    CountAtMost(Of, i64),
    AverageBelow(Of, i64),
    MaxIs(Of, i64),
    LabelBefore(usize),
    LastLabel(Of, usize),
    Modulo(Of),
    Gathered(Of, usize),
    OddMatch,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Skip {
    PastLast,
    Next,
    First(usize),
    Last(usize),
    LastUnion,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rows {
    One,
    Show,
    Omit,
    Unmatched,
}

#[derive(Debug, Clone)]
struct Spec {
    tree: Tree,
    conditions: Vec<Vec<Condition>>,
    skip: Skip,
    rows: Rows,
    within: Option<i64>,
}

impl Tree {
    fn sql(&self) -> String {
        let list = |parts: &[Tree], between: &str| parts.iter().map(Tree::sql).collect::<Vec<_>>().join(between);
        match self {
            Tree::Empty => "()".to_string(),
            Tree::Row(variable) => NAMES[*variable].to_string(),
            Tree::Concat(parts) => format!("({})", list(parts, " ")),
            Tree::Alternation(parts) => format!("({})", list(parts, " | ")),
            Tree::Permute(parts) => format!("PERMUTE({})", list(parts, ", ")),
            Tree::Exclude(body) => format!("{{- {} -}}", body.sql()),
            Tree::Repeat(body, min, max, greedy) => {
                let max = max.map_or_else(String::new, |max| max.to_string());
                format!("({}){{{min},{max}}}{}", body.sql(), if *greedy { "" } else { "?" })
            }
            Tree::Start => "^".to_string(),
            Tree::End => "$ ".to_string(),
        }
    }

    fn excludes(&self) -> bool {
        match self {
            Tree::Exclude(_) => true,
            Tree::Concat(parts) | Tree::Alternation(parts) | Tree::Permute(parts) => parts.iter().any(Tree::excludes),
            Tree::Repeat(body, ..) => body.excludes(),
            _ => false,
        }
    }

    fn uses(&self, variable: usize) -> bool {
        match self {
            Tree::Row(own) => *own == variable,
            Tree::Concat(parts) | Tree::Alternation(parts) | Tree::Permute(parts) => {
                parts.iter().any(|part| part.uses(variable))
            }
            Tree::Exclude(body) | Tree::Repeat(body, ..) => body.uses(variable),
            _ => false,
        }
    }
}

impl Of {
    fn prefix(self) -> String {
        match self {
            Of::One(variable) => format!("{}.", NAMES[variable]),
            Of::Union => "U.".to_string(),
            Of::All => String::new(),
        }
    }

    fn has(self, label: usize) -> bool {
        match self {
            Of::One(variable) => variable == label,
            Of::Union => label < 2,
            Of::All => true,
        }
    }
}

impl Condition {
    fn sql(&self) -> String {
        match self {
            Condition::AtLeast(value) => format!("v >= {value}"),
            Condition::Rising => "v > PREV(v)".to_string(),
            Condition::BeforeLess(ahead) => format!("v > NEXT(v, {ahead})"),
            Condition::AboveFirst(of, offset) => format!("v >= FIRST({}v, {offset})", of.prefix()),
            Condition::AboveLast(of, offset) => format!("v >= LAST({}v, {offset})", of.prefix()),
            Condition::SumAtMost(of, most) => format!("sum({}v) <= {most}", of.prefix()),
            Condition::CountAtMost(of, most) => match of {
                Of::All => format!("count(*) <= {most}"),
                of => format!("count({}*) <= {most}", of.prefix()),
            },
            Condition::AverageBelow(of, most) => format!("avg({}v) < {most}.5", of.prefix()),
            Condition::MaxIs(of, most) => format!("max({}v) <= {most}", of.prefix()),
            Condition::LabelBefore(variable) => format!("PREV(CLASSIFIER()) = '{}'", NAMES[*variable]),
            Condition::LastLabel(of, variable) => {
                let of = of.prefix();
                format!(
                    "LAST(CLASSIFIER({}), 1) = '{}'",
                    of.trim_end_matches('.'),
                    NAMES[*variable]
                )
            }
            Condition::Modulo(of) => format!("abs(v + LAST({}v, 1)) % 2 = 0", of.prefix()),
            Condition::Gathered(of, most) => format!("array_length(array_agg({}v)) <= {most}", of.prefix()),
            Condition::OddMatch => "MATCH_NUMBER() % 2 = 1".to_string(),
        }
    }

    /// Whether the last row of `labels`, tentatively what it says there, may be it.
    fn holds(&self, rows: &[Event], start: usize, labels: &[Label], number: usize) -> bool {
        let at = start + labels.len() - 1;
        let v = rows[at].v;
        let of = |of: Of| -> Vec<i64> {
            let own = labels.iter().enumerate().filter(|(_, label)| of.has(label.0));
            own.map(|(row, _)| rows[start + row].v).collect()
        };
        let back = |values: &[i64], offset: usize| values.iter().rev().nth(offset).copied();
        match self {
            Condition::AtLeast(least) => v >= *least,
            Condition::Rising => at > 0 && v > rows[at - 1].v,
            Condition::BeforeLess(ahead) => rows.get(at + *ahead as usize).is_some_and(|next| v > next.v),
            Condition::AboveFirst(who, offset) => of(*who).get(*offset).is_some_and(|first| v >= *first),
            Condition::AboveLast(who, offset) => back(&of(*who), *offset).is_some_and(|last| v >= last),
            Condition::SumAtMost(who, most) => {
                let values = of(*who);
                !values.is_empty() && values.iter().sum::<i64>() <= *most
            }
            Condition::CountAtMost(who, most) => of(*who).len() as i64 <= *most,
            Condition::AverageBelow(who, most) => {
                let values = of(*who);
                !values.is_empty() && (values.iter().sum::<i64>() as f64 / values.len() as f64) < *most as f64 + 0.5
            }
            Condition::MaxIs(who, most) => of(*who).iter().max().is_some_and(|max| max <= most),
            Condition::LabelBefore(variable) => labels.len() > 1 && labels[labels.len() - 2].0 == *variable,
            Condition::LastLabel(who, variable) => {
                let own: Vec<usize> = labels
                    .iter()
                    .map(|label| label.0)
                    .filter(|label| who.has(*label))
                    .collect();
                own.iter().rev().nth(1) == Some(variable)
            }
            Condition::Modulo(who) => back(&of(*who), 1).is_some_and(|last| (v + last) % 2 == 0),
            Condition::Gathered(who, most) => {
                let values = of(*who);
                !values.is_empty() && values.len() <= *most
            }
            Condition::OddMatch => number % 2 == 1,
        }
    }
}

/// What a row is, and whether it is excluded.
type Label = (usize, bool);

/// What comes after a part of the pattern.
type Then<'a, 'o> = &'a mut dyn FnMut(&mut Oracle<'o>, &mut Vec<Label>) -> bool;

struct Oracle<'a> {
    spec: &'a Spec,
    rows: &'a [Event],
    start: usize,
    number: usize,
    /// Steps left before it takes too long.
    budget: usize,
}

impl<'o> Oracle<'o> {
    /// Goes on with a part; `then` is called at its end, for each way, the preferred first, until it says that it is done.
    fn go(&mut self, tree: &Tree, labels: &mut Vec<Label>, excluded: bool, then: Then<'_, 'o>) -> bool {
        if self.budget == 0 {
            return true;
        }
        self.budget -= 1;
        match tree {
            Tree::Empty => then(self, labels),
            Tree::Start => self.start + labels.len() == 0 && then(self, labels),
            Tree::End => self.start + labels.len() == self.rows.len() && then(self, labels),
            Tree::Row(variable) => {
                let at = self.start + labels.len();
                if at >= self.rows.len() {
                    return false;
                }
                let over = |within: i64| self.rows[at].ts - self.rows[self.start].ts > within;
                if self.spec.within.is_some_and(over) {
                    return false;
                }
                labels.push((*variable, excluded));
                let mut conditions = self.spec.conditions[*variable].iter();
                let fits = conditions.all(|condition| condition.holds(self.rows, self.start, labels, self.number));
                let done = fits && then(self, labels);
                labels.pop();
                done
            }
            Tree::Concat(parts) => self.chain(parts, labels, excluded, then),
            Tree::Alternation(parts) => parts.iter().any(|part| self.go(part, labels, excluded, then)),
            Tree::Permute(parts) => {
                let order: Vec<usize> = (0..parts.len()).collect();
                self.permuted(parts, &order, labels, excluded, then)
            }
            Tree::Exclude(body) => self.go(body, labels, true, then),
            Tree::Repeat(body, min, max, greedy) => self.repeat((body, *min, *max, *greedy), 0, labels, excluded, then),
        }
    }

    fn chain(&mut self, parts: &[Tree], labels: &mut Vec<Label>, excluded: bool, then: Then<'_, 'o>) -> bool {
        match parts {
            [] => then(self, labels),
            [first, rest @ ..] => self.go(first, labels, excluded, &mut |oracle, labels| {
                oracle.chain(rest, labels, excluded, then)
            }),
        }
    }

    fn permuted(
        &mut self,
        parts: &[Tree],
        left: &[usize],
        labels: &mut Vec<Label>,
        excluded: bool,
        then: Then<'_, 'o>,
    ) -> bool {
        if left.is_empty() {
            return then(self, labels);
        }
        left.iter().any(|part| {
            let rest: Vec<usize> = left.iter().copied().filter(|other| other != part).collect();
            self.go(&parts[*part], labels, excluded, &mut |oracle, labels| {
                oracle.permuted(parts, &rest, labels, excluded, then)
            })
        })
    }

    fn repeat(
        &mut self,
        repeat: (&Tree, usize, Option<usize>, bool),
        done: usize,
        labels: &mut Vec<Label>,
        excluded: bool,
        then: Then<'_, 'o>,
    ) -> bool {
        let (body, min, max, greedy) = repeat;
        let before = labels.len();
        let again = |oracle: &mut Self, labels: &mut Vec<Label>, then: Then<'_, 'o>| {
            if max.is_some_and(|max| done >= max) {
                return false;
            }
            oracle.go(body, labels, excluded, &mut |oracle, labels| {
                // Beyond the minimum an iteration takes a row.
                let empty = done >= min && labels.len() == before;
                !empty && oracle.repeat(repeat, done + 1, labels, excluded, then)
            })
        };
        if done < min {
            return again(self, labels, then);
        }
        match greedy {
            true => again(self, labels, then) || then(self, labels),
            false => then(self, labels) || again(self, labels, then),
        }
    }
}

/// The preferred match from a row; `None` when it takes too long to say.
fn preferred(spec: &Spec, rows: &[Event], start: usize, number: usize) -> Option<Option<Vec<Label>>> {
    let mut oracle = Oracle {
        spec,
        rows,
        start,
        number,
        budget: 200_000,
    };
    let mut found = None;
    oracle.go(&spec.tree, &mut Vec::new(), false, &mut |_, labels| {
        found = Some(labels.clone());
        true
    });
    (oracle.budget > 0).then_some(found)
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_string(), |value| value.to_string())
}

/// What a row of a match shows; `current` is the last row that it sees, in the match.
fn shown(
    rows: &[Event],
    start: usize,
    labels: &[Label],
    current: Option<usize>,
    number: Option<usize>,
    id: Option<i64>,
) -> String {
    let Some(number) = number else {
        return format!("{}|-|-|-|-|-|-|-|-|-|-|-", text(id));
    };
    let seen = current.map_or(0, |current| current + 1);
    let of = |of: Of, upto: usize| -> Vec<usize> { (0..upto).filter(|row| of.has(labels[*row].0)).collect() };
    let v = |row: Option<i64>| {
        let row = row.and_then(|row| usize::try_from(row + start as i64).ok());
        row.and_then(|row| rows.get(row)).map(|row| row.v)
    };
    let at = |row: Option<&usize>| row.map(|row| *row as i64);
    let names: String = of(Of::All, seen).iter().map(|row| NAMES[labels[*row].0]).collect();
    let union = of(Of::Union, seen);
    let sum = (!union.is_empty()).then(|| union.iter().map(|row| rows[start + row].v).sum::<i64>());
    let a = of(Of::One(0), seen);
    [
        text(id),
        number.to_string(),
        text(current.map(|current| NAMES[labels[current].0])),
        match names.is_empty() {
            true => "-".to_string(),
            false => names,
        },
        text(sum),
        of(Of::One(0), labels.len()).len().to_string(),
        text(v(at(a.last()))),
        text(v(at(a.get(1)))),
        text(v(at(of(Of::Union, labels.len()).iter().rev().nth(1)))),
        text(v(at(of(Of::All, seen).last()).map(|row| row - 2))),
        text(v(at(a.first()).map(|row| row + 1))),
        text(
            at(a.last())
                .and_then(|row| usize::try_from(row - 1).ok())
                .and_then(|row| labels.get(row))
                .map(|label| NAMES[label.0]),
        ),
    ]
    .join("|")
}

/// The rows that go out; `None` when it takes too long to say.
fn oracle(spec: &Spec, events: &[Event]) -> Option<BTreeMap<i64, Vec<String>>> {
    let mut all = BTreeMap::new();
    for key in 0..3 {
        let rows: Vec<Event> = events.iter().filter(|event| event.k == key).cloned().collect();
        let found = of_partition(spec, &rows)?;
        if !found.is_empty() {
            all.insert(key, found);
        }
    }
    Some(all)
}

fn of_partition(spec: &Spec, rows: &[Event]) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let (mut start, mut matches, mut matched) = (0, 0, 0);
    let one = spec.rows == Rows::One;
    while start < rows.len() {
        let own = (!one).then_some(rows[start].id);
        let Some(labels) = preferred(spec, rows, start, matches + 1)? else {
            if spec.rows == Rows::Unmatched && start >= matched {
                out.push(shown(rows, start, &[], None, None, own));
            }
            start += 1;
            continue;
        };
        if labels.is_empty() {
            matches += 1;
            if spec.rows != Rows::Omit {
                out.push(shown(rows, start, &[], None, Some(matches), own));
            }
            start += 1;
            continue;
        }
        let is = |variable: usize| move |label: &Label| label.0 == variable;
        let target = match spec.skip {
            Skip::PastLast => Some(labels.len()),
            Skip::Next => Some(1),
            Skip::First(variable) => labels.iter().position(is(variable)),
            Skip::Last(variable) => labels.iter().rposition(is(variable)),
            Skip::LastUnion => labels.iter().rposition(|label| label.0 < 2),
        };
        let Some(target) = target.filter(|target| *target > 0) else {
            matched = matched.max(start + 1);
            start += 1;
            continue;
        };
        matches += 1;
        let last = labels.len() - 1;
        if one {
            out.push(shown(rows, start, &labels, Some(last), Some(matches), None));
        } else {
            for row in (0..=last).filter(|row| !labels[*row].1) {
                let id = Some(rows[start + row].id);
                out.push(shown(rows, start, &labels, Some(row), Some(matches), id));
            }
        }
        matched = matched.max(start + labels.len());
        start += target;
    }
    Some(out)
}

impl Spec {
    fn sql(&self) -> String {
        let mut defines = Vec::new();
        for (variable, conditions) in self.conditions.iter().enumerate() {
            let conditions: Vec<String> = conditions.iter().map(Condition::sql).collect();
            let condition = match conditions.is_empty() {
                true => "true".to_string(),
                false => conditions.join(" AND "),
            };
            defines.push(format!("{} AS {condition}", NAMES[variable]));
        }
        let rows = match self.rows {
            Rows::One => "ONE ROW PER MATCH",
            Rows::Show => "ALL ROWS PER MATCH",
            Rows::Omit => "ALL ROWS PER MATCH OMIT EMPTY MATCHES",
            Rows::Unmatched => "ALL ROWS PER MATCH WITH UNMATCHED ROWS",
        };
        let skip = match self.skip {
            Skip::PastLast => "PAST LAST ROW".to_string(),
            Skip::Next => "TO NEXT ROW".to_string(),
            Skip::First(variable) => format!("TO FIRST {}", NAMES[variable]),
            Skip::Last(variable) => format!("TO LAST {}", NAMES[variable]),
            Skip::LastUnion => "TO U".to_string(),
        };
        let within = self
            .within
            .map_or_else(String::new, |within| format!(" WITHIN {within} ms"));
        let id = if self.rows == Rows::One {
            "'-'"
        } else {
            "CAST(m.id AS STRING)"
        };
        // Every variable must be in the pattern: those that are not stand where they cannot match.
        let mut pattern = self.tree.sql();
        for variable in (0..NAMES.len()).filter(|variable| !self.tree.uses(*variable)) {
            let _ = write!(pattern, " | (^ ^ $ {})", NAMES[variable]);
        }
        let shown: Vec<String> = ["n", "c", "names", "u", "fa", "la", "f1", "lu", "p", "nx", "pc"]
            .iter()
            .map(|name| format!("coalesce(CAST(m.{name} AS STRING), '-')"))
            .collect();
        format!(
            "CREATE STREAM E (id LONG, k LONG, v LONG, ts LONG, WATERMARK FOR ts AS ts);
             INSERT INTO Out SELECT m.k AS k, {id} || '|' || {} AS t FROM E MATCH_RECOGNIZE (
               PARTITION BY k ORDER BY ts
               MEASURES MATCH_NUMBER() AS n, CLASSIFIER() AS c, string_agg(CLASSIFIER(), '') AS names, sum(U.v) AS u, FINAL count(A.*) AS fa,
                 LAST(A.v) AS la, FIRST(A.v, 1) AS f1, FINAL LAST(U.v, 1) AS lu, PREV(v, 2) AS p, NEXT(FIRST(A.v)) AS nx, PREV(CLASSIFIER(A)) AS pc
               {rows} AFTER MATCH SKIP {skip} PATTERN ({pattern}){within}
               SUBSET U = (A, B) DEFINE {}) AS m;",
            shown.join(" || '|' || "),
            defines.join(", ")
        )
    }
}

#[derive(Deserialize)]
struct Shown {
    k: i64,
    t: String,
}

type Lines = Arc<Mutex<BTreeMap<i64, Vec<String>>>>;

fn start(sql: &str, output: &Lines, snapshot: Option<&Snapshot>) -> App {
    let builder = EventFlux::builder()
        .sql(sql)
        .virtual_clock(Arc::new(VirtualClock::new(0)));
    let builder = match snapshot {
        Some(snapshot) => builder.restore(Snapshot::from_bytes(&snapshot.to_bytes().unwrap()).unwrap()),
        None => builder,
    };
    let app = builder.build().unwrap();
    let output = output.clone();
    app.on("Out", move |batch| {
        for row in eventflux::Rows::rows::<Shown>(batch).unwrap() {
            output.lock().entry(row.k).or_default().push(row.t);
        }
    })
    .unwrap();
    app.start().unwrap();
    app
}

/// Rows in batches of these sizes, with a snapshot and a restart after so many batches.
fn engine(sql: &str, events: &[Event], sizes: &[usize], restart: Option<usize>) -> BTreeMap<i64, Vec<String>> {
    let output = Lines::default();
    let mut app = start(sql, &output, None);
    // An app that is put away gives what its end decides: nobody asks for that.
    let mut put_away = Vec::new();
    let mut left = events;
    for (batch, size) in sizes.iter().cycle().enumerate() {
        if left.is_empty() {
            break;
        }
        let (rows, rest) = left.split_at((*size).min(left.len()));
        app.input("E").unwrap().send_rows(rows).unwrap();
        left = rest;
        if restart == Some(batch) {
            let snapshot = app.snapshot().unwrap();
            put_away.push(std::mem::replace(&mut app, start(sql, &output, Some(&snapshot))));
        }
    }
    app.finish().unwrap();
    app.shutdown().unwrap();
    let found = output.lock().clone();
    drop(put_away);
    found
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        12 => (0_usize..NAMES.len()).prop_map(Tree::Row),
        1 => Just(Tree::Empty),
        1 => Just(Tree::Start),
        1 => Just(Tree::End),
    ];
    leaf.prop_recursive(4, 14, 3, |inner| {
        let parts = || prop::collection::vec(inner.clone(), 2..4);
        let counts = prop_oneof![
            Just((0, None)),
            Just((1, None)),
            Just((0, Some(1))),
            Just((2, None)),
            Just((1, Some(3))),
            Just((0, Some(2))),
            Just((2, Some(2))),
        ];
        prop_oneof![
            4 => parts().prop_map(Tree::Concat),
            2 => parts().prop_map(Tree::Alternation),
            1 => parts().prop_map(Tree::Permute),
            1 => inner.clone().prop_map(|body| Tree::Exclude(Box::new(body))),
            5 => (inner.clone(), counts, any::<bool>())
                .prop_map(|(body, (min, max), greedy)| Tree::Repeat(Box::new(body), min, max, greedy)),
        ]
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let of = || {
        prop_oneof![
            3 => (0_usize..NAMES.len()).prop_map(Of::One),
            1 => Just(Of::Union),
            1 => Just(Of::All),
        ]
    };
    prop_oneof![
        6 => (0_i64..6).prop_map(Condition::AtLeast),
        4 => Just(Condition::Rising),
        1 => (1_i64..3).prop_map(Condition::BeforeLess),
        2 => (of(), 0_usize..3).prop_map(|(of, offset)| Condition::AboveFirst(of, offset)),
        2 => (of(), 0_usize..3).prop_map(|(of, offset)| Condition::AboveLast(of, offset)),
        1 => (of(), 2_i64..15).prop_map(|(of, most)| Condition::SumAtMost(of, most)),
        1 => (of(), 1_i64..4).prop_map(|(of, most)| Condition::CountAtMost(of, most)),
        1 => (of(), 1_i64..5).prop_map(|(of, most)| Condition::AverageBelow(of, most)),
        1 => (of(), 2_i64..6).prop_map(|(of, most)| Condition::MaxIs(of, most)),
        1 => (0_usize..NAMES.len()).prop_map(Condition::LabelBefore),
        1 => (of(), 0_usize..NAMES.len()).prop_map(|(of, variable)| Condition::LastLabel(of, variable)),
        1 => of().prop_map(Condition::Modulo),
        1 => (of(), 1_usize..4).prop_map(|(of, most)| Condition::Gathered(of, most)),
        1 => Just(Condition::OddMatch),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let conditions = prop::collection::vec(prop::collection::vec(condition(), 0..3), NAMES.len());
    let variable = || 0_usize..NAMES.len();
    let skip = prop_oneof![
        3 => Just(Skip::PastLast),
        2 => Just(Skip::Next),
        1 => variable().prop_map(Skip::First),
        1 => variable().prop_map(Skip::Last),
        1 => Just(Skip::LastUnion),
    ];
    let rows = prop::sample::select(vec![Rows::One, Rows::Show, Rows::Omit, Rows::Unmatched]);
    let within = prop::option::weighted(0.25, prop::sample::select(vec![0_i64, 3, 10]));
    (tree(), conditions, skip, rows, within).prop_map(|(tree, conditions, skip, rows, within)| {
        let rows = match rows {
            Rows::Unmatched if tree.excludes() => Rows::Show,
            rows => rows,
        };
        Spec {
            tree,
            conditions,
            skip,
            rows,
            within,
        }
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0_i64..3, 0_i64..7, 0_i64..3), 1..32).prop_map(|drawn| {
        let mut now = 1_000;
        let mut rows = Vec::new();
        for (id, (k, v, step)) in drawn.into_iter().enumerate() {
            now += step;
            // One key has most rows.
            let k = if id % 3 == 0 { k } else { 0 };
            rows.push(Event {
                id: id as i64,
                k,
                v,
                ts: now,
            });
        }
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: crate::support::cases("EVENTFLUX_ROW_PATTERN_CASES", 300),
        max_global_rejects: u32::MAX,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn matches_are_what_their_definition_says(
        spec in spec(),
        events in events(),
        sizes in prop::collection::vec(1_usize..20, 1..4),
        restart in prop::option::of(0_usize..6),
    ) {
        let expected = oracle(&spec, &events);
        prop_assume!(expected.is_some());
        let sql = spec.sql();
        prop_assert_eq!(engine(&sql, &events, &sizes, restart), expected.unwrap(), "{}", sql);
    }
}

/// Patterns on which a matcher that tries one way after the other takes exponential or quadratic time.
#[test]
fn many_ways_to_match_cost_no_more_than_one() {
    let rows: Vec<Event> = (0..10_000).map(|id| Event { id, k: 0, v: 1, ts: id }).collect();
    let patterns = [
        ("(A+)+ B", "B AS v > 1", 0),
        ("(A*)* B", "B AS v > 1", 0),
        ("(A | C)* B", "B AS v > 1", 0),
        ("(A | A?)+ B", "B AS v > 1", 0),
        ("(A*)*", "A AS v = 1", 1),
        ("((A | C)*)* $", "A AS v = 1", 1),
        ("A{1,50} B", "B AS v > 1", 0),
        ("A+ B", "B AS B.v > sum(A.v)", 0),
        ("(A | C)+ B", "B AS B.v > FIRST(A.v)", 0),
    ];
    for (pattern, define, matches) in patterns {
        // What depends on where the attempt began, or on its labels, is tried from each row.
        let few = match define.contains('(') {
            true => &rows[..100],
            false => &rows[..],
        };
        let sql = format!(
            "CREATE STREAM E (id LONG, k LONG, v LONG, ts LONG, WATERMARK FOR ts AS ts);
             INSERT INTO Out SELECT 0 AS k, CAST(n AS STRING) AS t FROM E MATCH_RECOGNIZE (
               ORDER BY ts MEASURES count(*) AS n PATTERN ({pattern}) DEFINE {define});"
        );
        let begun = Instant::now();
        let found = engine(&sql, few, &[1_000], None);
        assert_eq!(found.values().map(Vec::len).sum::<usize>(), matches, "{pattern}");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{pattern}: {:?}",
            begun.elapsed()
        );
    }
}
