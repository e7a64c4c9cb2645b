//! The format `avro`: object container files, and messages by a schema or a registry of schemas.

mod container;
mod decoder;
mod derive;
mod encoder;
mod format;
mod framer;
mod options;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

pub use format::AvroFormat;
