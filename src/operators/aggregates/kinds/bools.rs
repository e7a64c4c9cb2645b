//! Booleans, one bit each.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::{Argument, column};
use crate::error::Result;

/// Columns of booleans.
#[derive(Debug, Clone)]
pub(in super::super) struct Bools;

impl Argument for Bools {
    type Column = BooleanBuffer;
    type Value<'a> = bool;

    fn open(&self, arguments: &[ArrayRef]) -> Result<(BooleanBuffer, Option<NullBuffer>)> {
        let column = column(arguments, &DataType::Boolean)?;
        Ok((column.as_boolean().values().clone(), column.nulls().cloned()))
    }

    #[inline(always)]
    fn get(column: &BooleanBuffer, row: usize) -> bool {
        column.value(row)
    }
}
