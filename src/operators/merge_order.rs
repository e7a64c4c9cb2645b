//! Several inputs of one operator brought into one event-time order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::state::{StateReader, StateWriter};
use super::{BEGINNING_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros};

/// Holds what comes in on every port until the watermark of all has passed it, then hands it to the operator by time; of one time,
/// the lower port first. Each port's own order is kept.
///
/// *Ops.* As the operator. *State.* The rows ahead of the watermark, and the operator's. *Cost.* O(1) a row; the operator gets as
/// long runs of one port as the times allow.
pub struct MergeOrder {
    operator: Box<dyn Operator>,
    ports: Vec<Waiting>,
}

/// What a [`MergeOrder`] does.
#[derive(Clone)]
pub struct MergeOrderPlan {
    /// Who gets the rows.
    pub operator: Arc<dyn OperatorPlan>,
    /// The columns of each port.
    pub inputs: Vec<SchemaRef>,
}

/// The rows of one port.
struct Waiting {
    batches: VecDeque<EventBatch>,
    /// The rows of the first batch that have been handed on.
    from: usize,
    /// The latest time handed on: a row that is earlier (an accepted late one) counts as of then.
    reached: Micros,
}

impl OperatorPlan for MergeOrderPlan {
    fn name(&self) -> &'static str {
        self.operator.name()
    }

    fn details(&self) -> Vec<String> {
        let mut details = self.operator.details();
        details.push("in event-time order".to_string());
        details
    }

    fn keeps_batches(&self) -> bool {
        self.operator.keeps_batches()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let waiting = |_: &SchemaRef| Waiting {
            batches: VecDeque::new(),
            from: 0,
            reached: BEGINNING_OF_TIME,
        };
        Ok(Box::new(MergeOrder {
            operator: self.operator.build()?,
            ports: self.inputs.iter().map(waiting).collect(),
        }))
    }
}

impl Waiting {
    /// The time of the next row.
    fn next(&self) -> Option<Micros> {
        let first = self.batches.front()?;
        Some(first.time(self.from).max(self.reached))
    }

    /// Takes the next rows of the first batch, up to `limit`, or before it.
    fn take(&mut self, limit: Micros, inclusive: bool) -> Option<EventBatch> {
        let first = self.batches.front()?;
        let mut to = self.from;
        let mut reached = self.reached;
        while to < first.num_rows() {
            let time = first.time(to).max(reached);
            if time > limit || time == limit && !inclusive {
                break;
            }
            reached = time;
            to += 1;
        }
        if to == self.from {
            return None;
        }
        let part = first.slice(self.from, to - self.from);
        (self.from, self.reached) = (to, reached);
        if to == first.num_rows() {
            self.batches.pop_front();
            self.from = 0;
        }
        Some(part)
    }
}

impl MergeOrder {
    /// Hands on all rows up to a time.
    fn release(&mut self, until: Micros, out: &mut Output) -> Result<()> {
        loop {
            let next = |(port, waiting): (usize, &Waiting)| Some((waiting.next()?, port));
            let mut heads: Vec<(Micros, usize)> = self.ports.iter().enumerate().filter_map(next).collect();
            heads.sort_unstable();
            let Some(&(time, port)) = heads.first() else {
                return Ok(());
            };
            if time > until {
                return Ok(());
            }
            // As far as the next port's first row: of one time the lower port is first.
            let (limit, inclusive) = match heads.get(1) {
                Some(&(other, other_port)) if other <= until => (other, port < other_port),
                _ => (until, true),
            };
            match self.ports[port].take(limit, inclusive) {
                Some(part) => self.operator.process(port, part, out)?,
                None => return Ok(()),
            }
        }
    }
}

impl Operator for MergeOrder {
    fn process(&mut self, port: Port, batch: EventBatch, _out: &mut Output) -> Result<()> {
        if let Some(waiting) = self.ports.get_mut(port)
            && !batch.is_empty()
        {
            waiting.batches.push_back(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let TimeUpdate::Watermark(time) = time {
            self.release(time, out)?;
        }
        self.operator.advance(time, out)
    }

    fn watermark(&self, input: Micros) -> Micros {
        self.operator.watermark(input)
    }

    fn is_done(&self) -> bool {
        self.operator.is_done()
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        for port in &self.ports {
            state.value(&(port.batches.len(), port.from, port.reached))?;
            port.batches.iter().try_for_each(|batch| state.events(batch))?;
        }
        let mut inner = StateWriter::default();
        self.operator.snapshot(&mut inner)?;
        state.bytes(&inner.into_bytes());
        Ok(())
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        for port in &mut self.ports {
            let (batches, from, reached): (usize, usize, Micros) = state.value()?;
            (port.from, port.reached) = (from, reached);
            for _ in 0..batches {
                port.batches.push_back(state.events()?);
            }
        }
        let inner = state.bytes()?;
        match inner.is_empty() {
            true => Ok(()),
            false => self.operator.restore(&mut StateReader::new(inner)),
        }
    }
}
