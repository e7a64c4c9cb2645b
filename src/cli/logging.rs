//! Logs go to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::status::AboveStatus;
use super::{exit, output};
use crate::error::Colour;

/// How much is logged without RUST_LOG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    Normal,
    /// Errors.
    Quiet,
}

/// Starts logging; the exit code if RUST_LOG makes no sense.
///
/// On a terminal lines carry no time: somebody is watching. In files and journals they do.
pub fn start(verbosity: Verbosity) -> Result<(), u8> {
    let default = match verbosity {
        Verbosity::Normal => "warn",
        Verbosity::Quiet => "error",
    };
    let wanted = std::env::var("RUST_LOG").ok().filter(|value| !value.trim().is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(default)).map_err(|error| {
        output::complain(
            &format!("RUST_LOG: {error}"),
            Some("write RUST_LOG=debug, or RUST_LOG=eventflux::connectors=trace"),
        );
        exit::BAD_INPUT
    })?;
    let stderr = std::io::stderr();
    let lines = tracing_subscriber::fmt()
        .compact()
        .with_target(false)
        .with_ansi(output::colour(&stderr) == Colour::Always)
        .with_env_filter(filter)
        .with_writer(|| AboveStatus);
    // An embedder may have set a subscriber of its own before: then that one gets the logs.
    let _ = match stderr.is_terminal() {
        true => lines.without_time().try_init(),
        false => lines.try_init(),
    };
    Ok(())
}
