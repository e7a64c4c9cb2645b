use std::fs;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use proptest::prelude::*;

use super::AvroFormat;
use crate::catalog::types::TIMESTAMP;
use crate::error::Diagnostic;
use crate::formats::testing::{batches, every_type, field, list_of, map_of, options, read, same, write};
use crate::formats::{Block, DecodeSchema, Format, FrameKind};

/// Files that another library wrote (fastavro), one for each kind of compression.
const FOREIGN: [(&str, &[u8]); 4] = [
    ("null", include_bytes!("testdata/null.avro")),
    ("deflate", include_bytes!("testdata/deflate.avro")),
    ("snappy", include_bytes!("testdata/snappy.avro")),
    ("zstandard", include_bytes!("testdata/zstandard.avro")),
];

const MESSAGES: &[(&str, &str)] = &[("framing", "message")];

fn schema(fields: Vec<Field>) -> DecodeSchema {
    DecodeSchema::all(Arc::new(Schema::new(fields)))
}

fn trades() -> DecodeSchema {
    schema(vec![
        field("SYMBOL", DataType::Utf8View),
        field("price", DataType::Decimal128(12, 3)),
        field("side", DataType::Utf8View),
        field("at", TIMESTAMP),
        field("day", DataType::Date32),
        field("tags", list_of(DataType::Utf8View)),
        field("limits", map_of(DataType::Utf8View, DataType::Float64)),
        field("id", DataType::BinaryView),
        field("n", DataType::Int64),
        field("absent", DataType::Int32),
    ])
}

#[test]
fn files_of_others_are_read() {
    for (codec, file) in FOREIGN {
        for piece in [1, 100, 100_000] {
            let outcome = read(&AvroFormat, &trades(), &[], file, piece).unwrap();
            assert_eq!(outcome.messages(), Vec::<String>::new(), "{codec}");
            let rows = outcome.rows();
            assert_eq!(rows.len(), 5, "{codec}");
            assert_eq!(
                rows[..3],
                [
                    "S0 12345678.900 BUY 2026-01-01T00:00:00.250 2026-01-01 [] {} 00000000 -2 null",
                    "S1 -1.050 SELL 2026-01-01T00:00:01.250 2026-01-02 [a] {x: 1.5, y: null} 01010101 -1 null",
                    "S2 null BUY 2026-01-01T00:00:02.250 2026-01-03 [a, b] {} 02020202 0 null",
                ],
                "{codec}"
            );
        }
    }
}

#[test]
fn columns_that_nobody_reads_are_skipped() {
    let wanted = DecodeSchema {
        wanted: [8].into(),
        ..trades()
    };
    let outcome = read(&AvroFormat, &wanted, &[], FOREIGN[0].1, 50).unwrap();
    assert_eq!(outcome.rows(), ["-2", "-1", "0", "1", "2"]);
    let none = DecodeSchema {
        wanted: [].into(),
        ..trades()
    };
    assert_eq!(
        read(&AvroFormat, &none, &[], FOREIGN[1].1, 50)
            .unwrap()
            .batch
            .num_rows(),
        5
    );
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let refused = |fields: Vec<Field>, input: &[u8]| read(&AvroFormat, &schema(fields), &[], input, 64).unwrap_err();
    let file = FOREIGN[0].1;
    assert!(
        refused(vec![field("x", DataType::Int64)], file)
            .starts_with("the schema has no field 'x'; its fields are symbol, ")
    );
    assert_eq!(
        refused(vec![field("symbol", DataType::Int64)], file),
        "column 'symbol': it is LONG and the schema's field is string"
    );
    assert_eq!(
        refused(
            vec![field("n", DataType::Int32), Field::new("x", DataType::Int64, false)],
            file
        ),
        "the schema has no field 'x', which is NOT NULL"
    );
    assert_eq!(
        refused(vec![field("n", DataType::Int32)], &file[..40]),
        "it ends amid its header"
    );
    assert_eq!(
        refused(vec![field("n", DataType::Int32)], b"{\"n\":1}\n"),
        "it is not an object container file of Avro"
    );
}

#[test]
fn a_damaged_block_takes_only_itself() {
    for (codec, file) in FOREIGN {
        let mut file = file.to_vec();
        let whole = read(&AvroFormat, &trades(), &[], &file, 64).unwrap().rows();
        // The second block's length becomes another.
        let mark = file[file.len() - 16..].to_vec();
        let blocks: Vec<usize> = memchr::memmem::find_iter(&file, &mark).collect();
        assert!(blocks.len() > 2, "{codec} has several blocks");
        file[blocks[0] + 17] = 0x7F;
        let outcome = read(&AvroFormat, &trades(), &[], &file, 64).unwrap();
        assert_eq!(outcome.errors.len(), 1, "{codec}: {:?}", outcome.messages());
        let rows = outcome.rows();
        assert!(rows.len() < whole.len(), "{codec}");
        assert_eq!(rows.last(), whole.last(), "{codec}");
    }
}

fn one(text: &str) -> RecordBatch {
    let column = arrow::array::StringViewArray::from(vec![text]);
    let schema: SchemaRef = Arc::new(Schema::new(vec![field("s", DataType::Utf8View)]));
    RecordBatch::try_new(schema, vec![Arc::new(column)]).unwrap()
}

#[test]
fn poison_between_messages_takes_only_itself() {
    let good = write(&AvroFormat, MESSAGES, &one("good"));
    assert_eq!(good, b"\x06\x02\x08good");
    let wanted = schema(vec![field("s", DataType::Utf8View)]);
    let framed = |message: &[u8]| {
        let mut framed = Vec::new();
        crate::formats::delimited::write_length(&mut framed, message.len());
        framed.extend_from_slice(message);
        framed
    };
    let poison: [(&[u8], &str); 7] = [
        (b"\x02", "amid a number"),
        (b"\x09x", "a union has no branch -5"),
        (b"\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01x", "a length of"),
        (b"\x02\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01x", "it ends early"),
        (b"\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", "more than 64 bits"),
        (b"\x02\x04\xFF\xFE", "not UTF-8"),
        (b"\x02\x02xmore", "4 bytes follow"),
    ];
    for (message, why) in poison {
        let input = [good.clone(), framed(message), good.clone()].concat();
        for piece in [1, 1000] {
            let outcome = read(&AvroFormat, &wanted, MESSAGES, &input, piece).unwrap();
            assert_eq!(outcome.rows(), ["good", "good"], "{message:?}");
            assert_eq!(outcome.errors.len(), 1);
            assert!(outcome.errors[0].message.contains(why), "{:?}", outcome.messages());
        }
    }
    // One that is too long is passed over; a length that is damaged ends the input.
    let long = [good.clone(), framed(&[b'x'; 500]), good.clone()].concat();
    let limited = [("framing", "message"), ("max-record-bytes", "64")];
    for piece in [1, 100, 1000] {
        let outcome = read(&AvroFormat, &wanted, &limited, &long, piece).unwrap();
        assert_eq!(
            (outcome.rows().len(), outcome.errors.len()),
            (2, 1),
            "{:?}",
            outcome.messages()
        );
        let damaged = [good.clone(), vec![0xFF; 30], good.clone()].concat();
        let outcome = read(&AvroFormat, &wanted, MESSAGES, &damaged, piece).unwrap();
        assert_eq!(
            (outcome.rows().len(), outcome.errors.len()),
            (1, 1),
            "{:?}",
            outcome.messages()
        );
        let cut = read(&AvroFormat, &wanted, MESSAGES, &good[..4], piece).unwrap();
        assert_eq!(cut.messages(), ["1: the input ends amid a message"]);
    }
}

#[test]
fn items_that_take_no_bytes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.avsc");
    let text = r#"{"type":"record","name":"r","fields":[{"name":"l","type":{"type":"array","items":"null"}},{"name":"m","type":{"type":"array","items":"null"}}]}"#;
    fs::write(&path, text).unwrap();
    let given = [("framing", "message"), ("schema", path.to_str().unwrap())];
    let wanted = DecodeSchema {
        wanted: [0].into(),
        ..schema(vec![
            field("l", list_of(DataType::Int64)),
            field("m", list_of(DataType::Int64)),
        ])
    };
    let mut huge = Vec::new();
    super::wire::write_long(&mut huge, 1 << 60);
    for message in [huge.clone(), [b"\x00".to_vec(), huge].concat()] {
        let mut input = vec![message.len() as u8];
        input.extend_from_slice(&message);
        let outcome = read(&AvroFormat, &wanted, &given, &input, 100).unwrap();
        assert!(
            outcome.errors[0].message.contains("items, more than"),
            "{:?}",
            outcome.messages()
        );
    }
}

fn refused(result: Result<impl Sized, Diagnostic>) -> String {
    result.err().map_or(String::new(), |error| error.message.clone())
}

#[test]
fn schemas_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let record = |fields: &str| format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    fs::write(folder.path().join("3.avsc"), record(r#"{"name":"s","type":"string"}"#)).unwrap();
    let two = record(r#"{"name":"n","type":"long"},{"name":"s","type":["string","null"]}"#);
    fs::write(folder.path().join("70000.avsc"), two).unwrap();
    fs::write(folder.path().join("5.avsc"), record(r#"{"name":"s","type":"int"}"#)).unwrap();
    fs::write(folder.path().join("notes.txt"), "no schema").unwrap();
    let folder = folder.path().to_str().unwrap();
    let given = [("framing", "registry"), ("schemas", folder)];
    let wanted = schema(vec![field("s", DataType::Utf8View), field("n", DataType::Int64)]);
    let input = [
        &b"\x07\x00\x00\x00\x00\x03\x02a"[..],
        b"\x09\x00\x00\x01\x11\x70\x08\x00\x02b",
        b"\x07\x00\x00\x00\x00\x04\x02c",
        b"\x07\x01\x00\x00\x00\x03\x02d",
        b"\x06\x00\x00\x00\x00\x05\x02",
        b"\x02\x00\x00",
        b"\x07\x00\x00\x01\x11\x70\x08\x02",
    ]
    .concat();
    let outcome = read(&AvroFormat, &wanted, &given, &input, 3).unwrap();
    assert_eq!(outcome.rows(), ["a null", "b 4", "null 4"]);
    assert_eq!(
        outcome.messages(),
        [
            "3: there is no schema 4",
            "4: it does not begin with the byte 0 and the number of a schema",
            "5: schema 5: column 's': it is STRING and the schema's field is int",
            "6: it is shorter than a number of a schema",
        ]
    );
    // A broker's message is a block that no framer cut.
    let mut decoder = AvroFormat.decoder(&wanted, &options(&AvroFormat, &given)).unwrap();
    let block = Block {
        bytes: b"\x00\x00\x00\x00\x03\x02a".to_vec(),
        first_line: 1,
        layout: None,
        kind: FrameKind::Records,
    };
    assert_eq!(decoder.decode(&block).unwrap().columns.num_rows(), 1);
    // A sink writes by one of them.
    let sink: SchemaRef = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8View, false)]));
    let batch = RecordBatch::try_new(
        sink.clone(),
        vec![Arc::new(arrow::array::StringViewArray::from(vec!["a"]))],
    )
    .unwrap();
    let with_number = [given[0], given[1], ("schema-id", "3")];
    assert_eq!(
        write(&AvroFormat, &with_number, &batch),
        b"\x07\x00\x00\x00\x00\x03\x02a"
    );
    let encoder = |given: &[(&str, &str)]| refused(AvroFormat.encoder(&sink, &options(&AvroFormat, given)));
    assert!(encoder(&given).contains("needs the number of the schema"));
    assert!(encoder(&[given[0], given[1], ("schema-id", "4")]).contains("there is no schema 4"));
    assert!(encoder(&[given[0]]).contains("need the schemas"));
    let other = schema(vec![field("x", DataType::Int64)]);
    assert!(refused(AvroFormat.decoder(&other, &options(&AvroFormat, &given))).contains("none fits the stream"));
}

#[test]
fn a_schema_and_columns_that_do_not_fit_are_an_error_of_the_app() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.avsc");
    let text =
        r#"{"type":"record","name":"r","fields":[{"name":"s","type":"string"},{"name":"n","type":["null","long"]}]}"#;
    fs::write(&path, text).unwrap();
    let given = [("framing", "message"), ("schema", path.to_str().unwrap())];
    let options_of = |given: &[(&str, &str)]| options(&AvroFormat, given);
    let source = |fields| refused(AvroFormat.decoder(&schema(fields), &options_of(&given)));
    assert_eq!(source(vec![field("s", DataType::Utf8View)]), "");
    assert!(source(vec![field("ss", DataType::Utf8View)]).contains("no field 'ss'; its fields are s, n"));
    assert!(source(vec![field("n", DataType::Int32)]).contains("it is INT and the schema's field is long"));
    let sink = |fields| refused(AvroFormat.encoder(&Arc::new(Schema::new(fields)), &options_of(&given)));
    let text = || Field::new("s", DataType::Utf8View, false);
    assert_eq!(sink(vec![text()]), "");
    assert_eq!(sink(vec![text(), field("n", DataType::Int64)]), "");
    assert!(sink(vec![field("s", DataType::Utf8View)]).contains("declare it NOT NULL"));
    assert!(sink(vec![text(), field("x", DataType::Int64)]).contains("no field 'x'"));
    assert!(sink(vec![field("n", DataType::Int64)]).contains("no column for the schema's field 's'"));
    let wrong = |text: &str| {
        fs::write(&path, text).unwrap();
        refused(AvroFormat.decoder(&schema(vec![text_column()]), &options_of(&given)))
    };
    assert!(wrong("{").contains("it is not JSON"));
    assert!(wrong("\"string\"").contains("not a record"));
    assert!(
        wrong(r#"{"type":"record","name":"r","fields":[{"name":"s","type":"strin"}]}"#)
            .contains("there is no type 'strin'")
    );
    let missing = [("framing", "message"), ("schema", "/nowhere/s.avsc")];
    assert!(refused(AvroFormat.decoder(&schema(vec![text_column()]), &options_of(&missing))).contains("cannot read"));
    let container = [("schema", path.to_str().unwrap())];
    assert!(
        refused(AvroFormat.decoder(&schema(vec![text_column()]), &options_of(&container))).contains("holds its schema")
    );
}

fn text_column() -> Field {
    field("s", DataType::Utf8View)
}

proptest! {
    #[test]
    fn what_is_written_reads_back(batch in batches(every_type()), piece in 1usize..2000, codec in 0usize..5) {
        let given: &[(&str, &str)] = match codec {
            0 => MESSAGES,
            1 => &[("codec", "deflate")],
            2 => &[("codec", "snappy")],
            3 => &[("codec", "zstandard")],
            _ => &[],
        };
        let bytes = write(&AvroFormat, given, &batch);
        let outcome = read(&AvroFormat, &DecodeSchema::all(every_type()), given, &bytes, piece).unwrap();
        prop_assert_eq!(outcome.messages(), Vec::<String>::new());
        prop_assert!(same(&outcome.batch, &batch));
    }

    #[test]
    fn damage_never_panics(
        batch in batches(every_type()),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        messages: bool,
    ) {
        let given = if messages { MESSAGES } else { &[] };
        let mut bytes = write(&AvroFormat, given, &batch);
        if bytes.is_empty() {
            return Ok(());
        }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2).min(bytes.len()));
        let _ = read(&AvroFormat, &DecodeSchema::all(every_type()), given, &bytes, 300);
    }

    #[test]
    fn noise_never_panics(mut input in proptest::collection::vec(any::<u8>(), 0..200), marked: bool) {
        if marked {
            input.splice(0..0, *b"Obj\x01");
        }
        let _ = read(&AvroFormat, &DecodeSchema::all(every_type()), &[], &input, 7);
        let _ = read(&AvroFormat, &DecodeSchema::all(every_type()), MESSAGES, &input, 7);
    }

    #[test]
    fn a_message_of_noise_takes_only_itself(noise in proptest::collection::vec(any::<u8>(), 0..100)) {
        let good = write(&AvroFormat, MESSAGES, &one("good"));
        let input = [good.as_slice(), &[noise.len() as u8], &noise, &good].concat();
        let outcome = read(&AvroFormat, &schema(vec![text_column()]), MESSAGES, &input, 9).unwrap();
        let rows = outcome.rows();
        prop_assert_eq!((rows.first().map(String::as_str), rows.last().map(String::as_str)), (Some("good"), Some("good")));
        prop_assert_eq!(rows.len() + outcome.errors.len(), 3);
    }
}
