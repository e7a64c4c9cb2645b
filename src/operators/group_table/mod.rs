//! [`GroupTable`]: keys to dense numbers.
//!
//! A grouping operator looks every row's key up once and from there on works with a number, so that the state of its
//! aggregates is an array. Three ways of holding keys, chosen by the columns' types:
//! `words`: one column whose values fit into 64 or 128 bits; `text`: one column of strings or bytes; `rows`:
//! anything else, each key encoded as one run of bytes. Hashes are seeded at random per table, so that nobody can send keys
//! made to collide.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::aggregates::GroupId;
use super::state::Later;
use crate::error::{Error, Result};

mod ids;
pub(super) mod normal;
mod rows;
mod saved;
mod text;
mod words;

#[cfg(test)]
mod tests;

use ids::Ids;
use rows::RowKeys;
use text::TextKeys;
use words::{Word, WordKeys};

/// Numbers keys: equal keys get the same number, and numbers of forgotten groups are given again.
///
/// NULL equals NULL, `-0.0` equals `0.0`, every NaN equals every other (inside of nested values floats are compared by
/// their bits). Without key columns there is one group, number 0.
///
/// State: each live key once or twice and about 40 bytes. Cost: one hash and one probe a row, whatever the number of
/// groups; a new key also allocates when it is longer than 12 bytes or has several columns.
pub struct GroupTable {
    types: Vec<DataType>,
    keys: Keys,
    ids: Ids,
    /// Where the groups go whose snapshot has begun, and which of them was that of NULL.
    later: Option<Later>,
    null_then: Option<GroupId>,
}

enum Keys {
    Nothing,
    Words(WordKeys<u64>),
    WideWords(WordKeys<u128>),
    Text(TextKeys),
    Rows(RowKeys),
}

impl GroupTable {
    /// An empty table for keys of these types.
    pub fn new(types: &[DataType]) -> Result<Self> {
        let keys = match types {
            [] => Keys::Nothing,
            [only] if u64::holds(only) => Keys::Words(WordKeys::new()),
            [only] if u128::holds(only) => Keys::WideWords(WordKeys::new()),
            [only] if text::holds(only) => Keys::Text(TextKeys::new(only)),
            _ => Keys::Rows(RowKeys::new(types)?),
        };
        Ok(GroupTable {
            types: types.to_vec(),
            keys,
            ids: Ids::default(),
            later: None,
            null_then: None,
        })
    }

    /// Looks up the key of each of `rows` rows, new keys getting a number; `ids` is cleared and filled.
    pub fn assign(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<GroupId>) -> Result<()> {
        debug_assert_eq!(columns.len(), self.types.len());
        ids.clear();
        ids.reserve(rows);
        match (&mut self.keys, columns) {
            (Keys::Nothing, _) => {
                if rows > 0 && self.ids.is_empty() {
                    self.ids.take()?;
                }
                ids.resize(rows, 0);
                Ok(())
            }
            (Keys::Words(keys), [column]) => keys.assign(&normal::column(column)?, &mut self.ids, ids),
            (Keys::WideWords(keys), [column]) => keys.assign(&normal::column(column)?, &mut self.ids, ids),
            (Keys::Text(keys), [column]) => keys.assign(column, &mut self.ids, ids),
            (Keys::Rows(keys), _) => {
                let columns = columns.iter().map(normal::column).collect::<Result<Vec<_>>>()?;
                keys.assign(&columns, &mut self.ids, ids)
            }
            _ => Err(Error::failed("a group key has another number of columns than planned")),
        }
    }

    /// The key columns of groups, a row a number in `ids`; the groups must be live.
    pub fn keys(&self, ids: &[GroupId]) -> Result<Vec<ArrayRef>> {
        let columns = match &self.keys {
            Keys::Nothing => Vec::new(),
            Keys::Words(keys) => vec![keys.column(&self.types[0], ids)?],
            Keys::WideWords(keys) => vec![keys.column(&self.types[0], ids)?],
            Keys::Text(keys) => vec![keys.column(ids)?],
            Keys::Rows(keys) => keys.columns(ids)?,
        };
        saved::typed(columns, &self.types)
    }

    /// Forgets groups; their numbers may be given to other keys. Numbers that are not live are ignored.
    pub fn forget(&mut self, ids: &[GroupId]) {
        for &id in ids.iter() {
            if !self.ids.release(id) {
                continue;
            }
            match &mut self.keys {
                Keys::Nothing => {}
                Keys::Words(keys) => keys.remove(id),
                Keys::WideWords(keys) => keys.remove(id),
                Keys::Text(keys) => keys.remove(id),
                Keys::Rows(keys) => keys.remove(id),
            }
        }
    }

    /// The number of live groups.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no group is live.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// One more than the largest number ever given: how long an array by group must be.
    pub fn capacity(&self) -> usize {
        self.ids.capacity()
    }

    /// The live groups, the one first met first.
    pub fn live(&self) -> Vec<GroupId> {
        self.ids.live()
    }
}
