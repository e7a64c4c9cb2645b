//! The format `parquet`: files of columns, with what they hold at their end.

mod decoder;
mod encoder;
mod format;
mod intervals;
#[cfg(test)]
mod tests;

pub use format::ParquetFormat;
