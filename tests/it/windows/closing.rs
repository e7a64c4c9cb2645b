//! Windows that close: every kind by time, count and session, with every aggregate.

use proptest::prelude::*;

use super::aggregates::{FAMILIES, select};
use super::data::{events, sizes};
use super::engine::{Question, Time, compare};
use super::oracle::Order;

/// The bounds as milliseconds.
pub const BOUNDS: &str = "CAST(window_start AS LONG) / 1000 AS ws, CAST(window_end AS LONG) / 1000 AS we";

/// A window with bounds, and the oracle's table of its events: that of all, with columns `ws` and `we`.
type Bounded = (&'static str, String);

/// Windows on a grid: `starts` gives each event's windows from the last to the first that it is in.
pub fn hop(size: i64, slide: i64, offset: i64) -> String {
    let steps: Vec<String> = (0..=size / slide).map(|step| format!("({step})")).collect();
    let start = format!("t - (t - {offset}) % {slide} - n * {slide}");
    let windows = format!(
        "SELECT e.*, {start} AS ws FROM e CROSS JOIN (VALUES {}) AS steps(n)",
        steps.join(", ")
    );
    format!("(SELECT *, ws + {size} AS we FROM ({windows}) AS w WHERE ws + {size} > t)")
}

pub fn cumulate(step: i64, size: i64, offset: i64) -> String {
    let steps: Vec<String> = (1..=size / step).map(|step| format!("({step})")).collect();
    let windows = format!(
        "SELECT e.*, t - (t - {offset}) % {size} AS ws, n FROM e CROSS JOIN (VALUES {}) AS steps(n)",
        steps.join(", ")
    );
    format!("(SELECT * FROM (SELECT *, ws + n * {step} AS we FROM ({windows}) AS w) AS w WHERE we > t)")
}

/// Gaps and islands, for each of the keys.
pub fn session(gap: i64, keys: &str, table: &str) -> String {
    let by = match keys {
        "" => "PARTITION BY 0".to_string(),
        keys => format!("PARTITION BY {keys}"),
    };
    let fresh = format!("CASE WHEN t - lag(t) OVER ({by} ORDER BY o) <= {gap} THEN 0 ELSE 1 END");
    let numbered = format!(
        "SELECT *, sum(fresh) OVER ({by} ORDER BY o) AS number FROM (SELECT *, {fresh} AS fresh FROM {table}) AS f"
    );
    let by = by.replace("BY ", "BY number, ");
    format!("(SELECT *, min(t) OVER ({by}) AS ws, max(t) OVER ({by}) + {gap} AS we FROM ({numbered}) AS n)")
}

/// Periods from the first event on, or from `start`.
pub fn periods(duration: i64, start: Option<i64>) -> String {
    let origin = start.map_or("(SELECT min(t) FROM e)".to_string(), |start| start.to_string());
    let ws = format!("t - (t - {origin}) % {duration}");
    format!("(SELECT *, {ws} AS ws, {ws} + {duration} AS we FROM e)")
}

fn grids() -> Vec<Bounded> {
    vec![
        ("S WINDOW('tumbling', 5 SECONDS)", hop(5_000, 5_000, 0)),
        (
            "S WINDOW TUMBLING(size = 5 SECONDS, offset = 1500 ms)",
            hop(5_000, 5_000, 1_500),
        ),
        ("TUMBLE(S, t, INTERVAL '7' SECOND)", hop(7_000, 7_000, 0)),
        ("S WINDOW('hop', 7 SECONDS, 3 SECONDS)", hop(7_000, 3_000, 0)),
        (
            "S WINDOW('sliding', size = 6 SECONDS, slide = 2 SECONDS, offset = 700 ms)",
            hop(6_000, 2_000, 700),
        ),
        ("HOP(S, t, 1500 ms, 4 SECONDS)", hop(4_000, 1_500, 0)),
        (
            "S WINDOW('cumulate', step = 2 SECONDS, size = 6 SECONDS)",
            cumulate(2_000, 6_000, 0),
        ),
        (
            "S WINDOW('cumulate', 1 SECOND, 4 SECONDS, 300 ms)",
            cumulate(1_000, 4_000, 300),
        ),
        ("S WINDOW('timeBatch', 5 SECONDS)", periods(5_000, None)),
        (
            "S WINDOW('timeBatch', 5 SECONDS, 2 SECONDS)",
            periods(5_000, Some(2_000)),
        ),
        ("S WINDOW('externalTimeBatch', t, 3 SECONDS)", periods(3_000, None)),
        (
            "S WINDOW('externalTimeBatch', t, 3 SECONDS, 500 ms)",
            periods(3_000, Some(500)),
        ),
    ]
}

/// Questions about a window with bounds: by two keys, by one, by none, by an expression, and by a key of those many enough.
fn bounded((window, table): &Bounded, engine: &str, oracle: &str) -> Vec<Question> {
    let ask = |keys: &str, having: &str| {
        let columns = if keys.is_empty() {
            String::new()
        } else {
            format!("{keys}, ")
        };
        let oracle_by = if keys.is_empty() {
            "ws, we".to_string()
        } else {
            format!("ws, we, {keys}")
        };
        let by = if keys.is_empty() {
            "window_start, window_end".to_string()
        } else {
            keys.to_string()
        };
        let grouped = format!("FROM {window} GROUP BY {by} {having}");
        Question::new(
            format!("SELECT {BOUNDS}, {columns}{engine} {grouped}"),
            format!("SELECT ws, we, {columns}{oracle} FROM {table} AS w GROUP BY {oracle_by} {having}"),
            Order::ByKey(2 + keys.split(", ").filter(|key| !key.is_empty()).count()),
        )
    };
    vec![ask("k", ""), ask("", ""), ask("k, g", "HAVING count(*) > 1")]
}

/// Of the questions of each window and family one, by turns: three draws ask them all.
fn by_turns(mut questions: Vec<Question>, turn: usize) -> Question {
    questions.swap_remove(turn % questions.len())
}

fn sessions(engine: &str, oracle: &str) -> Vec<Question> {
    let ask = |window: &str, keys: &str, by: &str| {
        let columns = if keys.is_empty() {
            String::new()
        } else {
            format!("{keys}, ")
        };
        let table = session(1_000, keys, "e");
        let oracle_by = if keys.is_empty() {
            "ws, we".to_string()
        } else {
            format!("ws, we, {keys}")
        };
        Question::new(
            format!("SELECT {BOUNDS}, {columns}{engine} FROM {window} {by}"),
            format!("SELECT ws, we, {columns}{oracle} FROM {table} AS w GROUP BY {oracle_by}"),
            Order::ByKey(2 + keys.split(", ").filter(|key| !key.is_empty()).count()),
        )
    };
    vec![
        ask("S WINDOW('session', 1 SECOND)", "k", "GROUP BY k"),
        ask(
            "S WINDOW('session', gap = 1 SECOND)",
            "k, g",
            "GROUP BY k, g, window_start, window_end",
        ),
        ask("SESSION(S, t, 1 SECOND)", "", ""),
    ]
}

/// Batches of a number, in the order of events: their rows come in the order of the groups' first events.
fn batches(window: &str, number: &str, table: &str, o: &str, engine: &str, oracle: &str) -> Vec<Question> {
    let numbered = format!("(SELECT *, {number} AS n FROM {table})");
    let ask = |keys: &str, filter: &str| {
        let columns = if keys.is_empty() {
            String::new()
        } else {
            format!("{keys}, ")
        };
        let (by, oracle_by) = match keys {
            "" => (String::new(), "n".to_string()),
            keys => (format!("GROUP BY {keys}"), format!("n, {keys}")),
        };
        Question::new(
            format!("SELECT {columns}{engine} FROM {window} {filter} {by}"),
            format!("SELECT {columns}{oracle} FROM {numbered} AS w {filter} GROUP BY {oracle_by} ORDER BY n, min({o})"),
            Order::Exact,
        )
    };
    vec![ask("k", ""), ask("", ""), ask("k, g", "WHERE v IS NULL OR v <> 3")]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_a_grid(events in events(true), sizes in sizes(), turn in 0_usize..3) {
        let mut questions = Vec::new();
        for (number, window) in grids().iter().enumerate() {
            for (family, calls) in FAMILIES.iter().enumerate() {
                let (engine, oracle) = select(calls, "o", "");
                questions.push(by_turns(bounded(window, &engine, &oracle), turn + number + family));
            }
        }
        compare(&events, &sizes, Time::Event, &questions)?;
    }

    #[test]
    fn of_sessions(events in events(true), sizes in sizes()) {
        let mut questions = Vec::new();
        for calls in FAMILIES {
            let (engine, oracle) = select(calls, "o", "");
            questions.extend(sessions(&engine, &oracle));
        }
        compare(&events, &sizes, Time::Event, &questions)?;
    }

    #[test]
    fn of_so_many_events(events in events(true), sizes in sizes(), size in 1_usize..20) {
        let mut questions = Vec::new();
        for calls in FAMILIES {
            let (engine, oracle) = select(calls, "o", "");
            let number = format!("(o - 1) / {size}");
            for window in [format!("S WINDOW('lengthBatch', {size})"), format!("S WINDOW('expressionBatch', 'count(*) <= {size}')")] {
                questions.extend(batches(&window, &number, "e", "o", &engine, &oracle));
            }
        }
        compare(&events, &sizes, Time::Event, &questions)?;
    }

    #[test]
    fn of_one_chunk(events in events(true), size in 1_usize..20) {
        let mut questions = Vec::new();
        for calls in FAMILIES {
            let (engine, oracle) = select(calls, "i", "");
            let number = format!("(i - 1) / {size}");
            questions.extend(batches("P WINDOW('batch')", &number, "arrived", "i", &engine, &oracle));
        }
        compare(&events, &[size], Time::Arrival, &questions)?;
    }
}
