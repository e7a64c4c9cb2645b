//! The events of a workload: of Nexmark, or trades of so many symbols; in columns, or written to files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use eventflux::EventFlux;

use super::app::Workload;
use super::options::Failure;

/// Rows of a batch.
pub const ROWS: usize = 8_192;

/// Trades of a second of event time.
pub const RATE: i64 = 100_000;

/// The first trade's time.
const START: i64 = 1_767_225_600_000_000;

/// Events of a stream, in batches.
pub struct Events {
    pub stream: String,
    pub stem: String,
    pub batches: Vec<RecordBatch>,
}

/// The events of all of a workload's streams, so many together.
pub fn events(app: &Workload, events: usize, seed: u64) -> Result<Vec<Events>, Failure> {
    let mut all = Vec::new();
    for (stream, stem) in &app.streams {
        let batches = match stem.strip_prefix("trades-") {
            Some(keys) => trades(events, keys.parse()?, seed),
            None => nexmark(stem, events)?,
        };
        all.push(Events {
            stream: stream.clone(),
            stem: stem.clone(),
            batches,
        });
    }
    Ok(all)
}

/// The columns of a table of Nexmark that the apps declare.
fn nexmark(table: &str, events: usize) -> Result<Vec<RecordBatch>, Failure> {
    let columns = match table {
        "person" => {
            "id LONG, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, dateTime TIMESTAMP, extra STRING"
        }
        "auction" => {
            "id LONG, itemName STRING, description STRING, initialBid LONG, reserve LONG, dateTime TIMESTAMP, expires TIMESTAMP, seller LONG, category LONG, extra STRING"
        }
        "bid" => "auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING",
        other => return Err(format!("there are no data called '{other}'").into()),
    };
    let sql = format!(
        "CREATE STREAM S ({columns}) WITH (type = 'source', extension = 'nexmark', \"nexmark.table\" = '{table}', \
         \"nexmark.events\" = '{events}', \"nexmark.batch-rows\" = '{ROWS}');"
    );
    let app = EventFlux::builder().sql(sql).build()?;
    let batches = Arc::new(Mutex::new(Vec::new()));
    let into = batches.clone();
    app.on("S", move |batch| {
        if let Ok(mut batches) = into.lock() {
            batches.push(batch.columns().clone());
        }
    })?;
    app.start()?;
    app.wait()?;
    drop(app);
    let batches = std::mem::take(&mut *batches.lock().map_err(|_| "the generator has failed")?);
    // Whole batches, whatever the generator was asked by the queues in between.
    let Some(first) = batches.first() else {
        return Ok(Vec::new());
    };
    let whole = concat_batches(&first.schema(), &batches)?;
    let starts = (0..whole.num_rows()).step_by(ROWS);
    Ok(starts
        .map(|at| whole.slice(at, ROWS.min(whole.num_rows() - at)))
        .collect())
}

fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) % below
}

fn trade_schema() -> SchemaRef {
    let field = |name: &str, of: DataType| Field::new(name, of, true);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        field("ts", time),
        field("symbol", DataType::Utf8View),
        field("side", DataType::Utf8View),
        field("price", DataType::Float64),
        field("volume", DataType::Int64),
        field("account", DataType::Int64),
    ]))
}

/// Trades at random, in the order of their times, [`RATE`] a second.
fn trades(events: usize, keys: u64, seed: u64) -> Vec<RecordBatch> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let schema = trade_schema();
    let batch = |at: usize| {
        let rows = ROWS.min(events - at);
        let mut random = |below: u64| random(&mut state, below);
        let symbols: Vec<String> = (0..rows).map(|_| format!("S{:06}", random(keys))).collect();
        let sides = (0..rows).map(|_| if random(2) == 0 { "B" } else { "S" });
        let sides = StringViewArray::from_iter_values(sides.collect::<Vec<_>>());
        let prices = Float64Array::from_iter_values((0..rows).map(|_| 100.0 + random(10_000) as f64 / 100.0));
        let volumes = Int64Array::from_iter_values((0..rows).map(|_| random(1_000) as i64));
        let accounts = Int64Array::from_iter_values((0..rows).map(|_| random(10_000) as i64));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times(
                (at as i64..(at + rows) as i64).map(|row| START + row * 1_000_000 / RATE),
            )),
            Arc::new(StringViewArray::from_iter_values(symbols)),
            Arc::new(sides),
            Arc::new(prices),
            Arc::new(volumes),
            Arc::new(accounts),
        ];
        RecordBatch::try_new(schema.clone(), columns)
    };
    // Columns of one length are a batch.
    (0..events).step_by(ROWS).map(batch).filter_map(Result::ok).collect()
}

/// A column of times.
pub fn times(times: impl Iterator<Item = i64>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")
}

/// The first time of a batch, in the column that is its event time.
pub fn first_time(batch: &RecordBatch) -> i64 {
    let column = ["dateTime", "ts"].iter().find_map(|name| batch.column_by_name(name));
    let times = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    times
        .filter(|times| !times.is_empty())
        .map_or(i64::MAX, |times| times.value(0))
}

/// Writes the files of a workload that are not there yet: `bid.json`, `trades-100.csv`, and the side input of Nexmark.
pub fn write(app: &Workload, count: usize, seed: u64, format: &str, dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    std::fs::create_dir_all(dir)?;
    let mut files = Vec::new();
    for events in events(app, count, seed)? {
        let path = dir.join(format!("{}.{format}", events.stem));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        for (number, batch) in events.batches.iter().enumerate() {
            match format {
                "csv" => write_csv(batch, number == 0, &mut file)?,
                _ => write_json(batch, &mut file)?,
            }
        }
        file.flush()?;
        files.push(path);
    }
    files.extend(side_input(app, dir)?);
    Ok(files)
}

/// The table that Nexmark's q13 looks up: a text for each of ten thousand numbers.
pub fn side_input(app: &Workload, dir: &Path) -> Result<Option<PathBuf>, Failure> {
    if !app.sql.contains("side_input.db") {
        return Ok(None);
    }
    let path = dir.join("side_input.db");
    let folder = dir.to_string_lossy();
    let declared = app.over(&folder, "json");
    let table = declared
        .split("CREATE TABLE")
        .nth(1)
        .and_then(|rest| rest.split(";").next());
    let sql = format!(
        "CREATE STREAM Rows (\"key\" LONG, value STRING); CREATE TABLE {}; UPSERT INTO side_input SELECT \"key\", value FROM Rows;",
        table.unwrap_or_default()
    );
    let filling = EventFlux::builder().sql(sql).inline().build()?;
    filling.start()?;
    let rows = (0..10_000_i64).map(|key| (key, format!("value of {key}")));
    filling.input("Rows")?.send_rows(rows)?;
    filling.finish()?;
    Ok(Some(path))
}

fn write_json(batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
    let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.6fZ"));
    let schema = batch.schema();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        out.write_all(b"{")?;
        for (number, (field, column)) in schema.fields().iter().zip(&columns).enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let value = column.value(row);
            match field.data_type() {
                DataType::Int64 | DataType::Float64 => write!(out, "{comma}\"{}\":{value}", field.name())?,
                _ => {
                    let text = serde_json::to_string(&value.to_string())?;
                    write!(out, "{comma}\"{}\":{text}", field.name())?;
                }
            }
        }
        out.write_all(b"}\n")?;
    }
    Ok(())
}

fn write_csv(batch: &RecordBatch, with_header: bool, out: &mut impl Write) -> Result<(), Failure> {
    let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.6fZ"));
    if with_header {
        let names: Vec<String> = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        writeln!(out, "{}", names.join(","))?;
    }
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        for (number, column) in columns.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let text = column.value(row).to_string();
            match text.contains([',', '"', '\n']) {
                true => write!(out, "{comma}\"{}\"", text.replace('"', "\"\""))?,
                false => write!(out, "{comma}{text}")?,
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}
