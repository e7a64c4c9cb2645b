//! The last row of each group.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::ONE_GROUP;
use crate::error::Result;
use crate::event::EventBatch;
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;

/// How many rows may wait beyond twice those kept.
const SLACK: usize = 1_024;

/// Keeps the last row of each group, in the order in which the groups first came.
///
/// *Cost.* O(1) a row, amortised: rows wait and are thinned out when they have become twice as many as were kept.
#[derive(Default)]
pub struct LastRows {
    keys: Vec<usize>,
    waiting: Vec<EventBatch>,
    rows: usize,
    kept: usize,
}

impl LastRows {
    /// By columns; without any all rows are one group.
    pub fn new(keys: Vec<usize>) -> Self {
        LastRows {
            keys,
            ..LastRows::default()
        }
    }

    /// Adds rows.
    pub fn add(&mut self, batch: EventBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.waiting.push(batch);
        if self.rows > 2 * self.kept + SLACK {
            self.thin()?;
        }
        Ok(())
    }

    /// The rows kept.
    pub fn rows(&mut self) -> Result<Option<EventBatch>> {
        self.thin()?;
        Ok(self.waiting.first().cloned())
    }

    /// The rows kept and those that wait to be thinned out.
    pub fn waiting(&self) -> &[EventBatch] {
        &self.waiting
    }

    /// Takes the rows out.
    pub fn take(&mut self) -> Result<Option<EventBatch>> {
        self.thin()?;
        (self.rows, self.kept) = (0, 0);
        Ok(self.waiting.pop())
    }

    fn thin(&mut self) -> Result<()> {
        let Some(first) = self.waiting.first() else {
            return Ok(());
        };
        let all = EventBatch::concat(&first.schema(), &self.waiting)?;
        let ids = group_ids(&self.keys, &all)?;
        let mut last: Vec<Option<u32>> = vec![None; ids.iter().max().map_or(0, |id| *id as usize + 1)];
        let mut order = Vec::new();
        for (row, id) in ids.iter().enumerate() {
            if last[*id as usize].replace(row as u32).is_none() {
                order.push(*id);
            }
        }
        let rows: Vec<u32> = order.iter().filter_map(|id| last[*id as usize]).collect();
        self.kept = rows.len();
        self.rows = rows.len();
        self.waiting = vec![all.take(rows)?];
        Ok(())
    }
}

/// A number for the group of each row, good within the batch.
pub fn group_ids(keys: &[usize], batch: &EventBatch) -> Result<Vec<GroupId>> {
    if keys.is_empty() {
        return Ok(vec![ONE_GROUP; batch.num_rows()]);
    }
    let columns: Vec<ArrayRef> = keys.iter().map(|&key| batch.column(key).clone()).collect();
    let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
    let mut ids = Vec::new();
    GroupTable::new(&types)?.assign(&columns, batch.num_rows(), &mut ids)?;
    Ok(ids)
}
