//! The embedding API: build an app from SQL, feed it, listen to it, stop it.

mod builder;
mod input;
mod query;
mod rows;
mod running;
mod subscription;

pub use builder::{Builder, EventFlux};
pub use input::Input;
pub use rows::Rows;
pub use running::App;
pub use subscription::Subscription;
