//! Late events of sessions: those that `allowed_lateness` waits for make the same sessions as if they had come in time.

use proptest::prelude::*;

use super::aggregates::{UNORDERED, select};
use super::closing::session;
use super::data::{DELAY, events, sizes};
use super::engine::{Question, Time, compare};
use super::oracle::Order;

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn late_events_join_and_bridge_them(events in events(true), sizes in sizes(), gap in 1_i64..2_500) {
        let mut questions = Vec::new();
        for calls in UNORDERED {
            let (engine, oracle) = select(calls, "o", "");
            let ask = |keys: &str, by: &str| {
                let columns = if keys.is_empty() { String::new() } else { format!("{keys}, ") };
                Question::new(
                    format!(
                        "SELECT CAST(window_start AS LONG) / 1000 AS ws, CAST(window_end AS LONG) / 1000 AS we, {columns}{engine} FROM L WINDOW('session', {gap} ms, allowed_lateness = {DELAY} ms) {by}"
                    ),
                    format!("SELECT ws, we, {columns}{oracle} FROM {} AS w GROUP BY {columns}ws, we", session(gap, keys, "e")),
                    Order::ByKey(3),
                )
            };
            questions.push(ask("k", "GROUP BY k"));
            questions.push(ask("", ""));
        }
        compare(&events, &sizes, Time::Late, &questions)?;
    }
}
