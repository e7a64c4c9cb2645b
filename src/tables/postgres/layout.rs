//! The table at the server: made if it is not there, else compared with what was declared; and the statements about it.

use deadpool_postgres::Object;

use super::link::Trouble;
use super::values::{Wire, declared};
use crate::catalog::tables::TableDef;
use crate::catalog::types;
use crate::error::Error;
use crate::tables::{Access, Bound};

/// What the table at the server is like.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Schema and name, quoted.
    pub table: String,
    /// In the order declared.
    pub columns: Vec<Column>,
    /// Columns that were not declared, quoted; without those the server computes.
    pub others: Vec<String>,
}

/// A column at the server.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Quoted.
    pub name: String,
    pub wire: Wire,
    /// Its type, as PostgreSQL writes it.
    pub actual: String,
}

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The schema of the table.
pub(super) fn schema(def: &TableDef) -> &str {
    def.options.text("schema").unwrap_or("public")
}

struct Found {
    name: String,
    typname: String,
    actual: String,
    is_generated: bool,
}

/// Finds the table, or makes it.
pub(super) async fn prepare(connection: &Object, def: &TableDef) -> Result<Layout, Trouble> {
    let schema = schema(def);
    let wanted = def.options.text("table").unwrap_or(&def.name);
    let found = match find(connection, schema, wanted).await? {
        Some(found) => found,
        None => {
            create(connection, def, schema, wanted).await?;
            let found = find(connection, schema, wanted).await?;
            found.ok_or_else(|| Error::failed(format!("there is no table '{wanted}' in the schema '{schema}'")))?
        }
    };
    let (oid, name, kind) = found;
    if !matches!(kind, b'r' | b'p') {
        return Err(mismatch(&name, "it is not a table"));
    }
    let columns = columns(connection, oid).await?;
    let layout = Layout {
        table: format!("{}.{}", quoted(schema), quoted(&name)),
        columns: compare(def, &name, &columns)?,
        others: others(def, &columns),
    };
    let indexes = indexes(connection, oid).await?;
    let names = |columns: &[usize]| -> Vec<&str> {
        let names = columns.iter().map(|column| layout.columns[*column].name.as_str());
        names.collect()
    };
    let mut key = names(&def.primary_key);
    key.sort();
    let is_key = |(is_unique, columns): &(bool, Vec<String>)| {
        let mut columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        columns.sort();
        *is_unique && columns == key
    };
    if !key.is_empty() && !indexes.iter().any(is_key) {
        let what = format!("it has neither primary key nor unique index on ({})", key.join(", "));
        return Err(mismatch(&name, &what));
    }
    for index in &def.indexes {
        let wanted = names(index);
        let begins = |(_, columns): &(bool, Vec<String>)| {
            columns.len() >= wanted.len() && columns.iter().zip(&wanted).all(|(have, want)| have == want)
        };
        if !indexes.iter().any(begins) {
            let plain: Vec<&str> = index
                .iter()
                .map(|column| def.schema.field(*column).name().as_str())
                .collect();
            let index = quoted(&format!("{name}_by_{}", plain.join("_")));
            let sql = format!(
                "CREATE INDEX IF NOT EXISTS {index} ON {} ({})",
                layout.table,
                wanted.join(", ")
            );
            connection.batch_execute(&sql).await?;
        }
    }
    Ok(layout)
}

/// The table of a name: exactly, else in other case if there is one such.
async fn find(connection: &Object, schema: &str, name: &str) -> Result<Option<(u32, String, u8)>, Trouble> {
    let sql = "SELECT c.oid, c.relname::text, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND lower(c.relname) = lower($2) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
               ORDER BY c.relname = $2 DESC";
    let rows = connection.query(sql, &[&schema, &name]).await?;
    let row = match rows.as_slice() {
        [] => return Ok(None),
        [only] => only,
        [first, ..] if first.try_get::<_, String>(1)? == name => first,
        _ => {
            let what = format!("several tables in '{schema}' are called '{name}' but for upper and lower case");
            return Err(Error::failed(what).into());
        }
    };
    let kind: i8 = row.try_get(2)?;
    Ok(Some((row.try_get(0)?, row.try_get(1)?, kind as u8)))
}

async fn create(connection: &Object, def: &TableDef, schema: &str, name: &str) -> Result<(), Trouble> {
    let is_indexed =
        |column: &usize| def.primary_key.contains(column) || def.indexes.iter().flatten().any(|of| of == column);
    let fields = def.schema.fields().iter().enumerate();
    let mut parts: Vec<String> = fields
        .map(|(column, field)| {
            let null = if field.is_nullable() { "" } else { " NOT NULL" };
            let of = declared(field, is_indexed(&column));
            format!("{} {of}{null}", quoted(field.name()))
        })
        .collect();
    if !def.primary_key.is_empty() {
        let key = def
            .primary_key
            .iter()
            .map(|column| quoted(def.schema.field(*column).name()));
        parts.push(format!("PRIMARY KEY ({})", key.collect::<Vec<_>>().join(", ")));
    }
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {}.{} ({})",
        quoted(schema),
        quoted(name),
        parts.join(", ")
    );
    match connection.batch_execute(&sql).await.map_err(Trouble::from) {
        // Somebody else made it at the same moment.
        Err(Trouble::Refused(..)) => Ok(()),
        other => other,
    }
}

async fn columns(connection: &Object, table: u32) -> Result<Vec<Found>, Trouble> {
    let sql = "SELECT a.attname::text, t.typname::text, format_type(a.atttypid, a.atttypmod), \
               a.attgenerated <> '' OR a.attidentity = 'a' \
               FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
               WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = connection.query(sql, &[&table]).await?;
    let columns = rows.iter().map(|row| {
        Ok(Found {
            name: row.try_get(0)?,
            typname: row.try_get(1)?,
            actual: row.try_get(2)?,
            is_generated: row.try_get(3)?,
        })
    });
    columns.collect()
}

/// The indexes of a table: whether each is unique and whole, and its columns, quoted.
async fn indexes(connection: &Object, table: u32) -> Result<Vec<(bool, Vec<String>)>, Trouble> {
    let sql = "SELECT i.indisunique AND i.indpred IS NULL AND i.indimmediate AND i.indisvalid, \
               array(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey[0:i.indnkeyatts-1]) WITH ORDINALITY AS k(n, place) \
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY k.place) \
               FROM pg_index i WHERE i.indrelid = $1";
    let rows = connection.query(sql, &[&table]).await?;
    let indexes = rows.iter().map(|row| {
        let columns: Vec<String> = row.try_get(1)?;
        Ok((row.try_get(0)?, columns.iter().map(|name| quoted(name)).collect()))
    });
    indexes.collect()
}

fn position(def: &TableDef, name: &str) -> Option<usize> {
    let fields = def.schema.fields();
    let exact = fields.iter().position(|field| field.name() == name);
    exact.or_else(|| fields.iter().position(|field| field.name().eq_ignore_ascii_case(name)))
}

fn compare(def: &TableDef, table: &str, columns: &[Found]) -> Result<Vec<Column>, Trouble> {
    let compared = def.schema.fields().iter().map(|field| {
        let exact = columns.iter().find(|column| column.name == *field.name());
        let found = exact.or_else(|| {
            let mut similar = columns
                .iter()
                .filter(|column| column.name.eq_ignore_ascii_case(field.name()));
            similar.next().filter(|_| similar.next().is_none())
        });
        let Some(found) = found else {
            return Err(mismatch(table, &format!("it has no column '{}'", field.name())));
        };
        let wire = Wire::of(field);
        if !wire.fits(&found.typname) {
            let what = format!(
                "its column '{}' is {} and holds no {}; {} would",
                field.name(),
                found.actual,
                types::name(field.data_type()),
                declared(field, false)
            );
            return Err(mismatch(table, &what));
        }
        Ok(Column {
            name: quoted(&found.name),
            wire,
            actual: found.actual.clone(),
        })
    });
    compared.collect()
}

fn others(def: &TableDef, columns: &[Found]) -> Vec<String> {
    let others = columns
        .iter()
        .filter(|column| position(def, &column.name).is_none() && !column.is_generated);
    others.map(|column| quoted(&column.name)).collect()
}

fn mismatch(table: &str, what: &str) -> Trouble {
    Error::failed(format!("its table '{table}' does not fit: {what}")).into()
}

impl Layout {
    /// Array parameters as a relation `p (c0, c1, …, n)`, the first numbered `from`.
    fn parameters(&self, columns: &[usize], from: usize) -> String {
        let arrays = columns.iter().enumerate().map(|(i, column)| {
            let column = &self.columns[*column];
            format!("${}::{}[]", i + from, column.wire.parameter(&column.actual))
        });
        let names: Vec<String> = (0..columns.len()).map(|i| format!("c{i}")).collect();
        format!(
            "unnest({}) WITH ORDINALITY AS p({}, n)",
            arrays.collect::<Vec<_>>().join(", "),
            names.join(", ")
        )
    }

    fn all(&self) -> Vec<usize> {
        (0..self.columns.len()).collect()
    }

    fn names(&self, columns: &[usize]) -> Vec<String> {
        columns
            .iter()
            .map(|column| self.columns[*column].name.clone())
            .collect()
    }

    /// The `i`th parameter as a value of a column.
    fn value(&self, column: usize, i: usize) -> String {
        let column = &self.columns[column];
        column.wire.value(&format!("p.c{i}"), &column.actual)
    }

    fn condition(&self, column: usize, i: usize, operator: &str) -> String {
        let name = format!("t.{}", self.columns[column].name);
        match (self.columns[column].wire, operator) {
            (Wire::Json, _) => format!("{name}::text {operator} p.c{i}"),
            (Wire::Text, "=") => format!("{name} = p.c{i}"),
            // The order of the engine is that of the bytes.
            (Wire::Text, _) => format!("{name} COLLATE \"C\" {operator} p.c{i} COLLATE \"C\""),
            _ => format!("{name} {operator} {}", self.value(column, i)),
        }
    }

    /// Finds rows for lookups: number of the lookup, name of the row, columns.
    pub fn lookup(&self, access: &Access, columns: &[usize], lock: Lock) -> String {
        let mut about = access.equal.clone();
        let mut conditions: Vec<String> = Vec::new();
        for (i, column) in access.equal.iter().enumerate() {
            conditions.push(self.condition(*column, i, "="));
        }
        if let Some(range) = &access.range {
            for (bound, inclusive, exclusive) in [(range.low, ">=", ">"), (range.high, "<=", "<")] {
                let Some(bound) = bound else { continue };
                let operator = if bound == Bound::Inclusive {
                    inclusive
                } else {
                    exclusive
                };
                conditions.push(self.condition(range.column, about.len(), operator));
                about.push(range.column);
            }
        }
        let selected = columns.iter().map(|column| {
            let column = &self.columns[*column];
            format!(", {}", column.wire.selected(&format!("t.{}", column.name)))
        });
        let (from, on) = match about.is_empty() {
            true => ("generate_series(1, $1::bigint) AS p(n)".to_string(), "true".to_string()),
            false => (self.parameters(&about, 1), conditions.join(" AND ")),
        };
        let lock = match lock {
            Lock::None => "",
            Lock::Rows => " FOR UPDATE OF t",
        };
        format!(
            "SELECT p.n, t.ctid{} FROM {from} JOIN {} t ON {on} ORDER BY p.n{lock}",
            selected.collect::<String>(),
            self.table
        )
    }

    /// All rows.
    pub fn scan(&self, columns: &[usize]) -> String {
        let selected = columns.iter().map(|column| {
            let column = &self.columns[*column];
            column.wire.selected(&column.name)
        });
        let selected: Vec<String> = std::iter::once("1".to_string()).chain(selected).collect();
        format!("SELECT {} FROM {}", selected.join(", "), self.table)
    }

    /// Adds rows. `key`: those whose key is there are passed over.
    pub fn insert(&self, key: &[usize]) -> String {
        let all = self.all();
        let values: Vec<String> = all.iter().map(|column| self.value(*column, *column)).collect();
        let conflict = match key {
            [] => String::new(),
            key => format!(" ON CONFLICT ({}) DO NOTHING", self.names(key).join(", ")),
        };
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY p.n{conflict}",
            self.table,
            self.names(&all).join(", "),
            values.join(", "),
            self.parameters(&all, 1)
        )
    }

    /// Adds rows, or gives those that are there new values.
    pub fn upsert(&self, key: &[usize]) -> String {
        let others = self.all().into_iter().filter(|column| !key.contains(column));
        let set: Vec<String> = others
            .map(|column| format!("{0} = excluded.{0}", self.columns[column].name))
            .collect();
        match set.is_empty() {
            true => self.insert(key),
            false => {
                let plain = self.insert(&[]);
                let key = self.names(key).join(", ");
                format!("{plain} ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "))
            }
        }
    }

    /// Gives rows, named by the last parameter, new values.
    pub fn update(&self) -> String {
        let all = self.all();
        let set = all
            .iter()
            .map(|column| format!("{} = {}", self.columns[*column].name, self.value(*column, *column)));
        format!(
            "UPDATE {} t SET {} FROM {} WHERE t.ctid = p.id",
            self.table,
            set.collect::<Vec<_>>().join(", "),
            self.named()
        )
    }

    /// The rows of an update and their names.
    fn named(&self) -> String {
        let all = self.all();
        let arrays = all.iter().enumerate().map(|(i, column)| {
            let column = &self.columns[*column];
            format!("${}::{}[]", i + 1, column.wire.parameter(&column.actual))
        });
        let arrays: Vec<String> = arrays.chain([format!("${}::tid[]", all.len() + 1)]).collect();
        let names: Vec<String> = (0..all.len()).map(|i| format!("c{i}")).collect();
        format!("unnest({}) AS p({}, id)", arrays.join(", "), names.join(", "))
    }

    /// The statements that give rows new values at once, so that keys can change places: rows are put aside (parameter: their
    /// names), taken out (the same), and put back (parameters as for [`Layout::update`]). Columns that were not declared keep
    /// their values.
    pub fn update_at_once(&self) -> [String; 4] {
        let all = self.all();
        let kept: Vec<String> = self.others.iter().map(|name| format!(", {name}")).collect();
        let moved: Vec<String> = self.others.iter().map(|name| format!(", m.{name}")).collect();
        let values: Vec<String> = all.iter().map(|column| self.value(*column, *column)).collect();
        [
            format!(
                "CREATE TEMP TABLE IF NOT EXISTS eventflux_moved ON COMMIT DROP AS \
                 SELECT ctid AS eventflux_id{} FROM {} LIMIT 0",
                kept.concat(),
                self.table
            ),
            format!(
                "INSERT INTO eventflux_moved SELECT ctid{} FROM {} WHERE ctid = ANY($1::tid[])",
                kept.concat(),
                self.table
            ),
            self.delete(),
            format!(
                "INSERT INTO {} ({}{}) SELECT {}{} FROM {} JOIN eventflux_moved m ON m.eventflux_id = p.id",
                self.table,
                self.names(&all).join(", "),
                kept.concat(),
                values.join(", "),
                moved.concat(),
                self.named()
            ),
        ]
    }

    /// Removes rows by name.
    pub fn delete(&self) -> String {
        format!("DELETE FROM {} WHERE ctid = ANY($1::tid[])", self.table)
    }

    /// Removes rows by key.
    pub fn delete_keys(&self, key: &[usize]) -> String {
        let conditions: Vec<String> = key
            .iter()
            .enumerate()
            .map(|(i, column)| self.condition(*column, i, "="))
            .collect();
        format!(
            "DELETE FROM {} t USING {} WHERE {}",
            self.table,
            self.parameters(key, 1),
            conditions.join(" AND ")
        )
    }
}

/// Whether rows that are found are locked until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    None,
    Rows,
}
