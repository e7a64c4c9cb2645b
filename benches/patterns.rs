//! What patterns cost: `cargo bench --bench patterns`, or a part of it by name.
//!
//! Batches go through the embedding API in inline mode, on one thread; throughput counts the rows that go in. Events carry their
//! time, a millisecond apart unless said otherwise.
//!
//! | group | what it shows |
//! |---|---|
//! | `pairs` | two steps by key, in both ways to say so; the rates for 10 thousand and 1 million keys must be near each other |
//! | `shapes` | ten steps, absence, AND of three streams, a sequence, a hot key, a hundred patterns over one stream |
//! | `open` | the cost of an event while 10² … 10⁶ attempts are open that it cannot touch: it must not grow |
//! | `gain` | the textbook matcher of [`textbook_nfa`] and this one on the same events, and this one with each of its ideas taken away: the vectorised filter, the key index, shared beginnings |

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::{App, EventFlux, Input};

mod textbook_nfa;

use textbook_nfa::{Nfa, Row, Step};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a batch.
const ROWS: usize = 8_192;

/// Batches made beforehand, and sent again and again with later times.
const BATCHES: i64 = 64;

/// What an event is, its key and its value, by its number.
type Event = fn(i64, i64) -> (&'static str, i64, f64);

/// A key's A, `keys` events later its B.
fn pair(number: i64, keys: i64) -> (&'static str, i64, f64) {
    let kind = if number / keys % 2 == 0 { "A" } else { "B" };
    (kind, number % keys, (number % 977) as f64)
}

/// Prices around 100 of accounts; one in a hundred is above 190.
fn price(number: i64, keys: i64) -> (&'static str, i64, f64) {
    let mixed = number.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) as u64;
    let price = match mixed % 100 {
        0 => 190.0 + (mixed >> 8 & 0xff) as f64 / 10.0,
        _ => (mixed >> 8 & 0x7ff) as f64 / 11.0,
    };
    ("T", (mixed >> 32) as i64 % keys, price)
}

/// Ten kinds in turn, each kind for a whole round of the keys.
fn round(number: i64, keys: i64) -> (&'static str, i64, f64) {
    const KINDS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    (KINDS[(number / keys % 10) as usize], number % keys, 1.0)
}

/// A's, of which one in ten has no B after it.
fn answered(number: i64, keys: i64) -> (&'static str, i64, f64) {
    let kind = if number / keys % 2 == 0 { "A" } else { "B" };
    let key = number % keys;
    match kind == "B" && key % 10 == 0 {
        true => ("X", key, 0.0),
        false => (kind, key, 0.0),
    }
}

/// A batch without times.
fn batch(number: i64, keys: i64, event: Event) -> (StringViewArray, Int64Array, Float64Array) {
    let events: Vec<_> = (0..ROWS as i64)
        .map(|row| event(number * ROWS as i64 + row, keys))
        .collect();
    (
        events.iter().map(|(kind, ..)| Some(*kind)).collect(),
        events.iter().map(|(_, key, _)| Some(*key)).collect(),
        events.iter().map(|(.., value)| Some(*value)).collect(),
    )
}

/// Batches in a circle, with times that go on.
struct Stream {
    batches: Vec<Vec<ArrayRef>>,
    schema: Arc<Schema>,
    sent: i64,
    /// Between two events, in ms.
    step: f64,
}

impl Stream {
    fn new(keys: i64, event: Event, step: f64) -> Self {
        let fields = [
            ("t", DataType::Utf8View),
            ("k", DataType::Int64),
            ("v", DataType::Float64),
            ("ts", DataType::Int64),
        ];
        let fields: Vec<Field> = fields.map(|(name, data_type)| Field::new(name, data_type, true)).into();
        let batches = (0..BATCHES).map(|number| {
            let (kinds, ids, values) = batch(number, keys, event);
            vec![Arc::new(kinds) as ArrayRef, Arc::new(ids), Arc::new(values)]
        });
        Stream {
            batches: batches.collect(),
            schema: Arc::new(Schema::new(fields)),
            sent: 0,
            step,
        }
    }

    fn next(&mut self) -> RecordBatch {
        let mut columns = self.batches[(self.sent % BATCHES) as usize].clone();
        let from = self.sent * ROWS as i64;
        let times = (from..from + ROWS as i64).map(|number| (number as f64 * self.step) as i64);
        columns.push(Arc::new(Int64Array::from_iter_values(times)));
        self.sent += 1;
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of one length")
    }
}

const COLUMNS: &str = "(t STRING, k LONG, v DOUBLE, ts LONG, WATERMARK FOR ts AS ts)";

fn app(queries: &str) -> App {
    let sql = format!("CREATE STREAM E {COLUMNS}; CREATE STREAM F {COLUMNS}; CREATE STREAM G {COLUMNS}; {queries}");
    let app = EventFlux::builder().sql(&sql).inline().build().expect("a valid app");
    app.on("Out", |batch| {
        black_box(batch.num_rows());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    app
}

fn send(input: &Input, batch: RecordBatch) {
    input.send_batch(batch).expect("it takes the rows");
}

fn measure(criterion: &mut Criterion, group: &str, cases: &[(&str, i64, Event, f64, &str)]) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, keys, event, step, query) in cases {
        let app = app(&format!("INSERT INTO Out {query};"));
        let input = app.input("E").expect("the stream exists");
        let mut stream = Stream::new(*keys, *event, *step);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_batched(
                || stream.next(),
                |batch| send(&input, batch),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

const PAIR: &str = "SELECT a.k AS k, a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B' AND k = a.k])";

fn pairs(criterion: &mut Criterion) {
    let within = format!("{PAIR} WITHIN 1 HOUR");
    let compiled = "SELECT a.k AS k, a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B' AND k = a.k AND v >= 0 * a.v]) WITHIN 1 HOUR";
    let by_key = "SELECT a.k AS k, a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B']) WITHIN 1 HOUR PARTITION BY k";
    measure(
        criterion,
        "pairs",
        &[
            ("10 thousand keys", 10_000, pair, 1.0, PAIR),
            ("1 million keys", 1_000_000, pair, 1.0, PAIR),
            ("within an hour, 10 thousand keys", 10_000, pair, 1.0, &within),
            ("a further condition, 10 thousand keys", 10_000, pair, 1.0, compiled),
            ("PARTITION BY, 10 thousand keys", 10_000, pair, 1.0, by_key),
            (
                "price > 190, then higher, within 10 s, 10 thousand accounts",
                10_000,
                price,
                0.1,
                "SELECT a.k AS account, a.v AS was, b.v AS now FROM PATTERN (EVERY a=E[v > 190] -> b=E[k = a.k AND v > a.v]) WITHIN 10 SECONDS",
            ),
        ],
    );
}

fn shapes(criterion: &mut Criterion) {
    let steps: Vec<String> = (1..10)
        .map(|step| format!("e{step}=E[t = '{step}' AND k = e{}.k]", step - 1))
        .collect();
    let ten = format!(
        "SELECT e0.k AS k, e9.v AS v FROM PATTERN (EVERY e0=E[t = '0'] -> {}) WITHIN 1 HOUR",
        steps.join(" -> ")
    );
    measure(
        criterion,
        "shapes",
        &[
            ("ten steps, 10 thousand keys", 10_000, round, 1.0, &ten),
            (
                "NOT b FOR 5 s after a, 10 thousand keys",
                10_000,
                answered,
                0.1,
                "SELECT a.k AS k FROM PATTERN (EVERY a=E[t = 'A'] -> NOT E[t = 'B' AND k = a.k] FOR 5 SECONDS)",
            ),
            (
                "a filter that holds for nothing",
                10_000,
                pair,
                1.0,
                "SELECT a.k AS k, b.v AS b FROM PATTERN (EVERY a=E[v < 0] -> b=E[t = 'B' AND k = a.k]) WITHIN 1 HOUR",
            ),
            (
                "a sequence of rising values",
                10_000,
                pair,
                1.0,
                "SELECT a.v AS a, b[last].v AS b FROM SEQUENCE (EVERY a=E, b=E[b[last].v IS NULL AND v > a.v OR v > b[last].v]+, c=E[v < b[last].v])",
            ),
        ],
    );
    hot_key(criterion);
    three_streams(criterion);
    hundred_patterns(criterion);
}

/// 100 thousand attempts of one key wait for a price that does not come.
fn hot_key(criterion: &mut Criterion) {
    let query = "INSERT INTO Out SELECT a.k AS account, b.v AS now FROM PATTERN (EVERY a=E[v > 190] -> b=E[k = a.k AND v > a.v]) WITHIN 1 DAY;";
    let mut group = criterion.benchmark_group("hot key, 100 thousand open");
    for (name, key) in [("an event of the hot key", 7), ("an event of another", 8)] {
        let rows = ROWS as i64;
        let app = app(query);
        let input = app.input("E").expect("the stream exists");
        let events = |kind: f64, key: i64, from: i64, rows: i64| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new((0..rows).map(|_| Some("T")).collect::<StringViewArray>()),
                Arc::new(Int64Array::from_iter_values((0..rows).map(|_| key))),
                // Falling, so that none is above those before.
                Arc::new(Float64Array::from_iter_values(
                    (0..rows).map(|row| kind - (from + row) as f64 / 1e3),
                )),
                Arc::new(Int64Array::from_iter_values((0..rows).map(|row| (from + row) / 1_000))),
            ];
            let schema = Stream::new(1, pair, 1.0).schema;
            RecordBatch::try_new(schema, columns).expect("columns of one length")
        };
        let mut sent = 0;
        while sent < 100_000 {
            send(&input, events(1_000.0, 7, sent, 10_000));
            sent += 10_000;
        }
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            // Below 190: it begins nothing.
            bencher.iter_batched(
                || events(100.0, key, 100_000, rows),
                |batch| send(&input, batch),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// AND of three streams, by key: each comes in its own batch.
fn three_streams(criterion: &mut Criterion) {
    let app = app(
        "INSERT INTO Out SELECT e.k AS k, f.v AS f, g.v AS g FROM PATTERN (EVERY (e=E AND f=F AND g=G)) WITHIN 1 HOUR PARTITION BY k;",
    );
    let inputs = ["E", "F", "G"].map(|stream| app.input(stream).expect("the stream exists"));
    let mut streams = [(); 3].map(|()| Stream::new(10_000, pair, 1.0));
    let mut group = criterion.benchmark_group("AND of three streams");
    group.throughput(Throughput::Elements(3 * ROWS as u64));
    group.bench_function("10 thousand keys", |bencher| {
        bencher.iter_batched(
            || [0, 1, 2].map(|stream: usize| streams[stream].next()),
            |batches| {
                for (input, batch) in inputs.iter().zip(batches) {
                    send(input, batch);
                }
            },
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A hundred patterns, each with its own threshold.
fn hundred_patterns(criterion: &mut Criterion) {
    let queries: Vec<String> = (0..100)
        .map(|number| {
            format!(
                "INSERT INTO Out SELECT a.k AS k, b.v AS b FROM PATTERN (EVERY a=E[v > {}] -> b=E[k = a.k AND v > a.v]) WITHIN 1 SECOND;",
                190.0 + f64::from(number) / 4.0
            )
        })
        .collect();
    let app = app(&queries.join("\n"));
    let input = app.input("E").expect("the stream exists");
    let mut stream = Stream::new(10_000, price, 0.1);
    let mut group = criterion.benchmark_group("100 patterns over one stream");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("each with its own threshold", |bencher| {
        bencher.iter_batched(
            || stream.next(),
            |batch| send(&input, batch),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// So many attempts are open, each for a key of its own; the events measured are of other keys.
fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    group.throughput(Throughput::Elements(ROWS as u64));
    for open in [100_i64, 1_000, 10_000, 100_000, 1_000_000] {
        let app = app(&format!("INSERT INTO Out {PAIR};"));
        let input = app.input("E").expect("the stream exists");
        let schema = Stream::new(1, pair, 1.0).schema;
        let rows = |kind: &'static str, from: i64, rows: i64| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new((0..rows).map(|_| Some(kind)).collect::<StringViewArray>()),
                Arc::new(Int64Array::from_iter_values(from..from + rows)),
                Arc::new(Float64Array::from_iter_values((0..rows).map(|_| 1.0))),
                Arc::new(Int64Array::from_iter_values((0..rows).map(|_| 1))),
            ];
            RecordBatch::try_new(schema.clone(), columns).expect("columns of one length")
        };
        let mut sent = 0;
        while sent < open {
            let part = (open - sent).min(50_000);
            send(&input, rows("A", sent, part));
            sent += part;
        }
        let batch = rows("B", 10_000_000, ROWS as i64);
        group.bench_function(BenchmarkId::from_parameter(open), |bencher| {
            bencher.iter(|| send(&input, batch.clone()));
        });
    }
    group.finish();
}

/// The rows of batches, for the textbook.
fn rows(keys: i64, event: Event, step: f64, count: i64) -> Vec<Row> {
    (0..count)
        .map(|number| {
            let (kind, key, value) = event(number, keys);
            let time = (number as f64 * step) as i64 * 1_000;
            let kind = Arc::from(kind);
            Row { kind, key, value, time }
        })
        .collect()
}

/// `EVERY a=E[v > 190] -> b=E[k = a.k AND v > a.v] WITHIN 10 s`, as the textbook has it, and as we do with and without each idea.
fn gain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gain");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS as u64));
    let all = rows(10_000, price, 0.1, BATCHES * ROWS as i64);
    let steps: Vec<Step> = vec![
        Box::new(|_, row| row.value > 190.0),
        Box::new(|rows, row| row.key == rows[0].key && row.value > rows[0].value),
    ];
    let mut nfa = Nfa::new(steps, Some(10_000_000));
    let (mut at, mut round) = (0, 0);
    group.bench_function("textbook", |bencher| {
        bencher.iter(|| {
            for _ in 0..ROWS {
                let mut row = all[at].clone();
                row.time += round * (BATCHES * ROWS as i64 / 10) * 1_000;
                nfa.event(&row, |rows| {
                    black_box((&rows[0].kind, rows.len()));
                });
                at += 1;
                if at == all.len() {
                    (at, round) = (0, round + 1);
                }
            }
            black_box(nfa.open());
        });
    });
    let cases = [
        ("all ideas", "PATTERN (EVERY a=E[v > 190] -> b=E[k = a.k AND v > a.v])"),
        // What needs only the event, said so that it looks like it needs the attempt.
        (
            "without the vectorised filter",
            "PATTERN (EVERY a=E -> b=E[k = a.k AND v > a.v AND a.v > 190])",
        ),
        // An equality that is none to the planner: the order of who waits is left.
        (
            "without the key index",
            "PATTERN (EVERY a=E[v > 190] -> b=E[k >= a.k AND k <= a.k AND v > a.v])",
        ),
        // The same of the comparison: the key index is left.
        (
            "without the order of who waits",
            "PATTERN (EVERY a=E[v > 190] -> b=E[k = a.k AND v - a.v > 0])",
        ),
        (
            "without either",
            "PATTERN (EVERY a=E[v > 190] -> b=E[k - a.k = 0 AND v - a.v > 0])",
        ),
    ];
    for (name, pattern) in cases {
        let app = app(&format!(
            "INSERT INTO Out SELECT a.k AS k, a.v AS a, b.v AS b FROM {pattern} WITHIN 10 SECONDS;"
        ));
        let input = app.input("E").expect("the stream exists");
        let mut stream = Stream::new(10_000, price, 0.1);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || stream.next(),
                |batch| send(&input, batch),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    shared_beginnings(criterion);
}

/// A long beginning that EVERY shares among many attempts: `a{100} -> EVERY b -> c`. The textbook copies its hundred rows for
/// each b; here each b costs a link.
fn shared_beginnings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gain, shared beginnings");
    group.throughput(Throughput::Elements(ROWS as u64));
    let row = |kind: &str, number: i64| Row {
        kind: Arc::from(kind),
        key: number,
        value: 1.0,
        time: number,
    };
    let beginning: Vec<Row> = (0..100).map(|number| row("A", number)).collect();
    let bs: Vec<Row> = (0..ROWS as i64).map(|number| row("B", number)).collect();
    group.bench_function("textbook", |bencher| {
        bencher.iter(|| {
            let mut instances: Vec<Vec<Row>> = Vec::new();
            for b in &bs {
                let mut rows = beginning.clone();
                rows.push(b.clone());
                instances.push(rows);
            }
            black_box(instances.len());
        });
    });
    let schema = Stream::new(1, pair, 1.0).schema;
    let events = |kind: &'static str, rows: i64| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..rows).map(|_| Some(kind)).collect::<StringViewArray>()),
            Arc::new(Int64Array::from_iter_values(0..rows)),
            Arc::new(Float64Array::from_iter_values((0..rows).map(|_| 1.0))),
            Arc::new(Int64Array::from_iter_values((0..rows).map(|_| 1))),
        ];
        RecordBatch::try_new(schema.clone(), columns).expect("columns of one length")
    };
    group.bench_function("links", |bencher| {
        bencher.iter_batched(
            || {
                let app = app(
                    "INSERT INTO Out SELECT count(a) AS n, b.k AS k FROM PATTERN (a=E[t = 'A']{100} -> EVERY b=E[t = 'B'] -> c=E[t = 'C']) WITHIN 1 DAY;",
                );
                let input = app.input("E").expect("the stream exists");
                send(&input, events("A", 100));
                (app, input, events("B", ROWS as i64))
            },
            |(app, input, batch)| {
                send(&input, batch);
                (app, input)
            },
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, pairs, shapes, open, gain);
criterion_main!(benches);
