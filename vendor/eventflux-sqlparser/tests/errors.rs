//! What is wrong, exactly where, and what would be right.

use eventflux_sqlparser::{LineIndex, ParseErrorKind, parse};

/// Text, where (the text of the span; at an end it is empty), a part of the message, a part of the hint.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("CREATE STREM S (a INT)", "STREM", "cannot be created", "CREATE STREAM?"),
    ("CREATE STREAM S (a INT b INT)", "b", "found `b`", "comma"),
    ("CREATE STREAM S (a INT,)", ")", "expected a column", ""),
    ("CREATE STREAM S ()", "()", "no columns", "such as"),
    ("CREATE STREAM S (a)", ")", "the type of `a`", "types are"),
    ("CREATE STREAM (a INT)", "(", "the name of the stream", ""),
    ("CREATE STREAM a.b (a INT)", ".", "without dots", "double quotes"),
    (
        "CREATE STREAM S (a INT) WITH (type 'source')",
        "'source'",
        "`=` after the option `type`",
        "type = 'value'",
    ),
    (
        "CREATE STREAM S (a INT) WITH (a = 'x' b = 'y')",
        "b",
        "a comma",
        "separated by commas",
    ),
    (
        "CREATE TABLE T (a INT, PRIMARY KEY (a), PRIMARY KEY (a))",
        "PRIMARY KEY (a)",
        "already a PRIMARY KEY",
        "",
    ),
    (
        "CREATE TRIGGER T AT 5 SECONDS",
        "5",
        "START, EVERY or CRON",
        "AT EVERY 5 SECONDS",
    ),
    (
        "CREATE TRIGGER T AT EVERY 5 PARSECS",
        "PARSECS",
        "not a unit of time",
        "minutes",
    ),
    ("SELEC a FROM S", "SELEC", "does not start a statement", "SELECT?"),
    ("SELECT a, FROM S", ",", "nothing follows the comma", "remove"),
    ("SELECT a FROM S SELECT b FROM T", "SELECT", "found `SELECT`", "`;`"),
    ("SELECT a FROM S WHERE", "", "expected an expression", ""),
    (
        "SELECT a FROM S GROUP BY a WHERE b",
        "WHERE",
        "found `WHERE`",
        "the order is",
    ),
    (
        "SELECT a FROM S WHERE x WINDOW('length', 5)",
        "(",
        "found `(`",
        "right after its stream",
    ),
    (
        "SELECT a FROM S WINDOW(time, 5)",
        "time",
        "in quotes",
        "WINDOW('time', …)",
    ),
    (
        "SELECT a FROM S WINDOW('time', 5 MINUTS)",
        "MINUTS",
        "not a unit of time",
        "minutes?",
    ),
    ("SELECT a FROM S WINDOW('time', )", ")", "an argument", ""),
    (
        "SELECT a FROM S OUTPUT EVERY 5 MINUTS",
        "MINUTS",
        "not a unit of time",
        "minutes?",
    ),
    (
        "SELECT a FROM S WHERE x > 5 MINUTS",
        "MINUTS",
        "found `MINUTS`",
        "minutes?",
    ),
    ("SELECT a FROM S[b > ]", "", "expected an expression", ""),
    (
        "SELECT a FROM PATTERN (A -> B) WITHIN 5 PARSECS",
        "PARSECS",
        "not a unit of time",
        "",
    ),
    ("SELECT a FROM PATTERN (A, B)", ",", "expected `->`", "SEQUENCE"),
    ("SELECT a FROM PATTERN (A<3:2>)", "<3:2>", "cannot be", ""),
    ("SELECT a FROM PATTERN (A -> )", ")", "an element", ""),
    (
        "SELECT a FROM S MATCH_RECOGNIZE (PATTERN (A |) DEFINE A AS x)",
        ")",
        "a variable",
        "()",
    ),
    (
        "SELECT a FROM S MATCH_RECOGNIZE (MEASURES x PATTERN (A))",
        "PATTERN",
        "AS and a name",
        "",
    ),
    (
        "INSERT INTO SELECT a FROM S",
        "SELECT",
        "after INTO",
        "INSERT INTO name",
    ),
    ("INSERT INTO X", "", "SELECT, FROM or VALUES", ""),
    (
        "INSERT INTO X SELECT a FROM S INSERT INTO Y",
        "INSERT INTO Y",
        "already has a target",
        "once",
    ),
    (
        "WITH c AS (SELECT 1) INSERT INTO T SELECT * FROM c",
        "INSERT",
        "after WITH",
        "INSERT INTO name WITH",
    ),
    (
        "FROM S INSERT INTO X",
        "FROM",
        "not followed by SELECT",
        "FROM S SELECT",
    ),
    ("SELECT (a FROM S; SELECT b", "(", "not closed", "`)`"),
    ("SELECT a) FROM S", ")", "closes nothing", ""),
    ("SELECT (a] FROM S", "]", "does not close", "column 8"),
    (
        "PARTITION WITH (a OF S) BEGIN SELECT a FROM S;",
        "BEGIN",
        "not closed",
        "END",
    ),
    (
        "PARTITION WITH (a S) BEGIN SELECT a FROM S; END",
        ")",
        "OF and a stream",
        "OF Trades",
    ),
    ("UPDATE T SET a = FROM S", "FROM", "a value", ""),
    (
        "UPDATE OR INSERT INTO T SELECT a FROM S",
        "",
        "ON and a condition",
        "ON T.id",
    ),
    ("EXPLAIN EXPLAIN SELECT 1", "EXPLAIN", "a query to explain", ""),
    ("SELECT a\nFROM S\nWHERE a >", "", "expected an expression", ""),
];

#[test]
fn errors_say_what_where_and_what_instead() {
    for (text, place, message, hint) in TABLE {
        let error = parse(text).expect_err(text);
        let found = LineIndex::new(text).text(error.span);
        assert_eq!(found, *place, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{text}: {error}");
        assert_eq!(error.kind, ParseErrorKind::Syntax, "{text}");
    }
}

#[test]
fn what_is_not_closed_is_lexical() {
    let table: &[(&str, u64, u64)] = &[
        ("SELECT 'abc FROM S", 1, 8),
        ("SELECT a,\n  \"abc FROM S", 2, 3),
        ("SELECT `abc FROM S", 1, 8),
        ("SELECT a /* abc", 1, 10),
    ];
    for (text, line, column) in table {
        let error = parse(text).expect_err(text);
        assert_eq!(error.kind, ParseErrorKind::Lexical, "{text}: {error}");
        assert_eq!(
            (error.span.start.line, error.span.start.column),
            (*line, *column),
            "{text}: {error}"
        );
        assert!(error.message.contains("not closed"), "{text}: {error}");
    }
}

/// An error in a later statement is placed there.
#[test]
fn places_are_in_the_whole_text() {
    let text = "SELECT a FROM S;\n\n  SELECT é, b c d FROM T;";
    let error = parse(text).expect_err(text);
    assert_eq!((error.span.start.line, error.span.start.column), (3, 17), "{error}");
    assert_eq!(LineIndex::new(text).text(error.span), "d");
}
