//! No text panics, overflows the stack or takes more than about linear time.

mod common;

use common::SAMPLES;
use eventflux_sqlparser::{ParseErrorKind, limits, parse, parse_expr};
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "INSERT",
    "INTO",
    "UPSERT",
    "UPDATE",
    "OR",
    "AND",
    "NOT",
    "DELETE",
    "USING",
    "SET",
    "ON",
    "CONFLICT",
    "DO",
    "CREATE",
    "DEFINE",
    "STREAM",
    "SOURCE",
    "TABLE",
    "VIEW",
    "WINDOW",
    "TRIGGER",
    "FUNCTION",
    "AGGREGATION",
    "AGGREGATE",
    "AT",
    "START",
    "EVERY",
    "CRON",
    "WITH",
    "MAP",
    "SINK",
    "AS",
    "PRIMARY",
    "KEY",
    "INDEX",
    "WATERMARK",
    "FOR",
    "NULL",
    "PARTITION",
    "OF",
    "BEGIN",
    "END",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "PATTERN",
    "SEQUENCE",
    "WITHIN",
    "AFTER",
    "EVENTS",
    "ALL",
    "CURRENT",
    "EXPIRED",
    "OUTPUT",
    "FIRST",
    "LAST",
    "SNAPSHOT",
    "EMIT",
    "CHANGES",
    "FINAL",
    "RUNNING",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "UNIDIRECTIONAL",
    "MATCH_RECOGNIZE",
    "MEASURES",
    "ONE",
    "ROW",
    "ROWS",
    "PER",
    "MATCH",
    "SKIP",
    "TO",
    "NEXT",
    "PAST",
    "SUBSET",
    "PERMUTE",
    "TUMBLE",
    "HOP",
    "DESCRIPTOR",
    "INTERVAL",
    "UNION",
    "EXCEPT",
    "VALUES",
    "IN",
    "BETWEEN",
    "IS",
    "DISTINCT",
    "EXISTS",
    "CAST",
    "ARRAY",
    "STRUCT",
    "INT",
    "STRING",
    "EXPLAIN",
    "LATERAL",
    "UNNEST",
    "OVER",
    "FILTER",
    "MINUTES",
    "s",
    "ms",
    "SECONDS",
    "a",
    "b",
    "S",
    "T",
    "find",
    "e1",
    "#x",
    "\"q\"",
    "`q`",
    "'str'",
    "1",
    "2.5",
    "1e3",
    "5L",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "{-",
    "-}",
    "<",
    ">",
    ">>",
    "<2:5>",
    "=",
    "==",
    "=>",
    "!=",
    "!",
    "+",
    "-",
    "*",
    "/",
    "%",
    "->",
    "->>",
    "|",
    "||",
    "&",
    "^",
    "$",
    "?",
    ".",
    ",",
    ";",
    ":",
    "::",
    "@",
    "\\",
    "é",
    "…",
    "--",
    "/*",
    "*/",
    "\n",
];

/// What leads sqlparser, or us, one level down.
const OPENERS: &[&str] = &[
    "(",
    "f(",
    "CAST(",
    "CASE WHEN ",
    "CASE ",
    "EXISTS (SELECT ",
    "(SELECT ",
    "(SELECT a FROM ",
    "a IN (",
    "a IN (SELECT ",
    "ARRAY[",
    "[",
    "a[",
    "STRUCT(",
    "NOT ",
    "- ",
    "INTERVAL (",
    "EXTRACT(YEAR FROM ",
    "TRIM(",
    "POSITION(a IN ",
    "f(a := ",
    "MAP {'a': (",
    "a AND ",
    "a + ",
    "a BETWEEN ",
    "count(*) FILTER (WHERE ",
    "sum(a) OVER (PARTITION BY ",
    "SUBSTRING(",
    "a IN (SELECT a FROM S[",
    "(SELECT a FROM S WINDOW('x', ",
    "(SELECT a FROM PATTERN (A[",
    "CONVERT(",
    "(a, ",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(WORDS), any::<bool>()), 0..60).prop_map(|words| {
        words
            .into_iter()
            .map(|(word, glued)| if glued { word.to_string() } else { format!("{word} ") })
            .collect()
    })
}

/// Whitespace-separated pieces of a valid app, some dropped, doubled or replaced, the rest cut off.
fn mutated() -> impl Strategy<Value = String> {
    let edits = prop::collection::vec(
        (any::<prop::sample::Index>(), 0..4_u8, prop::sample::select(WORDS)),
        0..6,
    );
    (
        prop::sample::select(SAMPLES),
        edits,
        prop::option::of(any::<prop::sample::Index>()),
    )
        .prop_map(|(sample, edits, cut)| {
            let mut pieces: Vec<String> = split(sample);
            for (at, what, word) in edits {
                if pieces.is_empty() {
                    break;
                }
                let at = at.index(pieces.len());
                match what {
                    0 => drop(pieces.remove(at)),
                    1 => pieces.insert(at, pieces[at].clone()),
                    2 => pieces[at] = word.to_string(),
                    _ => pieces.insert(at, format!(" {word} ")),
                }
            }
            let text = pieces.concat();
            match cut {
                Some(cut) => text.chars().take(cut.index(text.len() + 1)).collect(),
                None => text,
            }
        })
}

/// Runs of letters and digits, and everything else one by one.
fn split(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut in_word = false;
    for ch in text.chars() {
        let word = ch.is_alphanumeric() || ch == '_';
        match pieces.last_mut() {
            Some(last) if word && in_word => last.push(ch),
            _ => pieces.push(ch.to_string()),
        }
        in_word = word;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        let _ = parse(&text);
        let _ = parse_expr(&text);
    }

    #[test]
    fn token_soup(text in soup()) {
        let _ = parse(&text);
        let _ = parse_expr(&text);
    }

    #[test]
    fn soup_in_places(text in soup(), place in 0..8_usize) {
        let places = [
            ("SELECT a FROM ", ""),
            ("SELECT ", " FROM S"),
            ("SELECT a FROM S WINDOW(", ")"),
            ("SELECT a FROM PATTERN (", ")"),
            ("SELECT a FROM S MATCH_RECOGNIZE (PATTERN (", ") DEFINE A AS true)"),
            ("CREATE STREAM S (", ")"),
            ("CREATE STREAM S (a INT) WITH (", ")"),
            ("PARTITION WITH (a OF S) BEGIN ", " END;"),
        ];
        let (before, after) = places[place];
        let _ = parse(&format!("{before}{text}{after}"));
    }

    #[test]
    fn deep_nests(openers in prop::collection::vec(prop::sample::select(OPENERS), 1..70), types in 0..20_usize) {
        let mut text = String::from("SELECT ");
        text.extend(openers.iter().copied());
        text.push_str("CAST(a AS ");
        text.push_str(&"ARRAY<".repeat(types));
        text.push_str("INT");
        text.push_str(&">".repeat(types));
        text.push(')');
        let closers: String = openers
            .iter()
            .rev()
            .map(|opener| match opener {
                o if o.contains('[') => "]",
                o if o.starts_with("CASE") => " END",
                o if o.contains('(') => ")",
                _ => "",
            })
            .collect();
        let _ = parse(&text);
        let _ = parse(&(text + &closers));
    }

    #[test]
    fn mutated_apps(text in mutated()) {
        let _ = parse(&text);
    }
}

/// What is beyond a limit is refused as such, and at once.
#[test]
fn limits_are_errors() {
    let table: &[(&str, String)] = &[
        ("AND", format!("SELECT 1 WHERE a{}", " AND a".repeat(100_000))),
        ("plus", format!("SELECT a{}", " + a".repeat(100_000))),
        ("unary", format!("SELECT {}a", "- ".repeat(100_000))),
        ("not", format!("SELECT {}a", "NOT ".repeat(100_000))),
        ("casts", format!("SELECT a{}", "::INT".repeat(100_000))),
        (
            "brackets",
            format!("SELECT {}a{}", "(".repeat(100_000), ")".repeat(100_000)),
        ),
        ("unions", format!("SELECT 1{}", " UNION SELECT 1".repeat(100_000))),
        (
            "subqueries",
            format!("SELECT * FROM {}S{}", "(SELECT * FROM ".repeat(60), ")".repeat(60)),
        ),
        (
            "types",
            format!("SELECT CAST(a AS {}INT{})", "ARRAY<".repeat(10_000), ">".repeat(10_000)),
        ),
        (
            "column types",
            format!(
                "CREATE STREAM S (a {}INT{})",
                "STRUCT<a ".repeat(10_000),
                ">".repeat(10_000)
            ),
        ),
        ("dots", format!("SELECT a{}", ".a".repeat(10_000))),
        (
            "groups",
            format!("SELECT 1 FROM PATTERN ({}A{})", "(".repeat(10_000), ")".repeat(10_000)),
        ),
        (
            "rows",
            format!(
                "SELECT 1 FROM S MATCH_RECOGNIZE (PATTERN ({}A{}))",
                "(".repeat(10_000),
                ")".repeat(10_000)
            ),
        ),
        (
            "cases",
            format!(
                "SELECT {}1{}",
                "CASE WHEN a THEN ".repeat(10_000),
                " END".repeat(10_000)
            ),
        ),
        (
            "long sums",
            format!(
                "SELECT {}",
                "(a + ".repeat(60) + &"b + ".repeat(600) + "c" + &")".repeat(60)
            ),
        ),
    ];
    for (name, text) in table {
        let error = parse(text).expect_err(name);
        assert_eq!(error.kind, ParseErrorKind::Limit, "{name}: {error}");
    }
}

/// No word, however often it is repeated, leads sqlparser down without end.
#[test]
fn repeated_words() {
    for word in sqlparser::keywords::ALL_KEYWORDS {
        for text in [
            format!("SELECT {}", format!("{word} ").repeat(400)),
            format!("SELECT a FROM {}", format!("{word} ").repeat(400)),
            format!("SELECT {}", format!("{word} (").repeat(60) + &")".repeat(60)),
            format!("SELECT CAST(a AS {}", format!("{word}<").repeat(100)),
            format!("SELECT {}", format!("{word} a ").repeat(200)),
        ] {
            let _ = parse(&text);
        }
    }
}

/// What would make sqlparser try every reading of every level ends early.
#[test]
fn backtracking_is_bounded() {
    let table: &[(&str, String)] = &[
        ("casts", "SELECT ".to_string() + &"CAST(".repeat(45)),
        (
            "closed casts",
            format!("SELECT {}1{}", "CAST(".repeat(45), " x)".repeat(45)),
        ),
        (
            "converts",
            format!("SELECT {}1{}", "CONVERT(".repeat(45), ", !)".repeat(45)),
        ),
        (
            "extracts",
            format!("SELECT {}1{}", "EXTRACT(YEAR FROM ".repeat(45), " !)".repeat(45)),
        ),
        ("cases", format!("SELECT {}", "CASE WHEN ".repeat(40))),
        ("names", format!("SELECT {}(", "a.".repeat(9))),
        (
            "positions",
            format!("SELECT {}1{}", "POSITION(1 IN ".repeat(45), " !)".repeat(45)),
        ),
        (
            "joins",
            format!("SELECT * FROM {}S !{}", "(".repeat(40), ")".repeat(40)),
        ),
        ("in", format!("SELECT {}1 !{}", "1 IN (".repeat(40), ")".repeat(40))),
        ("not", format!("SELECT {}!", "NOT ".repeat(40))),
        ("named", format!("SELECT {}!{}", "f(a := ".repeat(40), ")".repeat(40))),
        ("mixed", format!("SELECT {}!", "CASE CAST(TRIM(f(a := ".repeat(10))),
        ("arrays", format!("SELECT {}!{}", "ARRAY[".repeat(40), "]".repeat(40))),
        ("structs", format!("SELECT {}!{}", "STRUCT(".repeat(40), ")".repeat(40))),
        (
            "exists",
            format!("SELECT {}!{}", "EXISTS(SELECT ".repeat(20), ")".repeat(20)),
        ),
    ];
    for (name, text) in table {
        let start = std::time::Instant::now();
        assert!(parse(text).is_err(), "{name}");
        assert!(start.elapsed().as_secs() < 10, "{name} took {:?}", start.elapsed());
    }
}

/// What is within the limits is read, and freed.
#[test]
fn large_apps_are_read() {
    let conditions = vec!["a = 1"; limits::MAX_OPERATORS - 2].join(" OR ");
    assert!(parse(&format!("SELECT a FROM S WHERE {conditions}")).is_ok());
    let values = vec!["1"; 50_000].join(", ");
    assert!(parse(&format!("SELECT a FROM S WHERE a IN ({values})")).is_ok());
    let columns: Vec<String> = (0..2_000).map(|n| format!("c{n} INT")).collect();
    assert!(parse(&format!("CREATE STREAM S ({})", columns.join(", "))).is_ok());
    let steps = vec!["e=S[a > 1]"; 2_000].join(" -> ");
    assert!(parse(&format!("SELECT 1 FROM PATTERN ({steps})")).is_ok());
}

/// Ten times the text takes about ten times as long. The bound is generous: quadratic would be a hundred.
#[test]
fn time_is_linear() {
    let shapes: &[(&str, &str, &str)] = &[
        ("", "SELECT a FROM S WINDOW('length', 5) WHERE b > 1;\n", ""),
        ("", "CREATE STREAM S (a INT, b ARRAY<INT>) WITH (x = 'y');\n", ""),
        ("SELECT ", "f(a, b[0].c) AS d, ", "1 FROM S"),
        ("SELECT 1 FROM PATTERN (", "e=S[a > b.c] -> ", "A)"),
        ("SELECT 1 FROM A", ", S WINDOW('time', 5 s) AS t", ""),
        ("PARTITION WITH (a OF S) BEGIN ", "SELECT a FROM S; ", "END;"),
        ("FROM S SELECT ", "a, ", "1"),
        ("SELECT a FROM S WHERE a IN (", "1, ", "1)"),
    ];
    for (before, piece, after) in shapes {
        let time = |n: usize| {
            let text = format!("{before}{}{after}", piece.repeat(n));
            (0..3)
                .map(|_| {
                    let start = std::time::Instant::now();
                    if let Err(error) = parse(&text) {
                        panic!("{error} in {before}{piece}");
                    }
                    start.elapsed()
                })
                .min()
                .unwrap_or_default()
        };
        let (small, large) = (time(400), time(4_000));
        assert!(large < small * 40, "{before}{piece}: {small:?} then {large:?}");
    }
}
