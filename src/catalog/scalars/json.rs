//! Values inside of JSON texts: `json_get` and its kin, which `->` and `->>` are written for.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringViewBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs};
use serde_json::value::RawValue;

use super::json_path::{NotJson, Paths, length, seek};
use super::{Scalar, column, does_not_take, is_text};
use crate::catalog::types::JSON_MARK;

const SECTION: &str = "JSON Functions";

/// `->`.
const GET: &Scalar = &FUNCTIONS[0];

/// `->>`.
const TEXT: &Scalar = &FUNCTIONS[1];

/// All of them.
pub const FUNCTIONS: &[Scalar] = &[
    Scalar {
        name: "json_get",
        section: SECTION,
        syntax: "json_get(json, path…)",
        meaning: "The value there as `JSON`; `json -> key` is the same with one step",
        takes,
        returns: json,
        compute: |arguments| texts(arguments, |value| Some(Cow::Borrowed(value.get()))),
    },
    Scalar {
        name: "json_as_text",
        section: SECTION,
        syntax: "json_as_text(json, path…)",
        meaning: "The value there as text: a string without its quotes, NULL for `null`, others as they are written; \
                  `json ->> key` is the same with one step",
        takes,
        returns: |_| column("json_as_text", DataType::Utf8View),
        compute: |arguments| texts(arguments, as_text),
    },
    Scalar {
        name: "json_get_json",
        section: SECTION,
        syntax: "json_get_json(json, path…)",
        meaning: "The same as `json_get`",
        takes,
        returns: json,
        compute: |arguments| texts(arguments, |value| Some(Cow::Borrowed(value.get()))),
    },
    Scalar {
        name: "json_get_str",
        section: SECTION,
        syntax: "json_get_str(json, path…)",
        meaning: "The string there, NULL where there is something else",
        takes,
        returns: |_| column("json_get_str", DataType::Utf8View),
        compute: |arguments| texts(arguments, string),
    },
    Scalar {
        name: "json_get_int",
        section: SECTION,
        syntax: "json_get_int(json, path…)",
        meaning: "The whole number there as `LONG`, NULL where there is something else",
        takes,
        returns: |_| column("json_get_int", DataType::Int64),
        compute: |arguments| {
            let numbers = values(arguments, |value| value.get().parse().ok())?;
            array(numbers.collect::<Int64Array>())
        },
    },
    Scalar {
        name: "json_get_float",
        section: SECTION,
        syntax: "json_get_float(json, path…)",
        meaning: "The number there as `DOUBLE`, NULL where there is something else",
        takes,
        returns: |_| column("json_get_float", DataType::Float64),
        compute: |arguments| {
            let numbers = values(arguments, |value| serde_json::from_str::<f64>(value.get()).ok())?;
            array(numbers.collect::<Float64Array>())
        },
    },
    Scalar {
        name: "json_get_bool",
        section: SECTION,
        syntax: "json_get_bool(json, path…)",
        meaning: "Whether `true` is there, NULL where there is something else than `true` or `false`",
        takes,
        returns: |_| column("json_get_bool", DataType::Boolean),
        compute: |arguments| {
            let truths = values(arguments, |value| value.get().parse().ok())?;
            array(truths.collect::<BooleanArray>())
        },
    },
    Scalar {
        name: "json_contains",
        section: SECTION,
        syntax: "json_contains(json, path…)",
        meaning: "Whether anything is there, be it `null`; NULL where the text is not JSON",
        takes,
        returns: |_| column("json_contains", DataType::Boolean),
        compute: |arguments| {
            let found = each(arguments, |found| found.ok().map(|value| value.is_some()))?;
            array(found.collect::<BooleanArray>())
        },
    },
    Scalar {
        name: "json_length",
        section: SECTION,
        syntax: "json_length(json, path…)",
        meaning: "How many elements the array there has, or members the object, as `LONG`; NULL where there is something else",
        takes,
        returns: |_| column("json_length", DataType::Int64),
        compute: |arguments| array(values(arguments, length)?.collect::<Int64Array>()),
    },
];

/// `json -> step`; one step more if `json` is such itself, so that a text is read once however long the path.
pub fn arrow(json: Expr, step: Expr) -> Expr {
    call(GET, json, step)
}

/// `json ->> step`.
pub fn long_arrow(json: Expr, step: Expr) -> Expr {
    call(TEXT, json, step)
}

fn call(function: &'static Scalar, json: Expr, step: Expr) -> Expr {
    let mut arguments = match json {
        Expr::ScalarFunction(inner) if inner.name() == GET.name => inner.args,
        other => vec![other],
    };
    arguments.push(step);
    Expr::ScalarFunction(ScalarFunction::new_udf(function.function(), arguments))
}

fn takes(arguments: &[DataType]) -> Result<Vec<DataType>> {
    let Some((json, path)) = arguments.split_first() else {
        return plan_err!("a JSON function expects at least 1 argument but received 0");
    };
    if !is_text(json) {
        return does_not_take("a JSON function", 0, "a JSON text", json);
    }
    let steps = path.iter().enumerate().map(|(index, step)| match step {
        step if is_text(step) => Ok(DataType::Utf8View),
        step if step.is_integer() => Ok(DataType::Int64),
        other => does_not_take("a JSON function", index + 1, "a key or a position", other),
    });
    std::iter::once(Ok(DataType::Utf8View)).chain(steps).collect()
}

fn json(_arguments: &ReturnFieldArgs) -> Result<Field> {
    let field = Field::new("json", DataType::Utf8View, true);
    let mark = (JSON_MARK.0.to_string(), JSON_MARK.1.to_string());
    Ok(field.with_metadata([mark].into_iter().collect()))
}

fn array(array: impl Array + 'static) -> Result<ColumnarValue> {
    Ok(ColumnarValue::Array(Arc::new(array) as ArrayRef))
}

/// For every row what is found at the end of its path; NULL where the text or a step is NULL.
fn each<T>(
    arguments: &ScalarFunctionArgs,
    make: impl Fn(Result<Option<&RawValue>, NotJson>) -> Option<T>,
) -> Result<impl Iterator<Item = Option<T>>> {
    let texts = arguments.args[0].to_array(arguments.number_rows)?;
    let paths = Paths::new(&arguments.args[1..], arguments.number_rows)?;
    Ok((0..texts.len()).map(move |row| {
        let texts = texts.as_string_view();
        let path = paths.at(row).filter(|_| texts.is_valid(row))?;
        make(seek(texts.value(row), &path))
    }))
}

fn values<T>(
    arguments: &ScalarFunctionArgs,
    make: impl Fn(&RawValue) -> Option<T>,
) -> Result<impl Iterator<Item = Option<T>>> {
    each(arguments, move |found| make(found.ok().flatten()?))
}

fn texts(arguments: &ScalarFunctionArgs, make: fn(&RawValue) -> Option<Cow<str>>) -> Result<ColumnarValue> {
    let texts = arguments.args[0].to_array(arguments.number_rows)?;
    let texts = texts.as_string_view();
    let paths = Paths::new(&arguments.args[1..], arguments.number_rows)?;
    let mut made = StringViewBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let found = text.and_then(|text| seek(text, paths.at(row)?.as_ref()).ok().flatten());
        made.append_option(found.and_then(make));
    }
    array(made.finish())
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    /// Borrowed unless something in it is escaped.
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text>(value.get()).ok().map(|text| text.0)
}

fn as_text(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get() {
        "null" => None,
        text if text.starts_with('"') => string(value),
        text => Some(Cow::Borrowed(text)),
    }
}
