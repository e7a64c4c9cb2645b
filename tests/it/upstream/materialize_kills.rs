//! Connections cut and processes killed at random while the relation changes.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use eventflux::{App, EventFlux};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::materialize::{begun, copying};
use super::{Changes, expected, rows};
use crate::emulators::materialize::Emulator;
use crate::emulators::world::{World, row};
use crate::recovery::kills::newest;
use crate::support::{DEADLINE, Running, Scratch, wait_until};

const COLUMNS: &[(&str, u32)] = &[("id", 23), ("name", 25), ("n", 20)];

/// How often connections are cut.
const CUTS: u64 = 100;

#[test]
fn a_hundred_cuts_at_random_places() {
    for (options, compacting) in [("", false), (", copy = 'binary', transaction_rows = '20'", true)] {
        let seed: u64 = rand::random();
        let emulator = Emulator::start(0, None).unwrap();
        let world = &emulator.world;
        world.create("items", COLUMNS);
        // Before a snapshot is whole, amid a row, or after a while.
        world.state().faults.cut = Some((500, 9_000));
        let app = EventFlux::builder()
            .sql(copying(&emulator.url(), options))
            .build()
            .unwrap();
        app.start().unwrap();
        let mut changes = Changes::new(seed, 100);
        let mut random = SmallRng::seed_from_u64(seed);
        let end = Instant::now() + 2 * DEADLINE;
        let cuts = || world.connections.load(std::sync::atomic::Ordering::Relaxed);
        while cuts() < CUTS {
            assert!(Instant::now() < end, "seed {seed}: only {} cuts", cuts());
            changes.write(world, "items", 12);
            if random.random_bool(0.02) {
                world.kill();
            }
            if compacting && random.random_bool(0.05) {
                world.compact("items");
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..8)));
        }
        world.state().faults.cut = None;
        let want = expected(&world.rows("items"));
        becomes(&app, &want, seed);
        let (snapshots, resumed) = begun(world);
        assert!(
            resumed > 10 && (compacting || snapshots < 60),
            "{snapshots} snapshots, {resumed} resumed"
        );
        app.shutdown().unwrap();
    }
}

/// Waits until the copy is the relation; a failure shows what differs.
fn becomes(app: &App, want: &[String], seed: u64) {
    let end = Instant::now() + DEADLINE;
    loop {
        let got = rows(app, "SELECT * FROM T");
        if got == want {
            return;
        }
        if Instant::now() > end {
            let extra: Vec<_> = got.iter().filter(|row| !want.contains(row)).collect();
            let missing: Vec<_> = want.iter().filter(|row| !got.contains(row)).collect();
            panic!(
                "seed {seed}: too much: {extra:?}; missing: {missing:?}; finished: {}",
                app.is_finished()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The events of a relation to which rows are only added: each exactly once, whatever is cut.
fn add(world: &World, number: &mut u64, random: &mut SmallRng) {
    let changes: Vec<_> = (0..random.random_range(1..20))
        .map(|_| {
            *number += 1;
            (row(&[&number.to_string(), "event", "1"]), 1)
        })
        .collect();
    world.write("items", &changes);
}

#[test]
fn killed_processes_lose_nothing_and_double_nothing() {
    kill_processes("materialize");
}

#[cfg(feature = "risingwave")]
#[test]
fn killed_processes_that_read_risingwave_lose_nothing_and_double_nothing() {
    kill_processes("risingwave");
}

fn kill_processes(connector: &str) {
    let seed: u64 = rand::random();
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("items", COLUMNS);
    world.create("changing", COLUMNS);
    let source = |relation: &str| {
        format!(
            "WITH (type = 'source', extension = '{connector}', url = '{}', relation = '{relation}', transaction_rows = '15', \
             \"retry.initial-delay\" = '1 ms', \"retry.max-delay\" = '20 ms')",
            emulator.url()
        )
    };
    let sink =
        |name: &str| format!("WITH (type = 'sink', extension = 'file', format = 'json', path = '{name}.ndjson')");
    let sql = format!(
        "CREATE STREAM Events (id INT, name STRING, n LONG) {};
         CREATE STREAM Changing (id INT PRIMARY KEY, name STRING, n LONG) {};
         CREATE STREAM Out (id INT) {};
         CREATE STREAM Sums (rows LONG, total LONG, weighted LONG) {};
         INSERT INTO Out SELECT id FROM Events;
         INSERT INTO Sums SELECT count(*) AS rows, sum(n) AS total, sum(id * n) AS weighted FROM Changing;",
        source("items"),
        source("changing"),
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
        "application.checkpoint.interval=20 ms",
    ];
    let mut random = SmallRng::seed_from_u64(seed);
    let mut changes = Changes::new(seed, 60);
    let mut number = 0;
    for kill in 0..12 {
        let before = newest(&scratch);
        let mut running = Running::start(scratch.eventflux(arguments).stdin(Stdio::null()));
        let end = Instant::now() + DEADLINE;
        let more = random.random_range(0..120);
        let mut since: Option<Instant> = None;
        while since.is_none_or(|since| since.elapsed() < Duration::from_millis(more)) {
            add(world, &mut number, &mut random);
            changes.write(world, "changing", 8);
            if random.random_bool(0.03) {
                world.kill();
            }
            if kill % 3 == 2 && random.random_bool(0.1) {
                world.compact("items");
                world.compact("changing");
            }
            std::thread::sleep(Duration::from_millis(random.random_range(1..8)));
            if newest(&scratch) > before + 1 && since.is_none() {
                since = Some(Instant::now());
            }
            assert!(Instant::now() < end, "no checkpoint comes: {}", running.stderr());
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
    let whole = world.rows("changing");
    let number_of =
        |row: &[Option<String>], at: usize| row[at].as_ref().and_then(|cell| cell.parse().ok()).unwrap_or(0_i64);
    let total: i64 = whole.keys().map(|row| number_of(row, 2)).sum();
    let weighted: i64 = whole.keys().map(|row| number_of(row, 0) * number_of(row, 2)).sum();
    let last = format!(r#"{{"rows":{},"total":{total},"weighted":{weighted}}}"#, whole.len());
    wait_until(
        format!(
            "{last}, seed {seed}: {}",
            scratch.read("sums.ndjson").lines().last().unwrap_or_default()
        ),
        || {
            scratch.read("sums.ndjson").lines().last() == Some(&last)
                && scratch.read("out.ndjson").lines().count() as u64 >= number
        },
    );
    running.signal(libc::SIGTERM);
    let _ = running.child.wait();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for line in scratch.read("out.ndjson").lines() {
        *counts.entry(line.to_string()).or_default() += 1;
    }
    assert!(
        counts.values().all(|count| *count == 1),
        "seed {seed}: some events came twice"
    );
    assert_eq!(counts.len() as u64, number, "seed {seed}");
}
