//! What an app shows to the clients of its server: what `[server] expose` names, and the sinks `graphql`, `sse` and `websocket`.
//!
//! The rows of a keyed stream are kept in a table, which the app gets for it: so they are in its checkpoints, a client that comes
//! late sees them all, and what is shown is watched only while somebody looks.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::catalog::names::{Resolved, resolve};
use crate::catalog::streams::{Role, StreamDef};
use crate::catalog::tables::TableDef;
use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::connectors::live::{CHANNEL, SESSION, USER};
use crate::error::{Code, Diagnostic};
use crate::plan::compile::Compiled;

/// The backends that know what a write changes; of others it is found out.
const WATCHED: &[&str] = &["memory", "cache"];

/// Whether what is written to a table of that backend must be read before, that its watchers can be told.
pub(super) fn is_told(backend: &str) -> bool {
    !WATCHED.contains(&backend)
}

/// By what a relation is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShownBy {
    /// GraphQL.
    pub graphql: bool,
    /// Server-sent events.
    pub sse: bool,
    /// WebSocket.
    pub websocket: bool,
}

/// The columns that say for whom an event is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// For a channel.
    pub channel: Option<String>,
    /// For a user.
    pub user: Option<String>,
    /// For a session.
    pub session: Option<String>,
}

/// A relation that clients may see.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The name that clients know it by.
    pub name: String,
    /// The table or stream that has its rows.
    pub source: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns of its key.
    pub key: Vec<usize>,
    /// Whether it has rows at any moment.
    pub has_rows: bool,
    /// By what it is shown.
    pub by: ShownBy,
    /// For whom its events are.
    pub targets: Targets,
}

/// What a compiled app shows. *Errors.* For names that are none.
pub(super) fn shown(compiled: &Compiled, expose: &[String]) -> Result<Vec<Shown>, Diagnostic> {
    let mut all: Vec<Shown> = Vec::new();
    for stream in compiled.streams() {
        let Role::Sink(connection) = &stream.role else {
            continue;
        };
        let by = match connection.connector.as_str() {
            "graphql" => ShownBy {
                graphql: true,
                ..ShownBy::default()
            },
            "sse" => ShownBy {
                sse: true,
                ..ShownBy::default()
            },
            "websocket" => ShownBy {
                websocket: true,
                ..ShownBy::default()
            },
            _ => continue,
        };
        let option = |name: &str| connection.options.text(name).map(str::to_string);
        let targets = Targets {
            channel: option(CHANNEL),
            user: option(USER),
            session: option(SESSION),
        };
        all.push(of_stream(stream, by, targets));
    }
    let every = ShownBy {
        graphql: true,
        sse: true,
        websocket: true,
    };
    for name in expose {
        let streams = compiled.streams().iter().map(|stream| stream.name.as_str());
        let tables = compiled.tables().iter().map(|slot| slot.def().name.as_str());
        let names: Vec<&str> = streams.chain(tables).filter(|name| !is_hidden(name)).collect();
        let Resolved::One(exact) = resolve(name, names.iter().copied()) else {
            let error = Diagnostic::new(
                Code::UnknownStream,
                format!("[server] expose: there is no stream or table '{name}'"),
            );
            return Err(match nearest(name, names.iter().copied()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!("there are: {}", names.join(", "))),
            });
        };
        if let Some(there) = all.iter_mut().find(|shown| shown.name == exact) {
            there.by = every;
            continue;
        }
        let table = compiled.tables().iter().find(|slot| slot.def().name == exact);
        match (compiled.stream(exact), table) {
            (_, Some(slot)) => all.push(of_table(slot.def(), every)),
            (Some(stream), None) => all.push(of_stream(stream, every, Targets::default())),
            (None, None) => {}
        }
    }
    Ok(all)
}

/// The tables that keep the rows of keyed streams, as statements; empty if none is missing.
pub(super) fn hidden_tables(compiled: &Compiled, shown: &[Shown]) -> String {
    let is_there = |name: &str| compiled.tables().iter().any(|slot| slot.def().name == name);
    let missing = shown
        .iter()
        .filter(|shown| is_hidden(&shown.source) && !is_there(&shown.source));
    let statements = missing.map(|shown| {
        let column = |field: &Arc<arrow::datatypes::Field>| {
            let data_type = match types::is_json(field) {
                true => "JSON".to_string(),
                false => types::name(field.data_type()),
            };
            format!("{} {data_type}", quoted(field.name()))
        };
        let columns: Vec<String> = shown.schema.fields().iter().map(column).collect();
        let key: Vec<String> = shown
            .key
            .iter()
            .map(|column| quoted(shown.schema.field(*column).name()))
            .collect();
        let (table, stream) = (quoted(&shown.source), quoted(&shown.name));
        format!(
            "CREATE TABLE {table} ({}, PRIMARY KEY ({})) WITH (extension = 'memory');\nINSERT INTO {table} SELECT * FROM {stream};\n",
            columns.join(", "),
            key.join(", ")
        )
    });
    statements.collect()
}

/// What the table of a keyed stream's rows is called.
const HIDDEN: &str = "$rows";

fn is_hidden(name: &str) -> bool {
    name.ends_with(HIDDEN)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn of_stream(stream: &StreamDef, by: ShownBy, targets: Targets) -> Shown {
    let is_keyed = !stream.primary_key.is_empty();
    // What only comes, or only goes, is told as events.
    let is_window = stream
        .window
        .as_ref()
        .is_some_and(|window| window.current && window.expired);
    Shown {
        name: stream.name.clone(),
        source: match is_keyed {
            true => format!("{}{HIDDEN}", stream.name),
            false => stream.name.clone(),
        },
        schema: stream.schema.clone(),
        key: stream.primary_key.clone(),
        has_rows: is_keyed || is_window,
        by,
        targets,
    }
}

fn of_table(def: &TableDef, by: ShownBy) -> Shown {
    Shown {
        name: def.name.clone(),
        source: def.name.clone(),
        schema: def.schema.clone(),
        key: def.primary_key.clone(),
        has_rows: true,
        by,
        targets: Targets::default(),
    }
}
