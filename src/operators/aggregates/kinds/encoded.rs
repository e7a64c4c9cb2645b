//! Values of any other type: lists, structs, intervals, rare numbers. Each is held as bytes that order as the values do
//! (`arrow::row`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use super::{Argument, Kind, column};
use crate::error::{Error, Result};

/// Columns of one type.
#[derive(Debug, Clone)]
pub(in super::super) struct Encoded {
    data_type: DataType,
    converter: Arc<RowConverter>,
    null: Box<[u8]>,
}

impl Encoded {
    /// Columns of this type, or why they cannot be encoded.
    pub fn new(data_type: DataType) -> Result<Self, String> {
        let fields = vec![SortField::new(data_type.clone())];
        if !RowConverter::supports_fields(&fields) {
            let name = crate::catalog::types::name(&data_type);
            return Err(format!("values of type {name} cannot be kept in state"));
        }
        let converter = RowConverter::new(fields).map_err(|error| error.to_string())?;
        let null = converter.convert_columns(&[new_null_array(&data_type, 1)]);
        let null = null.map_err(|error| error.to_string())?.row(0).data().into();
        Ok(Encoded {
            data_type,
            converter: Arc::new(converter),
            null,
        })
    }
}

impl Argument for Encoded {
    type Column = Rows;
    type Value<'a> = &'a [u8];

    fn open(&self, arguments: &[ArrayRef]) -> Result<(Rows, Option<NullBuffer>)> {
        let column = column(arguments, &self.data_type)?;
        let nulls = column.logical_nulls();
        Ok((self.converter.convert_columns(&[column])?, nulls))
    }

    fn get(column: &Rows, row: usize) -> &[u8] {
        column.row(row).data()
    }
}

/// A column under construction: the bytes of each row.
pub(in super::super) struct EncodedColumn {
    rows: Vec<Option<Box<[u8]>>>,
}

impl Kind for Encoded {
    type Key = [u8];
    type Held = Box<[u8]>;
    type Builder = EncodedColumn;

    fn hold(value: &[u8]) -> Box<[u8]> {
        value.into()
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn builder(&self, rows: usize) -> EncodedColumn {
        EncodedColumn {
            rows: Vec::with_capacity(rows),
        }
    }

    fn push(builder: &mut EncodedColumn, value: Option<&[u8]>) {
        builder.rows.push(value.map(Box::from));
    }

    fn finish(&self, builder: EncodedColumn) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = builder.rows.iter().map(|row| row.as_ref().unwrap_or(&self.null));
        let mut columns = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        let column = columns.pop().ok_or_else(|| Error::failed("no column came of rows"))?;
        match column.data_type() == &self.data_type {
            true => Ok(column),
            false => Ok(cast(&column, &self.data_type)?),
        }
    }
}
