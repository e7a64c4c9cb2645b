//! The whole program, as a user runs it: files in, rates out; start-up; memory.
//!
//! `cargo bench --bench process`. Writes 5,000,000 trades as NDJSON and CSV (about 560 MB) into the target folder, once.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const ROWS: u64 = 5_000_000;
const GENERATED: u64 = 50_000_000;
const RUNS: usize = 5;
const STARTS: usize = 20;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("process-bench");
    std::fs::create_dir_all(&folder)?;
    write_trades(&folder)?;
    println!("{ROWS} rows of a file, `price > 100` and a product into a blackhole; best of {RUNS} runs");
    println!(
        "{:32} {:>10} {:>10} {:>10} {:>8}",
        "input", "wall s", "CPU s", "M rows/s", "MB"
    );
    for format in ["json", "csv"] {
        let query = "INSERT INTO Out SELECT price * volume AS amount FROM Trades WHERE price > 100;";
        report(
            &format!("{format}, 2 of 5 columns"),
            ROWS,
            &file_app(&folder, format, query)?,
        )?;
        let query =
            "INSERT INTO Out SELECT ts, symbol, price * volume AS amount, account FROM Trades WHERE price > 100;";
        report(
            &format!("{format}, 5 of 5 columns"),
            ROWS,
            &file_app(&folder, format, query)?,
        )?;
        report(
            &format!("{format}, decoding alone"),
            ROWS,
            &file_app(&folder, format, "INSERT INTO Out SELECT * FROM Trades;")?,
        )?;
    }
    println!("\n{GENERATED} generated rows: memory");
    for rows in [GENERATED / 50, GENERATED] {
        report(&format!("datagen, {rows} rows"), rows, &datagen_app(&folder, rows)?)?;
    }
    start_up(&folder)
}

/// Writes the trades as NDJSON and as CSV, unless they are there.
fn write_trades(folder: &Path) -> Result<()> {
    let (json, csv) = (folder.join("trades.json"), folder.join("trades.csv"));
    if json.exists() && csv.exists() {
        return Ok(());
    }
    let (mut json, mut csv) = (BufWriter::new(File::create(json)?), BufWriter::new(File::create(csv)?));
    writeln!(csv, "ts,symbol,price,volume,account")?;
    let mut state = 42_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for row in 0..ROWS {
        let (ts, symbol, price) = (1_700_000_000_000 + row, random(100), random(20_000) as f64 / 100.0);
        let (volume, account) = (random(100), random(10_000));
        writeln!(
            json,
            r#"{{"ts":{ts},"symbol":"S{symbol:03}","price":{price:.2},"volume":{volume},"account":{account}}}"#
        )?;
        writeln!(csv, "{ts},S{symbol:03},{price:.2},{volume},{account}")?;
    }
    json.flush()?;
    csv.flush()
}

fn file_app(folder: &Path, format: &str, query: &str) -> Result<PathBuf> {
    let sql = format!(
        "CREATE STREAM Trades (ts LONG, symbol STRING, price DOUBLE, volume LONG, account LONG)
         WITH (type = 'source', extension = 'file', format = '{format}', path = 'trades.{format}');
         {query}
         INSERT INTO Nowhere SELECT * FROM Out;
         CREATE STREAM Nowhere ({}) WITH (type = 'sink', extension = 'blackhole');",
        match query {
            _ if query.contains('*') && !query.contains("price * volume") =>
                "ts LONG, symbol STRING, price DOUBLE, volume LONG, account LONG",
            _ if query.contains("account") => "ts LONG, symbol STRING, amount DOUBLE, account LONG",
            _ => "amount DOUBLE",
        }
    );
    write_app(folder, &sql)
}

fn datagen_app(folder: &Path, rows: u64) -> Result<PathBuf> {
    let sql = format!(
        "CREATE STREAM Trades (symbol STRING, price DOUBLE, volume LONG)
         WITH (type = 'source', extension = 'datagen', rows = {rows}, 'fields.price.max' = 200);
         CREATE STREAM Nowhere (symbol STRING, amount DOUBLE) WITH (type = 'sink', extension = 'blackhole');
         INSERT INTO Nowhere SELECT symbol, price * volume FROM Trades WHERE price > 100;"
    );
    write_app(folder, &sql)
}

fn write_app(folder: &Path, sql: &str) -> Result<PathBuf> {
    let path = folder.join("app.sql");
    std::fs::write(&path, sql)?;
    Ok(path)
}

/// Runs an app several times and prints its best run.
fn report(name: &str, rows: u64, app: &Path) -> Result<()> {
    let mut best: Option<Value> = None;
    for _ in 0..RUNS {
        let stats = run(app)?;
        let number = |stats: &Value| stats["wall_seconds"].as_f64().unwrap_or(f64::MAX);
        if best.as_ref().is_none_or(|best| number(&stats) < number(best)) {
            best = Some(stats);
        }
    }
    let stats = best.unwrap_or_default();
    let number = |key: &str| stats[key].as_f64().unwrap_or(f64::NAN);
    println!(
        "{name:32} {:10.3} {:10.3} {:10.1} {:8.0}",
        number("wall_seconds"),
        number("cpu_seconds"),
        rows as f64 / number("wall_seconds") / 1e6,
        number("peak_rss_bytes") / 1e6,
    );
    Ok(())
}

fn run(app: &Path) -> Result<Value> {
    let output = eventflux(app).args(["--quiet", "--stats", "-"]).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn eventflux(app: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflux"));
    command.arg("run").arg(app);
    command
}

/// From the start of the process to the first row on its standard output.
fn start_up(folder: &Path) -> Result<()> {
    let app = write_app(
        folder,
        "CREATE STREAM Ticks (n LONG) WITH (type = 'source', extension = 'datagen', rows = 1);
         SELECT n + 1 AS n FROM Ticks WHERE n >= 0;",
    )?;
    let mut times: Vec<Duration> = (0..STARTS).map(|_| first_row(&app)).collect::<Result<_>>()?;
    times.sort_unstable();
    println!("\nfrom the start of the process to its first row, {STARTS} runs");
    println!(
        "median {:.1} ms, slowest {:.1} ms",
        millis(times[STARTS / 2]),
        millis(times[STARTS - 1])
    );
    Ok(())
}

fn first_row(app: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut child = eventflux(app).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let took = start.elapsed();
    assert!(line.contains("n="), "no row, but {line:?}");
    child.wait()?;
    Ok(took)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
