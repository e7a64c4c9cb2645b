//! Columns made of rows of the store, in any order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray, UInt32Array, new_null_array};
use arrow::datatypes::DataType;

use super::paths::Label;
use crate::error::{Error, Result};
use crate::windows::row_store::{NO_ROW, RowId, RowStore};

/// Where rows are, so that several columns of them can be gathered.
pub struct Located {
    rows: usize,
    found: Found,
}

enum Found {
    /// None of them is anywhere.
    Nowhere,
    /// All that are somewhere are in one chunk.
    One { chunk: usize, rows: UInt32Array },
    /// In these chunks; the place after the last is NULL.
    Several {
        chunks: Vec<usize>,
        picks: Vec<(usize, usize)>,
    },
}

impl Located {
    /// Finds rows; [`NO_ROW`] is NULL.
    pub fn new(store: &RowStore, ids: &[RowId]) -> Self {
        let mut places: Vec<Option<(usize, usize)>> = Vec::with_capacity(ids.len());
        let mut one = None;
        let mut same = true;
        for &id in ids {
            let place = if id == NO_ROW { None } else { store.locate(id) };
            if let Some((chunk, _)) = place {
                same &= *one.get_or_insert(chunk) == chunk;
            }
            places.push(place);
        }
        let found = match one {
            None => Found::Nowhere,
            Some(chunk) if same => Found::One {
                chunk,
                rows: places.iter().map(|place| place.map(|(_, row)| row as u32)).collect(),
            },
            Some(_) => several(&places),
        };
        Located { rows: ids.len(), found }
    }

    /// A column of the rows.
    pub fn column(&self, store: &RowStore, column: usize, data_type: &DataType) -> Result<ArrayRef> {
        match &self.found {
            Found::Nowhere => Ok(new_null_array(data_type, self.rows)),
            Found::One { chunk, rows } => {
                let array = array_of(store, *chunk, column)?;
                let whole = rows.null_count() == 0
                    && rows.len() == array.len()
                    && rows.values().iter().zip(0..).all(|(row, at)| *row == at);
                match whole {
                    true => Ok(array.clone()),
                    false => Ok(arrow::compute::take(array.as_ref(), rows, None)?),
                }
            }
            Found::Several { chunks, picks } => {
                let null = new_null_array(data_type, 1);
                let mut arrays: Vec<&dyn Array> = Vec::with_capacity(chunks.len() + 1);
                for chunk in chunks {
                    arrays.push(array_of(store, *chunk, column)?.as_ref());
                }
                arrays.push(null.as_ref());
                Ok(arrow::compute::interleave(&arrays, picks)?)
            }
        }
    }
}

fn several(places: &[Option<(usize, usize)>]) -> Found {
    let mut slots: HashMap<usize, usize> = HashMap::new();
    let mut chunks = Vec::new();
    for (chunk, _) in places.iter().flatten() {
        slots.entry(*chunk).or_insert_with(|| {
            chunks.push(*chunk);
            chunks.len() - 1
        });
    }
    let pick = |place: &Option<(usize, usize)>| match place {
        Some((chunk, row)) => (slots[chunk], *row),
        None => (chunks.len(), 0),
    };
    let picks = places.iter().map(pick).collect();
    Found::Several { chunks, picks }
}

/// A column of a chunk.
pub fn array_of(store: &RowStore, chunk: usize, column: usize) -> Result<&ArrayRef> {
    let events = store.chunk(chunk).ok_or_else(|| Error::failed("rows got lost"))?;
    Ok(events.column(column))
}

/// The names of labels; `None` is NULL.
pub fn names(labels: impl Iterator<Item = Option<Label>>, variables: &[String]) -> ArrayRef {
    let names = labels.map(|label| label.and_then(|label| variables.get(label.variable() as usize)));
    Arc::new(names.collect::<StringViewArray>())
}
