//! The table of window kinds and their parameters.

use datafusion_common::Column;
use datafusion_expr::Expr;

use crate::event::Micros;

/// What a window's content depends on, and how it goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Changes with every event.
    Sliding,
    /// Gathers events and closes.
    Batch,
}

/// A kind of window with its parameters. Columns are those of the window's input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum WindowKind {
    /// The last `size` events.
    Length { size: usize },
    /// The events of the last `duration`; with `size`, at most that many; with `column`, by that column's time.
    Time {
        duration: Micros,
        size: Option<usize>,
        column: Option<Column>,
    },
    /// Lets each event out `duration` later.
    Delay { duration: Micros },
    /// The latest event of each key, at most `size` of them.
    Unique { keys: Vec<Column>, size: Option<usize> },
    /// The first event of each key.
    FirstUnique { keys: Vec<Column> },
    /// The `size` smallest events.
    Sort { size: usize, keys: Vec<SortKey> },
    /// The events of the `size` most frequent keys (Misra–Gries).
    Frequent { size: usize, keys: Vec<Column> },
    /// The events of keys more frequent than `support` (Lossy Counting); shares in millionths.
    LossyFrequent {
        support: u32,
        error: u32,
        keys: Vec<Column>,
    },
    /// The latest events for which a condition over all of them holds.
    Expression { condition: Box<Condition> },
    /// Fixed periods, aligned to the epoch plus `offset`; `slide` apart.
    Hop {
        size: Micros,
        slide: Micros,
        offset: Micros,
    },
    /// Events of a key that are at most `gap` apart.
    Session {
        gap: Micros,
        keys: Vec<Column>,
        lateness: Micros,
    },
    /// Grows by `step` up to `size`, then starts again.
    Cumulate { step: Micros, size: Micros, offset: Micros },
    /// `size` events.
    LengthBatch { size: usize, stream_current: bool },
    /// Periods of `duration` from the first event, or from `start`; with `column`, by that column's time.
    TimeBatch {
        duration: Micros,
        start: Option<Micros>,
        column: Option<Column>,
        timeout: Option<Micros>,
        stream_current: bool,
    },
    /// One incoming chunk.
    Batch,
    /// Closes at each firing of a cron expression.
    Cron { schedule: String },
    /// Closes when a condition over its events no longer holds.
    ExpressionBatch { condition: Box<Condition> },
}

/// A key of a `sort` window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct SortKey {
    /// What is compared.
    pub column: Column,
    /// Largest first.
    pub descending: bool,
}

/// A condition over the events of a window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct Condition {
    /// As written.
    pub text: String,
    /// Its aggregates, over the columns of the events.
    pub aggregates: Vec<Expr>,
    /// The condition over the values of its aggregates and the columns of the first and last events.
    pub expr: Expr,
    /// The columns of the events that it reads.
    pub columns: Vec<Column>,
}

impl WindowKind {
    /// Its family.
    pub fn family(&self) -> Family {
        use WindowKind::{
            Batch, Cron, Cumulate, Delay, Expression, ExpressionBatch, FirstUnique, Frequent, Hop, Length, LengthBatch,
            LossyFrequent, Session, Sort, Time, TimeBatch, Unique,
        };
        match self {
            Length { .. } | Time { .. } | Delay { .. } | Unique { .. } | FirstUnique { .. } => Family::Sliding,
            Sort { .. } | Frequent { .. } | LossyFrequent { .. } | Expression { .. } => Family::Sliding,
            Hop { .. } | Session { .. } | Cumulate { .. } | LengthBatch { .. } | TimeBatch { .. } => Family::Batch,
            Batch | Cron { .. } | ExpressionBatch { .. } => Family::Batch,
        }
    }

    /// Whether arrivals go on at once, though the window closes.
    pub fn streams_current(&self) -> bool {
        matches!(
            self,
            WindowKind::LengthBatch {
                stream_current: true,
                ..
            } | WindowKind::TimeBatch {
                stream_current: true,
                ..
            }
        )
    }

    /// Whether rows get `window_start` and `window_end`.
    pub fn has_bounds(&self) -> bool {
        use WindowKind::{Cumulate, Hop, Session, TimeBatch};
        matches!(self, Hop { .. } | Cumulate { .. } | Session { .. } | TimeBatch { .. })
    }

    /// Whether events leave in the order they came, of each group as of all.
    pub fn is_fifo(&self) -> bool {
        use WindowKind::{Expression, Length, Time};
        matches!(self, Length { .. } | Time { .. } | Expression { .. })
    }

    /// Whether a filter on the events may go before the window: what else is in it decides nothing about an event.
    pub fn commutes_with_filter(&self) -> bool {
        matches!(
            self,
            WindowKind::Time { size: None, .. }
                | WindowKind::Delay { .. }
                | WindowKind::Hop { .. }
                | WindowKind::Cumulate { .. }
        )
    }

    /// The columns it reads.
    pub fn columns(&self) -> Vec<&Column> {
        match self {
            WindowKind::Unique { keys, .. }
            | WindowKind::FirstUnique { keys }
            | WindowKind::Frequent { keys, .. }
            | WindowKind::LossyFrequent { keys, .. }
            | WindowKind::Session { keys, .. } => keys.iter().collect(),
            WindowKind::Sort { keys, .. } => keys.iter().map(|key| &key.column).collect(),
            WindowKind::Time { column, .. } | WindowKind::TimeBatch { column, .. } => column.iter().collect(),
            WindowKind::Expression { condition } | WindowKind::ExpressionBatch { condition } => {
                condition.columns.iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The column of a window's rows that holds where the window begins.
pub const WINDOW_START: &str = "window_start";

/// The column of a window's rows that holds where the window ends.
pub const WINDOW_END: &str = "window_end";
