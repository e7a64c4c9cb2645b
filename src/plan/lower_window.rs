//! From a window's kind to its operator.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion_common::Column;

use super::condition;
use super::window_args::with_bounds;
use crate::catalog::streams::NamedWindow;
use crate::catalog::windows::{SortKey, WindowKind};
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::filter_project::FilterProjectPlan;
use crate::operators::output_events::{OutputEventsPlan, OutputForm};
use crate::windows::announce::Announce;
use crate::windows::cron::CronPlan;
use crate::windows::delay::DelayPlan;
use crate::windows::expression::{ExpressionBatchPlan, ExpressionPlan};
use crate::windows::fifo::FifoPlan;
use crate::windows::frequent::{FrequentPlan, Measure};
use crate::windows::hop::{Grid, HopPlan};
use crate::windows::length_batch::LengthBatchPlan;
use crate::windows::session::SessionPlan;
use crate::windows::sort::SortPlan;
use crate::windows::time_batch::TimeBatchPlan;
use crate::windows::unique::{FirstUniquePlan, UniquePlan};
use crate::windows::{Retained, TimeDomain};

/// Where a window stands.
pub struct Windowed {
    /// The columns that come in.
    pub input: SchemaRef,
    /// The columns that go out.
    pub schema: SchemaRef,
    /// What moves its time.
    pub domain: TimeDomain,
    /// Whether the query asks for what leaves.
    pub retained: Retained,
    /// Whether an aggregate reads it.
    pub retracts: bool,
    /// What a batch window gives before it closes.
    pub announce: Announce,
}

/// The operator of a window.
pub fn window_plan(kind: &WindowKind, windowed: &Windowed) -> Result<Arc<dyn OperatorPlan>, Diagnostic> {
    Ok(match kind {
        WindowKind::Length { size } => Arc::new(FifoPlan {
            size: Some(*size),
            duration: None,
            column: None,
            domain: windowed.domain,
            retained: windowed.retained,
            schema: windowed.schema.clone(),
        }),
        WindowKind::Time { duration, size, column } => Arc::new(FifoPlan {
            size: *size,
            duration: Some(*duration),
            column: column.as_ref().map(|column| index(column, windowed)).transpose()?,
            domain: windowed.domain,
            retained: windowed.retained,
            schema: windowed.schema.clone(),
        }),
        WindowKind::Hop { size, slide, offset } => hop(*size, *slide, *offset, false, windowed),
        WindowKind::Cumulate { step, size, offset } => hop(*size, *step, *offset, true, windowed),
        WindowKind::LengthBatch { size, stream_current } => length_batch(Some(*size), *stream_current, windowed),
        WindowKind::Batch => length_batch(None, false, windowed),
        WindowKind::Delay { duration } => Arc::new(DelayPlan {
            duration: *duration,
            domain: windowed.domain,
            schema: windowed.schema.clone(),
        }),
        WindowKind::Unique { keys, size } => Arc::new(UniquePlan {
            keys: indices(keys, windowed)?,
            size: *size,
            retained: windowed.retained,
            schema: windowed.schema.clone(),
        }),
        WindowKind::FirstUnique { keys } => Arc::new(FirstUniquePlan {
            keys: indices(keys, windowed)?,
            schema: windowed.schema.clone(),
        }),
        WindowKind::Sort { size, keys } => Arc::new(SortPlan {
            size: *size,
            keys: keys
                .iter()
                .map(|key| sort_key(key, windowed))
                .collect::<Result<_, _>>()?,
            retained: windowed.retained,
            schema: windowed.schema.clone(),
        }),
        WindowKind::Frequent { size, keys } => frequent(Measure::Counters(*size), keys, windowed)?,
        WindowKind::LossyFrequent { support, error, keys } => {
            let share = |millionths: u32| f64::from(millionths) / 1e6;
            let measure = Measure::Shares {
                support: share(*support),
                error: share(*error),
            };
            frequent(measure, keys, windowed)?
        }
        WindowKind::Expression { condition } => Arc::new(ExpressionPlan {
            condition: condition::lower(condition, &windowed.input)?,
            retained: windowed.retained,
        }),
        WindowKind::ExpressionBatch { condition } => Arc::new(ExpressionBatchPlan {
            condition: condition::lower(condition, &windowed.input)?,
            retained: windowed.retained,
            announce: windowed.announce,
            schema: windowed.schema.clone(),
        }),
        WindowKind::Cron { schedule } => Arc::new(CronPlan {
            schedule: schedule.clone(),
            retained: windowed.retained,
            announce: windowed.announce,
            schema: windowed.schema.clone(),
        }),
        WindowKind::Session { gap, keys, lateness } => Arc::new(SessionPlan {
            gap: *gap,
            lateness: *lateness,
            keys: indices(keys, windowed)?,
            domain: windowed.domain,
            retained: windowed.retained,
            announce: windowed.announce,
            schema: windowed.schema.clone(),
        }),
        WindowKind::TimeBatch {
            duration,
            start,
            column,
            timeout,
            stream_current,
        } => Arc::new(TimeBatchPlan {
            duration: *duration,
            start: *start,
            column: column.as_ref().map(|column| index(column, windowed)).transpose()?,
            timeout: *timeout,
            stream_current: *stream_current,
            domain: windowed.domain,
            retained: retained(*stream_current, windowed),
            announce: windowed.announce,
            schema: windowed.schema.clone(),
        }),
    })
}

fn hop(size: i64, slide: i64, offset: i64, cumulate: bool, windowed: &Windowed) -> Arc<dyn OperatorPlan> {
    Arc::new(HopPlan {
        grid: Grid {
            size,
            slide,
            offset,
            cumulate,
        },
        domain: windowed.domain,
        retained: windowed.retained,
        announce: windowed.announce,
        schema: windowed.schema.clone(),
    })
}

fn length_batch(size: Option<usize>, stream_current: bool, windowed: &Windowed) -> Arc<dyn OperatorPlan> {
    Arc::new(LengthBatchPlan {
        size,
        stream_current,
        retained: retained(stream_current, windowed),
        announce: windowed.announce,
        schema: windowed.schema.clone(),
    })
}

fn frequent(measure: Measure, keys: &[Column], windowed: &Windowed) -> Result<Arc<dyn OperatorPlan>, Diagnostic> {
    Ok(Arc::new(FrequentPlan {
        measure,
        keys: indices(keys, windowed)?,
        retained: windowed.retained,
        schema: windowed.schema.clone(),
    }))
}

fn sort_key(key: &SortKey, windowed: &Windowed) -> Result<(usize, SortOptions), Diagnostic> {
    let options = SortOptions {
        descending: key.descending,
        nulls_first: key.descending,
    };
    Ok((index(&key.column, windowed)?, options))
}

/// A batch window that lets arrivals through must tell an aggregate what leaves.
fn retained(stream_current: bool, windowed: &Windowed) -> Retained {
    match stream_current && windowed.retracts {
        true => Retained::Expired,
        false => windowed.retained,
    }
}

fn index(column: &Column, windowed: &Windowed) -> Result<usize, Diagnostic> {
    windowed.input.index_of(&column.name).map_err(|_| {
        let message = format!("there is no column '{}' for the window", column.name);
        Diagnostic::new(Code::UnknownColumn, message)
    })
}

/// An operator, and a name for its state.
pub type NamedOperator = (&'static str, Arc<dyn OperatorPlan>);

/// The operators of a named window, each with a name for its state: what puts its events in order, the window, and what lets
/// out the changes it is declared to give.
pub fn named_window(
    window: &NamedWindow,
    columns: &SchemaRef,
    domain: TimeDomain,
) -> Result<Vec<NamedOperator>, Diagnostic> {
    let mut operators: Vec<NamedOperator> = Vec::new();
    if domain == TimeDomain::Event {
        let schema = columns.clone();
        operators.push(("in_order", Arc::new(EventTimeOrderPlan { schema })));
    }
    let schema = match window.kind.has_bounds() {
        true => with_bounds(columns),
        false => columns.clone(),
    };
    let windowed = Windowed {
        input: columns.clone(),
        schema,
        domain,
        // A join and a query on demand ask for what it holds, whatever it is declared to give.
        retained: Retained::Expired,
        retracts: true,
        announce: Announce::Nothing,
    };
    operators.push(("window", window_plan(&window.kind, &windowed)?));
    if window.kind.has_bounds() {
        let columns_only = FilterProjectPlan {
            input: Some((0..columns.fields().len()).collect()),
            event_time: false,
            filter: None,
            projection: None,
            schema: columns.clone(),
        };
        operators.push(("columns", Arc::new(columns_only)));
    }
    if !window.current || !window.expired {
        let output = OutputEventsPlan {
            current: window.current,
            expired: window.expired,
            form: OutputForm::Changes,
        };
        operators.push(("output", Arc::new(output)));
    }
    Ok(operators)
}

fn indices(columns: &[Column], windowed: &Windowed) -> Result<Vec<usize>, Diagnostic> {
    columns.iter().map(|column| index(column, windowed)).collect()
}
