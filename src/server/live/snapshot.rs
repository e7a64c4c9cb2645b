//! [`Snapshot`]: the rows that a subscriber begins with, shared by all of a channel who begin at the same point.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::change::{Change, Columns, Kind, Rows};
use super::selection::Selection;

/// How many rows are written at a time.
const CHUNK: usize = 256;

/// The rows at one point, written a chunk at a time, when the first subscriber comes to it.
#[derive(Debug)]
pub struct Snapshot {
    seq: u64,
    selection: Arc<Selection>,
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    rows: Arc<Rows>,
    from: usize,
    texts: OnceLock<Vec<Bytes>>,
}

impl Snapshot {
    /// Of filtered rows, at a point.
    pub fn new(rows: &[Arc<Rows>], seq: u64, selection: Arc<Selection>) -> Arc<Self> {
        let chunks = rows.iter().flat_map(|rows| {
            let starts = (0..rows.batch().num_rows()).step_by(CHUNK);
            starts.map(|from| Chunk {
                rows: rows.clone(),
                from,
                texts: OnceLock::new(),
            })
        });
        Arc::new(Snapshot {
            seq,
            chunks: chunks.collect(),
            selection,
        })
    }

    /// The number of the last change that is in it.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The texts of a chunk; `None` behind the last.
    pub fn texts(&self, chunk: usize) -> Option<&[Bytes]> {
        let chunk = self.chunks.get(chunk)?;
        Some(chunk.texts.get_or_init(|| self.write(chunk)))
    }

    fn write(&self, chunk: &Chunk) -> Vec<Bytes> {
        let batch = chunk.rows.batch();
        let rows = chunk.from..batch.num_rows().min(chunk.from + CHUNK);
        let mut change = Change {
            seq: self.seq,
            kind: Kind::Insert,
            key: Arc::from(&[][..]),
            rows: chunk.rows.clone(),
            row: 0,
            changed: Columns::none(batch.num_columns()),
            at: Instant::now(),
        };
        let write = |row: usize| {
            change.row = row;
            let mut text = Vec::with_capacity(128);
            match self.selection.write(&mut text, &change) {
                Ok(()) => Bytes::from(text),
                Err(_) => Bytes::from_static(b"null"),
            }
        };
        rows.map(write).collect()
    }
}
