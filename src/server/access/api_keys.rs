//! [`ApiKeys`]: keys that programs sign in with. Only their hashes are kept.

use ring::digest::{SHA256, digest};

use super::claims::Claims;
use crate::config::access::{KeyOptions, KeyText};

/// A hash.
pub type Hash = [u8; 32];

/// The SHA-256 of some texts, one after the other.
pub fn sha256(texts: &[&[u8]]) -> Hash {
    let mut context = ring::digest::Context::new(&SHA256);
    texts.iter().for_each(|text| context.update(text));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The keys there are.
pub struct ApiKeys(Vec<ApiKey>);

/// A key.
pub struct ApiKey {
    hash: Hash,
    /// What it is called.
    pub name: String,
    /// The roles of who has it.
    pub roles: Vec<String>,
    /// What row filters know of who has it.
    pub claims: Claims,
}

impl ApiKeys {
    /// As configured.
    pub fn new(options: &[KeyOptions]) -> Self {
        let keys = options.iter().map(|key| ApiKey {
            hash: match &key.key {
                KeyText::Plain(text) => {
                    let mut hash = [0; 32];
                    hash.copy_from_slice(digest(&SHA256, text.reveal().as_bytes()).as_ref());
                    hash
                }
                KeyText::Hash(hash) => *hash,
            },
            name: key.name.clone(),
            roles: key.roles.clone(),
            claims: Claims::new(key.claims.clone().into_iter().collect()),
        });
        ApiKeys(keys.collect())
    }

    /// The key that this is. All are compared wholly, however soon they differ: the time it takes tells nothing.
    pub fn find(&self, presented: &str) -> Option<&ApiKey> {
        let hash = sha256(&[presented.as_bytes()]);
        let mut found = None;
        for key in &self.0 {
            let differs = key
                .hash
                .iter()
                .zip(&hash)
                .fold(0, |differs, (one, other)| differs | (one ^ other));
            if std::hint::black_box(differs) == 0 {
                found = Some(key);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keys_are_found_by_themselves_and_by_their_hash() {
        let key = |name: &str, key: KeyText| KeyOptions {
            name: name.to_string(),
            key,
            roles: vec![],
            claims: BTreeMap::new(),
        };
        let keys = ApiKeys::new(&[
            key("empty", KeyText::Hash(sha256(&[b"0123456789", b"abcdef"]))),
            key("none", KeyText::Hash([0; 32])),
        ]);
        assert_eq!(
            keys.find("0123456789abcdef").map(|key| key.name.as_str()),
            Some("empty")
        );
        assert!(keys.find("0123456789abcdeF").is_none());
        assert!(keys.find("").is_none());
    }
}
