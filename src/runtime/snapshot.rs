//! A consistent cut through a running app: the state of every operator and the positions of the sources that go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connectors::Position;
use crate::error::{Error, Result};
use crate::operators::state::{State, StatePart, StateReader};

/// The state of an app between two events. An app started from it goes on as if nothing had happened.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// By operator id.
    #[serde(with = "as_bytes")]
    pub(crate) operators: BTreeMap<String, State>,
    /// By the state id of the stream.
    pub(crate) positions: BTreeMap<String, Position>,
    /// On how many workers the keys of partitions lived.
    #[serde(default = "one")]
    pub(crate) workers: usize,
    /// The rows of tables that live in this process, by the state id of the table.
    #[serde(default, with = "as_bytes")]
    pub(crate) tables: BTreeMap<String, State>,
    /// Where sinks stood that can go back there, by the state id of the stream.
    #[serde(default)]
    pub(crate) sinks: BTreeMap<String, Position>,
    /// The source streams whose input had come to its end, by their state ids.
    #[serde(default)]
    pub(crate) ended: BTreeSet<String>,
    /// For how long the task that was held up most did nothing else.
    #[serde(skip)]
    pub(crate) pause: Duration,
}

/// Whether the saved bytes of an operator hold the times of its inputs and nothing else.
pub(crate) fn is_stateless(state: &State) -> bool {
    let [StatePart::Bytes(bytes)] = state.parts() else {
        return state.parts().is_empty();
    };
    let mut reader = StateReader::new(bytes);
    reader.bytes().is_ok() && reader.is_empty()
}

/// States as their bytes.
mod as_bytes {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use serde::ser::{Error, SerializeMap};
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::operators::state::State;

    pub(super) fn serialize<S: Serializer>(states: &BTreeMap<String, State>, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(states.len()))?;
        for (name, state) in states {
            let bytes: Cow<[u8]> = state.bytes().map_err(S::Error::custom)?;
            map.serialize_entry(name, &bytes)?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, State>, D::Error> {
        let states = BTreeMap::<String, Vec<u8>>::deserialize(from)?;
        Ok(states
            .into_iter()
            .map(|(name, bytes)| (name, State::of_bytes(bytes)))
            .collect())
    }
}

fn one() -> usize {
    1
}

impl Snapshot {
    /// As bytes, to be kept.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(Error::failed)
    }

    /// From the bytes of [`Snapshot::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::failed(format!("the snapshot is damaged: {error}")))
    }

    /// With the parts of states that came later in their places.
    pub(crate) fn settled(mut self) -> Self {
        let operators = self.operators.into_iter();
        self.operators = operators.map(|(id, state)| (id, state.settled())).collect();
        self
    }

    pub(crate) fn state_of(&self, id: &str) -> Option<&State> {
        self.operators.get(id)
    }

    pub(crate) fn merge(&mut self, other: Snapshot) {
        self.operators.extend(other.operators);
        self.positions.extend(other.positions);
        self.tables.extend(other.tables);
        self.sinks.extend(other.sinks);
        self.ended.extend(other.ended);
        self.pause = self.pause.max(other.pause);
    }
}
