//! [`Seen`]: the ids of the requests that came last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

/// Remembers so many ids, the oldest go first.
#[derive(Debug)]
pub struct Seen {
    most: usize,
    states: HashMap<[u8; 16], State>,
    order: VecDeque<[u8; 16]>,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A request with it has not been answered yet.
    UnderWay,
    /// It has been taken.
    Taken,
}

impl Seen {
    /// Of so many.
    pub fn new(most: usize) -> Self {
        Seen {
            most,
            states: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// What is known of an id; from now on it is under way if nothing was.
    pub fn meet(&mut self, id: &str) -> Option<State> {
        let key = key(id);
        if let Some(state) = self.states.get(&key) {
            return Some(*state);
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.states.remove(&oldest);
        }
        self.states.insert(key, State::UnderWay);
        self.order.push_back(key);
        None
    }

    /// Its request has been taken.
    pub fn taken(&mut self, id: &str) {
        if let Some(state) = self.states.get_mut(&key(id)) {
            *state = State::Taken;
        }
    }

    /// Its request has not been taken, and may come again.
    pub fn forget(&mut self, id: &str) {
        let key = key(id);
        if self.states.remove(&key).is_some()
            // It came lately.
            && let Some(at) = self.order.iter().rposition(|known| *known == key)
        {
            self.order.remove(at);
        }
    }
}

/// A request whose id is under way. Dropped before it is taken, its id is forgotten.
pub struct Meeting {
    seen: Arc<Mutex<Seen>>,
    id: Option<String>,
}

impl Meeting {
    /// For an id. *Errors.* What is known of it already.
    pub fn new(seen: &Arc<Mutex<Seen>>, id: &str) -> Result<Self, State> {
        match seen.lock().meet(id) {
            Some(state) => Err(state),
            None => Ok(Meeting {
                seen: seen.clone(),
                id: Some(id.to_string()),
            }),
        }
    }

    /// It has been taken.
    pub fn taken(mut self) {
        if let Some(id) = self.id.take() {
            self.seen.lock().taken(&id);
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.seen.lock().forget(id);
        }
    }
}

/// Ids may be long; what is kept of each is not.
fn key(id: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_failures_too() {
        let mut seen = Seen::new(2);
        assert_eq!(seen.meet("a"), None);
        assert_eq!(seen.meet("a"), Some(State::UnderWay));
        seen.taken("a");
        assert_eq!(seen.meet("a"), Some(State::Taken));
        assert_eq!(seen.meet("b"), None);
        seen.forget("b");
        assert_eq!(seen.meet("b"), None);
        assert_eq!(seen.meet("c"), None);
        assert_eq!(seen.meet("b"), Some(State::UnderWay));
        assert_eq!(seen.meet("a"), None);
        seen.forget("nobody");
        assert_eq!((seen.states.len(), seen.order.len()), (2, 2));
    }
}
