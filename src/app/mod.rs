//! The embedding API: build an app from SQL, feed it, listen to it, stop it.

mod builder;
mod checkpoints;
mod input;
mod query;
mod rows;
mod running;
mod subscription;

pub use builder::{Builder, EventFlux};
pub use checkpoints::{CheckpointStats, Checkpoints};
pub use input::Input;
pub use rows::Rows;
pub use running::App;
pub use subscription::Subscription;
