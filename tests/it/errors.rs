//! Events in trouble: every strategy, at sources, in queries and at sinks; poison input; and what becomes of it all when the app
//! is killed.

#[path = "errors/events.rs"]
mod events;
#[path = "errors/killed.rs"]
mod killed;
#[path = "errors/poison.rs"]
mod poison;
#[path = "errors/sinks.rs"]
mod sinks;
#[path = "errors/sources.rs"]
mod sources;

use eventflux::{App, Rows};
use serde_json::Value;

/// The columns of a stream of dead letters.
const LETTERS: &str = "originalEvent STRING, errorMessage STRING, errorType STRING, timestamp TIMESTAMP, attemptCount INT, \
                       streamName STRING";

/// Declares a stream of dead letters.
fn letters(name: &str, with: &str) -> String {
    format!("CREATE STREAM {name} ({LETTERS}){with};\n")
}

/// The rows that a stream gets from now on.
fn collect(app: &App, stream: &str) -> std::sync::Arc<parking_lot::Mutex<Vec<Value>>> {
    let rows = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let collected = rows.clone();
    let take = move |batch: &eventflux::event::EventBatch| collected.lock().extend(batch.rows::<Value>().unwrap());
    app.on(stream, take).unwrap();
    rows
}

/// One column of rows.
fn column(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}
