//! `LIMIT n OFFSET m` on a stream.

use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::Result;
use crate::event::{EventBatch, Micros};

/// Passes on `fetch` rows after the first `skip`, then nothing more: the query has ended.
///
/// *Ops.* Inserts only. *State.* Two counters. *Cost.* O(1) a batch.
#[derive(Debug)]
pub struct Limit {
    skip: u64,
    fetch: Option<u64>,
}

/// What a [`Limit`] does.
#[derive(Debug, Clone)]
pub struct LimitPlan {
    /// Rows left out at the beginning.
    pub skip: u64,
    /// Rows passed on after them; `None` for all.
    pub fetch: Option<u64>,
}

impl OperatorPlan for LimitPlan {
    fn name(&self) -> &'static str {
        "Limit"
    }

    fn details(&self) -> Vec<String> {
        let fetch = self.fetch.map_or_else(|| "all".to_string(), |n| n.to_string());
        vec![format!("{fetch} rows after {}", self.skip)]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Limit {
            skip: self.skip,
            fetch: self.fetch,
        }))
    }
}

impl Operator for Limit {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let rows = batch.num_rows() as u64;
        let skipped = self.skip.min(rows);
        let passed = (rows - skipped).min(self.fetch.unwrap_or(u64::MAX));
        self.skip -= skipped;
        self.fetch = self.fetch.map(|left| left - passed);
        out.emit(batch.slice(skipped as usize, passed as usize));
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.fetch == Some(0)
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&(self.skip, self.fetch))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        (self.skip, self.fetch) = state.value()?;
        Ok(())
    }
}
