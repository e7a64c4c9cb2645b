//! What names mean: types, streams, functions.

pub mod aggregates;
pub mod error_policy;
pub mod faults;
pub mod functions;
pub mod names;
pub mod scalars;
pub mod streams;
pub mod tables;
pub mod types;
pub mod windows;
