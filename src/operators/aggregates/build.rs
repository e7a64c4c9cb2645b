//! [`build`]: from a call's name and types to the aggregate that computes it.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use super::bits::{Bitwise, InAll, InOne, Parity};
use super::booleans::{All, Booleans, One};
use super::count::Count;
use super::current::Current;
use super::distinct::Distinct;
use super::extreme::{Best, Deque, End, Greatest, Least, Multiset};
use super::grouped::{Grouped, Kernel};
use super::kinds::{Bytes, Kind, Native, Nulls, Placed, Visitor, with_common_kind, with_kind};
use super::quantile::{Between, Quantile, Rank};
use super::sequence::Sequence;
use super::sequence::shapes::{Joined, List, Pick, Shape};
use super::sequence::stores::{Bag, First, Last, Queue, Sorted};
use super::sets::Union;
use super::sum::{Decimals, Floats, Give, Integers, Mean, Total};
use super::together::{Measure, Together};
use super::variance::{Deviation, SampleDeviation, SampleVariance, Spreads, Variance};
use super::{Aggregate, AggregateSpec, Retraction, foreign};
use crate::catalog::aggregates::CURRENT;

/// What building gives: the aggregate, or why there is none, as one sentence for a diagnostic.
pub(super) type Built = Result<Box<dyn Aggregate>, String>;

/// The aggregate that computes a call, able to take the retractions that will come.
pub fn build(spec: &AggregateSpec, retraction: Retraction) -> Built {
    let name = spec.name();
    // No value is the least or greatest twice, nor first.
    let idle = matches!(
        name.as_str(),
        "min" | "max" | "minforever" | "maxforever" | "bool_and" | "bool_or"
    );
    let distinct = spec.distinct && !idle || name == "distinctcount";
    match (distinct, name.as_str(), retraction) {
        (true, _, _) => distinct_of(spec, retraction),
        // The sketch cannot take rows back; exact counting can.
        (false, "approx_distinct", Retraction::Fifo | Retraction::Any) => distinct_of(spec, retraction),
        (false, _, _) => plain(spec, retraction),
    }
}

/// A call without DISTINCT.
fn plain(spec: &AggregateSpec, retraction: Retraction) -> Built {
    match spec.name().as_str() {
        "count" | "distinctcount" if spec.arguments.len() <= 1 => grouped(Count::new(spec.return_type.clone())),
        "sum" => sum::<Total>(spec, retraction),
        "avg" => sum::<Mean>(spec, retraction),
        "min" => extreme::<Least>(spec, retraction),
        "max" => extreme::<Greatest>(spec, retraction),
        "minforever" => extreme::<Least>(spec, Retraction::Never),
        "maxforever" => extreme::<Greatest>(spec, Retraction::Never),
        "bool_and" => grouped(Booleans::<All> { verdict: PhantomData }),
        "bool_or" => grouped(Booleans::<One> { verdict: PhantomData }),
        "bit_and" => grouped(Bitwise::<InAll>::new(spec.return_type.clone())),
        "bit_or" => grouped(Bitwise::<InOne>::new(spec.return_type.clone())),
        "bit_xor" => grouped(Bitwise::<Parity>::new(spec.return_type.clone())),
        "var" | "var_samp" => grouped(Spreads::<SampleVariance>::new()),
        "var_pop" => grouped(Spreads::<Variance>::new()),
        "stddev" => grouped(Spreads::<SampleDeviation>::new()),
        "stddev_pop" => grouped(Spreads::<Deviation>::new()),
        "median" | "approx_median" => quantile(spec, retraction, Rank::Median),
        "percentile_cont" | "approx_percentile_cont" => quantile(spec, retraction, fraction(spec)?),
        "array_agg" | "first_value" | "last_value" | "nth_value" | "any_value" => {
            with_common_kind(spec.argument(0)?, SequenceOf { spec, retraction })?
        }
        "string_agg" => string_agg(spec, retraction),
        "unionset" => with_common_kind(item(spec.argument(0)?), UnionOf { spec })?,
        CURRENT => with_kind(spec.argument(0)?, CurrentOf)?,
        name => match Measure::named(name) {
            Some(measure) => grouped(Together::new(measure, spec.return_type.clone())),
            None => foreign::build(spec, retraction),
        },
    }
}

fn grouped<K: Kernel>(kernel: K) -> Built {
    Ok(Box::new(Grouped::new(kernel)))
}

fn sum<G: Give>(spec: &AggregateSpec, retraction: Retraction) -> Built {
    let argument = spec.argument(0)?;
    let data_type = spec.return_type.clone();
    match (argument, &data_type) {
        (_, DataType::Float64) => grouped(Floats::<G>::new()),
        (_, DataType::Int64) => grouped(Integers::<i64, G>::new(data_type)),
        (_, DataType::UInt64) => grouped(Integers::<u64, G>::new(data_type)),
        (DataType::Duration(_), DataType::Duration(_)) => grouped(Integers::<i64, G>::new(data_type)),
        (DataType::Decimal128(_, _), DataType::Decimal128(_, _)) => match Decimals::<G>::new(argument, &data_type) {
            Some(decimals) => grouped(decimals),
            None => foreign::build(spec, retraction),
        },
        _ => foreign::build(spec, retraction),
    }
}

fn extreme<E: End>(spec: &AggregateSpec, retraction: Retraction) -> Built {
    let end = PhantomData::<E>;
    with_kind(&spec.return_type, ExtremeOf { retraction, end })?
}

struct ExtremeOf<E> {
    retraction: Retraction,
    end: PhantomData<E>,
}

impl<E: End> Visitor for ExtremeOf<E> {
    type Output = Built;

    fn visit<K: Kind>(self, kind: K) -> Built {
        match self.retraction {
            Retraction::Never => grouped(Best::<K, E>::new(kind)),
            Retraction::Fifo => grouped(Deque::<K, E>::new(kind)),
            Retraction::Any => grouped(Multiset::<K, E>::new(kind)),
        }
    }
}

struct CurrentOf;

impl Visitor for CurrentOf {
    type Output = Built;

    fn visit<K: Kind>(self, kind: K) -> Built {
        Ok(Box::new(Current::new(kind)))
    }
}

/// A call that sees each value once.
fn distinct_of(spec: &AggregateSpec, retraction: Retraction) -> Built {
    let columns = spec.arguments.len();
    let constants = spec.constants.iter().skip(1).filter(|value| value.is_some()).count();
    if columns != 1 + constants {
        return Err(format!("{}(DISTINCT …) takes one column", spec.function.name()));
    }
    let argument = spec.argument(0)?;
    if spec.order_by.iter().any(|(by, _)| by != argument) || spec.order_by.len() > 1 {
        return Err("with DISTINCT, ORDER BY must be the argument".to_string());
    }
    // Which row of a value leaves last has nothing to do with the order in which values came.
    let retraction = match retraction {
        Retraction::Never => Retraction::Never,
        Retraction::Fifo | Retraction::Any => Retraction::Any,
    };
    let inner = match spec.name().as_str() {
        "approx_distinct" => grouped(Count::new(spec.return_type.clone()))?,
        _ => {
            let call = AggregateSpec {
                distinct: false,
                ..spec.clone()
            };
            plain(&call, retraction)?
        }
    };
    let columns = columns + spec.order_by.len();
    with_common_kind(argument, DistinctOf { columns, inner })
}

struct DistinctOf {
    columns: usize,
    inner: Box<dyn Aggregate>,
}

impl Visitor for DistinctOf {
    type Output = Box<dyn Aggregate>;

    fn visit<K: Kind>(self, kind: K) -> Box<dyn Aggregate> {
        Box::new(Distinct::new(kind, self.columns, self.inner))
    }
}

/// Where a percentile lies; WITHIN GROUP (ORDER BY x DESC) counts from the other end.
fn fraction(spec: &AggregateSpec) -> Result<Rank, String> {
    let value = spec.constant(1)?.cast_to(&DataType::Float64);
    let Ok(ScalarValue::Float64(Some(fraction))) = value else {
        return Err("the percentile must be a number from 0 to 1".to_string());
    };
    if !(0.0..=1.0).contains(&fraction) {
        return Err(format!("the percentile must be from 0 to 1, not {fraction}"));
    }
    let descending = spec.order_by.first().is_some_and(|(_, options)| options.descending);
    Ok(Rank::Fraction(if descending { 1.0 - fraction } else { fraction }))
}

fn quantile(spec: &AggregateSpec, retraction: Retraction, rank: Rank) -> Built {
    fn of<N: Between>(data_type: DataType, rank: Rank) -> Built {
        let kind = Native::<N>::new(data_type);
        grouped(Quantile { kind, rank })
    }
    let data_type = spec.return_type.clone();
    match &data_type {
        DataType::Float64 => of::<f64>(data_type, rank),
        DataType::Float32 => of::<f32>(data_type, rank),
        DataType::Int64 => of::<i64>(data_type, rank),
        DataType::Int32 => of::<i32>(data_type, rank),
        DataType::Decimal128(_, _) => of::<i128>(data_type, rank),
        _ => foreign::build(spec, retraction),
    }
}

struct SequenceOf<'a> {
    spec: &'a AggregateSpec,
    retraction: Retraction,
}

impl Visitor for SequenceOf<'_> {
    type Output = Built;

    fn visit<K: Kind>(self, kind: K) -> Built {
        let SequenceOf { spec, retraction } = self;
        let name = spec.name();
        let nulls = match spec.ignore_nulls || name == "any_value" {
            true => Nulls::Ignore,
            false => Nulls::Respect,
        };
        let argument = Placed::new(kind, nulls);
        let sorted = !spec.order_by.is_empty();
        match (name.as_str(), retraction, sorted) {
            ("first_value" | "any_value", Retraction::Never, false) => {
                grouped(Sequence::<K, First<K>, _>::new(argument, Pick::FromStart(0)))
            }
            ("last_value", Retraction::Never | Retraction::Fifo, false) => {
                grouped(Sequence::<K, Last<K>, _>::new(argument, Pick::FromEnd(0)))
            }
            ("first_value" | "any_value", _, _) => sequence(spec, retraction, argument, Pick::FromStart(0)),
            ("last_value", _, _) => sequence(spec, retraction, argument, Pick::FromEnd(0)),
            ("nth_value", _, _) => sequence(spec, retraction, argument, nth(spec)?),
            _ => sequence(spec, retraction, argument, List::new(&spec.return_type)?),
        }
    }
}

/// Keeps all rows as the retractions and ORDER BY ask for.
fn sequence<K: Kind, P: Shape<K>>(
    spec: &AggregateSpec,
    retraction: Retraction,
    argument: Placed<K>,
    shape: P,
) -> Built {
    if !spec.order_by.is_empty() {
        let argument = argument.ordered(spec.arguments.len(), &spec.order_by)?;
        return grouped(Sequence::<K, Sorted<K>, P>::new(argument, shape));
    }
    match retraction {
        Retraction::Never | Retraction::Fifo => grouped(Sequence::<K, Queue<K>, P>::new(argument, shape)),
        Retraction::Any => grouped(Sequence::<K, Bag<K>, P>::new(argument, shape)),
    }
}

fn nth(spec: &AggregateSpec) -> Result<Pick, String> {
    let n = match spec.constant(1)?.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(n))) if n != 0 => n,
        _ => return Err("the second argument of nth_value must be a whole number, and not 0".to_string()),
    };
    let others = n.unsigned_abs() as usize - 1;
    Ok(if n > 0 {
        Pick::FromStart(others)
    } else {
        Pick::FromEnd(others)
    })
}

fn string_agg(spec: &AggregateSpec, retraction: Retraction) -> Built {
    let separator = match spec.arguments.len() {
        0 | 1 => String::new(),
        _ => match spec.constant(1)?.try_as_str() {
            Some(Some(text)) => text.to_string(),
            Some(None) => String::new(),
            None => return Err("the separator of string_agg must be a string".to_string()),
        },
    };
    let shape = Joined {
        separator: Arc::from(separator.as_bytes()),
        result: Bytes::new(spec.return_type.clone()),
    };
    let strings = Bytes::new(spec.argument(0)?.clone());
    sequence(spec, retraction, Placed::new(strings, Nulls::Ignore), shape)
}

/// The type of a list's items, or the type itself.
fn item(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) => item.data_type(),
        other => other,
    }
}

struct UnionOf<'a> {
    spec: &'a AggregateSpec,
}

impl Visitor for UnionOf<'_> {
    type Output = Built;

    fn visit<K: Kind>(self, kind: K) -> Built {
        grouped(Union::new(kind, &self.spec.return_type)?)
    }
}
