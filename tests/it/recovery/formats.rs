//! `kill -9` while files of binary formats are written: what can be read afterwards is every row, once.

use std::process::Stdio;
use std::time::Duration;

use rand::RngExt;

use super::kills::newest;
use crate::support::{Running, Scratch};

const ROWS: usize = 6_000;
const KILLS: usize = 6;

const APP: &str = "
CREATE STREAM T (n LONG, s STRING)
WITH (type = 'source', extension = 'file', format = 'json', \"file.path\" = 'in.ndjson');
CREATE STREAM Saved (n LONG, s STRING)
WITH (type = 'sink', extension = 'file', format = 'FORMAT', \"file.path\" = 'out/rows.FORMAT' MORE);
INSERT INTO Saved SELECT n, s FROM T;
";

const READ: &str = "
CREATE STREAM Saved (n LONG, s STRING)
WITH (type = 'source', extension = 'file', format = 'FORMAT', \"file.path\" = 'out/*.FORMAT' MORE);
CREATE STREAM Back (n LONG, s STRING)
WITH (type = 'sink', extension = 'file', format = 'csv', \"file.path\" = 'back.csv', \"csv.header\" = 'false');
INSERT INTO Back SELECT n, s FROM Saved;
";

fn every_row_is_there_once(format: &str, more: &str) {
    let app = |text: &str| text.replace("FORMAT", format).replace("MORE", more);
    let scratch = Scratch::with(&[("app.sql", &app(APP)), ("read.sql", &app(READ)), ("in.ndjson", "")]);
    let mut random = rand::rng();
    let common = [
        "run",
        "app.sql",
        "--quiet",
        "--state-dir",
        "state",
        "--set",
        "application.checkpoint.interval=20 ms",
    ];
    let rows: Vec<usize> = (0..ROWS).collect();
    for chunk in rows.chunks(ROWS / KILLS) {
        let before = newest(&scratch);
        let follow = ["--set", "streams.T.follow=true", "--set", "streams.T.poll=2 ms"];
        let mut running = Running::start(scratch.eventflux(common.iter().chain(&follow)).stdin(Stdio::null()));
        for few in chunk.chunks(50) {
            let lines: String = few
                .iter()
                .map(|n| format!("{{\"n\":{n},\"s\":\"text {n}\"}}\n"))
                .collect();
            scratch.append("in.ndjson", lines);
            std::thread::sleep(Duration::from_millis(random.random_range(0..10)));
        }
        running.wait_for("a checkpoint", |_| newest(&scratch) > before);
        std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
        running.signal(libc::SIGKILL);
        let _ = running.child.wait();
    }
    scratch.run(common).code(0);
    scratch.run(["run", "read.sql", "--quiet"]).code(0);
    let expected: Vec<String> = rows.iter().map(|n| format!("{n},text {n}")).collect();
    assert_eq!(scratch.lines("back.csv"), expected, "{format}");
}

#[cfg(feature = "parquet")]
#[test]
fn parts_of_parquet() {
    every_row_is_there_once("parquet", "");
}

#[cfg(feature = "avro")]
#[test]
fn containers_of_avro() {
    every_row_is_there_once("avro", "");
}

#[cfg(feature = "avro")]
#[test]
fn messages_of_avro() {
    every_row_is_there_once("avro", ", \"avro.framing\" = 'message'");
}
