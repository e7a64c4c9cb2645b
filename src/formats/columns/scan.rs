//! Searching short stretches of bytes, eight at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The eight bytes at `at`, the first in the lowest bits; `None` near the end.
#[inline(always)]
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*eight))
}

/// The high bit of every byte of `word` that equals `byte` (bytes above the lowest hit may be wrong).
#[inline(always)]
pub(crate) fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * u64::from(byte));
    differs.wrapping_sub(ONES) & !differs & HIGH
}

/// The high bit of every byte below 0x20 (bytes above the lowest hit may be wrong).
#[inline(always)]
fn control(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGH
}

/// The position of the first `"`, `\` or control character from `at` on.
#[inline(always)]
pub(crate) fn string_stop(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(word) = word(bytes, at) {
        let hits = equal(word, b'"') | equal(word, b'\\') | control(word);
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
        .map(|found| at + found)
}

/// The position of the first `a` or `b` from `at` on, or the end.
#[inline(always)]
pub(crate) fn either(bytes: &[u8], mut at: usize, a: u8, b: u8) -> usize {
    while let Some(word) = word(bytes, at) {
        let hits = equal(word, a) | equal(word, b);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < bytes.len() && bytes[at] != a && bytes[at] != b {
        at += 1;
    }
    at
}
