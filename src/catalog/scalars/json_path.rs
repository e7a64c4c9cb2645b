//! The way into a JSON text: keys of objects and positions in arrays.
//!
//! A text is read once, front to back, and nothing of it is built: what the path does not lead to is skipped, what it leads
//! to is borrowed. A key that stands twice means its last value, as in PostgreSQL.

use std::borrow::Cow;
use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::ColumnarValue;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Key(String),
    /// Into an array, from 0; negative from its end.
    Index(i64),
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// The value at the end of a path, as it is written; `None` where there is none.
pub fn seek<'j>(json: &'j str, path: &[Step]) -> Result<Option<&'j RawValue>, NotJson> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = Seek { path }.deserialize(&mut reader).map_err(|_| NotJson)?;
    reader.end().map_err(|_| NotJson)?;
    Ok(found)
}

/// How many elements an array or members an object has; `None` for what is neither.
pub fn length(value: &RawValue) -> Option<i64> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    reader.deserialize_any(Length).ok().flatten()
}

struct Seek<'p> {
    path: &'p [Step],
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        match self.path {
            [] => serde::Deserialize::deserialize(reader).map(Some),
            _ => reader.deserialize_any(self),
        }
    }
}

/// Scalars: values that hold no others.
macro_rules! scalars_are_none {
    () => {
        fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
            out.write_str("a JSON value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    };
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    scalars_are_none!();

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Key(key), path)) = self.path.split_first() else {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let mut found = None;
        while let Some(is_it) = members.next_key_seed(Is(key))? {
            match is_it {
                true => found = members.next_value_seed(Seek { path })?,
                false => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Index(index), path)) = self.path.split_first() else {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let Ok(index) = usize::try_from(*index) else {
            return from_end(elements, index.unsigned_abs(), path);
        };
        for _ in 0..index {
            if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = elements.next_element_seed(Seek { path })?.flatten();
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

fn from_end<'de, A: SeqAccess<'de>>(
    mut elements: A,
    back: u64,
    path: &[Step],
) -> Result<Option<&'de RawValue>, A::Error> {
    let mut all: Vec<&'de RawValue> = Vec::new();
    while let Some(element) = elements.next_element()? {
        all.push(element);
    }
    let index = usize::try_from(back).ok().and_then(|back| all.len().checked_sub(back));
    let element = index.and_then(|index| all.get(index));
    // Read as JSON already.
    Ok(element.and_then(|element| seek(element.get(), path).ok().flatten()))
}

/// Whether a key is this one.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct Length;

impl<'de> Visitor<'de> for Length {
    type Value = Option<i64>;

    scalars_are_none!();

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut count = 0;
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Some(count))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut count = 0;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Some(count))
    }
}

/// The paths of a batch's rows.
pub enum Paths {
    /// One for all.
    Constant(Option<Vec<Step>>),
    /// Steps that are columns: texts and positions.
    Columns(Vec<ArrayRef>),
}

impl Paths {
    /// Of the arguments that are steps, which are texts or LONG.
    pub fn new(steps: &[ColumnarValue], rows: usize) -> Result<Self> {
        let constant = |step: &ColumnarValue| match step {
            ColumnarValue::Scalar(step) => Some(step.clone()),
            ColumnarValue::Array(_) => None,
        };
        if let Some(steps) = steps.iter().map(constant).collect::<Option<Vec<_>>>() {
            return Ok(Paths::Constant(steps.iter().map(constant_step).collect()));
        }
        let columns = steps.iter().map(|step| step.to_array(rows));
        Ok(Paths::Columns(columns.collect::<Result<_>>()?))
    }

    /// The path of a row; `None` if a step is NULL.
    pub fn at(&self, row: usize) -> Option<Cow<'_, [Step]>> {
        match self {
            Paths::Constant(path) => path.as_deref().map(Cow::Borrowed),
            Paths::Columns(columns) => columns.iter().map(|column| column_step(column, row)).collect(),
        }
    }
}

fn constant_step(step: &ScalarValue) -> Option<Step> {
    match step {
        ScalarValue::Int64(index) => index.map(Step::Index),
        text => text.try_as_str().flatten().map(|key| Step::Key(key.to_string())),
    }
}

fn column_step(column: &ArrayRef, row: usize) -> Option<Step> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Int64 => Step::Index(column.as_primitive::<Int64Type>().value(row)),
        _ => Step::Key(column.as_string_view().value(row).to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(json: &str, path: &[Step]) -> Result<Option<String>, NotJson> {
        seek(json, path).map(|found| found.map(|value| value.get().to_string()))
    }

    fn key(key: &str) -> Step {
        Step::Key(key.to_string())
    }

    #[test]
    fn paths_lead_into_objects_and_arrays() {
        let json = r#"{"a": {"b": [1, {"c": "x"}, 3.50]}, "e\u00e9": null, "twice": 1, "twice": [2]}"#;
        let found = |path: &[Step]| at(json, path).unwrap();
        assert_eq!(found(&[]).as_deref(), Some(json));
        assert_eq!(
            found(&[key("a"), key("b"), Step::Index(1), key("c")]).as_deref(),
            Some(r#""x""#)
        );
        assert_eq!(found(&[key("a"), key("b"), Step::Index(-1)]).as_deref(), Some("3.50"));
        assert_eq!(
            found(&[key("a"), key("b"), Step::Index(-2), key("c")]).as_deref(),
            Some(r#""x""#)
        );
        assert_eq!(found(&[key("eé")]).as_deref(), Some("null"));
        assert_eq!(found(&[key("twice"), Step::Index(0)]).as_deref(), Some("2"));
        for nowhere in [
            vec![key("b")],
            vec![Step::Index(0)],
            vec![key("a"), key("b"), Step::Index(3)],
            vec![key("a"), key("b"), Step::Index(-4)],
            vec![key("a"), key("b"), Step::Index(0), key("c")],
            vec![key("a"), Step::Index(i64::MIN)],
        ] {
            assert_eq!(found(&nowhere), None, "{nowhere:?}");
        }
    }

    #[test]
    fn what_is_not_json_is_told() {
        for text in ["", "{", "{'a': 1}", r#"{"a": 1} x"#, r#"{"a": 1, "b"}"#] {
            assert_eq!(at(text, &[key("a")]), Err(NotJson), "{text}");
        }
    }
}
