//! `http`: calls a URL for events (webhooks), and takes events from who calls (`receive`) or is asked (`poll`).
//!
//! What is to be delivered waits in an `outbox`, which is part of every checkpoint; a `courier` on a thread of its own makes the
//! calls, tries again, and gives up. The server's triggers deliver by the same. See `feat/http/README.md`.

pub(crate) mod address;
mod bodies;
pub(crate) mod breaker;
pub(crate) mod courier;
pub(crate) mod entry;
mod options;
pub(crate) mod outbox;
mod poll;
mod receive;
pub(crate) mod requests;
mod secrets;
pub(crate) mod settings;
pub(crate) mod signature;
mod sink;
mod source_options;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Connector, Entrance, FormatUse, Sink, SinkConnector, SinkSpec, Source, SourceConnector, SourceSpec};
use crate::config::options::OptionSpec;
use crate::error::Diagnostic;
use poll::Poller;
use receive::{Listeners, Receiver};
use source_options::Mode;

/// The `http` connector.
#[derive(Clone, Default)]
pub struct Http {
    /// Where the streams of an app listen.
    listeners: Arc<Listeners>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Connector for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn doc(&self) -> &'static str {
        "Webhooks, both ways: calls a URL for every event, signed, in order by key, tried again; is called, or asks a URL again and again."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SourceConnector for Http {
    fn options(&self) -> &'static [OptionSpec] {
        source_options::SOURCE
    }

    fn format(&self) -> FormatUse {
        FormatUse::Bytes { default: Some("json") }
    }

    fn decodes_all_columns(&self) -> bool {
        false
    }

    fn entrance(&self, spec: SourceSpec) -> Result<Option<Box<dyn Entrance>>, Diagnostic> {
        match Mode::new(&spec.options)? {
            Mode::Receive => Ok(Some(Box::new(receive::Caller::new(&spec)?))),
            Mode::Poll => Ok(None),
        }
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        match Mode::new(&spec.options)? {
            Mode::Receive => Ok(Box::new(Receiver::new(spec, self.listeners.clone())?)),
            Mode::Poll => Ok(Box::new(Poller::new(spec)?)),
        }
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

    fn takes_again(&self) -> bool {
        true
    }

    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        Ok(Box::new(sink::HttpSink::new(spec)?))
    }
}
