//! Snapshots of large states are copied while events go on changing them: they are still of one moment.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use eventflux::{App, EventFlux, Snapshot};

use super::*;

/// Some pages and more than one piece of state.
const KEYS: i64 = 300_000;

const ROWS: i64 = 5_000;

/// An app with its output, as number of rows by key.
fn start(sql: &str, from: Option<Snapshot>) -> (App, Receiver<RecordBatch>) {
    let mut builder = EventFlux::builder().sql(sql);
    if let Some(snapshot) = from {
        builder = builder.restore(snapshot);
    }
    let app = builder.build().unwrap();
    let (rows, output) = channel();
    app.on("Out", move |batch| {
        let _ = rows.send(batch.columns().clone());
    })
    .unwrap();
    app.start().unwrap();
    (app, output)
}

/// Events of keys in turn: after n events a key's count tells what n was.
fn batch(number: i64, text: bool) -> RecordBatch {
    let keys = (number * ROWS..(number + 1) * ROWS).map(|event| event * 7_919 % KEYS);
    let keys: ArrayRef = match text {
        true => Arc::new(
            keys.map(|key| Some(format!("key {key} of some length")))
                .collect::<StringViewArray>(),
        ),
        false => Arc::new(Int64Array::from_iter_values(keys)),
    };
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|_| 1_000 + number)));
    RecordBatch::try_from_iter([("k", keys), ("ts", times)]).unwrap()
}

/// Takes snapshots while events come in, and gives one with what the app restored from it says.
fn a_snapshot_under_load(sql: &str, text: bool) -> Vec<RecordBatch> {
    let (app, _output) = start(sql, None);
    let input = app.input("E").unwrap();
    let filled = KEYS / ROWS + 7;
    (0..filled).for_each(|number| input.send_batch(batch(number, text)).unwrap());
    let app = Arc::new(app);
    let taking = {
        let app = app.clone();
        std::thread::spawn(move || {
            app.snapshot().unwrap();
            app.snapshot().unwrap()
        })
    };
    let mut number = filled;
    while !taking.is_finished() {
        input.send_batch(batch(number, text)).unwrap();
        number += 1;
    }
    let snapshot = taking.join().unwrap();
    app.shutdown().unwrap();
    let (again, output) = start(sql, Some(snapshot));
    let input = again.input("E").unwrap();
    // One more of each key: 7,919 and the number of keys have no common divisor.
    (0..KEYS / ROWS).for_each(|number| input.send_batch(batch(number, text)).unwrap());
    again.wait().unwrap();
    drop(again);
    output.iter().collect()
}

/// The counts are those after some number of events, the same for all keys.
fn assert_of_one_moment(rows: &[RecordBatch], added: i64) {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for batch in rows {
        let keys = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        let keys = arrow::array::AsArray::as_string::<i32>(&keys).clone();
        let batch_counts: &Int64Array = arrow::array::AsArray::as_primitive(batch.column(1));
        for (key, count) in keys.iter().zip(batch_counts.values()) {
            counts.insert(key.unwrap().to_string(), count - added);
        }
    }
    assert_eq!(counts.len() as i64, KEYS);
    let events: i64 = counts.values().sum();
    assert!(events > KEYS, "{events}");
    assert_eq!(events % ROWS, 0);
    for event in 0..KEYS {
        let key = event * 7_919 % KEYS;
        let expected = events / KEYS + i64::from(event < events % KEYS);
        let count = counts
            .get(&key.to_string())
            .or_else(|| counts.get(&format!("key {key} of some length")));
        assert_eq!(count, Some(&expected), "key {key} after {events} events");
    }
}

#[test]
fn of_running_aggregates() {
    let sql =
        "CREATE STREAM E (k LONG, ts LONG); INSERT INTO Out SELECT k, count(*) AS n, sum(ts) AS s FROM E GROUP BY k;";
    assert_of_one_moment(&a_snapshot_under_load(sql, false), 1);
}

#[test]
fn of_windows_with_keys_of_text() {
    let sql = "CREATE STREAM E (k STRING, ts LONG, WATERMARK FOR ts AS ts); \
               INSERT INTO Out SELECT k, count(*) AS n, max(ts) AS m FROM E WINDOW TUMBLING(1 HOUR) GROUP BY k;";
    assert_of_one_moment(&a_snapshot_under_load(sql, true), 1);
}

#[test]
fn of_windows_with_keys_of_several_columns() {
    let sql = "CREATE STREAM E (k LONG, ts LONG, WATERMARK FOR ts AS ts); \
               INSERT INTO Out SELECT k, count(*) AS n, k % 3 AS third FROM E WINDOW HOP(1 HOUR, 30 MINUTES) GROUP BY k, k % 3;";
    assert_of_one_moment(&a_snapshot_under_load(sql, false), 1);
}
