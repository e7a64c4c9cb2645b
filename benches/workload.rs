//! The workload harness: windows, aggregates, partitions and OVER on columns in memory, on one thread.
//!
//! `cargo bench --bench workload [NAME]`. Each query gets the same events: batches of 8,192 trades, 100,000 a second of event
//! time, in order, of so many symbols, through the embedding API in inline mode. Printed is the best of three runs, the rate of
//! events that go in, and what the process has in memory after it. Partitions of a million keys run once; of those it is the
//! memory that came on top, and they run on threads, too.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use eventflux::{App, EventFlux};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 8_192;
const RUNS: usize = 3;
/// Events of a second of event time.
const RATE: i64 = 100_000;

const STREAM: &str =
    "CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, price DOUBLE, volume LONG, WATERMARK FOR ts AS ts);";

/// A name, the number of symbols, of events, and the query.
const QUERIES: &[(&str, u64, usize, &str)] = &[
    (
        "tumbling 10 s, count avg sum min max, 100 keys",
        100,
        20_000_000,
        "SELECT symbol, count(*) AS n, avg(price) AS a, sum(price) AS s, min(price) AS l, max(price) AS h FROM Trades WINDOW('tumbling', 10 SECONDS) GROUP BY symbol",
    ),
    (
        "tumbling 10 s, count avg sum min max, 100 k keys",
        100_000,
        10_000_000,
        "SELECT symbol, count(*) AS n, avg(price) AS a, sum(price) AS s, min(price) AS l, max(price) AS h FROM Trades WINDOW('tumbling', 10 SECONDS) GROUP BY symbol",
    ),
    (
        "hop 10 s / 2 s, count sum, 100 keys",
        100,
        20_000_000,
        "SELECT symbol, count(*) AS n, sum(price) AS s FROM Trades WINDOW('hop', 10 SECONDS, 2 SECONDS) GROUP BY symbol",
    ),
    (
        "session 1 s, count sum, 10 k keys",
        10_000,
        10_000_000,
        "SELECT symbol, count(*) AS n, sum(price) AS s FROM Trades WINDOW('session', 1 SECOND) GROUP BY symbol",
    ),
    (
        "length 1,000, avg sum, 100 keys, each event",
        100,
        5_000_000,
        "SELECT symbol, avg(price) AS a, sum(price) AS s FROM Trades WINDOW('length', 1000) GROUP BY symbol",
    ),
    (
        "length 1,000,000, avg sum, 100 keys, each event",
        100,
        5_000_000,
        "SELECT symbol, avg(price) AS a, sum(price) AS s FROM Trades WINDOW('length', 1000000) GROUP BY symbol",
    ),
    (
        "time 10 s, avg sum, 100 keys, each event",
        100,
        5_000_000,
        "SELECT symbol, avg(price) AS a, sum(price) AS s FROM Trades WINDOW('time', 10 SECONDS) GROUP BY symbol",
    ),
    (
        "OVER RANGE 10 s, sum, 100 keys, each event",
        100,
        5_000_000,
        "SELECT symbol, sum(price) OVER (PARTITION BY symbol ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW) AS s FROM Trades",
    ),
    (
        "running count sum, 1 M keys, each event",
        1_000_000,
        5_000_000,
        "SELECT symbol, count(*) AS n, sum(price) AS s FROM Trades GROUP BY symbol",
    ),
];

/// A name, the size of each key's window, and the number of events; of a million keys.
const PARTITIONS: &[(&str, usize, usize)] = &[
    ("partition of 1 M keys, length 2, sum, each event", 2, 4_000_000),
    ("partition of 1 M keys, length 10, avg, each event", 10, 12_000_000),
    ("partition, the same when it has run for long", 10, 40_000_000),
];

fn main() {
    let only = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    println!("{:52} {:>10} {:>8}", "query", "M events/s", "MB");
    for (name, symbols, events, query) in QUERIES {
        if only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            report(name, *symbols, *events, &format!("{STREAM} INSERT INTO Out {query};"));
        }
    }
    for (name, size, events) in PARTITIONS {
        if only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            partition(name, *size, *events);
        }
    }
    if only.as_ref().is_none_or(|only| "1,000 queries".contains(only.as_str())) {
        let query = |n: usize| {
            format!(
                "INSERT INTO Out SELECT symbol, sum(price) AS s FROM Trades WINDOW('tumbling', {} SECONDS) WHERE volume = {} GROUP BY symbol;",
                1 + n % 60,
                n % 100
            )
        };
        let queries: String = (0..1_000).map(query).collect();
        report(
            "1,000 queries, tumbling, filtered",
            100,
            500_000,
            &format!("{STREAM} {queries}"),
        );
    }
}

/// A window for each of a million keys: inline, and on threads with one worker and with two.
fn partition(name: &str, size: usize, events: usize) {
    let query = format!(
        "PARTITION WITH (symbol OF Trades) BEGIN \
         INSERT INTO Out SELECT symbol, avg(price) AS a FROM Trades WINDOW('length', {size}); END;"
    );
    let sql = format!("{STREAM} {query}");
    let batches = Batches::new(1_000_000);
    let before = resident_mb();
    let app = app(&sql);
    let input = app.input("Trades").expect("the stream exists");
    let mut seconds = 0.0;
    for number in 0..events.div_ceil(ROWS) {
        // What is held must not be the generator's.
        let batch = copied(&batches.batch(number));
        let start = Instant::now();
        input.send_batch(batch).expect("it takes the batch");
        seconds += start.elapsed().as_secs_f64();
    }
    let rate = |seconds: f64| events as f64 / seconds / 1e6;
    println!("{name:52} {:10.2} {:8.0}", rate(seconds), resident_mb() - before);
    drop(app);
    for threads in [1, 2] {
        let app = EventFlux::builder()
            .sql(&sql)
            .parallelism(threads)
            .build()
            .expect("a valid app");
        app.start().expect("it starts");
        let input = app.input("Trades").expect("the stream exists");
        let start = Instant::now();
        for number in 0..events.div_ceil(ROWS) {
            input.send_batch(batches.batch(number)).expect("it takes the batch");
        }
        app.wait().expect("it ends");
        let name = format!("… on threads, parallelism {threads}");
        println!("{name:52} {:10.2}", rate(start.elapsed().as_secs_f64()));
    }
}

/// The same rows in memory of their own.
fn copied(batch: &RecordBatch) -> RecordBatch {
    let rows = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    arrow::compute::take_record_batch(batch, &rows).expect("all rows")
}

fn report(name: &str, symbols: u64, events: usize, sql: &str) {
    let batches = Batches::new(symbols);
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let app = app(sql);
        let input = app.input("Trades").expect("the stream exists");
        let mut seconds = 0.0;
        for number in 0..events.div_ceil(ROWS) {
            let batch = batches.batch(number);
            let start = Instant::now();
            input.send_batch(batch).expect("it takes the batch");
            seconds += start.elapsed().as_secs_f64();
        }
        best = best.min(seconds);
    }
    println!("{name:52} {:10.1} {:8.0}", events as f64 / best / 1e6, resident_mb());
}

fn app(sql: &str) -> App {
    let app = EventFlux::builder().sql(sql).inline().build().expect("a valid app");
    app.on("Out", |batch| {
        black_box(batch.num_rows());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    app
}

/// Trades of random symbols. What is random is made once and used again; time goes on.
struct Batches {
    schema: Arc<Schema>,
    symbols: Vec<ArrayRef>,
    prices: ArrayRef,
    volumes: ArrayRef,
}

impl Batches {
    fn new(symbols: u64) -> Self {
        let fields = vec![
            Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("symbol", DataType::Utf8View, true),
            Field::new("price", DataType::Float64, true),
            Field::new("volume", DataType::Int64, true),
        ];
        let mut state = 42_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % below
        };
        let count = (symbols as usize * 4 / ROWS).clamp(16, 512);
        let batch = |random: &mut dyn FnMut(u64) -> u64| {
            let names = (0..ROWS).map(|_| format!("S{:06}", random(symbols)));
            Arc::new(StringViewArray::from_iter_values(names)) as ArrayRef
        };
        Batches {
            schema: Arc::new(Schema::new(fields)),
            symbols: (0..count).map(|_| batch(&mut random)).collect(),
            prices: Arc::new(Float64Array::from_iter_values(
                (0..ROWS).map(|_| random(20_000) as f64 / 100.0),
            )),
            volumes: Arc::new(Int64Array::from_iter_values((0..ROWS).map(|_| random(100) as i64))),
        }
    }

    fn batch(&self, number: usize) -> RecordBatch {
        let first = (number * ROWS) as i64;
        let time = |row: i64| (first + row) * 1_000_000 / RATE;
        let times = TimestampMicrosecondArray::from_iter_values((0..ROWS as i64).map(time));
        let symbols = self.symbols[number % self.symbols.len()].clone();
        let columns: Vec<ArrayRef> = vec![Arc::new(times), symbols, self.prices.clone(), self.volumes.clone()];
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of one length")
    }
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(f64::NAN);
    pages * 4_096.0 / 1e6
}
