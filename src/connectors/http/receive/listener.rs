//! [`Listeners`]: the addresses that an app listens on, each with a thread that serves its connections.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::{Mutex, RwLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::endpoint::{Answer, Endpoint, nothing, other_method, starting};
use super::inbox::{Reply, Verdict};
use super::settings::ListenerSettings;
use crate::error::{Error, Result};
use crate::net::timed_io::{TimedIo, set_user_timeout};
use crate::net::tls;

/// The most bytes of a connection that wait to be read or written; a request's head must fit.
const BUFFER: usize = 16 << 10;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How long to wait when no connection can be accepted: there are no file descriptors, say.
const PAUSE: Duration = Duration::from_millis(50);

/// How long connections may go on when the last stream has gone.
const GRACE: Duration = Duration::from_secs(1);

/// How long the other side may take nothing of what is written to it.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How many batches of answers may be on their way to the listener.
const ANSWERS: usize = 64;

/// The listeners of an app, by address.
#[derive(Default)]
pub struct Listeners(Mutex<HashMap<SocketAddr, Announced>>);

/// What streams have said that they will take at an address.
struct Announced {
    settings: ListenerSettings,
    /// The stream of each path and method.
    streams: HashMap<(String, Method), String>,
    /// The listener, while there is one.
    listener: Weak<Listener>,
}

/// One address.
struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What its connections share.
struct Shared {
    routes: RwLock<Routes>,
    connections: AtomicUsize,
    settings: ListenerSettings,
}

/// Who takes what, by path and method. One that has been announced and is not there yet will be soon.
type Routes = HashMap<String, Vec<(Method, Option<Arc<Endpoint>>)>>;

/// The place of one stream at a listener, until it is dropped.
pub struct Seat {
    listener: Arc<Listener>,
    endpoint: Arc<Endpoint>,
    answers: async_channel::Sender<Vec<(Reply, Verdict)>>,
}

impl Listeners {
    /// A stream tells what it will take, before any starts: so that none is told of a path that nothing is there, while there is one to be.
    ///
    /// *Errors.* Why it cannot: the option that is wrong, and what is.
    pub fn announce(
        &self,
        stream: &str,
        settings: &ListenerSettings,
        path: &str,
        method: &Method,
    ) -> Result<(), (&'static str, String)> {
        let mut listeners = self.0.lock();
        let there = listeners
            .entry(settings.bind)
            .or_insert_with(|| Announced::new(settings));
        if there.settings != *settings {
            let others = there.streams.values().find(|other| *other != stream);
            if let Some(other) = others {
                let reason = format!(
                    "'{other}' listens there as well, with another http.max-connections, http.head.timeout, http.tls.cert or http.tls.key"
                );
                return Err(("bind", reason));
            }
            there.settings = settings.clone();
        }
        let key = (path.to_string(), method.clone());
        match there.streams.get(&key) {
            Some(other) if other != stream => Err(("path", format!("'{other}' takes {method} {path} there already"))),
            _ => {
                there.streams.retain(|_, other| other != stream);
                there.streams.insert(key, stream.to_string());
                Ok(())
            }
        }
    }

    /// Lets an endpoint take requests. The first of an address starts listening there.
    ///
    /// *Errors.* The address is in use; another stream has the path; streams of one address want different things of it.
    pub fn join(&self, stream: &str, settings: &ListenerSettings, endpoint: Arc<Endpoint>) -> Result<Seat> {
        let wanted = &endpoint.settings;
        let announced = self.announce(stream, settings, &wanted.path, &wanted.method);
        announced.map_err(|(_, reason)| Error::failed(reason))?;
        let mut listeners = self.0.lock();
        let there = listeners
            .entry(settings.bind)
            .or_insert_with(|| Announced::new(settings));
        let listener = match there.listener.upgrade() {
            Some(listener) => listener,
            None => {
                let listener = Arc::new(Listener::start(settings, there.streams.keys())?);
                there.listener = Arc::downgrade(&listener);
                listener
            }
        };
        drop(listeners);
        listener.shared.add(&endpoint);
        let (answers, given) = async_channel::bounded(ANSWERS);
        listener.runtime.spawn(answer(given));
        Ok(Seat {
            listener,
            endpoint,
            answers,
        })
    }
}

impl Announced {
    fn new(settings: &ListenerSettings) -> Self {
        Announced {
            settings: settings.clone(),
            streams: HashMap::new(),
            listener: Weak::new(),
        }
    }
}

impl Seat {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// Answers requests, on the listener's thread: one wake-up for all of them.
    pub fn answer(&self, answers: Vec<(Reply, Verdict)>) {
        if !answers.is_empty() {
            // A listener that has ended has nobody left to answer.
            let _ = self.answers.send_blocking(answers);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let left = self.endpoint.inbox.close();
        self.answer(left.into_iter().map(|post| (post.reply, Verdict::Stopping)).collect());
    }
}

async fn answer(given: async_channel::Receiver<Vec<(Reply, Verdict)>>) {
    while let Ok(answers) = given.recv().await {
        answers.into_iter().for_each(|(reply, verdict)| reply.give(verdict));
    }
}

impl Listener {
    fn start<'a>(settings: &ListenerSettings, expected: impl Iterator<Item = &'a (String, Method)>) -> Result<Self> {
        let tls = settings.tls.as_ref();
        let tls = tls
            .map(|(cert, key)| tls::acceptor(cert, key, tls::HTTP_1))
            .transpose()?;
        let cannot = |error| Error::io(format!("cannot listen on {}", settings.bind), error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        let listener = {
            let _entered = runtime.enter();
            bind(settings.bind).map_err(cannot)?
        };
        let address = listener.local_addr().map_err(cannot)?;
        let mut routes = Routes::new();
        for (path, method) in expected {
            routes.entry(path.clone()).or_default().push((method.clone(), None));
        }
        let shared = Arc::new(Shared {
            routes: RwLock::new(routes),
            connections: AtomicUsize::new(0),
            settings: settings.clone(),
        });
        let (stop, stopping) = watch::channel(false);
        let handle = runtime.handle().clone();
        let serving = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("http {address}"))
            .spawn(move || run(&runtime, listener, &serving, tls, stopping))
            .map_err(cannot)?;
        tracing::info!(%address, "listening");
        Ok(Listener {
            address,
            shared,
            stop,
            runtime: handle,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        // So that the address is free when it is gone. Its connections have a second.
        if let Some(thread) = self.thread.get_mut().take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn add(&self, endpoint: &Arc<Endpoint>) {
        let method = &endpoint.settings.method;
        let mut routes = self.routes.write();
        let there = routes.entry(endpoint.settings.path.clone()).or_default();
        // One that is made anew takes the place of the one before.
        there.retain(|(other, _)| other != method);
        there.push((method.clone(), Some(endpoint.clone())));
    }

    fn find(&self, method: &Method, path: &str) -> Result<Arc<Endpoint>, Box<Answer>> {
        let routes = self.routes.read();
        let Some(there) = routes.get(path) else {
            return Err(Box::new(nothing()));
        };
        match there.iter().find(|(allowed, _)| allowed == method) {
            Some((_, Some(endpoint))) => Ok(endpoint.clone()),
            Some((_, None)) => Err(Box::new(starting())),
            None => {
                let allowed: Vec<&str> = there.iter().map(|(method, _)| method.as_str()).collect();
                Err(Box::new(other_method(&allowed.join(", "))))
            }
        }
    }

    async fn call(&self, request: Request<Incoming>, remote: IpAddr) -> Result<Answer, Infallible> {
        Ok(match self.find(request.method(), request.uri().path()) {
            Ok(endpoint) => endpoint.call(request, remote).await,
            Err(answer) => *answer,
        })
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    shared: &Arc<Shared>,
    tls: Option<TlsAcceptor>,
    stopping: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        accept(listener, shared, tls, stopping).await;
        let gone = async {
            while shared.connections.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(GRACE, gone).await;
    });
}

/// Accepts connections until the last stream has gone.
async fn accept(
    listener: TcpListener,
    shared: &Arc<Shared>,
    tls: Option<TlsAcceptor>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let open = shared.connections.fetch_add(1, Ordering::Relaxed);
        let guard = Open(shared.clone());
        if open >= shared.settings.max_connections {
            continue;
        }
        let (tls, stopping) = (tls.clone(), stopping.clone());
        tokio::spawn(async move {
            connection(&guard.0, stream, remote.ip(), tls, stopping).await;
            drop(guard);
        });
    }
}

/// Counts a connection until it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(
    shared: &Arc<Shared>,
    stream: TcpStream,
    remote: IpAddr,
    tls: Option<TlsAcceptor>,
    stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    set_user_timeout(&stream, SEND_TIMEOUT);
    let stream = TimedIo::new(stream, SEND_TIMEOUT);
    let ended = match tls {
        None => serve(shared, stream, remote, stopping).await,
        Some(acceptor) => match tokio::time::timeout(shared.settings.head_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve(shared, stream, remote, stopping).await,
            Ok(Err(_)) | Err(_) => return,
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn serve<S>(
    shared: &Arc<Shared>,
    stream: S,
    remote: IpAddr,
    mut stopping: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| shared.call(request, remote));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.settings.head_timeout)
        .max_buf_size(BUFFER)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
