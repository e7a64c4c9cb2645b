//! The compiler: statements → logical plan → stream plan.

pub mod compile;
pub mod context;
mod current_values;
pub mod define;
pub mod explain;
mod failure;
pub mod logical;
mod lower;
mod lower_aggregate;
mod lower_slices;
mod lower_window;
mod match_text;
mod refuse;
mod resolve;
mod sql_functions;
pub mod stream_plan;
mod text;
mod watermark;
mod window_args;
mod window_node;
