//! Random numbers by position: the number of row `n` is a hash of `n`, so that rows are equal however they are batched, any row
//! can be made first, and loops over rows have no dependency from one to the next.
//!
//! The hash is SplitMix64's (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, 2014), whose state is
//! a counter.

use std::convert::Infallible;

use rand::rand_core::TryRng;

/// 2^64 divided by the golden ratio: the increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the numbers of a column are for; each use has a stream of its own.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    /// The values.
    Value,
    /// Which of them are NULL.
    Null,
    /// How much later times are.
    Jitter,
    /// How much earlier times are.
    Disorder,
}

/// One number per row.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream of a column.
    pub fn new(seed: u64, column: usize, use_: Use) -> Self {
        let stream = (column as u64) << 8 | use_ as u64;
        Stream {
            key: mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(stream.wrapping_mul(GOLDEN))),
        }
    }

    /// 64 random bits for a row.
    #[inline]
    pub fn bits(self, row: u64) -> u64 {
        mix(self.key.wrapping_add(row.wrapping_mul(GOLDEN)))
    }

    /// A number from 0 to below `bound`; any number when `bound` is 0. Off by at most `bound` / 2^64 in probability.
    #[inline]
    pub fn below(self, row: u64, bound: u64) -> u64 {
        match bound {
            0 => self.bits(row),
            _ => ((u128::from(self.bits(row)) * u128::from(bound)) >> 64) as u64,
        }
    }

    /// A number from 0 to below 1.
    #[inline]
    pub fn unit(self, row: u64) -> f64 {
        (self.bits(row) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// As many random bits as a distribution needs for a row.
    #[inline]
    pub fn rng(self, row: u64) -> RowRng {
        RowRng(self.bits(row))
    }
}

/// A SplitMix64 generator for one row.
pub struct RowRng(u64);

impl TryRng for RowRng {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|bits| (bits >> 32) as u32)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(GOLDEN);
        Ok(mix(self.0))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let random = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        Ok(())
    }
}
