//! A source on a thread of its own.

use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use crate::connectors::{Emitted, Flow, Source, SourceOutput, StopSignal};
use crate::error::{Error, Result};
use crate::event::Clock;

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
    pub fn start(stream: &str, mut source: Box<dyn Source>, stop: StopSignal, clock: Arc<dyn Clock>) -> Result<Self> {
        let (sender, events) = bounded(SOURCE_QUEUE);
        let ended = Arc::new(Mutex::new(None));
        let report = ended.clone();
        let name = stream.to_string();
        std::thread::Builder::new()
            .name(format!("source {stream}"))
            .spawn(move || {
                let mut output = SourceOutput::new(sender, stop, clock);
                let run = std::panic::AssertUnwindSafe(|| source.run(&mut output));
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

fn named(stream: &str, error: Error) -> Error {
    match error {
        Error::Io { context, source } => Error::Io {
            context: format!("source of stream {stream}: {context}"),
            source,
        },
        other => Error::failed(format!("source of stream {stream}: {other}")),
    }
}
