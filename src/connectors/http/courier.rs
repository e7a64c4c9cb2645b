//! The thread that makes the calls.
//!
//! It owns the [`Outbox`]. A request goes by a *route*, which says where to and how: a sink has one, the triggers of the server one each.
//! The sink hands it requests and waits until there is room for them; what is given up it leaves for the sink to
//! take. All it does waits for one of: an answer, a message of the sink, the time of the next attempt.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::address::PublicOnly;
use super::entry::Entry;
use super::outbox::{Attempt, GivenUp, Outbox, OutboxSettings, Outcome};
use super::requests::server_of;
use super::settings::{Allowed, Sending, checked};
use crate::connectors::StopSignal;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Micros;

/// How much of a refusal's text is shown, in bytes.
const SHOWN: usize = 200;

/// Where the sink takes what was given up.
#[derive(Clone, Default)]
pub struct GivenUps(Arc<Mutex<Vec<GivenUp>>>);

/// The sink's end.
pub struct Courier {
    orders: async_channel::Sender<Order>,
    given_up: GivenUps,
    news: Receiver<()>,
}

/// What the sink asks for.
enum Order {
    /// Take requests; the answer comes when they are in the outbox.
    Take(Vec<Entry>, oneshot::Sender<()>),
    /// What waits.
    Show(oneshot::Sender<Vec<Arc<Entry>>>),
    /// Answer when nothing waits.
    Finish(Sender<()>),
    /// How requests of a route go; `None`: not at all.
    Route(String, Option<Arc<Sending>>),
}

/// What is the same for all routes.
#[derive(Debug, Clone)]
pub struct Calling {
    /// How long a request may take, if its route does not say that.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// What may be called.
    pub allowed: Allowed,
}

impl Courier {
    /// Starts the thread, which is called after a stream. There is no route yet.
    pub fn start(stream: &str, calling: &Calling, settings: OutboxSettings) -> Result<Self> {
        let client = client(calling)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("starting the thread for webhooks", error))?;
        // The sink waits for each answer.
        let (orders, inbox) = async_channel::bounded(1);
        let (tell, news) = bounded(1);
        let given_up = GivenUps::default();
        let round = Round {
            outbox: Outbox::new(settings),
            client,
            routes: HashMap::new(),
            began: Instant::now(),
            given_up: given_up.clone(),
            tell,
            calls: JoinSet::new(),
        };
        std::thread::Builder::new()
            .name(format!("http {stream}"))
            .spawn(move || runtime.block_on(round.run(inbox)))
            .map_err(|error| Error::io("starting the thread for webhooks", error))?;
        Ok(Courier { orders, given_up, news })
    }

    /// From now on requests of a route go like this.
    pub fn route(&self, name: &str, sending: Arc<Sending>) -> Result<()> {
        self.order(Order::Route(name.to_string(), Some(sending)))
    }

    /// Forgets a route and all of its requests that are not on their way.
    pub fn forget(&self, name: &str) -> Result<()> {
        self.order(Order::Route(name.to_string(), None))
    }

    /// Hands over requests; waits until there is room.
    pub fn take(&self, entries: Vec<Entry>) -> Result<()> {
        self.ask(|answer| Order::Take(entries, answer))
    }

    /// What waits, each lane in its order.
    pub fn show(&self) -> Result<Vec<Arc<Entry>>> {
        self.ask(Order::Show)
    }

    /// Waits until all is delivered or given up; from when `stop` says so not longer than that. What is left.
    pub fn finish(&self, stop: &StopSignal, longest: Duration) -> Result<Vec<Arc<Entry>>> {
        let (answer, finished) = bounded(1);
        self.order(Order::Finish(answer))?;
        let stopping = select! {
            recv(finished) -> _ => false,
            recv(stop) -> _ => true,
        };
        if stopping {
            let _ = finished.recv_timeout(longest);
        }
        self.show()
    }

    /// What was given up since the last call.
    pub fn given_up(&self) -> Vec<GivenUp> {
        let _ = self.news.try_recv();
        std::mem::take(&mut self.given_up.0.lock())
    }

    /// Becomes ready when something was given up.
    pub fn news(&self) -> Receiver<()> {
        self.news.clone()
    }

    fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.order(order(answer))?;
        answered.blocking_recv().map_err(|_| stopped())
    }

    fn order(&self, order: Order) -> Result<()> {
        self.orders.send_blocking(order).map_err(|_| stopped())
    }
}

fn stopped() -> Error {
    Error::failed("the thread for webhooks has stopped")
}

fn client(calling: &Calling) -> Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("eventflux/", env!("CARGO_PKG_VERSION")))
        // A redirect could lead where the address may not.
        .redirect(Policy::none())
        // A proxy would resolve names unchecked.
        .no_proxy()
        .timeout(calling.timeout)
        .connect_timeout(calling.connect_timeout);
    if !calling.allowed.private {
        builder = builder.dns_resolver(Arc::new(PublicOnly));
    }
    builder.build().map_err(Error::failed)
}

/// The thread's own.
struct Round {
    outbox: Outbox,
    client: Client,
    routes: HashMap<String, Arc<Sending>>,
    began: Instant,
    given_up: GivenUps,
    tell: Sender<()>,
    calls: JoinSet<(Attempt, Outcome)>,
}

impl Round {
    async fn run(mut self, orders: async_channel::Receiver<Order>) {
        let mut waiting: Option<(Vec<Entry>, oneshot::Sender<()>)> = None;
        // Whoever waits for the end.
        let mut finishing: Option<Sender<()>> = None;
        loop {
            if self.outbox.has_room()
                && let Some((entries, answer)) = waiting.take()
            {
                entries.into_iter().for_each(|entry| self.push(entry));
                let _ = answer.send(());
            }
            if self.outbox.is_empty()
                && let Some(answer) = finishing.take()
            {
                let _ = answer.try_send(());
            }
            let now = self.now();
            while let Some(attempt) = self.outbox.next(now) {
                // Of a route that is no more only what is on its way is left.
                let Some(sending) = self.routes.get(&attempt.entry.route) else {
                    let gone = Outcome::Never {
                        reason: "nobody wants it any more".to_string(),
                        kind: ErrorKind::Refused,
                    };
                    self.outbox.done(&attempt, gone, now, 0.0);
                    continue;
                };
                let call = call(self.client.clone(), sending.clone(), attempt);
                self.calls.spawn(call);
            }
            let due = self.outbox.due();
            tokio::select! {
                Some(done) = self.calls.join_next() => {
                    if let Ok((attempt, outcome)) = done {
                        self.done(&attempt, outcome);
                    }
                }
                order = orders.recv() => match order {
                    Ok(Order::Take(entries, answer)) => waiting = Some((entries, answer)),
                    Ok(Order::Show(answer)) => {
                        let _ = answer.send(self.outbox.entries());
                    }
                    Ok(Order::Finish(answer)) => finishing = Some(answer),
                    Ok(Order::Route(name, sending)) => self.route(name, sending),
                    // The sink has gone, and with it all that waits.
                    Err(_) => return,
                },
                () = until(self.began, due) => {}
            }
        }
    }

    fn now(&self) -> Micros {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn route(&mut self, name: String, sending: Option<Arc<Sending>>) {
        match sending {
            Some(sending) => drop(self.routes.insert(name, sending)),
            None => {
                let gone = self.outbox.forget(|entry| entry.route == name);
                if let Some(sending) = self.routes.remove(&name) {
                    gone.iter().for_each(|entry| sending.tally.leaves(entry.bytes()));
                }
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        let Some(sending) = self.routes.get(&entry.route) else {
            return;
        };
        sending.tally.enters(entry.bytes());
        let url = match (&sending.url, &entry.url) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(url)) => checked(url),
            (None, None) => Err("there is no URL".to_string()),
        };
        match url {
            Ok(url) => self.outbox.push(entry, server_of(&url)),
            Err(reason) => self.give_up(GivenUp {
                entry: Arc::new(entry),
                reason: format!("http.url: {reason}"),
                kind: ErrorKind::Refused,
            }),
        }
    }

    fn done(&mut self, attempt: &Attempt, outcome: Outcome) {
        let now = self.now();
        let delivered = outcome == Outcome::Delivered;
        let given_up = self.outbox.done(attempt, outcome, now, rand::random());
        let Some(sending) = self.routes.get(&attempt.entry.route) else {
            return;
        };
        let counted = match delivered {
            true => &sending.tally.delivered,
            false => &sending.tally.failed,
        };
        counted.fetch_add(1, Ordering::Relaxed);
        match given_up {
            Some(given_up) => self.give_up(given_up),
            None if delivered => sending.tally.leaves(attempt.entry.bytes()),
            None => {}
        }
    }

    fn give_up(&self, given_up: GivenUp) {
        if let Some(sending) = self.routes.get(&given_up.entry.route) {
            sending.tally.leaves(given_up.entry.bytes());
            sending.tally.given_up.fetch_add(1, Ordering::Relaxed);
        }
        self.given_up.0.lock().push(given_up);
        // One message is enough.
        let _ = self.tell.try_send(());
    }
}

/// Until a time of [`Round::now`]; for ever if there is none.
async fn until(began: Instant, due: Option<Micros>) {
    match due {
        Some(due) => tokio::time::sleep_until((began + Duration::from_micros(due.unsigned_abs())).into()).await,
        None => std::future::pending().await,
    }
}

/// Makes one call.
async fn call(client: Client, sending: Arc<Sending>, attempt: Attempt) -> (Attempt, Outcome) {
    let outcome = match request(&client, &sending, &attempt.entry) {
        Ok(request) => match request.send().await {
            Ok(response) => judge(&sending, response).await,
            Err(error) => unreachable(&error),
        },
        Err(reason) => Outcome::Never {
            reason,
            kind: ErrorKind::Refused,
        },
    };
    (attempt, outcome)
}

fn request(client: &Client, sending: &Sending, entry: &Entry) -> Result<RequestBuilder, String> {
    let url: Url = match (&sending.url, &entry.url) {
        (Some(url), _) => url.clone(),
        (None, url) => checked(url.as_deref().unwrap_or_default()).map_err(|reason| format!("http.url: {reason}"))?,
    };
    if let Some(reason) = sending.allowed.refusal(&url) {
        return Err(format!("http.url: {reason}"));
    }
    let mut headers = HeaderMap::new();
    headers.extend(sending.headers.iter().cloned());
    for (name, value) in sending.names.iter().zip(&entry.headers) {
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("the value of the header {name} cannot be sent"))?;
        headers.insert(name, value);
    }
    let id = HeaderValue::from_str(&entry.id).map_err(|_| "the id cannot be sent in a header".to_string())?;
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    headers.insert("webhook-id", id);
    headers.insert("webhook-timestamp", HeaderValue::from(seconds));
    let has_body = sending.method != reqwest::Method::GET;
    if let Some(signer) = &sending.signer {
        let body: &[u8] = if has_body { &entry.body } else { &[] };
        let signature = signer.sign(&entry.id, i64::try_from(seconds).unwrap_or(i64::MAX), body);
        headers.insert(
            "webhook-signature",
            HeaderValue::from_str(&signature).map_err(|error| error.to_string())?,
        );
    }
    let request = client.request(sending.method.clone(), url).headers(headers);
    let request = request.timeout(sending.timeout);
    Ok(match has_body {
        true => request.body(entry.body.clone()),
        false => request,
    })
}

/// There was no answer.
fn unreachable(error: &reqwest::Error) -> Outcome {
    let reason = why_unreachable(error);
    let refused = innermost(error)
        .and_then(|inner| inner.downcast_ref::<io::Error>())
        .is_some_and(|inner| inner.kind() == io::ErrorKind::PermissionDenied);
    if refused && error.is_connect() {
        return Outcome::Never {
            reason,
            kind: ErrorKind::Refused,
        };
    }
    Outcome::Again {
        reason,
        after: None,
        server: true,
    }
}

/// Why there was no answer, in one line, without the URL.
pub(super) fn why_unreachable(error: &reqwest::Error) -> String {
    let reason = match () {
        () if error.is_timeout() => "no answer in time",
        () if error.is_connect() => "cannot connect",
        () => "the request failed",
    };
    match innermost(error) {
        Some(inner) => format!("{reason}: {inner}"),
        None => reason.to_string(),
    }
}

/// The innermost reason says most; none of them holds the URL.
fn innermost(error: &reqwest::Error) -> Option<&(dyn std::error::Error + 'static)> {
    let mut innermost = error.source()?;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    Some(innermost)
}

/// What an answer means.
async fn judge(sending: &Sending, response: Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        // The connection can be used again when the body is read; a long one is not worth it.
        let _ = start_of(response).await;
        return Outcome::Delivered;
    }
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let after = after.and_then(|value| retry_after(value, SystemTime::now()));
    let after = after.map(|wait| i64::try_from(wait.min(sending.retry_after_max).as_micros()).unwrap_or(i64::MAX));
    let text = start_of(response).await;
    let mut reason = format!("the server answered {status}");
    if !text.is_empty() {
        reason = format!("{reason}: {text}");
    }
    match status.as_u16() {
        // The event itself is refused.
        400 | 409 | 411 | 413 | 414 | 415 | 422 | 431 => Outcome::Never {
            reason,
            kind: ErrorKind::Refused,
        },
        410 => Outcome::Never {
            reason,
            kind: ErrorKind::Sink,
        },
        _ => Outcome::Again {
            reason,
            after: after.filter(|_| matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)),
            server: status.is_server_error(),
        },
    }
}

/// The beginning of a body, as text of one line.
pub(super) async fn start_of(mut response: Response) -> String {
    let mut start = Vec::new();
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = SHOWN - start.len().min(SHOWN);
        start.extend_from_slice(&chunk[..chunk.len().min(room)]);
        read += chunk.len();
        if read > 64 << 10 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&start);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_string()
}

/// `Retry-After`: seconds, or a date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value.trim()).ok()?;
    let date = SystemTime::from(date);
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now),
            Some(Duration::from_secs(10))
        );
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:27:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
