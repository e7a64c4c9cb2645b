//! Keys of several columns, or of nested types: each key is one run of bytes (`arrow::row`).

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::GroupId;
use super::ids::{Ids, put};
use crate::error::{Error, Result};
use crate::operators::gradual::Gradual;

/// The numbers of keys that are rows.
pub(super) struct RowKeys {
    converter: RowConverter,
    table: HashTable<(u64, GroupId)>,
    pub(super) by_id: Gradual<Arc<[u8]>>,
    hasher: DefaultHashBuilder,
}

impl RowKeys {
    /// No keys yet; the columns will have these types, or what [`super::normal`] makes of them.
    pub fn new(types: &[DataType]) -> Result<Self> {
        Ok(RowKeys {
            converter: converter(types)?,
            table: HashTable::new(),
            by_id: Gradual::default(),
            hasher: DefaultHashBuilder::default(),
        })
    }

    /// Appends the number of each row of normal columns.
    pub fn assign(&mut self, columns: &[ArrayRef], ids: &mut Ids, out: &mut Vec<GroupId>) -> Result<()> {
        let rows = self.converter.convert_columns(columns)?;
        for row in &rows {
            out.push(self.number(row.data(), ids)?);
        }
        Ok(())
    }

    fn number(&mut self, key: &[u8], ids: &mut Ids) -> Result<GroupId> {
        let hash = self.hasher.hash_one(key);
        let by_id = self.by_id.read();
        let same = |(known, id): &(u64, GroupId)| *known == hash && by_id[*id as usize].as_ref() == key;
        if let Some((_, id)) = self.table.find(hash, same) {
            return Ok(*id);
        }
        let id = ids.take()?;
        self.table.insert_unique(hash, (hash, id), |(hash, _)| *hash);
        put(&mut self.by_id, id, key.into(), Arc::default());
        Ok(id)
    }

    /// Forgets a group.
    pub fn remove(&mut self, id: GroupId) {
        let Some(key) = self.by_id.write_one(id as usize).map(std::mem::take) else {
            return;
        };
        let hash = self.hasher.hash_one(key.as_ref());
        if let Ok(entry) = self.table.find_entry(hash, |(_, of)| *of == id) {
            entry.remove();
        }
    }

    /// The keys of groups as columns.
    pub fn columns(&self, ids: &[GroupId]) -> Result<Vec<ArrayRef>> {
        let by_id = self.by_id.read();
        columns_of(&self.converter, ids.iter().filter_map(|id| by_id.get(*id as usize)))
    }
}

/// What makes keys of columns of these types, and columns of keys.
pub(super) fn converter(types: &[DataType]) -> Result<RowConverter> {
    let fields: Vec<SortField> = types
        .iter()
        .map(|of| SortField::new(super::normal::data_type(of)))
        .collect();
    match RowConverter::supports_fields(&fields) {
        true => Ok(RowConverter::new(fields)?),
        false => Err(Error::failed("these types cannot be grouped by")),
    }
}

/// Keys as columns.
pub(super) fn columns_of<'a>(
    converter: &RowConverter,
    keys: impl Iterator<Item = &'a Arc<[u8]>>,
) -> Result<Vec<ArrayRef>> {
    let parser = converter.parser();
    Ok(converter.convert_rows(keys.map(|key| parser.parse(key)))?)
}
