//! What standard SQL is left, which relations are lifted, and where they stand.

use eventflux_sqlparser::{
    EmitKind, InsertMode, LineIndex, OutputEvents, OutputEvery, OutputKind, Query, RelationSource, StatementKind,
    WindowArgOrder, duration_micros, parse, parse_expr, relation_name,
};

fn query(text: &str) -> Query {
    let mut statements = parse(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    match statements.pop().map(|statement| statement.kind) {
        Some(StatementKind::Query(query)) => query,
        other => panic!("{text} is {other:?}"),
    }
}

/// Text → the SQL that is left, the text of each relation.
#[test]
fn relations_are_lifted() {
    let table: &[(&str, &str, &[&str])] = &[
        ("SELECT a FROM S", "SELECT a FROM S", &[]),
        ("SELECT a FROM S AS s, T t", "SELECT a FROM S AS s, T t", &[]),
        (
            "SELECT a FROM S WINDOW('length', 5)",
            "SELECT a FROM __relation_0 AS S",
            &["S WINDOW('length', 5)"],
        ),
        (
            "SELECT a FROM S s WINDOW LENGTH(5) WHERE a > 1",
            "SELECT a FROM __relation_0 AS s WHERE a > 1",
            &["S s WINDOW LENGTH(5)"],
        ),
        (
            "SELECT a FROM S WINDOW('length', 5) AS \"s x\"",
            "SELECT a FROM __relation_0 AS \"s x\"",
            &["S WINDOW('length', 5) AS \"s x\""],
        ),
        (
            "SELECT a FROM S[b > 1 AND c[0] = 2] UNIDIRECTIONAL JOIN T ON 1 = 1",
            "SELECT a FROM __relation_0 AS S JOIN T ON 1 = 1",
            &["S[b > 1 AND c[0] = 2] UNIDIRECTIONAL"],
        ),
        (
            "SELECT #S.a FROM #S JOIN !T ON #S.a = T.a",
            "SELECT #S.a FROM __relation_0 AS #S JOIN __relation_1 AS T ON #S.a = T.a",
            &["#S", "!T"],
        ),
        (
            "SELECT a FROM S WINDOW w AS (PARTITION BY k)",
            "SELECT a FROM S WINDOW w AS (PARTITION BY k)",
            &[],
        ),
        (
            "SELECT a FROM (SELECT b FROM S[x]) AS q",
            "SELECT a FROM (SELECT b FROM __relation_0 AS S) AS q",
            &["S[x]"],
        ),
        (
            "SELECT a FROM (SELECT b FROM S) AS q WINDOW('length', 1)",
            "SELECT a FROM __relation_0 AS q",
            &["(SELECT b FROM S) AS q WINDOW('length', 1)"],
        ),
        (
            "SELECT a FROM (A[x] JOIN B ON 1 = 1)",
            "SELECT a FROM (__relation_0 AS A JOIN B ON 1 = 1)",
            &["A[x]"],
        ),
        (
            "SELECT a FROM S WHERE a IN (SELECT b FROM T WINDOW('length', 2))",
            "SELECT a FROM S WHERE a IN (SELECT b FROM __relation_0 AS T)",
            &["T WINDOW('length', 2)"],
        ),
        (
            "WITH c AS (SELECT a FROM S[x]) SELECT a FROM c UNION ALL SELECT a FROM T[y]",
            "WITH c AS (SELECT a FROM __relation_0 AS S) SELECT a FROM c UNION ALL SELECT a FROM __relation_1 AS T",
            &["S[x]", "T[y]"],
        ),
        (
            "FROM S WHERE a > 1 SELECT a, b ORDER BY a",
            "SELECT a, b FROM S WHERE a > 1 ORDER BY a",
            &[],
        ),
        (
            "FROM S SELECT a UNION FROM T SELECT b",
            "SELECT a FROM S UNION SELECT b FROM T",
            &[],
        ),
        (
            "SELECT a FROM (FROM (FROM S SELECT a, b) SELECT a) q",
            "SELECT a FROM (SELECT a FROM (SELECT a, b FROM S)) q",
            &[],
        ),
        (
            "SELECT a FROM W.find(x > 1) w",
            "SELECT a FROM __relation_0 AS w",
            &["W.find(x > 1) w"],
        ),
        (
            "SELECT a FROM generate_series(1, 5) g, S[x]",
            "SELECT a FROM generate_series(1, 5) g, __relation_0 AS S",
            &["S[x]"],
        ),
        (
            "SELECT EXTRACT(YEAR FROM ts), a IS DISTINCT FROM b FROM S[x]",
            "SELECT EXTRACT(YEAR FROM ts), a IS DISTINCT FROM b FROM __relation_0 AS S",
            &["S[x]"],
        ),
        (
            "SELECT a FROM A JOIN B[x] USING (id), C[y]",
            "SELECT a FROM A JOIN __relation_0 AS B USING(id), __relation_1 AS C",
            &["B[x]", "C[y]"],
        ),
        (
            "SELECT e1.a FROM PATTERN (e1=A -> B) WITHIN 5 s PARTITION BY k WHERE x",
            "SELECT e1.a FROM __relation_0 WHERE x",
            &["PATTERN (e1=A -> B) WITHIN 5 s PARTITION BY k"],
        ),
        (
            "SELECT m.a FROM S MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS x) AS m",
            "SELECT m.a FROM __relation_0 AS m",
            &["S MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS x) AS m"],
        ),
        (
            "SELECT m.a FROM S AS s MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS x) m JOIN T ON 1 = 1",
            "SELECT m.a FROM __relation_0 AS m JOIN T ON 1 = 1",
            &["S AS s MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS x) m"],
        ),
        (
            "SELECT a FROM TUMBLE(S, ts, 5 s) JOIN T ON 1 = 1",
            "SELECT a FROM __relation_0 AS S JOIN T ON 1 = 1",
            &["TUMBLE(S, ts, 5 s)"],
        ),
        (
            "SELECT a FROM LATERAL (SELECT 1) x",
            "SELECT a FROM LATERAL (SELECT 1) x",
            &[],
        ),
    ];
    for (text, body, relations) in table {
        let query = query(text);
        assert_eq!(query.body.to_string(), *body, "{text}");
        let index = LineIndex::new(text);
        let found: Vec<&str> = query.relations.iter().map(|r| index.text(r.span)).collect();
        assert_eq!(found, *relations, "{text}");
        for (n, relation) in query.relations.iter().enumerate() {
            assert_eq!(query.relation(&relation_name(n)), Some(relation));
        }
        assert_eq!(query.relation("S"), None);
    }
}

/// Expression → how sqlparser sees it.
#[test]
fn durations_become_intervals() {
    let table: &[(&str, &str)] = &[
        ("5 MINUTES", "INTERVAL '5 minutes'"),
        ("5m", "INTERVAL '5 minutes'"),
        ("500ms", "INTERVAL '500 milliseconds'"),
        ("1 hour 30 min", "INTERVAL '1 hours 30 minutes'"),
        ("1.5 h", "INTERVAL '1.5 hours'"),
        ("ts - 5 s * 2", "ts - INTERVAL '5 seconds' * 2"),
        ("INTERVAL 5 ms", "INTERVAL '5 milliseconds'"),
        ("INTERVAL '5' MINUTE", "INTERVAL '5' MINUTE"),
        ("a[3] - b", "a[3] - b"),
        ("a == 1 AND b != 2", "a = 1 AND b <> 2"),
        ("5 AND m", "5 AND m"),
    ];
    for (text, expected) in table {
        match parse_expr(text) {
            Ok(expr) => assert_eq!(expr.to_string(), *expected, "{text}"),
            Err(error) => panic!("{error} in {text}"),
        }
    }
    let query = query("SELECT 1 m, 1 AS m, e[3] s FROM S");
    assert_eq!(
        query.body.to_string(),
        "SELECT INTERVAL '1 minutes', 1 AS m, e[3] AS s FROM S"
    );
}

#[test]
fn duration_lengths() {
    let table: &[(&str, Option<i64>)] = &[
        ("5 MINUTES", Some(300_000_000)),
        ("INTERVAL '5' MINUTE", Some(300_000_000)),
        ("INTERVAL '1 hour 30 minutes'", Some(5_400_000_000)),
        ("1 week - 1 day", Some(518_400_000_000)),
        ("(1 s + 500 ms)", Some(1_500_000)),
        ("-5 s", Some(-5_000_000)),
        ("100", Some(100_000)),
        ("'5 minutes'", None),
        ("5 * 2", None),
        ("ts", None),
        ("4.7", None),
        ("INTERVAL '1' YEAR", None),
        ("9223372036854775807 weeks", None),
    ];
    for (text, micros) in table {
        match parse_expr(text) {
            Ok(expr) => assert_eq!(duration_micros(&expr), *micros, "{text}"),
            Err(error) => panic!("{error} in {text}"),
        }
    }
}

#[test]
fn windows() {
    let query = query("SELECT a FROM S WINDOW('SORT', 2, a DESC, b, n = 5 s) AS x");
    let window = query.relations[0].window.as_ref().expect("a window");
    assert_eq!(window.kind, "sort");
    let args: Vec<(Option<&str>, String, Option<WindowArgOrder>)> = window
        .args
        .iter()
        .map(|arg| {
            (
                arg.name.as_ref().map(|n| n.value.as_str()),
                arg.value.to_string(),
                arg.order,
            )
        })
        .collect();
    assert_eq!(
        args,
        [
            (None, "2".to_string(), None),
            (None, "a".to_string(), Some(WindowArgOrder::Desc)),
            (None, "b".to_string(), None),
            (Some("n"), "INTERVAL '5 seconds'".to_string(), None),
        ]
    );
}

/// TVF → kind, named arguments, stream.
#[test]
fn table_functions_are_windows() {
    let table: &[(&str, &str, &str)] = &[
        ("TUMBLE(S, ts, 5 s)", "tumbling", "size=INTERVAL '5 seconds'"),
        (
            "TUMBLE(TABLE S, DESCRIPTOR(ts), 5 s, 1 s)",
            "tumbling",
            "size=INTERVAL '5 seconds' offset=INTERVAL '1 seconds'",
        ),
        (
            "TABLE(HOP(TABLE S, DESCRIPTOR(ts), 1 s, 5 s))",
            "hop",
            "slide=INTERVAL '1 seconds' size=INTERVAL '5 seconds'",
        ),
        (
            "CUMULATE(S, ts, 1 s, 5 s)",
            "cumulate",
            "step=INTERVAL '1 seconds' size=INTERVAL '5 seconds'",
        ),
        (
            "SESSION(DATA => TABLE S PARTITION BY k, TIMECOL => DESCRIPTOR(ts), GAP => 5 s)",
            "session",
            "GAP=INTERVAL '5 seconds' k",
        ),
    ];
    for (text, kind, args) in table {
        let query = query(&format!("SELECT a FROM {text}"));
        let relation = &query.relations[0];
        let window = relation.window.as_ref().expect("a window");
        assert_eq!(window.kind, *kind, "{text}");
        let found: Vec<String> = window
            .args
            .iter()
            .map(|arg| match &arg.name {
                Some(name) => format!("{name}={}", arg.value),
                None => arg.value.to_string(),
            })
            .collect();
        assert_eq!(found.join(" "), *args, "{text}");
        assert_eq!(
            relation.time_column.as_ref().map(ToString::to_string).as_deref(),
            Some("ts"),
            "{text}"
        );
        assert!(
            matches!(&relation.source, RelationSource::Stream { name, .. } if name.value == "S"),
            "{text}"
        );
    }
}

#[test]
fn clauses_around_the_query() {
    let query = query(
        "INSERT EXPIRED EVENTS INTO #X (a, b) SELECT a, b FROM S EMIT CHANGES OUTPUT LAST EVERY 5 EVENTS SINK (type = 'log', n = 5 s)",
    );
    let target = query.target.expect("a target");
    assert_eq!((target.name.value.as_str(), target.inner), ("X", true));
    assert_eq!(target.columns.len(), 2);
    assert_eq!(
        (target.events, target.mode),
        (OutputEvents::Expired, InsertMode::Insert)
    );
    assert_eq!(query.emit.map(|emit| emit.kind), Some(EmitKind::Changes));
    let output = query.output.expect("an output rate");
    assert_eq!((output.kind, output.every), (OutputKind::Last, OutputEvery::Events(5)));
    let sink = query.sink.expect("a sink");
    assert_eq!(sink.options.len(), 2);
    assert_eq!(sink.options[1].value.text, "5 seconds");
}

/// Clause words are names where nothing else fits.
#[test]
fn clause_words_as_names() {
    for text in [
        "SELECT emit, output, sink, pattern, sequence, window, offset, last, first, events FROM S",
        "SELECT pattern.a FROM pattern",
        "SELECT a FROM sequence WHERE sequence.a > 1",
        "SELECT sink(a) FROM S",
        "SELECT tumble FROM tumble",
        "CREATE STREAM watermark (index INT, watermark LONG, primary STRING, timestamp LONG, end INT)",
    ] {
        if let Err(error) = parse(text) {
            panic!("{error} in {text}");
        }
    }
}
