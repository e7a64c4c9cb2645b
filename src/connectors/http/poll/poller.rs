//! [`Poller`]: the source that asks.
//!
//! Each page that has been read is a position: the next page, and what the server said that the first one was (ETag, Last-Modified), so
//! that a restart goes on with the page after it, and an unchanged list is not read again. A server that fails is asked again after a
//! growing wait; one that refuses from the first is an error.

use std::future::Future;
use std::time::{Duration, SystemTime};

use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::catalog::error_policy::Retry;
use crate::connectors::http::bodies::Bodies;
use crate::connectors::http::courier::{retry_after, start_of, why_unreachable};
use crate::connectors::{Flow, Position, Source, SourceOutput, SourceSpec};
use crate::error::{Code, Diagnostic, Error, Result};

/// How long a stop may go unnoticed while an answer is waited for.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// The wait after the first failure, in µs.
const FIRST_WAIT: i64 = 1_000_000;

/// The shortest wait after a failure, also if a server asks for less.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// How many redirects are followed, all within the server that was asked.
const REDIRECTS: usize = 5;

/// See the module.
pub struct Poller {
    stream: String,
    settings: Settings,
    bodies: Bodies,
    place: Place,
    /// Whether there has been a good answer.
    worked: bool,
}

/// Where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    /// Which list it is: a hash of the URL.
    of: String,
    /// The page that comes next, when it is not the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The page that the following two are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

/// What came of asking once.
enum Asked {
    /// All that there was has been read.
    Done,
    /// The app is stopping.
    Stopped,
    /// There is to be another attempt, after that wait if the server asks for one.
    Again { why: String, after: Option<Duration> },
}

/// What came of asking for one page.
enum Page {
    Read(HeaderMap, Vec<u8>, Url),
    Unchanged,
    Stopped,
    Again { why: String, after: Option<Duration> },
    Gone { why: String },
}

impl Poller {
    /// Checks the options; asks nobody.
    pub fn new(spec: SourceSpec) -> Result<Self, Diagnostic> {
        let settings = Settings::new(&spec.options)?;
        let format = spec
            .format
            .ok_or_else(|| Diagnostic::new(Code::MissingOption, "an http source needs a format"))?;
        let mut poller = Poller {
            bodies: Bodies::new(format, spec.schema.decoded())?,
            stream: spec.stream,
            place: Place::default(),
            settings,
            worked: false,
        };
        poller.place.of = poller.list();
        Ok(poller)
    }

    fn list(&self) -> String {
        let url = self.settings.url.as_str();
        blake3::hash(url.as_bytes()).to_hex().as_str()[..16].to_string()
    }

    fn client(&self) -> Result<Client> {
        let within = |attempt: reqwest::redirect::Attempt<'_>| {
            let same = attempt
                .previous()
                .iter()
                .all(|url| url.origin() == attempt.url().origin());
            match (same, attempt.previous().len() > REDIRECTS) {
                (true, false) => attempt.follow(),
                (true, true) => attempt.error("too many redirects"),
                (false, _) => attempt.error("it redirects to another server"),
            }
        };
        Client::builder()
            .no_proxy()
            .redirect(Policy::custom(within))
            .user_agent(concat!("eventflux/", env!("CARGO_PKG_VERSION")))
            .timeout(self.settings.timeout)
            .connect_timeout(self.settings.connect_timeout)
            .build()
            .map_err(Error::failed)
    }

    async fn poll(&mut self, out: &mut SourceOutput) -> Result<()> {
        let client = self.client()?;
        let backoff = Retry {
            max_attempts: 0,
            initial_delay: FIRST_WAIT,
            max_delay: i64::try_from(self.settings.backoff_max.as_micros()).unwrap_or(i64::MAX),
            ..Retry::default()
        };
        let mut failures = 0;
        loop {
            let wait = match self.ask(&client, out).await? {
                Asked::Stopped => return Ok(()),
                Asked::Done => {
                    failures = 0;
                    self.settings.interval
                }
                Asked::Again { why, after } => {
                    failures += 1;
                    let delay = backoff.delay(failures, rand::random()).unwrap_or(FIRST_WAIT);
                    let delay = Duration::from_micros(delay.unsigned_abs());
                    let wait = after.map_or(delay, |after| {
                        after.min(self.settings.retry_after_max).max(SHORTEST_WAIT)
                    });
                    tracing::warn!(
                        stream = self.stream,
                        error = why,
                        attempt = failures,
                        ?wait,
                        "asking again"
                    );
                    wait
                }
            };
            if out.wait(wait) == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// Reads the pages that there are.
    async fn ask(&mut self, client: &Client, out: &mut SourceOutput) -> Result<Asked> {
        for _ in 0..self.settings.max_pages {
            let next = self.place.next.as_deref().map(str::parse).transpose();
            let url = next
                .map_err(Error::failed)?
                .unwrap_or_else(|| self.settings.url.clone());
            let (headers, body, at) = match self.page(client, url.clone(), out).await? {
                Page::Read(headers, body, at) => (headers, body, at),
                Page::Unchanged => return Ok(Asked::Done),
                Page::Stopped => return Ok(Asked::Stopped),
                Page::Again { why, after } => return Ok(Asked::Again { why, after }),
                Page::Gone { why } => {
                    // Cursors may expire; whoever goes on begins anew then.
                    tracing::warn!(
                        stream = self.stream,
                        error = why,
                        "the next page is gone: the list is read from its beginning"
                    );
                    self.place.next = None;
                    return Ok(Asked::Again { why, after: None });
                }
            };
            self.worked = true;
            let next = match &self.settings.next {
                Some(next) => next.find(&headers, &body, &at, &self.settings.url),
                None => Ok(None),
            };
            let next = match next {
                Ok(next) => next,
                Err(why) => return Ok(Asked::Again { why, after: None }),
            };
            let decoded = self.bodies.one(&body)?;
            let is_empty = decoded.columns.num_rows() == 0 && decoded.errors.is_empty();
            let is_last = next.is_none() || (self.settings.goes_on && is_empty);
            let same = next.as_ref() == Some(&url);
            self.arrive(&url, &headers, next);
            let position = serde_json::to_value(&self.place).map_err(Error::failed)?;
            if out.emit_decoded(decoded, Some(position)) == Flow::Stop {
                return Ok(Asked::Stopped);
            }
            if is_last || same {
                return Ok(Asked::Done);
            }
        }
        Ok(Asked::Done)
    }

    /// Stands after the page at `url`.
    fn arrive(&mut self, url: &Url, headers: &HeaderMap, next: Option<Url>) {
        let begins = *url == self.settings.url;
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| Some(value.to_str().ok()?.to_string()))
        };
        if begins || self.settings.goes_on {
            self.place.page = Some(url.to_string());
            (self.place.etag, self.place.modified) = (text(ETAG), text(LAST_MODIFIED));
        }
        self.place.next = match next {
            Some(next) => Some(next.into()),
            // The list may grow behind its last page.
            None => self.settings.goes_on.then(|| url.to_string()),
        };
    }

    /// Asks for one page.
    async fn page(&self, client: &Client, url: Url, out: &SourceOutput) -> Result<Page> {
        let mut request = client.request(self.settings.method.clone(), url.clone());
        request = request.headers(self.settings.headers.clone());
        if let Some(body) = &self.settings.body {
            request = request.body(body.clone());
        }
        if self.place.page.as_deref() == Some(url.as_str()) {
            if let Some(etag) = &self.place.etag {
                request = request.header(IF_NONE_MATCH, etag);
            } else if let Some(modified) = &self.place.modified {
                request = request.header(IF_MODIFIED_SINCE, modified);
            }
        }
        let answered = async {
            match request.send().await {
                Ok(response) => self.answered(response).await,
                Err(error) => Ok(Page::Again {
                    why: why_unreachable(&error),
                    after: None,
                }),
            }
        };
        match unless_stopped(answered, out).await {
            Some(page) => page,
            None => Ok(Page::Stopped),
        }
    }

    async fn answered(&self, response: Response) -> Result<Page> {
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Page::Unchanged);
        }
        let (headers, at) = (response.headers().clone(), response.url().clone());
        if status.is_success() {
            return Ok(match self.body(response).await {
                Ok(body) => Page::Read(headers, body, at),
                Err(why) => Page::Again { why, after: None },
            });
        }
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry_after(value, SystemTime::now()));
        let mut why = format!("the server answered {status}");
        let text = start_of(response).await;
        if !text.is_empty() {
            why = format!("{why}: {text}");
        }
        if self.place.next.is_some() && matches!(status.as_u16(), 400 | 404 | 410 | 422) {
            return Ok(Page::Gone { why });
        }
        let passes = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
        match passes || self.worked {
            true => Ok(Page::Again { why, after }),
            false => Err(Error::failed(format!("http.url: {why}"))),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, String> {
        let most = self.settings.max_body;
        let too_long = || format!("the body is longer than http.max-body-bytes ({most})");
        if response
            .content_length()
            .is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > most))
        {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| why_unreachable(&error))? {
            if body.len() + chunk.len() > most {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What comes of something; `None` when the app stops before.
async fn unless_stopped<T>(work: impl Future<Output = T>, out: &SourceOutput) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(STOP_CHECK, work.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) if out.flow() == Flow::Stop => return None,
            Err(_) => {}
        }
    }
}

impl Source for Poller {
    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("starting a source", error))?;
        let result = runtime.block_on(self.poll(out));
        runtime.shutdown_background();
        result
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let place = Place::deserialize(position);
        let place = place.map_err(|error| Error::failed(format!("not a position of a poller: {error}")))?;
        match place.of == self.place.of {
            true => {
                self.place = place;
                // It has answered before, if not to this process.
                self.worked = true;
            }
            false => tracing::warn!(
                stream = self.stream,
                "http.url is another one: it is read from its beginning"
            ),
        }
        Ok(())
    }
}
