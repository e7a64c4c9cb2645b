//! What must hold for every aggregate and every history.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::cases::{self, Case};
use super::history::{Batch, Change, GROUPS, Left, Row, columns, draws};
use crate::event::pretty;
use crate::operators::aggregates::foreign::reference;
use crate::operators::aggregates::{Aggregate, Retraction, build};
use crate::operators::state::{StateReader, StateWriter};

const ALL_RETRACTIONS: [Retraction; 3] = [Retraction::Never, Retraction::Fifo, Retraction::Any];

/// Runs a property for every case and kind of retraction; `AGGREGATE_ROUNDS=10` makes it ten times as thorough.
fn for_all(
    rounds: u32,
    property: impl Fn(&Case, Retraction, &[Vec<super::history::Draw>]) -> Result<(), TestCaseError>,
) {
    let times = std::env::var("AGGREGATE_ROUNDS")
        .ok()
        .and_then(|times| times.parse().ok());
    let rounds = rounds * times.unwrap_or(1);
    for case in cases::all() {
        for retraction in ALL_RETRACTIONS {
            let mut runner = TestRunner::new(Config {
                cases: rounds,
                failure_persistence: None,
                ..Config::default()
            });
            let run = runner.run(&draws(), |batches| property(&case, retraction, &batches));
            if let Err(error) = run {
                let spec = &case.spec;
                let (name, distinct) = (spec.function.name(), spec.distinct);
                let of = case.pool.data_type();
                let ordered = &spec.order_by;
                panic!("{name}({of}) distinct={distinct} ordered={ordered:?} {retraction:?}: {error}");
            }
        }
    }
}

fn build_case(case: &Case, retraction: Retraction) -> Box<dyn Aggregate> {
    let built = build(&case.spec, retraction).unwrap();
    assert_eq!(
        built.data_type(),
        &case.spec.return_type,
        "{}",
        case.spec.function.name()
    );
    built
}

/// What the engine makes of rows.
fn expected(case: &Case, rows: &[Row]) -> ArrayRef {
    let mut rows = rows.to_vec();
    if let Some((_, options)) = case.spec.order_by.first() {
        match options.descending {
            true => rows.sort_by_key(|row| -row.rank),
            false => rows.sort_by_key(|row| row.rank),
        }
    }
    let mut columns = columns(case, rows.into_iter());
    columns.truncate(case.reference.arguments.len());
    reference(&case.reference, &columns)
}

/// A value as text; floats rounded to what two ways of computing them must agree in.
fn text(case: &Case, column: &ArrayRef, row: usize) -> String {
    let digits = |value: f64| match value {
        0.0 => "0".to_string(),
        value => format!("{value:.6e}"),
    };
    match column.data_type() {
        _ if column.is_null(row) => "null".to_string(),
        DataType::Float64 => digits(column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => digits(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::List(_) if case.spec.function.name() == "unionSet" => {
            let items = column.as_list::<i32>().value(row);
            let mut items: Vec<String> = (0..items.len()).map(|item| pretty::cell(&items, item)).collect();
            items.sort();
            items.join(",")
        }
        _ => pretty::cell(column.as_ref(), row),
    }
}

/// Whether two values agree. Sums whose parts cancel may differ by the rounding of the parts.
fn agree(case: &Case, rows: &[Row], ours: &ArrayRef, row: usize, theirs: &ArrayRef) -> bool {
    if text(case, ours, row) == text(case, theirs, 0) {
        return true;
    }
    let (DataType::Float64, true) = (ours.data_type(), ours.is_valid(row) && theirs.is_valid(0)) else {
        return false;
    };
    let ours = ours.as_primitive::<Float64Type>().value(row);
    let theirs = theirs.as_primitive::<Float64Type>().value(0);
    let pool = case.pool.as_primitive::<Float64Type>();
    let finite = rows
        .iter()
        .filter_map(|row| row.value)
        .map(|at| pool.value(at).abs())
        .filter(|v| v.is_finite());
    let scale: f64 = finite.sum();
    match case.spec.function.name() {
        "sum" | "avg" => (ours - theirs).abs() <= scale * 1e-13 + 1e-14,
        // The engine's own retraction drifts.
        "regr_avgy" => (ours - theirs).abs() <= 1e-9,
        // The engine interpolates in steps of a millionth.
        "percentile_cont" => (ours - theirs).abs() <= scale * 1e-6,
        // The engine says that one NaN does not vary.
        "var_pop" | "stddev_pop" if ours.is_nan() => rows
            .iter()
            .any(|row| row.value.is_some_and(|at| pool.value(at).is_nan())),
        "var" | "var_pop" | "stddev" | "stddev_pop" => ours >= 0.0 && (ours - theirs).abs() <= 1e-4 * (1.0 + theirs),
        _ => false,
    }
}

fn check(case: &Case, left: &Left, ours: &mut dyn Aggregate) -> Result<(), TestCaseError> {
    let groups: Vec<u32> = (0..GROUPS).collect();
    let values = ours.values(&groups).unwrap();
    prop_assert_eq!(values.data_type(), &case.spec.return_type);
    for (group, rows) in left.0.iter().enumerate() {
        let theirs = expected(case, rows);
        prop_assert!(
            agree(case, rows, &values, group, &theirs),
            "group {}: {} instead of {}, rows {:?}",
            group,
            text(case, &values, group),
            text(case, &theirs, 0),
            rows
        );
    }
    Ok(())
}

fn changes(case: &Case, left: &mut Left, retraction: Retraction, batch: &[super::history::Draw]) -> Vec<Change> {
    batch.iter().map(|draw| left.change(draw, retraction, case)).collect()
}

/// A copy by way of a snapshot.
fn restarted(aggregate: &dyn Aggregate) -> Box<dyn Aggregate> {
    let mut state = StateWriter::default();
    aggregate.snapshot(&mut state).unwrap();
    let bytes = state.into_bytes();
    let mut copy = aggregate.fresh();
    let mut reader = StateReader::new(&bytes);
    copy.restore(&mut reader).unwrap();
    assert!(reader.is_empty());
    copy
}

/// The value is the engine's of the rows left, after every batch, also when the state is saved and restored between.
#[test]
fn as_the_engine_computes_it() {
    for_all(8, |case, retraction, batches| {
        let (mut ours, mut left) = (build_case(case, retraction), Left::default());
        for (i, batch) in batches.iter().enumerate() {
            let changes = changes(case, &mut left, retraction, batch);
            ours.update(&Batch::new(case, &changes).changes()).unwrap();
            check(case, &left, ours.as_mut())?;
            if i % 2 == 1 {
                ours = restarted(ours.as_ref());
                check(case, &left, ours.as_mut())?;
            }
        }
        Ok(())
    });
}

/// The running form is update and value, row by row.
#[test]
fn running_is_update_and_value() {
    for_all(4, |case, retraction, batches| {
        let (mut whole, mut single) = (build_case(case, retraction), build_case(case, retraction));
        let mut left = Left::default();
        for batch in batches {
            let changes = changes(case, &mut left, retraction, batch);
            let running = whole.running(&Batch::new(case, &changes).changes()).unwrap();
            prop_assert_eq!(running.len(), changes.len());
            for (row, change) in changes.iter().enumerate() {
                single.update(&Batch::new(case, &[*change]).changes()).unwrap();
                let value = single.values(&[change.group]).unwrap();
                let row = running.slice(row, 1);
                prop_assert!(
                    agree(case, &left.0[change.group as usize], &row, 0, &value),
                    "{row:?} and {value:?}"
                );
            }
        }
        check(case, &left, whole.as_mut())
    });
}

/// A merge is the update of all rows; the other is unchanged; retractions go on afterwards.
#[test]
fn merge_is_update_of_both() {
    for_all(4, |case, retraction, batches| {
        let (mut into, mut left) = (build_case(case, retraction), Left::default());
        let groups: Vec<u32> = (0..GROUPS).collect();
        for batch in batches {
            let (mut other, mut other_left) = (into.fresh(), Left::default());
            let changes_of = changes(case, &mut other_left, retraction, batch);
            other.update(&Batch::new(case, &changes_of).changes()).unwrap();
            into.merge(other.as_ref(), &groups, &groups).unwrap();
            check(case, &other_left, other.as_mut())?;
            for (rows, more) in left.0.iter_mut().zip(other_left.0) {
                rows.extend(more);
            }
            check(case, &left, into.as_mut())?;
            let more = changes(case, &mut left, retraction, batch);
            into.update(&Batch::new(case, &more).changes()).unwrap();
            check(case, &left, into.as_mut())?;
        }
        into.clear(&groups);
        check(case, &Left::default(), into.as_mut())
    });
}
