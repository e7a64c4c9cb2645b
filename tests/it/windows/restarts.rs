//! Snapshot at any point, restart, go on: every kind of window, with and without aggregates, gives the same rows.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use eventflux::{App, EventBatch, EventFlux, Snapshot, VirtualClock};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::data::{COLUMNS, DELAY, Event, batches, columns, events, sizes};
use super::oracle::{Order, Row, difference, rows};

/// Windows over a stream `{S}`.
const WINDOWS: [&str; 30] = [
    "WINDOW('length', 4)",
    "WINDOW('length', 0)",
    "WINDOW('time', 2 SECONDS)",
    "WINDOW('timeLength', 2 SECONDS, 3)",
    "WINDOW('externalTime', t, 1500 ms)",
    "WINDOW('delay', 2 SECONDS)",
    "WINDOW('unique', k)",
    "WINDOW('firstUnique', k, g)",
    "WINDOW('uniqueLength', k, g, 4)",
    "WINDOW('sort', 4, v DESC, s)",
    "WINDOW('frequent', 2, k)",
    "WINDOW('lossyFrequent', 0.3, 0.1, k)",
    "WINDOW('expression', 'count(*) <= 5 AND last.t - first.t < 3000')",
    "WINDOW('expression', 'sum(v) < 30')",
    "WINDOW('tumbling', 3 SECONDS)",
    "WINDOW('tumbling', 3 SECONDS, offset = 700 ms)",
    "WINDOW('hop', 5 SECONDS, 2 SECONDS)",
    "WINDOW('cumulate', 1 SECOND, 3 SECONDS)",
    "WINDOW('session', 700 ms)",
    "WINDOW('session', 700 ms, k, allowed_lateness = 1 SECOND)",
    "WINDOW('lengthBatch', 5)",
    "WINDOW('lengthBatch', 5, true)",
    "WINDOW('timeBatch', 2 SECONDS)",
    "WINDOW('timeBatch', 2 SECONDS, 500, true)",
    "WINDOW('externalTimeBatch', t, 2 SECONDS)",
    "WINDOW('externalTimeBatch', t, 2 SECONDS, 0, 1 SECOND)",
    "WINDOW('batch')",
    "WINDOW('cron', '*/5 * * * * ?')",
    "WINDOW('expressionBatch', 'count(*) < 4')",
    "",
];

/// What is computed: of every way of keeping state one.
const CALLS: &str = "count(*) AS c, sum(v) AS s, sum(d) AS sd, avg(m) AS am, min(v) AS lo, max(s) AS hi, stddev(d) AS dev, corr(d, e) AS r, \
     first(v) AS f, last(s) AS z, median(d) AS med, count(DISTINCT s) AS cd, sum(DISTINCT v) FILTER (WHERE b) AS sf, bool_and(b) AS ba, \
     bit_xor(v) AS bx, array_agg(v) AS l, string_agg(s, ',' ORDER BY i DESC) AS t2, unionSet(g) AS u, minForever(v) AS mf, nth_value(v, 2) AS nv, \
     approx_percentile_cont_with_weight(d, 1, 0.5) AS aw, v AS current";

/// Queries without a window, or with more than one.
const OTHERS: [&str; 14] = [
    "INSERT INTO {Out} SELECT DISTINCT k, g FROM {S};",
    "INSERT ALL EVENTS INTO {Out} SELECT DISTINCT k FROM {S} WINDOW('length', 5);",
    "INSERT INTO {Out} SELECT k, s FROM {S} UNION SELECT s, k FROM {S} WHERE v > 0;",
    "INSERT INTO {Out} SELECT i, sum(v) OVER (PARTITION BY k ROWS 3 PRECEDING) AS a, row_number() OVER (PARTITION BY k) AS n, lag(s, 2) OVER (PARTITION BY k) AS g, lead(d) OVER (PARTITION BY k) AS h FROM {S};",
    "INSERT INTO {Out} SELECT i, max(d) OVER (PARTITION BY k RANGE 1500 ms PRECEDING) AS a, rank() OVER (PARTITION BY k) AS n, array_agg(v) OVER (PARTITION BY k RANGE 500 ms PRECEDING) AS l FROM {S};",
    "INSERT INTO {Out} SELECT i, k FROM {S} OUTPUT EVERY 4 EVENTS;",
    "INSERT INTO {Out} SELECT k, sum(v) AS s FROM {S} GROUP BY k OUTPUT LAST EVERY 5 EVENTS;",
    "INSERT INTO {Out} SELECT k, i FROM {S} GROUP BY k OUTPUT FIRST EVERY 5 EVENTS;",
    "INSERT INTO {Out} SELECT i, v FROM {S} WINDOW('length', 3) OUTPUT SNAPSHOT EVERY 4 EVENTS;",
    "INSERT INTO {Out} SELECT k, v, sum(v) AS s FROM {S} GROUP BY k OUTPUT SNAPSHOT EVERY 3 EVENTS;",
    "INSERT INTO {Out} SELECT k, sum(v) AS s FROM {S} WINDOW('lengthBatch', 7) GROUP BY k ORDER BY s DESC NULLS LAST, k LIMIT 2;",
    "INSERT INTO {Out}X SELECT k, sum(v) AS s FROM {S} WINDOW('tumbling', 1 SECOND) GROUP BY k; INSERT INTO {Out} SELECT k, s, avg(s) AS a FROM {Out}X WINDOW('length', 3) GROUP BY k;",
    "CREATE WINDOW {Out}W WINDOW('time', 2 SECONDS); INSERT INTO {Out}W SELECT * FROM {S}; INSERT ALL EVENTS INTO {Out} SELECT k, sum(v) AS s FROM {Out}W GROUP BY k;",
    "INSERT INTO {Out} SELECT i FROM {S} LIMIT 20 OFFSET 3;",
];

/// What goes by the clock.
const BY_CLOCK: [&str; 6] = [
    "INSERT INTO {Out} SELECT i, k FROM {S} OUTPUT ALL EVERY 3 SECONDS;",
    "INSERT INTO {Out} SELECT k, sum(v) AS s FROM {S} GROUP BY k OUTPUT LAST EVERY 3 SECONDS;",
    "INSERT INTO {Out} SELECT k, i FROM {S} GROUP BY k OUTPUT FIRST EVERY 3 SECONDS;",
    "INSERT INTO {Out} SELECT i, sum(v) AS s FROM {S} WINDOW('length', 3) OUTPUT SNAPSHOT EVERY 3 SECONDS;",
    "CREATE TRIGGER {Out}T AT EVERY 7 SECONDS; INSERT INTO {Out} SELECT triggered_time, count(*) AS n FROM {Out}T WINDOW('lengthBatch', 2);",
    "CREATE TRIGGER {Out}C AT CRON '*/10 * * * * ?'; CREATE TRIGGER {Out}S AT START; INSERT INTO {Out} SELECT triggered_time FROM {Out}C; INSERT INTO {Out} SELECT triggered_time FROM {Out}S;",
];

/// Statements over stream S, each into an `Out` of its own: of each window's one by turns, and all others.
fn statements(turn: usize, clock: bool) -> Vec<String> {
    let mut all: Vec<String> = WINDOWS
        .iter()
        .enumerate()
        .map(|(number, window)| over(window, turn + number))
        .collect();
    all.extend(OTHERS.map(str::to_string));
    if clock {
        all.extend(BY_CLOCK.map(str::to_string));
    }
    let numbered = all.iter().enumerate();
    let named = numbered.map(|(number, text)| text.replace("{Out}", &format!("Out{number}")).replace("{S}", "S"));
    named.collect()
}

fn over(window: &str, turn: usize) -> String {
    // Without a window nothing leaves.
    let events = if window.is_empty() { "" } else { "ALL EVENTS" };
    match turn % 4 {
        0 => format!("INSERT {events} INTO {{Out}} SELECT i, k, v, s FROM {{S}} {window};"),
        1 => format!("INSERT {events} INTO {{Out}} SELECT k, {CALLS} FROM {{S}} {window} GROUP BY k;"),
        2 => format!("INSERT INTO {{Out}} SELECT {CALLS} FROM {{S}} {window} HAVING count(*) > 1;"),
        _ => format!(
            "PARTITION WITH (k OF {{S}}) BEGIN INSERT INTO {{Out}} SELECT k, g, count(*) AS n, sum(v) AS s, max(d) AS m, last(s) AS z FROM {{S}} {window} GROUP BY g; END;"
        ),
    }
}

/// How the events go in, and by what time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Event,
    Clock,
}

fn app(statements: &[String], time: Time, now: i64, snapshot: Option<&Snapshot>) -> App {
    let watermark = match time {
        Time::Event => format!(", WATERMARK FOR t AS t - {DELAY} MILLISECONDS"),
        Time::Clock => String::new(),
    };
    let sql = format!("CREATE STREAM S ({COLUMNS}{watermark});\n{}", statements.join("\n"));
    let clock = Arc::new(VirtualClock::new(now));
    let builder = EventFlux::builder().sql(sql).virtual_clock(clock);
    let builder = match snapshot {
        // Through bytes, as it is kept.
        Some(snapshot) => builder.restore(Snapshot::from_bytes(&snapshot.to_bytes().unwrap()).unwrap()),
        None => builder,
    };
    builder.build().unwrap()
}

type Results = Vec<Vec<Row>>;

/// Sends batches; at the end of each but the last part the app is put away and another goes on.
fn run(statements: &[String], time: Time, parts: &[&[RecordBatch]]) -> Results {
    let results: Vec<Arc<Mutex<Vec<Row>>>> = statements.iter().map(|_| Arc::default()).collect();
    let mut snapshot: Option<Snapshot> = None;
    let mut now = 0;
    for (number, part) in parts.iter().enumerate() {
        let app = app(statements, time, now, snapshot.as_ref());
        // What the end of a part gives is no result: the app was put away before.
        let open = Arc::new(Mutex::new(true));
        for (number, results) in results.iter().enumerate() {
            let (results, open) = (results.clone(), open.clone());
            let listener = move |batch: &EventBatch| {
                if *open.lock() {
                    results.lock().extend(rows(batch.columns()));
                }
            };
            app.on(&format!("Out{number}"), listener).unwrap();
        }
        app.start().unwrap();
        let input = app.input("S").unwrap();
        for batch in *part {
            if time == Time::Clock {
                now = last_time(batch);
                app.advance_to(now).unwrap();
            }
            input.send_batch(batch.clone()).unwrap();
        }
        if number + 1 == parts.len() {
            app.wait().unwrap();
        } else {
            snapshot = Some(app.snapshot().unwrap());
            *open.lock() = false;
            app.shutdown().unwrap();
        }
    }
    results.iter().map(|rows| std::mem::take(&mut *rows.lock())).collect()
}

/// The time of a batch's last event, in microseconds.
fn last_time(batch: &RecordBatch) -> i64 {
    use arrow::array::AsArray;
    let times = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
    times.value(times.len() - 1) * 1_000
}

fn check(events: &[Event], sizes: &[usize], cuts: &[usize], turn: usize, time: Time) -> Result<(), TestCaseError> {
    let statements = statements(turn, time == Time::Clock);
    let schema = app(&statements, time, 0, None).stream("S").unwrap().schema.clone();
    let batches = batches(&columns(events, &schema), sizes);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (batches.len() + 1)).collect();
    cuts.sort_unstable();
    let mut parts = Vec::new();
    let mut begin = 0;
    for cut in cuts.into_iter().chain([batches.len()]) {
        parts.push(&batches[begin..cut]);
        begin = cut;
    }
    let once = run(&statements, time, &[&batches]);
    let restarted = run(&statements, time, &parts);
    let wrong: Vec<String> = statements
        .iter()
        .zip(once.into_iter().zip(restarted))
        .filter_map(|(statement, (once, restarted))| {
            // Values that are summed otherwise after a restart may differ in their last digit.
            let difference = difference(Order::Exact, restarted, once)?;
            Some(format!("{difference}\n{statement}\n"))
        })
        .collect();
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(TestCaseError::fail(wrong.join("\n"))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn by_the_events_times(events in events(true), sizes in sizes(), cuts in prop::collection::vec(0_usize..100, 1..4), turn in 0_usize..4) {
        check(&events, &sizes, &cuts, turn, Time::Event)?;
    }

    #[test]
    fn by_the_clock(events in events(false), sizes in sizes(), cuts in prop::collection::vec(0_usize..100, 1..4), turn in 0_usize..4) {
        check(&events, &sizes, &cuts, turn, Time::Clock)?;
    }
}
