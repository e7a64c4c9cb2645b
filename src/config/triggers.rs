//! `[server.triggers]`: what bounds the webhooks that clients of the server make, and how they are delivered.

use std::path::PathBuf;
use std::time::Duration;

use super::checkpoints::from_its_file;
use super::options::{Options, RawOption};
use crate::error::Diagnostic;

/// What is configured of triggers.
#[derive(Debug, Clone)]
pub struct TriggerOptions {
    /// Whether clients may make them, if that is said.
    pub enabled: Option<bool>,
    /// How many there may be.
    pub max: usize,
    /// How many on one relation.
    pub max_per_relation: usize,
    /// How many keys one remembers.
    pub max_rows: usize,
    /// How many events of one may wait.
    pub max_waiting: usize,
    /// How many bytes of all on one relation may wait.
    pub max_waiting_bytes: usize,
    /// Whether private addresses may be called.
    pub allow_private: bool,
    /// Which hosts may be called; empty: all.
    pub allowed_hosts: Vec<String>,
    /// Calls on their way at once, for each relation.
    pub concurrency: usize,
    /// How long a call may take.
    pub timeout: Duration,
    /// How often an event is tried.
    pub max_attempts: u32,
    /// The wait after the first attempt, in µs.
    pub initial_delay: i64,
    /// The longest wait, in µs.
    pub max_delay: i64,
    /// The longest wait that a receiver may ask for.
    pub retry_after_max: Duration,
    /// After so many failures a receiver is left alone.
    pub breaker_failures: u32,
    /// For so long, in µs.
    pub breaker_pause: i64,
    /// The file of dead letters.
    pub dead_letters: Option<PathBuf>,
}

/// Of the options of `[server]`.
pub(super) fn of_options(options: &Options, raw: &[RawOption]) -> Result<TriggerOptions, Diagnostic> {
    let size = |name: &str| usize::try_from(options.integer(name).unwrap_or_default()).unwrap_or(usize::MAX);
    let count = |name: &str| u32::try_from(size(name)).unwrap_or(u32::MAX);
    let micros = |name: &str| options.duration(name).unwrap_or_default();
    let duration = |name: &str| Duration::from_micros(micros(name).unsigned_abs());
    if micros("triggers.timeout") < 1_000 {
        return Err(options.invalid("triggers.timeout", "it is 1 ms or more"));
    }
    if micros("triggers.retry.max-delay") < micros("triggers.retry.initial-delay") {
        let why = "it is shorter than triggers.retry.initial-delay";
        return Err(options.invalid("triggers.retry.max-delay", why));
    }
    let hosts = super::server::list(options.text("triggers.allowed-hosts"));
    if let Some(wrong) = hosts.iter().find(|host| host.contains(['/', ':', '@'])) {
        let why = format!("'{wrong}' is no host such as hooks.example.com or *.example.com");
        return Err(options.invalid("triggers.allowed-hosts", why));
    }
    let file = raw.iter().find(|option| option.key == "triggers.dead-letters");
    Ok(TriggerOptions {
        enabled: match options.text("triggers.enabled") {
            Some("on") => Some(true),
            Some("off") => Some(false),
            _ => None,
        },
        max: size("triggers.max"),
        max_per_relation: size("triggers.max-per-relation"),
        max_rows: size("triggers.max-rows"),
        max_waiting: size("triggers.max-waiting"),
        max_waiting_bytes: size("triggers.max-waiting-bytes"),
        allow_private: options.boolean("triggers.allow-private"),
        allowed_hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        concurrency: size("triggers.concurrency"),
        timeout: duration("triggers.timeout"),
        max_attempts: count("triggers.retry.max-attempts"),
        initial_delay: micros("triggers.retry.initial-delay"),
        max_delay: micros("triggers.retry.max-delay"),
        retry_after_max: duration("triggers.retry-after.max"),
        breaker_failures: count("triggers.breaker.failures"),
        breaker_pause: micros("triggers.breaker.pause"),
        dead_letters: file.map(|option| from_its_file(option, option.value.clone())),
    })
}
