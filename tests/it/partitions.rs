//! Partitions on several threads: the same results for each key, in the same order, as on one.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventflux::{App, Builder, EventFlux, Snapshot};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{collect, within_deadline};

/// An event: whether it is of U instead of S, its key, a number, its time in ms.
type Row = (bool, Option<u8>, i32, i64);

/// Queries of a PARTITION by `k`; what they give goes to Out, its key first.
const BODIES: &[&str] = &[
    "INSERT INTO Out SELECT k, v, sum(v) AS s, count(*) AS n FROM S WINDOW('length', 3);",
    "INSERT ALL EVENTS INTO Out SELECT k, v, array_agg(v) AS held FROM S WINDOW('time', 200 MILLISECONDS);",
    "INSERT INTO Out SELECT k, sum(v) AS s FROM S GROUP BY v % 3;",
    "INSERT INTO Out SELECT k, sum(v) AS s, window_start AS w FROM S WINDOW('tumbling', 300 MILLISECONDS) GROUP BY window_start;",
    "INSERT INTO Out SELECT k, v, window_end AS w FROM S WINDOW('session', 150 MILLISECONDS);",
    "INSERT INTO Out SELECT k, sum(v) AS s FROM S WINDOW('lengthBatch', 4) ORDER BY s LIMIT 1;",
    "INSERT INTO Out SELECT k, v FROM S WINDOW('sort', 2, v) WHERE v > 2;",
    "INSERT INTO Out SELECT k, v - lag(v) OVER () AS d, row_number() OVER () AS n FROM S;",
    "INSERT INTO Out SELECT DISTINCT k, v FROM S;",
    "INSERT INTO Out SELECT k, v FROM S LIMIT 3;",
    "INSERT INTO Out SELECT k, sum(v) AS s FROM S OUTPUT LAST EVERY 3 EVENTS;",
    "INSERT INTO Out SELECT k, v FROM S OUTPUT FIRST EVERY 2 EVENTS;",
    "INSERT INTO #I SELECT k, v, v - lag(v) OVER () AS d FROM S;
     INSERT INTO #J SELECT k, max(d) AS m, sum(v) AS s FROM #I WINDOW('lengthBatch', 2);
     INSERT INTO Out SELECT k, m, s, count(*) AS n FROM #J WHERE s > 0;",
    "INSERT INTO Out SELECT k, v FROM S WHERE v > 5;",
    "INSERT INTO Out SELECT k, v FROM S WINDOW('delay', 100 MILLISECONDS);",
    "INSERT INTO #I SELECT k, v FROM S;
     INSERT INTO Out SELECT k, v, min(v) AS l FROM (SELECT k, v FROM #I UNION ALL SELECT k, -v AS v FROM S WHERE v < 0);",
];

/// The same where the order in which S and U come decides; they come by one way only in processing time.
const EVERYWHERE: &[&str] = &[
    "INSERT INTO #Last SELECT k, max(v) AS m FROM S; INSERT INTO Out SELECT x AS k, x, count(*) AS n FROM U;",
    "INSERT INTO Out SELECT x % 3 AS k, sum(x) AS s FROM U WINDOW('length', 2);",
];

const PLAIN: &str = "CREATE STREAM S (k INT, v INT, ts LONG); CREATE STREAM U (x INT);";
const TIMED: &str = "CREATE STREAM S (k INT, v INT, ts LONG, WATERMARK FOR ts AS ts - 100 MILLISECONDS);
    CREATE STREAM U (x INT);";

fn partition(streams: &str, body: &str, options: &str) -> String {
    format!("{streams} PARTITION WITH (k OF S) BEGIN {body} END {options};")
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let key = prop_oneof![9 => (0_u8..7).prop_map(Some), 1 => Just(None)];
    let row = (prop::bool::weighted(0.2), key, 0_i32..20, 0_i64..60, 0_i64..90);
    prop::collection::vec(row, 0..150).prop_map(|rows| {
        let mut now = 1_000;
        let row = |(other, key, value, step, back)| {
            now += step;
            (other, key, value, now - back)
        };
        rows.into_iter().map(row).collect()
    })
}

fn send(app: &App, rows: &[Row]) {
    for (other, key, value, time) in rows {
        match other {
            true => app.input("U").unwrap().send((*value,)).unwrap(),
            false => app.input("S").unwrap().send((*key, *value, *time)).unwrap(),
        }
    }
}

/// What Out gets, with a restart from a snapshot after `cut` rows if there is one.
fn run(builder: impl Fn() -> Builder, rows: &[Row], cut: Option<usize>) -> Vec<Value> {
    let mut out = Vec::new();
    let mut app = builder().build().unwrap();
    let mut begin = 0;
    if let Some(cut) = cut.map(|cut| cut.min(rows.len())) {
        let part = collect(&app);
        app.start().unwrap();
        send(&app, &rows[..cut]);
        let snapshot = app.snapshot().unwrap().to_bytes().unwrap();
        app.shutdown().unwrap();
        out.append(&mut part.lock());
        let snapshot = Snapshot::from_bytes(&snapshot).unwrap();
        app = builder().restore(snapshot).build().unwrap();
        begin = cut;
    }
    let part = collect(&app);
    app.start().unwrap();
    send(&app, &rows[begin..]);
    app.wait().unwrap();
    out.append(&mut part.lock());
    out
}

/// By key: its rows in their order.
fn by_key(rows: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut keys: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in rows {
        keys.entry(row["k"].to_string()).or_default().push(row);
    }
    keys
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_key_gets_the_same_whatever_the_threads(
        rows in rows(),
        body in prop::sample::select(BODIES),
        timed in any::<bool>(),
        threads in 2_usize..5,
        cut in prop::option::of(0_usize..150),
    ) {
        let text = partition(if timed { TIMED } else { PLAIN }, body, "");
        within_deadline(&text.clone(), move || {
            let inline = run(|| EventFlux::builder().sql(&text).inline(), &rows, None);
            let one = run(|| EventFlux::builder().sql(&text), &rows, None);
            let many = run(|| EventFlux::builder().sql(&text).parallelism(threads), &rows, cut);
            // Without a WATERMARK time windows go by the clock: what falls into one is another thing each time.
            let by_clock = !timed && ["'time'", "tumbling", "session", "delay"].iter().any(|kind| text.contains(kind));
            if !by_clock {
                let many = by_key(many);
                assert_eq!(by_key(one), many, "{text}");
                assert_eq!(by_key(inline), many, "{text}");
            }
        });
    }

    #[test]
    fn a_stream_without_a_key_reaches_every_worker(
        rows in rows(),
        body in prop::sample::select(EVERYWHERE),
        threads in 2_usize..5,
        cut in prop::option::of(0_usize..150),
        purged in any::<bool>(),
    ) {
        let text = partition(PLAIN, body, if purged { "WITH (idle = 1 HOUR)" } else { "" });
        within_deadline(&text.clone(), move || {
            let sorted = |mut rows: Vec<Value>| {
                rows.sort_by_key(Value::to_string);
                rows
            };
            let inline = run(|| EventFlux::builder().sql(&text).inline(), &rows, None);
            let many = run(|| EventFlux::builder().sql(&text).parallelism(threads), &rows, cut);
            assert_eq!(sorted(inline), sorted(many), "{text}");
        });
    }
}

/// Two blocks, one behind the other, with a plain query between them and one after: five levels of tasks.
const CHAIN: &str = "CREATE STREAM S (k INT, v INT, ts LONG); CREATE STREAM U (x INT);
    PARTITION WITH (k OF S) BEGIN
      INSERT INTO A SELECT k, v, count(*) AS n FROM S WINDOW('length', 5);
    END;
    INSERT INTO B SELECT k % 3 AS g, k, n FROM A;
    PARTITION WITH (g OF B) BEGIN
      INSERT INTO C SELECT g, k, n, row_number() OVER () AS i FROM B;
    END;
    INSERT INTO Out SELECT 0 AS k, count(*) AS n, sum(i) AS s FROM C;";

#[test]
fn blocks_behind_each_other() {
    let rows: Vec<Row> = (0..20_000)
        .map(|i| (false, Some((i * 7 % 13) as u8), i, i64::from(i)))
        .collect();
    within_deadline("a chain of partitions", move || {
        let one = run(|| EventFlux::builder().sql(CHAIN), &rows, None);
        let many = run(|| EventFlux::builder().sql(CHAIN).parallelism(3), &rows, Some(7_000));
        assert_eq!(one.len(), many.len());
        assert_eq!(one.last(), many.last());
    });
}

/// A block that reads what it gives runs on one thread, however many there are.
#[test]
fn a_block_that_feeds_itself() {
    let text = "CREATE STREAM S (k INT, v INT, ts LONG); CREATE STREAM U (x INT);
        PARTITION WITH (k OF S) BEGIN
          INSERT INTO Mid SELECT k, v FROM S WINDOW('lengthBatch', 2);
          INSERT INTO Out SELECT k, v, count(*) AS n FROM Mid;
        END;";
    let rows: Vec<Row> = (0..100).map(|i| (false, Some((i % 5) as u8), i, 0)).collect();
    let one = run(|| EventFlux::builder().sql(text), &rows, None);
    let many = run(|| EventFlux::builder().sql(text).parallelism(4), &rows, Some(33));
    assert_eq!(one, many);
}

#[test]
fn a_snapshot_goes_with_its_number_of_workers() {
    let text = partition(PLAIN, BODIES[0], "");
    let build = |threads| EventFlux::builder().sql(&text).parallelism(threads);
    let app = build(3).build().unwrap();
    app.start().unwrap();
    send(&app, &[(false, Some(1), 1, 0)]);
    let snapshot = app.snapshot().unwrap();
    app.shutdown().unwrap();
    let refused = build(2)
        .restore(snapshot)
        .build()
        .unwrap()
        .start()
        .unwrap_err()
        .to_string();
    assert!(refused.contains("start with parallelism = 3"), "{refused}");
    // Where no key is shared out it does not matter.
    let plain = |threads| {
        let sql = "CREATE STREAM S (k INT); INSERT INTO Out SELECT count(*) AS k FROM S;";
        EventFlux::builder().sql(sql).parallelism(threads)
    };
    let app = plain(3).build().unwrap();
    app.start().unwrap();
    app.input("S").unwrap().send((1,)).unwrap();
    let snapshot = app.snapshot().unwrap();
    app.shutdown().unwrap();
    let app = plain(1).restore(snapshot).build().unwrap();
    let rows = collect(&app);
    app.start().unwrap();
    app.input("S").unwrap().send((1,)).unwrap();
    app.wait().unwrap();
    assert_eq!(rows.lock().len(), 1);
    assert_eq!(rows.lock()[0]["k"], 2);
}

/// Sinks that are slower than sources, full channels, a stop in the midst of it: everything ends, what was taken goes through.
#[test]
fn a_stop_while_every_channel_is_full() {
    let text = "CREATE STREAM S (k LONG, v LONG) WITH (type = 'source', extension = 'datagen');
        PARTITION WITH (v % 100 OF S) BEGIN
          INSERT INTO Out SELECT v AS k, count(*) AS n FROM S WINDOW('length', 3);
        END;";
    within_deadline("a stop under load", move || {
        let app = EventFlux::builder().sql(text).parallelism(2).build().unwrap();
        let seen = Arc::new(Mutex::new(0));
        let count = seen.clone();
        app.on("Out", move |batch| {
            *count.lock() += batch.num_rows();
            std::thread::sleep(std::time::Duration::from_millis(5));
        })
        .unwrap();
        app.start().unwrap();
        while *seen.lock() < 10_000 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // A snapshot finds its way through full channels.
        app.snapshot().unwrap();
        app.stop().unwrap();
        app.wait().unwrap();
        let stats = app.stats().unwrap();
        let rows = |name: &str| stats.streams.iter().find(|stream| stream.name == name).unwrap().rows;
        assert_eq!(rows("S"), rows("Out"));
        assert_eq!(rows("Out"), *seen.lock() as u64);
        assert_eq!(stats.queries[0].rows_in, stats.queries[0].rows_out);
    });
}

/// An error of one worker ends the app and is its error.
#[test]
fn a_worker_that_fails_ends_the_app() {
    let text = "CREATE STREAM S (k INT, v INT, ts LONG) WITH ('error.strategy' = 'fail'); CREATE STREAM U (x INT);
        PARTITION WITH (k OF S) BEGIN
          INSERT INTO #I SELECT k, v, count(*) AS n FROM S WINDOW('length', 3);
          INSERT INTO Out SELECT k, 100 / v AS q FROM S WINDOW('length', 2);
        END;";
    within_deadline("a failing worker", move || {
        let app = EventFlux::builder().sql(text).parallelism(2).build().unwrap();
        app.start().unwrap();
        let mut sent = 0;
        let input = app.input("S").unwrap();
        while input.send((sent % 10, 1000 - sent, 0_i64)).is_ok() && sent < 100_000 {
            sent += 1;
        }
        let error = app.wait().unwrap_err().to_string();
        assert!(error.to_lowercase().contains("divi"), "{error}");
    });
}
