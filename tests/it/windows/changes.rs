//! What leaves: EXPIRED and ALL EVENTS, of events and of aggregates.

use proptest::prelude::*;

use super::data::{events, sizes};
use super::engine::{Question, Time, compare};
use super::oracle::Order;

/// Calls that give over nothing what they give over rows of NULL.
const CALLS: [&str; 8] = [
    "count(v)",
    "sum(v)",
    "avg(d)",
    "min(s)",
    "max(v)",
    "median(d)",
    "stddev(d)",
    "count(DISTINCT s)",
];

fn calls(event: &str) -> String {
    let of = |call: &&str| {
        call.replace('(', &format!("({event}"))
            .replace(&format!("({event}DISTINCT "), &format!("(DISTINCT {event}"))
    };
    CALLS
        .iter()
        .map(of)
        .enumerate()
        .map(|(number, call)| format!("{call} AS a{number}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Changes `(SELECT turn, o, …)` in the order of their turns.
fn all(window: String, columns: &str, entering: &str, leaving: &str) -> Question {
    Question::new(
        format!("SELECT {columns} FROM {window}"),
        format!("SELECT {columns} FROM ({entering} UNION ALL {leaving}) AS w ORDER BY turn, last, o"),
        Order::Exact,
    )
    .events("ALL EVENTS")
}

/// Of a window of the last `size` events, an event leaves just before the one for which there is no room.
fn of_length(size: usize) -> Vec<Question> {
    let entering = "SELECT o AS turn, 1 AS last, o, i, v FROM e";
    let leaving =
        format!("SELECT o + {size} AS turn, 0 AS last, o, i, v FROM e WHERE o + {size} <= (SELECT max(o) FROM e)");
    // An aggregate on what leaves is its value after that, over what came between.
    let same = "AND (c.k IS NOT DISTINCT FROM a.k)";
    let values = calls("c.");
    let enters = format!(
        "SELECT a.o AS turn, 1 AS last, a.o, a.k, {values} FROM e AS a LEFT JOIN e AS c ON c.o <= a.o AND c.o > a.o - {size} {same} GROUP BY a.o, a.k"
    );
    let leaves = format!(
        "SELECT a.o + {size} AS turn, 0 AS last, a.o, a.k, {values} FROM e AS a LEFT JOIN e AS c ON c.o > a.o AND c.o < a.o + {size} {same} WHERE a.o + {size} <= (SELECT max(o) FROM e) GROUP BY a.o, a.k"
    );
    let columns: String = (0..CALLS.len()).map(|number| format!(", a{number}")).collect();
    let aggregates = Question::new(
        format!("SELECT k, {} FROM S WINDOW('length', {size}) GROUP BY k", calls("")),
        format!("SELECT k{columns} FROM ({enters} UNION ALL {leaves}) AS w ORDER BY turn, last, o"),
        Order::Exact,
    );
    let expired = Question::new(
        format!("SELECT k, {} FROM S WINDOW('length', {size}) GROUP BY k", calls("")),
        format!("SELECT k{columns} FROM ({leaves}) AS w ORDER BY turn, last, o"),
        Order::Exact,
    );
    vec![
        all(format!("S WINDOW('length', {size})"), "i, v", entering, &leaving),
        aggregates.events("ALL EVENTS"),
        expired.events("EXPIRED EVENTS"),
    ]
}

/// By time, an event leaves at its own plus the duration, before those that come then; at the end all leave.
fn of_time() -> Vec<Question> {
    let entering = "SELECT t AS turn, 1 AS last, o, i, v FROM e";
    let leaving = "SELECT t + 1500 AS turn, 0 AS last, o, i, v FROM e";
    let same = "AND (c.k IS NOT DISTINCT FROM a.k)";
    let values = calls("c.");
    let leaves = format!(
        "SELECT a.o, a.k, {values} FROM e AS a LEFT JOIN e AS c ON c.o > a.o AND c.t < a.t + 1500 {same} GROUP BY a.o, a.k"
    );
    let columns: String = (0..CALLS.len()).map(|number| format!(", a{number}")).collect();
    let expired = Question::new(
        format!("SELECT k, {} FROM S WINDOW('time', 1500 ms) GROUP BY k", calls("")),
        format!("SELECT k{columns} FROM ({leaves}) AS w ORDER BY o"),
        Order::Exact,
    );
    vec![
        all("S WINDOW('time', 1500 ms)".into(), "i, v", entering, leaving),
        expired.events("EXPIRED EVENTS"),
    ]
}

/// The latest of a key leaves for the next.
fn of_unique() -> Question {
    let entering = "SELECT o AS turn, 1 AS last, o, i, v FROM e";
    let leaving = "SELECT next AS turn, 0 AS last, o, i, v FROM (SELECT *, lead(o) OVER (PARTITION BY k ORDER BY o) AS next FROM e) AS n WHERE next IS NOT NULL";
    all("S WINDOW('unique', k)".into(), "i, v", entering, leaving)
}

/// A batch leaves when the next closes; a period of time also when it is empty.
fn of_batches(size: usize) -> Vec<Question> {
    let numbered = format!("SELECT *, (o - 1) / {size} AS n FROM e");
    let entering = format!("SELECT n AS turn, 1 AS last, o, i, v FROM ({numbered}) AS n");
    let leaving = format!(
        "SELECT n + 1 AS turn, 0 AS last, o, i, v FROM ({numbered}) AS n WHERE n + 1 <= (SELECT (max(o) - 1) / {size} FROM e)"
    );
    let periods = "SELECT *, (t - (SELECT min(t) FROM e)) / 2000 AS n FROM e";
    let entered = format!("SELECT n AS turn, 1 AS last, o, i, v FROM ({periods}) AS n");
    let left = format!("SELECT n + 1 AS turn, 0 AS last, o, i, v FROM ({periods}) AS n");
    vec![
        all(format!("S WINDOW('lengthBatch', {size})"), "i, v", &entering, &leaving),
        all("S WINDOW('timeBatch', 2 SECONDS)".into(), "i, v", &entered, &left),
    ]
}

/// Different rows: each when its first copy enters, and when its last leaves.
fn of_distinct(size: usize) -> Question {
    let pairs = |on: &str| format!("SELECT a.o FROM e AS a JOIN e AS c ON {on} AND (c.v IS NOT DISTINCT FROM a.v)");
    let before = pairs(&format!("c.o < a.o AND c.o > a.o - {size}"));
    let after = pairs(&format!("c.o > a.o AND c.o < a.o + {size}"));
    let entering = format!("SELECT o AS turn, 1 AS last, o, v FROM e WHERE o NOT IN ({before})");
    let leaving = format!(
        "SELECT o + {size} AS turn, 0 AS last, o, v FROM e WHERE o + {size} <= (SELECT max(o) FROM e) AND o NOT IN ({after})"
    );
    let Question { query, sql, order, .. } = all(format!("S WINDOW('length', {size})"), "v", &entering, &leaving);
    Question::new(query.replace("SELECT", "SELECT DISTINCT"), sql, order).events("ALL EVENTS")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_enters_and_what_leaves(events in events(true), sizes in sizes(), size in 1_usize..10) {
        let mut questions = of_length(size);
        questions.extend(of_time());
        questions.push(of_unique());
        questions.extend(of_batches(size));
        questions.push(of_distinct(size));
        compare(&events, &sizes, Time::Event, &questions)?;
    }
}
