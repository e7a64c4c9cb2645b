//! What windows cost, an event: sessions by number of keys, and the other kinds.
//!
//! `cargo bench --bench windows`. Batches of 8192 events go through the embedding API in inline mode, on one thread; event
//! time moves on with each batch.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::EventFlux;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 8_192;

/// Batches of events whose keys are random among `keys`, each met about once a second.
struct Events {
    keys: u64,
    state: u64,
    sent: i64,
    schema: Arc<Schema>,
}

impl Events {
    fn new(keys: u64) -> Self {
        let fields = ["k", "v", "ts"].map(|name| Field::new(name, DataType::Int64, true));
        Events {
            keys,
            state: 42,
            sent: 0,
            schema: Arc::new(Schema::new(Vec::from(fields))),
        }
    }

    fn next(&mut self) -> RecordBatch {
        let mut random = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.state >> 11
        };
        let keys: Int64Array = (0..ROWS).map(|_| Some((random() % self.keys) as i64)).collect();
        let values: Int64Array = (0..ROWS).map(|row| Some((row * 7 % 1_000) as i64)).collect();
        let first = self.sent;
        let time = |row: usize| (first + row as i64) * 1_000 / self.keys as i64;
        let times: Int64Array = (0..ROWS).map(|row| Some(time(row))).collect();
        self.sent += ROWS as i64;
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values), Arc::new(times)];
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of one length")
    }
}

fn measure(criterion: &mut Criterion, group: &str, name: &str, keys: u64, query: &str) {
    let sql = format!("CREATE STREAM S (k LONG, v LONG, ts LONG, WATERMARK FOR ts AS ts); {query}");
    let app = EventFlux::builder().sql(sql).inline().build().expect("a valid app");
    app.on("Out", |batch| {
        black_box(batch.num_rows());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    let input = app.input("S").expect("the stream exists");
    let mut events = Events::new(keys);
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_batched(
            || events.next(),
            |batch| input.send_batch(batch).expect("it takes the batch"),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A session has seven events or so.
fn sessions(criterion: &mut Criterion) {
    let query = "INSERT INTO Out SELECT k, sum(v) AS s, count(*) AS n, window_start, window_end
                 FROM S WINDOW('session', 2 SECONDS) GROUP BY k;";
    for (name, keys) in [("100 keys", 100), ("10 k keys", 10_000), ("1 M keys", 1_000_000)] {
        measure(criterion, "session", name, keys, query);
    }
    let events = "INSERT INTO Out SELECT k, v FROM S WINDOW('session', 2 SECONDS, k);";
    measure(criterion, "session", "10 k keys, events", 10_000, events);
}

fn kinds(criterion: &mut Criterion) {
    for (name, window) in [
        ("length", "'length', 1000"),
        ("time", "'time', 1 SECOND"),
        ("delay", "'delay', 1 SECOND"),
        ("unique", "'unique', k"),
        ("uniqueLength", "'uniqueLength', k, 1000"),
        ("firstUnique", "'firstUnique', k"),
        ("sort", "'sort', 100, v"),
        ("frequent", "'frequent', 100, k"),
        ("expression", "'expression', 'count(*) <= 1000'"),
        ("expressionBatch", "'expressionBatch', 'count(*) <= 1000'"),
        ("lengthBatch", "'lengthBatch', 1000"),
        ("timeBatch", "'timeBatch', 1 SECOND"),
        ("externalTimeBatch", "'externalTimeBatch', ts, 1 SECOND"),
    ] {
        let query = format!("INSERT INTO Out SELECT sum(v) AS s FROM S WINDOW({window});");
        measure(criterion, "kinds", name, 10_000, &query);
    }
}

criterion_group!(benches, sessions, kinds);
criterion_main!(benches);
