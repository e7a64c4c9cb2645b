//! What becomes of a folder of checkpoints: clean stops, damage, other processes, changed apps.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use eventflux::{Checkpoints, EventFlux};
use serde_json::Value;

use super::kills::newest;
use crate::support::{Finished, Running, Scratch, collect};

/// A window of two events and a sum that remembers everything, into files of their own.
const SQL: &str = "
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson');
CREATE STREAM Pairs (total LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'pairs.csv');
CREATE STREAM Sums (total LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'sums.csv');
INSERT INTO Pairs SELECT sum(x) AS total FROM S WINDOW('length', 2);
INSERT INTO Sums SELECT sum(x) AS total FROM S;
";

fn line(x: usize) -> String {
    format!("{{\"x\":{x}}}\n")
}

/// What Sums holds after the numbers up to `last`.
fn sums(last: usize) -> Vec<String> {
    let header = std::iter::once("total".to_string());
    header
        .chain((1..=last).map(|x| (x * (x + 1) / 2).to_string()))
        .collect()
}

/// What Pairs holds after the numbers up to `last`.
fn pairs(last: usize) -> Vec<String> {
    let header = std::iter::once("total".to_string());
    header.chain((1..=last).map(|x| (2 * x - 1).to_string())).collect()
}

/// An app that follows its input.
struct App {
    scratch: Scratch,
    next: usize,
}

impl App {
    fn new() -> Self {
        App {
            scratch: Scratch::with(&[("app.sql", SQL), ("in.ndjson", "")]),
            next: 1,
        }
    }

    fn start(&self, options: &[&str]) -> Running {
        let arguments = ["run", "app.sql", "--state-dir", "state"];
        let follow = ["--set", "streams.S.follow=true", "--set", "streams.S.poll=2 ms"];
        let interval = ["--set", "application.checkpoint.interval=10 ms", "--stats", "-"];
        let arguments = arguments.iter().chain(&follow).chain(&interval).chain(options);
        let mut command = self.scratch.eventflux(arguments);
        Running::start(command.env("RUST_LOG", "info").stdin(Stdio::null()))
    }

    /// Sends more numbers, and waits until they are in the output.
    fn send(&mut self, running: &mut Running, count: usize) {
        for _ in 0..count {
            self.scratch.append("in.ndjson", line(self.next));
            self.next += 1;
        }
        let last = self.next - 1;
        running.wait_for("the output", |_| {
            self.scratch.lines("sums.csv").last() == sums(last).last()
        });
    }

    fn stop(running: Running) -> Finished {
        running.signal(libc::SIGTERM);
        running.end().code(0)
    }

    /// A run that sends some numbers and is stopped.
    fn run(&mut self, count: usize, options: &[&str]) -> Finished {
        let before = newest(&self.scratch);
        let mut running = self.start(options);
        // Then it listens to signals.
        running.wait_for("a checkpoint", |_| newest(&self.scratch) > before);
        self.send(&mut running, count);
        Self::stop(running)
    }

    /// A start that fails.
    fn refused(&self, options: &[&str]) -> Finished {
        self.start(options).end().code(2)
    }

    #[track_caller]
    fn holds(&self, last: usize) {
        assert_eq!(self.scratch.lines("sums.csv"), sums(last));
        assert_eq!(self.scratch.lines("pairs.csv"), pairs(last));
    }

    fn checkpoints(&self) -> Vec<PathBuf> {
        files(&self.scratch, "state/checkpoints")
    }
}

fn files(scratch: &Scratch, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(scratch.path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn checkpoints(finished: &Finished) -> Value {
    finished.json()["checkpoints"].clone()
}

#[test]
fn a_stopped_app_goes_on_where_it_was() {
    let mut app = App::new();
    let first = app.run(5, &[]);
    assert_eq!(checkpoints(&first)["restored"], Value::Null);
    for _ in 0..3 {
        let again = app.run(3, &[]);
        assert!(checkpoints(&again)["restored"].as_u64().unwrap() > 1);
        assert_eq!(checkpoints(&again)["failed"], 0);
    }
    app.holds(14);
    // Without the last of the input having been seen before the stop, and without any more of it.
    app.scratch.append("in.ndjson", line(15));
    app.scratch
        .run(["run", "app.sql", "--state-dir", "state", "--quiet"])
        .code(0);
    app.holds(15);
}

#[test]
fn no_more_checkpoints_are_kept_than_asked_for() {
    let mut app = App::new();
    app.run(3, &["--set", "application.checkpoint.retain=2"]);
    assert_eq!(app.checkpoints().len(), 2);
    app.run(3, &["--set", "application.checkpoint.retain=4"]);
    assert!(app.checkpoints().len() <= 4);
    app.holds(6);
}

#[test]
fn a_damaged_checkpoint_is_skipped_with_a_warning() {
    type Damage = fn(&PathBuf);
    let damages: [Damage; 4] = [
        |file| std::fs::write(file, "").unwrap(),
        |file| {
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        },
        |file| {
            let mut bytes = std::fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(file, bytes).unwrap();
        },
        |file| std::fs::remove_file(file).unwrap(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let mut app = App::new();
        app.run(4, &[]);
        // The last one before the damage is of the clean stop, so that the one before it is older.
        app.run(4, &[]);
        let newest = app.checkpoints().pop().unwrap();
        damage(&newest);
        let again = app.run(2, &[]);
        app.holds(10);
        let name: u64 = newest.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let restored = checkpoints(&again)["restored"].as_u64().unwrap();
        assert!(restored < name);
        if number < 3 {
            let again = again.complains("a checkpoint is damaged, the one before it is used");
            again.complains(&format!("checkpoint={name}"));
        }
    }
}

/// So many numbers that their state is not in the manifest.
const MANY: usize = 300;

fn with_objects() -> App {
    let mut app = App::new();
    let wide = SQL.replace("WINDOW('length', 2)", "WINDOW('length', 500)");
    app.scratch.write("app.sql", wide);
    app.run(MANY, &[]);
    assert!(!files(&app.scratch, "state/objects").is_empty());
    app
}

#[test]
fn a_damaged_object_makes_its_checkpoints_unusable_and_is_written_anew() {
    let mut app = with_objects();
    let pairs = app.scratch.lines("pairs.csv");
    app.scratch.run(["state", "gc", "state", "--retain", "1"]).code(0);
    for object in files(&app.scratch, "state/objects") {
        let mut bytes = std::fs::read(&object).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(object, bytes).unwrap();
    }
    let refused = app.refused(&[]);
    refused.complains("E0502").complains("does not hold");
    // It reads everything once more, and appends to what was there.
    let mut twice = pairs.clone();
    twice.extend_from_slice(&pairs[1..]);
    let mut running = app.start(&["--allow-state-loss"]);
    running.wait_for("the output", |_| app.scratch.lines("pairs.csv").len() >= twice.len());
    let again = App::stop(running);
    assert_eq!(checkpoints(&again)["restored"], Value::Null);
    assert_eq!(app.scratch.lines("pairs.csv"), twice);
    // The state is the same as that of the damaged objects, and whole now.
    let again = app.run(1, &[]);
    assert!(checkpoints(&again)["restored"].as_u64().is_some());
}

#[test]
fn state_that_has_not_changed_is_not_written_again() {
    let app = with_objects();
    // Without those that only earlier checkpoints have, which go in their time.
    app.scratch.run(["state", "gc", "state", "--retain", "1"]).code(0);
    let before = files(&app.scratch, "state/objects");
    let times: Vec<_> = before
        .iter()
        .map(|file| file.metadata().unwrap().modified().unwrap())
        .collect();
    let mut running = app.start(&[]);
    let number = |app: &App| app.checkpoints().pop();
    let newest = number(&app);
    running.wait_for("a checkpoint", |_| number(&app) != newest);
    let stopped = App::stop(running);
    assert!(checkpoints(&stopped)["written"].as_u64().unwrap() > 0);
    assert_eq!(files(&app.scratch, "state/objects"), before);
    let again: Vec<_> = before
        .iter()
        .map(|file| file.metadata().unwrap().modified().unwrap())
        .collect();
    assert_eq!(again, times);
}

#[test]
fn checkpoints_of_a_newer_version_are_not_overlooked() {
    let mut app = App::new();
    app.run(2, &[]);
    let newest = app.checkpoints().pop().unwrap();
    let text = std::fs::read_to_string(&newest).unwrap();
    std::fs::write(&newest, text.replacen("checkpoint 2 ", "checkpoint 3 ", 1)).unwrap();
    app.refused(&[]).complains("E0502").complains("has the format 3");
}

#[test]
fn one_process_at_a_time_uses_a_folder() {
    let mut app = App::new();
    let mut running = app.start(&[]);
    app.send(&mut running, 2);
    app.refused(&[])
        .complains("E0500")
        .complains(&format!("in use by process {}", running.child.id()));
    app.send(&mut running, 1);
    App::stop(running);
    app.holds(3);
}

#[test]
fn a_query_that_has_changed_is_refused_and_may_begin_anew() {
    let mut app = App::new();
    app.run(4, &[]);
    app.scratch.write("app.sql", SQL.replace("'length', 2", "'length', 3"));
    app.refused(&[]).complains("E0501").complains("operator 'Pairs#1/");
    let again = app.run(1, &["--allow-state-loss"]);
    again.complains("has changed: its state is dropped");
    assert_eq!(app.scratch.lines("sums.csv"), sums(5));
    // The window has seen 5 and nothing before it.
    assert_eq!(app.scratch.lines("pairs.csv").last().unwrap(), "5");
}

#[test]
fn a_column_of_another_type_is_a_change() {
    let mut app = App::new();
    app.run(2, &[]);
    app.scratch.write("app.sql", SQL.replace("S (x LONG)", "S (x INT)"));
    app.refused(&[]).complains("E0501");
}

#[test]
fn other_statements_may_come_and_go() {
    let mut app = App::new();
    app.run(4, &[]);
    let more = format!(
        "CREATE FUNCTION twice(x LONG) RETURNS LONG LANGUAGE SQL AS 'x * 2';
         INSERT INTO Beside SELECT count(*) AS n FROM S; {}
         CREATE STREAM Counts (n LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'counts.csv');
         INSERT INTO Counts SELECT n FROM Beside;",
        SQL.replace("INSERT INTO Pairs SELECT", "-- remarks\n  INSERT into Pairs select")
    );
    app.scratch.write("app.sql", more);
    let again = app.run(2, &[]);
    app.holds(6);
    // What is new begins without state.
    assert_eq!(app.scratch.lines("counts.csv"), ["n", "1", "2"]);
    again.complains("new in the app: it begins without state");
    app.scratch.write("app.sql", SQL);
    let again = app.run(2, &[]);
    app.holds(8);
    again.complains("the app has no operator 'Beside#1/");
}

#[test]
fn keys_on_another_number_of_threads_are_refused() {
    let mut app = App::new();
    let keyed = SQL.replace(
        "INSERT INTO Pairs SELECT sum(x) AS total FROM S WINDOW('length', 2);",
        "PARTITION WITH (x % 2 OF S) BEGIN INSERT INTO Pairs SELECT sum(x) AS total FROM S WINDOW('length', 2); END;",
    );
    app.scratch.write("app.sql", keyed);
    app.run(4, &["--parallelism", "2"]);
    app.refused(&["--parallelism", "3"])
        .complains("E0501")
        .complains("parallelism = 2");
    app.run(1, &["--parallelism", "2"]);
    app.run(1, &["--parallelism", "3", "--allow-state-loss"]);
    assert_eq!(app.scratch.lines("sums.csv"), sums(6));
}

#[test]
fn an_output_that_has_been_cut_off_is_refused() {
    let mut app = App::new();
    app.run(4, &[]);
    app.scratch.write("pairs.csv", "total\n");
    app.refused(&[])
        .complains("E0501")
        .complains("it has 6 bytes, but 14 had been written");
    app.run(1, &["--allow-state-loss"])
        .complains("the sink goes on as if new");
    assert_eq!(app.scratch.lines("pairs.csv"), ["total", "9"]);
    assert_eq!(app.scratch.lines("sums.csv"), sums(5));
}

#[test]
fn what_was_written_after_the_last_checkpoint_is_cut_off() {
    let mut app = App::new();
    app.run(4, &[]);
    app.scratch.append("sums.csv", "999\n99");
    app.run(1, &[]);
    app.holds(5);
    // As well in a file that is written anew at each start.
    let overwritten = SQL.replace("path = 'sums.csv'", "path = 'sums.csv', mode = 'overwrite'");
    app.scratch.write("app.sql", overwritten);
    app.scratch.append("sums.csv", "999\n99");
    app.run(1, &[]);
    app.holds(6);
}

#[test]
fn output_before_the_first_checkpoint_is_not_repeated() {
    let mut app = App::new();
    // None is due before the kill.
    let mut running = app.start(&["--set", "application.checkpoint.interval=1 hour"]);
    app.send(&mut running, 4);
    running.signal(libc::SIGKILL);
    drop(running);
    app.run(1, &[]);
    app.holds(5);
}

#[test]
fn more_input_after_its_end_is_an_error() {
    let app = App::new();
    app.scratch.write("in.ndjson", line(1));
    let run = || app.scratch.run(["run", "app.sql", "--state-dir", "state"]);
    run().code(0);
    run().code(0);
    app.holds(1);
    app.scratch.append("in.ndjson", line(2));
    run().code(1).complains("had come to its end");
    app.holds(1);
}

#[test]
fn an_app_goes_on_when_checkpoints_cannot_be_written() {
    let mut app = App::new();
    let mut running = app.start(&[]);
    app.send(&mut running, 2);
    std::fs::remove_dir_all(app.scratch.path("state/checkpoints")).unwrap();
    std::fs::write(app.scratch.path("state/checkpoints"), "in the way").unwrap();
    running.wait_for("the failure", |running| {
        running.stderr().contains("a checkpoint could not be written")
    });
    app.send(&mut running, 2);
    std::fs::remove_file(app.scratch.path("state/checkpoints")).unwrap();
    let stopped = App::stop(running);
    let stats = checkpoints(&stopped);
    assert!(stats["failed"].as_u64().unwrap() > 0, "{stats}");
    assert!(stats["error"].as_str().unwrap().contains("checkpoints"), "{stats}");
    // The last one could be written again.
    app.run(1, &[]);
    app.holds(5);
}

#[test]
fn printed_rows_come_at_least_once() {
    let scratch = Scratch::with(&[
        (
            "app.sql",
            "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson'); SELECT x FROM S;",
        ),
        ("in.ndjson", ""),
    ]);
    let mut printed = std::collections::BTreeSet::new();
    for round in 0..5 {
        let follow = ["--set", "streams.S.follow=true", "--set", "streams.S.poll=2 ms"];
        let arguments = [
            "run",
            "app.sql",
            "--state-dir",
            "state",
            "--set",
            "application.checkpoint.interval=5 ms",
        ];
        let mut running = Running::start(scratch.eventflux(arguments.iter().chain(&follow)).stdin(Stdio::null()));
        for part in 0..4 {
            let first = 100 * round + 25 * part;
            scratch.append("in.ndjson", (first..first + 25).map(line).collect::<String>());
            let last = format!("x={}", first + 24);
            running.wait_for("the rows", |running| {
                running.stdout().lines().any(|line| line.ends_with(&last))
            });
        }
        running.signal(libc::SIGKILL);
        let output = running.end();
        printed.extend(
            output
                .stdout
                .lines()
                .filter_map(|line| line.rsplit_once("x=")?.1.parse::<usize>().ok()),
        );
    }
    assert_eq!(printed, (0..500).collect());
}

#[test]
fn the_command_line_shows_and_tidies_the_folder() {
    let mut app = with_objects();
    let scratch = &app.scratch;
    let listed = scratch
        .run(["state", "list", "state", "--format", "json"])
        .code(0)
        .json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), app.checkpoints().len());
    assert!(listed.iter().all(|checkpoint| checkpoint["damage"].is_null()));
    let newest = listed.last().unwrap()["checkpoint"].as_u64().unwrap();
    let text = scratch.run(["state", "list", "state"]).code(0).stdout;
    assert_eq!(
        text.lines().filter(|line| line.trim_end().ends_with("yes")).count(),
        listed.len()
    );

    let shown = scratch
        .run(["state", "inspect", "state", "--format", "json"])
        .code(0)
        .json();
    assert_eq!(shown["checkpoint"], newest);
    assert_eq!(shown["sources"][0]["position"]["line"], MANY + 1);
    let text = scratch.run(["state", "inspect", "state"]).code(0).stdout;
    assert!(text.contains("Pairs#1/") && text.contains("in.ndjson"), "{text}");
    scratch
        .run(["state", "inspect", "state", "--checkpoint", "99999"])
        .code(2)
        .complains("there is no checkpoint 99999");
    scratch.run(["state", "list", "nowhere"]).code(2).complains("E0305");

    scratch.run(["state", "gc", "state", "--retain", "1"]).code(0);
    scratch.write("state/objects/0123", "an orphan");
    let removed = scratch.run(["state", "gc", "state", "--retain", "1"]).code(0).stdout;
    assert!(removed.contains("1 object(s)"), "{removed}");
    assert_eq!(app.checkpoints().len(), 1);

    // The copy goes on as the original would have.
    scratch.run(["state", "export", "state", "--to", "copy"]).code(0);
    scratch.run(["state", "export", "state", "--to", "copy"]).code(2);
    std::fs::remove_dir_all(scratch.path("state")).unwrap();
    std::fs::rename(scratch.path("copy"), scratch.path("state")).unwrap();
    let again = app.run(1, &[]);
    assert_eq!(checkpoints(&again)["restored"], newest);
    assert_eq!(app.scratch.lines("sums.csv"), sums(MANY + 1));
}

#[test]
fn encrypted_checkpoints_tell_nothing_without_the_key() {
    let mut app = App::new();
    let (key, other) = ("0123456789abcdef".repeat(4), "0123456789abcdee".repeat(4));
    app.scratch.write("key.txt", &key);
    let file = ["--set", "application.checkpoint.key-file=key.txt"];
    app.run(2, &file);
    let again = app.run(2, &["--set", &format!("application.checkpoint.key={key}")]);
    assert!(checkpoints(&again)["restored"].as_u64().is_some());
    app.holds(4);
    for manifest in app.checkpoints() {
        let bytes = std::fs::read(manifest).unwrap();
        assert!(
            !bytes
                .windows(9)
                .any(|part| part == b"in.ndjson" || part == b"eventflux")
        );
    }

    app.refused(&[]).complains("E0503").complains("there is no key");
    let refused = app.refused(&["--set", &format!("application.checkpoint.key={other}")]);
    refused.complains("E0503").complains("was encrypted with another key");
    let refused = app.refused(&["--set", "application.checkpoint.key=secret"]);
    assert!(!refused.stderr.contains("secret"), "{}", refused.stderr);
    app.refused(&[&file[..], &["--set", &format!("application.checkpoint.key={key}")]].concat())
        .complains("E0103");

    // A damaged one is noticed as any other is.
    let newest = app.checkpoints().pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[40] ^= 1;
    std::fs::write(newest, bytes).unwrap();
    app.run(1, &file)
        .complains("a checkpoint is damaged, the one before it is used");
    app.holds(5);

    let state = |arguments: &[&str], key: &str| {
        let mut command = app.scratch.eventflux(arguments);
        Running::start(command.env("EVENTFLUX_STATE_KEY", key)).end()
    };
    assert_eq!(
        state(&["state", "inspect", "state", "--format", "json"], &key)
            .code(0)
            .json()["damage"],
        Value::Null
    );
    state(&["state", "inspect", "state"], &other).code(2).complains("E0503");
    app.scratch.run(["state", "list", "state"]).code(2).complains("E0503");
    state(&["state", "export", "state", "--to", "copy"], &key).code(0);
    app.scratch.run(["state", "list", "copy"]).code(2).complains("E0503");

    // A folder is encrypted or it is not.
    let mut plain = App::new();
    plain.run(1, &[]);
    plain.scratch.write("key.txt", &key);
    plain
        .refused(&file)
        .complains("E0503")
        .complains("that are not encrypted");
}

#[test]
fn embedded_apps_keep_checkpoints_too() {
    for inline in [false, true] {
        let scratch = Scratch::new();
        let sql = "CREATE STREAM S (x LONG); CREATE TABLE T (x LONG PRIMARY KEY);
                   INSERT INTO Out SELECT sum(x) AS total FROM S; INSERT INTO T SELECT x FROM S;";
        for part in 1..4_i64 {
            let builder = EventFlux::builder().sql(sql).checkpoints(
                Checkpoints::in_folder(scratch.path("state"))
                    .every(Duration::from_secs(3_600))
                    .keep(2),
            );
            let app = if inline { builder.inline() } else { builder }.build().unwrap();
            let rows = collect(&app);
            app.start().unwrap();
            app.input("S").unwrap().send((part,)).unwrap();
            app.shutdown().unwrap();
            assert_eq!(
                rows.lock().last().unwrap()["total"],
                part * (part + 1) / 2,
                "inline: {inline}"
            );
            let kept = app.query("SELECT x FROM T").unwrap();
            assert_eq!(kept.iter().map(|batch| batch.num_rows()).sum::<usize>(), part as usize);
            let stats = app.checkpoint_stats().unwrap().unwrap();
            assert_eq!((stats.restored.is_some(), stats.failed), (part > 1, 0));
        }
        assert_eq!(files(&scratch, "state/checkpoints").len(), 2);
    }
}
