//! What the sources that speak PostgreSQL's protocol share: options, the connection, what a relation has, and values.

use std::time::Duration;

use crate::config::options::Options;

pub(crate) mod binary;
pub(crate) mod cells;
pub(crate) mod client;
pub(crate) mod copy;
pub(crate) mod describe;
pub(crate) mod interval;
pub(crate) mod options;
pub(crate) mod rows;
pub(crate) mod text;
pub(crate) mod tls;

#[cfg(test)]
mod tests;

/// How long a stop may go unnoticed while nothing comes.
pub(crate) const STOP_CHECK: Duration = Duration::from_millis(50);

/// The option as a duration.
pub(crate) fn duration(options: &Options, name: &str) -> Duration {
    Duration::from_micros(options.duration(name).unwrap_or_default().max(0).unsigned_abs())
}
