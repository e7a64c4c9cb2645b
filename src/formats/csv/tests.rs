use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use proptest::prelude::*;

use super::CsvFormat;
use super::grammar::{self, Form};
use super::options::{Dialect, Header};
use crate::catalog::types::TIMESTAMP;
use crate::config::options::{Options, RawOption};
use crate::formats::testing::{Outcome, batches, every_type, field, json_field, list_of, options, read, same, write};
use crate::formats::{DecodeSchema, Format};

fn trades() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("ts", TIMESTAMP),
        field("symbol", DataType::Utf8View),
        field("price", DataType::Float64),
        Field::new("volume", DataType::Int64, false),
    ]))
}

fn decode(schema: &SchemaRef, given: &[(&str, &str)], input: impl AsRef<[u8]>) -> Result<Outcome, String> {
    read(
        &CsvFormat,
        &DecodeSchema::all(schema.clone()),
        given,
        input.as_ref(),
        1 << 20,
    )
}

#[test]
fn records_without_header() {
    let wrong = |line: u64, why: &str| format!("{line}: {why}");
    let cases: &[(&str, &[&str], Vec<String>)] = &[
        ("", &[], vec![]),
        (
            "1700000000123,S042,123.45,17\n",
            &["2023-11-14T22:13:20.123 S042 123.45 17"],
            vec![],
        ),
        (
            "2023-11-14T22:13:20Z,S,1,1\r\n,,,2\r\n",
            &["2023-11-14T22:13:20 S 1.0 1", "null null null 2"],
            vec![],
        ),
        ("0,\"\",1,1", &["1970-01-01T00:00:00  1.0 1"], vec![]),
        (
            "0,\"a,\"\"b\"\"\nc\",1,1\n0,d,1,x\n",
            &["1970-01-01T00:00:00 a,\"b\"\nc 1.0 1"],
            vec![wrong(3, "column 'volume': expected LONG, found 'x'")],
        ),
        ("0,a\"b\",1,1\n", &["1970-01-01T00:00:00 a\"b\" 1.0 1"], vec![]),
        (
            "0,\"a\"b,1,1\n0,c,1,1\n",
            &["1970-01-01T00:00:00 c 1.0 1"],
            vec![wrong(1, "text follows the closing quote of a field")],
        ),
        (
            "0,a,1,1\n0,\"b,1,1\n0,c,1,1\n",
            &["1970-01-01T00:00:00 a 1.0 1"],
            vec![wrong(2, "a quoted field is not closed")],
        ),
        (
            "0,a,1\n0,a,1,1,1\nx\n",
            &[],
            vec![
                wrong(1, "3 fields, expected 4"),
                wrong(2, "5 fields, expected 4"),
                wrong(3, "1 field, expected 4"),
            ],
        ),
        (
            "\n\r\n0,a,1,1\n\n0,a,1,\n",
            &["1970-01-01T00:00:00 a 1.0 1"],
            vec![wrong(5, "column 'volume': NULL in a NOT NULL column")],
        ),
        ("0,a, 1e2 , 017 \n", &["1970-01-01T00:00:00 a 100.0 17"], vec![]),
        ("0,a,+.5,-1\n", &["1970-01-01T00:00:00 a 0.5 -1"], vec![]),
        (
            "0,a,NaN,1\n0,a,1,1.5\n0,a,1,9223372036854775808\nyesterday,a,1,1\n",
            &[],
            vec![
                wrong(1, "column 'price': expected DOUBLE, found 'NaN'"),
                wrong(2, "column 'volume': expected LONG, found '1.5'"),
                wrong(3, "column 'volume': 9223372036854775808 is out of range for LONG"),
                wrong(
                    4,
                    "column 'ts': expected TIMESTAMP (epoch milliseconds or 'YYYY-MM-DDTHH:MM:SSZ'), found 'yesterday'",
                ),
            ],
        ),
        (
            "\"0\",\" a \",\"1\",\"17\"\n",
            &["1970-01-01T00:00:00  a  1.0 17"],
            vec![],
        ),
    ];
    for (input, rows, errors) in cases {
        let outcome = decode(&trades(), &[("header", "false")], input).unwrap();
        assert_eq!(outcome.rows(), *rows, "{input}");
        assert_eq!(outcome.messages(), *errors, "{input}");
    }
}

#[test]
fn headers() {
    let cases: &[(&str, Result<&[&str], &str>)] = &[
        ("volume,symbol\n1,a\n", Ok(&["null a null 1"])),
        ("\u{feff}Volume,\"other\",SYMBOL\r\n1,x,a\r\n", Ok(&["null a null 1"])),
        ("\n\nvolume\n7", Ok(&["null null null 7"])),
        ("", Ok(&[])),
        ("volume", Ok(&[])),
        (
            "symbol\na\n",
            Err("the header lacks the column 'volume', which is NOT NULL"),
        ),
        (
            "a,b\n1,2\n",
            Err(
                "the header (a, b) names none of the columns ts, symbol, price, volume; for a file without header set csv.header = 'false'",
            ),
        ),
        (
            "volume,VOLUME\n1,2\n",
            Err("the header names the column 'volume' twice"),
        ),
        ("volume,\"x\n1", Err("a quote in the header is not closed")),
    ];
    for (input, want) in cases {
        for piece in [1, 3, 1000] {
            let schema = DecodeSchema::all(trades());
            let outcome = read(&CsvFormat, &schema, &[], input.as_bytes(), piece).map(|outcome| outcome.rows());
            let outcome = outcome
                .as_ref()
                .map(|rows| rows.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(outcome.as_deref().map_err(|reason| reason.as_str()), *want, "{input}");
        }
    }
}

#[test]
fn header_names_that_differ_in_case_only() {
    let schema = Arc::new(Schema::new(vec![
        field("a", DataType::Int64),
        field("A", DataType::Int64),
    ]));
    assert_eq!(decode(&schema, &[], "A,a\n1,2\n").unwrap().rows(), ["2 1"]);
    let turkish = Arc::new(Schema::new(vec![
        field("Price", DataType::Int64),
        field("PRICE", DataType::Int64),
    ]));
    assert_eq!(
        decode(&turkish, &[], "price\n1\n"),
        Err("the header's 'price' could be any of the columns Price, PRICE".to_string())
    );
}

type Given = &'static [(&'static str, &'static str)];

#[test]
fn dialects() {
    let schema = Arc::new(Schema::new(vec![
        field("a", DataType::Utf8View),
        field("b", DataType::Int64),
    ]));
    let cases: &[(Given, &str, &[&str])] = &[
        (&[("delimiter", "\\t")], "a b\t1\n", &["a b 1"]),
        (&[("delimiter", "tab")], "a\t1\n", &["a 1"]),
        (&[("delimiter", ";"), ("quote", "'")], "'it''s;';1\n", &["it's; 1"]),
        (
            &[("escape", "\\")],
            "\"a\\\"b\\\\\",1\n\"a\"\"b\",2\n",
            &["a\"b\\ 1", "a\"b 2"],
        ),
        (&[("null", "NA")], "NA,NA\n\"NA\",1\n,2\n", &["null null", "NA 1", " 2"]),
        (&[("null", "-1")], "-1,-1\nx,1\n", &["null null", "x 1"]),
    ];
    for (given, input, want) in cases {
        let given: Vec<_> = given.iter().copied().chain([("header", "false")]).collect();
        let outcome = decode(&schema, &given, input).unwrap();
        assert_eq!(outcome.messages(), Vec::<String>::new());
        assert_eq!(outcome.rows(), *want, "{input}");
    }
}

#[test]
fn options_that_cannot_be() {
    let cases = [
        ("delimiter", "ab"),
        ("delimiter", "é"),
        ("delimiter", "\n"),
        ("delimiter", "\""),
        ("escape", ","),
        ("null", "a,b"),
    ];
    for (key, value) in cases {
        let raw = RawOption::new(format!("csv.{key}"), value);
        let options = Options::check("csv", CsvFormat.options(), &[raw]).unwrap();
        assert!(Dialect::new(&options).is_err(), "{key} {value}");
    }
}

#[test]
fn one_field_a_record() {
    let schema = Arc::new(Schema::new(vec![field("a", DataType::Utf8View)]));
    assert_eq!(
        decode(&schema, &[], "a\nx\n\n\"\"\n").unwrap().rows(),
        ["x", "null", ""]
    );
}

#[test]
fn nested_values_are_json() {
    let schema = Arc::new(Schema::new(vec![
        field("l", list_of(DataType::Int64)),
        json_field("j"),
        field("b", DataType::Boolean),
    ]));
    let input = "\"[1, 2]\",\"{\"\"a\"\":1}\",T\n[],17,0\n[1,[\n\"[1\",null,x\n[],\"{\",f\n";
    let outcome = decode(&schema, &[("header", "false")], input).unwrap();
    assert_eq!(outcome.rows(), ["[1, 2] {\"a\":1} true", "[] 17 false"]);
    assert_eq!(
        outcome.messages(),
        [
            "3: 2 fields, expected 3",
            "4: column 'l': expected JSON, found '[1': EOF while parsing a list",
            "5: column 'j': expected JSON, found '{': EOF while parsing an object",
        ]
    );
}

#[test]
fn invalid_utf8_takes_one_record() {
    let input = b"0,a,1,1\n0,\"\xFF\n\",1,1\n0,b,1,x\n0,c,1,2\n";
    let outcome = decode(&trades(), &[("header", "false")], input).unwrap();
    assert_eq!(
        outcome.rows(),
        ["1970-01-01T00:00:00 a 1.0 1", "1970-01-01T00:00:00 c 1.0 2"]
    );
    assert_eq!(
        outcome.messages(),
        [
            "2: invalid UTF-8 at byte 4 of the record",
            "4: column 'volume': expected LONG, found 'x'",
        ]
    );
    assert_eq!(outcome.errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn records_over_the_limit_take_only_themselves() {
    let long = "x\n\"\"".repeat(50);
    let input = format!("0,a,1,1\n0,\"{long}\",1,1\n0,b,1,2\n0,c,1,x\n0,\"{long}");
    for piece in [1, 7, 64, 100, 10_000] {
        let schema = DecodeSchema::all(trades());
        let given = [("header", "false"), ("max-record-bytes", "64")];
        let outcome = read(&CsvFormat, &schema, &given, input.as_bytes(), piece).unwrap();
        assert_eq!(outcome.batch.num_rows(), 2);
        let want = "the record is longer than csv.max-record-bytes (64)";
        let bad = "column 'volume': expected LONG, found 'x'";
        let want = [format!("2: {want}"), format!("54: {bad}"), format!("55: {want}")];
        assert_eq!(outcome.messages(), want, "{piece}");
    }
}

#[test]
fn written_records() {
    let schema = Arc::new(Schema::new(vec![
        field("s", DataType::Utf8View),
        field("a \"b\"", DataType::Float64),
        field("l", list_of(DataType::Utf8View)),
    ]));
    let input = "s,\"a \"\"b\"\"\",l\n,1,\"[\"\"x\"\",null]\"\n\"\",,\nNA,1e300,[]\n\"a\nb\",0.5,\n";
    let batch = decode(&schema, &[], input).unwrap().batch;
    let text = |given: &[(&str, &str)]| String::from_utf8(write(&CsvFormat, given, &batch)).unwrap();
    assert_eq!(
        text(&[]),
        "s,\"a \"\"b\"\"\",l\n,1.0,\"[\"\"x\"\",null]\"\n\"\",,\nNA,1e+300,[]\n\"a\nb\",0.5,\n"
    );
    assert_eq!(
        text(&[("header", "false"), ("null", "NA"), ("delimiter", ";")]),
        "NA;1.0;\"[\"\"x\"\",null]\"\n\"\";NA;NA\n\"NA\";1e+300;[]\n\"a\nb\";0.5;NA\n"
    );
}

fn dialect(escape: Option<u8>) -> Dialect {
    Dialect {
        delimiter: b',',
        quote: b'"',
        escape,
        null: Vec::new(),
        header: Header::Absent,
        limit: 1 << 20,
    }
}

/// The fields of each record as `csv-core` reads them.
fn csv_core_records(input: &[u8], escape: Option<u8>) -> Vec<Vec<Vec<u8>>> {
    use csv_core::{ReadFieldResult, ReaderBuilder, Terminator};
    let mut reader = ReaderBuilder::new();
    reader.terminator(Terminator::Any(b'\n')).escape(escape);
    let mut reader = reader.build();
    let (mut records, mut fields, mut current) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut out) = (input, [0; 64]);
    loop {
        let (result, read, written) = reader.read_field(rest, &mut out);
        rest = &rest[read..];
        current.extend_from_slice(&out[..written]);
        match result {
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            ReadFieldResult::Field { record_end } => {
                fields.push(std::mem::take(&mut current));
                if record_end {
                    records.push(std::mem::take(&mut fields));
                }
            }
            ReadFieldResult::End => return records,
        }
    }
}

const BY_NAME: [(&str, &str); 4] = [
    ("mapping.ts", "Time"),
    ("mapping.symbol", "Sym bol"),
    ("mapping.price", "last price"),
    ("mapping.volume", "3"),
];

#[test]
fn fields_by_name_and_position() {
    let input = "last price,TIME,\"Sym bol\",qty,rest\n1.5,0,A,7,x\n,,\"\",8,\n";
    let outcome = decode(&trades(), &BY_NAME, input).unwrap();
    assert_eq!(outcome.rows(), ["1970-01-01T00:00:00 A 1.5 7", "null  null 8"]);
    for (input, want) in [
        (
            "last price,Time,Symbol,qty\n",
            "the header (last price, Time, Symbol, qty) lacks 'Sym bol', which csv.mapping.symbol says is its field",
        ),
        (
            "last price,Time\n",
            "the header has 2 fields, but csv.mapping.volume is the one at position 3 (from 0)",
        ),
        ("Time,Time,last price,Sym bol,x\n", "the header names 'Time' twice"),
    ] {
        assert_eq!(decode(&trades(), &BY_NAME, input).unwrap_err(), want);
    }
    let quoted = [&BY_NAME[..3], &[("mapping.volume", "\"3\"")]].concat();
    let outcome = decode(&trades(), &quoted, "3,Time,Sym bol,last price\n7,0,A,1\n").unwrap();
    assert_eq!(outcome.rows(), ["1970-01-01T00:00:00 A 1.0 7"]);
}

#[test]
fn fields_by_position_without_header() {
    let given = [
        ("header", "false"),
        ("mapping.ts", "4"),
        ("mapping.symbol", "0"),
        ("mapping.price", "2"),
        ("mapping.volume", "1"),
    ];
    let input = "A,7,1.5,x,0\nB,8,2,x,0,more,\"and, more\"\n\nC,9,3,x\nD,1,2,x,0,\"open\n";
    let outcome = decode(&trades(), &given, input).unwrap();
    assert_eq!(
        outcome.rows(),
        ["1970-01-01T00:00:00 A 1.5 7", "1970-01-01T00:00:00 B 2.0 8"]
    );
    assert_eq!(
        outcome.messages(),
        ["4: 4 fields, expected at least 5", "5: a quoted field is not closed"]
    );
    let two = DecodeSchema {
        declared: trades(),
        wanted: [1, 3].into(),
    };
    let outcome = read(&CsvFormat, &two, &given, input.as_bytes(), 7).unwrap();
    assert_eq!(outcome.rows(), ["A 7", "B 8"]);
    let one = Arc::new(Schema::new(vec![field("x", DataType::Int64)]));
    let outcome = decode(&one, &[("header", "false"), ("mapping.x", "0")], "1,2\n\n3\n").unwrap();
    assert_eq!(outcome.rows(), ["1", "3"]);
}

#[test]
fn records_by_a_template() {
    let outcome = decode(&trades(), &[], "ts,symbol,price,volume\n0,\"a;b\",1.5,7\n,c,,8\n").unwrap();
    let given = [
        ("delimiter", ";"),
        (
            "template",
            "{{volume}};{{symbol}};{{#if price}}{{price}}{{else}}-{{/if}}",
        ),
    ];
    let text = String::from_utf8(write(&CsvFormat, &given, &outcome.batch)).unwrap();
    assert_eq!(text, "7;\"a;b\";1.5\n8;c;-\n");
    let options = options(&CsvFormat, &[("template", "{{volum}}")]);
    let error = CsvFormat.encoder(&trades(), &options).err().unwrap();
    assert_eq!(error.message, "option 'csv.template': the stream has no column 'volum'");
    assert_eq!(error.hint.as_deref(), Some("did you mean '{{volume}}'?"));
}

#[test]
fn mappings_are_checked() {
    let schema = DecodeSchema::all(trades());
    let refused = |given: &[(&str, &str)]| {
        let options = options(&CsvFormat, given);
        let error = CsvFormat.decoder(&schema, &options).err().unwrap();
        format!("{} ({})", error.message, error.hint.clone().unwrap_or_default())
    };
    assert_eq!(
        refused(&BY_NAME[..3]),
        "option 'csv.mapping.price': the column 'volume' has no mapping; columns are mapped all or none \
         (add \"csv.mapping.volume\" = 'volume', or remove csv.mapping.…)"
    );
    assert_eq!(
        refused(&[&BY_NAME[..], &[("header", "false")]].concat()),
        "option 'csv.mapping.ts': without a header no field is called 'Time' (give its position, from 0, or set csv.header = \
         'true')"
    );
    assert_eq!(
        refused(&[&BY_NAME[..3], &[("mapping.volume", "Time")]].concat()),
        "option 'csv.mapping.volume': the columns 'ts' and 'volume' have the same field (map one of them, and select it twice)"
    );
    assert_eq!(
        refused(&[&BY_NAME[..3], &[("mapping.volume", "65536")]].concat()),
        "option 'csv.mapping.volume': positions are 0 to 65535 ()"
    );
    let options = options(&CsvFormat, &BY_NAME);
    let error = CsvFormat.encoder(&trades(), &options).err().unwrap();
    assert!(error.message.ends_with("it says how to read, and a sink writes"));
}

proptest! {
    #[test]
    fn the_grammar_is_csv_cores(input in "([a,\"\n\\\\]|\"[a,\n]{0,3}\"|,|\n){0,30}", escaped: bool) {
        let escape = escaped.then_some(b'\\');
        let dialect = dialect(escape);
        let (mut records, mut at, mut broken) = (Vec::new(), 0, false);
        while at < input.len() {
            if input.as_bytes()[at] == b'\n' {
                at += 1;
                continue;
            }
            let (fields, next) = grammar::record(input.as_bytes(), at, &dialect);
            broken |= fields.iter().any(|field| matches!(field.form, Form::Unclosed | Form::Trailing));
            let texts = fields.iter().map(|field| {
                let content = &input[field.start..field.end];
                match field.form {
                    Form::Escaped => grammar::unescape(content, &dialect).into_bytes(),
                    _ => content.as_bytes().to_vec(),
                }
            });
            records.push(texts.collect::<Vec<_>>());
            at = next;
        }
        // What csv-core reads leniently is an error here.
        if !broken {
            prop_assert_eq!(records, csv_core_records(input.as_bytes(), escape));
        }
    }

    #[test]
    fn pieces_give_what_the_whole_gives(
        input in "([0-9a,\"\n\\\\\r é]|\"[a,\n]{0,3}\"|,|\n|0,a,1,1\n|,\"x\"\"\n\",,7\r\n|,,,x\n){0,30}",
        noise in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        piece in 1usize..30,
        escaped: bool,
        header: bool,
    ) {
        let mut input = input.into_bytes();
        if let (Some((at, byte)), false) = (noise, input.is_empty()) {
            let at = at.index(input.len());
            input[at] = byte;
        }
        if header {
            input.splice(0..0, *b"volume,symbol,ts,price\n");
        }
        let header = header.to_string();
        let mut given = vec![("header", header.as_str()), ("max-record-bytes", "64")];
        if escaped {
            given.push(("escape", "\\"));
        }
        let schema = DecodeSchema::all(trades());
        let whole = read(&CsvFormat, &schema, &given, &input, usize::MAX).unwrap();
        let pieces = read(&CsvFormat, &schema, &given, &input, piece).unwrap();
        prop_assert!(same(&whole.batch, &pieces.batch), "{:?} {:?}", whole.rows(), pieces.rows());
        let places = |outcome: &Outcome| outcome.errors.iter().map(|e| (e.line, e.row, e.message.clone())).collect::<Vec<_>>();
        prop_assert_eq!(places(&whole), places(&pieces));
    }

    #[test]
    fn rows_and_errors_account_for_every_record(input in "([0-9a,\"\n é]|0,a,1,1\n|,,,x\n){0,30}") {
        let outcome = decode(&trades(), &[("header", "false")], &input).unwrap();
        let (mut records, mut at) = (0, 0);
        while at < input.len() {
            let (fields, next) = grammar::record(input.as_bytes(), at, &dialect(None));
            records += usize::from(!(fields.len() == 1 && fields[0].form == Form::Plain && fields[0].start == fields[0].end));
            at = next;
        }
        prop_assert_eq!(outcome.batch.num_rows() + outcome.errors.len(), records);
    }

    #[test]
    fn noise_never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&every_type(), &[("header", "false")], &input);
        let _ = decode(&every_type(), &[], &input);
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(batch in batches(every_type()), null in "|NA|1|-", escape in proptest::option::of(Just("\\"))) {
        for delimiter in [",", "tab", "-", "1"] {
            if null.contains(delimiter) {
                continue;
            }
            let mut given = vec![("delimiter", delimiter), ("null", null.as_str())];
            given.extend(escape.map(|escape| ("escape", escape)));
            prop_assert!(Dialect::new(&options(&CsvFormat, &given)).is_ok());
            let text = write(&CsvFormat, &given, &batch);
            let outcome = decode(&every_type(), &given, &text).unwrap();
            prop_assert_eq!(outcome.messages(), Vec::<String>::new(), "{}", String::from_utf8_lossy(&text));
            prop_assert!(same(&outcome.batch, &batch), "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn one_column_reads_back(batch in batches(Arc::new(Schema::new(vec![field("a", DataType::Utf8View)])))) {
        let text = write(&CsvFormat, &[], &batch);
        prop_assert!(same(&decode(&batch.schema(), &[], &text).unwrap().batch, &batch));
    }
}
