//! [`Cache`]: who signed in with what, so that a credential is verified once and not for every request.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;

use super::Principal;
use super::api_keys::Hash;

/// Known by the hash of the credential and the address it came from; the credential itself is not kept.
pub struct Cache {
    most: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Of which keys.
    generation: u64,
    principals: HashMap<Hash, Principal>,
}

impl Cache {
    /// For so many.
    pub fn new(most: usize) -> Self {
        Cache {
            most,
            known: Mutex::default(),
        }
    }

    /// Who it is, if that is known, still good, and of keys of that generation.
    pub fn find(&self, hash: &Hash, generation: u64) -> Option<Principal> {
        let mut known = self.known.lock();
        if known.generation != generation {
            known.principals.clear();
            known.generation = generation;
        }
        let principal = known.principals.get(hash)?;
        if principal.has_ended(Instant::now()) {
            known.principals.remove(hash);
            return None;
        }
        Some(principal.clone())
    }

    /// Remembers who it is, unless the keys have changed since.
    pub fn put(&self, hash: Hash, generation: u64, principal: &Principal) {
        let mut known = self.known.lock();
        if known.generation != generation || self.most == 0 {
            return;
        }
        if known.principals.len() >= self.most {
            let now = Instant::now();
            known.principals.retain(|_, principal| !principal.has_ended(now));
        }
        if known.principals.len() >= self.most {
            // They are verified once more.
            known.principals.clear();
        }
        known.principals.insert(hash, principal.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_bounded_and_forgets_what_is_over_and_what_other_keys_verified() {
        let cache = Cache::new(2);
        let ended = Principal::nobody().ending(Instant::now());
        let good = Principal::nobody().ending(Instant::now() + Duration::from_secs(60));
        cache.put([1; 32], 0, &good);
        assert!(cache.find(&[1; 32], 0).is_some());
        cache.put([2; 32], 0, &ended);
        assert!(cache.find(&[2; 32], 0).is_none());
        cache.put([2; 32], 0, &ended);
        cache.put([3; 32], 0, &good);
        assert!(cache.find(&[1; 32], 0).is_some(), "one that is over goes first");
        cache.put([4; 32], 0, &good);
        assert_eq!(cache.known.lock().principals.len(), 1);
        assert!(cache.find(&[4; 32], 1).is_none(), "verified by other keys");
        cache.put([4; 32], 0, &good);
        assert!(cache.find(&[4; 32], 1).is_none());
    }
}
