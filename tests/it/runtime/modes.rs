//! Threads or inline: the same rows.

use std::sync::Arc;

use eventflux::{EventFlux, VirtualClock};
use proptest::prelude::*;
use serde_json::Value;

use super::rows_of;
use crate::support::within_deadline;

/// An event of one of two streams: its columns, any of which may be NULL.
pub type Row = (bool, (Option<i32>, Option<f64>, Option<String>, i64));

/// Queries over streams A and B, with a number for `{n}`; what they give goes to Out.
pub const QUERIES: &[&str] = &[
    "INSERT INTO Out SELECT k, v, s FROM A;",
    "INSERT INTO Out SELECT k + 1 AS k, v * 2 AS v FROM A WHERE k > {n};",
    "INSERT INTO Out SELECT k % {n} AS m, upper(s) AS s FROM A[v > 0.5] WHERE s IS NOT NULL;",
    "INSERT INTO Out SELECT CASE WHEN k > {n} THEN 'high' WHEN k IS NULL THEN 'none' ELSE s END AS c FROM A;",
    "INSERT INTO Out SELECT k, s FROM A UNION ALL SELECT k, s FROM B WHERE k <> {n};",
    "INSERT INTO Mid SELECT k, v, s FROM A WHERE k < {n}; INSERT INTO Out SELECT k, s FROM Mid UNION ALL SELECT k, s FROM A;",
    "INSERT INTO Out SELECT k, s FROM A LIMIT {n};",
    "INSERT INTO Out SELECT k FROM A LIMIT {n} OFFSET 2;",
    "INSERT INTO Out SELECT k, 100 / k AS q FROM A; INSERT INTO Out SELECT k, -k AS q FROM B WHERE FALSE;",
    "INSERT INTO Out SELECT k, eventTimestamp() AS t FROM A UNION ALL SELECT k, ts FROM B;",
    "CREATE VIEW W AS SELECT k, s FROM B WHERE v IS NULL OR v > 0; INSERT INTO Out SELECT k, s || '!' AS s FROM W;",
];

/// The rows in an order that does not depend on how events fall into batches: two ways from one stream to another are
/// gone batch by batch, each in order.
pub fn in_order(query: &str, mut rows: Vec<Value>) -> Vec<Value> {
    if query.contains("Mid") {
        rows.sort_by_key(Value::to_string);
    }
    rows
}

/// How the streams treat event time.
pub const TIMES: &[&str] = &["", "late = 'accept'", "\"order\" = 'event-time'", "late = 'Late'"];

/// An app of those: the definitions of A and B, and a query.
pub fn app_text(time: &str, query: &str, number: u8) -> String {
    let with = if time.is_empty() {
        String::new()
    } else {
        format!(" WITH ({time})")
    };
    let stream = |name: &str| {
        format!(
            "CREATE STREAM {name} (k INT, v DOUBLE, s STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts - 10 MILLISECONDS){with};\n"
        )
    };
    let late = "CREATE STREAM Late (k INT, v DOUBLE, s STRING, ts TIMESTAMP);\n";
    let query = query.replace("{n}", &number.to_string());
    format!("{late}{}{}{query}", stream("A"), stream("B"))
}

/// Rows whose times wander forward, some of them late.
pub fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop_oneof![Just(None), (-20i32..20).prop_map(|v| Some(f64::from(v) / 4.0))];
    let text = proptest::option::of("[a-c]{0,3}");
    let row = (any::<bool>(), (proptest::option::of(-9i32..9), value, text, 0i64..40));
    proptest::collection::vec(row, 0..60).prop_map(|mut rows| {
        for (index, (_, row)) in rows.iter_mut().enumerate() {
            row.3 += 5 * index as i64;
        }
        rows
    })
}

/// What Out and Late get, and how many events were late or in trouble.
#[derive(Debug, PartialEq)]
struct Results {
    out: Vec<Value>,
    late: Vec<Value>,
    counts: Vec<(String, u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    Threads,
    Inline,
    Virtual,
}

fn run(text: &str, rows: &[Row], batch: usize, mode: Mode) -> Results {
    let builder = EventFlux::builder().sql(text);
    let builder = match mode {
        Mode::Threads => builder,
        Mode::Inline => builder.inline(),
        Mode::Virtual => builder.virtual_clock(Arc::new(VirtualClock::new(0))),
    };
    let app = builder.build().unwrap();
    let (out, late) = (rows_of(&app, "Out"), rows_of(&app, "Late"));
    app.start().unwrap();
    let (a, b) = (app.input("A").unwrap(), app.input("B").unwrap());
    for chunk in rows.chunk_by(|left, right| left.0 == right.0) {
        let input = if chunk[0].0 { &a } else { &b };
        for rows in chunk.chunks(batch) {
            input.send_rows(rows.iter().map(|(_, row)| row)).unwrap();
        }
    }
    app.wait().unwrap();
    // Once a query with LIMIT has ended, nobody counts for it any more: how soon depends on the batches.
    let counts = app
        .stats()
        .unwrap()
        .streams
        .into_iter()
        .filter(|_| !text.contains("LIMIT"));
    let counts = counts.map(|stream| (stream.name, stream.late, stream.errors.values().sum()));
    let counts = counts.collect();
    Results {
        out: in_order(text, out()),
        late: late(),
        counts,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_and_inline_give_the_same_rows(
        rows in rows(),
        query in proptest::sample::select(QUERIES),
        time in proptest::sample::select(TIMES),
        number in 1u8..12,
        batch in 1usize..10,
    ) {
        let text = app_text(time, query, number);
        let results = within_deadline("the apps", move || {
            [(Mode::Inline, 1), (Mode::Inline, batch), (Mode::Virtual, batch), (Mode::Threads, 1), (Mode::Threads, batch)]
                .map(|(mode, batch)| run(&text, &rows, batch, mode))
        });
        for other in &results[1..] {
            prop_assert_eq!(&results[0], other);
        }
    }
}
