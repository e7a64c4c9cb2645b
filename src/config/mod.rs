//! Configuration: option tables, layers, environment variables, redaction.

pub mod access;
pub mod app_options;
pub mod checkpoints;
pub mod duration;
pub mod environment;
mod layer;
mod layer_environment;
pub mod layers;
pub mod nearest;
pub mod options;
pub mod s3;
pub mod server;
pub mod triggers;
