//! [`Subscription`]: the events of a stream, to be read at the reader's pace.

use async_channel::{Receiver, Sender, bounded};

use crate::event::EventBatch;
use crate::runtime::tap::{Queue, Tap};

/// How many batches may wait to be read.
const CAPACITY: usize = 1_024;
/// The same in inline mode, where the reader cannot read while events are sent.
const INLINE_CAPACITY: usize = 65_536;

/// The events of a stream: an iterator of batches that blocks for the next one and ends with the app.
#[derive(Debug)]
pub struct Subscription {
    batches: Receiver<EventBatch>,
}

impl Subscription {
    pub(super) fn new(inline: bool) -> (Tap, Self) {
        let (sender, batches): (Sender<EventBatch>, _) = bounded(if inline { INLINE_CAPACITY } else { CAPACITY });
        let queue = if inline {
            Queue::Refuses(sender)
        } else {
            Queue::Waits(sender)
        };
        (Tap::Channel(queue), Subscription { batches })
    }

    /// The next batch if there is one already.
    pub fn try_next(&self) -> Option<EventBatch> {
        self.batches.try_recv().ok()
    }

    /// An async stream of the batches, for any executor.
    ///
    /// ```
    /// use eventflux::EventFlux;
    /// use futures::StreamExt;
    ///
    /// let app = EventFlux::builder()
    ///     .sql("CREATE STREAM S (x LONG); INSERT INTO T SELECT x + 1 AS y FROM S;")
    ///     .build()?;
    /// let batches = app.subscribe("T")?.stream();
    /// app.start()?;
    /// app.input("S")?.send((41,))?;
    /// app.wait()?;
    /// let rows = futures::executor::block_on(batches.map(|batch| batch.num_rows()).collect::<Vec<_>>());
    /// assert_eq!(rows, [1]);
    /// # Ok::<(), eventflux::Error>(())
    /// ```
    pub fn stream(self) -> impl futures_core::Stream<Item = EventBatch> + Send + Unpin + 'static {
        Box::pin(self.batches)
    }
}

impl Iterator for Subscription {
    type Item = EventBatch;

    fn next(&mut self) -> Option<EventBatch> {
        self.batches.recv_blocking().ok()
    }
}
