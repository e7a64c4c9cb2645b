//! The sink: rows become requests, which the courier delivers.
//!
//! What it has taken and not delivered is its position in a checkpoint, so nothing is lost when the process is killed. After a restart
//! that is delivered, and then what came after the checkpoint comes again: at least once, and with the same ids if the input is read
//! again in the same order.

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};

use super::courier::{Calling, Courier};
use super::entry::Entry;
use super::outbox::GivenUp;
use super::requests::Requests;
use super::settings::Settings;
use crate::connectors::{EVENT_ID, Position, Sink, SinkSpec, StopSignal};
use crate::error::{Code, Diagnostic, Error, Result, RowError};
use crate::event::{Clock, EventBatch, SystemClock};

/// The sink: see the module.
pub struct HttpSink {
    settings: Settings,
    requests: Requests,
    courier: Option<Courier>,
    /// What an earlier run had not delivered.
    restored: Vec<Entry>,
    /// Whether a checkpoint has all that was taken.
    is_saved: bool,
}

/// What a checkpoint keeps.
#[derive(Serialize, Deserialize)]
struct Saved {
    sequence: u64,
    waiting: Vec<Entry>,
}

impl HttpSink {
    /// Checks the options; calls nobody.
    pub fn new(mut spec: SinkSpec) -> Result<Self, Diagnostic> {
        let encoder = spec
            .encoder
            .take()
            .ok_or_else(|| Diagnostic::new(Code::MissingOption, "an http sink needs a format"))?;
        let (settings, making) = Settings::new(&spec, encoder.media_type())?;
        Ok(HttpSink {
            requests: Requests::new(&settings, making, encoder),
            settings,
            courier: None,
            restored: Vec::new(),
            is_saved: false,
        })
    }

    fn courier(&self) -> Result<&Courier> {
        self.courier
            .as_ref()
            .ok_or_else(|| Error::failed("the sink is not open"))
    }

    /// Waits until all is delivered or given up; when the app is being stopped no longer than `close.timeout`.
    fn drain(&mut self, stop: &StopSignal) -> Result<()> {
        let left = self.courier()?.finish(stop, self.settings.close_timeout)?;
        if left.is_empty() {
            return Ok(());
        }
        let events: usize = left.iter().map(|entry| entry.events.len()).sum();
        if self.is_saved {
            tracing::info!(
                stream = self.settings.stream,
                events,
                "not delivered yet: they are in the checkpoint"
            );
            return Ok(());
        }
        Err(Error::failed(format!(
            "{events} events were not delivered within close.timeout ({:?})",
            self.settings.close_timeout
        )))
    }
}

impl Sink for HttpSink {
    fn open(&mut self) -> Result<()> {
        let sending = &self.settings.sending;
        let calling = Calling {
            timeout: sending.timeout,
            connect_timeout: sending.connect_timeout,
            allowed: sending.allowed.clone(),
        };
        let courier = Courier::start(&self.settings.stream, &calling, self.settings.outbox)?;
        courier.route("", sending.clone())?;
        let restored = std::mem::take(&mut self.restored);
        if !restored.is_empty() {
            courier.take(restored)?;
        }
        self.courier = Some(courier);
        Ok(())
    }

    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        let entries = self.requests.of(batch)?;
        self.is_saved = false;
        self.courier()?.take(entries)
    }

    fn write_again(&mut self, row: &EventBatch, id: &str) -> Result<()> {
        let entries = self.requests.again(row, id)?;
        self.courier()?.take(entries)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self, stop: &StopSignal) -> Result<()> {
        self.drain(stop)
    }

    fn given_up(&mut self) -> Vec<RowError> {
        let given_up = self.courier.as_ref().map(Courier::given_up).unwrap_or_default();
        let at = SystemClock.now();
        given_up.iter().flat_map(|one| errors_of(one, at)).collect()
    }

    fn news(&self) -> Option<Receiver<()>> {
        self.courier.as_ref().map(Courier::news)
    }

    fn prepare(&mut self) -> Result<Option<Position>> {
        let waiting = self.courier()?.show()?;
        let saved = Saved {
            sequence: self.requests.sequence,
            waiting: waiting.iter().map(|entry| Entry::clone(entry)).collect(),
        };
        self.is_saved = true;
        serde_json::to_value(saved).map(Some).map_err(Error::failed)
    }

    fn restore(&mut self, position: &Position) -> Result<()> {
        let saved = Saved::deserialize(position)
            .map_err(|error| Error::failed(format!("what was not delivered cannot be read back: {error}")))?;
        let headers = self.settings.sending.names.len();
        let fits = |entry: &Entry| {
            entry.headers.len() == headers && (entry.url.is_some() || self.settings.sending.url.is_some())
        };
        if !saved.waiting.iter().all(fits) {
            return Err(Error::failed(
                "events wait to be delivered that were made with other headers or another kind of URL; start once with the old options",
            ));
        }
        self.requests.sequence = saved.sequence;
        self.restored = saved.waiting;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.courier = None;
        Ok(())
    }
}

fn errors_of(given_up: &GivenUp, at: i64) -> impl Iterator<Item = RowError> {
    let (kind, entry) = (given_up.kind, &given_up.entry);
    let alone = entry.events.len() == 1;
    entry.events.iter().map(move |event| RowError {
        kind,
        message: given_up.reason.clone(),
        event: match alone {
            true => with_id(event, &entry.id),
            // The id is that of all of them together.
            false => event.clone(),
        },
        line: None,
        at,
        attempts: entry.attempts,
    })
}

/// An event, a JSON object, with the id under which it was sent: so that it can be sent once more under the same.
fn with_id(event: &str, id: &str) -> String {
    let (Some(members), Ok(id)) = (event.strip_suffix('}'), serde_json::to_string(id)) else {
        return event.to_string();
    };
    let comma = if members == "{" { "" } else { "," };
    format!("{members}{comma}\"{EVENT_ID}\":{id}}}")
}
