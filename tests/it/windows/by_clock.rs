//! Windows by the clock: each event comes when the clock shows its time, timers fire between them.

use proptest::prelude::*;

use super::closing::{BOUNDS, cumulate, hop, periods, session};
use super::data::events;
use super::engine::{Question, Time, compare};
use super::oracle::Order;

const CALLS: &str = "count(*) AS n, count(v) AS c, sum(v) AS s, min(d) AS l, max(s) AS h, avg(d) AS a, median(v) AS m";

/// Windows that close, with the table of their events.
fn closing() -> Vec<(&'static str, String)> {
    vec![
        ("P WINDOW('tumbling', 5 SECONDS)", hop(5_000, 5_000, 0)),
        ("P WINDOW('hop', 6 SECONDS, 2 SECONDS)", hop(6_000, 2_000, 0)),
        ("P WINDOW('cumulate', 1 SECOND, 4 SECONDS)", cumulate(1_000, 4_000, 0)),
        ("P WINDOW('timeBatch', 3 SECONDS)", periods(3_000, None)),
        ("P WINDOW('timeBatch', 3 SECONDS, 500)", periods(3_000, Some(500))),
        ("P WINDOW('session', 700 ms)", session(700, "k", "e")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_close_and_events_leave_in_time(events in events(false), size in 1_usize..10) {
        let mut questions = Vec::new();
        for (window, table) in closing() {
            questions.push(Question::new(
                format!("SELECT {BOUNDS}, k, {CALLS} FROM {window} GROUP BY k"),
                format!("SELECT ws, we, k, {CALLS} FROM {table} AS w GROUP BY ws, we, k"),
                Order::ByKey(3),
            ));
        }
        questions.push(Question::new(
            format!("SELECT k, {CALLS} FROM P WINDOW('cron', '*/5 * * * * ?') GROUP BY k"),
            format!("SELECT k, {CALLS} FROM (SELECT *, t / 5000 AS period FROM e) AS w GROUP BY period, k ORDER BY period, min(o)"),
            Order::Exact,
        ));
        let of_a = CALLS.replace("(v)", "(a.v)").replace("(d)", "(a.d)").replace("(s)", "(a.s)");
        for (window, holds) in [
            ("'time', 2 SECONDS".to_string(), "a.t + 2000 > b.t".to_string()),
            (format!("'timeLength', 2 SECONDS, {size}"), format!("a.t + 2000 > b.t AND a.o > b.o - {size}")),
            ("'delay', 1 SECOND".to_string(), "true".to_string()),
        ] {
            questions.push(Question::new(
                format!("SELECT k, {CALLS} FROM P WINDOW({window}) GROUP BY k"),
                format!("SELECT b.k, {of_a} FROM e AS b JOIN e AS a ON a.o <= b.o AND {holds} AND (a.k IS NOT DISTINCT FROM b.k) GROUP BY b.o, b.k ORDER BY b.o"),
                Order::Exact,
            ));
        }
        questions.push(
            Question::new(
                "SELECT i FROM P WINDOW('time', 2 SECONDS)",
                "SELECT i FROM (SELECT i, o, t, 1 AS turn FROM e UNION ALL SELECT i, o, t + 2000, 0 FROM e WHERE t + 2000 <= (SELECT max(t) FROM e)) AS w ORDER BY t, turn, o",
                Order::Exact,
            )
            .events("ALL EVENTS"),
        );
        compare(&events, &[], Time::Clock, &questions)?;
    }
}
