//! Events that are wrong: each takes only itself, and goes where its stream says.

use eventflux::{Error, EventFlux};
use serde_json::{Value, json};

use super::{collect, column, letters};
use crate::support::{Scratch, within_deadline};

/// A file of `rows` numbered rows, of which those that `bad` says have no number.
fn file_of(rows: usize, bad: impl Fn(usize) -> bool) -> String {
    let line = |row: usize| match bad(row) {
        true => format!("{{\"n\":\"number {row}\"}}\n"),
        false => format!("{{\"n\":{row}}}\n"),
    };
    (0..rows).map(line).collect()
}

fn copy(options: &str) -> String {
    format!(
        "CREATE STREAM S (n LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson', {options});
         CREATE STREAM T (n LONG) WITH (type = 'sink', extension = 'file', format = 'json', path = 'out.ndjson');
         INSERT INTO T SELECT n FROM S;\n"
    )
}

fn json_lines(scratch: &Scratch, name: &str) -> Vec<Value> {
    let lines = scratch.lines(name);
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One bad row of 10,000 takes only itself, whatever the strategy; and with `fail` the app says which it was.
#[test]
fn one_bad_row_of_ten_thousand() {
    const ROWS: usize = 10_000;
    const BAD: usize = 6_789;
    let queue = letters(
        "Dead",
        " WITH (type = 'sink', extension = 'file', format = 'json', path = 'dead.ndjson')",
    );
    for options in [
        "error.strategy = 'drop'",
        "error.strategy = 'retry'",
        "error.strategy = 'dlq', error.dlq.stream = 'Dead'",
        "error.strategy = 'retry', error.dlq.stream = 'dead'",
    ] {
        let scratch = Scratch::with(&[("app.sql", &(queue.clone() + &copy(options)))]);
        scratch.write("in.ndjson", file_of(ROWS, |row| row == BAD));
        scratch
            .run(["run", "app.sql", "--quiet", "--stats", "stats.json"])
            .code(0);
        let expected: Vec<Value> = (0..ROWS)
            .filter(|row| *row != BAD)
            .map(|row| json!({"n": row}))
            .collect();
        assert_eq!(json_lines(&scratch, "out.ndjson"), expected, "{options}");
        let stats: Value = serde_json::from_str(&scratch.read("stats.json")).unwrap();
        assert_eq!(stats["errors"], json!({"decode": 1}), "{options}");
        let dead = json_lines(&scratch, "dead.ndjson");
        match options.contains("Dead") || options.contains("dead") {
            false => assert_eq!(dead, Vec::<Value>::new()),
            true => {
                assert_eq!(dead.len(), 1, "{options}");
                assert_eq!(dead[0]["originalEvent"], format!("{{\"n\":\"number {BAD}\"}}"));
                assert_eq!(dead[0]["errorType"], "decode");
                assert_eq!(dead[0]["streamName"], "S");
                assert_eq!(dead[0]["attemptCount"], 1);
                let message = dead[0]["errorMessage"].as_str().unwrap();
                assert!(message.contains("column 'n'"), "{message}");
            }
        }
    }
    let scratch = Scratch::with(&[("app.sql", &copy("error.strategy = 'fail'"))]);
    scratch.write("in.ndjson", file_of(ROWS, |row| row == BAD));
    let failed = scratch.run(["run", "app.sql", "--quiet"]).code(1);
    failed.complains("stream S, line 6790: column 'n'");
}

/// Rows and letters of an app that divides, in the order in which they come, in both modes.
#[test]
fn an_event_that_cannot_be_evaluated_goes_whole_to_the_dead_letters() {
    for inline in [false, true] {
        let builder = EventFlux::builder().sql(
            letters("Dead", "")
                + "CREATE STREAM S (id LONG, items INT, note STRING) WITH (error.strategy = 'dlq', error.dlq.stream = 'Dead');
                   INSERT INTO T SELECT id, 12 / items AS share FROM S;
                   INSERT INTO Seen SELECT id FROM S;
                   INSERT INTO Told SELECT streamName, errorMessage FROM Dead WHERE errorType = 'evaluate';",
        );
        let app = if inline { builder.inline() } else { builder }.build().unwrap();
        let (rows, dead) = (collect(&app, "T"), collect(&app, "Dead"));
        let (seen, told) = (collect(&app, "Seen"), collect(&app, "Told"));
        app.start().unwrap();
        let events = [(1, 4, "a"), (2, 0, "say \"no\"\n"), (3, 6, "c"), (4, 0, "d")];
        app.input("S").unwrap().send_rows(events).unwrap();
        within_deadline("the app", move || app.wait()).unwrap();
        assert_eq!(column(&rows.lock(), "share"), [3, 2]);
        assert_eq!(column(&seen.lock(), "id"), [1, 2, 3, 4]);
        let dead = dead.lock();
        let events: Vec<Value> = column(&dead, "originalEvent")
            .iter()
            .map(|event| serde_json::from_str(event.as_str().unwrap()).unwrap())
            .collect();
        let second = json!({"id": 2, "items": 0, "note": "say \"no\"\n"});
        assert_eq!(events, [second, json!({"id": 4, "items": 0, "note": "d"})]);
        assert_eq!(column(&dead, "errorMessage"), ["division by zero", "division by zero"]);
        let told = told.lock();
        let one = json!({"streamName": "S", "errorMessage": "division by zero"});
        assert_eq!(*told, [one.clone(), one]);
    }
}

/// The columns that no query reads are in the dead letter, too.
#[test]
fn a_source_with_dead_letters_decodes_all_columns() {
    let scratch = Scratch::with(&[("in.ndjson", "{\"n\":1,\"id\":\"a\"}\n{\"n\":0,\"id\":\"b\"}\n")]);
    let path = scratch.path("in.ndjson").display().to_string();
    let sql = format!(
        "{} CREATE STREAM S (n LONG, id STRING)
         WITH (type = 'source', extension = 'file', format = 'json', path = '{path}', error.strategy = 'dlq', error.dlq.stream = 'Dead');
         INSERT INTO T SELECT 6 / n AS q FROM S;",
        letters("Dead", "")
    );
    let app = EventFlux::builder().sql(sql).build().unwrap();
    let dead = collect(&app, "Dead");
    app.start().unwrap();
    within_deadline("the app", move || app.wait()).unwrap();
    assert_eq!(column(&dead.lock(), "originalEvent"), ["{\"n\":0,\"id\":\"b\"}"]);
}

/// A fault stream has the errors of all queries of its stream and of its source, whatever the strategy.
#[test]
fn a_fault_stream_is_a_stream() {
    let scratch = Scratch::with(&[("in.ndjson", "{\"n\":3}\n{\"n\":0}\nnonsense\n{\"n\":1}\n")]);
    let path = scratch.path("in.ndjson").display().to_string();
    for strategy in [
        "",
        ", error.strategy = 'drop'",
        ", error.strategy = 'dlq', error.dlq.stream = 'Dead'",
    ] {
        let sql = format!(
            "{} CREATE STREAM S (n LONG)
             WITH (type = 'source', extension = 'file', format = 'json', path = '{path}'{strategy});
             INSERT INTO T SELECT 6 / n AS q FROM S;
             INSERT INTO U SELECT 6 % n AS q FROM S;
             INSERT INTO Faults SELECT errorType, count(*) AS n FROM !s GROUP BY errorType;
             INSERT INTO All_ SELECT * FROM !S AS f WHERE f.errorType = 'decode';
             INSERT INTO Closed SELECT count(*) AS n FROM !S WINDOW TUMBLING(1 DAY);",
            letters("Dead", "")
        );
        let app = EventFlux::builder().sql(sql).build().unwrap();
        let (faults, all, dead) = (collect(&app, "Faults"), collect(&app, "All_"), collect(&app, "Dead"));
        let closed = collect(&app, "Closed");
        app.start().unwrap();
        within_deadline("the app", move || app.wait()).unwrap();
        let faults = faults.lock();
        let count = |kind: &str| faults.iter().filter(|row| row["errorType"] == kind).count();
        assert_eq!((count("decode"), count("evaluate")), (1, 2), "{strategy}");
        assert_eq!(column(&all.lock(), "originalEvent"), ["nonsense"]);
        assert_eq!(dead.lock().len(), if strategy.contains("dlq") { 3 } else { 0 });
        // At the end of the input the errors end, too, and what is open is closed.
        assert_eq!(column(&closed.lock(), "n"), [3], "{strategy}");
    }
}

/// Fault streams stand where streams do: in patterns, joins, partitions, views, and before what they are of.
#[test]
fn fault_streams_stand_where_streams_do() {
    let sql = "
        INSERT INTO Early SELECT errorMessage FROM !Halves;
        INSERT INTO Halves SELECT 12 / n AS h FROM S;
        INSERT INTO Quarters SELECT 12 / (h - 4) AS q FROM Halves;
        INSERT INTO Twice SELECT b.originalEvent FROM PATTERN (EVERY a=!S -> b=!S[errorType = a.errorType]);
        CREATE VIEW Bad AS SELECT originalEvent FROM !S;
        INSERT INTO Viewed SELECT originalEvent FROM Bad;
        INSERT INTO Counted SELECT streamName, count(*) AS n FROM !S WINDOW('length', 1) GROUP BY streamName;
        CREATE STREAM S (n INT);";
    let app = EventFlux::builder().sql(sql).inline().build().unwrap();
    let streams = ["Early", "Twice", "Viewed", "Counted"].map(|name| collect(&app, name));
    app.start().unwrap();
    app.input("S").unwrap().send_rows([(0,), (3,), (0,)]).unwrap();
    app.shutdown().unwrap();
    let counts = streams.map(|rows| rows.lock().len());
    assert_eq!(counts, [1, 1, 2, 2]);
}

#[test]
fn errors_of_a_fault_streams_queries_are_its_own() {
    let sql = "CREATE STREAM S (n INT); INSERT INTO T SELECT 1 / n AS q FROM S;
               INSERT INTO U SELECT 1 / (attemptCount - 1) AS q FROM !S;";
    let app = EventFlux::builder().sql(sql).inline().build().unwrap();
    app.start().unwrap();
    app.input("S").unwrap().send((0,)).unwrap();
    let stats = app.stats().unwrap();
    let errors = |name: &str| {
        let mut streams = stats.streams.iter();
        streams.find(|stream| stream.name == name).unwrap().errors.clone()
    };
    assert_eq!((errors("S")["evaluate"], errors("!S")["evaluate"]), (1, 1));
}

/// All streams of an app may share a queue, which then is not its own.
#[test]
fn a_queue_for_the_whole_app() {
    let layers = eventflux::Layers::default()
        .set("application.error.strategy=dlq")
        .unwrap()
        .set("application.error.dlq.stream=Dead")
        .unwrap();
    let sql = letters("Dead", "")
        + "CREATE STREAM S (n INT); CREATE STREAM U (n INT);
           INSERT INTO T SELECT 1 / n AS q FROM S; INSERT INTO V SELECT 1 / n AS q FROM U;";
    let app = EventFlux::builder().sql(sql).config(layers).build().unwrap();
    let dead = collect(&app, "Dead");
    app.start().unwrap();
    app.input("S").unwrap().send((0,)).unwrap();
    app.input("U").unwrap().send((0,)).unwrap();
    within_deadline("the app", move || app.wait()).unwrap();
    let mut streams = column(&dead.lock(), "streamName");
    streams.sort_by_key(ToString::to_string);
    assert_eq!(streams, ["S", "U"]);
}

/// With several threads for the keys, the letters of all of them arrive, each once.
#[test]
fn dead_letters_of_partitions_on_several_threads() {
    const EVENTS: i32 = 3_000;
    let sql = letters("Dead", "")
        + "CREATE STREAM S (k INT, n INT) WITH (error.strategy = 'dlq', error.dlq.stream = 'Dead');
           PARTITION WITH (k OF S) BEGIN
             INSERT INTO T SELECT k, sum(12 / n) AS s FROM S WINDOW('length', 2);
           END;
           INSERT INTO Kinds SELECT errorType, count(*) AS n FROM !S GROUP BY errorType;";
    let app = EventFlux::builder().sql(sql).parallelism(3).build().unwrap();
    let (rows, dead, kinds) = (collect(&app, "T"), collect(&app, "Dead"), collect(&app, "Kinds"));
    app.start().unwrap();
    let input = app.input("S").unwrap();
    for first in (0..EVENTS).step_by(100) {
        input
            .send_rows((first..first + 100).map(|event| (event % 7, event % 3)))
            .unwrap();
    }
    within_deadline("the app", move || app.wait()).unwrap();
    assert_eq!(
        (rows.lock().len(), dead.lock().len(), kinds.lock().len()),
        (2_000, 1_000, 1_000)
    );
}

/// The queue's own trouble: by default it is logged, whole, and the app goes on.
#[test]
fn what_happens_to_a_letter_that_cannot_be_delivered() {
    let app = |fallback: &str| {
        letters(
            "Dead",
            " WITH (type = 'sink', extension = 'file', format = 'json', path = '/dev/full')",
        ) + &copy(&format!("error.strategy = 'dlq', error.dlq.stream = 'Dead'{fallback}"))
    };
    let fast = ", error.retry.max-attempts = 3, error.retry.initial-delay = '1 ms'";
    for (fallback, code, says) in [
        ("", 0, "ERROR cannot write /dev/full"),
        (", error.dlq.fallback-strategy = 'log'", 0, "number 1"),
        (
            ", error.dlq.fallback-strategy = 'fail'",
            1,
            "sink of stream Dead: cannot write /dev/full",
        ),
        (
            ", error.dlq.fallback-strategy = 'retry'",
            1,
            "sink of stream Dead (after 3 attempts): cannot write /dev/full",
        ),
    ] {
        let fallback = if fallback.contains("retry") {
            fallback.to_string() + fast
        } else {
            fallback.to_string()
        };
        let scratch = Scratch::with(&[("app.sql", &app(&fallback))]);
        scratch.write("in.ndjson", file_of(3, |row| row == 1));
        let finished = scratch.run(["run", "app.sql"]).code(code).complains(says);
        if code == 0 {
            assert_eq!(json_lines(&scratch, "out.ndjson"), [json!({"n": 0}), json!({"n": 2})]);
        }
        drop(finished);
    }
}

/// A strategy of the queue's own is stronger than the fallback of those that use it.
#[test]
fn of_several_fallbacks_the_strictest_holds_unless_the_queue_says_otherwise() {
    let app = |queue: &str| {
        let sql = format!(
            "{} CREATE STREAM A (n INT) WITH (error.strategy = 'dlq', error.dlq.stream = 'Dead');
             CREATE STREAM B (n INT) WITH (error.strategy = 'dlq', error.dlq.stream = 'Dead', error.dlq.fallback-strategy = 'fail');
             INSERT INTO T SELECT 1 / n AS q FROM A;",
            letters(
                "Dead",
                &format!(" WITH (type = 'sink', extension = 'file', format = 'json', path = '/dev/full'{queue})")
            )
        );
        EventFlux::builder().sql(sql).inline().build().unwrap()
    };
    let strict = app("");
    strict.start().unwrap();
    let error = strict.input("A").unwrap().send((0,)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let mild = app(", error.strategy = 'drop'");
    mild.start().unwrap();
    mild.input("A").unwrap().send((0,)).unwrap();
    let stats = mild.stats().unwrap();
    let dead = stats.streams.iter().find(|stream| stream.name == "Dead").unwrap();
    assert_eq!(dead.errors["sink"], 1);
    mild.shutdown().unwrap();
}

#[test]
fn the_level_of_the_log() {
    for (level, says) in [("error", "ERROR"), ("info", "INFO"), ("off", "")] {
        let scratch = Scratch::with(&[("app.sql", &copy(&format!("error.log-level = '{level}'")))]);
        scratch.write("in.ndjson", file_of(3, |row| row == 1));
        let mut command = scratch.eventflux(["run", "app.sql"]);
        command.env("RUST_LOG", "trace").stdin(std::process::Stdio::null());
        let finished = crate::support::Running::start(&mut command).end().code(0);
        let lines: Vec<&str> = finished
            .stderr
            .lines()
            .filter(|line| line.contains("column 'n'"))
            .collect();
        match says {
            "" => assert_eq!(lines.len(), 0, "{lines:?}"),
            says => assert!(lines.len() == 1 && lines[0].contains(says), "{lines:?}"),
        }
    }
}

#[test]
fn options_without_effect_are_warned_of() {
    let scratch = Scratch::with(&[(
        "app.sql",
        "CREATE STREAM S (n INT) WITH (error.strategy = 'drop', error.retry.jitter = '0.5', error.dlq.stream = 'Dead');
         INSERT INTO T SELECT n FROM S;",
    )]);
    let validated = scratch.run(["validate", "app.sql"]).code(0);
    let validated = validated.complains("'error.retry.jitter': it has no effect without error.strategy = 'retry'");
    validated.complains("'error.dlq.stream': it has no effect without error.strategy = 'dlq' or 'retry'");
}

/// The options may stand where a query's sink is.
#[test]
fn the_sink_of_a_query_has_a_strategy() {
    let scratch = Scratch::with(&[("in.ndjson", "{\"n\":1}\n{\"n\":2}\n")]);
    scratch.write(
        "app.sql",
        letters("Dead", " WITH (type = 'sink', extension = 'file', format = 'json', path = 'dead.ndjson')")
            + "CREATE STREAM S (n INT) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson');
               INSERT INTO T SELECT n FROM S
               SINK (type = 'file', format = 'json', path = '/dev/full', error.strategy = 'dlq', error.dlq.stream = 'Dead');",
    );
    scratch.run(["run", "app.sql", "--quiet"]).code(0);
    let dead = json_lines(&scratch, "dead.ndjson");
    assert_eq!(column(&dead, "originalEvent"), ["{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(column(&dead, "streamName"), ["T", "T"]);
}

/// What an event holds is shown, not obeyed.
#[test]
fn control_characters_do_not_reach_the_terminal() {
    let scratch = Scratch::with(&[("app.sql", &copy("error.strategy = 'fail'"))]);
    scratch.write("in.ndjson", "\x1b[31mred\x07\n");
    let failed = scratch.run(["run", "app.sql", "--quiet"]).code(1);
    assert!(!failed.stderr.contains(['\x1b', '\x07']), "{failed:?}");
    failed.complains("(event: \\u{1b}[31mred\\u{7})");
}
