//! The join operators against nested loops over all rows: random rows, batches and restarts.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::Operator as Sql;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use proptest::prelude::*;

use super::spec::{JoinInput, JoinKind, JoinSpec, Side};
use crate::event::pretty::cell;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output};

mod changelog;
mod interval;
mod window;

/// A row of either side: columns `k`, `v` and `n`.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    key: Option<u8>,
    value: Option<i64>,
    number: Option<i64>,
    time: Micros,
}

/// A row that comes in on a side, and what it does.
#[derive(Debug, Clone)]
struct Change {
    side: Side,
    op: Op,
    row: Row,
}

/// What matches.
#[derive(Debug, Clone, Copy)]
struct Setup {
    kind: JoinKind,
    /// Whether `k` must be equal.
    keyed: bool,
    null_equals_null: bool,
    /// Whether the left `v` must be less than the right one.
    filtered: bool,
}

fn setup() -> impl Strategy<Value = Setup> {
    let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full];
    let kind = proptest::sample::select(Vec::from(kinds));
    let flags = (
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.2),
        any::<bool>(),
    );
    (kind, flags).prop_map(|(kind, (keyed, null_equals_null, filtered))| Setup {
        kind,
        keyed,
        null_equals_null,
        filtered,
    })
}

/// Key, value and number of a row; rows that are equal in all are not rare.
fn values() -> impl Strategy<Value = (Option<u8>, Option<i64>, Option<i64>)> {
    (
        proptest::option::weighted(0.9, 0..3u8),
        proptest::option::weighted(0.9, 0..4i64),
        (0..3i64).prop_map(Some),
    )
}

fn side() -> impl Strategy<Value = Side> {
    proptest::sample::select(Vec::from(Side::BOTH))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8View, true),
        Field::new("v", DataType::Int64, true),
        Field::new("n", DataType::Int64, true),
    ]))
}

impl Setup {
    /// The output has the left `n` and `k`, and the right `n` and `v`.
    fn spec(&self) -> JoinSpec {
        let keys: Vec<Arc<dyn PhysicalExpr>> = match self.keyed {
            true => vec![Arc::new(Column::new("k", 0))],
            false => Vec::new(),
        };
        let input = JoinInput { schema: schema(), keys };
        let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
        JoinSpec {
            kind: self.kind,
            inputs: [input.clone(), input],
            null_equals_null: self.null_equals_null,
            filter: self.filtered.then(|| column_pair(Sql::Lt)),
            output: vec![(Side::Left, 2), (Side::Left, 0), (Side::Right, 2), (Side::Right, 1)],
            schema: Arc::new(Schema::new(vec![
                field("ln", DataType::Int64),
                field("lk", DataType::Utf8View),
                field("rn", DataType::Int64),
                field("rv", DataType::Int64),
            ])),
        }
    }

    fn matches(&self, left: &Row, right: &Row) -> bool {
        let null = self.null_equals_null && left.key.is_none();
        let keys = !self.keyed || (left.key == right.key && (left.key.is_some() || null));
        let values = left.value.zip(right.value).is_some_and(|(left, right)| left < right);
        keys && (!self.filtered || values)
    }

    /// Whether a row's key lets it match anything.
    fn has_key(&self, row: &Row) -> bool {
        !self.keyed || row.key.is_some() || self.null_equals_null
    }

    /// Whether a row of `side` matches one of the other.
    fn meets(&self, side: Side, own: &Row, other: &Row) -> bool {
        match side {
            Side::Left => self.matches(own, other),
            Side::Right => self.matches(other, own),
        }
    }
}

/// The left `v`, `op`, the right `v`.
fn column_pair(op: Sql) -> Arc<dyn PhysicalExpr> {
    let left = Arc::new(Column::new("v", 1));
    let right = Arc::new(Column::new("v", 4));
    Arc::new(BinaryExpr::new(left, op, right))
}

fn batch(changes: &[Change]) -> EventBatch {
    let rows = || changes.iter().map(|change| &change.row);
    let keys: StringViewArray = rows().map(|row| row.key.map(key)).collect();
    let values: Int64Array = rows().map(|row| row.value).collect();
    let numbers: Int64Array = rows().map(|row| row.number).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values), Arc::new(numbers)];
    let columns = RecordBatch::try_new(schema(), columns).expect("columns of one length");
    let times = Times::Each(rows().map(|row| row.time).collect());
    EventBatch::changes(columns, times, changes.iter().map(|change| change.op).collect())
}

/// Longer than a view holds inline.
fn key(key: u8) -> String {
    format!("the key number {key}")
}

/// A row that goes out.
fn line(op: Op, time: Micros, left: Option<&Row>, right: Option<&Row>) -> String {
    let number = |number: Option<i64>| number.map_or("null".to_string(), |number| number.to_string());
    let left_key = left.and_then(|row| row.key).map_or("null".to_string(), key);
    format!(
        "{} {time} {} {left_key} {} {}",
        op.sign(),
        number(left.and_then(|row| row.number)),
        number(right.and_then(|row| row.number)),
        number(right.and_then(|row| row.value)),
    )
}

/// A row of `side` and one of the other, as [`line`].
fn pair(side: Side, op: Op, time: Micros, own: Option<&Row>, other: Option<&Row>) -> String {
    match side {
        Side::Left => line(op, time, own, other),
        Side::Right => line(op, time, other, own),
    }
}

fn lines(batches: &[EventBatch]) -> Vec<String> {
    let rows = batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    let line = rows.map(|(batch, row)| {
        let cells = batch.columns().columns().iter().map(|column| cell(column, row));
        let cells: Vec<String> = cells.collect();
        format!("{} {} {}", batch.op(row).sign(), batch.time(row), cells.join(" "))
    });
    line.collect()
}

/// Runs of changes of one side, of at most `sizes` rows.
fn runs<'a>(changes: &'a [Change], sizes: &'a [usize]) -> impl Iterator<Item = &'a [Change]> {
    let mut sizes = sizes.iter().cycle();
    let mut rest = changes;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let same = rest.iter().take_while(|change| change.side == first.side).count();
        let (run, others) = rest.split_at(same.min(*sizes.next()?));
        rest = others;
        Some(run)
    })
}

fn process(operator: &mut dyn Operator, changes: &[Change], out: &mut Output) {
    let port = changes[0].side.port();
    operator.process(port, batch(changes), out).expect("it takes the batch");
}

fn restarted(plan: &dyn OperatorPlan, operator: &dyn Operator) -> Box<dyn Operator> {
    let mut state = StateWriter::default();
    operator.snapshot(&mut state).expect("it writes its state");
    let bytes = state.into_bytes();
    let mut reader = StateReader::new(&bytes);
    let mut operator = plan.build().expect("it builds");
    operator.restore(&mut reader).expect("it reads its state");
    assert!(reader.is_empty());
    operator
}

/// All that goes out when changes come in batches of `sizes` rows, with a restart after `restart` of them.
fn run(plan: &dyn OperatorPlan, changes: &[Change], sizes: &[usize], restart: usize) -> Vec<String> {
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(0);
    for (index, run) in runs(changes, sizes).enumerate() {
        process(operator.as_mut(), run, &mut out);
        if index == restart {
            operator = restarted(plan, operator.as_ref());
        }
    }
    let outcome = out.take();
    assert!(outcome.errors.is_empty());
    lines(&outcome.batches)
}

/// A row for tests by hand.
fn row(key: u8, value: i64, number: i64, time: Micros) -> Row {
    Row {
        key: Some(key),
        value: Some(value),
        number: Some(number),
        time,
    }
}

fn change(side: Side, op: Op, row: Row) -> Change {
    Change { side, op, row }
}

const INNER: Setup = Setup {
    kind: JoinKind::Inner,
    keyed: true,
    null_equals_null: false,
    filtered: false,
};
