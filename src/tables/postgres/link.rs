//! [`Link`]: the way to the server: connections, waiting, trying again.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime as PoolRuntime};
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use crate::catalog::tables::TableDef;
use crate::config::options::Options;
use crate::error::{Diagnostic, Error, Result};

/// The first pause before trying again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// What went wrong at the server.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection, or the transaction, is lost: doing all of it again may help.
    Lost(String),
    /// The server refused these values: what it says, and whether a key is taken.
    Refused(String, Taken),
    /// Nothing helps.
    Fatal(Error),
}

/// Whether values were refused because a unique key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Fatal(error)
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            let text = with_sources(&error);
            // What is not the server's word is the connection's, but for values that cannot be encoded.
            return match text.contains("serializing") || text.contains("deserializing") {
                true => Trouble::Fatal(Error::failed(text)),
                false => Trouble::Lost(text),
            };
        };
        let text = match database.detail() {
            Some(detail) => format!("{}: {detail}", database.message()),
            None => database.message().to_string(),
        };
        let code = database.code();
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
        ];
        match &code.code()[..2] {
            _ if again.contains(code) => Trouble::Lost(text),
            "08" => Trouble::Lost(text),
            "22" | "23" => {
                let is_taken = *code == SqlState::UNIQUE_VIOLATION;
                Trouble::Refused(text, if is_taken { Taken::Yes } else { Taken::No })
            }
            _ => Trouble::Fatal(Error::failed(text)),
        }
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

/// A thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The way to one server.
pub(super) struct Link {
    table: String,
    runtime: Arc<Runtime>,
    pool: Pool,
    patience: Duration,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// What the options say of the server.
pub(super) fn config(options: &Options) -> Result<Config, Diagnostic> {
    let mut config = match options.text("url") {
        Some(url) => Config::from_str(url).map_err(|_| {
            let error = options.invalid("url", "it is not the address of a PostgreSQL server");
            error.hint("write postgresql://user:password@host:5432/database")
        })?,
        None => Config::new(),
    };
    if let Some(host) = options.text("host") {
        match options.text("url") {
            Some(_) => return Err(options.invalid("host", "url says it already")),
            None => config.host(host),
        };
    } else if options.text("url").is_none() {
        config.host("localhost");
    }
    if let Some(port) = options.integer("port").and_then(|port| u16::try_from(port).ok()) {
        config.port(port);
    }
    if let Some(user) = options.text("user") {
        config.user(user);
    }
    if let Some(password) = options.text("password") {
        config.password(password);
    }
    if let Some(database) = options.text("database") {
        config.dbname(database);
    }
    if config.get_user().is_none() {
        config.user("postgres");
    }
    config.application_name("eventflux");
    config.connect_timeout(micros(options, "connect.timeout"));
    Ok(config)
}

fn micros(options: &Options, name: &str) -> Duration {
    let micros = options.duration(name).unwrap_or_default();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

impl Link {
    /// To the server of a table; nothing is connected yet.
    pub fn new(def: &TableDef, runtime: Arc<Runtime>) -> Result<Self> {
        let manager = Manager::from_config(
            config(&def.options)?,
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let connections = def.options.integer("max_connections").unwrap_or(4);
        let timeout = micros(&def.options, "connect.timeout");
        let pool = Pool::builder(manager)
            .max_size(usize::try_from(connections).unwrap_or(4))
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            .recycle_timeout(Some(timeout))
            .runtime(PoolRuntime::Tokio1)
            .build()
            .map_err(Error::failed)?;
        Ok(Link {
            table: def.name.clone(),
            runtime,
            pool,
            patience: micros(&def.options, "retry.timeout"),
        })
    }

    /// Waits for something the server does. On this thread, which may belong to another runtime: only the sockets and timers
    /// are those of ours.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let _ours = self.runtime.enter();
        // The budget of a task of another runtime does not count here.
        let mut work = std::pin::pin!(tokio::task::unconstrained(work));
        let parked = Arc::new(Parked(std::thread::current()));
        let waker = Waker::from(parked);
        let mut context = Context::from_waker(&waker);
        loop {
            match work.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                // Woken before it is parked, it does not park.
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// A connection.
    pub async fn connection(&self) -> Result<Object, Trouble> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => match Trouble::from(error) {
                Trouble::Refused(text, _) => Trouble::Fatal(Error::failed(text)),
                other => other,
            },
            other => Trouble::Lost(other.to_string()),
        })
    }

    /// An error with the table's name.
    pub fn failed(&self, trouble: Trouble) -> Error {
        let text = match trouble {
            Trouble::Lost(text) | Trouble::Refused(text, _) => text,
            Trouble::Fatal(error) => error.to_string(),
        };
        Error::failed(format!("table '{}': PostgreSQL: {text}", self.table))
    }

    /// When to give up what begins now.
    pub fn deadline(&self) -> Retry {
        Retry {
            end: Instant::now() + self.patience,
            pause: PAUSES.0,
        }
    }

    /// Waits for something that changes nothing, and tries it again while the connection is lost.
    pub fn reading<T, F>(&self, read: impl Fn(Object) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut retry = self.deadline();
        self.wait(async {
            loop {
                let attempt = match self.connection().await {
                    Ok(connection) => read(connection).await,
                    Err(trouble) => Err(trouble),
                };
                match attempt {
                    Ok(value) => return Ok(value),
                    Err(trouble) => retry.again(trouble).await.map_err(|trouble| self.failed(trouble))?,
                }
            }
        })
    }
}

/// Pauses between attempts, each longer than the one before, up to an end.
pub(super) struct Retry {
    end: Instant,
    pause: Duration,
}

impl Retry {
    /// Pauses if trying again may help and there is time for it.
    pub async fn again(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let Trouble::Lost(why) = trouble else {
            return Err(trouble);
        };
        if Instant::now() + self.pause > self.end {
            return Err(Trouble::Lost(why));
        }
        tracing::debug!(why, "trying again");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }
}
