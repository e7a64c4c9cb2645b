//! The backends that tables may name, ours and the embedder's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Table;
use crate::catalog::tables::TableDef;
use crate::config::nearest::nearest;
use crate::config::options::OptionSpec;
use crate::error::{Code, Diagnostic, Result};
use crate::event::{Clock, SystemClock};

/// A kind of table: what `extension = '…'` of a table names.
pub trait TableBackend: Send + Sync {
    /// The name used in `extension = '…'` and as the prefix of its options.
    fn name(&self) -> &'static str;
    /// One sentence for the reference.
    fn doc(&self) -> &'static str;
    /// Its options.
    fn options(&self) -> &'static [OptionSpec];
    /// Checks all that can be checked without touching anything outside.
    fn check(&self, def: &TableDef) -> Result<(), Diagnostic>;
    /// Opens the table, making it if it is not there. *Errors.* What is there does not fit what was declared, or cannot be reached.
    fn open(&self, def: TableDef, opening: &Opening) -> Result<Arc<dyn Table>>;
}

/// What a table is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The time by which rows age.
    pub clock: Arc<dyn Clock>,
}

impl Default for Opening {
    fn default() -> Self {
        Opening {
            clock: Arc::new(SystemClock),
        }
    }
}

/// Backends by name.
#[derive(Clone, Default)]
pub struct Backends(BTreeMap<String, Arc<dyn TableBackend>>);

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Backends {
    /// Those that come with the engine.
    pub fn builtin() -> Self {
        let mut backends = Backends::default();
        super::builtin().into_iter().for_each(|backend| backends.add(backend));
        backends
    }

    /// Adds a backend, in place of any of the same name.
    pub fn add(&mut self, backend: Arc<dyn TableBackend>) {
        self.0.insert(backend.name().to_string(), backend);
    }

    /// All backends, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn TableBackend>> {
        self.0.values()
    }

    /// A backend by name.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn TableBackend>, Diagnostic> {
        if let Some(found) = self.0.get(name).or_else(|| self.0.get(&name.to_lowercase())) {
            return Ok(found);
        }
        let error = Diagnostic::new(Code::UnknownConnector, format!("there is no table backend '{name}'"));
        Err(match nearest(name, self.0.keys().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!(
                "there are: {}",
                self.0.keys().cloned().collect::<Vec<_>>().join(", ")
            )),
        })
    }

    /// Checks a table without touching anything outside.
    pub fn check(&self, def: &TableDef) -> Result<(), Diagnostic> {
        self.get(&def.backend)?.check(def)
    }

    /// Opens a table.
    pub fn open(&self, def: TableDef, opening: &Opening) -> Result<Arc<dyn Table>> {
        self.get(&def.backend)?.clone().open(def, opening)
    }
}
