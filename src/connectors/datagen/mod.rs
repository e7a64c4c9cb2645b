//! `datagen`: makes rows up, the same ones every time.

mod columns;
mod options;
mod parameters;
mod random;
mod source;
#[cfg(test)]
mod tests;
mod words;

use super::{Connector, FormatUse, Source, SourceConnector, SourceSpec};
use crate::config::options::OptionSpec;
use crate::error::Diagnostic;

/// The `datagen` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Datagen;

impl Connector for Datagen {
    fn name(&self) -> &'static str {
        "datagen"
    }

    fn doc(&self) -> &'static str {
        "Makes rows up from a seed, at a rate or as fast as possible."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

impl SourceConnector for Datagen {
    fn options(&self) -> &'static [OptionSpec] {
        options::SOURCE
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::DatagenSource::new(&spec)?))
    }
}
