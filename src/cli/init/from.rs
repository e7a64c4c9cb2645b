//! `eventflux init --from`: the CREATE STREAM of a relation of a database, from its catalog.

use std::fmt::Write;

use crate::EventFlux;
use crate::config::options::{Options, RawOption};
use crate::connectors::{Discovered, Registry};
use crate::error::{Code, Diagnostic, Result};

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct From {
    /// Write the CREATE STREAM of a relation of a database instead: materialize, postgres or risingwave.
    #[arg(long, value_name = "CONNECTOR", requires = "url", requires = "relation")]
    pub from: Option<String>,
    /// With --from: the database, as in postgresql://user:password@host:port/database.
    #[arg(long, requires = "from")]
    url: Option<String>,
    /// With --from: the table or view.
    #[arg(long, requires = "from")]
    relation: Option<String>,
    /// With --from: the columns of the PRIMARY KEY, with commas between them, if the catalog does not tell them.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "from")]
    key: Vec<String>,
}

impl From {
    /// The app: a CREATE STREAM and a query.
    pub fn app(&self, connector: &str) -> Result<String> {
        let registry = Registry::builtin();
        let connector = registry.connector(connector)?;
        let (name, relation) = (connector.name(), self.relation.as_deref().unwrap_or_default());
        let url = self.url.as_deref().unwrap_or_default();
        let cannot = || {
            let error = Diagnostic::new(Code::OptionValue, format!("the connector '{name}' knows no catalog"));
            error.hint("there are: materialize, postgres, risingwave")
        };
        let source = connector.source().ok_or_else(cannot)?;
        let raw = [RawOption::new("relation", relation), RawOption::new("url", url)];
        if !raw
            .iter()
            .all(|option| Options::accepts(name, source.options(), &option.key))
        {
            return Err(cannot().into());
        }
        let options = Options::check(name, source.options(), &raw)?;
        let mut found = source.discover(&options)?;
        if !self.key.is_empty() {
            found.key.clone_from(&self.key);
        }
        // What is written here must be an app. Without a password, so that no variable is needed.
        compiles(&text(name, relation, "postgresql://localhost", &found)).map_err(|error| {
            let message = format!("'{relation}' makes no CREATE STREAM: {error}");
            Diagnostic::new(Code::Unsupported, message).hint("name a view of it with other columns or names")
        })?;
        Ok(text(name, relation, url, &found))
    }
}

fn text(connector: &str, relation: &str, url: &str, found: &Discovered) -> String {
    let stream = stream_name(relation);
    let mut text = String::new();
    if found.key.is_empty() {
        text += "-- The catalog tells no key: without PRIMARY KEY every new row is an event, and deletes cannot be said.\n\
                 -- With one (init --key id) the stream follows the rows as they change.\n";
    }
    let _ = writeln!(text, "CREATE STREAM {stream} (");
    let width = found
        .columns
        .iter()
        .map(|(name, _)| quoted(name).len())
        .max()
        .unwrap_or(0);
    for (at, (name, of)) in found.columns.iter().enumerate() {
        let comma = if at + 1 < found.columns.len() || !found.key.is_empty() {
            ","
        } else {
            ""
        };
        let _ = writeln!(text, "  {:width$} {of}{comma}", quoted(name));
    }
    if !found.key.is_empty() {
        let key: Vec<String> = found.key.iter().map(|name| quoted(name)).collect();
        let _ = writeln!(text, "  PRIMARY KEY ({})", key.join(", "));
    }
    let literal = |text: &str| text.replace('\'', "''");
    // A password is not for a file that is shown around.
    let has_password = url
        .split_once("//")
        .and_then(|(_, rest)| rest.split_once('@'))
        .is_some_and(|(user, _)| user.contains(':'))
        || url.contains("password=");
    let url = match has_password {
        true => format!("${{{}_URL}}", connector.to_uppercase()),
        false => literal(url),
    };
    let _ = write!(
        text,
        ") WITH (type = 'source', extension = '{connector}',\n  \"{connector}.url\" = '{url}',\n  \"{connector}.relation\" = '{}');\n\n\
         SELECT * FROM {stream};\n",
        literal(relation)
    );
    text
}

/// The last part of a relation's name as that of a stream.
fn stream_name(relation: &str) -> String {
    let last = relation.rsplit('.').next().unwrap_or(relation).trim_matches('"');
    quoted(last)
}

/// Whether a text is an app.
fn compiles(app: &str) -> Result<()> {
    EventFlux::builder().sql(app).disconnected().build().map(|_| ())
}

/// A name, in double quotes where it needs them.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && compiles(&format!("CREATE STREAM S ({name} INT);")).is_ok();
    match plain {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_written_and_names_are_quoted_where_they_must_be() {
        let found = Discovered {
            columns: vec![
                ("id".to_string(), "INT".to_string()),
                ("select me".to_string(), "STRING".to_string()),
            ],
            key: vec!["id".to_string()],
        };
        let got = text(
            "postgres",
            "public.\"Odd name\"",
            "postgresql://me:secret@host/db",
            &found,
        );
        assert!(!got.contains("secret") && got.contains("'${POSTGRES_URL}'"), "{got}");
        assert!(
            got.contains(
                "CREATE STREAM \"Odd name\" (\n  id          INT,\n  \"select me\" STRING,\n  PRIMARY KEY (id)\n)"
            ),
            "{got}"
        );
        assert!(got.contains("SELECT * FROM \"Odd name\";"), "{got}");
        let got = text(
            "postgres",
            "t",
            "postgresql://me@host/db",
            &Discovered {
                key: Vec::new(),
                ..found
            },
        );
        assert!(
            got.starts_with("-- The catalog tells no key") && got.contains("'postgresql://me@host/db'"),
            "{got}"
        );
    }
}
