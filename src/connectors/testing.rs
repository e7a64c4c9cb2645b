//! What the connectors' tests share: a format of lines, and a source that runs on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::*;
use crate::config::options::RawOption;
use crate::event::{SystemClock, Times};
use crate::formats::{BadRecord, Block, Decoded, Format, Frame, FrameKind, Prologue};

/// How long anything may take in a test before it counts as hung.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// One record a line, one column `text`. Lines that start with `bad` are errors; a first line that starts with `#` is
/// a header.
#[derive(Debug, Clone, Copy)]
pub struct Lines;

struct LineFramer;
struct LineCoder(SchemaRef);

impl Format for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }
    fn doc(&self) -> &'static str {
        "Lines."
    }
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }
    fn framer(&self, _: &DecodeSchema, _: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Ok(Box::new(LineFramer))
    }
    fn decoder(&self, schema: &DecodeSchema, _: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        Ok(Box::new(LineCoder(schema.decoded())))
    }
    fn encoder(&self, schema: &SchemaRef, _: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        Ok(Box::new(LineCoder(schema.clone())))
    }
}

impl Framer for LineFramer {
    fn prologue(&mut self, bytes: &[u8], last: bool) -> Prologue {
        let (consumed, lines) = match bytes.iter().position(|byte| *byte == b'\n') {
            _ if bytes.first().is_some_and(|byte| *byte != b'#') => (0, 0),
            Some(end) => (end + 1, 1),
            None if last => (bytes.len(), 0),
            None => return Prologue::NeedMore,
        };
        Prologue::Done {
            consumed,
            lines,
            layout: None,
        }
    }

    fn complete(&mut self, bytes: &[u8]) -> Frame {
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let lines = memchr::memchr_iter(b'\n', &bytes[..end]).count() as u64;
        Frame {
            end,
            lines,
            kind: FrameKind::Records,
        }
    }
}

impl Decoder for LineCoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let mut rows = Vec::new();
        let mut errors = Vec::new();
        let text = String::from_utf8_lossy(&block.bytes);
        for (line, text) in (block.first_line..).zip(text.lines()) {
            match text.starts_with("bad") {
                true => errors.push(BadRecord {
                    message: "bad".to_string(),
                    line,
                    raw: text.to_string(),
                    row: rows.len(),
                }),
                false => rows.push(text),
            }
        }
        let columns = RecordBatch::try_new(self.0.clone(), vec![Arc::new(StringViewArray::from(rows))])?;
        Ok(Decoded { columns, errors })
    }
}

impl Encoder for LineCoder {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"# text\n");
    }
    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        for text in texts(batch.columns()) {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        Ok(())
    }
}

/// A schema of nullable columns.
pub fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The schema of [`Lines`].
pub fn text_schema() -> SchemaRef {
    schema(&[("text", DataType::Utf8View)])
}

/// A batch of [`Lines`].
pub fn text_batch(texts: &[&str]) -> EventBatch {
    let column = Arc::new(StringViewArray::from(texts.to_vec()));
    let columns = RecordBatch::try_new(text_schema(), vec![column]).expect("columns fit");
    EventBatch::inserts(columns, Times::Same(0))
}

/// The first column's texts.
pub fn texts(columns: &RecordBatch) -> Vec<String> {
    let column = columns.column(0).as_string_view();
    (0..column.len()).map(|row| column.value(row).to_string()).collect()
}

/// Options as a user writes them.
pub fn options(owner: &str, specs: &[OptionSpec], given: &[(&str, &str)]) -> Result<Options, Diagnostic> {
    let raw: Vec<RawOption> = given.iter().map(|(key, value)| RawOption::new(*key, *value)).collect();
    Options::check(owner, specs, &raw)
}

/// Builds a connector's source, with [`Lines`] if it takes bytes.
pub fn source(
    connector: &dyn Connector,
    schema: SchemaRef,
    given: &[(&str, &str)],
) -> Result<Box<dyn Source>, Diagnostic> {
    source_of(connector, DecodeSchema::all(schema), given)
}

/// The same, of some columns.
pub fn source_of(
    connector: &dyn Connector,
    schema: DecodeSchema,
    given: &[(&str, &str)],
) -> Result<Box<dyn Source>, Diagnostic> {
    let format = FormatSource::new(Arc::new(Lines), schema.clone(), Options::default());
    source_in(connector, format, schema, given)
}

/// The same, in a format.
pub fn source_in(
    connector: &dyn Connector,
    format: FormatSource,
    schema: DecodeSchema,
    given: &[(&str, &str)],
) -> Result<Box<dyn Source>, Diagnostic> {
    let side = connector.source().expect("has a source");
    let format = matches!(side.format(), FormatUse::Bytes { .. }).then_some(format);
    side.build(SourceSpec {
        key: Vec::new(),
        stream: "S".to_string(),
        schema,
        options: options(connector.name(), side.options(), given)?,
        format,
    })
}

/// Builds a connector's sink, with [`Lines`] if it takes bytes.
pub fn sink(connector: &dyn Connector, schema: SchemaRef, given: &[(&str, &str)]) -> Result<Box<dyn Sink>, Diagnostic> {
    let side = connector.sink().expect("has a sink");
    let encoder = match side.format() {
        FormatUse::Bytes { .. } => Some(Lines.encoder(&schema, &Options::default())?),
        FormatUse::Rows => None,
    };
    let options = options(connector.name(), side.options(), given)?;
    side.build(SinkSpec::new("S", schema, options, encoder))
}

/// A source on its thread.
pub struct Running {
    pub events: Receiver<Emitted>,
    stop: Option<Sender<std::convert::Infallible>>,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    /// Starts it with a channel of `capacity`.
    pub fn start(mut source: Box<dyn Source>, capacity: usize) -> Self {
        let (sender, events) = bounded(capacity);
        let (stop, stopped) = bounded(0);
        let mut out = SourceOutput::new(sender, stopped, Arc::new(SystemClock));
        let thread = std::thread::spawn(move || source.run(&mut out));
        Running {
            events,
            stop: Some(stop),
            thread,
        }
    }

    /// What comes next.
    pub fn next(&self) -> Option<Emitted> {
        match self.events.recv_timeout(DEADLINE) {
            Ok(emitted) => Some(emitted),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the source emits nothing"),
        }
    }

    /// The next `count` texts, one by one in order.
    pub fn texts(&self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            let emitted = self.next().expect("the source goes on");
            all.extend(texts(emitted.batch.columns()));
        }
        all
    }

    /// Nothing comes for a while.
    pub fn quiet(&self) {
        let come = self.events.recv_timeout(Duration::from_millis(60));
        assert!(come.is_err(), "came: {come:?}");
    }

    /// Tells it to stop and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        self.stop = None;
        let deadline = Instant::now() + DEADLINE;
        while !self.thread.is_finished() {
            assert!(Instant::now() < deadline, "the source does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.thread.join().expect("the source does not panic")
    }

    /// Takes everything until it ends by itself.
    pub fn all(self) -> Result<Vec<Emitted>> {
        let mut all = Vec::new();
        while let Some(emitted) = self.next() {
            all.push(emitted);
        }
        self.stop()?;
        Ok(all)
    }
}

/// Runs a source to its end.
pub fn run(source: Box<dyn Source>) -> Result<Vec<Emitted>> {
    Running::start(source, 4).all()
}

/// All texts of a run.
pub fn all_texts(emitted: &[Emitted]) -> Vec<String> {
    emitted
        .iter()
        .flat_map(|emitted| texts(emitted.batch.columns()))
        .collect()
}
