//! Configuration: option tables, environment variables, redaction.

pub mod duration;
pub mod environment;
pub mod nearest;
pub mod options;
