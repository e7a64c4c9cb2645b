//! The clients: a process of their own, so that its memory, time and open files are not the server's.
//!
//! It is told on stdin what to do and tells on stdout: `connected READY FAILED`; after `measure` nothing that came before counts;
//! after `report` a line `CHANGES BYTES STEP:COUNT …`, latencies in steps of 100 µs.

use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::{Failure, now};

/// Clients of one address: fewer than there are ports.
const PER_ADDRESS: usize = 20_000;

/// What is longer than 10 s is told as 10 s.
const STEPS: usize = 100_000;

struct Seen {
    ready: AtomicUsize,
    failed: AtomicUsize,
    changes: AtomicU64,
    bytes: AtomicU64,
    /// By latency, the last for all above.
    latency: Vec<AtomicU64>,
}

impl Seen {
    fn new() -> Self {
        Seen {
            ready: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            latency: (0..=STEPS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn clear(&self) {
        let counts = self.latency.iter().chain([&self.changes, &self.bytes]);
        counts.for_each(|count| count.store(0, Ordering::Relaxed));
    }

    fn connected(&self) -> usize {
        self.ready.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }
}

/// Connects so many clients, from that number on, and does what it is told until stdin ends.
pub fn run(kind: &str, address: SocketAddr, first: usize, count: usize, groups: u64) -> Result<(), Failure> {
    let seen = Arc::new(Seen::new());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    for client in 0..count {
        let (own, kind) = (seen.clone(), kind.to_string());
        runtime.spawn(async move {
            let number = first + client;
            if watch(&kind, address, number, number as u64 % groups, &own)
                .await
                .is_err()
            {
                own.failed.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Not all at once: the queue of connections that wait is short.
        let begun = Instant::now();
        while client.saturating_sub(seen.connected()) > 200 && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let begun = Instant::now();
    while seen.connected() < count && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (ready, failed) = (seen.ready.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed));
    tell(&format!("connected {ready} {failed}"))?;
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "measure" => seen.clear(),
            _ => tell(&report(&seen))?,
        }
    }
    runtime.shutdown_background();
    Ok(())
}

fn tell(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn report(seen: &Seen) -> String {
    let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let mut line = format!("{} {}", number(&seen.changes), number(&seen.bytes));
    for (step, count) in seen.latency.iter().enumerate().filter(|(_, count)| number(count) > 0) {
        line += &format!(" {step}:{}", number(count));
    }
    line
}

/// Subscribes, and counts what comes.
async fn watch(kind: &str, address: SocketAddr, client: usize, group: u64, seen: &Seen) -> Result<(), Failure> {
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
        let now = now();
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
