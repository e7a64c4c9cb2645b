//! Rows become requests: bodies, ids, keys.

use std::hash::Hasher;
use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;

use super::entry::{Entry, Lane};
use super::settings::{JSON, Making, Settings};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Op, json_row, pretty};
use crate::formats::Encoder;

/// Makes requests of batches.
pub struct Requests {
    stream: String,
    making: Making,
    encoder: Box<dyn Encoder>,
    is_json: bool,
    /// How many requests there have been: part of their ids.
    pub sequence: u64,
}

/// The rows of one request.
struct Rows {
    lane: Lane,
    rows: Vec<u32>,
}

impl Requests {
    /// For a sink.
    pub fn new(settings: &Settings, making: Making, encoder: Box<dyn Encoder>) -> Self {
        Requests {
            stream: settings.stream.clone(),
            is_json: encoder.media_type() == JSON,
            making,
            encoder,
            sequence: 0,
        }
    }

    /// The requests of a batch, in its order. *Errors.* None of its events is taken.
    pub fn of(&mut self, batch: &EventBatch) -> Result<Vec<Entry>> {
        let before = self.sequence;
        let made = self.make(batch, None);
        if made.is_err() {
            self.sequence = before;
        }
        made
    }

    /// The request of one row that was made before, under the id that it had.
    pub fn again(&mut self, row: &EventBatch, id: &str) -> Result<Vec<Entry>> {
        self.make(row, Some(id))
    }

    fn make(&mut self, batch: &EventBatch, known: Option<&str>) -> Result<Vec<Entry>> {
        let urls = self.making.urls(batch)?;
        let headers = self.making.headers(batch)?;
        let groups = self.groups(batch, urls.as_deref(), &headers);
        let mut entries = Vec::with_capacity(groups.len());
        for Rows { lane, rows } in groups {
            let first = rows[0] as usize;
            let events = rows
                .iter()
                .map(|row| json_row::row(batch.columns(), *row as usize))
                .collect();
            let part = batch.take(rows)?;
            let encoded = self.encoded(&part)?;
            let id = match self.making.id {
                _ if known.is_some() => known.unwrap_or_default().to_string(),
                Some(column) if batch.column(column).is_null(first) => {
                    return Err(Error::refused("the column of http.event-id is NULL"));
                }
                Some(column) => pretty::cell(batch.column(column).as_ref(), first),
                None => self.id(&encoded),
            };
            let body = match self.making.envelope {
                true => self.envelope(&part, &id, &encoded)?,
                false => encoded,
            };
            self.sequence += 1;
            entries.push(Entry {
                id,
                route: String::new(),
                lane,
                url: urls.as_ref().map(|urls| urls[first].clone()),
                headers: headers.iter().map(|values| values[first].clone()).collect(),
                body,
                events,
                attempts: 0,
            });
        }
        Ok(entries)
    }

    /// Which rows go together: those of one key, URL and headers, up to so many, in the order of their first.
    fn groups(&self, batch: &EventBatch, urls: Option<&[String]>, headers: &[Vec<String>]) -> Vec<Rows> {
        let mut groups: Vec<Rows> = Vec::with_capacity(batch.num_rows());
        // The group of each lane that still takes rows.
        let mut open = std::collections::HashMap::new();
        for row in 0..batch.num_rows() {
            let lane = self.lane(batch, row, row as u64);
            let same = |other: &Rows| {
                let other = other.rows[0] as usize;
                urls.is_none_or(|urls| urls[other] == urls[row])
                    && headers.iter().all(|values| values[other] == values[row])
            };
            let place = open.get(&lane).copied();
            match place.map(|place: usize| &mut groups[place]) {
                Some(group) if group.rows.len() < self.making.batch && same(group) => group.rows.push(row as u32),
                _ => {
                    open.insert(lane, groups.len());
                    groups.push(Rows {
                        lane,
                        rows: vec![row as u32],
                    });
                }
            }
        }
        groups
    }

    /// A row's lane: a hash of its key that is the same after a restart.
    fn lane(&self, batch: &EventBatch, row: usize, number: u64) -> Lane {
        if !self.making.ordered {
            // As many rows as a request takes share a lane, and no others.
            return self.sequence.wrapping_add(number / self.making.batch as u64);
        }
        let mut hash = Fnv::default();
        for column in &self.making.key {
            hash.write(pretty::cell(batch.column(*column).as_ref(), row).as_bytes());
            hash.write_u8(0);
        }
        hash.finish()
    }

    /// The body without an envelope.
    fn encoded(&mut self, part: &EventBatch) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.encoder.is_whole_when_finished() {
            self.encoder.begin(&mut body);
            self.encoder.encode(part, &mut body)?;
            self.encoder.finish(&mut body)?;
            return Ok(body);
        }
        if !(self.is_json && self.making.batch > 1) {
            self.encoder.encode(part, &mut body)?;
            trim_line_end(&mut body);
            return Ok(body);
        }
        body.push(b'[');
        for row in 0..part.num_rows() {
            if row > 0 {
                body.push(b',');
            }
            self.encoder.encode(&part.slice(row, 1), &mut body)?;
            trim_line_end(&mut body);
        }
        body.push(b']');
        Ok(body)
    }

    /// An id that is the same when the same events come again after a restart, and different for others.
    fn id(&self, body: &[u8]) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(self.stream.as_bytes());
        hash.update(&[0]);
        hash.update(&self.sequence.to_le_bytes());
        hash.update(body);
        let hash = hash.finalize().to_hex();
        format!("evt_{}", &hash[..32])
    }

    fn envelope(&self, part: &EventBatch, id: &str, encoded: &[u8]) -> Result<Vec<u8>> {
        let event_type = match part.op(0) {
            Op::Insert => "insert",
            Op::Delete => "delete",
            Op::UpdateBefore | Op::UpdateAfter => "update",
        };
        let data: Box<RawValue> = serde_json::from_slice(encoded).map_err(Error::failed)?;
        let time = arrow::array::TimestampMicrosecondArray::from(vec![part.time(0)]).with_timezone("UTC");
        let envelope = json!({
            "event_id": id,
            "event_type": event_type,
            "trigger_name": self.stream,
            "timestamp": pretty::cell(&time, 0),
        });
        // The data as they were encoded: `json!` would take them apart.
        let mut body = envelope.to_string();
        body.pop();
        body.push_str(",\"data\":");
        body.push_str(data.get());
        body.push('}');
        Ok(body.into_bytes())
    }
}

/// Requests have no line end of their own.
fn trim_line_end(body: &mut Vec<u8>) {
    if body.last() == Some(&b'\n') {
        body.pop();
        if body.last() == Some(&b'\r') {
            body.pop();
        }
    }
}

/// FNV-1a, which is the same for ever: what is saved under it is found again.
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The server that a request goes to: scheme, host and port.
pub fn server_of(url: &reqwest::Url) -> Arc<str> {
    url.origin().ascii_serialization().into()
}
