//! The calls that are tested, and what computes the same.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    StringViewArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion_common::ScalarValue;
use datafusion_expr::AggregateUDF;

use crate::catalog::functions::Functions;
use crate::event::{Clock, SystemClock};
use crate::operators::aggregates::AggregateSpec;

/// A call and the values it is called with.
#[derive(Clone)]
pub struct Case {
    pub spec: AggregateSpec,
    /// What computes the same of the rows that are left; itself without ORDER BY if the engine has it.
    pub reference: AggregateSpec,
    /// The different values.
    pub pool: ArrayRef,
}

/// A function of the catalog.
pub fn function(name: &str) -> Arc<AggregateUDF> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Functions::builtin(&clock).aggregate(name).unwrap()
}

/// A call of a function with a column of a type and constants.
pub fn call(name: &str, argument: &DataType, constants: &[ScalarValue]) -> AggregateSpec {
    let function = function(name);
    let constant_types = constants.iter().map(ScalarValue::data_type);
    let types = std::iter::once(argument.clone()).chain(constant_types);
    let arguments: Vec<FieldRef> = types
        .enumerate()
        .map(|(i, of)| Arc::new(Field::new(format!("a{i}"), of, true)))
        .collect();
    let return_type = function.return_field(&arguments).unwrap().data_type().clone();
    AggregateSpec {
        function,
        arguments,
        constants: std::iter::once(None)
            .chain(constants.iter().cloned().map(Some))
            .collect(),
        distinct: false,
        order_by: Vec::new(),
        ignore_nulls: false,
        return_type,
    }
}

impl Case {
    fn new(name: &str, pool: ArrayRef, constants: &[ScalarValue]) -> Self {
        let spec = call(name, pool.data_type(), constants);
        Case {
            reference: spec.clone(),
            spec,
            pool,
        }
    }

    fn distinct(mut self) -> Self {
        self.spec.distinct = true;
        self.reference.distinct = true;
        self
    }

    fn like(mut self, name: &str) -> Self {
        self.reference = call(name, self.pool.data_type(), &[]);
        self
    }

    fn ordered(mut self, descending: bool) -> Self {
        let options = SortOptions::new(descending, false);
        self.spec.order_by = vec![(DataType::Int64, options)];
        self
    }

    fn ignoring_nulls(mut self) -> Self {
        self.spec.ignore_nulls = true;
        self.reference.ignore_nulls = true;
        self
    }
}

/// Floats with everything that makes trouble.
pub fn wild() -> ArrayRef {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let values = [
        1.5, 0.1, -0.3, 1e300, -1e300, nan, inf, -inf, 1e17, 7.0, 2.5, -1e17, 1e-9, 3.0, 1e95, 0.0,
    ];
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Large floats close together, and a few far away.
fn close() -> ArrayRef {
    let values = [
        1e9,
        1e9 + 0.5,
        1e9 + 1.0,
        1e9 + 2.0,
        1e9 + 0.25,
        f64::NAN,
        1e9 + 7.0,
        1e9 + 3.5,
        1e9 - 1.0,
    ];
    Arc::new(Float64Array::from(values.to_vec()))
}

fn doubles() -> ArrayRef {
    Arc::new(Float64Array::from(vec![1.0, 2.5, -3.0, 4.25, 100.0, 0.0, 7.5]))
}

fn floats() -> ArrayRef {
    Arc::new(Float32Array::from(vec![1.5, f32::NAN, -2.25, f32::INFINITY, 0.1]))
}

fn longs() -> ArrayRef {
    Arc::new(Int64Array::from(vec![5, -3, 0, 1 << 40, 7, -(1 << 41), 2, 3]))
}

fn ints() -> ArrayRef {
    Arc::new(Int32Array::from(vec![5, -3, 0, i32::MAX, i32::MIN, 7, 2]))
}

fn decimals() -> ArrayRef {
    let values = Decimal128Array::from(vec![12345, -1, 0, 99, 1_000_000, 7]);
    Arc::new(values.with_precision_and_scale(10, 2).unwrap())
}

fn times() -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![1_000_000, -5, 0, 77]))
}

fn bools() -> ArrayRef {
    Arc::new(BooleanArray::from(vec![true, false]))
}

fn strings() -> ArrayRef {
    let long = "much longer than what a view can hold itself";
    Arc::new(StringViewArray::from(vec!["b", "", "a", long, "zz", "ä"]))
}

fn lists() -> ArrayRef {
    let lists = [
        Some(vec![Some(1), Some(2)]),
        Some(vec![]),
        Some(vec![None, Some(2)]),
        Some(vec![Some(9)]),
    ];
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
}

fn unsigned() -> ArrayRef {
    Arc::new(UInt32Array::from(vec![5, 8, 0, u32::MAX, 6]))
}

fn half() -> [ScalarValue; 1] {
    [ScalarValue::Float64(Some(0.3))]
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for pool in [wild(), longs(), strings(), lists()] {
        cases.push(Case::new("count", pool, &[]));
    }
    for pool in [doubles(), longs(), strings(), bools()] {
        cases.push(Case::new("count", pool.clone(), &[]).distinct());
        cases.push(Case::new("distinctCount", pool.clone(), &[]).like("count").distinct());
        cases.push(
            Case::new("unionSet", pool, &[])
                .like("array_agg")
                .distinct()
                .ignoring_nulls(),
        );
    }
    for pool in [wild(), longs(), decimals()] {
        cases.push(Case::new("sum", pool, &[]));
    }
    for pool in [doubles(), longs()] {
        cases.push(Case::new("sum", pool, &[]).distinct());
    }
    for pool in [wild(), decimals()] {
        cases.push(Case::new("avg", pool, &[]));
    }
    cases.push(Case::new("avg", doubles(), &[]).distinct());
    for pool in [
        wild(),
        floats(),
        longs(),
        ints(),
        decimals(),
        times(),
        bools(),
        strings(),
    ] {
        cases.push(Case::new("min", pool.clone(), &[]));
        cases.push(Case::new("max", pool, &[]));
    }
    for name in ["var_samp", "var_pop", "stddev", "stddev_pop"] {
        cases.push(Case::new(name, close(), &[]));
    }
    for name in ["bool_and", "bool_or"] {
        cases.push(Case::new(name, bools(), &[]));
    }
    for pool in [close(), longs(), ints(), decimals()] {
        cases.push(Case::new("median", pool, &[]));
    }
    for pool in [close(), doubles()] {
        cases.push(Case::new("percentile", pool, &half()));
    }
    for pool in [doubles(), strings(), lists(), bools(), ints()] {
        for name in ["array_agg", "first", "last"] {
            cases.push(Case::new(name, pool.clone(), &[]));
            cases.push(Case::new(name, pool.clone(), &[]).ignoring_nulls());
            cases.push(Case::new(name, pool.clone(), &[]).ordered(false));
            cases.push(Case::new(name, pool.clone(), &[]).ordered(true));
        }
    }
    for n in [2, -2] {
        cases.push(Case::new("nth_value", longs(), &[ScalarValue::Int64(Some(n))]));
    }
    let comma = [ScalarValue::Utf8View(Some(", ".to_string()))];
    cases.push(Case::new("string_agg", strings(), &comma));
    cases.push(Case::new("string_agg", strings(), &comma).ordered(true));
    for name in ["bit_and", "bit_or", "bit_xor"] {
        cases.push(Case::new(name, longs(), &[]));
        cases.push(Case::new(name, ints(), &[]));
    }
    // Through the engine's accumulators: one that takes rows back, and one that cannot.
    cases.push(Case::new("regr_count", doubles(), &[ScalarValue::Float64(Some(2.0))]));
    cases.push(Case::new("regr_avgy", doubles(), &[ScalarValue::Float64(Some(2.0))]));
    cases.push(Case::new("median", unsigned(), &[]));
    cases.push(Case::new("approx_distinct", longs(), &[]));
    cases
}
