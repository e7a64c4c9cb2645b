//! [`Loaded`]: rows of another backend, loaded for one batch of lookups that it cannot do well itself.

use arrow::array::RecordBatch;
use hashbrown::DefaultHashBuilder;

use super::places::Marks;
use super::store::{Counting, Store};
use crate::catalog::tables::TableDef;
use crate::error::Result;
use crate::tables::{Access, Matches, Probe, RowId};

/// All rows of a table, in the order of their names.
#[derive(Debug)]
pub(in crate::tables) struct Loaded {
    store: Store,
    ids: Vec<RowId>,
}

impl Loaded {
    /// Of all columns of all rows.
    pub fn new(def: &TableDef, rows: &[RecordBatch], ids: Vec<RowId>) -> Result<Self> {
        let unindexed = TableDef {
            primary_key: Vec::new(),
            indexes: Vec::new(),
            ..def.clone()
        };
        let mut store = Store::new(
            &unindexed,
            Marks::default(),
            DefaultHashBuilder::default(),
            Counting::No,
        );
        for batch in rows {
            let numbers: Vec<u32> = (0..batch.num_rows() as u32).collect();
            store.add(batch.columns(), &numbers)?;
        }
        Ok(Loaded { store, ids })
    }

    /// What the lookups find.
    pub fn lookup(&self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        let found = self.store.find(access, probe)?;
        Ok(Matches {
            rows: self.store.read(&found.at, columns)?,
            // Without holes, positions count the rows.
            ids: found
                .at
                .iter()
                .filter_map(|at| self.ids.get(*at as usize).copied())
                .collect(),
            probes: found.probes,
        })
    }
}
