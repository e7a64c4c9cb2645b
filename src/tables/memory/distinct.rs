//! The different keys of a batch.

use arrow::array::ArrayRef;
use hashbrown::DefaultHashBuilder;

use super::index::{Index, Uniqueness};
use super::keys::{Hashed, keys_of, same};
use super::places::Position;
use crate::error::Result;

/// Of each different key the first and the last row that has it, in the order of the first; rows that are not asked for are
/// passed over.
pub(in crate::tables) fn first_and_last(
    key: &[ArrayRef],
    rows: usize,
    is_asked_for: impl Fn(usize) -> bool,
) -> Result<Vec<(u32, u32)>> {
    let keys = keys_of(key)?;
    let hashed = Hashed::of(&keys, rows, &DefaultHashBuilder::default());
    let mut index = Index::new(Vec::new(), Uniqueness::Unique);
    let mut found: Vec<(u32, u32)> = Vec::with_capacity(rows);
    for row in (0..rows).filter(|row| is_asked_for(*row)) {
        let first = |found: &Vec<(u32, u32)>, at: Position| found[at as usize].0 as usize;
        match index.head(hashed.tags[row], |at| same(&keys, first(&found, at), row)) {
            Some(at) => found[at as usize].1 = row as u32,
            None => {
                index.add(hashed.tags[row], found.len() as Position, |_| false);
                found.push((row as u32, row as u32));
            }
        }
    }
    Ok(found)
}
