//! Counters: written by one thread each, read by anybody, never locked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::Serialize;

use crate::error::ErrorKind;
use crate::operators::PatternCounts;

/// Counters of a running app.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By stream, in declaration order.
    pub streams: Vec<Arc<StreamMetrics>>,
    /// By query, in statement order.
    pub queries: Vec<Arc<QueryMetrics>>,
}

/// Counters of a stream.
#[derive(Debug)]
pub struct StreamMetrics {
    /// The stream's name.
    pub name: String,
    /// Whether a connector feeds it, takes it, or neither.
    pub role: &'static str,
    /// Events that went through it.
    pub rows: AtomicU64,
    /// Events older than the watermark.
    pub late: AtomicU64,
    /// Bad events by kind.
    errors: [AtomicU64; KINDS.len()],
    /// How often its source or sink was tried again.
    pub retries: AtomicU64,
    /// The watermark in µs; `i64::MIN` while there is none.
    pub watermark: AtomicI64,
}

/// Counters of a query.
#[derive(Debug)]
pub struct QueryMetrics {
    /// The query's name.
    pub name: String,
    /// The stream it feeds.
    pub target: String,
    /// Events that came in.
    pub rows_in: AtomicU64,
    /// Events that it produced.
    pub rows_out: AtomicU64,
    /// Of its patterns, if it has any.
    pub pattern: Option<PatternMetrics>,
}

/// Counters of the patterns of a query, on all threads together.
#[derive(Debug, Default)]
pub struct PatternMetrics {
    /// Open attempts.
    pub open: AtomicI64,
    /// What they take, in bytes.
    pub bytes: AtomicI64,
    /// Matches.
    pub matches: AtomicU64,
    /// Attempts that timed out.
    pub timeouts: AtomicU64,
    /// Attempts dropped because there were too many.
    pub dropped: AtomicU64,
}

const KINDS: [ErrorKind; 7] = [
    ErrorKind::Decode,
    ErrorKind::Evaluate,
    ErrorKind::Constraint,
    ErrorKind::Sink,
    ErrorKind::Table,
    ErrorKind::Refused,
    ErrorKind::Source,
];

impl StreamMetrics {
    /// All zero.
    pub fn new(name: String, role: &'static str) -> Self {
        StreamMetrics {
            name,
            role,
            rows: AtomicU64::new(0),
            late: AtomicU64::new(0),
            errors: Default::default(),
            retries: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
        }
    }

    /// Counts a bad event.
    pub fn count_error(&self, kind: ErrorKind) {
        if let Some(index) = KINDS.iter().position(|known| *known == kind) {
            self.errors[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bad events of all kinds.
    pub fn error_count(&self) -> u64 {
        self.errors.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl QueryMetrics {
    /// All zero.
    pub fn new(name: String, target: String, pattern: Option<PatternMetrics>) -> Self {
        QueryMetrics {
            name,
            target,
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            pattern,
        }
    }
}

impl PatternMetrics {
    /// Adds a change.
    pub fn add(&self, change: PatternCounts) {
        if change == PatternCounts::default() {
            return;
        }
        self.open.fetch_add(change.open, Ordering::Relaxed);
        self.bytes.fetch_add(change.bytes, Ordering::Relaxed);
        self.matches.fetch_add(change.matches, Ordering::Relaxed);
        self.timeouts.fetch_add(change.timeouts, Ordering::Relaxed);
        self.dropped.fetch_add(change.dropped, Ordering::Relaxed);
    }

    fn stats(&self) -> PatternStats {
        PatternStats {
            open: self.open.load(Ordering::Relaxed).max(0).unsigned_abs(),
            bytes: self.bytes.load(Ordering::Relaxed).max(0).unsigned_abs(),
            matches: self.matches.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

/// The counters at one moment, as `--stats` writes them.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// By stream.
    pub streams: Vec<StreamStats>,
    /// By query.
    pub queries: Vec<QueryStats>,
}

/// A stream's counters at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StreamStats {
    /// The stream's name.
    pub name: String,
    /// `source`, `sink` or `internal`.
    pub role: &'static str,
    /// Events that went through it.
    pub rows: u64,
    /// Events older than the watermark.
    pub late: u64,
    /// Bad events by kind; kinds without any are left out.
    pub errors: BTreeMap<&'static str, u64>,
    /// How often its source or sink was tried again.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
    /// The watermark in µs since 1970, if there is one.
    pub watermark: Option<i64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A query's counters at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct QueryStats {
    /// The query's name.
    pub name: String,
    /// The stream it feeds.
    pub target: String,
    /// Events that came in.
    pub rows_in: u64,
    /// Events that it produced.
    pub rows_out: u64,
    /// Of its patterns, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<PatternStats>,
}

/// The counters of a query's patterns at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PatternStats {
    /// Attempts that have begun and are neither complete nor over.
    pub open: u64,
    /// What they take, in bytes: themselves, their events, where they wait, their timers.
    pub bytes: u64,
    /// Matches.
    pub matches: u64,
    /// Attempts whose WITHIN was over.
    pub timeouts: u64,
    /// Attempts dropped because more were open than `max_instances`.
    pub dropped: u64,
}

impl Metrics {
    /// The counters now.
    pub fn stats(&self) -> Stats {
        let streams = self.streams.iter().map(|stream| StreamStats {
            name: stream.name.clone(),
            role: stream.role,
            rows: stream.rows.load(Ordering::Relaxed),
            late: stream.late.load(Ordering::Relaxed),
            errors: KINDS
                .iter()
                .zip(&stream.errors)
                .map(|(kind, count)| (kind.as_str(), count.load(Ordering::Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            retries: stream.retries.load(Ordering::Relaxed),
            watermark: Some(stream.watermark.load(Ordering::Relaxed))
                .filter(|time| *time != i64::MIN && *time != i64::MAX),
        });
        let queries = self.queries.iter().map(|query| QueryStats {
            name: query.name.clone(),
            target: query.target.clone(),
            rows_in: query.rows_in.load(Ordering::Relaxed),
            rows_out: query.rows_out.load(Ordering::Relaxed),
            pattern: query.pattern.as_ref().map(PatternMetrics::stats),
        });
        Stats {
            streams: streams.collect(),
            queries: queries.collect(),
        }
    }
}
