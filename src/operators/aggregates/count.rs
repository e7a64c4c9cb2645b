//! `count(*)` and `count(x)`: the rows, or those where x is not NULL. State: 8 bytes a group; O(1) a row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;

use super::grouped::{Kernel, Overflow};
use super::kinds::{Numbers, Presence};
use super::saved;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// Counts.
#[derive(Clone)]
pub(super) struct Count {
    data_type: DataType,
}

impl Count {
    /// Giving a 64-bit integer type.
    pub fn new(data_type: DataType) -> Self {
        Count { data_type }
    }
}

impl Kernel for Count {
    type Argument = Presence;
    type State = i64;
    type Output = Numbers<i64>;

    fn argument(&self) -> &Presence {
        &Presence
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn add(&self, count: &mut i64, (): ()) {
        *count += 1;
    }

    fn retract(&self, count: &mut i64, (): ()) {
        *count -= 1;
    }

    #[inline(always)]
    fn change(&self, count: &mut i64, (): (), weight: i8) {
        *count += i64::from(weight);
    }

    fn output(&self, rows: usize) -> Numbers<i64> {
        Numbers::new(rows)
    }

    #[inline(always)]
    fn emit(&self, count: &i64, output: &mut Numbers<i64>) -> Result<(), Overflow> {
        output.push(Some(*count));
        Ok(())
    }

    fn finish(&self, output: Numbers<i64>) -> Result<ArrayRef> {
        output.finish(&self.data_type)
    }

    fn merge(&self, from: &i64, into: &mut i64) {
        *into += from;
    }

    fn save(&self, counts: &[i64], writer: &mut StateWriter) -> Result<()> {
        saved::write(vec![Arc::new(Int64Array::from(counts.to_vec()))], writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<i64>> {
        let [counts] = saved::read(reader)?;
        Ok(saved::typed::<Int64Array>(&counts)?.values().to_vec())
    }
}
