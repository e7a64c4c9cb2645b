//! Messages to clients: `POST /publish` tells those who listen at `GET /events?channel=…&user=…&session=…`.
//!
//! A message names a channel, a user, a session, several of these or none; it goes to the clients that said the same of all that it
//! names. The last messages are remembered for clients that come back with a `Last-Event-ID`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::access::{self, Action, Principal};
use super::audit::{Event, sent};
use super::failure::Failure;
use super::http::Answer;
use super::live::Closed;
use super::sse::{answer, end, frame, last_event_id};
use super::{Shared, body};

/// What `[server] publish` calls them.
pub const NAME: &str = "messages";

/// How many messages may wait for a client; it misses the oldest of more.
const QUEUE: usize = 256;

/// A message.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    channel: Option<String>,
    user: Option<String>,
    session: Option<String>,
    /// What the event is called; `message` if it says nothing.
    event: Option<String>,
    data: serde_json::Value,
}

/// Whom a client listens for.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    channel: Option<String>,
    user: Option<String>,
    session: Option<String>,
    resume: Option<String>,
}

impl Message {
    fn is_for(&self, listener: &Listener) -> bool {
        let fits = |target: &Option<String>, own: &Option<String>| target.is_none() || target == own;
        fits(&self.channel, &listener.channel)
            && fits(&self.user, &listener.user)
            && fits(&self.session, &listener.session)
    }
}

/// A message with its number and its text.
#[derive(Debug)]
struct Posted {
    seq: u64,
    message: Message,
    text: Bytes,
}

/// The messages.
pub struct Messages {
    recent: Mutex<Recent>,
    sender: broadcast::Sender<Arc<Posted>>,
    most: usize,
    /// Of which life of the server.
    epoch: u32,
}

#[derive(Default)]
struct Recent {
    seq: u64,
    messages: VecDeque<Arc<Posted>>,
}

impl Messages {
    /// Remembers so many.
    pub fn new(most: usize) -> Self {
        Messages {
            recent: Mutex::default(),
            sender: broadcast::channel(QUEUE).0,
            most,
            epoch: rand::random(),
        }
    }

    fn post(&self, message: Message) -> u64 {
        let mut recent = self.recent.lock();
        recent.seq += 1;
        let seq = recent.seq;
        let mut text = Vec::new();
        let event = message.event.as_deref().unwrap_or("message");
        let data = serde_json::to_vec(&message.data).unwrap_or_default();
        frame(&mut text, event, Some(&format!("{:x}-{seq}", self.epoch)), &data);
        let text = Bytes::from(text);
        let posted = Arc::new(Posted { seq, message, text });
        recent.messages.push_back(posted.clone());
        if recent.messages.len() > self.most {
            recent.messages.pop_front();
        }
        // In the order of the numbers: the lock is still held. That nobody listens is no error.
        let _ = self.sender.send(posted);
        seq
    }

    /// What is remembered after a token, and what comes then.
    fn listen(&self, token: Option<&str>) -> (VecDeque<Arc<Posted>>, broadcast::Receiver<Arc<Posted>>) {
        let recent = self.recent.lock();
        let after = token.and_then(|token| {
            let (epoch, seq) = token.split_once('-')?;
            (epoch == format!("{:x}", self.epoch)).then(|| seq.parse::<u64>().ok())?
        });
        let missed = after.map(|after| {
            let newer = recent.messages.iter().filter(|posted| posted.seq > after);
            newer.cloned().collect()
        });
        (missed.unwrap_or_default(), self.sender.subscribe())
    }
}

/// `POST /publish`.
pub async fn publish(
    State(shared): State<Arc<Shared>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    if !shared.options.publish.iter().any(|name| name == NAME) {
        let message = "messages are not published here: [server] publish does not name 'messages'";
        return Err(principal.refused(NAME, message));
    }
    access::may(&principal, Action::Publish, NAME)?;
    let message: Message = body::json(&shared, &headers, body).await?;
    let event = message.event.as_deref().unwrap_or_default();
    if event.contains(['\n', '\r']) || event.len() > 200 {
        return Err(Failure::bad("the name of an event is one short line"));
    }
    let id = shared.messages.post(message);
    shared.counters.published.fetch_add(1, Ordering::Relaxed);
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id}))).into_response())
}

/// `GET /events`.
pub async fn listen(
    State(shared): State<Arc<Shared>>,
    Extension(principal): Extension<Principal>,
    query: Result<Query<Listener>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Query(listener) = query.map_err(|error| Failure::bad(error.body_text()))?;
    access::may(&principal, Action::Subscribe, NAME)?;
    principal.may_be(listener.user.as_deref())?;
    let token = last_event_id(&headers).or_else(|| listener.resume.clone());
    let (missed, receiver) = shared.messages.listen(token.as_deref());
    shared.counters.sse.fetch_add(1, Ordering::Relaxed);
    let stopping = shared.stopping.clone();
    let stream = Stream {
        shared,
        listener,
        missed,
        receiver,
        stopping,
        principal,
        began: false,
        ended: false,
    };
    Ok(answer(stream::unfold(stream, Stream::next)))
}

struct Stream {
    shared: Arc<Shared>,
    listener: Listener,
    missed: VecDeque<Arc<Posted>>,
    receiver: broadcast::Receiver<Arc<Posted>>,
    stopping: watch::Receiver<bool>,
    principal: Principal,
    began: bool,
    ended: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.counters.sse.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    /// A message, if it may be sent.
    fn told(self, posted: &Posted) -> (Result<Bytes, std::io::Error>, Self) {
        if self.principal.has_ended(Instant::now()) {
            return self.end(&Closed::Expired);
        }
        let audit = &self.principal.place().audit;
        let shown = match audit.notes(Event::Sent) && audit.notes_rows() {
            true => vec![serde_json::to_vec(&posted.message.data).unwrap_or_default()],
            false => Vec::new(),
        };
        match audit.note(Event::Sent, &self.principal, NAME, "MESSAGE", sent(1, &shown)) {
            Ok(()) => (Ok(posted.text.clone()), self),
            Err(_) => self.end(&Closed::NotNoted),
        }
    }

    /// The end, and why.
    fn end(mut self, why: &Closed) -> (Result<Bytes, std::io::Error>, Self) {
        self.ended = true;
        let mut text = Vec::new();
        frame(&mut text, "end", None, end(why).as_bytes());
        (Ok(Bytes::from(text)), self)
    }

    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        if self.ended {
            return None;
        }
        if !std::mem::replace(&mut self.began, true) {
            let mut text = b"retry: 2000\n".to_vec();
            frame(&mut text, "open", None, b"{\"from\":\"live\"}");
            return Some((Ok(Bytes::from(text)), self));
        }
        while let Some(posted) = self.missed.pop_front() {
            if posted.message.is_for(&self.listener) {
                return Some(self.told(&posted));
            }
        }
        let heartbeat = Instant::now() + self.shared.options.heartbeat;
        loop {
            let until = self.principal.ends().map_or(heartbeat, |ends| ends.min(heartbeat));
            let mut text = Vec::new();
            if self.principal.has_ended(Instant::now()) {
                return Some(self.end(&Closed::Expired));
            }
            tokio::select! {
                got = self.receiver.recv() => match got {
                    Ok(posted) if !posted.message.is_for(&self.listener) => continue,
                    Ok(posted) => return Some(self.told(&posted)),
                    Err(RecvError::Lagged(count)) => {
                        frame(&mut text, "missed", None, format!("{{\"count\":{count}}}").as_bytes());
                    }
                    Err(RecvError::Closed) => return None,
                },
                _ = self.stopping.changed() => return Some(self.end(&Closed::Ended)),
                () = tokio::time::sleep_until(until.into()) => match Instant::now() < heartbeat {
                    true => continue,
                    false => text.extend_from_slice(b": \n\n"),
                },
            }
            return Some((Ok(Bytes::from(text)), self));
        }
    }
}
