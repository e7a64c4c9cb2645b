//! Snapshot, restart, go on: as if nothing had happened.

use std::sync::Arc;

use eventflux::{App, Builder, EventFlux, Rows, Snapshot};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::Value;

use super::modes::{QUERIES, Row, TIMES, app_text, in_order, rows};
use crate::support::{Scratch, collect, wait_until, within_deadline};

/// Through bytes, as it is kept.
fn kept(snapshot: &Snapshot) -> Snapshot {
    Snapshot::from_bytes(&snapshot.to_bytes().unwrap()).unwrap()
}

fn send(app: &App, rows: &[Row]) {
    for (first, row) in rows {
        app.input(if *first { "A" } else { "B" }).unwrap().send(row).unwrap();
    }
}

/// What Out gets of the rows, with a restart from a snapshot after each of `cuts`.
fn run(builder: impl Fn() -> Builder, rows: &[Row], cuts: &[usize]) -> Vec<Value> {
    let mut out = Vec::new();
    let mut snapshot: Option<Snapshot> = None;
    let mut begin = 0;
    for &end in cuts {
        let app = restored(builder(), snapshot.as_ref());
        let part = collect(&app);
        app.start().unwrap();
        send(&app, &rows[begin..end]);
        snapshot = Some(kept(&app.snapshot().unwrap()));
        app.shutdown().unwrap();
        out.append(&mut part.lock());
        begin = end;
    }
    let app = restored(builder(), snapshot.as_ref());
    let part = collect(&app);
    app.start().unwrap();
    send(&app, &rows[begin..]);
    app.wait().unwrap();
    out.append(&mut part.lock());
    out
}

fn restored(builder: Builder, snapshot: Option<&Snapshot>) -> App {
    match snapshot {
        Some(snapshot) => builder.restore(snapshot.clone()).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_between_any_two_events_makes_no_difference(
        rows in rows(),
        query in proptest::sample::select(QUERIES),
        time in proptest::sample::select(TIMES),
        number in 1u8..12,
        cuts in proptest::collection::vec(0usize..60, 1..3),
        inline in any::<bool>(),
    ) {
        let text = app_text(time, query, number);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.sort_unstable();
        let (once, restarted) = within_deadline("the apps", move || {
            let builder = || {
                let builder = EventFlux::builder().sql(&text);
                if inline { builder.inline() } else { builder }
            };
            (run(builder, &rows, &[]), run(builder, &rows, &cuts))
        });
        prop_assert_eq!(in_order(query, once), in_order(query, restarted));
    }
}

#[test]
fn a_followed_file_goes_on_where_it_was() {
    let line = |x: usize| format!("{{\"x\":{x},\"ts\":{}}}\n", 1_000 * x + (x * 7919) % 3_000);
    let scratch = Scratch::new();
    let sql = format!(
        "CREATE STREAM S (x LONG, ts LONG, WATERMARK FOR ts AS ts - 5 SECONDS)
         WITH (type = 'source', extension = 'file', format = 'json', path = '{}', follow = 'true', poll = '5 ms', 'order' = 'event-time');
         INSERT INTO Seen SELECT x FROM S;
         INSERT INTO Out SELECT x FROM S LIMIT 90;",
        scratch.path("in.ndjson").display()
    );
    let once: Vec<usize> = {
        let mut rows: Vec<usize> = (0..100).collect();
        rows.sort_by_key(|x| 1_000 * x + (x * 7919) % 3_000);
        rows.truncate(90);
        rows
    };
    let mut snapshot: Option<Snapshot> = None;
    let mut out: Vec<Value> = Vec::new();
    for part in 0..4 {
        // Half a line is waiting at each restart but the last.
        let lines: String = (25 * part..25 * part + 25).map(line).collect();
        let (whole, torn) = lines.split_at(lines.len() - 5);
        scratch.append("in.ndjson", whole);
        let app = restored(EventFlux::builder().sql(&sql), snapshot.as_ref());
        let rows = collect(&app);
        app.start().unwrap();
        let times = (0..25 * part + 24).map(|x| 1_000 * x + (x * 7919) % 3_000);
        let watermark = 1_000 * (times.max().unwrap() as i64 - 5_000);
        wait_until("the lines to be read", || {
            app.stats().unwrap().streams[0].watermark >= Some(watermark)
        });
        if part == 3 {
            scratch.append("in.ndjson", torn);
            // Far ahead, so that the watermark passes all the others.
            scratch.append(
                "in.ndjson",
                "{\"x\":-1,\"ts\":1000000000}\n{\"x\":-2,\"ts\":1000000000}\n",
            );
            wait_until("the last rows", || out.len() + rows.lock().len() >= 90);
        }
        snapshot = Some(kept(&app.snapshot().unwrap()));
        app.shutdown().unwrap();
        out.append(&mut rows.lock());
        if part < 3 {
            scratch.append("in.ndjson", torn);
        }
    }
    let out: Vec<usize> = out
        .iter()
        .map(|row| usize::try_from(row["x"].as_i64().unwrap()).unwrap())
        .collect();
    assert_eq!(out, once);
}

#[test]
fn a_snapshot_amid_the_work_is_a_consistent_cut() {
    const ROWS: usize = 200_000;
    let lines: String = (0..ROWS).map(|x| format!("{{\"x\":{x}}}\n")).collect();
    let scratch = Scratch::with(&[("in.ndjson", &lines)]);
    let sql = format!(
        "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = '{}', \"block-bytes\" = 65536);
         INSERT INTO Out SELECT x FROM S LIMIT {};",
        scratch.path("in.ndjson").display(),
        ROWS - 10
    );
    let numbers = |app: &App| {
        let rows = Arc::new(Mutex::new(Vec::<i64>::new()));
        let collected = rows.clone();
        app.on("Out", move |batch| {
            collected
                .lock()
                .extend(batch.rows::<(i64,)>().unwrap().into_iter().map(|(x,)| x))
        })
        .unwrap();
        rows
    };
    let app = EventFlux::builder().sql(&sql).build().unwrap();
    let before = numbers(&app);
    app.start().unwrap();
    wait_until("the first rows", || !before.lock().is_empty());
    let snapshot = kept(&app.snapshot().unwrap());
    app.shutdown().unwrap();

    let app = EventFlux::builder().sql(&sql).restore(snapshot).build().unwrap();
    let after = numbers(&app);
    app.start().unwrap();
    within_deadline("the app", move || app.wait()).unwrap();
    let (before, after) = (before.lock(), after.lock());
    let cut = after
        .first()
        .map_or(ROWS - 10, |first| usize::try_from(*first).unwrap());
    assert!(0 < cut && cut <= before.len(), "{cut}");
    assert!(before.iter().copied().eq(0..before.len() as i64));
    assert!(
        after.iter().copied().eq(cut as i64..(ROWS - 10) as i64),
        "{} from {cut}",
        after.len()
    );
}

#[test]
fn a_damaged_snapshot_is_an_error() {
    let error = Snapshot::from_bytes(b"{\"operators\":").unwrap_err();
    assert!(error.to_string().contains("the snapshot is damaged"), "{error}");
}

#[test]
fn a_file_that_is_gone_or_shorter_is_an_error_of_the_restart() {
    let scratch = Scratch::with(&[("in.ndjson", "{\"x\":1}\n{\"x\":2}\n")]);
    let path = scratch.path("in.ndjson");
    let sql = format!(
        "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = '{}');
         CREATE STREAM Api (x LONG);
         INSERT INTO Out SELECT x FROM S UNION ALL SELECT x FROM Api;",
        path.display()
    );
    let app = EventFlux::builder().sql(&sql).build().unwrap();
    let rows = collect(&app);
    app.start().unwrap();
    wait_until("the rows", || rows.lock().len() == 2);
    let snapshot = app.snapshot().unwrap();
    app.shutdown().unwrap();
    scratch.write("in.ndjson", "{}\n");
    let app = EventFlux::builder().sql(&sql).restore(snapshot).build().unwrap();
    let error = app.start().unwrap_err();
    assert!(error.to_string().contains("has only 3 bytes now"), "{error}");
}
