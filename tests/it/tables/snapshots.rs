//! Tables in this process are saved and restored with the app.

use eventflux::operators::state::{StateReader, StateWriter};
use eventflux::tables::Table;

use super::support::*;

fn saved(table: &dyn Table) -> Vec<u8> {
    let mut state = StateWriter::default();
    table.snapshot(&mut state).unwrap();
    state.into_bytes()
}

fn restored(table: &dyn Table, bytes: &[u8]) {
    let mut state = StateReader::new(bytes);
    table.restore(&mut state).unwrap();
    assert!(state.is_empty());
}

#[test]
fn rows_indexes_and_order_come_back() {
    for backend in ["memory", "cache"] {
        let maker = Maker::new(backend);
        let shape = Shape::of("id INT, g STRING").key("id").index("g");
        let table = maker.open(&shape);
        let line = |id: i64| format!(r#"{{"id":{id},"g":"group {} of the rows"}}"#, id % 3);
        let lines_in: Vec<String> = (0..10_000).map(line).collect();
        let lines_in: Vec<&str> = lines_in.iter().map(String::as_str).collect();
        insert(&*table, &lines_in);
        delete(&*table, "g", &[r#"{"g":"group 1 of the rows"}"#]);
        // Takes a place in front, and comes last all the same.
        insert(&*table, &[r#"{"id":-1,"g":"group 0 of the rows"}"#]);
        let copy = maker.open(&shape);
        restored(&*copy, &saved(&*table));
        assert_eq!(content(&*copy), content(&*table));
        let found = |table: &dyn Table| find(table, "g", &[r#"{"g":"group 0 of the rows"}"#]);
        assert_eq!(found(&*copy), found(&*table));
        assert_eq!(
            found(&*copy).last().map(String::as_str),
            Some("0: {id:-1,g:group 0 of the rows}")
        );
        assert_eq!(try_insert(&*copy, &[r#"{"id":2}"#]).len(), 1);
        insert(&*copy, &[r#"{"id":-2,"g":"group 0 of the rows"}"#]);
        assert_eq!(
            found(&*copy).last().map(String::as_str),
            Some("0: {id:-2,g:group 0 of the rows}")
        );
        let mut state = StateReader::new(&[]);
        assert!(maker.open(&shape).restore(&mut state).is_err());
    }
}

#[test]
fn an_empty_table_comes_back_empty() {
    let maker = Maker::new("memory");
    let shape = Shape::of("id INT").key("id");
    let copy = maker.open(&shape);
    restored(&*copy, &saved(&*maker.open(&shape)));
    assert_eq!(copy.len().unwrap(), 0);
    insert(&*copy, &[r#"{"id":1}"#]);
    assert_eq!(content(&*copy), ["{id:1}"]);
}

#[test]
fn a_cache_remembers_uses_and_ages() {
    let maker = Maker::new("cache");
    let shape = Shape::of("id INT").key("id");
    let options = [("max_size", "3"), ("policy", "lru"), ("ttl", "10 s")];
    let table = maker.open_with(&shape, &options);
    insert(&*table, &[r#"{"id":1}"#, r#"{"id":2}"#]);
    maker.clock.set(5_000_000);
    insert(&*table, &[r#"{"id":3}"#]);
    find(&*table, "id", &[r#"{"id":1}"#]);
    let copy = maker.open_with(&shape, &options);
    restored(&*copy, &saved(&*table));
    insert(&*copy, &[r#"{"id":4}"#]);
    assert_eq!(content(&*copy), ["{id:1}", "{id:3}", "{id:4}"]);
    maker.clock.set(10_000_000);
    assert_eq!(content(&*copy), ["{id:3}", "{id:4}"]);
}
