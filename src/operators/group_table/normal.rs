//! Columns in the form in which equal keys have equal bits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::error::Result;

/// The column with `-0.0` and the many NaNs made one each, and dictionaries unpacked.
pub(in crate::operators) fn column(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(double)),
        DataType::Float32 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(float)),
        DataType::Float16 => column(&cast(array, &DataType::Float32)?)?,
        DataType::Dictionary(_, values) => column(&cast(array, values)?)?,
        _ => array.clone(),
    })
}

/// The type of a column that [`column`] gives.
pub(super) fn data_type(of: &DataType) -> DataType {
    match of {
        DataType::Float16 => DataType::Float32,
        DataType::Dictionary(_, values) => data_type(values),
        other => other.clone(),
    }
}

/// One bit pattern for equal values.
pub(super) fn double(value: f64) -> f64 {
    // Adding 0.0 turns -0.0 into 0.0 and leaves everything else as it is.
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// One bit pattern for equal values.
pub(super) fn float(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}
