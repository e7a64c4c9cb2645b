//! `formatDate`, `parseDate`, `dateAdd`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, StringViewArray, StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Months};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};

use super::date_pattern::DatePattern;
use super::{Scalar, column, does_not_take, is_text, takes_exactly};
use crate::catalog::types::TIMESTAMP;
use crate::event::Micros;

const FORMAT: &str = "formatDate";
const PARSE: &str = "parseDate";
const ADD: &str = "dateAdd";

const SECTION: &str = "Time and Date Functions";

/// All three.
pub const FUNCTIONS: &[Scalar] = &[
    Scalar {
        name: FORMAT,
        section: SECTION,
        syntax: "formatDate(time, pattern)",
        meaning: "The time (`TIMESTAMP`, `DATE`, or `LONG` in milliseconds) as text, see [Patterns of dates](#patterns-of-dates)",
        takes: takes_time_and_pattern,
        returns: |arguments| {
            check_pattern(arguments)?;
            column(FORMAT, DataType::Utf8View)
        },
        compute: format,
    },
    Scalar {
        name: PARSE,
        section: SECTION,
        syntax: "parseDate(text, pattern)",
        meaning: "The `TIMESTAMP` that the text means, NULL where it does not fit, see [Patterns of dates](#patterns-of-dates)",
        takes: takes_texts,
        returns: |arguments| {
            check_pattern(arguments)?;
            column(PARSE, TIMESTAMP)
        },
        compute: parse,
    },
    Scalar {
        name: ADD,
        section: SECTION,
        syntax: "dateAdd(time, number, unit)",
        meaning: "The time so many units later (earlier if negative); the unit is a text: 'ms', 'second', 'minute', 'hour', 'day', \
                  'week', 'month', 'quarter' or 'year'",
        takes: takes_time_number_unit,
        returns: added,
        compute: add,
    },
];

/// Times are TIMESTAMP, or LONG in milliseconds; a DATE is its midnight.
fn takes_time(name: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Null => Ok(TIMESTAMP),
        DataType::Int64 | DataType::Int32 => Ok(DataType::Int64),
        other => does_not_take(name, 0, "a TIMESTAMP, a DATE, or a LONG in milliseconds", other),
    }
}

/// A text stays as it is: a literal that is converted is no longer seen to be one.
fn takes_text(name: &str, position: usize, given: &DataType) -> Result<DataType> {
    match is_text(given) {
        true => Ok(given.clone()),
        false => does_not_take(name, position, "a text", given),
    }
}

fn takes_time_and_pattern(arguments: &[DataType]) -> Result<Vec<DataType>> {
    takes_exactly(FORMAT, 2, arguments)?;
    Ok(vec![
        takes_time(FORMAT, &arguments[0])?,
        takes_text(FORMAT, 1, &arguments[1])?,
    ])
}

fn takes_texts(arguments: &[DataType]) -> Result<Vec<DataType>> {
    takes_exactly(PARSE, 2, arguments)?;
    Ok(vec![
        takes_text(PARSE, 0, &arguments[0])?,
        takes_text(PARSE, 1, &arguments[1])?,
    ])
}

fn takes_time_number_unit(arguments: &[DataType]) -> Result<Vec<DataType>> {
    takes_exactly(ADD, 3, arguments)?;
    if !arguments[1].is_integer() && arguments[1] != DataType::Null {
        return does_not_take(ADD, 1, "a whole number", &arguments[1]);
    }
    let unit = takes_text(ADD, 2, &arguments[2])?;
    Ok(vec![takes_time(ADD, &arguments[0])?, DataType::Int64, unit])
}

/// A constant argument that is a text.
fn constant<'a>(arguments: &'a ReturnFieldArgs, position: usize) -> Option<&'a str> {
    arguments
        .scalar_arguments
        .get(position)?
        .and_then(|value| value.try_as_str().flatten())
}

fn check_pattern(arguments: &ReturnFieldArgs) -> Result<()> {
    match constant(arguments, 1).map(DatePattern::new) {
        Some(Err(reason)) => plan_err!("{reason}"),
        _ => Ok(()),
    }
}

/// Something made of a text argument: once if that is constant, else again whenever the text changes.
struct Made<T> {
    texts: Texts,
    make: fn(&str) -> Option<T>,
    last: Option<(String, Option<T>)>,
}

enum Texts {
    Constant(Option<String>),
    Column(ArrayRef),
}

impl<T> Made<T> {
    fn of(argument: &ColumnarValue, make: fn(&str) -> Option<T>) -> Result<Self> {
        let texts = match argument {
            ColumnarValue::Scalar(value) => Texts::Constant(value.try_as_str().flatten().map(str::to_string)),
            ColumnarValue::Array(texts) => Texts::Column(cast(texts, &DataType::Utf8View)?),
        };
        let last = None;
        Ok(Made { texts, make, last })
    }

    fn at(&mut self, row: usize) -> Option<&T> {
        let text = match &self.texts {
            Texts::Constant(text) => text.as_deref()?,
            Texts::Column(texts) if texts.is_null(row) => return None,
            Texts::Column(texts) => texts.as_string_view().value(row),
        };
        if self.last.as_ref().is_none_or(|(known, _)| known != text) {
            self.last = Some((text.to_string(), (self.make)(text)));
        }
        self.last.as_ref()?.1.as_ref()
    }
}

fn pattern(argument: &ColumnarValue) -> Result<Made<DatePattern>> {
    Made::of(argument, |text| DatePattern::new(text).ok())
}

/// The times of an argument, in µs.
fn micros(argument: &ColumnarValue, rows: usize) -> Result<TimestampMicrosecondArray> {
    let times = argument.to_array(rows)?;
    Ok(match times.data_type() {
        DataType::Int64 => {
            let millis = times.as_primitive::<Int64Type>();
            millis.unary_opt(|millis| millis.checked_mul(1_000))
        }
        _ => times.as_primitive::<TimestampMicrosecondType>().clone(),
    })
}

fn format(arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let times = micros(&arguments.args[0], arguments.number_rows)?;
    let mut pattern = pattern(&arguments.args[1])?;
    let mut texts = StringViewBuilder::with_capacity(times.len());
    for (row, time) in times.iter().enumerate() {
        texts.append_option(time.and_then(|time| pattern.at(row)?.format(time)));
    }
    Ok(ColumnarValue::Array(Arc::new(texts.finish())))
}

fn parse(arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let texts = cast(&arguments.args[0].to_array(arguments.number_rows)?, &DataType::Utf8View)?;
    let texts: &StringViewArray = texts.as_string_view();
    let mut pattern = pattern(&arguments.args[1])?;
    let times = texts.iter().enumerate();
    let times = times.map(|(row, text)| text.and_then(|text| pattern.at(row)?.parse(text)));
    Ok(ColumnarValue::Array(Arc::new(
        times.collect::<TimestampMicrosecondArray>(),
    )))
}

/// What is added: a length of time, or months, whose length depends on where they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Micros(i64),
    Months(i64),
}

impl Unit {
    fn new(name: &str) -> Option<Self> {
        const SECOND: i64 = 1_000_000;
        let name = name.trim().to_ascii_lowercase();
        Some(match name.as_str() {
            "month" | "months" => Unit::Months(1),
            "quarter" | "quarters" => Unit::Months(3),
            "year" | "years" => Unit::Months(12),
            "ms" | "millisecond" | "milliseconds" => Unit::Micros(1_000),
            "s" | "sec" | "second" | "seconds" => Unit::Micros(SECOND),
            "m" | "min" | "minute" | "minutes" => Unit::Micros(60 * SECOND),
            "h" | "hour" | "hours" => Unit::Micros(3_600 * SECOND),
            "d" | "day" | "days" => Unit::Micros(86_400 * SECOND),
            "w" | "week" | "weeks" => Unit::Micros(7 * 86_400 * SECOND),
            _ => return None,
        })
    }

    fn add(self, time: Micros, number: i64) -> Option<Micros> {
        match self {
            Unit::Micros(length) => time.checked_add(length.checked_mul(number)?),
            Unit::Months(months) => {
                let months = months.checked_mul(number)?;
                let length = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
                let time = DateTime::from_timestamp_micros(time)?;
                let moved = match months < 0 {
                    true => time.checked_sub_months(length),
                    false => time.checked_add_months(length),
                };
                moved.map(|time| time.timestamp_micros())
            }
        }
    }
}

fn added(arguments: &ReturnFieldArgs) -> Result<Field> {
    if let Some(unit) = constant(arguments, 2)
        && Unit::new(unit).is_none()
    {
        return plan_err!("'{unit}' is not a unit of time: ms, second, minute, hour, day, week, month, quarter, year");
    }
    column(ADD, arguments.arg_fields[0].data_type().clone())
}

fn add(arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let times = micros(&arguments.args[0], arguments.number_rows)?;
    let numbers = arguments.args[1].to_array(arguments.number_rows)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let mut unit = Made::of(&arguments.args[2], Unit::new)?;
    let moved = times.iter().zip(numbers.iter()).enumerate();
    let moved = moved.map(|(row, (time, number))| unit.at(row)?.add(time?, number?));
    let moved: TimestampMicrosecondArray = moved.collect();
    Ok(ColumnarValue::Array(match arguments.return_field.data_type() {
        DataType::Int64 => Arc::new(millis(&moved)),
        _ => Arc::new(moved),
    }))
}

fn millis(times: &TimestampMicrosecondArray) -> Int64Array {
    let millis: PrimitiveArray<Int64Type> = times.unary(|time| time.div_euclid(1_000));
    millis
}
