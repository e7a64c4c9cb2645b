//! What to build: [`AggregateSpec`], as the planner knows it.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::AggregateUDF;

/// What retractions will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retraction {
    /// None: rows are only added.
    Never,
    /// Of each group, rows in the order in which they were added (sliding windows by time or length).
    Fifo,
    /// Of any row added before.
    Any,
}

/// A call of an aggregate function, types resolved.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// The function.
    pub function: Arc<AggregateUDF>,
    /// The arguments' fields, after coercion.
    pub arguments: Vec<FieldRef>,
    /// For each argument its value, when it is a literal.
    pub constants: Vec<Option<ScalarValue>>,
    /// `f(DISTINCT x)`.
    pub distinct: bool,
    /// `f(x ORDER BY y)` and `WITHIN GROUP (ORDER BY y)`: the type and direction of each `y`. Their columns come after the
    /// arguments in [`super::Changes::arguments`] (for WITHIN GROUP the engine's planner also makes `y` the first argument).
    pub order_by: Vec<(DataType, SortOptions)>,
    /// `f(x) IGNORE NULLS`.
    pub ignore_nulls: bool,
    /// The type of the function's value.
    pub return_type: DataType,
}

impl AggregateSpec {
    /// The lower-case name of the function.
    pub(super) fn name(&self) -> String {
        self.function.name().to_lowercase()
    }

    /// Whether its value goes on when a window closes or its rows expire.
    pub fn outlives_windows(&self) -> bool {
        matches!(self.name().as_str(), "minforever" | "maxforever")
    }

    /// The type of an argument.
    pub(super) fn argument(&self, index: usize) -> Result<&DataType, String> {
        let field = self.arguments.get(index).map(|field| field.data_type());
        field.ok_or_else(|| format!("{} needs {} argument(s)", self.function.name(), index + 1))
    }

    /// The value of an argument that must be a literal.
    pub(super) fn constant(&self, index: usize) -> Result<&ScalarValue, String> {
        let value = self.constants.get(index).and_then(Option::as_ref);
        value.ok_or_else(|| format!("argument {} of {} must be a constant", index + 1, self.function.name()))
    }
}
