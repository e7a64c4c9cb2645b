//! Connectors and formats of the tests' own, registered as an embedder does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use eventflux::config::options::{OptionKind, OptionSpec, Options};
use eventflux::connectors::{
    Connector, Flow, FormatUse, Sink, SinkConnector, SinkSpec, Source, SourceConnector, SourceOutput, SourceSpec,
};
use eventflux::error::{Colour, Diagnostic};
use eventflux::event::EventBatch;
use eventflux::formats::json::JsonFormat;
use eventflux::formats::{Block, DecodeSchema, Decoded, Decoder, Encoder, Format, Framer};
use eventflux::{Error, EventFlux, Layers, Result};
use parking_lot::Mutex;

use crate::support::{Scratch, Switch, wait_until, within_deadline};

/// A source whose `run` is a function: `extension = 'made'`.
pub struct Made<F>(pub F);

struct MadeSource<F> {
    run: F,
    schema: SchemaRef,
}

impl<F: Fn(&SchemaRef, &mut SourceOutput) -> Result<()> + Clone + Send + Sync + 'static> Connector for Made<F> {
    fn name(&self) -> &'static str {
        "made"
    }

    fn doc(&self) -> &'static str {
        "A source of the tests."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

impl<F: Fn(&SchemaRef, &mut SourceOutput) -> Result<()> + Clone + Send + Sync + 'static> SourceConnector for Made<F> {
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        let (run, schema) = (self.0.clone(), spec.schema.decoded());
        Ok(Box::new(MadeSource { run, schema }))
    }
}

impl<F: Fn(&SchemaRef, &mut SourceOutput) -> Result<()> + Send> Source for MadeSource<F> {
    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        (self.run)(&self.schema, out)
    }
}

/// A sink whose `write` is a function: `extension = 'taken'`.
pub struct Taken<F> {
    pub write: F,
    pub immediate: bool,
    pub flushed: Switch,
}

struct TakenSink<F> {
    write: F,
    immediate: bool,
    flushed: Switch,
}

impl<F: Fn(&EventBatch) -> Result<()> + Clone + Send + Sync + 'static> Connector for Taken<F> {
    fn name(&self) -> &'static str {
        "taken"
    }

    fn doc(&self) -> &'static str {
        "A sink of the tests."
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl<F: Fn(&EventBatch) -> Result<()> + Clone + Send + Sync + 'static> SinkConnector for Taken<F> {
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, _: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        Ok(Box::new(TakenSink {
            write: self.write.clone(),
            immediate: self.immediate,
            flushed: self.flushed.clone(),
        }))
    }
}

impl<F: Fn(&EventBatch) -> Result<()> + Send> Sink for TakenSink<F> {
    fn is_immediate(&self) -> bool {
        self.immediate
    }

    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        (self.write)(batch)
    }

    fn flush(&mut self) -> Result<()> {
        self.flushed.turn();
        Ok(())
    }
}

/// A batch of one LONG column, counting from `start`.
pub fn counting(schema: &SchemaRef, start: usize, rows: usize) -> RecordBatch {
    let values: Int64Array = (start..start + rows).map(|value| value as i64).collect();
    RecordBatch::try_new(schema.clone(), vec![Arc::new(values)]).unwrap()
}

/// From the made source to the taken sink.
pub const THROUGH: &str = "\
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'made');
CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'taken');
INSERT INTO T SELECT x FROM S;
";

#[test]
fn a_slow_sink_holds_the_source_back() {
    const BATCH: usize = 1_000;
    /// The queues of source and sink, of joined batches, generously.
    const MOST: usize = 200_000;
    const TOTAL: usize = 1_000_000;
    let emitted = Arc::new(AtomicUsize::new(0));
    let consumed = Arc::new(AtomicUsize::new(0));
    let ahead = Arc::new(AtomicUsize::new(0));
    let produce = {
        let emitted = emitted.clone();
        move |schema: &SchemaRef, out: &mut SourceOutput| {
            for start in (0..TOTAL).step_by(BATCH) {
                if out.emit(counting(schema, start, BATCH), None) == Flow::Stop {
                    break;
                }
                emitted.fetch_add(BATCH, Ordering::SeqCst);
            }
            Ok(())
        }
    };
    let take = {
        let (emitted, consumed, ahead) = (emitted.clone(), consumed.clone(), ahead.clone());
        move |batch: &EventBatch| {
            // Slower by far than the source.
            std::thread::sleep(Duration::from_millis(1));
            let taken = consumed.fetch_add(batch.num_rows(), Ordering::SeqCst);
            ahead.fetch_max(emitted.load(Ordering::SeqCst).saturating_sub(taken), Ordering::SeqCst);
            Ok(())
        }
    };
    let app = EventFlux::builder()
        .register_connector(Arc::new(Made(produce)))
        .register_connector(Arc::new(Taken {
            write: take,
            immediate: false,
            flushed: Switch::default(),
        }))
        .sql(THROUGH)
        .build()
        .unwrap();
    app.start().unwrap();
    within_deadline("the app", move || app.wait()).unwrap();
    assert_eq!(consumed.load(Ordering::SeqCst), TOTAL);
    let ahead = ahead.load(Ordering::SeqCst);
    assert!(ahead <= MOST, "the source was {ahead} rows ahead");
}

#[test]
fn a_slow_subscriber_holds_the_sender_back() {
    /// As many as are not joined with others.
    const ROWS: usize = 1_024;
    const BATCHES: usize = 4_000;
    /// The queues before and behind the task, and what is in its hands.
    const MOST: usize = 2 * 1_024 + 8;
    let app = EventFlux::builder()
        .sql("CREATE STREAM S (x LONG); INSERT INTO T SELECT x FROM S;")
        .build()
        .unwrap();
    let received = app.subscribe("T").unwrap();
    app.start().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = {
        let (app, sent) = (app.clone(), sent.clone());
        std::thread::spawn(move || {
            let input = app.input("S").unwrap();
            let batch = counting(&input.stream().schema, 0, ROWS);
            for _ in 0..BATCHES {
                input.send_batch(batch.clone()).unwrap();
                sent.fetch_add(1, Ordering::SeqCst);
            }
            app.wait()
        })
    };
    let mut rows = 0;
    for (read, batch) in received.enumerate() {
        let ahead = sent.load(Ordering::SeqCst).saturating_sub(read);
        assert!(ahead <= MOST, "the sender was {ahead} batches ahead");
        rows += batch.num_rows();
    }
    within_deadline("the app", move || sender.join()).unwrap().unwrap();
    assert_eq!(rows, ROWS * BATCHES);
}

#[test]
fn a_sink_is_flushed_whenever_nothing_more_is_there() {
    for immediate in [false, true] {
        let flushed = Switch::default();
        let app = EventFlux::builder()
            .register_connector(Arc::new(Taken {
                write: |_: &EventBatch| Ok(()),
                immediate,
                flushed: flushed.clone(),
            }))
            .sql("CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'taken');")
            .build()
            .unwrap();
        app.start().unwrap();
        app.input("T").unwrap().send((1,)).unwrap();
        // The app is open still: nobody waits for its end.
        flushed.wait();
        app.shutdown().unwrap();
    }
}

/// JSON, counting what is decoded.
#[derive(Clone, Default)]
struct Counted {
    rows: Arc<AtomicUsize>,
    columns: Arc<Mutex<Vec<usize>>>,
}

struct CountedDecoder(Box<dyn Decoder>, Arc<AtomicUsize>);

impl Decoder for CountedDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        let decoded = self.0.decode(block)?;
        self.1.fetch_add(decoded.columns.num_rows(), Ordering::SeqCst);
        Ok(decoded)
    }
}

impl Format for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn doc(&self) -> &'static str {
        "JSON, counted."
    }

    fn options(&self) -> &'static [OptionSpec] {
        JsonFormat.options()
    }

    fn framer(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        JsonFormat.framer(schema, options)
    }

    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        *self.columns.lock() = schema.wanted.to_vec();
        let decoder = JsonFormat.decoder(schema, options)?;
        Ok(Box::new(CountedDecoder(decoder, self.rows.clone())))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        JsonFormat.encoder(schema, options)
    }
}

#[test]
fn a_stream_of_many_queries_is_decoded_once_and_only_what_they_read() {
    let lines: String = (0..1_000)
        .map(|x| format!("{{\"x\":{x},\"y\":\"never read\",\"z\":1}}\n"))
        .collect();
    let scratch = Scratch::with(&[("in.ndjson", &lines)]);
    let counted = Counted::default();
    let sql = format!(
        "CREATE STREAM S (x LONG, y STRING, z LONG) WITH (type = 'source', extension = 'file', format = 'counted', path = '{}');
         INSERT INTO A SELECT x FROM S; INSERT INTO B SELECT x + 1 AS x FROM S; INSERT INTO C SELECT x FROM S WHERE z = 1;
         INSERT INTO D SELECT x FROM S UNION ALL SELECT z FROM S;",
        scratch.path("in.ndjson").display()
    );
    let app = EventFlux::builder()
        .register_format(Arc::new(counted.clone()))
        .sql(sql)
        .build()
        .unwrap();
    app.start().unwrap();
    within_deadline("the app", move || {
        app.wait().unwrap();
        let stats = app.stats().unwrap();
        let rows: Vec<u64> = stats.queries.iter().map(|query| query.rows_out).collect();
        assert_eq!(rows, [1_000, 1_000, 1_000, 2_000]);
    });
    assert_eq!(counted.rows.load(Ordering::SeqCst), 1_000);
    assert_eq!(*counted.columns.lock(), [0, 2]);
}

/// A sink with a secret: `extension = 'guarded'`.
struct Guarded;

impl Connector for Guarded {
    fn name(&self) -> &'static str {
        "guarded"
    }

    fn doc(&self) -> &'static str {
        "A sink of the tests."
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SinkConnector for Guarded {
    fn options(&self) -> &'static [OptionSpec] {
        const PIN: OptionSpec =
            OptionSpec::new("pin", OptionKind::Integer { min: 0, max: 9_999 }, "Opens it.").secret();
        &[PIN]
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        match spec.options.integer("pin") {
            Some(1_234) => Ok(Box::new(TakenSink {
                write: |_: &EventBatch| Ok(()),
                immediate: true,
                flushed: Switch::default(),
            })),
            _ => Err(spec.options.invalid("pin", "it does not open")),
        }
    }
}

#[test]
fn secrets_are_in_no_message_and_no_plan() {
    let app = |pin: &str| {
        EventFlux::builder()
            .register_connector(Arc::new(Guarded))
            .sql("CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'guarded');")
            .config(Layers::default().set(&format!("streams.T.pin={pin}")).unwrap())
            .build()
    };
    let opened = app("1234").unwrap();
    let shown = format!(
        "{} {opened:?} {:?}",
        opened.explain().unwrap(),
        opened.stream("T").unwrap()
    );
    assert!(!shown.contains("1234"), "{shown}");
    // A value from outside that does not fit.
    let wrong = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let Err(Error::Compile(error)) = app("${CARGO_MANIFEST_DIR}") else {
        panic!("it opens");
    };
    let rendered = error.render(Colour::Never);
    assert!(rendered.contains("not '***'"), "{rendered}");
    assert!(!format!("{rendered} {error:?}").contains(&wrong), "{error:?}");
}

#[test]
fn dropping_an_app_ends_its_source() {
    let ended = Switch::default();
    let produce = {
        let ended = ended.clone();
        move |_: &SchemaRef, out: &mut SourceOutput| {
            while out.wait(Duration::from_secs(1)) == Flow::Continue {}
            ended.turn();
            Ok(())
        }
    };
    let app = EventFlux::builder()
        .register_connector(Arc::new(Made(produce)))
        .sql("CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'made'); INSERT INTO T SELECT x FROM S;")
        .build()
        .unwrap();
    app.start().unwrap();
    drop(app);
    wait_until("the source to end", || ended.is_on());
}
