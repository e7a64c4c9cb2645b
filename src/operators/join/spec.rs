//! What all joins have in common: which rows match, and what goes out of a pair.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use crate::catalog::types;

/// One side of a join; its number is the port its rows come in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The one before JOIN, port 0.
    Left,
    /// The one after JOIN, port 1.
    Right,
}

impl Side {
    /// Both, in the order of their ports.
    pub const BOTH: [Side; 2] = [Side::Left, Side::Right];

    /// The side of a port.
    pub fn of(port: usize) -> Self {
        if port == 0 { Side::Left } else { Side::Right }
    }

    /// Its port.
    pub fn port(self) -> usize {
        self as usize
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// Which sides' rows go out, too, when they meet nothing; the other side's columns are then NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Neither's.
    Inner,
    /// Those of the left side.
    Left,
    /// Those of the right side.
    Right,
    /// Both's.
    Full,
}

impl JoinKind {
    /// Whether rows of `side` that meet nothing go out.
    pub fn keeps(self, side: Side) -> bool {
        match self {
            JoinKind::Inner => false,
            JoinKind::Left => side == Side::Left,
            JoinKind::Right => side == Side::Right,
            JoinKind::Full => true,
        }
    }

    /// As in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            JoinKind::Inner => "inner",
            JoinKind::Left => "left",
            JoinKind::Right => "right",
            JoinKind::Full => "full",
        }
    }
}

/// Which rows match, and what goes out of a pair.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Which rows that meet nothing go out.
    pub kind: JoinKind,
    /// The left and the right side. They have equally many keys, of the same types; none for a nested loop.
    pub inputs: [JoinInput; 2],
    /// Whether NULL keys match each other (`IS NOT DISTINCT FROM`); otherwise they match nothing.
    pub null_equals_null: bool,
    /// What else must be true of a pair: over the left side's columns, followed by the right side's.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns that go out: of which side, and which of its input.
    pub output: Vec<(Side, usize)>,
    /// Their schema. Columns of a side that may be missing are nullable.
    pub schema: SchemaRef,
}

/// One input of a join.
#[derive(Debug, Clone)]
pub struct JoinInput {
    /// Its columns.
    pub schema: SchemaRef,
    /// What must equal the other side's keys, in their order.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
}

impl JoinSpec {
    /// The input of a side.
    pub fn input(&self, side: Side) -> &JoinInput {
        &self.inputs[side.port()]
    }

    /// For EXPLAIN.
    pub fn details(&self) -> Vec<String> {
        let [left, right] = &self.inputs;
        let keys = left.keys.iter().zip(&right.keys);
        let keys: Vec<String> = keys.map(|(left, right)| format!("{left} = {right}")).collect();
        let on = match keys.is_empty() {
            true => self.kind.as_str().to_string(),
            false => format!("{} on {}", self.kind.as_str(), keys.join(" and ")),
        };
        let filter = self.filter.as_ref().map(|filter| format!("where {filter}"));
        let all = std::iter::once(on).chain(filter);
        all.map(|text| types::in_our_names(&text)).collect()
    }
}
