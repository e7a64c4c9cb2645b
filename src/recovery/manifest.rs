//! Manifests: what belongs to a checkpoint.
//!
//! One line with the version of the format and the checksum of the rest, then JSON:
//! ```text
//! eventflux checkpoint 2 5f0c…
//! {"number": 12, "taken_at": 1790000000000000, …}
//! ```
//! So a manifest can be read by people, and a torn one is noticed.

use serde::{Deserialize, Serialize};

use super::object::hash;
use crate::connectors::Position;
use crate::error::{Error, Result};
use crate::event::Micros;

/// The version of the format that is written. Others are not read.
pub const FORMAT: u32 = 2;

const TITLE: &str = "eventflux checkpoint";

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its number; later ones have larger ones.
    pub number: u64,
    /// When it was taken.
    pub taken_at: Micros,
    /// The version of the engine that wrote it.
    pub engine: String,
    /// On how many workers the keys of partitions lived.
    pub workers: usize,
    /// Where sources stood.
    pub sources: Vec<Place>,
    /// Where sinks stood that can go back there.
    pub sinks: Vec<Place>,
    /// The state of operators.
    pub operators: Vec<Entry>,
    /// The rows of tables.
    pub tables: Vec<Entry>,
}

/// Where a stream's source or sink stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The stream.
    pub stream: String,
    /// What the position means.
    pub fingerprint: String,
    /// Where it stood, if it had begun.
    pub position: Option<Position>,
    /// Of a source: whether its input had come to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// The state of an operator or a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The operator's id or the table's name.
    pub name: String,
    /// What the name meant.
    pub fingerprint: String,
    /// Where the state is, part by part.
    pub parts: Vec<Part>,
}

/// A part of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its length.
    pub bytes: u64,
    /// Where it is.
    #[serde(flatten)]
    pub content: Content,
}

impl Entry {
    /// The length of the state.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Where a part of state is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// In an object.
    Object {
        /// The hash of the state, which is the object's name.
        object: String,
        /// The length of the object.
        stored: u64,
        /// The hash of the object.
        checksum: String,
    },
    /// Here: a file for a few bytes would cost more than they do.
    Inline {
        /// The state in base64.
        inline: String,
    },
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It is not whole; how that shows.
    Damaged(String),
    /// It has another format.
    Format(u32),
}

impl Manifest {
    /// As it is written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_vec_pretty(self).map_err(Error::failed)?;
        let mut bytes = format!("{TITLE} {FORMAT} {}\n", hash(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// From what was written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unusable> {
        let damaged = |what: &str| Unusable::Damaged(what.to_string());
        let end = memchr::memchr(b'\n', bytes).ok_or_else(|| damaged("the manifest ends early"))?;
        let (line, body) = (&bytes[..end], &bytes[end + 1..]);
        let line = std::str::from_utf8(line).map_err(|_| damaged("the manifest does not begin as one"))?;
        let words = line.strip_prefix(TITLE).map(|rest| rest.split_whitespace().collect());
        let words: Vec<&str> = words.unwrap_or_default();
        let &[format, checksum] = words.as_slice() else {
            return Err(damaged("the manifest does not begin as one"));
        };
        let format: u32 = format
            .parse()
            .map_err(|_| damaged("the manifest does not begin as one"))?;
        if format != FORMAT {
            return Err(Unusable::Format(format));
        }
        if hash(body) != checksum {
            return Err(damaged("the manifest's checksum does not hold"));
        }
        serde_json::from_slice(body).map_err(|error| Unusable::Damaged(format!("the manifest: {error}")))
    }

    /// The objects that it refers to.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        let entries = self.operators.iter().chain(&self.tables);
        let parts = entries.flat_map(|entry| &entry.parts);
        parts.filter_map(|part| match &part.content {
            Content::Object { object, .. } => Some(object.as_str()),
            Content::Inline { .. } => None,
        })
    }

    /// The length of all state.
    pub fn bytes(&self) -> u64 {
        self.operators.iter().chain(&self.tables).map(Entry::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            number: 7,
            taken_at: 1,
            engine: "0.1.0".to_string(),
            workers: 2,
            sources: vec![Place {
                stream: "S".to_string(),
                fingerprint: "f".to_string(),
                position: Some(serde_json::json!({"offset": 12})),
                ended: true,
            }],
            sinks: Vec::new(),
            operators: vec![Entry {
                name: "Out#1/1:window@0".to_string(),
                fingerprint: "f".to_string(),
                parts: vec![Part {
                    bytes: 3,
                    content: Content::Inline {
                        inline: "AAAA".to_string(),
                    },
                }],
            }],
            tables: vec![Entry {
                name: "T".to_string(),
                fingerprint: "f".to_string(),
                parts: vec![Part {
                    bytes: 3_000,
                    content: Content::Object {
                        object: "aa".to_string(),
                        stored: 100,
                        checksum: "bb".to_string(),
                    },
                }],
            }],
        }
    }

    #[test]
    fn it_comes_back() {
        let manifest = manifest();
        let again = Manifest::from_bytes(&manifest.to_bytes().unwrap()).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.objects().collect::<Vec<_>>(), ["aa"]);
        assert_eq!(again.bytes(), 3_003);
    }

    #[test]
    fn every_torn_or_changed_manifest_is_noticed() {
        let bytes = manifest().to_bytes().unwrap();
        for end in 0..bytes.len() {
            assert!(Manifest::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Manifest::from_bytes(&changed).is_err(), "{at}");
        }
    }

    #[test]
    fn another_format_is_told_apart_from_damage() {
        let bytes = manifest().to_bytes().unwrap();
        let text = String::from_utf8(bytes).unwrap().replacen(" 2 ", " 3 ", 1);
        assert_eq!(Manifest::from_bytes(text.as_bytes()), Err(Unusable::Format(3)));
    }
}
