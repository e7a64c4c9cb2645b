//! The HTTP side of an app: GraphQL, server-sent events, WebSocket, health and metrics.
//!
//! [`Server::start`] serves an app that has been started, by what `[server]` of its configuration says, on threads of its own. The
//! server depends on the app and never the other way round: it watches relations ([`live`]), asks on-demand queries, and sends into
//! inputs. `feat/server/README.md` says why it is built like this and what it costs.

pub mod access;
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
use crate::net::{timed_io, tls};
use counters::Counters;
use exposed::Exposed;
use live::{Hub, Limits};
use messages::Messages;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// What all handlers share.
pub(crate) struct Shared {
    app: App,
    options: ServerOptions,
    hub: Arc<Hub>,
    exposed: Vec<Arc<Exposed>>,
    messages: Messages,
    schema: Option<graphql::Api>,
    counters: Counters,
    /// Where it is noted who did what.
    #[allow(dead_code)]
    audit: audit::Audit,
    /// Whether it is shutting down.
    stopping: watch::Receiver<bool>,
    started: Instant,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
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

impl Server {
    /// Serves an app that has been started. *Errors.* An address that is in use, a certificate that cannot be read, names that make
    /// no GraphQL schema.
    pub fn start(app: &App) -> Result<Self> {
        let options = match app.server_options() {
            Some(options) => options.clone(),
            None => Layers::default_server()?,
        };
        let limits = Limits {
            linger: options.linger,
            replay: options.replay,
            coalesce_rows: options.coalesce_rows,
        };
        let exposed: Vec<Arc<Exposed>> = app.shown().iter().map(Exposed::new).map(Arc::new).collect();
        for name in options.publish.iter().filter(|name| *name != messages::NAME) {
            app.stream(name)?;
        }
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            app: app.clone(),
            hub: Hub::new(app.clone(), limits),
            schema: graphql::Api::new(&exposed, &options)?,
            messages: Messages::new(options.replay.min(10_000)),
            counters: Counters::default(),
            audit: audit::Audit,
            started: Instant::now(),
            exposed,
            options,
            stopping,
        });
        let tls = shared
            .options
            .tls
            .as_ref()
            .map(|(cert, key)| tls::acceptor(cert, key, tls::HTTP_2_AND_1))
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
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "the server is reachable from other machines and nobody has to sign in: whoever reaches it sees all that is exposed, \
                 and sends into all that is named in [server] publish. Bind it to 127.0.0.1, or put a proxy that knows its users before it"
            );
        }
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
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
