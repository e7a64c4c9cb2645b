//! `graphql`, `sse` and `websocket`: sinks whose events the HTTP server shows to clients.
//!
//! The sinks themselves do nothing: the server watches the stream as long as somebody looks. They say what is shown, and how.

use super::blackhole::BlackholeSink;
use super::{Connector, FormatUse, Sink, SinkConnector, SinkSpec};
use crate::config::options::{OptionKind, OptionSpec};
use crate::error::{Code, Diagnostic, Result};

/// A way for clients to see a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// GraphQL subscriptions.
    GraphQl,
    /// Server-sent events.
    Sse,
    /// WebSockets with JSON.
    WebSocket,
}

/// The column that says to which channel an event goes.
pub const CHANNEL: &str = "channel";

/// The column that says to which user.
pub const USER: &str = "user";

/// The column that says to which session.
pub const SESSION: &str = "session";

const TARGETS: &[OptionSpec] = &[
    OptionSpec::new(
        CHANNEL,
        OptionKind::Text,
        "The column with the channel that an event is for: only clients that ask for that channel get it; NULL is for all.",
    ),
    OptionSpec::new(USER, OptionKind::Text, "The same, with the user."),
    OptionSpec::new(SESSION, OptionKind::Text, "The same, with the session."),
];

impl Connector for Live {
    fn name(&self) -> &'static str {
        match self {
            Live::GraphQl => "graphql",
            Live::Sse => "sse",
            Live::WebSocket => "websocket",
        }
    }

    fn doc(&self) -> &'static str {
        match self {
            Live::GraphQl => "Shows the stream to clients of the HTTP server, by GraphQL.",
            Live::Sse => "Shows the stream to clients of the HTTP server, as server-sent events.",
            Live::WebSocket => "Shows the stream to clients of the HTTP server, by WebSocket.",
        }
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SinkConnector for Live {
    fn options(&self) -> &'static [OptionSpec] {
        match self {
            Live::GraphQl => &[],
            Live::Sse | Live::WebSocket => TARGETS,
        }
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        for option in [CHANNEL, USER, SESSION] {
            let Some(column) = spec.options.text(option) else {
                continue;
            };
            if spec.schema.index_of(column).is_err() {
                let reason = format!("the stream has no column '{column}'");
                let mut error = spec.options.invalid(option, reason);
                error.code = Code::UnknownColumn;
                return Err(error);
            }
        }
        // The server watches the stream itself: nothing is left to do.
        Ok(Box::new(BlackholeSink))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::*;

    #[test]
    fn targets_are_columns() {
        assert!(sink(&Live::Sse, text_schema(), &[("sse.user", "nobody")]).is_err());
        let mut sink = sink(&Live::GraphQl, text_schema(), &[]).unwrap();
        sink.write(&text_batch(&["a"])).unwrap();
        sink.close().unwrap();
    }
}
