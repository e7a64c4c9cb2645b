use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

use super::ParquetFormat;
use crate::catalog::types::TIMESTAMP;
use crate::event::{EventBatch, Times};
use crate::formats::testing::{batches, every_type, field, list_of, options, read, same};
use crate::formats::{DecodeSchema, Format};

/// Writes a file in so many batches.
fn write(given: &[(&str, &str)], batch: &RecordBatch, times: usize) -> Vec<u8> {
    let mut encoder = ParquetFormat
        .encoder(&batch.schema(), &options(&ParquetFormat, given))
        .unwrap();
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for _ in 0..times {
        encoder
            .encode(&EventBatch::inserts(batch.clone(), Times::Same(0)), &mut out)
            .unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out
}

fn foreign() -> Vec<u8> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("N", Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]))),
        ("extra", Arc::new(Int32Array::from(vec![7, 8, 9]))),
        (
            "s",
            Arc::new(StringArray::from(vec!["a", "b", "a longer text than fits"])),
        ),
        (
            "t",
            Arc::new(TimestampMillisecondArray::from(vec![Some(1000), Some(2000), None])),
        ),
        ("iv", Arc::new(StringArray::from(vec!["PT1S", "P1M", "P1D"]))),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn wanted() -> DecodeSchema {
    DecodeSchema::all(Arc::new(Schema::new(vec![
        field("s", DataType::Utf8View),
        Field::new("n", DataType::Int64, false),
        field("t", TIMESTAMP),
        field("absent", DataType::Float64),
        field("iv", DataType::Interval(IntervalUnit::MonthDayNano)),
    ])))
}

#[test]
fn columns_are_found_by_name_and_widened() {
    for piece in [1, 100, 100_000] {
        let outcome = read(&ParquetFormat, &wanted(), &[], &foreign(), piece).unwrap();
        assert_eq!(
            outcome.rows(),
            [
                "a 1 1970-01-01T00:00:01 null 1.000000000 secs",
                "a longer text than fits 3 null null 1 days"
            ]
        );
        assert_eq!(outcome.messages(), ["1: column 'n': NULL in a NOT NULL column"]);
    }
    let none = DecodeSchema {
        wanted: [].into(),
        ..wanted()
    };
    assert_eq!(
        read(&ParquetFormat, &none, &[], &foreign(), 1000)
            .unwrap()
            .batch
            .num_rows(),
        3
    );
}

#[test]
fn files_that_cannot_be_read_are_one_error() {
    let why = |schema: DecodeSchema, given: &[(&str, &str)], input: &[u8]| {
        let outcome = read(&ParquetFormat, &schema, given, input, 64).unwrap();
        assert_eq!(outcome.batch.num_rows(), 0);
        outcome.messages().join("; ")
    };
    let file = foreign();
    assert!(why(wanted(), &[], b"PAR1 and nothing else").contains("damaged, or not of Parquet"));
    assert!(why(wanted(), &[], &file[..file.len() - 3]).contains("damaged, or not of Parquet"));
    assert!(
        why(wanted(), &[("max-record-bytes", "100")], &file).contains("longer than parquet.max-record-bytes (100)")
    );
    let other = DecodeSchema::all(Arc::new(Schema::new(vec![field("s", DataType::Int64)])));
    assert_eq!(
        why(other, &[], &file),
        "1: its column 's' is STRING, but the stream's is LONG"
    );
}

#[test]
fn intervals_inside_of_other_types_are_refused() {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let schema = Arc::new(Schema::new(vec![field("l", list_of(interval))]));
    let error = ParquetFormat
        .encoder(&schema, &options(&ParquetFormat, &[]))
        .err()
        .unwrap();
    assert!(
        error.message.contains("column 'l': Parquet has no INTERVAL"),
        "{}",
        error.message
    );
}

#[test]
fn row_groups_have_no_more_rows_than_said() {
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from_iter_values(0..10)) as ArrayRef)]).unwrap();
    let file = write(&[("row-group-rows", "4")], &batch, 3);
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    let rows: Vec<i64> = reader
        .metadata()
        .row_groups()
        .iter()
        .map(|group| group.num_rows())
        .collect();
    assert_eq!((rows.iter().sum::<i64>(), rows.iter().max()), (30, Some(&4)));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(batch in batches(every_type()), piece in 1usize..2000, kind in 0usize..3, times in 1usize..3) {
        let given = [("compression", ["none", "snappy", "zstd"][kind])];
        let bytes = write(&given, &batch, times);
        let outcome = read(&ParquetFormat, &DecodeSchema::all(every_type()), &given, &bytes, piece).unwrap();
        prop_assert_eq!(outcome.messages(), Vec::<String>::new());
        let all = arrow::compute::concat_batches(&batch.schema(), std::iter::repeat_n(&batch, times)).unwrap();
        prop_assert!(same(&outcome.batch, &all));
    }

    #[test]
    fn damage_never_panics(
        batch in batches(every_type()),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        from_end: bool,
    ) {
        let mut bytes = write(&[], &batch, 1);
        for (at, byte) in damage {
            // What tells the most of a file stands at its end.
            let at = if from_end { bytes.len() - 1 - at.index(bytes.len().min(600)) } else { at.index(bytes.len()) };
            bytes[at] = byte;
        }
        let _ = read(&ParquetFormat, &DecodeSchema::all(every_type()), &[], &bytes, 5000);
    }
}
