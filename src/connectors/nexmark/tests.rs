use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};

use super::Nexmark;
use crate::catalog::types::TIMESTAMP;
use crate::connectors::testing::*;
use crate::formats::DecodeSchema;

fn bids() -> SchemaRef {
    schema(&[
        ("auction", DataType::Int64),
        ("BIDDER", DataType::Int64),
        ("price", DataType::Int64),
        ("channel", DataType::Utf8View),
        ("date_time", TIMESTAMP),
    ])
}

fn rows(schema: SchemaRef, given: &[(&str, &str)]) -> RecordBatch {
    let emitted = run(source(&Nexmark, schema.clone(), given).unwrap()).unwrap();
    concat_batches(&schema, emitted.iter().map(|one| one.batch.columns())).unwrap()
}

#[test]
fn equal_whatever_the_batch_size() {
    let one = rows(bids(), &[("table", "bid"), ("events", "5000")]);
    assert_eq!(one.num_rows(), 4600);
    assert_eq!(
        one,
        rows(bids(), &[("table", "bid"), ("events", "5000"), ("batch-rows", "7")])
    );
}

#[test]
fn events_count_all_kinds() {
    let id = || schema(&[("id", DataType::Int64)]);
    for (events, persons, auctions, bids_) in [("0", 0, 0, 0), ("3", 1, 2, 0), ("50", 1, 3, 46), ("105", 3, 9, 93)] {
        let count = |schema, table| rows(schema, &[("table", table), ("events", events)]).num_rows();
        assert_eq!(count(id(), "person"), persons, "{events}");
        assert_eq!(count(id(), "auction"), auctions, "{events}");
        assert_eq!(count(bids(), "bid"), bids_, "{events}");
    }
}

#[test]
fn times_follow_the_rate_in_event_time() {
    let rows = rows(bids(), &[("table", "bid"), ("events", "20000")]);
    let times = rows.column(4).as_primitive::<TimestampMicrosecondType>();
    let start = 1_767_225_600_000_000;
    assert!(times.values().is_sorted());
    assert_eq!(times.value(0), start);
    assert_eq!(times.value(times.len() - 1), start + 2_000_000);
    assert!(
        rows.column(0)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .all(|id| *id >= 1000)
    );
}

#[test]
fn times_may_be_milliseconds_and_columns_unread() {
    let columns = schema(&[("name", DataType::Utf8View), ("dateTime", DataType::Int64)]);
    let wanted = DecodeSchema {
        declared: columns,
        wanted: [1].into(),
    };
    let given = [("table", "person"), ("events", "50")];
    let emitted = run(source_of(&Nexmark, wanted, &given).unwrap()).unwrap();
    let row = emitted[0].batch.columns();
    assert_eq!(row.num_columns(), 1);
    assert_eq!(row.column(0).as_primitive::<Int64Type>().value(0), 1_767_225_600_000);
}

#[test]
fn a_restart_continues_with_the_next_row() {
    let given = [("table", "auction"), ("events", "1000"), ("batch-rows", "16")];
    let build = || source(&Nexmark, schema(&[("id", DataType::Int64)]), &given).unwrap();
    let emitted = run(build()).unwrap();
    let mut again = build();
    again.seek(emitted[1].position.as_ref().unwrap()).unwrap();
    let rest = run(again).unwrap();
    assert_eq!(rest[0].batch.columns(), emitted[2].batch.columns());
    assert_eq!(rest.len(), emitted.len() - 2);
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let cases = [
        (("itemNam", DataType::Utf8View), "auction", "no column 'itemNam'"),
        (("price", DataType::Utf8View), "bid", "is LONG, not STRING"),
        (("date_time", DataType::Utf8View), "bid", "TIMESTAMP"),
    ];
    for (column, table, message) in cases {
        let error = source(&Nexmark, schema(&[column]), &[("table", table)]).err().unwrap();
        assert!(error.message.contains(message), "{}", error.message);
    }
    for (key, value) in [("start", "soon"), ("events-per-second", "-1"), ("table", "bids")] {
        let given = [("table", "bid"), (key, value)];
        let given = if key == "table" { &given[1..] } else { &given[..] };
        assert!(source(&Nexmark, bids(), given).is_err(), "{key}");
    }
}

#[test]
fn a_rate_is_kept_and_stops() {
    let given = [("table", "bid"), ("events-per-second", "100"), ("events", "1000")];
    let running = Running::start(source(&Nexmark, bids(), &given).unwrap(), 4);
    assert_eq!(running.next().unwrap().batch.num_rows(), 1);
    running.stop().unwrap();
}
