//! What patterns cost in memory: pairs of events of one key, in both ways to say so, with and without further conditions.
//!
//! `cargo bench --bench patterns`. Batches of 8,192 rows go through the embedding API in inline mode, on one thread; throughput
//! counts the rows that go in. Half of the events begin an attempt, half complete one; keys are 10 thousand or 1 million: the
//! rates must be near each other, as what is open for other keys must cost nothing.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::{App, EventFlux};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 8_192;

/// Batch `number` of rows that are A and B by turns; a key's A comes `keys` rows before its B.
fn events(number: i64, keys: i64) -> RecordBatch {
    let row = |index: i64| number * ROWS as i64 + index;
    let kinds: StringViewArray = (0..ROWS as i64)
        .map(|index| Some(if row(index) / keys % 2 == 0 { "A" } else { "B" }))
        .collect();
    let ids: Int64Array = (0..ROWS as i64).map(|index| Some(row(index) % keys)).collect();
    let values: Float64Array = (0..ROWS as i64).map(|index| Some((row(index) % 977) as f64)).collect();
    let fields = [
        ("t", DataType::Utf8View),
        ("k", DataType::Int64),
        ("v", DataType::Float64),
    ];
    let fields: Vec<Field> = fields.map(|(name, data_type)| Field::new(name, data_type, true)).into();
    let columns: Vec<ArrayRef> = vec![Arc::new(kinds), Arc::new(ids), Arc::new(values)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

fn app(query: &str) -> App {
    let sql = format!("CREATE STREAM E (t STRING, k LONG, v DOUBLE); INSERT INTO Out {query};");
    let app = EventFlux::builder().sql(&sql).inline().build().expect("a valid app");
    app.on("Out", |batch| {
        black_box(batch.num_rows());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    app
}

/// `name`, keys, query.
const CASES: &[(&str, i64, &str)] = &[
    (
        "two steps, 10 thousand keys",
        10_000,
        "SELECT a.k AS k, a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B' AND k = a.k])",
    ),
    (
        "two steps, 1 million keys",
        1_000_000,
        "SELECT a.k AS k, a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B' AND k = a.k])",
    ),
    (
        "two steps within a minute, 10 thousand keys",
        10_000,
        "SELECT a.k AS k, a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B' AND k = a.k AND v >= 0 * a.v]) WITHIN 1 MINUTE",
    ),
    (
        "two steps, PARTITION BY, 10 thousand keys",
        10_000,
        "SELECT a.k AS k, a.v AS a, b.v AS b FROM PATTERN (EVERY a=E[t = 'A'] -> b=E[t = 'B']) PARTITION BY k",
    ),
    (
        "a filter that holds for nothing",
        10_000,
        "SELECT a.k AS k, b.v AS b FROM PATTERN (EVERY a=E[v < 0] -> b=E[t = 'B' AND k = a.k])",
    ),
    (
        "sequence of rising values",
        10_000,
        "SELECT a.v AS a, b[last].v AS b FROM SEQUENCE (EVERY a=E, b=E[b[last].v IS NULL AND v > a.v OR v > b[last].v]+, c=E[v < b[last].v])",
    ),
];

fn patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("patterns");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, keys, query) in CASES {
        let app = app(query);
        let input = app.input("E").expect("the stream exists");
        let batches: Vec<RecordBatch> = (0..512).map(|number| events(number, *keys)).collect();
        let mut batches = batches.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let batch = batches.next().expect("there is always one");
                input.send_batch(batch.clone()).expect("it takes the rows");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, patterns);
criterion_main!(benches);
