use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use crossbeam_channel::bounded;

use super::Timer;
use crate::catalog::types::TIMESTAMP;
use crate::connectors::SourceOutput;
use crate::connectors::testing::*;
use crate::event::VirtualClock;

fn columns() -> SchemaRef {
    schema(&[
        ("at", TIMESTAMP),
        ("n", DataType::Int64),
        ("m", DataType::Int32),
        ("s", DataType::Utf8View),
    ])
}

fn time(row: &RecordBatch) -> i64 {
    row.column(0).as_primitive::<TimestampMicrosecondType>().value(0)
}

fn number(row: &RecordBatch) -> i64 {
    row.column(1).as_primitive::<Int64Type>().value(0)
}

#[test]
fn ticks_are_numbered_and_do_not_drift() {
    let source = source(&Timer, columns(), &[("interval", "5 ms"), ("count", "4")]).unwrap();
    let emitted = run(source).unwrap();
    let rows: Vec<_> = emitted.iter().map(|one| one.batch.columns().clone()).collect();
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert_eq!((time(row) - time(&rows[0])) / 5_000, number(row) - number(&rows[0]));
        assert_eq!((time(row) - time(&rows[0])) % 5_000, 0);
        assert_eq!(
            i64::from(row.column(2).as_primitive::<Int32Type>().value(0)),
            number(row)
        );
        assert!(row.column(3).is_null(0));
    }
}

#[test]
fn missed_ticks_are_skipped_and_a_clock_set_back_shifts_the_schedule() {
    let clock = Arc::new(VirtualClock::new(0));
    let (sender, events) = bounded(4);
    let (stop, stopped) = bounded(0);
    let mut out = SourceOutput::new(sender, stopped, clock.clone());
    let mut source = source(&Timer, columns(), &[("interval", "1 s")]).unwrap();
    let thread = std::thread::spawn(move || source.run(&mut out));
    let mut seen = Vec::new();
    // The source reads the clock before it is moved: wait until it has begun to wait.
    std::thread::sleep(std::time::Duration::from_millis(30));
    for now in [1_000_000, 4_500_000] {
        clock.set(now);
        let row = events.recv_timeout(DEADLINE).unwrap().batch.columns().clone();
        seen.push((number(&row), time(&row)));
    }
    assert_eq!(seen, [(0, 1_000_000), (3, 4_000_000)]);
    clock.set(1_500_000);
    std::thread::sleep(std::time::Duration::from_millis(120));
    clock.set(2_000_000);
    let row = events.recv_timeout(DEADLINE).unwrap().batch.columns().clone();
    assert_eq!((number(&row), time(&row)), (4, 2_000_000));
    drop(stop);
    thread.join().unwrap().unwrap();
}

#[test]
fn a_restart_goes_on_counting() {
    let build = || source(&Timer, columns(), &[("interval", "1 ms"), ("count", "3")]).unwrap();
    let emitted = run(build()).unwrap();
    let mut again = build();
    again.seek(emitted[1].position.as_ref().unwrap()).unwrap();
    let rest = run(again).unwrap();
    assert_eq!(rest.len(), 1);
    assert!(number(rest[0].batch.columns()) > number(emitted[1].batch.columns()));
    assert!(build().seek(&serde_json::json!({})).is_err());
}

#[test]
fn stops_while_waiting() {
    let running = Running::start(source(&Timer, columns(), &[("interval", "1 hour")]).unwrap(), 1);
    running.quiet();
    running.stop().unwrap();
}

#[test]
fn columns_without_a_value_must_be_nullable() {
    let strict = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8View, false)]));
    let error = source(&Timer, strict, &[("interval", "1 s")]).err().unwrap();
    assert!(error.message.contains("name STRING NOT NULL"), "{}", error.message);
    assert!(source(&Timer, columns(), &[("interval", "0")]).is_err());
    assert!(source(&Timer, columns(), &[]).is_err());
}
