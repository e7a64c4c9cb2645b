//! Poison between good records: it takes only itself, whatever the format.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use proptest::prelude::*;

use super::csv::CsvFormat;
use super::json::JsonFormat;
use super::testing::{Outcome, field, json_field, read};
use super::text::TextFormat;
use super::{DecodeSchema, Format};

/// A format, its options, and a good record of it.
struct Case {
    format: &'static dyn Format,
    given: &'static [(&'static str, &'static str)],
    good: &'static str,
    row: &'static str,
}

const LIMIT: (&str, &str) = ("max-record-bytes", "100000");

const CASES: &[Case] = &[
    Case {
        format: &JsonFormat,
        given: &[LIMIT],
        good: "{\"s\":\"x\",\"n\":7,\"j\":[1]}",
        row: "x 7 [1]",
    },
    Case {
        format: &JsonFormat,
        given: &[
            LIMIT,
            ("root", "$.d"),
            ("mapping.s", "$.a.s"),
            ("mapping.n", "$.l[0].n"),
            ("mapping.j", "$.l"),
        ],
        good: "{\"d\":[{\"a\":{\"s\":\"x\"},\"l\":[{\"n\":7}]}]}",
        row: "x 7 [{\"n\":7}]",
    },
    Case {
        format: &CsvFormat,
        given: &[LIMIT, ("header", "false")],
        good: "x,7,[1]",
        row: "x 7 [1]",
    },
    Case {
        format: &CsvFormat,
        given: &[
            LIMIT,
            ("header", "false"),
            ("mapping.s", "2"),
            ("mapping.n", "0"),
            ("mapping.j", "3"),
        ],
        good: "7,,x,[1],more",
        row: "x 7 [1]",
    },
];

/// Reads the poison between good records; every one of them must be read.
fn poisoned(case: &Case, poison: &[u8], piece: usize) -> Outcome {
    let schema = DecodeSchema::all(Arc::new(Schema::new(vec![
        field("s", DataType::Utf8View),
        field("n", DataType::Int64),
        json_field("j"),
    ])));
    let good = format!("{}\n", case.good).into_bytes();
    let input = [&good, &good, poison, b"\n", &good, poison, b"\n", &good].concat();
    let outcome = read(case.format, &schema, case.given, &input, piece).unwrap();
    let rows = outcome.rows();
    let shown = String::from_utf8_lossy(&poison[..poison.len().min(100)]).into_owned();
    assert!(
        rows.iter().filter(|row| *row == case.row).count() >= 4,
        "{shown}: {rows:?}"
    );
    assert_eq!(
        (rows[0].as_str(), rows[rows.len() - 1].as_str()),
        (case.row, case.row),
        "{shown}"
    );
    outcome
}

#[test]
fn poison_takes_only_itself() {
    let deep = |open: &str, levels| open.repeat(levels).into_bytes();
    let poisons: Vec<Vec<u8>> = vec![
        b"\0".to_vec(),
        b"\0\0,\0,\0".to_vec(),
        b"\xEF\xBB\xBF{}".to_vec(),
        b"\xFF\xFE{\0}\0".to_vec(),
        b"caf\xE9,1,1".to_vec(),
        "{\"s\":\"".as_bytes().to_vec(),
        b"{\"s\":\"caf\xE9\"}".to_vec(),
        deep("[", 90_000),
        deep("{\"d\":", 15_000),
        deep("{\"a\":{\"s\":[", 5_000),
        [deep("{\"d\":[{\"l\":", 1_000), deep("}]}", 1_000)].concat(),
        vec![b'x'; 300_000],
        vec![b'['; 300_000],
        vec![b','; 300_000],
        b"{\"n\":1e999999999}".to_vec(),
        b"{\"n\":99999999999999999999999999999999}".to_vec(),
        b"x,99999999999999999999999999999999,1".to_vec(),
        b"1e999999999,1,1".to_vec(),
        b"{\"d\":[{\"l\":[{\"n\":1e99}]}]}".to_vec(),
        b"{\"d\":[{\"a\":{\"s\":\"\\ud800\"}}]}".to_vec(),
        b"\r\r\r".to_vec(),
        b"NaN,Infinity,-0".to_vec(),
    ];
    for case in CASES {
        for poison in &poisons {
            // A quote that opens a field of CSV is closed only by another: see the page of the format.
            let opens = poison.starts_with(b"\"") || poison.windows(2).any(|two| two == b",\"");
            if !(case.format.name() == "csv" && opens) {
                for piece in [7_001, 1 << 20] {
                    poisoned(case, poison, piece);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_take_only_themselves(noise in proptest::collection::vec(any::<u8>(), 0..80), piece in 1usize..90) {
        let noise: Vec<u8> = noise.into_iter().filter(|byte| !matches!(byte, b'\n' | b'"')).collect();
        for case in CASES {
            poisoned(case, &noise, piece);
        }
    }

    #[test]
    fn every_line_of_a_text_is_a_row_or_an_error(noise in proptest::collection::vec(any::<u8>(), 0..80), piece in 1usize..90) {
        let schema = DecodeSchema::all(Arc::new(Schema::new(vec![field("s", DataType::Utf8View)])));
        let input = [b"first\n", noise.as_slice(), b"\nlast\n"].concat();
        let outcome = read(&TextFormat, &schema, &[], &input, piece).unwrap();
        let lines = input.split(|byte| *byte == b'\n').count() - 1;
        prop_assert_eq!(outcome.batch.num_rows() + outcome.errors.len(), lines);
        prop_assert_eq!(outcome.rows().pop(), Some("last".to_string()));
    }
}
