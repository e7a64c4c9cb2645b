//! Windows, aggregates and OVER over random events equal the same computation over all of them at once.
//!
//! The oracle is DataFusion: the events as one finite table, windows written as plain SQL (arithmetic, gaps and islands, self
//! joins), so that nothing of how a window works is shared. One app has all queries of a test, so that a set of events costs
//! one compilation.

mod aggregates;
mod by_clock;
mod changes;
mod closing;
mod data;
mod diagnostics;
mod emit_changes;
mod engine;
pub mod oracle;
mod over;
mod restarts;
mod sessions;
mod sliding;
