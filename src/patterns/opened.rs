//! The columns of a batch, opened: what type a column has is asked once a batch, not for each value.

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};

use super::columns::{Value, value_of, word};

/// A column whose values are read row by row.
#[derive(Debug)]
pub enum Opened {
    /// LONG and TIMESTAMP.
    Longs(ScalarBuffer<i64>, Option<NullBuffer>),
    /// INT.
    Ints(ScalarBuffer<i32>, Option<NullBuffer>),
    /// DOUBLE.
    Doubles(ScalarBuffer<f64>, Option<NullBuffer>),
    /// STRING.
    Texts(StringViewArray),
    /// Any other type.
    Other(ArrayRef),
}

impl Opened {
    /// Of a column. *Cost.* O(1): values are shared.
    pub fn of(column: &ArrayRef) -> Self {
        let nulls = column.nulls().cloned();
        match column.data_type() {
            DataType::Int64 => Opened::Longs(column.as_primitive::<Int64Type>().values().clone(), nulls),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Opened::Longs(
                column.as_primitive::<TimestampMicrosecondType>().values().clone(),
                nulls,
            ),
            DataType::Int32 => Opened::Ints(column.as_primitive::<Int32Type>().values().clone(), nulls),
            DataType::Float64 => Opened::Doubles(column.as_primitive::<Float64Type>().values().clone(), nulls),
            DataType::Utf8View => Opened::Texts(column.as_string_view().clone()),
            _ => Opened::Other(column.clone()),
        }
    }

    /// The value of a row; `None` when it is of a kind that has no [`Value`].
    pub fn value(&self, row: usize) -> Option<Value<'_>> {
        let (nulls, value) = match self {
            Opened::Longs(values, nulls) => (nulls, Value::Int(values[row])),
            Opened::Ints(values, nulls) => (nulls, Value::Int(values[row].into())),
            Opened::Doubles(values, nulls) => (nulls, Value::Float(values[row])),
            Opened::Texts(texts) if texts.is_null(row) => return Some(Value::Null),
            Opened::Texts(texts) => return Some(Value::Text(texts.value(row))),
            Opened::Other(column) => return value_of(column, row),
        };
        match nulls {
            Some(nulls) if nulls.is_null(row) => Some(Value::Null),
            _ => Some(value),
        }
    }

    /// The bits of a row's value, of types that are kept by them; `None` when it is NULL.
    pub fn word(&self, row: usize) -> Option<u64> {
        let (nulls, word) = match self {
            Opened::Longs(values, nulls) => (nulls, values[row] as u64),
            Opened::Ints(values, nulls) => (nulls, values[row] as u64),
            Opened::Doubles(values, nulls) => (nulls, values[row].to_bits()),
            Opened::Texts(_) => return None,
            Opened::Other(column) => return column.is_valid(row).then(|| word(column, row)),
        };
        match nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(word),
        }
    }

    /// The array, of a type that is none of those above.
    pub fn other(&self) -> Option<&ArrayRef> {
        match self {
            Opened::Other(column) => Some(column),
            _ => None,
        }
    }
}
