//! The csv format: records of fields between delimiters (RFC 4180).

mod decoder;
mod encoder;
mod format;
mod framer;
mod grammar;
mod header;
mod mapping;
mod options;
#[cfg(test)]
mod tests;

pub use format::CsvFormat;
