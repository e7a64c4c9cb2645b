//! Builds the changelog of a window's content: rows of held and arriving batches, in the order they change it.

use arrow::array::RecordBatch;

use super::gather::interleave;
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};

/// Rows picked from several batches, each with what it does and when. *Cost.* One gather a column.
#[derive(Default)]
pub struct Changes {
    sources: Vec<RecordBatch>,
    picks: Vec<(usize, usize)>,
    ops: Vec<Op>,
    times: Vec<Micros>,
}

/// A batch that rows are picked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(usize);

impl Changes {
    /// Adds a batch to pick from.
    pub fn source(&mut self, batch: &EventBatch) -> Source {
        self.sources.push(batch.columns().clone());
        Source(self.sources.len() - 1)
    }

    /// Picks a row.
    pub fn push(&mut self, source: Source, row: usize, op: Op, time: Micros) {
        self.picks.push((source.0, row));
        self.ops.push(op);
        self.times.push(time);
    }

    /// Whether nothing was picked.
    pub fn is_empty(&self) -> bool {
        self.picks.is_empty()
    }

    /// The rows as one batch; `None` without rows.
    pub fn finish(self) -> Result<Option<EventBatch>> {
        if self.picks.is_empty() {
            return Ok(None);
        }
        let columns = match self.whole_source() {
            Some(whole) => whole.clone(),
            None => {
                let sources: Vec<&RecordBatch> = self.sources.iter().collect();
                interleave(&sources, &self.picks)?
            }
        };
        let times = Times::Each(self.times.into());
        Ok(Some(EventBatch::changes(columns, times, self.ops.into())))
    }

    /// The source whose rows, all and in order, are the picks.
    fn whole_source(&self) -> Option<&RecordBatch> {
        let (source, _) = *self.picks.first()?;
        let whole = &self.sources[source];
        let same = self.picks.len() == whole.num_rows()
            && self.picks.iter().enumerate().all(|(row, pick)| *pick == (source, row));
        same.then_some(whole)
    }
}
