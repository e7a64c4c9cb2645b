//! The source `materialize` against the emulation; with `EVENTFLUX_TEST_MATERIALIZE_URL` against a real one, too.

use std::sync::Arc;
use std::time::Duration;

use eventflux::error::RowError;
use eventflux::{App, EventFlux};
use parking_lot::Mutex;

use super::{expected, rows};
use crate::emulators::materialize::{Emulator, MZ_TIMESTAMP};
use crate::emulators::world::{World, row};
use crate::support::{Scratch, wait_until};

const COLUMNS: &[(&str, u32)] = &[("id", 23), ("name", 25), ("n", 20)];

/// An app that keeps a copy of the relation `items` in the table T.
pub fn copying(url: &str, options: &str) -> String {
    format!(
        r#"CREATE STREAM Items (id INT PRIMARY KEY, name STRING, n LONG)
           WITH (type = 'source', extension = 'materialize', "materialize.url" = '{url}', relation = 'items',
                 "retry.initial-delay" = '1 ms', "retry.max-delay" = '20 ms' {options});
           CREATE TABLE T (id INT PRIMARY KEY, name STRING, n LONG);
           INSERT INTO T SELECT id, name, n FROM Items;"#
    )
}

fn start(sql: &str) -> App {
    let app = EventFlux::builder().sql(sql).build().unwrap();
    app.start().unwrap();
    app
}

#[track_caller]
fn comes(app: &App, want: &[&str]) {
    wait_until(format!("{want:?}"), || rows(app, "SELECT * FROM T") == want);
}

/// How many SUBSCRIBEs began with a snapshot, and how many with a time.
pub fn begun(world: &World) -> (u64, u64) {
    let state = world.state();
    (state.snapshots, state.resumed)
}

/// What a stream gives, as `+I 1 …`.
fn watched(app: &App, stream: &str) -> Arc<Mutex<Vec<String>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    app.on(stream, move |batch| {
        for row in 0..batch.num_rows() {
            let cell =
                |column: &arrow::array::ArrayRef| arrow::util::display::array_value_to_string(column, row).unwrap();
            let cells: Vec<String> = batch.columns().columns().iter().map(cell).collect();
            into.lock()
                .push(format!("{} {}", batch.op(row).sign(), cells.join(" ")));
        }
    })
    .unwrap();
    seen
}

fn errors(app: &App, stream: &str) -> Arc<Mutex<Vec<RowError>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    app.on_error(stream, move |error| into.lock().push(error.clone()))
        .unwrap();
    seen
}

#[test]
fn a_snapshot_and_then_changes() {
    for options in ["", ", copy = 'binary'"] {
        let emulator = Emulator::start(0, None).unwrap();
        let world = &emulator.world;
        world.create("items", COLUMNS);
        world.write(
            "items",
            &[(row(&["1", "one", "10"]), 1), (row(&["2", "NULL", "20"]), 1)],
        );
        let app = EventFlux::builder()
            .sql(copying(&emulator.url(), options))
            .build()
            .unwrap();
        let seen = watched(&app, "Items");
        app.start().unwrap();
        comes(&app, &["1|one|10", "2|NULL|20"]);
        world.write("items", &[(row(&["1", "one", "10"]), -1), (row(&["1", "", "11"]), 1)]);
        comes(&app, &["1||11", "2|NULL|20"]);
        world.write(
            "items",
            &[(row(&["2", "NULL", "20"]), -1), (row(&["3", "a\tb\\c\n", "30"]), 1)],
        );
        comes(&app, &["1||11", "3|a\tb\\c\n|30"]);
        app.shutdown().unwrap();
        let mut seen = seen.lock().clone();
        seen[..2].sort();
        let want = [
            "+I 1 one 10",
            "+I 2  20",
            "-U 1 one 10",
            "+U 1  11",
            "-D 2  20",
            "+I 3 a\tb\\c\n 30",
        ];
        assert_eq!(seen[..], want, "{options}");
    }
}

#[test]
fn all_types_in_both_forms() {
    let columns = [
        ("b", 16, "BOOL", "t", "true"),
        ("i2", 21, "INT", "-7", "-7"),
        ("i4", 23, "INT", "2147483647", "2147483647"),
        ("i8", 20, "LONG", "-9223372036854775808", "-9223372036854775808"),
        ("f4", 700, "FLOAT", "1.5", "1.5"),
        ("f8", 701, "DOUBLE", "-0.1", "-0.1"),
        ("num", 1700, "DECIMAL(20, 4)", "-12345678.0900", "-12345678.0900"),
        ("txt", 25, "STRING", "tab\tand \\N", "tab\tand \\N"),
        ("vc", 1043, "STRING", "", ""),
        (
            "id",
            2950,
            "STRING",
            "123e4567-e89b-12d3-a456-426614174000",
            "123e4567-e89b-12d3-a456-426614174000",
        ),
        ("d", 1082, "DATE", "2024-02-29", "2024-02-29"),
        ("t", 1083, "TIME", "23:59:59.5", "23:59:59.500"),
        (
            "ts",
            1114,
            "TIMESTAMP",
            "2024-02-29 12:00:00.25",
            "2024-02-29T12:00:00.250",
        ),
        ("tz", 1184, "TIMESTAMP", "2024-02-29 12:00:00+02", "2024-02-29T10:00:00"),
        (
            "iv",
            1186,
            "INTERVAL",
            "1 year 2 mons 3 days -04:05:06.7",
            "14 mons 3 days -4 hours -5 mins -6.700000000 secs",
        ),
        ("js", 3802, "JSON", r#"{"a": [1, "x"]}"#, r#"{"a": [1, "x"]}"#),
        ("by", 17, "BYTES", "\\x00ff", "00ff"),
        ("ia", 1007, "ARRAY<INT>", "{1,NULL,3}", "[1, NULL, 3]"),
        (
            "ta",
            1009,
            "ARRAY<STRING>",
            r#"{"a \"b\"",NULL,"","NULL"}"#,
            r#"[a "b", NULL, , NULL]"#,
        ),
        ("mz", MZ_TIMESTAMP, "TIMESTAMP", "1709208000000", "2024-02-29T12:00:00"),
        ("nul", 23, "INT", "NULL", "NULL"),
    ];
    // Those whose binary form the emulation knows, too.
    let binary = [16, 20, 21, 23, 25, 700, 701, 1043, 1700, 3802, MZ_TIMESTAMP];
    for form in ["text", "binary"] {
        let columns: Vec<_> = columns
            .iter()
            .filter(|column| form == "text" || binary.contains(&column.1))
            .collect();
        let emulator = Emulator::start(0, None).unwrap();
        let known: Vec<(&str, u32)> = [("key", 23)]
            .into_iter()
            .chain(columns.iter().map(|c| (c.0, c.1)))
            .collect();
        emulator.world.create("items", &known);
        let values: Vec<&str> = ["1"].into_iter().chain(columns.iter().map(|column| column.3)).collect();
        emulator.world.write("items", &[(row(&values), 1)]);
        let declared: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {}", column.0, column.2))
            .collect();
        let declared = declared.join(", ");
        let app = start(&format!(
            "CREATE STREAM Items (key INT PRIMARY KEY, {declared})
             WITH (type = 'source', extension = 'materialize', url = '{}', relation = 'items', copy = '{form}');
             CREATE TABLE T (key INT PRIMARY KEY, {declared});
             INSERT INTO T SELECT * FROM Items;",
            emulator.url()
        ));
        wait_until("the row", || !rows(&app, "SELECT key FROM T").is_empty());
        for column in &columns {
            let name = column.0;
            assert_eq!(
                rows(&app, &format!("SELECT {name} FROM T")),
                [column.4],
                "{name} {form}"
            );
        }
        app.shutdown().unwrap();
    }
}

#[test]
fn without_a_key_every_new_row_is_an_event() {
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    world.write("items", &[(row(&["1", "a", "1"]), 2)]);
    let sql = |deletes: &str| {
        format!(
            "CREATE STREAM Items (id INT, name STRING, n LONG) WITH (type = 'source', extension = 'materialize',
             url = '{}', query = 'SELECT * FROM items', deletes = '{deletes}', \"retry.initial-delay\" = '1 ms');",
            emulator.url()
        )
    };
    for (deletes, refused) in [("error", 1), ("ignore", 0)] {
        let app = EventFlux::builder().sql(sql(deletes)).build().unwrap();
        let (seen, errors) = (watched(&app, "Items"), errors(&app, "Items"));
        app.start().unwrap();
        wait_until("the snapshot", || seen.lock().len() == 2);
        world.write("items", &[(row(&["1", "a", "1"]), -1), (row(&["2", "b", "2"]), 1)]);
        wait_until("the event", || seen.lock().len() == 3);
        // While nobody listens one comes and one goes.
        world.state().faults.away = true;
        world.kill();
        world.write("items", &[(row(&["3", "c", "3"]), 1)]);
        world.compact("items");
        world.state().faults.away = false;
        wait_until("what came meanwhile", || seen.lock().len() == 4);
        app.shutdown().unwrap();
        let mut seen = seen.lock().clone();
        seen.sort();
        assert_eq!(seen, ["+I 1 a 1", "+I 1 a 1", "+I 2 b 2", "+I 3 c 3"]);
        assert_eq!(errors.lock().len(), refused, "{:?}", errors.lock());
        world.write(
            "items",
            &[
                (row(&["1", "a", "1"]), 1),
                (row(&["2", "b", "2"]), -1),
                (row(&["3", "c", "3"]), -1),
            ],
        );
    }
}

#[test]
fn a_key_with_two_rows_is_an_error_and_has_none() {
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    world.write("items", &[(row(&["1", "a", "1"]), 1), (row(&["2", "b", "2"]), 1)]);
    let app = EventFlux::builder().sql(copying(&emulator.url(), "")).build().unwrap();
    let errors = errors(&app, "Items");
    app.start().unwrap();
    comes(&app, &["1|a|1", "2|b|2"]);
    world.write("items", &[(row(&["1", "z", "9"]), 1)]);
    comes(&app, &["2|b|2"]);
    assert!(
        errors.lock()[0].message.contains("key_violation"),
        "{:?}",
        errors.lock()
    );
    world.write("items", &[(row(&["1", "a", "1"]), -1)]);
    comes(&app, &["1|z|9", "2|b|2"]);
    app.shutdown().unwrap();
}

#[test]
fn progress_is_the_watermark() {
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    let sql = format!(
        "CREATE STREAM Items (id INT, name STRING, n LONG)
         WITH (type = 'source', extension = 'materialize', url = '{}', relation = 'items');
         INSERT INTO Out SELECT count(*) AS n, max(id) AS id FROM Items WINDOW TUMBLING(200 ms);",
        emulator.url()
    );
    let app = EventFlux::builder().sql(sql).build().unwrap();
    let seen = watched(&app, "Out");
    app.start().unwrap();
    wait_until("the subscription", || world.state().snapshots == 1);
    world.write("items", &[(row(&["1", "a", "1"]), 1), (row(&["2", "b", "2"]), 1)]);
    // No other row comes that would close the window.
    wait_until("the window", || !seen.lock().is_empty());
    assert!(seen.lock()[0].starts_with("+I 2 "), "{:?}", seen.lock());
    app.shutdown().unwrap();
}

#[test]
fn a_lost_connection_goes_on_where_it_was() {
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    world.write("items", &[(row(&["1", "a", "1"]), 1)]);
    let app = EventFlux::builder().sql(copying(&emulator.url(), "")).build().unwrap();
    let seen = watched(&app, "Items");
    app.start().unwrap();
    comes(&app, &["1|a|1"]);
    world.state().faults.away = true;
    world.kill();
    world.write("items", &[(row(&["2", "b", "2"]), 1)]);
    world.write("items", &[(row(&["1", "a", "1"]), -1)]);
    world.state().faults.away = false;
    comes(&app, &["2|b|2"]);
    assert_eq!(begun(world), (1, 1));
    // The history is gone: only the difference goes on.
    world.state().faults.away = true;
    world.kill();
    world.write("items", &[(row(&["3", "c", "3"]), 1)]);
    world.compact("items");
    world.state().faults.away = false;
    comes(&app, &["2|b|2", "3|c|3"]);
    assert_eq!(begun(world).0, 2);
    // Gone and come back while the history was compacted: a key that is no longer there is deleted.
    world.state().faults.away = true;
    world.kill();
    world.write("items", &[(row(&["2", "b", "2"]), -1)]);
    world.compact("items");
    world.state().faults.away = false;
    comes(&app, &["3|c|3"]);
    app.shutdown().unwrap();
    let want = ["+I 1 a 1", "+I 2 b 2", "-D 1 a 1", "+I 3 c 3", "-D 2 b 2"];
    assert_eq!(seen.lock()[..], want);
}

#[test]
fn silence_and_passing_refusals_are_waited_out() {
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    let app = start(&copying(&emulator.url(), r#", "stall.timeout" = '200 ms'"#));
    wait_until("the subscription", || world.state().snapshots == 1);
    world.write("items", &[(row(&["1", "a", "1"]), 1)]);
    comes(&app, &["1|a|1"]);
    world.state().faults.stall = true;
    world.state().faults.refuse = Some(("57P03", "not yet".to_string()));
    wait_until("a new connection", || world.state().faults.refuse.is_none());
    world.state().faults.stall = false;
    world.write("items", &[(row(&["2", "b", "2"]), 1)]);
    comes(&app, &["1|a|1", "2|b|2"]);
    app.shutdown().unwrap();
}

#[test]
fn a_large_snapshot_comes_in_parts_and_survives_cuts_among_them() {
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    let many: Vec<_> = (0..2_000)
        .map(|n: u32| (row(&[&n.to_string(), "x", &n.to_string()]), 1))
        .collect();
    world.write("items", &many);
    world.state().faults.cut = Some((20_000, 60_000));
    let app = start(&copying(&emulator.url(), ", transaction_rows = '100'"));
    wait_until("some attempts", || {
        world.connections.load(std::sync::atomic::Ordering::Relaxed) > 6
    });
    world.state().faults.cut = None;
    let want = expected(&world.rows("items"));
    wait_until("all rows", || rows(&app, "SELECT * FROM T") == want);
    app.shutdown().unwrap();
}

#[test]
fn more_rows_than_allowed_stop_the_app() {
    let emulator = Emulator::start(0, None).unwrap();
    emulator.world.create("items", COLUMNS);
    let many: Vec<_> = (0..20).map(|n: u32| (row(&[&n.to_string(), "x", "1"]), 1)).collect();
    emulator.world.write("items", &many);
    let app = start(&copying(&emulator.url(), ", max_rows = '10'"));
    let error = app.wait().unwrap_err().to_string();
    assert!(
        error.contains("more than 10 rows") && error.contains("max_rows"),
        "{error}"
    );
}

#[test]
fn what_does_not_fit_is_an_error_at_the_start() {
    let emulator = Emulator::start(0, Some("s3cret")).unwrap();
    emulator.world.create("items", COLUMNS);
    let url = emulator.url().replace("materialize@", "materialize:s3cret@");
    let stream = |columns: &str, options: &str| {
        format!(
            "CREATE STREAM S ({columns})\nWITH (type = 'source', extension = 'materialize', url = '{url}', {options});\n"
        )
    };
    let cases = [
        (
            stream("id INT", "relation = 'nope'"),
            "unknown catalog item 'nope'",
            "relation = 'nope'",
        ),
        (
            stream("ident INT", "relation = 'items'"),
            "has no column 'ident'",
            "it has: id, name, n",
        ),
        (
            stream("naem STRING", "relation = 'items'"),
            "has no column 'naem'",
            "did you mean 'name'?",
        ),
        (
            stream("id BOOL", "relation = 'items'"),
            "of type int4, which BOOL cannot hold",
            "declare id INT",
        ),
        (
            stream("id INT", "query = 'SELECT id FROM nope'"),
            "unknown catalog item 'nope'",
            "query =",
        ),
        (
            stream("id INT", "relation = 'items', password = 'wr0ng'"),
            "invalid password",
            "may the user connect",
        ),
    ];
    for (sql, message, other) in cases {
        let scratch = Scratch::with(&[("app.sql", &sql)]);
        let got = scratch.run(["validate", "--connect", "app.sql"]).code(2).stderr;
        assert!(
            got.contains(message) && got.contains(other) && got.contains("app.sql:2"),
            "{got}"
        );
        assert!(!got.contains("s3cret") && !got.contains("wr0ng"), "{got}");
        scratch.run(["validate", "app.sql"]).code(0);
        let error = EventFlux::builder()
            .sql(&sql)
            .build()
            .unwrap()
            .start()
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
    let good = Scratch::with(&[("app.sql", &stream("id INT, n LONG", "relation = 'items'"))]);
    good.run(["validate", "--connect", "app.sql"]).code(0);
    drop(emulator);
    let got = good.run(["validate", "--connect", "app.sql"]).code(2).stderr;
    assert!(got.contains("cannot be reached") && !got.contains("s3cret"), "{got}");
}

#[test]
fn encryption_that_the_server_cannot_give_is_not_done_without() {
    let emulator = Emulator::start(0, None).unwrap();
    emulator.world.create("items", COLUMNS);
    let sql = copying(&emulator.url(), ", sslmode = 'require'");
    let scratch = Scratch::with(&[("app.sql", &sql)]);
    let got = scratch.run(["validate", "--connect", "app.sql"]).code(2).stderr;
    assert!(got.contains("TLS"), "{got}");
}

#[test]
fn init_writes_the_stream_of_a_relation() {
    let emulator = Emulator::start(0, None).unwrap();
    emulator.world.create("items", COLUMNS);
    let url = emulator.url();
    let arguments = ["init", "--from", "materialize", "--url", &url, "--relation", "items"];
    let scratch = Scratch::new();
    let got = scratch.run([&arguments[..], &["--key", "id"]].concat()).code(0).stdout;
    assert!(
        got.contains("CREATE STREAM items (\n  id   INT,\n  name STRING,\n  n    LONG,\n  PRIMARY KEY (id)\n)"),
        "{got}"
    );
    scratch.write("app.sql", &got);
    scratch.run(["validate", "--connect", "app.sql"]).code(0);
}

/// A relation `eventflux_test (id int, name text, n bigint)` of a real Materialize, which this test makes and drops.
#[test]
fn a_real_materialize() {
    let Ok(url) = std::env::var("EVENTFLUX_TEST_MATERIALIZE_URL") else {
        println!(
            "skipped: EVENTFLUX_TEST_MATERIALIZE_URL is not set, so that there is no real Materialize to test with"
        );
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, connection) = runtime
        .block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls))
        .unwrap();
    runtime.spawn(connection);
    let run = |sql: &str| runtime.block_on(client.batch_execute(sql)).unwrap();
    run("DROP TABLE IF EXISTS eventflux_test");
    run("CREATE TABLE eventflux_test (id int, name text, n bigint)");
    run("INSERT INTO eventflux_test VALUES (1, 'a', 1), (2, NULL, 2)");
    for form in ["text", "binary"] {
        let sql = copying(&url, &format!(", copy = '{form}'")).replace("'items'", "'eventflux_test'");
        let app = start(&sql);
        comes(&app, &["1|a|1", "2|NULL|2"]);
        run("UPDATE eventflux_test SET n = 3 WHERE id = 1");
        run("DELETE FROM eventflux_test WHERE id = 2");
        comes(&app, &["1|a|3"]);
        run("UPDATE eventflux_test SET n = 1 WHERE id = 1");
        run("INSERT INTO eventflux_test VALUES (2, NULL, 2)");
        comes(&app, &["1|a|1", "2|NULL|2"]);
        app.shutdown().unwrap();
    }
    run("DROP TABLE eventflux_test");
    std::thread::sleep(Duration::from_millis(10));
}
