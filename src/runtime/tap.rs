//! Taps: who gets a copy of what goes through a stream: sinks, callbacks, subscriptions.

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::cut::{Mark, SinkMark};
use super::guarded_sink::{Guard, GuardedSink, state_id};
use crate::connectors::{Position, Sink};
use crate::error::{Error, Result, RowError};
use crate::event::EventBatch;
use crate::tables::watch::{Watched, Watcher};

/// How many batches may wait for a sink; then the pipeline waits.
const SINK_QUEUE: usize = 16;

/// Somebody who gets the events of a stream.
pub enum Tap {
    /// A sink on this thread.
    Sink(GuardedSink),
    /// A sink on a thread of its own.
    Thread(SinkThread),
    /// A function, called on this thread.
    Callback(Callback),
    /// A subscription.
    Channel(Queue),
    /// A watcher, who may ask for rows, too.
    Watcher(Watcher),
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
    /// Hands over a batch; waits where the receiver is slower. Events that a sink on this thread gives up are added to `lost`.
    pub fn deliver(&mut self, batch: &EventBatch, lost: &mut Vec<RowError>) -> Result<()> {
        match self {
            Tap::Sink(own) => own.write(batch, lost),
            Tap::Thread(thread) => thread.send(ToSink::Batch(batch.clone())),
            Tap::Callback(callback) => {
                callback(batch);
                Ok(())
            }
            Tap::Channel(queue) => queue.send(batch.clone()),
            Tap::Watcher(watcher) => {
                // One that has gone needs nothing more.
                watcher.tell(Watched::Changes(batch.clone()));
                Ok(())
            }
        }
    }

    /// Makes all that was delivered visible. Sinks on threads of their own do so by themselves.
    pub fn flush(&mut self, lost: &mut Vec<RowError>) -> Result<()> {
        match self {
            Tap::Sink(own) => own.flush(lost),
            _ => Ok(()),
        }
    }

    /// No event will come any more: as [`Tap::flush`], and waits for what a sink on this thread does by itself.
    pub fn finish(&mut self, lost: &mut Vec<RowError>) -> Result<()> {
        match self {
            Tap::Sink(own) => own.finish(lost),
            _ => Ok(()),
        }
    }

    /// Becomes ready when a sink on this thread has given up events by itself, which a flush brings out.
    pub fn news(&self) -> Option<Receiver<()>> {
        match self {
            Tap::Sink(own) => own.news(),
            _ => None,
        }
    }

    /// A barrier: for a sink, where it stands when all that was delivered is written. A sink on a thread of its own says so when it
    /// has come to that, and a watcher that is kept its state.
    pub fn mark(&mut self, lost: &mut Vec<RowError>) -> Result<Option<Mark>> {
        let (done, position) = bounded(1);
        let (stream, id) = match self {
            Tap::Thread(thread) => {
                thread.send(ToSink::Barrier(done))?;
                (thread.stream.clone(), thread.id.clone())
            }
            Tap::Sink(own) => {
                let prepared = own.prepare(lost)?;
                // There is room for one.
                let _ = done.send(prepared);
                (own.stream().to_string(), own.id().to_string())
            }
            Tap::Watcher(watcher) => return Ok(watcher.mark().map(Mark::Watcher)),
            Tap::Callback(_) | Tap::Channel(_) => return Ok(None),
        };
        Ok(Some(Mark::Sink(SinkMark { stream, id, position })))
    }

    /// Whether nobody gets what is delivered to it any more.
    pub fn has_gone(&self) -> bool {
        match self {
            Tap::Channel(Queue::Waits(sender) | Queue::Refuses(sender)) => sender.is_closed(),
            Tap::Watcher(watcher) => watcher.has_gone(),
            Tap::Sink(_) | Tap::Thread(_) | Tap::Callback(_) => false,
        }
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
    pub fn close(self, lost: &mut Vec<RowError>) -> Result<()> {
        match self {
            Tap::Sink(own) => own.close(lost),
            Tap::Thread(thread) => thread.close(),
            Tap::Callback(_) | Tap::Channel(_) | Tap::Watcher(_) => Ok(()),
        }
    }
}

enum ToSink {
    Batch(EventBatch),
    Barrier(Sender<Option<Position>>),
}

/// A sink on a thread of its own, behind a bounded channel.
pub struct SinkThread {
    events: Option<Sender<ToSink>>,
    result: Receiver<Result<()>>,
    stream: String,
    id: String,
}

impl SinkThread {
    /// Opens the sink, here and now so that a failure is known at the start, and starts its thread.
    ///
    /// What its policy gives up it reports itself: nothing of that flows on.
    pub fn start(stream: &str, sink: Box<dyn Sink>, guard: Option<Guard>) -> Result<Self> {
        let id = state_id(stream, guard.as_ref());
        let sink = GuardedSink::open(stream, sink, guard)?;
        let (events, inbox) = bounded(SINK_QUEUE);
        let (report, result) = bounded(1);
        let name = stream.to_string();
        std::thread::Builder::new()
            .name(format!("sink {stream}"))
            .spawn(move || {
                let run = std::panic::AssertUnwindSafe(|| write_all(sink, &inbox));
                let outcome =
                    std::panic::catch_unwind(run).unwrap_or_else(|panic| Err(of_panic(&name, panic.as_ref())));
                let _ = report.send(outcome);
            })
            .map_err(|error| Error::io("starting a sink's thread", error))?;
        Ok(SinkThread {
            events: Some(events),
            result,
            stream: stream.to_string(),
            id,
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
            Ok(Err(error)) => error,
            _ => Error::failed(format!("the sink of stream {} has stopped", self.stream)),
        }
    }

    fn close(mut self) -> Result<()> {
        self.events = None;
        match self.result.recv() {
            Ok(outcome) => outcome,
            Err(_) => Ok(()),
        }
    }
}

fn write_all(mut sink: GuardedSink, inbox: &Receiver<ToSink>) -> Result<()> {
    let mut lost = Vec::new();
    let news = sink.news().unwrap_or_else(never);
    loop {
        let mut next = select! {
            recv(inbox) -> first => match first {
                Ok(first) => Some(first),
                Err(_) => break,
            },
            recv(news) -> _ => None,
        };
        while let Some(message) = next {
            match message {
                ToSink::Batch(batch) => sink.write(&batch, &mut lost)?,
                ToSink::Barrier(done) => {
                    let prepared = sink.prepare(&mut lost)?;
                    let _ = done.send(prepared);
                }
            }
            sink.report(&mut lost)?;
            next = inbox.try_recv().ok();
        }
        sink.flush(&mut lost)?;
        sink.report(&mut lost)?;
    }
    sink.close(&mut lost)
}

fn of_panic(stream: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    Error::failed(format!("sink of stream {stream}: {}", super::panic_message(panic)))
}
