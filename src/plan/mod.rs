//! Planning.
pub mod stream_plan;
