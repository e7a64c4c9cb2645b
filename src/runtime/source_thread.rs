//! A source on a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use super::errors::StreamErrors;
use crate::catalog::error_policy::Retry;
use crate::connectors::{Around, DurablePosition, Emitted, Flow, Position, Source, SourceOutput, StopSignal};
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{Clock, EventBatch, Times};

/// How many batches a source may be ahead of the pipeline; then it waits.
const SOURCE_QUEUE: usize = 8;

/// How a source ended.
#[derive(Debug)]
pub enum Ended {
    /// Its input is at its end.
    Finished,
    /// It was told to stop.
    Stopped,
    /// It cannot go on.
    Failed(Error),
}

/// The receiving side of a running source.
pub struct SourceThread {
    /// Its events; disconnects when it has ended.
    pub events: Receiver<Emitted>,
    /// How it ended, once `events` has disconnected.
    pub ended: Arc<Mutex<Option<Ended>>>,
}

impl SourceThread {
    /// Starts the thread of the source of `stream`.
    pub fn start(
        stream: &str,
        source: Box<dyn Source>,
        retry: Option<SourceRetry>,
        durable: Option<DurablePosition>,
        stop: StopSignal,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (sender, events) = bounded(SOURCE_QUEUE);
        let ended = Arc::new(Mutex::new(None));
        let report = ended.clone();
        let name = stream.to_string();
        std::thread::Builder::new()
            .name(format!("source {stream}"))
            .spawn(move || {
                let mut output = SourceOutput::new(sender, stop, clock).with_durable(durable);
                let run = std::panic::AssertUnwindSafe(|| match retry {
                    Some(retry) => retry.run(source, &mut output),
                    None => run(source, &mut output),
                });
                let result = std::panic::catch_unwind(run)
                    .unwrap_or_else(|panic| Err(Error::failed(super::panic_message(panic.as_ref()))));
                *report.lock() = Some(match (result, output.flow()) {
                    (Err(error), _) => Ended::Failed(named(&name, error)),
                    (Ok(()), Flow::Stop) => Ended::Stopped,
                    (Ok(()), Flow::Continue) => Ended::Finished,
                });
                // Only now does the channel disconnect: the reason is known before the end is seen.
                drop(output);
            })
            .map_err(|error| Error::io("starting a source's thread", error))?;
        Ok(SourceThread { events, ended })
    }
}

fn run(mut source: Box<dyn Source>, output: &mut SourceOutput) -> Result<()> {
    source.run(output)
}

/// How a source that fails begins again.
pub struct SourceRetry {
    /// How often, and after what waits.
    pub retry: Retry,
    /// The stream's errors.
    pub errors: Arc<StreamErrors>,
    /// The columns of what it emits.
    pub schema: SchemaRef,
    /// Where the first one begins, if not at the beginning.
    pub from: Option<Position>,
    /// Makes a new one that goes on after a position.
    pub make: MakeSource,
}

/// Makes a source that goes on after a position.
pub type MakeSource = Box<dyn Fn(Option<&Position>) -> Result<Box<dyn Source>> + Send>;

impl SourceRetry {
    /// Runs a source, and after each failure a new one. Attempts are counted since something was last emitted.
    fn run(self, source: Box<dyn Source>, output: &mut SourceOutput) -> Result<()> {
        output.follow(self.from.clone());
        let mut source = Ok(source);
        let mut attempts = 0;
        let mut emitted = 0;
        loop {
            let Err(error) = source.and_then(|source| run(source, output)) else {
                return Ok(());
            };
            if output.progress().emitted > emitted {
                attempts = 0;
            }
            attempts += 1;
            let wait = self.retry.delay(attempts, rand::random());
            if self.tell(&error, attempts, output) == Flow::Stop {
                return Ok(());
            }
            emitted = output.progress().emitted;
            let Some(wait) = wait else {
                return Err(after(attempts, error));
            };
            let wait = Duration::from_micros(wait.unsigned_abs());
            self.errors.retrying("reading", &error, attempts, wait);
            if output.wait(wait) == Flow::Stop {
                return Ok(());
            }
            source = (self.make)(output.progress().position.as_ref());
        }
    }

    /// Hands the failure over as an error of the stream, in its place among the events.
    fn tell(&self, error: &Error, attempts: u32, output: &mut SourceOutput) -> Flow {
        let at = output.now();
        let columns = RecordBatch::new_empty(self.schema.clone());
        output.hand_over(Emitted {
            batch: EventBatch::inserts(columns, Times::Same(at)),
            errors: vec![RowError {
                kind: ErrorKind::Source,
                message: error.to_string(),
                event: String::new(),
                line: None,
                at,
                attempts,
            }],
            position: None,
            around: Around::default(),
        })
    }
}

/// The error after the last attempt.
fn after(attempts: u32, error: Error) -> Error {
    match error {
        Error::Io { context, source } => Error::Io {
            context: format!("{context} (after {attempts} attempts)"),
            source,
        },
        other => Error::failed(format!("{other} (after {attempts} attempts)")),
    }
}

fn named(stream: &str, error: Error) -> Error {
    match error {
        Error::Io { context, source } => Error::Io {
            context: format!("source of stream {stream}: {context}"),
            source,
        },
        other => Error::failed(format!("source of stream {stream}: {other}")),
    }
}
