//! Connections: accepted, bounded, served, ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::timed_io::{TimedIo, set_user_timeout};
use super::{Shared, access, graphql, health, messages, pages, sse, websocket};
use crate::error::{Error, Result};

/// The most bytes of a connection that wait to be read or written. So little that ten thousand clients fit.
const BUFFER: usize = 16 << 10;

/// How long to wait when no connection can be accepted: there are no file descriptors, say.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens.
pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<TcpListener> {
    let listener = TcpListener::bind(addresses).await;
    listener.map_err(|error| {
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Error::io(format!("the server cannot listen on {}", shown.join(", ")), error)
    })
}

/// Accepts connections until the server stops.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let router = router(&shared);
    let mut stopping = shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let open = shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        let guard = Open(shared.clone());
        if usize::try_from(open).unwrap_or_default() >= shared.options.max_connections {
            shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            let service = Service {
                router,
                peer: access::Peer(address),
            };
            connection(&guard.0, stream, tls, service).await;
            drop(guard);
        });
    }
}

/// What answers the requests of a connection.
#[derive(Clone)]
struct Service {
    router: Router,
    peer: access::Peer,
}

impl hyper::service::Service<Request<hyper::body::Incoming>> for Service {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = axum::routing::future::RouteFuture<std::convert::Infallible>;

    fn call(&self, mut request: Request<hyper::body::Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        // A router is always ready.
        tower::Service::call(&mut self.router.clone(), request)
    }
}

/// Counts a connection until it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(shared: &Arc<Shared>, stream: TcpStream, tls: Option<TlsAcceptor>, service: Service) {
    // Changes are small and are to be there at once.
    let _ = stream.set_nodelay(true);
    set_user_timeout(&stream, shared.options.send_timeout);
    let stream = TimedIo::new(stream, shared.options.send_timeout);
    let ended = match tls {
        None => http1(shared, stream, service).await,
        Some(acceptor) => {
            let accepted = tokio::time::timeout(shared.options.request_timeout, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = accepted else {
                return;
            };
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => http2(shared, stream, service).await,
                _ => http1(shared, stream, service).await,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>());
        let timed_out = source.is_some_and(|source| source.kind() == std::io::ErrorKind::TimedOut);
        if error.is_timeout() || timed_out {
            shared.counters.timed_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn http1<S>(shared: &Shared, stream: S, service: Service) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.options.request_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn http2<S>(shared: &Shared, stream: S, service: Service) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let streams = u32::try_from(shared.options.max_subscriptions).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_send_buf_size(BUFFER)
        .keep_alive_interval(shared.options.heartbeat)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// All there is.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let router = Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/events", get(messages::listen))
        .route("/events/{stream}", get(sse::events))
        .route("/publish", post(messages::publish))
        .route("/ws", get(websocket::upgrade))
        .route("/graphql", get(graphql::http::get).post(graphql::http::post))
        .route("/", get(pages::index))
        .route("/graphiql", get(pages::graphiql))
        .route("/live/{stream}", get(pages::live))
        .fallback(health::nothing)
        .layer(middleware::from_fn_with_state(shared.clone(), access::identify))
        .layer(middleware::from_fn_with_state(shared.clone(), counted));
    let router = match cors(&shared.options.origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(shared.clone())
}

async fn counted(State(shared): State<Arc<Shared>>, request: Request<Body>, next: Next) -> Response {
    let began = Instant::now();
    let mut response = next.run(request).await;
    shared.counters.duration.observe(began.elapsed());
    let class = usize::from(response.status().as_u16() / 100).clamp(2, 5) - 2;
    shared.counters.requests[class].fetch_add(1, Ordering::Relaxed);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        [any] if any == "*" => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let headers = [
        header::CONTENT_TYPE,
        header::AUTHORIZATION,
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static(access::API_KEY),
    ];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(headers),
    )
}

/// Whether the web page that a browser opens a WebSocket from may do so: one of the server's own, or of an allowed origin. Programs
/// that are no browsers say no origin.
pub(super) fn is_allowed_origin(shared: &Shared, headers: &axum::http::HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").is_some_and(|(_, of)| Some(of) == host);
    own || shared
        .options
        .origins
        .iter()
        .any(|allowed| allowed == "*" || allowed == origin)
}

/// What handlers give.
pub(super) type Answer = std::result::Result<Response, super::failure::Failure>;
