//! For tests of formats: schemas, random batches, and a source that cuts its input into blocks.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StructArray, new_empty_array};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;

use super::columns::{Column, finish};
use super::{BadRecord, Block, DecodeSchema, Format, Framer, Prologue};
use crate::catalog::types::{JSON_MARK, TIMESTAMP};
use crate::config::options::{Options, RawOption};
use crate::event::{EventBatch, Times, pretty};

pub(crate) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

pub(crate) fn json_field(name: &str) -> Field {
    field(name, DataType::Utf8View).with_metadata([(JSON_MARK.0.to_string(), JSON_MARK.1.to_string())].into())
}

pub(crate) fn map_of(key: DataType, value: DataType) -> DataType {
    let parts = vec![Field::new("key", key, false), Field::new("value", value, true)];
    let entries = Field::new("entries", DataType::Struct(parts.into()), false);
    DataType::Map(Arc::new(entries), false)
}

pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(field("item", item)))
}

/// One column of every type.
pub(crate) fn every_type() -> SchemaRef {
    let point = DataType::Struct(vec![field("x", DataType::Float64), field("tag", DataType::Utf8View)].into());
    Arc::new(Schema::new(vec![
        field("b", DataType::Boolean),
        field("i1", DataType::Int8),
        field("i2", DataType::Int16),
        field("i4", DataType::Int32),
        field("i8", DataType::Int64),
        field("f4", DataType::Float32),
        field("f8", DataType::Float64),
        field("ts", TIMESTAMP),
        field("d", DataType::Date32),
        field("t", DataType::Time64(TimeUnit::Microsecond)),
        field("dec", DataType::Decimal128(20, 4)),
        field("iv", DataType::Interval(IntervalUnit::MonthDayNano)),
        field("s", DataType::Utf8View),
        field("bin", DataType::BinaryView),
        json_field("j"),
        field("l", list_of(list_of(DataType::Int64))),
        field("p", point.clone()),
        field("m", map_of(DataType::Int64, point)),
    ]))
}

pub(crate) fn options(format: &dyn Format, given: &[(&str, &str)]) -> Options {
    let raw: Vec<RawOption> = given.iter().map(|(key, value)| RawOption::new(*key, *value)).collect();
    Options::check(format.name(), format.options(), &raw).unwrap()
}

/// What an input came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) batch: RecordBatch,
    /// The errors, `row` counted over the whole input.
    pub(crate) errors: Vec<BadRecord>,
}

impl Outcome {
    pub(crate) fn rows(&self) -> Vec<String> {
        let batch = EventBatch::inserts(self.batch.clone(), Times::Same(0));
        let lines = pretty::lines(&batch);
        lines
            .into_iter()
            .map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default().to_string())
            .collect()
    }

    /// `line: message`.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.errors
            .iter()
            .map(|error| format!("{}: {}", error.line, error.message))
            .collect()
    }
}

/// Reads an input as a source does, in pieces of so many bytes.
pub(crate) fn read(
    format: &dyn Format,
    schema: &DecodeSchema,
    given: &[(&str, &str)],
    input: &[u8],
    piece: usize,
) -> Result<Outcome, String> {
    let options = options(format, given);
    let mut framer = format.framer(schema, &options).map_err(|error| error.message.clone())?;
    let mut decoder = format
        .decoder(schema, &options)
        .map_err(|error| error.message.clone())?;
    let mut pieces = input.chunks(piece.max(1));
    let (mut buffer, mut line, mut last) = (Vec::new(), 1, false);
    let layout = loop {
        match framer.prologue(&buffer, last) {
            Prologue::Bad(reason) => return Err(reason),
            Prologue::Done {
                consumed,
                lines,
                layout,
            } => {
                buffer.drain(..consumed);
                line += lines;
                break layout;
            }
            Prologue::NeedMore => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => last = true,
            },
        }
    };
    let (mut batches, mut errors, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut decode = |bytes: Vec<u8>, first_line, kind| {
        let block = Block {
            bytes,
            first_line,
            layout: layout.clone(),
            kind,
        };
        let decoded = decoder.decode(&block).unwrap();
        errors.extend(decoded.errors.into_iter().map(|error| BadRecord {
            row: error.row + rows,
            ..error
        }));
        rows += decoded.columns.num_rows();
        batches.push(decoded.columns);
    };
    loop {
        let frame = framer.complete(&buffer);
        if frame.end > 0 {
            decode(buffer.drain(..frame.end).collect(), line, frame.kind);
            line += frame.lines;
            framer.taken();
            continue;
        }
        match pieces.next() {
            Some(piece) => buffer.extend_from_slice(piece),
            None => break,
        }
    }
    let frame = rest(framer.as_mut(), &buffer);
    decode(buffer, line, frame);
    let batch = concat_batches(&schema.decoded(), &batches).unwrap();
    Ok(Outcome { batch, errors })
}

fn rest(framer: &mut dyn Framer, bytes: &[u8]) -> super::FrameKind {
    let frame = framer.rest(bytes);
    assert_eq!(frame.end, bytes.len());
    frame.kind
}

/// Writes batches as a sink does.
pub(crate) fn write(format: &dyn Format, given: &[(&str, &str)], batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = format.encoder(&batch.schema(), &options(format, given)).unwrap();
    let mut out = Vec::new();
    encoder.begin(&mut out);
    encoder
        .encode(&EventBatch::inserts(batch.clone(), Times::Same(0)), &mut out)
        .unwrap();
    out
}

/// A random batch of a schema.
pub(crate) fn batches(schema: SchemaRef) -> impl Strategy<Value = RecordBatch> {
    (0usize..12).prop_flat_map(move |rows| {
        let schema = schema.clone();
        let columns: Vec<_> = schema.fields().iter().map(|field| values(field, rows)).collect();
        columns.prop_map(move |columns| {
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(schema.clone(), columns, &options).unwrap()
        })
    })
}

/// So many random values of a field's type, some NULL: as JSON texts, read by the strict reader. The texts of scalars
/// are written by the standard library, so the readers are checked against it.
fn values(field: &FieldRef, rows: usize) -> BoxedStrategy<ArrayRef> {
    let field = field.clone();
    let one = json_text(&field);
    proptest::collection::vec(one, rows)
        .prop_map(move |texts| {
            let mut column = Column::new(field.clone()).unwrap();
            for text in &texts {
                super::columns::json_value::push(&mut column, text).unwrap();
            }
            let schema = Arc::new(Schema::new(vec![field.clone()]));
            finish(&mut [column], &schema, texts.len()).unwrap().column(0).clone()
        })
        .boxed()
}

fn json_text(field: &Field) -> BoxedStrategy<String> {
    let quoted = |text: String| serde_json::Value::String(text).to_string();
    let any_text = || prop_oneof!["[a-z\",\\\\\n\r\t ]{0,16}", "\\PC{0,20}", Just("NA".to_string())];
    let value: BoxedStrategy<String> = match field.data_type() {
        DataType::Boolean => any::<bool>().prop_map(|v| v.to_string()).boxed(),
        DataType::Int8 => any::<i8>().prop_map(|v| v.to_string()).boxed(),
        DataType::Int16 => any::<i16>().prop_map(|v| v.to_string()).boxed(),
        DataType::Int32 => any::<i32>().prop_map(|v| v.to_string()).boxed(),
        DataType::Int64 => any::<i64>().prop_map(|v| v.to_string()).boxed(),
        DataType::Float32 => any::<f32>().prop_map(|v| format!("{v}")).boxed(),
        DataType::Float64 => any::<f64>().prop_map(|v| format!("{v}")).boxed(),
        DataType::Timestamp(_, _) => (-9_000_000_000_000_000i64..9_000_000_000_000_000)
            .prop_map(|millis| millis.to_string())
            .boxed(),
        DataType::Date32 => (0i32..9999, 1u8..13, 1u8..29)
            .prop_map(|(y, m, d)| format!("\"{y:04}-{m:02}-{d:02}\""))
            .boxed(),
        DataType::Time64(_) => (0u8..24, 0u8..60, 0u32..1_000_000)
            .prop_map(|(h, m, f)| format!("\"{h:02}:{m:02}:59.{f:06}\""))
            .boxed(),
        DataType::Decimal128(_, _) => (any::<i32>(), 0u16..10_000)
            .prop_map(|(whole, f)| format!("{whole}.{f:04}"))
            .boxed(),
        DataType::Interval(_) => any::<(i32, i32, i64)>()
            .prop_map(|(m, d, n)| {
                let mut out = vec![b'"'];
                super::columns::write_interval(&mut out, IntervalMonthDayNano::new(m, d, n));
                out.push(b'"');
                String::from_utf8(out).unwrap()
            })
            .boxed(),
        DataType::Utf8View if crate::catalog::types::is_json(field) => prop_oneof![
            any_text().prop_map(quoted),
            any::<i64>().prop_map(|v| v.to_string()),
            Just("{\"a\": [1, null, {\"b\": \"c,\\\"\"}]}".to_string()),
            Just("[ ]".to_string()),
        ]
        .boxed(),
        DataType::Utf8View => any_text().prop_map(quoted).boxed(),
        DataType::BinaryView => proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| {
                use base64::Engine;
                format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes))
            })
            .boxed(),
        DataType::List(item) => proptest::collection::vec(json_text(item), 0..4)
            .prop_map(|items| format!("[{}]", items.join(",")))
            .boxed(),
        DataType::Struct(parts) => {
            let names: Vec<_> = parts.iter().map(|part| part.name().clone()).collect();
            let members: Vec<_> = parts.iter().map(|part| json_text(part)).collect();
            members
                .prop_map(move |values| {
                    let members = names
                        .iter()
                        .zip(values)
                        .map(|(name, value)| format!("\"{name}\":{value}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
                })
                .boxed()
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(parts) = entries.data_type() else {
                unreachable!("a map holds structs");
            };
            proptest::collection::btree_map(any::<i64>(), json_text(&parts[1]), 0..3)
                .prop_map(|entries| {
                    let members = entries.iter().map(|(key, value)| format!("\"{key}\":{value}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                })
                .boxed()
        }
        other => unreachable!("no values of {other}"),
    };
    match field.is_nullable() {
        true => prop_oneof![1 => Just("null".to_string()), 4 => value].boxed(),
        false => value,
    }
}

/// Whether two batches are equal, floats bit by bit.
pub(crate) fn same(a: &RecordBatch, b: &RecordBatch) -> bool {
    let empty: ArrayRef = new_empty_array(&DataType::Struct(a.schema().fields().clone()));
    let one = |batch: &RecordBatch| concat(&[&empty, &(Arc::new(StructArray::from(batch.clone())) as ArrayRef)]);
    matches!((one(a), one(b)), (Ok(a), Ok(b)) if a.to_data() == b.to_data())
}
