//! Encryption of what is kept: AES-256-GCM, so that what was changed is noticed, too.
//!
//! An object is a random nonce, then what is sealed with it; the object's name is authenticated with it, so that one cannot stand in for
//! another. Names of objects are hashes with a key of their own: they do not tell what is in them. The folder says by what key it
//! was written with a value that is made from the key, and from which the key cannot be found.

use std::fmt;
use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Error, Result};

/// The environment variable in which the command line looks for the key.
pub const KEY_VARIABLE: &str = "EVENTFLUX_STATE_KEY";

/// The length of a key in bytes.
const KEY_BYTES: usize = 32;

/// The length of a nonce in bytes.
const NONCE_BYTES: usize = 12;

/// A key, and what is made of it. `Debug` does not show it.
#[derive(Clone)]
pub struct Cipher {
    aead: Aes256Gcm,
    names: [u8; KEY_BYTES],
    check: String,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

impl Cipher {
    /// Of 32 bytes.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let check = blake3::derive_key("eventflux 2026 state: check of the key", key);
        Cipher {
            aead: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)),
            names: blake3::derive_key("eventflux 2026 state: names of objects", key),
            check: check[..16].iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Of a key as text: 32 bytes, in hexadecimal digits or base64. `None` if it is not one.
    pub fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = match text.len() == 2 * KEY_BYTES {
            true => from_hex(text)?,
            false => BASE64.decode(text).ok()?,
        };
        Some(Cipher::new(&<[u8; KEY_BYTES]>::try_from(bytes).ok()?))
    }

    /// Of the key that stands in a file.
    pub fn of_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::io(format!("cannot read the key in {}", path.display()), error))?;
        Cipher::of_text(&text)
            .ok_or_else(|| Error::usage(format!("{} does not hold a key: {WHAT_A_KEY_IS}", path.display())))
    }

    /// What a folder says of the key it was written with.
    pub fn check(&self) -> &str {
        &self.check
    }

    /// The name of an object that holds `state`.
    pub fn name(&self, state: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.names, state)
    }

    /// Seals the object of that name.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload {
            msg: plain,
            aad: name.as_bytes(),
        };
        let sealed = self.aead.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::failed(format!("cannot encrypt {name}: it is too large")))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// What was sealed; `None` if it is damaged, or not what that name stands for.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: name.as_bytes(),
        };
        self.aead.decrypt(&Nonce::from(*nonce), payload).ok()
    }
}

/// For messages.
pub const WHAT_A_KEY_IS: &str = "32 bytes as 64 hexadecimal digits or in base64, such as `openssl rand -hex 32` gives";

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().map(|byte| char::from(byte).to_digit(16));
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    let bytes = digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok());
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_comes_back_and_every_change_is_noticed() {
        let cipher = Cipher::new(&[7; 32]);
        let sealed = cipher.seal("objects/a", b"secret").unwrap();
        assert_eq!(cipher.open("objects/a", &sealed).unwrap(), b"secret");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_ne!(
            sealed,
            cipher.seal("objects/a", b"secret").unwrap(),
            "a nonce is used once"
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(cipher.open("objects/a", &changed), None);
            assert_eq!(cipher.open("objects/a", &sealed[..at]), None);
        }
        assert_eq!(cipher.open("objects/b", &sealed), None);
        assert_eq!(Cipher::new(&[8; 32]).open("objects/a", &sealed), None);
    }

    #[test]
    fn keys_are_read_from_digits_and_base64() {
        let hex = "0f".repeat(32);
        let base64 = BASE64.encode([15; 32]);
        let checks = [hex.as_str(), &base64, &format!("{hex}\n"), &hex.to_uppercase()]
            .map(|text| Cipher::of_text(text).unwrap().check);
        assert!(checks.iter().all(|check| *check == checks[0]));
        for wrong in ["", "0f", &"0g".repeat(32), &BASE64.encode([15; 31]), &"é".repeat(32)] {
            assert!(Cipher::of_text(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{:?}", Cipher::new(&[7; 32])).contains('7'));
    }
}
