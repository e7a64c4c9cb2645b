//! `risingwave`: the changes of a table or materialized view of RisingWave, by a subscription.

mod assembly;
mod source;

use super::pgwire::client::Server;
use super::pgwire::{describe, options};
use super::{Connector, Discovered, FormatUse, Source, SourceConnector, SourceRows, SourceSpec};
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;

/// The `risingwave` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct RisingWave;

impl Connector for RisingWave {
    fn name(&self) -> &'static str {
        "risingwave"
    }

    fn doc(&self) -> &'static str {
        "Reads a table or materialized view of RisingWave and then its changes (subscription cursors)."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

const OPTIONS: &[OptionSpec] = &[
    options::URL,
    options::HOST,
    OptionSpec::new(
        "port",
        OptionKind::Integer { min: 1, max: 65_535 },
        "Its port; by default 4566.",
    ),
    OptionSpec::new("user", OptionKind::Text, "Who connects; by default root."),
    options::PASSWORD,
    OptionSpec::new("database", OptionKind::Text, "The database; by default dev."),
    OptionSpec::new(
        "relation",
        OptionKind::Text,
        "The table or materialized view to read: name or schema.name.",
    )
    .required(),
    OptionSpec::new(
        "subscription",
        OptionKind::Text,
        "The subscription of the relation, made if it is missing; by default eventflux_ and the name of the stream.",
    ),
    OptionSpec::new(
        "retention",
        OptionKind::Text,
        "How long a subscription that is made keeps history, as an interval of RisingWave.",
    )
    .default("1 day"),
    options::SSL_MODE,
    options::SSL_ROOT,
    options::CONNECT_TIMEOUT,
    options::RETRY_INITIAL,
    options::RETRY_MAX,
    options::RETRY_TIMEOUT,
    options::MAX_ROWS,
    options::WHOLE_ROWS,
    options::DELETES,
];

impl SourceConnector for RisingWave {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn rows(&self) -> SourceRows {
        SourceRows::Relation
    }

    fn discover(&self, options: &Options) -> Result<Discovered, Diagnostic> {
        let server = Server::new(options, "RisingWave", (4566, "root"))?;
        let relation = options.text("relation").unwrap_or_default();
        let name = relation
            .rsplit('.')
            .next()
            .unwrap_or(relation)
            .trim_matches('"')
            .replace('\'', "''");
        let key = format!(
            "SELECT c.name FROM rw_catalog.rw_columns c JOIN rw_catalog.rw_relations r ON c.relation_id = r.id
             WHERE r.name = '{name}' AND c.is_primary_key ORDER BY c.position"
        );
        describe::discover(&server, options, "RisingWave", Some(&key))
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::RisingWaveSource::new(spec)?))
    }
}
