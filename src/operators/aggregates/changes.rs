//! What the rows of [`Changes`] do: each adds, retracts or does nothing.

use arrow::array::{Array, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};

use super::Changes;
use crate::event::Op;

impl Changes<'_> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.groups.len()
    }

    /// One more than the largest group: how long the state must be.
    pub(super) fn group_count(&self) -> usize {
        group_count(self.groups)
    }
}

/// One more than the largest group.
pub(super) fn group_count(groups: &[u32]) -> usize {
    groups.iter().max().map_or(0, |most| *most as usize + 1)
}

/// Whether an operation adds (1) or retracts (-1).
pub(super) fn sign(op: Op) -> i8 {
    match op {
        Op::Insert | Op::UpdateAfter => 1,
        Op::Delete | Op::UpdateBefore => -1,
    }
}

/// What each row does: 1 adds, -1 retracts, 0 does nothing. A trait, so that loops over rows that all add are compiled
/// without the question.
pub(super) trait Weights {
    /// What a row does.
    fn get(&self, row: usize) -> i8;
}

/// All rows add.
pub(super) struct AllAdd;

impl Weights for AllAdd {
    #[inline(always)]
    fn get(&self, _row: usize) -> i8 {
        1
    }
}

impl Weights for Vec<i8> {
    #[inline(always)]
    fn get(&self, row: usize) -> i8 {
        self[row]
    }
}

/// The weights of rows whose arguments are NULL as `nulls` says (such rows do nothing); `None` when all rows add.
pub(super) fn weights(changes: &Changes, nulls: Option<&NullBuffer>) -> Option<Vec<i8>> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0).map(NullBuffer::inner);
    let filter = changes.filter.map(truths);
    let takes = match (nulls, filter) {
        (Some(valid), Some(filter)) => Some(valid & &filter),
        (Some(valid), None) => Some(valid.clone()),
        (None, filter) => filter,
    };
    let mut weights: Vec<i8> = match (changes.ops, &takes) {
        (None, None) => return None,
        (Some(ops), _) => ops.iter().map(|op| sign(*op)).collect(),
        (None, Some(_)) => vec![1; changes.rows()],
    };
    if let Some(takes) = takes {
        for (weight, takes) in weights.iter_mut().zip(&takes) {
            *weight *= i8::from(takes);
        }
    }
    Some(weights)
}

/// Where a condition is true.
fn truths(condition: &BooleanArray) -> BooleanBuffer {
    match condition.nulls() {
        Some(valid) => valid.inner() & condition.values(),
        None => condition.values().clone(),
    }
}
