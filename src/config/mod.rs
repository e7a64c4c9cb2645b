//! Configuration: option tables, layers, environment variables, redaction.

pub mod checkpoints;
pub mod duration;
pub mod environment;
pub mod layers;
pub mod nearest;
pub mod options;
