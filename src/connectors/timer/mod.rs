//! `timer`: emits a row at regular times.

mod source;
#[cfg(test)]
mod tests;

use super::{Connector, FormatUse, Source, SourceConnector, SourceSpec};
use crate::config::options::{OptionKind, OptionSpec};
use crate::error::Diagnostic;

/// The `timer` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timer;

impl Connector for Timer {
    fn name(&self) -> &'static str {
        "timer"
    }

    fn doc(&self) -> &'static str {
        "Emits a row at regular times."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "interval",
        OptionKind::Duration,
        "The time between two ticks; the first comes one interval after the start.",
    )
    .required(),
    OptionSpec::new(
        "count",
        OptionKind::Integer { min: 0, max: i64::MAX },
        "How many rows to emit before the stream ends. Default: it never ends.",
    ),
];

impl SourceConnector for Timer {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::TimerSource::new(&spec)?))
    }
}
