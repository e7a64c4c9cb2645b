//! [`Bits`]: a bit for each row of a chunk.

use arrow::buffer::{BooleanBuffer, Buffer};

use super::places::CHUNK;

const WORDS: usize = CHUNK / 64;

/// A bit a row.
#[derive(Debug, Clone)]
pub(super) struct Bits(Box<[u64; WORDS]>);

impl Default for Bits {
    fn default() -> Self {
        Bits(Box::new([0; WORDS]))
    }
}

impl Bits {
    #[inline]
    pub fn get(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    #[inline]
    pub fn set(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    #[inline]
    pub fn clear(&mut self, bit: usize) {
        self.0[bit / 64] &= !(1 << (bit % 64));
    }

    /// The first bit from `from` on that is not set.
    pub fn first_clear(&self, from: usize) -> Option<usize> {
        if from >= CHUNK {
            return None;
        }
        let mut free = !self.0[from / 64] & (u64::MAX << (from % 64));
        let mut word = from / 64;
        while free == 0 {
            word += 1;
            free = !*self.0.get(word)?;
        }
        Some(word * 64 + free.trailing_zeros() as usize)
    }

    /// One more than the last bit that is set.
    pub fn length(&self) -> usize {
        let last = self.0.iter().rposition(|word| *word != 0);
        last.map_or(0, |word| (word + 1) * 64 - self.0[word].leading_zeros() as usize)
    }

    /// The bits that are set.
    pub fn ones(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(index * 64 + bit as usize)
            })
        })
    }

    /// A copy of the first bits.
    pub fn buffer(&self, length: usize) -> BooleanBuffer {
        BooleanBuffer::new(Buffer::from_slice_ref(self.0.as_slice()), 0, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_set_and_what_is_not() {
        let mut bits = Bits::default();
        assert_eq!((bits.first_clear(0), bits.length()), (Some(0), 0));
        (0..130).for_each(|bit| bits.set(bit));
        bits.clear(70);
        assert_eq!((bits.first_clear(0), bits.first_clear(71)), (Some(70), Some(130)));
        assert_eq!((bits.length(), bits.ones().count()), (130, 129));
        (0..CHUNK).for_each(|bit| bits.set(bit));
        assert_eq!((bits.first_clear(0), bits.length()), (None, CHUNK));
        assert!(bits.ones().eq(0..CHUNK));
    }
}
