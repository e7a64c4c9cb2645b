//! What the server counts.

use std::sync::atomic::{AtomicI64, AtomicU64};

use super::histogram::Histogram;

/// What happened in the server.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections there are.
    pub connections: AtomicI64,
    /// Connections there have been.
    pub accepted: AtomicU64,
    /// Connections refused because there were too many.
    pub refused: AtomicU64,
    /// Connections whose client took nothing, or sent nothing, for too long.
    pub timed_out: AtomicU64,
    /// Streams of server-sent events there are.
    pub sse: AtomicI64,
    /// WebSockets there are.
    pub sockets: AtomicI64,
    /// Requests by the class of their answer: 2xx, 3xx, 4xx, 5xx.
    pub requests: [AtomicU64; 4],
    /// How long answers took to begin.
    pub duration: Histogram,
    /// Messages from clients on WebSockets.
    pub received: AtomicU64,
    /// Of these, refused: malformed, not allowed, too many.
    pub rejected: AtomicU64,
    /// Changes sent to clients.
    pub sent: AtomicU64,
    /// Bytes of these.
    pub sent_bytes: AtomicU64,
    /// Events that clients sent into streams.
    pub published: AtomicU64,
    /// GraphQL operations.
    pub graphql: AtomicU64,
}
