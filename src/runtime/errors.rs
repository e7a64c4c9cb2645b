//! What becomes of bad events: counted, logged at a bounded rate, handed to whoever listens, and, if the stream says so,
//! the end of the app.

use std::sync::Arc;

use parking_lot::Mutex;

use super::metrics::StreamMetrics;
use crate::catalog::streams::OnError;
use crate::error::{Error, Result, RowError};
use crate::event::Micros;

/// How many bad events a stream logs in [`LOG_PERIOD`]; the rest are only counted.
const LOGGED: u64 = 5;
/// The period of [`LOGGED`], in µs.
const LOG_PERIOD: Micros = 10_000_000;

/// Takes the bad events of one stream.
pub struct StreamErrors {
    metrics: Arc<StreamMetrics>,
    on_error: OnError,
    log: Mutex<LogBudget>,
    listener: Mutex<Option<Listener>>,
}

/// Called with every bad event of a stream.
pub type Listener = Box<dyn FnMut(&RowError) + Send>;

#[derive(Default)]
struct LogBudget {
    since: Micros,
    logged: u64,
    muted: u64,
}

impl StreamErrors {
    /// For a stream.
    pub fn new(metrics: Arc<StreamMetrics>, on_error: OnError) -> Self {
        StreamErrors {
            metrics,
            on_error,
            log: Mutex::default(),
            listener: Mutex::new(None),
        }
    }

    /// Hands every bad event to `listener` as well.
    pub fn listen(&self, listener: Listener) {
        *self.listener.lock() = Some(listener);
    }

    /// Takes a bad event; `Err` when the app shall stop for it.
    pub fn report(&self, error: &RowError) -> Result<()> {
        self.metrics.count_error(error.kind);
        if let Some(listener) = self.listener.lock().as_mut() {
            listener(error);
        }
        self.write_log(error);
        match self.on_error {
            OnError::Drop => Ok(()),
            OnError::Fail => Err(Error::failed(format!(
                "stream {}{}: {} (event: {})",
                self.metrics.name,
                line(error),
                error.message,
                error.event
            ))),
        }
    }

    fn write_log(&self, error: &RowError) {
        let mut log = self.log.lock();
        if error.at.saturating_sub(log.since) >= LOG_PERIOD || error.at < log.since {
            if log.muted > 0 {
                tracing::warn!(
                    stream = self.metrics.name,
                    events = log.muted,
                    "more bad events, not logged one by one"
                );
            }
            *log = LogBudget {
                since: error.at,
                ..LogBudget::default()
            };
        }
        if log.logged < LOGGED {
            log.logged += 1;
            tracing::warn!(
                stream = self.metrics.name,
                kind = error.kind.as_str(),
                line = error.line,
                event = error.event,
                "{}",
                error.message
            );
        } else {
            log.muted += 1;
        }
    }
}

impl Drop for StreamErrors {
    fn drop(&mut self) {
        let muted = self.log.get_mut().muted;
        if muted > 0 {
            tracing::warn!(
                stream = self.metrics.name,
                events = muted,
                "more bad events, not logged one by one"
            );
        }
    }
}

fn line(error: &RowError) -> String {
    error.line.map(|line| format!(", line {line}")).unwrap_or_default()
}
