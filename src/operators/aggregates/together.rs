//! How two columns go together: `corr`, `covar_samp`, `covar_pop` and the `regr_…` family.
//!
//! Kept are, of the rows in which both are there, the [`Moments`] of each column and the sum of the products of their
//! distances from the same shifts, all with their rounding errors. So rows can be taken back for ever, and a line through
//! points that have all the same x again has no slope. State: 168 bytes a group; O(1) a row.
//!
//! NaN or an infinity makes the results NaN, as in PostgreSQL, until it is taken back. NULL is the result of too few rows, and
//! where it would be a division by a spread of zero.

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::grouped::{Kernel, Overflow};
use super::kinds::{Argument, Numbers};
use super::saved;
use super::sum2::{Sum2, two_product, two_sum};
use super::variance::{Moments, NOISE, is_huge};
use crate::error::{Error, Result};
use crate::operators::state::{StateReader, StateWriter};

/// What is made of the sums. Of two arguments the first is y, the second x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Correlation,
    SampleCovariance,
    Covariance,
    Slope,
    Intercept,
    Count,
    R2,
    MeanX,
    MeanY,
    SquaresX,
    SquaresY,
    Products,
}

impl Measure {
    /// By the function's name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "corr" => Measure::Correlation,
            "covar_samp" => Measure::SampleCovariance,
            "covar_pop" => Measure::Covariance,
            "regr_slope" => Measure::Slope,
            "regr_intercept" => Measure::Intercept,
            "regr_count" => Measure::Count,
            "regr_r2" => Measure::R2,
            "regr_avgx" => Measure::MeanX,
            "regr_avgy" => Measure::MeanY,
            "regr_sxx" => Measure::SquaresX,
            "regr_syy" => Measure::SquaresY,
            "regr_sxy" => Measure::Products,
            _ => return None,
        })
    }

    fn of(self, pairs: &Pairs) -> Option<f64> {
        let count = pairs.x.count as f64;
        match self {
            Measure::Count => return Some(count),
            Measure::SampleCovariance if pairs.x.count < 2 => return None,
            _ if pairs.x.count < 1 => return None,
            _ => {}
        }
        let (xx, yy, xy) = (pairs.x.squares(), pairs.y.squares(), pairs.products());
        match self {
            Measure::Correlation => (xx != 0.0 && yy != 0.0).then(|| (xy / xx.sqrt() / yy.sqrt()).clamp(-1.0, 1.0)),
            Measure::SampleCovariance => Some(xy / (count - 1.0)),
            Measure::Covariance => Some(xy / count),
            Measure::Slope => (xx != 0.0).then(|| xy / xx),
            Measure::Intercept => (xx != 0.0).then(|| pairs.y.mean() - xy / xx * pairs.x.mean()),
            Measure::R2 => (xx != 0.0 && yy != 0.0).then(|| (xy / xx * (xy / yy)).min(1.0)),
            Measure::MeanX => Some(pairs.x.mean()),
            Measure::MeanY => Some(pairs.y.mean()),
            Measure::SquaresX => Some(xx),
            Measure::SquaresY => Some(yy),
            Measure::Products => Some(xy),
            Measure::Count => Some(count),
        }
    }
}

/// The sums of a group. Both columns have the same count.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairs {
    x: Moments,
    y: Moments,
    /// The products of the distances from both shifts.
    cross: Sum2,
}

/// A distance as a sum: from `b` to `a`.
fn distance(a: f64, b: f64) -> Sum2 {
    let (sum, error) = two_sum(a, -b);
    Sum2 { sum, error }
}

impl Pairs {
    #[inline(always)]
    fn change(&mut self, (y, x): (f64, f64), weight: i8) {
        if is_huge(x) || is_huge(y) {
            self.x.change_strange(weight);
            self.y.change_strange(weight);
            return;
        }
        if self.x.is_plain_empty() {
            self.cross = Sum2::default();
        }
        // These set the shifts, if they are the first.
        self.x.change(x, weight);
        self.y.change(y, weight);
        let (dx, dy) = (distance(x, self.x.shift), distance(y, self.y.shift));
        let (product, rest) = two_product(dx.sum, dy.sum);
        let weight = f64::from(weight);
        self.cross.add(product * weight);
        self.cross.error += (rest + dx.sum * dy.error + dy.sum * dx.error) * weight;
    }

    /// `Σ(x - mean x)(y - mean y)`.
    fn products(&self) -> f64 {
        if self.x.strange != 0 {
            return f64::NAN;
        }
        let mean_part = self.x.first.times(self.y.first).over(self.x.count as f64);
        let mut products = self.cross.normal();
        products.add_sum(mean_part.negated());
        let products = products.value();
        let scale = self.x.second.value().sqrt() * self.y.second.value().sqrt();
        if products.abs() > scale * NOISE { products } else { 0.0 }
    }

    fn merge(&mut self, other: &Pairs) {
        if self.x.is_plain_empty() {
            self.cross = other.cross;
        } else if !other.x.is_plain_empty() {
            // The other's distances are measured from its own shifts.
            let (by_x, by_y) = (
                distance(other.x.shift, self.x.shift),
                distance(other.y.shift, self.y.shift),
            );
            self.cross.add_sum(other.cross);
            self.cross.add_sum(by_x.times(other.y.first));
            self.cross.add_sum(by_y.times(other.x.first));
            self.cross.add_sum(by_x.times(by_y).times(other.x.plain_count()));
        }
        self.x.merge(&other.x);
        self.y.merge(&other.y);
    }
}

/// Two DOUBLEs; NULL if either is.
#[derive(Debug, Clone)]
pub(super) struct Two;

impl Argument for Two {
    type Column = (Float64Array, Float64Array);
    type Value<'a> = (f64, f64);

    fn open(&self, arguments: &[ArrayRef]) -> Result<(Self::Column, Option<NullBuffer>)> {
        let column = |index: usize| {
            let column = arguments.get(index);
            let column = column.ok_or_else(|| Error::failed("an aggregate lacks its argument"))?;
            Ok::<_, Error>(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        let (y, x) = (column(0)?, column(1)?);
        let nulls = NullBuffer::union(arrow::array::Array::nulls(&y), arrow::array::Array::nulls(&x));
        Ok(((y, x), nulls))
    }

    #[inline(always)]
    fn get(column: &Self::Column, row: usize) -> (f64, f64) {
        (column.0.value(row), column.1.value(row))
    }
}

/// Computes one measure.
#[derive(Debug, Clone)]
pub(super) struct Together {
    measure: Measure,
    data_type: DataType,
}

impl Together {
    /// As values of this type.
    pub fn new(measure: Measure, data_type: DataType) -> Self {
        Together { measure, data_type }
    }
}

impl Kernel for Together {
    type Argument = Two;
    type State = Pairs;
    type Output = Numbers<f64>;

    fn argument(&self) -> &Two {
        &Two
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    #[inline(always)]
    fn add(&self, pairs: &mut Pairs, value: (f64, f64)) {
        pairs.change(value, 1);
    }

    #[inline(always)]
    fn retract(&self, pairs: &mut Pairs, value: (f64, f64)) {
        pairs.change(value, -1);
    }

    fn output(&self, rows: usize) -> Numbers<f64> {
        Numbers::new(rows)
    }

    fn emit(&self, pairs: &Pairs, output: &mut Numbers<f64>) -> Result<(), Overflow> {
        output.push(self.measure.of(pairs));
        Ok(())
    }

    fn finish(&self, output: Numbers<f64>) -> Result<ArrayRef> {
        let column = output.finish(&DataType::Float64)?;
        // A count is a whole number of another type.
        Ok(cast(&column, &self.data_type)?)
    }

    fn merge(&self, from: &Pairs, into: &mut Pairs) {
        into.merge(from);
    }

    fn save(&self, states: &[Pairs], writer: &mut StateWriter) -> Result<()> {
        let of = |get: fn(&Pairs) -> Moments| states.iter().map(get).collect::<Vec<_>>();
        let mut columns = Moments::columns(&of(|pairs| pairs.x));
        columns.extend(Moments::columns(&of(|pairs| pairs.y)));
        for get in [|pairs: &Pairs| pairs.cross.sum, |pairs: &Pairs| pairs.cross.error] {
            columns.push(std::sync::Arc::new(Float64Array::from_iter_values(
                states.iter().map(get),
            )));
        }
        saved::write(columns, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<Pairs>> {
        let columns: [ArrayRef; 16] = saved::read(reader)?;
        let (x, y) = (
            Moments::from_columns(&columns[..7])?,
            Moments::from_columns(&columns[7..14])?,
        );
        let sums = saved::typed::<Float64Array>(&columns[14])?.values().clone();
        let errors = saved::typed::<Float64Array>(&columns[15])?.values().clone();
        let rows = x.into_iter().zip(y).zip(sums.iter().zip(errors.iter()));
        Ok(rows
            .map(|((x, y), (&sum, &error))| Pairs {
                x,
                y,
                cross: Sum2 { sum, error },
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(changes: &[(f64, f64, i8)]) -> Pairs {
        let mut pairs = Pairs::default();
        for (y, x, weight) in changes {
            pairs.change((*y, *x), *weight);
        }
        pairs
    }

    #[test]
    fn what_is_taken_back_leaves_no_slope() {
        let line = [(1.0, 0.1, 1), (2.0, 0.1, 1), (7.0, 1e9 / 3.0, 1), (7.0, 1e9 / 3.0, -1)];
        assert_eq!(Measure::Slope.of(&pairs(&line)), None);
        assert_eq!(Measure::Correlation.of(&pairs(&line)), None);
        assert_eq!(Measure::Covariance.of(&pairs(&line)), Some(0.0));
        assert_eq!(Measure::SquaresY.of(&pairs(&line)), Some(0.5));
    }

    #[test]
    fn a_line_is_found_again_after_a_long_slide() {
        let point = |i: i64| {
            let x = ((i * 7919) % 1000) as f64 / 10.0 + 1e9;
            (3.0 * x + 0.5, x)
        };
        let mut window = Pairs::default();
        for i in 0..100_000 {
            window.change(point(i), 1);
            if i >= 50 {
                window.change(point(i - 50), -1);
            }
        }
        let slope = Measure::Slope.of(&window).unwrap_or(f64::NAN);
        assert!((slope - 3.0).abs() < 1e-6, "{slope}");
        assert!((Measure::Correlation.of(&window).unwrap_or(f64::NAN) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nan_and_infinity_are_nan_until_they_leave() {
        let mut changes = vec![
            (1.0, 2.0, 1),
            (f64::NAN, 1.0, 1),
            (3.0, 3.0, 1),
            (4.0, f64::INFINITY, 1),
        ];
        assert!(Measure::Covariance.of(&pairs(&changes)).is_some_and(f64::is_nan));
        changes.extend([(f64::NAN, 1.0, -1), (4.0, f64::INFINITY, -1)]);
        assert_eq!(Measure::Covariance.of(&pairs(&changes)), Some(0.5));
    }

    #[test]
    fn parts_together_are_the_whole() {
        let rows: Vec<(f64, f64, i8)> = (0..20)
            .map(|i| (f64::from(i * i) / 4.0, f64::from(7 - i) + 1e6, 1))
            .collect();
        let (mut left, right) = (pairs(&rows[..7]), pairs(&rows[7..]));
        left.merge(&right);
        let whole = pairs(&rows);
        for measure in [
            Measure::Slope,
            Measure::Correlation,
            Measure::Products,
            Measure::MeanX,
            Measure::Intercept,
        ] {
            let (a, b) = (
                measure.of(&left).unwrap_or(f64::NAN),
                measure.of(&whole).unwrap_or(f64::NAN),
            );
            assert!((a - b).abs() <= 1e-9 * b.abs(), "{measure:?}: {a} {b}");
        }
    }
}
