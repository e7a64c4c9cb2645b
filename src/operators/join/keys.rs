//! [`JoinKeys`]: the keys of both sides as numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;

use super::spec::{JoinSpec, Side};
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{EventBatch, json_row};
use crate::operators::Output;
use crate::operators::aggregates::GroupId;
use crate::operators::expressions::reason;
use crate::operators::group_table::GroupTable;
use crate::operators::running_aggregate::adds;
use crate::operators::state::{StateReader, StateWriter};

/// The number of a key that matches nothing.
pub const NO_KEY: GroupId = GroupId::MAX;

/// Numbers the keys of both sides alike: equal keys have one number. Keys that neither side has a row of are forgotten.
///
/// *Cost.* One hash and one probe a row; see [`GroupTable`]. Without keys all rows have number 0.
pub struct JoinKeys {
    table: GroupTable,
    exprs: [Vec<Arc<dyn PhysicalExpr>>; 2],
    null_equals_null: bool,
    /// All numbers given for the last batch.
    given: Vec<GroupId>,
}

impl JoinKeys {
    /// For a join.
    pub fn new(join: &JoinSpec) -> Result<Self> {
        let types = |side: Side| -> Result<Vec<DataType>> {
            let input = join.input(side);
            let types = input.keys.iter().map(|key| Ok(key.data_type(&input.schema)?));
            types.collect()
        };
        let left = types(Side::Left)?;
        if left != types(Side::Right)? {
            return Err(Error::failed("the keys of a join have different types"));
        }
        Ok(JoinKeys {
            table: GroupTable::new(&left)?,
            exprs: join.inputs.each_ref().map(|input| input.keys.clone()),
            null_equals_null: join.null_equals_null,
            given: Vec::new(),
        })
    }

    /// The number of each row's key, [`NO_KEY`] for those that match nothing; and the rows themselves, but those whose key cannot
    /// be computed, which are reported when they come and not once more when they leave.
    pub fn assign(
        &mut self,
        side: Side,
        batch: EventBatch,
        keys: &mut Vec<GroupId>,
        out: &mut Output,
    ) -> Result<EventBatch> {
        let (batch, columns) = match self.evaluate(side, &batch) {
            Ok(columns) => (batch, columns),
            Err(error) => {
                let batch = self.without_failures(side, &batch, &error, out)?;
                let columns = self.evaluate(side, &batch)?;
                (batch, columns)
            }
        };
        self.table.assign(&columns, batch.num_rows(), &mut self.given)?;
        keys.clone_from(&self.given);
        if !self.null_equals_null {
            let nulls = columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
                NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
            });
            if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
                let absent = keys.iter_mut().zip(nulls.iter()).filter(|(_, present)| !present);
                absent.for_each(|(key, _)| *key = NO_KEY);
            }
        }
        Ok(batch)
    }

    /// Forgets those of the last batch's keys, and of `others`, that are not `used`.
    pub fn forget(&mut self, others: &[GroupId], used: impl Fn(GroupId) -> bool) {
        self.given.extend(others.iter().filter(|key| **key != NO_KEY));
        self.given.retain(|key| !used(*key));
        self.table.forget(&self.given);
        self.given.clear();
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Writes the keys.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.table.snapshot(state)
    }

    /// As [`JoinKeys::snapshot`], with all but the beginning left for [`JoinKeys::continue_snapshot`].
    pub fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.table.begin_snapshot(state)
    }

    /// Copies about so many bytes more; how many it were.
    pub fn continue_snapshot(&mut self, bytes: usize) -> usize {
        self.table.continue_snapshot(bytes)
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.table.restore(state)
    }

    fn evaluate(&self, side: Side, batch: &EventBatch) -> Result<Vec<ArrayRef>, DataFusionError> {
        let exprs = self.exprs[side.port()].iter();
        exprs
            .map(|expr| expr.evaluate(batch.columns())?.into_array(batch.num_rows()))
            .collect()
    }

    fn without_failures(
        &self,
        side: Side,
        batch: &EventBatch,
        error: &DataFusionError,
        out: &mut Output,
    ) -> Result<EventBatch> {
        let mut good = Vec::new();
        self.isolate(side, batch, 0, error, &mut good, out);
        batch.take(good)
    }

    /// Halves a batch that failed until the rows that fail stand alone; `first` is the number of its first row.
    fn isolate(
        &self,
        side: Side,
        batch: &EventBatch,
        first: u32,
        error: &DataFusionError,
        good: &mut Vec<u32>,
        out: &mut Output,
    ) {
        let rows = batch.num_rows();
        if rows <= 1 {
            if rows == 1 && adds(batch.op(0)) {
                out.error(RowError {
                    kind: ErrorKind::Evaluate,
                    message: reason(error),
                    event: json_row::row(batch.columns(), 0),
                    line: None,
                    at: out.now(),
                    attempts: 1,
                });
            }
            return;
        }
        for (from, length) in [(0, rows / 2), (rows / 2, rows - rows / 2)] {
            let half = batch.slice(from, length);
            let first = first + from as u32;
            match self.evaluate(side, &half) {
                Ok(_) => good.extend(first..first + length as u32),
                Err(error) => self.isolate(side, &half, first, &error, good, out),
            }
        }
    }
}
