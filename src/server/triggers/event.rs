//! The events of triggers: their ids, their bodies, whose turn they are.

use std::hash::Hasher;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use super::definition::Definition;
use super::machine::Told;
use crate::connectors::http::entry::Entry;
use crate::connectors::http::requests::Fnv;
use crate::event::Micros;

/// What is told of a key, with the row as JSON. The id is the same whenever the same comes again; the time need not be.
pub fn entry(of: &Definition, key: &str, told: Told, data: &str, now: Micros) -> Entry {
    let id = id(of, key, told, data);
    Entry {
        body: body(of, told, &id, data, now),
        id,
        route: of.uid.clone(),
        lane: lane(of, key),
        url: None,
        headers: Vec::new(),
        events: Vec::new(),
        attempts: 0,
    }
}

fn id(of: &Definition, key: &str, told: Told, data: &str) -> String {
    let mut hash = blake3::Hasher::new();
    for part in [&of.uid, key, told.kind.name(), data] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(&told.generation.to_le_bytes());
    format!("evt_{}", &hash.finalize().to_hex()[..32])
}

fn body(of: &Definition, told: Told, id: &str, data: &str, now: Micros) -> Vec<u8> {
    let mut body = json!({
        "event_id": id,
        "event_type": told.kind.name(),
        "trigger_name": of.name,
        "timestamp": time_text(now),
    })
    .to_string();
    // The row as it was written: `json!` would take it apart.
    body.pop();
    body.push_str(",\"data\":");
    body.push_str(data);
    body.push('}');
    body.into_bytes()
}

/// A time as it is written in events.
pub fn time_text(micros: Micros) -> String {
    let time: Option<DateTime<Utc>> = DateTime::from_timestamp_micros(micros);
    time.map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Events of one key of one trigger come one after the other.
fn lane(of: &Definition, key: &str) -> u64 {
    let mut hash = Fnv::default();
    hash.write(of.uid.as_bytes());
    hash.write_u8(0);
    hash.write(key.as_bytes());
    hash.finish()
}
