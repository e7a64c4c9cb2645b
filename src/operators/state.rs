//! Operator state as bytes: small values as JSON, columns as Arrow IPC, each with its length in front.
//!
//! Large columns may stay columns until the bytes are written, which is not the pipeline's work.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::event::{EventBatch, Op, Times};

/// Columns of at least this many bytes are shared with the operator until somebody writes them: taking the state does not copy them.
const SHARED_BYTES: usize = 64 << 10;

/// Collects one operator's state.
#[derive(Debug, Default)]
pub struct StateWriter {
    parts: Vec<StatePart>,
    /// What comes after the parts.
    bytes: Vec<u8>,
    shares: bool,
}

/// The state of an operator or a table: bytes, of which some are still columns.
#[derive(Debug, Clone, Default)]
pub struct State {
    parts: Vec<StatePart>,
}

/// A part of a [`State`].
#[derive(Debug, Clone)]
pub enum StatePart {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Columns whose bytes have not been made yet.
    Columns(RecordBatch),
    /// Sections that have not been made yet.
    Unwritten(Unwritten),
    /// Parts that come later.
    Later(Later),
}

/// Writes sections.
type Write = dyn Fn(&mut StateWriter) -> Result<()> + Send + Sync;

/// What writes sections when somebody asks for their bytes, off the pipeline.
#[derive(Clone)]
pub struct Unwritten(Arc<Write>);

impl std::fmt::Debug for Unwritten {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Unwritten")
    }
}

/// Parts of a state that its owner gives bit by bit; see [`crate::operators::gradual`].
#[derive(Debug, Clone, Default)]
pub struct Later(Arc<OnceLock<Vec<StatePart>>>);

impl Later {
    /// Gives them. Only the first time counts.
    pub fn give(&self, parts: Vec<StatePart>) {
        let _ = self.0.set(parts);
    }
}

impl StatePart {
    /// Its bytes.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            StatePart::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            StatePart::Columns(columns) => {
                let mut bytes = Vec::new();
                section(&mut bytes, &ipc(columns)?);
                Ok(Cow::Owned(bytes))
            }
            StatePart::Unwritten(Unwritten(write)) => {
                let mut writer = StateWriter::default();
                write(&mut writer)?;
                Ok(Cow::Owned(writer.into_bytes()))
            }
            StatePart::Later(_) => Err(Error::failed(
                "a part of the state has not been taken yet (please report it)",
            )),
        }
    }

    /// Sections that are written when somebody asks for them.
    pub fn unwritten(write: impl Fn(&mut StateWriter) -> Result<()> + Send + Sync + 'static) -> Self {
        StatePart::Unwritten(Unwritten(Arc::new(write)))
    }
}

impl State {
    /// Of bytes.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        let parts = vec![StatePart::Bytes(bytes)];
        State { parts }
    }

    /// With the parts that came later in their places.
    pub fn settled(self) -> Self {
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            match &part {
                StatePart::Later(Later(later)) => match later.get() {
                    Some(given) => parts.extend(given.iter().cloned()),
                    None => parts.push(part),
                },
                _ => parts.push(part),
            }
        }
        State { parts }
    }

    /// Its parts, which one after the other are its bytes.
    pub fn parts(&self) -> &[StatePart] {
        &self.parts
    }

    /// All its bytes.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match self.parts.as_slice() {
            [] => Ok(Cow::Borrowed(&[])),
            [one] => one.bytes(),
            parts => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend_from_slice(&part.bytes()?);
                }
                Ok(Cow::Owned(all))
            }
        }
    }
}

impl StateWriter {
    /// One that shares large columns with whoever writes them.
    pub fn sharing() -> Self {
        StateWriter {
            shares: true,
            ..StateWriter::default()
        }
    }

    /// Appends a small value.
    pub fn value(&mut self, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(value).map_err(Error::failed)?;
        self.bytes(&json);
        Ok(())
    }

    /// Appends columns.
    pub fn columns(&mut self, columns: &RecordBatch) -> Result<()> {
        if self.shares && columns.get_array_memory_size() >= SHARED_BYTES {
            if !self.bytes.is_empty() {
                self.parts.push(StatePart::Bytes(std::mem::take(&mut self.bytes)));
            }
            self.parts.push(StatePart::Columns(columns.clone()));
        } else {
            self.bytes(&ipc(columns)?);
        }
        Ok(())
    }

    /// Appends sections that are written when somebody asks for their bytes, or now if this writer does not share.
    pub fn unwritten(&mut self, write: impl Fn(&mut StateWriter) -> Result<()> + Send + Sync + 'static) -> Result<()> {
        if !self.shares {
            return write(self);
        }
        if !self.bytes.is_empty() {
            self.parts.push(StatePart::Bytes(std::mem::take(&mut self.bytes)));
        }
        self.parts.push(StatePart::unwritten(write));
        Ok(())
    }

    /// Keeps a place for parts that come later. For writers that share.
    pub fn later(&mut self) -> Later {
        if !self.bytes.is_empty() {
            self.parts.push(StatePart::Bytes(std::mem::take(&mut self.bytes)));
        }
        let later = Later::default();
        self.parts.push(StatePart::Later(later.clone()));
        later
    }

    /// Appends numbers.
    pub fn numbers(&mut self, numbers: &ScalarBuffer<i64>) -> Result<()> {
        let column: ArrayRef = Arc::new(Int64Array::new(numbers.clone(), None));
        self.columns(&RecordBatch::try_from_iter([("n", column)])?)
    }

    /// Appends events: columns, times and operations.
    pub fn events(&mut self, batch: &EventBatch) -> Result<()> {
        self.columns(batch.columns())?;
        let same = match batch.times() {
            Times::Same(time) => Some(*time),
            Times::Each(_) => None,
        };
        self.value(&(same, batch.ops().is_some()))?;
        if let Times::Each(each) = batch.times() {
            self.numbers(each)?;
        }
        if let Some(ops) = batch.ops() {
            let signs: Vec<u8> = ops.iter().map(|op| *op as u8).collect();
            self.bytes(&signs);
        }
        Ok(())
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        section(&mut self.bytes, bytes);
    }

    /// All sections, of a writer that does not share.
    pub fn into_bytes(self) -> Vec<u8> {
        debug_assert!(!self.shares);
        self.bytes
    }

    /// All sections.
    pub fn into_state(self) -> State {
        let mut parts = self.parts;
        if !self.bytes.is_empty() {
            parts.push(StatePart::Bytes(self.bytes));
        }
        State { parts }
    }
}

/// Appends bytes with their length in front.
fn section(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}

/// A few rows of a large batch share all its texts: written are only their own.
fn own_texts(column: &ArrayRef) -> ArrayRef {
    if let Some(texts) = column.as_string_view_opt() {
        return Arc::new(texts.gc());
    }
    match column.as_binary_view_opt() {
        Some(bytes) => Arc::new(bytes.gc()),
        None => column.clone(),
    }
}

fn ipc(columns: &RecordBatch) -> Result<Vec<u8>> {
    let own = columns.columns().iter().map(own_texts).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(columns.num_rows()));
    let columns = RecordBatch::try_new_with_options(columns.schema(), own, &options)?;
    let mut ipc = Vec::new();
    let mut writer = StreamWriter::try_new(&mut ipc, &columns.schema())?;
    writer.write(&columns)?;
    writer.finish()?;
    drop(writer);
    Ok(ipc)
}

/// Reads back, in the same order, what a [`StateWriter`] collected.
#[derive(Debug)]
pub struct StateReader<'a> {
    bytes: &'a [u8],
}

impl<'a> StateReader<'a> {
    /// Over the bytes of one operator.
    pub fn new(bytes: &'a [u8]) -> Self {
        StateReader { bytes }
    }

    /// Whether nothing was written, or all is read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next value.
    pub fn value<T: DeserializeOwned>(&mut self) -> Result<T> {
        serde_json::from_slice(self.section()?).map_err(|error| damaged(&error.to_string()))
    }

    /// The next bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        self.section()
    }

    /// The next numbers.
    pub fn numbers(&mut self) -> Result<ScalarBuffer<i64>> {
        let columns = self.columns()?;
        let numbers = columns
            .columns()
            .first()
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let numbers = numbers.ok_or_else(|| damaged("there are no numbers where there should be"))?;
        Ok(numbers.values().clone())
    }

    /// The next columns.
    pub fn columns(&mut self) -> Result<RecordBatch> {
        let mut reader = StreamReader::try_new(self.section()?, None)?;
        match reader.next() {
            Some(batch) => Ok(batch?),
            None => Ok(RecordBatch::new_empty(reader.schema())),
        }
    }

    /// The next events.
    pub fn events(&mut self) -> Result<EventBatch> {
        let columns = self.columns()?;
        let (same, has_ops): (Option<i64>, bool) = self.value()?;
        let times = match same {
            Some(time) => Times::Same(time),
            None => Times::Each(self.numbers()?),
        };
        if !has_ops {
            return Ok(EventBatch::inserts(columns, times));
        }
        let op = |byte: &u8| {
            let ops = [Op::Insert, Op::Delete, Op::UpdateBefore, Op::UpdateAfter];
            let op = ops.into_iter().find(|op| *op as u8 == *byte);
            op.ok_or_else(|| damaged("an operation that there is not"))
        };
        let ops = self.bytes()?.iter().map(op).collect::<Result<_>>()?;
        Ok(EventBatch::changes(columns, times, ops))
    }

    fn section(&mut self) -> Result<&'a [u8]> {
        let (length, rest) = self
            .bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| damaged("it ends early"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(Error::failed)?;
        let (section, rest) = rest.split_at_checked(length).ok_or_else(|| damaged("it ends early"))?;
        self.bytes = rest;
        Ok(section)
    }
}

fn damaged(what: &str) -> Error {
    Error::failed(format!("the snapshot is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    fn texts(rows: usize) -> RecordBatch {
        let texts: StringViewArray = (0..rows)
            .map(|row| Some(format!("a text that is too long for a view {row}")))
            .collect();
        RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap()
    }

    #[test]
    fn what_is_written_is_the_same_whether_columns_are_shared_or_not() {
        let large = EventBatch::changes(
            texts(5_000),
            Times::Each((0..5_000).collect()),
            (0..5_000)
                .map(|row| [Op::Insert, Op::Delete, Op::UpdateBefore, Op::UpdateAfter][row % 4])
                .collect(),
        );
        let small = large.slice(10, 3);
        let write = |mut state: StateWriter| {
            state.value(&7).unwrap();
            state.events(&large).unwrap();
            state.events(&small).unwrap();
            state.bytes(b"end");
            state
        };
        let bytes = write(StateWriter::default()).into_bytes();
        let shared = write(StateWriter::sharing()).into_state();
        assert!(shared.parts().iter().any(|part| matches!(part, StatePart::Columns(_))));
        assert_eq!(*shared.bytes().unwrap(), bytes);
        let mut reader = StateReader::new(&bytes);
        assert_eq!(reader.value::<i32>().unwrap(), 7);
        for expected in [&large, &small] {
            let read = reader.events().unwrap();
            assert_eq!(read.columns(), expected.columns());
            assert_eq!(read.ops(), expected.ops());
            assert!((0..read.num_rows()).all(|row| read.time(row) == expected.time(row)));
        }
        assert_eq!(reader.bytes().unwrap(), b"end");
        assert!(reader.is_empty());
    }

    #[test]
    fn a_few_rows_of_a_large_batch_take_what_they_take() {
        let mut state = StateWriter::default();
        state.columns(&texts(10_000).slice(0, 2)).unwrap();
        assert!(state.into_bytes().len() < 2_000);
    }
}
