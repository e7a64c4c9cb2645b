//! EMIT CHANGES over windows that close: the values after each event, and those at the close.

use std::collections::BTreeMap;

use eventflux::{App, EventFlux, Rows};
use proptest::prelude::*;

use crate::support::send_in_batches;

/// An event: time in ms, key, value.
type Event = (i64, Option<u8>, Option<i32>);

/// `count(*), count(v), sum(v), min(v), max(v), avg(v)`.
type Values = (i64, i64, Option<i64>, Option<i32>, Option<i32>, Option<f64>);

const AGGREGATES: &str = "count(*) AS n, count(v) AS c, sum(v) AS s, min(v) AS l, max(v) AS h, avg(v) AS a";

/// How far an event may be behind the latest.
const DELAY: i64 = 3_000;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let key = prop_oneof![5 => (0_u8..4).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![6 => (-100_i32..100).prop_map(Some), 1 => Just(None)];
    // Steps of time are mostly short, sometimes a gap, and an event may be late within the delay.
    let step = prop_oneof![8 => 0_i64..800, 1 => 5_000_i64..40_000];
    let event = (step, 0..DELAY, any::<bool>(), key, value);
    prop::collection::vec(event, 1..120).prop_map(|drawn| {
        let mut now = 100_000;
        drawn
            .into_iter()
            .map(|(step, back, late, key, value)| {
                now += step;
                (if late { now - back } else { now }, key, value)
            })
            .collect()
    })
}

fn aggregate<'e>(events: impl Iterator<Item = &'e Event>) -> Values {
    let events: Vec<&Event> = events.collect();
    let values: Vec<i32> = events.iter().filter_map(|event| event.2).collect();
    let sum: i64 = values.iter().map(|value| i64::from(*value)).sum();
    let some = !values.is_empty();
    (
        events.len() as i64,
        values.len() as i64,
        some.then_some(sum),
        values.iter().min().copied(),
        values.iter().max().copied(),
        some.then(|| sum as f64 / values.len() as f64),
    )
}

fn app(query: &str) -> App {
    let sql = format!(
        "CREATE STREAM S (t LONG, k INT, v INT, WATERMARK FOR t AS t - {DELAY} MILLISECONDS);
         INSERT INTO Out {query};"
    );
    EventFlux::builder().sql(sql).inline().build().unwrap()
}

/// What a query gives for events that come in batches of these sizes, over and over.
fn run<R: serde::de::DeserializeOwned>(query: &str, events: &[Event], sizes: &[usize]) -> Vec<R> {
    let app = app(query);
    let out = app.subscribe("Out").unwrap();
    app.start().unwrap();
    let input = app.input("S").unwrap();
    send_in_batches(&input, events, sizes);
    app.wait().unwrap();
    out.flat_map(|batch| batch.rows::<R>().unwrap()).collect()
}

type Windowed = (
    i64,
    i64,
    Option<u8>,
    i64,
    i64,
    Option<i64>,
    Option<i32>,
    Option<i32>,
    Option<f64>,
);

/// Events as operators that depend on order see them: by time, ties as they came.
fn in_order(events: &[Event]) -> Vec<Event> {
    let mut ordered = events.to_vec();
    ordered.sort_by_key(|event| event.0);
    ordered
}

/// With EMIT CHANGES: for each window and key the values after each event, and those at the close.
fn changes(
    window: &str,
    events: &[Event],
    sizes: &[usize],
    ends: bool,
) -> BTreeMap<(i64, i64, Option<u8>), Vec<Values>> {
    let bounds = "CAST(window_start AS LONG) / 1000 AS ws, CAST(window_end AS LONG) / 1000 AS we";
    let query =
        format!("SELECT {bounds}, k, {AGGREGATES} FROM S {window} GROUP BY k, window_start, window_end EMIT CHANGES");
    let rows: Vec<Windowed> = run(&query, events, sizes);
    let mut changes: BTreeMap<_, Vec<Values>> = BTreeMap::new();
    for (start, end, key, n, c, s, l, h, a) in rows {
        let end = if ends { end } else { 0 };
        changes.entry((start, end, key)).or_default().push((n, c, s, l, h, a));
    }
    changes
}

/// What [`changes`] should be for the events of one window and key.
fn history(events: &[&Event]) -> Vec<Values> {
    let prefixes = (1..=events.len()).chain([events.len()]);
    prefixes
        .map(|count| aggregate(events[..count].iter().copied()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn changes_of_overlapping_windows(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        let events = in_order(&events);
        let mut held: BTreeMap<_, Vec<&Event>> = BTreeMap::new();
        for event in &events {
            let last = event.0 - event.0.rem_euclid(1_500);
            for start in (0..).map(|n| last - n * 1_500).take_while(|start| start + 4_000 > event.0) {
                held.entry((start, start + 4_000, event.1)).or_default().push(event);
            }
        }
        let expected: BTreeMap<_, _> = held.iter().map(|(window, events)| (*window, history(events))).collect();
        prop_assert_eq!(changes("WINDOW('hop', 4 SECONDS, 1500 ms)", &events, &sizes, true), expected);
    }

    #[test]
    fn changes_of_windows_that_touch(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        let mut held: BTreeMap<_, Vec<&Event>> = BTreeMap::new();
        let ordered = in_order(&events);
        for event in &ordered {
            let start = event.0 - event.0.rem_euclid(4_000);
            held.entry((start, start + 4_000, event.1)).or_default().push(event);
        }
        let expected: BTreeMap<_, _> = held.iter().map(|(window, events)| (*window, history(events))).collect();
        prop_assert_eq!(changes("WINDOW('tumbling', 4 SECONDS)", &events, &sizes, true), expected);
    }

    #[test]
    fn changes_of_sessions(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        let mut by_key: BTreeMap<Option<u8>, Vec<Event>> = BTreeMap::new();
        for event in in_order(&events) {
            by_key.entry(event.1).or_default().push(event);
        }
        let mut expected = BTreeMap::new();
        for (key, events) in by_key {
            for session in events.chunk_by(|a, b| b.0 - a.0 <= 1_000) {
                expected.insert((session[0].0, 0, key), history(&session.iter().collect::<Vec<_>>()));
            }
        }
        prop_assert_eq!(changes("WINDOW('session', 1 SECOND)", &events, &sizes, false), expected);
    }
}
