//! The grouped aggregates and the group table: rows a second of one core.
//!
//! `cargo bench --bench aggregates`

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringViewArray};
use arrow::datatypes::{DataType, Field};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventflux::catalog::functions::Functions;
use eventflux::event::{Clock, Op, SystemClock};
use eventflux::operators::aggregates::{Aggregate, AggregateSpec, Changes, GroupId, Retraction, build};
use eventflux::operators::group_table::GroupTable;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const ROWS: usize = 8192;
/// How many batches there are, so that no branch is learnt by heart.
const BATCHES: usize = 32;

fn aggregate(name: &str, retraction: Retraction) -> Box<dyn Aggregate> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let function = Functions::builtin(&clock).aggregate(name).expect("a function");
    let argument = Arc::new(Field::new("x", DataType::Float64, true));
    let return_type = function
        .return_field(std::slice::from_ref(&argument))
        .expect("a type")
        .data_type()
        .clone();
    let spec = AggregateSpec {
        function,
        arguments: vec![argument],
        constants: vec![None],
        distinct: false,
        order_by: Vec::new(),
        ignore_nulls: false,
        return_type,
    };
    build(&spec, retraction).expect("an aggregate")
}

struct Batch {
    groups: Vec<GroupId>,
    ops: Option<Vec<Op>>,
    arguments: Vec<ArrayRef>,
}

impl Batch {
    fn changes(&self) -> Changes<'_> {
        Changes {
            groups: &self.groups,
            ops: self.ops.as_deref(),
            arguments: &self.arguments,
            filter: None,
        }
    }
}

/// Batches of rows that all add.
fn additions(groups: u32) -> Vec<Batch> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut batch = || Batch {
        groups: (0..ROWS).map(|_| random.random_range(0..groups)).collect(),
        ops: None,
        arguments: vec![Arc::new(
            (0..ROWS)
                .map(|i| Some((i * 7919 % 10_007) as f64 * 0.01))
                .collect::<Float64Array>(),
        )],
    };
    (0..BATCHES).map(|_| batch()).collect()
}

/// A window of 65536 rows sliding over all groups: each row that comes in puts one out. The batches can be repeated.
fn slide(groups: u32) -> Vec<Batch> {
    let mut random = SmallRng::seed_from_u64(1);
    let total = BATCHES * ROWS / 2;
    let window = total / 2;
    let rows: Vec<(u32, f64)> = (0..total)
        .map(|_| (random.random_range(0..groups), random.random_range(0.0..1000.0)))
        .collect();
    let batch = |batch: usize| {
        let at = batch * ROWS / 2..(batch + 1) * ROWS / 2;
        let both = at.flat_map(|i| [rows[i], rows[(i + total - window) % total]]);
        let (groups, values): (Vec<u32>, Vec<f64>) = both.unzip();
        Batch {
            groups,
            ops: Some([Op::Insert, Op::Delete].repeat(ROWS / 2)),
            arguments: vec![Arc::new(Float64Array::from(values))],
        }
    };
    (0..BATCHES).map(batch).collect()
}

/// Fills the window, so that the first deletes of [`slide`] find their rows.
fn filled(name: &str, batches: &[Batch]) -> Box<dyn Aggregate> {
    let mut aggregate = aggregate(name, Retraction::Fifo);
    for batch in &batches[BATCHES / 2..] {
        let inserts: Vec<usize> = (0..ROWS).step_by(2).collect();
        let groups: Vec<u32> = inserts.iter().map(|row| batch.groups[*row]).collect();
        let rows = arrow::array::UInt32Array::from_iter_values(inserts.iter().map(|row| *row as u32));
        let values = arrow::compute::take(&batch.arguments[0], &rows, None).expect("rows");
        let changes = Changes {
            groups: &groups,
            ops: None,
            arguments: &[values],
            filter: None,
        };
        aggregate.update(&changes).expect("an update");
    }
    aggregate
}

fn update(criterion: &mut Criterion) {
    for groups in [1, 100, 100_000] {
        let mut group = criterion.benchmark_group(format!("update/{groups}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        let batches = additions(groups);
        for name in ["count", "sum", "avg", "min", "max", "stddev"] {
            let mut aggregate = aggregate(name, Retraction::Never);
            let mut next = batches.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| next.next().map(|batch| aggregate.update(&batch.changes())));
            });
        }
    }
}

fn running(criterion: &mut Criterion) {
    for groups in [1, 100, 10_000] {
        let mut group = criterion.benchmark_group(format!("running_fifo/{groups}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        let batches = slide(groups);
        for name in [
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "stddev",
            "median",
            "first",
            "last",
            "distinctCount",
        ] {
            let mut aggregate = filled(name, &batches);
            let mut next = batches.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| next.next().map(|batch| aggregate.running(&batch.changes())));
            });
        }
    }
}

fn group_table(criterion: &mut Criterion) {
    for keys in [100_u32, 100_000] {
        let mut group = criterion.benchmark_group(format!("group_table/{keys}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        let batches = additions(keys);
        let text = |key: &u32| Some(format!("K{key:06}"));
        let long = |key: &u32| Some(format!("a longer key, number {key:06}"));
        let string = |of: fn(&u32) -> Option<String>| -> Vec<Vec<ArrayRef>> {
            let column = |batch: &Batch| Arc::new(batch.groups.iter().map(of).collect::<StringViewArray>()) as ArrayRef;
            batches.iter().map(|batch| vec![column(batch)]).collect()
        };
        let numbers = batches.iter().map(|batch| {
            let values = batch.groups.iter().map(|key| i64::from(*key));
            vec![Arc::new(arrow::array::Int64Array::from_iter_values(values)) as ArrayRef]
        });
        let numbers: Vec<Vec<ArrayRef>> = numbers.collect();
        let short = string(text);
        let pairs = short
            .iter()
            .zip(&numbers)
            .map(|(a, b)| vec![a[0].clone(), b[0].clone()])
            .collect();
        for (name, batches) in [
            ("short", short),
            ("long", string(long)),
            ("i64", numbers),
            ("pair", pairs),
        ] {
            let types: Vec<DataType> = batches[0].iter().map(|column| column.data_type().clone()).collect();
            let mut table = GroupTable::new(&types).expect("a table");
            let mut ids = Vec::new();
            let mut next = batches.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| next.next().map(|columns| table.assign(columns, ROWS, &mut ids)));
            });
        }
    }
}

criterion_group!(benches, update, running, group_table);
criterion_main!(benches);
