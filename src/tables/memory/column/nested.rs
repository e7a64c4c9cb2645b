//! Columns of lists, structs and maps: each write is kept as the Arrow array it came in, and rows say where in which.
//!
//! What was overwritten is dropped when a chunk's arrays are joined into one, at the latest after [`SOURCES`] writes.

use arrow::array::{Array, ArrayRef, UInt32Array, make_array, make_comparator, new_empty_array, new_null_array};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::DataType;

use super::super::places::{CHUNK, Position, chunk_of, offset_of, reach, runs};
use super::ColumnStore;
use crate::error::{Error, Result};

/// How many arrays a chunk is made of at most.
const SOURCES: usize = 64;

/// Nested values.
#[derive(Debug)]
pub(super) struct Nested {
    data_type: DataType,
    chunks: Vec<Chunk>,
}

#[derive(Debug, Default)]
struct Chunk {
    /// The first one is a single NULL.
    sources: Vec<ArrayRef>,
    /// By offset: source, and row in it.
    cells: Vec<(u32, u32)>,
}

impl Chunk {
    fn held(&self) -> usize {
        self.sources.iter().map(|source| source.len()).sum()
    }
}

impl Nested {
    /// An empty column of a type.
    pub fn new(data_type: &DataType) -> Self {
        Nested {
            data_type: data_type.clone(),
            chunks: Vec::new(),
        }
    }

    fn null(&self) -> ArrayRef {
        new_null_array(&self.data_type, 1)
    }

    fn cell(&self, at: Position) -> Option<(&ArrayRef, u32)> {
        let chunk = self.chunks.get(chunk_of(at))?;
        let (source, row) = *chunk.cells.get(offset_of(at))?;
        Some((chunk.sources.get(source as usize)?, row))
    }

    /// Joins the arrays of a chunk into one.
    fn join(&mut self, index: usize) -> Result<()> {
        let null = self.null();
        let chunk = &mut self.chunks[index];
        let sources: Vec<&dyn Array> = chunk.sources.iter().map(AsRef::as_ref).collect();
        let cells: Vec<(usize, usize)> = chunk
            .cells
            .iter()
            .map(|(source, row)| (*source as usize, *row as usize))
            .collect();
        let joined = interleave(&sources, &cells)?;
        chunk.sources = vec![null, joined];
        for (row, cell) in chunk.cells.iter_mut().enumerate() {
            *cell = (1, row as u32);
        }
        Ok(())
    }
}

impl ColumnStore for Nested {
    fn write(&mut self, values: &ArrayRef, rows: &[u32], at: &[Position]) -> Result<()> {
        for (index, run) in runs(at) {
            if index >= self.chunks.len() {
                self.chunks.resize_with(index + 1, Chunk::default);
            }
            if self.chunks[index].sources.is_empty() {
                let null = self.null();
                self.chunks[index].sources.push(null);
            }
            let taken = UInt32Array::from(rows[run.clone()].to_vec());
            // Copied, so that it holds nothing of the batch it comes from.
            let taken = take(values, &taken, None)?;
            let chunk = &mut self.chunks[index];
            let source = chunk.sources.len() as u32;
            chunk.sources.push(make_array(taken.to_data()));
            for (row, &at) in at[run].iter().enumerate() {
                reach(&mut chunk.cells, offset_of(at), || (0, 0));
                chunk.cells[offset_of(at)] = (source, row as u32);
            }
            if chunk.sources.len() > SOURCES || chunk.held() > 2 * CHUNK {
                self.join(index)?;
            }
        }
        Ok(())
    }

    fn read(&self, at: &[Position]) -> Result<ArrayRef> {
        let mut sources: Vec<&dyn Array> = Vec::new();
        // By chunk: its first source among `sources`.
        let mut first = vec![None; self.chunks.len()];
        let mut cells = Vec::with_capacity(at.len());
        for &at in at {
            let chunk = self
                .chunks
                .get(chunk_of(at))
                .ok_or_else(|| Error::failed("a row of a table has no values"))?;
            let first = *first[chunk_of(at)].get_or_insert_with(|| {
                let first = sources.len();
                sources.extend(chunk.sources.iter().map(|source| source.as_ref() as &dyn Array));
                first
            });
            let (source, row) = chunk.cells[offset_of(at)];
            cells.push((first + source as usize, row as usize));
        }
        match sources.is_empty() {
            true => Ok(new_empty_array(&self.data_type)),
            false => Ok(interleave(&sources, &cells)?),
        }
    }

    fn equal(&self, at: &[Position], values: &ArrayRef, rows: &[u32], equal: &mut [bool]) -> Result<()> {
        let mine = self.read(at)?;
        let compare = make_comparator(&mine, values, SortOptions::default())?;
        for (i, (&row, equal)) in rows.iter().zip(equal).enumerate() {
            let row = row as usize;
            *equal = *equal && mine.is_valid(i) && values.is_valid(row) && compare(i, row).is_eq();
        }
        Ok(())
    }

    fn same(&self, a: Position, b: Position) -> bool {
        let (Some((left, i)), Some((right, j))) = (self.cell(a), self.cell(b)) else {
            return false;
        };
        let (i, j) = (i as usize, j as usize);
        left.is_valid(i)
            && right.is_valid(j)
            && make_comparator(left, right, SortOptions::default()).is_ok_and(|compare| compare(i, j).is_eq())
    }

    fn share(&self, chunk: usize, rows: usize) -> Result<ArrayRef> {
        let at: Vec<Position> = (0..rows).map(|offset| (chunk * CHUNK + offset) as Position).collect();
        self.read(&at)
    }

    fn erase(&mut self, at: &[Position]) -> Result<()> {
        for &at in at {
            self.chunks[chunk_of(at)].cells[offset_of(at)] = (0, 0);
        }
        Ok(())
    }

    fn release(&mut self, chunk: usize) {
        if let Some(chunk) = self.chunks.get_mut(chunk) {
            *chunk = Chunk::default();
        }
    }

    fn settle(&mut self) {}

    fn width(&self) -> usize {
        size_of::<(u32, u32)>()
    }

    fn extra(&self, at: Position) -> usize {
        self.cell(at).map_or(0, |(source, _)| average(source))
    }

    fn extra_of(&self, values: &ArrayRef) -> Vec<usize> {
        vec![average(values); values.len()]
    }
}

/// What a row of an array takes on average.
fn average(values: &ArrayRef) -> usize {
    let bytes = values.to_data().get_slice_memory_size().unwrap_or_default();
    bytes / values.len().max(1)
}
