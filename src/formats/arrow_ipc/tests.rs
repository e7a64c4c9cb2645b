use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampSecondArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use proptest::prelude::*;

use super::ArrowFormat;
use crate::catalog::types::TIMESTAMP;
use crate::formats::DecodeSchema;
use crate::formats::testing::{batches, every_type, field, read, same, write};

/// An input of another writer: narrower, other strings, another order, one column more.
fn foreign() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("N", Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]))),
        ("extra", Arc::new(Int64Array::from(vec![7, 8, 9]))),
        (
            "s",
            Arc::new(StringArray::from(vec!["a", "b", "a longer text than fits"])),
        ),
        ("t", Arc::new(TimestampSecondArray::from(vec![Some(1), Some(2), None]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn wanted() -> DecodeSchema {
    DecodeSchema::all(Arc::new(Schema::new(vec![
        field("s", DataType::Utf8View),
        Field::new("n", DataType::Int64, false),
        field("t", TIMESTAMP),
        field("absent", DataType::Float64),
    ])))
}

#[test]
fn columns_are_found_by_name_and_widened() {
    let input = stream(&[foreign(), foreign().slice(0, 1)]);
    for piece in [1, 100, 100_000] {
        let outcome = read(&ArrowFormat, &wanted(), &[], &input, piece).unwrap();
        assert_eq!(
            outcome.rows(),
            [
                "a 1 1970-01-01T00:00:01 null",
                "a longer text than fits 3 null null",
                "a 1 1970-01-01T00:00:01 null"
            ]
        );
        let places: Vec<_> = outcome
            .errors
            .iter()
            .map(|error| (error.message.as_str(), error.row))
            .collect();
        assert_eq!(places, [("column 'n': NULL in a NOT NULL column", 1)]);
    }
    let none = DecodeSchema {
        wanted: [].into(),
        ..wanted()
    };
    assert_eq!(
        read(&ArrowFormat, &none, &[], &input, 1000).unwrap().batch.num_rows(),
        4
    );
    let mut file = FileWriter::try_new(Vec::new(), &foreign().schema()).unwrap();
    file.write(&foreign()).unwrap();
    file.finish().unwrap();
    let outcome = read(&ArrowFormat, &wanted(), &[], &file.into_inner().unwrap(), 50).unwrap();
    assert_eq!((outcome.rows().len(), outcome.errors.len()), (2, 1));
}

#[test]
fn inputs_that_do_not_fit() {
    let other = |fields: Vec<Field>| DecodeSchema::all(Arc::new(Schema::new(fields)));
    let refused = |schema: &DecodeSchema, input: &[u8]| read(&ArrowFormat, schema, &[], input, 64).unwrap_err();
    let input = stream(&[foreign()]);
    assert_eq!(
        refused(&other(vec![field("x", DataType::Int64)]), &input),
        "it has none of the columns x; its columns are N, extra, s, t"
    );
    assert_eq!(
        refused(&other(vec![field("extra", DataType::Utf8View)]), &input),
        "its column 'extra' is LONG, but the stream's is STRING"
    );
    assert_eq!(
        refused(
            &other(vec![
                field("s", DataType::Utf8View),
                Field::new("x", DataType::Int64, false)
            ]),
            &input
        ),
        "it lacks the column 'x', which is NOT NULL"
    );
    let words: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
    let words = RecordBatch::try_from_iter([
        ("s", Arc::new(words) as ArrayRef),
        ("extra", Arc::new(Int64Array::from(vec![1, 2]))),
    ])
    .unwrap();
    assert!(
        refused(
            &other(vec![field("s", DataType::Utf8View)]),
            &stream(std::slice::from_ref(&words))
        )
        .contains("dictionary")
    );
    let outcome = read(
        &ArrowFormat,
        &other(vec![field("extra", DataType::Int64)]),
        &[],
        &stream(&[words]),
        64,
    )
    .unwrap();
    assert_eq!(outcome.rows(), ["1", "2"]);
    assert_eq!(
        refused(&wanted(), b"{\"s\":1}\n"),
        "it is not an IPC stream of Arrow (since its version 0.15)"
    );
    assert_eq!(refused(&wanted(), &input[..40]), "it ends amid its schema");
}

#[test]
fn a_stream_that_is_cut_off_or_too_long_ends_there() {
    let input = stream(&[foreign(), foreign()]);
    let outcome = read(&ArrowFormat, &wanted(), &[], &input[..input.len() - 30], 64).unwrap();
    assert_eq!((outcome.rows().len(), outcome.errors.len()), (2, 2));
    assert!(outcome.errors[1].message.starts_with("the stream is damaged, cut off"));
    let big: Vec<String> = (0..500).map(|n| format!("text number {n}")).collect();
    let big = RecordBatch::try_from_iter([("s", Arc::new(StringArray::from(big)) as ArrayRef)]).unwrap();
    let schema = DecodeSchema::all(Arc::new(Schema::new(vec![field("s", DataType::Utf8View)])));
    let small = big.slice(0, 1);
    let outcome = read(
        &ArrowFormat,
        &schema,
        &[("max-record-bytes", "1024")],
        &stream(&[small, big]),
        64,
    )
    .unwrap();
    assert_eq!((outcome.rows().len(), outcome.errors.len()), (1, 1));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(batch in batches(every_type()), piece in 1usize..2000) {
        let bytes = write(&ArrowFormat, &[], &batch);
        let outcome = read(&ArrowFormat, &DecodeSchema::all(every_type()), &[], &bytes, piece).unwrap();
        prop_assert_eq!(outcome.messages(), Vec::<String>::new());
        prop_assert!(same(&outcome.batch, &batch));
    }

    #[test]
    fn damage_never_panics(
        batch in batches(every_type()),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = write(&ArrowFormat, &[], &batch);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2).min(bytes.len()));
        let _ = read(&ArrowFormat, &DecodeSchema::all(every_type()), &[], &bytes, 300);
    }

    #[test]
    fn noise_never_panics(mut input in proptest::collection::vec(any::<u8>(), 0..200), marked: bool) {
        if marked {
            input.splice(0..0, [0xFF; 4]);
        }
        let _ = read(&ArrowFormat, &wanted(), &[], &input, 7);
    }
}
