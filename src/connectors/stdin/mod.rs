//! `stdin`: reads records from standard input.

mod source;
#[cfg(test)]
mod tests;

use super::blocks::options::{BLOCK_BYTES, DECODERS};
use super::{Connector, FormatUse, Source, SourceConnector, SourceSpec};
use crate::config::options::OptionSpec;
use crate::error::Diagnostic;

/// The `stdin` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdin;

impl Connector for Stdin {
    fn name(&self) -> &'static str {
        "stdin"
    }

    fn doc(&self) -> &'static str {
        "Reads records from standard input until it ends."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

impl SourceConnector for Stdin {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[BLOCK_BYTES, DECODERS] }
    }

    fn format(&self) -> FormatUse {
        FormatUse::Bytes { default: Some("json") }
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::StdinSource::new(spec)?))
    }
}
