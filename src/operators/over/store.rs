//! [`RowStore`]: rows that later rows still ask for, by number.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, interleave, interleave_record_batch};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::operators::state::{StateReader, StateWriter};

/// The number of a row in a [`RowStore`]: rows are numbered as they come.
pub type Seq = u64;

/// A store whose rows are mostly released is packed, but not for fewer rows than this.
const PACK_ROWS: usize = 8_192;

/// Neighbouring chunks are joined up to this many rows, so that many small batches are not as many chunks.
const CHUNK_ROWS: usize = 4_096;

/// Columns of rows, each kept as long as it has references.
///
/// Chunks are the batches as they came, shared and not copied; small ones are joined (each row is copied at most
/// log₂ `CHUNK_ROWS` times). When more rows are released than kept, the kept ones are packed, which renumbers them.
///
/// *Cost.* Amortised O(1) a row, O(log chunks) to find one. *Memory.* At most about twice the rows that are referenced.
pub struct RowStore {
    schema: SchemaRef,
    chunks: VecDeque<Chunk>,
    /// The references to each row from `base` on.
    references: VecDeque<u32>,
    base: Seq,
    /// The rows that have references.
    live: usize,
}

struct Chunk {
    start: Seq,
    rows: RecordBatch,
}

impl Chunk {
    fn end(&self) -> Seq {
        self.start + self.rows.num_rows() as u64
    }
}

/// A value to gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// NULL.
    Null,
    /// That of a row.
    Of(Seq),
    /// The default that a row has for itself.
    DefaultOf(Seq),
}

/// New numbers of the rows of a packed store.
pub struct Renumbered {
    base: Seq,
    /// By the former number, counted from `base`.
    numbers: Vec<Seq>,
}

impl Renumbered {
    /// The number that a kept row has now.
    pub fn apply(&self, seq: &mut Seq) {
        let former = seq.checked_sub(self.base).and_then(|index| usize::try_from(index).ok());
        if let Some(now) = former.and_then(|index| self.numbers.get(index)) {
            *seq = *now;
        }
    }
}

impl RowStore {
    /// An empty store.
    pub fn new(schema: SchemaRef) -> Self {
        RowStore {
            schema,
            chunks: VecDeque::new(),
            references: VecDeque::new(),
            base: 0,
            live: 0,
        }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The number that the next row gets.
    pub fn next(&self) -> Seq {
        self.base + self.references.len() as u64
    }

    /// The oldest row that has references, as of the last [`RowStore::settle`].
    pub fn oldest(&self) -> Option<Seq> {
        (self.live > 0).then_some(self.base)
    }

    /// Appends rows with one reference each; the number of the first.
    pub fn push(&mut self, rows: RecordBatch) -> Result<Seq> {
        let start = self.next();
        let count = rows.num_rows();
        if count == 0 {
            return Ok(start);
        }
        self.references.resize(self.references.len() + count, 1);
        self.live += count;
        self.chunks.push_back(Chunk { start, rows });
        self.join_chunks()?;
        Ok(start)
    }

    /// Joins the last chunks like the digits of a binary counter.
    fn join_chunks(&mut self) -> Result<()> {
        while let [.., former, last] = self.chunks.make_contiguous()
            && former.rows.num_rows() <= last.rows.num_rows()
            && former.rows.num_rows() + last.rows.num_rows() <= CHUNK_ROWS
        {
            let rows = concat_batches(&self.schema, [&former.rows, &last.rows])?;
            former.rows = rows;
            self.chunks.pop_back();
        }
        Ok(())
    }

    /// One more reference to a row.
    pub fn retain(&mut self, seq: Seq) {
        if let Some(references) = self.references.get_mut((seq - self.base) as usize) {
            *references += 1;
        }
    }

    /// One reference fewer.
    #[inline]
    pub fn release(&mut self, seq: Seq) {
        if let Some(references) = self.references.get_mut((seq - self.base) as usize) {
            debug_assert!(*references > 0);
            *references = references.saturating_sub(1);
            self.live -= usize::from(*references == 0);
        }
    }

    /// Drops what nobody refers to. When rows get new numbers, whoever remembers numbers must apply them.
    pub fn settle(&mut self) -> Result<Option<Renumbered>> {
        while self.references.front() == Some(&0) {
            self.references.pop_front();
            self.base += 1;
        }
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= self.base) {
            self.chunks.pop_front();
        }
        match self.references.len() > 2 * self.live + PACK_ROWS {
            true => self.pack().map(Some),
            false => Ok(None),
        }
    }

    fn pack(&mut self) -> Result<Renumbered> {
        let mut numbers = Vec::with_capacity(self.references.len());
        let mut kept = Vec::with_capacity(self.live);
        for (seq, references) in (self.base..).zip(&self.references) {
            numbers.push(kept.len() as u64);
            if *references > 0 {
                kept.push(seq);
            }
        }
        let rows = self.gather(&kept)?;
        let base = std::mem::take(&mut self.base);
        self.references.retain(|references| *references > 0);
        self.chunks = VecDeque::from([Chunk { start: 0, rows }]);
        Ok(Renumbered { base, numbers })
    }

    /// Rows by their numbers.
    pub fn gather(&self, seqs: &[Seq]) -> Result<RecordBatch> {
        if self.schema.fields().is_empty() || seqs.is_empty() {
            return rows_without_values(&self.schema, seqs.len());
        }
        let mut finder = self.finder();
        let places: Vec<(usize, usize)> = seqs.iter().map(|seq| finder.find(*seq)).collect();
        if let Some(slice) = self.one_run(&places) {
            return Ok(slice);
        }
        let mut places = places;
        let used = used(&mut places, self.chunks.len());
        let chunks: Vec<&RecordBatch> = used.into_iter().map(|chunk| &self.chunks[chunk].rows).collect();
        Ok(interleave_record_batch(&chunks, &places)?)
    }

    /// The rows as a slice, when they are neighbours in one chunk.
    fn one_run(&self, places: &[(usize, usize)]) -> Option<RecordBatch> {
        let (chunk, first) = *places.first()?;
        let run = places
            .iter()
            .enumerate()
            .all(|(index, place)| *place == (chunk, first + index));
        run.then(|| self.chunks[chunk].rows.slice(first, places.len()))
    }

    /// Values of a column; the defaults are those of another.
    pub fn pick(&self, column: usize, defaults: Option<usize>, picks: &[Pick]) -> Result<ArrayRef> {
        let null = new_null_array(self.schema.field(column).data_type(), 1);
        let chunks = self.chunks.len();
        let nothing = (2 * chunks, 0);
        let mut values = self.finder();
        let mut defaulted = self.finder();
        let places = picks.iter().map(|pick| match (pick, defaults) {
            (Pick::Of(seq), _) => values.find(*seq),
            (Pick::DefaultOf(seq), Some(_)) => {
                let (chunk, row) = defaulted.find(*seq);
                (chunks + chunk, row)
            }
            _ => nothing,
        });
        let mut places: Vec<(usize, usize)> = places.collect();
        let source = |at: usize| match (at.checked_sub(chunks), defaults) {
            (None, _) => self.chunks[at].rows.column(column).as_ref(),
            (Some(chunk), Some(defaults)) if chunk < chunks => self.chunks[chunk].rows.column(defaults).as_ref(),
            _ => null.as_ref(),
        };
        let sources = used(&mut places, nothing.0 + 1).into_iter().map(source);
        let sources: Vec<_> = sources.collect();
        Ok(interleave(&sources, &places)?)
    }

    fn finder(&self) -> Finder<'_> {
        Finder {
            chunks: &self.chunks,
            recent: [0, self.chunks.len().saturating_sub(1)],
        }
    }

    /// Writes the rows, their numbers and references.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let rows: Vec<RecordBatch> = self.chunks.iter().map(|chunk| chunk.rows.clone()).collect();
        let start = self.chunks.front().map_or(self.base, |chunk| chunk.start);
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        state.value(&(self.base, self.live, start, count))?;
        if !self.schema.fields().is_empty() {
            state.columns(&concat_batches(&self.schema, &rows)?)?;
        }
        write_numbers(self.references.iter().map(|references| u64::from(*references)), state)
    }

    /// Reads back what [`RowStore::snapshot`] wrote.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let (start, count): (Seq, usize);
        (self.base, self.live, start, count) = state.value()?;
        let rows = match self.schema.fields().is_empty() {
            true => rows_without_values(&self.schema, count)?,
            false => RecordBatch::try_new(self.schema.clone(), state.columns()?.columns().to_vec())?,
        };
        self.chunks = match rows.num_rows() {
            0 => VecDeque::new(),
            _ => VecDeque::from([Chunk { start, rows }]),
        };
        let references = read_numbers(state)?.into_iter();
        self.references = references.map(|references| references as u32).collect();
        Ok(())
    }
}

/// The sources that places are in, of `sources` ones; the places then count among these. Few rows do not pay for many chunks.
fn used(places: &mut [(usize, usize)], sources: usize) -> Vec<usize> {
    if sources <= places.len() {
        return (0..sources).collect();
    }
    let mut used: Vec<usize> = places.iter().map(|(source, _)| *source).collect();
    used.sort_unstable();
    used.dedup();
    for (source, _) in places {
        *source = used.partition_point(|known| known < source);
    }
    used
}

fn rows_without_values(schema: &SchemaRef, rows: usize) -> Result<RecordBatch> {
    if schema.fields().is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        return Ok(RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options)?);
    }
    Ok(RecordBatch::new_empty(schema.clone()))
}

/// Finds rows; those asked for one after the other mostly come from the same two chunks, where rows leave and enter.
struct Finder<'a> {
    chunks: &'a VecDeque<Chunk>,
    recent: [usize; 2],
}

impl Finder<'_> {
    #[inline]
    fn find(&mut self, seq: Seq) -> (usize, usize) {
        for at in self.recent {
            if let Some(chunk) = self.chunks.get(at)
                && chunk.start <= seq
                && seq < chunk.end()
            {
                return (at, (seq - chunk.start) as usize);
            }
        }
        let at = self.chunks.partition_point(|chunk| chunk.end() <= seq);
        self.recent = [self.recent[1], at];
        let start = self.chunks.get(at).map_or(seq, |chunk| chunk.start);
        (at, (seq - start) as usize)
    }
}

/// Writes numbers as a column.
pub fn write_numbers(numbers: impl Iterator<Item = u64>, state: &mut StateWriter) -> Result<()> {
    let column: ArrayRef = std::sync::Arc::new(UInt64Array::from_iter_values(numbers));
    state.columns(&RecordBatch::try_from_iter([("n", column)])?)
}

/// Reads what [`write_numbers`] wrote.
pub fn read_numbers(state: &mut StateReader) -> Result<Vec<u64>> {
    let columns = state.columns()?;
    let column = columns.columns().first();
    let numbers = column.and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
    let numbers = numbers.ok_or_else(|| Error::failed("the snapshot is damaged: numbers are missing"))?;
    Ok(numbers.values().to_vec())
}

/// Rows of each group, by number.
#[derive(Default)]
pub struct Queues(Vec<VecDeque<Seq>>);

impl Queues {
    /// That of a group.
    pub fn of(&mut self, group: u32) -> &mut VecDeque<Seq> {
        let index = group as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, VecDeque::new);
        }
        &mut self.0[index]
    }

    /// All.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut VecDeque<Seq>> {
        self.0.iter_mut()
    }

    /// Takes new numbers.
    pub fn renumber(&mut self, renumbered: &Renumbered) {
        self.0.iter_mut().flatten().for_each(|seq| renumbered.apply(seq));
    }

    /// Writes all.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        write_numbers(self.0.iter().map(|queue| queue.len() as u64), state)?;
        write_numbers(self.0.iter().flatten().copied(), state)
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let lengths = read_numbers(state)?;
        let mut seqs = read_numbers(state)?.into_iter();
        let queue = |length: u64| seqs.by_ref().take(length as usize).collect();
        self.0 = lengths.into_iter().map(queue).collect();
        Ok(())
    }
}
