//! What only `sqlite` does: files that others made.

use eventflux::tables::Table;
use rusqlite::Connection;

use super::support::*;
use crate::support::Scratch;

fn open(path: &str, name: &str, shape: &Shape) -> eventflux::Result<std::sync::Arc<dyn Table>> {
    Maker::new("sqlite").open_at_path(path, name, shape)
}

#[test]
fn a_table_that_is_there_is_used_as_it_is() {
    let scratch = Scratch::new();
    let path = scratch.path("a/b/goods.db").display().to_string();
    std::fs::create_dir_all(scratch.path("a/b")).unwrap();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "CREATE TABLE goods (note TEXT DEFAULT 'new', NAME VARCHAR(20), id INTEGER PRIMARY KEY, price REAL);
             INSERT INTO goods VALUES ('old', 'a', 1, 1), ('old', 'b', 2, NULL)",
        )
        .unwrap();
    let shape = Shape::of("id LONG, name STRING, price DOUBLE").key("id").index("name");
    let table = open(&path, "goods", &shape).unwrap();
    assert_eq!(
        content(&*table),
        ["{id:1,name:a,price:1.0}", "{id:2,name:b,price:null}"]
    );
    upsert(&*table, &[r#"{"id":3,"name":"c"}"#]);
    let mut writer = table.write().unwrap();
    let (_, ids) = find_in(&*table, &mut *writer, "id", &[r#"{"id":1}"#, r#"{"id":2}"#]);
    let swapped = rows(&*table, &[r#"{"id":2,"name":"a"}"#, r#"{"id":1,"name":"B"}"#]);
    assert!(writer.update(&ids, &swapped).unwrap().is_none());
    writer.commit().unwrap();
    let mut statement = other
        .prepare("SELECT note || name || id FROM goods ORDER BY id")
        .unwrap();
    let seen = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(
        seen.collect::<Result<Vec<_>, _>>().unwrap(),
        ["oldB1", "olda2", "newc3"]
    );
    // Another program's rows are seen at once.
    other
        .execute_batch("INSERT INTO goods (id, name) VALUES (9, 'z')")
        .unwrap();
    assert_eq!(
        find(&*table, "name", &[r#"{"name":"z"}"#]),
        ["0: {id:9,name:z,price:null}"]
    );
}

#[test]
fn a_table_that_does_not_fit_is_an_error_with_the_columns_name() {
    let scratch = Scratch::new();
    let path = scratch.path("misfit.db").display().to_string();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "CREATE TABLE misfit (id INT PRIMARY KEY, v TEXT); CREATE TABLE keyless (id INT);
             CREATE TABLE bare (id INT PRIMARY KEY) WITHOUT ROWID; CREATE VIEW seen AS SELECT 1 AS id",
        )
        .unwrap();
    let error = |name: &str, columns: &str| {
        let opened = open(&path, name, &Shape::of(columns).key("id"));
        opened.map(|_| ()).unwrap_err().to_string()
    };
    assert!(error("misfit", "id INT, w INT").ends_with("does not fit: it has no column 'w'"));
    assert!(error("misfit", "id INT, v INT").ends_with("its column 'v' is TEXT and holds no INT; INT would"));
    assert!(error("keyless", "id INT").ends_with("it has neither primary key nor unique index on (\"id\")"));
    assert!(error("bare", "id INT").ends_with("it is WITHOUT ROWID"));
    assert!(error("seen", "id INT").ends_with("it is a view"));
}

#[test]
fn rows_are_there_when_the_file_is_opened_again() {
    let scratch = Scratch::new();
    // The folder is made, too.
    let path = scratch.path("new/rows.db").display().to_string();
    let shape = Shape::of("id INT, s STRING").key("id");
    let table = open(&path, "T", &shape).unwrap();
    insert(&*table, &[r#"{"id":1,"s":"a"}"#]);
    let mut writer = table.write().unwrap();
    writer.insert(&rows(&*table, &[r#"{"id":2}"#])).unwrap();
    drop(writer);
    drop(table);
    assert_eq!(content(&*open(&path, "T", &shape).unwrap()), ["{id:1,s:a}"]);
}

#[test]
fn a_value_that_others_put_there_in_another_type_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.path("odd.db").display().to_string();
    let shape = Shape::of("id INT, v INT").key("id");
    let table = open(&path, "odd", &shape).unwrap();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("INSERT INTO odd VALUES (1, 'many'), (2, 99999999999)")
        .unwrap();
    let error = |id: i64| {
        let access = access(&*table, "id");
        let probe = probe(&*table, &access, &[&format!(r#"{{"id":{id}}}"#)]);
        table.lookup(&access, &probe, &[1]).unwrap_err().to_string()
    };
    assert_eq!(
        error(1),
        "table 'odd': column 'v' holds a value of SQLite's type Text there"
    );
    assert!(error(2).contains("99999999999"), "{}", error(2));
}
