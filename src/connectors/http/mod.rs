//! `http`: calls a URL for events (webhooks).
//!
//! What is to be delivered waits in an [`outbox`], which is part of every checkpoint; a [`courier`] on a thread of its own makes the
//! calls, tries again, and gives up. The server's triggers deliver by the same. See `feat/http/README.md`.

pub(crate) mod address;
pub(crate) mod breaker;
pub(crate) mod courier;
pub(crate) mod entry;
mod options;
pub(crate) mod outbox;
pub(crate) mod requests;
pub(crate) mod settings;
pub(crate) mod signature;
mod sink;
#[cfg(test)]
mod tests;

use super::{Connector, FormatUse, Sink, SinkConnector, SinkSpec};
use crate::config::options::OptionSpec;
use crate::error::Diagnostic;

/// The `http` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http;

impl Connector for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn doc(&self) -> &'static str {
        "Calls a URL for every event: webhooks, signed, in order by key, tried again."
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SinkConnector for Http {
    fn options(&self) -> &'static [OptionSpec] {
        options::SINK
    }

    fn format(&self) -> FormatUse {
        FormatUse::Bytes { default: Some("json") }
    }

    fn retries(&self) -> bool {
        true
    }

    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        Ok(Box::new(sink::HttpSink::new(spec)?))
    }
}
