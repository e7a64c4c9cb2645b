//! What a sink writes: templates, envelopes, NULLs, operations.

use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema};

use crate::catalog::types::TIMESTAMP;
use crate::event::{EventBatch, Op, Times};
use crate::formats::Format;
use crate::formats::json::JsonFormat;
use crate::formats::testing::{field, options};

fn batch() -> EventBatch {
    let schema = Schema::new(vec![
        field("s", DataType::Utf8View),
        field("p", DataType::Float64),
        field("t", TIMESTAMP),
    ]);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(StringViewArray::from(vec![Some("a\"\n"), None])),
        Arc::new(Float64Array::from(vec![None, Some(2.5)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None])),
    ];
    let columns = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    EventBatch::changes(columns, Times::Same(0), [Op::Insert, Op::Delete].into())
}

fn written(given: &[(&str, &str)]) -> Result<String, String> {
    let options = options(&JsonFormat, given);
    let mut encoder = match JsonFormat.encoder(&batch().schema(), &options) {
        Ok(encoder) => encoder,
        Err(error) => return Err(error.message.clone()),
    };
    let mut out = Vec::new();
    encoder.encode(&batch(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for line in text.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    Ok(text)
}

#[test]
fn forms_of_records() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[],
            "{\"s\":\"a\\\"\\n\",\"p\":null,\"t\":\"1970-01-01T00:00:01.500Z\"}\n{\"s\":null,\"p\":2.5,\"t\":null}\n",
        ),
        (
            &[("include-nulls", "false")],
            "{\"s\":\"a\\\"\\n\",\"t\":\"1970-01-01T00:00:01.500Z\"}\n{\"p\":2.5}\n",
        ),
        (
            &[
                ("ops", "true"),
                ("include-nulls", "false"),
                ("date-format", "epoch-millis"),
            ],
            "{\"op\":\"+I\",\"s\":\"a\\\"\\n\",\"t\":1500}\n{\"op\":\"-D\",\"p\":2.5}\n",
        ),
        (
            &[
                ("envelope", "event"),
                ("include-nulls", "false"),
                ("date-format", "yyyy"),
            ],
            "{\"event\":{\"s\":\"a\\\"\\n\",\"t\":\"1970\"}}\n{\"event\":{\"p\":2.5}}\n",
        ),
        (
            &[
                ("envelope", "$.data['e v']"),
                ("include-nulls", "false"),
                ("ops", "p"),
                ("date-format", "epoch-seconds"),
            ],
            "{\"p\":\"+I\",\"data\":{\"e v\":{\"s\":\"a\\\"\\n\",\"t\":1.500000}}}\n{\"p\":\"-D\",\"data\":{\"e v\":{\"p\":2.5}}}\n",
        ),
        (
            &[(
                "template",
                "{\"x\":{{s}},\"y\":\"<{{s}}|{{p}}>\"{{#if p}},\"p\":{{p}}{{/if}},\"o\":{{@op}}}",
            )],
            "{\"x\":\"a\\\"\\n\",\"y\":\"<a\\\"\\n|>\",\"o\":\"+I\"}\n{\"x\":null,\"y\":\"<|2.5>\",\"p\":2.5,\"o\":\"-D\"}\n",
        ),
    ];
    for (given, want) in cases {
        assert_eq!(written(given).unwrap(), *want, "{given:?}");
    }
}

#[test]
fn forms_that_make_no_sense() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("ops", "p")], "option 'json.ops': 'p' is a column already"),
        (
            &[("ops", "e"), ("envelope", "e")],
            "option 'json.ops': 'e' is the envelope already",
        ),
        (
            &[("envelope", "$.a[0]")],
            "option 'json.envelope': it is made of names only: 'event', or '$.data.event'",
        ),
        (
            &[("template", "{}"), ("ops", "true")],
            "option 'json.ops': the form of a record is what json.template says",
        ),
        (
            &[("template", "{}"), ("include-nulls", "false")],
            "option 'json.include-nulls': the form of a record is what json.template says",
        ),
        (
            &[("template", "{{{q}}}")],
            "option 'json.template': the stream has no column 'q'",
        ),
        (
            &[("root", "$.a")],
            "option 'json.root': it says how to read, and a sink writes",
        ),
        (
            &[("case-insensitive", "true")],
            "option 'json.case-insensitive': it says how to read, and a sink writes",
        ),
    ];
    for (given, want) in cases {
        assert_eq!(written(given).unwrap_err(), *want);
    }
}
