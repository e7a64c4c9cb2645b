//! [`KeySet`]: the keys that tokens are verified with, and what each of them verifies.
//!
//! A key says itself by which algorithms it verifies: a token that names another is refused, so that a public key is never taken for
//! a secret. Signatures are checked by ring.

use ring::signature::{self, UnparsedPublicKey};
use ring::{hmac, signature::RsaPublicKeyComponents};
use serde_json::Value;

use super::der::{PublicKey, public_key};
use crate::config::access::ALGORITHMS;

/// How many keys of a set are looked at.
const MOST_KEYS: usize = 100;

/// How many keys are tried for a token that names none.
const MOST_TRIED: usize = 8;

/// A key.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    material: Material,
    algorithms: Vec<&'static str>,
}

#[derive(Clone)]
enum Material {
    Secret(Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// As DER.
    RsaDer(Vec<u8>),
    /// A point, not compressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Keys.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Of a secret that is shared with the issuer. `allowed`: the algorithms; empty: all that fit.
    pub fn secret(secret: &str, allowed: &[String]) -> Self {
        KeySet::one(Material::Secret(secret.as_bytes().to_vec()), allowed)
    }

    /// Of a public key, a PEM text. *Errors.* What it is instead.
    pub fn pem(text: &[u8], allowed: &[String]) -> Result<Self, String> {
        let material = match public_key(text)? {
            PublicKey::Rsa(der) => Material::RsaDer(der),
            PublicKey::P256(point) => Material::P256(point),
            PublicKey::P384(point) => Material::P384(point),
            PublicKey::Ed25519(bytes) => Material::Ed25519(bytes),
        };
        Ok(KeySet::one(material, allowed))
    }

    fn one(material: Material, allowed: &[String]) -> Self {
        let algorithms = restricted(material.algorithms(), allowed);
        let key = Key {
            id: None,
            material,
            algorithms,
        };
        KeySet { keys: vec![key] }
    }

    /// Of a JWKS. Keys that are not understood, or not for signatures, are left out, and so are secrets: what is published is none.
    /// *Errors.* What is no JWKS.
    pub fn jwks(text: &[u8], allowed: &[String]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let Some(Value::Array(keys)) = document.get("keys") else {
            return Err("it has no list 'keys'".to_string());
        };
        let keys = keys.iter().take(MOST_KEYS).filter_map(|key| jwk(key, allowed));
        Ok(KeySet { keys: keys.collect() })
    }

    /// Whether any of the algorithms allowed is one of a key's.
    pub fn verifies_anything(&self) -> bool {
        self.keys.iter().any(|key| !key.algorithms.is_empty())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether there is a key of that name.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether the keys are the same.
    pub fn is_same(&self, other: &KeySet) -> bool {
        let same = |(one, other): (&Key, &Key)| one.id == other.id && one.material.bytes() == other.material.bytes();
        self.keys.len() == other.keys.len() && self.keys.iter().zip(&other.keys).all(same)
    }

    /// Whether a signature is one of these keys', by that algorithm.
    pub fn verifies(&self, algorithm: &str, id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        let fits = |key: &&Key| {
            // A key without a name may be anybody's who names none it could be confused with.
            let is_named = id.is_none() || key.id.is_none() || key.id.as_deref() == id;
            is_named && key.algorithms.contains(&algorithm)
        };
        let mut fitting = self.keys.iter().filter(fits).take(MOST_TRIED);
        fitting.any(|key| key.material.verifies(algorithm, message, signature))
    }
}

fn restricted(algorithms: &[&'static str], allowed: &[String]) -> Vec<&'static str> {
    let is_allowed = |name: &&&'static str| allowed.is_empty() || allowed.iter().any(|allowed| allowed == **name);
    algorithms.iter().filter(is_allowed).copied().collect()
}

impl Material {
    fn algorithms(&self) -> &'static [&'static str] {
        match self {
            Material::Secret(_) => &["HS256", "HS384", "HS512"],
            Material::Rsa(..) | Material::RsaDer(_) => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Material::P256(_) => &["ES256"],
            Material::P384(_) => &["ES384"],
            Material::Ed25519(_) => &["EdDSA"],
        }
    }

    fn bytes(&self) -> (&[u8], &[u8]) {
        match self {
            Material::Rsa(modulus, exponent) => (modulus, exponent),
            Material::Secret(bytes)
            | Material::RsaDer(bytes)
            | Material::P256(bytes)
            | Material::P384(bytes)
            | Material::Ed25519(bytes) => (bytes, &[]),
        }
    }

    /// The algorithm is one of the key's.
    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let by = |parameters: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(parameters, key)
                .verify(message, signature)
                .is_ok()
        };
        match self {
            Material::Secret(secret) => {
                let Some(digest) = digest(algorithm) else {
                    return false;
                };
                // In constant time.
                hmac::verify(&hmac::Key::new(digest, secret), message, signature).is_ok()
            }
            Material::Rsa(n, e) => rsa(algorithm).is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }
                    .verify(parameters, message, signature)
                    .is_ok()
            }),
            Material::RsaDer(der) => rsa(algorithm).is_some_and(|parameters| by(parameters, der)),
            Material::P256(point) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(key) => by(&signature::ED25519, key),
        }
    }
}

fn digest(algorithm: &str) -> Option<hmac::Algorithm> {
    Some(match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => return None,
    })
}

/// Keys of fewer than 2048 bits verify nothing.
fn rsa(algorithm: &str) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// A key of a JWKS.
fn jwk(key: &Value, allowed: &[String]) -> Option<Key> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| super::base64(text(name)?);
    if text("use").is_some_and(|for_what| for_what != "sig") {
        return None;
    }
    if let Some(Value::Array(operations)) = key.get("key_ops")
        && !operations.iter().any(|operation| operation == "verify")
    {
        return None;
    }
    let point = |length: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
    };
    let material = match (text("kty")?, text("crv")) {
        ("RSA", _) => Material::Rsa(bytes("n")?, bytes("e")?),
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
        _ => return None,
    };
    let mut algorithms = restricted(material.algorithms(), allowed);
    if let Some(only) = text("alg") {
        algorithms.retain(|algorithm| *algorithm == only);
    }
    Some(Key {
        id: text("kid").map(str::to_string),
        material,
        algorithms,
    })
}

/// The name of an algorithm that there is.
pub fn known(name: &str) -> Option<&'static str> {
    ALGORITHMS.iter().copied().find(|known| *known == name)
}
