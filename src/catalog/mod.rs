//! What names mean: types, streams, functions.

pub mod names;
pub mod types;
