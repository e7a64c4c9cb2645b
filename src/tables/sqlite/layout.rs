//! The table in the file: made if it is not there, else compared with what was declared.

use arrow::datatypes::DataType;
use rusqlite::{Connection, OptionalExtension};

use super::values::{Kept, kept};
use crate::catalog::tables::TableDef;
use crate::catalog::types;
use crate::error::{Error, Result};

/// What the table in the file is like.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Its name, quoted.
    pub table: String,
    /// Columns that were not declared, quoted.
    pub others: Vec<String>,
    /// Whether the key is another name of the row's number.
    pub key_is_rowid: bool,
}

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names of columns, quoted.
pub(super) fn names(def: &TableDef, columns: &[usize]) -> Vec<String> {
    columns
        .iter()
        .map(|column| quoted(def.schema.field(*column).name()))
        .collect()
}

/// The declared type of a new column. None of them is `INTEGER`, which as a key would be the row's number itself.
fn declared(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Date32 => "INT",
        DataType::Float32 | DataType::Float64 => "DOUBLE",
        other => match kept(other) {
            Kept::Integer => "BIGINT",
            Kept::Real => "DOUBLE",
            Kept::Text | Kept::Written => "TEXT",
            Kept::Blob => "BLOB",
        },
    }
}

/// What SQLite makes of a declared type: it goes by parts of its name.
fn affinity(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    if has(&["INT"]) {
        "INTEGER"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "TEXT"
    } else if declared.is_empty() || has(&["BLOB"]) {
        "BLOB"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "REAL"
    } else {
        "NUMERIC"
    }
}

fn fits(of: Kept, affinity: &str) -> bool {
    match of {
        Kept::Integer => matches!(affinity, "INTEGER" | "NUMERIC" | "BLOB"),
        Kept::Real => matches!(affinity, "REAL" | "NUMERIC" | "BLOB"),
        // Numbers would be made of them.
        Kept::Text | Kept::Written => matches!(affinity, "TEXT" | "BLOB"),
        Kept::Blob => affinity == "BLOB",
    }
}

struct Column {
    name: String,
    declared: String,
    key: i64,
}

/// Finds the table, or makes it.
pub(super) fn prepare(connection: &Connection, def: &TableDef, name: &str) -> Result<Layout> {
    let failed = |error| super::failed(def, &error);
    let mut columns = columns(connection, name).map_err(failed)?;
    if columns.is_empty() {
        create(connection, def, name).map_err(failed)?;
        columns = self::columns(connection, name).map_err(failed)?;
    }
    let kind: Option<String> = connection
        .query_row("SELECT type FROM sqlite_master WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
        .map_err(failed)?;
    if kind.as_deref() == Some("view") {
        return Err(mismatch(def, name, "it is a view"));
    }
    if connection
        .prepare(&format!("SELECT rowid FROM {} LIMIT 0", quoted(name)))
        .is_err()
    {
        return Err(mismatch(def, name, "it is WITHOUT ROWID"));
    }
    compare(def, name, &columns)?;
    let mut key: Vec<&Column> = columns.iter().filter(|column| column.key > 0).collect();
    key.sort_by_key(|column| column.key);
    if !def.primary_key.is_empty() && !has_key(connection, def, name, &key).map_err(failed)? {
        let key = names(def, &def.primary_key).join(", ");
        return Err(mismatch(
            def,
            name,
            &format!("it has neither primary key nor unique index on ({key})"),
        ));
    }
    for index in &def.indexes {
        index_on(connection, def, name, index).map_err(failed)?;
    }
    let declared = def.schema.fields();
    let is_other = |column: &&Column| {
        !declared
            .iter()
            .any(|field| field.name().eq_ignore_ascii_case(&column.name))
    };
    Ok(Layout {
        table: quoted(name),
        others: columns
            .iter()
            .filter(is_other)
            .map(|column| quoted(&column.name))
            .collect(),
        key_is_rowid: matches!(key.as_slice(), [only] if only.declared.eq_ignore_ascii_case("INTEGER")),
    })
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement = connection.prepare("SELECT name, type, pk FROM pragma_table_info(?1)")?;
    let columns = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            declared: row.get(1)?,
            key: row.get(2)?,
        })
    })?;
    columns.collect()
}

fn create(connection: &Connection, def: &TableDef, name: &str) -> rusqlite::Result<()> {
    let fields = def.schema.fields().iter();
    let mut parts: Vec<String> = fields
        .map(|field| {
            let null = if field.is_nullable() { "" } else { " NOT NULL" };
            format!("{} {}{null}", quoted(field.name()), declared(field.data_type()))
        })
        .collect();
    if !def.primary_key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", names(def, &def.primary_key).join(", ")));
    }
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {} ({})",
        quoted(name),
        parts.join(", ")
    ))
}

/// Makes an index unless there is one that begins with these columns.
fn index_on(connection: &Connection, def: &TableDef, table: &str, index: &[usize]) -> rusqlite::Result<()> {
    let wanted: Vec<&str> = index
        .iter()
        .map(|column| def.schema.field(*column).name().as_str())
        .collect();
    for (_, columns) in indexes(connection, table)? {
        let begins = columns.len() >= wanted.len()
            && columns
                .iter()
                .zip(&wanted)
                .all(|(have, want)| have.eq_ignore_ascii_case(want));
        if begins {
            return Ok(());
        }
    }
    let name = quoted(&format!("{table}_by_{}", wanted.join("_")));
    let columns = names(def, index).join(", ");
    connection.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS {name} ON {} ({columns})",
        quoted(table)
    ))
}

/// The indexes of a table: whether each is unique and whole, and its columns.
fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(bool, Vec<String>)>> {
    let mut list =
        connection.prepare("SELECT name, \"unique\" AND NOT partial FROM pragma_index_list(?1) ORDER BY seq")?;
    let named: Vec<(String, bool)> = list
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut info = connection.prepare("SELECT coalesce(name, '') FROM pragma_index_info(?1) ORDER BY seqno")?;
    let mut indexes = Vec::new();
    for (name, is_unique) in named {
        let columns = info.query_map([name], |row| row.get(0))?;
        indexes.push((is_unique, columns.collect::<rusqlite::Result<_>>()?));
    }
    Ok(indexes)
}

fn has_key(connection: &Connection, def: &TableDef, table: &str, key: &[&Column]) -> rusqlite::Result<bool> {
    let mut wanted: Vec<String> = def
        .primary_key
        .iter()
        .map(|column| def.schema.field(*column).name().to_lowercase())
        .collect();
    wanted.sort();
    let is_wanted = |mut columns: Vec<String>| {
        columns.sort();
        columns == wanted
    };
    if is_wanted(key.iter().map(|column| column.name.to_lowercase()).collect()) {
        return Ok(true);
    }
    let indexes = indexes(connection, table)?;
    Ok(indexes
        .into_iter()
        .any(|(is_unique, columns)| is_unique && is_wanted(columns.iter().map(|name| name.to_lowercase()).collect())))
}

fn compare(def: &TableDef, table: &str, columns: &[Column]) -> Result<()> {
    for field in def.schema.fields() {
        let found = columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(field.name()));
        let Some(found) = found else {
            return Err(mismatch(def, table, &format!("it has no column '{}'", field.name())));
        };
        if !fits(kept(field.data_type()), affinity(&found.declared)) {
            let what = format!(
                "its column '{}' is {} and holds no {}; {} would",
                field.name(),
                found.declared,
                types::name(field.data_type()),
                declared(field.data_type())
            );
            return Err(mismatch(def, table, &what));
        }
    }
    Ok(())
}

fn mismatch(def: &TableDef, table: &str, what: &str) -> Error {
    let name = &def.name;
    Error::failed(format!("table '{name}': SQLite's table '{table}' does not fit: {what}"))
}
