//! Signatures as Standard Webhooks define them (version 1): HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The fewest bytes of a key.
const MIN_KEY: usize = 16;

/// The keys that requests are signed with: the current one, and those that receivers may still have.
#[derive(Clone)]
pub struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// Of secrets with spaces between, each `whsec_` and a key in base64. *Errors.* What is wrong, without the secret.
    pub fn new(secrets: &str) -> Result<Self, String> {
        let keys: Vec<Hmac<Sha256>> = secrets.split_whitespace().map(key).collect::<Result<_, _>>()?;
        match keys.is_empty() {
            true => Err("it is empty".to_string()),
            false => Ok(Signer { keys }),
        }
    }

    /// The header `webhook-signature`: a signature by each key.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures = self.keys.iter().map(|key| {
            let signature = signed(key, id, timestamp, body).finalize();
            format!("v1,{}", STANDARD.encode(signature.into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Whether one of the signatures in a header is by one of the keys. In constant time.
    pub fn verify(&self, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
        let given = header.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let given: Vec<Vec<u8>> = given.filter_map(|one| STANDARD.decode(one).ok()).collect();
        let mut keys = self.keys.iter();
        keys.any(|key| {
            let mac = signed(key, id, timestamp, body);
            given.iter().any(|one| mac.clone().verify_slice(one).is_ok())
        })
    }
}

fn key(secret: &str) -> Result<Hmac<Sha256>, String> {
    let encoded = secret
        .strip_prefix("whsec_")
        .ok_or("a secret begins with whsec_, and its key in base64 follows")?;
    let key = STANDARD
        .decode(encoded)
        .map_err(|_| "what follows whsec_ is not base64")?;
    if key.len() < MIN_KEY {
        return Err(format!("its key has {} bytes, and needs {MIN_KEY} or more", key.len()));
    }
    Hmac::new_from_slice(&key).map_err(|error| error.to_string())
}

fn signed(key: &Hmac<Sha256>, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An example of the libraries for Standard Webhooks.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let header = signer.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn any_of_the_keys_will_do_while_they_change() {
        let (old, new) = (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        );
        let both = Signer::new(&format!("{new} {old}")).unwrap();
        let header = both.sign("a", 7, b"body");
        for secret in [old, new] {
            let signer = Signer::new(secret).unwrap();
            assert!(signer.verify("a", 7, b"body", &header));
            assert!(!signer.verify("b", 7, b"body", &header));
            assert!(!signer.verify("a", 8, b"body", &header));
            assert!(!signer.verify("a", 7, b"bodY", &header));
        }
        assert!(!both.verify("a", 7, b"body", "v1,AAAA v1a,x v1,€"));
    }

    #[test]
    fn what_is_no_secret() {
        for (secret, why) in [
            ("", "empty"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with"),
            ("whsec_x", "base64"),
            ("whsec_AAEC", "3 bytes"),
        ] {
            let error = Signer::new(secret).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
