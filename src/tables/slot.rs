//! The place of a table in a compiled app: declared from the start, open while the app runs.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::Table;
use crate::catalog::tables::TableDef;
use crate::error::{Error, Result};
use crate::operators::state::{State, StateReader, StateWriter};

/// A declared table, which is opened once.
pub struct TableSlot {
    def: Arc<TableDef>,
    table: OnceLock<Arc<dyn Table>>,
}

impl TableSlot {
    /// Of a declaration; not open yet.
    pub fn new(def: TableDef) -> Self {
        TableSlot {
            def: Arc::new(def),
            table: OnceLock::new(),
        }
    }

    /// What was declared.
    pub fn def(&self) -> &Arc<TableDef> {
        &self.def
    }

    /// Opens it. A table that is open stays the one it is.
    pub fn open(&self, table: Arc<dyn Table>) {
        let _ = self.table.set(table);
    }

    /// The table. *Errors.* When the app has not been started.
    pub fn table(&self) -> Result<&Arc<dyn Table>> {
        self.table.get().ok_or_else(|| {
            Error::usage(format!(
                "table '{}' is not open: the app has not been started",
                self.def.name
            ))
        })
    }

    /// Its rows, if they live in this process.
    pub fn snapshot(&self) -> Result<State> {
        let mut state = StateWriter::sharing();
        self.table()?.snapshot(&mut state)?;
        Ok(state.into_state())
    }
}

/// Puts what [`TableSlot::snapshot`] gave into an empty table.
pub fn restore(table: &dyn Table, saved: &State) -> Result<()> {
    let bytes = saved.bytes()?;
    match bytes.is_empty() {
        true => Ok(()),
        false => table.restore(&mut StateReader::new(&bytes)),
    }
}

impl fmt::Debug for TableSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableSlot").field(&self.def.name).finish()
    }
}
