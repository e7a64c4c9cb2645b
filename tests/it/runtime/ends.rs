//! Starting and ending, and the errors of using the API wrongly.

use eventflux::{App, Error, EventFlux};

use super::rows_of;
use crate::support::within_deadline;

const APP: &str = "CREATE STREAM Trades (symbol STRING, price DOUBLE);
    INSERT INTO Expensive SELECT symbol FROM Trades WHERE price > 100;";

fn apps() -> [App; 2] {
    let builder = || EventFlux::builder().sql(APP);
    [builder().build().unwrap(), builder().inline().build().unwrap()]
}

#[test]
fn the_end_waits_for_all_that_was_sent() {
    for end in [App::shutdown as fn(&App) -> eventflux::Result<()>, App::wait] {
        for app in apps() {
            let rows = rows_of(&app, "Expensive");
            app.start().unwrap();
            let input = app.input("Trades").unwrap();
            for _ in 0..5_000 {
                input.send(("ACME", 120.5)).unwrap();
            }
            let ending = app.clone();
            within_deadline("the app", move || end(&ending)).unwrap();
            assert!(app.is_finished());
            assert_eq!(rows().len(), 5_000);
        }
    }
}

#[test]
fn nothing_can_be_sent_after_the_end() {
    for app in apps() {
        app.start().unwrap();
        let input = app.input("Trades").unwrap();
        input.send(("ACME", 1.0)).unwrap();
        app.shutdown().unwrap();
        let error = within_deadline("sending", move || input.send(("ACME", 1.0))).unwrap_err();
        assert!(matches!(error, Error::Closed), "{error:?}");
        // Ending twice is no error, and what there is to know can be asked still.
        app.shutdown().unwrap();
        app.wait().unwrap();
        assert_eq!(app.stats().unwrap().queries[0].rows_in, 1);
    }
}

#[test]
fn names_that_do_not_exist_are_errors_with_a_suggestion() {
    let [app, _] = apps();
    let errors = [
        app.subscribe("Trade").map(|_| ()),
        app.on("trads", |_| {}),
        app.on_error("Trade", |_| {}),
        app.input("Tradse").map(|_| ()),
        app.stream("Trade").map(|_| ()),
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Usage(_)));
        assert!(error.to_string().contains("did you mean 'Trades'?"), "{error}");
    }
    assert_eq!(
        app.subscribe("Weather").unwrap_err().to_string(),
        "there is no stream 'Weather'"
    );
    // Case makes no difference where it leaves one candidate.
    app.subscribe("expensive").unwrap();
}

#[test]
fn the_api_says_what_it_is_used_wrongly_for() {
    for app in apps() {
        assert!(app.input("Trades").unwrap().send(("ACME", 1.0)).is_err(), "not started");
        assert!(app.stats().is_err() && app.snapshot().is_err() && app.shutdown().is_err());
        app.start().unwrap();
        assert!(app.start().unwrap_err().to_string().contains("started already"));
        assert!(app.on_error("Trades", |_| {}).is_err());
        let input = app.input("Trades").unwrap();
        let table = [
            (
                input.send(("ACME", "dear")).unwrap_err(),
                "column 'price': expected DOUBLE",
            ),
            (
                input.send(("ACME", 1.0, 2)).unwrap_err(),
                "stream Trades has 2 columns, the row has 3",
            ),
            (input.send(7).unwrap_err(), "expected a JSON object"),
        ];
        for (error, text) in table {
            assert!(
                matches!(error, Error::Usage(_)) && error.to_string().contains(text),
                "{error}"
            );
        }
        // None of that is in the app.
        app.wait().unwrap();
        assert_eq!(app.stats().unwrap().queries[0].rows_in, 0);
    }
}

#[test]
fn a_subscriber_of_a_running_app_hears_what_comes_from_then_on() {
    for app in apps() {
        app.start().unwrap();
        let input = app.input("Trades").unwrap();
        input.send(("EARLY", 101.0)).unwrap();
        // Its barrier: all that was sent before is through.
        app.snapshot().unwrap();
        let rows = rows_of(&app, "Expensive");
        app.snapshot().unwrap();
        input.send(("LATE", 101.0)).unwrap();
        app.wait().unwrap();
        assert_eq!(rows(), [serde_json::json!({ "symbol": "LATE" })]);
    }
}

#[test]
fn a_subscriber_that_goes_away_stops_nothing() {
    for app in apps() {
        drop(app.subscribe("Expensive").unwrap());
        let rows = rows_of(&app, "Expensive");
        app.start().unwrap();
        app.input("Trades").unwrap().send(("ACME", 101.0)).unwrap();
        app.wait().unwrap();
        assert_eq!(rows().len(), 1);
    }
}
