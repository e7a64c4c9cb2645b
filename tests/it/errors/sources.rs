//! Sources that fail on demand: with `retry` a new one goes on where the last one was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use eventflux::config::options::OptionSpec;
use eventflux::connectors::{Connector, Flow, FormatUse, Position, Source, SourceConnector, SourceOutput, SourceSpec};
use eventflux::error::Diagnostic;
use eventflux::{App, Builder, Error, EventFlux, Result};
use serde_json::{Value, json};

use super::{collect, column};
use crate::runtime::connectors::counting;
use crate::support::{wait_until, within_deadline};

/// Whether the source fails before a row, given the number of its attempt, from 1.
type Fails = dyn Fn(usize, usize) -> bool + Send + Sync;

/// Counts to a number, in batches of one, and fails on demand. Its positions are the next row, if it has any.
#[derive(Clone)]
struct Counter {
    to: usize,
    fails: Arc<Fails>,
    attempts: Arc<AtomicUsize>,
    positions: bool,
}

struct Counting {
    counter: Counter,
    schema: SchemaRef,
    next: usize,
}

impl Connector for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn doc(&self) -> &'static str {
        "Counts."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }
}

impl SourceConnector for Counter {
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(Counting {
            counter: self.clone(),
            schema: spec.schema.decoded(),
            next: 0,
        }))
    }
}

impl Source for Counting {
    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        let attempt = self.counter.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        while self.next < self.counter.to {
            if (self.counter.fails)(attempt, self.next) {
                return Err(Error::io(
                    "cannot reach the host",
                    std::io::ErrorKind::ConnectionReset.into(),
                ));
            }
            let batch = counting(&self.schema, self.next, 1);
            self.next += 1;
            let position = self.counter.positions.then(|| json!({"next": self.next}));
            if out.emit(batch, position) == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.next = position["next"].as_u64().map_or(0, |next| next as usize);
        Ok(())
    }
}

fn counter(to: usize, fails: impl Fn(usize, usize) -> bool + Send + Sync + 'static) -> Counter {
    Counter {
        to,
        fails: Arc::new(fails),
        attempts: Arc::default(),
        positions: true,
    }
}

fn app(counter: &Counter, options: &str) -> Builder {
    EventFlux::builder()
        .register_connector(Arc::new(counter.clone()))
        .sql(format!(
            "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'counter'{options});
         INSERT INTO T SELECT x FROM S;
         INSERT INTO Lost SELECT errorType, errorMessage, originalEvent, attemptCount FROM !S;"
        ))
}

const FAST: &str = ", error.strategy = 'retry', error.retry.initial-delay = '1 ms', error.retry.max-delay = '5 ms'";

fn ended(app: &App) -> Result<()> {
    app.start().unwrap();
    let app = app.clone();
    within_deadline("the app", move || app.wait())
}

#[test]
fn it_goes_on_where_it_was() {
    for inline in [false, true] {
        // Each attempt gets a little further: they are counted anew.
        let counter = counter(40, |attempt, row| attempt < 8 && row == attempt * 3);
        let builder = app(&counter, &format!("{FAST}, error.retry.max-attempts = 2"));
        let app = if inline { builder.inline() } else { builder }.build().unwrap();
        let (rows, lost) = (collect(&app, "T"), collect(&app, "Lost"));
        ended(&app).unwrap();
        assert_eq!(column(&rows.lock(), "x"), (0..40).collect::<Vec<_>>());
        let lost = lost.lock();
        assert_eq!(lost.len(), 7);
        let one = json!({"errorType": "source", "originalEvent": null, "attemptCount": 1,
                         "errorMessage": "cannot reach the host: connection reset"});
        assert_eq!(lost[0], one);
        let stats = app.stats().unwrap();
        assert_eq!((stats.streams[0].errors["source"], stats.streams[0].retries), (7, 7));
    }
}

#[test]
fn attempts_without_progress_end() {
    let counter = counter(40, |_, row| row == 5);
    let app = app(&counter, &format!("{FAST}, error.retry.max-attempts = 4"))
        .build()
        .unwrap();
    let (rows, lost) = (collect(&app, "T"), collect(&app, "Lost"));
    let error = ended(&app).unwrap_err().to_string();
    assert!(
        error.starts_with("source of stream S: cannot reach the host (after 4 attempts)"),
        "{error}"
    );
    assert_eq!(rows.lock().len(), 5);
    assert_eq!(column(&lost.lock(), "attemptCount"), [1, 2, 3, 4]);
    assert_eq!(counter.attempts.load(Ordering::SeqCst), 4);
}

/// Other strategies are for events: there is nothing to read but what cannot be read.
#[test]
fn without_retry_a_source_that_fails_ends_the_app() {
    for options in ["", ", error.strategy = 'drop'", ", error.strategy = 'fail'"] {
        let counter = counter(40, |_, row| row == 5);
        let app = app(&counter, options).build().unwrap();
        let error = ended(&app).unwrap_err().to_string();
        assert!(
            error.starts_with("source of stream S: cannot reach the host"),
            "{error}"
        );
        assert_eq!(counter.attempts.load(Ordering::SeqCst), 1);
    }
}

/// A source without positions begins anew.
#[test]
fn without_positions_it_reads_again() {
    let mut counter = counter(4, |attempt, row| attempt == 1 && row == 2);
    counter.positions = false;
    let app = app(&counter, FAST).build().unwrap();
    let rows = collect(&app, "T");
    ended(&app).unwrap();
    assert_eq!(column(&rows.lock(), "x"), [0, 1, 0, 1, 2, 3]);
}

#[test]
fn stopping_ends_the_wait() {
    let counter = counter(40, |_, row| row == 5);
    let hour = ", error.strategy = 'retry', error.retry.initial-delay = '1 hour', error.retry.max-delay = '1 hour'";
    let app = app(&counter, hour).build().unwrap();
    let lost = collect(&app, "Lost");
    app.start().unwrap();
    wait_until("the failure", || !lost.lock().is_empty());
    let began = Instant::now();
    within_deadline("the app", move || app.shutdown()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(counter.attempts.load(Ordering::SeqCst), 1);
}

/// A snapshot taken while the source is being tried again is of where it was.
#[test]
fn a_snapshot_amid_a_retry() {
    let failing = counter(40, |_, row| row == 5);
    let first = app(&failing, &format!("{FAST}, error.retry.max-attempts = 0"))
        .build()
        .unwrap();
    let rows = collect(&first, "T");
    first.start().unwrap();
    wait_until("some attempts", || failing.attempts.load(Ordering::SeqCst) > 3);
    assert_eq!(rows.lock().len(), 5);
    let snapshot = first.snapshot().unwrap();
    first.shutdown().unwrap();
    let well = counter(40, |_, _| false);
    let second = app(&well, FAST).restore(snapshot).build().unwrap();
    let rows = collect(&second, "T");
    ended(&second).unwrap();
    assert_eq!(column(&rows.lock(), "x"), (5..40).map(Value::from).collect::<Vec<_>>());
}
