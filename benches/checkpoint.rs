//! What a checkpoint costs the pipeline: `cargo bench --bench checkpoint [KEYS] [SECONDS]`, 10 million keys and 20 seconds if nothing is said.
//!
//! A window holds a count and a sum for each key. Batches of 8,192 events of random keys come at a fixed rate; each is measured from when it
//! was to be sent to when it has gone through the pipeline, with and without a checkpoint every two seconds. Then the app is
//! started again from the newest checkpoint.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use eventflux::{App, Checkpoints, EventFlux};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: i64 = 8_192;

/// Between two batches: about a third of what one core bears.
const GAP: Duration = Duration::from_millis(12);

const APP: &str = "
    CREATE STREAM S (k LONG, v LONG, ts LONG, WATERMARK FOR ts AS ts);
    INSERT INTO Sums SELECT k, count(*) AS n, sum(v) AS s FROM S WINDOW TUMBLING(1 HOUR) GROUP BY k;
    INSERT INTO Ticks SELECT v FROM S WHERE k < 0;
";

fn main() {
    let numbers: Vec<i64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let keys = numbers.first().copied().unwrap_or(10_000_000);
    let seconds = numbers.get(1).copied().unwrap_or(20);
    println!("{keys} keys, {ROWS} events each {GAP:?}, milliseconds from when a batch is due to its end");
    println!("{:24} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p99", "p99.9", "max");
    measure("without checkpoints", None, keys, seconds);
    let folder = std::env::temp_dir().join(format!("eventflux-bench-{}", std::process::id()));
    let checkpoints = Checkpoints::in_folder(&folder).every(Duration::from_secs(2)).keep(1);
    measure("one every two seconds", Some(&checkpoints), keys, seconds);
    let begin = Instant::now();
    let (app, _) = start(Some(&checkpoints));
    println!(
        "started again from the newest checkpoint in {:.2} s",
        begin.elapsed().as_secs_f64()
    );
    app.shutdown().expect("it ends well");
    // The folder is in the machine's for temporary files: one that cannot be removed harms nobody.
    let _ = std::fs::remove_dir_all(folder);
}

fn start(checkpoints: Option<&Checkpoints>) -> (App, std::sync::mpsc::Receiver<Instant>) {
    let mut builder = EventFlux::builder().sql(APP);
    if let Some(checkpoints) = checkpoints {
        builder = builder.checkpoints(checkpoints.clone());
    }
    let app = builder.build().expect("a valid app");
    let (ticks, ticked): (Sender<Instant>, _) = channel();
    app.on("Ticks", move |_| {
        // Who measures has ended first, at the end.
        let _ = ticks.send(Instant::now());
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    (app, ticked)
}

fn batch(keys: impl Iterator<Item = i64>) -> RecordBatch {
    let keys: Vec<i64> = keys.collect();
    let rows = keys.len();
    let column = |value: i64| Arc::new(Int64Array::from(vec![value; rows])) as ArrayRef;
    let columns = [
        ("k", Arc::new(Int64Array::from(keys)) as ArrayRef),
        ("v", column(1)),
        ("ts", column(1)),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn measure(name: &str, checkpoints: Option<&Checkpoints>, keys: i64, seconds: i64) {
    let (app, ticked) = start(checkpoints);
    let input = app.input("S").expect("the stream exists");
    let send = |batch| input.send_batch(batch).expect("it takes the rows");
    for from in (0..keys).step_by(ROWS as usize) {
        send(batch(from..(from + ROWS).min(keys)));
    }
    send(batch(std::iter::once(-1)));
    ticked.recv().expect("the keys are there");
    let mut random = 42_u64;
    let mut key = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as i64 % keys
    };
    let batches = seconds * 1_000 / GAP.as_millis() as i64;
    let begin = Instant::now() + GAP;
    let mut latencies: Vec<f64> = (0..batches as u32)
        .map(|number| {
            let made = batch((1..ROWS).map(|_| key()).chain([-1]));
            let due = begin + GAP * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            send(made);
            let done = ticked.recv().expect("each batch ticks");
            done.saturating_duration_since(due).as_secs_f64() * 1e3
        })
        .collect();
    latencies.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{name:24} {:8.2} {:8.2} {:8.2} {:8.2}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    if let Some(stats) = app.checkpoint_stats().expect("it runs") {
        println!(
            "{} checkpoints; the newest {:.0} MB, {:.0} MB of it written, in {:.1} s; longest hold-up of one step {:.2} ms",
            stats.written,
            stats.state_bytes as f64 / 1e6,
            stats.written_bytes as f64 / 1e6,
            stats.milliseconds / 1e3,
            stats.longest_pause_milliseconds
        );
    }
    app.shutdown().expect("it ends well");
}
