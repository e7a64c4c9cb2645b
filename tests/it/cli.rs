//! The command line as a user meets it: exit codes, what goes to which output, configuration, signals, pipes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use super::support::{Running, Scratch, wait_until};

/// Copies `in.ndjson` to `out.ndjson`.
const COPY: &str = "\
CREATE STREAM S (x LONG, name STRING) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson');
CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'file', format = 'json', path = 'out.ndjson', mode = 'overwrite');
INSERT INTO T SELECT x FROM S;
";

/// Prints the numbers of `in.ndjson`.
const PRINT: &str = "\
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson');
SELECT x FROM S;
";

/// Prints the numbers of standard input.
const STDIN: &str = "\
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'stdin', format = 'json');
SELECT x * 2 AS twice FROM S;
";

/// `{"x":0}`, `{"x":1}`, …
fn numbers(count: usize) -> String {
    (0..count).map(|x| format!("{{\"x\":{x}}}\n")).collect()
}

fn copying(rows: usize) -> Scratch {
    Scratch::with(&[("app.sql", COPY), ("in.ndjson", &numbers(rows))])
}

#[test]
fn exit_codes_and_which_output_is_used() {
    let scratch = copying(3);
    scratch.write("bad.sql", "CREATE STREAM S (x LNG);");
    scratch.write("no-source.sql", "CREATE STREAM S (x LONG); SELECT x FROM S;");
    // Arguments, exit code, what standard error says.
    let table: &[(&[&str], i32, &str)] = &[
        (&["run", "app.sql"], 0, ""),
        (&["validate", "app.sql"], 0, ""),
        (&["explain", "app.sql"], 0, ""),
        (&["connectors"], 0, ""),
        (&["connectors", "file"], 0, ""),
        (&["--version"], 0, ""),
        (&["--help"], 0, ""),
        (&["run", "--help"], 0, ""),
        (&[], 2, "Usage: eventflux"),
        (&["run"], 2, "<APP>"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["run", "nowhere.sql"], 2, "cannot read nowhere.sql: No such file"),
        (&["run", "bad.sql"], 2, "there is no type LNG"),
        (&["validate", "bad.sql"], 2, "bad.sql:1:20"),
        (&["explain", "bad.sql"], 2, "did you mean LONG?"),
        (&["run", "no-source.sql"], 2, "the app has no source"),
        (
            &["run", "app.sql", "--config", "nowhere.toml"],
            2,
            "cannot read nowhere.toml",
        ),
        (&["run", "app.sql", "--set", "nonsense"], 2, "a setting needs a value"),
        (
            &["run", "app.sql", "--set", "streams.U.file.path=x"],
            2,
            "the app has no stream 'U'",
        ),
        (&["connectors", "flie"], 2, "did you mean 'file'?"),
        (&["completions", "basch"], 2, "invalid value"),
        (&["test", "nowhere"], 2, "nowhere: No such file"),
        (&["test", "."], 2, "there is no *.test.toml"),
        (&["init", "."], 2, "is there and not empty"),
    ];
    for (arguments, code, stderr) in table {
        let finished = scratch.run(*arguments).code(*code);
        match *code {
            0 => assert_eq!(finished.stderr, "", "{arguments:?}"),
            _ => assert!(finished.stderr.contains(stderr), "{arguments:?}: {finished:?}"),
        }
        if *code != 0 && arguments.first() != Some(&"test") {
            assert_eq!(finished.stdout, "", "{arguments:?}");
        }
    }
    assert_eq!(scratch.lines("out.ndjson"), ["{\"x\":0}", "{\"x\":1}", "{\"x\":2}"]);
}

#[test]
fn validate_tells_programs_what_is_wrong_and_where() {
    let scratch = copying(0);
    scratch.write(
        "bad.sql",
        "-- a comment\nCREATE STREAM S (x LONG);\nINSERT INTO T SELECT y FROM S;\n",
    );
    let good = scratch.run(["validate", "--format", "json", "app.sql"]).code(0).json();
    assert_eq!(good["ok"], json!(true));
    assert_eq!(
        good["streams"][0]["columns"][1],
        json!({ "name": "name", "type": "STRING" })
    );
    assert_eq!(good["queries"], json!(["T#3"]));
    let bad = scratch.run(["validate", "--format", "json", "bad.sql"]).code(2);
    assert_eq!(bad.stderr, "");
    let error = &bad.json()["error"];
    assert_eq!((&error["code"], &error["file"]), (&json!("E0101"), &json!("bad.sql")));
    assert_eq!((&error["line"], &error["column"]), (&json!(3), &json!(22)));
}

#[test]
fn rows_are_all_that_is_on_standard_output() {
    let scratch = Scratch::with(&[("app.sql", PRINT), ("in.ndjson", "{\"x\":1}\nbad\n{\"x\":2}\n")]);
    let mut command = scratch.eventflux(["run", "app.sql"]);
    let finished = Running::start(command.env("RUST_LOG", "trace").stdin(Stdio::null()))
        .end()
        .code(0);
    let rows: Vec<&str> = finished
        .stdout
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(rows, ["x=1", "x=2"]);
    assert!(
        finished.stderr.contains("expected a JSON object, found bad"),
        "{finished:?}"
    );
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    let scratch = Scratch::with(&[("app.sql", PRINT), ("in.ndjson", "bad\n"), ("bad.sql", "CREAT STREAM;")]);
    scratch.write(
        "failing.test.toml",
        "sql = 'CREATE STREAM S (x LONG);'\n[[case]]\nname = 'no'\nerror = 'x'\n",
    );
    for (arguments, code) in [
        (["run", "app.sql"], 0),
        (["run", "bad.sql"], 2),
        (["test", "failing.test.toml"], 1),
        (["connectors", "nothing"], 2),
        (["run", "--nonsense"], 2),
    ] {
        let finished = scratch.run(arguments).code(code);
        let coloured = finished.stdout.contains('\x1b') || finished.stderr.contains('\x1b');
        assert!(!coloured, "{arguments:?}: {finished:?}");
    }
}

#[test]
fn quiet_logs_errors_only() {
    let scratch = Scratch::with(&[("app.sql", PRINT), ("in.ndjson", "bad\n{\"x\":1}\n")]);
    let finished = scratch.run(["run", "app.sql", "--quiet"]).code(0);
    assert_eq!((finished.stdout.lines().count(), finished.stderr.as_str()), (1, ""));
    scratch.write("in.ndjson", "");
    std::fs::remove_file(scratch.path("in.ndjson")).unwrap();
    scratch
        .run(["run", "app.sql", "--quiet"])
        .code(2)
        .complains("there is no file");
}

#[test]
fn statistics_go_to_standard_output_or_a_file() {
    let scratch = copying(5);
    scratch.append("in.ndjson", "bad\n");
    let stats = scratch.run(["run", "app.sql", "--stats", "-"]).code(0).json();
    assert_eq!((&stats["events_in"], &stats["events_out"]), (&json!(5), &json!(5)));
    assert_eq!(stats["errors"], json!({ "decode": 1 }));
    assert_eq!(
        (&stats["exit_reason"], &stats["error"]),
        (&json!("finished"), &Value::Null)
    );
    assert_eq!(stats["queries"][0]["rows_in"], json!(5));
    assert!(stats["wall_seconds"].as_f64() > Some(0.0) && stats["peak_rss_bytes"].as_u64() > Some(0));

    scratch.run(["run", "app.sql", "--stats", "stats.json"]).code(0);
    let written: Value = serde_json::from_str(&scratch.read("stats.json")).unwrap();
    assert_eq!(written["streams"], stats["streams"]);

    scratch
        .run(["run", "app.sql", "--stats", "no/where.json"])
        .code(1)
        .complains("cannot write no/where.json");
}

#[test]
fn a_failure_is_in_the_statistics_too() {
    let scratch = copying(5);
    let sink = ["--set", "streams.T.file.path=/dev/full"];
    scratch.write(
        "app.sql",
        COPY.replace(" path = 'out.ndjson', mode = 'overwrite'", " mode = 'append'"),
    );
    let finished = scratch
        .run(["run", "app.sql", "--stats", "-", sink[0], sink[1]])
        .code(1);
    let stats = finished.json();
    assert_eq!(stats["exit_reason"], json!("failed"));
    assert!(stats["error"].as_str().unwrap().contains("No space left"), "{stats}");
}

#[test]
fn settings_win_over_files_and_the_app_over_both() {
    let app = "\
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'datagen', batch-rows = 7);
SELECT x FROM S;
";
    let app = app.replace("batch-rows", "\"batch-rows\"");
    let scratch = Scratch::with(&[
        ("app/app.sql", app.as_str()),
        ("app/eventflux.toml", "[streams.S]\nrows = 3\n"),
        ("one.toml", "[streams.S]\nrows = 5\n"),
        ("two.toml", "[streams.S]\nrows = 6\n"),
        ("bad.toml", "[streams.S]\n# a comment\nrosw = 6\n"),
    ]);
    // Further arguments, and how many rows come.
    let table: &[(&[&str], usize)] = &[
        (&[], 3),
        (&["--config", "one.toml"], 5),
        (&["--config", "one.toml", "--config", "two.toml"], 6),
        (&["--config", "two.toml", "--config", "one.toml"], 5),
        (&["--set", "streams.S.rows=4"], 4),
        (&["--set", "streams.S.datagen.rows=4"], 4),
        (&["--config", "one.toml", "--set", "streams.S.rows=4"], 4),
        (&["--set", "streams.S.batch-rows=0"], 3),
    ];
    for (arguments, rows) in table {
        let finished = scratch.run(["run", "app/app.sql"].iter().chain(*arguments)).code(0);
        assert_eq!(finished.stdout.lines().count(), *rows, "{arguments:?}");
    }
    let wrong = scratch.run(["run", "app/app.sql", "--config", "bad.toml"]).code(2);
    wrong.complains("bad.toml:3:1").complains("did you mean 'rows'?");
}

#[test]
fn relative_paths_start_where_they_are_written() {
    let app = "\
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json');
SELECT x FROM S;
";
    let scratch = Scratch::with(&[
        ("app/fixed.sql", &app.replace("'json'", "'json', path = 'data.ndjson'")),
        ("app/open.sql", app),
        ("app/data.ndjson", &numbers(1)),
        ("data.ndjson", &numbers(2)),
        ("config/data.ndjson", &numbers(3)),
        ("config/app.toml", "[streams.S]\npath = 'data.ndjson'\n"),
    ]);
    let count = |arguments: &[&str]| scratch.run(arguments).code(0).stdout.lines().count();
    assert_eq!(count(&["run", "app/fixed.sql"]), 1);
    assert_eq!(
        count(&["run", "app/open.sql", "--set", "streams.S.path=data.ndjson"]),
        2
    );
    assert_eq!(count(&["run", "app/open.sql", "--config", "config/app.toml"]), 3);
}

#[test]
fn several_files_are_one_app() {
    let (streams, queries) = COPY.split_at(COPY.find("INSERT").unwrap());
    let scratch = Scratch::with(&[
        ("streams.sql", streams.trim_end().trim_end_matches(';')),
        ("queries.sql", queries),
        ("wrong.sql", "\n\n  INSERT INTO T SELECT y FROM S;"),
        ("config.toml", "[streams.S]\nfollow = 'perhaps'\n"),
        ("in.ndjson", &numbers(2)),
    ]);
    scratch.run(["run", "streams.sql", "queries.sql"]).code(0);
    assert_eq!(scratch.lines("out.ndjson").len(), 2);
    scratch
        .run(["run", "streams.sql", "wrong.sql"])
        .code(2)
        .complains("wrong.sql:3:24");
    let mistaken = scratch
        .run(["run", "streams.sql", "queries.sql", "--config", "config.toml"])
        .code(2);
    mistaken
        .complains("config.toml:2:10")
        .complains("true or false, not 'perhaps'");
    scratch.run(["run", "queries.sql", "streams.sql"]).code(0);
}

#[test]
fn init_makes_a_project_that_runs_and_tests() {
    let scratch = Scratch::new();
    let made = scratch.run(["init", "my-app"]).code(0);
    assert!(made.stdout.contains("eventflux run my-app/app.sql"), "{made:?}");
    let ran = scratch.run(["run", "my-app/app.sql"]).code(0);
    assert!(ran.stdout.lines().count() > 5 && ran.stderr.is_empty(), "{ran:?}");
    let tested = scratch.run(["test", "my-app"]).code(0);
    assert_eq!(tested.stdout.lines().last(), Some("1 passed, 0 failed"));
    scratch.run(["validate", "my-app/app.sql"]).code(0);
    // Nobody's files are written over.
    scratch.write("my-app/app.sql", "-- mine");
    scratch
        .run(["init", "my-app"])
        .code(2)
        .complains("my-app is there and not empty");
    assert_eq!(scratch.read("my-app/app.sql"), "-- mine");
    std::fs::create_dir(scratch.path("empty")).unwrap();
    scratch.run(["init", "empty"]).code(0);
    scratch
        .run(["init", "my-app/app.sql"])
        .code(2)
        .complains("cannot use my-app/app.sql");
}

#[test]
fn test_tells_what_failed_and_where() {
    let cases = "\
sql = 'CREATE STREAM S (x LONG); INSERT INTO T SELECT x + 1 AS y FROM S;'
[[case]]
name = 'right'
step = [{ send = { stream = 'S', rows = [[1]] } }]
expect = [{ stream = 'T', rows = [{ y = 2 }] }]
[[case]]
name = 'wrong'
step = [{ send = { stream = 'S', rows = [[1]] } }]
expect = [{ stream = 'T', rows = [{ y = 3 }] }]
";
    let scratch = Scratch::with(&[("a.test.toml", cases)]);
    let finished = scratch.run(["test", "."]).code(1);
    assert!(finished.stdout.contains("ok right\n"), "{finished:?}");
    assert!(
        finished.stdout.contains("FAILED wrong\n") && finished.stdout.contains("a.test.toml:7"),
        "{finished:?}"
    );
    assert_eq!(finished.stdout.lines().last(), Some("1 passed, 1 failed"));
    scratch.run(["test", "--filter", "right", "."]).code(0);
    scratch
        .run(["test", "--filter", "neither", "."])
        .code(2)
        .complains("none of 2 cases contains 'neither'");
    let machine = scratch.run(["test", "--format", "json", "."]).code(1);
    assert_eq!(machine.json(), json!({ "passed": 1, "failed": 1, "errors": [] }));
    scratch.write("b.test.toml", "[[case]\n");
    scratch.run(["test", "."]).code(2).complains("b.test.toml");
}

#[test]
fn the_reference_of_connectors_is_for_people_and_programs() {
    let scratch = Scratch::new();
    let list = scratch.run(["connectors"]).code(0).stdout;
    for name in [
        "blackhole",
        "datagen",
        "file",
        "log",
        "nexmark",
        "stdin",
        "stdout",
        "timer",
        "json",
        "csv",
    ] {
        assert!(
            list.lines().any(|line| line.trim_start().starts_with(name)),
            "no {name} in {list}"
        );
        let one = scratch.run(["connectors", name, "--format", "json"]).code(0);
        let one: Value = serde_json::from_str(&one.stdout).unwrap();
        assert_eq!(one["name"], json!(name));
        // Each option says what it is for.
        for side in one["sides"].as_array().unwrap() {
            for option in side["options"].as_array().unwrap() {
                assert!(
                    option["doc"].as_str().is_some_and(|doc| doc.ends_with('.')),
                    "{name}: {option}"
                );
            }
        }
        scratch.run(["connectors", name, "--format", "markdown"]).code(0);
    }
}

#[test]
fn completions_know_the_subcommands() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = scratch.run(["completions", shell]).code(0).stdout;
        assert!(script.contains("validate") && script.contains("connectors"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_app_quietly() {
    let source = "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'datagen');\n";
    for output in [
        "SELECT x FROM S;",
        "CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'log'); INSERT INTO T SELECT x FROM S;",
        "CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'stdout', format = 'csv'); INSERT INTO T SELECT x FROM S;",
    ] {
        let scratch = Scratch::with(&[("app.sql", &format!("{source}{output}"))]);
        let mut command = scratch.eventflux(["run", "app.sql", "--stats", "stats.json"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(reader);
        let mut status = None;
        wait_until("the app to end", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((status.unwrap().code(), stderr.as_str()), (Some(0), ""), "{output}");
        let stats: Value = serde_json::from_str(&scratch.read("stats.json")).unwrap();
        assert_eq!(stats["exit_reason"], json!("stdout-closed"), "{output}");
    }
    // Commands that only print, too.
    let scratch = copying(1);
    for command in ["explain app.sql", "connectors --format markdown", "completions bash"] {
        let (end, full) = std::io::pipe().unwrap();
        drop(end);
        let mut command = scratch.eventflux(command.split(' '));
        let status = command
            .stdin(Stdio::null())
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(
            (status.status.code(), status.stderr.as_slice()),
            (Some(0), b"".as_slice())
        );
    }
}

#[test]
fn a_signal_lets_through_what_was_read() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let scratch = copying(200_000);
        scratch.write(
            "app.sql",
            COPY.replace("path = 'in.ndjson'", "path = 'in.ndjson', follow = 'true'"),
        );
        let mut running = Running::start(
            scratch
                .eventflux(["run", "app.sql", "--stats", "-"])
                .stdin(Stdio::null()),
        );
        // Amid its work: something is written, and more is on its way.
        running.wait_for("the first rows", |_| scratch.read("out.ndjson").len() > 100);
        running.signal(signal);
        let finished = running.end().code(0);
        assert_eq!(finished.stderr, "");
        let stats = finished.json();
        let written = scratch.read("out.ndjson");
        assert!(
            numbers(200_000).starts_with(&written),
            "the output is no prefix of the input"
        );
        assert_eq!(stats["exit_reason"], json!("stopped"));
        assert_eq!(stats["events_in"], json!(written.lines().count()));
        assert!(written.ends_with('\n'));
    }
}

#[test]
fn a_signal_at_rest_leaves_every_line_in_the_output() {
    let scratch = copying(1_000);
    let app = format!(
        "{}SELECT x FROM S WHERE x = 999;",
        COPY.replace("path = 'in.ndjson'", "path = 'in.ndjson', follow = 'true'")
    );
    scratch.write("app.sql", app);
    let mut running = Running::start(scratch.eventflux(["run", "app.sql"]).stdin(Stdio::null()));
    running.wait_for_lines(1);
    running.signal(libc::SIGTERM);
    running.end().code(0);
    assert_eq!(scratch.read("out.ndjson"), numbers(1_000));
}

#[test]
fn a_second_signal_ends_at_once() {
    // A pipe that nobody reads takes 64 KiB; then the sink waits for ever, and so would the app.
    let scratch = Scratch::with(&[(
        "app.sql",
        "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'datagen');\n\
         CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'file', format = 'json', path = 'pipe');\n\
         INSERT INTO T SELECT x FROM S;\n\
         SELECT x FROM S LIMIT 1;",
    )]);
    let made = std::process::Command::new("mkfifo")
        .arg(scratch.path("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    let mut running = Running::start(scratch.eventflux(["run", "app.sql"]).stdin(Stdio::null()));
    running.wait_for_lines(1);
    running.signal(libc::SIGINT);
    running.signal(libc::SIGTERM);
    let finished = running.end();
    let code = finished.code.unwrap_or_default();
    assert!(
        [128 + libc::SIGINT, 128 + libc::SIGTERM].contains(&code),
        "{finished:?}"
    );
}

#[test]
fn a_line_on_standard_input_is_a_row_at_once() {
    let scratch = Scratch::with(&[("app.sql", STDIN)]);
    let mut running = Running::start(scratch.eventflux(["run", "app.sql"]).stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    for x in 1..=3 {
        stdin.write_all(format!("{{\"x\":{x}}}\n").as_bytes()).unwrap();
        let lines = running.wait_for_lines(x);
        assert!(lines[x - 1].ends_with(&format!(" twice={}", 2 * x)), "{lines:?}");
    }
    // Half a line is held until the rest comes.
    stdin.write_all(b"{\"x\":").unwrap();
    stdin.write_all(b"4}\n{\"x\":5").unwrap();
    assert!(running.wait_for_lines(4)[3].ends_with(" twice=8"));
    stdin.write_all(b"}").unwrap();
    drop(stdin);
    let finished = running.end().code(0);
    assert!(finished.stdout.ends_with(" twice=10\n"), "{finished:?}");
}

#[test]
fn standard_input_that_stays_open_does_not_hold_a_signal_up() {
    let scratch = Scratch::with(&[("app.sql", STDIN)]);
    let mut running = Running::start(scratch.eventflux(["run", "app.sql"]).stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(b"{\"x\":1}\n").unwrap();
    running.wait_for_lines(1);
    running.signal(libc::SIGINT);
    running.end().code(0);
    drop(stdin);
}

#[test]
fn a_bad_line_costs_only_itself() {
    let scratch = copying(2);
    scratch.append(
        "in.ndjson",
        "{\"x\": \"two\"}\n{\"x\": 3}\nnot json\n\n{\"x\": 4, \"name\": \"späť\"}\n",
    );
    let finished = scratch.run(["run", "app.sql"]).code(0);
    let xs: Vec<String> = [0, 1, 3, 4].map(|x| format!("{{\"x\":{x}}}")).to_vec();
    assert_eq!(scratch.lines("out.ndjson"), xs);
    let errors: Vec<&str> = finished.stderr.lines().collect();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    for (error, parts) in errors.iter().zip([
        [
            "column 'x': expected LONG, found \"two\"",
            "stream=\"S\"",
            "line=3",
            "{\\\"x\\\": \\\"two\\\"}",
        ],
        [
            "expected a JSON object, found not json",
            "stream=\"S\"",
            "line=5",
            "event=\"not json\"",
        ],
    ]) {
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn many_bad_lines_do_not_flood_the_log() {
    let scratch = Scratch::with(&[("app.sql", PRINT), ("in.ndjson", &"bad\n".repeat(1_000))]);
    let finished = scratch.run(["run", "app.sql", "--stats", "-"]).code(0);
    assert!(finished.stderr.lines().count() < 10, "{}", finished.stderr);
    assert!(finished.stderr.contains("events=995"), "{}", finished.stderr);
    assert_eq!(finished.json()["errors"], json!({ "decode": 1_000 }));
}

#[test]
fn a_strict_stream_ends_the_app_at_its_first_bad_line() {
    let scratch = copying(2);
    scratch.append("in.ndjson", "{\"x\": \"two\"}\n{\"x\": 3}\n");
    scratch.write(
        "app.sql",
        COPY.replace("path = 'in.ndjson'", "path = 'in.ndjson', error.strategy = 'fail'"),
    );
    let finished = scratch.run(["run", "app.sql", "--quiet"]).code(1);
    let error = finished.stderr.lines().last().unwrap();
    for part in [
        "error: stream S, line 3",
        "column 'x': expected LONG, found \"two\"",
        "{\"x\": \"two\"}",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_event_that_cannot_be_computed_costs_only_itself() {
    let app = "\
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson');
SELECT 6 / x AS y FROM S;
";
    let scratch = Scratch::with(&[("app.sql", app), ("in.ndjson", "{\"x\":2}\n{\"x\":0}\n{\"x\":3}\n")]);
    let finished = scratch.run(["run", "app.sql"]).code(0);
    let rows: Vec<&str> = finished
        .stdout
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(rows, ["y=3", "y=2"]);
    assert!(finished.stderr.contains("kind=\"evaluate\""), "{finished:?}");
    // The query's own stream decides what becomes of it.
    scratch.write("app.sql", app.replace("path =", "error.strategy = 'fail', path ="));
    scratch
        .run(["run", "app.sql", "--quiet"])
        .code(1)
        .complains("error: stream S");
}

#[test]
fn a_sink_that_cannot_write_fails_the_app() {
    let scratch = copying(3);
    let full = COPY.replace("'out.ndjson', mode = 'overwrite'", "'/dev/full'");
    scratch.write("app.sql", &full);
    let finished = scratch.run(["run", "app.sql"]).code(1);
    finished.complains("error: sink of stream T: cannot write /dev/full: No space left on device");

    // Also when the source would go on for ever.
    scratch.write(
        "app.sql",
        full.replace("path = 'in.ndjson'", "path = 'in.ndjson', follow = 'true'"),
    );
    scratch
        .run(["run", "app.sql"])
        .code(1)
        .complains("No space left on device");

    scratch.write("app.sql", COPY.replace("'out.ndjson'", "'app.sql/out.ndjson'"));
    scratch.run(["run", "app.sql"]).code(1).complains("cannot write");
}

#[test]
fn standard_output_that_cannot_be_written_fails_the_app() {
    let scratch = Scratch::with(&[("app.sql", PRINT), ("in.ndjson", &numbers(3))]);
    for arguments in [["run", "app.sql"], ["explain", "app.sql"]] {
        let full = File::create("/dev/full").unwrap();
        let command = &mut scratch.eventflux(arguments);
        let finished = Running::start_into(command.stdin(Stdio::null()), full).end().code(1);
        finished.complains("No space left on device");
    }
}

#[test]
fn what_comes_from_the_environment_is_not_shown() {
    let app = COPY.replace("'out.ndjson'", "'${EVENTFLUX_TEST_SECRET}.ndjson'");
    let scratch = Scratch::with(&[("app.sql", &app), ("in.ndjson", &numbers(1))]);
    for arguments in [
        vec!["run", "app.sql", "--stats", "-"],
        vec!["validate", "app.sql", "--format", "json"],
        vec!["explain", "app.sql"],
    ] {
        let mut command = scratch.eventflux(&arguments);
        command
            .env("EVENTFLUX_TEST_SECRET", "hunter2")
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null());
        let finished = Running::start(&mut command).end().code(0);
        assert!(
            !format!("{finished:?}").contains("hunter2"),
            "{arguments:?}: {finished:?}"
        );
    }
    assert_eq!(scratch.lines("hunter2.ndjson").len(), 1);
}
