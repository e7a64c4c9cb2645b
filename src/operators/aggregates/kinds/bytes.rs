//! Strings and bytes, ordered by their bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::{Argument, Kind};
use crate::error::{Error, Result};

/// Columns of strings or bytes of one type.
#[derive(Debug, Clone)]
pub(in super::super) struct Bytes {
    data_type: DataType,
}

impl Bytes {
    /// Columns of this type.
    pub fn new(data_type: DataType) -> Self {
        Bytes { data_type }
    }
}

impl Argument for Bytes {
    type Column = BinaryViewArray;
    type Value<'a> = &'a [u8];

    fn open(&self, arguments: &[ArrayRef]) -> Result<(BinaryViewArray, Option<NullBuffer>)> {
        let column = arguments
            .first()
            .ok_or_else(|| Error::failed("an aggregate lacks its argument"))?;
        let views = match column.as_string_view_opt() {
            Some(strings) => strings.clone().to_binary_view(),
            None => cast(column, &DataType::BinaryView)?.as_binary_view().clone(),
        };
        let nulls = views.nulls().cloned();
        Ok((views, nulls))
    }

    #[inline(always)]
    fn get(column: &BinaryViewArray, row: usize) -> &[u8] {
        column.value(row)
    }
}

impl Kind for Bytes {
    type Key = [u8];
    type Held = Box<[u8]>;
    type Builder = BinaryViewBuilder;

    fn hold(value: &[u8]) -> Box<[u8]> {
        value.into()
    }

    fn hold_in(held: &mut Box<[u8]>, value: &[u8]) {
        match held.len() == value.len() {
            true => held.copy_from_slice(value),
            false => *held = value.into(),
        }
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn builder(&self, rows: usize) -> BinaryViewBuilder {
        BinaryViewBuilder::with_capacity(rows)
    }

    fn push(builder: &mut BinaryViewBuilder, value: Option<&[u8]>) {
        builder.append_option(value);
    }

    fn finish(&self, mut builder: BinaryViewBuilder) -> Result<ArrayRef> {
        let bytes = builder.finish();
        let column: ArrayRef = match self.data_type {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Arc::new(bytes),
            _ => Arc::new(StringViewArray::try_new(
                bytes.views().clone(),
                bytes.data_buffers().to_vec(),
                bytes.nulls().cloned(),
            )?),
        };
        match column.data_type() == &self.data_type {
            true => Ok(column),
            false => Ok(cast(&column, &self.data_type)?),
        }
    }
}
