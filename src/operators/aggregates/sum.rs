//! `sum`: of floats without drift, of integers and decimals exactly. O(1) a row.
//!
//! Integers are summed in 128 bits and decimals in 256, which cannot overflow; only the value that is asked for must fit
//! the result's type, else it is NULL and a [`super::Failure`]. State: 32 to 48 bytes a group.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Decimal256Array, Int64Array};
use arrow::datatypes::{DataType, i256};

use super::grouped::{Kernel, Overflow};
use super::kinds::{Native, Number, Numbers, Ordered};
use super::saved;
use super::sum2::FloatSum;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// Sums floats.
#[derive(Clone)]
pub(super) struct SumFloats {
    pub argument: Native<f64>,
}

impl Kernel for SumFloats {
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

    fn output(&self, rows: usize) -> Numbers<f64> {
        Numbers::new(rows)
    }

    #[inline(always)]
    fn emit(&self, sum: &FloatSum, output: &mut Numbers<f64>) -> Result<(), Overflow> {
        output.push((sum.count != 0).then(|| sum.value()));
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
    pub sum: S,
    pub count: i64,
}

/// Sums integers (and durations): `N` is the type of the values and of the sum.
#[derive(Clone)]
pub(super) struct SumIntegers<N> {
    /// The argument; its type is the sum's too.
    pub argument: Native<N>,
    pub data_type: DataType,
}

impl<N: Number + Into<i128> + TryFrom<i128>> Kernel for SumIntegers<N> {
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
        let sum = N::try_from(state.sum).ok();
        output.push(sum.filter(|_| state.count != 0));
        match sum {
            Some(_) => Ok(()),
            None => Err(Overflow),
        }
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

/// Sums decimals of one scale.
#[derive(Clone)]
pub(super) struct SumDecimals {
    pub argument: Native<i128>,
    pub data_type: DataType,
    /// The least number with more digits than the sum may have.
    pub limit: i128,
}

impl Kernel for SumDecimals {
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
        emit_decimal((state.count != 0).then_some(state.sum), self.limit, output)
    }

    fn finish(&self, output: Numbers<i128>) -> Result<ArrayRef> {
        output.finish(&self.data_type)
    }

    fn merge(&self, from: &ExactSum<i256>, into: &mut ExactSum<i256>) {
        into.sum = into.sum.wrapping_add(from.sum);
        into.count += from.count;
    }

    fn save(&self, states: &[ExactSum<i256>], writer: &mut StateWriter) -> Result<()> {
        save_wide(states, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<ExactSum<i256>>> {
        load_wide(reader)
    }
}

/// Appends a decimal that must have an absolute value below `limit`.
pub(super) fn emit_decimal(value: Option<i256>, limit: i128, output: &mut Numbers<i128>) -> Result<(), Overflow> {
    let narrow = value.and_then(i256::to_i128);
    let fits = narrow.filter(|value| value.unsigned_abs() < limit.unsigned_abs());
    output.push(fits);
    match value.is_some() && fits.is_none() {
        true => Err(Overflow),
        false => Ok(()),
    }
}

/// The least number with more than `precision` digits.
pub(super) fn decimal_limit(precision: u8) -> i128 {
    10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX)
}

/// Writes sums in 256 bits.
pub(super) fn save_wide(states: &[ExactSum<i256>], writer: &mut StateWriter) -> Result<()> {
    let sums = Decimal256Array::from_iter_values(states.iter().map(|state| state.sum));
    write_exact(Arc::new(sums), states, writer)
}

/// Reads what [`save_wide`] wrote.
pub(super) fn load_wide(reader: &mut StateReader) -> Result<Vec<ExactSum<i256>>> {
    let [sums, counts] = saved::read(reader)?;
    let sums = saved::typed::<Decimal256Array>(&sums)?.values();
    let counts = saved::typed::<Int64Array>(&counts)?.values();
    let states = sums.iter().zip(counts);
    Ok(states.map(|(&sum, &count)| ExactSum { sum, count }).collect())
}

fn write_exact<S>(sums: ArrayRef, states: &[ExactSum<S>], writer: &mut StateWriter) -> Result<()> {
    let counts = Int64Array::from_iter_values(states.iter().map(|state| state.count));
    saved::write(vec![sums, Arc::new(counts)], writer)
}
