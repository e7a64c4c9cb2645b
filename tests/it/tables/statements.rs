//! Random statements that change tables, by events and on demand, against the same in plain SQL: SQLite, asked directly, with
//! the values of each event written into the statement.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use eventflux::{App, EventFlux};
use proptest::prelude::*;
use rusqlite::Connection;

#[cfg(feature = "postgres")]
use super::server::Server;

/// A row of T.
type Row = (i64, Option<i32>, Option<i32>);

/// What a stream's events do to T, and the same for one event whose columns are ?1, ?2 and ?3.
const BY_EVENTS: &[(&str, &str)] = &[
    (
        "INSERT INTO T SELECT id, g, v FROM #",
        "INSERT OR IGNORE INTO T VALUES (?1, ?2, ?3)",
    ),
    (
        "UPSERT INTO T SELECT id, g, v FROM #",
        "INSERT OR REPLACE INTO T VALUES (?1, ?2, ?3)",
    ),
    (
        "INSERT INTO T SELECT id, g, v FROM # ON CONFLICT (id) DO UPDATE SET v = T.v + excluded.v, g = excluded.g",
        "INSERT INTO T VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET v = v + excluded.v, g = excluded.g",
    ),
    (
        "INSERT INTO T SELECT id, g, v FROM # ON CONFLICT (id) DO NOTHING",
        "INSERT INTO T VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
    ),
    (
        "UPDATE T SET v = T.v + #.v FROM # WHERE T.id = #.id",
        "UPDATE T SET v = v + ?3 WHERE id = ?1",
    ),
    (
        "UPDATE T SET v = T.v % 7 + #.v, g = #.g + 1 FROM # WHERE T.g = #.g AND T.v < #.v",
        "UPDATE T SET v = v % 7 + ?3, g = ?2 + 1 WHERE g = ?2 AND v < ?3",
    ),
    (
        "DELETE FROM T USING # WHERE T.g = #.g AND (T.v > #.v OR T.id = #.id)",
        "DELETE FROM T WHERE g = ?2 AND (v > ?3 OR id = ?1)",
    ),
    ("DELETE FROM T USING # WHERE T.id = #.id", "DELETE FROM T WHERE id = ?1"),
    (
        "UPDATE OR INSERT INTO T SELECT id, g, v FROM # SET g = g, v = v + T.v ON T.id = id",
        "INSERT INTO T VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET g = excluded.g, v = excluded.v + v",
    ),
    (
        "INSERT INTO T SELECT #.id + 20 AS id, T.g, T.v FROM # JOIN T ON T.id = #.id",
        "INSERT OR IGNORE INTO T SELECT ?1 + 20, g, v FROM T WHERE id = ?1",
    ),
];

/// The same text for both; `?1`, `?2` and `?3` are values.
const ON_DEMAND: &[(&str, &str)] = &[
    (
        "INSERT INTO T VALUES (?1, ?2, ?3)",
        "INSERT OR IGNORE INTO T VALUES (?1, ?2, ?3)",
    ),
    (
        "UPSERT INTO T VALUES (?1, ?2, ?3)",
        "INSERT OR REPLACE INTO T VALUES (?1, ?2, ?3)",
    ),
    (
        "UPDATE T SET v = v + ?3 WHERE g = ?2",
        "UPDATE T SET v = v + ?3 WHERE g = ?2",
    ),
    (
        "UPDATE T SET v = ?3 WHERE id = ?1 OR v IS NULL",
        "UPDATE T SET v = ?3 WHERE id = ?1 OR v IS NULL",
    ),
    (
        "DELETE FROM T WHERE v > ?3 AND g <> ?2",
        "DELETE FROM T WHERE v > ?3 AND g <> ?2",
    ),
    (
        "INSERT INTO T SELECT id + 40, g, v FROM T WHERE id = ?1 AND id NOT IN (SELECT id - 40 FROM T)",
        "INSERT INTO T SELECT id + 40, g, v FROM T WHERE id = ?1 AND id NOT IN (SELECT id - 40 FROM T)",
    ),
];

#[derive(Debug, Clone)]
enum Step {
    /// Events of a stream.
    Events(usize, Vec<Row>),
    OnDemand(usize, Row),
}

fn row() -> impl Strategy<Value = Row> {
    let small = || prop::option::weighted(0.9, 0_i32..5);
    (0_i64..12, small(), small())
}

fn step() -> impl Strategy<Value = Step> {
    let events = (0..BY_EVENTS.len(), prop::collection::vec(row(), 1..6));
    prop_oneof![
        3 => events.prop_map(|(stream, rows)| Step::Events(stream, rows)),
        1 => (0..ON_DEMAND.len(), row()).prop_map(|(statement, row)| Step::OnDemand(statement, row)),
    ]
}

/// An app with a stream for each of the statements.
fn app(options: &str) -> App {
    let mut sql = format!("CREATE TABLE T (id LONG PRIMARY KEY, g INT, v INT, INDEX (g)) WITH ({options});\n");
    for (number, (statement, _)) in BY_EVENTS.iter().enumerate() {
        let stream = format!("S{number}");
        sql += &format!("CREATE STREAM {stream} (id LONG, g INT, v INT);\n");
        sql += &format!("{};\n", statement.replace('#', &stream));
    }
    let app = EventFlux::builder().sql(sql).inline().build().unwrap();
    app.start().unwrap();
    app
}

fn content(app: &App) -> Vec<Row> {
    let batches = app.query("SELECT id, g, v FROM T ORDER BY id").unwrap();
    batches.iter().flat_map(rows).collect()
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let ids = batch.column(0).as_primitive::<Int64Type>();
    let (g, v) = (batch.column(1), batch.column(2));
    let (g, v) = (g.as_primitive::<Int32Type>(), v.as_primitive::<Int32Type>());
    let rows = ids.iter().zip(g.iter().zip(v.iter()));
    rows.map(|(id, (g, v))| (id.unwrap(), g, v)).collect()
}

/// A statement with a row's values in it.
fn filled(statement: &str, (id, g, v): Row) -> String {
    let text = |value: Option<i32>| value.map_or("NULL".to_string(), |value| value.to_string());
    let values = [("?1", id.to_string()), ("?2", text(g)), ("?3", text(v))];
    values
        .iter()
        .fold(statement.to_string(), |text, (name, value)| text.replace(name, value))
}

fn expected(connection: &Connection) -> Vec<Row> {
    let mut statement = connection.prepare("SELECT id, g, v FROM T ORDER BY id").unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Does the same in both, step by step.
fn compare(options: &str, steps: &[Step]) -> Result<(), TestCaseError> {
    let app = app(options);
    let connection = Connection::open_in_memory().unwrap();
    let table = "CREATE TABLE T (id INTEGER PRIMARY KEY, g INTEGER, v INTEGER)";
    connection.execute(table, ()).unwrap();
    for step in steps {
        match step {
            Step::Events(stream, events) => {
                let input = app.input(&format!("S{stream}")).unwrap();
                input.send_rows(events).unwrap();
                for &event in events {
                    connection.execute(&filled(BY_EVENTS[*stream].1, event), ()).unwrap();
                }
            }
            Step::OnDemand(number, row) => {
                let (ours, theirs) = ON_DEMAND[*number];
                // A key that is there already is an error here, and is passed over there.
                let _ = app.query(&filled(ours, *row));
                connection.execute(&filled(theirs, *row), ()).unwrap();
            }
        }
        let (got, want) = (content(&app), expected(&connection));
        prop_assert_eq!(got, want, "after {:?}", step);
    }
    app.shutdown().unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_memory(steps in prop::collection::vec(step(), 1..30)) {
        compare("extension = 'memory'", &steps)?;
    }

    #[test]
    fn in_a_cache(steps in prop::collection::vec(step(), 1..30)) {
        compare("extension = 'cache', max_size = 1000", &steps)?;
    }

    #[test]
    fn in_sqlite(steps in prop::collection::vec(step(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        compare(&format!("extension = 'sqlite', path = '{}'", path.display()), &steps)?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_postgres(steps in prop::collection::vec(step(), 1..30)) {
        let url = Server::shared().url();
        let number = next_number();
        compare(&format!("extension = 'postgres', url = '{url}', table = 'statements_{number}'"), &steps)?;
    }
}

/// A number for a table's name.
#[cfg(feature = "postgres")]
fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
