//! `nexmark`: the events of the Nexmark benchmark, an auction house: persons, auctions and bids.

mod columns;
mod source;
#[cfg(test)]
mod tests;

use super::{Connector, FormatUse, Source, SourceConnector, SourceSpec};
use crate::config::options::{OptionKind, OptionSpec};
use crate::error::Diagnostic;

/// The `nexmark` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nexmark;

impl Connector for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn doc(&self) -> &'static str {
        "Generates the persons, auctions and bids of the Nexmark benchmark."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "table",
        OptionKind::Choice(&["person", "auction", "bid"]),
        "Which of the three kinds of event the stream gets.",
    )
    .required(),
    OptionSpec::new(
        "events",
        OptionKind::Integer { min: 0, max: 1 << 50 },
        "How many events of all three kinds are generated; of each 50, 1 is a person, 3 are auctions and 46 are bids. \
         Default: without end.",
    ),
    OptionSpec::new(
        "events-per-second",
        OptionKind::Number,
        "How many events of all three kinds are generated a second, in event time and by the clock. Absent or 0: as fast as \
         possible, and 10000 a second in event time.",
    ),
    OptionSpec::new("start", OptionKind::Text, "The event time of the first event.").default("2026-01-01T00:00:00Z"),
    OptionSpec::new(
        "batch-rows",
        OptionKind::Integer { min: 1, max: 1 << 20 },
        "How many rows are made at once at most.",
    )
    .default("8192"),
];

impl SourceConnector for Nexmark {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::NexmarkSource::new(&spec)?))
    }
}
