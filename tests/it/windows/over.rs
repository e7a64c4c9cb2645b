//! OVER: frames of rows and of times with every aggregate, and the functions of rows.

use proptest::prelude::*;

use super::aggregates::{of_event, over};
use super::data::{events, sizes};
use super::engine::{Question, Time, compare};
use super::oracle::Order;

/// The events with their place in their partition.
const PLACED: &str = "(SELECT *, row_number() OVER (PARTITION BY k ORDER BY o) AS place FROM e)";

/// A frame in the engine's words, and which events `a` are in that of `b`.
fn frames(rows: usize) -> Vec<(String, String)> {
    vec![
        (
            format!("ROWS BETWEEN {rows} PRECEDING AND CURRENT ROW"),
            format!("a.place BETWEEN b.place - {rows} AND b.place"),
        ),
        ("ROWS UNBOUNDED PRECEDING".into(), "a.place <= b.place".into()),
        (
            "RANGE BETWEEN 1500 ms PRECEDING AND CURRENT ROW".into(),
            "a.t BETWEEN b.t - 1500 AND b.t".into(),
        ),
        ("RANGE UNBOUNDED PRECEDING".into(), "a.t <= b.t".into()),
        (String::new(), "a.t <= b.t".into()),
    ]
}

/// Frames that may be empty, with calls for which rows of NULLs are none.
fn before(rows: usize) -> Vec<(String, String)> {
    vec![
        (
            format!("ROWS BETWEEN {} PRECEDING AND 1 PRECEDING", rows + 1),
            format!("a.place BETWEEN b.place - {} AND b.place - 1", rows + 1),
        ),
        (
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING".into(),
            "a.place <= b.place - 2".into(),
        ),
        (
            "RANGE BETWEEN 2 SECONDS PRECEDING AND 500 ms PRECEDING".into(),
            "a.t BETWEEN b.t - 2000 AND b.t - 500".into(),
        ),
    ]
}

const EMPTY: [&str; 6] = ["count(v)", "sum(v)", "avg(d)", "min(s)", "median(d)", "bool_or(b)"];

/// Functions of rows, the same in both languages but for the order: `{o}` tells ties apart.
const FUNCTIONS: [(&str, &str); 10] = [
    (
        "row_number() OVER (PARTITION BY k ORDER BY t)",
        "row_number() OVER (PARTITION BY k ORDER BY o)",
    ),
    ("rank() OVER (PARTITION BY k ORDER BY t)", ""),
    ("dense_rank() OVER (PARTITION BY k ORDER BY t)", ""),
    (
        "lag(v) OVER (PARTITION BY k ORDER BY t)",
        "lag(v) OVER (PARTITION BY k ORDER BY o)",
    ),
    (
        "lag(s, 3, 'none') OVER (PARTITION BY k ORDER BY t)",
        "lag(s, 3, 'none') OVER (PARTITION BY k ORDER BY o)",
    ),
    (
        "lead(d) OVER (PARTITION BY k ORDER BY t)",
        "lead(d) OVER (PARTITION BY k ORDER BY o)",
    ),
    (
        "lead(v, 2, 0) OVER (PARTITION BY k ORDER BY t)",
        "lead(v, 2, 0) OVER (PARTITION BY k ORDER BY o)",
    ),
    (
        "first_value(v) OVER (PARTITION BY k ORDER BY t ROWS 4 PRECEDING)",
        "first_value(v) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 4 PRECEDING AND CURRENT ROW)",
    ),
    (
        "last_value(s) OVER (PARTITION BY k ORDER BY t ROWS 2 PRECEDING)",
        "last_value(s) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    ),
    (
        "nth_value(v, 2) OVER (PARTITION BY k ORDER BY t ROWS 3 PRECEDING)",
        "nth_value(v, 2) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)",
    ),
];

fn names(calls: impl Iterator<Item = String>) -> String {
    let named: Vec<String> = calls
        .enumerate()
        .map(|(number, call)| format!("{call} AS a{number}"))
        .collect();
    named.join(", ")
}

fn framed(rows: usize) -> Vec<Question> {
    let mut questions = Vec::new();
    for (frame, holds) in frames(rows) {
        for calls in over() {
            let engine = names(
                calls
                    .iter()
                    .map(|(call, _)| format!("{call} OVER (PARTITION BY k ORDER BY t {frame})")),
            );
            let oracle = names(calls.iter().map(|(call, other)| {
                let call = if other.is_empty() { call } else { other };
                of_event(&call.replace("{o}", "o"), "a")
            }));
            questions.push(Question::new(
                format!("SELECT i, {engine} FROM S"),
                format!("SELECT b.i, {oracle} FROM {PLACED} AS b JOIN {PLACED} AS a ON {holds} AND (a.k IS NOT DISTINCT FROM b.k) GROUP BY b.i"),
                Order::ByKey(1),
            ));
        }
    }
    questions
}

fn others(rows: usize) -> Vec<Question> {
    let mut questions = Vec::new();
    for (frame, holds) in before(rows) {
        let engine = names(
            EMPTY
                .iter()
                .map(|call| format!("{call} OVER (PARTITION BY k ORDER BY t {frame})")),
        );
        let oracle = names(EMPTY.iter().map(|call| of_event(call, "a")));
        questions.push(Question::new(
            format!("SELECT i, {engine} FROM S"),
            format!("SELECT b.i, {oracle} FROM {PLACED} AS b LEFT JOIN {PLACED} AS a ON {holds} AND (a.k IS NOT DISTINCT FROM b.k) GROUP BY b.i"),
            Order::ByKey(1),
        ));
    }
    let engine = names(FUNCTIONS.iter().map(|(call, _)| call.to_string()));
    let oracle = names(
        FUNCTIONS
            .iter()
            .map(|(call, other)| if other.is_empty() { call } else { other }.to_string()),
    );
    questions.push(Question::new(
        format!("SELECT i, {engine} FROM S"),
        format!("SELECT i, {oracle} FROM e"),
        Order::ByKey(1),
    ));
    questions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_and_functions_of_rows(events in events(true), sizes in sizes(), rows in 0_usize..6) {
        let mut questions = framed(rows);
        questions.extend(others(rows));
        compare(&events, &sizes, Time::Event, &questions)?;
    }
}
