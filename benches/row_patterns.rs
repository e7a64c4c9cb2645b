//! What MATCH_RECOGNIZE costs in memory: V shapes and other patterns over the prices of 100 symbols.
//!
//! `cargo bench --bench row_patterns`. Batches of 8,192 rows go through the embedding API in inline mode, on one thread; throughput
//! counts the rows that go in. Symbols come in turn; prices of each fall and rise a few rows at a time, so that about one row in seven
//! ends a match.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::{App, EventFlux};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: i64 = 8_192;

const SYMBOLS: i64 = 100;

/// A price that falls for some rows and then rises for some.
fn price(symbol: i64, row: i64) -> f64 {
    let period = 4 + symbol % 7;
    let phase = (row + symbol) % period;
    let half = period / 2;
    let distance = (phase - half).abs();
    (100 + distance * 3 + symbol % 5) as f64
}

/// Batch `number`; times grow by a millisecond a row.
fn ticks(number: i64) -> RecordBatch {
    let rows = || (0..ROWS).map(move |index| number * ROWS + index);
    let symbols: StringViewArray = rows().map(|row| Some(format!("SYM{:03}", row % SYMBOLS))).collect();
    let prices: Float64Array = rows().map(|row| Some(price(row % SYMBOLS, row / SYMBOLS))).collect();
    let times: Int64Array = rows().map(Some).collect();
    let fields = [
        ("symbol", DataType::Utf8View),
        ("price", DataType::Float64),
        ("ts", DataType::Int64),
    ];
    let fields: Vec<Field> = fields.map(|(name, data_type)| Field::new(name, data_type, true)).into();
    let columns: Vec<ArrayRef> = vec![Arc::new(symbols), Arc::new(prices), Arc::new(times)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

fn app(watermark: &str, clauses: &str) -> App {
    let sql = format!(
        "CREATE STREAM Ticks (symbol STRING, price DOUBLE, ts LONG{watermark});
         INSERT INTO Out SELECT * FROM Ticks MATCH_RECOGNIZE ({clauses}) AS m;"
    );
    let app = EventFlux::builder().sql(&sql).inline().build().expect("a valid app");
    app.on("Out", |batch| {
        black_box(batch.num_rows());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    app
}

const EVENT_TIME: &str = ", WATERMARK FOR ts AS ts";

/// `name`, WATERMARK, clauses.
const CASES: &[(&str, &str, &str)] = &[
    (
        "V shape, one row",
        "",
        "PARTITION BY symbol MEASURES A.price AS top, LAST(B.price) AS bottom, LAST(C.price) AS recovered PATTERN (A B+ C+)
         DEFINE B AS price < PREV(price), C AS price > PREV(price)",
    ),
    (
        "V shape, one row, by event time",
        EVENT_TIME,
        "PARTITION BY symbol ORDER BY ts MEASURES A.price AS top, LAST(B.price) AS bottom, LAST(C.price) AS recovered PATTERN (A B+ C+)
         DEFINE B AS price < PREV(price), C AS price > PREV(price)",
    ),
    (
        "V shape, one row, within a minute",
        EVENT_TIME,
        "PARTITION BY symbol ORDER BY ts MEASURES A.price AS top, count(*) AS n PATTERN (A B+ C+) WITHIN 1 MINUTE
         DEFINE B AS price < PREV(price), C AS price > PREV(price)",
    ),
    (
        "V shape, all rows, running aggregates",
        "",
        "PARTITION BY symbol MEASURES CLASSIFIER() AS label, avg(price) AS mean, FINAL count(*) AS n ALL ROWS PER MATCH PATTERN (A B+ C+)
         DEFINE B AS price < PREV(price), C AS price > PREV(price)",
    ),
    (
        "conditions over earlier rows",
        "",
        "PARTITION BY symbol MEASURES A.price AS top, count(*) AS n PATTERN (A B+ C)
         DEFINE B AS price < A.price AND sum(B.price) < 1000, C AS price >= A.price",
    ),
    (
        "a start that is rare",
        "",
        "PARTITION BY symbol MEASURES A.price AS top PATTERN (A B+) DEFINE A AS price > 1000, B AS price < PREV(price)",
    ),
];

fn row_patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("row_patterns");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, watermark, clauses) in CASES {
        let app = app(watermark, clauses);
        let input = app.input("Ticks").expect("the stream exists");
        // Times must not go back, so every batch is a new one; making it is not what is measured.
        let mut number = 0;
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    ticks(number)
                },
                |batch| input.send_batch(batch).expect("it takes the rows"),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, row_patterns);
criterion_main!(benches);
