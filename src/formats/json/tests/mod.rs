mod mapping;
mod sinks;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;

use super::JsonFormat;
use super::decoder::JsonDecoder;
use super::mapping::Mapping;
use crate::catalog::types::TIMESTAMP;
use crate::error::RAW_LIMIT;
use crate::formats::testing::{
    Outcome, batches, every_type, field, json_field, list_of, map_of, options, read, same, write,
};
use crate::formats::{Block, DecodeSchema, Decoder, FrameKind};

fn trades() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("ts", TIMESTAMP),
        field("symbol", DataType::Utf8View),
        field("price", DataType::Float64),
        field("volume", DataType::Int64),
        field("account", DataType::Int64),
    ]))
}

fn decode(schema: &SchemaRef, input: impl AsRef<[u8]>) -> Outcome {
    read(
        &JsonFormat,
        &DecodeSchema::all(schema.clone()),
        &[],
        input.as_ref(),
        1 << 20,
    )
    .unwrap()
}

/// One column `x` of the type; the value it holds after reading, or the error.
fn one(field: Field, value: &str) -> String {
    let schema = Arc::new(Schema::new(vec![field.with_name("x")]));
    let outcome = decode(&schema, format!("{{\"x\":{value}}}\n"));
    match outcome.errors.first() {
        Some(error) => format!("! {}", error.message),
        None => outcome.rows().join("|"),
    }
}

#[test]
fn values_of_every_type() {
    let long = DataType::Int64;
    let date = DataType::Date32;
    let time = DataType::Time64(TimeUnit::Microsecond);
    let decimal = DataType::Decimal128(6, 2);
    let point = DataType::Struct(vec![field("x", DataType::Int64), field("y", DataType::Utf8View)].into());
    let cases: &[(DataType, &str, &str)] = &[
        (DataType::Boolean, "true", "true"),
        (DataType::Boolean, "false", "false"),
        (DataType::Boolean, "1", "! column 'x': expected BOOL, found 1"),
        (
            DataType::Boolean,
            "\"true\"",
            "! column 'x': expected BOOL, found \"true\"",
        ),
        (
            DataType::Boolean,
            "trueish",
            "! not valid JSON: expected `,` or `}` at column 10",
        ),
        (DataType::Int32, "2147483647", "2147483647"),
        (
            DataType::Int32,
            "2147483648",
            "! column 'x': 2147483648 is out of range for INT",
        ),
        (long.clone(), "-9223372036854775808", "-9223372036854775808"),
        (
            long.clone(),
            "9223372036854775808",
            "! column 'x': 9223372036854775808 is out of range for LONG",
        ),
        (long.clone(), "17.0", "17"),
        (long.clone(), "1.7e1", "17"),
        (long.clone(), "-0", "0"),
        (long.clone(), "17.5", "! column 'x': expected LONG, found 17.5"),
        (long.clone(), "\"17\"", "! column 'x': expected LONG, found \"17\""),
        (long.clone(), "true", "! column 'x': expected LONG, found true"),
        (
            long.clone(),
            "{\"a\":1}",
            "! column 'x': expected LONG, found {\"a\":1}",
        ),
        (long.clone(), "null", "null"),
        (long.clone(), "007", "! not valid JSON: invalid number at column 7"),
        (DataType::Float64, "17", "17.0"),
        (
            DataType::Float64,
            "1e400",
            "! column 'x': 1e400 is out of range for DOUBLE",
        ),
        (DataType::Float64, "1e308", "1e308"),
        (DataType::Float64, "0.1", "0.1"),
        (DataType::Float64, "NaN", "! not valid JSON: expected value at column 6"),
        (
            DataType::Float32,
            "1e39",
            "! column 'x': 1e39 is out of range for FLOAT",
        ),
        (DataType::Float32, "0.1", "0.1"),
        (DataType::Utf8View, "\"a\\\"b\\u00e9\\ud83d\\ude00\"", "a\"bé😀"),
        (DataType::Utf8View, "\"\\u0000\"", "\0"),
        (
            DataType::Utf8View,
            "\"\\ud800\"",
            "! column 'x': unexpected end of hex escape in \"\\ud800\"",
        ),
        (
            DataType::Utf8View,
            "\"a\u{0}b\"",
            "! not valid JSON: control character (\\u0000-\\u001F) found while parsing a string at column 7",
        ),
        (
            DataType::Utf8View,
            "17",
            "! column 'x': expected STRING (declare the column JSON to take any value), found 17",
        ),
        (TIMESTAMP, "1700000000123", "2023-11-14T22:13:20.123"),
        (
            TIMESTAMP,
            "\"2023-11-14T22:13:20.123456789Z\"",
            "2023-11-14T22:13:20.123456",
        ),
        (TIMESTAMP, "\"2023-11-15 00:13:20+02:00\"", "2023-11-14T22:13:20"),
        (TIMESTAMP, "\"2023-11-14\"", "2023-11-14T00:00:00"),
        (
            TIMESTAMP,
            "\"yesterday\"",
            "! column 'x': expected TIMESTAMP (epoch milliseconds or 'YYYY-MM-DDTHH:MM:SSZ'), found \"yesterday\"",
        ),
        (
            TIMESTAMP,
            "9223372036854775807",
            "! column 'x': 9223372036854775807 is out of range for TIMESTAMP",
        ),
        (date.clone(), "\"2024-02-29\"", "2024-02-29"),
        (
            date.clone(),
            "\"2023-02-29\"",
            "! column 'x': expected DATE ('YYYY-MM-DD'), found \"2023-02-29\"",
        ),
        (date, "19000", "! column 'x': expected DATE ('YYYY-MM-DD'), found 19000"),
        (time.clone(), "\"09:30:00.5\"", "09:30:00.500"),
        (
            time,
            "\"25:00:00\"",
            "! column 'x': expected TIME ('HH:MM:SS'), found \"25:00:00\"",
        ),
        (decimal.clone(), "0.10", "0.10"),
        (decimal.clone(), "\"1234.5\"", "1234.50"),
        (
            decimal.clone(),
            "12345.6",
            "! column 'x': 12345.6 is out of range for DECIMAL(6,2)",
        ),
        (
            decimal.clone(),
            "0.123",
            "! column 'x': expected DECIMAL(6,2), found 0.123",
        ),
        (decimal, "\"abc\"", "! column 'x': expected DECIMAL(6,2), found \"abc\""),
        (DataType::BinaryView, "\"AAH/\"", "0001ff"),
        (
            DataType::BinaryView,
            "\"A\"",
            "! column 'x': expected BYTES (base64), found \"A\"",
        ),
        (list_of(DataType::Int64), "[1, null, 3]", "[1, null, 3]"),
        (
            list_of(DataType::Int64),
            "[1, \"b\"]",
            "! column 'x[1]': expected LONG, found \"b\"",
        ),
        (
            list_of(DataType::Int64),
            "{}",
            "! column 'x': expected ARRAY<LONG>, found {}",
        ),
        (point.clone(), "{\"y\":\"a\",\"z\":0,\"x\":1}", "{x: 1, y: a}"),
        (point.clone(), "{\"x\":1,\"x\":2}", "{x: 2, y: null}"),
        (point, "{\"x\":\"1\"}", "! column 'x.x': expected LONG, found \"1\""),
        (
            map_of(DataType::Utf8View, DataType::Int64),
            "{\"a\":1,\"b\":2,\"a\":3}",
            "{a: 3, b: 2}",
        ),
        (
            map_of(DataType::Int64, DataType::Int64),
            "{\"a\":1}",
            "! column 'x['a']': expected LONG, found 'a'",
        ),
        (
            DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
            "\"soon\"",
            "! column 'x': expected INTERVAL (an ISO 8601 duration, 'P1DT2H'), found \"soon\"",
        ),
    ];
    for (data_type, value, want) in cases {
        assert_eq!(one(field("x", data_type.clone()), value), *want, "{data_type} {value}");
    }
}

#[test]
fn json_columns_keep_their_text() {
    let cases = [
        ("{\"a\": [1,  2]}", "{\"a\": [1,  2]}"),
        ("17.50", "17.50"),
        ("\"a\\u0041\"", "\"a\\u0041\""),
        ("null", "null"),
        ("{\"a\":}", "! not valid JSON: expected value at column 11"),
    ];
    for (value, want) in cases {
        assert_eq!(one(json_field("x"), value), want);
    }
    let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(one(json_field("x"), &deep(128)), deep(128));
    assert_eq!(
        one(json_field("x"), &deep(129)),
        "! column 'x': the value nests deeper than 128 levels"
    );
    assert!(one(json_field("x"), &deep(1_000_000)).starts_with('!'));
    assert!(one(field("x", DataType::Int64), &deep(1_000_000)).starts_with('!'));
    assert!(one(field("x", DataType::Int64), &"[".repeat(1_000_000)).starts_with('!'));
}

#[test]
fn lines() {
    let schema = Arc::new(Schema::new(vec![
        field("a", DataType::Int64),
        Field::new("b", DataType::Utf8View, false),
    ]));
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &[], &[]),
        ("{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n", &["1 x", "2 y"], &[]),
        ("{\"b\":\"x\",\"a\":1}\n{\"a\":2,\"b\":\"y\"}\n", &["1 x", "2 y"], &[]),
        (
            "{\"a\":1,\"b\":\"x\"}\r\n\r\n \t\n{ \"a\" : 2 , \"b\" : \"y\" } \n",
            &["1 x", "2 y"],
            &[],
        ),
        ("{\"b\":\"x\"}\n", &["null x"], &[]),
        ("{\"a\":1}\n", &[], &["1: column 'b' is NOT NULL but has no value"]),
        ("{}\n", &[], &["1: column 'b' is NOT NULL but has no value"]),
        (
            "{\"a\":1,\"b\":null}\n",
            &[],
            &["1: column 'b': NULL in a NOT NULL column"],
        ),
        ("{\"a\":1,\"b\":\"x\",\"c\":[{}],\"d\":1e999}\n", &["1 x"], &[]),
        ("{\"a\":1,\"b\":\"x\",\"a\":3}\n", &["3 x"], &[]),
        ("{\"a\":1,\"b\":\"x\",\"\\u0061\":3}\n", &["3 x"], &[]),
        (
            "{\"a\":1,\"b\":\"x\"} tail\n{\"a\":2,\"b\":\"y\"}\n",
            &["2 y"],
            &["1: not valid JSON: trailing characters at column 17"],
        ),
        ("{\"a\":1,\"b\":\"x\"}", &["1 x"], &[]),
        (
            "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"",
            &["1 x"],
            &["2: not valid JSON: EOF while parsing a string at column 12"],
        ),
        (
            "{\"a\":1,\n\"b\":\"x\"}\n",
            &[],
            &[
                "1: not valid JSON: EOF while parsing an object at column 7",
                "2: expected a JSON object, found \"b\":\"x\"}",
            ],
        ),
        ("17\n", &[], &["1: expected a JSON object, found 17"]),
        ("\u{feff}{\"a\":1,\"b\":\"x\"}\n", &["1 x"], &[]),
        (
            "[{\"a\":1,\"b\":\"x\"}, {\"a\":2}, 3, {\"b\":\"y\"}]\n[]\n",
            &["1 x", "null y"],
            &[
                "1: column 'b' is NOT NULL but has no value",
                "1: expected a JSON object, found 3",
            ],
        ),
        (
            "[{\"a\":1,\"b\":\"x\"},\n",
            &[],
            &["1: not valid JSON: EOF while parsing a value at column 17"],
        ),
    ];
    for (input, rows, errors) in cases {
        let outcome = decode(&schema, input);
        assert_eq!(outcome.rows(), *rows, "{input}");
        assert_eq!(outcome.messages(), *errors, "{input}");
    }
}

#[test]
fn errors_tell_line_raw_text_and_place() {
    let schema = trades();
    let long = "é".repeat(RAW_LIMIT);
    let input = format!("{{\"price\":1}}\n\n{{\"price\":\"{long}\"}}\n{{\"price\":2}}\n{{\"volume\":[]}}\n");
    let outcome = decode(&schema, input);
    let places: Vec<_> = outcome.errors.iter().map(|error| (error.line, error.row)).collect();
    assert_eq!(places, [(3, 1), (5, 2)]);
    assert_eq!(outcome.errors[0].raw.len(), RAW_LIMIT);
    assert_eq!(outcome.errors[1].raw, "{\"volume\":[]}");
    assert!(outcome.errors[0].message.len() < 120, "{}", outcome.errors[0].message);
}

#[test]
fn invalid_utf8_takes_one_line() {
    let outcome = decode(
        &trades(),
        b"{\"volume\":1}\n{\"symbol\":\"\xFF\"}\n{\"volume\":2}\n{\"x\":\"\xC3".as_slice(),
    );
    assert_eq!(outcome.batch.num_rows(), 2);
    assert_eq!(
        outcome.messages(),
        ["2: invalid UTF-8 at column 12", "4: invalid UTF-8 at column 7"]
    );
    assert_eq!(outcome.errors[0].raw, "{\"symbol\":\"\u{FFFD}\"}");
}

#[test]
fn records_over_the_limit_take_only_themselves() {
    let schema = DecodeSchema::all(trades());
    let long = "x".repeat(500);
    let input = format!("{{\"volume\":1}}\n{{\"symbol\":\"{long}\"}}\n{{\"volume\":2}}\n{{\"symbol\":\"{long}");
    for piece in [1, 7, 64, 100, 10_000] {
        let outcome = read(
            &JsonFormat,
            &schema,
            &[("max-record-bytes", "64")],
            input.as_bytes(),
            piece,
        )
        .unwrap();
        assert_eq!(outcome.batch.num_rows(), 2);
        let want = "the record is longer than json.max-record-bytes (64)";
        assert_eq!(
            outcome.messages(),
            [format!("2: {want}"), format!("4: {want}")],
            "{piece}"
        );
    }
}

#[test]
fn only_wanted_columns_are_built_and_checked() {
    let schema = DecodeSchema {
        declared: trades(),
        wanted: [1, 3].into(),
    };
    let input = "{\"ts\":\"bad\",\"symbol\":\"A\",\"price\":{},\"volume\":7}\n{\"symbol\":\"B\",\"price\":\"\\q\"}\n";
    let outcome = read(&JsonFormat, &schema, &[], input.as_bytes(), 1000).unwrap();
    assert_eq!(outcome.rows(), ["A 7"]);
    assert_eq!(outcome.messages(), ["2: not valid JSON: invalid escape at column 25"]);
    let none = DecodeSchema {
        declared: trades(),
        wanted: [].into(),
    };
    assert_eq!(
        read(&JsonFormat, &none, &[], b"{}\n{\"a\":1}\n", 9)
            .unwrap()
            .batch
            .num_rows(),
        2
    );
}

#[test]
fn written_lines() {
    let schema = Arc::new(Schema::new(vec![
        field("ts", TIMESTAMP),
        field("s", DataType::Utf8View),
        field("f", DataType::Float64),
        json_field("j"),
        field("d", DataType::Decimal128(6, 2)),
    ]));
    let input = concat!(
        "{\"ts\":1700000000000,\"s\":\"a\\n\\u0001\\\"é/\",\"f\":17,\"j\":{\"a\": 1},\"d\":1.5}\n",
        "{\"ts\":1700000000120,\"f\":1e-7}\n",
        "{\"ts\":\"2023-11-14T22:13:20.000001\",\"f\":1e300}\n",
    );
    let outcome = decode(&schema, input);
    let want = concat!(
        "{\"ts\":\"2023-11-14T22:13:20Z\",\"s\":\"a\\n\\u0001\\\"é/\",\"f\":17.0,\"j\":{\"a\": 1},\"d\":1.50}\n",
        "{\"ts\":\"2023-11-14T22:13:20.120Z\",\"s\":null,\"f\":1e-7,\"j\":null,\"d\":null}\n",
        "{\"ts\":\"2023-11-14T22:13:20.000001Z\",\"s\":null,\"f\":1e+300,\"j\":null,\"d\":null}\n",
    );
    let out = write(&JsonFormat, &[], &outcome.batch);
    assert_eq!(String::from_utf8_lossy(&out), want);
}

/// Lines that are JSON, nearly JSON, or noise.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        "-?[0-9]{1,20}",
        "-?[0-9]{1,3}\\.[0-9]{1,3}(e[0-9]{1,3})?",
        "\"[a-zé\\\\\"n]{0,14}\"",
        "\"20[0-9]{2}-0[0-9]-[0-3][0-9]\"",
        "true|false|null|\\[1,2\\]|\\{\\}|\\{\"a\":[0-9]\\}|\\[|x|",
    ];
    let name = "ts|symbol|price|volume|account|other|\\\\u0061ccount|b";
    let member = (name, value, " ?", " ?").prop_map(|(name, value, a, b)| format!("{a}\"{name}\":{b}{value}"));
    let object = proptest::collection::vec(member, 0..7).prop_map(|members| format!("{{{}}}", members.join(",")));
    let line = prop_oneof![
        6 => object.clone(),
        1 => proptest::collection::vec(object, 0..3).prop_map(|objects| format!("[{}]", objects.join(","))),
        1 => "[ \\{\\}\\[\\]\",:a0]{0,12}",
    ];
    let end = prop_oneof![8 => Just("\n"), 1 => Just("\r\n"), 1 => Just(" \n"), 1 => Just("")];
    let text = proptest::collection::vec((line, end), 0..12).prop_map(|lines| {
        lines
            .into_iter()
            .map(|(line, end)| format!("{line}{end}"))
            .collect::<String>()
    });
    let noise = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (text, noise).prop_map(|(text, noise)| {
        let mut bytes = text.into_bytes();
        for (index, byte) in noise {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

fn decoder(schema: &DecodeSchema, given: &[(&str, &str)], limit: usize) -> JsonDecoder {
    let mapping = Mapping::new(&schema.declared, &options(&JsonFormat, given)).unwrap();
    JsonDecoder::new(schema, &mapping, limit).unwrap()
}

fn outcome(mut decoder: JsonDecoder, input: &[u8]) -> Outcome {
    let block = Block {
        bytes: input.to_vec(),
        first_line: 1,
        layout: None,
        kind: FrameKind::Records,
    };
    let decoded = decoder.decode(&block).unwrap();
    Outcome {
        batch: decoded.columns,
        errors: decoded.errors,
    }
}

proptest! {
    #[test]
    fn the_quick_way_agrees_with_the_strict_way(input in inputs()) {
        for wanted in [vec![0, 1, 2, 3, 4], vec![1, 4], vec![]] {
            let schema = DecodeSchema { declared: trades(), wanted: wanted.into() };
            let quick = outcome(decoder(&schema, &[], 200), &input);
            let strict = outcome(decoder(&schema, &[], 200).strict(), &input);
            prop_assert_eq!(&quick.errors, &strict.errors);
            prop_assert!(same(&quick.batch, &strict.batch), "{:?} {:?}", quick.rows(), strict.rows());
        }
    }

    #[test]
    fn rows_and_errors_are_those_of_serde_json(input in inputs()) {
        let outcome = outcome(decoder(&DecodeSchema::all(trades()), &[], 1 << 20), &input);
        // Lines that are no JSON at all must be errors, and each counts once.
        for (index, line) in input.split(|&byte| byte == b'\n').enumerate() {
            let here = outcome.errors.iter().filter(|error| error.line == index as u64 + 1).count();
            let valid = serde_json::from_slice::<serde_json::Value>(line);
            let blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
            match valid {
                _ if blank => prop_assert_eq!(here, 0),
                Ok(serde_json::Value::Array(items)) => prop_assert!(here <= items.len()),
                Ok(_) => prop_assert!(here <= 1),
                Err(error) if error.to_string().contains("out of range") => {}
                Err(error) => prop_assert_eq!(here, 1, "{}", error),
            }
        }
    }

    #[test]
    fn pieces_give_what_the_whole_gives(input in inputs(), piece in 1usize..40) {
        let schema = DecodeSchema::all(trades());
        let given = [("max-record-bytes", "64")];
        let whole = read(&JsonFormat, &schema, &given, &input, usize::MAX).unwrap();
        let pieces = read(&JsonFormat, &schema, &given, &input, piece).unwrap();
        prop_assert!(same(&whole.batch, &pieces.batch));
        let places = |outcome: &Outcome| outcome.errors.iter().map(|e| (e.line, e.row, e.message.clone())).collect::<Vec<_>>();
        prop_assert_eq!(places(&whole), places(&pieces));
    }

    #[test]
    fn noise_never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        decode(&every_type(), &input);
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(batch in batches(every_type())) {
        let text = write(&JsonFormat, &[], &batch);
        let outcome = decode(&every_type(), &text);
        prop_assert_eq!(outcome.messages(), Vec::<String>::new(), "{}", String::from_utf8_lossy(&text));
        prop_assert!(same(&outcome.batch, &batch), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn damaged_records_of_every_type_never_panic(batch in batches(every_type()), at: prop::sample::Index, byte: u8) {
        let mut text = write(&JsonFormat, &[], &batch);
        if !text.is_empty() {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let schema = DecodeSchema::all(every_type());
        let quick = outcome(decoder(&schema, &[], 1 << 20), &text);
        let strict = outcome(decoder(&schema, &[], 1 << 20).strict(), &text);
        prop_assert_eq!(&quick.errors, &strict.errors);
        prop_assert!(same(&quick.batch, &strict.batch));
    }
}
