//! `eventflux validate`.

use serde_json::{Value, json};

use super::app_args::AppArgs;
use super::{exit, output};
use crate::App;
use crate::catalog::streams::Role;
use crate::catalog::types;
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  eventflux validate app.sql
  eventflux validate app.sql --connect
  eventflux validate app.sql --config production.toml --format json | jq .error";

/// Check an app without running it.
///
/// Everything is checked that can be without starting anything: syntax, names, types, options of connectors and formats, the
/// configuration, and whether files to be read are there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Validate {
    #[command(flatten)]
    app: AppArgs,
    /// How to print the result: for people, or as one JSON object.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Also ask every source whether what it reads is there and fits its stream: databases are connected to, nothing is read.
    #[arg(long)]
    connect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Validate {
    /// Checks the app; the exit code.
    pub fn execute(self) -> u8 {
        let mut result = self.app.build();
        if self.connect
            && let Ok(app) = &result
            && let Err(error) = app.check_sources()
        {
            result = Err(error);
        }
        let code = if result.is_ok() { exit::OK } else { exit::BAD_INPUT };
        match (self.format, &result) {
            (Format::Json, result) => {
                output::print(&format!("{}\n", as_json(result)));
            }
            (Format::Human, Ok(app)) => {
                for warning in app.warnings().unwrap_or_default() {
                    output::warn(&warning.to_string(), warning.hint.as_deref());
                }
                let (streams, queries) = (app.streams().len(), app.queries().len());
                output::print(&format!(
                    "ok: {}, {}\n",
                    count(streams, "stream", "streams"),
                    count(queries, "query", "queries")
                ));
            }
            (Format::Human, Err(error)) => output::report(error),
        }
        code
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn as_json(result: &Result<App>) -> Value {
    match result {
        Ok(app) => {
            let streams: Vec<Value> = app.streams().iter().map(|stream| {
                let columns = stream.schema.fields().iter();
                let columns = columns.map(|field| json!({ "name": field.name(), "type": types::name(field.data_type()) }));
                let (role, connector) = match &stream.role {
                    Role::Internal => ("internal", None),
                    Role::Trigger(_) => ("trigger", None),
                    Role::Source(connection) => ("source", Some(&connection.connector)),
                    Role::Sink(connection) => ("sink", Some(&connection.connector)),
                };
                json!({ "name": stream.name, "role": role, "connector": connector, "columns": columns.collect::<Vec<_>>() })
            }).collect();
            let warnings: Vec<Value> = app
                .warnings()
                .unwrap_or_default()
                .iter()
                .map(|warning| {
                    let place = warning.place();
                    json!({
                        "message": warning.message,
                        "hint": warning.hint,
                        "line": place.as_ref().map(|place| place.line),
                        "column": place.as_ref().map(|place| place.column),
                    })
                })
                .collect();
            json!({ "ok": true, "streams": streams, "queries": app.queries(), "warnings": warnings })
        }
        Err(Error::Compile(error)) => {
            let place = error.place();
            json!({ "ok": false, "error": {
                "code": error.code.as_str(),
                "message": error.message,
                "hint": error.hint,
                "file": place.as_ref().map(|place| &place.file),
                "line": place.as_ref().map(|place| place.line),
                "column": place.as_ref().map(|place| place.column),
            }})
        }
        Err(other) => json!({ "ok": false, "error": { "message": other.to_string() } }),
    }
}
