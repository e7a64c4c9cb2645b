//! The embedding API: build an app from SQL, feed it, listen to it, stop it.

mod builder;
mod checkpoints;
mod input;
#[cfg(feature = "server")]
mod kept;
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
#[cfg(feature = "server")]
pub(crate) use kept::{KeptStates, kept_id};
pub use rows::Rows;
pub use running::App;
#[cfg(feature = "server")]
pub(crate) use running::WeakApp;
#[cfg(feature = "server")]
pub use shown::{Shown, ShownBy, Targets};
pub use subscription::Subscription;
