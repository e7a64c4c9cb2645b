//! What becomes of events in trouble: counted, logged at a bounded rate, handed to whoever listens, and then what the stream's
//! policy says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::Level;

use super::metrics::StreamMetrics;
use crate::catalog::error_policy::{Action, ErrorPolicy, LogLevel};
use crate::error::{Error, ErrorKind, Result, RowError, SHOWN_LIMIT};
use crate::event::Micros;

/// How many events in trouble a stream logs in [`LOG_PERIOD`]; the rest are only counted.
const LOGGED: u64 = 5;
/// The period of [`LOGGED`], in µs.
const LOG_PERIOD: Micros = 10_000_000;

/// Takes the events in trouble of one stream.
pub struct StreamErrors {
    metrics: Arc<StreamMetrics>,
    policy: ErrorPolicy,
    log: Mutex<LogBudget>,
    listener: Mutex<Option<Listener>>,
}

/// Called with every event in trouble of a stream.
pub type Listener = Box<dyn FnMut(&RowError) + Send>;

#[derive(Default)]
struct LogBudget {
    since: Micros,
    logged: u64,
    muted: u64,
}

impl StreamErrors {
    /// For a stream.
    pub fn new(metrics: Arc<StreamMetrics>, policy: ErrorPolicy) -> Self {
        StreamErrors {
            metrics,
            policy,
            log: Mutex::default(),
            listener: Mutex::new(None),
        }
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.metrics.name
    }

    /// What the stream does about trouble.
    pub fn policy(&self) -> &ErrorPolicy {
        &self.policy
    }

    /// Hands every event in trouble to `listener` as well.
    pub fn listen(&self, listener: Listener) {
        *self.listener.lock() = Some(listener);
    }

    /// Takes an event in trouble; what happens to it. `Err` when the app shall stop for it.
    pub fn report(&self, error: &RowError) -> Result<Action> {
        self.note(error);
        match self.policy.action(error.kind) {
            Action::Fail => Err(Error::failed(format!(
                "stream {}{}: {} (event: {})",
                self.metrics.name,
                line(error),
                printable(&error.message),
                printable(shown(&error.event))
            ))),
            action => Ok(action),
        }
    }

    /// Counts trouble that the app ends with.
    pub fn count(&self, kind: ErrorKind) {
        self.metrics.count_error(kind);
    }

    /// Counts, tells and logs an event in trouble.
    pub fn note(&self, error: &RowError) {
        self.metrics.count_error(error.kind);
        if let Some(listener) = self.listener.lock().as_mut() {
            listener(error);
        }
        if let Some(level) = self.policy.log.level {
            self.write_log(error, level);
        }
    }

    /// Counts and logs that the outside did not answer and is tried again.
    pub fn retrying(&self, what: &str, error: &Error, attempts: u32, wait: Duration) {
        self.metrics.retries.fetch_add(1, Ordering::Relaxed);
        if self.policy.log.level.is_some() {
            tracing::warn!(
                stream = self.metrics.name,
                attempts,
                wait = ?wait,
                "{what} failed, and is tried again: {error}"
            );
        }
    }

    fn write_log(&self, error: &RowError, level: LogLevel) {
        if self.policy.log.each {
            return write_line(level, &self.metrics.name, error, &error.event);
        }
        let mut log = self.log.lock();
        if error.at.saturating_sub(log.since) >= LOG_PERIOD || error.at < log.since {
            self.tell_muted(log.muted);
            *log = LogBudget {
                since: error.at,
                ..LogBudget::default()
            };
        }
        if log.logged < LOGGED {
            log.logged += 1;
            write_line(level, &self.metrics.name, error, shown(&error.event));
        } else {
            log.muted += 1;
        }
    }

    fn tell_muted(&self, events: u64) {
        if events > 0 {
            tracing::warn!(
                stream = self.metrics.name,
                events,
                "more bad events, not logged one by one"
            );
        }
    }
}

impl Drop for StreamErrors {
    fn drop(&mut self) {
        let muted = self.log.get_mut().muted;
        self.tell_muted(muted);
    }
}

/// The level of a line is a constant of the place that writes it: hence a place for each, and a macro for what they share.
fn write_line(level: LogLevel, stream: &str, error: &RowError, event: &str) {
    macro_rules! write_as {
        ($level:expr) => {
            tracing::event!(
                $level,
                stream,
                kind = error.kind.as_str(),
                line = error.line,
                event,
                "{}",
                error.message
            )
        };
    }
    match level {
        LogLevel::Error => write_as!(Level::ERROR),
        LogLevel::Warn => write_as!(Level::WARN),
        LogLevel::Info => write_as!(Level::INFO),
        LogLevel::Debug => write_as!(Level::DEBUG),
        LogLevel::Trace => write_as!(Level::TRACE),
    }
}

/// As much of an event as a line shows.
fn shown(event: &str) -> &str {
    &event[..event.floor_char_boundary(SHOWN_LIMIT)]
}

/// A text that a terminal only shows: control characters are written as escapes.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => printable.extend(character.escape_default()),
            false => printable.push(character),
        }
    }
    printable
}

fn line(error: &RowError) -> String {
    error.line.map(|line| format!(", line {line}")).unwrap_or_default()
}
