//! The HTTP side of an app: GraphQL, server-sent events, WebSocket, health and metrics.
//!
//! [`Server::start`] serves an app that has been started, by what `[server]` of its configuration says, on threads of its own. The
//! server depends on the app and never the other way round: it watches relations ([`live`]), asks on-demand queries, and sends into
//! inputs. `feat/server/README.md` says why it is built like this and what it costs.

mod access;
mod audit;
mod body;
mod counters;
mod exposed;
mod failure;
mod graphql;
mod health;
mod histogram;
mod http;
pub mod live;
mod messages;
mod metrics;
mod pace;
mod pages;
mod query;
mod socket;
mod sse;
mod timed_io;
mod tls;
mod triggers;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::app::App;
use crate::config::layers::Layers;
use crate::config::server::ServerOptions;
use crate::error::{Error, Result};
use counters::Counters;
use exposed::Exposed;
use live::{Hub, Limits};
use messages::Messages;
use triggers::Triggers;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// What all handlers share.
pub(crate) struct Shared {
    app: App,
    options: ServerOptions,
    hub: Arc<Hub>,
    exposed: Vec<Arc<Exposed>>,
    triggers: Arc<Triggers>,
    messages: Messages,
    schema: Option<graphql::Api>,
    counters: Counters,
    /// Where it is noted who did what.
    audit: audit::Audit,
    /// Who may come in; without, everybody.
    gate: Option<access::Gate>,
    /// Whether it is shutting down.
    stopping: watch::Receiver<bool>,
    started: Instant,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// The codes of all refusals and failures that clients are told of, whatever the protocol: the code, the HTTP status, and what it means.
pub fn error_codes() -> impl Iterator<Item = (&'static str, u16, &'static str)> {
    failure::ERRORS
        .iter()
        .map(|(_, code, status, meaning)| (*code, status.as_u16(), *meaning))
}

/// A running server. Dropping it shuts it down.
///
/// ```no_run
/// use eventflux::{EventFlux, Layers};
/// use eventflux::server::Server;
///
/// let app = EventFlux::builder()
///     .sql("CREATE STREAM Trades (symbol STRING, price DOUBLE);
///           CREATE TABLE Latest (symbol STRING PRIMARY KEY, price DOUBLE);
///           UPSERT INTO Latest SELECT symbol, price FROM Trades;")
///     .config(Layers::default().set("server.expose=Latest")?)
///     .build()?;
/// app.start()?;
/// let server = Server::start(&app)?;
/// println!("http://{}/live/Latest", server.address());
/// # Ok::<(), eventflux::Error>(())
/// ```
pub struct Server {
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    address: SocketAddr,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A server whose app is about to be started.
pub struct Prepared {
    app: App,
    options: ServerOptions,
    exposed: Vec<Arc<Exposed>>,
    triggers: Arc<Triggers>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

impl Prepared {
    /// Serves the app, which has been started meanwhile. *Errors.* An address that is in use, a certificate that cannot be read, names
    /// that make no GraphQL schema.
    pub fn serve(self) -> Result<Server> {
        Server::of(self)
    }
}

impl Server {
    /// Prepares to serve an app that has not been started: the triggers of its checkpoint go on with its start and miss nothing.
    ///
    /// ```no_run
    /// # use eventflux::{EventFlux, server::Server};
    /// # let app = EventFlux::builder().sql("CREATE STREAM S (x LONG);").build()?;
    /// let server = Server::prepare(&app)?;
    /// app.start()?;
    /// let server = server.serve()?;
    /// # Ok::<(), eventflux::Error>(())
    /// ```
    pub fn prepare(app: &App) -> Result<Prepared> {
        let options = match app.server_options() {
            Some(options) => options.clone(),
            None => Layers::default_server()?,
        };
        let exposed: Vec<Arc<Exposed>> = app.shown().iter().map(Exposed::new).map(Arc::new).collect();
        let by_graphql = exposed.iter().filter(|exposed| exposed.by.graphql);
        let relations = by_graphql.map(|exposed| exposed.relation.clone()).collect();
        Ok(Prepared {
            triggers: Triggers::begin(app, relations, &options.triggers)?,
            app: app.clone(),
            options,
            exposed,
        })
    }

    /// Serves an app that has been started. *Errors.* An address that is in use, a certificate that cannot be read, names that make
    /// no GraphQL schema.
    ///
    /// What happened since its start the triggers of its checkpoint find out by a comparison with the rows: see [`Server::prepare`].
    pub fn start(app: &App) -> Result<Self> {
        Server::prepare(app)?.serve()
    }

    fn of(prepared: Prepared) -> Result<Self> {
        let Prepared {
            app,
            options,
            exposed,
            triggers,
        } = prepared;
        let limits = Limits {
            linger: options.linger,
            replay: options.replay,
            coalesce_rows: options.coalesce_rows,
        };
        for name in options.publish.iter().filter(|name| *name != messages::NAME) {
            app.stream(name)?;
        }
        let hub = Hub::new(app.clone(), limits);
        let there = access::There {
            exposed: &exposed,
            publish: &options.publish,
            hub: &hub,
        };
        let gate = options
            .auth
            .as_ref()
            .map(|auth| access::Gate::new(auth, there))
            .transpose()?;
        let audit = audit::Audit::new(options.audit.as_ref())?;
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            app: app.clone(),
            hub,
            schema: graphql::Api::new(&exposed, &options)?,
            messages: Messages::new(options.replay.min(10_000)),
            counters: Counters::default(),
            audit,
            gate,
            started: Instant::now(),
            triggers,
            exposed,
            options,
            stopping,
        });
        let tls = shared
            .options
            .tls
            .as_ref()
            .map(|(cert, key)| tls::acceptor(cert, key))
            .transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("eventflux-server")
            .enable_all()
            .build()
            .map_err(|error| Error::io("starting the server's threads", error))?;
        let listener = runtime.block_on(http::bind(&shared.options.bind))?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::io("the server's address", error))?;
        warn_of(&shared, address);
        let keys = shared.clone();
        runtime.spawn(async move {
            if let Some(gate) = &keys.gate {
                gate.keep_keys().await;
            }
        });
        runtime.spawn(http::serve(shared.clone(), listener, tls));
        Ok(Server {
            runtime: Some(runtime),
            shared,
            stop,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells all clients that it ends, waits until they have taken what is left, for as long as `shutdown.timeout`, and ends.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let shared = self.shared.clone();
        let deadline = Instant::now() + shared.options.shutdown_timeout;
        let _ = self.stop.send(true);
        runtime.block_on(async {
            shared.hub.close().await;
            let open = || {
                let connections = shared.counters.connections.load(Ordering::Relaxed);
                connections > 0 || shared.hub.counters.views.load(Ordering::Relaxed) > 0
            };
            while open() && Instant::now() < deadline {
                tokio::time::sleep(LOOK).await;
            }
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
        shared.audit.flush();
    }
}

/// Says what is not safe where others reach it.
fn warn_of(shared: &Shared, address: SocketAddr) {
    if address.ip().is_loopback() {
        return;
    }
    match (&shared.gate, &shared.options.tls) {
        (None, _) => tracing::warn!(
            %address,
            "the server is reachable from other machines and nobody has to sign in: whoever reaches it sees all that is exposed, \
             and sends into all that is named in [server] publish. Bind it to 127.0.0.1, or set [server.auth]"
        ),
        (Some(_), None) => tracing::warn!(
            %address,
            "the server is reachable from other machines without TLS: whoever is between reads the tokens and keys of its clients. Set \
             tls.cert and tls.key, or put a proxy before it that has them"
        ),
        (Some(_), Some(_)) => {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
