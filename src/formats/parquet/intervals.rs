//! Intervals, for which Parquet has no type, as texts: ISO 8601 durations.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef};

use crate::formats::columns::{parse_interval, write_interval};

/// The type of an INTERVAL column.
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The columns as they are written, or why one cannot be.
pub(super) fn as_text(schema: &SchemaRef) -> Result<SchemaRef, String> {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Interval(_) => Ok(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        nested if holds_interval(nested) => Err(format!(
            "column '{}': Parquet has no INTERVAL, and inside of other types it is not written as text",
            field.name()
        )),
        _ => Ok(field.as_ref().clone()),
    });
    let fields = fields.collect::<Result<Vec<Field>, String>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn holds_interval(of: &DataType) -> bool {
    match of {
        DataType::Interval(_) => true,
        DataType::List(item) | DataType::Map(item, _) => holds_interval(item.data_type()),
        DataType::Struct(parts) => parts.iter().any(|part| holds_interval(part.data_type())),
        _ => false,
    }
}

/// The column as it is written.
pub(super) fn to_text(column: &ArrayRef) -> ArrayRef {
    let Some(intervals) = column.as_primitive_opt::<IntervalMonthDayNanoType>() else {
        return column.clone();
    };
    let texts = intervals.iter().map(|interval| {
        interval.map(|interval| {
            let mut text = Vec::new();
            write_interval(&mut text, interval);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    Arc::new(texts.collect::<StringViewArray>())
}

/// A file's columns, those of `places` read as intervals.
pub(super) fn schema(theirs: &Schema, places: &[usize]) -> Schema {
    let fields = theirs.fields().iter().enumerate();
    let fields = fields.map(|(place, field)| match places.contains(&place) {
        true => field.as_ref().clone().with_data_type(INTERVAL),
        false => field.as_ref().clone(),
    });
    Schema::new(fields.collect::<Vec<Field>>())
}

/// The batch with the texts of `places` as intervals.
pub(super) fn of_text(batch: &RecordBatch, places: &[usize]) -> Result<RecordBatch, String> {
    if places.is_empty() {
        return Ok(batch.clone());
    }
    let theirs = batch.schema();
    let columns = batch.columns().iter().zip(theirs.fields()).enumerate();
    let columns = columns.map(|(place, (column, field))| match places.contains(&place) {
        true => parsed(column).map_err(|reason| format!("column '{}': {reason}", field.name())),
        false => Ok(column.clone()),
    });
    let columns = columns.collect::<Result<Vec<_>, String>>()?;
    let schema = schema(&theirs, places);
    RecordBatch::try_new(Arc::new(schema), columns).map_err(|error| error.to_string())
}

fn parsed(column: &ArrayRef) -> Result<ArrayRef, String> {
    let texts = cast(column, &DataType::Utf8View).map_err(|error| error.to_string())?;
    let intervals = texts.as_string_view().iter().map(|text| match text {
        None => Ok(None),
        Some(text) => parse_interval(text)
            .map(Some)
            .ok_or_else(|| format!("'{text}' is no ISO 8601 duration")),
    });
    Ok(Arc::new(
        intervals.collect::<Result<IntervalMonthDayNanoArray, String>>()?,
    ))
}
