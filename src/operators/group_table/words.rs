//! Keys of one column whose values are 64 or 128 bits at most: the bits are the key.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BooleanArray, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::GroupId;
use super::ids::{Ids, put};
use crate::error::Result;
use crate::operators::gradual::Gradual;

/// Bits that a value fits into.
pub(super) trait Word: Copy + Eq + Hash + Default + Send + Sync + 'static {
    /// Whether every value of the type fits, and equal values have equal bits once normal.
    fn holds(data_type: &DataType) -> bool;
    /// The bits of each value; those of NULLs are anything.
    fn bits(column: &ArrayRef) -> Vec<Self>;
    /// The column that has these bits.
    fn column(data_type: &DataType, words: Vec<Self>, nulls: Option<NullBuffer>) -> Result<ArrayRef>;
}

/// The numbers of keys that are words.
pub(super) struct WordKeys<W> {
    table: HashTable<(W, GroupId)>,
    pub(super) by_id: Gradual<W>,
    pub(super) null: Option<GroupId>,
    hasher: DefaultHashBuilder,
}

impl<W: Word> WordKeys<W> {
    /// No keys.
    pub fn new() -> Self {
        WordKeys {
            table: HashTable::new(),
            by_id: Gradual::default(),
            null: None,
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Appends the number of each value of a normal column.
    pub fn assign(&mut self, column: &ArrayRef, ids: &mut Ids, out: &mut Vec<GroupId>) -> Result<()> {
        let words = W::bits(column);
        match column.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => {
                for word in words {
                    out.push(self.number(word, ids)?);
                }
            }
            Some(nulls) => {
                for (word, valid) in words.into_iter().zip(nulls) {
                    out.push(if valid {
                        self.number(word, ids)?
                    } else {
                        self.null(ids)?
                    });
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn number(&mut self, word: W, ids: &mut Ids) -> Result<GroupId> {
        let hash = self.hasher.hash_one(word);
        match self.table.find(hash, |(known, _)| *known == word) {
            Some((_, id)) => Ok(*id),
            None => self.add(hash, word, ids),
        }
    }

    #[cold]
    fn add(&mut self, hash: u64, word: W, ids: &mut Ids) -> Result<GroupId> {
        let id = ids.take()?;
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, (word, id), |(word, _)| hasher.hash_one(word));
        put(&mut self.by_id, id, word, W::default());
        Ok(id)
    }

    fn null(&mut self, ids: &mut Ids) -> Result<GroupId> {
        match self.null {
            Some(id) => Ok(id),
            None => Ok(*self.null.insert(ids.take()?)),
        }
    }

    /// Forgets a group.
    pub fn remove(&mut self, id: GroupId) {
        if self.null == Some(id) {
            self.null = None;
            return;
        }
        let hash = self.hasher.hash_one(self.by_id.read()[id as usize]);
        if let Ok(entry) = self.table.find_entry(hash, |(_, of)| *of == id) {
            entry.remove();
        }
    }

    /// The keys of groups as a column.
    pub fn column(&self, data_type: &DataType, ids: &[GroupId]) -> Result<ArrayRef> {
        let word = |&id: &GroupId| self.by_id.read().get(id as usize).copied().unwrap_or_default();
        column_of(data_type, ids, ids.iter().map(word).collect(), self.null)
    }
}

/// The keys of groups as a column; one of them is NULL.
pub(super) fn column_of<W: Word>(
    data_type: &DataType,
    ids: &[GroupId],
    words: Vec<W>,
    null: Option<GroupId>,
) -> Result<ArrayRef> {
    let nulls = null.map(|null| NullBuffer::new(BooleanBuffer::collect_bool(ids.len(), |row| ids[row] != null)));
    W::column(&super::normal::data_type(data_type), words, nulls)
}

impl Word for u64 {
    fn holds(data_type: &DataType) -> bool {
        match data_type {
            DataType::Boolean => true,
            DataType::Dictionary(_, _) | DataType::Null => false,
            other => matches!(other.primitive_width(), Some(1..=8)),
        }
    }

    fn bits(column: &ArrayRef) -> Vec<u64> {
        if let Some(bools) = column.as_boolean_opt() {
            return bools.values().iter().map(u64::from).collect();
        }
        let data = column.to_data();
        match column.data_type().primitive_width() {
            Some(1) => values::<u8>(&data).iter().map(|&bits| u64::from(bits)).collect(),
            Some(2) => values::<u16>(&data).iter().map(|&bits| u64::from(bits)).collect(),
            Some(4) => values::<u32>(&data).iter().map(|&bits| u64::from(bits)).collect(),
            _ => values::<u64>(&data).to_vec(),
        }
    }

    fn column(data_type: &DataType, words: Vec<u64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        if data_type == &DataType::Boolean {
            let bits = BooleanBuffer::collect_bool(words.len(), |row| words[row] != 0);
            return Ok(Arc::new(BooleanArray::new(bits, nulls)));
        }
        // Narrower values are the low bits.
        let buffer = match data_type.primitive_width() {
            Some(1) => words.iter().map(|&bits| bits as u8).collect::<Buffer>(),
            Some(2) => words.iter().map(|&bits| bits as u16).collect::<Buffer>(),
            Some(4) => words.iter().map(|&bits| bits as u32).collect::<Buffer>(),
            _ => Buffer::from_vec(words.clone()),
        };
        array(data_type, words.len(), buffer, nulls)
    }
}

impl Word for u128 {
    fn holds(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Decimal128(_, _))
    }

    fn bits(column: &ArrayRef) -> Vec<u128> {
        let values = values::<i128>(&column.to_data());
        values.iter().map(|&value| value as u128).collect()
    }

    fn column(data_type: &DataType, words: Vec<u128>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let rows = words.len();
        array(data_type, rows, Buffer::from_vec(words), nulls)
    }
}

fn values<T: ArrowNativeType>(data: &ArrayData) -> ScalarBuffer<T> {
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

fn array(data_type: &DataType, rows: usize, buffer: Buffer, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let data = ArrayData::builder(data_type.clone())
        .len(rows)
        .add_buffer(buffer)
        .nulls(nulls)
        .build()?;
    Ok(make_array(data))
}
