//! `convert(x, 'type')`: a value as another type, NULL where there is none.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{CastOptions, can_cast_types, cast, cast_with_options};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::FormatOptions;
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};

use super::{Scalar, is_text, takes_exactly};
use crate::catalog::types;

const NAME: &str = "convert";

/// `convert`.
pub const FUNCTIONS: &[Scalar] = &[Scalar {
    name: NAME,
    section: "Conversion Functions",
    syntax: "convert(x, 'string' | 'int' | 'long' | 'float' | 'double' | 'bool')",
    meaning: "The value as that type, NULL where there is none: numbers lose their fraction, a text is a `bool` when it is \
              'true' or 'false' in any case, a number is true when it is 1",
    takes,
    returns,
    compute,
}];

const TARGETS: &[(&str, DataType)] = &[
    ("string", DataType::Utf8View),
    ("int", DataType::Int32),
    ("long", DataType::Int64),
    ("float", DataType::Float32),
    ("double", DataType::Float64),
    ("bool", DataType::Boolean),
];

fn takes(arguments: &[DataType]) -> Result<Vec<DataType>> {
    takes_exactly(NAME, 2, arguments)?;
    let value = match &arguments[0] {
        text if is_text(text) => DataType::Utf8View,
        other => other.clone(),
    };
    // The second stays as it is: a literal that is converted is no longer seen to be one.
    Ok(vec![value, arguments[1].clone()])
}

fn returns(arguments: &ReturnFieldArgs) -> Result<Field> {
    let Some(Some(Some(name))) = arguments.scalar_arguments.get(1).map(|value| value.map(text_of)) else {
        return plan_err!(
            "the second argument of {NAME} is the name of a type in quotes: {}",
            target_names()
        );
    };
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) else {
        return plan_err!("{NAME} knows no type '{name}'; there are: {}", target_names());
    };
    let from = arguments.arg_fields[0].data_type();
    if !can_cast_types(from, target) {
        let (from, target) = (types::name(from), types::name(target));
        return plan_err!("{from} cannot be converted to {target}");
    }
    super::column(NAME, target.clone())
}

fn text_of(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

fn target_names() -> String {
    let names: Vec<String> = TARGETS.iter().map(|(name, _)| format!("'{name}'")).collect();
    names.join(", ")
}

fn compute(arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let value = arguments.args[0].to_array(arguments.number_rows)?;
    let target = arguments.return_field.data_type();
    if *target == DataType::Boolean && value.data_type().is_numeric() {
        let one = cast(&ScalarValue::Int64(Some(1)).to_array()?, value.data_type())?;
        return Ok(ColumnarValue::Array(Arc::new(eq(
            &value,
            &arrow::array::Scalar::new(one),
        )?)));
    }
    if *target == DataType::Boolean && *value.data_type() == DataType::Utf8View {
        let texts = value.as_string_view().iter().map(|text| text.and_then(truth));
        return Ok(ColumnarValue::Array(Arc::new(texts.collect::<BooleanArray>())));
    }
    let options = CastOptions {
        safe: true,
        format_options: FormatOptions::default(),
    };
    Ok(ColumnarValue::Array(cast_with_options(&value, target, &options)?))
}

fn truth(text: &str) -> Option<bool> {
    match text {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
