//! Inserting, changing, deleting: keys, refusals, transactions.

use arrow::array::{ArrayRef, Int64Array};
use std::sync::Arc;

use super::support::*;

fn keyed() -> Shape {
    Shape::of("id LONG, name STRING").key("id").index("name")
}

#[test]
fn a_key_stands_once() {
    each_backend(|maker| {
        let table = maker.open(&keyed());
        insert(&*table, &[r#"{"id":1,"name":"a"}"#]);
        let refused = try_insert(
            &*table,
            &[
                r#"{"id":2,"name":"b"}"#,
                r#"{"id":1,"name":"c"}"#,
                r#"{"id":2,"name":"d"}"#,
                r#"{"name":"e"}"#,
                r#"{"id":3,"name":"f"}"#,
            ],
        );
        assert_eq!(
            messages(&refused),
            [
                "1: there is a row with the key id=1",
                "2: there is a row with the key id=2",
                "3: column id is in the key and the row has NULL there",
            ]
        );
        assert_eq!(refused[0].1.event, r#"{"id":1,"name":"c"}"#);
        assert_eq!(content(&*table), ["{id:1,name:a}", "{id:2,name:b}", "{id:3,name:f}"]);
    });
}

#[test]
fn a_key_of_several_columns() {
    each_backend(|maker| {
        let shape = Shape::of("a STRING, b INT, v DOUBLE").key("a b");
        let table = maker.open(&shape);
        insert(
            &*table,
            &[
                r#"{"a":"x","b":1,"v":0.5}"#,
                r#"{"a":"x","b":2,"v":1.5}"#,
                r#"{"a":"a text that is longer than twelve bytes","b":1,"v":2.5}"#,
            ],
        );
        let refused = try_insert(&*table, &[r#"{"a":"x","b":2}"#, r#"{"a":"x"}"#, r#"{"a":"y","b":2}"#]);
        assert_eq!(
            messages(&refused),
            [
                "0: there is a row with the key a=x, b=2",
                "1: column b is in the key and the row has NULL there",
            ]
        );
        upsert(&*table, &[r#"{"a":"x","b":1,"v":9.5}"#, r#"{"a":"z","b":1,"v":8.5}"#]);
        assert_eq!(
            find(
                &*table,
                "b, a",
                &[r#"{"a":"x","b":1}"#, r#"{"a":"y","b":2}"#, r#"{"a":"z","b":2}"#]
            ),
            ["0: {a:x,b:1,v:9.5}", "1: {a:y,b:2,v:null}"]
        );
        // Half of the key is no lookup by key, and finds all the same.
        assert_eq!(
            find(&*table, "a", &[r#"{"a":"x"}"#]),
            ["0: {a:x,b:1,v:9.5}", "0: {a:x,b:2,v:1.5}"]
        );
    });
}

#[test]
fn a_column_that_is_not_null_takes_no_null() {
    each_backend(|maker| {
        let table = maker.open(&Shape::of("id INT, v INT NOT NULL").key("id"));
        let refused = try_insert(&*table, &[r#"{"id":1}"#, r#"{"id":2,"v":1}"#]);
        assert_eq!(
            messages(&refused),
            ["0: column v is NOT NULL but the row has NULL there"]
        );
        let mut writer = table.write().unwrap();
        let refused = writer.upsert(&rows(&*table, &[r#"{"id":2}"#])).unwrap();
        assert_eq!(
            messages(&refused),
            ["0: column v is NOT NULL but the row has NULL there"]
        );
        let (_, ids) = find_in(&*table, &mut *writer, "id", &[r#"{"id":2}"#]);
        let refused = writer.update(&ids, &rows(&*table, &[r#"{"id":2}"#])).unwrap();
        assert_eq!(
            refused.map(|error| message(&error)).as_deref(),
            Some("column v is NOT NULL but the row has NULL there")
        );
        writer.commit().unwrap();
        assert_eq!(content(&*table), ["{id:2,v:1}"]);
    });
}

#[test]
fn an_upsert_takes_the_last_row_of_a_key() {
    each_backend(|maker| {
        let table = maker.open(&keyed());
        insert(&*table, &[r#"{"id":1,"name":"a"}"#, r#"{"id":2,"name":"a"}"#]);
        let mut writer = table.write().unwrap();
        let refused = writer
            .upsert(&rows(
                &*table,
                &[
                    r#"{"id":3,"name":"x"}"#,
                    r#"{"id":1,"name":"y"}"#,
                    r#"{"id":3,"name":"a"}"#,
                    r#"{"name":"z"}"#,
                    r#"{"id":1,"name":"a"}"#,
                ],
            ))
            .unwrap();
        assert_eq!(
            messages(&refused),
            ["3: column id is in the key and the row has NULL there"]
        );
        writer.upsert(&rows(&*table, &[r#"{"id":3,"name":"b"}"#])).unwrap();
        writer.commit().unwrap();
        // The one with the key 1 keeps its place.
        assert_eq!(
            find(
                &*table,
                "name",
                &[r#"{"name":"a"}"#, r#"{"name":"b"}"#, r#"{"name":"x"}"#]
            ),
            ["0: {id:1,name:a}", "0: {id:2,name:a}", "1: {id:3,name:b}"]
        );
    });
}

#[test]
fn an_update_may_swap_keys_but_not_join_them() {
    each_backend(|maker| {
        let table = maker.open(&keyed());
        insert(
            &*table,
            &[
                r#"{"id":1,"name":"a"}"#,
                r#"{"id":2,"name":"b"}"#,
                r#"{"id":3,"name":"c"}"#,
            ],
        );
        let mut writer = table.write().unwrap();
        let (_, ids) = find_in(&*table, &mut *writer, "id", &[r#"{"id":1}"#, r#"{"id":2}"#]);
        let mut update = |lines: &[&str]| {
            let refused = writer.update(&ids, &rows(&*table, lines)).unwrap();
            refused.map(|error| message(&error))
        };
        let taken = update(&[r#"{"id":4,"name":"x"}"#, r#"{"id":3,"name":"y"}"#]);
        assert_eq!(taken.as_deref(), Some("there is a row with the key id=3"));
        let twice = update(&[r#"{"id":4,"name":"x"}"#, r#"{"id":4,"name":"y"}"#]);
        assert_eq!(twice.as_deref(), Some("there is a row with the key id=4"));
        let null = update(&[r#"{"id":4,"name":"x"}"#, r#"{"name":"y"}"#]);
        assert_eq!(
            null.as_deref(),
            Some("column id is in the key and the row has NULL there")
        );
        assert_eq!(update(&[r#"{"id":2,"name":"x"}"#, r#"{"id":1,"name":"y"}"#]), None);
        writer.commit().unwrap();
        assert_eq!(content(&*table), ["{id:1,name:y}", "{id:2,name:x}", "{id:3,name:c}"]);
        assert_eq!(
            find(&*table, "name", &[r#"{"name":"a"}"#, r#"{"name":"x"}"#]),
            ["1: {id:2,name:x}"]
        );
    });
}

#[test]
fn a_transaction_sees_its_own_writes_and_nobody_else_does() {
    each_backend(|maker| {
        let table = maker.open(&keyed());
        insert(
            &*table,
            &[
                r#"{"id":1,"name":"a"}"#,
                r#"{"id":2,"name":"b"}"#,
                r#"{"id":3,"name":"a"}"#,
            ],
        );
        let before = content(&*table);
        let mut writer = table.write().unwrap();
        let seen = |writer: &mut dyn eventflux::tables::TableWriter| {
            find_in(&*table, writer, "name", &[r#"{"name":"a"}"#, r#"{"name":"b"}"#])
        };
        writer.insert(&rows(&*table, &[r#"{"id":4,"name":"b"}"#])).unwrap();
        writer.upsert(&rows(&*table, &[r#"{"id":1,"name":"b"}"#])).unwrap();
        let (found, ids) = seen(&mut *writer);
        assert_eq!(
            found,
            [
                "0: {id:3,name:a}",
                "1: {id:1,name:b}",
                "1: {id:2,name:b}",
                "1: {id:4,name:b}"
            ]
        );
        // New versions of a row of the table, of one of the transaction's, and of one that is both.
        let update = rows(&*table, &[r#"{"id":3,"name":"b"}"#, r#"{"id":1,"name":"a"}"#]);
        assert!(writer.update(&ids[..2], &update).unwrap().is_none());
        let (found, ids) = seen(&mut *writer);
        assert_eq!(
            found,
            [
                "0: {id:1,name:a}",
                "1: {id:2,name:b}",
                "1: {id:3,name:b}",
                "1: {id:4,name:b}"
            ]
        );
        writer.delete(&ids[1..3]).unwrap();
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), None, Some(77)]));
        writer.delete_keys(&[keys], 3).unwrap();
        // What is deleted twice is deleted.
        writer.delete(&ids[1..]).unwrap();
        assert_eq!(seen(&mut *writer).0, ["0: {id:1,name:a}"]);
        // A key that was deleted is free.
        assert!(
            writer
                .insert(&rows(&*table, &[r#"{"id":2,"name":"a"}"#]))
                .unwrap()
                .is_empty()
        );
        assert_eq!(content(&*table), before);
        writer.commit().unwrap();
        assert_eq!(content(&*table), ["{id:1,name:a}", "{id:2,name:a}"]);
        assert_eq!(
            find(&*table, "name", &[r#"{"name":"a"}"#, r#"{"name":"b"}"#]),
            ["0: {id:1,name:a}", "0: {id:2,name:a}"]
        );
    });
}

#[test]
fn what_is_not_committed_has_not_been() {
    each_backend(|maker| {
        let table = maker.open(&keyed());
        insert(&*table, &[r#"{"id":1,"name":"a"}"#, r#"{"id":2,"name":"b"}"#]);
        let before = content(&*table);
        let mut writer = table.write().unwrap();
        let (_, ids) = find_in(&*table, &mut *writer, "id", &[r#"{"id":1}"#, r#"{"id":2}"#]);
        writer.insert(&rows(&*table, &[r#"{"id":3,"name":"c"}"#])).unwrap();
        writer.delete(&ids[..1]).unwrap();
        writer
            .update(&ids[1..], &rows(&*table, &[r#"{"id":9,"name":"z"}"#]))
            .unwrap();
        drop(writer);
        assert_eq!(content(&*table), before);
        // And the turn was given back.
        insert(&*table, &[r#"{"id":3,"name":"c"}"#]);
        assert_eq!(table.len().unwrap(), 3);
    });
}

#[test]
fn a_table_without_a_key_keeps_every_row() {
    each_backend(|maker| {
        let table = maker.open(&Shape::of("g STRING, v INT").index("g"));
        insert(
            &*table,
            &[r#"{"g":"a","v":1}"#, r#"{"g":"b","v":1}"#, r#"{"g":"a","v":1}"#],
        );
        insert(&*table, &[r#"{"g":"a","v":0}"#, r#"{"v":5}"#]);
        assert_eq!(
            find(&*table, "g", &[r#"{"g":"a"}"#]),
            in_order(&*table, &["0: {g:a,v:1}", "0: {g:a,v:1}", "0: {g:a,v:0}"])
        );
        // Of two equal rows one is changed and keeps its place, then goes and comes back by index.
        let mut writer = table.write().unwrap();
        let (found, ids) = find_in(&*table, &mut *writer, "g", &[r#"{"g":"a"}"#]);
        let first = found.iter().position(|line| line.contains("v:1")).unwrap();
        let changed = rows(&*table, &[r#"{"g":"b","v":7}"#]);
        writer.update(&ids[first..=first], &changed).unwrap();
        writer.commit().unwrap();
        assert_eq!(
            find(&*table, "g", &[r#"{"g":"a"}"#, r#"{"g":"b"}"#]),
            in_order(
                &*table,
                &["0: {g:a,v:1}", "0: {g:a,v:0}", "1: {g:b,v:7}", "1: {g:b,v:1}"]
            )
        );
        delete(&*table, "v", &[r#"{"v":1}"#]);
        assert_eq!(content(&*table), ["{g:a,v:0}", "{g:b,v:7}", "{g:null,v:5}"]);
        let mut writer = table.write().unwrap();
        assert!(writer.upsert(&rows(&*table, &[r#"{"g":"a"}"#])).is_err());
    });
}

#[test]
fn many_rows_come_and_go() {
    each_backend(|maker| {
        let table = maker.open(&keyed());
        let line = |id: i64| format!(r#"{{"id":{id},"name":"a name of some length: {}"}}"#, id % 10);
        let some = |ids: &mut dyn Iterator<Item = i64>| -> Vec<String> { ids.map(line).collect() };
        let write = |lines: Vec<String>| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            upsert(&*table, &lines);
        };
        write(some(&mut (0..20_000)));
        // All but each hundredth go; what stays is still found by key and by index, in its order.
        let mut writer = table.write().unwrap();
        let gone: ArrayRef = Arc::new((0..20_000).filter(|id| id % 100 != 7).map(Some).collect::<Int64Array>());
        writer.delete_keys(std::slice::from_ref(&gone), gone.len()).unwrap();
        writer.commit().unwrap();
        assert_eq!(table.len().unwrap(), 200);
        write(some(&mut (20_000..20_100)));
        let found = find(&*table, "name", &[r#"{"name":"a name of some length: 7"}"#]);
        let want = (7..20_000).step_by(100).chain((20_007..20_100).step_by(10));
        let want: Vec<String> = want
            .map(|id| format!("0: {{id:{id},name:a name of some length: 7}}"))
            .collect();
        assert_eq!(found, in_order(&*table, &want));
        let all: Vec<String> = (0..20_100).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(find(&*table, "id", &all).len(), 300);
    });
}
