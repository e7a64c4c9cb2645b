//! Public keys in PEM: the few forms of `SubjectPublicKeyInfo` (RFC 5280) that there are.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const BIT_STRING: u8 = 0x03;

/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A public key.
#[derive(Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// `RSAPublicKey`, as DER.
    Rsa(Vec<u8>),
    /// A point of P-256.
    P256(Vec<u8>),
    /// A point of P-384.
    P384(Vec<u8>),
    /// Of Ed25519.
    Ed25519(Vec<u8>),
}

/// Reads one. *Errors.* What it is not.
pub fn public_key(pem: &[u8]) -> Result<PublicKey, String> {
    let info = SubjectPublicKeyInfoDer::from_pem_slice(pem)
        .map_err(|_| "there is no 'BEGIN PUBLIC KEY' in it, as openssl pkey -pubout writes it".to_string())?;
    of_info(info.as_ref()).ok_or_else(|| "it is no key of RSA, P-256, P-384 or Ed25519".to_string())
}

fn of_info(der: &[u8]) -> Option<PublicKey> {
    let (info, rest) = element(der, SEQUENCE)?;
    let (algorithm, key) = element(info, SEQUENCE)?;
    let (bits, none) = element(key, BIT_STRING)?;
    let (&0, key) = bits.split_first()? else {
        return None;
    };
    let (id, parameters) = element(algorithm, OBJECT_ID)?;
    if !rest.is_empty() || !none.is_empty() {
        return None;
    }
    let curve = || element(parameters, OBJECT_ID).map(|(curve, _)| curve);
    let key = key.to_vec();
    match id {
        RSA => Some(PublicKey::Rsa(key)),
        EC if curve()? == P256 && key.len() == 65 => Some(PublicKey::P256(key)),
        EC if curve()? == P384 && key.len() == 97 => Some(PublicKey::P384(key)),
        ED25519 if key.len() == 32 => Some(PublicKey::Ed25519(key)),
        _ => None,
    }
}

/// The content of an element of that kind, and what follows it.
fn element(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    (found == kind).then(|| rest.split_at_checked(length)).flatten()
}
