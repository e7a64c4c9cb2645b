//! Lookups in SQLite.

use rusqlite::Connection;

use super::layout::quoted;
use super::values::{Kept, Outgoing, kept};
use super::{Loaded, SqliteTable, Taken};
use crate::error::{Error, Result};
use crate::tables::{Access, Bound, Matches, Probe};

/// Up to so many lookups that no index serves are each a statement; for more the table is loaded.
const FEW: usize = 2;

impl SqliteTable {
    /// What the lookups find, with the rows' numbers.
    pub(super) fn find(
        &self,
        connection: &Connection,
        access: &Access,
        probe: &Probe,
        columns: &[usize],
    ) -> Result<Matches> {
        if self.is_native(access) && (probe.rows <= FEW || self.is_indexed(access)) {
            return self.find_each(connection, access, probe, columns);
        }
        let all: Vec<usize> = (0..self.def.schema.fields().len()).collect();
        let (rows, ids) = self.read_all(connection, &all)?;
        Loaded::new(&self.def, &rows, ids)?.lookup(access, probe, columns)
    }

    /// Whether SQLite compares the values as the engine does.
    fn is_native(&self, access: &Access) -> bool {
        let kept = |column: usize| kept(self.def.schema.field(column).data_type());
        let is_nested = |column: &usize| self.def.schema.field(*column).data_type().is_nested();
        !access.equal.iter().any(is_nested)
            && access
                .range
                .as_ref()
                .is_none_or(|range| kept(range.column) != Kept::Written)
    }

    /// Whether a key or an index begins with columns that the lookup is about.
    fn is_indexed(&self, access: &Access) -> bool {
        let keys = self.def.indexes.iter().chain([&self.def.primary_key]);
        let mut first = keys.filter_map(|columns| columns.first());
        first.any(|column| {
            let range = access.range.as_ref().map(|range| range.column);
            access.equal.contains(column) || range == Some(*column)
        })
    }

    /// A statement for each lookup.
    fn find_each(&self, connection: &Connection, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        let failed = |error| self.failed(&error);
        let mut conditions = Vec::new();
        let mut wanted = Vec::new();
        let fields = self.def.schema.fields();
        let misfit = || Error::failed("a lookup does not fit its table");
        for (&column, values) in access.equal.iter().zip(&probe.equal) {
            conditions.push((column, "="));
            wanted.push(Outgoing::new(&fields[column], values)?);
        }
        if let Some(range) = &access.range {
            let bounds = [
                (range.low, &probe.low, [">=", ">"]),
                (range.high, &probe.high, ["<=", "<"]),
            ];
            for (bound, values, [inclusive, exclusive]) in bounds {
                let Some(bound) = bound else { continue };
                let operator = if bound == Bound::Inclusive {
                    inclusive
                } else {
                    exclusive
                };
                conditions.push((range.column, operator));
                wanted.push(Outgoing::new(
                    &fields[range.column],
                    values.as_ref().ok_or_else(misfit)?,
                )?);
            }
        }
        let mut sql = format!("SELECT {} FROM {}", self.selected(columns), self.layout.table);
        for (i, (column, operator)) in conditions.iter().enumerate() {
            let word = if i == 0 { "WHERE" } else { "AND" };
            let name = quoted(fields[*column].name());
            sql.push_str(&format!(" {word} {name} {operator} ?{}", i + 1));
        }
        sql.push_str(" ORDER BY rowid");
        let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
        let mut taken = Taken::new(self, columns)?;
        let mut probes = Vec::new();
        for row in 0..probe.rows {
            if wanted.iter().any(|values| values.is_null(row)) {
                continue;
            }
            for (i, values) in wanted.iter().enumerate() {
                statement.raw_bind_parameter(i + 1, values.value(row)).map_err(failed)?;
            }
            let mut found = statement.raw_query();
            while let Some(found) = found.next().map_err(failed)? {
                taken.push(found)?;
                probes.push(row as u32);
            }
        }
        Ok(Matches {
            rows: taken.finish()?,
            ids: taken.ids,
            probes,
        })
    }
}
