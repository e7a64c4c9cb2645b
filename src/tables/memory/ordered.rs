//! [`Ordered`]: rows by the order of one column, for ranges.
//!
//! Made when a range of the column is first asked for; who only asks for equality does not pay for it.

use std::collections::BTreeSet;
use std::ops::Bound as Edge;

use super::keys::{Keys, Values};
use super::places::Position;
use crate::tables::Bound;

/// Rows by the order of a column; those with NULL are left out. *Cost.* 12 bytes a row for values of 64 bits, over the fill of a
/// B-tree; O(log n) to change and to enter.
#[derive(Debug)]
pub(super) enum Ordered {
    Narrow(BTreeSet<(u64, Position)>),
    Wide(BTreeSet<(u128, Position)>),
    Bytes(BTreeSet<(Box<[u8]>, Position)>),
}

/// One lookup's bounds: a row of the keys, and whether it belongs.
pub(super) type Limit<'a> = Option<(&'a Keys, usize, Bound)>;

impl Ordered {
    /// Of the values at positions, one for one.
    pub fn new(keys: &Keys, at: &[Position]) -> Self {
        let rows = at.iter().enumerate().filter(|(row, _)| !keys.is_null(*row));
        match &keys.values {
            Values::Narrow(words) => Ordered::Narrow(rows.map(|(row, at)| (words[row], *at)).collect()),
            Values::Wide(words) => Ordered::Wide(rows.map(|(row, at)| (words[row], *at)).collect()),
            Values::Bytes(bytes) => Ordered::Bytes(rows.map(|(row, at)| (bytes.value(row).into(), *at)).collect()),
        }
    }

    /// Adds positions, with the values of `rows`, one for one.
    pub fn add(&mut self, keys: &Keys, rows: &[u32], at: &[Position]) {
        for (&row, &at) in rows.iter().zip(at) {
            let row = row as usize;
            if keys.is_null(row) {
                continue;
            }
            match (&mut *self, &keys.values) {
                (Ordered::Narrow(set), Values::Narrow(words)) => set.insert((words[row], at)),
                (Ordered::Wide(set), Values::Wide(words)) => set.insert((words[row], at)),
                (Ordered::Bytes(set), Values::Bytes(bytes)) => set.insert((bytes.value(row).into(), at)),
                // A column has one type.
                _ => false,
            };
        }
    }

    /// Takes positions out, whose values these are, one for one.
    pub fn remove(&mut self, keys: &Keys, at: &[Position]) {
        for (row, &at) in at.iter().enumerate().filter(|(row, _)| !keys.is_null(*row)) {
            match (&mut *self, &keys.values) {
                (Ordered::Narrow(set), Values::Narrow(words)) => set.remove(&(words[row], at)),
                (Ordered::Wide(set), Values::Wide(words)) => set.remove(&(words[row], at)),
                (Ordered::Bytes(set), Values::Bytes(bytes)) => set.remove(&(bytes.value(row).into(), at)),
                _ => false,
            };
        }
    }

    /// Appends the rows between two bounds.
    pub fn find(&self, low: Limit<'_>, high: Limit<'_>, found: &mut Vec<Position>) {
        match self {
            Ordered::Narrow(set) => {
                let word = |keys: &Keys, row: usize| match &keys.values {
                    Values::Narrow(words) => Some(words[row]),
                    _ => None,
                };
                between(set, edges(low, high, word), found);
            }
            Ordered::Wide(set) => {
                let word = |keys: &Keys, row: usize| match &keys.values {
                    Values::Wide(words) => Some(words[row]),
                    _ => None,
                };
                between(set, edges(low, high, word), found);
            }
            Ordered::Bytes(set) => {
                let word = |keys: &Keys, row: usize| match &keys.values {
                    Values::Bytes(bytes) => Some(bytes.value(row).into()),
                    _ => None,
                };
                between(set, edges(low, high, word), found);
            }
        }
    }
}

/// From where to where, as pairs of value and position.
type Edges<K> = (Edge<(K, Position)>, Edge<(K, Position)>);

/// The bounds as pairs of value and position: before all rows of the value, or behind them. `None`: nothing is between.
fn edges<K: Clone>(low: Limit<'_>, high: Limit<'_>, value: impl Fn(&Keys, usize) -> Option<K>) -> Option<Edges<K>> {
    let from = match low {
        None => Edge::Unbounded,
        Some((keys, row, Bound::Inclusive)) => Edge::Included((value(keys, row)?, 0)),
        // No row has the last position.
        Some((keys, row, Bound::Exclusive)) => Edge::Excluded((value(keys, row)?, Position::MAX)),
    };
    let to = match high {
        None => Edge::Unbounded,
        Some((keys, row, Bound::Inclusive)) => Edge::Included((value(keys, row)?, Position::MAX)),
        Some((keys, row, Bound::Exclusive)) => Edge::Excluded((value(keys, row)?, 0)),
    };
    Some((from, to))
}

fn between<K: Ord>(set: &BTreeSet<(K, Position)>, edges: Option<Edges<K>>, found: &mut Vec<Position>) {
    let Some((from, to)) = edges else { return };
    // A B-tree does not take bounds that are the wrong way round.
    if let (Edge::Included(from) | Edge::Excluded(from), Edge::Included(to) | Edge::Excluded(to)) = (&from, &to)
        && from >= to
    {
        return;
    }
    found.extend(set.range((from, to)).map(|(_, at)| *at));
}
