//! One request that is to be made, and how it is kept in a checkpoint.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whose turn it is: requests of one lane are made one after the other.
pub type Lane = u64;

/// A request that waits to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Sent as `webhook-id`: the same however often it is sent.
    pub id: String,
    /// By which of its courier's routes it goes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub route: String,
    /// The hash of its key.
    pub lane: Lane,
    /// Where to, if rows say that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers whose values are of rows, in the order of the settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The body.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub body: Vec<u8>,
    /// Its events as JSON objects, for when it is given up.
    pub events: Vec<String>,
    /// How often it was tried.
    pub attempts: u32,
}

impl Entry {
    /// About the memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let texts = self.headers.iter().chain(&self.events).chain(&self.url);
        size_of::<Entry>() + self.id.len() + self.body.len() + texts.map(String::len).sum::<usize>()
    }
}

fn to_base64<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(body))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
