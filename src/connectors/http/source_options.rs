//! The options of `http` sources, and which of them belong to which mode.

use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;

/// Those that only a receiver has.
const OF_RECEIVERS: &[&str] = &[
    "bind",
    "path",
    "ack",
    "ack.timeout",
    "busy.timeout",
    "retry-after",
    "buffer.max-bytes",
    "hmac",
    "secret",
    "hmac.header",
    "hmac.prefix",
    "hmac.encoding",
    "hmac.tolerance",
    "hmac.remember",
    "column.<column>",
    "max-connections",
    "head.timeout",
    "body.timeout",
    "tls.cert",
    "tls.key",
];

/// Those that only a poller has.
const OF_POLLERS: &[&str] = &[
    "url",
    "interval",
    "header.<name>",
    "body",
    "timeout",
    "connect.timeout",
    "page.next",
    "page.param",
    "page.max",
    "page.continue",
    "retry-after.max",
    "backoff.max",
];

/// What an `http` source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Others call it.
    Receive,
    /// It calls.
    Poll,
}

impl Mode {
    /// As the options say. *Errors.* An option of the other mode.
    pub fn new(options: &Options) -> Result<Self, Diagnostic> {
        let (mode, others, name) = match options.text("mode") {
            Some("poll") => (Mode::Poll, OF_RECEIVERS, "receive"),
            _ => (Mode::Receive, OF_POLLERS, "poll"),
        };
        let is_of = |option: &&str| others.iter().any(|other| matches(other, option)) && options.is_written(option);
        match options.names().find(is_of) {
            Some(option) => Err(options
                .invalid(option, format!("it belongs to \"http.mode\" = '{name}'"))
                .hint("remove it, or set \"http.mode\"")),
            None => Ok(mode),
        }
    }
}

fn matches(spec: &str, option: &str) -> bool {
    match spec.split_once('<') {
        Some((before, _)) => option.starts_with(before),
        None => spec == option,
    }
}

const fn whole(min: i64, max: i64) -> OptionKind {
    OptionKind::Integer { min, max }
}

/// All of them.
pub const SOURCE: &[OptionSpec] = &[
    OptionSpec::new(
        "mode",
        OptionKind::Choice(&["receive", "poll"]),
        "receive: others call it (webhooks). poll: it calls a URL again and again.",
    )
    .default("receive"),
    OptionSpec::new(
        "method",
        OptionKind::Choice(&["GET", "POST", "PUT", "PATCH"]),
        "The method: by default POST for a receiver, GET for a poller.",
    ),
    OptionSpec::new(
        "max-body-bytes",
        whole(1, 1 << 30),
        "The longest body read, in bytes, also after decompression.",
    )
    .default("1048576"),
    OptionSpec::new(
        "content-type",
        OptionKind::Text,
        "Receiver: the media type that requests must have; * for any. By default those of the format. Poller: that of its body.",
    ),
    OptionSpec::new(
        "auth",
        OptionKind::Choice(&["none", "bearer", "basic", "api-key"]),
        "How callers of a receiver, or a poller, sign in. By default as the other options say.",
    ),
    OptionSpec::new(
        "bearer-token",
        OptionKind::Text,
        "The token in Authorization: Bearer …. Receiver: several with spaces between, any of which will do.",
    )
    .secret(),
    OptionSpec::new("basic.user", OptionKind::Text, "The user in Authorization: Basic …."),
    OptionSpec::new("basic.password", OptionKind::Text, "The password of basic.user.").secret(),
    OptionSpec::new(
        "api-key",
        OptionKind::Text,
        "The key in the header api-key.header. Receiver: several with spaces between, any of which will do.",
    )
    .secret(),
    OptionSpec::new("api-key.header", OptionKind::Text, "The header of api-key.").default("X-API-Key"),
    // Receivers.
    OptionSpec::new(
        "bind",
        OptionKind::Text,
        "Receiver: the address and port to listen on. Streams of one app may share it.",
    ),
    OptionSpec::new("path", OptionKind::Text, "Receiver: the path that is called; by default / and the stream's name."),
    OptionSpec::new(
        "ack",
        OptionKind::Choice(&["accepted", "durable"]),
        "Receiver: when a request is answered with 202: once its events are in the pipeline, or once a checkpoint holds them.",
    )
    .default("accepted"),
    OptionSpec::new(
        "ack.timeout",
        OptionKind::Duration,
        "Receiver: how long a request waits for that checkpoint; then the answer is 503.",
    )
    .default("30 seconds"),
    OptionSpec::new(
        "busy.timeout",
        OptionKind::Duration,
        "Receiver: how long a request waits while the pipeline is busy; then the answer is 429.",
    )
    .default("500 ms"),
    OptionSpec::new(
        "retry-after",
        OptionKind::Duration,
        "Receiver: what 429 and 503 ask callers to wait, in whole seconds.",
    )
    .default("1 second"),
    OptionSpec::new(
        "buffer.max-bytes",
        whole(1024, 1 << 40),
        "Receiver: how many bytes of bodies are held that the pipeline has not taken; then the answer is 429.",
    )
    .default("67108864"),
    OptionSpec::new(
        "hmac",
        OptionKind::Choice(&["none", "standard-webhooks", "generic", "stripe"]),
        "Receiver: how requests are signed with secret. generic: the HMAC-SHA256 of the body in a header, as GitHub does.",
    )
    .default("none"),
    OptionSpec::new(
        "secret",
        OptionKind::Text,
        "Receiver: the secret of hmac. Several with spaces between, any of which will do, while one takes over from another.",
    )
    .secret(),
    OptionSpec::new(
        "hmac.header",
        OptionKind::Text,
        "Receiver, generic: the header with the signature; by default X-Hub-Signature-256.",
    ),
    OptionSpec::new(
        "hmac.prefix",
        OptionKind::Text,
        "Receiver, generic: what stands before the signature; by default sha256=.",
    ),
    OptionSpec::new(
        "hmac.encoding",
        OptionKind::Choice(&["hex", "base64"]),
        "Receiver, generic: how the signature is written.",
    )
    .default("hex"),
    OptionSpec::new(
        "hmac.tolerance",
        OptionKind::Duration,
        "Receiver, standard-webhooks and stripe: how far the time of a request may be from the clock.",
    )
    .default("5 minutes"),
    OptionSpec::new(
        "hmac.remember",
        whole(0, 10_000_000),
        "Receiver, standard-webhooks: of how many requests the webhook-id is remembered; one that comes again is answered with 202 and \
         not taken again. 0: none.",
    )
    .default("0"),
    OptionSpec::new(
        "column.<column>",
        OptionKind::Text,
        "Receiver: a column that is not in the body: 'header:NAME', 'query:NAME', 'path', 'remote' (the caller's address) or 'time' (when \
         it came).",
    ),
    OptionSpec::new("max-connections", whole(1, 1_000_000), "Receiver: how many connections may be open; more are closed.")
        .default("1024"),
    OptionSpec::new(
        "head.timeout",
        OptionKind::Duration,
        "Receiver: how long a connection may take until the next request's head has come; then it is closed.",
    )
    .default("10 seconds"),
    OptionSpec::new(
        "body.timeout",
        OptionKind::Duration,
        "Receiver: how long a body may take; then the answer is 408.",
    )
    .default("10 seconds"),
    OptionSpec::new("tls.cert", OptionKind::Path, "Receiver: its certificate and those above it, a PEM file: https."),
    OptionSpec::new("tls.key", OptionKind::Path, "Receiver: the certificate's private key, a PEM file."),
    // Pollers.
    OptionSpec::new("url", OptionKind::Text, "Poller: what to ask, http://… or https://….").secret(),
    OptionSpec::new("interval", OptionKind::Duration, "Poller: how often.").default("1 minute"),
    OptionSpec::new("header.<name>", OptionKind::Text, "Poller: a header of each request.").secret(),
    OptionSpec::new("body", OptionKind::Text, "Poller: the body of each request."),
    OptionSpec::new("timeout", OptionKind::Duration, "Poller: how long a request may take, its answer included.")
        .default("30 seconds"),
    OptionSpec::new("connect.timeout", OptionKind::Duration, "Poller: how long connecting may take.").default("10 seconds"),
    OptionSpec::new(
        "page.next",
        OptionKind::Text,
        "Poller: where an answer says what the next page is: 'link' for the header Link (RFC 8288), or the JSONPath of a URL or, with \
         page.param, of a cursor, such as '$.meta.next'.",
    ),
    OptionSpec::new("page.param", OptionKind::Text, "Poller: the parameter of the URL that takes the cursor."),
    OptionSpec::new("page.max", whole(1, 1_000_000), "Poller: how many pages are read at each time at most.").default("100"),
    OptionSpec::new(
        "page.continue",
        OptionKind::Boolean,
        "Poller: whether the next time goes on at the last page's cursor, for lists that only grow.",
    )
    .default("false"),
    OptionSpec::new(
        "retry-after.max",
        OptionKind::Duration,
        "Poller: the longest wait that a server may ask for with Retry-After.",
    )
    .default("1 hour"),
    OptionSpec::new(
        "backoff.max",
        OptionKind::Duration,
        "Poller: after a failure it is tried again after a second, and then each time after twice that, up to so long.",
    )
    .default("1 minute"),
];
