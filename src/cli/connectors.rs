//! `eventflux connectors`: the reference of connectors and formats, from their option tables.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{exit, output};
use crate::config::nearest::nearest;
use crate::config::options::OptionSpec;
use crate::connectors::{FormatUse, Registry};
use crate::plan::stream_options::STREAM_OPTIONS;

const EXAMPLES: &str = "\
Examples:
  eventflux connectors                            list connectors and formats
  eventflux connectors file                       the options of the file source and sink
  eventflux connectors csv                        the options of a format
  eventflux connectors stream                     the options of any stream, whatever its connector
  eventflux connectors --format markdown          the whole reference";

/// List connectors and formats, or the options of one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Connectors {
    /// A connector or format, or `stream` for the options that every stream has.
    name: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
    Markdown,
}

/// A connector, a format or the stream itself.
struct Entry {
    name: &'static str,
    kind: &'static str,
    doc: &'static str,
    sides: Vec<Side>,
}

/// One table of options.
struct Side {
    role: &'static str,
    /// What it says about formats, for connectors.
    format: Option<FormatUse>,
    options: &'static [OptionSpec],
}

impl Connectors {
    /// Prints the list or the options; the exit code.
    pub fn execute(self) -> u8 {
        let entries = entries(&Registry::builtin());
        let Some(name) = &self.name else {
            return output::print(&match self.format {
                Format::Human => list(&entries),
                Format::Json => json_text(&Value::Array(entries.iter().map(as_json).collect())),
                Format::Markdown => entries.iter().map(markdown).collect::<Vec<_>>().join("\n"),
            });
        };
        let found: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.name.eq_ignore_ascii_case(name))
            .collect();
        if found.is_empty() {
            let names = entries.iter().map(|entry| entry.name);
            let hint = match nearest(name, names) {
                Some(near) => format!("did you mean '{near}'?"),
                None => "`eventflux connectors` lists them all".to_string(),
            };
            output::complain(&format!("there is no connector or format '{name}'"), Some(&hint));
            return exit::BAD_INPUT;
        }
        output::print(&match self.format {
            Format::Human => found.into_iter().map(human).collect::<Vec<_>>().join("\n"),
            Format::Json => found.into_iter().map(|entry| json_text(&as_json(entry))).collect(),
            Format::Markdown => found.into_iter().map(markdown).collect::<Vec<_>>().join("\n"),
        })
    }
}

fn entries(registry: &Registry) -> Vec<Entry> {
    let connectors = registry.connectors().map(|connector| {
        let source = connector.source().map(|side| ("source", side.format(), side.options()));
        let sink = connector.sink().map(|side| ("sink", side.format(), side.options()));
        let sides = [source, sink].into_iter().flatten();
        Entry {
            name: connector.name(),
            kind: "connector",
            doc: connector.doc(),
            sides: sides
                .map(|(role, format, options)| Side {
                    role,
                    format: Some(format),
                    options,
                })
                .collect(),
        }
    });
    let formats = registry.formats().map(|format| Entry {
        name: format.name(),
        kind: "format",
        doc: format.doc(),
        sides: vec![Side {
            role: "format",
            format: None,
            options: format.options(),
        }],
    });
    let stream = Entry {
        name: "stream",
        kind: "stream",
        doc: "Options of every stream, whatever its connector.",
        sides: vec![Side {
            role: "stream",
            format: None,
            options: STREAM_OPTIONS,
        }],
    };
    connectors.chain(formats).chain([stream]).collect()
}

fn list(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (kind, title) in [
        ("connector", "Connectors"),
        ("format", "Formats"),
        ("stream", "Streams"),
    ] {
        let _ = writeln!(text, "{title}:");
        for entry in entries.iter().filter(|entry| entry.kind == kind) {
            let roles: Vec<&str> = entry.sides.iter().map(|side| side.role).collect();
            let roles = if kind == "connector" {
                format!("{:<13} ", roles.join(", "))
            } else {
                String::new()
            };
            let _ = writeln!(text, "  {:<width$}  {roles}{}", entry.name, entry.doc);
        }
        text.push('\n');
    }
    text.push_str("`eventflux connectors NAME` shows the options of one.\n");
    text
}

fn human(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n", entry.name, entry.doc);
    for side in &entry.sides {
        let _ = write!(text, "\n{}\n", title(entry, side));
        if side.options.is_empty() {
            text.push_str("  no options\n");
        }
        for option in side.options {
            let _ = writeln!(
                text,
                "  {}  ({}{})",
                full_name(entry, option),
                option.kind,
                facts(option)
            );
            wrap(option.doc, 6, &mut text);
        }
    }
    text
}

fn markdown(entry: &Entry) -> String {
    let mut text = format!("## {}\n\n{}\n", entry.name, entry.doc);
    for side in &entry.sides {
        let _ = write!(text, "\n### {}\n\n", title(entry, side));
        if side.options.is_empty() {
            text.push_str("No options.\n");
            continue;
        }
        text.push_str("| Option | Type | Default | Meaning |\n|---|---|---|---|\n");
        for option in side.options {
            let cell = |text: &str| text.replace('|', "\\|");
            let default = match (option.default, option.required) {
                (Some(default), _) => format!("`{}`", cell(default)),
                (None, true) => "**required**".to_string(),
                (None, false) => String::new(),
            };
            let kind = cell(&option.kind.to_string());
            let secret = if option.secret { " Secret: never shown." } else { "" };
            let _ = writeln!(
                text,
                "| `{}` | {kind} | {default} | {}{secret} |",
                full_name(entry, option),
                cell(option.doc)
            );
        }
    }
    text
}

fn as_json(entry: &Entry) -> Value {
    let side = |side: &Side| {
        let options = side.options.iter().map(|option| {
            json!({
                "name": full_name(entry, option),
                "type": option.kind.to_string(),
                "default": option.default,
                "required": option.required,
                "secret": option.secret,
                "doc": option.doc,
            })
        });
        let format = side.format.map(|format| match format {
            FormatUse::Rows => json!({ "takes_format": false }),
            FormatUse::Bytes { default } => json!({ "takes_format": true, "default_format": default }),
        });
        let mut value = json!({ "role": side.role, "options": options.collect::<Vec<_>>() });
        if let (Some(object), Some(Value::Object(format))) = (value.as_object_mut(), format) {
            object.extend(format);
        }
        value
    };
    json!({ "name": entry.name, "kind": entry.kind, "doc": entry.doc, "sides": entry.sides.iter().map(side).collect::<Vec<_>>() })
}

fn json_text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn title(entry: &Entry, side: &Side) -> String {
    let usage = match (entry.kind, side.role) {
        ("connector", role) => format!("type = '{role}', extension = '{}'", entry.name),
        ("format", _) => format!("format = '{}'", entry.name),
        _ => "WITH (…)".to_string(),
    };
    match side.format {
        None => usage,
        Some(FormatUse::Rows) => format!("{usage}; takes no format"),
        Some(FormatUse::Bytes { default: Some(default) }) => {
            format!("{usage}; format '{default}' unless another is given")
        }
        Some(FormatUse::Bytes { default: None }) => format!("{usage}; needs a format"),
    }
}

fn full_name(entry: &Entry, option: &OptionSpec) -> String {
    match entry.kind {
        "stream" => option.name.to_string(),
        _ => format!("{}.{}", entry.name, option.name),
    }
}

fn facts(option: &OptionSpec) -> String {
    let mut text = String::new();
    if option.required {
        text.push_str(", required");
    }
    if option.secret {
        text.push_str(", secret");
    }
    if let Some(default) = option.default {
        let _ = write!(text, ", default {default}");
    }
    text
}

/// Appends text in lines of at most 100 characters.
fn wrap(text: &str, indent: usize, out: &mut String) {
    const WIDTH: usize = 100;
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}
