//! The connectors and formats an app may name, ours and the embedder's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Connector, Entrance, FormatSource, Sink, SinkConnector, SinkSpec, Source, SourceConnector, SourceSpec};
use crate::catalog::streams::{Connection, Role, StreamDef};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::formats::{DecodeSchema, Format, OPTIONAL};

/// Connectors and formats by name.
#[derive(Clone, Default)]
pub struct Registry {
    connectors: BTreeMap<String, Arc<dyn Connector>>,
    formats: BTreeMap<String, Arc<dyn Format>>,
}

impl Registry {
    /// Those that come with the engine.
    pub fn builtin() -> Self {
        let mut registry = Registry::default();
        super::builtin()
            .into_iter()
            .for_each(|connector| registry.add_connector(connector));
        crate::formats::builtin()
            .into_iter()
            .for_each(|format| registry.add_format(format));
        registry
    }

    /// Adds a connector, in place of any of the same name.
    pub fn add_connector(&mut self, connector: Arc<dyn Connector>) {
        self.connectors.insert(connector.name().to_string(), connector);
    }

    /// Adds a format, in place of any of the same name.
    pub fn add_format(&mut self, format: Arc<dyn Format>) {
        self.formats.insert(format.name().to_string(), format);
    }

    /// All connectors, by name.
    pub fn connectors(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }

    /// All formats, by name.
    pub fn formats(&self) -> impl Iterator<Item = &Arc<dyn Format>> {
        self.formats.values()
    }

    /// A connector by name.
    ///
    /// *Errors.* For a connector that is a cargo feature and not built in: how to build it.
    pub fn connector(&self, name: &str) -> Result<&Arc<dyn Connector>, Diagnostic> {
        let optional = super::OPTIONAL
            .iter()
            .find(|(optional, _)| optional.eq_ignore_ascii_case(name));
        if let Some((optional, feature)) = optional.filter(|(optional, _)| !self.connectors.contains_key(*optional)) {
            let message = format!("the connector '{optional}' is not part of this build");
            let error = Diagnostic::new(Code::UnknownConnector, message);
            return Err(error.hint(format!(
                "build with it: cargo build --release --features {feature} (or full)"
            )));
        }
        let more: Vec<&str> = super::OPTIONAL.iter().map(|(optional, _)| *optional).collect();
        find(&self.connectors, &more, name, Code::UnknownConnector, "connector")
    }

    /// A format by name.
    ///
    /// *Errors.* For a format that is a cargo feature and not built in: how to build it.
    pub fn format(&self, name: &str) -> Result<&Arc<dyn Format>, Diagnostic> {
        if let Ok(found) = find(&self.formats, OPTIONAL, name, Code::UnknownFormat, "format") {
            return Ok(found);
        }
        if let Some(optional) = OPTIONAL.iter().find(|optional| optional.eq_ignore_ascii_case(name)) {
            let message = format!("the format '{optional}' is not part of this build");
            let error = Diagnostic::new(Code::UnknownFormat, message);
            return Err(error.hint(format!(
                "build with it: cargo build --release --features {optional} (or full)"
            )));
        }
        find(&self.formats, OPTIONAL, name, Code::UnknownFormat, "format")
    }

    /// Whether a connector or a format has that name.
    pub fn knows(&self, name: &str) -> bool {
        self.connectors.contains_key(name) || self.formats.contains_key(name)
    }

    /// Makes the source of a source stream, of which `schema.wanted` columns are read.
    pub fn build_source(&self, def: &StreamDef, schema: DecodeSchema) -> Result<Option<Box<dyn Source>>, Diagnostic> {
        match self.source_side(def, schema)? {
            Some((source, spec)) => source.build(spec).map(Some),
            None => Ok(None),
        }
    }

    /// A way into the source of a source stream while it runs elsewhere, where there is one.
    pub fn entrance(&self, def: &StreamDef) -> Result<Option<Box<dyn Entrance>>, Diagnostic> {
        match self.source_side(def, DecodeSchema::all(def.schema.clone()))? {
            Some((source, spec)) => source.entrance(spec),
            None => Ok(None),
        }
    }

    /// The source side of a source stream's connector, and what it is asked to make.
    fn source_side(
        &self,
        def: &StreamDef,
        schema: DecodeSchema,
    ) -> Result<Option<(&dyn SourceConnector, SourceSpec)>, Diagnostic> {
        let Role::Source(connection) = &def.role else {
            return Ok(None);
        };
        let connector = self.connector(&connection.connector)?;
        let Some(source) = connector.source() else {
            return Err(Diagnostic::new(
                Code::OptionValue,
                format!("the connector '{}' cannot be a source", connection.connector),
            )
            .hint("use type = 'sink', or another connector"));
        };
        let format = self.format_of(connection)?;
        let format =
            format.map(|format| FormatSource::new(format.clone(), schema.clone(), connection.format_options.clone()));
        if let Some(format) = format.as_ref().filter(|_| source.decodes_all_columns()) {
            format.decoder()?;
        }
        let spec = SourceSpec {
            stream: def.name.clone(),
            schema,
            key: def.primary_key.clone(),
            options: connection.options.clone(),
            format,
        };
        Ok(Some((source, spec)))
    }

    /// Whether the sink of a sink stream may be made beside that of a running app.
    pub fn takes_again(&self, def: &StreamDef) -> bool {
        let Role::Sink(connection) = &def.role else {
            return false;
        };
        let connector = self.connector(&connection.connector);
        connector.is_ok_and(|connector| connector.sink().is_some_and(SinkConnector::takes_again))
    }

    /// Makes the sink of a sink stream.
    pub fn build_sink(&self, def: &StreamDef) -> Result<Option<Box<dyn Sink>>, Diagnostic> {
        let Role::Sink(connection) = &def.role else {
            return Ok(None);
        };
        let connector = self.connector(&connection.connector)?;
        let Some(sink) = connector.sink() else {
            return Err(Diagnostic::new(
                Code::OptionValue,
                format!("the connector '{}' cannot be a sink", connection.connector),
            )
            .hint("use type = 'source', or another connector"));
        };
        let encoder = match self.format_of(connection)? {
            Some(format) => Some(format.encoder(&def.schema, &connection.format_options)?),
            None => None,
        };
        let (stream, schema, options) = (def.name.clone(), def.schema.clone(), connection.options.clone());
        sink.build(SinkSpec {
            stream,
            schema,
            primary_key: def.primary_key.clone(),
            retry: def.settings.errors.retry,
            options,
            encoder,
        })
        .map(Some)
    }

    fn format_of(&self, connection: &Connection) -> Result<Option<&Arc<dyn Format>>, Diagnostic> {
        connection.format.as_deref().map(|name| self.format(name)).transpose()
    }
}

/// The one of that name; `more` are names that there would be in another build.
fn find<'a, T>(
    all: &'a BTreeMap<String, T>,
    more: &[&str],
    name: &str,
    code: Code,
    what: &str,
) -> Result<&'a T, Diagnostic> {
    let folded = name.to_lowercase();
    if let Some(found) = all.get(name).or_else(|| all.get(&folded)) {
        return Ok(found);
    }
    let mut names: Vec<&str> = all.keys().map(String::as_str).chain(more.iter().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let error = Diagnostic::new(code, format!("there is no {what} '{name}'"));
    Err(match nearest(name, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint(format!("there are: {}", names.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_in_says_how_to_get_it() {
        let registry = Registry::builtin();
        for (optional, built) in OPTIONAL.iter().zip([
            cfg!(feature = "avro"),
            cfg!(feature = "parquet"),
            cfg!(feature = "protobuf"),
        ]) {
            match registry.format(optional) {
                Ok(format) => assert!(built && format.name() == *optional),
                Err(error) => {
                    assert!(
                        !built && error.message.contains("is not part of this build"),
                        "{}",
                        error.message
                    );
                    let hint = error.hint.clone().unwrap_or_default();
                    assert!(hint.contains(&format!("--features {optional}")), "{hint}");
                }
            }
        }
        assert!(
            registry
                .format("avr0")
                .err()
                .unwrap()
                .message
                .contains("there is no format")
        );
    }
}
