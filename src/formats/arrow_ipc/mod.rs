//! The format `arrow`: Arrow's IPC stream, columns as they are in memory.

mod decoder;
mod encoder;
mod format;
mod framer;
mod message;
#[cfg(test)]
mod tests;

pub use format::ArrowFormat;
