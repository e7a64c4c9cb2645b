//! Windows that slide, and none: the row after each event, with every aggregate.

use proptest::prelude::*;

use super::aggregates::{ANY_ORDER, FAMILIES, select};
use super::data::{events, sizes};
use super::engine::{Question, Time, compare};
use super::oracle::Order;

/// What a window holds after event `b`: the table of events `a`, and which of them.
struct Content {
    /// The window, over S.
    window: String,
    /// A table of events, `e` or what computes more of them.
    table: String,
    /// On `a` and `b`, besides that `a` came no later.
    holds: String,
    /// Which events give a row, of `b`.
    rows: &'static str,
}

/// What holds of `a` at `b`, over the events in their order.
fn content(window: impl Into<String>, holds: impl Into<String>) -> Content {
    Content {
        window: window.into(),
        table: "e".into(),
        holds: holds.into(),
        rows: "true",
    }
}

/// The events with the number of the next of their key, so that one knows until when each is the latest.
const LATEST: &str = "(SELECT *, lead(o) OVER (PARTITION BY k ORDER BY o) AS next, row_number() OVER (PARTITION BY k ORDER BY o) AS nth FROM e)";

/// Pairs of events and later ones, with how many of those before are in front of `a` at `b`.
fn ranked(table: &str, holds: &str, order: &str) -> String {
    format!(
        "(SELECT a.*, b.o AS at, row_number() OVER (PARTITION BY b.o ORDER BY {order}) AS place FROM {table} AS a JOIN e AS b ON a.o <= b.o AND {holds})"
    )
}

fn contents(size: usize) -> Vec<Content> {
    let latest = "(a.next IS NULL OR a.next > b.o)";
    vec![
        content(format!("S WINDOW('length', {size})"), format!("a.o > b.o - {size}")),
        content("S WINDOW('time', 2 SECONDS)", "a.t + 2000 > b.t"),
        content("S WINDOW('sliding', size = 700 ms)", "a.t + 700 > b.t"),
        content(
            format!("S WINDOW('timeLength', 2 SECONDS, {size})"),
            format!("a.t + 2000 > b.t AND a.o > b.o - {size}"),
        ),
        content("S WINDOW('externalTime', t, 1500 ms)", "a.t + 1500 > b.t"),
        content(
            format!("S WINDOW('expression', 'count(*) <= {size}')"),
            format!("a.o > b.o - {size}"),
        ),
        content("S WINDOW('expression', 'last.t - first.t < 1000')", "a.t + 1000 > b.t"),
        content("S WINDOW('delay', 2 SECONDS)", "true"),
        Content {
            table: LATEST.into(),
            ..content("S WINDOW('unique', k)", latest)
        },
        Content {
            table: LATEST.into(),
            rows: "b.nth = 1",
            ..content("S WINDOW('firstUnique', k)", "a.nth = 1")
        },
        Content {
            table: ranked(LATEST, latest, "a.o DESC"),
            ..content(
                format!("S WINDOW('uniqueLength', k, {size})"),
                format!("a.at = b.o AND a.place <= {size}"),
            )
        },
        Content {
            table: ranked("e", "true", "a.v NULLS LAST, a.o"),
            // What is too large itself leaves after its own row.
            ..content(
                format!("S WINDOW('sort', {size}, v)"),
                format!("a.at = b.o AND (a.place <= {size} OR a.o = b.o)"),
            )
        },
    ]
}

/// For each family of calls one question: by turns by one key, by none, and by two with HAVING.
fn questions(content: &Content, turn: usize) -> Vec<Question> {
    let Content {
        window,
        table,
        holds,
        rows,
    } = content;
    let mut questions = Vec::new();
    let in_order = table == "e" || *rows == "b.nth = 1";
    let families = if in_order { FAMILIES } else { ANY_ORDER };
    for (family, calls) in families.iter().enumerate() {
        let (engine, oracle) = select(calls, "o", "a");
        let ask = |keys: &[&str], having: &str| {
            let columns: String = keys.iter().map(|key| format!("{key}, ")).collect();
            let by = if keys.is_empty() {
                String::new()
            } else {
                format!("GROUP BY {}", keys.join(", "))
            };
            let selected: String = keys.iter().map(|key| format!("b.{key}, ")).collect();
            let grouped: String = keys.iter().map(|key| format!(", b.{key}")).collect();
            let same: String = keys
                .iter()
                .map(|key| format!(" AND (a.{key} IS NOT DISTINCT FROM b.{key})"))
                .collect();
            let now = if *table == LATEST { LATEST } else { "e" };
            Question::new(
                format!("SELECT {columns}{engine} FROM {window} {by} {having}"),
                format!(
                    "SELECT {selected}{oracle} FROM {now} AS b JOIN {table} AS a ON a.o <= b.o AND {holds}{same} WHERE {rows} GROUP BY b.o{grouped} {having} ORDER BY b.o"
                ),
                Order::Exact,
            )
        };
        questions.push(match (turn + family) % 3 {
            0 => ask(&["k"], ""),
            1 => ask(&[], ""),
            _ => ask(&["k", "g"], "HAVING count(*) > 1"),
        });
    }
    questions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_each_event(events in events(true), sizes in sizes(), size in 1_usize..12, turn in 0_usize..3) {
        let contents = contents(size);
        let contents = contents.iter().enumerate();
        let questions: Vec<Question> = contents.flat_map(|(number, content)| questions(content, turn + number)).collect();
        compare(&events, &sizes, Time::Event, &questions)?;
    }

    #[test]
    fn without_a_window(events in events(true), sizes in sizes()) {
        let mut questions = Vec::new();
        for calls in FAMILIES {
            // Without a window events are aggregated as they come.
            let (engine, oracle) = select(calls, "i", "a");
            let ask = |columns: &str, by: &str, same: &str, grouped: &str, having: &str| Question::new(
                format!("SELECT {columns}{engine} FROM S {by} {having}"),
                format!("SELECT {}{oracle} FROM arrived AS b JOIN arrived AS a ON a.i <= b.i{same} GROUP BY b.i{grouped} {having} ORDER BY b.i", columns.replace("k,", "b.k,")),
                Order::Exact,
            );
            questions.push(ask("", "", "", "", ""));
            questions.push(ask("k, ", "GROUP BY k", " AND (a.k IS NOT DISTINCT FROM b.k)", ", b.k", "HAVING count(*) > 2"));
        }
        compare(&events, &sizes, Time::Event, &questions)?;
    }
}
