//! Sinks that fail on demand: what is tried again, what is given up, in which order, and what waits meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use eventflux::connectors::{Flow, SourceOutput};
use eventflux::event::EventBatch;
use eventflux::{App, Builder, Error, EventFlux, Result, Rows};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{collect, column, letters};
use crate::runtime::connectors::{Made, Taken, counting};
use crate::support::{Scratch, Switch, wait_until, within_deadline};

/// What a write shall end with.
type Judge = dyn Fn(usize, &[i64]) -> Result<()> + Send + Sync;

/// A sink that takes what a judge lets it, and remembers it.
#[derive(Clone)]
struct Judged {
    judge: Arc<Judge>,
    calls: Arc<AtomicUsize>,
    taken: Arc<Mutex<Vec<i64>>>,
}

impl Judged {
    /// `judge` is given the number of the call, from 1, and its rows.
    fn new(judge: impl Fn(usize, &[i64]) -> Result<()> + Send + Sync + 'static) -> Self {
        Judged {
            judge: Arc::new(judge),
            calls: Arc::default(),
            taken: Arc::default(),
        }
    }

    fn connector(&self) -> Arc<dyn eventflux::connectors::Connector> {
        let judged = self.clone();
        let write = move |batch: &EventBatch| {
            let rows: Vec<i64> = batch.rows::<(i64,)>()?.into_iter().map(|(value,)| value).collect();
            let call = judged.calls.fetch_add(1, Ordering::SeqCst) + 1;
            (judged.judge)(call, &rows)?;
            judged.taken.lock().extend(rows);
            Ok(())
        };
        Arc::new(Taken {
            write,
            immediate: false,
            flushed: Switch::default(),
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn unreachable_now() -> Error {
    Error::io("cannot reach the host", std::io::ErrorKind::ConnectionRefused.into())
}

/// An app from the API to the judged sink, with those options.
fn app(judged: &Judged, options: &str) -> Builder {
    let sql = letters("Dead", "")
        + &format!("CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'taken'{options});")
        + "CREATE STREAM S (x LONG); INSERT INTO T SELECT x FROM S;";
    EventFlux::builder().register_connector(judged.connector()).sql(sql)
}

const FAST: &str = ", error.retry.initial-delay = '1 ms', error.retry.max-delay = '5 ms'";

/// Sends 0 to `rows`, in one batch, and waits for the end.
fn send(app: &App, rows: i64) -> Result<()> {
    app.start().unwrap();
    app.input("S").unwrap().send_rows((0..rows).map(|row| (row,))).unwrap();
    let app = app.clone();
    within_deadline("the app", move || app.wait())
}

fn sink_errors(app: &App, kind: &str) -> u64 {
    let stats = app.stats().unwrap();
    let sink = stats.streams.iter().find(|stream| stream.name == "T").unwrap();
    sink.errors.get(kind).copied().unwrap_or_default()
}

/// Rows that the sink does not take, for a reason it does not tell, or says is theirs.
#[test]
fn bad_rows_of_ten_thousand_take_only_themselves() {
    let is_bad = |row: &i64| *row == 17 || *row == 8_191 || *row == 8_192;
    for refuses in [false, true] {
        for options in [
            ", error.strategy = 'drop'".to_string(),
            ", error.strategy = 'dlq', error.dlq.stream = 'Dead'".to_string(),
            format!(", error.strategy = 'retry', error.retry.then = 'drop', error.retry.max-attempts = 2{FAST}"),
            format!(", error.strategy = 'retry', error.dlq.stream = 'Dead', error.retry.max-attempts = 2{FAST}"),
        ] {
            let judged = Judged::new(move |_, rows| match rows.iter().find(|row| is_bad(row)) {
                Some(row) if refuses => Err(Error::refused(format!("{row} is refused"))),
                Some(row) => Err(Error::failed(format!("{row} is too much"))),
                None => Ok(()),
            });
            let app = app(&judged, &options).build().unwrap();
            let dead = collect(&app, "Dead");
            send(&app, 10_000).unwrap();
            let expected: Vec<i64> = (0..10_000).filter(|row| !is_bad(row)).collect();
            assert_eq!(*judged.taken.lock(), expected, "{options}");
            let kind = if refuses { "refused" } else { "sink" };
            assert_eq!(sink_errors(&app, kind), 3, "{options}");
            let dead = dead.lock();
            if options.contains("Dead") {
                let events = ["{\"x\":17}", "{\"x\":8191}", "{\"x\":8192}"];
                assert_eq!(column(&dead, "originalEvent"), events, "{options}");
                assert_eq!(column(&dead, "errorType"), [kind; 3]);
                assert_eq!(column(&dead, "streamName"), ["T"; 3]);
            } else {
                assert!(dead.is_empty());
            }
            // Halving finds them: a call for each row would be thousands.
            assert!(judged.calls() < 150, "{} calls", judged.calls());
        }
    }
}

/// Without a strategy what is refused is dropped, but a sink that fails stops the app.
#[test]
fn without_a_strategy() {
    let judged = Judged::new(|_, rows| match rows.contains(&3) {
        true => Err(Error::refused("no threes")),
        false => Ok(()),
    });
    let refusing = app(&judged, "").build().unwrap();
    send(&refusing, 6).unwrap();
    assert_eq!(*judged.taken.lock(), [0, 1, 2, 4, 5]);
    assert_eq!(sink_errors(&refusing, "refused"), 1);
    for options in ["", ", error.strategy = 'fail'"] {
        let judged = Judged::new(|_, _| Err(unreachable_now()));
        let failing = app(&judged, options).build().unwrap();
        let error = send(&failing, 6).unwrap_err().to_string();
        assert!(error.contains("sink of stream T: cannot reach the host"), "{error}");
        assert_eq!((judged.calls(), sink_errors(&failing, "sink")), (1, 1));
    }
}

/// What is refused is not tried again; what cannot be reached is, and then everything arrives once, in order.
#[test]
fn a_destination_that_comes_back() {
    for inline in [false, true] {
        let judged = Judged::new(|call, _| match call {
            2..=4 => Err(unreachable_now()),
            _ => Ok(()),
        });
        let builder = app(&judged, &format!(", error.strategy = 'retry'{FAST}"));
        let app = if inline { builder.inline() } else { builder }.build().unwrap();
        app.start().unwrap();
        for row in 0..50 {
            app.input("S").unwrap().send((row,)).unwrap();
            // Not all in one write.
            wait_until("a write", || judged.calls() > 0);
        }
        let stats = {
            let app = app.clone();
            within_deadline("the app", move || app.wait().map(|()| app.stats().unwrap())).unwrap()
        };
        assert_eq!(*judged.taken.lock(), (0..50).collect::<Vec<i64>>());
        let sink = stats.streams.iter().find(|stream| stream.name == "T").unwrap();
        assert_eq!((sink.retries, sink.errors.len()), (3, 0));
    }
}

#[test]
fn attempts_are_counted_and_end() {
    let options = format!(", error.strategy = 'retry', error.retry.max-attempts = 4{FAST}");
    let judged = Judged::new(|_, _| Err(unreachable_now()));
    let failing = app(&judged, &options).build().unwrap();
    let error = send(&failing, 3).unwrap_err().to_string();
    assert!(
        error.contains("sink of stream T (after 4 attempts): cannot reach"),
        "{error}"
    );
    assert_eq!(judged.calls(), 4);

    let judged = Judged::new(|_, _| Err(unreachable_now()));
    let options = options + ", error.dlq.stream = 'Dead'";
    let queued = app(&judged, &options).build().unwrap();
    let (dead, faults) = (collect(&queued, "Dead"), Arc::new(AtomicUsize::new(0)));
    let heard = faults.clone();
    queued
        .on_error("T", move |error| {
            assert_eq!(error.attempts, 4);
            heard.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    send(&queued, 3).unwrap();
    let dead = dead.lock();
    assert_eq!(column(&dead, "attemptCount"), [4, 4, 4]);
    assert_eq!(column(&dead, "originalEvent"), ["{\"x\":0}", "{\"x\":1}", "{\"x\":2}"]);
    assert_eq!(faults.load(Ordering::SeqCst), 3);
    // All that is in doubt shares the fate of a destination that is not there: nobody asks for each row.
    assert_eq!(judged.calls(), 4);
}

/// While a sink is tried again the source waits: what is between them is bounded.
#[test]
fn a_sink_that_is_tried_again_holds_the_source_back() {
    const BATCH: usize = 1_000;
    const MOST: usize = 300_000;
    for queue in ["", ", error.dlq.stream = 'Dead'"] {
        let emitted = Arc::new(AtomicUsize::new(0));
        let produced = emitted.clone();
        let produce = move |schema: &SchemaRef, out: &mut SourceOutput| {
            for start in (0..2_000_000).step_by(BATCH) {
                if out.emit(counting(schema, start, BATCH), None) == Flow::Stop {
                    break;
                }
                produced.fetch_add(BATCH, Ordering::SeqCst);
            }
            Ok(())
        };
        let open = Arc::new(AtomicUsize::new(0));
        let gate = open.clone();
        let judged = Judged::new(move |_, _| match gate.load(Ordering::SeqCst) {
            0 => Err(unreachable_now()),
            _ => Ok(()),
        });
        let sql = letters("Dead", "")
            + &format!(
                "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'made');
                 CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'taken', error.strategy = 'retry',
                   error.retry.max-attempts = 0{FAST}{queue});
                 INSERT INTO T SELECT x FROM S;"
            );
        let app = EventFlux::builder()
            .register_connector(Arc::new(Made(produce)))
            .register_connector(judged.connector())
            .sql(sql)
            .build()
            .unwrap();
        app.start().unwrap();
        // It has come to rest.
        let mut last = usize::MAX;
        wait_until("the source to wait", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = emitted.load(Ordering::SeqCst);
            judged.calls() > 3 && std::mem::replace(&mut last, now) == now
        });
        assert!(last <= MOST, "{last} rows are on their way");
        open.store(1, Ordering::SeqCst);
        within_deadline("the app", move || app.wait()).unwrap();
        let taken = judged.taken.lock();
        assert_eq!(taken.len(), 2_000_000);
        assert!(
            taken.iter().enumerate().all(|(index, row)| index as i64 == *row),
            "out of order"
        );
    }
}

/// Stopping ends a wait of an hour, after one last attempt; then the end of the retries is as it always is.
#[test]
fn stopping_ends_a_retry() {
    for (options, fails) in [
        ("", true),
        (", error.dlq.stream = 'Dead'", false),
        (", error.retry.then = 'drop'", false),
    ] {
        let options = format!(
            ", error.strategy = 'retry', error.retry.initial-delay = '1 hour', error.retry.max-delay = '1 hour'{options}"
        );
        let judged = Judged::new(|_, _| Err(unreachable_now()));
        let app = app(&judged, &options).build().unwrap();
        let dead = collect(&app, "Dead");
        app.start().unwrap();
        app.input("S").unwrap().send((7,)).unwrap();
        wait_until("the first attempt", || judged.calls() == 1);
        let began = Instant::now();
        let stopped = {
            let app = app.clone();
            within_deadline("the app", move || app.shutdown())
        };
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!((stopped.is_err(), judged.calls()), (fails, 2), "{options}: {stopped:?}");
        assert_eq!(dead.lock().len(), usize::from(options.contains("Dead")));
    }
}

/// Fault streams of sinks, and the letters of letters' sinks, reach their end before it.
#[test]
fn what_sinks_give_up_comes_before_the_end() {
    let judged = Judged::new(|_, rows| match rows.iter().any(|row| row % 2 == 1) {
        true => Err(Error::failed("odd")),
        false => Ok(()),
    });
    let scratch = Scratch::new();
    let path = scratch.path("dead.csv").display().to_string();
    let sql = letters(
        "Dead",
        &format!(" WITH (type = 'sink', extension = 'file', format = 'csv', path = '{path}')"),
    ) + "CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'taken', error.strategy = 'dlq', error.dlq.stream = 'Dead');
         CREATE STREAM S (x LONG);
         INSERT INTO T SELECT x FROM S;
         INSERT INTO Closed SELECT count(*) AS n, min(originalEvent) AS first FROM !T WINDOW TUMBLING(1 DAY);";
    let app = EventFlux::builder()
        .register_connector(judged.connector())
        .sql(sql)
        .build()
        .unwrap();
    let closed = collect(&app, "Closed");
    send(&app, 9).unwrap();
    assert_eq!(*judged.taken.lock(), [0, 2, 4, 6, 8]);
    assert_eq!(*closed.lock(), [json!({"n": 4, "first": "{\"x\":1}"})]);
    // The header, and a line for each.
    assert_eq!(scratch.lines("dead.csv").len(), 5);
}

/// A sink that keeps what it takes in a buffer: what is in doubt when it fails is given up whole, and nothing else.
#[test]
fn a_full_disk_takes_what_is_in_doubt_and_no_more() {
    let scratch = Scratch::with(&[(
        "app.sql",
        &(letters(
            "Dead",
            " WITH (type = 'sink', extension = 'file', format = 'json', path = 'dead.ndjson')",
        ) + "CREATE STREAM S (n LONG) WITH (type = 'source', extension = 'datagen', datagen.rows = '20000',
                 datagen.fields.n.kind = 'sequence');
               CREATE STREAM T (n LONG) WITH (type = 'sink', extension = 'file', format = 'json', path = '/dev/full',
                 error.strategy = 'dlq', error.dlq.stream = 'Dead');
               CREATE STREAM U (n LONG) WITH (type = 'sink', extension = 'file', format = 'json', path = 'all.ndjson');
               INSERT INTO T SELECT n FROM S; INSERT INTO U SELECT n FROM S;"),
    )]);
    scratch.run(["run", "app.sql", "--quiet"]).code(0);
    let events = scratch.lines("dead.ndjson").into_iter().map(|line| {
        let row: Value = serde_json::from_str(&line).unwrap();
        row["originalEvent"].as_str().unwrap().to_string()
    });
    let events: VecDeque<String> = events.collect();
    assert_eq!(events.len(), 20_000);
    assert_eq!(events, scratch.lines("all.ndjson"));
}

/// A pipe whose reader goes away, and another comes: what was written meanwhile has waited in the pipe.
#[test]
fn a_pipe_whose_reader_changes() {
    let scratch = Scratch::new();
    let path = scratch.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let sql = format!(
        "CREATE STREAM S (x LONG);
         CREATE STREAM T (x LONG) WITH (type = 'sink', extension = 'file', format = 'json', path = '{}', error.strategy = 'retry',
           error.retry.max-attempts = 0{FAST});
         INSERT INTO T SELECT x FROM S;",
        path.display()
    );
    let reader = |lines: usize| {
        let path = path.clone();
        std::thread::spawn(move || {
            use std::io::BufRead;
            let file = std::fs::File::open(path).unwrap();
            let lines = std::io::BufReader::new(file).lines().take(lines);
            lines.map(|line| line.unwrap()).collect::<Vec<String>>()
        })
    };
    let first = reader(1);
    let app = EventFlux::builder().sql(sql).build().unwrap();
    app.start().unwrap();
    let input = app.input("S").unwrap();
    input.send((1,)).unwrap();
    assert_eq!(
        within_deadline("the first reader", move || first.join()).unwrap(),
        ["{\"x\":1}"]
    );
    input.send((2,)).unwrap();
    let second = reader(2);
    input.send((3,)).unwrap();
    let lines = within_deadline("the second reader", move || second.join()).unwrap();
    assert_eq!(lines, ["{\"x\":2}", "{\"x\":3}"]);
    app.shutdown().unwrap();
}
