//! The json format: one object a line (NDJSON); a line may also hold an array of objects.

mod decoder;
mod encoder;
mod fast;
mod format;
mod framer;

mod strict;
#[cfg(test)]
mod tests;

pub use format::JsonFormat;
