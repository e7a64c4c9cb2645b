//! `postgres`: the changes of a table of PostgreSQL, by logical replication.

mod changes;
mod pgoutput;
mod slot;
mod source;
mod table;
mod wire;

use super::pgwire::client::Server;
use super::pgwire::{describe, options};
use super::{Connector, Discovered, FormatUse, Source, SourceConnector, SourceRows, SourceSpec};
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;

/// The `postgres` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postgres;

impl Connector for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn doc(&self) -> &'static str {
        "Reads a table of PostgreSQL and then its changes as they are committed (logical replication)."
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
        "Its port; by default 5432.",
    ),
    OptionSpec::new(
        "user",
        OptionKind::Text,
        "Who connects; by default postgres. The user must be allowed to replicate and to read the table.",
    ),
    options::PASSWORD,
    OptionSpec::new(
        "database",
        OptionKind::Text,
        "The database; by default the one called like the user.",
    ),
    OptionSpec::new("relation", OptionKind::Text, "The table to read: name or schema.name.").required(),
    OptionSpec::new(
        "slot",
        OptionKind::Text,
        "The replication slot, made if it is missing; by default eventflux_ and the name of the stream. One stream reads it, and nobody \
         else.",
    ),
    OptionSpec::new(
        "publication",
        OptionKind::Text,
        "The publication, made for the table if it is missing; by default eventflux_ and the name of the stream.",
    ),
    options::SSL_MODE,
    options::SSL_ROOT,
    options::CONNECT_TIMEOUT,
    options::STALL_TIMEOUT,
    options::RETRY_INITIAL,
    options::RETRY_MAX,
    options::RETRY_TIMEOUT,
    options::MAX_ROWS,
    options::WHOLE_ROWS,
    options::DELETES,
];

impl SourceConnector for Postgres {
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
        let server = Server::new(options, "PostgreSQL", (5432, "postgres"))?;
        let relation = table::literal(options.text("relation").unwrap_or_default());
        let key = format!(
            "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
             WHERE i.indrelid = {relation}::regclass AND i.indisprimary ORDER BY array_position(i.indkey, a.attnum)"
        );
        describe::discover(&server, options, "PostgreSQL", Some(&key))
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::PostgresSource::new(spec)?))
    }
}
