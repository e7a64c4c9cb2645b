//! The live status line: once a second on standard error, always the last line of the terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::App;
use crate::catalog::streams::Role;
use crate::event::{Clock, SystemClock};
use crate::runtime::metrics::Stats;

/// How often the line is drawn.
const PERIOD: Duration = Duration::from_secs(1);

/// Back to the start of the line, and erase it.
const ERASE: &[u8] = b"\r\x1b[2K";

/// Whether the line is on the terminal now. Read and written under the lock of standard error.
static DRAWN: AtomicBool = AtomicBool::new(false);

/// The counters of an app, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events from sources.
    pub events_in: u64,
    /// Events to sinks, and rows of queries without a target.
    pub events_out: u64,
    /// Events older than the watermark.
    pub late: u64,
    /// Events in trouble.
    pub errors: u64,
    /// The least watermark, in µs.
    pub watermark: Option<i64>,
}

impl Totals {
    /// Of the counters; `printed` are the queries without a target.
    pub fn of(stats: &Stats, printed: &[String]) -> Self {
        let rows = |role: &str| {
            stats
                .streams
                .iter()
                .filter(|stream| stream.role == role)
                .map(|stream| stream.rows)
                .sum::<u64>()
        };
        let bare = stats
            .queries
            .iter()
            .filter(|query| printed.contains(&query.target))
            .map(|query| query.rows_out);
        let sources = stats.streams.iter().filter(|stream| stream.role == "source");
        Totals {
            events_in: rows("source"),
            events_out: rows("sink") + bare.sum::<u64>(),
            late: stats.streams.iter().map(|stream| stream.late).sum(),
            errors: stats.streams.iter().flat_map(|stream| stream.errors.values()).sum(),
            watermark: sources.filter_map(|stream| stream.watermark).min(),
        }
    }
}

/// Draws the status line until it is dropped.
pub struct Status {
    ended: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Status {
    /// Starts drawing, if standard error is a terminal and rows do not go to that terminal, too: those show that the app
    /// is alive, and would be torn by the line.
    pub fn start(app: &App) -> Option<Self> {
        let to_stdout = |connector: &str| matches!(connector, "log" | "stdout");
        let prints = !app.bare_queries().is_empty()
            || app
                .streams()
                .iter()
                .any(|stream| matches!(&stream.role, Role::Sink(sink) if to_stdout(&sink.connector)));
        if !std::io::stderr().is_terminal() || (prints && std::io::stdout().is_terminal()) {
            return None;
        }
        let (ended, wait) = bounded(0);
        let (app, printed) = (app.clone(), app.bare_queries());
        let draw_all = move || {
            let (mut before, mut at) = (Totals::default(), Instant::now());
            while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(PERIOD) {
                let Ok(stats) = app.stats() else {
                    continue;
                };
                let totals = Totals::of(&stats, &printed);
                draw(&line(&totals, &before, at.elapsed(), SystemClock.now()));
                (before, at) = (totals, Instant::now());
            }
        };
        let thread = std::thread::Builder::new()
            .name("status".to_string())
            .spawn(draw_all)
            .ok();
        Some(Status {
            ended: Some(ended),
            thread,
        })
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.ended = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has drawn its last line; nothing else depends on it.
            let _ = thread.join();
        }
        let _ = AboveStatus.write_all(b"");
    }
}

/// `in 12,345 (1,234/s)  out 56 (5/s)  lag 1.2 s  late 3  errors 2`.
fn line(now: &Totals, before: &Totals, elapsed: Duration, clock: i64) -> String {
    let rate = |now: u64, before: u64| {
        let per_second = now.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(1e-9);
        grouped(per_second.round() as u64)
    };
    let mut text = format!(
        "in {} ({}/s)  out {} ({}/s)",
        grouped(now.events_in),
        rate(now.events_in, before.events_in),
        grouped(now.events_out),
        rate(now.events_out, before.events_out),
    );
    if let Some(watermark) = now.watermark {
        text.push_str(&format!("  lag {}", span(clock.saturating_sub(watermark))));
    }
    for (name, count) in [("late", now.late), ("errors", now.errors)] {
        if count > 0 {
            text.push_str(&format!("  {name} {}", grouped(count)));
        }
    }
    text
}

/// A number with its thousands apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span of time with two or three digits: `1.2 s`, `35 min`.
fn span(micros: i64) -> String {
    let seconds = micros as f64 / 1e6;
    match seconds.abs() {
        s if s < 10.0 => format!("{seconds:.1} s"),
        s if s < 120.0 => format!("{seconds:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

fn draw(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let width = terminal_width(&stderr).unwrap_or(80);
    // A line that wraps could not be erased.
    let text: String = text.chars().take(width.saturating_sub(1)).collect();
    let drawn = stderr
        .write_all(ERASE)
        .and_then(|()| stderr.write_all(text.as_bytes()))
        .and_then(|()| stderr.flush());
    DRAWN.store(drawn.is_ok(), Ordering::Relaxed);
}

fn terminal_width(stderr: &impl std::os::fd::AsRawFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the descriptor is open while it is borrowed, and TIOCGWINSZ fills the one winsize that it is given.
    let done = unsafe { libc::ioctl(stderr.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (done == 0 && size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Standard error for whole lines above the status line, which is erased until it is drawn again.
#[derive(Debug, Clone, Copy)]
pub struct AboveStatus;

impl Write for AboveStatus {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut stderr = std::io::stderr().lock();
        if DRAWN.swap(false, Ordering::Relaxed) {
            stderr.write_all(ERASE)?;
        }
        stderr.write_all(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        let spans = [1_200_000, 35_000_000, 2_100_000_000, 36_000_000_000, 864_000_000_000];
        assert_eq!(spans.map(span), ["1.2 s", "35 s", "35 min", "10 h", "10 days"]);
    }

    #[test]
    fn a_line() {
        let before = Totals {
            events_in: 1_000,
            ..Totals::default()
        };
        let now = Totals {
            events_in: 3_000,
            events_out: 50,
            late: 0,
            errors: 2,
            watermark: Some(1_000_000),
        };
        let text = line(&now, &before, Duration::from_secs(2), 2_500_000);
        assert_eq!(text, "in 3,000 (1,000/s)  out 50 (25/s)  lag 1.5 s  errors 2");
    }
}
