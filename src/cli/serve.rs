//! The HTTP server of `eventflux run`.

use std::time::Duration;

use super::output;
use super::stop::StopOnSignal;
use crate::App;
#[cfg(not(feature = "server"))]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "server")]
use crate::server::{Prepared, Server};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// What serves an app.
pub struct Served {
    #[cfg(feature = "server")]
    server: Server,
}

/// Whether an app has something to serve.
pub fn is_wanted(app: &App) -> bool {
    #[cfg(feature = "server")]
    let shows = !app.shown().is_empty();
    #[cfg(not(feature = "server"))]
    let shows = false;
    shows || app.server_options().is_some()
}

/// What is to serve an app that has not been started yet.
pub struct Waiting {
    #[cfg(feature = "server")]
    prepared: Prepared,
}

/// Prepares the server of an app that wants one, before the app is started.
pub fn prepare(app: &App) -> Result<Option<Waiting>> {
    if !is_wanted(app) {
        return Ok(None);
    }
    #[cfg(feature = "server")]
    {
        let prepared = Server::prepare(app)?;
        Ok(Some(Waiting { prepared }))
    }
    #[cfg(not(feature = "server"))]
    Err(Error::usage(
        "[server] is configured, and the server is not part of this build: cargo build --release --features server (or full)",
    ))
}

/// Starts the server of an app that has been started.
pub fn start(waiting: Option<Waiting>, app: &App, quiet: bool) -> Result<Option<Served>> {
    let Some(waiting) = waiting else {
        return Ok(None);
    };
    #[cfg(feature = "server")]
    {
        let server = waiting.prepared.serve()?;
        if !quiet {
            let scheme = match app.server_options().is_some_and(|options| options.tls.is_some()) {
                true => "https",
                false => "http",
            };
            output::tell(&format!("serving on {scheme}://{}", server.address()));
        }
        Ok(Some(Served { server }))
    }
    #[cfg(not(feature = "server"))]
    {
        let _ = (waiting, app, quiet, output::print);
        Ok(None)
    }
}

impl Served {
    /// Serves until a signal comes or the app fails: clients may still look, and send, when all sources have ended.
    pub fn until_stopped(self, app: &App, signals: &StopOnSignal) -> Result<()> {
        while !signals.asked() && !app.is_finished() {
            std::thread::sleep(LOOK);
        }
        // Clients are told before anything ends.
        #[cfg(feature = "server")]
        self.server.shutdown();
        app.shutdown()
    }
}
