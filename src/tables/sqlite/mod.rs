//! `sqlite`: a table in a SQLite file.
//!
//! One connection writes, a few read; in WAL mode readers see the last commit and wait for nobody. A transaction of the
//! engine is one of SQLite's. Lookups that an index serves are one prepared statement, run for each lookup; those that none
//! serves load the table once for the whole batch.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::memory::Loaded;
use super::registry::{Opening, TableBackend};
use super::{Access, Matches, Probe, RowId, Table, TableWriter};
use crate::catalog::tables::TableDef;
use crate::config::options::{OptionKind, OptionSpec};
use crate::error::{Diagnostic, Error, Result};
use crate::event::Clock;
use crate::operators::state::{StateReader, StateWriter};

mod layout;
mod lookup;
mod values;
mod writer;

use layout::{Layout, names};
use values::Incoming;
use writer::SqliteWriter;

/// Connections that wait for readers; more are closed when they are given back.
const IDLE: usize = 8;
/// Rows of one batch of a scan.
const ROWS: usize = 8192;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "path",
        OptionKind::Path,
        "The file. It is made if it is missing, with the directories it is in.",
    )
    .required(),
    OptionSpec::new(
        "table",
        OptionKind::Text,
        "The table in the file, made if it is missing; by default the name of the table in the app.",
    ),
    OptionSpec::new(
        "journal",
        OptionKind::Choice(&["wal", "delete", "truncate", "persist"]),
        "SQLite's journal mode. With any but wal, readers and writers wait for one another.",
    )
    .default("wal"),
    OptionSpec::new(
        "synchronous",
        OptionKind::Choice(&["normal", "full", "off"]),
        "When SQLite waits for the disk: with full no commit is lost when the power fails, with normal the last ones may \
         be (in wal mode), with off the file may be damaged.",
    )
    .default("normal"),
    OptionSpec::new(
        "busy.timeout",
        OptionKind::Duration,
        "How long to wait for other processes that hold the file.",
    )
    .default("5 seconds"),
];

/// The backend `sqlite`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sqlite;

impl TableBackend for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn doc(&self) -> &'static str {
        "Keeps rows in a SQLite file, which other programs may read and write, too."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn check(&self, def: &TableDef) -> Result<(), Diagnostic> {
        match def.options.text("path") {
            Some(path) if path.is_empty() || path.starts_with(":memory:") || path.starts_with("file:") => {
                let error = def.options.invalid("path", "it is not the path of a file");
                Err(error.hint("for rows in this process use extension = 'memory'"))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, def: TableDef, opening: &Opening) -> Result<Arc<dyn Table>> {
        Ok(Arc::new(SqliteTable::open(def, opening.clock.clone())?))
    }
}

/// A table in a file.
#[derive(Debug)]
pub struct SqliteTable {
    def: TableDef,
    layout: Layout,
    clock: Arc<dyn Clock>,
    /// Held by the writer whose turn it is.
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

/// What SQLite says, with the table's name.
fn failed(def: &TableDef, error: &rusqlite::Error) -> Error {
    Error::failed(format!("table '{}': SQLite: {error}", def.name))
}

impl SqliteTable {
    fn open(def: TableDef, clock: Arc<dyn Clock>) -> Result<Self> {
        let path = def.options.text("path").unwrap_or_default();
        if let Some(folder) = Path::new(path).parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::io(format!("the folder of '{path}' cannot be made"), error))?;
        }
        let connection = connect(&def)?;
        let name = def.options.text("table").unwrap_or(&def.name);
        let layout = layout::prepare(&connection, &def, name)?;
        Ok(SqliteTable {
            layout,
            clock,
            writer: Mutex::new(connection),
            readers: Mutex::default(),
            def,
        })
    }

    fn failed(&self, error: &rusqlite::Error) -> Error {
        failed(&self.def, error)
    }

    /// Reads with a connection of its own, at one moment.
    fn reading<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.readers.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.def)?,
        };
        // It reads only, so that it never needs to be committed; dropped, it ends.
        let transaction = connection
            .unchecked_transaction()
            .map_err(|error| self.failed(&error))?;
        let read = read(&transaction)?;
        transaction.finish().map_err(|error| self.failed(&error))?;
        let mut readers = self.readers.lock();
        if readers.len() < IDLE {
            readers.push(connection);
        }
        Ok(read)
    }

    /// All rows, in the order of their numbers; these, too.
    fn read_all(&self, connection: &Connection, columns: &[usize]) -> Result<(Vec<RecordBatch>, Vec<RowId>)> {
        let sql = format!(
            "SELECT {} FROM {} ORDER BY rowid",
            self.selected(columns),
            self.layout.table
        );
        let failed = |error| self.failed(&error);
        let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut taken = Taken::new(self, columns)?;
        let mut batches = Vec::new();
        let mut ids = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            taken.push(row)?;
            if taken.ids.len() == ROWS {
                batches.push(taken.finish()?);
                ids.append(&mut taken.ids);
            }
        }
        if !taken.ids.is_empty() {
            batches.push(taken.finish()?);
            ids.append(&mut taken.ids);
        }
        Ok((batches, ids))
    }

    /// The row's number and some columns.
    fn selected(&self, columns: &[usize]) -> String {
        let numbered = std::iter::once("rowid".to_string()).chain(names(&self.def, columns));
        numbered.collect::<Vec<_>>().join(", ")
    }
}

fn connect(def: &TableDef) -> Result<Connection> {
    let options = &def.options;
    let path = options.text("path").unwrap_or_default();
    let failed = |error: rusqlite::Error| Error::failed(format!("table '{}': '{path}': {error}", def.name));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    let timeout = options.duration("busy.timeout").unwrap_or_default();
    let timeout = Duration::from_micros(u64::try_from(timeout).unwrap_or_default());
    connection.busy_timeout(timeout).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    for (pragma, option) in [("journal_mode", "journal"), ("synchronous", "synchronous")] {
        let value = options.text(option).unwrap_or_default();
        connection
            .pragma_update_and_check(None, pragma, value, |_| Ok(()))
            .or_else(|error| match error {
                // This one answers with no row.
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                error => Err(error),
            })
            .map_err(failed)?;
    }
    Ok(connection)
}

/// Rows being read: their numbers and some columns.
struct Taken<'a> {
    table: &'a SqliteTable,
    columns: &'a [usize],
    values: Vec<Incoming>,
    ids: Vec<RowId>,
    rows: usize,
}

impl<'a> Taken<'a> {
    fn new(table: &'a SqliteTable, columns: &'a [usize]) -> Result<Self> {
        let fields = table.def.schema.fields();
        let values = columns.iter().map(|column| Incoming::new(&fields[*column]));
        Ok(Taken {
            table,
            columns,
            values: values.collect::<Result<_>>()?,
            ids: Vec::new(),
            rows: 0,
        })
    }

    fn push(&mut self, row: &rusqlite::Row<'_>) -> Result<()> {
        let failed = |error| self.table.failed(&error);
        let id: i64 = row.get(0).map_err(failed)?;
        self.ids.push(RowId(id as u64));
        for (i, values) in self.values.iter_mut().enumerate() {
            let value = row.get_ref(i + 1).map_err(failed)?;
            values
                .push(value)
                .map_err(|error| Error::failed(format!("table '{}': {error}", self.table.def.name)))?;
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let values: Vec<ArrayRef> = self.values.iter_mut().map(Incoming::finish).collect::<Result<_>>()?;
        super::rows::project(
            &self.table.def.schema,
            self.columns,
            values,
            std::mem::take(&mut self.rows),
        )
    }
}

impl Table for SqliteTable {
    fn def(&self) -> &TableDef {
        &self.def
    }

    fn lookup(&self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        let found = self.reading(|connection| self.find(connection, access, probe, columns))?;
        Ok(Matches {
            ids: Vec::new(),
            ..found
        })
    }

    fn scan(&self, columns: &[usize]) -> Result<Vec<RecordBatch>> {
        self.reading(|connection| Ok(self.read_all(connection, columns)?.0))
    }

    fn len(&self) -> Result<usize> {
        let sql = format!("SELECT count(*) FROM {}", self.layout.table);
        let count: i64 = self.reading(|connection| {
            let mut statement = connection.prepare_cached(&sql).map_err(|error| self.failed(&error))?;
            statement
                .query_row([], |row| row.get(0))
                .map_err(|error| self.failed(&error))
        })?;
        usize::try_from(count).map_err(Error::failed)
    }

    fn write(&self) -> Result<Box<dyn TableWriter + '_>> {
        Ok(Box::new(SqliteWriter::begin(self)?))
    }

    fn snapshot(&self, _state: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    fn restore(&self, _state: &mut StateReader) -> Result<()> {
        Ok(())
    }
}
