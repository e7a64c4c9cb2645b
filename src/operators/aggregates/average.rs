//! `avg`: a sum over its count. Of floats a DOUBLE; of decimals a decimal with four more digits, cut off towards zero; of
//! durations a duration. State and cost as for `sum`.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, i256};

use super::grouped::{Kernel, Overflow};
use super::kinds::{Native, Numbers, Ordered};
use super::sum::{ExactSum, SumIntegers, emit_decimal, load_wide, save_wide};
use super::sum2::FloatSum;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// Averages floats.
#[derive(Clone)]
pub(super) struct AverageFloats {
    pub argument: Native<f64>,
}

impl Kernel for AverageFloats {
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
        output.push((sum.count != 0).then(|| sum.value() / sum.count as f64));
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

/// Averages decimals.
#[derive(Clone)]
pub(super) struct AverageDecimals {
    pub argument: Native<i128>,
    pub data_type: DataType,
    /// Ten to the number of digits that the result has more.
    pub factor: i128,
    /// The least number with more digits than the result may have.
    pub limit: i128,
}

impl Kernel for AverageDecimals {
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
        let scaled = state.sum.wrapping_mul(i256::from_i128(self.factor));
        let average = scaled.checked_div(i256::from_i128(state.count.into()));
        emit_decimal(average, self.limit, output)
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

/// Averages durations.
#[derive(Clone)]
pub(super) struct AverageDurations {
    pub sum: SumIntegers<i64>,
}

impl Kernel for AverageDurations {
    type Argument = Native<i64>;
    type State = ExactSum<i128>;
    type Output = Numbers<i64>;

    fn argument(&self) -> &Native<i64> {
        &self.sum.argument
    }

    fn data_type(&self) -> &DataType {
        &self.sum.data_type
    }

    fn add(&self, state: &mut ExactSum<i128>, value: Ordered<i64>) {
        self.sum.add(state, value);
    }

    fn retract(&self, state: &mut ExactSum<i128>, value: Ordered<i64>) {
        self.sum.retract(state, value);
    }

    fn output(&self, rows: usize) -> Numbers<i64> {
        Numbers::new(rows)
    }

    fn emit(&self, state: &ExactSum<i128>, output: &mut Numbers<i64>) -> Result<(), Overflow> {
        let average = state.sum.checked_div(state.count.into());
        output.push(average.and_then(|average| i64::try_from(average).ok()));
        Ok(())
    }

    fn finish(&self, output: Numbers<i64>) -> Result<ArrayRef> {
        output.finish(self.data_type())
    }

    fn merge(&self, from: &ExactSum<i128>, into: &mut ExactSum<i128>) {
        self.sum.merge(from, into);
    }

    fn save(&self, states: &[ExactSum<i128>], writer: &mut StateWriter) -> Result<()> {
        self.sum.save(states, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<ExactSum<i128>>> {
        self.sum.load(reader)
    }
}
