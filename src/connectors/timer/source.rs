//! The timer source.
//!
//! Tick `n` (from 0) is scheduled at `start + (n + 1) · interval`, so that ticks do not drift. `TIMESTAMP` columns get the
//! scheduled time, integer columns `n`, others NULL. When ticks were missed, because the app was busy or the clock was
//! set forward, only the latest comes and the numbers show the gap. A clock set back shifts the schedule by as much.
//! After a restart numbers go on, on a new schedule.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use serde_json::json;

use crate::catalog::types;
use crate::connectors::{Flow, Position, Source, SourceOutput, SourceSpec};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::event::Micros;

/// The longest sleep, after which the clock is looked at again; it may have been set, or be virtual.
const LOOK: Micros = 50_000;

/// The source: see the module.
pub struct TimerSource {
    schema: SchemaRef,
    interval: Micros,
    count: Option<u64>,
    /// The number of the next tick, and how many rows were emitted.
    next: i64,
    emitted: u64,
}

impl TimerSource {
    /// Checks the options and columns.
    pub fn new(spec: &SourceSpec) -> Result<Self, Diagnostic> {
        let interval = spec.options.duration("interval").unwrap_or_default();
        if interval < 1_000 {
            return Err(spec.options.invalid("interval", "it must be at least 1 ms"));
        }
        for field in spec.schema.declared.fields() {
            let filled = field.data_type().is_integer() || *field.data_type() == types::TIMESTAMP;
            if !filled && !field.is_nullable() {
                let error = Diagnostic::new(
                    Code::Type,
                    format!(
                        "a timer has no value for the column {} {} NOT NULL",
                        field.name(),
                        types::name(field.data_type())
                    ),
                );
                return Err(error.hint("a timer fills TIMESTAMP and integer columns; the others are NULL"));
            }
        }
        Ok(TimerSource {
            schema: spec.schema.decoded(),
            interval,
            count: spec.options.integer("count").map(i64::unsigned_abs),
            next: 0,
            emitted: 0,
        })
    }

    fn row(&self, number: i64, scheduled: Micros) -> Result<RecordBatch> {
        let column = |data_type: &DataType| -> Result<ArrayRef> {
            Ok(match data_type {
                time if *time == types::TIMESTAMP => Arc::new(TimestampMicrosecondArray::from(vec![scheduled])),
                integer if integer.is_integer() => cast(&Int64Array::from(vec![number]), integer)?,
                other => new_null_array(other, 1),
            })
        };
        let fields = self.schema.fields().iter();
        let columns = fields
            .map(|field| column(field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }
}

impl Source for TimerSource {
    fn is_bounded(&self) -> bool {
        self.count.is_some()
    }

    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        let mut last = out.now();
        // When tick 0 was or would have been due.
        let mut origin = last.saturating_sub(self.next.saturating_mul(self.interval)) + self.interval;
        while self.count.is_none_or(|count| self.emitted < count) {
            let due = origin.saturating_add(self.next.saturating_mul(self.interval));
            let now = out.now();
            if now < last {
                origin -= last - now;
                last = now;
                continue;
            }
            last = now;
            if now < due {
                let wait = (due - now).clamp(0, LOOK);
                if out.wait(Duration::from_micros(wait.unsigned_abs())) == Flow::Stop {
                    return Ok(());
                }
                continue;
            }
            let missed = (now - due) / self.interval;
            let number = self.next + missed;
            let row = self.row(number, due + missed * self.interval)?;
            self.next = number + 1;
            self.emitted += 1;
            let position = json!({"tick": self.next, "rows": self.emitted});
            if out.emit(row, Some(position)) == Flow::Stop {
                return Ok(());
            }
        }
        Ok(())
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let (tick, rows) = (position["tick"].as_i64(), position["rows"].as_u64());
        (self.next, self.emitted) = tick
            .zip(rows)
            .ok_or_else(|| Error::failed(format!("not a position of a timer: {position}")))?;
        Ok(())
    }
}
