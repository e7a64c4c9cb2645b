//! `[server]`: where the HTTP server listens, what it shows, and what bounds it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use super::access::{ACCESS_OPTIONS, AuditOptions, AuthOptions, audit, auth, is_claim};
use super::checkpoints::from_its_file;
use super::layers::Layers;
use super::options::{OptionKind, OptionSpec, Options, RawOption};
use super::triggers::TriggerOptions;
use crate::error::Diagnostic;

/// What the options belong to.
const OWNER: &str = "server";

const fn count(max: i64) -> OptionKind {
    OptionKind::Integer { min: 1, max }
}

/// The options of `[server]`.
pub const SERVER_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "bind",
        OptionKind::Text,
        "Where it listens: an address and a port. Only this machine reaches 127.0.0.1; port 0 is any that is free.",
    )
    .default("127.0.0.1:8080"),
    OptionSpec::new(
        "tls.cert",
        OptionKind::Path,
        "The certificate and its chain, a PEM file; with it there is TLS only.",
    ),
    OptionSpec::new("tls.key", OptionKind::Path, "The certificate's private key, a PEM file."),
    OptionSpec::new(
        "expose",
        OptionKind::Text,
        "The tables, named windows and streams that clients may see by GraphQL, SSE and WebSocket: a list.",
    )
    .list(),
    OptionSpec::new(
        "publish",
        OptionKind::Text,
        "The streams that clients may send events into, and 'messages' for POST /publish: a list.",
    )
    .list(),
    OptionSpec::new(
        "linger",
        OptionKind::Duration,
        "How long a relation is still watched when nobody looks any more: so long a client may come back and go on where it was.",
    )
    .default("30 seconds"),
    OptionSpec::new(
        "replay",
        count(10_000_000),
        "How many changes are remembered, for each filter that is in use, for clients that come back.",
    )
    .default("10000"),
    OptionSpec::new(
        "queue",
        count(1_000_000),
        "How many changes may wait for a client that says nothing else, before its policy for slow clients acts.",
    )
    .default("1024"),
    OptionSpec::new(
        "coalesce.max-rows",
        count(100_000_000),
        "How many rows the policy coalesce tells apart for one client; one that has changes of more waiting is disconnected.",
    )
    .default("100000"),
    OptionSpec::new(
        "heartbeat",
        OptionKind::Duration,
        "How often a sign of life goes to clients to which nothing else goes.",
    )
    .default("15 seconds"),
    OptionSpec::new(
        "send.timeout",
        OptionKind::Duration,
        "How long a client may take nothing of what is sent to it before it is disconnected.",
    )
    .default("30 seconds"),
    OptionSpec::new(
        "request.timeout",
        OptionKind::Duration,
        "How long a client may take to send the head of a request, or its body, or the first message of a WebSocket.",
    )
    .default("10 seconds"),
    OptionSpec::new(
        "shutdown.timeout",
        OptionKind::Duration,
        "How long clients have to take what is left when the server shuts down.",
    )
    .default("5 seconds"),
    OptionSpec::new("max.connections", count(1_000_000), "How many clients may be connected.").default("20000"),
    OptionSpec::new(
        "max.subscriptions",
        count(100_000),
        "How many subscriptions one connection may have.",
    )
    .default("100"),
    OptionSpec::new(
        "max.message-size",
        count(1 << 30),
        "The bytes of the largest message, or body of a request, that is read.",
    )
    .default("1048576"),
    OptionSpec::new("max.rows", count(10_000_000), "How many rows one query gives at most.").default("10000"),
    OptionSpec::new(
        "max.messages-per-second",
        count(1_000_000),
        "How many messages a connection may send a second; more are refused.",
    )
    .default("1000"),
    OptionSpec::new(
        "graphql.max-depth",
        count(1_000),
        "How deep the selections of a GraphQL document may be nested.",
    )
    .default("15"),
    OptionSpec::new(
        "graphql.max-complexity",
        count(1_000_000),
        "How many fields a GraphQL document may select.",
    )
    .default("500"),
    OptionSpec::new(
        "graphql.numbers",
        OptionKind::Choice(&["text", "number"]),
        "How GraphQL gives LONG and DECIMAL: as texts, which JavaScript reads without loss, or as numbers.",
    )
    .default("text"),
    OptionSpec::new(
        "cors.origins",
        OptionKind::Text,
        "The web pages, by their origins, whose scripts may use the server: a list, or '*' for any. Default: none but its own.",
    )
    .list(),
    OptionSpec::new(
        "pages",
        OptionKind::Choice(&["auto", "on", "off"]),
        "Whether there are pages for people: /graphiql and /live. 'auto': if it listens to this machine only.",
    )
    .default("auto"),
    OptionSpec::new(
        "triggers.enabled",
        OptionKind::Choice(&["auto", "on", "off"]),
        "Whether clients may make triggers. 'auto': if the server listens to this machine only, or clients have to sign in.",
    )
    .default("auto"),
    OptionSpec::new("triggers.max", count(100_000), "How many triggers there may be.").default("1000"),
    OptionSpec::new(
        "triggers.max-per-relation",
        count(100_000),
        "How many triggers one relation may have.",
    )
    .default("100"),
    OptionSpec::new(
        "triggers.max-rows",
        count(100_000_000),
        "How many keys that have fired one trigger remembers. While that many are fired at once, others do not fire.",
    )
    .default("1000000"),
    OptionSpec::new(
        "triggers.max-waiting",
        count(10_000_000),
        "How many events of one trigger may wait to be delivered; more are dead letters at once.",
    )
    .default("100000"),
    OptionSpec::new(
        "triggers.max-waiting-bytes",
        count(1 << 40),
        "How many bytes the events that wait may have, of all triggers on one relation; more are dead letters at once.",
    )
    .default("268435456"),
    OptionSpec::new(
        "triggers.allow-private",
        OptionKind::Boolean,
        "Whether triggers may call addresses of private networks and of this machine.",
    )
    .default("false"),
    OptionSpec::new(
        "triggers.allowed-hosts",
        OptionKind::Text,
        "The hosts that triggers may call: a list; *.example.com are those below a domain. Default: all.",
    )
    .list(),
    OptionSpec::new(
        "triggers.concurrency",
        count(1_000),
        "How many calls may be on their way at once, for the triggers of one relation.",
    )
    .default("16"),
    OptionSpec::new("triggers.timeout", OptionKind::Duration, "How long a call of a trigger may take.")
        .default("30 seconds"),
    OptionSpec::new(
        "triggers.retry.max-attempts",
        OptionKind::Integer {
            min: 0,
            max: 1_000_000,
        },
        "How often an event is tried before it is a dead letter, the first time included. 0: without end.",
    )
    .default("10"),
    OptionSpec::new(
        "triggers.retry.initial-delay",
        OptionKind::Duration,
        "The wait after the first attempt. Each wait is twice the one before, made shorter by chance.",
    )
    .default("100 ms"),
    OptionSpec::new("triggers.retry.max-delay", OptionKind::Duration, "The longest wait.").default("30 seconds"),
    OptionSpec::new(
        "triggers.retry-after.max",
        OptionKind::Duration,
        "The longest wait that a receiver may ask for with Retry-After.",
    )
    .default("1 hour"),
    OptionSpec::new(
        "triggers.breaker.failures",
        OptionKind::Integer {
            min: 0,
            max: 1_000_000,
        },
        "After so many failures one after the other a receiver is left alone for triggers.breaker.pause. 0: never.",
    )
    .default("10"),
    OptionSpec::new(
        "triggers.breaker.pause",
        OptionKind::Duration,
        "How long; then one call tries whether it is back.",
    )
    .default("10 seconds"),
    OptionSpec::new(
        "triggers.dead-letters",
        OptionKind::Path,
        "A file that gets what is given up, as JSON lines. Without it that is logged.",
    ),
];

/// All options of the server, those of who may do what last.
pub fn server_options() -> impl Iterator<Item = &'static OptionSpec> + Clone {
    SERVER_OPTIONS.iter().chain(ACCESS_OPTIONS)
}

/// The option of the server that a key names.
pub fn server_option(key: &str) -> Option<&'static OptionSpec> {
    let exact = server_options().find(|spec| spec.name == key);
    exact.or_else(|| server_options().find(|spec| spec.matches(key)))
}

/// What is configured of the server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where it listens, the first of them that can be.
    pub bind: Vec<SocketAddr>,
    /// Its certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What clients may see.
    pub expose: Vec<String>,
    /// What clients may send into.
    pub publish: Vec<String>,
    /// How long a relation is watched without need.
    pub linger: Duration,
    /// How many changes are remembered.
    pub replay: usize,
    /// How many changes may wait for a client.
    pub queue: usize,
    /// How many rows `coalesce` tells apart.
    pub coalesce_rows: usize,
    /// How often there is a sign of life.
    pub heartbeat: Duration,
    /// How long a client may take nothing.
    pub send_timeout: Duration,
    /// How long a client may take to ask.
    pub request_timeout: Duration,
    /// How long clients have at the end.
    pub shutdown_timeout: Duration,
    /// How many clients there may be.
    pub max_connections: usize,
    /// How many subscriptions each may have.
    pub max_subscriptions: usize,
    /// The bytes of the largest message.
    pub max_message: usize,
    /// How many rows a query gives.
    pub max_rows: usize,
    /// How many messages a connection may send a second.
    pub max_rate: u32,
    /// How deep a GraphQL document may be.
    pub max_depth: usize,
    /// How many fields it may select.
    pub max_complexity: usize,
    /// Whether GraphQL gives large numbers as numbers.
    pub plain_numbers: bool,
    /// Whose scripts may use it.
    pub origins: Vec<String>,
    /// Whether there are pages for people, if that is said.
    pub pages: Option<bool>,
    /// Who may do what; without, everybody may everything.
    pub auth: Option<AuthOptions>,
    /// What is noted of who did what.
    pub audit: Option<AuditOptions>,
    /// What bounds triggers.
    pub triggers: TriggerOptions,
}

impl ServerOptions {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        self.bind.iter().all(|address| address.ip().is_loopback())
    }
}

impl Layers {
    /// What is configured of the server; `None` if nothing is. Environment variables in the values are looked up by `lookup`.
    pub fn server(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Option<ServerOptions>, Diagnostic> {
        let given = self.all_of_server();
        match given.is_empty() {
            true => Ok(None),
            false => options(&given, lookup).map(Some),
        }
    }

    /// The server's options as they are if nothing is configured.
    pub fn default_server() -> Result<ServerOptions, Diagnostic> {
        options(&[], &|_| None)
    }
}

fn options(given: &[&RawOption], lookup: &dyn Fn(&str) -> Option<String>) -> Result<ServerOptions, Diagnostic> {
    let raw = given.iter().map(|option| match is_claim(&option.key) {
        true => Ok((*option).clone()),
        false => option.substituted(lookup),
    });
    let raw: Vec<RawOption> = raw.collect::<Result<_, _>>()?;
    let (auth, audit) = (auth(&raw, lookup)?, audit(&raw)?);
    let is_own = |option: &&RawOption| SERVER_OPTIONS.iter().any(|spec| spec.name == option.key);
    let raw: Vec<RawOption> = raw.iter().filter(is_own).cloned().collect();
    let options = Options::check(OWNER, SERVER_OPTIONS, &raw)?;
    let path = |name: &str| {
        let option = raw.iter().find(|option| option.key == name)?;
        Some(from_its_file(option, option.value.clone()))
    };
    let tls = match (path("tls.cert"), path("tls.key")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => return Err(options.invalid("tls.cert", "it needs 'tls.key', too")),
        (None, Some(_)) => return Err(options.invalid("tls.key", "it needs 'tls.cert', too")),
    };
    let size = |name: &str| usize::try_from(options.integer(name).unwrap_or_default()).unwrap_or(usize::MAX);
    let duration = |name: &str| {
        Duration::from_micros(u64::try_from(options.duration(name).unwrap_or_default()).unwrap_or_default())
    };
    for name in ["heartbeat", "send.timeout", "request.timeout"] {
        if duration(name) < Duration::from_millis(10) {
            return Err(options.invalid(name, "it is 10 ms or more"));
        }
    }
    let bind = options.text("bind").unwrap_or_default();
    let addresses = bind.to_socket_addrs().map_err(|error| {
        options.invalid(
            "bind",
            format!("'{bind}' is no address and port such as 127.0.0.1:8080: {error}"),
        )
    })?;
    Ok(ServerOptions {
        bind: addresses.collect(),
        tls,
        expose: list(options.text("expose")),
        publish: list(options.text("publish")),
        linger: duration("linger"),
        replay: size("replay"),
        queue: size("queue"),
        coalesce_rows: size("coalesce.max-rows"),
        heartbeat: duration("heartbeat"),
        send_timeout: duration("send.timeout"),
        request_timeout: duration("request.timeout"),
        shutdown_timeout: duration("shutdown.timeout"),
        max_connections: size("max.connections"),
        max_subscriptions: size("max.subscriptions"),
        max_message: size("max.message-size"),
        max_rows: size("max.rows"),
        max_rate: u32::try_from(size("max.messages-per-second")).unwrap_or(u32::MAX),
        max_depth: size("graphql.max-depth"),
        max_complexity: size("graphql.max-complexity"),
        plain_numbers: options.text("graphql.numbers") == Some("number"),
        origins: list(options.text("cors.origins")),
        pages: match options.text("pages") {
            Some("on") => Some(true),
            Some("off") => Some(false),
            _ => None,
        },
        auth,
        audit,
        triggers: super::triggers::of_options(&options, &raw)?,
    })
}

/// The names of a list, between commas.
pub(super) fn list(text: Option<&str>) -> Vec<String> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SourceText;

    #[test]
    fn from_a_file_the_environment_and_settings() {
        let text = "[server]\nbind = '127.0.0.1:${PORT}'\nexpose = ['positions', 'Trades']\ntls = { cert = 'a.pem', key = 'b.pem' }\n\
                    [server.max]\nrows = 5\n";
        let layers = Layers::default()
            .toml(SourceText::of_files([("conf/eventflux.toml", text.to_string())]))
            .unwrap();
        let lookup = |name: &str| (name == "PORT").then(|| "9000".to_string());
        let options = layers.server(&lookup).unwrap().unwrap();
        assert_eq!(options.bind, ["127.0.0.1:9000".parse().unwrap()]);
        assert!(options.is_local());
        assert_eq!(options.expose, ["positions", "Trades"]);
        assert_eq!(options.tls, Some(("conf/a.pem".into(), "conf/b.pem".into())));
        assert_eq!((options.max_rows, options.queue), (5, 1_024));
        let variables = [
            ("EVENTFLUX__SERVER__EXPOSE", "t"),
            ("EVENTFLUX__SERVER__MAX__MESSAGE_SIZE", "7"),
        ];
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
        let layers = layers.environment(variables.into_iter()).unwrap();
        let layers = layers.set("server.bind=0.0.0.0:1").unwrap();
        let options = layers.server(&|_| None).unwrap().unwrap();
        assert_eq!((options.expose, options.max_message), (vec!["t".to_string()], 7));
        assert_eq!(options.bind[0].port(), 1);
        assert!(Layers::default().server(&|_| None).unwrap().is_none());
    }

    #[test]
    fn wrong_options() {
        for (wrong, what) in [
            ("bind=here", "option 'server.bind'"),
            ("tls.cert=a.pem", "it needs 'tls.key'"),
            ("queue=0", "option 'queue'"),
            ("heartbeat=1ms", "10 ms or more"),
            ("pages=maybe", "option 'pages'"),
            ("triggers.max=0", "option 'triggers.max'"),
            ("triggers.allowed-hosts=http://x", "is no host"),
            ("triggers.retry.max-delay=1ms", "shorter than"),
        ] {
            let layers = Layers::default().set(&format!("server.{wrong}")).unwrap();
            let error = layers.server(&|_| None).unwrap_err();
            assert!(error.message.contains(what), "{wrong}: {error}");
        }
        let error = Layers::default().set("server.exposed=x").unwrap_err();
        assert_eq!(error.message, "[server] has no option 'exposed'");
        assert_eq!(error.hint.as_deref(), Some("did you mean 'expose'?"));
        let text = SourceText::new("c.toml", "[server]\nexpose = [1]");
        assert!(Layers::default().toml(text).is_err());
        let text = SourceText::new("c.toml", "[server]\nqueue = [1]");
        assert!(Layers::default().toml(text).is_err());
    }
}
