//! The keys that an operator of a PARTITION has state for.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::keyed::Purge;
use super::running_aggregate::adds;
use super::state::{StateReader, StateWriter};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::windows::deadlines::Deadlines;

/// Numbers keys, and says which are to be forgotten.
///
/// *Which keys are alive* is decided for the whole block in one place, [`super::partition_keys`]; an operator learns of it by a
/// changelog of keys on its control port. An event may come for a key that is not alive: from a window that outlived its key, or
/// ahead of the event-time order that the block's keys come in. Such a key is a *stray*: it is forgotten when this operator alone
/// has not met it for `idle`, unless it has come alive meanwhile.
///
/// *Cost.* O(1) an event. *State.* About 50 bytes a key, 10 more if keys are purged.
pub struct LiveKeys {
    table: GroupTable,
    purge: Option<Purge>,
    /// By number, if keys are purged.
    places: Vec<Place>,
    strays: Deadlines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Place {
    /// Not there.
    Nowhere,
    /// The block knows it.
    Alive,
    /// Only this operator knows it, and met it last then.
    Stray(Micros),
}

impl LiveKeys {
    /// None yet.
    pub fn new(key_type: &DataType, purge: Option<Purge>) -> Result<Self> {
        Ok(LiveKeys {
            table: GroupTable::new(std::slice::from_ref(key_type))?,
            places: Vec::new(),
            strays: Deadlines::new(purge.map_or(1, |purge| purge.idle)),
            purge,
        })
    }

    /// The numbers of the keys of some events; `ids` is cleared and filled.
    pub fn assign(&mut self, column: &ArrayRef, now: Micros, ids: &mut Vec<GroupId>) -> Result<()> {
        self.table.assign(std::slice::from_ref(column), column.len(), ids)?;
        let Some(purge) = self.purge else {
            return Ok(());
        };
        self.places.resize(self.table.capacity(), Place::Nowhere);
        for &id in ids.iter() {
            let place = &mut self.places[id as usize];
            match place {
                Place::Alive => {}
                Place::Stray(met) => *met = now,
                Place::Nowhere => {
                    *place = Place::Stray(now);
                    self.strays.push(now.saturating_add(purge.idle), id);
                }
            }
        }
        Ok(())
    }

    /// Takes changes of the keys alive; the numbers of those that are to be forgotten, which are free from now on.
    pub fn change(&mut self, batch: &EventBatch) -> Result<Vec<GroupId>> {
        let mut ids = Vec::new();
        self.table
            .assign(std::slice::from_ref(batch.column(0)), batch.num_rows(), &mut ids)?;
        self.places.resize(self.table.capacity(), Place::Nowhere);
        let mut gone = Vec::new();
        for (row, &id) in ids.iter().enumerate() {
            match adds(batch.op(row)) {
                true => self.places[id as usize] = Place::Alive,
                false => {
                    self.places[id as usize] = Place::Nowhere;
                    self.table.forget(&[id]);
                    gone.push(id);
                }
            }
        }
        Ok(gone)
    }

    /// The strays that are to be forgotten, whose numbers are free from now on.
    pub fn idle_strays(&mut self, now: Micros) -> Vec<GroupId> {
        let Some(purge) = self.purge else {
            return Vec::new();
        };
        let places = &self.places;
        let mut gone = self.strays.due(now, |id| match places.get(id as usize) {
            Some(Place::Stray(met)) => Some(met.saturating_add(purge.idle)),
            _ => None,
        });
        // A number that was given again may stand in the queue twice.
        gone.sort_unstable();
        gone.dedup();
        gone.retain(
            |id| matches!(self.places[*id as usize], Place::Stray(met) if met.saturating_add(purge.idle) <= now),
        );
        gone.iter().for_each(|id| self.places[*id as usize] = Place::Nowhere);
        self.table.forget(&gone);
        gone
    }

    /// When to ask for strays again.
    pub fn next_check(&self, now: Micros) -> Option<Micros> {
        let next = self.strays.next()?;
        Some(next.max(now.saturating_add(self.purge?.check)))
    }

    /// One more than the largest number ever given.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
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
        self.table.snapshot(state)?;
        state.value(&self.places)
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.table.restore(state)?;
        self.places = state.value()?;
        self.places.truncate(self.table.capacity());
        for (place, id) in self.places.iter().zip(0..) {
            if let (Place::Stray(met), Some(purge)) = (place, self.purge) {
                self.strays.push(met.saturating_add(purge.idle), id);
            }
        }
        Ok(())
    }
}
