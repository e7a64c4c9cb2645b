//! The json format: one object a line (NDJSON), an array of them, or messages of any form of which paths say where records
//! and columns are.

mod decoder;
#[cfg(feature = "http")]
mod document;
mod encoder;
mod fast;
mod format;
mod framer;
mod mapping;
mod options;
mod path;
mod rows;
mod scalars;
mod shape;
mod strict;
#[cfg(test)]
mod tests;

#[cfg(feature = "http")]
pub(crate) use document::on_lines;
pub use format::JsonFormat;
pub(super) use framer::LineFramer;
