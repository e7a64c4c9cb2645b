//! [`GroupTable`]: keys to dense numbers.
//!
//! A grouping operator looks every row's key up once and from there on works with a number, so that the state of its
//! aggregates is an array. Three ways of holding keys, chosen by the columns' types:
//! `words`: one column whose values fit into 64 or 128 bits; `text`: one column of strings or bytes; `rows`:
//! anything else, each key encoded as one run of bytes. Hashes are seeded at random per table, so that nobody can send keys
//! made to collide.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::DataType;

use super::aggregates::GroupId;
use super::state::{StateReader, StateWriter};
use crate::error::{Error, Result};

mod ids;
pub(super) mod normal;
mod rows;
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
        let typed = columns.iter().zip(&self.types);
        typed
            .map(|(column, to)| Ok(arrow::compute::cast(column, to)?))
            .collect()
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

    /// Writes the live groups, their numbers and their order.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let live = self.live();
        let keys = self.keys(&live)?;
        let ids: ArrayRef = std::sync::Arc::new(UInt32Array::from(live));
        let columns = std::iter::once(ids).chain(keys);
        let named = columns.enumerate().map(|(i, column)| (format!("c{i}"), column, true));
        state.columns(&RecordBatch::try_from_iter_with_nullable(named)?)
    }

    /// Reads back what [`GroupTable::snapshot`] wrote, into an empty table.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let saved = state.columns()?;
        let (ids, keys) = saved
            .columns()
            .split_first()
            .ok_or_else(|| Error::failed("the snapshot is damaged: no groups"))?;
        let ids = ids
            .as_any()
            .downcast_ref::<UInt32Array>()
            .ok_or_else(|| Error::failed("the snapshot is damaged: groups without numbers"))?;
        *self = GroupTable::new(&self.types)?;
        self.ids.prescribe(ids.values());
        let mut given = Vec::new();
        self.assign(keys, ids.len(), &mut given)?;
        self.ids.end_prescription();
        match given == *ids.values() {
            true => Ok(()),
            false => Err(Error::failed("the snapshot is damaged: a group key stands twice")),
        }
    }
}
