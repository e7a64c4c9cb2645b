//! Compile errors as people read them: one snapshot a kind. Each says where, what, and what would be right.

use std::fmt::Write;

use eventflux::error::Colour;
use eventflux::{Error, EventFlux, Layers};

/// What most of the wrong apps read.
const TRADES: &str = "CREATE STREAM Trades (symbol STRING, price DOUBLE, volume LONG, ts TIMESTAMP);\n";

/// The rendered error of an app that does not compile.
#[track_caller]
fn error_of(sql: &str, layers: Layers) -> String {
    match EventFlux::builder().name("app.sql").sql(sql).config(layers).build() {
        Err(Error::Compile(diagnostic)) => diagnostic.render(Colour::Never),
        Err(other) => panic!("not a compile error: {other}\n{sql}"),
        Ok(_) => panic!("it compiles:\n{sql}"),
    }
}

/// The errors of several apps, each after what it is about.
#[track_caller]
pub fn errors(apps: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (about, sql) in apps {
        let error = error_of(sql, Layers::default());
        let _ = write!(text, "── {about}\n{error}\n");
    }
    text
}

/// Compares with the snapshot of that name.
pub fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// An app with the trades and one query.
pub fn query(sql: &str) -> String {
    format!("{TRADES}{sql}\n")
}

/// An app that is one source stream with those options.
fn source(options: &str) -> String {
    format!("CREATE STREAM S (x INT, name STRING)\nWITH (type = 'source', {options});")
}

/// An app that is one sink stream with those options.
fn sink(options: &str) -> String {
    format!("CREATE STREAM S (x INT)\nWITH (type = 'sink', {options});")
}

#[test]
fn unknown_names() {
    check(
        "unknown_names",
        &errors(&[
            (
                "a stream, misspelled",
                query("INSERT INTO Out SELECT symbol FROM Trade;"),
            ),
            (
                "a stream, nothing near",
                query("INSERT INTO Out SELECT symbol FROM Weather;"),
            ),
            (
                "a column, misspelled",
                query("INSERT INTO Out\nSELECT symbol, prise * 2 AS twice\nFROM Trades;"),
            ),
            (
                "a column, nothing near",
                query("INSERT INTO Out SELECT colour FROM Trades;"),
            ),
            (
                "a column in WHERE",
                query("INSERT INTO Out SELECT symbol FROM Trades WHERE volum > 100;"),
            ),
            (
                "a column in a filter",
                query("INSERT INTO Out SELECT symbol FROM Trades[pric > 100];"),
            ),
            (
                "a column of an alias",
                query("INSERT INTO Out SELECT t.symbl FROM Trades AS t;"),
            ),
            ("an alias", query("INSERT INTO Out SELECT x.symbol FROM Trades AS t;")),
            (
                "a column after letters of many bytes",
                query("INSERT INTO Out SELECT '€uro', 'ö', prise AS p FROM Trades;"),
            ),
            (
                "a function, misspelled",
                query("INSERT INTO Out SELECT uper(symbol) AS s FROM Trades;"),
            ),
            (
                "a function, nothing near",
                query("INSERT INTO Out SELECT fourier(price) AS s FROM Trades;"),
            ),
            ("a type", "CREATE STREAM S (x DUBLE);".to_string()),
            ("a type, nothing near", "CREATE STREAM S (x COMPLEX);".to_string()),
            (
                "the column of event time",
                "CREATE STREAM S (ts TIMESTAMP, WATERMARK FOR time AS ts);".to_string(),
            ),
            (
                "two candidates that differ in case",
                "CREATE STREAM S (price DOUBLE, Price DOUBLE);\nINSERT INTO Out SELECT PRICE FROM S;".to_string(),
            ),
        ]),
    );
}

#[test]
fn duplicates() {
    check(
        "duplicates",
        &errors(&[
            ("a stream", query("CREATE STREAM Trades (x INT);")),
            ("a column", "CREATE STREAM S (x INT, y INT, x STRING);".to_string()),
            (
                "an output column",
                query("INSERT INTO Out SELECT price, volume AS price FROM Trades;"),
            ),
            (
                "a view and a stream",
                query("CREATE VIEW Trades AS SELECT price FROM Trades;"),
            ),
        ]),
    );
}

#[test]
fn wrong_types() {
    check(
        "wrong_types",
        &errors(&[
            (
                "arithmetic on text",
                query("INSERT INTO Out SELECT symbol * 2 AS twice FROM Trades;"),
            ),
            (
                "a comparison",
                query("INSERT INTO Out SELECT symbol FROM Trades WHERE ts > TRUE;"),
            ),
            (
                "a condition",
                query("INSERT INTO Out SELECT symbol FROM Trades WHERE price;"),
            ),
            (
                "the argument of a function",
                query("INSERT INTO Out SELECT round(symbol) AS r FROM Trades;"),
            ),
            (
                "too many arguments",
                query("INSERT INTO Out SELECT upper(symbol, 2) AS r FROM Trades;"),
            ),
            (
                "too few arguments",
                query("INSERT INTO Out SELECT replace(symbol) AS r FROM Trades;"),
            ),
            (
                "the branches of CASE",
                query("INSERT INTO Out SELECT CASE WHEN price > 1 THEN ts ELSE price END AS c FROM Trades;"),
            ),
            (
                "an impossible CAST",
                query("INSERT INTO Out SELECT CAST(price > 1 AS TIMESTAMP) AS c FROM Trades;"),
            ),
            (
                "event time that is no time",
                "CREATE STREAM S (ts STRING, WATERMARK FOR ts AS ts);".to_string(),
            ),
            (
                "a watermark that is no time",
                "CREATE STREAM S (ts TIMESTAMP, n LONG, WATERMARK FOR ts AS n > 1);".to_string(),
            ),
        ]),
    );
}

#[test]
fn targets_that_do_not_fit() {
    let target = |columns: &str, sql: &str| query(&format!("CREATE STREAM Out ({columns});\n{sql}"));
    check(
        "targets_that_do_not_fit",
        &errors(&[
            (
                "too few columns",
                target("a STRING, b DOUBLE", "INSERT INTO Out SELECT symbol FROM Trades;"),
            ),
            (
                "too many columns",
                target("a STRING", "INSERT INTO Out SELECT symbol, price FROM Trades;"),
            ),
            (
                "a type",
                target("a STRING, b LONG", "INSERT INTO Out SELECT symbol, price FROM Trades;"),
            ),
            (
                "text for a number",
                target("b DOUBLE", "INSERT INTO Out SELECT symbol FROM Trades;"),
            ),
            (
                "two queries that differ",
                query("INSERT INTO Out SELECT symbol FROM Trades;\nINSERT INTO Out SELECT price FROM Trades;"),
            ),
            (
                "the columns of a view",
                query("CREATE VIEW v (a, b) AS SELECT price FROM Trades;"),
            ),
        ]),
    );
}

#[test]
fn syntax() {
    check(
        "syntax",
        &errors(&[
            (
                "an unterminated string",
                query("INSERT INTO Out\nSELECT 'abc AS s FROM Trades;\nSELECT 1;"),
            ),
            (
                "an unterminated comment",
                query("/* never closed\nSELECT symbol FROM Trades;"),
            ),
            ("an unterminated name", query("SELECT \"symbol FROM Trades;")),
            ("a stray character", query("SELECT symbol ¿ FROM Trades;")),
            ("a misspelled statement", "CREAT STREAM S (x INT);".to_string()),
            ("a misspelled clause", query("SELECT symbol FORM Trades;")),
            ("a missing bracket", "CREATE STREAM S (x INT, y STRING;".to_string()),
            ("a missing comma", "CREATE STREAM S (x INT y STRING);".to_string()),
            (
                "an option without a value",
                "CREATE STREAM S (x INT) WITH (type = );".to_string(),
            ),
            (
                "a missing semicolon",
                "CREATE STREAM S (x INT)\nCREATE STREAM T (y INT);".to_string(),
            ),
            ("half an expression", query("SELECT symbol FROM Trades WHERE price > ;")),
            ("nothing", String::new()),
            ("only a comment", "-- later\n".to_string()),
            ("a stream without columns", "CREATE STREAM S ();".to_string()),
            ("the end of a query", query("INSERT INTO Out SELECT symbol FROM")),
            (
                "too deep",
                query(&format!(
                    "SELECT {}1{} AS x FROM Trades;",
                    "(".repeat(70),
                    ")".repeat(70)
                )),
            ),
        ]),
    );
}

#[test]
fn durations() {
    check(
        "durations",
        &errors(&[
            (
                "a unit",
                "CREATE STREAM S (ts TIMESTAMP, WATERMARK FOR ts AS ts - 5 PARSECS);".to_string(),
            ),
            (
                "the option of a stream",
                source("extension = 'datagen', 'idle.timeout' = 'soon'"),
            ),
            (
                "the option of a connector",
                source("extension = 'timer', interval = '5 parsecs'"),
            ),
            ("a negative one", source("extension = 'timer', interval = '-5 seconds'")),
            (
                "in an expression",
                query("INSERT INTO Out SELECT ts - INTERVAL 'a while' AS t FROM Trades;"),
            ),
        ]),
    );
}

#[test]
fn options() {
    let file = "extension = 'file', format = 'json'";
    let csv = "extension = 'file', format = 'csv', path = '/dev/null'";
    check("options", &errors(&[
        ("an unknown connector", source("extension = 'fiel', path = 'x'")),
        (
            "an unknown connector, nothing near",
            source("extension = 'carrier-pigeon'")
        ),
        (
            "an unknown format",
            source("extension = 'file', format = 'jsno', path = '/dev/null'")
        ),
        (
            "an unknown format, nothing near",
            source("extension = 'file', format = 'morse', path = '/dev/null'")
        ),
        ("an unknown option", source(&format!("{file}, paht = '/dev/null'"))),
        (
            "an unknown option, nothing near",
            source(&format!("{csv}, sparkle = 'much'"))
        ),
        (
            "an unknown option with a prefix",
            source(&format!("{file}, \"file.paht\" = '/dev/null'"))
        ),
        (
            "another connector's prefix",
            source(&format!("{csv}, \"stdin.decoders\" = 2"))
        ),
        (
            "an option of a stream without connector",
            "CREATE STREAM S (x INT) WITH (path = 'x');".to_string()
        ),
        ("a missing option", source(file)),
        ("a missing connector", source("format = 'json'")),
        (
            "a missing type",
            "CREATE STREAM S (x INT) WITH (extension = 'file', path = '/dev/null');".to_string()
        ),
        (
            "a format where there is none",
            source("extension = 'datagen', format = 'json'")
        ),
        (
            "no Boolean",
            source(&format!("{file}, path = '/dev/null', follow = 'perhaps'"))
        ),
        ("no number", source("extension = 'datagen', rows = 'many'")),
        (
            "no choice",
            "CREATE STREAM S (x INT) WITH (type = 'sorce', extension = 'timer');".to_string()
        ),
        (
            "an option given twice",
            source(&format!("{csv}, \"file.path\" = '/dev/zero'"))
        ),
        ("a connector that is no source", source("extension = 'log'")),
        ("a connector that is no sink", sink("extension = 'timer'")),
        ("no delimiter", source(&format!("{csv}, delimiter = 'ab'"))),
        (
            "a file that is not there",
            source(&format!("{file}, path = 'no/such/file.ndjson'"))
        ),
        (
            "a variable that is not set",
            source(&format!("{file}, path = '${{EVENTFLUX_NO_SUCH_VARIABLE}}'"))
        ),
        (
            "late events without event time",
            source(&format!("{csv}, late = 'accept'"))
        ),
        (
            "late events to nowhere",
            "CREATE STREAM S (ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (late = 'Lates');".to_string()
        ),
        (
            "late events to a stream with other columns",
            "CREATE STREAM Late (x INT);\nCREATE STREAM S (ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (late = 'Late');"
                .to_string()
        ),
        (
            "the columns of a generator",
            source("extension = 'datagen', 'fields.y.kind' = 'sequence'")
        ),
        (
            "two readers of standard input",
            format!(
                "{}\n{}",
                source("extension = 'stdin'"),
                source("extension = 'stdin'").replace("STREAM S", "STREAM T")
            )
        ),
    ]));
}

#[test]
fn ids_of_state() {
    let stream = |name: &str, id: &str| format!("CREATE STREAM {name} (x LONG) WITH (id = '{id}');\n");
    let table = |name: &str, id: &str| format!("CREATE TABLE {name} (x LONG) WITH (id = '{id}');\n");
    let window = |name: &str, id: &str| format!("CREATE WINDOW {name} (x LONG) LENGTH(3) WITH (id = '{id}');\n");
    let select = "INSERT INTO Out SELECT x FROM A;";
    check(
        "ids_of_state",
        &errors(&[
            (
                "two equal ones",
                format!("{}{}{select}", stream("A", "a"), stream("B", "a")),
            ),
            (
                "of two tables",
                format!("{}{}{}{select}", stream("A", "s"), table("T", "a"), table("U", "a")),
            ),
            (
                "of two kinds",
                format!("{}{}{select}", window("W", "a"), stream("A", "a")),
            ),
            (
                "the name of another, declared before",
                format!("{}{}{select}", stream("A", "a"), stream("B", "A")),
            ),
            (
                "the name of another, declared after",
                format!("{}{}{select}", table("T", "A"), stream("A", "a")),
            ),
            (
                "the name of a stream that a query declares",
                format!("{}{select}", stream("A", "Out")),
            ),
            ("an empty one", format!("{}{select}", stream("A", ""))),
            (
                "one with a separator",
                format!("{}{}{select}", stream("A", "s"), table("T", "a#1")),
            ),
            (
                "one at a SINK and at its stream",
                format!(
                    "{}CREATE STREAM B (x LONG) WITH (id = 'b');\nINSERT INTO B SELECT x FROM A SINK (type = 'log', id = 'c');",
                    stream("A", "a")
                ),
            ),
            (
                "given twice",
                format!("{}CREATE TABLE T (x LONG) WITH (id = 't', ID = 'u');", stream("A", "a")),
            ),
        ]),
    );
}

#[test]
fn options_of_tables_from_outside_the_app() {
    let app = "CREATE STREAM S (x LONG); CREATE TABLE T (x LONG PRIMARY KEY) WITH (extension = 'cache');
INSERT INTO T SELECT x FROM S;";
    let mut text = String::new();
    for assignment in [
        "tables.U.max_size=1",
        "tables.S.max_size=1",
        "tables.T.cache.maxsize=1",
        "tables.T.max_size=many",
        "tables.T.extension=memory",
        "tables.T.id=t",
        "streams.S.id=s",
        "tables.T=5",
        "application.id=s",
    ] {
        let error = match Layers::default().set(assignment) {
            Ok(layers) => error_of(app, layers),
            Err(diagnostic) => diagnostic.render(Colour::Never),
        };
        let _ = write!(text, "── {assignment}\n{error}\n");
    }
    check("options_of_tables_from_outside_the_app", &text);
}

#[test]
fn options_from_outside_the_app() {
    let app = source("extension = 'datagen'");
    let mut text = String::new();
    for assignment in [
        "streams.T.datagen.rows=1",
        "streams.S.datagen.rosw=1",
        "streams.S.datagen.rows=many",
        "streams.S.file.path=x",
        "stream.S.rows=1",
    ] {
        let error = match Layers::default().set(assignment) {
            Ok(layers) => error_of(&app, layers),
            Err(diagnostic) => diagnostic.render(Colour::Never),
        };
        let _ = write!(text, "── {assignment}\n{error}\n");
    }
    check("options_from_outside_the_app", &text);
}

#[test]
fn what_streams_cannot_do() {
    check(
        "what_streams_cannot_do",
        &errors(&[
            ("sorting", query("SELECT symbol FROM Trades ORDER BY price;")),
            (
                "a subquery over a stream",
                query("SELECT symbol FROM Trades WHERE symbol IN (SELECT symbol FROM Trades);"),
            ),
            (
                "a table alone",
                "CREATE TABLE T (id STRING PRIMARY KEY); SELECT id FROM T;".to_string(),
            ),
            (
                "a table that is updated by nothing",
                "CREATE TABLE T (id STRING PRIMARY KEY); UPDATE T SET id = 'x';".to_string(),
            ),
            (
                "UPSERT into a stream",
                query("UPSERT INTO Out SELECT symbol FROM Trades;"),
            ),
            ("EMIT FINAL", query("SELECT symbol FROM Trades EMIT FINAL;")),
            (
                "an aggregate in WHERE",
                query("SELECT symbol FROM Trades WHERE price > 1 AND sum(price) > 3;"),
            ),
            (
                "an aggregate of an aggregate",
                query("SELECT avg(price + max(price)) AS a FROM Trades;"),
            ),
            (
                "find",
                query("CREATE WINDOW W (x INT) LENGTH(3); SELECT x FROM W.find(x > 3);"),
            ),
            (
                "a changelog in a window",
                query(
                    "INSERT INTO T SELECT price FROM Trades ORDER BY price LIMIT 2; SELECT sum(price) AS s FROM T WINDOW('length', 2);",
                ),
            ),
            (
                "EMIT CHANGES in order",
                query(
                    "SELECT symbol, sum(price) AS s FROM Trades WINDOW('lengthBatch', 2) GROUP BY symbol ORDER BY s EMIT CHANGES;",
                ),
            ),
            (
                "EXCEPT",
                query("SELECT symbol FROM Trades EXCEPT SELECT symbol FROM Trades;"),
            ),
            ("VALUES", query("INSERT INTO Out VALUES (1, 2);")),
            ("no FROM", query("SELECT 1 AS one;")),
            (
                "recursion",
                query(
                    "WITH RECURSIVE r AS (SELECT symbol FROM Trades UNION ALL SELECT symbol FROM r) SELECT * FROM r;",
                ),
            ),
            (
                "EXPIRED EVENTS without a window",
                query("INSERT EXPIRED EVENTS INTO Out SELECT symbol FROM Trades;"),
            ),
            (
                "a window over a named window",
                query(
                    "CREATE WINDOW W WINDOW('length', 2); INSERT INTO W SELECT symbol FROM Trades; SELECT * FROM W WINDOW('length', 5);",
                ),
            ),
            (
                "EXPLAIN of a definition",
                "EXPLAIN CREATE STREAM S (x INT);".to_string(),
            ),
        ]),
    );
}

#[test]
fn circles() {
    check("circles", &errors(&[
        ("a query that reads its own target", query("INSERT INTO A SELECT x FROM A;")),
        (
            "two queries, columns not declared",
            "INSERT INTO A SELECT x FROM B;\nINSERT INTO B SELECT x FROM A;".to_string()
        ),
        (
            "two queries, columns declared",
            "CREATE STREAM A (x INT);\nCREATE STREAM B (x INT);\nINSERT INTO A SELECT x FROM B;\nINSERT INTO B SELECT x FROM A;"
                .to_string()
        ),
        ("a declared stream into itself", query("INSERT INTO Trades SELECT * FROM Trades;")),
        ("views", "CREATE VIEW a AS SELECT x FROM b;\nCREATE VIEW b AS SELECT x FROM a;".to_string()),
    ]));
}

/// The streams of a wrong error strategy: S with those options, and Dead with those columns.
fn strategies(options: &str, columns: &str) -> String {
    format!("CREATE STREAM Dead ({columns});\nCREATE STREAM S (x INT)\nWITH ({options});")
}

#[test]
fn error_strategies() {
    const RIGHT: &str = "originalEvent STRING, errorMessage STRING, errorType STRING, timestamp TIMESTAMP, attemptCount INT, \
                         streamName STRING";
    const DEAD: &str = "error.strategy = 'dlq', error.dlq.stream = 'Dead'";
    let right = |options: &str| strategies(options, RIGHT);
    check(
        "error_strategies",
        &errors(&[
            ("no such strategy", right("error.strategy = 'ignore'")),
            ("dead letters, and no stream for them", right("error.strategy = 'dlq'")),
            (
                "dead letters at the end of retries, and no stream for them",
                right("error.strategy = 'retry', error.retry.then = 'dlq'"),
            ),
            (
                "a stream that is not there",
                right("error.strategy = 'dlq', error.dlq.stream = 'Letters'"),
            ),
            (
                "a stream, misspelled",
                right("error.strategy = 'dlq', error.dlq.stream = 'Deed'"),
            ),
            (
                "a table",
                right(DEAD).replace("CREATE STREAM Dead", "CREATE TABLE Dead"),
            ),
            (
                "columns are missing",
                strategies(DEAD, "originalEvent STRING, errorMessage STRING, timestamp TIMESTAMP"),
            ),
            ("a column too many", strategies(DEAD, &format!("{RIGHT}, host STRING"))),
            (
                "another order",
                strategies(
                    DEAD,
                    &RIGHT.replace(
                        "originalEvent STRING, errorMessage STRING",
                        "errorMessage STRING, originalEvent STRING",
                    ),
                ),
            ),
            (
                "another type",
                strategies(DEAD, &RIGHT.replace("attemptCount INT", "attemptCount LONG")),
            ),
            (
                "a stream that takes its own",
                format!("CREATE STREAM Dead ({RIGHT})\nWITH ({DEAD});"),
            ),
            (
                "dead letters of what is made of dead letters",
                right(DEAD)
                    + &format!(
                        "\nCREATE STREAM Bad (n INT) WITH ({DEAD});\n\
                         INSERT INTO Bad SELECT attemptCount AS n FROM Dead;"
                    ),
            ),
            (
                "a jitter of more than all",
                right("error.strategy = 'retry', error.retry.jitter = '1.5'"),
            ),
            (
                "waits that get shorter",
                right("error.strategy = 'retry', error.retry.multiplier = '0.5'"),
            ),
            (
                "a longest wait that is shorter than the first",
                right("error.strategy = 'retry', error.retry.max-delay = '50 ms'"),
            ),
            (
                "the fault stream of a stream that is not there",
                query("INSERT INTO Out SELECT errorType FROM !Trade;"),
            ),
            (
                "a column that a fault stream has not",
                query("INSERT INTO Out SELECT price FROM !Trades;"),
            ),
            (
                "a fault stream as a target",
                query("INSERT INTO \"!Trades\" SELECT symbol FROM Trades;"),
            ),
        ]),
    );
}

#[test]
fn match_recognize() {
    let rows = |clauses: &str| query(&format!("SELECT * FROM Trades MATCH_RECOGNIZE ({clauses});"));
    let measure = |measure: &str| rows(&format!("MEASURES {measure} AS m PATTERN (A B+) DEFINE B AS price > 1"));
    let define = |define: &str| rows(&format!("PATTERN (A B+) SUBSET U = (A, B) DEFINE {define}"));
    check(
        "match_recognize",
        &errors(&[
            ("an unknown variable in DEFINE", define("C AS price > 1")),
            ("a union in DEFINE", define("U AS price > 1")),
            ("a variable defined twice", define("A AS price > 1, a AS price > 2")),
            ("an unknown variable in a measure", measure("C.price")),
            (
                "an unknown variable in SUBSET",
                rows("PATTERN (A) SUBSET U = (A, C) DEFINE A AS price > 1"),
            ),
            (
                "an unknown variable to skip to",
                rows("AFTER MATCH SKIP TO FIRST C PATTERN (A) DEFINE A AS price > 1"),
            ),
            (
                "two of one name",
                rows("PATTERN (A B) SUBSET B = (A) DEFINE A AS price > 1"),
            ),
            ("an unknown column", measure("A.prize")),
            ("an unknown bare column", define("A AS prize > 1")),
            ("a variable where a column should be", measure("A")),
            ("no condition", define("A AS price")),
            ("FINAL in a condition", define("A AS FINAL LAST(price) > 1")),
            ("FINAL before PREV", measure("FINAL PREV(price)")),
            ("navigation over several variables", measure("LAST(A.price + B.price)")),
            ("navigation over nothing", measure("PREV(1)")),
            ("an offset that is none", measure("PREV(price, -1)")),
            ("navigation inside of navigation", measure("FIRST(NEXT(price))")),
            ("aggregates over several variables", measure("sum(A.price - B.price)")),
            ("an aggregate inside of another", measure("sum(max(A.price))")),
            ("navigation inside of an aggregate", measure("sum(PREV(price))")),
            ("an unknown function", measure("nope(A.price)")),
            ("types that do not fit", define("A AS price > symbol")),
            (
                "a quantifier the wrong way round",
                rows("PATTERN (A{3,2}) DEFINE A AS price > 1"),
            ),
            (
                "a pattern that is too large",
                rows("PATTERN ((A{300}){300}) DEFINE A AS price > 1"),
            ),
            (
                "another order",
                rows("ORDER BY price PATTERN (A) DEFINE A AS price > 1"),
            ),
            (
                "backwards",
                rows("ORDER BY price DESC PATTERN (A) DEFINE A AS price > 1"),
            ),
            (
                "a key that is no column",
                rows("PARTITION BY price + 1 PATTERN (A) DEFINE A AS price > 1"),
            ),
            ("no PATTERN", rows("DEFINE A AS price > 1")),
            ("no DEFINE", rows("PATTERN (A)")),
            (
                "exclusion with unmatched rows",
                rows("ALL ROWS PER MATCH WITH UNMATCHED ROWS PATTERN (A {- B -}) DEFINE A AS price > 1"),
            ),
            (
                "a measure called as a column",
                rows("MEASURES 1 AS price ALL ROWS PER MATCH PATTERN (A) DEFINE A AS price > 1"),
            ),
            (
                "a time that is none",
                rows("PATTERN (A) WITHIN price DEFINE A AS price > 1"),
            ),
            (
                "with a window",
                query("SELECT * FROM Trades WINDOW('length', 5) MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS price > 1);"),
            ),
        ]),
    );
}

#[test]
fn not_built_yet() {
    check("not_built_yet", &errors(&[
        (
            "a subquery in MATCH_RECOGNIZE",
            query("SELECT * FROM Trades MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS price > (SELECT 1));")
        ),
        (
            "an aggregation",
            query("CREATE AGGREGATION A AS SELECT symbol, sum(price) AS s FROM Trades GROUP BY symbol AGGREGATE EVERY SECONDS … YEARS;")
                .replace('…', "...")
        ),
        ("ROLLUP", query("SELECT symbol, sum(price) AS s FROM Trades GROUP BY ROLLUP (symbol);")),
        ("a default value", "CREATE STREAM S (id INT DEFAULT 5);".to_string()),
        ("UPDATE", query("UPDATE T SET x = 1 FROM Trades WHERE T.id = Trades.symbol;")),
        ("UPSERT", query("UPSERT INTO T SELECT symbol FROM Trades;")),
    ]));
}

#[test]
fn what_over_cannot_do() {
    let over = |spec: &str| query(&format!("SELECT sum(price) OVER ({spec}) AS s FROM Trades;"));
    check(
        "what_over_cannot_do",
        &errors(&[
            (
                "rows that follow",
                over("PARTITION BY symbol ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING"),
            ),
            (
                "all rows that follow",
                over("ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"),
            ),
            ("another order", over("PARTITION BY symbol ORDER BY price")),
            ("a second order", over("ORDER BY ts, price")),
            ("backwards", over("ORDER BY ts DESC")),
            ("a duration for ROWS", over("ROWS 5 SECONDS PRECEDING")),
            ("no duration for RANGE", over("RANGE price PRECEDING")),
            (
                "a frame that ends before it starts",
                over("ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING"),
            ),
            (
                "a named window",
                query("SELECT sum(price) OVER w AS s FROM Trades WINDOW w AS (ORDER BY price);"),
            ),
            (
                "a window that is not there",
                query("SELECT sum(price) OVER w AS s FROM Trades;"),
            ),
            (
                "whole partitions",
                query("SELECT symbol, percent_rank() OVER (PARTITION BY symbol) AS p FROM Trades;"),
            ),
            (
                "a window of its own",
                query("SELECT sum(price) OVER (ROWS 1 PRECEDING) AS s FROM Trades WINDOW('length', 2);"),
            ),
            (
                "a function of OVER alone",
                query("SELECT row_number() AS n FROM Trades;"),
            ),
            (
                "IGNORE NULLS with OVER",
                query("SELECT lag(price) IGNORE NULLS OVER (PARTITION BY symbol) AS p FROM Trades;"),
            ),
            (
                "a GROUPS frame",
                query("SELECT sum(price) OVER (GROUPS 2 PRECEDING) AS s FROM Trades;"),
            ),
            (
                "DISTINCT ON",
                query("SELECT DISTINCT ON (symbol) symbol, price FROM Trades;"),
            ),
            (
                "no such function",
                query("SELECT row_numbr() OVER (ORDER BY ts) AS n FROM Trades;"),
            ),
        ]),
    );
}

#[test]
fn the_right_one_of_several_files() {
    let scratch = super::support::Scratch::with(&[
        ("streams.sql", "CREATE STREAM Trades (symbol STRING, price DOUBLE);\n"),
        (
            "queries.sql",
            "-- the second file\nINSERT INTO Out\nSELECT symbl FROM Trades;\n",
        ),
    ]);
    let finished = scratch.run(["validate", "streams.sql", "queries.sql"]).code(2);
    check("the_right_one_of_several_files", &finished.stderr);
}
