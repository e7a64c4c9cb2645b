//! The ways of errors through the graph, and what goes with them: sinks whose failures flow on are brought to rest before a barrier,
//! before a wait and at the end, so that what they give up has its place before these.

use arrow::datatypes::SchemaRef;

use super::cut::Mark;
use super::error_rows;
use super::graph::{Graph, NodeIndex, Stage, Work};
use super::tap::Tap;
use crate::catalog::error_policy::Action;
use crate::error::{ErrorKind, Result, RowError};
use crate::event::Micros;
use crate::operators::{END_OF_TIME, Watermark};
use crate::plan::stream_plan::ErrorFlow;

/// Where a node's bad events go.
pub struct ErrorOutput {
    /// Node and port.
    pub to: (NodeIndex, usize),
    /// Which of them.
    pub flow: ErrorFlow,
    /// The columns there.
    pub schema: SchemaRef,
}

impl Graph {
    /// Reports bad events that a source met, and carries them all the way.
    pub fn report(&mut self, node: NodeIndex, errors: Vec<RowError>, now: Micros) -> Result<()> {
        self.push_errors(node, &errors, now)?;
        self.run(now)
    }

    /// Reports bad events of a node, and sends them on their ways. *Errors.* When the app shall stop for one.
    pub(super) fn push_errors(&mut self, index: NodeIndex, errors: &[RowError], now: Micros) -> Result<()> {
        if errors.is_empty() {
            return Ok(());
        }
        let spec = &self.nodes[index].spec;
        let mut letters = Vec::new();
        for error in errors {
            if spec.errors.report(error)? == Action::DeadLetter && error.kind != ErrorKind::Source {
                letters.push(error);
            }
        }
        for output in spec.error_outputs.iter().rev() {
            let all: Vec<&RowError>;
            let rows = match output.flow {
                ErrorFlow::DeadLetters => &letters,
                ErrorFlow::Fault => {
                    all = errors.iter().collect();
                    &all
                }
            };
            if !rows.is_empty() {
                let batch = error_rows::batch(&output.schema, spec.errors.stream(), rows, now)?;
                let (node, port) = output.to;
                self.work.push(Work::Batch { node, port, batch });
            }
        }
        Ok(())
    }

    /// Tells those who read a node's errors that none will come any more.
    pub(super) fn end_errors(&mut self, index: NodeIndex) {
        let watermark = Watermark::At(END_OF_TIME);
        for output in &self.nodes[index].spec.error_outputs {
            let (node, port) = output.to;
            self.work.push(Work::Time { node, port, watermark });
        }
    }

    /// Makes all that was delivered visible, and carries on what sinks give up.
    pub fn flush(&mut self, now: Micros) -> Result<()> {
        // Errors go one way only, so this ends: each round reaches sinks further down.
        loop {
            let mut lost_any = false;
            for index in 0..self.nodes.len() {
                let lost = self.of_taps(index, Tap::flush)?;
                lost_any |= !lost.is_empty();
                self.report(index, lost, now)?;
            }
            if !lost_any {
                return Ok(());
            }
        }
    }

    /// Before the end of time goes on from a stream: what its sinks give up goes first.
    pub(super) fn flush_node(&mut self, index: NodeIndex, now: Micros) -> Result<()> {
        let lost = match self.nodes[index].spec.error_outputs.is_empty() {
            true => return Ok(()),
            false => self.of_taps(index, Tap::finish)?,
        };
        self.push_errors(index, &lost, now)
    }

    /// A barrier to all sinks: where they stand when all that came before it is written.
    pub fn marks(&mut self, now: Micros) -> Result<Vec<Mark>> {
        self.flush(now)?;
        let mut marks = Vec::new();
        for index in 0..self.nodes.len() {
            let lost = self.of_taps(index, |tap, lost| {
                marks.extend(tap.mark(lost)?);
                Ok(())
            })?;
            // Nothing is left that could be given up.
            self.report(index, lost, now)?;
        }
        Ok(marks)
    }

    /// Flushes and closes all sinks. *Errors.* The first; all are closed.
    pub fn close(&mut self, now: Micros) -> Result<()> {
        let mut outcome = self.flush(now);
        let mut lost = Vec::new();
        for tap in self.all_taps() {
            let tap = std::mem::replace(tap, Tap::Callback(Box::new(|_| {})));
            outcome = outcome.and(tap.close(&mut lost));
        }
        outcome
    }

    /// Does something with the taps of a node; the events that they give up.
    fn of_taps(
        &mut self,
        index: NodeIndex,
        mut act: impl FnMut(&mut Tap, &mut Vec<RowError>) -> Result<()>,
    ) -> Result<Vec<RowError>> {
        let mut lost = Vec::new();
        if let Stage::Pass(taps) = &mut self.nodes[index].spec.stage {
            taps.iter_mut().try_for_each(|tap| act(tap, &mut lost))?;
        }
        Ok(lost)
    }
}
