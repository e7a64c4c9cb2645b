use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray,
};
use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::GroupTable;
use crate::event::pretty;
use crate::operators::state::{StateReader, StateWriter};

fn assign(table: &mut GroupTable, columns: &[ArrayRef]) -> Vec<u32> {
    let mut ids = vec![7];
    let rows = columns.first().map_or(3, |column| column.len());
    table.assign(columns, rows, &mut ids).unwrap();
    ids
}

fn single(column: ArrayRef) -> (GroupTable, Vec<u32>) {
    let mut table = GroupTable::new(&[column.data_type().clone()]).unwrap();
    let ids = assign(&mut table, std::slice::from_ref(&column));
    let keys = table.keys(&ids).unwrap();
    assert_eq!(keys[0].data_type(), column.data_type());
    for row in 0..column.len() {
        let text = |array: &ArrayRef| pretty::cell(array.as_ref(), row).replace("-0.0", "0.0");
        assert_eq!(text(&keys[0]), text(&column));
    }
    (table, ids)
}

#[test]
fn no_columns_is_one_group() {
    let mut table = GroupTable::new(&[]).unwrap();
    assert!(table.live().is_empty());
    assert_eq!(assign(&mut table, &[]), [0, 0, 0]);
    assert_eq!(table.live(), [0]);
    assert!(table.keys(&[0]).unwrap().is_empty());
}

#[test]
fn one_column_of_each_family() {
    let floats = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, 0.0];
    assert_eq!(
        single(Arc::new(Float64Array::from(floats.to_vec()))).1,
        [0, 0, 1, 1, 2, 0]
    );
    let ints = vec![Some(-1), None, Some(7), None, Some(-1)];
    assert_eq!(single(Arc::new(Int32Array::from(ints))).1, [0, 1, 2, 1, 0]);
    let bools = vec![Some(true), Some(false), None, Some(true)];
    assert_eq!(single(Arc::new(BooleanArray::from(bools))).1, [0, 1, 2, 0]);
    let decimals = Decimal128Array::from(vec![Some(-5), None, Some(i128::MAX / 100), Some(-5)]);
    let decimals = decimals.with_precision_and_scale(38, 2).unwrap();
    assert_eq!(single(Arc::new(decimals)).1, [0, 1, 2, 0]);
    let long = "a string that is longer than a view";
    let strings = vec![Some("a"), Some(long), None, Some(""), Some("a"), Some(long)];
    assert_eq!(
        single(Arc::new(StringViewArray::from(strings.clone()))).1,
        [0, 1, 2, 3, 0, 1]
    );
    assert_eq!(single(Arc::new(StringArray::from(strings))).1, [0, 1, 2, 3, 0, 1]);
}

#[test]
fn several_columns() {
    let strings: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), Some("a"), None, Some("a")]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), None, None, Some(-0.0)]));
    let mut table = GroupTable::new(&[DataType::Utf8View, DataType::Float64]).unwrap();
    assert_eq!(assign(&mut table, &[strings, floats]), [0, 1, 2, 0]);
    let keys = table.keys(&[2, 0]).unwrap();
    assert!(keys[0].is_null(0) && keys[1].is_null(0) && keys[0].is_valid(1));
}

#[test]
fn numbers_are_given_again_in_order_of_appearance() {
    let key = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let mut table = GroupTable::new(&[DataType::Int64]).unwrap();
    for value in [10, 20, 30] {
        assign(&mut table, &[key(value)]);
    }
    table.forget(&[0, 0, 9]);
    assert_eq!(table.len(), 2);
    assert_eq!(assign(&mut table, &[key(40)]), [0]);
    assert_eq!(assign(&mut table, &[key(10)]), [3]);
    assert_eq!(table.live(), [1, 2, 0, 3]);
}

/// Makes key columns of small numbers.
type Columns = fn(&[Option<u8>]) -> Vec<ArrayRef>;

fn keys(kind: usize) -> (Vec<DataType>, Columns) {
    fn ints(values: &[Option<u8>]) -> ArrayRef {
        Arc::new(values.iter().map(|v| v.map(i64::from)).collect::<Int64Array>())
    }
    fn text(values: &[Option<u8>]) -> ArrayRef {
        let text = |v: &Option<u8>| v.map(|v| "x".repeat(v as usize));
        Arc::new(values.iter().map(text).collect::<StringViewArray>())
    }
    match kind {
        0 => (vec![DataType::Int64], |values| vec![ints(values)]),
        1 => (vec![DataType::Utf8View], |values| vec![text(values)]),
        _ => (vec![DataType::Int64, DataType::Utf8View], |values| {
            vec![ints(values), text(values)]
        }),
    }
}

proptest! {
    /// Against a plain map, with groups forgotten and the table saved and restored between batches.
    #[test]
    fn numbers_like_a_map(
        kind in 0_usize..3,
        batches in prop::collection::vec((prop::collection::vec(prop::option::of(0_u8..30), 0..40), any::<bool>(), 0_usize..4), 1..6),
    ) {
        let (types, columns) = keys(kind);
        let mut table = GroupTable::new(&types).unwrap();
        let mut known: HashMap<Option<u8>, u32> = HashMap::new();
        for (values, restart, forgotten) in batches {
            let mut ids = Vec::new();
            table.assign(&columns(&values), values.len(), &mut ids).unwrap();
            for (value, id) in values.iter().zip(&ids) {
                prop_assert_eq!(known.entry(*value).or_insert(*id), id);
            }
            let live = table.live();
            prop_assert_eq!(live.len(), known.len());
            let gone: Vec<u32> = live.iter().copied().take(forgotten).collect();
            table.forget(&gone);
            known.retain(|_, id| !gone.contains(id));
            if restart {
                let mut state = StateWriter::default();
                table.snapshot(&mut state).unwrap();
                let live = table.live();
                table = GroupTable::new(&types).unwrap();
                table.restore(&mut StateReader::new(&state.into_bytes())).unwrap();
                prop_assert_eq!(table.live(), live);
            }
        }
    }
}
