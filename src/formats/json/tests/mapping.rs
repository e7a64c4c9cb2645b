//! Where columns are found: paths, roots, what happens when there is nothing.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use proptest::prelude::*;

use super::{decoder, outcome};
use crate::catalog::types::TIMESTAMP;
use crate::config::options::{Options, RawOption};
use crate::error::Diagnostic;
use crate::formats::json::JsonFormat;
use crate::formats::json::mapping::Mapping;
use crate::formats::testing::{Outcome, field, json_field, list_of, read, same};
use crate::formats::{DecodeSchema, Format};

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// `a LONG, b STRING, c DOUBLE`.
fn abc() -> SchemaRef {
    schema(vec![
        field("a", DataType::Int64),
        field("b", DataType::Utf8View),
        field("c", DataType::Float64),
    ])
}

/// Reads the quick way and the strict way, which must agree.
fn decode(schema: &SchemaRef, given: &[(&str, &str)], input: &str) -> Outcome {
    let schema = DecodeSchema::all(schema.clone());
    let quick = outcome(decoder(&schema, given, 1 << 20), input.as_bytes());
    let strict = outcome(decoder(&schema, given, 1 << 20).strict(), input.as_bytes());
    assert_eq!(quick.errors, strict.errors, "{input}");
    assert!(
        same(&quick.batch, &strict.batch),
        "{:?} {:?}",
        quick.rows(),
        strict.rows()
    );
    quick
}

/// Rows and errors of lines read with options.
fn check(schema: &SchemaRef, given: &[(&str, &str)], cases: &[(&str, &[&str], &[&str])]) {
    for (input, rows, errors) in cases {
        let outcome = decode(schema, given, input);
        assert_eq!(outcome.rows(), *rows, "{input}");
        assert_eq!(outcome.messages(), *errors, "{input}");
    }
    // All lines together: what was learned from one must not mislead in the next.
    let all: Vec<&str> = cases.iter().map(|(input, _, _)| *input).collect();
    let together = decode(schema, given, &all.join("\n"));
    let each: Vec<&str> = cases.iter().flat_map(|(_, rows, _)| rows.iter().copied()).collect();
    assert_eq!(together.rows(), each);
    let reversed: Vec<&str> = all.iter().rev().copied().collect();
    decode(schema, given, &[all, reversed].concat().join("\n"));
}

const NESTED: &[(&str, &str)] = &[
    ("mapping.a", "$.x.a"),
    ("mapping.b", "$.x.y['b']"),
    ("mapping.c", "$.z[1].c"),
];

#[test]
fn columns_come_from_their_paths() {
    check(
        &abc(),
        NESTED,
        &[
            (
                r#"{"x":{"a":1,"y":{"b":"p"}},"z":[{"c":9},{"c":2.5},{"c":3}]}"#,
                &["1 p 2.5"],
                &[],
            ),
            (
                r#"{ "z" : [ 0 , { "d" : [1,{}] , "c" : 4 } ] , "x" : { "y" : { "b" : "q" } , "a" : 2 } } "#,
                &["2 q 4.0"],
                &[],
            ),
            (r#"{"x":{"y":{}},"z":[]}"#, &["null null null"], &[]),
            (r#"{"x":null,"z":null}"#, &["null null null"], &[]),
            (r#"{"x":[1],"z":{"c":1}}"#, &["null null null"], &[]),
            (r#"{"x":{"a":null,"y":7},"z":[1,2]}"#, &["null null null"], &[]),
            (r#"{}"#, &["null null null"], &[]),
            (r#"{"u":{"x":{"a":5}},"v":[{"a":6}]}"#, &["null null null"], &[]),
            // The last of what comes twice, as a whole.
            (r#"{"x":{"a":1,"y":{"b":"p"}},"x":{"a":3}}"#, &["3 null null"], &[]),
            (r#"{"x":{"a":1},"x":5}"#, &["null null null"], &[]),
            (r#"{"x":{"a":1,"a":2,"y":{"b":"p"},"y":{"b":"q"}}}"#, &["2 q null"], &[]),
            (
                r#"{"x":{"a":"one","y":{"b":"p"}}}"#,
                &[],
                &["1: column 'a': expected LONG, found \"one\""],
            ),
            (
                r#"{"x":{"a":1,"y":{"b":"p"}}"#,
                &[],
                &["1: not valid JSON: EOF while parsing an object at column 26"],
            ),
            (
                r#"{"x":{"a":1}]"#,
                &[],
                &["1: not valid JSON: expected `,` or `}` at column 13"],
            ),
            (r#"{"\u0078":{"\u0061":8}}"#, &["8 null null"], &[]),
            (
                r#"[{"x":{"a":1}},{"x":{"a":2}},{},5]"#,
                &["1 null null", "2 null null", "null null null"],
                &["1: expected a JSON object, found 5"],
            ),
        ],
    );
}

#[test]
fn one_value_for_several_columns_and_whole_parts() {
    let schema = schema(vec![
        field("a", DataType::Int64),
        field("b", DataType::Int64),
        json_field("x"),
        json_field("all"),
    ]);
    let given = [
        ("mapping.a", "$.x.a"),
        ("mapping.b", "$.x.a"),
        ("mapping.x", "$.x"),
        ("mapping.all", "$"),
    ];
    check(
        &schema,
        &given,
        &[
            (r#"{"x":{"a":1}}"#, &[r#"1 1 {"a":1} {"x":{"a":1}}"#], &[]),
            (r#"{"x":[ ]}"#, &[r#"null null [ ] {"x":[ ]}"#], &[]),
            (r#"{"y":1}"#, &[r#"null null null {"y":1}"#], &[]),
            (
                r#"[{"y":1},{"x":{"a":"-"}}]"#,
                &[r#"null null null {"y":1}"#],
                &["1: column 'a': expected LONG, found \"-\""],
            ),
        ],
    );
}

#[test]
fn positions_from_both_ends() {
    let given = [
        ("mapping.a", "$.l[0]"),
        ("mapping.b", "$.l[-1].b"),
        ("mapping.c", "$.l[20]"),
    ];
    let long: Vec<String> = (0..22).map(|n| n.to_string()).collect();
    let long = format!("{{\"l\":[{}]}}", long.join(","));
    check(
        &abc(),
        &given,
        &[
            (r#"{"l":[1,{"b":"x"}]}"#, &["1 x null"], &[]),
            (
                r#"{"l":[{"b":"x"}]}"#,
                &[],
                &[r#"1: column 'a': expected LONG, found {"b":"x"}"#],
            ),
            (r#"{"l":[]}"#, &["null null null"], &[]),
            (&long, &["0 null 20.0"], &[]),
        ],
    );
    let front = [
        ("mapping.a", "$.l[0]"),
        ("mapping.b", "$.l[2]"),
        ("mapping.c", "$.l[1]"),
    ];
    check(
        &abc(),
        &front,
        &[
            (r#"{"l":[1,2,"x",{"y":[]},[5],6]}"#, &["1 x 2.0"], &[]),
            (r#"{"l":[1]}"#, &["1 null null"], &[]),
            (r#"{"l":[ ],"m":[1,2,"y"]}"#, &["null null null"], &[]),
            (r#"{"l":[3,4,"z"]}"#, &["3 z 4.0"], &[]),
        ],
    );
}

#[test]
fn arrays_as_records() {
    let given = [("mapping.a", "$[0]"), ("mapping.b", "$[2]"), ("mapping.c", "$[1][0]")];
    check(
        &abc(),
        &given,
        &[
            (r#"[1,[2.5,7],"x",{}]"#, &["1 x 2.5"], &[]),
            ("[]", &["null null null"], &[]),
            ("[5]", &["5 null null"], &[]),
            (r#"{"a":1}"#, &[], &[r#"1: expected a JSON array, found {"a":1}"#]),
        ],
    );
    let rooted = [&given[..], &[("root", "$.rows")]].concat();
    check(
        &abc(),
        &rooted,
        &[
            (r#"{"rows":[[1,[2],"x"],[3,null,"y"]]}"#, &["1 x 2.0", "3 y null"], &[]),
            (
                r#"{"rows":[[1],{}]}"#,
                &["1 null null"],
                &["1: expected a JSON array, found {}"],
            ),
        ],
    );
}

#[test]
fn records_below_a_root() {
    let given = [("root", "$.data.rows")];
    check(
        &abc(),
        &given,
        &[
            (
                r#"{"id":7,"data":{"rows":[{"a":1,"b":"x"},{"b":"y","c":2,"a":3},{"a":4,"z":[{}]}],"n":[3]},"m":{}}"#,
                &["1 x null", "3 y 2.0", "4 null null"],
                &[],
            ),
            (r#"{"data":{"rows":{"a":1,"b":"x","c":2}}}"#, &["1 x 2.0"], &[]),
            (r#"{"data":{"rows":[]}}"#, &[], &[]),
            (r#"{"data":{"rows":null}}"#, &[], &[]),
            (r#"{"data":{}}"#, &[], &[]),
            (r#"{"data":[]}"#, &[], &[]),
            (
                r#"{"data":{"rows":[{},{"a":1}]}}"#,
                &["null null null", "1 null null"],
                &[],
            ),
            (
                r#"{"data":{"rows":[{"a":1},{}]}}"#,
                &["1 null null", "null null null"],
                &[],
            ),
            (
                r#"{"data":{"rows":[{"a":1},{"a":"x"},7,{"a":2}]}}"#,
                &["1 null null", "2 null null"],
                &[
                    "1: column 'a': expected LONG, found \"x\"",
                    "1: expected a JSON object, found 7",
                ],
            ),
            (r#"{"data":{"rows":7}}"#, &[], &["1: expected a JSON object, found 7"]),
            (
                r#"{"data":{"rows":[{"a":1},{"a":2}]}"#,
                &[],
                &["1: not valid JSON: EOF while parsing an object at column 34"],
            ),
            // The last of what comes twice.
            (r#"{"data":{"rows":[{"a":1}],"rows":[{"a":2}]}}"#, &["2 null null"], &[]),
            (
                r#"{"data":{"rows":[{"a":1}]},"data":{"rows":[{"a":3}]}}"#,
                &["3 null null"],
                &[],
            ),
            (r#"{"data":{"rows":[{"a":1}]},"data":null}"#, &[], &[]),
            (r#"[{"data":{"rows":[{"a":1}]}}]"#, &[], &[]),
        ],
    );
    let missing = [("root", "$.data.rows"), ("fail-on-missing-field", "true")];
    let outcome = decode(
        &abc(),
        &missing,
        "{\"data\":{}}\n{\"data\":{\"rows\":[]}}\n{\"data\":{\"rows\":[{\"a\":1}]}}",
    );
    assert_eq!(
        outcome.messages(),
        [
            "1: there is nothing at json.root",
            "3: column 'b': the record has no $.b"
        ]
    );
}

#[test]
fn values_of_the_whole_message() {
    let given = [
        ("root", "$.rows"),
        ("mapping.a", "$.a"),
        ("mapping.b", "$$.source.name"),
        ("mapping.c", "$$.rows[0].c"),
    ];
    check(
        &abc(),
        &given,
        &[
            (
                r#"{"rows":[{"a":1,"c":5},{"a":2}],"source":{"name":"s"}}"#,
                &["1 s 5.0", "2 s 5.0"],
                &[],
            ),
            (r#"{"rows":[{"a":1}]}"#, &["1 null null"], &[]),
            (
                r#"{"rows":[{"a":1},{"a":2}],"source":{"name":3}}"#,
                &[],
                &[
                    "1: column 'b': expected STRING (declare the column JSON to take any value), found 3",
                    "1: column 'b': expected STRING (declare the column JSON to take any value), found 3",
                ],
            ),
        ],
    );
    // A large value and many records: one message must not become a thousand times as much.
    let many = vec!["{\"a\":1}"; 3000].join(",");
    let large = format!(
        "{{\"rows\":[{many}],\"source\":{{\"name\":\"{}\"}}}}",
        "x".repeat(100_000)
    );
    let outcome = decode(&abc(), &given, &large);
    assert_eq!(
        outcome.messages(),
        ["1: the columns with '$$' would take more than 268435456 bytes in its records"]
    );
}

#[test]
fn several_values_make_an_array() {
    let schema = schema(vec![
        field("p", list_of(DataType::Float64)),
        field("q", list_of(DataType::Int64)),
        field("r", DataType::Int64),
    ]);
    let given = [
        ("mapping.p", "$.legs[*].price"),
        ("mapping.q", "$.legs[0:2].size"),
        ("mapping.r", "$.legs[0].size"),
    ];
    check(
        &schema,
        &given,
        &[
            (
                r#"{"legs":[{"price":1,"size":2},{"price":2.5},{"size":3}]}"#,
                &["[1.0, 2.5] [2] 2"],
                &[],
            ),
            (r#"{"legs":[]}"#, &["[] [] null"], &[]),
            (r#"{"legs":7}"#, &["[] [] null"], &[]),
            (r#"{}"#, &["null null null"], &[]),
            (
                r#"{"legs":[{"price":"x"}]}"#,
                &[],
                &["1: column 'p[0]': expected DOUBLE, found \"x\""],
            ),
        ],
    );
}

#[test]
fn names_in_any_case() {
    let given = [("case-insensitive", "true")];
    check(
        &abc(),
        &given,
        &[
            (r#"{"A":1,"B":"x","C":2}"#, &["1 x 2.0"], &[]),
            (r#"{"a":1,"A":2}"#, &["2 null null"], &[]),
            (r#"{"A":2,"a":1}"#, &["1 null null"], &[]),
        ],
    );
    let nested = [NESTED, &[("case-insensitive", "true"), ("root", "$.Rows")]].concat();
    check(
        &abc(),
        &nested,
        &[(
            r#"{"ROWS":[{"X":{"A":1,"Y":{"B":"p"}}},{"x":{"a":2},"X":{"y":{"b":"q"}}}]}"#,
            &["1 p null", "null q null"],
            &[],
        )],
    );
    let exact = decode(&abc(), &[], r#"{"A":1,"b":"x"}"#);
    assert_eq!(exact.rows(), ["null x null"]);
}

#[test]
fn errors_can_be_ignored() {
    let schema = schema(vec![
        field("a", DataType::Int64),
        Field::new("b", DataType::Int64, false),
    ]);
    let input = concat!(
        "{\"a\":\"x\",\"b\":1}\n{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n{\"a\":\nnoise\n5\n{\"a\":[],\"a\":3,\"b\":4}\n",
        "[{\"a\":{},\"b\":5},6]\n{\"a\":3,\"a\":[],\"b\":6}\n",
    );
    let outcome = decode(&schema, &[("ignore-parse-errors", "true")], input);
    assert_eq!(outcome.rows(), ["null 1", "3 4", "null 5", "null 6"]);
    assert_eq!(outcome.messages(), [] as [&str; 0]);
    let limit = [("ignore-parse-errors", "true"), ("max-record-bytes", "64")];
    let long = format!("{{\"a\":\"{}\"}}\n{{\"a\":1,\"b\":2}}\n\u{0}\n", "x".repeat(100));
    for piece in [1, 50, 1000] {
        let outcome = read(
            &JsonFormat,
            &DecodeSchema::all(schema.clone()),
            &limit,
            long.as_bytes(),
            piece,
        )
        .unwrap();
        assert_eq!((outcome.rows(), outcome.errors.len()), (vec!["1 2".to_string()], 0));
    }
}

#[test]
fn missing_values_can_be_errors() {
    let given = [&[("fail-on-missing-field", "true")], NESTED].concat();
    check(
        &abc(),
        &given,
        &[
            (
                r#"{"x":{"a":null,"y":{"b":null}},"z":[0,{"c":null}]}"#,
                &["null null null"],
                &[],
            ),
            (
                r#"{"x":{"a":1,"y":{"b":"p"}},"z":[{"c":1}]}"#,
                &[],
                &["1: column 'c': the record has no $.z[1].c"],
            ),
            (r#"{"x":null}"#, &[], &["1: column 'a': the record has no $.x.a"]),
        ],
    );
}

#[test]
fn times_in_other_formats() {
    let schema = schema(vec![field("t", TIMESTAMP), field("l", list_of(TIMESTAMP))]);
    let given = [("date-format", "dd.MM.yyyy HH:mm:ss")];
    check(
        &schema,
        &given,
        &[
            (
                r#"{"t":"14.11.2023 22:13:20","l":["14.11.2023 22:13:21",null]}"#,
                &["2023-11-14T22:13:20 [2023-11-14T22:13:21, null]"],
                &[],
            ),
            (
                r#"{"t":"2023-11-14T22:13:20Z"}"#,
                &[],
                &["1: column 't': expected TIMESTAMP (dd.MM.yyyy HH:mm:ss), found \"2023-11-14T22:13:20Z\""],
            ),
            (
                r#"{"t":1700000000000}"#,
                &[],
                &["1: column 't': expected TIMESTAMP (dd.MM.yyyy HH:mm:ss), found 1700000000000"],
            ),
        ],
    );
    let given = [("date-format", "epoch-seconds")];
    check(
        &schema,
        &given,
        &[
            (r#"{"t":1700000000.5}"#, &["2023-11-14T22:13:20.500 null"], &[]),
            (r#"{"t":"1700000000"}"#, &["2023-11-14T22:13:20 null"], &[]),
            (
                r#"{"t":true}"#,
                &[],
                &["1: column 't': expected TIMESTAMP (epoch-seconds), found true"],
            ),
        ],
    );
}

/// The error that options make of a source with those columns.
fn refused(schema: &SchemaRef, given: &[(&str, &str)]) -> Diagnostic {
    let raw: Vec<RawOption> = given
        .iter()
        .enumerate()
        .map(|(index, (key, value))| RawOption {
            key: format!("json.{key}"),
            key_span: None,
            value: value.to_string(),
            value_span: Some(index..index + 1),
            source: None,
            secret: false,
            loose: false,
        })
        .collect();
    let options = Options::check("json", JsonFormat.options(), &raw).unwrap();
    Mapping::new(schema, &options).unwrap_err()
}

/// Options, which of them the error points at, its message and its hint.
type Refused<'a> = (&'a [(&'a str, &'a str)], usize, &'a str, &'a str);

#[test]
fn options_are_checked() {
    let cases: &[Refused] = &[
        (
            &[("mapping.a", "$.a"), ("mapping.b", "$.b")],
            0,
            "option 'json.mapping.a': the column 'c' has no mapping; columns are mapped all or none",
            "add \"json.mapping.c\" = '$.c', or remove json.mapping.…",
        ),
        (
            &[("mapping.b", "$.b")],
            0,
            "option 'json.mapping.b': the columns 'a', 'c' have no mapping; columns are mapped all or none",
            "add \"json.mapping.a\" = '$.a', or remove json.mapping.…",
        ),
        (
            &[("mapping.a", "$.a"), ("mapping.bb", "$.b")],
            1,
            "option 'json.mapping.bb': the stream has no column 'bb'",
            "did you mean 'json.mapping.b'?",
        ),
        (
            &[("mapping.a", "$.a"), ("mapping.A", "$.b")],
            0,
            "option 'json.mapping.a': the column 'a' is mapped twice",
            "",
        ),
        (
            &[("mapping.a", "a.b"), ("mapping.b", "$"), ("mapping.c", "$")],
            0,
            "option 'json.mapping.a': a path begins with '$', as in '$.a.b'",
            "",
        ),
        (
            &[("mapping.a", "$.l[*]"), ("mapping.b", "$"), ("mapping.c", "$")],
            0,
            "option 'json.mapping.a': '$.l[*]' leads to any number of values, but the column 'a' is LONG",
            "declare it ARRAY<LONG>, or name one value: a member or a position",
        ),
        (
            &[("mapping.a", "$[0]"), ("mapping.b", "$.b"), ("mapping.c", "$[1]")],
            0,
            "option 'json.mapping.a': '$[0]' takes the record for an array, '$.b' of the column 'b' for an object",
            "",
        ),
        (
            &[("root", "$.rows[*]")],
            0,
            "option 'json.root': it must lead to one object or array: names and positions only",
            "the elements of an array are a record each, without '[*]'",
        ),
        (
            &[("root", "$$.rows")],
            0,
            "option 'json.root': it starts in the whole message anyway: write '$'",
            "",
        ),
        (
            &[("fail-on-missing-field", "true"), ("ignore-parse-errors", "true")],
            0,
            "option 'json.fail-on-missing-field': a missing field cannot be an error when json.ignore-parse-errors ignores \
             all errors",
            "set one of them to 'false'",
        ),
        (
            &[("include-nulls", "false")],
            0,
            "option 'json.include-nulls': it says how to write, and a source reads",
            "remove it",
        ),
        (
            &[("date-format", "yyyy-QQ")],
            0,
            "option 'json.date-format': 'QQ' in 'yyyy-QQ' is no part of a date; put text in single quotes",
            "write a pattern such as 'yyyy-MM-dd HH:mm:ss.SSS' or '%Y-%m-%d', 'epoch-seconds', 'epoch-millis', \
             'epoch-micros', 'epoch-nanos' or 'iso-8601'",
        ),
    ];
    for (given, place, message, hint) in cases {
        let error = refused(&abc(), given);
        assert_eq!(error.message, *message);
        assert_eq!(error.hint.as_deref().unwrap_or_default(), *hint, "{message}");
        assert_eq!(error.span, Some(*place..place + 1), "{message}");
    }
    let twins = schema(vec![field("a", DataType::Int64), field("A", DataType::Int64)]);
    let error = refused(&twins, &[("case-insensitive", "true")]);
    assert_eq!(
        error.message,
        "option 'json.case-insensitive': the columns 'a' and 'A' differ only in case"
    );
}

/// A JSON value of few names, so that paths often lead somewhere.
fn value() -> impl Strategy<Value = String> + Clone {
    let leaf = prop_oneof![
        4 => "-?[0-9]{1,3}",
        2 => "[0-9]\\.[0-9]{1,2}",
        3 => "\"[a-zé\\\\\"n]{0,6}\"",
        2 => "null|true|\\{\\}|\\[\\]|\\[ \\]",
        1 => "x|\\{|\\]|",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![12 => "[abxyl]", 1 => "rows|data|A|X", 1 => "\\\\u0061"];
        let blank = prop_oneof![6 => Just(""), 1 => Just(" ")];
        let member = (name, blank.clone(), inner.clone()).prop_map(|(name, blank, value)| format!("\"{name}\":{blank}{value}"));
        prop_oneof![
            3 => proptest::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            1 => (proptest::collection::vec(inner, 0..4), blank).prop_map(|(items, blank)| format!("[{blank}{}]", items.join(","))),
        ]
    })
}

/// Lines of messages, most of which have rows.
fn messages() -> impl Strategy<Value = String> {
    let rows = proptest::collection::vec(value(), 0..4).prop_map(|rows| format!("[{}]", rows.join(",")));
    let message = prop_oneof![
        3 => value(),
        2 => rows.clone(),
        4 => (value(), rows.clone(), value()).prop_map(|(a, rows, b)| format!("{{\"a\":{a},\"data\":{{\"rows\":{rows}}},\"x\":{b}}}")),
        1 => rows.prop_map(|rows| format!("{{\"data\":{{\"rows\":{rows},\"rows\":{rows}}}}}")),
    ];
    // Lines that come again, as most do: what was learned is used.
    (
        proptest::collection::vec(message, 1..5),
        proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
    )
        .prop_map(|(messages, order)| {
            let lines: Vec<&str> = order
                .iter()
                .map(|index| messages[index.index(messages.len())].as_str())
                .collect();
            lines.join("\n")
        })
}

fn paths() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let a = ["$.a", "$.x.a", "$.x.y.a", "$.l[0]", "$.l[1].a", "$.x"];
    let b = ["$.b", "$.x.b", "$.x.a", "$.l[0].b", "$.l[-1]", "$.y.l[2]", "$$.a"];
    let j = ["$.x", "$", "$.l", "$.x.y", "$.y", "$.l[0]"];
    let s = ["$.l[*]", "$.x.*", "$.y[0:2].a", "$.*", "$.b"];
    let positional = [
        ("mapping.a", "$[0]"),
        ("mapping.b", "$[1].b"),
        ("mapping.j", "$[-1]"),
        ("mapping.s", "$[1:]"),
    ];
    let by_name = (
        prop::sample::select(a.to_vec()),
        prop::sample::select(b.to_vec()),
        prop::sample::select(j.to_vec()),
        prop::sample::select(s.to_vec()),
    )
        .prop_map(|(a, b, j, s)| vec![("mapping.a", a), ("mapping.b", b), ("mapping.j", j), ("mapping.s", s)]);
    let none = Just(Vec::new());
    let mapped = prop_oneof![6 => by_name, 1 => Just(positional.to_vec()), 1 => none];
    let root = prop_oneof![
        Just(None),
        Just(Some(("root", "$.data.rows"))),
        Just(Some(("root", "$"))),
        Just(Some(("root", "$[0]")))
    ];
    let switch = prop_oneof![
        4 => Just(None),
        1 => Just(Some(("case-insensitive", "true"))),
        1 => Just(Some(("ignore-parse-errors", "true"))),
        1 => Just(Some(("fail-on-missing-field", "true"))),
    ];
    (mapped, root, switch).prop_map(|(mapped, root, switch)| mapped.into_iter().chain(root).chain(switch).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_quick_way_agrees_with_the_strict_way(
        given in paths(),
        input in messages(),
        wanted in prop::sample::subsequence(vec![0usize, 1, 2, 3], 0..=4),
    ) {
        let declared = schema(vec![
            field("a", DataType::Int64),
            field("b", DataType::Utf8View),
            json_field("j"),
            field("s", DataType::List(Arc::new(json_field("item")))),
        ]);
        let schema = DecodeSchema { declared, wanted: wanted.into() };
        let quick = outcome(decoder(&schema, &given, 1 << 20), input.as_bytes());
        let strict = outcome(decoder(&schema, &given, 1 << 20).strict(), input.as_bytes());
        prop_assert_eq!(&quick.errors, &strict.errors);
        prop_assert!(same(&quick.batch, &strict.batch), "{:?} {:?}", quick.rows(), strict.rows());
    }

    /// Each column by itself, found by the paths of `serde_json` values.
    #[test]
    fn columns_are_what_their_paths_find(lines in proptest::collection::vec(value(), 1..6)) {
        let given = [("mapping.j", "$.x.a"), ("mapping.k", "$.l[1]"), ("mapping.m", "$['x']['l'][-1]")];
        let declared = schema(vec![json_field("j"), json_field("k"), json_field("m")]);
        let outcome = outcome(decoder(&DecodeSchema::all(declared), &given, 1 << 20), lines.join("\n").as_bytes());
        let mut want = Vec::new();
        for line in &lines {
            let Ok(message @ serde_json::Value::Object(_)) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            let last = message["x"]["l"].as_array().and_then(|items| items.last());
            let found = [message.pointer("/x/a"), message["l"].as_array().and_then(|items| items.get(1)), last];
            want.push(found.map(|value| value.filter(|value| !value.is_null()).cloned()));
        }
        let got: Vec<_> = (0..outcome.batch.num_rows())
            .map(|row| {
                use arrow::array::{Array, AsArray};
                [0, 1, 2].map(|column| {
                    let column = outcome.batch.column(column).as_string_view();
                    column.is_valid(row).then(|| serde_json::from_str::<serde_json::Value>(column.value(row)).unwrap())
                })
            })
            .collect();
        // Arrays of objects are more rows than lines.
        if lines.iter().all(|line| !line.starts_with('[')) {
            prop_assert_eq!(got, want);
        }
    }
}
