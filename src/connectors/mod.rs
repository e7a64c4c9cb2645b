//! Connectors: where events come from and where results go.
//!
//! A connector is registered under its name (`extension = 'file'`), whether it is ours or an embedder's, and offers a
//! source, a sink or both. Connectors know nothing of operators and queries: a source hands record batches to a
//! [`SourceOutput`], a sink is handed [`EventBatch`]es.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::Receiver;

use crate::catalog::error_policy::Retry;
use crate::config::options::{OptionSpec, Options};
use crate::error::{Code, Diagnostic, Error, Result, RowError};
use crate::event::EventBatch;
use crate::formats::{DecodeSchema, Decoder, Encoder, Framer};

mod blocks;
mod output;
mod pacing;
mod registry;
#[cfg(test)]
mod testing;

pub mod blackhole;
pub mod datagen;
pub mod file;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "server")]
pub mod live;
pub mod log;
#[cfg(feature = "materialize")]
pub mod materialize;
pub mod nexmark;
#[cfg(feature = "pg-client")]
pub(crate) mod pgwire;
#[cfg(feature = "postgres-cdc")]
pub mod postgres;
#[cfg(feature = "risingwave")]
pub mod risingwave;
pub mod stdin;
pub mod stdout;
pub mod timer;

pub use output::{Around, DurablePosition, Emitted, Flow, Kept, Room, SourceOutput, StopSignal};
pub use registry::Registry;

/// A connector: what `extension = '…'` names.
pub trait Connector: Send + Sync {
    /// The name used in `extension = '…'` and as the prefix of its options.
    fn name(&self) -> &'static str;
    /// One sentence for the reference.
    fn doc(&self) -> &'static str;
    /// Its source side, if it has one.
    fn source(&self) -> Option<&dyn SourceConnector> {
        None
    }
    /// Its sink side, if it has one.
    fn sink(&self) -> Option<&dyn SinkConnector> {
        None
    }
}

/// Whether a connector moves bytes, which need a format, or rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatUse {
    /// Bytes: `format` must be given, or this one is taken.
    Bytes {
        /// The format when none is named.
        default: Option<&'static str>,
    },
    /// Rows: `format` is refused.
    Rows,
}

/// What a catalog tells of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// The columns: their names, and their types as a stream declares them.
    pub columns: Vec<(String, String)>,
    /// Those of the primary key, if it is known.
    pub key: Vec<String>,
}

/// What the rows of a source are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRows {
    /// Events: each is one more.
    Events,
    /// Changes of a relation that stands elsewhere: its batches may have deletes, and there are [`crate::event::Mark`]s around them.
    /// The option `max_rows` bounds what is kept of it, and `deletes` says what they are to a stream without PRIMARY KEY.
    Relation,
}

/// The source side of a connector.
pub trait SourceConnector: Send + Sync {
    /// Its options.
    fn options(&self) -> &'static [OptionSpec];
    /// Whether it needs a format.
    fn format(&self) -> FormatUse;
    /// Whether all declared columns are in what its format decodes. If not, it checks by itself that the others fit the format.
    fn decodes_all_columns(&self) -> bool {
        true
    }
    /// Whether only one stream of an app can read it: two would take each other's events away.
    fn is_exclusive(&self) -> bool {
        false
    }
    /// What its rows are.
    fn rows(&self) -> SourceRows {
        SourceRows::Events
    }
    /// Whether it tells event time by itself: its batches have the events' times, and watermarks come with them. A stream that declares
    /// a WATERMARK does not go by them.
    fn tells_time(&self) -> bool {
        false
    }
    /// Asks what it would read for its columns.
    ///
    /// *Errors.* When nobody can be asked; always, for connectors without a catalog.
    fn discover(&self, _options: &Options) -> Result<Discovered, Diagnostic> {
        let error = Diagnostic::new(Code::Unsupported, "this connector knows no catalog that tells columns");
        Err(error.hint("there are: materialize, postgres, risingwave"))
    }
    /// A way to hand a record to the source while it runs, wherever that is. `None` where there is none.
    fn entrance(&self, _spec: SourceSpec) -> Result<Option<Box<dyn Entrance>>, Diagnostic> {
        Ok(None)
    }
    /// Makes a source. Checks all that can be checked without starting: no side effects.
    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic>;
}

/// The sink side of a connector.
pub trait SinkConnector: Send + Sync {
    /// Its options.
    fn options(&self) -> &'static [OptionSpec];
    /// Whether it needs a format.
    fn format(&self) -> FormatUse;
    /// Whether its sinks try again by themselves, as the stream's `error.retry.…` say, whatever its strategy.
    fn retries(&self) -> bool {
        false
    }
    /// Whether a second sink may write beside that of a running app: dead letters are sent once more by one.
    fn takes_again(&self) -> bool {
        false
    }
    /// Makes a sink. Checks all that can be checked without starting: no side effects.
    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic>;
}

/// What a source is made for.
pub struct SourceSpec {
    /// The stream's name.
    pub stream: String,
    /// The stream's columns, and which of them are read. Batches must have the schema [`DecodeSchema::decoded`].
    pub schema: DecodeSchema,
    /// The columns of the stream's PRIMARY KEY.
    pub key: Vec<usize>,
    /// The connector's options, checked.
    pub options: Options,
    /// For connectors of bytes.
    pub format: Option<FormatSource>,
}

/// Makes framers and decoders for one stream; one each per input and per thread.
pub struct FormatSource {
    format: Arc<dyn crate::formats::Format>,
    schema: DecodeSchema,
    options: Options,
}

impl FormatSource {
    /// Of a format, for a stream with those columns and checked options.
    pub fn new(format: Arc<dyn crate::formats::Format>, schema: DecodeSchema, options: Options) -> Self {
        FormatSource {
            format,
            schema,
            options,
        }
    }

    /// The format's name.
    pub fn name(&self) -> &'static str {
        self.format.name()
    }

    /// The same for a stream without some of its declared columns, which come from elsewhere.
    pub fn without(self, columns: &[usize]) -> Self {
        let declared = &self.schema.declared;
        let left: Vec<usize> = (0..declared.fields().len())
            .filter(|column| !columns.contains(column))
            .collect();
        let fields: Vec<_> = left.iter().map(|&column| declared.fields()[column].clone()).collect();
        let wanted = left
            .iter()
            .enumerate()
            .filter(|(_, column)| self.schema.wanted.contains(column));
        let schema = DecodeSchema {
            wanted: wanted.map(|(place, _)| place).collect(),
            declared: Arc::new(arrow::datatypes::Schema::new(fields)),
        };
        FormatSource { schema, ..self }
    }

    /// A framer for a new input.
    pub fn framer(&self) -> Result<Box<dyn Framer>, Diagnostic> {
        self.format.framer(&self.schema, &self.options)
    }

    /// A decoder for one thread.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>, Diagnostic> {
        self.format.decoder(&self.schema, &self.options)
    }
}

/// What a sink is made for.
pub struct SinkSpec {
    /// The stream's name.
    pub stream: String,
    /// The stream's columns.
    pub schema: SchemaRef,
    /// The columns of its PRIMARY KEY.
    pub primary_key: Vec<usize>,
    /// How the outside is tried again, for those that do it by themselves.
    pub retry: Retry,
    /// The connector's options, checked.
    pub options: Options,
    /// For connectors of bytes.
    pub encoder: Option<Box<dyn Encoder>>,
}

/// Why a source cannot read, as [`Source::check`] finds it.
#[derive(Debug)]
pub enum Unfit {
    /// There is no way to what it reads, at present.
    Unreachable(Diagnostic),
    /// What it reads is not there, or does not fit the stream.
    Wrong(Diagnostic),
}

impl SinkSpec {
    /// For a stream without a key, with the usual retries.
    pub fn new(
        stream: impl Into<String>,
        schema: SchemaRef,
        options: Options,
        encoder: Option<Box<dyn Encoder>>,
    ) -> Self {
        SinkSpec {
            stream: stream.into(),
            schema,
            primary_key: Vec::new(),
            retry: Retry::default(),
            options,
            encoder,
        }
    }
}

/// A running source. It has a thread of its own.
pub trait Source: Send {
    /// Produces events until the input ends or `out` says stop.
    ///
    /// Every emitted batch carries the position after it; [`Source::seek`] to that position continues with the next
    /// event. Blocks for back-pressure inside [`SourceOutput::emit`]. An `Err` stops the app, or with `error.strategy = 'retry'` a
    /// new source takes over, after a wait, from the last position that was emitted.
    fn run(&mut self, out: &mut SourceOutput) -> Result<()>;

    /// Whether its input ends by itself, and something or the end will come without fail: then the merge of several
    /// sources in event-time order waits for it.
    fn is_bounded(&self) -> bool {
        false
    }

    /// Looks whether what it reads is there and fits the stream, without reading it. Called before the app starts.
    ///
    /// # Errors
    /// [`Unfit::Unreachable`] when nobody can tell now; then the app starts all the same, and the source waits.
    fn check(&mut self) -> Result<(), Unfit> {
        Ok(())
    }

    /// Continues after `position`, which an earlier run emitted. Called before [`Source::run`].
    fn seek(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }
}

/// A way into a source that runs elsewhere.
pub trait Entrance {
    /// Hands over one record, as it came the first time; the id is its own.
    ///
    /// *Errors.* [`Error::Refused`]: the source does not take it. Any other: it could not be asked, also not after a few attempts.
    fn send(&mut self, record: &str, id: &str) -> Result<()>;
}

/// The member of a dead letter's event that says under which id a sink has sent it.
pub const EVENT_ID: &str = "webhook-id";

/// Where a source stands in its input: whatever it needs to continue. JSON, so that it can be inspected.
pub type Position = serde_json::Value;

/// A running sink. Calls come from one thread.
///
/// # Errors
/// What an error means for the events, and whether trying again may help, depends on its kind:
/// - [`Error::Refused`]: the sink refuses an event for what it holds. It is never tried again.
/// - [`Error::Io`]: there is no way to the destination. No event is to blame.
/// - any other: the one or the other; the runtime finds out by writing smaller parts.
///
/// The stream's `error.strategy` decides what follows; see `docs/error-handling.md`.
pub trait Sink: Send {
    /// Whether writing takes no time worth a thread of its own.
    fn is_immediate(&self) -> bool {
        false
    }
    /// Opens what it writes to. Called once, before any batch.
    fn open(&mut self) -> Result<()> {
        Ok(())
    }
    /// Takes a batch. May buffer. *Errors.* Nothing of this batch is taken; what was taken before still is.
    fn write(&mut self, batch: &EventBatch) -> Result<()>;
    /// Takes a row that was given up before, by this sink or another of its stream, under the id that its dead letter says.
    fn write_again(&mut self, row: &EventBatch, _id: &str) -> Result<()> {
        self.write(row)
    }
    /// Makes everything written so far visible. Called when the input is drained, so that an event is never held back
    /// by batching, and at barriers. *Errors.* What is not written yet is kept for the next call.
    fn flush(&mut self) -> Result<()>;
    /// Forgets what it has taken since the last flush that succeeded, as far as that is not written: nobody will try it again as it
    /// is, and what comes next must not be held up by it.
    fn abandon(&mut self) -> Result<()> {
        Ok(())
    }
    /// Whether an error means that nobody will ever read anything again, so that the app shall end whatever the strategy.
    fn is_over(&self, _error: &Error) -> bool {
        false
    }
    /// At a barrier: as [`Sink::flush`], and where it now stands, if [`Sink::restore`] can take it back there.
    ///
    /// A sink that can is exactly-once: what it gets after the last checkpoint comes again after a restart. For one that cannot
    /// this is `None`, and what it got stays: at least once.
    fn prepare(&mut self) -> Result<Option<Position>> {
        self.flush()?;
        Ok(None)
    }
    /// Takes everything back that was written after `position`, which an earlier run gave. Called before [`Sink::open`], which does it.
    ///
    /// *Errors.* When that cannot be: what was written before it is gone.
    fn restore(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }
    /// No event will come any more: waits for what the sink still does by itself, when the app is being stopped not for ever.
    fn finish(&mut self, _stop: &StopSignal) -> Result<()> {
        self.flush()
    }
    /// The events that it has given up by itself, after the call that took them had returned.
    fn given_up(&mut self) -> Vec<RowError> {
        Vec::new()
    }
    /// Becomes ready when [`Sink::given_up`] has something to say, for a sink that gives up between calls.
    fn news(&self) -> Option<Receiver<()>> {
        None
    }
    /// Flushes and closes. Called once, last.
    fn close(&mut self) -> Result<()> {
        self.flush()
    }
}

/// The connectors that are part of a build only with a cargo feature, and its name.
pub(crate) const OPTIONAL: &[(&str, &str)] = &[
    ("graphql", "server"),
    ("http", "http"),
    ("materialize", "materialize"),
    ("postgres", "postgres-cdc"),
    ("risingwave", "risingwave"),
    ("sse", "server"),
    ("websocket", "server"),
];

/// The connectors that come with the engine.
pub fn builtin() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(blackhole::Blackhole),
        Arc::new(datagen::Datagen),
        Arc::new(file::File),
        #[cfg(feature = "http")]
        Arc::new(http::Http::default()),
        #[cfg(feature = "server")]
        Arc::new(live::Live::GraphQl),
        #[cfg(feature = "server")]
        Arc::new(live::Live::Sse),
        #[cfg(feature = "server")]
        Arc::new(live::Live::WebSocket),
        Arc::new(log::Log),
        #[cfg(feature = "materialize")]
        Arc::new(materialize::Materialize),
        Arc::new(nexmark::Nexmark),
        #[cfg(feature = "postgres-cdc")]
        Arc::new(postgres::Postgres),
        #[cfg(feature = "risingwave")]
        Arc::new(risingwave::RisingWave),
        Arc::new(stdin::Stdin),
        Arc::new(stdout::Stdout),
        Arc::new(timer::Timer),
    ]
}
