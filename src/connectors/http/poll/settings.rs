//! The options of a poller, checked and compiled.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::pages::{Next, pointer};
use crate::config::options::Options;
use crate::connectors::http::secrets::SignIn;
use crate::connectors::http::settings::checked;
use crate::error::{Code, Diagnostic};

/// What is asked, and how.
#[derive(Debug)]
pub struct Settings {
    /// The first page.
    pub url: Url,
    /// How.
    pub method: Method,
    /// Of each request.
    pub headers: HeaderMap,
    /// Of each request.
    pub body: Option<String>,
    /// How often.
    pub interval: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The longest body.
    pub max_body: usize,
    /// Where the next page is, if there are several.
    pub next: Option<Next>,
    /// How many pages at each time.
    pub max_pages: u64,
    /// Whether the next time goes on where the last one ended.
    pub goes_on: bool,
    /// The longest wait that a server may ask for.
    pub retry_after_max: Duration,
    /// The longest wait after a failure.
    pub backoff_max: Duration,
}

impl Settings {
    /// As the options say.
    pub fn new(options: &Options) -> Result<Self, Diagnostic> {
        let Some(url) = options.text("url") else {
            let error = Diagnostic::new(Code::MissingOption, "a poller needs the option 'http.url'");
            return Err(error.hint("\"http.url\" = 'https://…': what to ask"));
        };
        let interval = duration(options, "interval");
        if interval.is_zero() {
            return Err(options.invalid("interval", "it must be longer than 0"));
        }
        Ok(Settings {
            url: checked(url).map_err(|reason| options.invalid("url", reason))?,
            method: options
                .text("method")
                .and_then(|method| method.parse().ok())
                .unwrap_or(Method::GET),
            headers: headers(options)?,
            body: options.text("body").map(str::to_string),
            interval,
            timeout: duration(options, "timeout"),
            connect_timeout: duration(options, "connect.timeout"),
            max_body: options
                .integer("max-body-bytes")
                .and_then(|most| usize::try_from(most).ok())
                .unwrap_or_default(),
            next: next(options)?,
            max_pages: options.integer("page.max").unwrap_or(1).unsigned_abs(),
            goes_on: options.boolean("page.continue"),
            retry_after_max: duration(options, "retry-after.max"),
            backoff_max: duration(options, "backoff.max"),
        })
    }
}

fn duration(options: &Options, name: &str) -> Duration {
    Duration::from_micros(options.duration(name).unwrap_or_default().max(0).unsigned_abs())
}

fn next(options: &Options) -> Result<Option<Next>, Diagnostic> {
    let param = options.text("page.param");
    match (options.text("page.next"), param) {
        (None, Some(_)) => Err(options.invalid(
            "page.param",
            "it needs http.page.next: where the cursor is in an answer",
        )),
        (None, None) if options.boolean("page.continue") => {
            Err(options.invalid("page.continue", "it needs http.page.next"))
        }
        (None, None) => Ok(None),
        (Some("link"), Some(_)) => Err(options.invalid("page.param", "the header Link has whole URLs")),
        (Some("link"), None) => Ok(Some(Next::Link)),
        (Some(path), param) => {
            let pointer = pointer(path).map_err(|reason| options.invalid("page.next", reason))?;
            Ok(Some(match param {
                Some(param) => Next::Cursor {
                    pointer,
                    param: param.to_string(),
                },
                None => Next::Url(pointer),
            }))
        }
    }
}

fn headers(options: &Options) -> Result<HeaderMap, Diagnostic> {
    let mut headers = HeaderMap::new();
    for option in options.names().filter(|name| name.starts_with("header.")) {
        let name = option.trim_start_matches("header.");
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| options.invalid(option, format!("'{name}' is no name of a header")))?;
        headers.insert(
            parsed,
            value(options, option, options.text(option).unwrap_or_default())?,
        );
    }
    if let Some(sign_in) = SignIn::new(options)? {
        headers.insert(sign_in.header.clone(), value(options, "auth", &sign_in.value())?);
    }
    if let Some(content_type) = options.text("content-type") {
        headers.insert(CONTENT_TYPE, value(options, "content-type", content_type)?);
    }
    Ok(headers)
}

fn value(options: &Options, option: &str, text: &str) -> Result<HeaderValue, Diagnostic> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| options.invalid(option, "it cannot be sent in a header"))?;
    value.set_sensitive(option != "content-type");
    Ok(value)
}
