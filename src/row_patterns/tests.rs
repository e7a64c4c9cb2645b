//! Properties of whole patterns over many rows: what is shared, swept and forgotten changes nothing.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use crate::event::{VirtualClock, pretty};
use crate::{App, EventFlux};

fn start(sql: &str, output: &Arc<Mutex<Vec<String>>>, from: Option<crate::Snapshot>) -> App {
    let builder = EventFlux::builder()
        .sql(sql)
        .virtual_clock(Arc::new(VirtualClock::new(0)));
    let builder = match from {
        Some(snapshot) => builder.restore(snapshot),
        None => builder,
    };
    let app = builder.build().expect("a valid app");
    let output = output.clone();
    app.on("Out", move |batch| {
        output.lock().expect("no panic elsewhere").extend(pretty::lines(batch));
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    app
}

type Row = (i64, i64, i64);

fn send(app: &App, rows: &[Row], cut: usize) {
    let input = app.input("S").expect("the stream exists");
    for rows in rows.chunks(cut) {
        let column = |of: fn(&Row) -> i64| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
        let columns = [
            ("k", column(|row| row.0)),
            ("ts", column(|row| row.1)),
            ("v", column(|row| row.2)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)));
        input
            .send_batch(batch.expect("three columns"))
            .expect("it takes the rows");
    }
}

/// What a query gives for rows that come in batches of `cut`.
fn found(sql: &str, rows: &[Row], cut: usize) -> Vec<String> {
    let output = Arc::default();
    let app = start(sql, &output, None);
    send(&app, rows, cut);
    app.finish().expect("it ends");
    app.shutdown().expect("it ends");
    output.lock().expect("no panic elsewhere").clone()
}

fn query(select: &str, clauses: &str) -> String {
    format!(
        "CREATE STREAM S (k LONG, ts LONG, v LONG, WATERMARK FOR ts AS ts);
         INSERT INTO Out SELECT {select} FROM S MATCH_RECOGNIZE ({clauses}) AS m;"
    )
}

/// One long match with registers: paths, sets and tallies are swept many times.
#[test]
fn a_long_match_is_what_it_would_be_without_sweeping() {
    let rows: Vec<Row> = (0..30_000).map(|row| (0, row, row * 7 % 10)).collect();
    let even: Vec<i64> = rows.iter().map(|(.., v)| *v).filter(|v| v % 2 == 0).collect();
    let sql = query(
        "n, a, s, l",
        "ORDER BY ts MEASURES count(*) AS n, count(A.*) AS a, sum(A.v) AS s, LAST(A.v, 1) AS l PATTERN ((A | B)* $)
         DEFINE A AS v % 2 = 0 AND sum(A.v) >= 0 AND count(A.*) > 0, B AS v % 2 = 1 AND count(A.*) >= 0 AND coalesce(LAST(A.v), 0) % 2 = 0",
    );
    let expected = format!(
        "n={} a={} s={} l={}",
        rows.len(),
        even.len(),
        even.iter().sum::<i64>(),
        even[even.len() - 2]
    );
    let got = found(&sql, &rows, 1_000);
    assert_eq!(got.len(), 1, "{got:?}");
    for part in expected.split(' ') {
        assert!(
            got[0].contains(part) || got[0].split_whitespace().any(|cell| part.ends_with(cell)),
            "{expected}: {got:?}"
        );
    }
}

/// Keys that come and go: what is held is what the last rows need.
#[test]
fn partitions_without_rows_are_forgotten() {
    let sql = query(
        "k, n",
        "PARTITION BY k ORDER BY ts MEASURES count(*) AS n PATTERN (A B) WITHIN 5 ms DEFINE B AS v > 1",
    );
    let output = Arc::default();
    let app = start(&sql, &output, None);
    let mut sizes = Vec::new();
    for round in 0..20_i64 {
        let rows: Vec<Row> = (0..20_000)
            .map(|row| (round * 20_000 + row, (round * 20_000 + row) / 100, 0))
            .collect();
        send(&app, &rows, 10_000);
        let snapshot = app.snapshot().expect("a snapshot");
        sizes.push(snapshot.to_bytes().expect("bytes").len());
    }
    app.shutdown().expect("it ends");
    let (early, late) = (sizes[7], sizes[19]);
    assert!(late < 2 * early, "{sizes:?}");
}

/// More rows than a partition may hold: an error, and matching goes on.
#[test]
fn a_match_that_never_ends_is_given_up() {
    let rows: Vec<Row> = (0..1_000_010)
        .map(|row| (0, row, i64::from(row >= 1_000_005)))
        .collect();
    let sql = query(
        "n",
        "ORDER BY ts MEASURES count(*) AS n PATTERN (A+ B) DEFINE A AS v = 0, B AS v = 1",
    );
    let got = found(&sql, &rows, 50_000);
    assert!(got.len() == 1 && got[0].contains('5'), "{got:?}");
}
