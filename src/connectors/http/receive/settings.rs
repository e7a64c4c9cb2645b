//! The options of a receiver, checked and compiled.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use hyper::Method;
use hyper::header::HeaderValue;

use super::from_request::{FromRequest, Taken};
use super::signed::Signed;
use crate::catalog::names::{Resolved, resolve};
use crate::config::options::Options;
use crate::connectors::http::secrets::SignIn;
use crate::error::{Code, Diagnostic};

/// What all streams that listen at one address have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where it listens.
    pub bind: SocketAddr,
    /// How many connections may be open.
    pub max_connections: usize,
    /// How long until a request's head has come.
    pub head_timeout: Duration,
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// What one stream takes.
#[derive(Debug)]
pub struct EndpointSettings {
    /// Its path.
    pub path: String,
    /// Its method.
    pub method: Method,
    /// The media types it takes, in lower case; none: any.
    pub media_types: Vec<String>,
    /// Who may call.
    pub sign_in: Option<SignIn>,
    /// How requests are signed.
    pub signed: Option<Signed>,
    /// Of how many requests the ids are remembered.
    pub remember: usize,
    /// The longest body.
    pub max_body: usize,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How many bytes of bodies may be held.
    pub max_held: usize,
    /// What callers are asked to wait.
    pub retry_after: HeaderValue,
    /// What is taken from requests.
    pub from_request: Vec<FromRequest>,
}

/// When requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledging {
    /// Whether only once a checkpoint holds what came.
    pub durable: bool,
    /// How long that may take.
    pub timeout: Duration,
    /// How long a request may wait for the pipeline.
    pub busy_timeout: Duration,
}

/// All of it.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens.
    pub listener: ListenerSettings,
    /// What it takes.
    pub endpoint: EndpointSettings,
    /// When it answers.
    pub acknowledging: Acknowledging,
}

impl Settings {
    /// Of a stream with these columns, whose bodies are of a format.
    pub fn new(options: &Options, stream: &str, format: &str, declared: &Schema) -> Result<Self, Diagnostic> {
        let path = options
            .text("path")
            .map_or_else(|| format!("/{stream}"), str::to_string);
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            return Err(options.invalid("path", "it begins with / and has no query"));
        }
        let method = options.text("method").unwrap_or("POST");
        if method == "GET" {
            return Err(options.invalid("method", "a receiver takes bodies, which a GET has not"));
        }
        let seconds = options.duration("retry-after").unwrap_or_default().max(0) as u64 / 1_000_000;
        Ok(Settings {
            listener: ListenerSettings {
                bind: bind(options)?,
                max_connections: whole(options, "max-connections"),
                head_timeout: duration(options, "head.timeout").max(Duration::from_millis(1)),
                tls: tls(options)?,
            },
            endpoint: EndpointSettings {
                path,
                method: method.parse().unwrap_or(Method::POST),
                media_types: media_types(options, format),
                sign_in: SignIn::new(options)?,
                signed: Signed::new(options)?,
                remember: whole(options, "hmac.remember"),
                max_body: whole(options, "max-body-bytes"),
                body_timeout: duration(options, "body.timeout"),
                max_held: whole(options, "buffer.max-bytes"),
                retry_after: HeaderValue::from(seconds.max(1)),
                from_request: from_request(options, declared)?,
            },
            acknowledging: Acknowledging {
                durable: options.text("ack") == Some("durable"),
                timeout: duration(options, "ack.timeout"),
                busy_timeout: duration(options, "busy.timeout"),
            },
        })
    }

    /// Whether anybody can send to it who can reach it, from other machines.
    pub fn is_open_to_all(&self) -> bool {
        !self.listener.bind.ip().is_loopback() && self.endpoint.sign_in.is_none() && self.endpoint.signed.is_none()
    }
}

fn whole(options: &Options, name: &str) -> usize {
    options
        .integer(name)
        .and_then(|value| usize::try_from(value).ok())
        .unwrap_or_default()
}

fn duration(options: &Options, name: &str) -> Duration {
    Duration::from_micros(options.duration(name).unwrap_or_default().max(0).unsigned_abs())
}

fn bind(options: &Options) -> Result<SocketAddr, Diagnostic> {
    let Some(text) = options.text("bind") else {
        let error = Diagnostic::new(Code::MissingOption, "a receiver needs the option 'http.bind'");
        return Err(
            error.hint("\"http.bind\" = '127.0.0.1:8085', or \"http.mode\" = 'poll' for a source that asks a URL")
        );
    };
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_string(),
    };
    text.parse().map_err(|_| {
        let error = options.invalid("bind", "it is an address and a port");
        error.hint("'127.0.0.1:8085' for this machine alone, '0.0.0.0:8085' or '[::]:8085' for others too")
    })
}

fn tls(options: &Options) -> Result<Option<(PathBuf, PathBuf)>, Diagnostic> {
    match (options.text("tls.cert"), options.text("tls.key")) {
        (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(options.invalid("tls.cert", "it needs http.tls.key, too")),
        (None, Some(_)) => Err(options.invalid("tls.key", "it needs http.tls.cert, too")),
    }
}

/// What bodies of a format are called on the web.
fn media_types(options: &Options, format: &str) -> Vec<String> {
    let types: &[&str] = match (options.text("content-type"), format) {
        (Some("*"), _) => &[],
        (Some(one), _) => return vec![one.trim().to_ascii_lowercase()],
        (None, "json") => &[
            "application/json",
            "+json",
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "text/json",
        ],
        (None, "csv") => &["text/csv", "application/csv", "text/plain"],
        (None, "text") => &["text/plain"],
        (None, "avro") => &["application/avro", "avro/binary", "application/octet-stream"],
        (None, "protobuf") => &[
            "application/protobuf",
            "application/x-protobuf",
            "application/octet-stream",
        ],
        (None, "arrow") => &["application/vnd.apache.arrow.stream", "application/octet-stream"],
        (None, _) => &[],
    };
    types.iter().map(ToString::to_string).collect()
}

impl EndpointSettings {
    /// Whether bodies of a media type, with or without parameters, are taken.
    pub fn takes(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let fits = |known: &String| match known.starts_with('+') {
            true => essence.len() > known.len() && essence.to_ascii_lowercase().ends_with(known.as_str()),
            false => known.eq_ignore_ascii_case(essence),
        };
        self.media_types.is_empty() || self.media_types.iter().any(fits)
    }
}

const COLUMN: &str = "column.";

fn from_request(options: &Options, declared: &Schema) -> Result<Vec<FromRequest>, Diagnostic> {
    let mut found = Vec::new();
    for option in options.names().filter(|name| name.starts_with(COLUMN)) {
        let name = &option[COLUMN.len()..];
        let names = || declared.fields().iter().map(|field| field.name().as_str());
        let column = match resolve(name, names()) {
            Resolved::One(exact) => names().position(|known| known == exact),
            _ => None,
        };
        let column = column.ok_or_else(|| options.invalid(option, format!("the stream has no column '{name}'")))?;
        let field = declared.field(column);
        let text = options.text(option).unwrap_or_default().trim();
        let taken = Taken::parse(text).ok_or_else(|| {
            let error = options.invalid(option, format!("'{text}' is nothing that a request has"));
            error.hint("'header:X-Source', 'query:tenant', 'path', 'remote' or 'time'")
        })?;
        fits(field, &taken).map_err(|reason| options.invalid(option, reason))?;
        found.push(FromRequest { column, taken });
    }
    found.sort_by_key(|from| from.column);
    Ok(found)
}

fn fits(field: &Field, taken: &Taken) -> Result<(), String> {
    let wanted = match taken {
        Taken::Time => crate::catalog::types::TIMESTAMP,
        _ => DataType::Utf8View,
    };
    let name = field.name();
    if *field.data_type() != wanted || crate::catalog::types::is_json(field) {
        return Err(format!(
            "the column '{name}' must be {}",
            crate::catalog::types::name(&wanted)
        ));
    }
    match (taken.is_always_there(), field.is_nullable()) {
        (false, false) => Err(format!("the column '{name}' is NOT NULL, and a request may lack it")),
        _ => Ok(()),
    }
}
