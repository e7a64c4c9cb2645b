//! [`SqliteWriter`]: one transaction.

use arrow::array::{ArrayRef, RecordBatch};
use parking_lot::MutexGuard;
use rusqlite::types::ToSqlOutput;
use rusqlite::{CachedStatement, Connection, ErrorCode};

use super::SqliteTable;
use super::layout::{names, quoted};
use super::values::Outgoing;
use crate::error::{Error, Result, RowError};
use crate::tables::rows::RowCheck;
use crate::tables::{Access, Matches, Probe, Refused, RowId, TableWriter};

/// One transaction: SQLite's, rolled back when it is dropped.
pub(super) struct SqliteWriter<'a> {
    table: &'a SqliteTable,
    connection: MutexGuard<'a, Connection>,
    is_open: bool,
}

/// What became of a row.
enum Done {
    Yes,
    /// The key, or another unique column, is taken.
    Collides(String),
}

impl<'a> SqliteWriter<'a> {
    /// Begins when it is its turn.
    pub fn begin(table: &'a SqliteTable) -> Result<Self> {
        let writer = SqliteWriter {
            table,
            connection: table.writer.lock(),
            is_open: true,
        };
        // At once, so that nothing it reads can be changed by another process.
        writer.run("BEGIN IMMEDIATE")?;
        Ok(writer)
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.connection
            .execute_batch(sql)
            .map_err(|error| self.table.failed(&error))
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.connection
            .prepare_cached(sql)
            .map_err(|error| self.table.failed(&error))
    }

    fn outgoing(&self, rows: &RecordBatch) -> Result<Vec<Outgoing>> {
        let fields = self.table.def.schema.fields();
        let columns = fields.iter().zip(rows.columns());
        columns.map(|(field, values)| Outgoing::new(field, values)).collect()
    }

    fn check<'r>(&self, rows: &'r RecordBatch) -> Result<RowCheck<'r>>
    where
        'a: 'r,
    {
        RowCheck::new(&self.table.def, rows, self.table.clock.now())
    }

    /// Runs a statement with a row's values.
    fn put<'v>(
        &self,
        statement: &mut CachedStatement<'_>,
        values: impl Iterator<Item = ToSqlOutput<'v>>,
    ) -> Result<Done> {
        for (i, value) in values.enumerate() {
            statement
                .raw_bind_parameter(i + 1, value)
                .map_err(|error| self.table.failed(&error))?;
        }
        match statement.raw_execute() {
            Ok(_) => Ok(Done::Yes),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Ok(Done::Collides(error.to_string()))
            }
            Err(error) => Err(self.table.failed(&error)),
        }
    }

    /// Puts rows that pass the check, one after the other.
    fn put_all(&mut self, rows: &RecordBatch, sql: &str) -> Result<Refused> {
        let check = self.check(rows)?;
        let columns = self.outgoing(rows)?;
        let mut statement = self.statement(sql)?;
        let mut refused = Refused::new();
        for row in 0..rows.num_rows() {
            if let Some(fault) = check.fault(row) {
                refused.push((row, fault));
                continue;
            }
            let values = columns.iter().map(|column| column.value(row));
            if let Done::Collides(why) = self.put(&mut statement, values)? {
                refused.push((row, check.collision(row, &why)));
            }
        }
        Ok(refused)
    }

    fn insert_sql(&self) -> String {
        let table = self.table;
        let all: Vec<usize> = (0..table.def.schema.fields().len()).collect();
        let marks: Vec<String> = (1..=all.len()).map(|i| format!("?{i}")).collect();
        format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.layout.table,
            names(&table.def, &all).join(", "),
            marks.join(", ")
        )
    }

    /// Gives rows new values, one after the other: fails when a key is taken at that moment.
    fn update_in_turn(&self, ids: &[RowId], columns: &[Outgoing]) -> Result<Option<(usize, String)>> {
        let table = self.table;
        let fields = table.def.schema.fields().iter().enumerate();
        let set: Vec<String> = fields
            .map(|(i, field)| format!("{} = ?{}", quoted(field.name()), i + 2))
            .collect();
        let sql = format!("UPDATE {} SET {} WHERE rowid = ?1", table.layout.table, set.join(", "));
        let mut statement = self.statement(&sql)?;
        for (row, id) in ids.iter().enumerate() {
            let id = ToSqlOutput::from(id.0 as i64);
            let values = std::iter::once(id).chain(columns.iter().map(|column| column.value(row)));
            if let Done::Collides(why) = self.put(&mut statement, values)? {
                return Ok(Some((row, why)));
            }
        }
        Ok(None)
    }

    /// The same at once: all rows are taken out, then put back with their new values, so that keys can change places. Columns
    /// that were not declared keep theirs.
    fn update_at_once(&self, ids: &[RowId], columns: &[Outgoing]) -> Result<Option<(usize, String)>> {
        let table = self.table;
        let name = &table.layout.table;
        self.run(&format!(
            "DROP TABLE IF EXISTS temp.eventflux_moved;
             CREATE TEMP TABLE eventflux_moved AS SELECT rowid AS eventflux_rowid, * FROM main.{name} LIMIT 0"
        ))?;
        let mut keep = self.statement(&format!(
            "INSERT INTO temp.eventflux_moved SELECT rowid, * FROM main.{name} WHERE rowid = ?1"
        ))?;
        let mut remove = self.statement(&format!("DELETE FROM main.{name} WHERE rowid = ?1"))?;
        let mut there = Vec::with_capacity(ids.len());
        for id in ids {
            let failed = |error| table.failed(&error);
            keep.execute([id.0 as i64]).map_err(failed)?;
            there.push(remove.execute([id.0 as i64]).map_err(failed)? > 0);
        }
        let all: Vec<usize> = (0..columns.len()).collect();
        let marks = (0..all.len()).map(|i| format!("?{}", i + 2));
        let number = (!table.layout.key_is_rowid).then(|| "rowid".to_string());
        let old_number = number.as_ref().map(|_| "eventflux_rowid".to_string());
        let into: Vec<String> = number
            .into_iter()
            .chain(names(&table.def, &all))
            .chain(table.layout.others.clone())
            .collect();
        let from: Vec<String> = old_number
            .into_iter()
            .chain(marks)
            .chain(table.layout.others.clone())
            .collect();
        let mut put = self.statement(&format!(
            "INSERT INTO main.{name} ({}) SELECT {} FROM temp.eventflux_moved WHERE eventflux_rowid = ?1",
            into.join(", "),
            from.join(", ")
        ))?;
        for (row, id) in ids.iter().enumerate().filter(|(row, _)| there[*row]) {
            let id = ToSqlOutput::from(id.0 as i64);
            let values = std::iter::once(id).chain(columns.iter().map(|column| column.value(row)));
            if let Done::Collides(why) = self.put(&mut put, values)? {
                return Ok(Some((row, why)));
            }
        }
        Ok(None)
    }
}

impl TableWriter for SqliteWriter<'_> {
    fn lookup(&mut self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        self.table.find(&self.connection, access, probe, columns)
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        let sql = self.insert_sql();
        self.put_all(rows, &sql)
    }

    fn upsert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        let def = &self.table.def;
        if def.primary_key.is_empty() {
            return Err(Error::failed(format!(
                "the table '{}' has no primary key to upsert by",
                def.name
            )));
        }
        let fields = def.schema.fields().iter().enumerate();
        let others = fields.filter(|(column, _)| !def.primary_key.contains(column));
        let set: Vec<String> = others
            .map(|(_, field)| format!("{0} = excluded.{0}", quoted(field.name())))
            .collect();
        let action = match set.is_empty() {
            true => "NOTHING".to_string(),
            false => format!("UPDATE SET {}", set.join(", ")),
        };
        let key = names(def, &def.primary_key).join(", ");
        let sql = format!("{} ON CONFLICT ({key}) DO {action}", self.insert_sql());
        self.put_all(rows, &sql)
    }

    fn update(&mut self, ids: &[RowId], rows: &RecordBatch) -> Result<Option<RowError>> {
        let check = self.check(rows)?;
        if ids.len() != rows.num_rows() {
            return Err(Error::failed("an update names another number of rows than it gives"));
        }
        if let Some(fault) = (0..rows.num_rows()).find_map(|row| check.fault(row)) {
            return Ok(Some(fault));
        }
        let columns = self.outgoing(rows)?;
        self.run("SAVEPOINT eventflux_update")?;
        let mut collision = self.update_in_turn(ids, &columns)?;
        if collision.is_some() {
            self.run("ROLLBACK TO eventflux_update")?;
            collision = self.update_at_once(ids, &columns)?;
        }
        if collision.is_some() {
            self.run("ROLLBACK TO eventflux_update")?;
        }
        self.run("RELEASE eventflux_update")?;
        Ok(collision.map(|(row, why)| check.collision(row, &why)))
    }

    fn delete(&mut self, ids: &[RowId]) -> Result<()> {
        let mut statement = self.statement(&format!("DELETE FROM {} WHERE rowid = ?1", self.table.layout.table))?;
        for id in ids {
            statement
                .execute([id.0 as i64])
                .map_err(|error| self.table.failed(&error))?;
        }
        Ok(())
    }

    fn delete_keys(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        let def = &self.table.def;
        let key = def.primary_key.iter().zip(keys);
        let values: Vec<Outgoing> = key
            .map(|(column, values)| Outgoing::new(&def.schema.fields()[*column], values))
            .collect::<Result<_>>()?;
        let names = names(def, &def.primary_key);
        let conditions: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(i, name)| format!("{name} = ?{}", i + 1))
            .collect();
        let sql = format!(
            "DELETE FROM {} WHERE {}",
            self.table.layout.table,
            conditions.join(" AND ")
        );
        let mut statement = self.statement(&sql)?;
        for row in 0..rows {
            // A key that is NULL equals none.
            self.put(&mut statement, values.iter().map(|values| values.value(row)))?;
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        self.run("COMMIT")?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for SqliteWriter<'_> {
    fn drop(&mut self) {
        if self.is_open
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(table = self.table.def.name, %error, "a transaction was not rolled back");
        }
    }
}
