//! Tables below SQL: what every backend must do alike, and what each does by itself.

mod cache;
mod concurrent;
mod dml;
mod lookups;
mod model;
mod snapshots;
mod support;
mod types;
