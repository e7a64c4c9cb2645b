//! One event at a time: for events that meet what they themselves have caused.

use super::{Operator, OperatorPlan, Output, Port};
use crate::error::Result;
use crate::event::EventBatch;

/// Passes each event on in a batch of its own.
///
/// Where one event reaches an operator by two ways (a self join, a query that reads a table which another query of the same
/// stream writes), all its ways must be gone before the next event's; a batch of many would go one way whole, then the other.
///
/// *Ops.* Any. *State.* None. *Cost.* That of a batch for each event: plan it only where it is needed.
pub struct SplitRows;

/// What a [`SplitRows`] does.
#[derive(Debug, Clone, Copy)]
pub struct SplitRowsPlan;

impl OperatorPlan for SplitRowsPlan {
    fn name(&self) -> &'static str {
        "SplitRows"
    }

    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SplitRows))
    }
}

impl Operator for SplitRows {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        match batch.num_rows() {
            1 => out.emit(batch),
            rows => (0..rows).for_each(|row| out.emit(batch.slice(row, 1))),
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<crate::event::Micros> {
        None
    }
}
