//! Properties of all kinds of windows: a snapshot changes nothing, and sessions are what a look at all events says.

use std::sync::Arc;

use super::changes::Changes;
use super::held::Held;
use super::row_store::RowStore;
use crate::App;
use crate::event::{EventBatch, Micros, Op, Times, pretty};
use crate::watched::{Random, SECOND, Watched, assert_same};

/// Every kind of window. Each is tried with and without aggregates.
const WINDOWS: &[&str] = &[
    "'length', 5",
    "'length', 0",
    "'time', 7 SECONDS",
    "'timeLength', 7 SECONDS, 4",
    "'externalTime', ts, 7 SECONDS",
    "'delay', 3 SECONDS",
    "'unique', k",
    "'firstUnique', k, v",
    "'uniqueLength', k, 2",
    "'sort', 4, v, k DESC",
    "'frequent', 2, k",
    "'lossyFrequent', 0.3, 0.1, k",
    "'expression', 'sum(v) <= 40 AND last.v >= first.v - 9'",
    "'tumbling', 5 SECONDS",
    "'hop', 6 SECONDS, 2 SECONDS",
    "'cumulate', 2 SECONDS, 6 SECONDS",
    "'session', 2 SECONDS, k",
    "'session', 2 SECONDS, allowed_lateness = 3 SECONDS",
    "'lengthBatch', 5",
    "'lengthBatch', 5, true",
    "'timeBatch', 5 SECONDS",
    "'timeBatch', 5 SECONDS, true",
    "'externalTimeBatch', ts, 5 SECONDS",
    "'externalTimeBatch', ts, 5 SECONDS, 0, 3 SECONDS",
    "'batch'",
    "'cron', '*/4 * * * * ?'",
    "'expressionBatch', 'max(v) - min(v) < 12'",
];

const STREAMS: &str = "
    CREATE STREAM P (k STRING, v INT, ts TIMESTAMP);
    CREATE STREAM E (k STRING, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - 3 SECONDS);
";

type Row = (Option<String>, i64, i64);

/// Batches of rows and the times at which they come; a row's own time is up to three seconds before.
fn steps(count: usize, seed: u64) -> Vec<(Micros, Vec<Row>)> {
    let mut random = Random(seed);
    let mut now = 10 * SECOND;
    let mut step = || {
        now += random.below(2_500) as Micros * 1_000;
        let rows = (0..=random.below(5)).map(|_| {
            let key = random.below(5);
            let key = (key > 0).then(|| format!("a key of some length {key}"));
            let time = now - random.below(3_000) as Micros * 1_000;
            (key, random.below(20) as i64, time / 1_000)
        });
        let rows = rows.collect();
        (now, rows)
    };
    (0..count).map(|_| step()).collect()
}

fn app_of_all() -> (String, usize) {
    let mut sql = STREAMS.to_string();
    let mut queries = 0;
    for window in WINDOWS {
        for stream in ["P", "E"] {
            for (events, select) in [
                ("ALL EVENTS", "k, v FROM @"),
                (
                    "CURRENT EVENTS",
                    "k, sum(v) AS s, count(*) AS n, max(v) AS m FROM @ GROUP BY k",
                ),
                ("ALL EVENTS", "min(v) AS m, count(*) AS n, maxForever(v) AS f FROM @"),
                (
                    "ALL EVENTS",
                    "k, sum(v) AS s, count(*) AS n, minForever(v) AS m FROM @ GROUP BY k EMIT CHANGES",
                ),
            ] {
                let select = select.replace('@', &format!("{stream} WINDOW({window})"));
                sql.push_str(&format!("INSERT {events} INTO T{queries} SELECT {select};\n"));
                queries += 1;
            }
        }
    }
    (sql, queries)
}

fn send(app: &App, (at, rows): &(Micros, Vec<Row>)) {
    app.advance_to(*at).expect("time moves");
    for stream in ["P", "E"] {
        let input = app.input(stream).expect("the stream exists");
        input.send_rows(rows).expect("it takes the rows");
    }
}

#[test]
fn a_snapshot_anywhere_changes_nothing() {
    let (sql, queries) = app_of_all();
    let steps = steps(30, 42);
    let watched = Watched::start(&sql, queries);
    steps.iter().for_each(|step| send(&watched.app, step));
    let expected = watched.finish();
    for cut in [1, 11, 24] {
        let watched = Watched::start(&sql, queries);
        steps[..cut].iter().for_each(|step| send(&watched.app, step));
        let watched = watched.restart(steps[cut - 1].0);
        steps[cut..].iter().for_each(|step| send(&watched.app, step));
        assert_same(&sql, &watched.finish(), &expected, &format!("cut at {cut}"));
    }
}

/// The sessions of events by looking at all of them: start, last, sum, count, in the order in which they end.
fn sessions_of(rows: &[Row], gap: i64) -> Vec<(i64, i64, Option<String>, i64, i64)> {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|(key, _, time)| (key.clone(), *time));
    let mut sessions: Vec<(i64, i64, Option<String>, i64, i64)> = Vec::new();
    for (key, value, time) in sorted {
        match sessions.last_mut() {
            Some((_, last, of, sum, count)) if *of == key && time <= *last + gap => {
                *last = time;
                *sum += value;
                *count += 1;
            }
            _ => sessions.push((time, time, key, value, 1)),
        }
    }
    sessions.sort_by_key(|(start, last, key, ..)| (*last, *start, key.clone()));
    sessions
}

#[test]
fn sessions_are_what_a_look_at_all_events_says() {
    let sql = "
        CREATE STREAM E (k STRING, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - 3 SECONDS);
        CREATE STREAM P (k STRING, v INT, ts TIMESTAMP);
        INSERT INTO T0 SELECT window_start, window_end, k, sum(v) AS s, count(*) AS n
            FROM E WINDOW('session', 2 SECONDS) GROUP BY k;
        INSERT INTO T1 SELECT window_start, window_end, k, v FROM E WINDOW('session', 2 SECONDS, k);
    ";
    for seed in 1..20 {
        let steps = steps(60, seed);
        let watched = Watched::start(sql, 2);
        steps.iter().for_each(|step| send(&watched.app, step));
        let got = watched.finish();
        let all: Vec<Row> = steps.iter().flat_map(|(_, rows)| rows.clone()).collect();
        let time = |millis: i64| {
            let time = chrono::DateTime::from_timestamp_millis(millis).expect("a time");
            let text = time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string();
            text.trim_end_matches(".000").to_string()
        };
        let sessions = sessions_of(&all, 2_000);
        let mut expected: Vec<String> = sessions
            .iter()
            .map(|(start, last, key, sum, count)| {
                let key = key.as_deref().unwrap_or("null");
                format!("{} {} {key} {sum} {count}", time(*start), time(*last + 2_000))
            })
            .collect();
        let plain = |line: &String| line.splitn(3, ' ').nth(2).unwrap_or_default().replace('Z', "");
        let mut rows: Vec<String> = got[&0].iter().map(plain).collect();
        // Of sessions that end together the one that began first to be known goes first.
        rows.sort();
        expected.sort();
        assert_eq!(rows, expected, "seed {seed}");
        let counts: i64 = sessions.iter().map(|session| session.4).sum();
        assert_eq!(got[&1].len() as i64, counts, "seed {seed}");
    }
}

fn one(value: i64) -> EventBatch {
    use arrow::array::{Int64Array, RecordBatch};
    let column = Arc::new(Int64Array::from(vec![value])) as arrow::array::ArrayRef;
    let columns = RecordBatch::try_from_iter([("v", column)]).expect("a batch");
    EventBatch::inserts(columns, Times::Same(value))
}

#[test]
fn single_events_are_held_in_few_batches() {
    let mut held = Held::default();
    for value in 0..50_000 {
        held.push(one(value), Times::Same(value)).expect("it fits");
    }
    assert!(held.events().count() < 60, "{}", held.events().count());
    let mut changes = Changes::default();
    (0..50_000).for_each(|time| held.expire(&mut changes, time));
    let all = changes.finish().expect("rows").expect("rows");
    let values: Vec<String> = pretty::lines(&all);
    assert_eq!(values[0], "-D 0 0");
    assert_eq!(values[49_999], "-D 49999 49999");
}

#[test]
fn a_store_finds_its_rows_after_they_moved() {
    let mut store = RowStore::default();
    let mut ids = Vec::new();
    for value in 0..20_000 {
        ids.push(store.push(one(value)).expect("it fits")[0]);
        // Nine in ten leave.
        if value % 10 != 0 {
            store.remove(ids[value as usize]);
        }
        store.settle().expect("it settles");
    }
    assert_eq!(store.len(), 2_000);
    let mut changes = Changes::default();
    for value in (0..20_000).step_by(10) {
        assert_eq!(store.time(ids[value]), Some(value as Micros));
        store.pick(ids[value], &mut changes, Op::Insert, 0);
    }
    let all = changes.finish().expect("rows").expect("rows");
    assert_eq!(all.num_rows(), 2_000);
    assert_eq!(pretty::lines(&all)[1_999], "+I 0 19990");
}
