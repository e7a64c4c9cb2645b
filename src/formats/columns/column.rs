//! [`Column`]: one column of a block in the making.
//!
//! A row that turns out bad half-way must leave no trace, and a field that comes twice in an object must replace the
//! former: both are [`Column::truncate`], which Arrow's own builders lack. Values are plain vectors, handed to Arrow
//! without copying; NULLs are a list of rows, so that a column without any pays nothing for them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Decimal128Array, IntervalMonthDayNanoArray, ListArray, MapArray,
    PrimitiveArray, RecordBatch, RecordBatchOptions, StructArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, FieldRef, Fields, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNano, IntervalUnit, SchemaRef, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};

use super::dates::DateFormat;
use super::reject::Reject;
use super::views::{Content, Views};
use crate::catalog::types;
use crate::error::Result;

/// A column in the making.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) field: FieldRef,
    pub(crate) values: Values,
    /// The rows that are NULL, ascending.
    nulls: Vec<usize>,
}

/// The values so far; NULL rows hold a default.
#[derive(Debug)]
pub(crate) enum Values {
    Bool(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    /// Microseconds.
    Timestamp(Vec<i64>),
    /// The same, read by a format.
    Dated(Vec<i64>, Arc<DateFormat>),
    /// Days.
    Date(Vec<i32>),
    /// Microseconds of the day.
    Time(Vec<i64>),
    Decimal(Vec<i128>, u8, i8),
    Interval(Vec<IntervalMonthDayNano>),
    Views(Views, Content),
    List(Lists),
    Struct(Structs),
    Map(Maps),
}

/// Lists: where each ends in `items`.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) ends: Vec<i32>,
    pub(crate) items: Box<Column>,
}

/// Structs: the parts are as long as the column.
#[derive(Debug)]
pub(crate) struct Structs {
    rows: usize,
    pub(crate) parts: Vec<Column>,
    fields: Fields,
}

/// Maps: where each ends in `keys` and `values`.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) ends: Vec<i32>,
    pub(crate) keys: Box<Column>,
    pub(crate) values: Box<Column>,
    entries: FieldRef,
}

/// Runs `$body` with `$vec` bound to the plain vector of whichever primitive kind `$values` is.
macro_rules! each_vector {
    ($values:expr, $vec:ident => $body:expr, $($pattern:pat => $other:expr),+ $(,)?) => {
        match $values {
            Values::Bool($vec) => $body,
            Values::Int8($vec) => $body,
            Values::Int16($vec) => $body,
            Values::Int32($vec) | Values::Date($vec) => $body,
            Values::Int64($vec) | Values::Timestamp($vec) | Values::Dated($vec, _) | Values::Time($vec) => $body,
            Values::Float32($vec) => $body,
            Values::Float64($vec) => $body,
            Values::Decimal($vec, _, _) => $body,
            Values::Interval($vec) => $body,
            $($pattern => $other),+
        }
    };
}

impl Column {
    /// An empty column for a field, or why its type cannot be decoded.
    pub(crate) fn new(field: FieldRef) -> Result<Self, String> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Bool(Vec::new()),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Values::Timestamp(Vec::new()),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal(Vec::new(), *precision, *scale),
            DataType::Interval(IntervalUnit::MonthDayNano) => Values::Interval(Vec::new()),
            DataType::Utf8View if types::is_json(&field) => Values::Views(Views::default(), Content::Json),
            DataType::Utf8View => Values::Views(Views::default(), Content::Text),
            DataType::BinaryView => Values::Views(Views::default(), Content::Bytes),
            DataType::List(item) => Values::List(Lists {
                ends: Vec::new(),
                items: Box::new(Column::new(item.clone())?),
            }),
            DataType::Struct(fields) => Values::Struct(Structs {
                rows: 0,
                parts: fields.iter().cloned().map(Column::new).collect::<Result<_, _>>()?,
                fields: fields.clone(),
            }),
            DataType::Map(entries, _) => Values::Map(maps(entries)?),
            other => return Err(format!("no text format reads {}", types::name(other))),
        };
        Ok(Column {
            field,
            values,
            nulls: Vec::new(),
        })
    }

    /// Reads times, however deep in the column, by this format.
    pub(crate) fn set_dates(&mut self, dates: &Arc<DateFormat>) {
        match &mut self.values {
            Values::Timestamp(_) => self.values = Values::Dated(Vec::new(), dates.clone()),
            Values::List(lists) => lists.items.set_dates(dates),
            Values::Struct(structs) => structs.parts.iter_mut().for_each(|part| part.set_dates(dates)),
            Values::Map(maps) => {
                maps.keys.set_dates(dates);
                maps.values.set_dates(dates);
            }
            _ => {}
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.field.name()
    }

    /// Rows so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        each_vector!(&self.values, vec => vec.len(),
            Values::Views(views, _) => views.len(),
            Values::List(lists) => lists.ends.len(),
            Values::Struct(structs) => structs.rows,
            Values::Map(maps) => maps.ends.len(),
        )
    }

    /// Makes room for so many more rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        each_vector!(&mut self.values, vec => vec.reserve(rows),
            Values::Views(views, _) => views.reserve(rows),
            Values::List(lists) => lists.ends.reserve(rows),
            Values::Struct(structs) => structs.parts.iter_mut().for_each(|part| part.reserve(rows)),
            Values::Map(maps) => maps.ends.reserve(rows),
        );
    }

    /// Forgets all rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        while self.nulls.last().is_some_and(|&null| null >= rows) {
            self.nulls.pop();
        }
        each_vector!(&mut self.values, vec => vec.truncate(rows),
            Values::Views(views, _) => views.truncate(rows),
            Values::List(lists) => {
                lists.ends.truncate(rows);
                let items = last_end(&lists.ends);
                lists.items.truncate(items);
            },
            Values::Struct(structs) => {
                structs.rows = structs.rows.min(rows);
                structs.parts.iter_mut().for_each(|part| part.truncate(rows));
            },
            Values::Map(maps) => {
                maps.ends.truncate(rows);
                let entries = last_end(&maps.ends);
                maps.keys.truncate(entries);
                maps.values.truncate(entries);
            },
        );
    }

    /// Appends NULL, which a NOT NULL column refuses.
    pub(crate) fn push_null(&mut self) -> Result<(), Reject> {
        if !self.field.is_nullable() {
            return Err(Reject::null());
        }
        self.push_default();
        Ok(())
    }

    /// Appends a value that nobody will look at: NULL where that is allowed.
    #[cfg(feature = "pg-client")]
    pub(crate) fn push_filler(&mut self) {
        let nulls = self.nulls.len();
        self.push_default();
        if !self.field.is_nullable() {
            self.nulls.truncate(nulls);
        }
    }

    /// Appends a NULL whatever the field says: what lies under a NULL struct may be NOT NULL itself.
    fn push_default(&mut self) {
        self.nulls.push(self.len());
        each_vector!(&mut self.values, vec => vec.push(Default::default()),
            Values::Views(views, _) => views.push_bytes(b""),
            Values::List(lists) => lists.ends.push(last_end(&lists.ends) as i32),
            Values::Struct(structs) => {
                structs.rows += 1;
                structs.parts.iter_mut().for_each(Column::push_default);
            },
            Values::Map(maps) => maps.ends.push(last_end(&maps.ends) as i32),
        );
    }

    /// The finished array; the column starts anew.
    fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = self.take_nulls();
        let field = self.field.clone();
        Ok(match &mut self.values {
            Values::Bool(values) => {
                let values = BooleanBuffer::from(std::mem::take(values));
                Arc::new(BooleanArray::new(values, nulls))
            }
            Values::Int8(values) => primitive::<Int8Type>(values, nulls)?,
            Values::Int16(values) => primitive::<Int16Type>(values, nulls)?,
            Values::Int32(values) => primitive::<Int32Type>(values, nulls)?,
            Values::Int64(values) => primitive::<Int64Type>(values, nulls)?,
            Values::Float32(values) => primitive::<Float32Type>(values, nulls)?,
            Values::Float64(values) => primitive::<Float64Type>(values, nulls)?,
            Values::Timestamp(values) | Values::Dated(values, _) => {
                primitive::<TimestampMicrosecondType>(values, nulls)?
            }
            Values::Date(values) => primitive::<Date32Type>(values, nulls)?,
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls)?,
            Values::Decimal(values, precision, scale) => {
                let array = Decimal128Array::try_new(ScalarBuffer::from(std::mem::take(values)), nulls)?;
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Values::Interval(values) => Arc::new(IntervalMonthDayNanoArray::try_new(
                ScalarBuffer::from(std::mem::take(values)),
                nulls,
            )?),
            Values::Views(views, content) => views.finish(*content, nulls)?,
            Values::List(lists) => {
                let items = lists.items.finish()?;
                Arc::new(ListArray::try_new(
                    lists.items.field.clone(),
                    offsets(&mut lists.ends),
                    items,
                    nulls,
                )?)
            }
            Values::Struct(structs) => {
                let rows = std::mem::take(&mut structs.rows);
                let parts = structs.parts.iter_mut().map(Column::finish).collect::<Result<_>>()?;
                Arc::new(StructArray::try_new_with_length(
                    structs.fields.clone(),
                    parts,
                    nulls,
                    rows,
                )?)
            }
            Values::Map(maps) => maps.finish(&field, nulls)?,
        })
    }

    fn take_nulls(&mut self) -> Option<NullBuffer> {
        if self.nulls.is_empty() {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(self.len());
        valid.append_n(self.len(), true);
        for &null in &self.nulls {
            valid.set_bit(null, false);
        }
        self.nulls.clear();
        Some(NullBuffer::new(valid.finish()))
    }
}

impl Structs {
    /// A row is complete: every part holds one more value.
    pub(crate) fn row_done(&mut self) {
        self.rows += 1;
    }

    /// Rows so far, without the one that is being filled.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }
}

impl Maps {
    fn finish(&mut self, field: &Field, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let DataType::Struct(parts) = self.entries.data_type() else {
            return Err(crate::error::Error::failed(format!(
                "column '{}' is not a map",
                field.name()
            )));
        };
        let entries = StructArray::try_new(parts.clone(), vec![self.keys.finish()?, self.values.finish()?], None)?;
        Ok(Arc::new(MapArray::try_new(
            self.entries.clone(),
            offsets(&mut self.ends),
            entries,
            nulls,
            false,
        )?))
    }
}

fn maps(entries: &FieldRef) -> Result<Maps, String> {
    match entries.data_type() {
        DataType::Struct(parts) if parts.len() == 2 => Ok(Maps {
            ends: Vec::new(),
            keys: Box::new(Column::new(parts[0].clone())?),
            values: Box::new(Column::new(parts[1].clone())?),
            entries: entries.clone(),
        }),
        other => Err(format!("a map's entries are not {other}")),
    }
}

/// Where the last list ends: the number of items in finished rows.
pub(crate) fn last_end(ends: &[i32]) -> usize {
    ends.last().map_or(0, |&end| end as usize)
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let values = ScalarBuffer::from(std::mem::take(values));
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values, nulls)?))
}

/// The batch of finished columns, each `rows` long; the columns start anew.
pub(crate) fn finish(columns: &mut [Column], schema: &SchemaRef, rows: usize) -> Result<RecordBatch> {
    let arrays = columns.iter_mut().map(Column::finish).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
}
