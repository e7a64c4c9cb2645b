use std::sync::{Arc, Mutex};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};

use super::cells::timestamp;
use super::sink::LogSink;
use super::{Log, OPTIONS};
use crate::connectors::testing::*;
use crate::connectors::{Sink, SinkSpec};
use crate::error::Colour;
use crate::event::{EventBatch, Op, Times};

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn printed(batch: &EventBatch, colour: Colour, given: &[(&str, &str)]) -> String {
    let page = Page::default();
    let options = options("log", OPTIONS, given).unwrap();
    let spec = SinkSpec::new("Alerts", batch.schema(), options, None);
    let mut sink = LogSink::new(&spec, colour, Box::new(page.clone()));
    sink.open().unwrap();
    sink.write(batch).unwrap();
    sink.close().unwrap();
    let bytes = page.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

const NEW_YEAR: i64 = 1_767_225_600_000_000;

fn trades() -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("symbol", Arc::new(StringViewArray::from(vec![Some("IBM"), None]))),
        ("price", Arc::new(Float64Array::from(vec![75.6, 1e300]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn one_line_an_event() {
    let batch = EventBatch::inserts(trades(), Times::Same(NEW_YEAR));
    assert_eq!(
        printed(&batch, Colour::Never, &[]),
        "Alerts 2026-01-01T00:00:00Z symbol=IBM price=75.6\nAlerts 2026-01-01T00:00:00Z symbol=null price=1e300\n"
    );
    assert_eq!(
        printed(&batch.slice(0, 1), Colour::Never, &[("prefix", ">")]),
        "> 2026-01-01T00:00:00Z symbol=IBM price=75.6\n"
    );
    assert_eq!(
        printed(&batch.slice(0, 1), Colour::Always, &[]),
        "\x1b[1mAlerts\x1b[0m \x1b[2m2026-01-01T00:00:00Z\x1b[0m \x1b[2msymbol=\x1b[0mIBM \x1b[2mprice=\x1b[0m75.6\n"
    );
}

#[test]
fn changes_show_their_operation() {
    let ops = [Op::UpdateBefore, Op::UpdateAfter].into();
    let batch = EventBatch::changes(trades(), Times::Same(NEW_YEAR), ops);
    let text = printed(&batch, Colour::Never, &[]);
    let starts: Vec<&str> = text.lines().map(|line| &line[..9]).collect();
    assert_eq!(starts, ["Alerts -U", "Alerts +U"]);
}

#[test]
fn values_of_every_kind() {
    let columns: [(&str, ArrayRef); 6] = [
        ("b", Arc::new(BooleanArray::from(vec![true]))),
        ("i", Arc::new(Int64Array::from(vec![-5]))),
        ("d", Arc::new(Date32Array::from(vec![-1]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![-1]))),
        (
            "m",
            Arc::new(
                Decimal128Array::from(vec![1234])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("s", Arc::new(StringViewArray::from(vec!["a b=\"c\"\n\x1b[31m"]))),
    ];
    let batch = EventBatch::inserts(RecordBatch::try_from_iter(columns).unwrap(), Times::Same(1500));
    assert_eq!(
        printed(&batch, Colour::Never, &[]),
        "Alerts 1970-01-01T00:00:00.001500Z b=true i=-5 d=1969-12-31 t=1969-12-31T23:59:59.999999Z m=12.34 \
         s=\"a b=\\\"c\\\"\\n\\u{1b}[31m\"\n"
    );
    for text in ["", "null", "a=b"] {
        let line = printed(&text_batch(&[text]), Colour::Never, &[]);
        assert!(line.ends_with(&format!("text={text:?}\n")), "{line}");
    }
    let line = printed(&text_batch(&["Zürich"]), Colour::Never, &[]);
    assert!(line.ends_with("text=Zürich\n"), "{line}");
}

#[test]
fn times_agree_with_the_calendar() {
    for day in (-800_000..1_000_000).step_by(997) {
        let mut out = Vec::new();
        timestamp(day * 86_400_000_000 + 3_723_004_000, &mut out);
        let want = chrono::DateTime::from_timestamp_micros(day * 86_400_000_000 + 3_723_004_000).unwrap();
        let want = want.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}

#[test]
fn builds() {
    assert!(sink(&Log, text_schema(), &[]).is_ok());
    assert!(sink(&Log, text_schema(), &[("format", "json")]).is_err());
}
