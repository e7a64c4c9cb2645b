//! Operator state as bytes: small values as JSON, columns as Arrow IPC, each with its length in front.

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::event::{EventBatch, Op, Times};

/// Collects one operator's state.
#[derive(Debug, Default)]
pub struct StateWriter {
    bytes: Vec<u8>,
}

impl StateWriter {
    /// Appends a small value.
    pub fn value(&mut self, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(value).map_err(Error::failed)?;
        self.section(&json);
        Ok(())
    }

    /// Appends columns.
    pub fn columns(&mut self, columns: &RecordBatch) -> Result<()> {
        let mut ipc = Vec::new();
        let mut writer = StreamWriter::try_new(&mut ipc, &columns.schema())?;
        writer.write(columns)?;
        writer.finish()?;
        drop(writer);
        self.section(&ipc);
        Ok(())
    }

    /// Appends events: columns, times and operations.
    pub fn events(&mut self, batch: &EventBatch) -> Result<()> {
        self.columns(batch.columns())?;
        let times = match batch.times() {
            Times::Same(time) => (Some(*time), Vec::new()),
            Times::Each(each) => (None, each.to_vec()),
        };
        self.value(&times)?;
        let ops: Option<Vec<&str>> = batch.ops().map(|ops| ops.iter().map(|op| op.sign()).collect());
        self.value(&ops)
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.section(bytes);
    }

    /// All sections.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn section(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }
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
        let (same, each): (Option<i64>, Vec<i64>) = self.value()?;
        let times = same.map_or_else(|| Times::Each(each.into()), Times::Same);
        let Some(signs) = self.value::<Option<Vec<String>>>()? else {
            return Ok(EventBatch::inserts(columns, times));
        };
        let ops = signs
            .iter()
            .map(|sign| Op::from_sign(sign).ok_or_else(|| damaged(sign)));
        Ok(EventBatch::changes(columns, times, ops.collect::<Result<_>>()?))
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
