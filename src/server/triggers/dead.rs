//! Dead letters: events that nobody will try again, in a file, one JSON object a line, with the members of a stream of dead letters.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::event::time_text;
use crate::connectors::http::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Micros;

/// An event that is given up.
pub struct Letter<'a> {
    /// The event.
    pub entry: &'a Entry,
    /// Its trigger.
    pub trigger: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Whose fault it is.
    pub kind: ErrorKind,
}

/// Where the dead letters of a relation go.
pub struct DeadLetters {
    relation: String,
    /// `None`: into the log.
    file: Option<File>,
}

impl DeadLetters {
    /// Into a file, which is made if it is not there; into the log without one.
    pub fn open(relation: &str, path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.map_err(|error| Error::io(format!("the file of dead letters, {}", path.display()), error))
        };
        Ok(DeadLetters {
            relation: relation.to_string(),
            file: path.map(open).transpose()?,
        })
    }

    /// Writes letters, and waits until they are on the disk. What cannot be written is logged, whole.
    pub fn write(&mut self, letters: &[Letter<'_>], now: Micros) {
        let lines: String = letters.iter().map(|letter| self.line(letter, now)).collect();
        let written = match &mut self.file {
            // At once, so that lines of several relations do not mix.
            Some(file) => file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()),
            None => Ok(()),
        };
        let is_lost = match &written {
            Ok(()) => self.file.is_none(),
            Err(error) => {
                tracing::error!(%error, "dead letters of triggers cannot be written");
                true
            }
        };
        for letter in letters {
            let event = match is_lost {
                true => String::from_utf8_lossy(&letter.entry.body),
                false => "".into(),
            };
            tracing::warn!(
                relation = self.relation,
                trigger = letter.trigger,
                id = letter.entry.id,
                attempts = letter.entry.attempts,
                event = &*event,
                "an event of a trigger was given up: {}",
                letter.reason
            );
        }
    }

    fn line(&self, letter: &Letter<'_>, now: Micros) -> String {
        let line = json!({
            "originalEvent": String::from_utf8_lossy(&letter.entry.body),
            "errorMessage": letter.reason,
            "errorType": letter.kind.as_str(),
            "timestamp": time_text(now),
            "attemptCount": letter.entry.attempts,
            "streamName": self.relation,
            "triggerName": letter.trigger,
        });
        format!("{line}\n")
    }
}
