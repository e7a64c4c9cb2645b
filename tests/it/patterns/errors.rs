//! What a pattern may not say, what it should rather not, and how EXPLAIN draws it: as people read it.

use std::fmt::Write;

use eventflux::EventFlux;
use eventflux::error::Colour;

use crate::diagnostics::{check, errors};

const STREAMS: &str = "CREATE STREAM E (k STRING, v INT);\nCREATE STREAM F (k STRING, v INT, w DOUBLE);\n";

fn app(query: &str) -> String {
    format!("{STREAMS}{query}\n")
}

#[test]
fn errors_point_at_their_place() {
    let cases = [
        (
            "an alias that there is not",
            "SELECT a.v FROM PATTERN (a=E -> b=E[v > aa.v]);",
        ),
        (
            "an alias that there is not, in SELECT",
            "SELECT c.v FROM PATTERN (a=E -> b=E);",
        ),
        (
            "an alias that comes later",
            "SELECT a.v FROM PATTERN (a=E[v > b.v]\n  -> b=F);",
        ),
        ("an alias used twice", "SELECT a.v FROM PATTERN (a=E -> b=E\n  -> a=F);"),
        (
            "an aggregate over a single event",
            "SELECT sum(a) AS s FROM PATTERN (a=E -> b=E);",
        ),
        (
            "an aggregate over no collection, in a condition",
            "SELECT a.v FROM PATTERN (a=E -> b=E[v > avg(a.v)]);",
        ),
        (
            "an index of a single event",
            "SELECT a[2].v AS x FROM PATTERN (a=E -> b=E);",
        ),
        ("an ambiguous column", "SELECT a.k, v FROM PATTERN (a=E -> b=F);"),
        ("never", "SELECT b.v FROM PATTERN (a=E<0> -> b=E);"),
        (
            "more at least than at most",
            "SELECT b.v FROM PATTERN (a=E<5:2> -> b=E);",
        ),
        ("too often", "SELECT b.v FROM PATTERN (a=E<5000000000> -> b=E);"),
        ("no event at all", "SELECT a.v FROM PATTERN (a=E* -> b=E?);"),
        (
            "an empty alternative",
            "SELECT a.v FROM PATTERN (a=E -> (b=E? OR c=F));",
        ),
        ("an empty round", "SELECT a.v FROM PATTERN (a=E -> (b=E? -> c=F*)<2>);"),
        ("EVERY without end", "SELECT a.v FROM PATTERN (a=E -> EVERY b=F*);"),
        (
            "EVERY that may decide an OR and go on",
            "SELECT a.v FROM PATTERN (a=E -> ((EVERY b=E<1:3>) OR c=F));",
        ),
        ("NOT before nothing", "SELECT a.v FROM PATTERN (a=E -> NOT F[v > 3]);"),
        ("NOT and NOT", "SELECT a.v FROM PATTERN (a=E -> (NOT F AND NOT E));"),
        (
            "NOT as an alternative",
            "SELECT a.v FROM PATTERN (a=E -> (NOT F OR b=E));",
        ),
        (
            "NOT for no time",
            "SELECT a.v FROM PATTERN (a=E -> NOT F FOR 0 SECONDS);",
        ),
        (
            "what stands after NOT",
            "SELECT n.v FROM PATTERN (a=E -> NOT n=F FOR 1 SECOND);",
        ),
        (
            "WITHIN no events",
            "SELECT a.v FROM PATTERN (EVERY a=E -> b=F) WITHIN 0 EVENTS;",
        ),
        (
            "an option",
            "SELECT a.v FROM PATTERN (EVERY a=E -> b=F) WITHIN 1 s WITH (max_instance = 5);",
        ),
        (
            "an option's value",
            "SELECT a.v FROM PATTERN (EVERY a=E -> b=F) WITHIN 1 s WITH (max_instances = 0);",
        ),
        (
            "another option's value",
            "SELECT a.v FROM PATTERN (EVERY a=E -> b=F) WITHIN 1 s WITH (overflow = 'explode');",
        ),
    ];
    let cases = cases.map(|(about, query)| (about, app(query)));
    check("patterns", &errors(&cases));
}

#[test]
fn what_grows_without_end_is_warned_of_at_its_place() {
    let cases = [
        ("attempts", "SELECT a.v FROM PATTERN (EVERY a=E -> b=F);"),
        (
            "in the middle",
            "SELECT a.v FROM PATTERN (a=E -> EVERY b=F -> c=E) PARTITION BY k;",
        ),
        ("in an AND", "SELECT a.v FROM PATTERN ((EVERY a=E) AND b=F);"),
        (
            "after a group in time",
            "SELECT a.v FROM PATTERN (((EVERY a=E -> b=F) WITHIN 1 s) -> c=F);",
        ),
        ("a collection", "SELECT b.v FROM PATTERN (a=E+ -> b=F);"),
        (
            "nothing: in time",
            "SELECT a.v FROM PATTERN (EVERY a=E -> b=F) WITHIN 1 MINUTE;",
        ),
        (
            "nothing: begins again when complete",
            "SELECT a.v FROM PATTERN (EVERY (a=E -> b=F));",
        ),
        ("nothing: once", "SELECT a.v FROM PATTERN (a=E -> b=F);"),
        ("nothing: a sequence", "SELECT a.v FROM SEQUENCE (EVERY a=E, b=F+);"),
    ];
    let mut text = String::new();
    for (about, query) in cases {
        let app = EventFlux::builder().name("app.sql").sql(app(query)).build().unwrap();
        let warnings = app.warnings().unwrap();
        let warnings: Vec<String> = warnings.iter().map(|warning| warning.render(Colour::Never)).collect();
        let _ = write!(text, "── {about}\n{}\n", warnings.join("\n"));
    }
    check("pattern_warnings", &text);
}

#[test]
fn explain_draws_the_automaton() {
    let cases = [
        "SELECT a.v FROM PATTERN (EVERY a=E[v > 5] -> b=F[k = a.k AND v > a.v AND w < 2.5]) WITHIN 10 SECONDS",
        "SELECT a.v FROM PATTERN (EVERY a=E -> b=F[lower(k) = lower(a.k)]) WITHIN 5 EVENTS PARTITION BY k",
        "SELECT count(a) AS n FROM PATTERN (EVERY a=E[a[last].v IS NULL OR v > a[last].v]<2:5> -> NOT F[k = a[0].k] FOR 2 MINUTES)",
        "SELECT a.v FROM PATTERN ((a=E AND b=F) -> (c=E OR EVERY d=F) -> (e=E -> f=F[w > avg(e.v)])<1:> WITHIN 500 ms)",
        "SELECT b.v FROM PATTERN (EVERY (NOT E[v > 3] AND b=F)) WITH (max_instances = 10, overflow = 'drop-newest')",
        "SELECT b.v FROM PATTERN (NOT E[v > 3] -> b=F) WITHIN 1 SECOND",
        "SELECT a.v FROM SEQUENCE (EVERY a=E, b=E[v > a.v]+, c=F?, (d=F<2>) WITHIN 3 EVENTS)",
    ];
    let mut text = String::new();
    for query in cases {
        let built = EventFlux::builder().sql(app(&format!("{query};"))).build().unwrap();
        let _ = write!(text, "── {query}\n{}\n", built.explain().unwrap());
    }
    check("pattern_explain", &text);
}
