//! The options of the format, and the schemas they name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use serde_json::Value;

use super::container::Codec;
use super::derive;
use super::schema::{MAX_BYTES, Schema};
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::records;

pub(super) const SCHEMA: &str = "schema";
pub(super) const SCHEMAS: &str = "schemas";
pub(super) const SCHEMA_ID: &str = "schema-id";
pub(super) const FRAMING: &str = "framing";
pub(super) const CODEC: &str = "codec";

/// The most schemas of a folder.
const MAX_SCHEMAS: usize = 10_000;

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        FRAMING,
        OptionKind::Choice(&["container", "message", "registry"]),
        "What the input is: an object container file, which holds its schema; or messages, of a schema that is known, or each after \
         the byte 0 and the number of its schema, four bytes, as schema registries have it. In files each message stands after its length.",
    )
    .default("container"),
    OptionSpec::new(
        SCHEMA,
        OptionKind::Path,
        "The file (`.avsc`) of the schema of messages, or of what a sink writes. Default: what follows from the columns.",
    ),
    OptionSpec::new(
        SCHEMAS,
        OptionKind::Path,
        "With framing 'registry': the folder of the schemas, each in a file named by its number (`17.avsc`).",
    ),
    OptionSpec::new(
        SCHEMA_ID,
        OptionKind::Integer {
            min: 0,
            max: u32::MAX as i64,
        },
        "With framing 'registry', of a sink: the number of the schema that it writes.",
    ),
    OptionSpec::new(
        CODEC,
        OptionKind::Choice(&["null", "deflate", "snappy", "zstandard"]),
        "How a sink compresses the blocks of a container. Sources read all of them.",
    )
    .default("null"),
    records::MAX_RECORD,
];

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Container,
    Message,
    Registry,
}

impl Framing {
    /// As given; with the options that only the other ones have refused.
    pub(super) fn of(options: &Options) -> Result<Self, Diagnostic> {
        let framing = match options.text(FRAMING) {
            Some("message") => Framing::Message,
            Some("registry") => Framing::Registry,
            _ => Framing::Container,
        };
        for of_registry in [SCHEMAS, SCHEMA_ID] {
            if framing != Framing::Registry && options.names().any(|name| name == of_registry) {
                let error = options.invalid(of_registry, "it belongs to messages of a registry");
                return Err(error.hint("add \"avro.framing\" = 'registry', or remove it"));
            }
        }
        if framing == Framing::Registry && options.text(SCHEMA).is_some() {
            let error = options.invalid(SCHEMA, "messages of a registry say the numbers of their schemas");
            return Err(error.hint(format!("name the folder of them: \"avro.{SCHEMAS}\" = '…'")));
        }
        Ok(framing)
    }
}

/// The codec of a sink.
pub(super) fn codec(options: &Options) -> Codec {
    options.text(CODEC).and_then(Codec::parse).unwrap_or(Codec::Null)
}

/// A schema and its text.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) schema: Schema,
    pub(super) text: String,
}

fn parsed(text: String) -> Result<Named, String> {
    Ok(Named {
        schema: Schema::parse(&text)?,
        text,
    })
}

/// The schema that is given; `None` when there is none.
pub(super) fn given(options: &Options) -> Result<Option<Named>, Diagnostic> {
    let Some(path) = options.text(SCHEMA) else {
        return Ok(None);
    };
    let named = read(Path::new(path)).and_then(parsed);
    named.map(Some).map_err(|reason| options.invalid(SCHEMA, reason))
}

/// The schema that follows from the columns.
pub(super) fn derived(columns: &SchemaRef, options: &Options) -> Result<Named, Diagnostic> {
    let text = derive::schema(columns).map(|json: Value| json.to_string());
    text.and_then(parsed).map_err(|reason| {
        options
            .invalid(FRAMING, reason)
            .hint(format!("give the schema: \"avro.{SCHEMA}\" = '….avsc'"))
    })
}

fn read(path: &Path) -> Result<String, String> {
    let cannot = |error| format!("cannot read {}: {error}", path.display());
    let length = fs::metadata(path).map_err(cannot)?.len();
    if length > MAX_BYTES as u64 {
        return Err(format!("{} is longer than {MAX_BYTES} bytes", path.display()));
    }
    fs::read_to_string(path).map_err(cannot)
}

/// The schemas of the folder, by their numbers.
pub(super) fn registry(options: &Options) -> Result<BTreeMap<u32, Named>, Diagnostic> {
    let Some(folder) = options.text(SCHEMAS) else {
        let error = options.invalid(FRAMING, "messages of a registry need the schemas that it has");
        return Err(error.hint(format!(
            "name a folder of files such as 17.avsc: \"avro.{SCHEMAS}\" = '…'"
        )));
    };
    let schemas = read_folder(Path::new(folder)).map_err(|reason| options.invalid(SCHEMAS, reason))?;
    match schemas.is_empty() {
        true => Err(options
            .invalid(SCHEMAS, format!("there is no schema in {folder}"))
            .hint("each stands in a file named by its number, such as 17.avsc")),
        false => Ok(schemas),
    }
}

fn read_folder(folder: &Path) -> Result<BTreeMap<u32, Named>, String> {
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    let mut schemas = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
        let is_schema = path
            .extension()
            .is_some_and(|extension| extension == "avsc" || extension == "json");
        let (Some(number), true) = (number, is_schema) else {
            continue;
        };
        if schemas.len() == MAX_SCHEMAS {
            return Err(format!("{} has more than {MAX_SCHEMAS} schemas", folder.display()));
        }
        let named = read(&path)
            .and_then(parsed)
            .map_err(|reason| format!("{}: {reason}", path.display()))?;
        schemas.insert(number, named);
    }
    Ok(schemas)
}
