//! Event time and clocks: merging sources in order, idle ones, late events, the virtual clock.

use std::sync::Arc;

use eventflux::{App, Error, EventFlux, Rows, VirtualClock};
use serde_json::json;

use super::rows_of;
use crate::support::{Scratch, wait_until, within_deadline};

/// Lines with times that wander by less than the delay of the watermark.
fn lines(source: &str, step: usize, count: usize) -> String {
    let line = |i: usize| {
        let wander = (i * 7919) % 400;
        let time = i * step + wander;
        format!("{{\"source\":\"{source}\",\"i\":{i},\"ts\":{time}}}\n")
    };
    (0..count).map(line).collect()
}

fn file_stream(name: &str, path: &std::path::Path, options: &str) -> String {
    format!(
        "CREATE STREAM {name} (source STRING, i LONG, ts LONG, WATERMARK FOR ts AS ts - 500 MILLISECONDS)\n\
         WITH (type = 'source', extension = 'file', format = 'json', path = '{}', \"block-bytes\" = 65536{options});\n",
        path.display()
    )
}

#[test]
fn sources_are_merged_in_event_time_order() {
    // Of very different speed and length.
    let scratch = Scratch::with(&[
        ("a.ndjson", &lines("a", 10, 10_000)),
        ("b.ndjson", &lines("b", 1_000, 90)),
        ("c.ndjson", &lines("c", 37, 3_000)),
    ]);
    let streams: String = ["a", "b", "c"]
        .map(|name| file_stream(&name.to_uppercase(), &scratch.path(&format!("{name}.ndjson")), ""))
        .concat();
    let app = EventFlux::builder()
        .sql(format!(
            "{streams}CREATE STREAM Merged (source STRING, i LONG, ts LONG) WITH (\"order\" = 'event-time');
             INSERT INTO Merged SELECT * FROM A UNION ALL SELECT * FROM B UNION ALL SELECT * FROM C;
             INSERT INTO Out SELECT source, i, ts FROM Merged;"
        ))
        .build()
        .unwrap();
    let out = app.subscribe("Out").unwrap();
    app.start().unwrap();
    let rows: Vec<(String, i64, i64)> = within_deadline("the app", move || {
        // What the API might send would keep the app alive.
        app.finish().unwrap();
        let rows = out.flat_map(|batch| batch.rows().unwrap()).collect();
        app.wait().unwrap();
        rows
    });
    assert_eq!(rows.len(), 13_090);
    assert!(rows.is_sorted_by_key(|(_, _, ts)| *ts));
    for (source, count) in [("a", 10_000), ("b", 90), ("c", 3_000)] {
        let mut all: Vec<i64> = rows.iter().filter(|row| row.0 == source).map(|row| row.1).collect();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>(), "{source}");
    }
}

#[test]
fn files_of_history_are_read_side_by_side_in_event_time() {
    // Without ordering nothing is held back; but none of the files may run far ahead of the others.
    let scratch = Scratch::with(&[
        ("a.ndjson", &lines("a", 10, 100_000)),
        ("b.ndjson", &lines("b", 10, 100_000)),
    ]);
    let streams: String = ["a", "b"]
        .map(|name| file_stream(&name.to_uppercase(), &scratch.path(&format!("{name}.ndjson")), ""))
        .concat();
    let app = EventFlux::builder()
        .sql(format!(
            "{streams}INSERT INTO Out SELECT * FROM A UNION ALL SELECT * FROM B;"
        ))
        .build()
        .unwrap();
    let out = app.subscribe("Out").unwrap();
    app.start().unwrap();
    let rows: Vec<(String, i64, i64)> = within_deadline("the app", move || {
        // What the API might send would keep the app alive.
        app.finish().unwrap();
        let rows = out.flat_map(|batch| batch.rows().unwrap()).collect();
        app.wait().unwrap();
        rows
    });
    assert_eq!(rows.len(), 200_000);
    let (mut a, mut b, mut furthest) = (0, 0, 0);
    for (source, i, _) in &rows {
        *(if source == "a" { &mut a } else { &mut b }) = *i;
        furthest = furthest.max((a - b).abs());
    }
    // As many as are joined to one batch, and a block.
    assert!(furthest < 20_000, "one was {furthest} lines ahead of the other");
}

/// Two sources merged by time, each idle after ten seconds. The API stands for both.
const TWO: &str = "\
CREATE STREAM A (x LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (type = 'source', extension = 'datagen', 'idle.timeout' = '10 s');
CREATE STREAM B (x LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (type = 'source', extension = 'datagen', 'idle.timeout' = '10 s');
CREATE STREAM Merged (x LONG, ts TIMESTAMP) WITH ('order' = 'event-time');
INSERT INTO Merged SELECT * FROM A UNION ALL SELECT * FROM B;
INSERT INTO Out SELECT x FROM Merged;
";

fn two(clock: &Arc<VirtualClock>) -> App {
    let builder = EventFlux::builder().sql(TWO).disconnected();
    builder.virtual_clock(clock.clone()).build().unwrap()
}

#[test]
fn an_idle_source_stops_holding_others_back() {
    const SECOND: i64 = 1_000_000;
    let clock = Arc::new(VirtualClock::new(0));
    let app = two(&clock);
    let out = app.subscribe("Out").unwrap();
    app.start().unwrap();
    let seen = || -> Vec<i64> {
        let mut rows = Vec::new();
        while let Some(batch) = out.try_next() {
            rows.extend(batch.rows::<(i64,)>().unwrap().into_iter().map(|(x,)| x));
        }
        rows
    };
    let (a, b) = (app.input("A").unwrap(), app.input("B").unwrap());
    a.send_rows([(1, 1_000), (2, 2_000), (3, 3_000)]).unwrap();
    assert!(seen().is_empty(), "B may still bring something earlier");
    app.advance_to(9 * SECOND).unwrap();
    a.send((4, 4_000)).unwrap();
    assert!(seen().is_empty());
    // B has been silent for the time-out; what A's watermark has reached goes.
    app.advance_to(10 * SECOND).unwrap();
    assert_eq!(seen(), [1, 2, 3, 4]);
    a.send((5, 5_000)).unwrap();
    assert_eq!(seen(), [5]);
    // B is back and counts again.
    b.send((50, 6_000)).unwrap();
    assert_eq!(seen(), [] as [i64; 0]);
    a.send((6, 8_000)).unwrap();
    assert_eq!(seen(), [50]);
    b.send((70, 9_000)).unwrap();
    assert_eq!(seen(), [6]);
    app.wait().unwrap();
    assert_eq!(seen(), [70]);
}

#[test]
fn sources_that_become_idle_together_hold_nothing_back() {
    const SECOND: i64 = 1_000_000;
    for last in ["A", "B"] {
        let clock = Arc::new(VirtualClock::new(0));
        let app = two(&clock);
        let rows = rows_of(&app, "Out");
        app.start().unwrap();
        app.input(last)
            .unwrap()
            .send_rows([(1, 1_000), (2, 2_000), (3, 3_000)])
            .unwrap();
        app.advance_to(10 * SECOND).unwrap();
        assert_eq!(rows(), [1, 2, 3].map(|x| json!({ "x": x })));
        app.wait().unwrap();
        assert_eq!(rows(), [] as [serde_json::Value; 0]);
    }
}

#[test]
fn idle_sources_come_up_to_the_furthest_of_them() {
    const SECOND: i64 = 1_000_000;
    let clock = Arc::new(VirtualClock::new(0));
    let app = two(&clock);
    let rows = rows_of(&app, "Out");
    app.start().unwrap();
    app.input("B").unwrap().send((1, 1_000)).unwrap();
    app.input("A").unwrap().send_rows([(2, 2_000), (3, 3_000)]).unwrap();
    assert_eq!(rows(), [json!({ "x": 1 })]);
    app.advance_to(20 * SECOND).unwrap();
    assert_eq!(rows(), [2, 3].map(|x| json!({ "x": x })));
    app.wait().unwrap();
    assert_eq!(rows(), [] as [serde_json::Value; 0]);
}

#[test]
fn an_idle_source_stops_holding_others_back_on_threads() {
    let scratch = Scratch::with(&[("a.ndjson", &lines("a", 1_000, 10)), ("b.ndjson", "")]);
    let follow = ", follow = 'true', poll = '5 ms', 'idle.timeout' = '20 ms'";
    let streams: String = ["a", "b"]
        .map(|name| file_stream(&name.to_uppercase(), &scratch.path(&format!("{name}.ndjson")), follow))
        .concat();
    let app = EventFlux::builder()
        .sql(format!(
            "{streams}CREATE STREAM Merged (source STRING, i LONG, ts LONG) WITH ('order' = 'event-time');
             INSERT INTO Merged SELECT * FROM A UNION ALL SELECT * FROM B;
             INSERT INTO Out SELECT i FROM Merged;"
        ))
        .build()
        .unwrap();
    app.start().unwrap();
    // All but those within the delay of the watermark.
    wait_until("the rows of A", || app.stats().unwrap().queries[1].rows_out >= 9);
    app.shutdown().unwrap();
}

#[test]
fn late_events_are_counted_and_go_where_the_stream_says() {
    // What `late` says, and what comes out.
    let table = [
        ("drop", vec![1, 3], vec![]),
        ("accept", vec![1, 2, 3], vec![]),
        ("Late", vec![1, 3], vec![2]),
    ];
    for (policy, on_time, late) in table {
        for inline in [false, true] {
            let builder = EventFlux::builder().sql(format!(
                "CREATE STREAM Late (x LONG, ts TIMESTAMP);
                 CREATE STREAM S (x LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts - 1 SECOND) WITH (late = '{policy}');
                 INSERT INTO Out SELECT x FROM S;"
            ));
            let app = if inline { builder.inline() } else { builder }.build().unwrap();
            let (out, lates) = (rows_of(&app, "Out"), rows_of(&app, "Late"));
            app.start().unwrap();
            app.input("S")
                .unwrap()
                .send_rows([(1, 10_000), (2, 8_999), (3, 9_000)])
                .unwrap();
            app.wait().unwrap();
            let counted: Vec<u64> = app.stats().unwrap().streams.iter().map(|stream| stream.late).collect();
            assert_eq!(counted.iter().sum::<u64>(), 1, "{policy}");
            let xs =
                |rows: Vec<serde_json::Value>| rows.iter().map(|row| row["x"].as_i64().unwrap()).collect::<Vec<_>>();
            assert_eq!((xs(out()), xs(lates())), (on_time.clone(), late.clone()), "{policy}");
        }
    }
}

#[test]
fn the_virtual_clock_is_the_only_clock() {
    let clock = Arc::new(VirtualClock::new(1_000_000));
    let app = EventFlux::builder()
        .sql("CREATE STREAM S (x LONG); INSERT INTO T SELECT x, currentTimeMillis() AS now, eventTimestamp() AS t FROM S;")
        .virtual_clock(clock.clone())
        .build()
        .unwrap();
    let rows = rows_of(&app, "T");
    app.start().unwrap();
    let input = app.input("S").unwrap();
    input.send((1,)).unwrap();
    app.advance_to(5_000_000).unwrap();
    input.send((2,)).unwrap();
    // It never goes back.
    app.advance_to(2_000_000).unwrap();
    input.send((3,)).unwrap();
    app.wait().unwrap();
    assert_eq!(
        rows(),
        [
            json!({ "x": 1, "now": 1_000, "t": "1970-01-01T00:00:01Z" }),
            json!({ "x": 2, "now": 5_000, "t": "1970-01-01T00:00:05Z" }),
            json!({ "x": 3, "now": 5_000, "t": "1970-01-01T00:00:05Z" }),
        ]
    );
    let app = EventFlux::builder().sql("CREATE STREAM S (x LONG);").build().unwrap();
    app.start().unwrap();
    assert!(matches!(app.advance_to(1), Err(Error::Usage(_))));
    app.shutdown().unwrap();
}
