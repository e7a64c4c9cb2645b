//! `instanceOfString(x)` and its kin: whether there is a value, and of that type.
//!
//! Types are known when the app is compiled, so each is a constant but for NULL, which is of no type.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::is_not_null;
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};

use super::{Scalar, column, is_text, takes_exactly};

/// One for each type.
pub const FUNCTIONS: &[Scalar] = &[
    of_type("instanceOfString", "instanceOfString(x)", is_string),
    of_type("instanceOfInteger", "instanceOfInteger(x)", |arguments| {
        is(arguments, |given| *given == DataType::Int32)
    }),
    of_type("instanceOfLong", "instanceOfLong(x)", |arguments| {
        is(arguments, |given| *given == DataType::Int64)
    }),
    of_type("instanceOfFloat", "instanceOfFloat(x)", |arguments| {
        is(arguments, |given| *given == DataType::Float32)
    }),
    of_type("instanceOfDouble", "instanceOfDouble(x)", |arguments| {
        is(arguments, |given| *given == DataType::Float64)
    }),
    of_type("instanceOfBoolean", "instanceOfBoolean(x)", |arguments| {
        is(arguments, |given| *given == DataType::Boolean)
    }),
];

type Compute = fn(&ScalarFunctionArgs) -> Result<ColumnarValue>;

const fn of_type(name: &'static str, syntax: &'static str, compute: Compute) -> Scalar {
    Scalar {
        name,
        section: "Conversion Functions",
        syntax,
        meaning: "Whether there is a value and it is of that type; never NULL",
        takes,
        returns,
        compute,
    }
}

fn takes(arguments: &[DataType]) -> Result<Vec<DataType>> {
    takes_exactly("instanceOf", 1, arguments)?;
    Ok(arguments.to_vec())
}

fn returns(_arguments: &ReturnFieldArgs) -> Result<Field> {
    column("instanceOf", DataType::Boolean)
}

fn is_string(arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    is(arguments, |given| is_text(given) && *given != DataType::Null)
}

fn is(arguments: &ScalarFunctionArgs, wanted: fn(&DataType) -> bool) -> Result<ColumnarValue> {
    let value = &arguments.args[0];
    let holds: BooleanArray = match (wanted(&value.data_type()), value) {
        (true, ColumnarValue::Array(values)) => is_not_null(values)?,
        (matches, ColumnarValue::Scalar(value)) => {
            let holds = ScalarValue::Boolean(Some(matches && !value.is_null()));
            return Ok(ColumnarValue::Scalar(holds));
        }
        (false, ColumnarValue::Array(_)) => {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(false))));
        }
    };
    Ok(ColumnarValue::Array(Arc::new(holds)))
}
