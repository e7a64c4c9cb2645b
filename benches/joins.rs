//! What joining two streams costs in memory: windows, intervals, changelogs.
//!
//! `cargo bench --bench joins`. The operators are driven directly, on one thread, with batches of 8,192 events on either side in
//! turn; throughput counts the events that go in, before any window.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datafusion_expr::Operator as Sql;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use eventflux::EventBatch;
use eventflux::event::{Op, Times};
use eventflux::operators::join::changelog_join::{ChangelogJoinPlan, ChangelogSide, Identity};
use eventflux::operators::join::interval_join::{Interval, IntervalJoinPlan};
use eventflux::operators::join::spec::{JoinInput, JoinKind, JoinSpec, Side};
use eventflux::operators::join::window_join::{Batches, Leaving, WindowJoinPlan, WindowSide};
use eventflux::operators::{Operator, OperatorPlan, Output, TimeUpdate};
use eventflux::windows::fifo::FifoPlan;
use eventflux::windows::{Retained, TimeDomain};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 8_192;
const SECOND: i64 = 1_000_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("price", DataType::Float64, true),
        Field::new("name", DataType::Utf8View, true),
        Field::new("id", DataType::Int64, true),
    ]))
}

/// Events of random keys, some µs apart.
struct Events {
    random: SmallRng,
    keys: i64,
    rows: usize,
    step: i64,
    now: i64,
    id: i64,
}

impl Events {
    fn new(keys: i64, rows: usize, step: i64) -> Self {
        Events {
            random: SmallRng::seed_from_u64(42),
            keys,
            rows,
            step,
            now: 0,
            id: 0,
        }
    }

    /// One batch a side, of the same span of time.
    fn next(&mut self) -> [EventBatch; 2] {
        let start = self.now;
        self.now += self.rows as i64 * self.step;
        Side::BOTH.map(|_| self.batch(start))
    }

    fn batch(&mut self, start: i64) -> EventBatch {
        let rows = 0..self.rows as i64;
        let keys: Vec<i64> = rows.clone().map(|_| self.random.random_range(0..self.keys)).collect();
        let names: StringViewArray = keys.iter().map(|key| Some(format!("the name of key {key}"))).collect();
        let prices: Float64Array = rows
            .clone()
            .map(|_| Some(self.random.random_range(1.0..100.0)))
            .collect();
        let ids: Int64Array = rows.clone().map(|row| Some(self.id + row)).collect();
        self.id += self.rows as i64;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(keys)),
            Arc::new(prices),
            Arc::new(names),
            Arc::new(ids),
        ];
        let columns = RecordBatch::try_new(schema(), columns).expect("columns of one length");
        EventBatch::inserts(columns, Times::Each(rows.map(|row| start + row * self.step).collect()))
    }
}

/// The left key, price and name, and the right price and id.
fn spec(kind: JoinKind, filtered: bool) -> JoinSpec {
    let input = JoinInput {
        schema: schema(),
        keys: vec![Arc::new(Column::new("k", 0))],
    };
    let output = vec![
        (Side::Left, 0),
        (Side::Left, 1),
        (Side::Left, 2),
        (Side::Right, 1),
        (Side::Right, 3),
    ];
    let fields = output.iter().zip(0..).map(|((_, column), at)| {
        let data_type = schema().field(*column).data_type().clone();
        Field::new(format!("c{at}"), data_type, true)
    });
    let left = Arc::new(Column::new("price", 1));
    let right = Arc::new(Column::new("price", 5));
    JoinSpec {
        kind,
        inputs: [input.clone(), input],
        null_equals_null: false,
        filter: filtered.then(|| Arc::new(BinaryExpr::new(left, Sql::Lt, right)) as _),
        schema: Arc::new(Schema::new(fields.collect::<Vec<Field>>())),
        output,
    }
}

/// Two windows and the join behind them.
struct Windows {
    windows: [Box<dyn Operator>; 2],
    join: Box<dyn Operator>,
    /// What the windows give.
    out: Output,
    /// What the join gives.
    joined: Output,
}

impl Windows {
    fn new(size: usize, join: JoinSpec, leaving: Leaving, expired: bool) -> Self {
        let window = FifoPlan {
            size: Some(size),
            duration: None,
            domain: TimeDomain::Processing,
            column: None,
            retained: Retained::Expired,
            schema: schema(),
        };
        let side = WindowSide {
            triggers: true,
            holds: true,
            leaving,
            batches: Batches::Run,
        };
        let join = WindowJoinPlan {
            join,
            sides: [side, side],
            expired,
        };
        Windows {
            windows: Side::BOTH.map(|_| window.build().expect("it builds")),
            join: join.build().expect("it builds"),
            out: Output::new(0),
            joined: Output::new(0),
        }
    }

    fn take(&mut self, batches: [EventBatch; 2]) -> usize {
        for (port, batch) in batches.into_iter().enumerate() {
            self.windows[port]
                .process(0, batch, &mut self.out)
                .expect("it takes the batch");
            for batch in self.out.take().batches {
                self.join
                    .process(port, batch, &mut self.joined)
                    .expect("it takes the batch");
            }
        }
        rows_out(&mut self.joined)
    }
}

fn rows_out(out: &mut Output) -> usize {
    let batches = out.take().batches;
    black_box(&batches).iter().map(EventBatch::num_rows).sum()
}

/// Lets events go in for a while, then measures. Says how many rows go out for each that goes in.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    warm: usize,
    mut next: impl FnMut() -> [EventBatch; 2],
    mut take: impl FnMut([EventBatch; 2]) -> usize,
) {
    let (mut came, mut went) = (0, 0);
    for _ in 0..warm {
        let batches = next();
        came = batches.iter().map(EventBatch::num_rows).sum();
        went = take(batches);
    }
    eprintln!("{name}: {:.2} rows out a row in", went as f64 / came as f64);
    let mut group = criterion.benchmark_group("joins");
    group.throughput(Throughput::Elements(came as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_batched(&mut next, &mut take, criterion::BatchSize::SmallInput);
    });
    group.finish();
}

fn windows(criterion: &mut Criterion) {
    let cases = [
        (
            "two length(100), 100 keys",
            100,
            100,
            ROWS,
            JoinKind::Inner,
            false,
            Leaving::InOrder,
            true,
        ),
        (
            "two length(100), 100 keys, current only",
            100,
            100,
            ROWS,
            JoinKind::Inner,
            false,
            Leaving::InOrder,
            false,
        ),
        (
            "two length(100), 100 keys, full, condition",
            100,
            100,
            ROWS,
            JoinKind::Full,
            true,
            Leaving::InOrder,
            true,
        ),
        (
            "two length(100), 100 keys, leaving in any order",
            100,
            100,
            ROWS,
            JoinKind::Inner,
            false,
            Leaving::AnyOrder,
            true,
        ),
        (
            "two length(100k), 100k keys",
            100_000,
            100_000,
            ROWS,
            JoinKind::Inner,
            false,
            Leaving::InOrder,
            true,
        ),
        (
            "two length(100), 100 keys, one event a batch",
            100,
            100,
            1,
            JoinKind::Inner,
            false,
            Leaving::InOrder,
            true,
        ),
    ];
    for (name, size, keys, rows, kind, filtered, leaving, expired) in cases {
        let mut events = Events::new(keys, rows, 1_000);
        let mut windows = Windows::new(size, spec(kind, filtered), leaving, expired);
        let warm = (4 * size).div_ceil(rows).max(20);
        measure(criterion, name, warm, || events.next(), |batches| windows.take(batches));
    }
}

fn intervals(criterion: &mut Criterion) {
    for (name, kind, rows) in [
        ("interval of 10 s either way, 10k keys", JoinKind::Inner, ROWS),
        ("interval of 10 s either way, 10k keys, full", JoinKind::Full, ROWS),
        (
            "interval of 10 s either way, 10k keys, 100 events a batch",
            JoinKind::Inner,
            100,
        ),
    ] {
        // A row meets one other on average.
        let mut events = Events::new(10_000, rows, 2_000);
        let plan = IntervalJoinPlan {
            join: spec(kind, false),
            interval: Interval {
                lower: -10 * SECOND,
                upper: 10 * SECOND,
            },
            times: [None, None],
            domain: TimeDomain::Event,
        };
        let mut join = plan.build().expect("it builds");
        let mut out = Output::new(0);
        let take = |batches: [EventBatch; 2]| {
            let last = batches[0].time(rows - 1);
            for (port, batch) in batches.into_iter().enumerate() {
                join.process(port, batch, &mut out).expect("it takes the batch");
            }
            join.advance(TimeUpdate::Watermark(last), &mut out).expect("time moves");
            rows_out(&mut out)
        };
        measure(criterion, name, 60_000 / rows, || events.next(), take);
    }
}

/// Each row replaces the last one of its id, of which there are few.
fn updates(batch: EventBatch, ids: i64) -> EventBatch {
    let (columns, times, _) = batch.into_parts();
    let column = columns.column(0).as_any().downcast_ref::<Int64Array>().expect("LONG");
    let mut all = columns.columns().to_vec();
    all[3] = Arc::new(column.unary::<_, arrow::datatypes::Int64Type>(|key| key % ids));
    let rows = columns.num_rows();
    let columns = RecordBatch::try_new(columns.schema(), all).expect("columns of one length");
    EventBatch::changes(columns, times, vec![Op::UpdateAfter; rows].into())
}

fn changelogs(criterion: &mut Criterion) {
    let cases = [
        (
            "changelogs, inserts of the last 20 s, 10k keys",
            JoinKind::Inner,
            Identity::Inserts,
            Some(20 * SECOND),
        ),
        (
            "changelogs, updates of 10k rows, 10k keys",
            JoinKind::Inner,
            Identity::Key(vec![3]),
            None,
        ),
        (
            "changelogs, updates of 10k rows, 10k keys, full",
            JoinKind::Full,
            Identity::Key(vec![3]),
            None,
        ),
    ];
    for (name, kind, identity, ttl) in cases {
        let mut events = Events::new(10_000, ROWS, 2_000);
        let side = ChangelogSide {
            identity: identity.clone(),
            ttl,
        };
        let plan = ChangelogJoinPlan {
            join: spec(kind, false),
            sides: [side.clone(), side],
        };
        let mut join = plan.build().expect("it builds");
        let mut out = Output::new(0);
        let next = || match identity {
            Identity::Inserts => events.next(),
            _ => events.next().map(|batch| updates(batch, 10_000)),
        };
        let take = |batches: [EventBatch; 2]| {
            out.set_now(batches[0].time(ROWS - 1));
            for (port, batch) in batches.into_iter().enumerate() {
                join.process(port, batch, &mut out).expect("it takes the batch");
            }
            rows_out(&mut out)
        };
        measure(criterion, name, 40, next, take);
    }
}

criterion_group!(benches, windows, intervals, changelogs);
criterion_main!(benches);
