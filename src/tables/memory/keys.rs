//! [`Keys`]: the values of a column in a form in which they are compared and hashed, whatever their type.
//!
//! Numbers, times, booleans become unsigned words of the same order; texts and bytes stay what they are. As everywhere in the
//! engine `-0.0` equals `0.0` and every NaN equals every other and is the largest.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use hashbrown::DefaultHashBuilder;

use crate::catalog::types;
use crate::error::{Error, Result};

/// A native value as a word of the same order.
pub(super) trait Rank: Copy {
    /// Whether the word has 64 bits at most.
    const NARROW: bool = true;
    /// The word.
    fn rank(self) -> u128;
}

impl Rank for i64 {
    #[inline]
    fn rank(self) -> u128 {
        u128::from(self as u64 ^ (1 << 63))
    }
}

impl Rank for i32 {
    #[inline]
    fn rank(self) -> u128 {
        i64::from(self).rank()
    }
}

impl Rank for i16 {
    #[inline]
    fn rank(self) -> u128 {
        i64::from(self).rank()
    }
}

impl Rank for i8 {
    #[inline]
    fn rank(self) -> u128 {
        i64::from(self).rank()
    }
}

impl Rank for u8 {
    #[inline]
    fn rank(self) -> u128 {
        u128::from(self)
    }
}

impl Rank for f64 {
    #[inline]
    fn rank(self) -> u128 {
        // Adding 0.0 turns -0.0 into 0.0.
        let bits = if self.is_nan() { f64::NAN } else { self + 0.0 }.to_bits();
        u128::from(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
    }
}

impl Rank for f32 {
    #[inline]
    fn rank(self) -> u128 {
        f64::from(self).rank()
    }
}

impl Rank for i128 {
    const NARROW: bool = false;
    #[inline]
    fn rank(self) -> u128 {
        self as u128 ^ (1 << 127)
    }
}

impl Rank for IntervalMonthDayNano {
    const NARROW: bool = false;
    #[inline]
    fn rank(self) -> u128 {
        let half = |value: i32| u128::from(value as u32 ^ (1 << 31));
        half(self.months) << 96 | half(self.days) << 64 | self.nanoseconds.rank()
    }
}

/// The values of a column; those of NULLs are anything.
#[derive(Debug)]
pub(super) struct Keys {
    pub values: Values,
    pub nulls: Option<NullBuffer>,
}

/// The values by kind.
#[derive(Debug)]
pub(super) enum Values {
    Narrow(Vec<u64>),
    Wide(Vec<u128>),
    Bytes(BinaryViewArray),
}

/// Whether values of a type can be compared and hashed as [`Keys`].
pub(super) fn comparable(data_type: &DataType) -> bool {
    !data_type.is_nested()
}

impl Keys {
    /// Of a column whose type is [`comparable`].
    pub fn of(column: &ArrayRef) -> Result<Self> {
        let values = match column.data_type() {
            DataType::Utf8View => Values::Bytes(column.as_string_view().clone().to_binary_view()),
            DataType::BinaryView => Values::Bytes(column.as_binary_view().clone()),
            DataType::Boolean => Values::Narrow(column.as_boolean().values().iter().map(u64::from).collect()),
            DataType::Int8 => ranks(column.as_primitive::<arrow::datatypes::Int8Type>()),
            DataType::Int16 => ranks(column.as_primitive::<arrow::datatypes::Int16Type>()),
            DataType::Int32 => ranks(column.as_primitive::<arrow::datatypes::Int32Type>()),
            DataType::Int64 => ranks(column.as_primitive::<arrow::datatypes::Int64Type>()),
            DataType::Float32 => ranks(column.as_primitive::<arrow::datatypes::Float32Type>()),
            DataType::Float64 => ranks(column.as_primitive::<arrow::datatypes::Float64Type>()),
            DataType::Date32 => ranks(column.as_primitive::<arrow::datatypes::Date32Type>()),
            DataType::Time64(_) => ranks(column.as_primitive::<arrow::datatypes::Time64MicrosecondType>()),
            DataType::Timestamp(_, _) => ranks(column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>()),
            DataType::Decimal128(_, _) => ranks(column.as_primitive::<arrow::datatypes::Decimal128Type>()),
            DataType::Interval(_) => ranks(column.as_primitive::<arrow::datatypes::IntervalMonthDayNanoType>()),
            other => {
                let name = types::name(other);
                return Err(Error::failed(format!("a table cannot compare values of {name}")));
            }
        };
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        Ok(Keys { values, nulls })
    }

    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Compares two values, neither NULL, of columns of one type.
    pub fn compare(&self, row: usize, other: &Keys, other_row: usize) -> Ordering {
        match (&self.values, &other.values) {
            (Values::Narrow(a), Values::Narrow(b)) => a[row].cmp(&b[other_row]),
            (Values::Wide(a), Values::Wide(b)) => a[row].cmp(&b[other_row]),
            (Values::Bytes(a), Values::Bytes(b)) => a.value(row).cmp(b.value(other_row)),
            // Columns of two types are never asked for.
            _ => Ordering::Less,
        }
    }

    fn hash_into(&self, hasher: &DefaultHashBuilder, hashes: &mut [u64]) {
        match &self.values {
            Values::Narrow(words) => mix(hashes, words.iter().map(|word| hasher.hash_one(word))),
            Values::Wide(words) => mix(hashes, words.iter().map(|word| hasher.hash_one(word))),
            Values::Bytes(bytes) => {
                let views = bytes.views().iter().enumerate();
                // A short value is its view.
                mix(
                    hashes,
                    views.map(|(row, view)| match *view as u32 {
                        0..=12 => hasher.hash_one(view),
                        _ => hasher.hash_one(bytes.value(row)),
                    }),
                );
            }
        }
    }
}

fn ranks<P: ArrowPrimitiveType<Native: Rank>>(column: &PrimitiveArray<P>) -> Values {
    let values = column.values().iter();
    match <P::Native as Rank>::NARROW {
        true => Values::Narrow(values.map(|value| value.rank() as u64).collect()),
        false => Values::Wide(values.map(|value| value.rank()).collect()),
    }
}

#[inline]
fn mix(hashes: &mut [u64], values: impl Iterator<Item = u64>) {
    for (hash, value) in hashes.iter_mut().zip(values) {
        *hash = (hash.rotate_left(26) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Hashed keys of one or several columns.
#[derive(Debug)]
pub(super) struct Hashed {
    /// A hash a row.
    pub tags: Vec<u32>,
    /// The rows where no part is NULL, if there are others.
    pub nulls: Option<NullBuffer>,
}

impl Hashed {
    /// Hashes keys: equal ones alike.
    pub fn of(keys: &[Keys], rows: usize, hasher: &DefaultHashBuilder) -> Self {
        let mut hashes = vec![0; rows];
        let mut nulls = None;
        for part in keys {
            part.hash_into(hasher, &mut hashes);
            nulls = NullBuffer::union(nulls.as_ref(), part.nulls.as_ref());
        }
        Hashed {
            tags: hashes.iter().map(|hash| (hash >> 32) as u32).collect(),
            nulls,
        }
    }

    /// Whether a part of a row's key is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}

/// The keys of columns.
pub(super) fn keys_of(columns: &[ArrayRef]) -> Result<Vec<Keys>> {
    columns.iter().map(Keys::of).collect()
}

/// Whether two rows have the same keys.
pub(super) fn same(keys: &[Keys], a: usize, b: usize) -> bool {
    keys.iter().all(|part| part.compare(a, part, b).is_eq())
}

/// The column in a type, cast if it is not.
pub(super) fn in_type(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    match column.data_type() == data_type {
        true => Ok(column.clone()),
        false => Ok(cast(column, data_type)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_have_the_order_of_their_values() {
        let doubles = [
            f64::NEG_INFINITY,
            -1.5,
            -1e-300,
            0.0,
            1e-300,
            1.5,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(doubles.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
        assert_eq!((-0.0f64).rank(), 0.0f64.rank());
        assert_eq!((-f64::NAN).rank(), f64::NAN.rank());
        let longs = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(longs.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
        let wide = [i128::MIN, -1, 0, 1, i128::MAX];
        assert!(wide.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
    }
}
