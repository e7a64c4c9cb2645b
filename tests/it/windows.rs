//! Windows over random events equal the same computation over all of them at once.
//!
//! Events come out of order within the watermark's delay, with equal times, NULLs and gaps. What each window holds is worked out
//! here from its definition; sums are of integers, so that results are equal to the last digit.

use std::collections::BTreeMap;

use eventflux::{App, EventFlux, Rows};
use proptest::prelude::*;

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
    let mut left = events;
    let mut sizes = sizes.iter().cycle();
    while !left.is_empty() {
        let (batch, rest) = left.split_at((*sizes.next().unwrap()).min(left.len()));
        input.send_rows(batch).unwrap();
        left = rest;
    }
    app.wait().unwrap();
    out.flat_map(|batch| batch.rows::<R>().unwrap()).collect()
}

/// The events of each key and window, by the ends of the windows that an event belongs to.
fn grid(events: &[Event], windows: impl Fn(i64) -> Vec<(i64, i64)>) -> BTreeMap<(i64, i64, Option<u8>), Values> {
    let mut held: BTreeMap<(i64, i64, Option<u8>), Vec<&Event>> = BTreeMap::new();
    for event in events {
        for (start, end) in windows(event.0) {
            held.entry((start, end, event.1)).or_default().push(event);
        }
    }
    held.into_iter()
        .map(|(window, events)| (window, aggregate(events.into_iter())))
        .collect()
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

fn windowed(query: &str, events: &[Event], sizes: &[usize]) -> BTreeMap<(i64, i64, Option<u8>), Values> {
    let bounds = "CAST(window_start AS LONG) / 1000 AS ws, CAST(window_end AS LONG) / 1000 AS we";
    let query = format!("SELECT {bounds}, k, {AGGREGATES} FROM S {query} GROUP BY k, window_start, window_end");
    let rows: Vec<Windowed> = run(&query, events, sizes);
    let count = rows.len();
    let by_window: BTreeMap<_, _> = rows
        .into_iter()
        .map(|(start, end, key, n, c, s, l, h, a)| ((start, end, key), (n, c, s, l, h, a)))
        .collect();
    assert_eq!(by_window.len(), count, "a window gave two rows for one key");
    by_window
}

/// Events as operators that depend on order see them: by time, ties as they came.
fn in_order(events: &[Event]) -> Vec<Event> {
    let mut ordered = events.to_vec();
    ordered.sort_by_key(|event| event.0);
    ordered
}

/// The running rows of a sliding window: after each event, the aggregates of its key among the events that `holds` keeps.
fn sliding(events: &[Event], holds: impl Fn(&[Event], usize, usize) -> bool) -> Vec<(Option<u8>, Values)> {
    let ordered = in_order(events);
    let row = |now: usize| {
        let held = (0..=now)
            .filter(|&index| holds(&ordered, index, now))
            .map(|index| &ordered[index]);
        let key = ordered[now].1;
        (key, aggregate(held.filter(|event| event.1 == key)))
    };
    (0..ordered.len()).map(row).collect()
}

type Running = (Option<u8>, i64, i64, Option<i64>, Option<i32>, Option<i32>, Option<f64>);

fn running(window: &str, events: &[Event], sizes: &[usize]) -> Vec<(Option<u8>, Values)> {
    let query = format!("SELECT k, {AGGREGATES} FROM S {window} GROUP BY k");
    let rows: Vec<Running> = run(&query, events, sizes);
    rows.into_iter()
        .map(|(key, n, c, s, l, h, a)| (key, (n, c, s, l, h, a)))
        .collect()
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
    fn tumbling(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        let expected = grid(&events, |time| {
            let start = time - time.rem_euclid(5_000);
            vec![(start, start + 5_000)]
        });
        prop_assert_eq!(windowed("WINDOW('tumbling', 5 SECONDS)", &events, &sizes), expected);
    }

    #[test]
    fn hopping(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4), slide in 1_i64..5) {
        let slide = slide * 1_500;
        let expected = grid(&events, |time| {
            let last = time - time.rem_euclid(slide);
            (0..).map(|n| last - n * slide).take_while(|start| start + 7_000 > time).map(|start| (start, start + 7_000)).collect()
        });
        prop_assert_eq!(windowed(&format!("WINDOW('hop', 7 SECONDS, {slide} ms)"), &events, &sizes), expected);
    }

    #[test]
    fn cumulating(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        let expected = grid(&events, |time| {
            let start = time - time.rem_euclid(6_000);
            (1..=3).map(|step| (start, start + step * 2_000)).filter(|(_, end)| *end > time).collect()
        });
        prop_assert_eq!(windowed("WINDOW('cumulate', step = 2 SECONDS, size = 6 SECONDS)", &events, &sizes), expected);
    }

    #[test]
    fn sessions(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        const GAP: i64 = 1_000;
        let mut expected = BTreeMap::new();
        let mut by_key: BTreeMap<Option<u8>, Vec<Event>> = BTreeMap::new();
        for event in in_order(&events) {
            by_key.entry(event.1).or_default().push(event);
        }
        for (key, events) in by_key {
            for session in events.chunk_by(|a, b| b.0 - a.0 <= GAP) {
                let (first, last) = (session[0].0, session[session.len() - 1].0);
                expected.insert((first, last + GAP, key), aggregate(session.iter()));
            }
        }
        prop_assert_eq!(windowed("WINDOW('session', 1 SECOND)", &events, &sizes), expected);
    }

    #[test]
    fn the_last_events(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4), size in 1_usize..20) {
        let expected = sliding(&events, |_, index, now| index + size > now);
        prop_assert_eq!(running(&format!("WINDOW('length', {size})"), &events, &sizes), expected);
    }

    #[test]
    fn the_last_seconds(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        let expected = sliding(&events, |all, index, now| all[index].0 + 2_000 > all[now].0);
        prop_assert_eq!(running("WINDOW('time', 2 SECONDS)", &events, &sizes), expected);
    }

    #[test]
    fn the_last_seconds_and_events(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        let expected = sliding(&events, |all, index, now| all[index].0 + 2_000 > all[now].0 && index + 5 > now);
        prop_assert_eq!(running("WINDOW('timeLength', 2 SECONDS, 5)", &events, &sizes), expected);
    }

    #[test]
    fn since_the_start(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4)) {
        // Without a window events are aggregated as they come.
        let query = format!("SELECT k, {AGGREGATES} FROM S GROUP BY k");
        let rows: Vec<Running> = run(&query, &events, &sizes);
        let rows: Vec<_> = rows.into_iter().map(|(key, n, c, s, l, h, a)| (key, (n, c, s, l, h, a))).collect();
        let row = |now: usize| {
            let key = events[now].1;
            (key, aggregate(events[..=now].iter().filter(|event| event.1 == key)))
        };
        let expected: Vec<_> = (0..events.len()).map(row).collect();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn so_many_events(events in events(), sizes in prop::collection::vec(1_usize..40, 1..4), size in 1_usize..20) {
        let query = format!("SELECT k, {AGGREGATES} FROM S WINDOW('lengthBatch', {size}) GROUP BY k");
        let rows: Vec<Running> = run(&query, &events, &sizes);
        let mut expected = Vec::new();
        for batch in in_order(&events).chunks(size) {
            let mut keys: Vec<Option<u8>> = Vec::new();
            batch.iter().for_each(|event| if !keys.contains(&event.1) { keys.push(event.1) });
            expected.extend(keys.into_iter().map(|key| (key, aggregate(batch.iter().filter(|event| event.1 == key)))));
        }
        let rows: Vec<_> = rows.into_iter().map(|(key, n, c, s, l, h, a)| (key, (n, c, s, l, h, a))).collect();
        prop_assert_eq!(rows, expected);
    }

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
