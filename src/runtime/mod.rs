//! Running an app: threads, channels, clocks, counters.

mod build;
pub mod cut;
mod error_rows;
pub mod errors;
mod exchange;
pub mod graph;
mod graph_errors;
pub mod guarded_sink;
pub mod instance;
mod joined;
pub mod metrics;
mod placement;
pub mod snapshot;
pub mod source_thread;
pub mod tap;
pub mod task;

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "internal error (please report it): {}",
        text.unwrap_or_else(|| "panic".to_string())
    )
}
