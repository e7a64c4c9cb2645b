//! Tables as declared: columns, keys, indexes, where they are kept.

use std::ops::Range;

use arrow::datatypes::SchemaRef;

use crate::config::options::{Options, RawOption};

/// `CREATE TABLE`.
#[derive(Debug, Clone)]
pub struct TableDef {
    /// Its name, in the case of its declaration.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns of the primary key; empty without one. Key columns are never NULL.
    pub primary_key: Vec<usize>,
    /// The columns of each secondary index. An index of one column serves ranges, too.
    pub indexes: Vec<Vec<usize>>,
    /// What keeps it: `memory`, `cache`, `sqlite`, `postgres` …
    pub backend: String,
    /// The backend's options, checked.
    pub options: Options,
    /// The options of any table, checked.
    pub settings: Options,
    /// As written, for messages.
    pub raw: Vec<RawOption>,
    /// Where its name stands in the app.
    pub span: Option<Range<usize>>,
}

impl TableDef {
    /// What its rows are saved under: the option `id`, or else its name.
    pub fn state_id(&self) -> &str {
        self.settings.text("id").unwrap_or(&self.name)
    }
}
