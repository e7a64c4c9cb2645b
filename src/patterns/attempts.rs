//! All open attempts, by place; places are used again.

use super::progress::Attempt;
use super::timers::AttemptId;

/// The attempts.
#[derive(Debug, Default)]
pub struct Attempts {
    attempts: Vec<Attempt>,
    free: Vec<AttemptId>,
    created: u64,
}

impl Attempts {
    /// Takes one in.
    pub fn add(&mut self, mut attempt: Attempt) -> AttemptId {
        self.created += 1;
        attempt.id = self.created;
        match self.free.pop() {
            Some(id) => {
                attempt.generation = self.attempts[id as usize].generation;
                self.attempts[id as usize] = attempt;
                id
            }
            None => {
                attempt.generation = 0;
                self.attempts.push(attempt);
                (self.attempts.len() - 1) as AttemptId
            }
        }
    }

    /// Frees a place. What was there must have been taken care of.
    pub fn remove(&mut self, id: AttemptId) {
        let attempt = &mut self.attempts[id as usize];
        attempt.waits = 0;
        attempt.slots = None;
        attempt.generation = attempt.generation.wrapping_add(1);
        self.free.push(id);
    }

    /// The attempt at a place.
    pub fn get(&self, id: AttemptId) -> &Attempt {
        &self.attempts[id as usize]
    }

    /// The attempt at a place, to change.
    pub fn get_mut(&mut self, id: AttemptId) -> &mut Attempt {
        &mut self.attempts[id as usize]
    }

    /// Whether the place still holds what it held at that generation.
    pub fn is_alive(&self, id: AttemptId, generation: u32) -> bool {
        let attempt = &self.attempts[id as usize];
        attempt.generation == generation && attempt.waits != 0
    }

    /// How many there have been: the id of the latest.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.attempts.len() - self.free.len()
    }

    /// How many there is room for.
    pub fn places(&self) -> usize {
        self.attempts.capacity()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All places in use.
    pub fn ids(&self) -> impl Iterator<Item = AttemptId> {
        (0..self.attempts.len() as AttemptId).filter(|id| self.attempts[*id as usize].waits != 0)
    }
}
