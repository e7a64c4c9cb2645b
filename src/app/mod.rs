//! The embedding API: build an app from SQL, feed it, listen to it, stop it.

mod builder;
mod checkpoints;
mod input;
mod query;
mod rows;
mod running;
#[cfg(feature = "server")]
mod shown;
mod subscription;
#[cfg(feature = "server")]
mod watch;

pub use builder::{Builder, EventFlux};
pub use checkpoints::{CheckpointStats, Checkpoints};
pub use input::Input;
pub use rows::Rows;
pub use running::App;
#[cfg(feature = "server")]
pub use shown::{Shown, ShownBy, Targets};
pub use subscription::Subscription;
