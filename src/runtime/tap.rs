//! Taps: who gets a copy of what goes through a stream: sinks, callbacks, subscriptions.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::cut::SinkMark;
use crate::connectors::{Position, Sink};
use crate::error::{Error, Result};
use crate::event::EventBatch;

/// How many batches may wait for a sink; then the pipeline waits.
const SINK_QUEUE: usize = 16;

/// Somebody who gets the events of a stream.
pub enum Tap {
    /// A sink on this thread.
    Sink(OwnSink),
    /// A sink on a thread of its own.
    Thread(SinkThread),
    /// A function, called on this thread.
    Callback(Callback),
    /// A subscription.
    Channel(Queue),
}

/// The queue of a subscription, and what happens when it is full.
pub enum Queue {
    /// The pipeline waits for the reader.
    Waits(async_channel::Sender<EventBatch>),
    /// The pipeline fails: it runs on the reader's own thread, so nobody would ever make room.
    Refuses(async_channel::Sender<EventBatch>),
}

impl Queue {
    fn send(&self, batch: EventBatch) -> Result<()> {
        use async_channel::TrySendError;
        // A subscriber that has gone away needs nothing more: that its channel is closed is no error.
        match self {
            Queue::Waits(sender) => {
                let _ = sender.send_blocking(batch);
                Ok(())
            }
            Queue::Refuses(sender) => match sender.try_send(batch) {
                Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
                Err(TrySendError::Full(_)) => Err(Error::usage(
                    "a subscription is full: in inline mode read it between sends, or use a callback",
                )),
            },
        }
    }
}

/// Called with every batch of a stream.
pub type Callback = Box<dyn FnMut(&EventBatch) + Send>;

impl Tap {
    /// Hands over a batch; waits where the receiver is slower.
    pub fn deliver(&mut self, batch: &EventBatch) -> Result<()> {
        match self {
            Tap::Sink(own) => own.sink.write(batch).map_err(|error| of_sink(&own.stream, error)),
            Tap::Thread(thread) => thread.send(ToSink::Batch(batch.clone())),
            Tap::Callback(callback) => {
                callback(batch);
                Ok(())
            }
            Tap::Channel(queue) => queue.send(batch.clone()),
        }
    }

    /// Makes all that was delivered visible. Sinks on threads of their own do so by themselves.
    pub fn flush(&mut self) -> Result<()> {
        match self {
            Tap::Sink(own) => own.sink.flush().map_err(|error| of_sink(&own.stream, error)),
            _ => Ok(()),
        }
    }

    /// A barrier: for a sink, where it stands when all that was delivered is written. A sink on a thread of its own says so when it
    /// has come to that.
    pub fn mark(&mut self) -> Result<Option<SinkMark>> {
        let (done, position) = bounded(1);
        let stream = match self {
            Tap::Thread(thread) => {
                thread.send(ToSink::Barrier(done))?;
                thread.stream.clone()
            }
            Tap::Sink(own) => {
                let prepared = own.sink.prepare().map_err(|error| of_sink(&own.stream, error))?;
                // There is room for one.
                let _ = done.send(prepared);
                own.stream.clone()
            }
            Tap::Callback(_) | Tap::Channel(_) => return Ok(None),
        };
        Ok(Some(SinkMark { stream, position }))
    }

    /// Becomes ready when a sink on a thread of its own has ended before its time; [`Tap::check`] tells why.
    pub fn ended(&self) -> Option<Receiver<Result<()>>> {
        match self {
            Tap::Thread(thread) => Some(thread.result.clone()),
            _ => None,
        }
    }

    /// Whether the sink still works.
    pub fn check(&self) -> Result<()> {
        match self {
            Tap::Thread(thread) if !thread.result.is_empty() => Err(thread.failure()),
            _ => Ok(()),
        }
    }

    /// Flushes and closes.
    pub fn close(self) -> Result<()> {
        match self {
            Tap::Sink(mut own) => own.sink.close().map_err(|error| of_sink(&own.stream, error)),
            Tap::Thread(thread) => thread.close(),
            Tap::Callback(_) | Tap::Channel(_) => Ok(()),
        }
    }
}

enum ToSink {
    Batch(EventBatch),
    Barrier(Sender<Option<Position>>),
}

/// A sink on the thread of the pipeline.
pub struct OwnSink {
    sink: Box<dyn Sink>,
    stream: String,
}

impl OwnSink {
    /// Opens the sink of `stream`.
    pub fn open(stream: &str, mut sink: Box<dyn Sink>) -> Result<Self> {
        sink.open().map_err(|error| of_sink(stream, error))?;
        Ok(OwnSink {
            sink,
            stream: stream.to_string(),
        })
    }
}

/// The error of the sink of `stream`.
fn of_sink(stream: &str, error: Error) -> Error {
    match error {
        Error::Io { context, source } => Error::Io {
            context: format!("sink of stream {stream}: {context}"),
            source,
        },
        other => Error::failed(format!("sink of stream {stream}: {other}")),
    }
}

/// A sink on a thread of its own, behind a bounded channel.
pub struct SinkThread {
    events: Option<Sender<ToSink>>,
    result: Receiver<Result<()>>,
    stream: String,
}

impl SinkThread {
    /// Opens the sink, here and now so that a failure is known at the start, and starts its thread.
    pub fn start(stream: &str, mut sink: Box<dyn Sink>) -> Result<Self> {
        sink.open().map_err(|error| of_sink(stream, error))?;
        let (events, inbox) = bounded(SINK_QUEUE);
        let (report, result) = bounded(1);
        std::thread::Builder::new()
            .name(format!("sink {stream}"))
            .spawn(move || {
                let run = std::panic::AssertUnwindSafe(|| write_all(sink, &inbox));
                let outcome = std::panic::catch_unwind(run)
                    .unwrap_or_else(|panic| Err(Error::failed(super::panic_message(panic.as_ref()))));
                let _ = report.send(outcome);
            })
            .map_err(|error| Error::io("starting a sink's thread", error))?;
        Ok(SinkThread {
            events: Some(events),
            result,
            stream: stream.to_string(),
        })
    }

    fn send(&mut self, message: ToSink) -> Result<()> {
        let sent = self.events.as_ref().map(|events| events.send(message));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    fn failure(&self) -> Error {
        match self.result.try_recv() {
            Ok(Err(error)) => self.named(error),
            _ => Error::failed(format!("the sink of stream {} has stopped", self.stream)),
        }
    }

    fn close(mut self) -> Result<()> {
        self.events = None;
        match self.result.recv() {
            Ok(outcome) => outcome.map_err(|error| self.named(error)),
            Err(_) => Ok(()),
        }
    }

    fn named(&self, error: Error) -> Error {
        of_sink(&self.stream, error)
    }
}

fn write_all(mut sink: Box<dyn Sink>, inbox: &Receiver<ToSink>) -> Result<()> {
    while let Ok(first) = inbox.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                ToSink::Batch(batch) => sink.write(&batch)?,
                ToSink::Barrier(done) => {
                    let prepared = sink.prepare()?;
                    let _ = done.send(prepared);
                }
            }
            next = inbox.try_recv().ok();
        }
        sink.flush()?;
    }
    sink.close()
}
