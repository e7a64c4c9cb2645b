//! Rows as the embedder's own types.

use serde::de::DeserializeOwned;

use crate::config::options::Options;
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::formats::Format;
use crate::formats::json::JsonFormat;

/// Reads the rows of a batch as values of any `Deserialize` type: structs by column name, tuples by position.
pub trait Rows {
    /// All rows.
    ///
    /// Convenient rather than fast: each row goes through JSON. Read [`EventBatch::columns`] where speed matters.
    fn rows<T: DeserializeOwned>(&self) -> Result<Vec<T>>;
}

impl Rows for EventBatch {
    fn rows<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let options = Options::check("json", JsonFormat.options(), &[])?;
        let mut encoder = JsonFormat.encoder(&self.schema(), &options)?;
        let mut text = Vec::new();
        encoder.encode(self, &mut text)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| row(line)).collect()
    }
}

/// A JSON object as a `T`; as the array of its values where `T` is not made from an object.
fn row<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    let by_name = match serde_json::from_slice(line) {
        Ok(row) => return Ok(row),
        Err(error) => error,
    };
    let object: OrderedValues = serde_json::from_slice(line).map_err(Error::usage)?;
    serde_json::from_value(serde_json::Value::Array(object.0)).map_err(|_| Error::usage(by_name))
}

/// The values of a JSON object in the order they stand in.
struct OrderedValues(Vec<serde_json::Value>);

impl<'de> serde::Deserialize<'de> for OrderedValues {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OrderedValues;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<OrderedValues, A::Error> {
                let mut values = Vec::new();
                while let Some((_, value)) = map.next_entry::<serde::de::IgnoredAny, serde_json::Value>()? {
                    values.push(value);
                }
                Ok(OrderedValues(values))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
