//! Panics and errors: the app ends, says why, and never hangs.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use eventflux::connectors::SourceOutput;
use eventflux::event::EventBatch;
use eventflux::{App, Builder, Error, EventFlux, Result};
use parking_lot::Mutex;

use super::connectors::{Made, THROUGH, Taken, counting};
use crate::support::{Switch, within_deadline};

fn panicking() -> Builder {
    EventFlux::builder().register_function("panics", vec![DataType::Int64], DataType::Int64, |_| {
        panic!("the function's own words")
    })
}

/// The error that an app ends with.
#[track_caller]
fn failure(app: App) -> String {
    within_deadline("the app", move || app.wait()).unwrap_err().to_string()
}

#[test]
fn a_function_that_panics_ends_the_app() {
    let app = panicking()
        .sql("CREATE STREAM S (x LONG); INSERT INTO T SELECT panics(x) AS y FROM S;")
        .build()
        .unwrap();
    let rows = app.subscribe("T").unwrap();
    app.start().unwrap();
    let input = app.input("S").unwrap();
    input.send((1,)).unwrap();
    // The subscription ends, sending fails with the reason, and so does waiting.
    assert_eq!(within_deadline("the subscription", move || rows.count()), 0);
    let refused = within_deadline("sending", move || {
        loop {
            if let Err(error) = input.send((2,)) {
                return error;
            }
        }
    });
    assert!(refused.to_string().contains("the function's own words"), "{refused}");
    assert!(failure(app).contains("the function's own words"));
}

#[test]
fn a_function_that_panics_in_one_part_ends_the_others() {
    let produce = |schema: &SchemaRef, out: &mut SourceOutput| {
        let mut start = 0;
        while out.emit(counting(schema, start, 10), None) == eventflux::connectors::Flow::Continue {
            start += 10;
        }
        Ok(())
    };
    for inline in [false, true] {
        let builder = panicking().register_connector(Arc::new(Made(produce))).sql(
            "CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'made');
             CREATE STREAM U (x LONG) WITH (type = 'source', extension = 'made');
             INSERT INTO T SELECT panics(x) AS y FROM S WHERE x > 1000;
             INSERT INTO V SELECT x FROM U;",
        );
        let app = if inline { builder.inline() } else { builder }.build().unwrap();
        app.start().unwrap();
        let failure = failure(app);
        assert!(failure.contains("the function's own words"), "{failure}");
    }
}

#[test]
fn a_callback_that_panics_ends_the_app() {
    let app = EventFlux::builder().sql("CREATE STREAM S (x LONG);").build().unwrap();
    app.on("S", |_| panic!("the callback's own words")).unwrap();
    app.start().unwrap();
    app.input("S").unwrap().send((1,)).unwrap();
    let failure = failure(app);
    assert!(failure.contains("the callback's own words"), "{failure}");
}

/// The failure of an app from a source to a sink that do that.
fn through(
    produce: impl Fn(&SchemaRef, &mut SourceOutput) -> Result<()> + Clone + Send + Sync + 'static,
    take: impl Fn(&EventBatch) -> Result<()> + Clone + Send + Sync + 'static,
    inline: bool,
) -> String {
    let builder = EventFlux::builder()
        .register_connector(Arc::new(Made(produce)))
        .register_connector(Arc::new(Taken {
            write: take,
            immediate: false,
            flushed: Switch::default(),
        }))
        .sql(THROUGH);
    let app = if inline { builder.inline() } else { builder }.build().unwrap();
    app.start().unwrap();
    failure(app)
}

/// One batch, then silence until the app stops.
fn one_batch(schema: &SchemaRef, out: &mut SourceOutput) -> Result<()> {
    let _ = out.emit(counting(schema, 0, 1), None);
    let _ = out.wait(std::time::Duration::from_secs(3_600));
    Ok(())
}

#[test]
fn sources_and_sinks_that_fail_or_panic_end_the_app() {
    let takes = |_: &EventBatch| Ok(());
    for inline in [false, true] {
        let failure = through(|_, _| Err(Error::failed("no such host")), takes, inline);
        assert_eq!(failure, "source of stream S: no such host", "inline: {inline}");
        let failure = through(|_, _| panic!("bad source"), takes, inline);
        assert!(
            failure.starts_with("source of stream S: ") && failure.contains("bad source"),
            "{failure}"
        );
        let failure = through(one_batch, |_| panic!("bad sink"), inline);
        assert!(failure.contains("bad sink"), "{failure}");
        let failure = through(one_batch, |_| Err(Error::failed("no space")), inline);
        assert!(
            failure.contains("sink of stream T: no space"),
            "inline: {inline}: {failure}"
        );
    }
}

#[test]
fn bad_events_are_told_to_whoever_listens() {
    for strict in [false, true] {
        let app = EventFlux::builder()
            .sql(format!(
                "CREATE STREAM S (x LONG) WITH (error.strategy = '{}'); INSERT INTO T SELECT 6 / x AS y FROM S;",
                if strict { "fail" } else { "drop" }
            ))
            .build()
            .unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        app.on_error("S", move |error| {
            tell.lock().push((error.kind.as_str(), error.event.clone()))
        })
        .unwrap();
        let rows = app.subscribe("T").unwrap();
        app.start().unwrap();
        let result = {
            let app = app.clone();
            within_deadline("the app", move || {
                app.input("S").unwrap().send_rows([(3,), (0,), (2,)]).unwrap();
                app.wait()
            })
        };
        assert_eq!(result.is_err(), strict, "{result:?}");
        assert_eq!(*told.lock(), [("evaluate", "{\"x\":0}".to_string())]);
        assert_eq!(app.stats().unwrap().streams[0].errors["evaluate"], 1);
        if !strict {
            assert_eq!(rows.map(|batch| batch.num_rows()).sum::<usize>(), 2);
        }
    }
}
