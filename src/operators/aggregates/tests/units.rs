//! Single facts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Int64Type};

use super::cases::call;
use crate::event::Op::{self, Delete, Insert};
use crate::event::pretty;
use crate::operators::aggregates::{Aggregate, Changes, Retraction, build};

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn running(aggregate: &mut dyn Aggregate, ops: &[Op], column: ArrayRef) -> Vec<String> {
    let groups = vec![0; ops.len()];
    let changes = Changes {
        groups: &groups,
        ops: Some(ops),
        arguments: &[column],
        filter: None,
    };
    let values = aggregate.running(&changes).unwrap();
    (0..values.len()).map(|row| pretty::cell(&values, row)).collect()
}

#[test]
fn a_sum_out_of_range_is_null_until_it_is_back() {
    let mut sum = build(&call("sum", &DataType::Int64, &[]), Retraction::Any).unwrap();
    let column = longs(&[i64::MAX, 1, 1]);
    let values = running(sum.as_mut(), &[Insert, Insert, Delete], column);
    assert_eq!(values, [i64::MAX.to_string(), "null".to_string(), i64::MAX.to_string()]);
    let failures = sum.failures();
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (failures[0].row, failures[0].message.as_str()),
        (1, "the value of the aggregate does not fit into LONG")
    );
    assert!(sum.failures().is_empty());
}

#[test]
fn a_decimal_sum_out_of_range_is_null() {
    let most = Decimal128Array::from(vec![10_i128.pow(38) - 1; 2]);
    let most = most.with_precision_and_scale(38, 0).unwrap();
    let mut sum = build(&call("sum", most.data_type(), &[]), Retraction::Never).unwrap();
    let values = running(sum.as_mut(), &[Insert, Insert], Arc::new(most));
    assert_eq!(values[1], "null");
    assert_eq!(sum.failures().len(), 1);
}

#[test]
fn forever_ignores_retractions() {
    for (name, want) in [("minForever", ["3", "1", "1"]), ("maxForever", ["3", "3", "3"])] {
        let mut forever = build(&call(name, &DataType::Int64, &[]), Retraction::Fifo).unwrap();
        assert_eq!(
            running(forever.as_mut(), &[Insert, Insert, Delete], longs(&[3, 1, 3])),
            want
        );
    }
}

#[test]
fn current_is_the_row_itself_and_then_the_latest_added() {
    let mut current = build(&call("__current", &DataType::Utf8View, &[]), Retraction::Any).unwrap();
    let column = Arc::new(StringViewArray::from(vec![Some("a"), Some("b"), Some("a"), None]));
    let values = running(current.as_mut(), &[Insert, Insert, Delete, Delete], column);
    assert_eq!(values, ["a", "b", "a", "null"]);
    let now = current.values(&[0, 5]).unwrap();
    assert_eq!(
        (pretty::cell(&now, 0), pretty::cell(&now, 1)),
        ("b".to_string(), "null".to_string())
    );
}

#[test]
fn zeroes_and_nans_are_one_value_each() {
    let mut count = build(&call("distinctCount", &DataType::Float64, &[]), Retraction::Any).unwrap();
    let column = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 0.0]));
    let values = running(count.as_mut(), &[Insert, Insert, Insert, Insert, Delete], column);
    assert_eq!(values, ["1", "1", "2", "2", "2"]);
}

#[test]
fn union_of_sets() {
    let lists = [
        Some(vec![Some(3), Some(1)]),
        Some(vec![Some(1), Some(2)]),
        Some(vec![Some(3), Some(1)]),
    ];
    let lists = arrow::array::ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let mut union = build(&call("unionSet", lists.data_type(), &[]), Retraction::Any).unwrap();
    let values = running(union.as_mut(), &[Insert, Insert, Delete], Arc::new(lists));
    assert_eq!(values, ["[1, 3]", "[1, 2, 3]", "[1, 2]"]);
}

#[test]
fn count_of_rows_takes_no_argument() {
    let spec = crate::operators::aggregates::AggregateSpec {
        arguments: Vec::new(),
        constants: Vec::new(),
        ..call("count", &DataType::Int64, &[])
    };
    let mut count = build(&spec, Retraction::Never).unwrap();
    let changes = Changes {
        groups: &[2, 0, 2],
        ops: None,
        arguments: &[],
        filter: None,
    };
    count.update(&changes).unwrap();
    let values = count.values(&[0, 1, 2, 9]).unwrap();
    assert_eq!(values.as_primitive::<Int64Type>().values(), &[1, 0, 2, 0]);
}

#[test]
fn what_cannot_be_built_says_why() {
    let spec = call("grouping", &DataType::Int64, &[]);
    assert!(
        build(&spec, Retraction::Never)
            .err()
            .is_some_and(|why| why.contains("not available"))
    );
}
