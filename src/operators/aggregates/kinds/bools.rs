//! Booleans: false before true.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::{Argument, Kind, column};
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

impl Kind for Bools {
    type Key = bool;
    type Held = bool;
    type Builder = BooleanBuilder;

    fn hold(value: &bool) -> bool {
        *value
    }

    fn data_type(&self) -> &DataType {
        &DataType::Boolean
    }

    fn builder(&self, rows: usize) -> BooleanBuilder {
        BooleanBuilder::with_capacity(rows)
    }

    fn push(builder: &mut BooleanBuilder, value: Option<&bool>) {
        builder.append_option(value.copied());
    }

    fn finish(&self, mut builder: BooleanBuilder) -> Result<ArrayRef> {
        Ok(Arc::new(builder.finish()))
    }
}
