//! Channels between the tasks of one app: how batches, watermarks and barriers get from one to another.
//!
//! There is one bounded channel for each pair of threads of which one feeds the other, so what one sends stays in order, and a
//! slow receiver makes the sender wait. Levels ([`super::placement`]) see to it that nobody ever waits for himself.
//!
//! *Time* goes to all workers; where several workers' outputs come together, each is an input of its own, and the least of their
//! watermarks counts.
//!
//! *A barrier* is a snapshot on its way. A task that has got it from one sender takes nothing more from that one until it has
//! got it from all; then it writes its own state and passes the barrier on. So the states are one cut (Chandy and Lamport,
//! with aligned channels).

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::cut::Cut;
use super::graph::NodeIndex;
use super::placement::Route;
use crate::error::Result;
use crate::event::EventBatch;
use crate::operators::Watermark;
use crate::operators::route::route;

/// How many messages may wait for a task; then the sender waits.
const QUEUE: usize = 32;

/// What one task tells another.
#[derive(Clone)]
pub enum Message {
    /// Events for a node.
    Batch {
        /// The node.
        node: NodeIndex,
        /// The sender's number among those that feed it.
        port: usize,
        /// The events.
        batch: EventBatch,
    },
    /// The sender's watermark for a node.
    Time {
        /// The node.
        node: NodeIndex,
        /// The sender's number among those that feed it.
        port: usize,
        /// The watermark.
        watermark: Watermark,
    },
    /// A snapshot is being taken.
    Barrier(Arc<Cut>),
}

/// The end of an edge that leads to another task.
pub struct Outlet {
    /// The node there.
    node: NodeIndex,
    /// This sender's number there.
    port: usize,
    route: Route,
    /// By worker.
    receivers: Vec<Sender<Message>>,
}

/// Whether anybody still listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Somebody does.
    Yes,
    /// All have ended.
    No,
}

impl Outlet {
    /// To a node of the workers behind `receivers`.
    pub fn new(node: NodeIndex, port: usize, route: Route, receivers: Vec<Sender<Message>>) -> Self {
        Outlet {
            node,
            port,
            route,
            receivers,
        }
    }

    /// Sends events where they belong; waits while there is no room.
    pub fn send(&self, batch: &EventBatch) -> Result<Heard> {
        let message = |batch| Message::Batch {
            node: self.node,
            port: self.port,
            batch,
        };
        let Route::ByKey(key) = self.route else {
            return Ok(self.send_all(&message(batch.clone())));
        };
        let mut gone = 0;
        let parts = route(batch, key, self.receivers.len())?;
        for (receiver, part) in self.receivers.iter().zip(parts) {
            if let Some(part) = part {
                // A worker that has ended has failed, or everything is being stopped: the task will learn of it.
                gone += usize::from(receiver.send(message(part)).is_err());
            }
        }
        Ok(if gone == self.receivers.len() {
            Heard::No
        } else {
            Heard::Yes
        })
    }

    /// Sends a watermark to all.
    pub fn send_time(&self, watermark: Watermark) -> Heard {
        self.send_all(&Message::Time {
            node: self.node,
            port: self.port,
            watermark,
        })
    }

    fn send_all(&self, message: &Message) -> Heard {
        let sent = self
            .receivers
            .iter()
            .map(|receiver| receiver.send(message.clone()).is_ok());
        // Each is told, whoever listens.
        match sent.fold(false, |any, heard| any | heard) {
            true => Heard::Yes,
            false => Heard::No,
        }
    }
}

/// The start of the ways from another task.
pub struct Inlet {
    /// What it sends; disconnects when it has ended.
    pub messages: Receiver<Message>,
    /// Whether more may come.
    pub open: bool,
    /// Whether its barrier has come, and nothing is taken from it until those of all others have.
    pub waits: bool,
}

impl Inlet {
    /// Of a channel.
    pub fn new(messages: Receiver<Message>) -> Self {
        Inlet {
            messages,
            open: true,
            waits: false,
        }
    }

    /// Whether something may be taken from it.
    pub fn is_ready(&self) -> bool {
        self.open && !self.waits
    }
}

/// A channel from one task to another.
pub fn channel() -> (Sender<Message>, Receiver<Message>) {
    bounded(QUEUE)
}
