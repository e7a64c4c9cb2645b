//! `max_instances`: what happens when too many attempts are open, how it is told, and what the counters say.

use std::sync::{Arc, Mutex};

use eventflux::{App, EventFlux, Input, Layers};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Row {
    t: String,
    v: i64,
    ts: i64,
}

#[derive(Deserialize)]
struct Pair {
    a: i64,
    b: i64,
}

const STREAM: &str = "CREATE STREAM E (t STRING, v LONG, ts LONG, WATERMARK FOR ts AS ts);\n";

fn start(query: &str, layers: Layers) -> (App, Arc<Mutex<Vec<String>>>) {
    let app = EventFlux::builder()
        .sql(format!("{STREAM}INSERT INTO Out {query};"))
        .config(layers)
        .inline()
        .build()
        .unwrap();
    let errors = Arc::new(Mutex::new(Vec::new()));
    let told = errors.clone();
    app.on_error("E", move |error| told.lock().unwrap().push(error.message.clone()))
        .unwrap();
    (app, errors)
}

fn rows(t: &str, from: i64, count: i64) -> Vec<Row> {
    let rows = (from..from + count).map(|v| Row {
        t: t.to_string(),
        v,
        ts: v,
    });
    rows.collect()
}

fn pairs(app: &App, send: impl FnOnce(&Input)) -> Vec<(i64, i64)> {
    let out = app.subscribe("Out").unwrap();
    app.start().unwrap();
    send(&app.input("E").unwrap());
    app.wait().unwrap();
    let rows = out.flat_map(|batch| eventflux::Rows::rows::<Pair>(&batch).unwrap());
    rows.map(|pair| (pair.a, pair.b)).collect()
}

const PAIRS: &str = "SELECT a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B']) WITHIN 1 HOUR";

#[test]
fn the_oldest_are_dropped_and_that_is_told_once_a_burst() {
    let (app, errors) = start(&format!("{PAIRS} WITH (max_instances = 3)"), Layers::default());
    let found = pairs(&app, |input| {
        // One event a batch: each is a call of its own.
        for row in rows("A", 0, 10) {
            input.send_rows([row]).unwrap();
        }
        input.send_rows(rows("B", 10, 1)).unwrap();
        input.send_rows(rows("A", 20, 5)).unwrap();
        let stats = app.stats().unwrap();
        let pattern = stats.queries[0].pattern.clone().unwrap();
        assert_eq!((pattern.open, pattern.matches, pattern.dropped), (3, 3, 9));
        assert!(pattern.bytes > 3 * 64, "{} bytes", pattern.bytes);
        input.send_rows(rows("B", 30, 1)).unwrap();
    });
    assert_eq!(found, [(7, 10), (8, 10), (9, 10), (22, 30), (23, 30), (24, 30)]);
    let told = "more than 3 attempts at the pattern are open: the oldest are dropped";
    assert_eq!(*errors.lock().unwrap(), [told, told]);
}

#[test]
fn an_open_attempt_of_two_steps_takes_less_than_200_bytes_and_its_columns() {
    let sql = "SELECT a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B' AND v = a.v]) WITHIN 10 HOURS";
    let (app, _) = start(sql, Layers::default());
    pairs(&app, |input| {
        // Arrays that grow double: just before they do, little of them is empty.
        let open = (1 << 17) - 100;
        input.send_rows(rows("A", 0, open)).unwrap();
        let pattern = app.stats().unwrap().queries[0].pattern.clone().unwrap();
        assert_eq!(pattern.open, open as u64);
        let column = 9;
        let each = pattern.bytes / pattern.open;
        assert!(each <= 200 + column, "{each} bytes");
    });
}

#[test]
fn the_newest_do_not_begin() {
    let layers = Layers::default()
        .set("application.pattern.max_instances=2")
        .unwrap()
        .set("application.pattern.overflow=drop-newest")
        .unwrap();
    let (app, errors) = start(PAIRS, layers);
    let found = pairs(&app, |input| {
        input.send_rows(rows("A", 0, 5)).unwrap();
        input.send_rows(rows("B", 10, 1)).unwrap();
    });
    assert_eq!(found, [(0, 10), (1, 10)]);
    assert_eq!(errors.lock().unwrap().len(), 1);
}

#[test]
fn an_attempt_that_makes_two_of_one_stays_one() {
    let query = "SELECT a.v AS a, b.v AS b FROM PATTERN (a=E[t = 'A'] -> EVERY b=E[t = 'B'] -> E[t = 'C'])";
    let (app, errors) = start(
        &format!("{query} WITH (max_instances = 2, overflow = 'drop-newest')"),
        Layers::default(),
    );
    let found = pairs(&app, |input| {
        input.send_rows(rows("A", 0, 1)).unwrap();
        input.send_rows(rows("B", 1, 4)).unwrap();
        input.send_rows(rows("C", 10, 1)).unwrap();
        // There is room again.
        input.send_rows(rows("B", 20, 1)).unwrap();
        input.send_rows(rows("C", 30, 1)).unwrap();
    });
    assert_eq!(found, [(0, 1), (0, 20)]);
    assert_eq!(errors.lock().unwrap().len(), 1);
}

#[test]
fn or_the_app_stops() {
    let (app, _) = start(
        &format!("{PAIRS} WITH (max_instances = 2, overflow = 'fail')"),
        Layers::default(),
    );
    app.start().unwrap();
    let input = app.input("E").unwrap();
    input.send_rows(rows("A", 0, 2)).unwrap();
    let error = input.send_rows(rows("A", 2, 1)).unwrap_err();
    assert!(error.to_string().contains("more than 2 attempts"), "{error}");
}

#[test]
fn an_every_that_is_dropped_begins_again() {
    // Each key has one attempt; the oldest keys lose theirs, and wait for an A again.
    let query =
        "SELECT a.v AS a, b.v AS b FROM PATTERN (EVERY (a=E[t >= 'A' AND v < 100] -> b=E[v >= 100])) PARTITION BY t";
    let (app, _) = start(&format!("{query} WITH (max_instances = 2)"), Layers::default());
    let found = pairs(&app, |input| {
        for (t, v) in [
            ("A", 1),
            ("B", 2),
            ("C", 3),
            ("A", 4),
            ("A", 100),
            ("B", 101),
            ("C", 102),
        ] {
            input.send_rows(rows(t, v, 1)).unwrap();
        }
    });
    assert_eq!(found, [(4, 100), (3, 102)]);
}

#[test]
fn time_outs_are_counted_and_leave_nothing_open() {
    let query = "SELECT a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B']) WITHIN 5 ms";
    let (app, _) = start(query, Layers::default());
    app.start().unwrap();
    let input = app.input("E").unwrap();
    input.send_rows(rows("A", 0, 100)).unwrap();
    input.send_rows(rows("X", 1_000, 1)).unwrap();
    let pattern = app.stats().unwrap().queries[0].pattern.clone().unwrap();
    assert_eq!(
        (pattern.open, pattern.matches, pattern.timeouts, pattern.dropped),
        (0, 0, 100, 0)
    );
}

#[test]
fn a_wrong_configuration_is_shown_at_its_place() {
    let built = EventFlux::builder()
        .sql(format!("{STREAM}INSERT INTO Out {PAIRS};"))
        .config(Layers::default().set("application.pattern.max_instances=none").unwrap())
        .build();
    let error = built.err().unwrap().to_string();
    assert!(
        error.contains("'pattern.max_instances' is a number from 1 to"),
        "{error}"
    );
}
