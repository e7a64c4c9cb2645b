//! The effective configuration: each option of streams and tables, its value, and where that comes from.

use std::ops::Range;

use crate::catalog::streams::Role;
use crate::config::options::{Options, Setting};
use crate::error::{Code, Diagnostic, Place, SourceText};

use super::compile::Compiled;

/// An option as it holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Configured {
    /// What it is for: `streams.Trades`, `tables.Limits`, `application`.
    pub scope: String,
    /// Its name, with its prefix.
    pub key: String,
    /// The value; none if it is a secret.
    pub value: Option<String>,
    /// Which layer gives it.
    pub layer: Origin,
    /// Where it is written.
    pub place: Option<Place>,
}

/// Layers, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// WITH, in the app.
    With,
    /// `--set`.
    Set,
    /// An environment variable.
    Environment,
    /// A configuration file.
    File,
    /// The default.
    Default,
}

impl Origin {
    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Origin::With => "WITH",
            Origin::Set => "--set",
            Origin::Environment => "environment",
            Origin::File => "file",
            Origin::Default => "default",
        }
    }
}

impl Compiled {
    /// The options of all streams and tables, as they hold.
    pub fn configured(&self) -> Vec<Configured> {
        let mut all = Vec::new();
        for stream in &self.streams {
            let scope = format!("streams.{}", stream.name);
            self.add(&mut all, &scope, "", &stream.settings.options);
            let (Role::Source(connection) | Role::Sink(connection)) = &stream.role else {
                continue;
            };
            self.add(&mut all, &scope, &connection.connector, &connection.options);
            let format = connection.format.as_deref().unwrap_or_default();
            self.add(&mut all, &scope, format, &connection.format_options);
        }
        for table in &self.tables {
            let scope = format!("tables.{}", table.def().name);
            self.add(&mut all, &scope, "", &table.def().settings);
            self.add(&mut all, &scope, &table.def().backend, &table.def().options);
        }
        all
    }

    fn add(&self, all: &mut Vec<Configured>, scope: &str, owner: &str, options: &Options) {
        all.extend(options.settings().map(|setting| self.one(scope, owner, &setting)));
    }

    fn one(&self, scope: &str, owner: &str, setting: &Setting) -> Configured {
        let source = setting.source.unwrap_or(&self.source);
        Configured {
            scope: scope.to_string(),
            key: match owner {
                "" => setting.name.to_string(),
                owner => format!("{owner}.{}", setting.name),
            },
            value: setting.value.map(ToString::to_string),
            layer: match (setting.span, setting.source) {
                (None, _) => Origin::Default,
                (Some(_), None) => Origin::With,
                (Some(_), Some(source)) => origin(source),
            },
            place: setting.span.and_then(|span| place(source, span)),
        }
    }
}

/// The layer whose text this is.
pub fn origin(source: &SourceText) -> Origin {
    match source.name() {
        "--set" => Origin::Set,
        "environment" => Origin::Environment,
        _ => Origin::File,
    }
}

/// Where a span stands.
pub fn place(source: &SourceText, span: &Range<usize>) -> Option<Place> {
    let mut at = Diagnostic::new(Code::OptionValue, "").at(span.clone());
    at.source = Some(source.clone());
    at.place()
}
