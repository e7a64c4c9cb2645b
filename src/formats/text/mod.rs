//! The formats `text` and `bytes`: a whole line, or a whole message, is one value.

mod decoder;
mod encoder;
mod format;
mod framer;
#[cfg(test)]
mod tests;

pub use format::{BytesFormat, TextFormat};
#[cfg(feature = "parquet")]
pub(crate) use framer::MessageFramer;
