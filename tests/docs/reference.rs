//! The configuration reference: generated from the option tables of connectors, formats, backends of tables, streams and the app.
//!
//! Formats that are cargo features are in the page only as a build with them wrote it: a build without leaves their sections as they are.

use std::collections::BTreeMap;
use std::fs;

use eventflux::config::access::ACCESS_OPTIONS;
use eventflux::config::app_options::APP_OPTIONS;
use eventflux::config::options::OptionSpec;
use eventflux::config::server::SERVER_OPTIONS;
use eventflux::connectors::Registry;
use eventflux::plan::define_table::TABLE_OPTIONS;
use eventflux::plan::stream_options::STREAM_OPTIONS;
use eventflux::tables::registry::Backends;

use super::{cell, read, root};

const PAGE: &str = "docs/configuration-reference.md";

const HEAD: &str = "# Configuration reference

Every option there is, from the tables that the compiler checks them by. Where options may be given, and which place wins, is in
[Configuration](configuration.md). Options of connectors and formats may be written with their names before them (`file.path`, `json.root`)
or without. `--features full` builds in the formats of which the default build has none.
";

/// What is in no build without its cargo feature.
const OPTIONAL: [&str; 3] = ["Format `avro`", "Format `parquet`", "Format `protobuf`"];

/// The same of connectors.
const OPTIONAL_CONNECTORS: [&str; 7] = [
    "Connector `graphql`, sink",
    "Connector `http`, sink",
    "Connector `materialize`, source",
    "Connector `postgres`, source",
    "Connector `risingwave`, source",
    "Connector `sse`, sink",
    "Connector `websocket`, sink",
];

fn table(prefix: &str, options: &[OptionSpec]) -> String {
    let mut text = String::from("\n| option | type | default | meaning |\n|---|---|---|---|\n");
    for option in options {
        let kind = cell(&option.kind.to_string());
        let kind = if option.required {
            format!("{kind}, required")
        } else {
            kind
        };
        let kind = if option.secret { format!("{kind}, secret") } else { kind };
        let default = match option.default {
            None => String::new(),
            Some("") => "empty".to_string(),
            Some(default) => format!("`{}`", cell(default)),
        };
        let name = cell(option.name);
        text += &format!("| `{prefix}{name}` | {kind} | {default} | {} |\n", cell(option.doc));
    }
    match options {
        [] => "\nIt has no options.\n".to_string(),
        _ => text,
    }
}

/// The sections of this build, in the order of the page.
fn sections() -> Vec<(String, String)> {
    let mut sections = vec![
        ("The app".to_string(), table("", APP_OPTIONS)),
        ("The server".to_string(), table("", SERVER_OPTIONS)),
        ("Who may do what on the server".to_string(), table("", ACCESS_OPTIONS)),
        ("Streams".to_string(), table("", STREAM_OPTIONS)),
        ("Tables".to_string(), table("", TABLE_OPTIONS)),
    ];
    let registry = Registry::builtin();
    let there = fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let mut connectors: BTreeMap<String, String> = OPTIONAL_CONNECTORS
        .iter()
        .filter(|title| there.contains(**title))
        .map(|title| (title.to_string(), written(&there, title)))
        .collect();
    for connector in registry.connectors() {
        let name = connector.name();
        let sides = [
            ("source", connector.source().map(|side| side.options())),
            ("sink", connector.sink().map(|side| side.options())),
        ];
        for (side, options) in sides {
            if let Some(options) = options {
                let title = format!("Connector `{name}`, {side}");
                connectors.insert(title, table(&format!("{name}."), options));
            }
        }
    }
    // A connector's source before its sink.
    let mut connectors: Vec<_> = connectors.into_iter().collect();
    connectors.sort_by_key(|(title, _)| {
        let name = title.split('`').nth(1).unwrap_or_default().to_string();
        (name, title.ends_with("sink"))
    });
    sections.extend(connectors);
    let mut formats: BTreeMap<String, Option<String>> =
        OPTIONAL.iter().map(|title| (title.to_string(), None)).collect();
    for format in registry.formats() {
        let name = format.name();
        let text = table(&format!("{name}."), format.options());
        formats.insert(format!("Format `{name}`"), Some(text));
    }
    sections.extend(formats.into_iter().map(|(title, text)| {
        let text = text.unwrap_or_else(|| written(&there, &title));
        (title, text)
    }));
    for backend in Backends::builtin().all() {
        let text = table(&format!("{}.", backend.name()), backend.options());
        sections.push((format!("Tables in `{}`", backend.name()), text));
    }
    sections
}

/// What a page has under a title.
fn written(page: &str, title: &str) -> String {
    let after = page.split_once(&format!("\n## {title}\n")).map(|(_, after)| after);
    let section = after.unwrap_or_default().split("\n## ").next().unwrap_or_default();
    match section.ends_with('\n') {
        true => section.to_string(),
        false => format!("{section}\n"),
    }
}

#[test]
fn the_configuration_reference_is_that_of_the_option_tables() {
    let sections = sections()
        .into_iter()
        .map(|(title, text)| format!("\n## {title}\n{text}"));
    let page = format!("{HEAD}{}", sections.collect::<String>());
    let path = root().join(PAGE);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, page).expect("a page");
    } else {
        assert!(
            read(&path) == page,
            "run BLESS=1 cargo test --test docs --features full"
        );
    }
}
