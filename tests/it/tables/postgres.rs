//! What only `postgres` does: tables that others made, servers that go away, rows kept in front.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use eventflux::tables::Table;
use tokio_postgres::NoTls;

use super::server::Server;
use super::support::*;

/// Runs SQL as another program would.
fn sql(server: &Server, sql: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut rows = Vec::new();
        for message in client.simple_query(sql).await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                let cells = (0..row.len()).map(|i| row.get(i).unwrap_or("null").to_string());
                rows.push(cells.collect::<Vec<_>>().join("|"));
            }
        }
        rows
    })
}

fn shape() -> Shape {
    Shape::of("id LONG, name STRING").key("id")
}

#[test]
fn a_table_that_is_there_is_used_as_it_is() {
    let (maker, server) = (Maker::new("postgres"), Server::shared());
    sql(
        server,
        "CREATE TABLE \"Goods\" (note text DEFAULT 'new', name varchar(20), \"ID\" int PRIMARY KEY, at timestamp,
         total numeric, twice int GENERATED ALWAYS AS (\"ID\" * 2) STORED);
         INSERT INTO \"Goods\" VALUES ('old', 'a', 1, '2026-01-02 03:04:05', 1.50), ('old', 'b', 2, NULL, NULL)",
    );
    let shape = Shape::of("id LONG, name STRING, at TIMESTAMP, total DECIMAL(10,2)").key("id");
    let table = maker.open_named("goods", &shape, &[]).unwrap();
    assert_eq!(
        content(&*table),
        [
            "{id:1,name:a,at:2026-01-02T03:04:05Z,total:1.50}",
            "{id:2,name:b,at:null,total:null}"
        ]
    );
    upsert(&*table, &[r#"{"id":2,"name":"B","total":7}"#, r#"{"id":3,"name":"c"}"#]);
    let mut writer = table.write().unwrap();
    let (_, ids) = find_in(&*table, &mut *writer, "id", &[r#"{"id":1}"#, r#"{"id":2}"#]);
    let swapped = rows(&*table, &[r#"{"id":2,"name":"a"}"#, r#"{"id":1,"name":"B"}"#]);
    assert!(writer.update(&ids, &swapped).unwrap().is_none());
    writer.commit().unwrap();
    assert_eq!(
        sql(server, "SELECT note, name, \"ID\", twice FROM \"Goods\" ORDER BY 3"),
        ["old|B|1|2", "old|a|2|4", "new|c|3|6"]
    );
    // What the database does not take is refused row by row, with its words.
    let long = format!(r#"{{"id":5,"name":"{}"}}"#, "x".repeat(21));
    let huge = r#"{"id":9999999999,"name":"x"}"#;
    let refused = try_insert(
        &*table,
        &[r#"{"id":4,"name":"d"}"#, &long, huge, r#"{"id":6}"#, r#"{"id":6}"#],
    );
    assert_eq!(
        messages(&refused),
        [
            "1: value too long for type character varying(20)",
            "2: integer out of range",
            "4: there is a row with the key id=6"
        ]
    );
    assert_eq!(table.len().unwrap(), 5);
}

#[test]
fn a_table_that_does_not_fit_is_an_error_with_the_columns_name() {
    let (maker, server) = (Maker::new("postgres"), Server::shared());
    sql(
        server,
        "CREATE TABLE misfit (id int PRIMARY KEY, v text); CREATE TABLE keyless (id bigint);
         CREATE VIEW seen AS SELECT 1 AS id",
    );
    let open = |name: &str, columns: &str| {
        let opened = maker.open_named(name, &Shape::of(columns).key("id"), &[]);
        opened.map(|_| ()).unwrap_err().to_string()
    };
    assert!(
        open("misfit", "id INT, w INT").ends_with("does not fit: it has no column 'w'"),
        "{}",
        open("misfit", "id INT, w INT")
    );
    assert!(open("misfit", "id INT, v INT").ends_with("its column 'v' is text and holds no INT; integer would"));
    assert!(open("keyless", "id LONG").ends_with("it has neither primary key nor unique index on (\"id\")"));
    assert!(open("seen", "id INT").ends_with("it is not a table"));
}

#[test]
fn what_postgres_cannot_hold_is_refused() {
    let maker = Maker::new("postgres");
    let table = maker.open(&Shape::of("id INT, s STRING, i INTERVAL, t TIMESTAMP").key("id"));
    let refused = try_insert(
        &*table,
        &[
            r#"{"id":1,"s":"a\u0000b"}"#,
            r#"{"id":2,"i":"PT0.0000001S"}"#,
            r#"{"id":3,"s":"x"}"#,
        ],
    );
    assert_eq!(
        messages(&refused),
        [
            "0: column s: PostgreSQL holds no text with the character 0",
            "1: column i: PostgreSQL's intervals are of whole microseconds"
        ]
    );
    assert_eq!(table.len().unwrap(), 1);
}

/// How often a server crashes.
const CRASHES: usize = 10;

/// Increments of one row, while the server crashes and comes back.
#[test]
fn a_server_that_crashes_loses_nothing_and_does_nothing_twice() {
    let (maker, server) = (Maker::new("postgres"), Server::start());
    let url = server.url();
    let table = maker.open_at(&url, "counted", &Shape::of("id LONG, v LONG").key("id"), &[]);
    insert(&*table, &[r#"{"id":1,"v":0}"#]);
    let done = AtomicBool::new(false);
    let mut increments = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CRASHES {
                thread::sleep(Duration::from_millis(150));
                server.crash();
                server.resume();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let mut writer = table.write().unwrap();
            let (found, ids) = find_in(&*table, &mut *writer, "id", &[r#"{"id":1}"#]);
            assert_eq!(found, [format!("0: {{id:1,v:{increments}}}")]);
            increments += 1;
            let next = rows(&*table, &[&format!(r#"{{"id":1,"v":{increments}}}"#)]);
            assert!(writer.update(&ids, &next).unwrap().is_none());
            writer.commit().unwrap();
            assert_eq!(table.len().unwrap(), 1);
        }
    });
    assert_eq!(content(&*table), [format!("{{id:1,v:{increments}}}")]);
    assert!(increments >= CRASHES, "{increments}");
}

#[test]
fn a_server_that_stays_away_is_an_error() {
    let (maker, server) = (Maker::new("postgres"), Server::start());
    let options = [("retry.timeout", "300 ms"), ("connect.timeout", "200 ms")];
    let table = maker.open_at(&server.url(), "t", &shape(), &options);
    insert(&*table, &[r#"{"id":1}"#]);
    server.crash();
    let error = table.len().unwrap_err().to_string();
    assert!(error.starts_with("table 't': PostgreSQL: "), "{error}");
    assert!(table.write().unwrap().insert(&rows(&*table, &[r#"{"id":2}"#])).is_err());
    server.resume();
    assert_eq!(table.len().unwrap(), 1);
}

/// What a transaction has read is changed between the loss of its connection and its repetition.
#[test]
fn a_transaction_that_cannot_be_repeated_fails() {
    let (maker, server) = (Maker::new("postgres"), Server::shared());
    let table = maker.open_named("repeated", &shape(), &[]).unwrap();
    insert(&*table, &[r#"{"id":1,"name":"a"}"#]);
    let attempt = |meanwhile: &str| {
        let mut writer = table.write().unwrap();
        let (_, ids) = find_in(&*table, &mut *writer, "id", &[r#"{"id":1}"#]);
        sql(
            server,
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%repeated%' AND pid <> pg_backend_pid();
                 SELECT pg_sleep(0.1); {meanwhile}"
            ),
        );
        let update = rows(&*table, &[r#"{"id":1,"name":"b"}"#]);
        let updated = writer.update(&ids, &update)?;
        assert!(updated.is_none());
        writer.commit()
    };
    // It moves to another place, and is the same.
    attempt("UPDATE repeated SET name = name").unwrap();
    assert_eq!(content(&*table), ["{id:1,name:b}"]);
    let error = attempt("UPDATE repeated SET name = 'c'").unwrap_err().to_string();
    assert!(error.contains("changed by others"), "{error}");
    assert_eq!(content(&*table), ["{id:1,name:c}"]);
}

#[test]
fn rows_in_front_are_found_without_the_server_and_forgotten_when_written() {
    let (maker, server) = (Maker::new("postgres"), Server::shared());
    let options = [("cache.max_size", "100"), ("cache.ttl", "1 hour")];
    let table: Arc<dyn Table> = maker.open_named("fronted", &shape(), &options).unwrap();
    insert(&*table, &[r#"{"id":1,"name":"a"}"#, r#"{"id":2,"name":"b"}"#]);
    let both = || find(&*table, "id", &[r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":1}"#]);
    assert_eq!(both(), ["0: {id:2,name:b}", "2: {id:1,name:a}"]);
    // Another program's change is not seen yet.
    sql(server, "UPDATE fronted SET name = 'x' WHERE id = 1");
    assert_eq!(both(), ["0: {id:2,name:b}", "2: {id:1,name:a}"]);
    // Our own are.
    upsert(&*table, &[r#"{"id":2,"name":"c"}"#, r#"{"id":3,"name":"d"}"#]);
    assert_eq!(both(), ["0: {id:2,name:c}", "1: {id:3,name:d}", "2: {id:1,name:a}"]);
    delete(&*table, "name", &[r#"{"name":"c"}"#]);
    assert_eq!(both(), ["1: {id:3,name:d}", "2: {id:1,name:x}"]);
}

/// As the queries of the batch engine do, and embedders who are async.
#[test]
fn a_table_may_be_used_on_a_thread_of_another_runtime() {
    let maker = Maker::new("postgres");
    let table = maker.open(&shape());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        insert(&*table, &[r#"{"id":1,"name":"a"}"#]);
        // More than a task of a runtime may do before it yields.
        for _ in 0..300 {
            assert_eq!(find(&*table, "id", &[r#"{"id":1}"#]), ["0: {id:1,name:a}"]);
        }
    });
}
