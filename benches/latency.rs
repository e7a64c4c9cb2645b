//! How long one event takes from `send` to the callback, at 10,000 events a second through the embedding API.
//!
//! `cargo bench --bench latency`. The sender is paced by the clock, so a slow event delays none of the measurements but its
//! own: each is measured from when it was sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventflux::{App, EventFlux, Rows};
use parking_lot::Mutex;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RATE: u32 = 10_000;
const WARM_UP: usize = 10_000;
const EVENTS: usize = 100_000;

const APP: &str = "
    CREATE STREAM Trades (sent LONG, symbol STRING, price DOUBLE, volume LONG);
    INSERT INTO Large SELECT sent, symbol, price * volume AS amount FROM Trades WHERE price > 100;
";

fn main() {
    println!("{EVENTS} events at {RATE} a second, microseconds from send to callback");
    println!("{:8} {:>8} {:>8} {:>8} {:>8}", "mode", "p50", "p99", "p99.9", "max");
    measure(
        "inline",
        EventFlux::builder().sql(APP).inline().build().expect("a valid app"),
    );
    measure("threads", EventFlux::builder().sql(APP).build().expect("a valid app"));
}

fn measure(mode: &str, app: App) {
    let begin = Instant::now();
    let nanos = move || i64::try_from(begin.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let latencies = Arc::new(Mutex::new(Vec::with_capacity(WARM_UP + EVENTS)));
    let arrived = latencies.clone();
    app.on("Large", move |batch| {
        let now = nanos();
        let rows = batch.rows::<(i64, String, f64)>().expect("the columns fit");
        arrived.lock().extend(rows.into_iter().map(|(sent, _, _)| now - sent));
    })
    .expect("the stream exists");
    app.start().expect("it starts");
    let input = app.input("Trades").expect("the stream exists");
    let gap = Duration::from_secs(1) / RATE;
    let start = Instant::now();
    for number in 0..(WARM_UP + EVENTS) as u32 {
        wait_until(start + gap * number);
        input.send((nanos(), "ACME", 120.5, 3)).expect("it takes the row");
    }
    app.shutdown().expect("it ends well");
    let mut latencies = latencies.lock().split_off(WARM_UP);
    assert_eq!(latencies.len(), EVENTS, "every event arrives");
    latencies.sort_unstable();
    let at = |share: f64| latencies[((EVENTS - 1) as f64 * share) as usize] as f64 / 1_000.0;
    println!(
        "{mode:8} {:8.1} {:8.1} {:8.1} {:8.1}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// Sleeps, and yields at the end: the other thread gets the core, and the next event is in time.
fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        match left {
            Duration::ZERO => return,
            left if left > Duration::from_micros(200) => std::thread::sleep(left - Duration::from_micros(150)),
            _ => std::thread::yield_now(),
        }
    }
}
