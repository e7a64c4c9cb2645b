//! [`Front`]: rows of a table elsewhere that are kept here for a while, by their primary key.
//!
//! Commits of this process make it forget what they wrote. A row that was read before such a commit must not be kept after it:
//! whoever keeps rows compares the number of commits before he asked with the number now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use parking_lot::RwLock;

use crate::catalog::tables::TableDef;
use crate::error::{Error, Result};
use crate::event::Micros;
use crate::tables::memory::MemoryTable;
use crate::tables::registry::Opening;
use crate::tables::rows::project;
use crate::tables::{Access, Matches, Probe, Table};

/// Rows that are kept here.
#[derive(Debug)]
pub(super) struct Front {
    def: TableDef,
    opening: Opening,
    size: usize,
    ttl: Option<Micros>,
    kept: RwLock<Arc<MemoryTable>>,
    commits: AtomicU64,
}

impl Front {
    /// As the options say; usually there is none.
    pub fn new(def: &TableDef, opening: &Opening) -> Result<Option<Self>> {
        let Some(size) = def.options.integer("cache.max_size") else {
            return Ok(None);
        };
        let def = TableDef {
            indexes: Vec::new(),
            ..def.clone()
        };
        let size = usize::try_from(size).map_err(Error::failed)?;
        let ttl = def.options.duration("cache.ttl");
        Ok(Some(Front {
            kept: RwLock::new(Arc::new(MemoryTable::cache(
                def.clone(),
                size,
                ttl,
                opening.clock.clone(),
            ))),
            commits: AtomicU64::new(0),
            opening: opening.clone(),
            size,
            ttl,
            def,
        }))
    }

    /// What lookups by the primary key find: here, and what is not here by `ask`, which is given the columns to ask for.
    pub fn lookup(
        &self,
        access: &Access,
        probe: &Probe,
        columns: &[usize],
        ask: impl Fn(&Probe, &[usize]) -> Result<Matches>,
    ) -> Result<Matches> {
        let commits = self.commits.load(Ordering::SeqCst);
        let kept = self.kept.read().clone();
        let here = kept.lookup(access, probe, columns)?;
        if here.probes.len() == probe.rows {
            return Ok(here);
        }
        let mut is_here = vec![false; probe.rows];
        here.probes.iter().for_each(|probe| is_here[*probe as usize] = true);
        let missing: UInt32Array = (0..probe.rows as u32)
            .filter(|row| !is_here[*row as usize])
            .map(Some)
            .collect();
        let equal = probe.equal.iter().map(|values| Ok(take(values, &missing, None)?));
        let rest = Probe {
            rows: missing.len(),
            equal: equal.collect::<Result<_>>()?,
            low: None,
            high: None,
        };
        let all: Vec<usize> = (0..self.def.schema.fields().len()).collect();
        let there = ask(&rest, &all)?;
        self.keep(&there, commits)?;
        // Both in the order of the lookups, each of which finds one row at most.
        let probes = there.probes.iter().map(|probe| missing.value(*probe as usize));
        let probes: Vec<u32> = here.probes.iter().copied().chain(probes).collect();
        let mut order: Vec<u32> = (0..probes.len() as u32).collect();
        order.sort_by_key(|row| probes[*row as usize]);
        let sorted = UInt32Array::from(order.clone());
        let values = columns.iter().enumerate().map(|(i, column)| {
            let (here, there) = (here.rows.column(i), there.rows.column(*column));
            Ok(take(&concat(&[here.as_ref(), there.as_ref()])?, &sorted, None)?)
        });
        Ok(Matches {
            rows: project(&self.def.schema, columns, values.collect::<Result<_>>()?, order.len())?,
            probes: order.iter().map(|row| probes[*row as usize]).collect(),
            ids: Vec::new(),
        })
    }

    fn keep(&self, found: &Matches, commits: u64) -> Result<()> {
        let kept = self.kept.read().clone();
        let mut writer = kept.write()?;
        writer.upsert(&found.rows)?;
        // Commits forget under the same lock, so this is decided before or after them.
        match self.commits.load(Ordering::SeqCst) == commits {
            true => writer.commit(),
            false => Ok(()),
        }
    }

    /// Forgets rows: those with these keys, or all.
    pub fn forget(&self, keys: Option<&[Vec<ArrayRef>]>) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let kept = self.kept.read().clone();
        let forgotten = keys.map(|keys| -> Result<()> {
            let mut writer = kept.write()?;
            for key in keys {
                writer.delete_keys(key, key.first().map_or(0, |values| values.len()))?;
            }
            writer.commit()
        });
        if !matches!(forgotten, Some(Ok(()))) {
            let (def, clock) = (self.def.clone(), self.opening.clock.clone());
            *self.kept.write() = Arc::new(MemoryTable::cache(def, self.size, self.ttl, clock));
        }
    }
}
