//! What is wrong with windows, as people read it: at its place, with the reason and the cure.

use crate::diagnostics::{check, errors};

/// The errors of queries over one stream, each after what it is about.
#[track_caller]
fn of(name: &str, queries: &[(&str, &str)]) {
    let apps: Vec<(&str, String)> = queries
        .iter()
        .map(|(about, query)| {
            let stream = "CREATE STREAM Trades (symbol STRING, price DOUBLE, volume LONG, flag BOOL, ts TIMESTAMP);";
            (*about, format!("{stream}\n{query}\n"))
        })
        .collect();
    check(name, &errors(&apps));
}

#[test]
fn sizes() {
    of(
        "windows_sizes",
        &[
            ("a length below zero", "SELECT price FROM Trades WINDOW('length', -1);"),
            ("half an event", "SELECT price FROM Trades WINDOW('length', 2.5);"),
            ("a batch of none", "SELECT price FROM Trades WINDOW('lengthBatch', 0);"),
            (
                "a length that is a column",
                "SELECT price FROM Trades WINDOW('length', volume);",
            ),
            (
                "a length that is a text",
                "SELECT price FROM Trades WINDOW('length', '5');",
            ),
            (
                "a length that is a duration",
                "SELECT price FROM Trades WINDOW('length', 5 SECONDS);",
            ),
            ("no time", "SELECT price FROM Trades WINDOW('time', 0 SECONDS);"),
            (
                "a time below zero",
                "SELECT price FROM Trades WINDOW('time', -5 SECONDS);",
            ),
            (
                "a time that is a column",
                "SELECT price FROM Trades WINDOW('time', volume);",
            ),
            (
                "a time in quotes",
                "SELECT price FROM Trades WINDOW('time', '5 SECONDS');",
            ),
            (
                "a named time in quotes",
                "SELECT price FROM Trades WINDOW('timeBatch', duration = '5 SECONDS');",
            ),
            (
                "a unit that is none",
                "SELECT price FROM Trades WINDOW('time', 5 PARSECS);",
            ),
            (
                "a slide longer than the size",
                "SELECT price FROM Trades WINDOW('hop', 5 SECONDS, 10 SECONDS);",
            ),
            (
                "the same of a table function",
                "SELECT price FROM HOP(Trades, ts, 10 SECONDS, 5 SECONDS);",
            ),
            (
                "no slide",
                "SELECT price FROM Trades WINDOW('hop', 5 SECONDS, 0 SECONDS);",
            ),
            (
                "steps that do not fit",
                "SELECT price FROM Trades WINDOW('cumulate', 4 SECONDS, 10 SECONDS);",
            ),
            ("no gap", "SELECT price FROM Trades WINDOW('session', 0);"),
            (
                "a lateness below zero",
                "SELECT price FROM Trades WINDOW('session', 5 SECONDS, allowed_lateness = -1);",
            ),
            (
                "a share above one",
                "SELECT price FROM Trades WINDOW('lossyFrequent', 1.5, symbol);",
            ),
            (
                "an error above the support",
                "SELECT price FROM Trades WINDOW('lossyFrequent', 0.1, 0.2, symbol);",
            ),
        ],
    );
}

#[test]
fn arguments() {
    of(
        "windows_arguments",
        &[
            (
                "a kind, misspelled",
                "SELECT price FROM Trades WINDOW('tumblng', 5 SECONDS);",
            ),
            (
                "a kind as a word, misspelled",
                "SELECT price FROM Trades WINDOW LENGHT(5);",
            ),
            (
                "a kind, nothing near",
                "SELECT price FROM Trades WINDOW('pane', 5 SECONDS);",
            ),
            ("a kind without quotes", "SELECT price FROM Trades WINDOW(length, 5);"),
            ("no kind", "SELECT price FROM Trades WINDOW();"),
            (
                "an argument's name, misspelled",
                "SELECT price FROM Trades WINDOW('tumbling', sise = 5 SECONDS);",
            ),
            (
                "an argument's name, nothing near",
                "SELECT price FROM Trades WINDOW('tumbling', width = 5 SECONDS);",
            ),
            (
                "a name where there is no argument",
                "SELECT price FROM Trades WINDOW('batch', size = 5);",
            ),
            (
                "too many",
                "SELECT price FROM Trades WINDOW('tumbling', 5 SECONDS, 1 SECOND, 1 SECOND);",
            ),
            ("none", "SELECT price FROM Trades WINDOW('hop');"),
            ("none of one", "SELECT price FROM Trades WINDOW('length');"),
            (
                "one of two",
                "SELECT price FROM Trades WINDOW('timeLength', 5 SECONDS);",
            ),
            (
                "one twice",
                "SELECT price FROM Trades WINDOW('length', size = 5, size = 6);",
            ),
            (
                "one twice, by another name",
                "SELECT price FROM Trades WINDOW('length', 5, n = 6);",
            ),
            ("the size of a table function", "SELECT price FROM TUMBLE(Trades, ts);"),
            (
                "two windows",
                "SELECT price FROM Trades WINDOW('length', 5) WINDOW('time', 5 SECONDS);",
            ),
            (
                "a flag that is none",
                "SELECT price FROM Trades WINDOW('lengthBatch', 4, stream_current = 1);",
            ),
        ],
    );
}

#[test]
fn columns() {
    of(
        "windows_columns",
        &[
            (
                "a time column that is no time",
                "SELECT price FROM Trades WINDOW('externalTime', price, 5 SECONDS);",
            ),
            (
                "a time column, misspelled",
                "SELECT price FROM Trades WINDOW('externalTimeBatch', tz, 5 SECONDS);",
            ),
            (
                "a table function's time",
                "SELECT price FROM TUMBLE(Trades, symbol, 5 SECONDS);",
            ),
            (
                "the arguments the other way round",
                "SELECT price FROM Trades WINDOW('externalTime', 5 SECONDS, ts);",
            ),
            ("a key, misspelled", "SELECT price FROM Trades WINDOW('unique', symbl);"),
            (
                "a key, nothing near",
                "SELECT price FROM Trades WINDOW('unique', weather);",
            ),
            (
                "a key that is an expression",
                "SELECT price FROM Trades WINDOW('unique', upper(symbol));",
            ),
            (
                "the key of a session",
                "SELECT price FROM Trades WINDOW('session', 5 SECONDS, symbl);",
            ),
            (
                "what is sorted by",
                "SELECT price FROM Trades WINDOW('sort', 5, prise DESC);",
            ),
            ("nothing to sort by", "SELECT price FROM Trades WINDOW('sort', 5);"),
            (
                "bounds that a window has not",
                "SELECT window_start FROM Trades WINDOW('length', 5);",
            ),
        ],
    );
}

#[test]
fn conditions_and_schedules() {
    of(
        "windows_conditions",
        &[
            (
                "a condition that is a number",
                "SELECT price FROM Trades WINDOW('expression', 'sum(volume)');",
            ),
            (
                "a condition that is half",
                "SELECT price FROM Trades WINDOW('expressionBatch', 'sum(volume) <');",
            ),
            (
                "a column in a condition",
                "SELECT price FROM Trades WINDOW('expression', 'sum(volum) < 5');",
            ),
            (
                "an event in a condition",
                "SELECT price FROM Trades WINDOW('expression', 'middle.price < 5');",
            ),
            (
                "a condition without quotes",
                "SELECT price FROM Trades WINDOW('expression', price > 3);",
            ),
            (
                "a schedule out of range",
                "SELECT price FROM Trades WINDOW('cron', '61 * * * *');",
            ),
            (
                "a schedule of three fields",
                "SELECT price FROM Trades WINDOW('cron', '* * *');",
            ),
            (
                "a schedule that is a duration",
                "SELECT price FROM Trades WINDOW('cron', 5 SECONDS);",
            ),
            (
                "EXPIRED EVENTS without a window",
                "INSERT EXPIRED EVENTS INTO Out SELECT sum(price) AS s FROM Trades;",
            ),
            (
                "a rate of no events",
                "SELECT price FROM Trades OUTPUT LAST EVERY 0 EVENTS;",
            ),
            (
                "a rate of no time",
                "SELECT price FROM Trades OUTPUT ALL EVERY 0 SECONDS;",
            ),
        ],
    );
}
