//! Objects: state as it is kept, compressed, under a name that is the hash of what it is.

use crate::error::{Error, Result};

/// The fastest level: state is mostly numbers and short texts, of which it takes most of what there is to take.
const LEVEL: i32 = 1;

/// How many bytes of the hash are kept: enough that no two states are ever called the same.
const BYTES: usize = 16;

/// The hash of bytes, as text.
pub fn hash(bytes: &[u8]) -> String {
    text(&blake3::hash(bytes))
}

/// A hash as text.
pub fn text(hash: &blake3::Hash) -> String {
    hash.as_bytes()[..BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// State as it is kept.
pub fn pack(state: &[u8]) -> Result<Vec<u8>> {
    zstd::bulk::compress(state, LEVEL).map_err(|error| Error::io("cannot compress state", error))
}

/// State from what is kept; `Err` says how it is damaged. No more than `bytes` is made of it.
pub fn unpack(kept: &[u8], bytes: u64) -> Result<Vec<u8>, String> {
    let bytes = usize::try_from(bytes).map_err(|_| "it is too large for this machine".to_string())?;
    let state = zstd::bulk::decompress(kept, bytes).map_err(|error| format!("it cannot be decompressed: {error}"))?;
    match state.len() == bytes {
        true => Ok(state),
        false => Err(format!("it holds {} bytes instead of {bytes}", state.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_comes_back_and_damage_is_noticed() {
        for state in [Vec::new(), vec![7; 100_000], (0..=255).cycle().take(1_000).collect()] {
            let kept = pack(&state).unwrap();
            let bytes = state.len() as u64;
            assert_eq!(unpack(&kept, bytes).unwrap(), state);
            assert!(unpack(&kept[..kept.len() - 1], bytes).is_err());
            assert!(unpack(&kept, bytes + 1).is_err());
        }
        assert!(pack(&[7; 100_000]).unwrap().len() < 100);
        assert_ne!(hash(b"a"), hash(b"b"));
    }
}
