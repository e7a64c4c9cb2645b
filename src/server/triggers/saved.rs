//! What a checkpoint keeps of the triggers of a relation.

use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::machine::SavedMachine;
use crate::connectors::http::entry::Entry;
use crate::error::{Error, Result};
use crate::event::Micros;

/// The version of this form. Others are not read.
const VERSION: u32 = 1;

/// All triggers of a relation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved {
    version: u32,
    /// Each, in the order in which they were made.
    pub triggers: Vec<SavedTrigger>,
}

/// One.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedTrigger {
    /// What was asked for.
    pub definition: Definition,
    /// Its keys.
    pub machine: SavedMachine,
    /// How often it has fired, if it has no key.
    pub sequence: u64,
    /// When it has last.
    pub fired_at: Micros,
    /// What is not delivered, each key in its order.
    pub waiting: Vec<Entry>,
}

impl Saved {
    /// Of these.
    pub fn new(triggers: Vec<SavedTrigger>) -> Self {
        Saved {
            version: VERSION,
            triggers,
        }
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(Error::failed)
    }

    /// From bytes.
    pub fn from_bytes(relation: &str, bytes: &[u8]) -> Result<Self> {
        let unreadable = |why: String| {
            Error::failed(format!(
                "the triggers of '{relation}' in the checkpoint cannot be read: {why}"
            ))
        };
        let saved: Saved = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        match saved.version {
            VERSION => Ok(saved),
            other => Err(unreadable(format!(
                "they have the form {other}, which this version does not know"
            ))),
        }
    }
}
