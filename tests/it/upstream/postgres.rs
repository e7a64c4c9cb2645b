//! The source `postgres` against a real server.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventflux::{App, EventFlux};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::rows;
use crate::recovery::kills::newest;
use crate::support::{DEADLINE, Running, Scratch, wait_until};
use crate::tables::server::Server;

/// Another program that works with the server.
struct Other {
    runtime: Runtime,
    client: Client,
}

impl Other {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (client, connection) = runtime
            .block_on(tokio_postgres::connect(&Server::shared().url(), NoTls))
            .unwrap();
        runtime.spawn(connection);
        Other { runtime, client }
    }

    fn run(&self, sql: &str) -> Vec<String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql)).unwrap();
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                let cells = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_string());
                rows.push(cells.collect::<Vec<_>>().join("|"));
            }
        }
        rows
    }
}

/// Drops what a test has left in the server, also when it fails.
struct Dropped(&'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        let other = Other::new();
        let name = self.0;
        let slot = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'eventflux_{name}'"
        );
        other.run(&slot);
        let end = Instant::now() + DEADLINE;
        let drop = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'eventflux_{name}'"
        );
        while Instant::now() < end && other.runtime.block_on(other.client.simple_query(&drop)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        other.run(&format!(
            "DROP TABLE IF EXISTS {name} CASCADE; DROP PUBLICATION IF EXISTS eventflux_{name}"
        ));
    }
}

/// An app that keeps a copy of the table of the stream's name.
fn copying(name: &str, columns: &str, options: &str) -> String {
    format!(
        r#"CREATE STREAM {name} ({columns}) WITH (type = 'source', extension = 'postgres', "postgres.url" = '{}', relation = '{name}',
           "retry.initial-delay" = '5 ms', "retry.max-delay" = '50 ms' {options});
           CREATE TABLE T ({columns});
           INSERT INTO T SELECT * FROM {name};"#,
        Server::shared().url()
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

#[test]
fn a_snapshot_and_then_changes_by_transaction() {
    let (other, _dropped) = (Other::new(), Dropped("pg_first"));
    other.run("CREATE TABLE pg_first (id int PRIMARY KEY, name text, n bigint); INSERT INTO pg_first VALUES (1, 'one', 1), (2, NULL, 2)");
    let app = EventFlux::builder()
        .sql(copying("pg_first", "id INT PRIMARY KEY, name STRING, n LONG", ""))
        .build()
        .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    app.on("pg_first", move |batch| {
        let ops: Vec<&str> = (0..batch.num_rows()).map(|row| batch.op(row).sign()).collect();
        into.lock().push(ops.join(" "));
    })
    .unwrap();
    app.start().unwrap();
    comes(&app, &["1|one|1", "2|NULL|2"]);
    other.run("BEGIN; INSERT INTO pg_first VALUES (3, '', 3), (4, 'x', 4); UPDATE pg_first SET n = 10 WHERE id = 1; DELETE FROM pg_first WHERE id = 2; COMMIT");
    comes(&app, &["1|one|10", "3||3", "4|x|4"]);
    // A key that changes.
    other.run("UPDATE pg_first SET id = 5 WHERE id = 3");
    comes(&app, &["1|one|10", "4|x|4", "5||3"]);
    other.run("BEGIN; INSERT INTO pg_first VALUES (6, 'gone', 6); TRUNCATE pg_first; INSERT INTO pg_first VALUES (7, 'new', 7); COMMIT");
    comes(&app, &["7|new|7"]);
    other.run("BEGIN; DELETE FROM pg_first; ROLLBACK; INSERT INTO pg_first VALUES (8, 'a\tb\\c\nd', 8)");
    comes(&app, &["7|new|7", "8|a\tb\\c\nd|8"]);
    app.shutdown().unwrap();
    let seen = seen.lock();
    assert_eq!(seen[..2], ["+I +I", "+I +I -U +U -D"], "a transaction is one batch");
}

#[test]
fn all_types() {
    let (other, _dropped) = (Other::new(), Dropped("pg_types"));
    let columns = [
        ("b", "boolean", "BOOL", "true", "true"),
        ("i2", "smallint", "INT", "-7", "-7"),
        ("i4", "integer", "INT", "2147483647", "2147483647"),
        ("i8", "bigint", "LONG", "-9223372036854775808", "-9223372036854775808"),
        ("f4", "real", "FLOAT", "1.5", "1.5"),
        ("f8", "double precision", "DOUBLE", "0.1", "0.1"),
        (
            "num",
            "numeric(20,4)",
            "DECIMAL(20, 4)",
            "-12345678.09",
            "-12345678.0900",
        ),
        ("txt", "text", "STRING", "tab\t \\N", "tab\t \\N"),
        (
            "uid",
            "uuid",
            "STRING",
            "123e4567-e89b-12d3-a456-426614174000",
            "123e4567-e89b-12d3-a456-426614174000",
        ),
        ("d", "date", "DATE", "2024-02-29", "2024-02-29"),
        ("t", "time", "TIME", "23:59:59.5", "23:59:59.500"),
        (
            "ts",
            "timestamp",
            "TIMESTAMP",
            "2024-02-29 12:00:00.25",
            "2024-02-29T12:00:00.250",
        ),
        (
            "tz",
            "timestamptz",
            "TIMESTAMP",
            "2024-02-29 12:00:00+02",
            "2024-02-29T10:00:00",
        ),
        (
            "iv",
            "interval",
            "INTERVAL",
            "1 year 3 days -04:05:06.7",
            "12 mons 3 days -4 hours -5 mins -6.700000000 secs",
        ),
        ("js", "jsonb", "JSON", r#"{"a": [1, "x"]}"#, r#"{"a": [1, "x"]}"#),
        ("by", "bytea", "BYTES", "\\x00ff", "00ff"),
        ("ia", "int[]", "ARRAY<INT>", "{1,NULL,3}", "[1, NULL, 3]"),
        ("ta", "text[]", "ARRAY<STRING>", r#"{"a b",NULL,""}"#, "[a b, NULL, ]"),
        (
            "aa",
            "int[][]",
            "ARRAY<ARRAY<INT>>",
            "{{1,2},{3,4}}",
            "[[1, 2], [3, 4]]",
        ),
        ("nothing", "int", "INT", "", "NULL"),
    ];
    let made: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", column.0, column.1))
        .collect();
    let value = |column: &(&str, &str, &str, &str, &str)| match column.4 {
        "NULL" => "NULL".to_string(),
        _ => format!("'{}'", column.3),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    let values = values.join(", ");
    other.run(&format!(
        "CREATE TABLE pg_types (key int PRIMARY KEY, {}); INSERT INTO pg_types VALUES (1, {values})",
        made.join(", ")
    ));
    let declared: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", column.0, column.2))
        .collect();
    let app = start(&copying(
        "pg_types",
        &format!("key INT PRIMARY KEY, {}", declared.join(", ")),
        "",
    ));
    wait_until("the snapshot", || rows(&app, "SELECT key FROM T") == ["1"]);
    other.run(&format!("INSERT INTO pg_types VALUES (2, {values})"));
    wait_until("the change", || rows(&app, "SELECT key FROM T") == ["1", "2"]);
    for column in &columns {
        let got = rows(&app, &format!("SELECT {} FROM T", column.0));
        assert_eq!(got, [column.4, column.4], "{}", column.0);
    }
    app.shutdown().unwrap();
}

#[test]
fn large_values_that_do_not_change_are_kept() {
    let (other, _dropped) = (Other::new(), Dropped("pg_toast"));
    other.run("CREATE TABLE pg_toast (id int PRIMARY KEY, large text, n int); ALTER TABLE pg_toast ALTER large SET STORAGE EXTERNAL");
    let app = start(&copying("pg_toast", "id INT PRIMARY KEY, large STRING, n INT", ""));
    other.run("INSERT INTO pg_toast VALUES (1, repeat('x', 10000), 1)");
    wait_until("the row", || {
        rows(&app, "SELECT length(large), n FROM T") == ["10000|1"]
    });
    other.run("UPDATE pg_toast SET n = 2");
    wait_until("the update", || {
        rows(&app, "SELECT length(large), n FROM T") == ["10000|2"]
    });
    other.run("ALTER TABLE pg_toast REPLICA IDENTITY FULL; UPDATE pg_toast SET n = 3");
    wait_until("the second update", || {
        rows(&app, "SELECT length(large), n FROM T") == ["10000|3"]
    });
    app.shutdown().unwrap();
}

#[test]
fn a_slot_that_is_gone_costs_a_snapshot_of_which_the_difference_goes_on() {
    let (other, _dropped) = (Other::new(), Dropped("pg_slot"));
    other.run("CREATE TABLE pg_slot (id int PRIMARY KEY, n int); INSERT INTO pg_slot VALUES (1, 1), (2, 2), (3, 3)");
    let app = EventFlux::builder()
        .sql(copying("pg_slot", "id INT PRIMARY KEY, n INT", ""))
        .build()
        .unwrap();
    let seen = Arc::new(Mutex::new(0));
    let into = seen.clone();
    app.on("pg_slot", move |batch| *into.lock() += batch.num_rows())
        .unwrap();
    app.start().unwrap();
    comes(&app, &["1|1", "2|2", "3|3"]);
    other.run("INSERT INTO pg_slot VALUES (4, 4)");
    comes(&app, &["1|1", "2|2", "3|3", "4|4"]);
    // In one go, so that the source does not come back between.
    other.run(
        "DO $$ BEGIN
           PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'eventflux_pg_slot';
           FOR attempt IN 1..2000 LOOP
             BEGIN
               PERFORM pg_drop_replication_slot('eventflux_pg_slot');
               EXIT;
             EXCEPTION WHEN object_in_use THEN
               PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'eventflux_pg_slot';
             END;
           END LOOP;
           DELETE FROM pg_slot WHERE id = 1; UPDATE pg_slot SET n = 20 WHERE id = 2;
         END $$",
    );
    comes(&app, &["2|20", "3|3", "4|4"]);
    app.shutdown().unwrap();
    // Three, one, and of the second snapshot: one deleted, one updated.
    assert_eq!(*seen.lock(), 3 + 1 + 3);
}

#[test]
fn without_a_key_rows_are_events() {
    let (other, _dropped) = (Other::new(), Dropped("pg_events"));
    other.run("CREATE TABLE pg_events (id int PRIMARY KEY, n int); INSERT INTO pg_events VALUES (1, 1)");
    let sql = format!(
        "CREATE STREAM pg_events (id INT, n INT) WITH (type = 'source', extension = 'postgres', url = '{}', relation = 'pg_events');",
        Server::shared().url()
    );
    let app = EventFlux::builder().sql(sql).build().unwrap();
    let (seen, refused) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (into, count) = (seen.clone(), refused.clone());
    app.on("pg_events", move |batch| {
        for row in 0..batch.num_rows() {
            let cell = |at| arrow::util::display::array_value_to_string(batch.column(at), row).unwrap();
            into.lock()
                .push(format!("{}{} {}", batch.op(row).sign(), cell(0), cell(1)));
        }
    })
    .unwrap();
    app.on_error("pg_events", move |_| *count.lock() += 1).unwrap();
    app.start().unwrap();
    wait_until("the snapshot", || seen.lock().len() == 1);
    other.run("INSERT INTO pg_events VALUES (2, 2); UPDATE pg_events SET n = 3 WHERE id = 2; DELETE FROM pg_events WHERE id = 1");
    wait_until("the events", || seen.lock().len() == 3 && *refused.lock() == 2);
    app.shutdown().unwrap();
    assert_eq!(seen.lock()[..], ["+I1 1", "+I2 2", "+I2 3"]);
}

#[test]
fn what_does_not_fit_is_an_error_at_the_start() {
    let (other, _dropped) = (Other::new(), Dropped("pg_unfit"));
    other.run("CREATE TABLE pg_unfit (id int PRIMARY KEY, name text); CREATE OR REPLACE VIEW pg_unfit_view AS SELECT * FROM pg_unfit");
    let url = Server::shared().url();
    let stream = |columns: &str, relation: &str| {
        format!(
            "CREATE STREAM S ({columns})\nWITH (type = 'source', extension = 'postgres', url = '{url}', relation = '{relation}');\n"
        )
    };
    let cases = [
        (stream("id INT", "pg_nope"), "does not exist", "relation = 'pg_nope'"),
        (
            stream("ids INT", "pg_unfit"),
            "has no column 'ids'",
            "did you mean 'id'?",
        ),
        (stream("id BOOL", "pg_unfit"), "cannot hold", "declare id INT"),
        (
            stream("id INT, name STRING PRIMARY KEY", "pg_unfit"),
            "REPLICA IDENTITY",
            "ALTER TABLE",
        ),
        (stream("id INT", "pg_unfit_view"), "is not a table", "follow the tables"),
    ];
    for (sql, message, other) in cases {
        let scratch = Scratch::with(&[("app.sql", &sql)]);
        let got = scratch.run(["validate", "--connect", "app.sql"]).code(2).stderr;
        assert!(
            got.contains(message) && got.contains(other) && got.contains("app.sql:"),
            "{got}"
        );
        assert!(EventFlux::builder().sql(&sql).build().unwrap().start().is_err());
    }
}

#[test]
fn init_writes_the_stream_of_a_table() {
    let (other, _dropped) = (Other::new(), Dropped("pg_init"));
    other.run("CREATE TABLE pg_init (b int, \"Odd name\" text, a bigint, price numeric(12,2), tags text[], PRIMARY KEY (a, b))");
    let url = Server::shared().url();
    let scratch = Scratch::new();
    let arguments = [
        "init",
        "app",
        "--from",
        "postgres",
        "--url",
        &url,
        "--relation",
        "public.pg_init",
    ];
    scratch.run(arguments).code(0);
    let got = scratch.read("app/app.sql");
    for line in [
        "\"Odd name\" STRING",
        "DECIMAL(12, 2)",
        "ARRAY<STRING>",
        "PRIMARY KEY (a, b)",
    ] {
        assert!(got.contains(line), "{got}");
    }
    scratch.run(["validate", "--connect", "app/app.sql"]).code(0);
    let wrong = ["init", "--from", "postgres", "--url", &url, "--relation", "pg_nope"];
    assert!(scratch.run(wrong).code(2).stderr.contains("does not exist"));
    let wrong = ["init", "--from", "file", "--url", &url, "--relation", "x"];
    assert!(scratch.run(wrong).code(2).stderr.contains("knows no catalog"));
}

#[test]
fn encrypted_connections() {
    let (other, _dropped) = (Other::new(), Dropped("pg_tls"));
    other.run("CREATE TABLE pg_tls (id int PRIMARY KEY, n int); INSERT INTO pg_tls VALUES (1, 1)");
    let (authority, port) = (
        Server::shared().authority().display().to_string(),
        Server::shared().port(),
    );
    let at = |host: &str, options: &str| {
        let sql = copying("pg_tls", "id INT PRIMARY KEY, n INT", options);
        sql.replace(
            &Server::shared().url(),
            &format!("postgresql://postgres@{host}:{port}/postgres"),
        )
    };
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'eventflux' AND query LIKE '%pg_tls%'";
    let trusting = format!(", sslmode = 'verify-full', sslrootcert = '{authority}'");
    for (n, options) in [(2, ", sslmode = 'require'"), (3, trusting.as_str())] {
        let app = start(&at("localhost", options));
        other.run(&format!("UPDATE pg_tls SET n = {n}"));
        comes(&app, &[&format!("1|{n}")]);
        // The row may have come with the snapshot: the stream of changes begins after it.
        wait_until("the stream of changes", || other.run(encrypted) == ["t"]);
        app.shutdown().unwrap();
    }
    // Another name than the certificate's, and an authority that did not make it.
    let system = ", sslmode = 'verify-full'";
    for (host, options) in [("127.0.0.1", trusting.as_str()), ("localhost", system)] {
        let sql = at(host, options);
        let scratch = Scratch::with(&[("app.sql", sql.split("CREATE TABLE").next().unwrap())]);
        let got = scratch.run(["validate", "--connect", "app.sql"]).code(2).stderr;
        assert!(got.contains("certificate"), "{got}");
    }
}

/// A transaction of random changes.
fn change(other: &Other, table: &str, random: &mut SmallRng) {
    let mut sql = String::from("BEGIN;");
    for _ in 0..random.random_range(1..8) {
        let (id, n) = (random.random_range(0..60), random.random_range(0..1_000_000));
        sql += &match random.random_range(0..10) {
            0..3 => format!("DELETE FROM {table} WHERE id = {id};"),
            _ => format!("INSERT INTO {table} VALUES ({id}, {n}) ON CONFLICT (id) DO UPDATE SET n = excluded.n;"),
        };
    }
    if random.random_bool(0.02) {
        sql += &format!("TRUNCATE {table};");
    }
    sql += if random.random_bool(0.1) { "ROLLBACK" } else { "COMMIT" };
    other.run(&sql);
}

#[test]
fn connections_cut_at_random_lose_nothing() {
    let (other, _dropped) = (Other::new(), Dropped("pg_cuts"));
    other.run("CREATE TABLE pg_cuts (id int PRIMARY KEY, n int); INSERT INTO pg_cuts SELECT i, i FROM generate_series(1, 40) i");
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    let app = start(&copying(
        "pg_cuts",
        "id INT PRIMARY KEY, n INT",
        ", transaction_rows = '5'",
    ));
    for _ in 0..100 {
        for _ in 0..random.random_range(1..6) {
            change(&other, "pg_cuts", &mut random);
        }
        other.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eventflux' AND query LIKE '%pg_cuts%'");
        std::thread::sleep(Duration::from_millis(random.random_range(0..20)));
    }
    let mut want = other.run("SELECT id, n FROM pg_cuts");
    want.sort();
    wait_until(format!("the state of the table, seed {seed}"), || {
        rows(&app, "SELECT * FROM T") == want
    });
    app.shutdown().unwrap();
}

#[test]
fn killed_processes_lose_nothing_and_what_is_not_durable_is_not_confirmed() {
    let (other, _dropped) = (Other::new(), Dropped("pg_killed"));
    let _events = Dropped("pg_killed_events");
    other.run("CREATE TABLE pg_killed (id int PRIMARY KEY, n int); CREATE TABLE pg_killed_events (id bigserial PRIMARY KEY, n int)");
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    let source = |name: &str, columns: &str| {
        format!(
            "CREATE STREAM {name} ({columns}) WITH (type = 'source', extension = 'postgres', url = '{}', relation = '{name}', \
             \"retry.initial-delay\" = '5 ms', \"retry.max-delay\" = '50 ms');",
            Server::shared().url()
        )
    };
    let sink =
        |name: &str| format!("WITH (type = 'sink', extension = 'file', format = 'json', path = '{name}.ndjson');");
    let sql = format!(
        "{} {}
         CREATE STREAM Out (id LONG) {} CREATE STREAM Sums (rows LONG, total LONG, weighted LONG) {}
         INSERT INTO Out SELECT id FROM pg_killed_events;
         INSERT INTO Sums SELECT count(*) AS rows, sum(n) AS total, sum(id * CAST(n AS LONG)) AS weighted FROM pg_killed;",
        source("pg_killed", "id INT PRIMARY KEY, n INT"),
        source("pg_killed_events", "id LONG, n INT"),
        sink("out"),
        sink("sums"),
    );
    let scratch = Scratch::with(&[("app.sql", &sql)]);
    let arguments = [
        "run",
        "app.sql",
        "--quiet",
        "--state-dir",
        "state",
        "--set",
        "application.checkpoint.interval=30 ms",
    ];
    for kill in 0..10 {
        let before = newest(&scratch);
        let mut running = Running::start(scratch.eventflux(arguments).stdin(Stdio::null()));
        let end = Instant::now() + DEADLINE;
        let more = Duration::from_millis(random.random_range(0..150));
        let mut since: Option<Instant> = None;
        while since.is_none_or(|since| since.elapsed() < more) {
            change(&other, "pg_killed", &mut random);
            other.run("INSERT INTO pg_killed_events (n) SELECT 1 FROM generate_series(1, 5)");
            if newest(&scratch) > before + 1 && since.is_none() {
                since = Some(Instant::now());
            }
            assert!(
                Instant::now() < end,
                "kill {kill}: no checkpoint comes: {}",
                running.stderr()
            );
            assert!(
                running.child.try_wait().unwrap().is_none(),
                "it has ended: {}",
                running.stderr()
            );
        }
        running.signal(libc::SIGKILL);
        let _ = running.child.wait();
    }
    let mut running = Running::start(scratch.eventflux(arguments).stdin(Stdio::null()));
    let sums = other.run("SELECT count(*), coalesce(sum(n), 0), coalesce(sum(id::bigint * n), 0) FROM pg_killed");
    let cells: Vec<&str> = sums[0].split('|').collect();
    let last = format!(
        r#"{{"rows":{},"total":{},"weighted":{}}}"#,
        cells[0], cells[1], cells[2]
    );
    let number: u64 = other.run("SELECT count(*) FROM pg_killed_events")[0].parse().unwrap();
    wait_until(format!("{last}, seed {seed}"), || {
        scratch.read("sums.ndjson").lines().last() == Some(&last)
            && scratch.read("out.ndjson").lines().count() as u64 >= number
    });
    running.signal(libc::SIGTERM);
    let _ = running.child.wait();
    let mut lines: Vec<String> = scratch.read("out.ndjson").lines().map(str::to_string).collect();
    assert_eq!(lines.len() as u64, number, "seed {seed}: some events came twice");
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len() as u64, number, "seed {seed}");
}
