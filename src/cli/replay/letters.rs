//! Dead letters, read as their stream has written them.

use std::io::{BufRead, Read};

use serde_json::{Value, json};

use super::ATTEMPTS;
use super::destination::Failed;
use crate::connectors::EVENT_ID;
use crate::error::{Error, Result};
use crate::formats::columns::temporal::parse_timestamp;

/// The longest line: an event of a MiB, escaped, and the rest of its letter.
const MAX_LINE: u64 = 16 << 20;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The event.
    pub event: String,
    /// What was wrong.
    pub kind: String,
    /// When, in µs.
    pub time: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// Whose it was.
    pub stream: String,
}

/// Which letters are meant.
pub struct Filter<'a> {
    /// Of these streams; none: of all.
    pub streams: &'a [String],
    /// Of these kinds; none: of all.
    pub kinds: &'a [String],
    /// From here on.
    pub since: Option<i64>,
    /// Before that.
    pub until: Option<i64>,
}

impl Filter<'_> {
    /// Whether a letter is.
    pub fn lets_through(&self, letter: &Letter) -> bool {
        let any =
            |wanted: &[String], is: &str| wanted.is_empty() || wanted.iter().any(|one| one.eq_ignore_ascii_case(is));
        any(self.streams, &letter.stream)
            && any(self.kinds, &letter.kind)
            && self.since.is_none_or(|since| letter.time >= since)
            && self.until.is_none_or(|until| letter.time < until)
    }
}

/// A time of the command line, in µs.
pub fn time(text: &str) -> Result<i64, String> {
    parse_timestamp(text.as_bytes()).ok_or_else(|| "a time is written as 2026-03-02T09:30:00Z".to_string())
}

impl Letter {
    /// *Errors.* Why a line is none.
    fn parse(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("no dead letter: {error}"))?;
        let text = |name: &str| {
            value[name]
                .as_str()
                .map(str::to_string)
                .ok_or_else(|| format!("no dead letter: it has no {name}"))
        };
        let time = match &value["timestamp"] {
            Value::String(text) => parse_timestamp(text.as_bytes()),
            Value::Number(millis) => millis.as_i64().and_then(|millis| millis.checked_mul(1_000)),
            _ => None,
        };
        Ok(Letter {
            event: text("originalEvent")?,
            kind: text("errorType")?,
            time: time.ok_or("no dead letter: it has no timestamp")?,
            attempts: value["attemptCount"].as_i64().unwrap_or(0),
            stream: text("streamName")?,
        })
    }

    /// The id that it was sent under, or else one that is the same whenever this letter is sent.
    pub fn id(&self) -> String {
        let event: Option<Value> = serde_json::from_str(&self.event).ok();
        if let Some(id) = event.as_ref().and_then(|event| event[EVENT_ID].as_str()) {
            return id.to_string();
        }
        let mut hash = blake3::Hasher::new();
        hash.update(b"replay\0");
        hash.update(self.stream.as_bytes());
        hash.update(&self.time.to_le_bytes());
        hash.update(self.event.as_bytes());
        format!("evt_{}", &hash.finalize().to_hex()[..32])
    }

    /// Its letter when it has failed once more.
    pub fn dead_again(&self, why: &Failed) -> String {
        let time = chrono::DateTime::from_timestamp_micros(why.time).unwrap_or_default();
        json!({
            "originalEvent": self.event,
            "errorMessage": why.reason,
            "errorType": why.kind,
            "timestamp": time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            "attemptCount": self.attempts.saturating_add(i64::from(why.attempts)),
            "streamName": self.stream,
        })
        .to_string()
    }
}

/// How often a stream's sink is tried.
pub fn attempts(asked: Option<u32>, of_stream: u32) -> u32 {
    match (asked, of_stream) {
        (Some(asked), _) => asked,
        (None, 0) => ATTEMPTS,
        (None, of_stream) => of_stream,
    }
}

/// Reads letters, one a line: the number of the line, and the letter or why it is none.
pub struct Reading<R> {
    input: R,
    line: u64,
}

impl<R: BufRead> Reading<R> {
    /// From the beginning of an input.
    pub fn new(input: R) -> Self {
        Reading { input, line: 0 }
    }

    fn read(&mut self) -> std::io::Result<Option<String>> {
        let mut text = Vec::new();
        let count = self.input.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)?;
        match count {
            0 => Ok(None),
            count if count as u64 == MAX_LINE && !text.ends_with(b"\n") => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("line {} is longer than {MAX_LINE} bytes", self.line + 1),
            )),
            _ => Ok(Some(String::from_utf8_lossy(&text).trim().to_string())),
        }
    }
}

impl<R: BufRead> Iterator for Reading<R> {
    type Item = Result<(u64, Result<Letter, String>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.read() {
                Ok(line) => line?,
                Err(error) => return Some(Err(Error::io("cannot read the dead letters", error))),
            };
            self.line += 1;
            if !line.is_empty() {
                return Some(Ok((self.line, Letter::parse(&line))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"originalEvent":"{\"k\":1,\"webhook-id\":\"evt_7\"}","errorMessage":"no","errorType":"sink","timestamp":"2026-03-02T09:30:00Z","attemptCount":3,"streamName":"Hook"}"#;

    #[test]
    fn letters_are_read_and_chosen() {
        let text = format!("{LINE}\n\nnonsense\n{{}}\n{LINE}");
        let read: Vec<_> = Reading::new(text.as_bytes()).map(Result::unwrap).collect();
        let lines: Vec<u64> = read.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 4, 5]);
        assert!(read[1].1.is_err() && read[2].1.is_err());
        let letter = read[0].1.clone().unwrap();
        assert_eq!((letter.id().as_str(), letter.attempts), ("evt_7", 3));
        let at = time("2026-03-02T09:30:00Z").unwrap();
        let through = |streams: &[String], kinds: &[String], since, until| {
            let filter = Filter {
                streams,
                kinds,
                since,
                until,
            };
            filter.lets_through(&letter)
        };
        assert!(through(&[], &[], Some(at), Some(at + 1)));
        assert!(!through(&[], &[], Some(at + 1), None) && !through(&[], &[], None, Some(at)));
        assert!(through(&["hook".to_string()], &["sink".to_string()], None, None));
        assert!(
            !through(&["Other".to_string()], &[], None, None) && !through(&[], &["decode".to_string()], None, None)
        );
    }

    #[test]
    fn without_an_id_one_is_made_that_stays() {
        let of = |event: &str, time| Letter {
            event: event.to_string(),
            kind: "sink".to_string(),
            time,
            attempts: 1,
            stream: "S".to_string(),
        };
        assert_eq!(of("{}", 1).id(), of("{}", 1).id());
        assert_ne!(of("{}", 1).id(), of("{}", 2).id());
        assert_ne!(of("no json", 1).id(), of("{}", 1).id());
    }
}
