//! [`build`]: from a call's name and types to the aggregate that computes it.

use arrow::datatypes::DataType;

use super::average::{AverageDecimals, AverageDurations, AverageFloats};
use super::count::Count;
use super::current::Current;
use super::extreme::{Best, Deque, End, Greatest, Least, Multiset};
use super::grouped::Grouped;
use super::kinds::{Kind, Native, Visitor, with_kind};
use super::sum::{SumDecimals, SumFloats, SumIntegers, decimal_limit};
use super::{Aggregate, AggregateSpec, Retraction};

/// What building gives: the aggregate, or why there is none, as one sentence for a diagnostic.
pub(super) type Built = Result<Box<dyn Aggregate>, String>;

/// The aggregate that computes a call, able to take the retractions that will come.
pub fn build(spec: &AggregateSpec, retraction: Retraction) -> Built {
    match spec.name().as_str() {
        "count" => Ok(Box::new(Grouped::new(Count))),
        "sum" => sum(spec),
        "avg" => average(spec),
        "min" => extreme::<Least>(spec, retraction),
        "max" => extreme::<Greatest>(spec, retraction),
        "minforever" => extreme::<Least>(spec, Retraction::Never),
        "maxforever" => extreme::<Greatest>(spec, Retraction::Never),
        crate::catalog::aggregates::CURRENT => with_kind(spec.argument(0)?, CurrentOf),
        other => Err(format!("the aggregate {other} is not available on streams")),
    }
}

/// The aggregate that a kernel makes.
pub(super) fn grouped<K: super::grouped::Kernel>(kernel: K) -> Built {
    Ok(Box::new(Grouped::new(kernel)))
}

/// There is no such aggregate for such a type.
pub(super) fn unfit(spec: &AggregateSpec, data_type: &DataType) -> Built {
    let name = crate::catalog::types::name(data_type);
    Err(format!(
        "{} of {name} is not available on streams",
        spec.function.name()
    ))
}

fn sum(spec: &AggregateSpec) -> Built {
    let data_type = spec.return_type.clone();
    match &data_type {
        DataType::Float64 => grouped(SumFloats {
            argument: Native::new(DataType::Float64),
        }),
        DataType::Int64 | DataType::Duration(_) => grouped(SumIntegers::<i64> {
            argument: Native::new(data_type.clone()),
            data_type,
        }),
        DataType::UInt64 => grouped(SumIntegers::<u64> {
            argument: Native::new(DataType::UInt64),
            data_type,
        }),
        DataType::Decimal128(precision, _) => grouped(SumDecimals {
            argument: Native::new(spec.argument(0)?.clone()),
            limit: decimal_limit(*precision),
            data_type,
        }),
        other => unfit(spec, other),
    }
}

fn average(spec: &AggregateSpec) -> Built {
    let argument = spec.argument(0)?.clone();
    let data_type = spec.return_type.clone();
    match (&argument, &data_type) {
        (_, DataType::Float64) => grouped(AverageFloats {
            argument: Native::new(DataType::Float64),
        }),
        (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) => grouped(AverageDecimals {
            argument: Native::new(argument.clone()),
            factor: 10_i128.pow(u32::from((to - from).clamp(0, 38).unsigned_abs())),
            limit: decimal_limit(*precision),
            data_type,
        }),
        (DataType::Duration(_), DataType::Duration(_)) => grouped(AverageDurations {
            sum: SumIntegers {
                argument: Native::new(argument),
                data_type,
            },
        }),
        (other, _) => unfit(spec, other),
    }
}

fn extreme<E: End>(spec: &AggregateSpec, retraction: Retraction) -> Built {
    with_kind(
        &spec.return_type,
        ExtremeOf::<E> {
            retraction,
            end: std::marker::PhantomData,
        },
    )
}

struct ExtremeOf<E> {
    retraction: Retraction,
    end: std::marker::PhantomData<E>,
}

impl<E: End> Visitor for ExtremeOf<E> {
    type Output = Box<dyn Aggregate>;

    fn visit<K: Kind>(self, kind: K) -> Box<dyn Aggregate> {
        match self.retraction {
            Retraction::Never => Box::new(Grouped::new(Best::<K, E>::new(kind))),
            Retraction::Fifo => Box::new(Grouped::new(Deque::<K, E>::new(kind))),
            Retraction::Any => Box::new(Grouped::new(Multiset::<K, E>::new(kind))),
        }
    }
}

struct CurrentOf;

impl Visitor for CurrentOf {
    type Output = Box<dyn Aggregate>;

    fn visit<K: Kind>(self, kind: K) -> Box<dyn Aggregate> {
        Box::new(Current::new(kind))
    }
}
