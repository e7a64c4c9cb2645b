//! From a window's kind to its operator.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::Column;

use super::window_args::with_bounds;
use crate::catalog::streams::NamedWindow;
use crate::catalog::windows::WindowKind;
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::filter_project::FilterProjectPlan;
use crate::operators::output_events::{OutputEventsPlan, OutputForm};
use crate::windows::fifo::FifoPlan;
use crate::windows::hop::{Grid, HopPlan};
use crate::windows::length_batch::LengthBatchPlan;
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
        _ => {
            return Err(Diagnostic::new(
                Code::Unsupported,
                "not supported yet: this kind of window",
            ));
        }
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
        schema: windowed.schema.clone(),
    })
}

fn length_batch(size: Option<usize>, stream_current: bool, windowed: &Windowed) -> Arc<dyn OperatorPlan> {
    let retained = match stream_current && windowed.retracts {
        true => Retained::Expired,
        false => windowed.retained,
    };
    Arc::new(LengthBatchPlan {
        size,
        stream_current,
        retained,
        schema: windowed.schema.clone(),
    })
}

fn index(column: &Column, windowed: &Windowed) -> Result<usize, Diagnostic> {
    windowed.input.index_of(&column.name).map_err(|_| {
        let message = format!("there is no column '{}' for the window", column.name);
        Diagnostic::new(Code::UnknownColumn, message)
    })
}

/// The operators of a named window, each with a name for its state: what puts its events in order, the window, and what lets
/// out the changes it is declared to give.
pub fn named_window(
    window: &NamedWindow,
    columns: &SchemaRef,
    domain: TimeDomain,
) -> Result<Vec<(&'static str, Arc<dyn OperatorPlan>)>, Diagnostic> {
    let mut operators: Vec<(&'static str, Arc<dyn OperatorPlan>)> = Vec::new();
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
        retained: if window.expired {
            Retained::Expired
        } else {
            Retained::Nothing
        },
        retracts: window.expired,
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
