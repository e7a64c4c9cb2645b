//! The format `protobuf`: messages of Protocol Buffers, by a descriptor set.

mod decoder;
mod encoder;
mod format;
mod shape;
#[cfg(test)]
mod tests;
mod values;

pub use format::ProtobufFormat;
