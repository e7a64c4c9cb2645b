//! Tables below SQL: what every backend must do alike, and what each does by itself.

mod cache;
mod concurrent;
mod dml;
mod language;
mod lookups;
mod model;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
pub mod server;
mod snapshots;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod statements;
mod support;
mod types;
