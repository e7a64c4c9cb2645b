//! State as columns: what kernels write into a snapshot and read back.

use arrow::array::{Array, ArrayRef, RecordBatch};

use super::GroupId;
use super::kinds::Kind;
use crate::error::{Error, Result};
use crate::operators::state::{StateReader, StateWriter};

/// Writes columns of one length.
pub(super) fn write(columns: Vec<ArrayRef>, writer: &mut StateWriter) -> Result<()> {
    let named = columns.into_iter().enumerate();
    let named = named.map(|(i, column)| (format!("c{i}"), column, true));
    writer.columns(&RecordBatch::try_from_iter_with_nullable(named)?)
}

/// Reads what [`write`] wrote; there must be `N` columns.
pub(super) fn read<const N: usize>(reader: &mut StateReader) -> Result<[ArrayRef; N]> {
    let batch = reader.columns()?;
    <[ArrayRef; N]>::try_from(batch.columns().to_vec()).map_err(|_| damaged())
}

/// A column as the array it must be.
pub(super) fn typed<A: Array + 'static>(column: &ArrayRef) -> Result<&A> {
    column.as_any().downcast_ref().ok_or_else(damaged)
}

/// The snapshot is not one of this aggregate.
pub(super) fn damaged() -> Error {
    Error::failed("the snapshot is damaged: not the state of this aggregate")
}

/// Values held by groups, each so many times, in the order of each group.
pub(super) struct Entries<K: Kind> {
    /// How many groups there are, empty ones too.
    pub groups: usize,
    /// Group, value, how often.
    pub entries: Vec<(GroupId, Option<K::Held>, i64)>,
}

/// Writes entries; [`read_entries`] reads them.
pub(super) fn write_entries<'a, K: Kind>(
    kind: &K,
    groups: usize,
    entries: impl Iterator<Item = (GroupId, Option<&'a K::Key>, i64)>,
    writer: &mut StateWriter,
) -> Result<()>
where
    K::Key: 'a,
{
    let (mut ids, mut counts) = (Vec::new(), Vec::new());
    let mut values = kind.builder(0);
    for (group, value, count) in entries {
        ids.push(group);
        counts.push(count);
        K::push(&mut values, value);
    }
    writer.value(&groups)?;
    let columns = vec![
        std::sync::Arc::new(arrow::array::UInt32Array::from(ids)) as ArrayRef,
        kind.finish(values)?,
        std::sync::Arc::new(arrow::array::Int64Array::from(counts)),
    ];
    write(columns, writer)
}

/// Reads what [`write_entries`] wrote.
pub(super) fn read_entries<K: Kind>(kind: &K, reader: &mut StateReader) -> Result<Entries<K>> {
    let groups = reader.value()?;
    let [ids, values, counts] = read(reader)?;
    let ids = typed::<arrow::array::UInt32Array>(&ids)?.values().clone();
    let counts = typed::<arrow::array::Int64Array>(&counts)?.values().clone();
    let nulls = values.logical_nulls();
    let (column, _) = kind.open(&[values])?;
    let entries = ids.iter().zip(&counts).enumerate().map(|(row, (&group, &count))| {
        let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let held = valid.then(|| K::hold(std::borrow::Borrow::borrow(&K::get(&column, row))));
        (group, held, count)
    });
    let entries: Vec<_> = entries.collect();
    match entries.iter().all(|(group, _, _)| (*group as usize) < groups) {
        true => Ok(Entries { groups, entries }),
        false => Err(damaged()),
    }
}
