//! Following files that another process writes: appended to, torn, rotated, truncated, created later.

use std::process::Stdio;

use super::support::{Running, Scratch};

/// Prints the numbers of files that are followed.
fn app(path: &str) -> String {
    format!(
        "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = '{path}',\n  \
         follow = 'true', poll = '5 ms');\n\
         SELECT x FROM S;\n"
    )
}

fn following(path: &str) -> (Scratch, Running) {
    let scratch = Scratch::with(&[("app.sql", &app(path))]);
    std::fs::create_dir(scratch.path("logs")).unwrap();
    let running = Running::start(scratch.eventflux(["run", "app.sql"]).stdin(Stdio::null()));
    (scratch, running)
}

fn line(x: usize) -> String {
    format!("{{\"x\":{x}}}\n")
}

/// The numbers printed, once there are `count`.
#[track_caller]
fn wait_for_numbers(running: &mut Running, count: usize) -> Vec<usize> {
    let lines = running.wait_for_lines(count);
    let number = |line: &String| line.rsplit_once("x=").unwrap().1.parse().unwrap();
    lines.iter().map(number).collect()
}

#[track_caller]
fn stop(running: Running) -> String {
    running.signal(libc::SIGTERM);
    running.end().code(0).stderr
}

#[test]
fn lines_that_are_appended_come_out_in_order() {
    // The file comes only after the app.
    let (scratch, mut running) = following("logs/app.ndjson");
    for x in 0..20 {
        scratch.append("logs/app.ndjson", line(x));
        if x % 5 == 0 {
            wait_for_numbers(&mut running, x + 1);
        }
    }
    assert_eq!(wait_for_numbers(&mut running, 20), (0..20).collect::<Vec<_>>());
    assert_eq!(stop(running), "");
}

#[test]
fn a_torn_line_is_held_until_its_end_comes() {
    let (scratch, mut running) = following("logs/*.ndjson");
    scratch.append("logs/torn.ndjson", "{\"x\":1");
    // When lines of another file that were written later have come out twice, the torn one has been looked at.
    scratch.append("logs/whole.ndjson", line(10));
    wait_for_numbers(&mut running, 1);
    scratch.append("logs/whole.ndjson", line(20));
    assert_eq!(wait_for_numbers(&mut running, 2), [10, 20]);
    scratch.append("logs/torn.ndjson", "2}");
    scratch.append("logs/whole.ndjson", line(30));
    wait_for_numbers(&mut running, 3);
    scratch.append("logs/torn.ndjson", "\n");
    assert_eq!(wait_for_numbers(&mut running, 4), [10, 20, 30, 12]);
    assert_eq!(stop(running), "");
}

#[test]
fn rotation_loses_nothing_and_repeats_nothing() {
    let (scratch, mut running) = following("logs/app.ndjson");
    let mut next = 0;
    for rotation in 0..5 {
        for _ in 0..10 {
            scratch.append("logs/app.ndjson", line(next));
            next += 1;
        }
        // A last line without its end belongs to the rotated file, too.
        scratch.append("logs/app.ndjson", line(next).trim_end());
        next += 1;
        // It is known once a line of it has come out.
        wait_for_numbers(&mut running, next - 1);
        let rotated = scratch.path(&format!("logs/app.ndjson.{rotation}"));
        std::fs::rename(scratch.path("logs/app.ndjson"), rotated).unwrap();
    }
    scratch.append("logs/app.ndjson", line(next));
    assert_eq!(wait_for_numbers(&mut running, next + 1), (0..=next).collect::<Vec<_>>());
    assert_eq!(stop(running), "");
}

#[test]
fn a_truncated_file_is_read_anew() {
    let (scratch, mut running) = following("logs/app.ndjson");
    scratch.append("logs/app.ndjson", (0..10).map(line).collect::<String>());
    wait_for_numbers(&mut running, 10);
    scratch.write("logs/app.ndjson", line(10));
    assert_eq!(wait_for_numbers(&mut running, 11), (0..=10).collect::<Vec<_>>());
    scratch.append("logs/app.ndjson", line(11));
    assert_eq!(wait_for_numbers(&mut running, 12), (0..=11).collect::<Vec<_>>());
    assert!(stop(running).contains("the file was truncated"));
}

#[test]
fn new_files_of_a_glob_and_of_a_directory_are_found() {
    for path in ["logs/*.ndjson", "logs"] {
        let (scratch, mut running) = following(path);
        for x in 0..3 {
            scratch.append(&format!("logs/{x}.ndjson"), line(x));
            wait_for_numbers(&mut running, x + 1);
        }
        scratch.append("logs/0.ndjson", line(3));
        assert_eq!(wait_for_numbers(&mut running, 4), [0, 1, 2, 3], "{path}");
        stop(running);
    }
}

#[test]
fn a_file_can_be_followed_from_its_end() {
    let scratch = Scratch::with(&[
        (
            "app.sql",
            &app("log.ndjson").replace("follow = 'true'", "follow = 'true', start = 'end'"),
        ),
        ("log.ndjson", &(0..5).map(line).collect::<String>()),
    ]);
    // The other stream shows when the app reads.
    scratch.append(
        "app.sql",
        app("now.ndjson")
            .replace("STREAM S", "STREAM Now")
            .replace("FROM S", "FROM Now"),
    );
    scratch.write("now.ndjson", line(100));
    let mut running = Running::start(scratch.eventflux(["run", "app.sql"]).stdin(Stdio::null()));
    running.wait_for("the app to read", |running| running.stdout().contains("x=100"));
    // Its end was looked up when its source started, at the latest when its first new line comes out.
    let mut x = 5;
    running.wait_for("a new line", |running| {
        scratch.append("log.ndjson", line(x));
        x += 1;
        running.stdout().contains("query_1")
    });
    assert!(!running.stdout().contains("x=4\n"), "{}", running.stdout());
    stop(running);
}

#[test]
fn bad_lines_of_a_followed_file_are_told_with_their_numbers() {
    let (scratch, mut running) = following("logs/app.ndjson");
    scratch.append("logs/app.ndjson", line(0));
    wait_for_numbers(&mut running, 1);
    scratch.append("logs/app.ndjson", format!("nonsense\n{}", line(1)));
    assert_eq!(wait_for_numbers(&mut running, 2), [0, 1]);
    let stderr = stop(running);
    assert!(
        stderr.contains("line=2") && stderr.contains("event=\"nonsense\""),
        "{stderr}"
    );
}
