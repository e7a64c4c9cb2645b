//! Byte inputs, block-wise: what every source of bytes shares.
//!
//! A source reads straight into a [`Cutter`]'s buffer. The cutter asks the format's framer where the last whole record
//! ends and gives away the buffer itself as a block; only the partial record at its end is copied. A [`DecodeQueue`]
//! decodes blocks, the big ones on a few threads, and hands the results over in input order. Nothing here works per
//! line or per row.

mod cutter;
pub(super) mod options;
mod queue;

pub(super) use cutter::{Cutter, Piece};
pub(super) use options::ReadOptions;
pub(super) use queue::{Buffers, DecodeQueue};

#[cfg(test)]
mod tests;
