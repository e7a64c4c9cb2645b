//! The compiler: statements → logical plan → stream plan.

pub mod compile;
pub mod context;
pub mod define;
pub mod explain;
mod failure;
pub mod logical;
mod lower;
mod match_text;
mod refuse;
mod resolve;
pub mod stream_plan;
mod text;
mod watermark;
