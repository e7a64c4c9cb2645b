//! What is renamed and keeps its state by its `id`, and what loses it without one.

use std::time::Duration;

use eventflux::{App, Checkpoints, Error, EventFlux};

use crate::support::{Scratch, collect, wait_until};

/// Everything that has state under a name. `/*Name*/` is where the options of that statement may go on.
const DECLARED: &str = "
CREATE STREAM Numbers (x LONG, k STRING) WITH (type = 'source', extension = 'file', format = 'json', path = 'DIR/in.ndjson',
  follow = 'true', poll = '2 ms' /*Numbers*/);
CREATE STREAM Sums (kind STRING, total LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'DIR/sums.csv' /*Sums*/);
CREATE STREAM Middle (x LONG) WITH (type = 'internal' /*Middle*/);
CREATE TABLE Latest (parity LONG PRIMARY KEY, x LONG) WITH (extension = 'memory' /*Latest*/);
CREATE WINDOW Recent (x LONG) WINDOW('length', 3) WITH (queryable = true /*Recent*/);
";

/// `'Numbers'` is a text, and stays one.
const QUERIES: &str = "
UPSERT INTO Latest SELECT x % 2 AS parity, x FROM Numbers;
INSERT INTO Recent SELECT x FROM Numbers;
INSERT INTO Middle SELECT sum(Numbers.x) AS x FROM Numbers WHERE k = 'Numbers';
INSERT INTO Sums SELECT 'middle' AS kind, sum(x) AS total FROM Middle WINDOW('length', 2);
INSERT INTO Sums SELECT 'window' AS kind, sum(x) AS total FROM Recent;
INSERT INTO Sums SELECT 'subquery' AS kind, sum(x) AS total FROM (SELECT x FROM Numbers WHERE x > 0) WINDOW('length', 2);
INSERT INTO Sums SELECT 'pattern' AS kind, a.x + b.x AS total FROM PATTERN (EVERY a = Numbers -> b = Numbers[b.x > a.x + 1]);
INSERT INTO Sums SELECT 'rows' AS kind, total FROM Numbers MATCH_RECOGNIZE (MEASURES A.x + B.x AS total PATTERN (A B) DEFINE B AS B.x > A.x) AS m;
INSERT INTO Sums SELECT 'join' AS kind, l.x AS total FROM Middle AS m JOIN Latest AS l ON m.x % 2 = l.parity;
PARTITION WITH (x % 2 OF Numbers) BEGIN
  INSERT INTO Sums SELECT 'key' AS kind, sum(x) AS total FROM Numbers WINDOW('length', 2);
END;
";

/// What statements are called in the second app.
const RENAMED: [(&str, &str); 5] = [
    ("Numbers", "Values"),
    ("Sums", "Totals"),
    ("Middle", "Between"),
    ("Latest", "Newest"),
    ("Recent", "Last3"),
];

/// The text with every name changed, but for the literal.
fn renamed(text: &str) -> String {
    let mut text = text.replace("'Numbers'", "'literal'");
    for (old, new) in RENAMED {
        let mark = format!("/*{old}*/");
        text = text
            .replace(&mark, "/*mark*/")
            .replace(old, new)
            .replace("/*mark*/", &mark);
    }
    text.replace("'literal'", "'Numbers'")
}

/// The text with the former names as ids.
fn pinned(text: &str) -> String {
    RENAMED.iter().fold(text.to_string(), |text, (old, _)| {
        text.replace(&format!("/*{old}*/"), &format!(", id = '{old}'"))
    })
}

fn start(scratch: &Scratch, sql: &str) -> Result<App, Error> {
    let directory = scratch.directory().to_str().expect("Unicode");
    let checkpoints = Checkpoints::in_folder(scratch.path("state")).every(Duration::from_secs(3_600));
    let app = EventFlux::builder()
        .sql(sql.replace("DIR", directory))
        .checkpoints(checkpoints)
        .build()?;
    app.start()?;
    Ok(app)
}

fn send(scratch: &Scratch, numbers: std::ops::RangeInclusive<usize>) {
    for x in numbers {
        // Neither ascending nor descending.
        let x = x * 7 % 11;
        scratch.append("in.ndjson", format!("{{\"x\":{x},\"k\":\"Numbers\"}}\n"));
    }
}

/// Runs an app until so many lines have come out.
fn run(scratch: &Scratch, sql: &str, numbers: std::ops::RangeInclusive<usize>, lines: usize) -> App {
    let app = start(scratch, sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
    send(scratch, numbers);
    wait_until("the output", || scratch.lines("sums.csv").len() >= lines);
    app.shutdown().unwrap();
    app
}

fn sorted(scratch: &Scratch) -> Vec<String> {
    let mut lines = scratch.lines("sums.csv");
    lines.sort();
    lines
}

/// How many lines an app has written for the numbers up to each; and all of them, sorted.
fn undisturbed(sql: &str, parts: &[usize]) -> (Vec<usize>, Vec<String>) {
    let scratch = Scratch::with(&[("in.ndjson", "")]);
    let app = start(&scratch, sql).unwrap();
    let (mut lines, mut sent) = (Vec::new(), 0);
    for &last in parts {
        send(&scratch, sent + 1..=last);
        sent = last;
        // Each number gives a line of the window, and the last one has come when they are all there and no more come.
        let of_window = || {
            let lines = scratch.lines("sums.csv");
            lines.iter().filter(|line| line.starts_with("window")).count()
        };
        wait_until("the output", || of_window() >= last);
        let mut before = 0;
        wait_until("quiet", || {
            std::thread::sleep(Duration::from_millis(100));
            std::mem::replace(&mut before, scratch.lines("sums.csv").len()) == scratch.lines("sums.csv").len()
        });
        lines.push(scratch.lines("sums.csv").len());
    }
    app.shutdown().unwrap();
    (lines, sorted(&scratch))
}

fn first() -> String {
    format!("{DECLARED}{QUERIES}")
}

#[test]
fn what_is_renamed_goes_on_by_its_id_wherever_it_stands() {
    let (lines, whole) = undisturbed(&first(), &[9, 20]);
    for (about, second) in [
        ("as it was", first()),
        // What was saved under a name is found by an id that is that name.
        ("with ids", pinned(&first())),
        ("renamed", pinned(&renamed(&first()))),
        (
            "renamed and moved",
            pinned(&renamed(&format!(
                "INSERT INTO Beside SELECT count(*) AS n FROM Numbers; {QUERIES}{DECLARED}"
            ))),
        ),
    ] {
        let scratch = Scratch::with(&[("in.ndjson", "")]);
        run(&scratch, &first(), 1..=9, lines[0]);
        let app = run(&scratch, &second, 10..=20, lines[1]);
        assert_eq!(sorted(&scratch), whole, "{about}");
        let table = if about.starts_with("renamed") {
            "Newest"
        } else {
            "Latest"
        };
        let rows = app.query(&format!("SELECT x FROM {table}")).unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2, "{about}");
        assert!(app.checkpoint_stats().unwrap().unwrap().restored.is_some());
    }
}

#[test]
fn ids_that_are_there_from_the_beginning_are_names_of_their_own() {
    let with_ids = |text: &str| {
        let marked = RENAMED.iter().enumerate();
        marked.fold(text.to_string(), |text, (number, (old, _))| {
            text.replace(&format!("/*{old}*/"), &format!(", id = 'the-{number}.th one'"))
        })
    };
    let (lines, whole) = undisturbed(&first(), &[9, 20]);
    let scratch = Scratch::with(&[("in.ndjson", "")]);
    run(&scratch, &with_ids(&first()), 1..=9, lines[0]);
    run(&scratch, &with_ids(&renamed(&first())), 10..=20, lines[1]);
    assert_eq!(sorted(&scratch), whole);
}

fn refused(scratch: &Scratch, sql: &str) -> String {
    match start(scratch, sql) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it starts:\n{sql}"),
    }
}

#[test]
fn without_an_id_what_is_renamed_begins_anew_or_is_refused() {
    let (lines, _) = undisturbed(&first(), &[9]);
    let scratch = Scratch::with(&[("in.ndjson", "")]);
    run(&scratch, &first(), 1..=9, lines[0]);
    // The window, say, reads another stream now, and what it holds is not that stream's.
    let only = |name: &str| {
        let (old, new) = RENAMED.into_iter().find(|(old, _)| *old == name).unwrap();
        first()
            .replace("'Numbers'", "'literal'")
            .replace(old, new)
            .replace("'literal'", "'Numbers'")
    };
    for name in ["Numbers", "Recent", "Middle"] {
        let error = refused(&scratch, &only(name));
        assert!(error.contains("which has changed: operator '"), "{name}: {error}");
    }

    // Nothing but the rows depends on this one.
    let scratch = Scratch::new();
    let kept = |create: &str, name: &str| {
        let sql = format!("CREATE STREAM S (x LONG); {create}; INSERT INTO {name} SELECT x FROM S;");
        let checkpoints = Checkpoints::in_folder(scratch.path("state"));
        let app = EventFlux::builder().sql(sql).checkpoints(checkpoints).build().unwrap();
        app.start().unwrap();
        app.input("S").unwrap().send((1_i64,)).unwrap();
        app.shutdown().unwrap();
        let rows = app.query(&format!("SELECT x FROM {name}")).unwrap();
        rows.iter().map(|batch| batch.num_rows()).sum::<usize>()
    };
    assert_eq!(kept("CREATE TABLE T (x LONG)", "T"), 1);
    assert_eq!(kept("CREATE TABLE U (x LONG) WITH (id = 'T')", "U"), 2);
    assert_eq!(kept("CREATE TABLE V (x LONG) WITH (id = 'T')", "V"), 3);
    assert_eq!(kept("CREATE TABLE T (x LONG)", "T"), 4);
    assert_eq!(kept("CREATE TABLE U (x LONG)", "U"), 1);
    assert_eq!(kept("CREATE TABLE T (x LONG)", "T"), 1);
}

#[test]
fn a_literal_or_a_column_that_changes_with_the_name_is_still_a_change() {
    let app = |name: &str, literal: &str, column: &str, options: &str| {
        format!(
            "CREATE STREAM {name} (Deals LONG, Trades LONG, k STRING) WITH (type = 'source', extension = 'file', format = 'json',
               path = 'DIR/in.ndjson', follow = 'true', poll = '2 ms' {options});
             CREATE STREAM Sums (total LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'DIR/sums.csv');
             INSERT INTO Sums SELECT sum({column}) AS total FROM {name} WHERE k <> '{literal}';"
        )
    };
    let scratch = Scratch::with(&[("in.ndjson", "")]);
    for number in [1, 2] {
        let running = start(&scratch, &app("Old", "Old", "Trades", "")).unwrap();
        scratch.append("in.ndjson", "{\"Deals\":1,\"Trades\":2,\"k\":\"a\"}\n");
        wait_until("the output", || scratch.lines("sums.csv").len() > number);
        running.shutdown().unwrap();
    }
    let pin = ", id = 'Old'";
    assert!(refused(&scratch, &app("New", "New", "Trades", pin)).contains("operator 'Sums#1/"));
    assert!(refused(&scratch, &app("New", "Old", "Deals", pin)).contains("operator 'Sums#1/"));
    // A name that is a column's, too, might be either: refused, not guessed.
    assert!(refused(&scratch, &app("Deals", "Old", "Trades", pin)).contains("operator 'Sums#1/"));
    let running = start(&scratch, &app("New", "Old", "Trades", pin)).unwrap();
    scratch.append("in.ndjson", "{\"Deals\":1,\"Trades\":2,\"k\":\"a\"}\n");
    wait_until("the output", || scratch.lines("sums.csv").len() > 3);
    running.shutdown().unwrap();
    assert_eq!(scratch.lines("sums.csv"), ["total", "2", "4", "6"]);
}

#[test]
fn snapshots_of_the_api_go_by_ids_too() {
    let sql = "CREATE STREAM S (x LONG) WITH (id = 's'); CREATE TABLE T (x LONG PRIMARY KEY) WITH (id = 't');
               INSERT INTO Out SELECT sum(S.x) AS total FROM S; INSERT INTO T SELECT x FROM S;";
    let send = |app: &App, stream: &str, x: i64| app.input(stream).unwrap().send((x,)).unwrap();
    let app = EventFlux::builder().sql(sql).inline().build().unwrap();
    app.start().unwrap();
    send(&app, "S", 3);
    let snapshot = app.snapshot().unwrap();
    app.shutdown().unwrap();

    let other = sql.replace("S.x", "Events.x").replace("FROM S", "FROM Events");
    let other = other
        .replace("STREAM S", "STREAM Events")
        .replace("T SELECT", "Kept SELECT");
    let app = EventFlux::builder()
        .sql(other.replace("TABLE T", "TABLE Kept"))
        .inline()
        .restore(snapshot)
        .build()
        .unwrap();
    let out = collect(&app);
    app.start().unwrap();
    send(&app, "Events", 4);
    app.shutdown().unwrap();
    let rows = app.query("SELECT x FROM Kept ORDER BY x").unwrap();
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    let out = out.lock();
    assert_eq!((out.len(), &out[0]["total"]), (1, &7.into()));
}
