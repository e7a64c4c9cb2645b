//! `sum` and `avg`: of floats without drift, of integers, decimals and durations exactly. O(1) a row.
//!
//! Integers are summed in 128 bits and decimals in 256, which cannot overflow; only the value that is asked for must fit
//! the result's type, else it is NULL and a [`super::Failure`]. The mean of decimals has four digits more and is cut off
//! towards zero. State: 32 to 48 bytes a group.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Decimal256Array, Int64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, i256};

use super::grouped::{Kernel, Overflow};
use super::kinds::{Native, Number, Numbers, Ordered};
use super::saved;
use super::sum2::FloatSum;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// What is made of a sum and a count that is not 0: the sum itself or the mean.
pub(super) trait Give: Clone + Send + Sync + 'static {
    /// Of floats.
    fn float(sum: f64, count: i64) -> f64;
    /// Of integers.
    fn integer(sum: i128, count: i64) -> i128;
    /// Of decimals.
    fn decimal(sum: i256, count: i64) -> i256;
}

/// `sum`.
#[derive(Clone)]
pub(super) struct Total;

/// `avg`.
#[derive(Clone)]
pub(super) struct Mean;

impl Give for Total {
    #[inline(always)]
    fn float(sum: f64, _count: i64) -> f64 {
        sum
    }
    #[inline(always)]
    fn integer(sum: i128, _count: i64) -> i128 {
        sum
    }
    #[inline(always)]
    fn decimal(sum: i256, _count: i64) -> i256 {
        sum
    }
}

impl Give for Mean {
    #[inline(always)]
    fn float(sum: f64, count: i64) -> f64 {
        sum / count as f64
    }
    fn integer(sum: i128, count: i64) -> i128 {
        sum.checked_div(count.into()).unwrap_or_default()
    }
    fn decimal(sum: i256, count: i64) -> i256 {
        sum.checked_div(i256::from_i128(count.into())).unwrap_or_default()
    }
}

/// Of floats.
#[derive(Clone)]
pub(super) struct Floats<G> {
    argument: Native<f64>,
    give: PhantomData<G>,
}

impl<G> Floats<G> {
    /// Of DOUBLEs.
    pub fn new() -> Self {
        Floats {
            argument: Native::new(DataType::Float64),
            give: PhantomData,
        }
    }
}

impl<G: Give> Kernel for Floats<G> {
    type Argument = Native<f64>;
    type State = FloatSum;
    type Output = Numbers<f64>;

    fn argument(&self) -> &Native<f64> {
        &self.argument
    }

    fn data_type(&self) -> &DataType {
        &DataType::Float64
    }

    #[inline(always)]
    fn add(&self, sum: &mut FloatSum, value: Ordered<f64>) {
        sum.change(value.0, 1);
    }

    #[inline(always)]
    fn retract(&self, sum: &mut FloatSum, value: Ordered<f64>) {
        sum.change(value.0, -1);
    }

    #[inline(always)]
    fn change(&self, sum: &mut FloatSum, value: Ordered<f64>, weight: i8) {
        if weight != 0 {
            sum.change(value.0, weight);
        }
    }

    fn add_all(&self, sum: &mut FloatSum, column: &ScalarBuffer<f64>, rows: usize) {
        sum.add_all(&column[..rows]);
    }

    fn output(&self, rows: usize) -> Numbers<f64> {
        Numbers::new(rows)
    }

    #[inline(always)]
    fn emit(&self, sum: &FloatSum, output: &mut Numbers<f64>) -> Result<(), Overflow> {
        output.push((sum.count != 0).then(|| G::float(sum.value(), sum.count)));
        Ok(())
    }

    fn finish(&self, output: Numbers<f64>) -> Result<ArrayRef> {
        output.finish(&DataType::Float64)
    }

    fn merge(&self, from: &FloatSum, into: &mut FloatSum) {
        into.merge(from);
    }

    fn save(&self, sums: &[FloatSum], writer: &mut StateWriter) -> Result<()> {
        FloatSum::save(sums, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<FloatSum>> {
        FloatSum::load(reader)
    }
}

/// The sum and number of exact values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ExactSum<S> {
    sum: S,
    count: i64,
}

/// Of integers and durations: `N` is the type of the values and of the result.
#[derive(Clone)]
pub(super) struct Integers<N, G> {
    argument: Native<N>,
    data_type: DataType,
    give: PhantomData<G>,
}

impl<N, G> Integers<N, G> {
    /// Of values of this type, which is also the result's.
    pub fn new(data_type: DataType) -> Self {
        Integers {
            argument: Native::new(data_type.clone()),
            data_type,
            give: PhantomData,
        }
    }
}

impl<N: Number + Into<i128> + TryFrom<i128>, G: Give> Kernel for Integers<N, G> {
    type Argument = Native<N>;
    type State = ExactSum<i128>;
    type Output = Numbers<N>;

    fn argument(&self) -> &Native<N> {
        &self.argument
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    #[inline(always)]
    fn add(&self, state: &mut ExactSum<i128>, value: Ordered<N>) {
        state.sum += value.0.into();
        state.count += 1;
    }

    #[inline(always)]
    fn retract(&self, state: &mut ExactSum<i128>, value: Ordered<N>) {
        state.sum -= value.0.into();
        state.count -= 1;
    }

    fn output(&self, rows: usize) -> Numbers<N> {
        Numbers::new(rows)
    }

    #[inline(always)]
    fn emit(&self, state: &ExactSum<i128>, output: &mut Numbers<N>) -> Result<(), Overflow> {
        if state.count == 0 {
            output.push(None);
            return Ok(());
        }
        let value = N::try_from(G::integer(state.sum, state.count));
        output.push(value.as_ref().ok().copied());
        value.map(drop).map_err(|_| Overflow)
    }

    fn finish(&self, output: Numbers<N>) -> Result<ArrayRef> {
        output.finish(&self.data_type)
    }

    fn merge(&self, from: &ExactSum<i128>, into: &mut ExactSum<i128>) {
        into.sum += from.sum;
        into.count += from.count;
    }

    fn save(&self, states: &[ExactSum<i128>], writer: &mut StateWriter) -> Result<()> {
        let sums = Decimal128Array::from_iter_values(states.iter().map(|state| state.sum));
        write_exact(Arc::new(sums), states, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<ExactSum<i128>>> {
        let [sums, counts] = saved::read(reader)?;
        let sums = saved::typed::<Decimal128Array>(&sums)?.values();
        let counts = saved::typed::<Int64Array>(&counts)?.values();
        let states = sums.iter().zip(counts);
        Ok(states.map(|(&sum, &count)| ExactSum { sum, count }).collect())
    }
}

/// Of decimals of one scale.
#[derive(Clone)]
pub(super) struct Decimals<G> {
    argument: Native<i128>,
    data_type: DataType,
    /// Ten to the number of digits after the point that the result has more.
    factor: i128,
    /// The least number with more digits than the result may have.
    limit: i128,
    give: PhantomData<G>,
}

impl<G> Decimals<G> {
    /// Of values of one decimal type, giving another.
    pub fn new(argument: &DataType, result: &DataType) -> Option<Self> {
        let (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) = (argument, result) else {
            return None;
        };
        let digits = to.checked_sub(*from)?;
        Some(Decimals {
            argument: Native::new(argument.clone()),
            data_type: result.clone(),
            factor: 10_i128.checked_pow(u32::try_from(digits).ok()?)?,
            limit: 10_i128.checked_pow(u32::from(*precision))?,
            give: PhantomData,
        })
    }
}

impl<G: Give> Kernel for Decimals<G> {
    type Argument = Native<i128>;
    type State = ExactSum<i256>;
    type Output = Numbers<i128>;

    fn argument(&self) -> &Native<i128> {
        &self.argument
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    #[inline(always)]
    fn add(&self, state: &mut ExactSum<i256>, value: Ordered<i128>) {
        state.sum = state.sum.wrapping_add(i256::from_i128(value.0));
        state.count += 1;
    }

    #[inline(always)]
    fn retract(&self, state: &mut ExactSum<i256>, value: Ordered<i128>) {
        state.sum = state.sum.wrapping_sub(i256::from_i128(value.0));
        state.count -= 1;
    }

    fn output(&self, rows: usize) -> Numbers<i128> {
        Numbers::new(rows)
    }

    fn emit(&self, state: &ExactSum<i256>, output: &mut Numbers<i128>) -> Result<(), Overflow> {
        if state.count == 0 {
            output.push(None);
            return Ok(());
        }
        let scaled = state.sum.wrapping_mul(i256::from_i128(self.factor));
        let value = G::decimal(scaled, state.count).to_i128();
        let fits = value.filter(|value| value.unsigned_abs() < self.limit.unsigned_abs());
        output.push(fits);
        fits.map(drop).ok_or(Overflow)
    }

    fn finish(&self, output: Numbers<i128>) -> Result<ArrayRef> {
        output.finish(&self.data_type)
    }

    fn merge(&self, from: &ExactSum<i256>, into: &mut ExactSum<i256>) {
        into.sum = into.sum.wrapping_add(from.sum);
        into.count += from.count;
    }

    fn save(&self, states: &[ExactSum<i256>], writer: &mut StateWriter) -> Result<()> {
        let sums = Decimal256Array::from_iter_values(states.iter().map(|state| state.sum));
        write_exact(Arc::new(sums), states, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<ExactSum<i256>>> {
        let [sums, counts] = saved::read(reader)?;
        let sums = saved::typed::<Decimal256Array>(&sums)?.values();
        let counts = saved::typed::<Int64Array>(&counts)?.values();
        let states = sums.iter().zip(counts);
        Ok(states.map(|(&sum, &count)| ExactSum { sum, count }).collect())
    }
}

fn write_exact<S>(sums: ArrayRef, states: &[ExactSum<S>], writer: &mut StateWriter) -> Result<()> {
    let counts = Int64Array::from_iter_values(states.iter().map(|state| state.count));
    saved::write(vec![sums, Arc::new(counts)], writer)
}
