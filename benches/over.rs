//! What OVER costs in memory: sums and averages of sliding frames by 100 keys, a row out for each row in.
//!
//! `cargo bench --bench over`. Batches of 8,192 rows go through the embedding API in inline mode, on one thread; throughput
//! counts the rows that go in. In event time the rows of a frame are 1 thousand or 1 million: the rates must be near each other.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::{App, EventFlux};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 8_192;

/// Rows of 100 keys, `step` µs apart from `start` on.
fn trades(start: i64, step: i64) -> RecordBatch {
    let keys: Int64Array = (0..ROWS as i64).map(|row| Some(row * 7_919 % 100)).collect();
    let prices: Float64Array = (0..ROWS).map(|row| Some((row % 977) as f64)).collect();
    let times = TimestampMicrosecondArray::from_iter_values((0..ROWS as i64).map(|row| start + row * step));
    let fields = [
        ("k", DataType::Int64),
        ("price", DataType::Float64),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ];
    let fields: Vec<Field> = fields.map(|(name, data_type)| Field::new(name, data_type, true)).into();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(prices), Arc::new(times)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

fn app(watermark: &str, query: &str) -> App {
    let sql = format!("CREATE STREAM Trades (k LONG, price DOUBLE, ts TIMESTAMP{watermark}); INSERT INTO Out {query};");
    let app = EventFlux::builder().sql(&sql).inline().build().expect("a valid app");
    app.on("Out", |batch| {
        black_box(batch.num_rows());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    app
}

/// `name`, how many µs rows are apart, WATERMARK, the query.
const CASES: &[(&str, i64, &str, &str)] = &[
    (
        "range 10 s of 1 thousand rows",
        10_000,
        ", WATERMARK FOR ts AS ts",
        "SELECT k, sum(price) OVER w AS s, avg(price) OVER w AS a FROM Trades
         WINDOW w AS (PARTITION BY k ORDER BY ts RANGE BETWEEN 10 SECONDS PRECEDING AND CURRENT ROW)",
    ),
    (
        "range 10 s of 1 million rows",
        10,
        ", WATERMARK FOR ts AS ts",
        "SELECT k, sum(price) OVER w AS s, avg(price) OVER w AS a FROM Trades
         WINDOW w AS (PARTITION BY k ORDER BY ts RANGE BETWEEN 10 SECONDS PRECEDING AND CURRENT ROW)",
    ),
    (
        "rows 100",
        10,
        "",
        "SELECT k, sum(price) OVER w AS s, avg(price) OVER w AS a FROM Trades
         WINDOW w AS (PARTITION BY k ROWS BETWEEN 100 PRECEDING AND CURRENT ROW)",
    ),
    (
        "running",
        10,
        "",
        "SELECT k, sum(price) OVER (PARTITION BY k) AS s, avg(price) OVER (PARTITION BY k) AS a FROM Trades",
    ),
    (
        "row_number and lag",
        10,
        "",
        "SELECT k, row_number() OVER w AS n, lag(price) OVER w AS p FROM Trades WINDOW w AS (PARTITION BY k)",
    ),
    (
        "first and last value of range 10 s",
        10_000,
        ", WATERMARK FOR ts AS ts",
        "SELECT k, first_value(price) OVER w AS f, last_value(price) OVER w AS l FROM Trades
         WINDOW w AS (PARTITION BY k ORDER BY ts RANGE BETWEEN 10 SECONDS PRECEDING AND CURRENT ROW)",
    ),
    (
        "lead",
        10,
        "",
        "SELECT k, lead(price) OVER (PARTITION BY k) AS n FROM Trades",
    ),
    ("distinct, state.ttl", 10, "", "SELECT DISTINCT k FROM Trades"),
];

fn over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("over");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, step, watermark, query) in CASES {
        let app = app(watermark, query);
        let input = app.input("Trades").expect("the stream exists");
        let start = Cell::new(0);
        let next = || {
            let batch = trades(start.get(), *step);
            start.set(start.get() + ROWS as i64 * step);
            batch
        };
        // The frames are full before anything is measured.
        (0..200).for_each(|_| input.send_batch(next()).expect("it takes the batch"));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_batched(
                next,
                |batch| input.send_batch(batch).expect("it takes the batch"),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, over);
criterion_main!(benches);
