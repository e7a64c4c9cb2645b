//! `median`, `percentile_cont` (`percentile`), `approx_percentile_cont`, `approx_median`: all exact.
//!
//! The values of a group are kept in two ordered halves, cut where the percentile lies, so that the answer stands at the
//! cut. A row goes into its half and at most one value crosses the cut. O(log n) a row and O(1) a value; one entry for each
//! different value.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::extreme::{Counted, count, load_counted, save_counted};
use super::grouped::{Kernel, Overflow};
use super::kinds::{Kind, Native, Number, Ordered};
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// Numbers between which a percentile can lie.
pub(super) trait Between: Number {
    /// The number at `fraction` (0 to 1) of the way.
    fn between(low: Self, high: Self, fraction: f64) -> Self;
    /// The number in the middle; integers are cut off towards zero.
    fn middle(low: Self, high: Self) -> Self;
}

impl Between for f64 {
    fn between(low: f64, high: f64, fraction: f64) -> f64 {
        if low == high {
            low
        } else {
            low + (high - low) * fraction
        }
    }
    fn middle(low: f64, high: f64) -> f64 {
        let middle = (low + high) / 2.0;
        if middle.is_infinite() {
            low / 2.0 + high / 2.0
        } else {
            middle
        }
    }
}

impl Between for f32 {
    fn between(low: f32, high: f32, fraction: f64) -> f32 {
        f64::between(low.into(), high.into(), fraction) as f32
    }
    fn middle(low: f32, high: f32) -> f32 {
        f64::middle(low.into(), high.into()) as f32
    }
}

impl Between for i128 {
    fn between(low: i128, high: i128, fraction: f64) -> i128 {
        low.saturating_add((high.saturating_sub(low) as f64 * fraction).round() as i128)
    }
    fn middle(low: i128, high: i128) -> i128 {
        low.saturating_add(high) / 2
    }
}

impl Between for i64 {
    fn between(low: i64, high: i64, fraction: f64) -> i64 {
        let between = i128::between(low.into(), high.into(), fraction);
        i64::try_from(between).unwrap_or(high)
    }
    fn middle(low: i64, high: i64) -> i64 {
        i64::try_from(i128::middle(low.into(), high.into())).unwrap_or(low)
    }
}

impl Between for i32 {
    fn between(low: i32, high: i32, fraction: f64) -> i32 {
        i32::try_from(i64::between(low.into(), high.into(), fraction)).unwrap_or(high)
    }
    fn middle(low: i32, high: i32) -> i32 {
        i32::try_from(i64::middle(low.into(), high.into())).unwrap_or(low)
    }
}

/// Which value is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rank {
    /// The middle one, or the mean of the two in the middle.
    Median,
    /// The one at this fraction (0 to 1) of the way from the first to the last.
    Fraction(f64),
}

impl Rank {
    /// The number of the value at or before the rank among `values` values, and how far the rank is on the way to the next.
    fn position(self, values: i64) -> (i64, f64) {
        let fraction = match self {
            Rank::Median => 0.5,
            Rank::Fraction(fraction) => fraction,
        };
        let position = fraction * (values - 1) as f64;
        (position.floor() as i64, position.fract())
    }
}

/// A group's values: the low half and the high half.
#[derive(Debug, Clone)]
pub(super) struct Halves<N: Number> {
    low: Counted<Ordered<N>>,
    high: Counted<Ordered<N>>,
    low_count: i64,
    high_count: i64,
}

impl<N: Number> Default for Halves<N> {
    fn default() -> Self {
        Halves {
            low: BTreeMap::new(),
            high: BTreeMap::new(),
            low_count: 0,
            high_count: 0,
        }
    }
}

impl<N: Number> Halves<N> {
    /// Changes the number of a value, then moves values over the cut so that it is where `rank` is.
    fn change(&mut self, value: Ordered<N>, by: i64, rank: Rank) {
        let below = self.low.last_key_value().is_some_and(|(last, _)| value <= *last);
        let (half, half_count) = match below {
            true => (&mut self.low, &mut self.low_count),
            false => (&mut self.high, &mut self.high_count),
        };
        count::<Native<N>>(half, &value, by);
        *half_count += by;
        self.balance(rank);
    }

    fn balance(&mut self, rank: Rank) {
        let values = self.low_count + self.high_count;
        let wanted = match values > 0 {
            true => rank.position(values).0 + 1,
            false => 0,
        };
        while self.low_count > wanted
            && let Some(mut last) = self.low.last_entry()
        {
            let moved = (*last.get()).min(self.low_count - wanted).max(1);
            let value = *last.key();
            *last.get_mut() -= moved;
            if *last.get() <= 0 {
                last.remove();
            }
            count::<Native<N>>(&mut self.high, &value, moved);
            (self.low_count, self.high_count) = (self.low_count - moved, self.high_count + moved);
        }
        while self.low_count < wanted
            && let Some(mut first) = self.high.first_entry()
        {
            let moved = (*first.get()).min(wanted - self.low_count).max(1);
            let value = *first.key();
            *first.get_mut() -= moved;
            if *first.get() <= 0 {
                first.remove();
            }
            count::<Native<N>>(&mut self.low, &value, moved);
            (self.low_count, self.high_count) = (self.low_count + moved, self.high_count - moved);
        }
    }
}

/// Computes a percentile.
#[derive(Clone)]
pub(super) struct Quantile<N> {
    /// The values, and the result.
    pub kind: Native<N>,
    /// Which.
    pub rank: Rank,
}

impl<N: Between> Quantile<N> {
    fn value(&self, halves: &Halves<N>) -> Option<N> {
        let values = halves.low_count + halves.high_count;
        let (Ordered(low), _) = halves.low.last_key_value()?;
        let (_, fraction) = self.rank.position(values);
        let next = halves.high.first_key_value().filter(|_| fraction > 0.0);
        Some(match (next, self.rank) {
            (None, _) => *low,
            (Some((Ordered(high), _)), Rank::Median) => N::middle(*low, *high),
            (Some((Ordered(high), _)), Rank::Fraction(_)) => N::between(*low, *high, fraction),
        })
    }
}

impl<N: Between> Kernel for Quantile<N> {
    type Argument = Native<N>;
    type State = Halves<N>;
    type Output = <Native<N> as Kind>::Builder;

    fn argument(&self) -> &Native<N> {
        &self.kind
    }

    fn data_type(&self) -> &DataType {
        self.kind.data_type()
    }

    fn add(&self, halves: &mut Halves<N>, value: Ordered<N>) {
        halves.change(value, 1, self.rank);
    }

    fn retract(&self, halves: &mut Halves<N>, value: Ordered<N>) {
        halves.change(value, -1, self.rank);
    }

    fn output(&self, rows: usize) -> Self::Output {
        self.kind.builder(rows)
    }

    fn emit(&self, halves: &Halves<N>, output: &mut Self::Output) -> Result<(), Overflow> {
        output.push(self.value(halves));
        Ok(())
    }

    fn finish(&self, output: Self::Output) -> Result<ArrayRef> {
        self.kind.finish(output)
    }

    fn merge(&self, from: &Halves<N>, into: &mut Halves<N>) {
        for (value, times) in from.low.iter().chain(&from.high) {
            into.change(*value, *times, self.rank);
        }
    }

    fn save(&self, states: &[Halves<N>], writer: &mut StateWriter) -> Result<()> {
        let all: Vec<Counted<Ordered<N>>> = states.iter().map(Halves::all).collect();
        save_counted(&self.kind, &all, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<Halves<N>>> {
        let states = load_counted(&self.kind, reader)?.into_iter();
        let halves = states.map(|values| {
            let mut halves = Halves {
                low_count: values.values().sum(),
                low: values,
                ..Halves::default()
            };
            halves.balance(self.rank);
            halves
        });
        Ok(halves.collect())
    }
}

impl<N: Number> Halves<N> {
    /// Both halves as one.
    fn all(&self) -> Counted<Ordered<N>> {
        let mut all = self.low.clone();
        for (value, times) in &self.high {
            count::<Native<N>>(&mut all, value, *times);
        }
        all
    }
}
