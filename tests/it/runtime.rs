//! The engine at work, through the embedding API: both modes, order and time, back-pressure, snapshots, failures, the end.

mod connectors;
mod ends;
mod failures;
mod gradual;
mod modes;
mod snapshots;
mod time;

use std::sync::Arc;

use eventflux::{App, Rows};
use parking_lot::Mutex;
use serde_json::Value;

/// The rows that a stream gets from now on, taken out by each call. A callback, which never holds the app back.
fn rows_of(app: &App, stream: &str) -> impl Fn() -> Vec<Value> + use<> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let collected = rows.clone();
    app.on(stream, move |batch| {
        collected.lock().extend(batch.rows::<Value>().unwrap())
    })
    .unwrap();
    move || std::mem::take(&mut *rows.lock())
}
