//! Where event time begins: reads the time column, moves the watermark, tells the late events.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, TimestampMicrosecondArray};
use datafusion_physical_expr::PhysicalExpr;

use super::state::{StateReader, StateWriter};
use super::{BEGINNING_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::catalog::streams::LatePolicy;
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{EventBatch, Micros, Times, json_row};

/// Gives every event its time from a column, and follows the largest `watermark` expression seen.
///
/// *Semantics.* An event is late when its time is before the watermark that stands when it comes, row by row: how rows
/// fall into batches makes no difference. Late events are counted and dropped, passed on, or sent elsewhere. An event
/// whose time is NULL or out of range is an error of that event. After `idle` of processing time without an event the
/// output is idle and holds no other input back.
///
/// *Ops.* Any. *State.* The watermark. *Cost.* A minimum and a maximum a batch; a scan only when the batch's times
/// spread wider than the delay.
pub struct WatermarkAssigner {
    plan: WatermarkPlan,
    watermark: Micros,
    last_event: Micros,
    idle: bool,
}

/// What a [`WatermarkAssigner`] does.
#[derive(Debug, Clone)]
pub struct WatermarkPlan {
    /// The time column.
    pub column: usize,
    /// The column's name, for messages.
    pub name: String,
    /// What the watermark is.
    pub bound: WatermarkBound,
    /// What happens to late events.
    pub late: LatePolicy,
    /// Processing time without events after which the input is idle, in µs.
    pub idle: Micros,
}

/// The watermark as a function of an event.
#[derive(Debug, Clone)]
pub enum WatermarkBound {
    /// The time column minus a constant, in µs.
    Delay(Micros),
    /// Any expression of type TIMESTAMP over the stream's columns.
    Expression(Arc<dyn PhysicalExpr>),
}

impl OperatorPlan for WatermarkPlan {
    fn name(&self) -> &'static str {
        "Watermark"
    }

    fn details(&self) -> Vec<String> {
        let bound = match &self.bound {
            WatermarkBound::Delay(0) => self.name.clone(),
            WatermarkBound::Delay(delay) => format!("{} - {} ms", self.name, delay / 1_000),
            WatermarkBound::Expression(expr) => expr.to_string(),
        };
        let late = match &self.late {
            LatePolicy::Drop => "drop".to_string(),
            LatePolicy::Accept => "accept".to_string(),
            LatePolicy::Redirect(stream) => format!("to {stream}"),
        };
        vec![format!("for {} as {bound}", self.name), format!("late: {late}")]
    }

    fn begins_event_time(&self) -> bool {
        true
    }

    fn forwards(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WatermarkAssigner {
            plan: self.clone(),
            watermark: BEGINNING_OF_TIME,
            last_event: BEGINNING_OF_TIME,
            idle: false,
        }))
    }
}

impl Operator for WatermarkAssigner {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.last_event = out.now();
        self.idle = false;
        out.wake_at(out.now().saturating_add(self.plan.idle));
        let (batch, times) = self.timed(batch, out)?;
        if batch.is_empty() {
            return Ok(());
        }
        let bounds = self.bounds(&batch, &times)?;
        let late = self.late_rows(&times, &bounds);
        let batch = batch.with_times(Times::Each(times.into()));
        match late {
            None => out.emit(batch),
            Some(late) => self.emit_with_late(batch, &late, out)?,
        }
        out.set_watermark(self.watermark);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let TimeUpdate::Timer(now) = time
            && !self.idle
        {
            if self.last_event == BEGINNING_OF_TIME {
                // The app starts now: an input that never brings anything becomes idle, too.
                self.last_event = now;
            }
            let due = self.last_event.saturating_add(self.plan.idle);
            if now >= due {
                self.idle = true;
                out.set_idle();
            } else {
                out.wake_at(due);
            }
        }
        Ok(())
    }

    fn watermark(&self, _input: Micros) -> Micros {
        // Whatever time went before, it begins anew here.
        self.watermark
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&self.watermark)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.watermark = state.value()?;
        Ok(())
    }
}

/// The watermark each row would set by itself.
enum Bounds {
    Delay(Micros),
    Each(Vec<Micros>),
}

impl Bounds {
    fn get(&self, row: usize, time: Micros) -> Micros {
        match self {
            Bounds::Delay(delay) => time.saturating_sub(*delay),
            Bounds::Each(bounds) => bounds[row],
        }
    }
}

impl WatermarkAssigner {
    /// The rows that have a time, and their times in µs.
    fn timed(&self, batch: EventBatch, out: &mut Output) -> Result<(EventBatch, Vec<Micros>)> {
        let column = batch.column(self.plan.column).clone();
        let any = column.as_any();
        if let Some(times) = any.downcast_ref::<TimestampMicrosecondArray>()
            && times.null_count() == 0
        {
            return Ok((batch, times.values().to_vec()));
        }
        let time_of: Box<dyn Fn(usize) -> Option<Micros>> =
            if let Some(times) = any.downcast_ref::<TimestampMicrosecondArray>() {
                Box::new(move |row| times.is_valid(row).then(|| times.value(row)))
            } else if let Some(times) = any.downcast_ref::<Int64Array>() {
                Box::new(move |row| times.is_valid(row).then(|| times.value(row).checked_mul(1_000))?)
            } else {
                return Err(Error::failed(format!(
                    "column {} cannot hold event time",
                    self.plan.name
                )));
            };
        let mut times = Vec::with_capacity(batch.num_rows());
        let mut good = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            match time_of(row) {
                Some(time) => {
                    times.push(time);
                    good.push(row as u32);
                }
                None => out.error(RowError {
                    kind: ErrorKind::Constraint,
                    message: format!("the event time {} is NULL or out of range", self.plan.name),
                    event: json_row::row(batch.columns(), row),
                    line: None,
                    at: out.now(),
                    attempts: 1,
                }),
            }
        }
        let batch = if good.len() == batch.num_rows() {
            batch
        } else {
            batch.take(good)?
        };
        Ok((batch, times))
    }

    fn bounds(&self, batch: &EventBatch, times: &[Micros]) -> Result<Bounds> {
        let expr = match &self.plan.bound {
            WatermarkBound::Delay(delay) => return Ok(Bounds::Delay(*delay)),
            WatermarkBound::Expression(expr) => expr,
        };
        let values = expr.evaluate(batch.columns())?.into_array(batch.num_rows())?;
        let values = arrow::compute::cast(&values, &crate::catalog::types::TIMESTAMP)?;
        let values = values
            .as_any()
            .downcast_ref::<TimestampMicrosecondArray>()
            .ok_or_else(|| Error::failed("the watermark is not a TIMESTAMP"))?;
        // A row whose watermark is NULL does not move it.
        let each = (0..times.len()).map(|row| {
            if values.is_valid(row) {
                values.value(row)
            } else {
                BEGINNING_OF_TIME
            }
        });
        Ok(Bounds::Each(each.collect()))
    }

    /// Moves the watermark over the batch; the rows that were late, if any.
    fn late_rows(&mut self, times: &[Micros], bounds: &Bounds) -> Option<Vec<bool>> {
        if let Bounds::Delay(delay) = bounds {
            let min = times.iter().copied().min().unwrap_or(Micros::MAX);
            let max = times.iter().copied().max().unwrap_or(BEGINNING_OF_TIME);
            if min >= self.watermark && max.saturating_sub(min) <= *delay {
                self.watermark = self.watermark.max(max.saturating_sub(*delay));
                return None;
            }
        }
        let mut late = Vec::with_capacity(times.len());
        let mut any = false;
        for (row, &time) in times.iter().enumerate() {
            let is_late = time < self.watermark;
            any |= is_late;
            late.push(is_late);
            self.watermark = self.watermark.max(bounds.get(row, time));
        }
        any.then_some(late)
    }

    fn emit_with_late(&self, batch: EventBatch, late: &[bool], out: &mut Output) -> Result<()> {
        out.count_late(late.iter().filter(|late| **late).count() as u64);
        if self.plan.late == LatePolicy::Accept {
            out.emit(batch);
            return Ok(());
        }
        if let LatePolicy::Redirect(_) = self.plan.late {
            out.emit_late(batch.filter(&BooleanArray::from(late.to_vec()))?);
        }
        let on_time: Vec<bool> = late.iter().map(|late| !late).collect();
        out.emit(batch.filter(&BooleanArray::from(on_time))?);
        Ok(())
    }
}
