//! Patterns over random events equal what a slow reading of their definition finds.
//!
//! The patterns are trees of any form ([`tree`]): counts (also from 0), EVERY anywhere, AND, OR and NOT with and without FOR,
//! repeated groups, WITHIN in time and in events, of the whole and of groups, conditions over earlier events with indexes and
//! aggregates, PARTITION BY, PATTERN and SEQUENCE. What they should find says [`oracle`], which shares nothing with the engine.
//!
//! `EVENTFLUX_PATTERN_CASES=200000 cargo test --test it patterns::` for a long run.

mod bounds;
mod errors;
mod oracle;
mod tree;

use eventflux::EventFlux;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde::{Deserialize, Serialize};

use crate::support::{cases, send_in_batches};
use oracle::{Found, oracle};

/// An event: its number, what it is, key, value, time in ms.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    id: i64,
    t: String,
    k: i64,
    v: i64,
    ts: i64,
}

#[derive(Deserialize)]
struct Match {
    m: String,
}

/// What the engine finds, with events that come in batches of these sizes.
fn engine(sql: &str, events: &[Event], sizes: &[usize]) -> Vec<String> {
    let app = EventFlux::builder()
        .sql(sql)
        .inline()
        .build()
        .unwrap_or_else(|error| panic!("{error}\n{sql}"));
    let out = app.subscribe("Out").unwrap();
    app.start().unwrap();
    let input = app.input("E").unwrap();
    send_in_batches(&input, events, sizes);
    app.wait().unwrap();
    let rows = out.flat_map(|batch| eventflux::Rows::rows::<Match>(&batch).unwrap());
    rows.map(|row| row.m).collect()
}

/// The same matches in the same order, but that those that began and ended with the same events may come in any.
fn same(got: &[String], expected: &[Found]) -> bool {
    let mut from = 0;
    let groups = expected.chunk_by(|a, b| a.at == b.at && (a.began == b.began || a.at.1 == 0));
    for group in groups {
        let Some(own) = got.get(from..from + group.len()) else {
            return false;
        };
        from += group.len();
        let mut own: Vec<&str> = own.iter().map(String::as_str).collect();
        let mut texts: Vec<&str> = group.iter().map(|found| found.text.as_str()).collect();
        own.sort_unstable();
        texts.sort_unstable();
        if own != texts {
            return false;
        }
    }
    from == got.len()
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (
        prop::sample::select(vec!["A", "B", "C"]),
        0_i64..3,
        0_i64..6,
        0_i64..120,
    );
    prop::collection::vec(event, 1..30).prop_map(|drawn| {
        let mut now = 1_000;
        drawn
            .into_iter()
            .enumerate()
            .map(|(id, (t, k, v, step))| {
                now += step;
                Event {
                    id: id as i64,
                    t: t.to_string(),
                    k,
                    v,
                    ts: now,
                }
            })
            .collect()
    })
}

/// How many cases an ordinary run tries.
const CASES: u32 = 600;

#[test]
fn patterns_find_what_their_definition_says() {
    let config = Config {
        cases: cases("EVENTFLUX_PATTERN_CASES", CASES),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let (mut matches, mut skipped) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let drawn = (tree::spec(), events(), prop::collection::vec(1_usize..20, 1..4));
    let result = TestRunner::new(config).run(&drawn, |(spec, events, sizes)| {
        let Some(expected) = oracle(&spec, &events) else {
            skipped.set(skipped.get() + 1);
            return Ok(());
        };
        matches.set(matches.get() + expected.len());
        let sql = spec.sql();
        let got = engine(&sql, &events, &sizes);
        match same(&got, &expected) {
            true => Ok(()),
            false => {
                let expected: Vec<&str> = expected.iter().map(|found| found.text.as_str()).collect();
                let shown: Vec<String> = events
                    .iter()
                    .map(|event| format!("{} {}{} k{} @{}", event.id, event.t, event.v, event.k, event.ts))
                    .collect();
                Err(TestCaseError::fail(format!(
                    "{sql}\n{}\ngot      {got:?}\nexpected {expected:?}",
                    shown.join("\n")
                )))
            }
        }
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (matches, skipped) = (*matches.get_mut(), *skipped.get_mut());
    assert!(matches > 0, "nothing matched");
    println!("{matches} matches, {skipped} cases skipped");
}
