//! [`RowTable`]: finds the row that equals another.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};

use super::lists::Lists;
use crate::error::Result;
use crate::event::EventBatch;
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::operators::state::{StateReader, StateWriter};
use crate::windows::row_store::RowId;

/// Rows by the values of some columns, equal ones in the order they came. Values are equal as in [`GroupTable`].
///
/// *Cost.* One hash and one probe a row.
pub struct RowTable {
    columns: Vec<usize>,
    groups: GroupTable,
    rows: Lists,
    ids: Vec<GroupId>,
}

impl RowTable {
    /// Of rows of `schema`, by these columns. Fails if there is a type whose values cannot be compared.
    pub fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self> {
        let types = columns.iter().map(|&column| schema.field(column).data_type().clone());
        let groups = GroupTable::new(&types.collect::<Vec<DataType>>())?;
        Ok(RowTable {
            columns,
            groups,
            rows: Lists::default(),
            ids: Vec::new(),
        })
    }

    /// Looks up all rows of a batch, which is then spoken of by its rows' places. [`RowTable::end`] ends it.
    pub fn begin(&mut self, batch: &EventBatch) -> Result<()> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|&column| batch.column(column).clone())
            .collect();
        self.groups.assign(&columns, batch.num_rows(), &mut self.ids)
    }

    /// The earliest row that equals row `at` of the batch.
    pub fn earliest(&self, at: usize) -> Option<RowId> {
        self.rows.first(*self.ids.get(at)?)
    }

    /// Adds a row that equals row `at` of the batch.
    pub fn push(&mut self, at: usize, row: RowId) {
        if let Some(&id) = self.ids.get(at) {
            self.rows.push(id, row);
        }
    }

    /// Forgets a row.
    pub fn remove(&mut self, row: RowId) {
        if let Some(id) = self.rows.remove(row)
            && self.rows.is_empty(id)
        {
            self.ids.push(id);
        }
    }

    /// Forgets values that no row has any more.
    pub fn end(&mut self) {
        let rows = &self.rows;
        self.ids.retain(|id| rows.is_empty(*id));
        self.groups.forget(&self.ids);
        self.ids.clear();
    }

    /// Writes the rows' values and numbers.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        self.rows.snapshot(state)
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        self.rows.restore(state)
    }
}
