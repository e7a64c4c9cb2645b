use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use proptest::prelude::*;

use super::{BytesFormat, TextFormat};
use crate::formats::testing::{field, options, read, write};
use crate::formats::{DecodeSchema, Format};

fn one(data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![field("x", data_type)]))
}

fn lines(given: &[(&str, &str)], input: &[u8]) -> (Vec<String>, Vec<String>) {
    let outcome = read(
        &TextFormat,
        &DecodeSchema::all(one(DataType::Utf8View)),
        given,
        input,
        5,
    )
    .unwrap();
    (outcome.rows(), outcome.messages())
}

#[test]
fn lines_are_texts() {
    let (rows, errors) = lines(&[], "\u{feff}a b\r\n\n\u{0}\t\"é\"\nlast".as_bytes());
    assert_eq!(rows, ["a b", "", "\u{0}\t\"é\"", "last"]);
    assert_eq!(errors, [] as [&str; 0]);
    let (rows, errors) = lines(&[], b"ok\n\xFFx\nok\n");
    assert_eq!(rows, ["ok", "ok"]);
    assert_eq!(errors, ["2: invalid UTF-8 at byte 1"]);
    let long = format!("a\n{}\nb\n", "x".repeat(100));
    let (rows, errors) = lines(&[("max-record-bytes", "64")], long.as_bytes());
    assert_eq!(rows, ["a", "b"]);
    assert_eq!(errors, ["2: the record is longer than text.max-record-bytes (64)"]);
}

#[test]
fn a_message_is_one_text() {
    let message = [("framing", "message")];
    assert_eq!(lines(&message, b"a\nb\r\n").0, ["a\nb\r\n"]);
    let limited = [("framing", "message"), ("max-record-bytes", "64")];
    let (rows, errors) = lines(&limited, &b"0123456789".repeat(20));
    assert_eq!(rows, [] as [&str; 0]);
    assert_eq!(errors, ["1: the record is longer than text.max-record-bytes (64)"]);
}

#[test]
fn texts_are_written_as_they_are() {
    let batch = RecordBatch::try_new(
        one(DataType::Utf8View),
        vec![Arc::new(StringViewArray::from(vec![Some("a"), None, Some("\"b\"")]))],
    )
    .unwrap();
    assert_eq!(write(&TextFormat, &[], &batch), b"a\n\n\"b\"\n");
    assert_eq!(write(&TextFormat, &[("framing", "message")], &batch), b"a\"b\"");
    let schema = Arc::new(Schema::new(vec![
        field("name", DataType::Utf8View),
        field("n", DataType::Int64),
    ]));
    let batch = RecordBatch::try_new(
        schema,
        vec![
            Arc::new(StringViewArray::from(vec!["a\"", "b"])),
            Arc::new(Int64Array::from(vec![Some(1), None])),
        ],
    )
    .unwrap();
    let template = "{{name}} has {{#if n}}{{n}}{{else}}none{{/if}}";
    assert_eq!(
        write(&TextFormat, &[("template", template)], &batch),
        b"a\" has 1\nb has none\n"
    );
}

#[test]
fn other_columns_are_refused() {
    let refused = |format: &dyn Format, schema: SchemaRef, given: &[(&str, &str)]| {
        let error = format
            .decoder(&DecodeSchema::all(schema), &options(format, given))
            .err()
            .unwrap();
        error.message.clone()
    };
    assert_eq!(
        refused(&TextFormat, one(DataType::Int64), &[]),
        "format 'text' takes one STRING column, not (x LONG)"
    );
    assert_eq!(
        refused(&BytesFormat, one(DataType::Utf8View), &[]),
        "format 'bytes' takes one BYTES column, not (x STRING)"
    );
    assert!(refused(&TextFormat, one(DataType::Utf8View), &[("template", "x")]).ends_with("a source reads"));
}

proptest! {
    #[test]
    fn bytes_come_back(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..6), piece in 1usize..20) {
        let schema = DecodeSchema::all(one(DataType::BinaryView));
        let lines: Vec<Vec<u8>> = values.iter().map(|value| {
            value.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
        }).collect();
        let mut input: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        // A byte-order mark would be skipped.
        prop_assume!(!input.starts_with(b"\xEF\xBB\xBF"));
        let outcome = read(&BytesFormat, &schema, &[], &input, piece).unwrap();
        prop_assert_eq!(outcome.errors.len(), 0);
        prop_assert_eq!(outcome.batch.num_rows(), lines.len());
        prop_assert_eq!(&write(&BytesFormat, &[], &outcome.batch), &input);
        input.extend_from_slice(b"\xFF\x00");
        let whole = read(&BytesFormat, &schema, &[("framing", "message")], &input, piece).unwrap();
        prop_assert_eq!(whole.batch.num_rows(), 1);
        prop_assert_eq!(&write(&BytesFormat, &[("framing", "message")], &whole.batch), &input);
    }
}
