//! What the server needs of an app: watching its relations, and conditions on their rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::App;
use crate::catalog::tables::TableDef;
use crate::error::Result;
use crate::event::Micros;
use crate::plan::row_filter::{RowFilter, row_filter};
use crate::runtime::tap::Tap;
use crate::tables::slot::TableSlot;
use crate::tables::watch::Watcher;

impl App {
    /// The tables, in order of declaration.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableDef>> {
        self.compiled().tables().iter().map(|slot| slot.def())
    }

    pub(super) fn slot(&self, name: &str) -> Option<&Arc<TableSlot>> {
        self.compiled().tables().iter().find(|slot| slot.def().name == name)
    }

    /// Tells a watcher of the changes of a table or a stream, which is named exactly, from now on.
    pub(crate) fn watch(&self, relation: &str, watcher: Watcher) -> Result<()> {
        match self.slot(relation) {
            Some(slot) => slot.table()?.watch(watcher),
            None => self.tap(relation, Tap::Watcher(watcher)),
        }
    }

    /// Tells a watcher the rows of a table or a named window, at their place among the changes that it is told. Waits for whoever
    /// writes them.
    pub(crate) fn tell_rows(&self, relation: &str, watcher: &Watcher) -> Result<()> {
        if let Some(slot) = self.slot(relation) {
            return slot.table()?.tell_rows(watcher);
        }
        let running = self.running()?;
        let id = self.id(running, relation)?;
        running.instance.tell_rows(id, watcher.clone())
    }

    /// Frees the rows of a table whose time is over, so that its watchers hear of it; nothing if its rows do not age. Waits for
    /// whoever writes them.
    pub(crate) fn free_aged(&self, relation: &str) -> Result<()> {
        match self.slot(relation) {
            Some(slot) => slot.table()?.free_aged(),
            None => Ok(()),
        }
    }

    /// Whether rows of a relation go by themselves when their time is over.
    pub(crate) fn ages(&self, relation: &str) -> bool {
        let table = self.slot(relation).and_then(|slot| slot.table().ok());
        table.is_some_and(|table| table.ages())
    }

    /// A condition over rows with that schema, from outside of the app.
    pub(crate) fn row_filter(&self, condition: &str, schema: &SchemaRef) -> Result<RowFilter> {
        Ok(row_filter(condition, schema, self.functions())?)
    }

    /// The time now, by the app's clock.
    pub(crate) fn now(&self) -> Micros {
        self.clock().now()
    }
}
