//! What lookups find: by key, by index, by neither; equal, between, and NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use eventflux::tables::{Access, Probe, Table};

use super::support::*;

/// With an index, and without.
fn shapes() -> [Shape; 2] {
    let shape = Shape::of("id INT, g STRING, v LONG").key("id");
    [shape.clone().index("g").index("v"), shape]
}

fn filled(maker: &Maker, shape: &Shape) -> Arc<dyn Table> {
    let table = maker.open(shape);
    insert(
        &*table,
        &[
            r#"{"id":1,"g":"a","v":10}"#,
            r#"{"id":2,"g":"b","v":20}"#,
            r#"{"id":3,"g":"a","v":30}"#,
            r#"{"id":4,"v":20}"#,
            r#"{"id":5,"g":"a"}"#,
        ],
    );
    table
}

#[test]
fn null_equals_nothing() {
    each_backend(|maker| {
        for shape in shapes() {
            let table = filled(maker, &shape);
            assert_eq!(
                find(&*table, "g", &[r#"{"g":"a"}"#, "{}", r#"{"g":"z"}"#, r#"{"g":"b"}"#]),
                [
                    "0: {id:1,g:a,v:10}",
                    "0: {id:3,g:a,v:30}",
                    "0: {id:5,g:a,v:null}",
                    "3: {id:2,g:b,v:20}"
                ]
            );
            assert_eq!(find(&*table, "id", &["{}", r#"{"id":4}"#]), ["1: {id:4,g:null,v:20}"]);
            assert_eq!(
                find(&*table, "g, v", &[r#"{"g":"a"}"#, r#"{"g":"a","v":30}"#, r#"{"v":20}"#]),
                ["1: {id:3,g:a,v:30}"]
            );
        }
    });
}

#[test]
fn a_key_and_more() {
    each_backend(|maker| {
        for shape in shapes() {
            let table = filled(maker, &shape);
            assert_eq!(
                find(&*table, "g, id", &[r#"{"id":1,"g":"a"}"#, r#"{"id":2,"g":"a"}"#]),
                ["0: {id:1,g:a,v:10}"]
            );
            assert_eq!(
                find_between(
                    &*table,
                    "id, v >",
                    &[r#"{"id":1,"v":9}"#, r#"{"id":2,"v":20}"#],
                    &["{}", "{}"]
                ),
                ["0: {id:1,g:a,v:10}"]
            );
        }
    });
}

#[test]
fn ranges_know_their_bounds() {
    each_backend(|maker| {
        for shape in shapes() {
            let table = filled(maker, &shape);
            let ids = |text: &str, low: &str, high: &str| -> String {
                let found = find_between(&*table, text, &[low], &[high]);
                let id = |line: &String| {
                    line["0: {id:".len()..]
                        .split(',')
                        .next()
                        .unwrap_or_default()
                        .to_string()
                };
                found.iter().map(id).collect::<Vec<_>>().join(" ")
            };
            let (low, high) = (r#"{"v":10,"id":2}"#, r#"{"v":20,"id":4}"#);
            assert_eq!(ids("v >= <=", low, high), "1 2 4");
            assert_eq!(ids("v > <=", low, high), "2 4");
            assert_eq!(ids("v >= <", low, high), "1");
            assert_eq!(ids("v > <", low, high), "");
            assert_eq!(ids("v >", low, high), "2 3 4");
            assert_eq!(ids("v <=", low, high), "1 2 4");
            assert_eq!(ids("v >= <=", high, low), "");
            assert_eq!(ids("v > <", low, low), "");
            assert_eq!(ids("v >= <=", low, low), "1");
            assert_eq!(ids("v >= <=", "{}", high), "");
            assert_eq!(ids("v >= <=", low, "{}"), "");
            assert_eq!(ids("id > <=", low, high), "3 4");
            assert_eq!(ids("g, v >=", r#"{"g":"a","v":11}"#, "{}"), "3");
            assert_eq!(ids("g >= <", r#"{"g":"a"}"#, r#"{"g":"b"}"#), "1 3 5");
            assert_eq!(ids("g >", r#"{"g":"a"}"#, "{}"), "2");
        }
    });
}

#[test]
fn ranges_follow_what_changes() {
    each_backend(|maker| {
        for shape in shapes() {
            let table = filled(maker, &shape);
            let above = |low: &str| find_between(&*table, "v >", &[low], &["{}"]);
            assert_eq!(above(r#"{"v":20}"#), ["0: {id:3,g:a,v:30}"]);
            upsert(&*table, &[r#"{"id":1,"g":"a","v":40}"#, r#"{"id":6,"g":"a","v":35}"#]);
            delete(&*table, "id", &[r#"{"id":3}"#]);
            assert_eq!(above(r#"{"v":20}"#), ["0: {id:1,g:a,v:40}", "0: {id:6,g:a,v:35}"]);
        }
    });
}

#[test]
fn many_lookups_of_ranges_at_once() {
    each_backend(|maker| {
        for shape in shapes() {
            let table = filled(maker, &shape);
            let low: Vec<String> = (0..50).map(|v| format!(r#"{{"v":{v}}}"#)).collect();
            let low: Vec<&str> = low.iter().map(String::as_str).collect();
            let found = find_between(&*table, "v >=", &low, &vec!["{}"; 50]);
            // 11 look from 0 to 10 and find four rows, and so on.
            assert_eq!(found.len(), 11 * 4 + 10 * 3 + 10);
            assert_eq!(found[0], "0: {id:1,g:a,v:10}");
            assert_eq!(found.last().map(String::as_str), Some("30: {id:3,g:a,v:30}"));
        }
    });
}

#[test]
fn without_a_condition_everything_is_found() {
    each_backend(|maker| {
        let table = filled(maker, &shapes()[0]);
        assert_eq!(find(&*table, "", &["{}", "{}"]).len(), 10);
        assert_eq!(find(&*table, "", &[]).len(), 0);
        assert_eq!(find(&*table, "id", &[]).len(), 0);
    });
}

#[test]
fn zeros_are_equal_and_so_are_nans() {
    each_backend(|maker| {
        for shape in [Shape::of("x DOUBLE").index("x"), Shape::of("x DOUBLE")] {
            let table = maker.open(&shape);
            let column = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
            let values = column(vec![-0.0, 0.0, f64::NAN, -1.5, f64::INFINITY, f64::NEG_INFINITY]);
            let rows = RecordBatch::try_new(shape.schema(), vec![values]).unwrap();
            let mut writer = table.write().unwrap();
            assert!(writer.insert(&rows).unwrap().is_empty());
            writer.commit().unwrap();
            let probe = |values: Vec<f64>| Probe {
                rows: values.len(),
                equal: vec![column(values)],
                low: None,
                high: None,
            };
            let equal = Access {
                equal: vec![0],
                range: None,
            };
            let found = table
                .lookup(&equal, &probe(vec![0.0, -0.0, -f64::NAN, -1.5]), &[0])
                .unwrap();
            assert_eq!(found.probes, [0, 0, 1, 1, 2, 3]);
            let above = access(&*table, "x >=");
            let low = Probe {
                rows: 1,
                equal: Vec::new(),
                low: Some(column(vec![-0.0])),
                high: None,
            };
            // A NaN is the largest, as in PostgreSQL.
            assert_eq!(table.lookup(&above, &low, &[0]).unwrap().probes.len(), 4);
        }
    });
}
