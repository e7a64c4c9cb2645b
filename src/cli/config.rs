//! `eventflux config`: what is configured, whether it is right, and what could be.

use serde_json::{Map, Value, json};

use super::app_args::AppArgs;
use super::{exit, output};
use crate::config::app_options::{APP_OPTIONS, APPLICATION_OPTIONS, of_the_app};
use crate::config::layers::Layers;
use crate::config::options::{OptionKind, OptionSpec, RawOption};
use crate::config::server::{server_option, server_options};
use crate::connectors::Registry;
use crate::error::Result;
use crate::plan::configured::{Configured, Origin, origin, place};
use crate::plan::stream_options::STREAM_OPTIONS;
use crate::tables::registry::Backends;

const EXAMPLES: &str = "\
Examples:
  eventflux config list app.sql
  eventflux config list app.sql --config production.toml --format json
  eventflux config validate app.sql --config production.toml
  eventflux config schema > eventflux.schema.json";

/// Show, check or describe the configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print each option with its value and the layer that gives it. Secrets are not shown.
    List {
        #[command(flatten)]
        app: AppArgs,
        /// How to print: for people, or as a JSON array.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
        /// Leave out what has its default.
        #[arg(long)]
        given: bool,
    },
    /// Check the configuration files, the environment and the settings against the app.
    Validate {
        #[command(flatten)]
        app: AppArgs,
    },
    /// Print the JSON Schema of configuration files, for editors.
    Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Config {
    /// Does what is asked; the exit code.
    pub fn execute(self) -> u8 {
        let done = match &self.command {
            Command::List { app, format, given } => list(app, *format, *given),
            Command::Validate { app } => validate(app),
            Command::Schema => Ok(output::print(&format!("{:#}\n", schema()))),
        };
        done.unwrap_or_else(|error| {
            output::report(&error);
            exit::BAD_INPUT
        })
    }
}

fn validate(app: &AppArgs) -> Result<u8> {
    app.build()?;
    Ok(output::print("ok: the configuration fits the app\n"))
}

fn list(app: &AppArgs, format: Format, given: bool) -> Result<u8> {
    let layers = app.layers()?;
    let mut all = of_app(&layers);
    all.extend(app.build()?.configured());
    all.retain(|option| !given || option.layer != Origin::Default);
    Ok(output::print(&match format {
        Format::Json => format!("{:#}\n", json!(all)),
        Format::Human => lines(&all),
    }))
}

/// The options of the app itself.
fn of_app(layers: &Layers) -> Vec<Configured> {
    let one = |scope: &str, spec: &OptionSpec, option: Option<&RawOption>| {
        let source = option.and_then(|option| option.source.as_ref());
        let value = match option {
            Some(option) => Some(option.value.clone()),
            None => spec.default.map(str::to_string),
        };
        let span = option.and_then(|option| option.value_span.as_ref());
        Configured {
            scope: scope.to_string(),
            key: spec.name.to_string(),
            value: value.filter(|_| !spec.secret),
            layer: source.map_or(Origin::Default, origin),
            place: source.zip(span).and_then(|(source, span)| place(source, span)),
        }
    };
    let mut all: Vec<Configured> = APP_OPTIONS
        .iter()
        .map(|spec| one("application", spec, layers.of_app(spec.name)))
        .collect();
    let given = layers.all_of_server();
    // An app without a server has no options of one.
    if given.is_empty() {
        return all;
    }
    for spec in server_options().filter(|spec| !spec.has_placeholder()) {
        let option = given.iter().copied().find(|option| option.key == spec.name);
        all.push(one("server", spec, option));
    }
    for option in given {
        if let Some(spec) = server_option(&option.key).filter(|spec| spec.has_placeholder()) {
            let named = one("server", spec, Some(option));
            all.push(Configured {
                key: option.key.clone(),
                ..named
            });
        }
    }
    all
}

fn lines(all: &[Configured]) -> String {
    let mut text = String::new();
    let mut scope = "";
    for option in all {
        if option.scope != scope {
            let between = if scope.is_empty() { "" } else { "\n" };
            scope = &option.scope;
            text += &format!("{between}[{scope}]\n");
        }
        let value = option.value.as_deref().unwrap_or("***");
        let from = match &option.place {
            Some(place) if option.layer != Origin::Environment => {
                format!("{} {}:{}", option.layer.name(), place.file, place.line)
            }
            Some(place) => format!("{} {}", option.layer.name(), place.file),
            None => option.layer.name().to_string(),
        };
        text += &format!("{:<40} # {from}\n", format!("{} = {value:?}", option.key));
    }
    text
}

/// The JSON Schema of a configuration file. Dotted keys are nested tables, as TOML has it.
fn schema() -> Value {
    let of_app = |spec: &&OptionSpec| APPLICATION_OPTIONS.contains(&spec.name);
    let mut application = Map::new();
    let shared = STREAM_OPTIONS.iter().filter(of_app);
    for spec in APP_OPTIONS.iter().chain(shared) {
        put(&mut application, spec.name, spec);
    }
    let mut server = Map::new();
    for spec in server_options() {
        put(&mut server, spec.name, spec);
    }
    // API keys may be written as a list of tables.
    let mut server = json!(server);
    if let Some(keys) = server.pointer_mut("/auth/properties/keys") {
        keys["type"] = json!(["object", "array"]);
    }
    let registry = Registry::builtin();
    let mut stream = Map::new();
    for spec in STREAM_OPTIONS.iter().filter(|spec| of_the_app(spec.name, "").is_none()) {
        put(&mut stream, spec.name, spec);
    }
    for connector in registry.connectors() {
        let source = connector.source().map(|side| side.options()).unwrap_or_default();
        let sink = connector.sink().map(|side| side.options()).unwrap_or_default();
        for spec in source.iter().chain(sink) {
            put(&mut stream, spec.name, spec);
            put(&mut stream, &format!("{}.{}", connector.name(), spec.name), spec);
        }
    }
    for format in registry.formats() {
        for spec in format.options() {
            put(&mut stream, spec.name, spec);
            put(&mut stream, &format!("{}.{}", format.name(), spec.name), spec);
        }
    }
    let mut kept = Map::new();
    for backend in Backends::builtin().all() {
        for spec in backend.options() {
            put(&mut kept, spec.name, spec);
            put(&mut kept, &format!("{}.{}", backend.name(), spec.name), spec);
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of an EventFlux app",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "include": {
                "type": "object",
                "additionalProperties": false,
                "properties": {"files": {"type": "array", "items": {"type": "string"}}},
                "description": "Files that are read before this one.",
            },
            "application": table(application),
            "server": {"type": "object", "additionalProperties": false, "properties": server},
            "streams": {
                "type": "object",
                "description": "Options of streams, by the streams' names.",
                "additionalProperties": table(stream),
            },
            "tables": {
                "type": "object",
                "description": "Options of tables, by the tables' names.",
                "additionalProperties": table(kept),
            },
        },
    })
}

fn table(properties: Map<String, Value>) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

/// Puts an option to its place among nested tables. What stands for any column is a pattern.
fn put(tables: &mut Map<String, Value>, name: &str, spec: &OptionSpec) {
    let Some((first, rest)) = name.split_once('.') else {
        let leaf = leaf(spec);
        match tables.get_mut(name) {
            // A table of that name is there already, or an option of another connector.
            Some(known) if *known != leaf => {
                let alternatives = known.get("anyOf").and_then(Value::as_array).cloned();
                let mut alternatives = alternatives.unwrap_or_else(|| vec![known.clone()]);
                if !alternatives.contains(&leaf) {
                    alternatives.push(leaf);
                }
                *known = json!({ "anyOf": alternatives });
            }
            _ => {
                tables.insert(name.to_string(), leaf);
            }
        }
        return;
    };
    let nested = tables.entry(first).or_insert_with(|| table(Map::new()));
    if let Some(alternatives) = nested.get_mut("anyOf").and_then(Value::as_array_mut) {
        if !alternatives.iter().any(|known| known.get("properties").is_some()) {
            alternatives.push(table(Map::new()));
        }
    } else if nested.get("properties").is_none() {
        *nested = json!({"anyOf": [nested.clone(), table(Map::new())]});
    }
    let inner = match nested.get_mut("anyOf").and_then(Value::as_array_mut) {
        Some(alternatives) => alternatives.iter_mut().find(|known| known.get("properties").is_some()),
        None => Some(nested),
    };
    let Some(Value::Object(inner)) = inner else {
        return;
    };
    if rest.starts_with('<') {
        // They have any name.
        inner.insert("additionalProperties".to_string(), json!(true));
        return;
    }
    if let Some(Value::Object(properties)) = inner.get_mut("properties") {
        put(properties, rest, spec);
    }
}

fn leaf(spec: &OptionSpec) -> Value {
    let mut leaf = match spec.kind {
        OptionKind::Text | OptionKind::Path => json!({"type": ["string", "number", "boolean"]}),
        OptionKind::Boolean => json!({"type": ["boolean", "string"]}),
        OptionKind::Integer { min, max } => json!({"type": ["integer", "string"], "minimum": min, "maximum": max}),
        OptionKind::Number => json!({"type": ["number", "string"]}),
        OptionKind::Duration => json!({"type": ["string", "integer"]}),
        // Words in any case, or `${…}`.
        OptionKind::Choice(words) => json!({"type": "string", "examples": words}),
    };
    if spec.list {
        leaf["type"] = json!(["string", "array"]);
    }
    leaf["description"] = json!(spec.doc);
    if let Some(default) = spec.default {
        leaf["default"] = json!(default);
    }
    leaf
}
