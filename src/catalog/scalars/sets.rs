//! `createSet(x)`, `sizeOfSet(s)`: sets are arrays whose elements differ, as `unionSet` collects them.

use std::sync::Arc;

use arrow::array::{Array, Int32Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, internal_datafusion_err};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};

use super::{Scalar, column, does_not_take, takes_exactly};
use crate::catalog::types::canonical;

const CREATE: &str = "createSet";
const SIZE: &str = "sizeOfSet";

/// Both.
pub const FUNCTIONS: &[Scalar] = &[
    Scalar {
        name: CREATE,
        section: "Array Functions",
        syntax: "createSet(x)",
        meaning: "A set with that one element, for the aggregate `unionSet`",
        takes: |arguments| {
            takes_exactly(CREATE, 1, arguments)?;
            Ok(vec![canonical(&arguments[0])])
        },
        returns: set_of,
        compute: create,
    },
    Scalar {
        name: SIZE,
        section: "Array Functions",
        syntax: "sizeOfSet(set)",
        meaning: "How many elements the set has, as `INT`",
        takes: takes_set,
        returns: |_| column(SIZE, DataType::Int32),
        compute: size,
    },
];

fn set_of(arguments: &ReturnFieldArgs) -> Result<Field> {
    let item = Field::new("item", arguments.arg_fields[0].data_type().clone(), true);
    column(CREATE, DataType::List(Arc::new(item)))
}

fn create(arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let DataType::List(item) = arguments.return_field.data_type() else {
        return Err(internal_datafusion_err!("a set is a list"));
    };
    let values = arguments.args[0].to_array(arguments.number_rows)?;
    let offsets = OffsetBuffer::from_repeated_length(1, values.len());
    let sets = ListArray::try_new(item.clone(), offsets, values, None)?;
    Ok(ColumnarValue::Array(Arc::new(sets)))
}

fn takes_set(arguments: &[DataType]) -> Result<Vec<DataType>> {
    takes_exactly(SIZE, 1, arguments)?;
    match &arguments[0] {
        DataType::List(_) | DataType::LargeList(_) | DataType::Null => Ok(arguments.to_vec()),
        other => does_not_take(SIZE, 0, "a set", other),
    }
}

fn size(arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let sets = arguments.args[0].to_array(arguments.number_rows)?;
    let sizes = match sets.data_type() {
        DataType::Null => Arc::new(Int32Array::new_null(sets.len())),
        _ => cast(&length(&sets)?, &DataType::Int32)?,
    };
    Ok(ColumnarValue::Array(sizes))
}
