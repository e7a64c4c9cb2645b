//! `--stats`: what a run did and what it took, as one JSON object.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::status::Totals;
use crate::CheckpointStats;
use crate::error::{Error, Result};
use crate::runtime::metrics::{QueryStats, Stats, StreamStats};

/// A run, after its end.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The app's files.
    pub app: Vec<String>,
    /// `finished`, `stopped`, `stdout-closed` or `failed`.
    pub exit_reason: &'static str,
    /// Why it failed.
    pub error: Option<String>,
    /// From start to end.
    pub wall_seconds: f64,
    /// Of the process, user and system.
    pub cpu_seconds: f64,
    /// The most memory that the process held.
    pub peak_rss_bytes: u64,
    /// Events from sources.
    pub events_in: u64,
    /// Events to sinks, and rows of queries without a target.
    pub events_out: u64,
    /// Events older than the watermark.
    pub late: u64,
    /// Events in trouble, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// By stream.
    pub streams: Vec<StreamStats>,
    /// By query.
    pub queries: Vec<QueryStats>,
    /// If checkpoints are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointStats>,
}

impl Report {
    /// Of the counters, or of an app that did not start.
    pub fn new(app: Vec<String>, stats: Option<Stats>, totals: Totals, wall_seconds: f64) -> Self {
        let (streams, queries) = stats.map(|stats| (stats.streams, stats.queries)).unwrap_or_default();
        let mut errors = BTreeMap::new();
        for (kind, count) in streams.iter().flat_map(|stream| &stream.errors) {
            *errors.entry(*kind).or_default() += count;
        }
        let (cpu_seconds, peak_rss_bytes) = resources();
        Report {
            app,
            exit_reason: "finished",
            error: None,
            wall_seconds,
            cpu_seconds,
            peak_rss_bytes,
            events_in: totals.events_in,
            events_out: totals.events_out,
            late: totals.late,
            errors,
            streams,
            queries,
            checkpoints: None,
        }
    }

    /// Writes it to a file, or for `-` to standard output.
    pub fn write(&self, to: &Path) -> Result<()> {
        let mut text = serde_json::to_vec(self).map_err(Error::failed)?;
        text.push(b'\n');
        let written = match to == Path::new("-") {
            true => std::io::stdout().lock().write_all(&text),
            false => std::fs::write(to, &text),
        };
        written.map_err(|error| Error::io(format!("cannot write {}", to.display()), error))
    }
}

/// CPU seconds and the peak of resident memory in bytes.
fn resources() -> (f64, u64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills the one rusage that it is given; all of its fields are integers, for which zero is valid, too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    // Kibibytes, except on macOS.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    (
        seconds(usage.ru_utime) + seconds(usage.ru_stime),
        u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit,
    )
}
