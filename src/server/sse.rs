//! Server-sent events: `GET /events/<stream>`.
//!
//! | event | data | id |
//! |---|---|---|
//! | `open` | `{"from":"rows"}`: rows follow; `"resumed"`: goes on where it was; `"live"`: what happens from now on | |
//! | `insert` `update` `delete` | the change | where to go on from; not before `ready` |
//! | `ready` | all rows have been told | the same |
//! | `changes` | a list of changes, if `every` or `max_rows` is asked for | of the last |
//! | `missed` | `{"count":n}` | |
//! | `end` | `{"reason":"…","code":"…"}`: nothing more comes on this connection | |

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::Notify;

use super::Shared;
use super::access::Principal;
use super::exposed::{Wanted, find};
use super::failure::{Failure, Kind};
use super::http::Answer;
use super::live::{Closed, Item, Joined, Kind as ChangeKind};
use super::pace::Paced;

/// After how many milliseconds a browser comes back.
const RETRY: &str = "retry: 2000\n";

/// `GET /events/<stream>`.
pub async fn events(
    State(shared): State<Arc<Shared>>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    query: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let Query(mut wanted) = query.map_err(|error| Failure::bad(error.body_text()))?;
    let exposed = find(&shared.exposed, &name, |by| by.sse)?;
    if shared.is_stopping() {
        return Err(Failure::new(Kind::Unavailable, "the server is about to end"));
    }
    if let Some(last) = last_event_id(&headers) {
        wanted.resume = Some(last);
    }
    let wake = Arc::new(Notify::new());
    let pace = wanted.pace()?;
    let batches = wanted.every.is_some() || wanted.max_rows.is_some();
    let subscribed = wanted.subscribe(&shared.hub, exposed, &principal, shared.options.queue, wake.clone());
    let paced = Paced::new(subscribed.await?, pace, &principal, &exposed.relation.name);
    shared.counters.sse.fetch_add(1, Ordering::Relaxed);
    let heartbeat = Instant::now() + shared.options.heartbeat;
    let stream = Stream {
        shared,
        paced,
        wake,
        batches,
        heartbeat,
        ended: false,
    };
    Ok(answer(stream::unfold(stream, Stream::next)))
}

/// An answer that goes on.
pub fn answer(frames: impl stream::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Proxies shall hold nothing back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

/// Where a browser that comes back had come to.
pub fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    Some(id.to_string()).filter(|id| !id.is_empty())
}

struct Stream {
    shared: Arc<Shared>,
    paced: Paced,
    wake: Arc<Notify>,
    batches: bool,
    heartbeat: Instant,
    ended: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.counters.sse.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let items = self.paced.take(&self.shared.hub.counters);
            if !items.is_empty() {
                let text = self.write(&items);
                self.heartbeat = Instant::now() + self.shared.options.heartbeat;
                return Some((Ok(Bytes::from(text)), self));
            }
            let times = [self.paced.due(), self.paced.ends()].into_iter().flatten();
            let until = times.fold(self.heartbeat, Instant::min);
            tokio::select! {
                // What comes before it is due is seen when it is.
                () = self.wake.notified(), if self.paced.due().is_none_or(|due| due <= Instant::now()) => {}
                () = tokio::time::sleep_until(until.into()) => {
                    if Instant::now() >= self.heartbeat {
                        self.heartbeat = Instant::now() + self.shared.options.heartbeat;
                        return Some((Ok(Bytes::from_static(b": \n\n")), self));
                    }
                }
            }
        }
    }

    fn write(&mut self, items: &[Item]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut batch = Vec::new();
        let mut last = 0;
        let mut sent = 0;
        for item in items {
            match item {
                Item::Joined(joined) => {
                    let from = match joined {
                        Joined::Rows => "rows",
                        Joined::Resumed => "resumed",
                        Joined::Live => "live",
                    };
                    out.extend_from_slice(RETRY.as_bytes());
                    frame(&mut out, "open", None, format!("{{\"from\":\"{from}\"}}").as_bytes());
                }
                Item::Row(text) if self.batches => element(&mut batch, text),
                Item::Row(text) => frame(&mut out, "insert", None, text),
                Item::AllRows(seq) => {
                    let id = self.paced.subscriber.token(*seq).to_string();
                    frame(&mut out, "ready", Some(&id), b"{}");
                }
                Item::Change(message) => {
                    let text = message.text();
                    sent += 1;
                    last = message.change.seq;
                    if self.batches {
                        element(&mut batch, &text);
                        continue;
                    }
                    let name = match message.change.kind {
                        ChangeKind::Insert => "insert",
                        ChangeKind::Update => "update",
                        ChangeKind::Delete => "delete",
                    };
                    let id = self.paced.subscriber.token(last).to_string();
                    frame(&mut out, name, Some(&id), &text);
                }
                Item::Missed(count) => frame(&mut out, "missed", None, format!("{{\"count\":{count}}}").as_bytes()),
                Item::Closed(why) => {
                    self.ended = true;
                    self.flush(&mut out, &mut batch, last);
                    frame(&mut out, "end", None, end(why).as_bytes());
                }
            }
        }
        self.flush(&mut out, &mut batch, last);
        self.shared.counters.sent.fetch_add(sent, Ordering::Relaxed);
        self.shared
            .counters
            .sent_bytes
            .fetch_add(out.len() as u64, Ordering::Relaxed);
        out
    }

    fn flush(&self, out: &mut Vec<u8>, batch: &mut Vec<u8>, last: u64) {
        if batch.is_empty() {
            return;
        }
        batch.push(b']');
        let id = (last > 0).then(|| self.paced.subscriber.token(last).to_string());
        frame(out, "changes", id.as_deref(), batch);
        batch.clear();
    }
}

/// Adds an element to a list that is being written.
fn element(list: &mut Vec<u8>, text: &[u8]) {
    list.push(if list.is_empty() { b'[' } else { b',' });
    list.extend_from_slice(text);
}

/// What an `end` says.
pub fn end(why: &Closed) -> String {
    format!("{{\"reason\":\"{}\",\"code\":\"{}\"}}", why.reason(), why.kind().code())
}

/// One event. Lines of the data are lines of data.
pub fn frame(out: &mut Vec<u8>, name: &str, id: Option<&str>, data: &[u8]) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    if let Some(id) = id {
        out.extend_from_slice(b"\nid: ");
        out.extend_from_slice(id.as_bytes());
    }
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn frames() {
        let mut out = Vec::new();
        frame(&mut out, "insert", Some("a-1"), b"{\"a\":\n1}");
        frame(&mut out, "ready", None, b"{}");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "event: insert\nid: a-1\ndata: {\"a\":\ndata: 1}\n\nevent: ready\ndata: {}\n\n"
        );
    }
}
