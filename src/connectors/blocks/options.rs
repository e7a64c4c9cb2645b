//! The options that all byte sources have in common.

use std::num::NonZero;

use crate::config::options::{OptionKind, OptionSpec, Options};

/// How much is read and decoded at once.
pub const BLOCK_BYTES: OptionSpec = OptionSpec::new(
    "block-bytes",
    OptionKind::Integer {
        min: 65536,
        max: 1 << 28,
    },
    "How many bytes are read and decoded at once. Bigger blocks cost memory, smaller ones speed.",
)
.default("1048576");

/// How many threads decode.
pub const DECODERS: OptionSpec = OptionSpec::new(
    "decoders",
    OptionKind::Integer { min: 1, max: 256 },
    "How many threads decode blocks in parallel; results keep the order of the input. 1 decodes in the source's own \
     thread. Default: one per core.",
);

/// The common options, read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Bytes read and decoded at once.
    pub block_bytes: usize,
    /// Decoding threads.
    pub decoders: usize,
}

impl ReadOptions {
    /// From checked options that have [`BLOCK_BYTES`] and [`DECODERS`].
    pub fn new(options: &Options) -> Self {
        let size = |name, default| {
            options
                .integer(name)
                .and_then(|value| usize::try_from(value).ok())
                .unwrap_or(default)
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        ReadOptions {
            block_bytes: size("block-bytes", 1 << 20),
            decoders: size("decoders", cores),
        }
    }
}
