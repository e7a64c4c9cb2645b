//! `postgres`: a table in a PostgreSQL database.
//!
//! A batch of lookups is one round trip: the values travel as arrays and are joined with the table. A transaction of the engine
//! is one of the server's; it locks the rows that it reads (`FOR UPDATE`), so that nobody, in this process or another, changes
//! what it computes with. Rows are named by their place (`ctid`), which holds within the transaction.
//!
//! The engine's threads wait; the protocol runs on a thread of its own.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use deadpool_postgres::Object;
use futures_core::Stream;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;

use super::registry::{Opening, TableBackend};
use super::rows::project;
use super::{Access, Matches, Probe, Table, TableWriter};
use crate::catalog::tables::TableDef;
use crate::config::options::{OptionKind, OptionSpec};
use crate::error::{Diagnostic, Error, Result};
use crate::event::Clock;
use crate::operators::state::{StateReader, StateWriter};

mod front;
mod layout;
mod link;
mod live;
mod marks;
mod values;
mod writer;

use front::Front;
use layout::{Layout, Lock};
use link::{Link, Trouble};
use live::borrowed;
use marks::Marks;
use values::{Incoming, Parameter, parameter};
use writer::PostgresWriter;

/// Rows of one batch of a scan.
const ROWS: usize = 8192;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        OptionKind::Text,
        "The server and database: postgresql://user:password@host:5432/database. Instead of it, or over it, the options below.",
    )
    .secret(),
    OptionSpec::new("host", OptionKind::Text, "The server, or the folder of its socket; without url localhost."),
    OptionSpec::new("port", OptionKind::Integer { min: 1, max: 65_535 }, "Its port; by default 5432."),
    OptionSpec::new("user", OptionKind::Text, "Who connects; by default postgres."),
    OptionSpec::new("password", OptionKind::Text, "The user's password.").secret(),
    OptionSpec::new("database", OptionKind::Text, "The database; by default the one called like the user."),
    OptionSpec::new("schema", OptionKind::Text, "The schema of the table.").default("public"),
    OptionSpec::new(
        "table",
        OptionKind::Text,
        "The table in the database, made if it is missing; by default the name of the table in the app.",
    ),
    OptionSpec::new(
        "max_connections",
        OptionKind::Integer { min: 1, max: 1_000 },
        "How many connections there may be at once; who needs one more waits.",
    )
    .default("4"),
    OptionSpec::new("connect.timeout", OptionKind::Duration, "How long to wait for one connection.").default("10 seconds"),
    OptionSpec::new(
        "retry.timeout",
        OptionKind::Duration,
        "How long to try again when the server is away, before the app stops.",
    )
    .default("30 seconds"),
    OptionSpec::new(
        "tls",
        OptionKind::Choice(&["disable"]),
        "Whether connections are encrypted.",
    )
    .default("disable"),
    OptionSpec::new(
        "cache.max_size",
        OptionKind::Integer { min: 1, max: i64::MAX },
        "How many rows found by the primary key are kept here, the most recently used ones. What other programs change is \
         seen after cache.ttl.",
    ),
    OptionSpec::new("cache.ttl", OptionKind::Duration, "How long rows are kept here.").default("1 minute"),
];

/// The backend `postgres`.
#[derive(Debug, Default)]
pub struct Postgres {
    /// Made with the first table, shared by all.
    runtime: Mutex<Option<Arc<Runtime>>>,
}

impl Postgres {
    fn runtime(&self) -> Result<Arc<Runtime>> {
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.clone());
        }
        let made = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|error| Error::io("the thread for PostgreSQL cannot be started", error))?;
        Ok(runtime.insert(Arc::new(made)).clone())
    }
}

impl TableBackend for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn doc(&self) -> &'static str {
        "Keeps rows in a PostgreSQL database, which other programs may read and write, too."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn check(&self, def: &TableDef) -> Result<(), Diagnostic> {
        link::config(&def.options)?;
        if def.options.integer("cache.max_size").is_some() && def.primary_key.is_empty() {
            let error = def.options.invalid("cache.max_size", "the table has no primary key");
            return Err(error.hint("rows are kept by their primary key: declare one"));
        }
        Ok(())
    }

    fn open(&self, def: TableDef, opening: &Opening) -> Result<Arc<dyn Table>> {
        let link = Link::new(&def, self.runtime()?)?;
        let (layout, marks) = link.reading(|connection| {
            let def = &def;
            async move {
                let layout = layout::prepare(&connection, def).await?;
                let schema = layout::schema(def);
                Ok((layout, Marks::prepare(&connection, schema).await?))
            }
        })?;
        Ok(Arc::new(PostgresTable {
            front: Front::new(&def, opening)?,
            clock: opening.clock.clone(),
            link,
            layout,
            marks,
            last: Mutex::new(0),
            def,
        }))
    }
}

/// A table in a database.
#[derive(Debug)]
pub struct PostgresTable {
    def: TableDef,
    layout: Layout,
    link: Link,
    front: Option<Front>,
    clock: Arc<dyn Clock>,
    marks: Option<Marks>,
    /// The number of the last commit; held by the writer whose turn it is.
    last: Mutex<i64>,
}

impl PostgresTable {
    /// All columns of rows as parameters.
    fn parameters(&self, rows: &RecordBatch) -> Result<Vec<Parameter>> {
        let columns = self.def.schema.fields().iter().zip(rows.columns());
        columns.map(|(field, values)| parameter(field, values)).collect()
    }

    /// What the lookups find, with the rows' names. `before` is executed first, in the same round trip.
    async fn find(
        &self,
        connection: &Object,
        before: &str,
        access: &Access,
        probe: &Probe,
        columns: &[usize],
        lock: Lock,
    ) -> Result<Matches, Trouble> {
        let fields = self.def.schema.fields();
        let equal = access.equal.iter().zip(&probe.equal);
        let mut parameters: Vec<Parameter> = equal
            .map(|(column, values)| parameter(&fields[*column], values))
            .collect::<Result<_>>()?;
        if let Some(range) = &access.range {
            for (bound, values) in [(range.low, &probe.low), (range.high, &probe.high)] {
                if let (Some(_), Some(values)) = (bound, values) {
                    parameters.push(parameter(&fields[range.column], values)?);
                }
            }
        }
        if parameters.is_empty() {
            parameters.push(Box::new(probe.rows as i64));
        }
        let statement = connection
            .prepare_cached(&self.layout.lookup(access, columns, lock))
            .await?;
        let parameters = borrowed(&parameters);
        let prepare = async {
            match before.is_empty() {
                true => Ok(()),
                false => connection.batch_execute(before).await,
            }
        };
        let (prepared, rows) = tokio::join!(biased; prepare, connection.query(&statement, &parameters));
        prepared?;
        let rows = rows?;
        let mut values: Vec<Incoming> = columns
            .iter()
            .map(|column| Incoming::new(&fields[*column]))
            .collect::<Result<_>>()?;
        let (mut probes, mut ids) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in &rows {
            let number: i64 = row.try_get(0)?;
            probes.push(u32::try_from(number - 1).map_err(Error::failed)?);
            ids.push(values::place(row, 1)?);
            for (i, values) in values.iter_mut().enumerate() {
                values.push(row, i + 2)?;
            }
        }
        Ok(Matches {
            rows: self.finish(columns, &mut values, probes.len())?,
            probes,
            ids,
        })
    }

    fn finish(&self, columns: &[usize], values: &mut [Incoming], rows: usize) -> Result<RecordBatch> {
        let values: Vec<ArrayRef> = values.iter_mut().map(Incoming::finish).collect::<Result<_>>()?;
        project(&self.def.schema, columns, values, rows)
    }

    async fn read_all(&self, connection: &Object, columns: &[usize]) -> Result<Vec<RecordBatch>, Trouble> {
        let statement = connection.prepare_cached(&self.layout.scan(columns)).await?;
        let none: [&(dyn ToSql + Sync); 0] = [];
        let rows = connection.query_raw(&statement, none).await?;
        let mut rows = std::pin::pin!(rows);
        let fields = self.def.schema.fields();
        let mut values: Vec<Incoming> = columns
            .iter()
            .map(|column| Incoming::new(&fields[*column]))
            .collect::<Result<_>>()?;
        let (mut batches, mut taken) = (Vec::new(), 0);
        while let Some(row) = std::future::poll_fn(|context| rows.as_mut().poll_next(context)).await {
            let row = row?;
            for (i, values) in values.iter_mut().enumerate() {
                values.push(&row, i + 1)?;
            }
            taken += 1;
            if taken == ROWS {
                batches.push(self.finish(columns, &mut values, taken)?);
                taken = 0;
            }
        }
        if taken > 0 {
            batches.push(self.finish(columns, &mut values, taken)?);
        }
        Ok(batches)
    }

    /// Looks up at the server.
    fn ask(&self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        if probe.rows == 0 {
            return Ok(Matches {
                probes: Vec::new(),
                rows: RecordBatch::new_empty(Arc::new(self.def.schema.project(columns)?)),
                ids: Vec::new(),
            });
        }
        self.link
            .reading(|connection| async move { self.find(&connection, "", access, probe, columns, Lock::None).await })
    }

    /// Forgets rows that were written and are kept here: those with these keys, or all.
    fn forget(&self, keys: Option<&[Vec<ArrayRef>]>) {
        if let Some(front) = &self.front {
            front.forget(keys);
        }
    }
}

impl Table for PostgresTable {
    fn def(&self) -> &TableDef {
        &self.def
    }

    fn lookup(&self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        let found = match &self.front {
            Some(front) if access.range.is_none() && access.equal == self.def.primary_key => {
                front.lookup(access, probe, columns, |probe, all| self.ask(access, probe, all))?
            }
            _ => self.ask(access, probe, columns)?,
        };
        Ok(Matches {
            ids: Vec::new(),
            ..found
        })
    }

    fn scan(&self, columns: &[usize]) -> Result<Vec<RecordBatch>> {
        self.link
            .reading(|connection| async move { self.read_all(&connection, columns).await })
    }

    fn len(&self) -> Result<usize> {
        let sql = format!("SELECT count(*) FROM {}", self.layout.table);
        let sql = &sql;
        let count: i64 = self.link.reading(|connection| async move {
            let statement = connection.prepare_cached(sql).await?;
            Ok(connection.query_one(&statement, &[]).await?.try_get(0)?)
        })?;
        usize::try_from(count).map_err(Error::failed)
    }

    fn write(&self) -> Result<Box<dyn TableWriter + '_>> {
        Ok(Box::new(PostgresWriter::new(self, self.last.lock())))
    }

    fn snapshot(&self, _state: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    fn restore(&self, _state: &mut StateReader) -> Result<()> {
        Ok(())
    }
}
