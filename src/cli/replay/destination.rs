//! [`Destination`]: where the dead letters of one stream go.

use std::convert::Infallible;

use crossbeam_channel::{Sender, bounded};

use super::letters::{Letter, attempts};
use crate::catalog::streams::StreamDef;
use crate::config::options::Options;
use crate::connectors::{EVENT_ID, Entrance, Registry, Sink, StopSignal};
use crate::error::{Error, Result, RowError};
use crate::event::{Clock, EventBatch, SystemClock, Times};
use crate::formats::json::JsonFormat;
use crate::formats::{Block, DecodeSchema, Decoder, Format, FrameKind};

/// See the module.
pub struct Destination {
    decoder: Option<Box<dyn Decoder>>,
    way: Way,
}

enum Way {
    /// A second sink of the stream. It is never told to stop.
    Sink(Box<dyn Sink>, (Sender<Infallible>, StopSignal)),
    /// The running app.
    Entrance(Box<dyn Entrance>),
    /// Nowhere: it is only tried whether it could be sent.
    Nowhere,
}

/// Why a letter could not be sent.
#[derive(Debug, Clone)]
pub struct Failed {
    /// In words.
    pub reason: String,
    /// As dead letters say it.
    pub kind: &'static str,
    /// How often it was tried.
    pub attempts: u32,
    /// When, in µs.
    pub time: i64,
}

impl Failed {
    /// At once.
    pub fn now(error: &Error) -> Self {
        Failed {
            reason: error.to_string(),
            kind: if matches!(error, Error::Refused(_)) {
                "refused"
            } else {
                "sink"
            },
            attempts: 1,
            time: SystemClock.now(),
        }
    }

    fn of(error: &RowError) -> Self {
        Failed {
            reason: error.message.clone(),
            kind: error.kind.as_str(),
            attempts: error.attempts,
            time: error.at,
        }
    }
}

impl Destination {
    /// Of a stream; `None` for a source that cannot be called.
    pub fn open(registry: &Registry, def: &StreamDef, tries: Option<u32>, dry_run: bool) -> Result<Option<Self>> {
        let mut def = def.clone();
        let retry = &mut def.settings.errors.retry;
        retry.max_attempts = attempts(tries, retry.max_attempts);
        let sink = registry.build_sink(&def)?;
        let decoder = match &sink {
            Some(_) => {
                let options = Options::check("json", JsonFormat.options(), &[])?;
                Some(JsonFormat.decoder(&DecodeSchema::all(def.schema.clone()), &options)?)
            }
            None => None,
        };
        let way = match (sink, registry.entrance(&def)?) {
            (None, None) => return Ok(None),
            _ if dry_run => Way::Nowhere,
            (Some(mut sink), _) => {
                sink.open()?;
                Way::Sink(sink, bounded(0))
            }
            (None, Some(entrance)) => Way::Entrance(entrance),
        };
        Ok(Some(Destination { decoder, way }))
    }

    /// Sends a letter. *Errors.* It cannot be sent; of what is not told here [`Destination::finish`] tells.
    pub fn send(&mut self, letter: &Letter, id: &str) -> Result<()> {
        let row = match &mut self.decoder {
            Some(decoder) => Some(row(decoder.as_mut(), letter)?),
            None => None,
        };
        match (&mut self.way, row) {
            (Way::Sink(sink, _), Some(row)) => sink.write_again(&row, id),
            (Way::Entrance(entrance), _) => entrance.send(&letter.event, id),
            (Way::Sink(..), None) | (Way::Nowhere, _) => Ok(()),
        }
    }

    /// Waits until what was sent is there; what is not, by its id.
    pub fn finish(&mut self) -> Result<Vec<(String, Failed)>> {
        let Way::Sink(sink, (_, stop)) = &mut self.way else {
            return Ok(Vec::new());
        };
        sink.finish(stop)?;
        let id = |error: &RowError| {
            let event: serde_json::Value = serde_json::from_str(&error.event).ok()?;
            Some(event[EVENT_ID].as_str()?.to_string())
        };
        Ok(sink
            .given_up()
            .iter()
            .filter_map(|error| Some((id(error)?, Failed::of(error))))
            .collect())
    }

    /// Nothing more comes.
    pub fn close(&mut self) -> Result<()> {
        match &mut self.way {
            Way::Sink(sink, _) => sink.close(),
            Way::Entrance(_) | Way::Nowhere => Ok(()),
        }
    }
}

/// The event of a letter as a row of its stream, with the time of its death.
fn row(decoder: &mut dyn Decoder, letter: &Letter) -> Result<EventBatch> {
    let decoded = decoder.decode(&Block {
        bytes: letter.event.clone().into_bytes(),
        first_line: 1,
        layout: None,
        kind: FrameKind::Records,
    })?;
    if let Some(bad) = decoded.errors.first() {
        return Err(Error::refused(format!(
            "originalEvent is no event of the stream: {}",
            bad.message
        )));
    }
    if decoded.columns.num_rows() != 1 {
        return Err(Error::refused("originalEvent is not one event of the stream"));
    }
    Ok(EventBatch::inserts(decoded.columns, Times::Same(letter.time)))
}
