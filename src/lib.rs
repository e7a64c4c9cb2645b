//! EventFlux: a SQL complex-event-processing engine, to run or to embed.
//!
//! An app is SQL text: streams, and queries that make streams of streams. [`EventFlux::builder`] compiles it, [`App::input`]
//! feeds it, [`App::subscribe`] and [`App::on`] listen to it.
//!
//! ```
//! use eventflux::{EventFlux, Rows};
//!
//! let app = EventFlux::builder()
//!     .sql("CREATE STREAM Trades (symbol STRING, price DOUBLE);
//!           INSERT INTO Expensive SELECT symbol FROM Trades WHERE price > 100;")
//!     .inline()
//!     .build()?;
//! app.on("Expensive", |batch| {
//!     for (symbol,) in batch.rows::<(String,)>().unwrap_or_default() {
//!         println!("{symbol} is expensive");
//!     }
//! })?;
//! app.start()?;
//! app.input("Trades")?.send(("ACME", 120.5))?;
//! app.shutdown()?;
//! # Ok::<(), eventflux::Error>(())
//! ```

// The code of the book's page on embedding is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
mod embedding_page {}

pub mod app;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod connectors;
pub mod error;
pub mod event;
pub mod formats;
#[cfg(any(feature = "http", feature = "server"))]
mod net;
pub mod operators;
pub mod patterns;
pub mod plan;
pub mod recovery;
mod redaction;
pub mod row_patterns;
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
pub mod tables;
pub mod testing;
#[cfg(test)]
mod watched;
pub mod windows;

pub use app::{App, Builder, CheckpointStats, Checkpoints, EventFlux, Input, Rows, Subscription};
pub use config::layers::Layers;
pub use error::{Diagnostic, Error, Result};
pub use event::{EventBatch, Micros, VirtualClock};
pub use runtime::snapshot::Snapshot;
