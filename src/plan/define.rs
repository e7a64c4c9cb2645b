//! Stream definitions: columns, options, connections.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use eventflux_sqlparser::{
    ColumnDef, CreateStream, CreateTrigger, CreateWindow, OptionDef, OutputEvents, SinkClause, StreamOrigin,
    TriggerSchedule as Schedule,
};

use super::compile::Outside;
use super::stream_options::{STREAM_OPTIONS, of_stream, settings};
use super::text::Text;
use super::window_args::window_kind;
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::streams::{Connection, NamedWindow, Role, Settings, StreamDef, TriggerSchedule, WatermarkDef};
use crate::catalog::types;
use crate::config::environment::substitute;
use crate::config::layers::Layers;
use crate::config::nearest::nearest;
use crate::config::options::{OptionKind, OptionSpec, Options, RawOption};
use crate::connectors::{FormatUse, Registry, SourceConnector, SourceRows};
use crate::error::{Code, Diagnostic};
use crate::event::Micros;
use crate::event::cron::CronSchedule;
use crate::tables::registry::Backends;
use crate::tables::slot::TableSlot;

/// The shortest period of a trigger: timers are no finer.
const SHORTEST_PERIOD: Micros = 1_000;

/// Makes definitions from statements.
pub struct Definer<'a> {
    /// Connectors and formats.
    pub registry: &'a Registry,
    /// What may keep tables.
    pub backends: &'a Backends,
    /// The app's text.
    pub text: &'a Text<'a>,
    /// Environment variables.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Options from outside the app.
    pub layers: &'a Layers,
    /// Whether sources will bring their own time.
    pub outside: Outside,
}

impl Definer<'_> {
    /// A stream from CREATE STREAM, DEFINE STREAM or CREATE SOURCE.
    pub fn stream(&self, create: &CreateStream) -> Result<StreamDef, Diagnostic> {
        let text = self.text;
        let schema = Arc::new(self.schema(&create.columns)?);
        let primary_key = self.columns(&create.primary_key, &schema, "the primary key")?;
        let watermark = create
            .watermark
            .as_ref()
            .map(|watermark| self.watermark(watermark, &schema))
            .transpose()?;
        let mut options = self.raw_options(&create.options)?;
        if let StreamOrigin::Source(source) = &create.origin {
            options = self.source_form(options, source.map.as_deref())?;
        }
        let at = |error: Diagnostic| text.at(error, create.name.span);
        let name = &create.name.value;
        let (role, settings) = self.connect(name, options, watermark.is_some()).map_err(at)?;
        if schema.fields().is_empty() {
            let error = Diagnostic::new(Code::Syntax, format!("stream '{}' has no columns", create.name.value));
            return Err(text.at(
                error.hint("declare them: (symbol STRING, price DOUBLE)"),
                create.name.span,
            ));
        }
        Ok(StreamDef {
            name: create.name.value.clone(),
            schema,
            watermark,
            role,
            settings,
            span: text.range(create.name.span),
            window: None,
            primary_key,
        })
    }

    /// A query's `SINK (…)` for that stream; and the stream's settings, if the clause gives any.
    pub fn sink_clause(&self, stream: &str, clause: &SinkClause) -> Result<(Role, Option<Settings>), Diagnostic> {
        let mut options = self.raw_options(&clause.options)?;
        let of_connection = ["type", "extension", "format"];
        let sets = options
            .iter()
            .any(|option| of_stream(option) && !of_connection.contains(&option.key.as_str()));
        options = self.connector_form(options, "sink")?;
        let (role, settings) = self
            .connect(stream, options, false)
            .map_err(|error| self.text.at(error, clause.span))?;
        Ok((role, sets.then_some(settings)))
    }

    /// An internal stream with the columns of a query.
    pub fn inferred(&self, name: &str, schema: Schema) -> Result<StreamDef, Diagnostic> {
        let (role, settings) = self.connect(name, Vec::new(), false)?;
        Ok(StreamDef {
            name: name.to_string(),
            schema: Arc::new(schema),
            watermark: None,
            role,
            settings,
            span: None,
            window: None,
            primary_key: Vec::new(),
        })
    }

    /// A named window with its columns, which are declared or those of the first query that feeds it.
    pub fn window(
        &self,
        create: &CreateWindow,
        inferred: Option<Schema>,
        functions: &Functions,
    ) -> Result<StreamDef, Diagnostic> {
        let schema = match inferred {
            Some(schema) => schema,
            None => self.schema(&create.columns)?,
        };
        let queryable = |option: &RawOption| option.key.eq_ignore_ascii_case("queryable");
        let mut options = self.raw_options(&create.options)?;
        options.retain(|option| !queryable(option));
        let kind = window_kind(&create.window, &schema, functions, self.text)?;
        let (role, settings) = self
            .connect(&create.name.value, options, false)
            .map_err(|error| self.text.at(error, create.name.span))?;
        let output = create.output.unwrap_or(OutputEvents::All);
        Ok(StreamDef {
            name: create.name.value.clone(),
            schema: Arc::new(schema),
            watermark: None,
            role,
            settings,
            span: self.text.range(create.name.span),
            window: Some(NamedWindow {
                kind,
                current: output != OutputEvents::Expired,
                expired: output != OutputEvents::Current,
            }),
            primary_key: Vec::new(),
        })
    }

    /// The stream of a CREATE TRIGGER.
    pub fn trigger(&self, create: &CreateTrigger) -> Result<StreamDef, Diagnostic> {
        let schema = Schema::new(vec![Field::new("triggered_time", types::TIMESTAMP, true)]);
        let schedule = match &create.schedule {
            Schedule::Start => TriggerSchedule::Start,
            Schedule::Every(period) => match eventflux_sqlparser::duration_micros(period) {
                Some(period) if period >= SHORTEST_PERIOD => TriggerSchedule::Every(period),
                _ => {
                    let error = Diagnostic::new(Code::Duration, "the period of a trigger is at least 1 ms");
                    return Err(self.text.at(error, create.schedule_span));
                }
            },
            Schedule::Cron(cron) => {
                let parsed = CronSchedule::parse(cron).map_err(|reason| self.wrong_cron(create, cron, &reason))?;
                TriggerSchedule::Cron(parsed, cron.clone())
            }
        };
        let at = |error: Diagnostic| self.text.at(error, create.name.span);
        let (_, settings) = self.connect(&create.name.value, Vec::new(), false).map_err(at)?;
        Ok(StreamDef {
            name: create.name.value.clone(),
            schema: Arc::new(schema),
            watermark: None,
            role: Role::Trigger(schedule),
            settings,
            span: self.text.range(create.name.span),
            window: None,
            primary_key: Vec::new(),
        })
    }

    /// The error at the cron expression itself, which is the last thing of its schedule.
    fn wrong_cron(&self, create: &CreateTrigger, cron: &str, reason: &str) -> Diagnostic {
        let error = Diagnostic::new(Code::Syntax, format!("'{cron}' is no cron expression: {reason}")).hint(
            "seconds (may be left out), minutes, hours, day of the month, month, day of the week: '0 0 9 * * 1-5'",
        );
        let range = self.text.range(create.schedule_span);
        let quote = self.text.slice(create.schedule_span).find('\'');
        match range.zip(quote) {
            Some((range, quote)) => self.text.finish(error.at(range.start + quote..range.end)),
            None => self.text.at(error, create.schedule_span),
        }
    }

    /// Checks, when all streams and tables are known, that the layers name no others and no connector's options for streams without one.
    pub fn check_layers(&self, streams: &[Arc<StreamDef>], tables: &[Arc<TableSlot>]) -> Result<(), Diagnostic> {
        self.layers
            .check_streams(streams.iter().map(|stream| stream.name.as_str()))?;
        self.layers
            .check_tables(tables.iter().map(|table| table.def().name.as_str()))?;
        let unconnected = |stream: &&Arc<StreamDef>| matches!(stream.role, Role::Internal | Role::Trigger(_));
        for stream in streams.iter().filter(unconnected) {
            let options = self.layers.of_stream(&stream.name).flatten();
            let options = options
                .into_iter()
                .map(|option| option.spelled(&[("stream", STREAM_OPTIONS)]));
            if let Some(option) = options.into_iter().find(|option| !of_stream(option)) {
                return Err(self.unknown(&option, STREAM_OPTIONS, "an internal stream"));
            }
        }
        Ok(())
    }

    pub(super) fn schema(&self, columns: &[ColumnDef]) -> Result<Schema, Diagnostic> {
        let mut fields: Vec<Field> = Vec::with_capacity(columns.len());
        for column in columns {
            if fields.iter().any(|field| *field.name() == column.name.value) {
                let error = Diagnostic::new(
                    Code::Duplicate,
                    format!("column '{}' is declared twice", column.name.value),
                );
                return Err(self.text.at(error, column.name.span));
            }
            if let Some(default) = &column.default {
                let error = Diagnostic::new(Code::Unsupported, "not supported yet: DEFAULT values");
                return Err(self.text.at(error, sqlparser::ast::Spanned::span(default)));
            }
            let field = types::field(&column.name.value, &column.data_type, column.nullable).map_err(|reason| {
                let error = Diagnostic::new(Code::UnknownType, reason);
                let known = [
                    "BOOL",
                    "INT",
                    "LONG",
                    "FLOAT",
                    "DOUBLE",
                    "STRING",
                    "BYTES",
                    "TIMESTAMP",
                    "DATE",
                    "TIME",
                    "JSON",
                ];
                let error = match nearest(&column.data_type.to_string(), known) {
                    Some(near) => error.hint(format!("did you mean {near}?")),
                    None if !error.message.starts_with("there is no type") => error,
                    None => error.hint(format!(
                        "there are: {}, DECIMAL(p, s), ARRAY<T>, STRUCT<…>, MAP<K, V>",
                        known.join(", ")
                    )),
                };
                self.text.at(error, column.type_span)
            })?;
            fields.push(field);
        }
        Ok(Schema::new(fields))
    }

    fn watermark(
        &self,
        watermark: &eventflux_sqlparser::Watermark,
        schema: &Schema,
    ) -> Result<WatermarkDef, Diagnostic> {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let Resolved::One(name) = resolve(&watermark.column.value, names.clone()) else {
            let error = Diagnostic::new(
                Code::UnknownColumn,
                format!("there is no column '{}'", watermark.column.value),
            );
            let error = match nearest(&watermark.column.value, names.clone()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!("there are: {}", names.collect::<Vec<_>>().join(", "))),
            };
            return Err(self.text.at(error, watermark.column.span));
        };
        let column = schema.index_of(name).unwrap_or_default();
        let data_type = schema.field(column).data_type();
        if !matches!(data_type, DataType::Timestamp(_, _) | DataType::Int64) {
            let error = Diagnostic::new(
                Code::Type,
                format!(
                    "event time must be a TIMESTAMP, or a LONG in milliseconds, not {}",
                    types::name(data_type)
                ),
            );
            return Err(self.text.at(error, watermark.column.span));
        }
        let span = self.text.range(watermark.span).unwrap_or_default();
        Ok(WatermarkDef {
            column,
            bound: watermark.expr.clone(),
            span,
        })
    }

    pub(super) fn raw_options(&self, options: &[OptionDef]) -> Result<Vec<RawOption>, Diagnostic> {
        options
            .iter()
            .map(|option| {
                let value_span = self.text.range(option.value_span);
                let written = value_span.as_ref().map_or(0, |span| span.start);
                let directory = self.text.source().directory(written);
                let value = substitute(&option.value.text, self.environment, directory).map_err(|reason| {
                    let error = Diagnostic::new(Code::OptionValue, format!("option '{}': {reason}", option.key));
                    self.text.at(error, option.value_span)
                })?;
                Ok(RawOption {
                    key: option.key.clone(),
                    key_span: self.text.range(option.key_span),
                    value: value.text,
                    value_span,
                    source: None,
                    secret: value.secret,
                    loose: false,
                })
            })
            .collect()
    }

    /// `CREATE SOURCE … WITH (type = '<connector>', …) MAP (type = '<format>', …)` in the terms of CREATE STREAM.
    fn source_form(&self, options: Vec<RawOption>, map: Option<&[OptionDef]>) -> Result<Vec<RawOption>, Diagnostic> {
        let mut all = self.connector_form(options, "source")?;
        for mut option in self.raw_options(map.unwrap_or_default())? {
            if option.key == "type" {
                option.key = "format".to_string();
            }
            all.push(option);
        }
        Ok(all)
    }

    /// Options in which `type` names the connector, in the terms of CREATE STREAM.
    fn connector_form(&self, mut options: Vec<RawOption>, role: &str) -> Result<Vec<RawOption>, Diagnostic> {
        for option in &mut options {
            if option.key == "type" {
                option.key = "extension".to_string();
            }
        }
        options.push(RawOption::new("type".to_string(), role.to_string()));
        Ok(options)
    }

    /// `raw`, and the options of the layers, strongest first, that are not given more strongly, by layer or in `raw`. `identify` tells what a key means, so
    /// that `path` and `file.path` are one; `tables` have the names that environment variables stand for.
    pub(super) fn layered<'o>(
        &self,
        layers: impl Iterator<Item = Vec<&'o RawOption>>,
        raw: Vec<RawOption>,
        tables: &[(&str, &[OptionSpec])],
        identify: impl Fn(&RawOption) -> Option<String>,
    ) -> Result<Vec<RawOption>, Diagnostic> {
        let mut given: BTreeSet<String> = raw.iter().filter_map(&identify).collect();
        let mut all = raw;
        for layer in layers {
            let mut more = Vec::new();
            for option in layer {
                let option = option.spelled(tables);
                let Some(identity) = identify(&option) else {
                    continue;
                };
                if given.contains(&identity) {
                    continue;
                }
                more.push(identity);
                all.push(option.substituted(self.environment)?);
            }
            given.extend(more);
        }
        Ok(all)
    }

    /// Relative paths start at the directory of the file they are written in.
    pub(super) fn with_directories(
        &self,
        owner: &str,
        specs: &[OptionSpec],
        options: Vec<RawOption>,
    ) -> Result<Vec<RawOption>, Diagnostic> {
        let mut options = options;
        for option in &mut options {
            let kind = Options::identify(owner, specs, &option.key).map(|(_, kind)| kind);
            let written = option.value_span.as_ref().map_or(0, |span| span.start);
            let source = option.source.as_ref().unwrap_or(self.text.source());
            if let (Some(OptionKind::Path), Some(directory)) = (kind, source.directory(written))
                && !option.value.is_empty()
            {
                let path = directory.join(&option.value);
                let Some(path) = path.to_str() else {
                    let error = Diagnostic::new(Code::OptionValue, "the directory of the app is not named in Unicode");
                    return Err(option.at_value(error.hint("write the path in full, from /")));
                };
                option.value = path.to_string();
            }
        }
        Ok(options)
    }

    fn connect(&self, stream: &str, raw: Vec<RawOption>, event_time: bool) -> Result<(Role, Settings), Diagnostic> {
        let (own, others): (Vec<_>, Vec<_>) = raw.into_iter().partition(of_stream);
        let own = self.layered(
            self.layers.of_stream(stream),
            own,
            &[("stream", STREAM_OPTIONS)],
            |option| of_stream(option).then(|| option.key.clone()),
        )?;
        let options = Options::check("stream", STREAM_OPTIONS, &own)?;
        let settings = settings(&options, event_time)?;
        let kind = options.text("type").unwrap_or("internal");
        let Some(extension) = options.text("extension") else {
            if kind != "internal" {
                return Err(
                    Diagnostic::new(Code::MissingOption, format!("a {kind} needs a connector"))
                        .hint("add extension = 'file' (`eventflux connectors` lists them all)"),
                );
            }
            return match others.first() {
                None => Ok((Role::Internal, settings)),
                Some(option) => Err(self.unknown(option, STREAM_OPTIONS, "an internal stream")),
            };
        };
        if kind == "internal" {
            return Err(
                Diagnostic::new(Code::MissingOption, "extension without type: is it a source or a sink?")
                    .hint("add type = 'source' or type = 'sink'"),
            );
        }
        let connector = self
            .registry
            .connector(extension)
            .map_err(|error| point(error, &own, "extension"))?;
        let (specs, format_use) = match kind {
            "source" => connector.source().map(|source| (source.options(), source.format())),
            _ => connector.sink().map(|sink| (sink.options(), sink.format())),
        }
        .ok_or_else(|| {
            let error = Diagnostic::new(
                Code::OptionValue,
                format!("the connector '{extension}' cannot be a {kind}"),
            );
            let other = if kind == "source" { "sink" } else { "source" };
            point(error, &own, "extension").hint(format!("use type = '{other}', or another connector"))
        })?;
        let name = connector.name();
        let format = self.format(options.text("format"), format_use, name, &own)?;
        let format_specs = format.map(|format| format.options()).unwrap_or_default();
        let format_name = format.map(|format| format.name());
        let tables = [
            ("stream", STREAM_OPTIONS),
            (name, specs),
            (format_name.unwrap_or_default(), format_specs),
        ];
        let others = self.layered(self.layers.of_stream(stream), others, &tables, |option| {
            if of_stream(option) {
                return None;
            }
            let identify = |owner, specs| Options::identify(owner, specs, &option.key);
            let of_connector = identify(name, specs).map(|(key, _)| format!("{name} {key}"));
            let of_format = || format_name.and_then(|name| Some(format!("{name} {}", identify(name, format_specs)?.0)));
            // What neither knows is kept, to be refused.
            of_connector.or_else(of_format).or_else(|| Some(option.key.clone()))
        })?;
        let (connector_raw, rest): (Vec<_>, Vec<_>) = others
            .iter()
            .cloned()
            .partition(|option| Options::accepts(name, specs, &option.key));
        let (format_raw, unknown): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|option| format_name.is_some_and(|name| Options::accepts(name, format_specs, &option.key)));
        if let Some(option) = unknown.first() {
            let all: Vec<OptionSpec> = specs
                .iter()
                .chain(format_specs)
                .chain(STREAM_OPTIONS)
                .copied()
                .collect();
            return Err(self.unknown(option, &all, &format!("a stream with the connector '{name}'")));
        }
        let connector_raw = self.with_directories(name, specs, connector_raw)?;
        let format_raw = self.with_directories(format_name.unwrap_or_default(), format_specs, format_raw)?;
        let side = connector.source().filter(|_| kind == "source");
        let connection = Connection {
            connector: name.to_string(),
            options: Options::check(name, specs, &connector_raw)?,
            format: format_name.map(str::to_string),
            format_options: Options::check(format_name.unwrap_or_default(), format_specs, &format_raw)?,
            raw: others,
            relation: side.is_some_and(|source| source.rows() == SourceRows::Relation),
            tells_time: side.is_some_and(SourceConnector::tells_time) && self.outside == Outside::Connected,
        };
        let role = match kind {
            "source" => Role::Source(connection),
            _ => Role::Sink(connection),
        };
        Ok((role, settings))
    }

    fn format(
        &self,
        given: Option<&str>,
        wanted: FormatUse,
        connector: &str,
        own: &[RawOption],
    ) -> Result<Option<&Arc<dyn crate::formats::Format>>, Diagnostic> {
        match (given, wanted) {
            (Some(_), FormatUse::Rows) => {
                let error = Diagnostic::new(Code::OptionValue, format!("the connector '{connector}' has no format"));
                Err(point(error, own, "format").hint("leave format out: its events are rows, not bytes"))
            }
            (None, FormatUse::Rows) => Ok(None),
            (Some(name), FormatUse::Bytes { .. }) | (None, FormatUse::Bytes { default: Some(name) }) => self
                .registry
                .format(name)
                .map(Some)
                .map_err(|error| point(error, own, "format")),
            (None, FormatUse::Bytes { default: None }) => Err(Diagnostic::new(
                Code::MissingOption,
                format!("the connector '{connector}' needs a format"),
            )
            .hint("add format = 'json' or format = 'csv'")),
        }
    }

    fn unknown(&self, option: &RawOption, specs: &[OptionSpec], owner: &str) -> Diagnostic {
        let error = Diagnostic::new(Code::UnknownOption, format!("{owner} has no option '{}'", option.key));
        let bare = option
            .key
            .rsplit_once('.')
            .map_or(option.key.as_str(), |(_, bare)| bare);
        let names = || specs.iter().map(|spec| spec.name);
        let near = nearest(&option.key, names()).or_else(|| nearest(bare, names()));
        let foreign = option.key.split_once('.').map(|(prefix, _)| prefix);
        let foreign = foreign.filter(|prefix| !owner.contains(&format!("'{prefix}'")) && self.registry.knows(prefix));
        let error = match near {
            None if foreign.is_some() => error.hint(format!(
                "options of '{}' are for streams that use it",
                foreign.unwrap_or_default()
            )),
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("it knows: {}", names().collect::<Vec<_>>().join(", "))),
        };
        option.at_key(error)
    }
}

/// The error, pointing at the value of an option.
fn point(error: Diagnostic, options: &[RawOption], key: &str) -> Diagnostic {
    match options.iter().find(|option| option.key == key) {
        Some(option) => option.at_value(error),
        None => error,
    }
}
