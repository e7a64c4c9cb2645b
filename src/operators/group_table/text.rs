//! Keys of one column of strings or bytes.
//!
//! A view of at most 12 bytes holds them itself: its 128 bits are the key, no memory behind it is looked at. Longer ones
//! are hashed and kept as bytes.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::GroupId;
use super::ids::{Ids, put};
use crate::error::Result;
use crate::operators::gradual::Gradual;

/// The longest value that a view holds itself.
const INLINE: u32 = 12;

/// Whether the type is of strings or bytes.
pub(super) fn holds(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
    )
}

/// The numbers of keys that are strings or bytes.
pub(super) struct TextKeys {
    short: HashTable<(u128, GroupId)>,
    long: HashTable<(u64, GroupId)>,
    pub(super) by_id: Gradual<Key>,
    null: Option<GroupId>,
    /// Whether the column is of strings.
    pub(super) strings: bool,
    hasher: DefaultHashBuilder,
}

/// A key.
#[derive(Clone)]
pub(super) enum Key {
    Null,
    Short(u128),
    Long(Arc<[u8]>),
}

impl TextKeys {
    /// No keys; the column will be of this type.
    pub fn new(data_type: &DataType) -> Self {
        TextKeys {
            short: HashTable::new(),
            long: HashTable::new(),
            by_id: Gradual::default(),
            null: None,
            strings: matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Appends the number of each value.
    pub fn assign(&mut self, column: &ArrayRef, ids: &mut Ids, out: &mut Vec<GroupId>) -> Result<()> {
        let values = self.views(column)?;
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        for (row, &view) in values.views().iter().enumerate() {
            let id = if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                self.null(ids)?
            } else if view as u32 <= INLINE {
                self.short(view, ids)?
            } else {
                self.long(values.value(row), ids)?
            };
            out.push(id);
        }
        Ok(())
    }

    /// The column as views of bytes, without copying when it is one of views.
    fn views(&self, column: &ArrayRef) -> Result<BinaryViewArray> {
        if let Some(strings) = column.as_string_view_opt() {
            return Ok(strings.clone().to_binary_view());
        }
        Ok(cast(column, &DataType::BinaryView)?.as_binary_view().clone())
    }

    #[inline]
    fn short(&mut self, view: u128, ids: &mut Ids) -> Result<GroupId> {
        let hash = self.hasher.hash_one(view);
        match self.short.find(hash, |(known, _)| *known == view) {
            Some((_, id)) => Ok(*id),
            None => self.add_short(hash, view, ids),
        }
    }

    #[cold]
    fn add_short(&mut self, hash: u64, view: u128, ids: &mut Ids) -> Result<GroupId> {
        let id = ids.take()?;
        let hasher = &self.hasher;
        self.short
            .insert_unique(hash, (view, id), |(view, _)| hasher.hash_one(view));
        put(&mut self.by_id, id, Key::Short(view), Key::Null);
        Ok(id)
    }

    fn long(&mut self, bytes: &[u8], ids: &mut Ids) -> Result<GroupId> {
        let hash = self.hasher.hash_one(bytes);
        let by_id = self.by_id.read();
        let same = |(known, id): &(u64, GroupId)| {
            *known == hash && matches!(&by_id[*id as usize], Key::Long(key) if key.as_ref() == bytes)
        };
        if let Some((_, id)) = self.long.find(hash, same) {
            return Ok(*id);
        }
        let id = ids.take()?;
        self.long.insert_unique(hash, (hash, id), |(hash, _)| *hash);
        put(&mut self.by_id, id, Key::Long(bytes.into()), Key::Null);
        Ok(id)
    }

    fn null(&mut self, ids: &mut Ids) -> Result<GroupId> {
        if let Some(id) = self.null {
            return Ok(id);
        }
        let id = ids.take()?;
        put(&mut self.by_id, id, Key::Null, Key::Null);
        Ok(*self.null.insert(id))
    }

    /// Forgets a group.
    pub fn remove(&mut self, id: GroupId) {
        let Some(key) = self.by_id.write_one(id as usize) else {
            return;
        };
        match std::mem::replace(key, Key::Null) {
            Key::Null => self.null = None,
            Key::Short(view) => {
                let hash = self.hasher.hash_one(view);
                if let Ok(entry) = self.short.find_entry(hash, |(_, of)| *of == id) {
                    entry.remove();
                }
            }
            Key::Long(bytes) => {
                let hash = self.hasher.hash_one(bytes.as_ref());
                if let Ok(entry) = self.long.find_entry(hash, |(_, of)| *of == id) {
                    entry.remove();
                }
            }
        }
    }

    /// The keys of groups as a column of views.
    pub fn column(&self, ids: &[GroupId]) -> Result<ArrayRef> {
        let by_id = self.by_id.read();
        let keys = ids.iter().map(|id| by_id.get(*id as usize).unwrap_or(&Key::Null));
        column_of(keys, self.strings)
    }
}

/// Keys as a column of views.
pub(super) fn column_of<'a>(keys: impl ExactSizeIterator<Item = &'a Key>, strings: bool) -> Result<ArrayRef> {
    let mut builder = BinaryViewBuilder::with_capacity(keys.len());
    for key in keys {
        match key {
            Key::Null => builder.append_null(),
            Key::Long(bytes) => builder.append_value(bytes),
            Key::Short(view) => {
                let bytes = view.to_le_bytes();
                builder.append_value(&bytes[4..4 + *view as u32 as usize]);
            }
        }
    }
    let bytes = builder.finish();
    Ok(match strings {
        true => Arc::new(StringViewArray::try_new(
            bytes.views().clone(),
            bytes.data_buffers().to_vec(),
            bytes.nulls().cloned(),
        )?),
        false => Arc::new(bytes),
    })
}
