//! Sums of floats that do not drift.
//!
//! A sliding window adds and subtracts for ever; with plain floats each operation leaves a rounding error behind, and one
//! huge value wipes out all small ones. [`Sum2`] keeps the rounding error of every addition beside the sum (TwoSum; Ogita,
//! Rump and Oishi, "Accurate sum and dot product", 2005), as if it were computed with twice the digits. [`FloatSum`] adds
//! what a sum under retraction needs besides: the infinities, NaNs and values near the end of the range are kept apart, so
//! that taking them back leaves the sum of the others.

/// `a + b` and its exact rounding error (Knuth).
#[inline(always)]
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let from_b = sum - a;
    (sum, (a - (sum - from_b)) + (b - from_b))
}

/// `a * b` and its exact rounding error (Dekker), for factors below 2^480.
#[inline(always)]
pub(super) fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
    let error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    (product, error)
}

/// A number as the sum of two of half its digits (Veltkamp).
#[inline(always)]
fn split(a: f64) -> (f64, f64) {
    const SPLITTER: f64 = 134_217_729.0; // 2^27 + 1
    let scaled = SPLITTER * a;
    let high = scaled - (scaled - a);
    (high, a - high)
}

/// A sum with its rounding errors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sum2 {
    /// The sum as floats add it.
    pub sum: f64,
    /// What was rounded off.
    pub error: f64,
}

impl Sum2 {
    /// Adds a number.
    #[inline(always)]
    pub fn add(&mut self, value: f64) {
        let (sum, error) = two_sum(self.sum, value);
        self.sum = sum;
        self.error += error;
    }

    /// Adds another sum.
    #[inline(always)]
    pub fn add_sum(&mut self, other: Sum2) {
        self.add(other.sum);
        self.error += other.error;
    }

    /// The sum.
    #[inline(always)]
    pub fn value(self) -> f64 {
        self.sum + self.error
    }

    /// The sum with the error smaller than half a unit in its last place.
    pub fn normal(self) -> Sum2 {
        let (sum, error) = two_sum(self.sum, self.error);
        Sum2 { sum, error }
    }

    /// The product of two sums.
    pub fn times(self, other: Sum2) -> Sum2 {
        let (a, b) = (self.normal(), other.normal());
        let (product, error) = two_product(a.sum, b.sum);
        let error = error + (a.sum * b.error + a.error * b.sum);
        Sum2 { sum: product, error }.normal()
    }

    /// The sum divided by a number.
    pub fn over(self, divisor: f64) -> Sum2 {
        let a = self.normal();
        let quotient = a.sum / divisor;
        let (back, back_error) = two_product(quotient, divisor);
        let rest = (a.sum - back) - back_error + a.error;
        Sum2 {
            sum: quotient,
            error: rest / divisor,
        }
        .normal()
    }

    /// The sum with the sign changed.
    pub fn negated(self) -> Sum2 {
        Sum2 {
            sum: -self.sum,
            error: -self.error,
        }
    }
}

/// From here on values are summed apart and scaled, so that the sum of finite values cannot overflow on the way.
const HUGE: f64 = 2.037_035_976_334_486e90; // 2^300
/// What huge values are multiplied with: a power of two, so exact.
const SCALE: f64 = 7.458_340_731_200_207e-155; // 2^-512

/// The sum and number of floats, each of which may be taken back.
///
/// The relative error is 2^-106 of the largest sum it ever held since it was last empty; an emptied one is exactly empty.
#[derive(Debug, Clone, Default)]
pub(super) struct FloatSum {
    sum: Sum2,
    /// How many values, special ones too.
    pub count: i64,
    special: Option<Box<Special>>,
}

/// What cannot be in a plain sum.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Special {
    /// How many NaN.
    pub nans: i64,
    /// How many +∞.
    pub highs: i64,
    /// How many -∞.
    pub lows: i64,
    /// How many of [`HUGE`] or beyond.
    pub huge: i64,
    /// Their sum, scaled.
    pub huge_sum: Sum2,
}

impl FloatSum {
    /// Adds (weight 1) or takes back (-1) a value, or does nothing (0).
    #[inline(always)]
    pub fn change(&mut self, value: f64, weight: i8) {
        if value.abs() < HUGE {
            self.sum.add(value * f64::from(weight));
        } else {
            self.change_special(value, weight);
        }
        self.count += i64::from(weight);
        if self.count == 0 {
            self.sum = Sum2::default();
        }
    }

    /// Adds values.
    pub fn add_all(&mut self, values: &[f64]) {
        if !values.iter().all(|value| value.abs() < HUGE) {
            values.iter().for_each(|value| self.change(*value, 1));
            return;
        }
        // Several sums at once, because each addition must wait for the one before.
        let mut lanes = [Sum2::default(); 8];
        let (blocks, rest) = values.as_chunks::<8>();
        for block in blocks {
            for (lane, value) in lanes.iter_mut().zip(block) {
                lane.add(*value);
            }
        }
        lanes.into_iter().for_each(|lane| self.sum.add_sum(lane));
        rest.iter().for_each(|value| self.sum.add(*value));
        self.count += values.len() as i64;
    }

    #[cold]
    #[inline(never)]
    fn change_special(&mut self, value: f64, weight: i8) {
        let special = self.special.get_or_insert_default();
        let times = i64::from(weight);
        if value.is_nan() {
            special.nans += times;
        } else if value == f64::INFINITY {
            special.highs += times;
        } else if value == f64::NEG_INFINITY {
            special.lows += times;
        } else {
            special.huge += times;
            special.huge_sum.add(value * SCALE * f64::from(weight));
        }
        self.tidy();
    }

    /// Drops what holds nothing.
    fn tidy(&mut self) {
        if let Some(special) = &mut self.special {
            if special.huge == 0 {
                special.huge_sum = Sum2::default();
            }
            if **special == Special::default() {
                self.special = None;
            }
        }
    }

    /// The sum; 0.0 of nothing.
    #[inline(always)]
    pub fn value(&self) -> f64 {
        match &self.special {
            None => self.sum.value(),
            Some(special) => self.special_value(special),
        }
    }

    #[cold]
    #[inline(never)]
    fn special_value(&self, special: &Special) -> f64 {
        match (special.nans, special.highs, special.lows) {
            (0, 0, 0) => {}
            (0, _, 0) => return f64::INFINITY,
            (0, 0, _) => return f64::NEG_INFINITY,
            _ => return f64::NAN,
        }
        let mut sum = special.huge_sum.normal();
        if sum.sum == 0.0 {
            return self.sum.value();
        }
        sum.add(self.sum.sum * SCALE);
        sum.add(self.sum.error * SCALE);
        sum.value() / SCALE
    }

    /// Adds what another holds.
    pub fn merge(&mut self, other: &FloatSum) {
        self.sum.add_sum(other.sum);
        self.count += other.count;
        if let Some(from) = &other.special {
            let into = self.special.get_or_insert_default();
            into.nans += from.nans;
            into.highs += from.highs;
            into.lows += from.lows;
            into.huge += from.huge;
            into.huge_sum.add_sum(from.huge_sum);
            self.tidy();
        }
        if self.count == 0 {
            self.sum = Sum2::default();
        }
    }
}

/// Columns of a [`FloatSum`] in a snapshot.
mod columns {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array};

    use super::super::saved;
    use super::{FloatSum, Special, Sum2};
    use crate::error::Result;
    use crate::operators::state::{StateReader, StateWriter};

    impl FloatSum {
        /// Writes sums.
        pub fn save(sums: &[FloatSum], writer: &mut StateWriter) -> Result<()> {
            let none = Special::default();
            let special = |sum: &FloatSum| sum.special.as_deref().unwrap_or(&none).clone();
            let floats = |of: fn(&FloatSum) -> f64| Arc::new(sums.iter().map(of).map(Some).collect::<Float64Array>());
            let counts = |of: fn(&Special) -> i64| {
                let values = sums.iter().map(|sum| Some(of(&special(sum))));
                Arc::new(values.collect::<Int64Array>()) as ArrayRef
            };
            let huge = |of: fn(&Special) -> f64| {
                let values = sums.iter().map(|sum| Some(of(&special(sum))));
                Arc::new(values.collect::<Float64Array>()) as ArrayRef
            };
            let columns = vec![
                floats(|sum| sum.sum.sum) as ArrayRef,
                floats(|sum| sum.sum.error),
                Arc::new(sums.iter().map(|sum| Some(sum.count)).collect::<Int64Array>()),
                counts(|special| special.nans),
                counts(|special| special.highs),
                counts(|special| special.lows),
                counts(|special| special.huge),
                huge(|special| special.huge_sum.sum),
                huge(|special| special.huge_sum.error),
            ];
            saved::write(columns, writer)
        }

        /// Reads what [`FloatSum::save`] wrote.
        pub fn load(reader: &mut StateReader) -> Result<Vec<FloatSum>> {
            let columns: [ArrayRef; 9] = saved::read(reader)?;
            let float = |i: usize| saved::typed::<Float64Array>(&columns[i]).map(|column| column.values().clone());
            let int = |i: usize| saved::typed::<Int64Array>(&columns[i]).map(|column| column.values().clone());
            let (sums, errors, counts) = (float(0)?, float(1)?, int(2)?);
            let (nans, highs, lows, huge) = (int(3)?, int(4)?, int(5)?, int(6)?);
            let (huge_sums, huge_errors) = (float(7)?, float(8)?);
            let rows = (0..counts.len()).map(|row| {
                let special = Special {
                    nans: nans[row],
                    highs: highs[row],
                    lows: lows[row],
                    huge: huge[row],
                    huge_sum: Sum2 {
                        sum: huge_sums[row],
                        error: huge_errors[row],
                    },
                };
                FloatSum {
                    sum: Sum2 {
                        sum: sums[row],
                        error: errors[row],
                    },
                    count: counts[row],
                    special: (special != Special::default()).then(|| Box::new(special)),
                }
            });
            Ok(rows.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(changes: &[(f64, i8)]) -> f64 {
        let mut sum = FloatSum::default();
        for (value, weight) in changes {
            sum.change(*value, *weight);
        }
        sum.value()
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        assert_eq!(sum(&[(0.5, 1), (1e30, 1), (0.25, 1), (1e30, -1), (0.5, -1)]), 0.25);
        assert_eq!(sum(&[(1.0, 1), (f64::INFINITY, 1), (f64::INFINITY, -1)]), 1.0);
        assert_eq!(sum(&[(1.0, 1), (f64::NAN, 1), (f64::NAN, -1)]), 1.0);
        assert_eq!(sum(&[(f64::MAX, 1), (f64::MAX, 1), (1.0, 1), (f64::MAX, -1)]), f64::MAX);
        assert_eq!(
            sum(&[(f64::MAX, 1), (1.0, 1), (f64::MAX, 1), (f64::MAX, -1), (f64::MAX, -1)]),
            1.0
        );
        assert_eq!(sum(&[(1e300, 1), (0.1, 1), (1e300, -1), (0.1, -1)]), 0.0);
    }

    #[test]
    fn many_at_once_are_as_one_by_one() {
        for special in [0.25, 1e17, f64::INFINITY, 1e300] {
            let values: Vec<f64> = (0..1001)
                .map(|i| if i == 500 { special } else { f64::from(i) * 0.1 })
                .collect();
            let (mut all, mut each) = (FloatSum::default(), FloatSum::default());
            all.add_all(&values);
            values.iter().for_each(|value| each.change(*value, 1));
            assert_eq!((all.value(), all.count), (each.value(), each.count));
        }
    }

    #[test]
    fn special_values_add_as_floats_do() {
        assert_eq!(sum(&[(f64::MAX, 1), (f64::MAX, 1)]), f64::INFINITY);
        assert!(sum(&[(f64::INFINITY, 1), (f64::NEG_INFINITY, 1)]).is_nan());
        assert_eq!(sum(&[(f64::NEG_INFINITY, 1), (5.0, 1)]), f64::NEG_INFINITY);
        assert_eq!(sum(&[(1e300, 1), (1e299, 1)]), 1e300 + 1e299);
    }

    #[test]
    fn a_long_slide_does_not_drift() {
        let value = |i: i64| ((i * 7919) % 1000) as f64 / 10.0 + 0.1;
        let mut window = FloatSum::default();
        for i in 0..1_000_000 {
            window.change(value(i), 1);
            if i >= 100 {
                window.change(value(i - 100), -1);
            }
        }
        let exact: f64 = (999_900_i64..1_000_000).map(|i| ((i * 7919) % 1000 + 1) as f64).sum();
        assert!((window.value() - exact / 10.0).abs() < 1e-11);
    }
}
