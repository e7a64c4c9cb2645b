use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};

use super::Datagen;
use crate::catalog::types::TIMESTAMP;
use crate::connectors::testing::*;
use crate::event::pretty;
use crate::formats::DecodeSchema;

fn rows(schema: &SchemaRef, given: &[(&str, &str)]) -> RecordBatch {
    let emitted = run(source(&Datagen, schema.clone(), given).unwrap()).unwrap();
    concat_batches(schema, emitted.iter().map(|one| one.batch.columns())).unwrap()
}

/// One column.
fn made(data_type: DataType, count: &str, given: &[(&str, &str)]) -> ArrayRef {
    let mut all = vec![("rows", count)];
    all.extend_from_slice(given);
    rows(&schema(&[("c", data_type)]), &all).column(0).clone()
}

fn shown(column: &ArrayRef) -> Vec<String> {
    (0..column.len()).map(|row| pretty::cell(column, row)).collect()
}

fn counts(column: &ArrayRef) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in shown(column) {
        *counts.entry(text).or_default() += 1;
    }
    counts
}

fn refused(data_type: DataType, given: &[(&str, &str)]) -> String {
    let error = source(&Datagen, schema(&[("c", data_type)]), given).err();
    error.unwrap_or_else(|| panic!("accepted {given:?}")).message.clone()
}

fn every_type() -> SchemaRef {
    schema(&[
        ("b", DataType::Boolean),
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i", DataType::Int32),
        ("l", DataType::Int64),
        ("f", DataType::Float32),
        ("d", DataType::Float64),
        ("s", DataType::Utf8View),
        ("ts", TIMESTAMP),
        ("date", DataType::Date32),
        ("time", DataType::Time64(TimeUnit::Microsecond)),
        ("dec", DataType::Decimal128(10, 2)),
        ("bytes", DataType::BinaryView),
        (
            "list",
            DataType::List(Arc::new(Field::new("item", DataType::Int32, true))),
        ),
    ])
}

#[test]
fn every_type_has_a_default() {
    let rows = rows(&every_type(), &[("rows", "100")]);
    assert_eq!(rows.num_rows(), 100);
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let want = if matches!(field.name().as_str(), "bytes" | "list") {
            100
        } else {
            0
        };
        assert_eq!(column.null_count(), want, "{}", field.name());
    }
}

#[test]
fn equal_seeds_make_equal_rows_whatever_the_batches() {
    let all = |more: &[(&str, &str)]| {
        let mut given = vec![("rows", "3000"), ("fields.s.kind", "zipf"), ("fields.d.kind", "normal")];
        given.extend_from_slice(more);
        rows(&every_type(), &given)
    };
    let one = all(&[]);
    assert_eq!(one, all(&[]));
    assert_eq!(one, all(&[("batch-rows", "7")]));
    assert_eq!(one, all(&[("seed", "42")]));
    assert_ne!(one, all(&[("seed", "43")]));
    assert_eq!(one.schema().fields().len(), 14);
}

#[test]
fn columns_do_not_depend_on_which_are_read() {
    let all = rows(&every_type(), &[("rows", "50")]);
    let wanted = DecodeSchema {
        declared: every_type(),
        wanted: [4, 7].into(),
    };
    let some = run(source_of(&Datagen, wanted, &[("rows", "50")]).unwrap()).unwrap();
    assert_eq!(*some[0].batch.columns(), all.project(&[4, 7]).unwrap());
    let none = DecodeSchema {
        declared: every_type(),
        wanted: [].into(),
    };
    let none = run(source_of(&Datagen, none, &[("rows", "50")]).unwrap()).unwrap();
    assert_eq!(none[0].batch.num_rows(), 50);
}

#[test]
fn a_restart_continues_with_the_next_row() {
    let given = [("rows", "100"), ("batch-rows", "30")];
    let build = || source(&Datagen, every_type(), &given).unwrap();
    let emitted = run(build()).unwrap();
    for (index, one) in emitted.iter().enumerate() {
        let mut again = build();
        again.seek(one.position.as_ref().unwrap()).unwrap();
        let rest = run(again).unwrap();
        let batches = |emitted: &[crate::connectors::Emitted]| -> Vec<_> {
            emitted.iter().map(|one| one.batch.columns().clone()).collect()
        };
        assert_eq!(batches(&rest), batches(&emitted[index + 1..]));
    }
    assert!(build().seek(&serde_json::json!(7)).is_err());
}

#[test]
fn sequences() {
    let kind = ("fields.c.kind", "sequence");
    let more = |more: &[(&'static str, &'static str)]| [&[kind], more].concat();
    assert_eq!(shown(&made(DataType::Int64, "3", &more(&[]))), ["0", "1", "2"]);
    let given = more(&[("fields.c.start", "10"), ("fields.c.step", "-5")]);
    assert_eq!(shown(&made(DataType::Int32, "3", &given)), ["10", "5", "0"]);
    assert_eq!(shown(&made(DataType::Int16, "3", &given)), ["10", "5", "0"]);
    assert_eq!(shown(&made(DataType::Decimal128(5, 1), "2", &given)), ["10.0", "5.0"]);
    let given = more(&[("fields.c.start", "0.5"), ("fields.c.step", "0.25")]);
    assert_eq!(shown(&made(DataType::Float64, "3", &given)), ["0.5", "0.75", "1.0"]);
    let given = more(&[("fields.c.prefix", "order-")]);
    assert_eq!(shown(&made(DataType::Utf8View, "2", &given)), ["order-0", "order-1"]);
}

#[test]
fn uniform_numbers_fill_their_bounds() {
    let given = [("fields.c.min", "-2"), ("fields.c.max", "2")];
    for data_type in [
        DataType::Int8,
        DataType::Int32,
        DataType::Int64,
        DataType::Decimal128(4, 0),
    ] {
        let counts = counts(&made(data_type, "5000", &given));
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["-1", "-2", "0", "1", "2"]);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
    let column = made(DataType::Float64, "5000", &given);
    let values = column.as_primitive::<Float64Type>().values();
    assert!(values.iter().all(|value| (-2.0..2.0).contains(value)));
    let mean = values.iter().sum::<f64>() / 5000.0;
    assert!(mean.abs() < 0.1, "{mean}");
    let bools = counts(&made(DataType::Boolean, "1000", &[]));
    assert!((400..600).contains(&bools["true"]), "{bools:?}");
}

#[test]
fn normal_numbers_have_their_mean_and_deviation() {
    let given = [
        ("fields.c.kind", "normal"),
        ("fields.c.mean", "100"),
        ("fields.c.stddev", "5"),
    ];
    let column = made(DataType::Float64, "10000", &given);
    let values = column.as_primitive::<Float64Type>().values();
    let mean = values.iter().sum::<f64>() / 10_000.0;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 10_000.0).sqrt();
    assert!(
        (99.7..100.3).contains(&mean) && (4.8..5.2).contains(&deviation),
        "{mean} {deviation}"
    );
    let whole = made(DataType::Int32, "100", &given);
    assert!(
        whole
            .as_primitive::<Int32Type>()
            .values()
            .iter()
            .all(|value| (70..130).contains(value))
    );
}

#[test]
fn choices_follow_their_weights() {
    let kind = ("fields.c.kind", "choice");
    let given = [kind, ("fields.c.values", "a, b,c"), ("fields.c.weights", "5, 3,2")];
    let counts = counts(&made(DataType::Utf8View, "10000", &given));
    for (value, want) in [("a", 5000), ("b", 3000), ("c", 2000)] {
        assert!(counts[value].abs_diff(want) < 200, "{counts:?}");
    }
    let given = [kind, ("fields.c.values", "1.5,2.5")];
    let numbers = shown(&made(DataType::Float64, "20", &given));
    assert!(numbers.iter().all(|number| number == "1.5" || number == "2.5"));
}

#[test]
fn zipf_keys_get_rarer() {
    let kind = ("fields.c.kind", "zipf");
    let given = [kind, ("fields.c.keys", "100"), ("fields.c.prefix", "S")];
    let texts = counts(&made(DataType::Utf8View, "20000", &given));
    // 1 / H(100) = 19.3 % for the first, half of that for the second.
    assert!((3600..4100).contains(&texts["S00"]), "{texts:?}");
    assert!((1750..2150).contains(&texts["S01"]), "{texts:?}");
    assert!(texts.keys().all(|key| key.len() == 3));
    let numbers = made(DataType::Int64, "1000", &given[..2]);
    assert!(
        numbers
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .all(|key| (0..100).contains(key))
    );
    let many = made(
        DataType::Utf8View,
        "1000",
        &[kind, ("fields.c.keys", "1000000"), ("fields.c.exponent", "0.5")],
    );
    assert!(shown(&many).iter().all(|key| key.len() == 6));
}

#[test]
fn names() {
    for (of, want) in [("person", 2), ("first", 1), ("last", 1), ("city", 1), ("company", 2)] {
        let given = [("fields.c.kind", "name"), ("fields.c.of", of)];
        let names = shown(&made(DataType::Utf8View, "50", &given));
        assert!(names.iter().all(|name| name.split(' ').count() == want), "{names:?}");
    }
}

#[test]
fn times() {
    let times = |given: &[(&str, &str)]| -> Vec<i64> {
        made(TIMESTAMP, "100", given)
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .to_vec()
    };
    let start = 1_767_225_600_000_000;
    let plain = times(&[]);
    assert_eq!(plain[..3], [start, start + 1_000, start + 2_000]);
    assert_eq!(times(&[("rows-per-second", "1000")]), plain);
    assert_eq!(
        times(&[("fields.c.start", "1970-01-01T00:00:01Z"), ("fields.c.step", "2 s")])[1],
        3_000_000
    );
    let late = times(&[("fields.c.jitter", "10 ms")]);
    assert!(
        late.iter()
            .zip(&plain)
            .all(|(late, plain)| (0..=10_000).contains(&(late - plain)))
    );
    let mixed = times(&[("fields.c.out-of-orderness", "5 ms")]);
    assert!(
        mixed
            .iter()
            .zip(&plain)
            .all(|(mixed, plain)| (-5_000..=0).contains(&(mixed - plain)))
    );
    assert!(!mixed.is_sorted());
    let millis = made(DataType::Int64, "2", &[("fields.c.kind", "timestamp")]);
    assert_eq!(
        millis.as_primitive::<Int64Type>().values()[..],
        [start / 1000, start / 1000 + 1]
    );
    let days = made(DataType::Date32, "2", &[("fields.c.step", "1 d")]);
    assert_eq!(shown(&days), ["2026-01-01", "2026-01-02"]);
}

#[test]
fn constants_and_nulls() {
    let given = [("fields.c.kind", "constant"), ("fields.c.value", "2026-05-01")];
    assert_eq!(
        shown(&made(DataType::Date32, "2", &given)),
        ["2026-05-01", "2026-05-01"]
    );
    for data_type in [DataType::Int64, DataType::Utf8View, DataType::Boolean, TIMESTAMP] {
        let nulls = made(data_type.clone(), "10000", &[("fields.c.null-rate", "0.1")]).null_count();
        assert!((850..1150).contains(&nulls), "{data_type} {nulls}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = DataType::Int64;
    for (given, message) in [
        (&[("fields.d.kind", "uniform")][..], "no column 'd'"),
        (&[("fields.c.weights", "1")], "'uniform' does not take it"),
        (&[("fields.c.kind", "choice")], "needs 'values'"),
        (&[("fields.c.kind", "constant")], "needs 'value'"),
        (&[("fields.c.kind", "choice"), ("fields.c.values", "1,x")], "is LONG"),
        (
            &[
                ("fields.c.kind", "choice"),
                ("fields.c.values", "1,2"),
                ("fields.c.weights", "1"),
            ],
            "1 for 2 values",
        ),
        (
            &[
                ("fields.c.kind", "choice"),
                ("fields.c.values", "1"),
                ("fields.c.weights", "-1"),
            ],
            "weights",
        ),
        (&[("fields.c.min", "5"), ("fields.c.max", "4")], "less than min"),
        (&[("fields.c.max", "-4")], "less than min"),
        (&[("fields.c.min", "0.5")], "0.5 is not LONG"),
        (&[("fields.c.null-rate", "2")], "0 to 1"),
        (&[("fields.c.kind", "name")], "makes text"),
        (&[("fields.c.kind", "zipf"), ("fields.c.exponent", "-1")], "exponent"),
        (&[("fields.c.kind", "normal"), ("fields.c.stddev", "-1")], "negative"),
        (
            &[("fields.c.kind", "timestamp"), ("fields.c.start", "soon")],
            "is not a time",
        ),
        (
            &[("fields.c.kind", "timestamp"), ("fields.c.step", "soon")],
            "is not a duration",
        ),
        (
            &[("fields.c.kind", "sequence"), ("fields.c.step", "1.5")],
            "whole number",
        ),
        (&[("rows-per-second", "-1")], "rows-per-second"),
    ] {
        let said = refused(long.clone(), given);
        assert!(said.contains(message), "{said}");
    }
    assert!(refused(DataType::Int8, &[("fields.c.max", "300")]).contains("300 is not"));
    let strict = Arc::new(Schema::new(vec![Field::new("c", DataType::Int64, false)]));
    assert!(source(&Datagen, strict, &[("fields.c.null-rate", "0.5")]).is_err());
}

#[test]
fn the_rate_is_kept_and_small_batches_come_on_time() {
    let given = [("rows", "201"), ("rows-per-second", "1000")];
    let begin = Instant::now();
    let emitted = run(source(&Datagen, schema(&[("c", DataType::Int64)]), &given).unwrap()).unwrap();
    // Row 200 is due 200 ms after row 0; it cannot come before.
    assert!(begin.elapsed().as_millis() >= 199);
    assert_eq!(emitted.iter().map(|one| one.batch.num_rows()).sum::<usize>(), 201);
    assert_eq!(emitted[0].batch.num_rows(), 1);
    assert!(emitted.len() > 2);
}

#[test]
fn stops_while_blocked_or_waiting() {
    let columns = || schema(&[("c", DataType::Int64)]);
    let running = Running::start(source(&Datagen, columns(), &[]).unwrap(), 1);
    running.next();
    running.stop().unwrap();
    let running = Running::start(source(&Datagen, columns(), &[("rows-per-second", "0.01")]).unwrap(), 1);
    running.next();
    running.quiet();
    running.stop().unwrap();
}
