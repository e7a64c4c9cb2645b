//! How many clients one server holds, and how fast changes reach them: `cargo run --release --features server --example fanout`.
//!
//! ```text
//! fanout graphql|sse CLIENTS [SECONDS [CHANGES_PER_SECOND [GROUPS]]]
//! ```
//! A table of 100 rows changes so often a second; each client subscribes to the rows of its group (one group: all rows), so that with
//! 100 groups each change goes to a hundredth of the clients. The clients are in this process, too: what is measured is both
//! sides on one machine. Each change carries when it was sent, so that a client knows how long it took from there to its hands.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eventflux::server::Server;
use eventflux::{EventFlux, Layers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const SQL: &str = "
CREATE STREAM Puts (symbol STRING, grp INT, qty LONG, sent LONG);
CREATE TABLE positions (symbol STRING PRIMARY KEY, grp INT, qty LONG, sent LONG);
UPSERT INTO positions SELECT symbol, grp, qty, sent FROM Puts;";

/// How many rows the table has.
const ROWS: u64 = 100;

/// Clients of one address: fewer than there are ports.
const PER_ADDRESS: usize = 20_000;

#[derive(Default)]
struct Seen {
    ready: AtomicUsize,
    failed: AtomicUsize,
    changes: AtomicU64,
    bytes: AtomicU64,
    /// By latency in steps of 100 µs, the last for all above.
    latency: Vec<AtomicU64>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let kind = arguments.first().cloned().unwrap_or_else(|| "graphql".to_string());
    let (clients, seconds, rate, groups) = (
        number(1, 10_000)?,
        number(2, 20)?,
        number(3, 100)?,
        number(4, 1)?.max(1),
    );
    let layers = [
        "server.bind=127.0.0.1:0",
        "server.expose=positions",
        "server.max.connections=1000000",
        "server.heartbeat=10 minutes",
    ];
    let layers = layers
        .iter()
        .try_fold(Layers::default(), |layers, setting| layers.set(setting))?;
    let app = EventFlux::builder().sql(SQL).config(layers).build()?;
    app.start()?;
    let puts = app.input("Puts")?;
    let put = |number: u64, began: Instant| {
        let row = number % ROWS;
        let sent = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        puts.send((format!("S{row}"), row % groups, number, sent))
    };
    let began = Instant::now();
    (0..ROWS).try_for_each(|row| put(row, began))?;
    let server = Server::start(&app)?;
    let address = server.address();
    let seen = Arc::new(Seen {
        latency: (0..=100_000).map(|_| AtomicU64::new(0)).collect(),
        ..Seen::default()
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let before = memory();
    println!("{kind}: {clients} clients, {rate} changes/s, each to 1/{groups} of them, {seconds} s");
    for client in 0..clients {
        let (own, kind) = (seen.clone(), kind.clone());
        runtime.spawn(async move {
            if watch(&kind, address, client as usize, client % groups, &own, began)
                .await
                .is_err()
            {
                own.failed.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Not all at once: the queue of connections that wait is short.
        while client
            .saturating_sub(seen.ready.load(Ordering::Relaxed) as u64 + seen.failed.load(Ordering::Relaxed) as u64)
            > 200
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let limit = Instant::now() + Duration::from_secs(60);
    while seen.ready.load(Ordering::Relaxed) + seen.failed.load(Ordering::Relaxed) < clients as usize
        && Instant::now() < limit
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (ready, failed) = (seen.ready.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed));
    let taken = memory().saturating_sub(before);
    println!(
        "connected: {ready} in {:.1} s, {failed} failed",
        began.elapsed().as_secs_f64()
    );
    println!(
        "memory: {} KiB a client, both sides",
        taken / 1024 / ready.max(1) as u64
    );
    // What joining brought does not count.
    seen.changes.store(0, Ordering::Relaxed);
    seen.bytes.store(0, Ordering::Relaxed);
    seen.latency.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    let start = Instant::now();
    let total = seconds * rate;
    for number in 0..total {
        let due = start + Duration::from_secs_f64(number as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        put(ROWS + number, began)?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let during = seen.changes.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(2));
    let (changes, bytes) = (seen.changes.load(Ordering::Relaxed), seen.bytes.load(Ordering::Relaxed));
    println!(
        "delivered: {changes} changes, {:.0}/s while they came, {:.1} MB/s",
        during as f64 / elapsed,
        bytes as f64 / 1e6 / elapsed
    );
    let asked = total * clients / groups;
    println!(
        "of {asked}: {:.1} % (the others became part of later ones)",
        100.0 * changes as f64 / asked.max(1) as f64
    );
    for quantile in [0.5, 0.9, 0.99, 0.999] {
        println!("p{}: {:.1} ms", quantile * 100.0, percentile(&seen.latency, quantile));
    }
    println!("memory after: {} MB", memory() / 1_000_000);
    drop(runtime);
    server.shutdown();
    app.shutdown()?;
    Ok(())
}

fn percentile(latency: &[AtomicU64], quantile: f64) -> f64 {
    let counts: BTreeMap<usize, u64> = latency
        .iter()
        .enumerate()
        .map(|(step, count)| (step, count.load(Ordering::Relaxed)))
        .collect();
    let total: u64 = counts.values().sum();
    let mut below = 0;
    for (step, count) in counts {
        below += count;
        if below as f64 >= total as f64 * quantile {
            return (step + 1) as f64 / 10.0;
        }
    }
    0.0
}

/// Resident bytes of this process.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or_default();
    pages * 4_096
}

/// Subscribes, and counts what comes.
async fn watch(
    kind: &str,
    address: SocketAddr,
    client: usize,
    group: u64,
    seen: &Seen,
    began: Instant,
) -> Result<(), Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    let own = Ipv4Addr::new(127, 0, 1, 1 + (client / PER_ADDRESS) as u8);
    socket.bind(SocketAddr::from((own, 0)))?;
    let mut stream = socket.connect(address).await?;
    match kind {
        "sse" => {
            let path = format!("/events/positions?filter=grp%3D{group}&snapshot=false");
            let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
        }
        _ => {
            let request = format!(
                "GET /graphql HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            send(&mut stream, r#"{"type":"connection_init"}"#).await?;
            let query = format!(
                "subscription {{ positions(where: {{grp: {{_eq: {group}}}}}, snapshot: false) {{ operation data {{ symbol qty sent }} fields }} }}"
            );
            send(
                &mut stream,
                &format!(r#"{{"type":"subscribe","id":"1","payload":{{"query":"{query}"}}}}"#),
            )
            .await?;
        }
    }
    let mut buffer = vec![0; 2_048];
    let mut text = String::new();
    let mut is_ready = false;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err("the connection was ended".into());
        }
        if !is_ready {
            is_ready = true;
            seen.ready.fetch_add(1, Ordering::Relaxed);
        }
        seen.bytes.fetch_add(read as u64, Ordering::Relaxed);
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let now = u64::try_from(began.elapsed().as_micros())?;
        // When it was sent: "sent":"123" or "sent":123.
        let mut done = 0;
        while let Some(at) = text[done..].find("\"sent\":") {
            let value = &text[done + at + 7..];
            let value = value.strip_prefix('"').unwrap_or(value);
            let digits = value.bytes().take_while(u8::is_ascii_digit).count();
            if digits == value.len() {
                break;
            }
            if let Ok(sent) = value[..digits].parse::<u64>() {
                let step = (now.saturating_sub(sent) / 100) as usize;
                seen.latency[step.min(seen.latency.len() - 1)].fetch_add(1, Ordering::Relaxed);
                seen.changes.fetch_add(1, Ordering::Relaxed);
            }
            done += at + 7;
        }
        text.drain(..done);
        if text.len() > 4_096 {
            text.clear();
        }
    }
}

/// A frame of text; clients mask, here with zeros.
async fn send(stream: &mut TcpStream, text: &str) -> Result<(), Failure> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    stream.write_all(&frame).await?;
    Ok(())
}
