//! The end of a windowed query: which of the changes become events of its target.

use arrow::array::BooleanArray;

use super::running_aggregate::adds;
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::Result;
use crate::event::EventBatch;

/// Passes on what entered (`CURRENT EVENTS`), what left (`EXPIRED EVENTS`), or both, as inserts.
///
/// *Ops.* Takes inserts and deletes; gives inserts. *State.* None.
pub struct OutputEvents {
    plan: OutputEventsPlan,
}

/// What an [`OutputEvents`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputEventsPlan {
    /// What entered goes on.
    pub current: bool,
    /// What left goes on.
    pub expired: bool,
}

impl OperatorPlan for OutputEventsPlan {
    fn name(&self) -> &'static str {
        "OutputEvents"
    }

    fn details(&self) -> Vec<String> {
        let what = match (self.current, self.expired) {
            (true, true) => "all",
            (true, false) => "current",
            _ => "expired",
        };
        vec![what.to_string()]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(OutputEvents { plan: *self }))
    }
}

impl Operator for OutputEvents {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let Some(ops) = batch.ops() else {
            if self.plan.current {
                out.emit(batch);
            }
            return Ok(());
        };
        let batch = match (self.plan.current, self.plan.expired) {
            (true, true) => batch,
            (current, _) => {
                let kept: BooleanArray = ops.iter().map(|op| Some(adds(*op) == current)).collect();
                batch.filter(&kept)?
            }
        };
        let (columns, times, _) = batch.into_parts();
        out.emit(EventBatch::inserts(columns, times));
        Ok(())
    }
}
