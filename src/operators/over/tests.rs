//! Every function against a recomputation from its frame's rows, for random rows, batches, watermarks and restarts.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::AggregateUDF;
use proptest::prelude::*;

use super::frame::{Frame, FrameCall, Position, ValueCall};
use super::lead::{LeadCall, LeadColumn, LeadPlan};
use super::rank::RankKind;
use super::{OverCall, OverFunction, OverPlan};
use crate::event::pretty::cell;
use crate::event::{EventBatch, Micros, Times};
use crate::operators::aggregate_plan::AggregateColumn;
use crate::operators::aggregates::AggregateSpec;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, TimeUpdate};
use crate::windows::TimeDomain;

#[derive(Debug, Clone)]
struct Row {
    key: Option<u8>,
    value: Option<i64>,
    time: Micros,
}

/// How rows come: how many in each batch, how far the watermark is behind the next row after each, and after which batch the
/// operator is replaced by one restored from its snapshot.
#[derive(Debug, Clone)]
struct Course {
    batches: Vec<usize>,
    lags: Vec<Micros>,
    restart: usize,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        proptest::option::weighted(0.9, 0..3u8),
        proptest::option::weighted(0.8, -4..5i64),
        prop_oneof![4 => Just(0i64), 5 => 1..4i64, 1 => 5..20i64],
    );
    proptest::collection::vec(row, 0..60).prop_map(|rows| {
        let mut time = 0;
        let row = |(key, value, step)| {
            time += step;
            Row { key, value, time }
        };
        rows.into_iter().map(row).collect()
    })
}

fn course() -> impl Strategy<Value = Course> {
    let batches = proptest::collection::vec(1..9usize, 60);
    let lags = proptest::collection::vec(0..5i64, 60);
    (batches, lags, 0..20usize).prop_map(|(batches, lags, restart)| Course { batches, lags, restart })
}

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8View, true),
        Field::new("v", DataType::Int64, true),
        Field::new("d", DataType::Int64, true),
    ]))
}

/// `k`, `v` and a default, which is the row's number.
fn batch(rows: &[Row], first: usize) -> EventBatch {
    let keys: StringViewArray = rows.iter().map(|row| row.key.map(|key| format!("key {key}"))).collect();
    let values: Int64Array = rows.iter().map(|row| row.value).collect();
    let defaults: Int64Array = (first..first + rows.len()).map(|row| Some(row as i64)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values), Arc::new(defaults)];
    let columns = RecordBatch::try_new(input(), columns).expect("columns of one length");
    EventBatch::inserts(columns, Times::Each(rows.iter().map(|row| row.time).collect()))
}

/// Lets rows take their course; the cells of the output from column 3 on, by the row's number.
fn run(plan: &dyn OperatorPlan, rows: &[Row], course: &Course) -> Vec<(i64, Vec<String>)> {
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(0);
    let mut first = 0;
    for (index, (size, lag)) in course.batches.iter().zip(&course.lags).enumerate() {
        let end = (first + size).min(rows.len());
        if first < end {
            let batch = batch(&rows[first..end], first);
            operator.process(0, batch, &mut out).expect("it takes the batch");
        }
        first = end;
        if let Some(next) = rows.get(end) {
            let watermark = TimeUpdate::Watermark(next.time - lag);
            operator.advance(watermark, &mut out).expect("time moves");
        }
        if index == course.restart {
            operator = restarted(plan, operator.as_ref());
        }
    }
    let end = TimeUpdate::Watermark(END_OF_TIME);
    operator.advance(end, &mut out).expect("time ends");
    let batches = out.take().batches;
    let rows = batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    let cells = rows.map(|(batch, row)| {
        let cells: Vec<String> = batch
            .columns()
            .columns()
            .iter()
            .map(|column| cell(column, row))
            .collect();
        (cells[2].parse().expect("a number"), cells[3..].to_vec())
    });
    cells.collect()
}

fn restarted(plan: &dyn OperatorPlan, operator: &dyn Operator) -> Box<dyn Operator> {
    let mut state = StateWriter::default();
    operator.snapshot(&mut state).expect("it writes its state");
    let bytes = state.into_bytes();
    let mut reader = StateReader::new(&bytes);
    let mut restored = plan.build().expect("it builds");
    restored.restore(&mut reader).expect("it reads its state");
    assert!(reader.is_empty(), "something is left of the state");
    restored
}

const FRAMES: &[Frame] = &[
    Frame::Rows { start: None, end: 0 },
    Frame::Rows { start: None, end: 2 },
    Frame::Rows { start: Some(0), end: 0 },
    Frame::Rows { start: Some(3), end: 0 },
    Frame::Rows { start: Some(4), end: 2 },
    Frame::Rows { start: Some(1), end: 1 },
    Frame::Range { start: None, end: 0 },
    Frame::Range { start: None, end: 3 },
    Frame::Range { start: Some(0), end: 0 },
    Frame::Range { start: Some(6), end: 0 },
    Frame::Range { start: Some(7), end: 3 },
    Frame::Range { start: Some(2), end: 2 },
];

/// All functions over a frame, with what each is called.
fn functions(frame: Frame) -> Vec<OverFunction> {
    let mut functions: Vec<OverFunction> = ["sum", "count", "min", "max", "avg"]
        .iter()
        .map(|name| aggregate(name, frame))
        .collect();
    let positions = [
        ("first", Position::FromFirst(0)),
        ("third", Position::FromFirst(2)),
        ("last", Position::Last),
    ];
    for (text, position) in positions {
        for default in [None, Some(2)] {
            let call = ValueCall {
                position,
                argument: 1,
                default,
            };
            functions.push(OverFunction {
                text: text.to_string(),
                call: OverCall::Framed(frame, FrameCall::Value(call)),
            });
        }
    }
    functions
}

fn aggregate(name: &str, frame: Frame) -> OverFunction {
    use datafusion_functions_aggregate::{average, count, min_max, sum};
    let (function, return_type): (Arc<AggregateUDF>, DataType) = match name {
        "sum" => (sum::sum_udaf(), DataType::Int64),
        "count" => (count::count_udaf(), DataType::Int64),
        "min" => (min_max::min_udaf(), DataType::Int64),
        "max" => (min_max::max_udaf(), DataType::Int64),
        _ => (average::avg_udaf(), DataType::Float64),
    };
    let spec = AggregateSpec {
        function,
        arguments: vec![Arc::new(Field::new("", DataType::Int64, true))],
        constants: vec![None],
        distinct: false,
        order_by: Vec::new(),
        ignore_nulls: false,
        return_type,
    };
    let column = AggregateColumn {
        text: name.to_string(),
        name: String::new(),
        spec,
        arguments: vec![1],
        filter: None,
    };
    OverFunction {
        text: name.to_string(),
        call: OverCall::Framed(frame, FrameCall::Aggregate(Box::new(column))),
    }
}

fn plan(functions: Vec<OverFunction>, domain: TimeDomain) -> OverPlan {
    let mut fields: Vec<Field> = input().fields().iter().map(|field| field.as_ref().clone()).collect();
    for (index, function) in functions.iter().enumerate() {
        let data_type = match &function.call {
            OverCall::Rank(_) => DataType::UInt64,
            OverCall::Framed(_, FrameCall::Aggregate(column)) => column.spec.return_type.clone(),
            OverCall::Framed(_, FrameCall::Value(_)) => DataType::Int64,
        };
        fields.push(Field::new(format!("f{index}"), data_type, true));
    }
    OverPlan {
        keys: vec![0],
        functions,
        domain,
        passed: 3,
        input: input(),
        schema: Arc::new(Schema::new(fields)),
    }
}

/// The numbers of the rows in the frame of a row, by its definition.
fn frame_rows(rows: &[Row], at: usize, frame: Frame, domain: TimeDomain) -> Vec<usize> {
    let partition: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].key == rows[at].key).collect();
    let position = partition
        .iter()
        .position(|row| *row == at)
        .expect("a row is in its partition");
    let inside = |index: usize, row: usize| match frame {
        Frame::Rows { start, end } => {
            let back = position as i64 - index as i64;
            back >= end as i64 && start.is_none_or(|start| back <= start as i64)
        }
        Frame::Range { start, end } => {
            let back = rows[at].time - rows[row].time;
            let came = domain == TimeDomain::Event || row <= at;
            came && back >= end && start.is_none_or(|start| back <= start)
        }
    };
    let indexed = partition.iter().enumerate();
    indexed
        .filter(|(index, row)| inside(*index, **row))
        .map(|(_, row)| *row)
        .collect()
}

fn expected(rows: &[Row], at: usize, function: &OverFunction, domain: TimeDomain) -> String {
    let text = |value: Option<i64>| value.map_or("null".to_string(), |value| value.to_string());
    let before = |row: &&Row| row.key == rows[at].key;
    let earlier: Vec<&Row> = rows[..at].iter().filter(before).collect();
    let (frame, call) = match &function.call {
        OverCall::Rank(RankKind::RowNumber) => return (earlier.len() + 1).to_string(),
        OverCall::Rank(RankKind::Rank) => {
            let smaller = earlier.iter().filter(|row| row.time < rows[at].time);
            return (smaller.count() + 1).to_string();
        }
        OverCall::Rank(RankKind::DenseRank) => {
            let smaller = earlier.iter().map(|row| row.time).filter(|time| *time < rows[at].time);
            return (smaller.collect::<std::collections::BTreeSet<_>>().len() + 1).to_string();
        }
        OverCall::Framed(frame, call) => (*frame, call),
    };
    let inside = frame_rows(rows, at, frame, domain);
    if let FrameCall::Value(call) = call {
        let found = match call.position {
            Position::FromFirst(after) => inside.get(after as usize),
            Position::Last => inside.last(),
        };
        let default = call.default.map(|_| at as i64);
        return text(found.map_or(default, |row| rows[*row].value));
    }
    let values: Vec<i64> = inside.iter().filter_map(|row| rows[*row].value).collect();
    let sum: i64 = values.iter().sum();
    let some = |value: i64| text((!values.is_empty()).then_some(value));
    match function.text.as_str() {
        "sum" => some(sum),
        "count" => values.len().to_string(),
        "min" => text(values.iter().min().copied()),
        "max" => text(values.iter().max().copied()),
        _ if values.is_empty() => "null".to_string(),
        _ => format!("{:?}", sum as f64 / values.len() as f64),
    }
}

fn check(functions: Vec<OverFunction>, domain: TimeDomain, rows: &[Row], course: &Course) -> Result<(), TestCaseError> {
    let plan = plan(functions, domain);
    let given = run(&plan, rows, course);
    prop_assert_eq!(given.len(), rows.len());
    for (at, (number, cells)) in given.into_iter().enumerate() {
        prop_assert_eq!(number, at as i64, "rows keep their order");
        for (cell, function) in cells.iter().zip(&plan.functions) {
            let expected = expected(rows, at, function, domain);
            prop_assert_eq!(
                cell,
                &expected,
                "row {}, {} of {:?}",
                at,
                &function.text,
                &function.call
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn functions_are_those_of_their_frame(rows in rows(), course in course()) {
        let mut functions: Vec<OverFunction> = FRAMES.iter().flat_map(|frame| functions(*frame)).collect();
        for kind in [RankKind::RowNumber, RankKind::Rank, RankKind::DenseRank] {
            functions.push(OverFunction { text: String::new(), call: OverCall::Rank(kind) });
        }
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            check(functions.clone(), domain, &rows, &course)?;
        }
    }

    /// Time limits all frames: partitions are forgotten and their numbers given to others.
    #[test]
    fn partitions_come_and_go(rows in rows(), course in course()) {
        let frames = FRAMES.iter().filter(|frame| frame.reach().is_some());
        let functions: Vec<OverFunction> = frames.flat_map(|frame| functions(*frame)).collect();
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            check(functions.clone(), domain, &rows, &course)?;
        }
    }

    #[test]
    fn rows_wait_for_those_that_they_lead(rows in rows(), course in course(), offsets in [0..4usize, 0..4usize]) {
        let mut fields: Vec<Field> = input().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend([Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)]);
        let call = |offset, default| LeadCall { text: String::new(), argument: 1, offset, default };
        let columns = (0..3).map(LeadColumn::Input).chain((0..2).map(LeadColumn::Lead));
        let plan = LeadPlan {
            keys: vec![0],
            calls: vec![call(offsets[0], None), call(offsets[1], Some(2))],
            columns: columns.collect(),
            input: input(),
            schema: Arc::new(Schema::new(fields)),
        };
        let mut given = run(&plan, &rows, &course);
        given.sort_by_key(|(number, _)| *number);
        prop_assert_eq!(given.len(), rows.len());
        for (at, (number, cells)) in given.into_iter().enumerate() {
            prop_assert_eq!(number, at as i64);
            let after: Vec<&Row> = rows[at..].iter().filter(|row| row.key == rows[at].key).collect();
            for (cell, (offset, default)) in cells.iter().zip([(offsets[0], None), (offsets[1], Some(number))]) {
                let expected = after.get(offset).map_or(default, |row| row.value);
                prop_assert_eq!(cell, &expected.map_or("null".to_string(), |value| value.to_string()));
            }
        }
    }
}

/// Rows of partitions that stand still are kept while those of others come and go: the store is packed.
#[test]
fn memory_is_bounded_by_the_frames() {
    const ROWS: usize = 50_000;
    let frame = Frame::Rows { start: Some(2), end: 0 };
    let functions = functions(frame);
    let plan = plan(functions, TimeDomain::Processing);
    let rows: Vec<Row> = (0..ROWS)
        .map(|row| Row {
            key: Some(if row % 20_000 < 3 { 1 } else { 0 }),
            value: Some(row as i64 % 7),
            time: row as i64,
        })
        .collect();
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(0);
    let mut given = Vec::new();
    for (index, chunk) in rows.chunks(100).enumerate() {
        operator
            .process(0, batch(chunk, index * 100), &mut out)
            .expect("it takes the batch");
        given.extend(out.take().batches);
    }
    let last = given.last().expect("there are batches");
    for (index, function) in plan.functions.iter().enumerate() {
        let row = last.num_rows() - 1;
        let expected = expected(&rows[40_000..], ROWS - 40_000 - 1, function, TimeDomain::Processing);
        if !matches!(&function.call, OverCall::Framed(_, FrameCall::Value(call)) if call.default.is_some()) {
            assert_eq!(cell(last.column(3 + index), row), expected, "{}", function.text);
        }
    }
    let mut state = StateWriter::default();
    operator.snapshot(&mut state).expect("it writes its state");
    assert!(state.into_bytes().len() < 1_000_000, "rows are not released");
}
