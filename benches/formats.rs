//! What decoding and encoding cost alone, on one thread: five columns, about 80 bytes a row as JSON and 33 as CSV. The same values
//! deeper in messages of other forms, which a mapping leads to.
//!
//! `cargo bench --bench formats`.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eventflux::EventBatch;
use eventflux::config::options::{Options, RawOption};
use eventflux::event::Times;
use eventflux::formats::csv::CsvFormat;
use eventflux::formats::json::JsonFormat;
use eventflux::formats::{Block, DecodeSchema, Format, Prologue};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 100_000;

/// As large as the blocks that the file source reads.
const BLOCK: usize = 256 * 1024;

fn schema() -> SchemaRef {
    let fields = [
        ("ts", DataType::Int64),
        ("symbol", DataType::Utf8View),
        ("price", DataType::Float64),
        ("volume", DataType::Int64),
        ("account", DataType::Int64),
    ];
    let fields: Vec<Field> = fields.map(|(name, data_type)| Field::new(name, data_type, true)).into();
    Arc::new(Schema::new(fields))
}

/// A row by its number.
struct Trade {
    ts: usize,
    symbol: usize,
    price: f64,
    volume: usize,
    account: usize,
}

impl Trade {
    fn of(row: usize) -> Self {
        Trade {
            ts: 1_700_000_000_000 + row,
            symbol: row * 7 % 100,
            price: (row * 7919 % 20_000) as f64 / 100.0,
            volume: row * 13 % 100,
            account: row * 17 % 10_000,
        }
    }
}

/// The same rows as JSON lines and as CSV.
fn texts() -> (String, String) {
    let (mut json, mut csv) = (String::new(), String::from("ts,symbol,price,volume,account\n"));
    for row in 0..ROWS {
        let Trade {
            ts,
            symbol,
            price,
            volume,
            account,
        } = Trade::of(row);
        let _ = writeln!(
            json,
            r#"{{"ts":{ts},"symbol":"S{symbol:03}","price":{price:.2},"volume":{volume},"account":{account}}}"#
        );
        let _ = writeln!(csv, "{ts},S{symbol:03},{price:.2},{volume},{account}");
    }
    (json, csv)
}

/// The input cut into blocks of whole records, as a source does.
fn blocks(format: &dyn Format, schema: &DecodeSchema, options: &Options, input: &[u8]) -> Vec<Block> {
    let mut framer = format.framer(schema, options).expect("a framer");
    let Prologue::Done { consumed, layout, .. } = framer.prologue(input, true) else {
        panic!("the input has a header");
    };
    let (mut blocks, mut at) = (Vec::new(), consumed);
    while at < input.len() {
        let piece = &input[at..(at + BLOCK).min(input.len())];
        let frame = framer.complete(piece);
        blocks.push(Block {
            bytes: piece[..frame.end].to_vec(),
            first_line: 1,
            layout: layout.clone(),
            kind: frame.kind,
        });
        at += frame.end;
        framer.taken();
    }
    blocks
}

/// A form that messages may have, and the options to read them.
struct Nested {
    name: &'static str,
    given: Vec<(&'static str, &'static str)>,
    text: String,
}

/// The same values as in [`texts`], in messages of other forms.
fn nested() -> [Nested; 3] {
    let deep = vec![
        ("mapping.ts", "$.event.time.ts"),
        ("mapping.symbol", "$.event.trade.symbol"),
        ("mapping.price", "$.event.trade.price"),
        ("mapping.volume", "$.sizes[0].volume"),
        ("mapping.account", "$.meta.account"),
    ];
    let (mut plain, mut rich, mut array) = (String::new(), String::new(), String::new());
    for row in 0..ROWS {
        let Trade {
            ts,
            symbol,
            price,
            volume,
            account,
        } = Trade::of(row);
        let event = format!(
            r#"{{"time":{{"ts":{ts}}},"trade":{{"symbol":"S{symbol:03}","price":{price:.2}}}}},"sizes":[{{"volume":{volume}}}]"#
        );
        let _ = writeln!(plain, r#"{{"event":{event},"meta":{{"account":{account}}}}}"#);
        let unread = format!(r#""id":"{row:08x}","host":{{"name":"edge-{symbol}","tags":["a","b"],"up":true}}"#);
        let _ = writeln!(
            rich,
            r#"{{{unread},"event":{event},"meta":{{"trace":null,"account":{account}}}}}"#
        );
        let before = if row % 10 == 0 {
            r#"{"feed":"x","data":{"trades":["#
        } else {
            ","
        };
        let after = if row % 10 == 9 { "]}}\n" } else { "" };
        let _ = write!(
            array,
            r#"{before}{{"ts":{ts},"symbol":"S{symbol:03}","price":{price:.2},"volume":{volume},"account":{account}}}{after}"#
        );
    }
    [
        Nested {
            name: "json, mapped",
            given: deep.clone(),
            text: plain,
        },
        Nested {
            name: "json, mapped, with parts that nobody reads",
            given: deep,
            text: rich,
        },
        Nested {
            name: "json, ten records a message",
            given: vec![("root", "$.data.trades")],
            text: array,
        },
    ]
}

fn options(format: &dyn Format, given: &[(&str, &str)]) -> Options {
    let raw = given.iter().map(|(key, value)| RawOption::new(*key, *value));
    Options::check(format.name(), format.options(), &raw.collect::<Vec<_>>()).expect("options of the format")
}

fn nested_benches(criterion: &mut Criterion) {
    for Nested { name, given, text } in nested() {
        let options = options(&JsonFormat, &given);
        let schema = DecodeSchema::all(schema());
        let blocks = blocks(&JsonFormat, &schema, &options, text.as_bytes());
        let mut decoder = JsonFormat.decoder(&schema, &options).expect("a decoder");
        let rows: usize = blocks
            .iter()
            .map(|block| decoder.decode(block).expect("it decodes").columns.num_rows())
            .sum();
        assert_eq!(rows, ROWS);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("decode five columns", |bencher| {
            bencher.iter(|| {
                for block in &blocks {
                    black_box(decoder.decode(block).expect("it decodes"));
                }
            });
        });
        group.finish();
    }
}

fn format_benches(criterion: &mut Criterion, format: &dyn Format, input: &str) {
    let declared = schema();
    let options = options(format, &[]);
    let mut group = criterion.benchmark_group(format.name());
    group.throughput(Throughput::Elements(ROWS as u64));
    let wanted: [(&str, Arc<[usize]>); 2] = [
        ("decode five of five columns", [0, 1, 2, 3, 4].into()),
        ("decode two of five columns", [2, 3].into()),
    ];
    let mut batches = Vec::new();
    for (name, wanted) in wanted {
        let schema = DecodeSchema {
            declared: declared.clone(),
            wanted,
        };
        let blocks = blocks(format, &schema, &options, input.as_bytes());
        let mut decoder = format.decoder(&schema, &options).expect("a decoder");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for block in &blocks {
                    black_box(decoder.decode(block).expect("it decodes"));
                }
            });
        });
        if schema.wanted.len() == declared.fields().len() {
            let decoded = blocks
                .iter()
                .map(|block| decoder.decode(block).expect("it decodes").columns);
            batches = decoded
                .map(|columns| EventBatch::inserts(columns, Times::Same(0)))
                .collect();
        }
    }
    let mut encoder = format.encoder(&declared, &options).expect("an encoder");
    let mut out = Vec::new();
    group.bench_function("encode five columns", |bencher| {
        bencher.iter(|| {
            out.clear();
            for batch in &batches {
                encoder.encode(batch, &mut out).expect("it encodes");
            }
            black_box(out.len());
        });
    });
    group.finish();
}

fn formats(criterion: &mut Criterion) {
    let (json, csv) = texts();
    format_benches(criterion, &JsonFormat, &json);
    nested_benches(criterion);
    format_benches(criterion, &CsvFormat, &csv);
}

criterion_group!(benches, formats);
criterion_main!(benches);
