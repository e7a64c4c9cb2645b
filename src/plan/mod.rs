//! The compiler: statements → logical plan → stream plan.

pub mod compile;
mod condition;
pub mod context;
mod current_values;
pub mod define;
mod event_time_node;
pub mod explain;
mod failure;
pub mod logical;
mod lower;
mod lower_aggregate;
mod lower_rate;
mod lower_sessions;
mod lower_slices;
mod lower_window;
mod match_text;
mod partition;
mod refuse;
mod resolve;
mod session_keys;
pub mod stream_plan;
mod text;
mod watermark;
mod wildcard;
mod window_args;
mod window_node;
