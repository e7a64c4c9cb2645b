//! Dead letters belong to the cut of a checkpoint: after kills they are there once each, as what they are letters of is not.

use std::process::Stdio;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::letters;
use crate::support::{Running, Scratch, wait_until};

const LINES: usize = 30_000;

/// How often the app is killed.
const KILLS: usize = 8;

/// A record, a broken one, one that cannot be divided by.
fn line(number: usize) -> String {
    match number % 7 {
        3 => format!("{{\"n\":{number},\"by\":0}}\n"),
        5 => format!("{{\"n\":{number},\"by\n"),
        by => format!("{{\"n\":{number},\"by\":{}}}\n", by + 1),
    }
}

fn app() -> String {
    letters("Dead", "")
        + "CREATE STREAM S (n LONG, \"by\" LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson',
             error.strategy = 'dlq', error.dlq.stream = 'Dead', error.log-level = 'off');
           CREATE STREAM T (n LONG, q LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'out.csv');
           CREATE STREAM Letters (event STRING, message STRING)
             WITH (type = 'sink', extension = 'file', format = 'csv', path = 'letters.csv');
           CREATE STREAM Counts (kind STRING, n LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'counts.csv');
           INSERT INTO T SELECT n, n / \"by\" AS q FROM S;
           INSERT INTO Letters SELECT originalEvent, errorMessage FROM Dead;
           INSERT INTO Counts SELECT errorType, count(*) AS n FROM !S GROUP BY errorType;"
}

fn sorted(scratch: &Scratch, name: &str) -> Vec<String> {
    let mut lines = scratch.lines(name);
    lines.sort();
    lines
}

#[test]
fn letters_are_there_once_each_however_often_the_app_is_killed() {
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    let lines: Vec<String> = (0..LINES).map(line).collect();
    let whole = Scratch::with(&[("app.sql", &app()), ("in.ndjson", &lines.concat())]);
    whole.run(["run", "app.sql", "--quiet"]).code(0);
    let expected = ["out.csv", "letters.csv", "counts.csv"].map(|name| sorted(&whole, name));
    assert_eq!(
        expected[1].len(),
        1 + (0..LINES).filter(|number| matches!(number % 7, 3 | 5)).count()
    );

    let killed = Scratch::with(&[("app.sql", &app()), ("in.ndjson", "")]);
    let common = [
        "run",
        "app.sql",
        "--quiet",
        "--state-dir",
        "state",
        "--set",
        "streams.S.block-bytes=65536",
    ];
    let follow = [
        "--set",
        "application.checkpoint.interval=10 ms",
        "--set",
        "streams.S.follow=true",
        "--set",
        "streams.S.poll=2 ms",
    ];
    let mut fed = 0;
    for kill in 0..KILLS {
        let mut running = Running::start(killed.eventflux(common.iter().chain(&follow)).stdin(Stdio::null()));
        let most = LINES * (kill + 1) / (KILLS + 1);
        let before = killed.lines("letters.csv").len();
        while fed < most {
            let to = (fed + random.random_range(1..600)).min(most);
            killed.append("in.ndjson", lines[fed..to].concat());
            fed = to;
            std::thread::sleep(Duration::from_millis(random.random_range(1..6)));
        }
        wait_until(format!("letters, seed {seed}"), || {
            killed.lines("letters.csv").len() > before
        });
        std::thread::sleep(Duration::from_millis(random.random_range(0..30)));
        running.signal(libc::SIGKILL);
        let _ = running.child.wait();
    }
    killed.append("in.ndjson", lines[fed..].concat());
    killed.run(common).code(0);
    for (name, expected) in ["out.csv", "letters.csv", "counts.csv"].into_iter().zip(&expected) {
        assert!(sorted(&killed, name) == *expected, "{name}, seed {seed}");
    }
}

/// What a sink has not taken when the app is killed amid a retry comes again.
#[test]
fn killed_in_a_retry() {
    let text = "CREATE STREAM S (n LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson');
                CREATE STREAM T (n LONG) WITH (type = 'sink', extension = 'file', format = 'csv', csv.header = 'false',
                  error.strategy = 'retry', error.retry.max-attempts = 0, error.retry.initial-delay = '5 ms', error.retry.max-delay = '5 ms');
                CREATE STREAM U (n LONG) WITH (type = 'sink', extension = 'file', format = 'csv', csv.header = 'false', path = 'all.csv');
                INSERT INTO T SELECT n FROM S; INSERT INTO U SELECT n FROM S;";
    let input: String = (0..5_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let scratch = Scratch::with(&[("app.sql", text), ("in.ndjson", &input)]);
    let common = [
        "run",
        "app.sql",
        "--state-dir",
        "state",
        "--set",
        "application.checkpoint.interval=10 ms",
        "--set",
    ];
    let running = Running::start(
        scratch
            .eventflux(common.iter().chain(&["streams.T.path=/dev/full"]))
            .stdin(Stdio::null()),
    );
    let mut running = running;
    wait_until("a retry", || running.stderr().contains("is tried again"));
    std::thread::sleep(Duration::from_millis(50));
    running.signal(libc::SIGKILL);
    let _ = running.child.wait();
    scratch.run(common.iter().chain(&["streams.T.path=out.csv"])).code(0);
    let expected: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    assert_eq!(scratch.lines("all.csv"), expected);
    assert_eq!(scratch.lines("out.csv"), expected);
}
