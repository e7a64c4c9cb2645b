//! The captured columns of one stream: by place, so that a place can be used again.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringViewBuilder, new_empty_array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};

use super::captures::EventId;
use super::opened::Opened;
use crate::error::{Error, Result};

/// No event: the value is NULL.
pub const NO_EVENT: EventId = EventId::MAX;

/// A value of a captured column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// An integer, a time or a date.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(&'a str),
}

/// One column. Numbers, times and texts are kept as they are; anything else as arrays of one row.
#[derive(Debug)]
pub struct Column {
    data_type: DataType,
    values: Values,
    valid: Vec<bool>,
    /// What texts and arrays take beside their places, in bytes.
    beside: usize,
}

#[derive(Debug)]
enum Values {
    /// By their bits.
    Words(Vec<u64>),
    Texts(Vec<Box<str>>),
    Arrays(Vec<Option<ArrayRef>>),
}

/// What an array takes.
fn memory_of(array: Option<&ArrayRef>) -> usize {
    array.map_or(0, |array| array.get_array_memory_size())
}

/// Whether values of a type are kept by their bits.
fn is_word(data_type: &DataType) -> bool {
    use DataType::{
        Boolean, Date32, Duration, Float32, Float64, Int8, Int16, Int32, Int64, Time64, Timestamp, UInt8, UInt16,
        UInt32, UInt64,
    };
    matches!(
        data_type,
        Boolean
            | Int8
            | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | Float32
            | Float64
            | Date32
            | Time64(TimeUnit::Microsecond)
            | Timestamp(TimeUnit::Microsecond, _)
            | Duration(TimeUnit::Microsecond)
    )
}

impl Column {
    /// Of a type, empty.
    pub fn new(data_type: &DataType) -> Self {
        let values = match data_type {
            word if is_word(word) => Values::Words(Vec::new()),
            DataType::Utf8View => Values::Texts(Vec::new()),
            _ => Values::Arrays(Vec::new()),
        };
        Column {
            data_type: data_type.clone(),
            values,
            valid: Vec::new(),
            beside: 0,
        }
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let places = match &self.values {
            Values::Words(words) => words.capacity() * size_of::<u64>(),
            Values::Texts(texts) => texts.capacity() * size_of::<Box<str>>(),
            Values::Arrays(arrays) => arrays.capacity() * size_of::<Option<ArrayRef>>(),
        };
        places + self.valid.capacity() + self.beside
    }

    /// The type.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Puts a row of a column to a place.
    pub fn put(&mut self, place: EventId, column: &Opened, row: usize) {
        let place = place as usize;
        if self.valid.len() <= place {
            self.valid.resize(place + 1, false);
        }
        match &mut self.values {
            Values::Words(words) => {
                if words.len() <= place {
                    words.resize(place + 1, 0);
                }
                let word = column.word(row);
                self.valid[place] = word.is_some();
                words[place] = word.unwrap_or_default();
            }
            Values::Texts(texts) => {
                if texts.len() <= place {
                    texts.resize(place + 1, Box::default());
                }
                let text: Box<str> = match column.value(row) {
                    Some(Value::Text(text)) => {
                        self.valid[place] = true;
                        text.into()
                    }
                    _ => {
                        self.valid[place] = false;
                        Box::default()
                    }
                };
                self.beside += text.len();
                self.beside -= std::mem::replace(&mut texts[place], text).len();
            }
            Values::Arrays(arrays) => {
                if arrays.len() <= place {
                    arrays.resize(place + 1, None);
                }
                // A slice would keep the whole batch.
                let one = arrow::array::UInt32Array::from(vec![row as u32]);
                let array = column.other().filter(|array| array.is_valid(row));
                let array = array.and_then(|array| arrow::compute::take(array.as_ref(), &one, None).ok());
                self.valid[place] = array.is_some();
                self.beside += memory_of(array.as_ref());
                self.beside -= memory_of(std::mem::replace(&mut arrays[place], array).as_ref());
            }
        }
    }

    /// Forgets what a place holds, if that takes memory of its own.
    pub fn clear(&mut self, place: EventId) {
        match &mut self.values {
            Values::Words(_) => {}
            Values::Texts(texts) => self.beside -= std::mem::take(&mut texts[place as usize]).len(),
            Values::Arrays(arrays) => self.beside -= memory_of(arrays[place as usize].take().as_ref()),
        }
    }

    /// The value at a place; `None` when it is of a kind that has no [`Value`].
    pub fn value(&self, place: EventId) -> Option<Value<'_>> {
        if place == NO_EVENT || !self.valid[place as usize] {
            return Some(Value::Null);
        }
        match &self.values {
            Values::Words(words) => Some(of_word(words[place as usize], &self.data_type)),
            Values::Texts(texts) => Some(Value::Text(&texts[place as usize])),
            Values::Arrays(_) => None,
        }
    }

    /// The values at places, NULL for [`NO_EVENT`].
    pub fn gather(&self, places: &[EventId]) -> Result<ArrayRef> {
        match &self.values {
            Values::Words(words) => self.gather_words(words, places),
            Values::Texts(texts) => {
                let mut builder = StringViewBuilder::with_capacity(places.len());
                for &place in places {
                    match place != NO_EVENT && self.valid[place as usize] {
                        true => builder.append_value(&texts[place as usize]),
                        false => builder.append_null(),
                    }
                }
                Ok(Arc::new(builder.finish()))
            }
            Values::Arrays(arrays) => {
                let null = new_null_array(&self.data_type, 1);
                let found: Vec<&dyn Array> = places
                    .iter()
                    .map(|&place| {
                        let array = (place != NO_EVENT).then(|| arrays[place as usize].as_deref()).flatten();
                        array.unwrap_or(null.as_ref())
                    })
                    .collect();
                match found.is_empty() {
                    true => Ok(new_empty_array(&self.data_type)),
                    false => Ok(arrow::compute::concat(&found)?),
                }
            }
        }
    }

    fn gather_words(&self, words: &[u64], places: &[EventId]) -> Result<ArrayRef> {
        let valid: NullBuffer = places
            .iter()
            .map(|&place| place != NO_EVENT && self.valid[place as usize])
            .collect::<Vec<bool>>()
            .into();
        let at = |place: &EventId| match *place {
            NO_EVENT => 0,
            place => words[place as usize],
        };
        let nulls = (valid.null_count() > 0).then_some(valid);
        fn typed<T: ArrowPrimitiveType>(
            data_type: &DataType,
            values: impl Iterator<Item = T::Native>,
            nulls: Option<NullBuffer>,
        ) -> ArrayRef {
            let array = PrimitiveArray::<T>::new(values.collect(), nulls);
            Arc::new(array.with_data_type(data_type.clone()))
        }
        let words = places.iter().map(at);
        let to = &self.data_type;
        Ok(match to {
            DataType::Boolean => Arc::new(BooleanArray::new(words.map(|word| word != 0).collect(), nulls)),
            DataType::Int8 => typed::<Int8Type>(to, words.map(|word| word as i8), nulls),
            DataType::Int16 => typed::<Int16Type>(to, words.map(|word| word as i16), nulls),
            DataType::Int32 => typed::<Int32Type>(to, words.map(|word| word as i32), nulls),
            DataType::Int64 => typed::<Int64Type>(to, words.map(|word| word as i64), nulls),
            DataType::UInt8 => typed::<UInt8Type>(to, words.map(|word| word as u8), nulls),
            DataType::UInt16 => typed::<UInt16Type>(to, words.map(|word| word as u16), nulls),
            DataType::UInt32 => typed::<UInt32Type>(to, words.map(|word| word as u32), nulls),
            DataType::UInt64 => typed::<UInt64Type>(to, words, nulls),
            DataType::Float32 => typed::<Float32Type>(to, words.map(|word| f32::from_bits(word as u32)), nulls),
            DataType::Float64 => typed::<Float64Type>(to, words.map(f64::from_bits), nulls),
            DataType::Date32 => typed::<Date32Type>(to, words.map(|word| word as i32), nulls),
            DataType::Time64(_) => typed::<Time64MicrosecondType>(to, words.map(|word| word as i64), nulls),
            DataType::Timestamp(..) => typed::<TimestampMicrosecondType>(to, words.map(|word| word as i64), nulls),
            DataType::Duration(_) => typed::<DurationMicrosecondType>(to, words.map(|word| word as i64), nulls),
            other => return Err(Error::failed(format!("{other} is not kept as a word"))),
        })
    }
}

/// The bits of a valid value of a type that is kept by them.
pub(super) fn word(array: &ArrayRef, row: usize) -> u64 {
    match array.data_type() {
        DataType::Boolean => u64::from(array.as_boolean().value(row)),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row) as u64,
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row) as u64,
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row) as u64,
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row) as u64,
        DataType::UInt8 => u64::from(array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => u64::from(array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => u64::from(array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row),
        DataType::Float32 => u64::from(array.as_primitive::<Float32Type>().value(row).to_bits()),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_bits(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row) as u64,
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row) as u64,
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row) as u64,
        DataType::Duration(_) => array.as_primitive::<DurationMicrosecondType>().value(row) as u64,
        _ => 0,
    }
}

fn of_word<'a>(word: u64, data_type: &DataType) -> Value<'a> {
    match data_type {
        DataType::Boolean => Value::Bool(word != 0),
        DataType::Float32 => Value::Float(f64::from(f32::from_bits(word as u32))),
        DataType::Float64 => Value::Float(f64::from_bits(word)),
        _ => Value::Int(word as i64),
    }
}

/// The value of a row of an array; `None` when it is of a kind that has no [`Value`].
pub fn value_of(array: &ArrayRef, row: usize) -> Option<Value<'_>> {
    let data_type = array.data_type();
    if !is_word(data_type) && *data_type != DataType::Utf8View {
        return None;
    }
    Some(match array.is_valid(row) {
        false => Value::Null,
        true if *data_type == DataType::Utf8View => Value::Text(array.as_string_view().value(row)),
        true => of_word(word(array, row), data_type),
    })
}

/// Whether values of a type are [`Value`]s whose order and equality are those of the type.
pub fn has_values(data_type: &DataType) -> bool {
    (is_word(data_type) && *data_type != DataType::UInt64) || *data_type == DataType::Utf8View
}
