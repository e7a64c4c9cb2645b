//! Random events: out of order within the watermark's delay, with equal times, duplicates, NULLs (of keys and values) and gaps.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, StringViewArray,
};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

/// How far an event may be behind the latest, in milliseconds.
pub const DELAY: i64 = 3_000;

/// The columns of an event: its time in milliseconds, its number as they arrive, two keys, values of every kind.
pub const COLUMNS: &str =
    "t LONG, i LONG, k STRING, g INT, v INT, l LONG, f FLOAT, d DOUBLE, e DOUBLE, m DECIMAL(10,2), b BOOL, s STRING";

/// Texts, on either side of what a view holds itself.
const TEXTS: [&str; 6] = [
    "",
    "a",
    "B",
    "ä€",
    "just twelve.",
    "longer than what a view can hold itself",
];

/// The keys; NULL is one more.
const KEYS: [&str; 3] = ["k0", "k1", "a key longer than a view"];

/// An event but for its number.
#[derive(Clone)]
pub struct Event {
    pub t: i64,
    pub k: Option<&'static str>,
    pub g: Option<i32>,
    pub v: Option<i32>,
    pub l: Option<i64>,
    pub d: Option<f64>,
    pub e: Option<f64>,
    pub m: Option<i128>,
    pub b: Option<bool>,
    pub s: Option<&'static str>,
}

impl fmt::Debug for Event {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Event {
            t,
            k,
            g,
            v,
            l,
            d,
            e,
            m,
            b,
            s,
        } = self;
        // One line: a counter-example is a table.
        write!(out, "{:?}", (t, k, g, v, l, d, e, m, b, s))
    }
}

/// One value of six is NULL.
fn some<T: Clone + std::fmt::Debug + 'static>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>> {
    prop_oneof![5 => value.prop_map(Some), 1 => Just(None)].boxed()
}

/// A run of events. `late`: they may come out of order.
pub fn events(late: bool) -> impl Strategy<Value = Vec<Event>> {
    let quarter = || (-40_i32..40).prop_map(|quarters| f64::from(quarters) / 4.0);
    let values = (
        some(-20_i32..20),
        some(prop_oneof![-50_i64..50, -(1_i64 << 52)..(1_i64 << 52)]),
        some(quarter()),
        some(quarter()),
        some((-100_000_i64..100_000).prop_map(i128::from)),
        some(any::<bool>()),
        some(prop::sample::select(TEXTS.to_vec())),
    );
    let keys = (some(prop::sample::select(KEYS.to_vec())), some(0_i32..3));
    // Steps of time are mostly short, often none, sometimes a gap.
    let step = prop_oneof![3 => Just(0_i64), 3 => Just(500_i64), 8 => 0_i64..800, 1 => 5_000_i64..40_000];
    let behind = prop_oneof![3 => Just(0), i32::from(late) as u32 * 2 => 0..DELAY];
    // Now and then the same event comes twice.
    let event = (step, behind, keys, values, prop::bool::weighted(0.1));
    prop::collection::vec(event, 1..80).prop_map(|drawn| {
        let mut now = 100_000;
        let mut events = Vec::new();
        for (step, behind, (k, g), (v, l, d, e, m, b, s), twice) in drawn {
            now += step;
            let t = now - behind;
            events.push(Event {
                t,
                k,
                g,
                v,
                l,
                d,
                e,
                m,
                b,
                s,
            });
            if twice {
                events.extend(events.last().cloned());
            }
        }
        events
    })
}

/// The sizes of the batches in which events come, over and over.
pub fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1_000]),
        Just(vec![1]),
        prop::collection::vec(1_usize..30, 1..4),
    ]
}

/// Events as columns of the stream's types.
pub fn columns(events: &[Event], schema: &Schema) -> RecordBatch {
    fn of<A: FromIterator<T> + arrow::array::Array + 'static, T>(
        events: &[Event],
        get: impl Fn(&Event) -> T,
    ) -> ArrayRef {
        Arc::new(events.iter().map(get).collect::<A>())
    }
    let decimals: Decimal128Array = events.iter().map(|event| event.m).collect();
    let columns: Vec<ArrayRef> = vec![
        of::<Int64Array, _>(events, |event| Some(event.t)),
        Arc::new(Int64Array::from_iter_values(1..=events.len() as i64)),
        of::<StringViewArray, _>(events, |event| event.k),
        of::<Int32Array, _>(events, |event| event.g),
        of::<Int32Array, _>(events, |event| event.v),
        of::<Int64Array, _>(events, |event| event.l),
        of::<Float32Array, _>(events, |event| event.d.map(|value| value as f32)),
        of::<Float64Array, _>(events, |event| event.d),
        of::<Float64Array, _>(events, |event| event.e),
        Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
        of::<BooleanArray, _>(events, |event| event.b),
        of::<StringViewArray, _>(events, |event| event.s),
    ];
    let schema: SchemaRef = Arc::new(schema.clone());
    RecordBatch::try_new(schema, columns).unwrap()
}

/// The batches of such sizes.
pub fn batches(all: &RecordBatch, sizes: &[usize]) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut begin = 0;
    for size in sizes.iter().cycle() {
        if begin == all.num_rows() {
            break;
        }
        let rows = (*size).min(all.num_rows() - begin);
        batches.push(all.slice(begin, rows));
        begin += rows;
    }
    batches
}
