//! Tables for tests: declared in a line, filled and read as lines of JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use eventflux::catalog::tables::TableDef;
use eventflux::catalog::types;
use eventflux::config::options::{Options, RawOption};
use eventflux::error::RowError;
use eventflux::event::{Clock, EventBatch, SystemClock, Times, VirtualClock};
use eventflux::formats::json::JsonFormat;
use eventflux::formats::{Block, DecodeSchema, Format, FrameKind};
use eventflux::tables::registry::{Backends, Opening};
use eventflux::tables::{Access, Bound, Matches, Probe, RangeAccess, Refused, RowId, Table, TableWriter};
use eventflux_sqlparser::StatementKind;

use crate::support::Scratch;

/// A table's columns, keys and indexes.
#[derive(Clone, Default)]
pub struct Shape {
    columns: Vec<(String, String)>,
    key: Vec<String>,
    indexes: Vec<Vec<String>>,
}

fn names(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_string).collect()
}

impl Shape {
    /// `id INT, name STRING NOT NULL`.
    pub fn of(columns: &str) -> Self {
        let columns = columns.split(", ").map(|column| {
            let (name, of) = column.trim().split_once(' ').expect("a name and a type");
            (name.to_string(), of.to_string())
        });
        Shape {
            columns: columns.collect(),
            ..Shape::default()
        }
    }

    /// With one more column, of any type.
    pub fn with(mut self, name: &str, of: &str) -> Self {
        self.columns.push((name.to_string(), of.to_string()));
        self
    }

    /// With a primary key: `id`, or `a b`.
    pub fn key(mut self, columns: &str) -> Self {
        self.key = names(columns);
        self
    }

    /// With an index.
    pub fn index(mut self, columns: &str) -> Self {
        self.indexes.push(names(columns));
        self
    }

    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(name, of)| {
            let nullable = !of.ends_with(" NOT NULL") && !self.key.contains(name);
            let of = of.trim_end_matches(" NOT NULL");
            types::field(name, &sql_type(of), nullable).expect("a type of ours")
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

fn sql_type(of: &str) -> sqlparser::ast::DataType {
    let statements = eventflux_sqlparser::parse(&format!("CREATE STREAM S (v {of})")).expect("a type");
    match statements.into_iter().next().map(|statement| statement.kind) {
        Some(StatementKind::CreateStream(stream)) => stream.columns[0].data_type.clone(),
        _ => unreachable!("it is a stream"),
    }
}

/// Opens tables of one backend.
pub struct Maker {
    pub backend: &'static str,
    pub clock: Arc<VirtualClock>,
    scratch: Scratch,
}

static TABLES: AtomicUsize = AtomicUsize::new(0);

impl Maker {
    pub fn new(backend: &'static str) -> Self {
        Maker {
            backend,
            clock: Arc::new(VirtualClock::new(0)),
            scratch: Scratch::new(),
        }
    }

    /// The options that this backend needs.
    fn place(&self) -> Vec<(String, String)> {
        match self.backend {
            "sqlite" => {
                let path = self.scratch.path("tables.db").display().to_string();
                vec![("path".to_string(), path)]
            }
            #[cfg(feature = "postgres")]
            "postgres" => vec![("url".to_string(), super::server::Server::shared().url())],
            _ => Vec::new(),
        }
    }

    /// Whether each transaction goes over a network.
    pub fn is_remote(&self) -> bool {
        self.backend == "postgres"
    }

    /// Whether several rows that one lookup finds come in the order they were inserted.
    pub fn is_ordered(backend: &str) -> bool {
        backend != "postgres"
    }

    /// The definition of a table, with the options given last.
    pub fn def(&self, name: &str, shape: &Shape, options: &[(&str, &str)]) -> TableDef {
        let given = options.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let is_given = |name: &str| options.iter().any(|(key, _)| *key == name);
        let place = self.place().into_iter().filter(|(name, _)| !is_given(name));
        let raw: Vec<RawOption> = place
            .chain(given)
            .map(|(key, value)| RawOption::new(key, value))
            .collect();
        let backends = Backends::builtin();
        let backend = backends.get(self.backend).unwrap();
        let schema = shape.schema();
        let place = |name: &String| schema.index_of(name).unwrap();
        TableDef {
            name: name.to_string(),
            primary_key: shape.key.iter().map(place).collect(),
            indexes: shape
                .indexes
                .iter()
                .map(|index| index.iter().map(place).collect())
                .collect(),
            backend: self.backend.to_string(),
            settings: Options::default(),
            options: Options::check(self.backend, backend.options(), &raw).unwrap(),
            raw,
            span: None,
            schema: schema.clone(),
        }
    }

    pub fn open_named(&self, name: &str, shape: &Shape, options: &[(&str, &str)]) -> eventflux::Result<Arc<dyn Table>> {
        let clock: Arc<dyn Clock> = match self.backend {
            "cache" => self.clock.clone(),
            _ => Arc::new(SystemClock),
        };
        let def = self.def(name, shape, options);
        let backends = Backends::builtin();
        backends.check(&def)?;
        backends.open(def, &Opening { clock })
    }

    /// A table at another server.
    #[cfg(feature = "postgres")]
    pub fn open_at(&self, url: &str, name: &str, shape: &Shape, options: &[(&str, &str)]) -> Arc<dyn Table> {
        let options: Vec<_> = [("url", url)].into_iter().chain(options.iter().copied()).collect();
        self.open_named(name, shape, &options).unwrap()
    }

    /// A table in another file.
    #[cfg(feature = "sqlite")]
    pub fn open_at_path(&self, path: &str, name: &str, shape: &Shape) -> eventflux::Result<Arc<dyn Table>> {
        self.open_named(name, shape, &[("path", path)])
    }

    /// A new table of its own.
    pub fn open_with(&self, shape: &Shape, options: &[(&str, &str)]) -> Arc<dyn Table> {
        let name = format!("t{}", TABLES.fetch_add(1, Ordering::Relaxed));
        self.open_named(&name, shape, options).unwrap()
    }

    pub fn open(&self, shape: &Shape) -> Arc<dyn Table> {
        self.open_with(shape, &[])
    }
}

/// The backends that are compiled in.
pub const BACKENDS: &[&str] = &[
    "memory",
    "cache",
    #[cfg(feature = "sqlite")]
    "sqlite",
    #[cfg(feature = "postgres")]
    "postgres",
];

/// Runs a test for every backend, and says which one fails.
pub fn each_backend(test: impl Fn(&Maker) + std::panic::RefUnwindSafe) {
    for backend in BACKENDS {
        let maker = Maker::new(backend);
        let run = std::panic::AssertUnwindSafe(|| test(&maker));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("the backend is {backend}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Lines of JSON as rows of a schema.
pub fn rows_of(schema: &SchemaRef, lines: &[&str]) -> RecordBatch {
    let options = Options::check("json", JsonFormat.options(), &[]).unwrap();
    let mut decoder = JsonFormat
        .decoder(&DecodeSchema::all(schema.clone()), &options)
        .unwrap();
    let block = Block {
        bytes: lines.join("\n").into_bytes(),
        first_line: 1,
        layout: None,
        kind: FrameKind::Records,
    };
    let decoded = decoder.decode(&block).unwrap();
    assert!(decoded.errors.is_empty(), "{:?}", decoded.errors);
    decoded.columns
}

/// Lines of JSON as rows of a table: what is NOT NULL there may be NULL here.
pub fn rows(table: &dyn Table, lines: &[&str]) -> RecordBatch {
    let fields = table.def().schema.fields().iter();
    let fields: Vec<_> = fields.map(|field| field.as_ref().clone().with_nullable(true)).collect();
    rows_of(&Arc::new(Schema::new(fields)), lines)
}

/// Rows as lines of JSON, quotes taken out: `{id:1,s:a}`.
pub fn lines(rows: &RecordBatch) -> Vec<String> {
    let options = Options::check("json", JsonFormat.options(), &[]).unwrap();
    let mut encoder = JsonFormat.encoder(&rows.schema(), &options).unwrap();
    let mut out = Vec::new();
    encoder
        .encode(&EventBatch::inserts(rows.clone(), Times::Same(0)), &mut out)
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| line.replace('"', "")).collect()
}

pub fn all_columns(table: &dyn Table) -> Vec<usize> {
    (0..table.def().schema.fields().len()).collect()
}

/// All rows, sorted.
pub fn content(table: &dyn Table) -> Vec<String> {
    let batches = table.scan(&all_columns(table)).unwrap();
    let mut content: Vec<String> = batches.iter().flat_map(lines).collect();
    content.sort();
    assert_eq!(table.len().unwrap(), content.len());
    content
}

/// What is looked for: columns that must be equal, and bounds: `id`, `v >= <`.
pub fn access(table: &dyn Table, text: &str) -> Access {
    let schema = &table.def().schema;
    let mut access = Access::default();
    for part in text.split(", ").filter(|part| !part.is_empty()) {
        let mut words = part.split_whitespace();
        let column = schema.index_of(words.next().expect("a column")).unwrap();
        let bounds: Vec<&str> = words.collect();
        if bounds.is_empty() {
            access.equal.push(column);
            continue;
        }
        let bound = |inclusive: &str, exclusive: &str| {
            let with = |text: &str| bounds.contains(&text);
            match (with(inclusive), with(exclusive)) {
                (true, _) => Some(Bound::Inclusive),
                (_, true) => Some(Bound::Exclusive),
                _ => None,
            }
        };
        access.range = Some(RangeAccess {
            column,
            low: bound(">=", ">"),
            high: bound("<=", "<"),
        });
    }
    access
}

/// The values to look for: rows of a table, of which `low` has the lower bounds and `high` the upper ones.
pub fn probe_between(table: &dyn Table, access: &Access, low: &[&str], high: &[&str]) -> Probe {
    let (low, high) = (rows(table, low), rows(table, high));
    assert_eq!(low.num_rows(), high.num_rows());
    let range = access.range.as_ref();
    let bound = |bound: Option<Bound>, rows: &RecordBatch| -> Option<ArrayRef> {
        bound.map(|_| rows.column(range.expect("a range").column).clone())
    };
    Probe {
        rows: low.num_rows(),
        equal: access.equal.iter().map(|column| low.column(*column).clone()).collect(),
        low: bound(range.and_then(|range| range.low), &low),
        high: bound(range.and_then(|range| range.high), &high),
    }
}

pub fn probe(table: &dyn Table, access: &Access, values: &[&str]) -> Probe {
    probe_between(table, access, values, values)
}

/// What lookups found: a line a row, with the lookup's number before it, and the rows' names if there are any. Where the
/// backend knows no order of rows they are sorted.
fn shown(table: &dyn Table, matches: &Matches) -> (Vec<String>, Vec<RowId>) {
    assert_eq!(matches.probes.len(), matches.rows.num_rows());
    assert!(matches.probes.is_sorted());
    let lines = lines(&matches.rows);
    let ids = matches.ids.iter().map(Some).chain(std::iter::repeat(None));
    let mut rows: Vec<_> = matches.probes.iter().zip(lines).zip(ids).collect();
    if !Maker::is_ordered(&table.def().backend) {
        rows.sort();
    }
    let lines = rows
        .iter()
        .map(|((probe, line), _)| format!("{probe}: {line}"))
        .collect();
    (lines, rows.iter().filter_map(|(_, id)| id.copied()).collect())
}

/// What was found, in the order in which a backend is expected to find it.
pub fn in_order<S: AsRef<str>>(table: &dyn Table, found: &[S]) -> Vec<String> {
    let mut found: Vec<String> = found.iter().map(|line| line.as_ref().to_string()).collect();
    if !Maker::is_ordered(&table.def().backend) {
        found.sort_by_key(|line| {
            let probe: Option<usize> = line.split(':').next().and_then(|probe| probe.parse().ok());
            (probe, line.clone())
        });
    }
    found
}

/// Looks values up; also that `contains` says the same.
pub fn find(table: &dyn Table, text: &str, values: &[&str]) -> Vec<String> {
    find_between(table, text, values, values)
}

pub fn find_between(table: &dyn Table, text: &str, low: &[&str], high: &[&str]) -> Vec<String> {
    let access = access(table, text);
    let probe = probe_between(table, &access, low, high);
    let matches = table.lookup(&access, &probe, &all_columns(table)).unwrap();
    assert!(matches.ids.is_empty());
    let contained = table.contains(&access, &probe).unwrap();
    for (row, contained) in contained.into_iter().enumerate() {
        assert_eq!(contained, matches.probes.contains(&(row as u32)), "lookup {row}");
    }
    shown(table, &matches).0
}

/// Looks values up in a transaction.
pub fn find_in(
    table: &dyn Table,
    writer: &mut dyn TableWriter,
    text: &str,
    values: &[&str],
) -> (Vec<String>, Vec<RowId>) {
    let access = access(table, text);
    let probe = probe(table, &access, values);
    let matches = writer.lookup(&access, &probe, &all_columns(table)).unwrap();
    assert_eq!(matches.ids.len(), matches.probes.len());
    shown(table, &matches)
}

pub fn messages(refused: &Refused) -> Vec<String> {
    let messages = refused.iter().map(|(row, error)| format!("{row}: {}", message(error)));
    messages.collect()
}

/// The message without the table's name.
pub fn message(error: &RowError) -> String {
    let (table, rest) = error.message.split_once(": ").expect("a table's name");
    assert!(table.starts_with("table "), "{table}");
    rest.to_string()
}

/// Inserts and commits, none refused.
pub fn insert(table: &dyn Table, lines: &[&str]) {
    assert_eq!(messages(&try_insert(table, lines)), [""; 0]);
}

pub fn try_insert(table: &dyn Table, lines: &[&str]) -> Refused {
    let mut writer = table.write().unwrap();
    let refused = writer.insert(&rows(table, lines)).unwrap();
    writer.commit().unwrap();
    refused
}

pub fn upsert(table: &dyn Table, lines: &[&str]) {
    let mut writer = table.write().unwrap();
    assert!(writer.upsert(&rows(table, lines)).unwrap().is_empty());
    writer.commit().unwrap();
}

/// Deletes what a lookup finds.
pub fn delete(table: &dyn Table, text: &str, values: &[&str]) {
    let mut writer = table.write().unwrap();
    let (_, ids) = find_in(table, &mut *writer, text, values);
    writer.delete(&ids).unwrap();
    writer.commit().unwrap();
}
