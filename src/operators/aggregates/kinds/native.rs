//! Numbers, times and decimals: fixed-width values.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use arrow::array::NullBufferBuilder;
use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};

use super::{Argument, Kind, column};
use crate::error::Result;

/// A fixed-width value.
pub(in super::super) trait Number: ArrowNativeType + Copy + Send + Sync {
    /// Where it stands in the order of values.
    type Rank: Ord + Hash;

    /// Where it stands in the order of values. Equal values (`-0.0` and `0.0`, any two NaNs) have equal ranks.
    fn rank(self) -> Self::Rank;

    /// Whether it is greater.
    #[inline(always)]
    fn above(self, other: Self) -> bool {
        self.rank() > other.rank()
    }
}

impl Number for i32 {
    type Rank = i32;
    #[inline(always)]
    fn rank(self) -> i32 {
        self
    }
}

impl Number for i64 {
    type Rank = i64;
    #[inline(always)]
    fn rank(self) -> i64 {
        self
    }
}

impl Number for u64 {
    type Rank = u64;
    #[inline(always)]
    fn rank(self) -> u64 {
        self
    }
}

impl Number for i128 {
    type Rank = i128;
    #[inline(always)]
    fn rank(self) -> i128 {
        self
    }
}

impl Number for f64 {
    type Rank = i64;
    #[inline(always)]
    fn rank(self) -> i64 {
        // Adding 0.0 turns -0.0 into 0.0. Negative floats order backwards by their bits.
        let bits = if self.is_nan() { f64::NAN } else { self + 0.0 }.to_bits() as i64;
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    }
    #[inline(always)]
    fn above(self, other: f64) -> bool {
        self > other || (self.is_nan() && !other.is_nan())
    }
}

impl Number for f32 {
    type Rank = i64;
    #[inline(always)]
    fn rank(self) -> i64 {
        f64::from(self).rank()
    }
    #[inline(always)]
    fn above(self, other: f32) -> bool {
        self > other || (self.is_nan() && !other.is_nan())
    }
}

/// A number with the order of its ranks.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Ordered<N>(pub N);

impl<N: Number> Ord for Ordered<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank().cmp(&other.0.rank())
    }
}

impl<N: Number> PartialOrd for Ordered<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
    #[inline(always)]
    fn gt(&self, other: &Self) -> bool {
        self.0.above(other.0)
    }
    #[inline(always)]
    fn lt(&self, other: &Self) -> bool {
        other.0.above(self.0)
    }
    #[inline(always)]
    fn le(&self, other: &Self) -> bool {
        !self.0.above(other.0)
    }
    #[inline(always)]
    fn ge(&self, other: &Self) -> bool {
        !other.0.above(self.0)
    }
}

impl<N: Number> PartialEq for Ordered<N> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0.rank() == other.0.rank()
    }
}

impl<N: Number> Eq for Ordered<N> {}

impl<N: Number> Hash for Ordered<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.rank().hash(state);
    }
}

/// Columns of one type whose values are `N`s.
#[derive(Debug, Clone)]
pub(in super::super) struct Native<N> {
    data_type: DataType,
    values: std::marker::PhantomData<N>,
}

impl<N> Native<N> {
    /// Columns of this type, whose values must be `N`s.
    pub fn new(data_type: DataType) -> Self {
        Native {
            data_type,
            values: std::marker::PhantomData,
        }
    }
}

impl<N: Number> Argument for Native<N> {
    type Column = ScalarBuffer<N>;
    type Value<'a> = Ordered<N>;

    fn open(&self, arguments: &[ArrayRef]) -> Result<(ScalarBuffer<N>, Option<NullBuffer>)> {
        let data = column(arguments, &self.data_type)?.to_data();
        let values = ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len());
        Ok((values, data.nulls().cloned()))
    }

    #[inline(always)]
    fn get(column: &ScalarBuffer<N>, row: usize) -> Ordered<N> {
        Ordered(column[row])
    }
}

/// A column of numbers under construction.
pub(in super::super) struct Numbers<N> {
    values: Vec<N>,
    nulls: NullBufferBuilder,
}

impl<N: Number> Numbers<N> {
    /// An empty column for this many rows.
    pub fn new(rows: usize) -> Self {
        Numbers {
            values: Vec::with_capacity(rows),
            nulls: NullBufferBuilder::new(rows),
        }
    }

    /// Appends a value or NULL.
    #[inline(always)]
    pub fn push(&mut self, value: Option<N>) {
        self.values.push(value.unwrap_or_default());
        match value {
            Some(_) => self.nulls.append_non_null(),
            None => self.nulls.append_null(),
        }
    }

    /// The finished column, of a type whose values are `N`s.
    pub fn finish(mut self, data_type: &DataType) -> Result<ArrayRef> {
        let data = ArrayData::builder(data_type.clone())
            .len(self.values.len())
            .nulls(self.nulls.finish())
            .add_buffer(ScalarBuffer::from(self.values).into_inner());
        Ok(make_array(data.build()?))
    }
}

impl<N: Number> Kind for Native<N> {
    type Key = Ordered<N>;
    type Held = Ordered<N>;
    type Builder = Numbers<N>;

    #[inline(always)]
    fn hold(value: &Ordered<N>) -> Ordered<N> {
        *value
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn builder(&self, rows: usize) -> Numbers<N> {
        Numbers::new(rows)
    }

    #[inline(always)]
    fn push(builder: &mut Numbers<N>, value: Option<&Ordered<N>>) {
        builder.push(value.map(|value| value.0));
    }

    fn finish(&self, builder: Numbers<N>) -> Result<ArrayRef> {
        builder.finish(&self.data_type)
    }
}
