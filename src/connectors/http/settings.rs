//! The options of a sink, checked and compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};

use super::address;
use super::breaker::BreakerSettings;
use super::outbox::OutboxSettings;
use super::signature::Signer;
use crate::catalog::names::{Resolved, resolve};
use crate::config::options::Options;
use crate::connectors::SinkSpec;
use crate::error::{Diagnostic, Result};
use crate::event::EventBatch;
use crate::formats::template::Template;

/// What stands for a value of a row when a URL is checked.
const SAMPLE: &str = "x";

/// Headers that the connector sets itself.
pub const OWN_HEADERS: [&str; 7] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// How requests are delivered.
pub struct Settings {
    /// The stream.
    pub stream: String,
    /// What all requests have.
    pub sending: Arc<Sending>,
    /// When they go.
    pub outbox: OutboxSettings,
    /// How long to go on when the app ends.
    pub close_timeout: Duration,
}

/// What of a request depends on its rows.
pub struct Making {
    /// Where to, if rows say that.
    pub url: Option<Template>,
    /// Headers whose values are of rows.
    pub headers: Vec<Template>,
    /// The column of the id.
    pub id: Option<usize>,
    /// The columns of the key; none: all have one.
    pub key: Vec<usize>,
    /// Whether there is an order at all.
    pub ordered: bool,
    /// Events of one request.
    pub batch: usize,
    /// Whether the body has an envelope.
    pub envelope: bool,
}

/// What is the same for all requests of a sink.
#[derive(Debug)]
pub struct Sending {
    /// Where to, if that is the same for all.
    pub url: Option<Url>,
    /// How.
    pub method: reqwest::Method,
    /// Headers that are always the same.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The names of those that are not, in the order of [`super::entry::Entry::headers`].
    pub names: Vec<HeaderName>,
    /// Signs.
    pub signer: Option<Signer>,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The longest Retry-After.
    pub retry_after_max: Duration,
    /// What may be called.
    pub allowed: Allowed,
    /// What becomes of its requests.
    pub tally: Tally,
}

/// What may be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Whether private addresses may be.
    pub private: bool,
    /// The hosts; empty: all.
    pub hosts: Vec<String>,
}

impl Allowed {
    /// Why a URL must not be called, as far as it can be told without resolving names.
    pub fn refusal(&self, url: &Url) -> Option<String> {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let is_host = |allowed: &String| match allowed.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => host.eq_ignore_ascii_case(allowed),
        };
        if !self.hosts.is_empty() && !self.hosts.iter().any(is_host) {
            return Some(format!("{host} is not one of the hosts that are allowed"));
        }
        match self.private {
            true => None,
            false => address::refusal(url),
        }
    }
}

/// What became of the requests of a route.
#[derive(Debug, Default)]
pub struct Tally {
    /// Those that wait.
    pub waiting: AtomicUsize,
    /// Their bytes.
    pub waiting_bytes: AtomicUsize,
    /// Those that were delivered.
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Those that were given up.
    pub given_up: AtomicU64,
}

impl Tally {
    /// One more waits.
    pub fn enters(&self, bytes: usize) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One waits no more.
    pub fn leaves(&self, bytes: usize) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Settings {
    /// Of a sink, whose format makes bodies of this media type.
    pub fn new(spec: &SinkSpec, media_type: &str) -> Result<(Self, Making), Diagnostic> {
        let options = &spec.options;
        let (url, template) = url(options, &spec.schema)?;
        let (mut headers, mut names, mut templates) = (Vec::new(), Vec::new(), Vec::new());
        for option in options.names().filter(|name| name.starts_with("header.")) {
            let (name, value) = header(options, option, &spec.schema)?;
            match value {
                Value::Fixed(value) => headers.push((name, value)),
                Value::OfRows(template) => {
                    names.push(name);
                    templates.push(template);
                }
            }
        }
        headers.extend(authorization(options)?);
        let content_type = options.text("content-type").unwrap_or(media_type);
        headers.push((CONTENT_TYPE, value(options, "content-type", content_type)?));
        let batch = whole(options, "batch.max-events");
        let envelope = options.boolean("envelope");
        if envelope && media_type != JSON {
            return Err(options.invalid("envelope", "it needs format = 'json'"));
        }
        let signer = options.text("secret").map(Signer::new).transpose();
        let signer = signer.map_err(|reason| options.invalid("secret", reason))?;
        let making = Making {
            url: template,
            headers: templates,
            id: id(options, &spec.schema, batch)?,
            key: key(spec)?,
            ordered: options.text("order") != Some("none"),
            batch,
            envelope,
        };
        let settings = Settings {
            stream: spec.stream.clone(),
            sending: Arc::new(Sending {
                url,
                method: options
                    .text("method")
                    .and_then(|method| method.parse().ok())
                    .unwrap_or(reqwest::Method::POST),
                headers,
                names,
                signer,
                timeout: duration(options, "timeout"),
                connect_timeout: duration(options, "connect.timeout"),
                retry_after_max: duration(options, "retry-after.max"),
                allowed: Allowed {
                    private: options.boolean("allow-private"),
                    hosts: Vec::new(),
                },
                tally: Tally::default(),
            }),
            outbox: OutboxSettings {
                concurrency: whole(options, "concurrency"),
                retry: spec.retry,
                breaker: BreakerSettings {
                    failures: u32::try_from(whole(options, "breaker.failures")).unwrap_or(u32::MAX),
                    pause: options.duration("breaker.pause").unwrap_or_default(),
                },
                max_events: whole(options, "outbox.max-events"),
                max_bytes: whole(options, "outbox.max-bytes"),
            },
            close_timeout: duration(options, "close.timeout"),
        };
        Ok((settings, making))
    }
}

/// The media type of bodies that can be put together and into an envelope.
pub const JSON: &str = "application/json";

enum Value {
    Fixed(HeaderValue),
    OfRows(Template),
}

fn whole(options: &Options, name: &str) -> usize {
    options
        .integer(name)
        .and_then(|value| usize::try_from(value).ok())
        .unwrap_or_default()
}

fn duration(options: &Options, name: &str) -> Duration {
    Duration::from_micros(options.duration(name).unwrap_or_default().unsigned_abs())
}

/// The URL, or a template that makes one of each row.
fn url(options: &Options, schema: &SchemaRef) -> Result<(Option<Url>, Option<Template>), Diagnostic> {
    let text = options.text("url").unwrap_or_default();
    let template = Template::plain(options, "url", text, schema)?;
    let sample = template.sample(SAMPLE);
    let url = checked(&sample).map_err(|reason| options.invalid("url", reason))?;
    if template.is_fixed()
        && !options.boolean("allow-private")
        && let Some(reason) = address::refusal(&url)
    {
        let error = options.invalid("url", reason);
        return Err(error.hint("\"http.allow-private\" = 'true' allows it"));
    }
    Ok(match template.is_fixed() {
        true => (Some(url), None),
        false => (None, Some(template)),
    })
}

/// A URL that may be called. *Errors.* Why not, without the URL, which may hold secrets.
pub fn checked(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("it is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => {}
        scheme => return Err(format!("it begins with http:// or https://, not with {scheme}:")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has a user in it: use http.basic.user and http.basic.password".to_string());
    }
    Ok(url)
}

/// A value of a row within a URL.
pub fn percent_encoded(out: &mut Vec<u8>, value: &[u8]) {
    percent_encode(value, NON_ALPHANUMERIC).for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn header(options: &Options, option: &str, schema: &SchemaRef) -> Result<(HeaderName, Value), Diagnostic> {
    let name = option.trim_start_matches("header.");
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| options.invalid(option, format!("'{name}' is no name of a header")))?;
    if OWN_HEADERS.contains(&parsed.as_str()) {
        return Err(options.invalid(option, format!("{parsed} is set by the connector")));
    }
    let text = options.text(option).unwrap_or_default();
    let template = Template::plain(options, option, text, schema)?;
    Ok(match template.is_fixed() {
        true => (parsed, Value::Fixed(value(options, option, &template.sample(""))?)),
        false => (parsed, Value::OfRows(template)),
    })
}

fn value(options: &Options, option: &str, text: &str) -> Result<HeaderValue, Diagnostic> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| options.invalid(option, "it cannot be sent in a header"))?;
    value.set_sensitive(option != "content-type");
    Ok(value)
}

fn authorization(options: &Options) -> Result<Option<(HeaderName, HeaderValue)>, Diagnostic> {
    let bearer = options.text("bearer-token");
    let user = options.text("basic.user");
    let (option, text) = match (bearer, user) {
        (Some(_), Some(_)) => return Err(options.invalid("basic.user", "there is a bearer-token as well")),
        (Some(token), None) => ("bearer-token", format!("Bearer {token}")),
        (None, Some(user)) => {
            use base64::Engine;
            let both = format!("{user}:{}", options.text("basic.password").unwrap_or_default());
            let encoded = base64::engine::general_purpose::STANDARD.encode(both);
            ("basic.user", format!("Basic {encoded}"))
        }
        (None, None) if options.text("basic.password").is_some() => {
            return Err(options.invalid("basic.password", "there is no basic.user"));
        }
        (None, None) => return Ok(None),
    };
    Ok(Some((AUTHORIZATION, value(options, option, &text)?)))
}

fn column(options: &Options, option: &str, name: &str, schema: &SchemaRef) -> Result<usize, Diagnostic> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let found = match resolve(name, names()) {
        Resolved::One(exact) => names().position(|known| known == exact),
        _ => None,
    };
    found.ok_or_else(|| options.invalid(option, format!("the stream has no column '{name}'")))
}

fn id(options: &Options, schema: &SchemaRef, batch: usize) -> Result<Option<usize>, Diagnostic> {
    let Some(name) = options.text("event-id") else {
        return Ok(None);
    };
    if batch > 1 {
        return Err(options.invalid(
            "event-id",
            "a request of several events has an id of its own: leave batch.max-events out",
        ));
    }
    column(options, "event-id", name.trim(), schema).map(Some)
}

fn key(spec: &SinkSpec) -> Result<Vec<usize>, Diagnostic> {
    match spec.options.text("key") {
        None => Ok(spec.primary_key.clone()),
        Some(names) => {
            let names = names.split(',').map(str::trim);
            names
                .map(|name| column(&spec.options, "key", name, &spec.schema))
                .collect()
        }
    }
}

impl Making {
    /// Where each row goes, if rows say that.
    pub fn urls(&self, batch: &EventBatch) -> Result<Option<Vec<String>>> {
        let made = self.url.as_ref().map(|url| url.texts(batch, percent_encoded));
        made.transpose()
    }

    /// The headers of each row: by header.
    pub fn headers(&self, batch: &EventBatch) -> Result<Vec<Vec<String>>> {
        let as_it_is = |out: &mut Vec<u8>, value: &[u8]| out.extend_from_slice(value);
        self.headers
            .iter()
            .map(|header| header.texts(batch, as_it_is))
            .collect()
    }
}
