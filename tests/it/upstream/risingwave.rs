//! The source `risingwave` against the emulation; with `EVENTFLUX_TEST_RISINGWAVE_URL` against a real one, too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use eventflux::{App, EventFlux};
use parking_lot::Mutex;

use super::materialize::begun;
use super::{Changes, expected, rows};
use crate::emulators::materialize::Emulator;
use crate::emulators::world::row;
use crate::support::{DEADLINE, Scratch, wait_until};

const COLUMNS: &[(&str, u32)] = &[("id", 23), ("name", 1043), ("n", 20)];

fn copying(url: &str, options: &str) -> String {
    format!(
        r#"CREATE STREAM Items (id INT PRIMARY KEY, name STRING, n LONG)
           WITH (type = 'source', extension = 'risingwave', "risingwave.url" = '{url}', relation = 'items',
                 "retry.initial-delay" = '1 ms', "retry.max-delay" = '20 ms' {options});
           CREATE TABLE T (id INT PRIMARY KEY, name STRING, n LONG);
           INSERT INTO T SELECT id, name, n FROM Items;"#
    )
}

#[track_caller]
fn comes(app: &App, want: &[&str]) {
    wait_until(format!("{want:?}"), || rows(app, "SELECT * FROM T") == want);
}

#[test]
fn a_snapshot_then_changes_and_only_the_difference_when_history_is_gone() {
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    world.write("items", &[(row(&["1", "one", "1"]), 1), (row(&["2", "NULL", "2"]), 1)]);
    let app = EventFlux::builder().sql(copying(&emulator.url(), "")).build().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    app.on("Items", move |batch| {
        let mut seen = into.lock();
        (0..batch.num_rows()).for_each(|row| seen.push(batch.op(row).sign()));
    })
    .unwrap();
    app.start().unwrap();
    comes(&app, &["1|one|1", "2|NULL|2"]);
    world.write("items", &[(row(&["1", "one", "1"]), -1), (row(&["1", "", "5"]), 1)]);
    comes(&app, &["1||5", "2|NULL|2"]);
    world.state().faults.away = true;
    world.kill();
    world.write("items", &[(row(&["2", "NULL", "2"]), -1), (row(&["3", "x", "3"]), 1)]);
    world.state().faults.away = false;
    comes(&app, &["1||5", "3|x|3"]);
    assert_eq!(begun(world), (1, 1));
    world.state().faults.away = true;
    world.kill();
    world.write("items", &[(row(&["3", "x", "3"]), -1)]);
    world.compact("items");
    world.state().faults.away = false;
    comes(&app, &["1||5"]);
    assert_eq!(begun(world).0, 2);
    app.shutdown().unwrap();
    assert_eq!(seen.lock()[..], ["+I", "+I", "-U", "+U", "-D", "+I", "-D"]);
}

#[test]
fn a_hundred_cuts_at_random_places() {
    let seed: u64 = rand::random();
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    world.state().faults.cut = Some((500, 9_000));
    let app = EventFlux::builder()
        .sql(copying(&emulator.url(), ", transaction_rows = '20'"))
        .build()
        .unwrap();
    app.start().unwrap();
    let mut changes = Changes::new(seed, 100);
    let end = Instant::now() + 2 * DEADLINE;
    while world.connections.load(Ordering::Relaxed) < 100 {
        assert!(Instant::now() < end, "seed {seed}");
        changes.write(world, "items", 12);
        std::thread::sleep(Duration::from_millis(4));
    }
    world.state().faults.cut = None;
    let want = expected(&world.rows("items"));
    wait_until(format!("the state of the relation, seed {seed}"), || {
        rows(&app, "SELECT * FROM T") == want
    });
    assert!(begun(world).1 > 10, "{:?}", begun(world));
    app.shutdown().unwrap();
}

#[test]
fn what_does_not_fit_is_an_error_at_the_start() {
    let emulator = Emulator::start(0, None).unwrap();
    emulator.world.create("items", COLUMNS);
    for (from, to, message) in [
        ("'items'", "'nope'", "unknown catalog item"),
        ("name STRING", "nam STRING", "did you mean 'name'?"),
    ] {
        let sql = copying(&emulator.url(), "").replacen(from, to, 1);
        let scratch = Scratch::with(&[("app.sql", sql.split("CREATE TABLE").next().unwrap())]);
        let got = scratch.run(["validate", "--connect", "app.sql"]).code(2).stderr;
        assert!(got.contains(message), "{got}");
    }
}

#[test]
fn init_writes_the_stream_of_a_relation() {
    let emulator = Emulator::start(0, None).unwrap();
    emulator.world.create("items", COLUMNS);
    let url = emulator.url();
    let arguments = ["init", "--from", "risingwave", "--url", &url, "--relation", "items"];
    let scratch = Scratch::new();
    let got = scratch.run(arguments.to_vec()).code(0).stdout;
    assert!(
        got.contains("CREATE STREAM items (\n  id   INT,\n  name STRING,\n  n    LONG,\n  PRIMARY KEY (id)\n)"),
        "{got}"
    );
    scratch.write("app.sql", &got);
    scratch.run(["validate", "--connect", "app.sql"]).code(0);
}

/// A table `eventflux_test` of a real RisingWave, which this test makes and drops.
#[test]
fn a_real_risingwave() {
    let Ok(url) = std::env::var("EVENTFLUX_TEST_RISINGWAVE_URL") else {
        println!("skipped: EVENTFLUX_TEST_RISINGWAVE_URL is not set, so that there is no real RisingWave to test with");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, connection) = runtime
        .block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls))
        .unwrap();
    runtime.spawn(connection);
    let run = |sql: &str| drop(runtime.block_on(client.simple_query(sql)).unwrap());
    run("DROP TABLE IF EXISTS eventflux_test CASCADE");
    run("CREATE TABLE eventflux_test (id int PRIMARY KEY, name varchar, n bigint)");
    run("INSERT INTO eventflux_test VALUES (1, 'a', 1), (2, NULL, 2)");
    run("FLUSH");
    let sql = copying(&url, "").replace("'items'", "'eventflux_test'");
    let app = EventFlux::builder().sql(sql).build().unwrap();
    app.start().unwrap();
    comes(&app, &["1|a|1", "2|NULL|2"]);
    run("UPDATE eventflux_test SET n = 3 WHERE id = 1");
    run("DELETE FROM eventflux_test WHERE id = 2");
    run("FLUSH");
    comes(&app, &["1|a|3"]);
    app.shutdown().unwrap();
    run("DROP TABLE eventflux_test CASCADE");
}
