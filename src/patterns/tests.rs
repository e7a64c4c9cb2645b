//! Properties of all kinds of patterns: a snapshot changes nothing, nor does how events are cut into batches; what is gone
//! leaves nothing behind.

use crate::App;
use crate::event::Micros;
use crate::watched::{Lines, Random, SECOND, Watched, assert_same};

/// Patterns over A and B; `@` is the suffix of the streams.
const PATTERNS: &[&str] = &[
    "a.v AS a, b.v AS b FROM PATTERN (a=A@ -> b=B@[v > a.v])",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY a=A@ -> b=B@[v > a.v])",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY a=A@ -> b=B@[k = a.k]) WITHIN 4 SECONDS",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY a=A@ -> b=B@) WITHIN 5 EVENTS",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY a=A@ -> b=B@[k = a.k AND v > a.v]) WITHIN 4 SECONDS PARTITION BY k",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY (a=A@ -> b=B@)) WITHIN 3 SECONDS",
    "a.v AS a, a.k AS ks, b.v AS b FROM PATTERN (EVERY a=A@<2:4> -> b=B@) WITHIN 6 SECONDS",
    "a.v AS a, b.v AS b, sum(b.v) AS s FROM PATTERN (a=A@ -> EVERY b=B@<1:2> -> c=A@[v < a.v])",
    "a.v AS a, b.v AS b, c.v AS c FROM PATTERN (EVERY (a=A@ AND b=B@) -> c=A@ OR B@[v > 15])",
    "a.v AS a, b.v AS b, c.v AS c FROM PATTERN (EVERY ((a=A@ -> b=B@)<1:3> WITHIN 4 SECONDS) -> c=B@[v > 12])",
    "a.v AS a FROM PATTERN (EVERY a=A@ -> NOT B@[k = a.k] FOR 2 SECONDS)",
    "b.v AS b FROM PATTERN (EVERY NOT A@ FOR 2 SECONDS -> b=B@) WITHIN 9 SECONDS",
    "b.v AS b FROM PATTERN (EVERY (NOT A@ AND b=B@))",
    "b.v AS b FROM PATTERN (EVERY (NOT A@[v > 10] -> b=B@)) WITHIN 2 SECONDS",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY (NOT A@ FOR 1 SECOND AND b=B@) -> a=A@) WITHIN 5 SECONDS",
    "a.v AS a, b.v AS b FROM PATTERN ((EVERY a=A@) AND b=B@) WITHIN 5 SECONDS",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY ((EVERY a=A@ -> b=B@[v > a[last].v])<2>)) WITHIN 4 SECONDS",
    "a.v AS a, b.v AS b, c.v AS c FROM PATTERN (EVERY ((a=A@ -> b=B@) WITHIN 3 EVENTS) -> c=A@) WITHIN 8 SECONDS PARTITION BY k",
    "a.v AS a, b.v AS b, c.v AS c FROM PATTERN (EVERY ((EVERY a=A@[v > 10]) OR (b=B@ -> c=A@)) -> d=B@[v > 8]) WITHIN 3 SECONDS",
    "a.v AS a, count(b) AS n FROM PATTERN (EVERY (a=A@ -> NOT A@[v > 15] FOR 500 ms)<1:3> -> b=B@) WITHIN 6 SECONDS",
    "a.v AS a, b.v AS b FROM PATTERN (EVERY (NOT A@[v > 10] -> (a=A@ AND b=B@))) WITHIN 2 SECONDS WITH (max_instances = 5)",
    "a.v AS a, b.v AS b FROM SEQUENCE (EVERY a=A@, b=B@[v > a.v]*, c=A@)",
    "a.v AS a, b.v AS b FROM SEQUENCE (EVERY a=A@+, b=B@) PARTITION BY k",
    "a.v AS a, b.v AS b FROM SEQUENCE (EVERY (NOT B@ FOR 1 SECOND OR b=B@[v > 9]), a=A@)",
];

type Row = (Option<String>, i64, i64);

/// A moment, a stream, and the rows that come there and then.
type Step = (Micros, &'static str, Vec<Row>);

fn steps(count: usize, seed: u64) -> Vec<Step> {
    let mut random = Random(seed);
    let mut now = 10 * SECOND;
    let mut step = || {
        now += random.below(1_500) as Micros * 1_000;
        let stream = if random.below(2) == 0 { "A" } else { "B" };
        let rows = (0..=random.below(3)).map(|_| {
            let key = random.below(5);
            let key = (key > 0).then(|| format!("a key of some length {key}"));
            let time = now - random.below(2_000) as Micros * 1_000;
            (key, random.below(20) as i64, time / 1_000)
        });
        (now, stream, rows.collect())
    };
    (0..count).map(|_| step()).collect()
}

/// Every pattern over streams with and without event time, with what matches and what times out.
fn app_of_all() -> (String, usize) {
    let mut sql = String::new();
    for stream in ["A", "B"] {
        sql.push_str(&format!("CREATE STREAM {stream}P (k STRING, v INT, ts TIMESTAMP);\n"));
        sql.push_str(&format!(
            "CREATE STREAM {stream}E (k STRING, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - 2 SECONDS);\n"
        ));
    }
    let mut queries = 0;
    for pattern in PATTERNS {
        for streams in ["P", "E"] {
            let pattern = pattern.replace('@', streams);
            sql.push_str(&format!("INSERT ALL EVENTS INTO T{queries} SELECT {pattern};\n"));
            queries += 1;
        }
    }
    (sql, queries)
}

fn send(app: &App, (at, stream, rows): &Step, cut: usize) {
    app.advance_to(*at).expect("time moves");
    for suffix in ["P", "E"] {
        let input = app.input(&format!("{stream}{suffix}")).expect("the stream exists");
        for rows in rows.chunks(cut) {
            input.send_rows(rows).expect("it takes the rows");
        }
    }
}

fn undisturbed(sql: &str, queries: usize, steps: &[Step]) -> Lines {
    let watched = Watched::start(sql, queries);
    steps.iter().for_each(|step| send(&watched.app, step, usize::MAX));
    watched.finish()
}

#[test]
fn a_snapshot_anywhere_changes_nothing() {
    let (sql, queries) = app_of_all();
    let steps = steps(60, 7);
    let expected = undisturbed(&sql, queries, &steps);
    assert!(
        expected.len() + 2 > queries,
        "patterns that never match: {:?}",
        expected.keys()
    );
    for cut in [1, 13, 29, 47] {
        let watched = Watched::start(&sql, queries);
        steps[..cut]
            .iter()
            .for_each(|step| send(&watched.app, step, usize::MAX));
        let watched = watched.restart(steps[cut - 1].0);
        steps[cut..]
            .iter()
            .for_each(|step| send(&watched.app, step, usize::MAX));
        assert_same(&sql, &watched.finish(), &expected, &format!("cut at {cut}"));
    }
}

#[test]
fn how_events_are_cut_into_batches_changes_nothing() {
    let (sql, queries) = app_of_all();
    for seed in [3, 11] {
        let steps = steps(60, seed);
        let expected = undisturbed(&sql, queries, &steps);
        let watched = Watched::start(&sql, queries);
        steps.iter().for_each(|step| send(&watched.app, step, 1));
        let got = watched.finish();
        // In one batch a late event is not late yet: only streams without event time see the same.
        let processing = |lines: Lines| lines.into_iter().filter(|(query, _)| query % 2 == 0).collect();
        let (got, expected) = (processing(got), processing(expected));
        assert_same(&sql, &got, &expected, &format!("seed {seed}"));
    }
}
