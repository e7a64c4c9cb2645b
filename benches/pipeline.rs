//! What a query costs in memory, without decoding: a filter that keeps half, and a product.
//!
//! `cargo bench --bench pipeline`. Batches go through the embedding API in inline mode, on one thread; throughput counts the
//! rows that go in.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::{App, EventFlux, Rows};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const APP: &str = "
    CREATE STREAM Trades (price DOUBLE, volume LONG);
    INSERT INTO Large SELECT price, volume, price * volume AS amount FROM Trades WHERE price > 100;
";

/// Prices spread evenly over 0 … 200.
fn trades(rows: usize) -> RecordBatch {
    let price = |row: usize| (row as f64 * 0.618_033_988_749_895).fract() * 200.0;
    let prices: Float64Array = (0..rows).map(|row| Some(price(row))).collect();
    let volumes: Int64Array = (0..rows).map(|row| Some((row % 100) as i64)).collect();
    let fields = [("price", DataType::Float64), ("volume", DataType::Int64)];
    let fields: Vec<Field> = fields.map(|(name, data_type)| Field::new(name, data_type, true)).into();
    let columns: Vec<ArrayRef> = vec![Arc::new(prices), Arc::new(volumes)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

fn app(sql: &str, output: &str) -> App {
    let app = EventFlux::builder().sql(sql).inline().build().expect("a valid app");
    app.on(output, |batch| {
        black_box(batch.num_rows());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    app
}

/// Filter and product by batch size: what a batch costs, and where the cost per row levels out.
fn filter_and_product(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filter and product");
    for rows in [1, 16, 128, 1_024, 8_192, 65_536] {
        let app = app(APP, "Large");
        let input = app.input("Trades").expect("the stream exists");
        let batch = trades(rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter(|| input.send_batch(batch.clone()).expect("it takes the batch"));
        });
    }
    group.finish();
}

/// A row as a value, the way most programs send: encoded, decoded, filtered, delivered, read.
fn typed_rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("typed rows");
    let app = EventFlux::builder().sql(APP).inline().build().expect("a valid app");
    app.on("Large", |batch| {
        let rows = batch.rows::<(f64, i64, f64)>().expect("the columns fit");
        black_box(rows.len());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    let input = app.input("Trades").expect("the stream exists");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one at a time", |bencher| {
        bencher.iter(|| input.send((120.5, 3)).expect("it takes the row"));
    });
    group.finish();
}

/// Ten queries over one stream: each sees the batch without a copy.
fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out to ten queries");
    let queries = (0..10).map(|n| format!("INSERT INTO Out SELECT volume FROM Trades WHERE price > {};", 190 + n));
    let sql = format!(
        "CREATE STREAM Trades (price DOUBLE, volume LONG); {}",
        queries.collect::<String>()
    );
    let app = app(&sql, "Out");
    let input = app.input("Trades").expect("the stream exists");
    let batch = trades(8_192);
    group.throughput(Throughput::Elements(8_192));
    group.bench_function("8192", |bencher| {
        bencher.iter(|| input.send_batch(batch.clone()).expect("it takes the batch"));
    });
    group.finish();
}

criterion_group!(benches, filter_and_product, typed_rows, fan_out);
criterion_main!(benches);
