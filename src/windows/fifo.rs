//! `length`, `time`, `timeLength`, `externalTime`: sliding windows that events leave in the order they came.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::changes::Changes;
use super::held::Held;
use super::keyed_fifo::KeyedFifoPlan;
use super::time_column::column_times;
use super::{Retained, TimeDomain};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::keyed::KeyedBy;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Holds the last `size` events, those of the last `duration`, or what both allow.
///
/// *Semantics.* Before an event enters, those leave that are `duration` or more older, and as many of the oldest as make room.
/// An event of time `t` also leaves when time reaches `t + duration` without another event: at the watermark, or by a timer
/// in processing time. By a column, only events move time. With size 0 an event leaves at once after it came.
///
/// *Ops.* Takes inserts; gives inserts and deletes. *State.* The events. *Cost.* O(1) an event.
pub struct Fifo {
    plan: FifoPlan,
    held: Held,
}

/// What a [`Fifo`] does.
#[derive(Debug, Clone)]
pub struct FifoPlan {
    /// At most so many events.
    pub size: Option<usize>,
    /// At most so old.
    pub duration: Option<Micros>,
    /// The time column that it goes by; the events' own times otherwise.
    pub column: Option<usize>,
    /// What moves time.
    pub domain: TimeDomain,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// The columns.
    pub schema: SchemaRef,
}

impl OperatorPlan for FifoPlan {
    fn name(&self) -> &'static str {
        match (self.size, self.duration, self.column) {
            (_, _, Some(_)) => "ExternalTimeWindow",
            (Some(_), Some(_), None) => "TimeLengthWindow",
            (_, Some(_), None) => "TimeWindow",
            (_, None, None) => "LengthWindow",
        }
    }

    fn details(&self) -> Vec<String> {
        let size = self.size.map(|size| format!("{size} events"));
        let duration = self
            .duration
            .map(|duration| format!("{} ms of {}", duration / 1_000, self.domain));
        size.into_iter().chain(duration).collect()
    }

    fn for_keys(&self, keys: &KeyedBy) -> Option<Arc<dyn OperatorPlan>> {
        Some(Arc::new(KeyedFifoPlan {
            window: self.clone(),
            keys: keys.clone(),
        }))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Fifo {
            plan: self.clone(),
            held: Held::default(),
        }))
    }
}

impl Operator for Fifo {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if self.plan.retained == Retained::Nothing {
            out.emit(batch);
            return Ok(());
        }
        let marks = match self.plan.column {
            Some(column) => column_times(&batch, column)?,
            None => batch.times().clone(),
        };
        let mut changes = Changes::default();
        if self.plan.size == Some(0) {
            self.pass_through(&batch, &mut changes);
        } else {
            self.slide(&batch, &marks, &mut changes)?;
        }
        self.held.settle();
        if let Some(changed) = changes.finish()? {
            out.emit(changed);
        }
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        let now = match (time, self.plan.domain) {
            (TimeUpdate::Watermark(time), TimeDomain::Event) => time,
            (TimeUpdate::Timer(time), TimeDomain::Processing) => time,
            _ => return Ok(()),
        };
        if self.plan.column.is_some() {
            return Ok(());
        }
        let mut changes = Changes::default();
        self.expire_until(now, &mut changes);
        self.held.settle();
        if let Some(changed) = changes.finish()? {
            out.emit(changed);
        }
        self.set_timer(out);
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        match self.plan.domain {
            TimeDomain::Event if self.plan.column.is_none() => self.leaves_at(),
            _ => None,
        }
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(Some(self.held.content()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.held.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.held.restore(state)
    }
}

impl Fifo {
    /// Size 0: every event enters and leaves.
    fn pass_through(&self, batch: &EventBatch, changes: &mut Changes) {
        let source = changes.source(batch);
        for row in 0..batch.num_rows() {
            changes.push(source, row, Op::Insert, batch.time(row));
            changes.push(source, row, Op::Delete, batch.time(row));
        }
    }

    fn slide(&mut self, batch: &EventBatch, marks: &Times, changes: &mut Changes) -> Result<()> {
        let arrivals = changes.source(batch);
        let held = self.held.len();
        // The arriving events are held at once, and leave like the others when later ones of the same batch push them out.
        self.held.push(batch.clone(), marks.clone())?;
        let mut left = 0;
        for row in 0..batch.num_rows() {
            let (mark, time) = (marks.get(row), batch.time(row));
            let entered = held + row;
            if self.plan.duration.is_some() {
                while left < entered && self.is_over(mark) {
                    let at = self.leaves_at().unwrap_or(time).min(time);
                    self.held.expire(changes, at);
                    left += 1;
                }
            }
            if let Some(size) = self.plan.size {
                while entered - left >= size {
                    self.held.expire(changes, time);
                    left += 1;
                }
            }
            changes.push(arrivals, row, Op::Insert, time);
        }
        Ok(())
    }

    /// Whether the oldest event is over at `now`.
    fn is_over(&self, now: Micros) -> bool {
        self.leaves_at().is_some_and(|at| at <= now)
    }

    /// When the oldest event leaves.
    fn leaves_at(&self) -> Option<Micros> {
        Some(self.held.oldest()?.saturating_add(self.plan.duration?))
    }

    fn expire_until(&mut self, now: Micros, changes: &mut Changes) {
        while let Some(at) = self.leaves_at().filter(|at| *at <= now) {
            self.held.expire(changes, at);
        }
    }

    fn set_timer(&self, out: &mut Output) {
        if self.plan.domain == TimeDomain::Processing
            && self.plan.column.is_none()
            && let Some(at) = self.leaves_at()
        {
            out.wake_at(at);
        }
    }
}
