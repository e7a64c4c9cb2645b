//! The connection: what the options say of the server, what its errors mean, and waiting before the next attempt.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::time::timeout;
use tokio_postgres::config::SslMode as WireSslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::duration;
use super::tls::{SslMode, client_config};
use crate::catalog::error_policy::Retry;
use crate::config::options::Options;
use crate::connectors::{Flow, SourceOutput};
use crate::error::{Diagnostic, Error, Result};

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection is lost or cannot be had: again later.
    Lost(String),
    /// The server refuses: its code, and what it says.
    Refused(
        #[cfg_attr(not(feature = "postgres-cdc"), allow(dead_code))] SqlState,
        String,
    ),
    /// Nothing helps.
    Fatal(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Fatal(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Lost(why) | Trouble::Refused(_, why) => f.write_str(why),
            Trouble::Fatal(error) => error.fmt(f),
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            return Trouble::Lost(with_sources(&error));
        };
        let text = match database.detail() {
            Some(detail) => format!("{}: {detail}", database.message()),
            None => database.message().to_string(),
        };
        refused(database.code(), text)
    }
}

/// What an error of the server means.
pub(crate) fn refused(code: &SqlState, text: String) -> Trouble {
    let passing = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::QUERY_CANCELED,
        SqlState::OBJECT_IN_USE,
    ];
    let class = code.code().get(..2).unwrap_or_default();
    match passing.contains(code) || ["08", "53", "58"].contains(&class) {
        true => Trouble::Lost(text),
        false => Trouble::Refused(code.clone(), text),
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// The way to a server.
#[derive(Clone)]
pub(crate) struct Server {
    config: Config,
    tls: ClientConfig,
    patience: Duration,
}

impl Server {
    /// What the options say; a `system` as messages call it.
    pub fn new(options: &Options, system: &str, default: (u16, &str)) -> Result<Self, Diagnostic> {
        let mut config = match options.text("url") {
            Some(url) => Config::from_str(url).map_err(|_| {
                let error = options.invalid("url", format!("it is not the address of a {system} server"));
                error.hint("write postgresql://user:password@host:port/database")
            })?,
            None => Config::new(),
        };
        match (options.text("host"), options.text("url")) {
            (Some(_), Some(_)) => return Err(options.invalid("host", "url says it already")),
            (Some(host), None) => drop(config.host(host)),
            (None, None) => drop(config.host("localhost")),
            (None, Some(_)) => {}
        }
        if let Some(port) = options.integer("port").and_then(|port| u16::try_from(port).ok()) {
            config.port(port);
        } else if config.get_ports().is_empty() {
            config.port(default.0);
        }
        if let Some(user) = options.text("user") {
            config.user(user);
        } else if config.get_user().is_none() {
            config.user(default.1);
        }
        if let Some(password) = options.text("password") {
            config.password(password);
        }
        if let Some(database) = options.text("database") {
            config.dbname(database);
        }
        if options.is_written("sslmode") || options.text("url").is_none_or(|url| !url.contains("sslmode=")) {
            config.ssl_mode(match SslMode::of(options) {
                SslMode::Disable => WireSslMode::Disable,
                SslMode::Prefer => WireSslMode::Prefer,
                SslMode::Require | SslMode::VerifyFull => WireSslMode::Require,
            });
        }
        let patience = duration(options, "connect.timeout").max(Duration::from_millis(1));
        config.application_name("eventflux");
        config.connect_timeout(patience);
        Ok(Server {
            config,
            tls: client_config(options)?,
            patience,
        })
    }

    /// What else is told to the server at the start of a session.
    pub fn with_session_options(mut self, session: &str) -> Self {
        self.config.options(session);
        self
    }

    /// The database, where nobody names one.
    #[cfg(feature = "risingwave")]
    pub fn with_database(mut self, name: &str) -> Self {
        self.config.dbname(name);
        self
    }

    /// How long an answer may take.
    #[cfg(feature = "postgres-cdc")]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The address, user and password.
    #[cfg(feature = "postgres-cdc")]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How TLS is spoken.
    #[cfg(feature = "postgres-cdc")]
    pub fn tls(&self) -> &ClientConfig {
        &self.tls
    }

    /// A connection, which lives as long as the runtime that waits for it.
    pub async fn connect(&self) -> Result<Client, Trouble> {
        let connecting = self.config.connect(MakeRustlsConnect::new(self.tls.clone()));
        let connected = timeout(self.patience, connecting).await;
        let (client, connection) = connected.map_err(|_| self.no_answer())??;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = with_sources(&error), "a connection has ended");
            }
        });
        Ok(client)
    }

    /// Waits for an answer no longer than the options say.
    pub async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Trouble> {
        Ok(timeout(self.patience, answer).await.map_err(|_| self.no_answer())??)
    }

    fn no_answer(&self) -> Trouble {
        Trouble::Lost(format!("the server did not answer within {:?}", self.patience))
    }
}

/// The waits between attempts.
pub(crate) struct Backoff {
    retry: Retry,
    give_up_after: Option<Duration>,
    attempts: u32,
    failing_since: Option<Instant>,
}

impl Backoff {
    /// What the options say.
    pub fn new(options: &Options) -> Self {
        let timeout = duration(options, "retry.timeout");
        Backoff {
            retry: Retry {
                max_attempts: 0,
                initial_delay: options.duration("retry.initial-delay").unwrap_or(100_000),
                max_delay: options.duration("retry.max-delay").unwrap_or(10_000_000),
                multiplier: 2.0,
                jitter: 0.5,
            },
            give_up_after: (!timeout.is_zero()).then_some(timeout),
            attempts: 0,
            failing_since: None,
        }
    }

    /// Something has come: what was before does not count any more.
    pub fn reset(&mut self) {
        self.attempts = 0;
        self.failing_since = None;
    }

    /// Waits for the next attempt, having said why there is one. *Errors.* When it has been tried in vain for long enough.
    pub fn pause(&mut self, out: &mut SourceOutput, stream: &str, server: &str, why: String) -> Result<Flow> {
        let Some(wait) = self.next() else {
            let context = format!("{server} cannot be reached");
            return Err(Error::io(context, std::io::Error::other(why)));
        };
        tracing::warn!(
            stream,
            error = why,
            attempt = self.attempts,
            ?wait,
            "connecting to {server} again"
        );
        Ok(out.wait(wait))
    }

    /// How long to wait before the next attempt; `None` when it has been tried in vain for long enough.
    fn next(&mut self) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if self.give_up_after.is_some_and(|limit| since.elapsed() >= limit) {
            return None;
        }
        self.attempts = self.attempts.saturating_add(1);
        let micros = self.retry.delay(self.attempts, rand::random())?;
        Some(Duration::from_micros(micros.max(0).unsigned_abs()))
    }
}
