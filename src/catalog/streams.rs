//! Streams: what is declared, and how they are connected to the outside.

use std::ops::Range;

use arrow::datatypes::SchemaRef;
use sqlparser::ast::Expr;

use super::error_policy::ErrorPolicy;
use super::windows::WindowKind;
use crate::config::options::{Options, RawOption};
use crate::event::Micros;
use crate::event::cron::CronSchedule;

/// A stream as declared, or as inferred from the first query that inserts into it.
#[derive(Debug, Clone)]
pub struct StreamDef {
    /// Its name, in the case of its declaration.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// `WATERMARK FOR column AS bound`.
    pub watermark: Option<WatermarkDef>,
    /// How it is connected.
    pub role: Role,
    /// Options that concern the stream, not its connector.
    pub settings: Settings,
    /// Where its name stands in the app; `None` when inferred.
    pub span: Option<Range<usize>>,
    /// For a named window: what holds the events.
    pub window: Option<NamedWindow>,
    /// The columns of the PRIMARY KEY, which makes the stream a changelog of the rows with that key.
    pub primary_key: Vec<usize>,
}

impl StreamDef {
    /// What its state is saved under: the option `id`, or else its name.
    pub fn state_id(&self) -> &str {
        self.settings.id.as_deref().unwrap_or(&self.name)
    }

    /// Whether its events have event time: from its WATERMARK, or else from its source.
    pub fn has_event_time(&self) -> bool {
        self.watermark.is_some() || self.source_tells_time()
    }

    /// Whether it goes by the time that its source tells.
    pub fn source_tells_time(&self) -> bool {
        self.watermark.is_none() && matches!(&self.role, Role::Source(connection) if connection.tells_time)
    }

    /// Whether its source gives the changes of a relation that stands elsewhere.
    pub fn copies_relation(&self) -> bool {
        matches!(&self.role, Role::Source(connection) if connection.relation)
    }
}

/// `CREATE WINDOW`: a stream of the changes of a window's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedWindow {
    /// How events are held.
    pub kind: WindowKind,
    /// Whether what enters goes on.
    pub current: bool,
    /// Whether what leaves goes on.
    pub expired: bool,
}

/// `WATERMARK FOR column AS bound`.
#[derive(Debug, Clone)]
pub struct WatermarkDef {
    /// Index of the time column.
    pub column: usize,
    /// The bound as written.
    pub bound: Expr,
    /// Where the bound stands.
    pub span: Range<usize>,
}

/// How a stream is connected to the outside.
#[derive(Debug, Clone)]
pub enum Role {
    /// Not at all: queries and the embedding API feed and read it.
    Internal,
    /// A connector feeds it.
    Source(Connection),
    /// A connector takes it.
    Sink(Connection),
    /// Time feeds it.
    Trigger(TriggerSchedule),
}

/// When a trigger fires.
#[derive(Debug, Clone)]
pub enum TriggerSchedule {
    /// Once, at the start.
    Start,
    /// At each end of a period, in µs, from the start.
    Every(Micros),
    /// By the calendar; and the expression as written.
    Cron(CronSchedule, String),
}

impl TriggerSchedule {
    /// Whether it goes on for ever.
    pub fn recurs(&self) -> bool {
        !matches!(self, TriggerSchedule::Start)
    }
}

/// A connector with its options.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The connector's name.
    pub connector: String,
    /// The connector's options.
    pub options: Options,
    /// The format's name, for connectors of bytes.
    pub format: Option<String>,
    /// The format's options.
    pub format_options: Options,
    /// As written, for messages.
    pub raw: Vec<RawOption>,
    /// Of a source: whether its rows are changes of a relation that stands elsewhere.
    pub relation: bool,
    /// Of a source: whether it tells event time by itself.
    pub tells_time: bool,
}

/// Options of any stream.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What state is saved under instead of the stream's name.
    pub id: Option<String>,
    /// What happens to late events.
    pub late: LatePolicy,
    /// Processing time without events after which the stream is idle, in µs.
    pub idle_timeout: i64,
    /// How long what its events leave behind is remembered where nothing else bounds it, in µs.
    pub state_ttl: Option<i64>,
    /// Whether events leave in event-time order.
    pub ordered: bool,
    /// What happens to events in trouble.
    pub errors: ErrorPolicy,
    /// As given, or defaulted.
    pub options: Options,
}

/// What happens to late events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LatePolicy {
    /// Counted and dropped.
    Drop,
    /// Counted and processed as they come.
    Accept,
    /// Counted and sent to this stream.
    Redirect(String),
}
