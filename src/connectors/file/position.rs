//! Where a file source stands: `{"file": "a.json", "offset": 120, "line": 4}`, when following also the file's identity and
//! the places in the other files.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::paths::FileId;
use crate::connectors::Position;
use crate::error::{Error, Result};

/// A place in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Which file that was, when following.
    pub id: Option<FileId>,
    /// The offset of the next record.
    pub offset: u64,
    /// Its line number, from 1.
    pub line: u64,
}

impl Place {
    fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("file".to_string(), json!(self.path.to_string_lossy()));
        if let Some(id) = self.id {
            map.insert("device".to_string(), json!(id.device));
            map.insert("inode".to_string(), json!(id.inode));
        }
        map.insert("offset".to_string(), json!(self.offset));
        map.insert("line".to_string(), json!(self.line));
        map
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |key| value.get(key).and_then(Value::as_u64);
        let id = match (number("device"), number("inode")) {
            (Some(device), Some(inode)) => Some(FileId { device, inode }),
            _ => None,
        };
        Some(Place {
            path: PathBuf::from(value.get("file")?.as_str()?),
            id,
            offset: number("offset")?,
            line: number("line")?,
        })
    }
}

/// The position after a block of `current`, with the places in the other files that are followed.
pub fn position<'a>(current: &Place, others: impl Iterator<Item = &'a Place>) -> Position {
    let mut map = current.to_json();
    let others: Vec<Value> = others.map(|place| Value::Object(place.to_json())).collect();
    if !others.is_empty() {
        map.insert("others".to_string(), Value::Array(others));
    }
    Value::Object(map)
}

/// All places of a position, the current file's first.
pub fn places(position: &Position) -> Result<Vec<Place>> {
    let others = position.get("others").and_then(Value::as_array);
    std::iter::once(position)
        .chain(others.into_iter().flatten())
        .map(|place| Place::from_json(place).ok_or_else(|| Error::failed(format!("not a position in files: {place}"))))
        .collect()
}

/// The error for a file that no longer holds what was read from it.
pub fn lost(path: &Path, what: &str, offset: u64) -> Error {
    Error::failed(format!(
        "cannot continue in {}: it {what}, but {offset} bytes of it had been read; restore the file, or drop the saved \
         state to start anew",
        path.display()
    ))
}
