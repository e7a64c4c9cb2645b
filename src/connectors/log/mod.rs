//! `log`: prints events for people, one line each: `Alerts 2026-01-01T00:00:00Z symbol=IBM price=75.6`.

mod cells;
mod sink;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;

use super::{Connector, FormatUse, Sink, SinkConnector, SinkSpec};
use crate::config::options::{OptionKind, OptionSpec};
use crate::error::{Colour, Diagnostic};

/// The `log` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Connector for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn doc(&self) -> &'static str {
        "Prints events to standard output, one readable line each."
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

const OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "prefix",
    OptionKind::Text,
    "What each line starts with. Default: the stream's name.",
)];

impl SinkConnector for Log {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn takes_again(&self) -> bool {
        true
    }

    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        let stdout = std::io::stdout();
        // https://no-color.org
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = match stdout.is_terminal() && !plain {
            true => Colour::Always,
            false => Colour::Never,
        };
        Ok(Box::new(sink::LogSink::new(&spec, colour, Box::new(stdout))))
    }
}
