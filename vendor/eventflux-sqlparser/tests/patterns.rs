//! Patterns and row patterns, written back fully bracketed.

use eventflux_sqlparser::{
    AfterMatchSkip, MatchRecognize, Pattern, PatternElement, PatternNode, PatternNodeKind, RelationSource, RowPattern,
    RowPatternKind, RowsPerMatch, StatementKind, Within, WithinKind, parse,
};

fn source(text: &str) -> RelationSource {
    let statements = parse(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    match statements.into_iter().next().map(|statement| statement.kind) {
        Some(StatementKind::Query(query)) => query.relations.into_iter().next().expect("a relation").source,
        other => panic!("{text} is {other:?}"),
    }
}

fn pattern(text: &str) -> Pattern {
    match source(&format!("SELECT * FROM {text}")) {
        RelationSource::Pattern(pattern) => *pattern,
        other => panic!("{text} is {other:?}"),
    }
}

fn rows(clauses: &str) -> MatchRecognize {
    match source(&format!("SELECT * FROM S MATCH_RECOGNIZE ({clauses} DEFINE A AS true)")) {
        RelationSource::MatchRecognize { clause, .. } => *clause,
        other => panic!("{clauses} is {other:?}"),
    }
}

fn within(within: &Option<Within>) -> String {
    match within.as_ref().map(|w| &w.kind) {
        None => String::new(),
        Some(WithinKind::Time(time)) => format!(" within {time}"),
        Some(WithinKind::Events(n)) => format!(" within {n} events"),
    }
}

fn element(e: &PatternElement) -> String {
    let alias = e.alias.as_ref().map(|a| format!("{a}=")).unwrap_or_default();
    let mark = if e.inner {
        "#"
    } else if e.fault {
        "!"
    } else {
        ""
    };
    let condition = e.condition.as_ref().map(|c| format!("[{c}]")).unwrap_or_default();
    format!("{alias}{mark}{}{condition}", e.stream)
}

fn show(node: &PatternNode) -> String {
    let list = |nodes: &[PatternNode], by: &str| format!("({})", nodes.iter().map(show).collect::<Vec<_>>().join(by));
    let inner = match &node.kind {
        PatternNodeKind::Chain(nodes) => list(nodes, " -> "),
        PatternNodeKind::And(nodes) => list(nodes, " & "),
        PatternNodeKind::Or(nodes) => list(nodes, " | "),
        PatternNodeKind::Group(inner) => format!("G{{{}}}", show(inner)),
        PatternNodeKind::Element(e) => element(e),
        PatternNodeKind::Absent {
            element: e,
            duration: None,
        } => format!("~{}", element(e)),
        PatternNodeKind::Absent {
            element: e,
            duration: Some(t),
        } => format!("~{} for {t}", element(e)),
    };
    let every = if node.every { "every " } else { "" };
    let quantifier = node
        .quantifier
        .map(|q| format!("<{}:{}>", q.min, q.max.map(|m| m.to_string()).unwrap_or_default()))
        .unwrap_or_default();
    format!("{every}{inner}{quantifier}{}", within(&node.within))
}

#[test]
fn pattern_trees() {
    let table: &[(&str, &str)] = &[
        ("PATTERN (A)", "A"),
        ("PATTERN (EVERY e1=A[x > 1] -> e2=B)", "(every e1=A[x > 1] -> e2=B)"),
        ("PATTERN (EVERY (A -> B) -> C)", "(every G{(A -> B)} -> C)"),
        ("PATTERN (A AND B OR C AND D -> E)", "(((A & B) | (C & D)) -> E)"),
        ("PATTERN (EVERY A AND B)", "every (A & B)"),
        (
            "PATTERN (A -> NOT B FOR 1 s -> C)",
            "(A -> ~B for INTERVAL '1 seconds' -> C)",
        ),
        (
            "PATTERN (NOT A FOR 1 s AFTER b=B[x])",
            "G{(b=B[x] -> ~A for INTERVAL '1 seconds')}",
        ),
        ("PATTERN (NOT A AND b=B)", "(~A & b=B)"),
        (
            "PATTERN (EVERY ((NOT A[x] FOR 1 s) OR b=B) -> C)",
            "(every G{(G{~A[x] for INTERVAL '1 seconds'} | b=B)} -> C)",
        ),
        (
            "PATTERN (A<2:5>[x] -> B[y]<2:> -> C<:3> -> D<4> -> E{1} -> F{1,2} -> G{3,} -> H+ -> I* -> J?)",
            "(A[x]<2:5> -> B[y]<2:> -> C<0:3> -> D<4:4> -> E<1:1> -> F<1:2> -> G<3:> -> H<1:> -> I<0:> -> J<0:1>)",
        ),
        ("PATTERN (A[x]<2> AS a -> B AS b)", "(a=A[x]<2:2> -> b=B)"),
        ("PATTERN ((A -> B WITHIN 5 s)<2> WITHIN 1 m -> C)", ""),
        (
            "PATTERN ((A -> B)<2> WITHIN 5 EVENTS -> C)",
            "(G{(A -> B)}<2:2> within 5 events -> C)",
        ),
        ("SEQUENCE (EVERY e1=#A, !B -> C)", "(every e1=#A -> !B -> C)"),
        (
            "PATTERN (e1=A -> B[x > e1[last].p AND y = e1[0].p])",
            "(e1=A -> B[x > e1[last].p AND y = e1[0].p])",
        ),
    ];
    for (text, expected) in table {
        if expected.is_empty() {
            assert!(parse(&format!("SELECT * FROM {text}")).is_err(), "{text}");
        } else {
            assert_eq!(show(&pattern(text).root), *expected, "{text}");
        }
    }
}

#[test]
fn within_inside_and_outside() {
    for text in [
        "PATTERN (A -> B WITHIN 5 s)",
        "PATTERN (A -> B) WITHIN 5 s",
        "PATTERN (A -> B) WITHIN 5 s PARTITION BY k, a.l",
    ] {
        assert_eq!(within(&pattern(text).within), " within INTERVAL '5 seconds'", "{text}");
    }
    let keys: Vec<String> = pattern("SEQUENCE (A, B) PARTITION BY k, a.l")
        .partition_by
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(keys, ["k", "a.l"]);
}

fn show_rows(pattern: &RowPattern) -> String {
    let list =
        |parts: &[RowPattern], by: &str| format!("({})", parts.iter().map(show_rows).collect::<Vec<_>>().join(by));
    let inner = match &pattern.kind {
        RowPatternKind::Variable(name) => name.to_string(),
        RowPatternKind::Concat(parts) => list(parts, " "),
        RowPatternKind::Alternation(parts) => list(parts, " | "),
        RowPatternKind::Group(inner) => format!("G{}", show_rows(inner)),
        RowPatternKind::Permute(parts) => format!("P{}", list(parts, ", ")),
        RowPatternKind::Exclude(inner) => format!("X{{{}}}", show_rows(inner)),
        RowPatternKind::Empty => "()".to_string(),
        RowPatternKind::Start => "^".to_string(),
        RowPatternKind::End => "$".to_string(),
    };
    let quantifier = pattern
        .quantifier
        .map(|q| {
            let max = q.max.map(|m| m.to_string()).unwrap_or_default();
            format!("<{}:{max}>{}", q.min, if q.reluctant { "?" } else { "" })
        })
        .unwrap_or_default();
    format!("{inner}{quantifier}")
}

#[test]
fn row_pattern_trees() {
    let table: &[(&str, &str)] = &[
        ("A", "A"),
        ("A B | C", "((A B) | C)"),
        ("(A | B)* C+?", "(G(A | B)<0:> C<1:>?)"),
        (
            "A?? B*? C{2} D{2,}? E{,3} F{1,2}",
            "(A<0:1>? B<0:>? C<2:2> D<2:>? E<0:3> F<1:2>)",
        ),
        ("^A$", "(^ A $)"),
        ("^* A $?", "(^<0:> A $<0:1>)"),
        ("()* | B", "(()<0:> | B)"),
        ("A {- B {- C -} -}+ D", "(A X{(B X{C})}<1:> D)"),
        (
            "PERMUTE(A, B C, D+) LAST \"x y\" permute",
            "(P(A, (B C), D<1:>) LAST \"x y\" permute)",
        ),
        ("", "()"),
    ];
    for (text, expected) in table {
        assert_eq!(
            show_rows(&rows(&format!("PATTERN ({text})")).pattern),
            *expected,
            "{text}"
        );
    }
}

#[test]
fn match_recognize_clauses() {
    let defaults = rows("PATTERN (A)");
    assert_eq!(
        (defaults.rows, defaults.after_match),
        (RowsPerMatch::One, AfterMatchSkip::PastLastRow)
    );
    let full = rows(
        "PARTITION BY k ORDER BY ts, id DESC MEASURES FINAL LAST(A.x) - RUNNING FIRST(y, 2) AS m, a + 1 AS match
         ALL ROWS PER MATCH WITH UNMATCHED ROWS AFTER MATCH SKIP TO FIRST B PATTERN (A B) WITHIN 5 s SUBSET U = (A, B)",
    );
    assert_eq!(
        full.measures[0].expr.to_string(),
        "__final(LAST(A.x)) - __running(FIRST(y, 2))"
    );
    assert_eq!(full.measures[1].alias.value, "match");
    assert_eq!(full.rows, RowsPerMatch::AllWithUnmatched);
    assert!(matches!(full.after_match, AfterMatchSkip::ToFirst(v) if v.value == "B"));
    assert_eq!(
        (
            full.partition_by.len(),
            full.order_by.len(),
            full.subsets.len(),
            full.defines.len()
        ),
        (1, 2, 1, 1)
    );
    let skips: &[(&str, &str)] = &[("LAST", "LAST"), ("LAST B", "B"), ("B", "B"), ("FIRST", "FIRST")];
    for (text, variable) in skips {
        let clause = rows(&format!("AFTER MATCH SKIP TO {text} PATTERN (A)"));
        assert!(
            matches!(clause.after_match, AfterMatchSkip::ToLast(v) if v.value == *variable),
            "{text}"
        );
    }
}
