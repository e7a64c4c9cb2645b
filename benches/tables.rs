//! Tables: rows a second of one core.
//!
//! `cargo bench --bench tables`

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::EventFlux;
use eventflux::catalog::tables::TableDef;
use eventflux::config::options::{Options, RawOption};
use eventflux::tables::registry::{Backends, Opening};
use eventflux::tables::{Access, Probe, Table};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 1_000_000;
const BATCH: usize = 8192;
/// How many batches of lookups there are, so that none is learnt by heart.
const BATCHES: usize = 64;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8View, true),
        Field::new("price", DataType::Float64, true),
        Field::new("volume", DataType::Int64, true),
    ]))
}

/// The columns of the primary key and of an index.
fn open(backend: &str, key: &[usize], index: &[usize], options: &[(&str, &str)]) -> Arc<dyn Table> {
    let raw: Vec<RawOption> = options
        .iter()
        .map(|(key, value)| RawOption::new(*key, *value))
        .collect();
    let backends = Backends::builtin();
    let specs = backends.get(backend).expect("a backend").options();
    let def = TableDef {
        name: "t".to_string(),
        schema: schema(),
        primary_key: key.to_vec(),
        indexes: if index.is_empty() {
            Vec::new()
        } else {
            vec![index.to_vec()]
        },
        backend: backend.to_string(),
        settings: Options::default(),
        options: Options::check(backend, specs, &raw).expect("options"),
        raw,
        span: None,
    };
    backends.open(def, &Opening::default()).expect("a table")
}

fn name(id: i64) -> String {
    format!("n{id}")
}

fn rows(ids: impl Iterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.collect();
    let names: ArrayRef = Arc::new(StringViewArray::from_iter_values(ids.iter().map(|id| name(*id))));
    let prices: ArrayRef = Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| *id as f64 * 0.25)));
    let volumes: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| id * 3)));
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    RecordBatch::try_new(schema(), vec![ids, names, prices, volumes]).expect("rows")
}

/// All rows in a random order, in batches.
fn shuffled() -> Vec<RecordBatch> {
    let mut ids: Vec<i64> = (0..ROWS as i64).collect();
    let mut random = SmallRng::seed_from_u64(7);
    for i in (1..ids.len()).rev() {
        ids.swap(i, random.random_range(0..=i));
    }
    ids.chunks(BATCH).map(|ids| rows(ids.iter().copied())).collect()
}

fn write(table: &dyn Table, rows: &RecordBatch) {
    let mut writer = table.write().expect("a writer");
    assert!(writer.upsert(rows).expect("an upsert").is_empty());
    writer.commit().expect("a commit");
}

fn filled(backend: &str, key: &[usize], index: &[usize], options: &[(&str, &str)]) -> Arc<dyn Table> {
    let table = open(backend, key, index, options);
    shuffled().iter().for_each(|rows| write(&*table, rows));
    table
}

fn probes(column: usize, size: usize) -> Vec<Probe> {
    let mut random = SmallRng::seed_from_u64(3);
    let mut probe = || {
        let rows = rows((0..size).map(|_| random.random_range(0..ROWS as i64)));
        Probe {
            rows: size,
            equal: vec![rows.column(column).clone()],
            low: None,
            high: None,
        }
    };
    (0..BATCHES).map(|_| probe()).collect()
}

fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup, 1 M rows");
    let tables = [
        ("LONG key", filled("memory", &[0], &[], &[]), 0),
        ("STRING key", filled("memory", &[1], &[], &[]), 1),
        ("STRING index", filled("memory", &[0], &[1], &[]), 1),
        (
            "cache, LONG key",
            filled("cache", &[0], &[], &[("max_size", "2000000")]),
            0,
        ),
    ];
    for (name, table, column) in &tables {
        let access = Access {
            equal: vec![*column],
            range: None,
        };
        for size in [1, 1024, BATCH] {
            let probes = probes(*column, size);
            let mut next = 0;
            group.throughput(Throughput::Elements(size as u64));
            for (what, columns) in [("4 columns", &[0, 1, 2, 3][..]), ("1 column", &[2][..])] {
                group.bench_function(BenchmarkId::new(format!("{name}, {what}"), size), |b| {
                    b.iter(|| {
                        next = (next + 1) % BATCHES;
                        black_box(table.lookup(&access, &probes[next], columns).expect("rows"))
                    });
                });
            }
        }
    }
    group.finish();
}

fn writes(c: &mut Criterion) {
    let mut group = c.benchmark_group("write, batches of 8192");
    group.sample_size(10);
    let batches = shuffled();
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, key, index) in [
        ("insert, LONG key", &[0][..], &[][..]),
        ("insert, STRING key", &[1], &[]),
        ("insert, LONG key and index", &[0], &[1]),
        ("insert, no key", &[], &[]),
    ] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || open("memory", key, index, &[]),
                |table| {
                    for rows in &batches {
                        let mut writer = table.write().expect("a writer");
                        assert!(writer.insert(rows).expect("an insert").is_empty());
                        writer.commit().expect("a commit");
                    }
                    table
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut random = SmallRng::seed_from_u64(5);
    let changes: Vec<RecordBatch> = (0..BATCHES)
        .map(|_| {
            let picked = UInt32Array::from_iter_values((0..BATCH).map(|_| random.random_range(0..BATCH as u32)));
            let from = &batches[random.random_range(0..batches.len() - 1)];
            take_record_batch(from, &picked).expect("rows")
        })
        .collect();
    let mut next = 0;
    for (name, backend, options) in [
        ("upsert of existing keys", "memory", &[][..]),
        ("upsert of existing keys, cache", "cache", &[("max_size", "2000000")]),
    ] {
        let table = filled(backend, &[0], &[], options);
        group.bench_function(name, |b| {
            b.iter(|| {
                next = (next + 1) % BATCHES;
                write(&*table, &changes[next]);
            });
        });
        let singles: Vec<RecordBatch> = (0..BATCHES).map(|row| changes[0].slice(row, 1)).collect();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}, one a commit"), |b| {
            b.iter(|| {
                next = (next + 1) % BATCHES;
                write(&*table, &singles[next]);
            });
        });
        group.throughput(Throughput::Elements(BATCH as u64));
    }
    let cache = filled("cache", &[0], &[], &[("max_size", "500000")]);
    let mut base = ROWS as i64;
    group.bench_function("insert into a full cache (lru)", |b| {
        b.iter(|| {
            write(&*cache, &rows(base..base + BATCH as i64));
            base += BATCH as i64;
        });
    });
    group.finish();
}

fn scans(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan, 1 M rows");
    let table = filled("memory", &[0], &[], &[]);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("numbers", |b| b.iter(|| black_box(table.scan(&[0, 2]).expect("rows"))));
    group.bench_function("all columns", |b| {
        b.iter(|| black_box(table.scan(&[0, 1, 2, 3]).expect("rows")))
    });
    group.finish();
}

#[cfg(feature = "sqlite")]
fn sqlite(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tables.db").display().to_string();
    let table = filled("sqlite", &[0], &[], &[("path", &path)]);
    let mut group = c.benchmark_group("sqlite, 1 M rows");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut base = ROWS as i64;
    group.bench_function("upsert of new keys", |b| {
        b.iter(|| {
            write(&*table, &rows(base..base + BATCH as i64));
            base += BATCH as i64;
        });
    });
    let probes = probes(0, BATCH);
    let access = Access {
        equal: vec![0],
        range: None,
    };
    let mut next = 0;
    group.bench_function("lookup by key", |b| {
        b.iter(|| {
            next = (next + 1) % BATCHES;
            black_box(table.lookup(&access, &probes[next], &[0, 1, 2, 3]).expect("rows"))
        });
    });
    group.finish();
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &mut Criterion) {}

/// PostgreSQL, if `EVENTFLUX_BENCH_POSTGRES` names one.
#[cfg(feature = "postgres")]
fn postgres(c: &mut Criterion) {
    let Ok(url) = std::env::var("EVENTFLUX_BENCH_POSTGRES") else {
        return;
    };
    let name = format!("bench_{}", std::process::id());
    let table = open("postgres", &[0], &[], &[("url", &url), ("table", &name)]);
    let mut group = c.benchmark_group("postgres");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut base = 0;
    group.bench_function("upsert of new keys", |b| {
        b.iter(|| {
            write(&*table, &rows(base..base + BATCH as i64));
            base += BATCH as i64;
        });
    });
    let probes = probes(0, BATCH);
    let access = Access {
        equal: vec![0],
        range: None,
    };
    let mut next = 0;
    group.bench_function("lookup by key", |b| {
        b.iter(|| {
            next = (next + 1) % BATCHES;
            black_box(table.lookup(&access, &probes[next], &[0, 1, 2, 3]).expect("rows"))
        });
    });
    group.finish();
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &mut Criterion) {}

/// Whole statements, from their text to their rows; and streams that are joined with a table or go into one.
fn apps(c: &mut Criterion) {
    let app = EventFlux::builder()
        .sql(
            "CREATE STREAM S (id LONG, name STRING, price DOUBLE, volume LONG);
             CREATE STREAM Asked (id LONG, volume LONG);
             CREATE TABLE T (id LONG PRIMARY KEY, name STRING, price DOUBLE, volume LONG);
             UPSERT INTO T SELECT id, name, price, volume FROM S;
             CREATE STREAM Priced (id LONG);
             INSERT INTO Prices SELECT a.id, t.price FROM Priced AS a JOIN T AS t ON t.id = a.id;
             INSERT INTO Joined SELECT a.id, t.name, t.price * a.volume AS worth FROM Asked AS a JOIN T AS t ON t.id = a.id;",
        )
        .inline()
        .build()
        .expect("a valid app");
    for stream in ["Joined", "Prices"] {
        app.on(stream, |batch| {
            black_box(batch.num_rows());
        })
        .expect("the stream exists");
    }
    app.start().expect("it starts");
    let input = app.input("S").expect("the stream exists");
    for from in (0..ROWS as i64).step_by(BATCH) {
        input.send_batch(rows(from..from + BATCH as i64)).expect("it is taken");
    }
    let mut group = c.benchmark_group("apps, 1 M rows");
    group.throughput(Throughput::Elements(1));
    let mut random = SmallRng::seed_from_u64(7);
    group.bench_function("on demand by key", |b| {
        b.iter(|| {
            let id = random.random_range(0..ROWS);
            let sql = format!("SELECT name, price FROM T WHERE id = {id}");
            black_box(app.query(&sql).expect("rows"))
        });
    });
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, stream) in [("one column", "Priced"), ("two columns and a product", "Asked")] {
        let asked = app.input(stream).expect("the stream exists");
        let schema = asked.stream().schema.clone();
        let mut batch = || {
            let ids = (0..BATCH).map(|_| random.random_range(0..ROWS as i64));
            let ids: ArrayRef = Arc::new(ids.map(Some).collect::<Int64Array>());
            let columns = vec![ids; schema.fields().len()];
            RecordBatch::try_new(schema.clone(), columns).expect("a batch")
        };
        group.bench_function(format!("stream joined by key, {name}"), |b| {
            b.iter_batched(
                &mut batch,
                |batch| asked.send_batch(batch).expect("it is taken"),
                BatchSize::SmallInput,
            );
        });
    }
    let mut base = ROWS as i64 * 2;
    let mut next = || {
        base += BATCH as i64;
        rows(base - BATCH as i64..base)
    };
    group.bench_function("stream into the table, new keys", |b| {
        b.iter_batched(
            &mut next,
            |batch| input.send_batch(batch).expect("it is taken"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, lookups, writes, scans, sqlite, postgres, apps);
criterion_main!(benches);
