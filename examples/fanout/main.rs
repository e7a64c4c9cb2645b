//! How many clients one server holds, and how fast changes reach them: `cargo run --release --features server --example fanout`.
//!
//! ```text
//! fanout graphql|sse CLIENTS [SECONDS [CHANGES_PER_SECOND [GROUPS]]]
//! ```
//! A table of 100 rows changes so often a second; each client subscribes to the rows of its group (one group: all rows), so that with
//! 100 groups each change goes to a hundredth of the clients. The clients are in processes of their own, on the same machine. Each
//! change carries when it was sent, so that a client knows how long it took from there to its hands.

mod clients;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eventflux::server::Server;
use eventflux::{App, EventFlux, Layers};

const SQL: &str = "
CREATE STREAM Puts (symbol STRING, grp INT, qty LONG, sent LONG);
CREATE TABLE positions (symbol STRING PRIMARY KEY, grp INT, qty LONG, sent LONG);
UPSERT INTO positions SELECT symbol, grp, qty, sent FROM Puts;";

/// How many rows the table has.
const ROWS: u64 = 100;

/// Clients of one process: each is an open file, of which a process may have 20,000 as a rule.
const PER_PROCESS: usize = 19_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Microseconds, by the clock that all processes share.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let kind = arguments.first().map_or("graphql", String::as_str);
    if let Some(kind) = kind.strip_prefix("clients-of-") {
        let address = arguments.get(1).map_or("", String::as_str).parse()?;
        return clients::run(
            kind,
            address,
            number(2, 0)? as usize,
            number(3, 1)? as usize,
            number(4, 1)?,
        );
    }
    let load = Load {
        clients: number(1, 10_000)?,
        seconds: number(2, 20)?,
        rate: number(3, 100)?.max(1),
        groups: number(4, 1)?.max(1),
    };
    println!(
        "{kind}: {} clients, {} changes/s, each to 1/{} of them, {} s",
        load.clients, load.rate, load.groups, load.seconds
    );
    measure(kind, &load)
}

struct Load {
    clients: u64,
    seconds: u64,
    rate: u64,
    groups: u64,
}

fn app() -> Result<App, Failure> {
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
    Ok(app)
}

fn measure(kind: &str, load: &Load) -> Result<(), Failure> {
    let app = app()?;
    let puts = app.input("Puts")?;
    let put = |number: u64| {
        let row = number % ROWS;
        puts.send((format!("S{row}"), row % load.groups, number, now()))
    };
    (0..ROWS).try_for_each(put)?;
    let server = Server::start(&app)?;
    let before = memory();
    let began = Instant::now();
    let mut processes = Vec::new();
    let mut ready = 0;
    for first in (0..load.clients as usize).step_by(PER_PROCESS) {
        let count = PER_PROCESS.min(load.clients as usize - first);
        let mut process = Clients::start(kind, server.address(), first, count, load.groups)?;
        let connected = process.line()?;
        println!("{connected}");
        let count = connected.split(' ').nth(1).map_or(Ok(0), str::parse::<u64>)?;
        ready += count;
        processes.push(process);
    }
    let taken = memory().saturating_sub(before);
    println!(
        "{ready} clients after {:.1} s; memory of the server: {:.1} KiB a client",
        began.elapsed().as_secs_f64(),
        taken as f64 / 1024.0 / ready.max(1) as f64
    );
    // What joining brought does not count.
    processes.iter_mut().try_for_each(|process| process.tell("measure"))?;
    std::thread::sleep(Duration::from_millis(500));
    let (start, cpu) = (Instant::now(), cpu_time());
    let total = load.seconds * load.rate;
    for number in 0..total {
        let due = start + Duration::from_secs_f64(number as f64 / load.rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        put(ROWS + number)?;
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_time() - cpu);
    let during = Report::of(&mut processes)?;
    std::thread::sleep(Duration::from_secs(3));
    let whole = Report::of(&mut processes)?;
    println!(
        "delivered: {} changes, {:.0}/s while they came, {:.1} MB/s; the server used {:.0} % of a core",
        whole.changes,
        during.changes as f64 / elapsed,
        during.bytes as f64 / 1e6 / elapsed,
        100.0 * cpu / elapsed
    );
    let asked = total * ready / load.groups;
    println!(
        "of {asked}: {:.1} % (the others became part of later ones)",
        100.0 * whole.changes as f64 / asked.max(1) as f64
    );
    for quantile in [0.5, 0.9, 0.99, 0.999] {
        println!("p{}: {:.1} ms", quantile * 100.0, whole.percentile(quantile));
    }
    println!("memory of the server after: {} MB", memory() / 1_000_000);
    drop(processes);
    server.shutdown();
    app.shutdown()?;
    Ok(())
}

/// A process of clients. It ends with its stdin.
struct Clients {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    fn start(kind: &str, address: SocketAddr, first: usize, count: usize, groups: u64) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(format!("clients-of-{kind}"))
            .args([
                address.to_string(),
                first.to_string(),
                count.to_string(),
                groups.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("the clients have no output")?;
        Ok(Clients {
            child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    fn tell(&mut self, what: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("the clients have no input")?;
        writeln!(input, "{what}")?;
        Ok(input.flush()?)
    }

    fn line(&mut self) -> Result<String, Failure> {
        Ok(self.output.next().ok_or("the clients have ended")??)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// What all clients have seen.
#[derive(Default)]
struct Report {
    changes: u64,
    bytes: u64,
    /// By latency in steps of 100 µs.
    latency: BTreeMap<u64, u64>,
}

impl Report {
    fn of(processes: &mut [Clients]) -> Result<Self, Failure> {
        let mut report = Report::default();
        for process in processes {
            process.tell("report")?;
            let line = process.line()?;
            let mut words = line.split(' ');
            report.changes += words.next().unwrap_or_default().parse::<u64>()?;
            report.bytes += words.next().unwrap_or_default().parse::<u64>()?;
            for word in words {
                let (step, count) = word.split_once(':').ok_or("a report of another form")?;
                *report.latency.entry(step.parse()?).or_default() += count.parse::<u64>()?;
            }
        }
        Ok(report)
    }

    fn percentile(&self, quantile: f64) -> f64 {
        let total: u64 = self.latency.values().sum();
        let mut below = 0;
        for (step, count) in &self.latency {
            below += count;
            if below as f64 >= total as f64 * quantile {
                return (step + 1) as f64 / 10.0;
            }
        }
        0.0
    }
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

/// Seconds of processor time that this process has used; the kernel counts in hundredths.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
