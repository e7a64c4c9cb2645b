//! `materialize`: the changes of a relation of Materialize, by `SUBSCRIBE`.

mod assembly;
mod source;
mod statement;
#[cfg(test)]
mod tests;

use super::pgwire::client::Server;
use super::pgwire::{describe, options};
use super::{Connector, Discovered, FormatUse, Source, SourceConnector, SourceRows, SourceSpec};
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;

/// The `materialize` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Materialize;

impl Connector for Materialize {
    fn name(&self) -> &'static str {
        "materialize"
    }

    fn doc(&self) -> &'static str {
        "Reads the changes of a view, table or query of Materialize as they happen (SUBSCRIBE)."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

const OPTIONS: &[OptionSpec] = &[
    options::URL,
    options::HOST,
    OptionSpec::new("port", OptionKind::Integer { min: 1, max: 65_535 }, "Its port; by default 6875."),
    OptionSpec::new("user", OptionKind::Text, "Who connects; by default materialize."),
    options::PASSWORD,
    OptionSpec::new("database", OptionKind::Text, "The database; by default the user's."),
    OptionSpec::new("cluster", OptionKind::Text, "The cluster that does the work; by default the user's."),
    OptionSpec::new(
        "relation",
        OptionKind::Text,
        "The view, materialized view, table or source to read: name, schema.name or database.schema.name. This or query.",
    ),
    OptionSpec::new("query", OptionKind::Text, "A SELECT to read instead of a relation."),
    OptionSpec::new(
        "copy",
        OptionKind::Choice(&["text", "binary"]),
        "The form in which rows travel. Binary spares writing and reading numbers; types that it is not known for travel as text.",
    )
    .default("text"),
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

impl SourceConnector for Materialize {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn rows(&self) -> SourceRows {
        SourceRows::Relation
    }

    fn tells_time(&self) -> bool {
        true
    }

    fn discover(&self, options: &Options) -> Result<Discovered, Diagnostic> {
        let server = Server::new(options, "Materialize", (6875, "materialize"))?;
        describe::discover(&server, options, "Materialize", None)
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::MaterializeSource::new(spec)?))
    }
}
