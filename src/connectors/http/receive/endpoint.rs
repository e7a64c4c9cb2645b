//! [`Endpoint`]: what one stream takes, and the answers to its requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::body::{Trouble, gunzipped, read};
use super::from_request::values;
use super::inbox::{Held, Inbox, Post, Reply, Verdict};
use super::seen::{Meeting, Seen, State};
use super::settings::EndpointSettings;
use crate::event::{Clock, SystemClock};

/// What is answered.
pub type Answer = Response<Full<Bytes>>;

/// See the module.
pub struct Endpoint {
    /// What it takes.
    pub settings: EndpointSettings,
    /// What it has taken.
    pub inbox: Inbox,
    seen: Option<Arc<Mutex<Seen>>>,
}

/// Why a request is refused.
struct Refusal {
    status: StatusCode,
    reason: String,
}

fn refused(status: StatusCode, reason: impl Into<String>) -> Refusal {
    Refusal {
        status,
        reason: reason.into(),
    }
}

impl Endpoint {
    /// Of a stream.
    pub fn new(settings: EndpointSettings, inbox: Inbox) -> Self {
        let seen = (settings.remember > 0).then(|| Arc::new(Mutex::new(Seen::new(settings.remember))));
        Endpoint { settings, inbox, seen }
    }

    /// Takes a request, and answers when its events are taken or not.
    pub async fn call(&self, request: Request<Incoming>, remote: IpAddr) -> Answer {
        match self.take(request, remote).await {
            Ok(()) => accepted(),
            Err(refusal) => self.refuse(refusal),
        }
    }

    async fn take(&self, request: Request<Incoming>, remote: IpAddr) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        let is_compressed = self.check_head(&head.headers)?;
        let mut held = self.inbox.hold();
        let settings = &self.settings;
        let mut bytes = read(body, settings.max_body, settings.body_timeout, &mut held)
            .await
            .map_err(|trouble| self.told(trouble))?;
        if let Some(signed) = &settings.signed {
            signed
                .check(&head.headers, &bytes, seconds())
                .map_err(|reason| refused(StatusCode::FORBIDDEN, reason))?;
        }
        if is_compressed {
            let mut unpacked = self.inbox.hold();
            bytes = gunzipped(&bytes, settings.max_body, &mut unpacked).map_err(|trouble| self.told(trouble))?;
            held = unpacked;
        }
        if bytes.trim_ascii().is_empty() {
            return Err(refused(StatusCode::BAD_REQUEST, "the body is empty"));
        }
        let meeting = match self.meet(&head.headers) {
            Ok(meeting) => meeting,
            Err(State::Taken) => return Ok(()),
            Err(State::UnderWay) => {
                return Err(refused(
                    StatusCode::TOO_MANY_REQUESTS,
                    "a request of this id is under way",
                ));
            }
        };
        let values = values(&settings.from_request, &head.uri, &head.headers, remote);
        self.wait_for_verdict(bytes, values, meeting, held).await
    }

    async fn wait_for_verdict(
        &self,
        body: Bytes,
        values: super::from_request::Values,
        meeting: Option<Meeting>,
        held: Held,
    ) -> Result<(), Refusal> {
        let (answer, verdict) = oneshot::channel();
        let put = self.inbox.put(Post {
            body,
            values,
            time: SystemClock.now(),
            since: Instant::now(),
            reply: Reply { answer, meeting },
            _held: held,
        });
        let verdict = match put {
            Ok(()) => verdict.await.unwrap_or(Verdict::Stopping),
            Err(verdict) => verdict,
        };
        match verdict {
            Verdict::Taken => Ok(()),
            Verdict::Undecodable(reason) => Err(refused(StatusCode::BAD_REQUEST, reason)),
            Verdict::Busy => Err(refused(StatusCode::TOO_MANY_REQUESTS, "busy: come again later")),
            Verdict::Stopping => Err(refused(StatusCode::SERVICE_UNAVAILABLE, "stopping")),
            Verdict::NotDurable => Err(refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "no checkpoint was written in time: the events may be there or not",
            )),
        }
    }

    /// What can be told before the body is read; whether the body is compressed.
    fn check_head(&self, headers: &HeaderMap) -> Result<bool, Refusal> {
        if self.inbox.is_closed() {
            return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "stopping"));
        }
        if self
            .settings
            .sign_in
            .as_ref()
            .is_some_and(|sign_in| !sign_in.admits(headers))
        {
            return Err(refused(StatusCode::UNAUTHORIZED, "sign in"));
        }
        let media_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let fits = |media_type| std::str::from_utf8(media_type).is_ok_and(|text| self.settings.takes(text));
        if !media_type.is_none_or(fits) {
            let shown = self.settings.media_types.iter().map(|known| known.replace('+', "*+"));
            let reason = format!("Content-Type: {}", shown.collect::<Vec<_>>().join(", "));
            return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > self.settings.max_body)) {
            return Err(self.told(Trouble::TooLong));
        }
        match headers
            .get(CONTENT_ENCODING)
            .map(|encoding| encoding.as_bytes().to_ascii_lowercase())
            .as_deref()
        {
            None | Some(b"" | b"identity") => Ok(false),
            Some(b"gzip" | b"x-gzip") => Ok(true),
            Some(_) => Err(refused(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Encoding: gzip or none",
            )),
        }
    }

    fn told(&self, trouble: Trouble) -> Refusal {
        match trouble {
            Trouble::TooLong => refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a body may have {} bytes", self.settings.max_body),
            ),
            Trouble::TooSlow => refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Trouble::NoRoom => refused(StatusCode::TOO_MANY_REQUESTS, "busy: come again later"),
            Trouble::Broken => refused(StatusCode::BAD_REQUEST, "the body cannot be read"),
            Trouble::NotCompressed => refused(StatusCode::BAD_REQUEST, "the body is no gzip"),
        }
    }

    /// *Errors.* What is known of the request's id.
    fn meet(&self, headers: &HeaderMap) -> Result<Option<Meeting>, State> {
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
        match (&self.seen, id) {
            (Some(seen), Some(id)) => Meeting::new(seen, id).map(Some),
            _ => Ok(None),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        let mut answer = refusal_of(refusal.status, &refusal.reason);
        let headers = answer.headers_mut();
        match refusal.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, self.settings.retry_after.clone());
            }
            StatusCode::UNAUTHORIZED => {
                let scheme = self.settings.sign_in.as_ref().and_then(|sign_in| sign_in.scheme);
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme.unwrap_or("ApiKey")));
            }
            _ => {}
        }
        answer
    }
}

fn accepted() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// An answer that says why.
fn refusal_of(status: StatusCode, reason: &str) -> Answer {
    let text = serde_json::json!({ "error": reason }).to_string();
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// There is nothing at that path.
pub fn nothing() -> Answer {
    refusal_of(StatusCode::NOT_FOUND, "no stream listens at this path")
}

/// There will be something soon.
pub fn starting() -> Answer {
    let mut answer = refusal_of(StatusCode::SERVICE_UNAVAILABLE, "starting");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// There is, but for other methods.
pub fn other_method(allowed: &str) -> Answer {
    let mut answer = refusal_of(StatusCode::METHOD_NOT_ALLOWED, &format!("the method is {allowed}"));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
