//! A WebSocket with subscriptions on it, whatever is spoken: [`serve`] reads, writes, bounds and ends it; a [`Dialect`] knows the
//! messages.
//!
//! One task a connection, and one notification for all of its subscriptions. What they have is written together, with one system
//! call; while the client does not read, their queues fill up, and their policies act.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::SinkExt;
use tokio::sync::Notify;

use super::Shared;
use super::access::Principal;
use super::failure::{Failure, Kind};
use super::live::Item;
use super::pace::Paced;

/// How many answers may wait to be written.
const ANSWERS: usize = 64;

/// How many requests of a connection may be worked on at once.
const WORKING: usize = 16;

/// Heartbeats without a sign of life after which a client has gone.
const SILENT: u32 = 3;

/// The bytes of messages that are written at once, about.
const AT_ONCE: usize = 256 << 10;

/// Close codes.
pub mod close {
    /// The server ends.
    pub const GOING_AWAY: u16 = 1001;
    /// The client sent what is not read.
    pub const UNSUPPORTED: u16 = 1003;
    /// It has to sign in, or what it signs in with is not good.
    pub const UNAUTHORIZED: u16 = 4401;
    /// What it signed in with is over: it may come back with something new.
    pub const FORBIDDEN: u16 = 4403;
}

/// What is spoken.
pub trait Dialect: Send + Sized {
    /// What it knows of a subscription.
    type Sub: Send;

    /// Does what a message asks for.
    fn receive(&mut self, core: &mut Core<Self::Sub>, text: &str) -> impl Future<Output = ()> + Send;

    /// Writes what a subscription has. Whether it has ended.
    fn tell(&self, id: &str, sub: &mut Self::Sub, paced: &Paced, items: Vec<Item>, out: &mut Vec<Message>) -> bool;

    /// A sign of life.
    fn heartbeat(&self) -> Message;

    /// When the client must have said something, with what it is told if it has not.
    fn deadline(&self) -> Option<(Instant, u16, &'static str)> {
        None
    }

    /// What the client is told before the connection is ended for what went wrong, if the protocol has a message for that.
    fn farewell(&self, _failure: &Failure) -> Option<Message> {
        None
    }

    /// The code for too many messages, if that ends the connection; else they are refused one by one.
    fn flooded(&self) -> Option<u16> {
        None
    }
}

/// What a dialect works on.
pub struct Core<S> {
    /// The server.
    pub shared: Arc<Shared>,
    /// Who is connected.
    pub principal: Principal,
    /// The subscriptions, by the names that the client gave them.
    pub subs: HashMap<String, (Paced, S)>,
    /// What is to be written.
    pub out: Vec<Message>,
    /// Notified when a subscription has something.
    pub wake: Arc<Notify>,
    /// How the connection is to end, after what is to be written.
    pub closing: Option<(u16, String)>,
    answers: (async_channel::Sender<Answer>, async_channel::Receiver<Answer>),
    working: usize,
    rate: Rate,
}

/// What work gives: messages, the last of which ends it.
pub struct Answer {
    /// To be written.
    pub message: Option<Message>,
    /// Whether it is the last.
    pub last: bool,
    /// A subscription that ends with it.
    pub ends: Option<String>,
}

impl Answer {
    /// One that others follow.
    pub fn part(text: String) -> Self {
        Answer {
            message: Some(Message::Text(text.into())),
            last: false,
            ends: None,
        }
    }

    /// The last one.
    pub fn last(text: Option<String>) -> Self {
        Answer {
            message: text.map(|text| Message::Text(text.into())),
            last: true,
            ends: None,
        }
    }
}

impl<S> Core<S> {
    /// Of a new connection.
    pub fn new(shared: Arc<Shared>, principal: Principal) -> Self {
        let rate = Rate {
            most: shared.options.max_rate,
            since: Instant::now(),
            count: 0,
        };
        Core {
            shared,
            principal,
            subs: HashMap::new(),
            out: Vec::new(),
            wake: Arc::new(Notify::new()),
            closing: None,
            answers: async_channel::bounded(ANSWERS),
            working: 0,
            rate,
        }
    }

    /// Signs in: from now on the client is who has that. *Errors.* Why it is not good.
    pub async fn sign_in(&mut self, credential: &str) -> Result<(), Failure> {
        if let Some(gate) = &self.shared.gate {
            let at = self.principal.place().clone();
            self.principal = gate.sign_in(credential, at).await?;
        }
        Ok(())
    }

    /// Sends a text.
    pub fn send(&mut self, text: impl Into<String>) {
        self.out.push(Message::Text(text.into().into()));
    }

    /// Ends the connection.
    pub fn close(&mut self, code: u16, reason: impl Into<String>) {
        self.closing.get_or_insert((code, reason.into()));
    }

    /// Whether one more subscription of that name may be.
    pub fn admits(&self, id: &str) -> Result<(), Failure> {
        if self.shared.is_stopping() {
            return Err(Failure::new(Kind::Unavailable, "the server is about to end"));
        }
        if self.subs.contains_key(id) {
            return Err(Failure::bad(format!("there is a subscription '{id}' already")));
        }
        let most = self.shared.options.max_subscriptions;
        match self.subs.len() >= most {
            true => Err(Failure::new(
                Kind::TooMany,
                format!("a connection has {most} subscriptions at most"),
            )),
            false => Ok(()),
        }
    }

    /// Works on something beside the connection; its last answer must say that it is the last.
    pub fn work<F>(&mut self, work: impl FnOnce(async_channel::Sender<Answer>) -> F) -> Result<(), Failure>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.working >= WORKING {
            let message = format!("a connection has {WORKING} requests worked on at most");
            return Err(Failure::new(Kind::TooMany, message));
        }
        self.working += 1;
        tokio::spawn(work(self.answers.0.clone()));
        Ok(())
    }

    /// Counts a message that was refused.
    pub fn rejected(&self) {
        self.shared.counters.rejected.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts messages of a second.
struct Rate {
    most: u32,
    since: Instant,
    count: u32,
}

impl Rate {
    fn allows_one(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.count = 0;
        }
        self.count += 1;
        self.count <= self.most
    }
}

/// Counts a socket until it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection to its end.
pub async fn serve<D: Dialect>(mut socket: WebSocket, mut dialect: D, mut core: Core<D::Sub>) {
    core.shared.counters.sockets.fetch_add(1, Ordering::Relaxed);
    let _open = Open(core.shared.clone());
    let mut stopping = core.shared.stopping.clone();
    let heartbeat = core.shared.options.heartbeat;
    let (mut seen, mut told) = (Instant::now(), Instant::now());
    loop {
        let more = collect(&dialect, &mut core);
        if !core.out.is_empty() {
            told = Instant::now();
            if write(&mut socket, &mut core.out).await.is_err() {
                return;
            }
        }
        if core.principal.has_ended(Instant::now()) && core.closing.is_none() {
            let failure = Failure::new(Kind::TokenExpired, "the token has expired");
            core.out.extend(dialect.farewell(&failure));
            // Whether it hears that or not.
            let _ = write(&mut socket, &mut core.out).await;
            core.close(close::FORBIDDEN, failure.kind.code());
        }
        if core.shared.is_stopping() && core.subs.is_empty() && core.working == 0 {
            core.close(close::GOING_AWAY, "the server ends");
        }
        if let Some((code, reason)) = core.closing.take() {
            let frame = CloseFrame {
                code,
                reason: reason.into(),
            };
            // Whether it hears that or not.
            let _ = socket.send(Message::Close(Some(frame))).await;
            return;
        }
        let mut until = told.max(seen) + heartbeat;
        let dues = core.subs.values().filter_map(|(paced, _)| paced.due());
        until = dues
            .chain(dialect.deadline().map(|(at, ..)| at))
            .chain(core.principal.ends())
            .fold(until, Instant::min);
        tokio::select! {
            message = socket.recv() => {
                seen = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => receive(&mut dialect, &mut core, &text).await,
                    Some(Ok(Message::Binary(_))) => core.close(close::UNSUPPORTED, "messages are text"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
            }
            () = core.wake.notified() => {}
            // There is no sender but while this task has one: it is never closed.
            Ok(answer) = core.answers.1.recv() => {
                core.working -= usize::from(answer.last);
                core.out.extend(answer.message);
                if let Some(ended) = answer.ends {
                    core.subs.remove(&ended);
                }
            }
            _ = stopping.changed() => {}
            () = std::future::ready(()), if more => {}
            () = tokio::time::sleep_until(until.into()) => {
                if let Some((at, code, reason)) = dialect.deadline()
                    && Instant::now() >= at
                {
                    core.close(code, reason);
                } else if seen.elapsed() >= heartbeat * SILENT {
                    core.shared.counters.timed_out.fetch_add(1, Ordering::Relaxed);
                    return;
                } else if told.elapsed() >= heartbeat {
                    core.out.extend([dialect.heartbeat(), Message::Ping(axum::body::Bytes::new())]);
                } else if seen.elapsed() >= heartbeat {
                    core.out.push(Message::Ping(axum::body::Bytes::new()));
                }
            }
        }
    }
}

async fn receive<D: Dialect>(dialect: &mut D, core: &mut Core<D::Sub>, text: &str) {
    core.shared.counters.received.fetch_add(1, Ordering::Relaxed);
    if core.rate.allows_one() {
        return dialect.receive(core, text).await;
    }
    core.rejected();
    match dialect.flooded() {
        Some(code) => core.close(code, "too many messages"),
        None => {
            let failure = Failure::new(Kind::TooMany, "too many messages in a second: this one was not read");
            let error = failure.json();
            core.send(serde_json::json!({"type": "error", "error": error}).to_string());
        }
    }
}

/// Collects what the subscriptions have; whether they may have more.
fn collect<D: Dialect>(dialect: &D, core: &mut Core<D::Sub>) -> bool {
    let counters = core.shared.hub.counters.clone();
    let mut more = false;
    let mut ended = Vec::new();
    for (id, (paced, sub)) in &mut core.subs {
        let items = paced.take(&counters);
        if items.is_empty() {
            continue;
        }
        more = true;
        let changes = items.iter().filter(|item| matches!(item, Item::Change(_))).count();
        core.shared.counters.sent.fetch_add(changes as u64, Ordering::Relaxed);
        if dialect.tell(id, sub, paced, items, &mut core.out) {
            ended.push(id.clone());
        }
    }
    for id in ended {
        core.subs.remove(&id);
    }
    more
}

async fn write(socket: &mut WebSocket, out: &mut Vec<Message>) -> Result<(), axum::Error> {
    let mut bytes = 0;
    for message in out.drain(..) {
        if let Message::Text(text) = &message {
            bytes += text.len();
        }
        socket.feed(message).await?;
        if bytes > AT_ONCE {
            bytes = 0;
            socket.flush().await?;
        }
    }
    if out.capacity() > 64 {
        *out = Vec::new();
    }
    socket.flush().await
}
