//! Every type of the language keeps its values.

use super::support::*;

/// Of each type: two values that differ.
const TYPES: &[(&str, &str, &str)] = &[
    ("BOOL", "true", "false"),
    ("INT", "-2147483648", "2147483647"),
    ("LONG", "-9223372036854775808", "9223372036854775807"),
    ("FLOAT", "1.5", "-3.4028235e38"),
    ("DOUBLE", "0.1", "1.7976931348623157e308"),
    ("STRING", r#""""#, r#""Ünï'cödé \" \\ \n of more than twelve bytes""#),
    ("BYTES", r#""AAECgP8=""#, r#""AAAAAAAAAAAAAAAAAAAAAAAAAP8=""#),
    (
        "TIMESTAMP",
        r#""1969-12-31T23:59:59.999999Z""#,
        r#""2026-01-02T03:04:05.000001Z""#,
    ),
    ("DATE", r#""1969-12-31""#, r#""2026-02-28""#),
    ("TIME", r#""00:00:00.000001""#, r#""23:59:59.999999""#),
    ("DECIMAL(20,4)", r#""-1234567890123456.7891""#, r#""0.0001""#),
    (
        "DECIMAL(38,0)",
        r#""99999999999999999999999999999999999999""#,
        r#""-1""#,
    ),
    ("INTERVAL", r#""P1Y2M3DT4H5M6.789S""#, r#""P-1D""#),
    ("JSON", r#"{"a":[1,2.5,null,"x"]}"#, "[]"),
    ("ARRAY<LONG>", "[1,null,3]", "[]"),
    (
        "ARRAY<ARRAY<STRING>>",
        r#"[["a text that is longer than twelve bytes"],null,[]]"#,
        "[[]]",
    ),
    (
        "STRUCT<x DOUBLE, tag STRING>",
        r#"{"x":1.5,"tag":null}"#,
        r#"{"x":null,"tag":"t"}"#,
    ),
    ("MAP<STRING, LONG>", r#"{"a":1,"b":null}"#, "{}"),
    (
        "ARRAY<STRUCT<t TIMESTAMP, d DECIMAL(10,2)>>",
        r#"[{"t":"2026-01-02T03:04:05Z","d":1.25}]"#,
        "[]",
    ),
];

#[test]
fn every_type_comes_back_as_it_went() {
    each_backend(|maker| {
        for (of, one, other) in TYPES {
            let shape = Shape::of("id INT").key("id").with("v", of);
            let table = maker.open(&shape);
            let lines_in = [
                format!(r#"{{"id":1,"v":{one}}}"#),
                format!(r#"{{"id":2,"v":{other}}}"#),
                r#"{"id":3}"#.to_string(),
                format!(r#"{{"id":4,"v":{other}}}"#),
            ];
            let lines_in: Vec<&str> = lines_in.iter().map(String::as_str).collect();
            let given = rows(&*table, &lines_in);
            insert(&*table, &lines_in);
            let want = lines(&given);
            assert_eq!(content(&*table), want, "{of}");
            let found = find(&*table, "id", &[r#"{"id":4}"#, r#"{"id":1}"#, r#"{"id":3}"#]);
            let want_found = [(0, 3), (1, 0), (2, 2)].map(|(probe, row)| format!("{probe}: {}", want[row]));
            assert_eq!(found, want_found, "{of}");
            // The columns have the declared types, too.
            for batch in table.scan(&[1, 0]).unwrap() {
                assert_eq!(batch.schema(), given_projection(&shape), "{of}");
            }
            // New values in the place of old ones.
            upsert(
                &*table,
                &[
                    &lines_in[1].replace("\"id\":2", "\"id\":1"),
                    &lines_in[0].replace("\"id\":1", "\"id\":3"),
                ],
            );
            let by_id = |id: usize| content(&*table)[id - 1].clone();
            assert_eq!(by_id(1).replace("id:1", "id:2"), want[1], "{of}");
            assert_eq!(by_id(3).replace("id:3", "id:1"), want[0], "{of}");
        }
    });
}

fn given_projection(shape: &Shape) -> arrow::datatypes::SchemaRef {
    std::sync::Arc::new(shape.schema().project(&[1, 0]).unwrap())
}

#[test]
fn values_of_every_type_are_found_without_an_index() {
    each_backend(|maker| {
        // Backends keep nested values as text, in which equal maps may differ.
        for (of, one, other) in TYPES.iter().filter(|(of, ..)| !of.contains('<')) {
            let table = maker.open(&Shape::of("id INT").key("id").with("v", of));
            let (one, other) = (format!(r#"{{"id":1,"v":{one}}}"#), format!(r#"{{"id":2,"v":{other}}}"#));
            insert(&*table, &[&one, &other, r#"{"id":3}"#]);
            let want = lines(&rows(&*table, &[&one, &other]));
            let want = [format!("0: {}", want[1]), format!("2: {}", want[0])];
            assert_eq!(find(&*table, "v", &[&other, "{}", &one]), want, "{of}");
        }
    });
}

#[test]
fn values_of_every_simple_type_are_keys() {
    each_backend(|maker| {
        for (of, one, other) in TYPES.iter().filter(|(of, ..)| !of.contains('<')) {
            let shape = Shape::of("id INT").with("v", of).key("v").index("id");
            let table = maker.open(&shape);
            let (one, other) = (format!(r#"{{"id":1,"v":{one}}}"#), format!(r#"{{"id":2,"v":{other}}}"#));
            insert(&*table, &[&one, &other]);
            assert_eq!(try_insert(&*table, &[&other, &one]).len(), 2, "{of}");
            let want = lines(&rows(&*table, &[&one, &other]));
            let want = [format!("0: {}", want[1]), format!("1: {}", want[0])];
            assert_eq!(find(&*table, "v", &[&other, &one]), want, "{of}");
            delete(&*table, "v", &[&one]);
            assert_eq!(table.len().unwrap(), 1, "{of}");
        }
    });
}
