//! Joins in whole apps equal the same joins of all events at once, by a batch engine.
//!
//! Every kind of join is asked about one set of random events: keys that are NULL, equal times, empty sides. What a join gives
//! does not depend on when its rows come, but for windows: there each event knows its place among those of both sides, and the
//! oracle finds with it what a window held.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Schema;
use eventflux::event::Op;
use eventflux::{App, EventBatch, EventFlux};
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::windows::oracle::{Oracle, Order, Row, difference, rows};

/// An event: whether it is B's, its key, its value, its time in ms.
type Event = (bool, Option<i32>, Option<i32>, i64);

/// `i`: its number among all; `own`, `other`: how many events of its side (with it) and of the other one there are up to it.
const COLUMNS: &str = "i LONG, own LONG, other LONG, k INT, v INT, ts TIMESTAMP";

const KINDS: [&str; 4] = ["", "LEFT", "RIGHT", "FULL"];

const CONDITIONS: [&str; 5] = [
    "a.k = b.k",
    "a.k = b.k AND a.v < b.v",
    "a.k = b.k AND a.v = b.v",
    "(a.k IS NOT DISTINCT FROM b.k) AND a.v <> b.v",
    "a.v < b.v",
];

/// What is asked of every pair of rows.
const PAIR: &str = "a.i AS ai, b.i AS bi, a.v AS av, b.v AS bv";

fn events() -> impl Strategy<Value = Vec<Event>> {
    let key = || prop::option::weighted(0.9, 0..4);
    let value = || prop::option::weighted(0.9, -5..6);
    let step = prop_oneof![2 => Just(0_i64), 5 => 0_i64..600, 1 => 2_000_i64..9_000];
    prop::collection::vec((any::<bool>(), key(), value(), step), 0..60).prop_map(|drawn| {
        let mut now = 100_000;
        let event = |(side, key, value, step)| {
            now += step;
            (side, key, value, now)
        };
        drawn.into_iter().map(event).collect()
    })
}

/// Events with their numbers, as columns of these types.
fn columns(events: &[Numbered], schema: &Schema) -> RecordBatch {
    let longs = |get: fn(&Numbered) -> i64| Arc::new(Int64Array::from_iter_values(events.iter().map(get))) as ArrayRef;
    let ints = |get: fn(&Numbered) -> Option<i32>| Arc::new(events.iter().map(get).collect::<Int32Array>()) as ArrayRef;
    let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.event.3 * 1_000));
    let columns = vec![
        longs(|event| event.number),
        longs(|event| event.own),
        longs(|event| event.other),
        ints(|event| event.event.1),
        ints(|event| event.event.2),
        Arc::new(times),
    ];
    RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap()
}

#[derive(Clone, Copy)]
struct Numbered {
    event: Event,
    number: i64,
    own: i64,
    other: i64,
}

fn numbered(events: &[Event]) -> Vec<Numbered> {
    let mut counts = [0, 0];
    let number = |(number, event): (i64, &Event)| {
        let side = usize::from(event.0);
        counts[side] += 1;
        Numbered {
            event: *event,
            number,
            own: counts[side],
            other: counts[1 - side],
        }
    };
    (1..).zip(events).map(number).collect()
}

/// A query of the engine and one of the oracle, over `a` and `b`.
struct Question {
    query: String,
    sql: String,
}

/// The rows that are there after all changes; an update takes back what an earlier change gave.
#[derive(Default)]
struct There(Vec<Row>);

impl There {
    fn apply(&mut self, batch: &EventBatch) {
        for (row, at) in rows(batch.columns()).into_iter().zip(0..) {
            match batch.op(at) {
                Op::Insert | Op::UpdateAfter => self.0.push(row),
                Op::Delete | Op::UpdateBefore => {
                    let same = |there: &Row| format!("{there:?}") == format!("{row:?}");
                    let found = self.0.iter().rposition(same);
                    // What is taken back without having been given is a row too many.
                    match found {
                        Some(found) => drop(self.0.remove(found)),
                        None => self.0.push(row),
                    }
                }
            }
        }
    }
}

/// Sends the events in runs of one side, at most so many at a time, and compares.
fn compare(events: &[Event], most: usize, prelude: &str, questions: &[Question]) -> Result<(), TestCaseError> {
    let mut text = format!("CREATE STREAM A ({COLUMNS});\nCREATE STREAM B ({COLUMNS});\n");
    for side in ["A", "B"] {
        text += &format!("CREATE STREAM {side}E ({COLUMNS}, WATERMARK FOR ts AS ts);\n");
    }
    text += prelude;
    for (number, question) in questions.iter().enumerate() {
        text += &format!("INSERT INTO Out{number} {};\n", question.query);
    }
    let app = EventFlux::builder().sql(&text).inline().build().unwrap();
    let there: Vec<_> = (0..questions.len()).map(|number| watch(&app, number)).collect();
    app.start().unwrap();
    let events = numbered(events);
    let schema = app.input("A").unwrap().stream().schema.clone();
    for run in events.chunk_by(|a, b| a.event.0 == b.event.0) {
        for part in run.chunks(most) {
            let side = if part[0].event.0 { "B" } else { "A" };
            for stream in [side.to_string(), format!("{side}E")] {
                let input = app.input(&stream).unwrap();
                input.send_batch(columns(part, &schema)).unwrap();
            }
        }
    }
    app.wait().unwrap();
    let oracle = Oracle::of_nothing();
    for (name, side) in [("a", false), ("b", true)] {
        let own: Vec<Numbered> = events.iter().copied().filter(|event| event.event.0 == side).collect();
        oracle.table(name, &columns(&own, &schema));
    }
    for (question, there) in questions.iter().zip(there) {
        let got = std::mem::take(&mut there.lock().0);
        let want = oracle.ask(&question.sql);
        let columns = want.first().map_or(0, Vec::len);
        if let Some(difference) = difference(Order::ByKey(columns), got, want) {
            let message = format!("{difference}\n{}\n{}\n", question.query, question.sql);
            return Err(TestCaseError::fail(message));
        }
    }
    Ok(())
}

fn watch(app: &App, number: usize) -> Arc<Mutex<There>> {
    let there = Arc::new(Mutex::new(There::default()));
    let into = there.clone();
    app.on(&format!("Out{number}"), move |batch| into.lock().apply(batch))
        .unwrap();
    there
}

/// Joins of all rows that ever came.
fn plain() -> Vec<Question> {
    let mut questions = Vec::new();
    for kind in KINDS {
        for on in CONDITIONS {
            for rest in ["", "WHERE a.v > 0", "WHERE b.v IS NULL"] {
                let of = |a: &str, b: &str| format!("SELECT {PAIR} FROM {a} {kind} JOIN {b} ON {on} {rest}");
                questions.push(Question {
                    query: of("A a", "B b"),
                    sql: of("a", "b"),
                });
            }
        }
    }
    let three = |a: &str, b: &str, c: &str| {
        format!("SELECT a.i AS ai, b.i AS bi, c.i AS ci FROM {a} JOIN {b} ON a.k = b.k LEFT JOIN {c} ON c.v = b.v")
    };
    questions.push(Question {
        query: three("A a", "B b", "A c"),
        sql: three("a", "b", "a AS c"),
    });
    let itself = |a: &str, b: &str| format!("SELECT {PAIR} FROM {a} JOIN {b} ON a.k = b.k AND a.i < b.i");
    questions.push(Question {
        query: itself("A a", "A b"),
        sql: itself("a", "a AS b"),
    });
    questions
}

/// Joins of rows whose times are near each other.
fn interval() -> Vec<Question> {
    let mut questions = Vec::new();
    for kind in KINDS {
        for on in ["a.k = b.k", "a.k = b.k AND a.v < b.v", "TRUE"] {
            for (low, high) in [
                ("- 1 SECOND", "+ 500 MILLISECONDS"),
                ("- 3 SECONDS", ""),
                ("+ 1 SECOND", "+ 2 SECONDS"),
            ] {
                let of = |a: &str, b: &str, low: &str, high: &str| {
                    format!(
                        "SELECT {PAIR} FROM {a} {kind} JOIN {b} ON {on} AND b.ts BETWEEN a.ts {low} AND a.ts {high}"
                    )
                };
                let standard = |bound: &str| match bound.split_once(' ') {
                    Some((sign, span)) => format!("{sign} INTERVAL '{}'", span.to_lowercase()),
                    None => String::new(),
                };
                questions.push(Question {
                    query: of("AE a", "BE b", low, high),
                    sql: of("a", "b", &standard(low), &standard(high)),
                });
            }
        }
    }
    questions
}

/// Joins of the last `n` events of A and the last `m` of B.
fn windowed(n: i64, m: i64) -> Vec<Question> {
    let mut questions = Vec::new();
    for on in CONDITIONS {
        for (kind, alone) in [
            ("", ""),
            ("LEFT", ""),
            ("RIGHT", ""),
            ("FULL", ""),
            ("LEFT", "UNIDIRECTIONAL"),
        ] {
            let query = format!(
                "SELECT {PAIR} FROM A WINDOW('length', {n}) AS a {alone} {kind} JOIN B WINDOW('length', {m}) AS b ON {on}"
            );
            let held_by_b = format!("b.i < a.i AND b.own > a.other - {m} AND {on}");
            let held_by_a = format!("a.i < b.i AND a.own > b.other - {n} AND {on}");
            let mut parts = vec![format!("SELECT {PAIR} FROM a JOIN b ON {held_by_b}")];
            if alone.is_empty() {
                parts.push(format!("SELECT {PAIR} FROM a JOIN b ON {held_by_a}"));
            }
            if matches!(kind, "LEFT" | "FULL") {
                parts.push(format!(
                    "SELECT {PAIR} FROM a LEFT JOIN b ON {held_by_b} WHERE b.i IS NULL"
                ));
            }
            if matches!(kind, "RIGHT" | "FULL") {
                parts.push(format!(
                    "SELECT {PAIR} FROM b LEFT JOIN a ON {held_by_a} WHERE a.i IS NULL"
                ));
            }
            questions.push(Question {
                query,
                sql: parts.join(" UNION ALL "),
            });
        }
    }
    questions
}

/// Events of A with the rows of a table that has those of B.
fn with_table() -> Vec<Question> {
    let conditions = [
        "a.k = b.k",
        "a.k = b.k AND a.v < b.v",
        "a.i = b.i - 1",
        "a.v < b.v",
        "a.k = b.k AND b.v > 2",
        "b.v BETWEEN a.v AND a.v + 2",
        "(a.k IS NOT DISTINCT FROM b.k)",
    ];
    let mut questions = Vec::new();
    for on in conditions {
        for kind in ["", "LEFT"] {
            for rest in ["", "WHERE a.v > 0 AND (b.v IS NULL OR b.v < 4)"] {
                let of = |a: &str, b: &str| format!("SELECT {PAIR} FROM {a} {kind} JOIN {b} ON {on} {rest}");
                questions.push(Question {
                    query: of("A a", "T b"),
                    sql: of("a", "b"),
                });
            }
        }
    }
    let tests = [
        "a.k IN (SELECT b.k FROM # b WHERE b.v > 1)",
        "a.v NOT IN (SELECT b.v FROM # b)",
        "a.v NOT IN (SELECT b.v FROM # b WHERE b.v IS NOT NULL)",
        "a.v NOT IN (SELECT b.v FROM # b WHERE b.v > 2)",
        "a.i NOT IN (SELECT b.i FROM # b WHERE b.k < 2)",
        "a.v NOT IN (SELECT max(b.v) FROM # b GROUP BY b.k)",
        "EXISTS (SELECT 1 FROM # b WHERE b.k = a.k AND b.v > a.v)",
        "NOT EXISTS (SELECT 1 FROM # b WHERE b.k = a.k)",
        "a.v > (SELECT min(b.v) FROM # b)",
        "a.v >= (SELECT max(b.v) FROM # b WHERE b.k = a.k)",
    ];
    for test in tests {
        let of = |a: &str, b: &str| format!("SELECT a.i AS ai FROM {a} WHERE {}", test.replace('#', b));
        questions.push(Question {
            query: of("A a", "T"),
            sql: of("a", "b"),
        });
    }
    questions
}

/// A table with what has come of B, by its number, with indexes.
const TABLE: &str = "
    CREATE TABLE T (i LONG PRIMARY KEY, own LONG, other LONG, k INT, v INT, ts TIMESTAMP, INDEX (k), INDEX (v))
        WITH (extension = 'memory');
    INSERT INTO T SELECT * FROM B;
";

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_all_rows(events in events(), most in 1_usize..20) {
        compare(&events, most, "", &plain())?;
    }

    #[test]
    fn of_rows_near_in_time(events in events(), most in 1_usize..20) {
        compare(&events, most, "", &interval())?;
    }

    #[test]
    fn of_windows(events in events(), most in 1_usize..20, n in 1_i64..6, m in 1_i64..6) {
        compare(&events, most, "", &windowed(n, m))?;
    }

    #[test]
    fn with_a_table(events in events(), most in 1_usize..20) {
        let mut events = events;
        // The table is filled before any event asks it.
        events.sort_by_key(|event| !event.0);
        compare(&events, most, TABLE, &with_table())?;
    }
}
