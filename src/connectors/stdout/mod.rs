//! `stdout`: writes encoded rows to standard output.

pub(super) mod sink;
#[cfg(test)]
mod tests;

use super::{Connector, FormatUse, Sink, SinkConnector, SinkSpec};
use crate::config::options::OptionSpec;
use crate::error::Diagnostic;

/// The `stdout` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdout;

impl Connector for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn doc(&self) -> &'static str {
        "Writes rows to standard output."
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SinkConnector for Stdout {
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn format(&self) -> FormatUse {
        FormatUse::Bytes { default: Some("json") }
    }

    fn takes_again(&self) -> bool {
        true
    }

    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        Ok(Box::new(sink::StdoutSink::new(spec, Box::new(std::io::stdout()))?))
    }
}
