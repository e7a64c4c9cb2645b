//! The end of a windowed query: which of the changes become events of its target.

use arrow::array::BooleanArray;

use super::running_aggregate::adds;
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::Result;
use crate::event::EventBatch;

/// Passes on what entered (`CURRENT EVENTS`), what left (`EXPIRED EVENTS`), or both.
///
/// *Ops.* Takes inserts and deletes; gives inserts, or the same. *State.* None.
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
    /// As what.
    pub form: OutputForm,
}

/// What changes become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// Events of their own.
    Events,
    /// They stay changes: the output of a named window.
    Changes,
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
        match self.plan.form {
            OutputForm::Changes => out.emit(batch),
            OutputForm::Events => {
                let (columns, times, _) = batch.into_parts();
                out.emit(EventBatch::inserts(columns, times));
            }
        }
        Ok(())
    }
}
