//! Aggregates over groups that take rows and give them back.
//!
//! A window adds the rows that enter it and retracts those that leave; a changelog retracts what it deletes or updates.
//! So every aggregate here is a *group* in the algebraic sense, or keeps what it needs to act like one: sums and counts
//! subtract; MIN and MAX keep the values that may still win (a monotonic deque when rows leave in the order they came, an
//! ordered multiset otherwise); percentiles keep two ordered halves; the rest keeps its rows. Nothing rescans a window.
//!
//! The state is an array by group number ([`GroupId`], given by [`super::group_table::GroupTable`]), and each batch is one
//! loop over it (`grouped`), compiled for the aggregate's own types (`kinds`).
//!
//! | file | aggregates |
//! |---|---|
//! | `count` | `count` |
//! | `sum` | `sum`, `avg` |
//! | `extreme` | `min`, `max`, `minForever`, `maxForever` |
//! | `variance` | `variance`, `var_pop`, `stddev`, `stddev_pop` |
//! | `together` | `corr`, `covar_samp`, `covar_pop`, `regr_…` |
//! | `booleans` | `bool_and` (`and`), `bool_or` (`or`) |
//! | `bits` | `bit_and`, `bit_or`, `bit_xor` |
//! | `quantile` | `median`, `percentile_cont` (`percentile`) and their approximate kin, exactly |
//! | `sequence` | `first`, `last`, `nth_value`, `array_agg` (`collect`), `string_agg` |
//! | `sets` | `unionSet` |
//! | `distinct` | `f(DISTINCT x)`, `distinctCount` |
//! | `foreign` | all others of the SQL engine underneath |
//! | `current` | the current event's value of a column that is neither grouped nor aggregated |

use std::any::Any;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;

use super::state::{StateReader, StateWriter};
use crate::error::{Error, Result};
use crate::event::Op;

mod bits;
mod booleans;
mod build;
mod changes;
mod count;
mod current;
mod distinct;
mod extreme;
mod foreign;
mod grouped;
mod kinds;
mod quantile;
mod saved;
mod sequence;
mod sets;
mod spec;
mod sum;
mod sum2;
mod together;
mod variance;

#[cfg(test)]
mod tests;

pub use build::build;
pub use spec::{AggregateSpec, Retraction};

/// A dense number of a group, given and reused by the operator's group table.
pub type GroupId = u32;

/// Rows of a changelog for one aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'a> {
    /// The group of each row.
    pub groups: &'a [GroupId],
    /// Insert and UpdateAfter add, Delete and UpdateBefore retract; `None`: all add.
    pub ops: Option<&'a [Op]>,
    /// The evaluated arguments (none for `COUNT(*)`), then the ORDER BY expressions, each as long as `groups`. Of constant
    /// arguments after the first (`percentile(x, 0.9)`) only [`AggregateSpec::constants`] is read; their columns may be left
    /// out when there is no ORDER BY.
    pub arguments: &'a [ArrayRef],
    /// `FILTER (WHERE …)`: rows where it is not true neither add nor retract.
    pub filter: Option<&'a BooleanArray>,
}

/// The other side of [`Aggregate::merge`] as what it must be: an aggregate of the same kind.
fn same_kind<A: Aggregate + 'static>(other: &dyn Aggregate) -> Result<&A> {
    let same = other.as_any().downcast_ref();
    same.ok_or_else(|| Error::failed("two different aggregates cannot be merged"))
}

/// A value that an aggregate could not give, e.g. a sum that does not fit its type. The result has NULL in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The row of the result, counted from 0.
    pub row: usize,
    /// Why.
    pub message: String,
}

/// One aggregate over many groups. A group that was never met, or was cleared, is empty.
///
/// Retracting a row that was never added is a fault of the caller; the group's value is then unspecified, but nothing panics.
pub trait Aggregate: Send {
    /// The type of its values: the return type of the function.
    fn data_type(&self) -> &DataType;

    /// Takes rows.
    fn update(&mut self, changes: &Changes) -> Result<()>;

    /// Takes rows and gives, for each, the value of its group after it: the running form.
    fn running(&mut self, changes: &Changes) -> Result<ArrayRef>;

    /// The values of groups now, in the order asked for.
    fn values(&mut self, groups: &[GroupId]) -> Result<ArrayRef>;

    /// Values that the last [`Aggregate::running`] or [`Aggregate::values`] could not give and put NULL for (an overflow of
    /// a sum, say). The state is whole: later retractions may bring the value back into range. Asking empties the list.
    fn failures(&mut self) -> Vec<Failure> {
        Vec::new()
    }

    /// Merges group `from[i]` of `other`, the same aggregate, into group `into[i]`. `other` is unchanged. To aggregates that
    /// depend on order the rows of `other` are later.
    fn merge(&mut self, other: &dyn Aggregate, from: &[GroupId], into: &[GroupId]) -> Result<()>;

    /// Empties groups.
    fn clear(&mut self, groups: &[GroupId]);

    /// An empty aggregate of the same kind.
    fn fresh(&self) -> Box<dyn Aggregate>;

    /// Writes its state.
    fn snapshot(&self, state: &mut StateWriter) -> Result<()>;

    /// As [`Aggregate::snapshot`]; what is large may be left for [`Aggregate::continue_snapshot`], which writes it as it is now.
    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.snapshot(state)
    }

    /// Copies about so many bytes more of what a snapshot has begun with; how many it were. None: it is complete.
    fn continue_snapshot(&mut self, _bytes: usize) -> usize {
        0
    }

    /// Reads back what [`Aggregate::snapshot`] wrote, in place of what it has.
    fn restore(&mut self, state: &mut StateReader) -> Result<()>;

    /// Itself, for [`Aggregate::merge`].
    fn as_any(&self) -> &dyn Any;
}
