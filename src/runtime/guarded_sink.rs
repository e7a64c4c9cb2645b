//! A sink with its stream's error policy around it: tries again, finds the events that cannot be written, and goes on without them.
//!
//! # What is in doubt
//! A sink may keep what it takes in a buffer, so until a flush has succeeded nobody knows what has been written. Where events may
//! be given up, batches are kept until then (columns are shared: no copy), and at most `MOST_IN_DOUBT` rows of them: more are flushed.
//!
//! # Which events are given up
//! If a write fails, what the sink took before is flushed first: it is not to blame. Then:
//! - the destination could not be written to ([`Error::Io`]): all that is in doubt shares that fate;
//! - anything else may be one event's fault: the batch is halved until those that fail stand alone. *Cost.* O(log rows) writes for each.
//!
//! Order is kept: halves are written in order, and what comes later waits.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::errors::StreamErrors;
use crate::catalog::error_policy::Action;
use crate::connectors::{Position, Sink, StopSignal};
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{Clock, EventBatch, json_row};

/// How many rows may be in doubt.
const MOST_IN_DOUBT: usize = 65_536;

/// A sink and what is done about its errors.
pub struct GuardedSink {
    sink: Box<dyn Sink>,
    stream: String,
    id: String,
    guard: Option<Guard>,
    in_doubt: Vec<EventBatch>,
    rows_in_doubt: usize,
}

/// What a policy needs to be carried out.
#[derive(Clone)]
pub struct Guard {
    /// What the sink's position is saved under.
    pub id: String,
    /// The stream's errors and its policy.
    pub errors: Arc<StreamErrors>,
    /// Ends every wait.
    pub stop: StopSignal,
    /// Processing time.
    pub clock: Arc<dyn Clock>,
}

/// A call that failed for the last time.
struct Failed {
    error: Error,
    attempts: u32,
}

/// Which failures are tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tries {
    /// All that may be gone next time.
    All,
    /// Only those of the way to the destination: events are being told apart.
    Outside,
}

/// Whether an error may be one event's fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is: the sink says so.
    Event,
    /// It may be.
    Unknown,
    /// It is not: there is no way to the destination.
    Outside,
}

/// What the position of the sink of `stream` is saved under.
pub(super) fn state_id(stream: &str, guard: Option<&Guard>) -> String {
    guard.map_or_else(|| stream.to_string(), |guard| guard.id.clone())
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::Refused(_) => Fault::Event,
        Error::Io { .. } => Fault::Outside,
        _ => Fault::Unknown,
    }
}

impl GuardedSink {
    /// Opens the sink of `stream`. Without a guard every error is final.
    pub fn open(stream: &str, mut sink: Box<dyn Sink>, guard: Option<Guard>) -> Result<Self> {
        sink.open().map_err(|error| of_sink(stream, error))?;
        Ok(GuardedSink {
            sink,
            stream: stream.to_string(),
            id: state_id(stream, guard.as_ref()),
            guard,
            in_doubt: Vec::new(),
            rows_in_doubt: 0,
        })
    }

    /// Writes a batch. Events that are given up are added to `lost`. *Errors.* When the app shall stop.
    pub fn write(&mut self, batch: &EventBatch, lost: &mut Vec<RowError>) -> Result<()> {
        let Err(failed) = self.attempt("writing", Tries::All, &mut |sink| sink.write(batch)) else {
            lost.extend(self.sink.given_up());
            return self.doubt(batch, lost);
        };
        if fault(&failed.error) == Fault::Event && self.guard.is_some() {
            return self.without_refused(batch, failed, lost);
        }
        self.cannot_take(batch, failed, lost)
    }

    /// Makes what was written visible. Events that are given up are added to `lost`.
    pub fn flush(&mut self, lost: &mut Vec<RowError>) -> Result<()> {
        match self.attempt("writing", Tries::All, &mut |sink| sink.flush()) {
            Ok(()) => {
                self.certain();
                lost.extend(self.sink.given_up());
                Ok(())
            }
            Err(failed) => self.give_up(failed, lost),
        }
    }

    /// No event will come any more: waits for what the sink does by itself. Events that are given up are added to `lost`.
    pub fn finish(&mut self, lost: &mut Vec<RowError>) -> Result<()> {
        self.flush(lost)?;
        let finished = match &self.guard {
            Some(guard) => self.sink.finish(&guard.stop),
            None => self.sink.flush(),
        };
        lost.extend(self.sink.given_up());
        finished.map_err(|error| self.fatal(Failed { error, attempts: 1 }))
    }

    /// Becomes ready when the sink has given up events by itself: a flush tells which.
    pub fn news(&self) -> Option<Receiver<()>> {
        self.sink.news()
    }

    /// At a barrier: where the sink stands, if it can go back there.
    pub fn prepare(&mut self, lost: &mut Vec<RowError>) -> Result<Option<Position>> {
        self.flush(lost)?;
        let prepared = self.attempt("writing", Tries::All, &mut |sink| sink.prepare());
        prepared.map_err(|failed| self.fatal(failed))
    }

    /// Flushes and closes. Events that are given up now are reported at once: nothing flows any more.
    pub fn close(mut self, lost: &mut Vec<RowError>) -> Result<()> {
        let finished = self.finish(lost);
        self.report(lost)?;
        finished?;
        let closed = self.sink.close();
        closed.map_err(|error| self.fatal(Failed { error, attempts: 1 }))
    }

    /// The stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// What the sink's position is saved under.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reports events that were given up. *Errors.* When the app shall stop for one.
    pub fn report(&self, lost: &mut Vec<RowError>) -> Result<()> {
        let Some(guard) = &self.guard else {
            return Ok(());
        };
        lost.drain(..)
            .try_for_each(|error| guard.errors.report(&error).map(|_| ()))
    }

    /// What happens to events that cannot be written.
    fn action(&self) -> Action {
        let policy = self.guard.as_ref().map(|guard| guard.errors.policy());
        policy.map_or(Action::Fail, |policy| policy.of_the_outside())
    }

    /// Calls the sink until it succeeds, or there is no use in trying.
    fn attempt<T>(
        &mut self,
        what: &str,
        tries: Tries,
        call: &mut dyn FnMut(&mut dyn Sink) -> Result<T>,
    ) -> Result<T, Failed> {
        let mut attempts = 1;
        let mut stopping = false;
        loop {
            let error = match call(self.sink.as_mut()) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let helps = match fault(&error) {
                Fault::Event => false,
                Fault::Unknown => tries == Tries::All,
                Fault::Outside => true,
            };
            let useless = stopping || !helps || self.sink.is_over(&error);
            let Some(wait) = self.wait_after(attempts).filter(|_| !useless) else {
                return Err(Failed { error, attempts });
            };
            if let Some(guard) = &self.guard {
                guard.errors.retrying(what, &error, attempts, wait);
                // One last attempt when the app stops.
                stopping = guard.stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            }
            attempts += 1;
        }
    }

    fn wait_after(&self, attempts: u32) -> Option<Duration> {
        let retry = self.guard.as_ref()?.errors.policy().retries()?;
        let micros = retry.delay(attempts, rand::random())?;
        Some(Duration::from_micros(micros.unsigned_abs()))
    }

    /// A batch is taken. It is kept where it may have to be given up.
    fn doubt(&mut self, batch: &EventBatch, lost: &mut Vec<RowError>) -> Result<()> {
        if self.action() == Action::Fail {
            return Ok(());
        }
        self.rows_in_doubt += batch.num_rows();
        self.in_doubt.push(batch.clone());
        match self.rows_in_doubt >= MOST_IN_DOUBT {
            true => self.flush(lost),
            false => Ok(()),
        }
    }

    /// Nothing is in doubt any more.
    fn certain(&mut self) {
        self.in_doubt.clear();
        self.rows_in_doubt = 0;
    }

    /// Writes a batch of which the sink refuses events for what they hold.
    fn without_refused(&mut self, batch: &EventBatch, failed: Failed, lost: &mut Vec<RowError>) -> Result<()> {
        let mut untried = Vec::new();
        self.halve(batch, &failed, &mut untried, lost);
        while let Some(part) = untried.pop() {
            match self.attempt("writing", Tries::All, &mut |sink| sink.write(&part)) {
                Ok(()) => self.doubt(&part, lost)?,
                Err(failed) if fault(&failed.error) == Fault::Event => self.halve(&part, &failed, &mut untried, lost),
                Err(failed) => self.cannot_take(&part, failed, lost)?,
            }
        }
        Ok(())
    }

    /// A batch could not be written. What the sink took before is not to blame.
    fn cannot_take(&mut self, batch: &EventBatch, failed: Failed, lost: &mut Vec<RowError>) -> Result<()> {
        if self.action() == Action::Fail {
            return Err(self.fatal(failed));
        }
        match self.sink.flush() {
            Ok(()) => self.certain(),
            Err(error) => self.give_up(Failed { error, attempts: 1 }, lost)?,
        }
        self.narrow(vec![batch.clone()], failed, lost)
    }

    /// What is in doubt could not be brought out.
    fn give_up(&mut self, failed: Failed, lost: &mut Vec<RowError>) -> Result<()> {
        if self.action() == Action::Fail || self.sink.is_over(&failed.error) {
            return Err(self.fatal(failed));
        }
        self.sink.abandon().map_err(|error| of_sink(&self.stream, error))?;
        let batches = std::mem::take(&mut self.in_doubt);
        self.rows_in_doubt = 0;
        if batches.is_empty() {
            tracing::warn!(stream = self.stream, "{}", failed.error);
        }
        self.narrow(batches, failed, lost)
    }

    /// Writes again, once, what could not be written, in ever smaller parts if that may help. Nothing else is in doubt.
    fn narrow(&mut self, batches: Vec<EventBatch>, failed: Failed, lost: &mut Vec<RowError>) -> Result<()> {
        if self.sink.is_over(&failed.error) {
            return Err(self.fatal(failed));
        }
        if fault(&failed.error) == Fault::Outside {
            batches.iter().for_each(|batch| self.lose(batch, &failed, lost));
            return Ok(());
        }
        let mut untried: Vec<EventBatch> = batches;
        untried.reverse();
        if let [only] = untried.as_slice() {
            let only = only.clone();
            untried.clear();
            self.halve(&only, &failed, &mut untried, lost);
        }
        while let Some(part) = untried.pop() {
            let written = self.attempt("writing", Tries::Outside, &mut |sink| sink.write(&part));
            let written = written.and_then(|()| self.attempt("writing", Tries::Outside, &mut |sink| sink.flush()));
            let Err(again) = written else {
                continue;
            };
            let failed = Failed {
                error: again.error,
                attempts: failed.attempts.saturating_add(again.attempts),
            };
            if self.sink.is_over(&failed.error) {
                return Err(self.fatal(failed));
            }
            self.sink.abandon().map_err(|error| of_sink(&self.stream, error))?;
            match fault(&failed.error) {
                Fault::Outside => self.lose(&part, &failed, lost),
                Fault::Event | Fault::Unknown => self.halve(&part, &failed, &mut untried, lost),
            }
        }
        Ok(())
    }

    /// Puts the halves of a part that failed before what has not been tried; an event alone is lost.
    fn halve(&self, part: &EventBatch, failed: &Failed, untried: &mut Vec<EventBatch>, lost: &mut Vec<RowError>) {
        let rows = part.num_rows();
        if rows <= 1 {
            return self.lose(part, failed, lost);
        }
        untried.push(part.slice(rows / 2, rows - rows / 2));
        untried.push(part.slice(0, rows / 2));
    }

    fn lose(&self, part: &EventBatch, failed: &Failed, lost: &mut Vec<RowError>) {
        let kind = match fault(&failed.error) {
            Fault::Event => ErrorKind::Refused,
            Fault::Unknown | Fault::Outside => ErrorKind::Sink,
        };
        let at = self.guard.as_ref().map_or(0, |guard| guard.clock.now());
        let message = failed.error.to_string();
        lost.extend((0..part.num_rows()).map(|row| RowError {
            kind,
            message: message.clone(),
            event: json_row::row(part.columns(), row),
            line: None,
            at,
            attempts: failed.attempts,
        }));
    }

    /// The error that the app ends with.
    fn fatal(&self, failed: Failed) -> Error {
        if let Some(guard) = self.guard.as_ref().filter(|_| !self.sink.is_over(&failed.error)) {
            guard.errors.count(ErrorKind::Sink);
        }
        let stream = match failed.attempts {
            1 => self.stream.clone(),
            attempts => format!("{} (after {attempts} attempts)", self.stream),
        };
        of_sink(&stream, failed.error)
    }
}

/// The error of the sink of `stream`.
fn of_sink(stream: &str, error: Error) -> Error {
    match error {
        Error::Io { context, source } => Error::Io {
            context: format!("sink of stream {stream}: {context}"),
            source,
        },
        other => Error::failed(format!("sink of stream {stream}: {other}")),
    }
}
