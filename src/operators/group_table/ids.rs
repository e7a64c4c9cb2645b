//! The numbers of groups: given densely, taken back, given again; and the order in which groups appeared.

use std::collections::VecDeque;

use super::GroupId;
use crate::error::{Error, Result};
use crate::operators::gradual::Gradual;

/// A number that is not given at present.
pub(super) const FREE: u64 = u64::MAX;

/// Gives and takes back numbers.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// By number: how many groups had appeared before this one, or [`FREE`].
    pub(super) born: Gradual<u64>,
    free: Vec<GroupId>,
    births: u64,
    live: usize,
    /// While restoring: the numbers to give, in order.
    prescribed: VecDeque<GroupId>,
}

impl Ids {
    /// A number for a new group.
    pub fn take(&mut self) -> Result<GroupId> {
        let id = match self.prescribed.pop_front().or_else(|| self.free.pop()) {
            Some(id) => id,
            None => GroupId::try_from(self.born.read().len())
                .map_err(|_| Error::failed("more than 2^32 groups are open"))?,
        };
        let at = id as usize;
        self.born.grow(at + 1, || FREE);
        if let Some(born) = self.born.write_one(at) {
            *born = self.births;
        }
        self.births += 1;
        self.live += 1;
        Ok(id)
    }

    /// Takes a number back; false when it was not given.
    pub fn release(&mut self, id: GroupId) -> bool {
        if self.born.read().get(id as usize).is_none_or(|born| *born == FREE) {
            return false;
        }
        if let Some(born) = self.born.write_one(id as usize) {
            *born = FREE;
        }
        self.live -= 1;
        self.free.push(id);
        true
    }

    /// How many numbers are given.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// One more than the largest number ever given.
    pub fn capacity(&self) -> usize {
        self.born.read().len()
    }

    /// The given numbers in the order in which they were taken.
    pub fn live(&self) -> Vec<GroupId> {
        let given = self.born.read().iter().zip(0..).filter(|(born, _)| **born != FREE);
        let mut given: Vec<(u64, GroupId)> = given.map(|(born, id)| (*born, id)).collect();
        given.sort_unstable();
        given.into_iter().map(|(_, id)| id).collect()
    }

    /// Makes the next calls of [`Ids::take`] give these numbers.
    pub fn prescribe(&mut self, ids: &[GroupId]) {
        self.prescribed = ids.iter().copied().collect();
    }

    /// Ends [`Ids::prescribe`]: numbers that were jumped over are free.
    pub fn end_prescription(&mut self) {
        self.prescribed.clear();
        let jumped = self.born.read().iter().zip(0..).filter(|(born, _)| **born == FREE);
        self.free = jumped.map(|(_, id)| id).collect();
    }
}

/// Puts `value` at `id` of an array by group, growing it with `fill`.
pub(super) fn put<T: Clone>(by_id: &mut Gradual<T>, id: GroupId, value: T, fill: T) {
    let at = id as usize;
    by_id.grow(at + 1, || fill.clone());
    if let Some(item) = by_id.write_one(at) {
        *item = value;
    }
}
