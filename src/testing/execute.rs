//! One case: compile its app, do its steps, compare what came.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Schema;

use super::capture::{Captured, Collected};
use super::case::{EventTimes, Query, Send};
use super::compare::compare;
use super::files::ReadyCase;
use super::report::{Failure, FailureKind};
use super::rows::decode;
use crate::app::{App, Builder};
use crate::config::nearest::nearest;
use crate::error::{Code, Error, Result, RowError};
use crate::event::{Clock, EventBatch, Times, VirtualClock};

/// How many run-time errors a failure tells.
const ERRORS_TOLD: usize = 5;

/// What sets a stream's fault stream apart from the stream.
const FAULT: char = '!';

/// Runs a case; the failures.
pub(super) fn execute(case: &ReadyCase, builder: Builder) -> Vec<Failure> {
    let clock = Arc::new(VirtualClock::new(case.case.start.0));
    let builder = builder
        .source(case.app.clone())
        .virtual_clock(clock.clone())
        .disconnected();
    let app = match (builder.build(), &case.case.error) {
        (Ok(app), None) => app,
        (Ok(_), Some(text)) => return vec![must_not_compile(text)],
        (Err(error), Some(text)) if contains(&error, text) => return Vec::new(),
        (Err(error), Some(text)) => {
            let expected =
                format!("the app does not compile, as expected, but not for a reason that contains '{text}':");
            return vec![Failure::compile(Some(expected), error)];
        }
        (Err(error), None) => return vec![Failure::compile(None, error)],
    };
    let mut run = Run {
        app,
        clock,
        outputs: BTreeMap::new(),
        errors: BTreeMap::new(),
        failures: Vec::new(),
    };
    if let Err(error) = run.listen(case).and_then(|()| run.app.start()) {
        return vec![Failure::plain(format!("the app does not start: {error}"))];
    }
    run.steps(case);
    run.check(case);
    // What a shutdown brings is no part of the case; whether it fails is.
    if let Err(error) = run.app.shutdown()
        && run.failures.is_empty()
    {
        run.failures.push(Failure::plain(format!("the app failed: {error}")));
    }
    run.failures
}

fn must_not_compile(text: &str) -> Failure {
    Failure::plain(match text {
        "" => "the app compiles, but must be refused".to_string(),
        text => format!("the app compiles, but must be refused with an error that contains '{text}'"),
    })
}

/// Whether an error says the text, in its message, code or hint.
fn contains(error: &Error, text: &str) -> bool {
    match error {
        Error::Compile(diagnostic) => {
            diagnostic.message.contains(text)
                || diagnostic.code.as_str().contains(text)
                || diagnostic.label.contains(text)
                || diagnostic.hint.as_ref().is_some_and(|hint| hint.contains(text))
        }
        other => other.to_string().contains(text),
    }
}

/// A case while it runs.
struct Run {
    app: App,
    clock: Arc<VirtualClock>,
    /// What expected streams have given, by the streams' own names.
    outputs: BTreeMap<String, Collected<EventBatch>>,
    errors: BTreeMap<String, Collected<RowError>>,
    failures: Vec<Failure>,
}

impl Run {
    fn listen(&mut self, case: &ReadyCase) -> Result<()> {
        for expectation in &case.case.expectations {
            let Ok(stream) = self.stream(&expectation.stream) else {
                continue;
            };
            if expectation.stream.starts_with(FAULT) || self.outputs.contains_key(&stream) {
                continue;
            }
            let collected = Collected::new();
            let sink = collected.clone();
            self.app.on(&stream, move |batch| sink.add(batch.clone()))?;
            self.outputs.insert(stream, collected);
        }
        let streams: Vec<String> = self.app.streams().iter().map(|stream| stream.name.clone()).collect();
        for stream in streams {
            let collected = Collected::new();
            let sink = collected.clone();
            self.app.on_error(&stream, move |error| sink.add(error.clone()))?;
            self.errors.insert(stream, collected);
        }
        Ok(())
    }

    /// The own name of a stream, or of the stream whose errors are meant.
    fn stream(&self, name: &str) -> Result<String, String> {
        let wanted = name.strip_prefix(FAULT).unwrap_or(name);
        if let Ok(def) = self.app.stream(wanted) {
            return Ok(def.name.clone());
        }
        let names: Vec<&str> = self.app.streams().iter().map(|stream| stream.name.as_str()).collect();
        Err(match nearest(wanted, names.iter().copied()) {
            Some(near) => format!("there is no stream '{wanted}'; did you mean '{near}'?"),
            None => format!("there is no stream '{wanted}'; the app has: {}", names.join(", ")),
        })
    }

    fn steps(&mut self, case: &ReadyCase) {
        for (index, step) in case.case.steps.iter().enumerate() {
            let number = index + 1;
            if let Some(at) = step.at
                && let Err(error) = self.app.advance_to(case.case.start.0.saturating_add(at.0))
            {
                return self.failures.push(Failure::plain(format!("step {number}: {error}")));
            }
            if let Some(send) = &step.send
                && let Err(reason) = self.send(send)
            {
                return self.failures.push(Failure::plain(format!(
                    "step {number}: send to {}: {reason}",
                    send.stream
                )));
            }
            if let Some(query) = &step.query {
                self.query(number, query);
            }
        }
        if case.case.finish
            && let Err(error) = self.app.finish()
        {
            self.failures.push(Failure::plain(format!("finish: {error}")));
        }
    }

    fn send(&self, send: &Send) -> Result<(), String> {
        let stream = self.stream(&send.stream)?;
        let input = self.app.input(&stream).map_err(|error| error.to_string())?;
        let columns = decode(&send.rows, &input.stream().schema)?;
        let times = match &send.times {
            None => Times::Same(self.clock.now()),
            Some(EventTimes::Same(time)) => Times::Same(*time),
            Some(EventTimes::Each(each)) => Times::Each(each.clone().into()),
        };
        input
            .send_events(EventBatch::inserts(columns, times))
            .map_err(|error| error.to_string())
    }

    fn query(&mut self, number: usize, query: &Query) {
        let wrong = |message: String| Failure::plain(format!("step {number}: {message}"));
        let answer = on_demand(&self.app, &query.text);
        let failure = match (answer, &query.error) {
            // Refused for being no part of the engine yet is never what a case is about.
            (Err(Error::Compile(error)), _) if error.code == Code::Unsupported => wrong(error.message.clone()),
            (Err(error), Some(text)) if contains(&error, text) => return,
            (Err(error), Some(text)) => wrong(format!(
                "the query must fail with an error that contains '{text}': {error}"
            )),
            (Err(error), None) => wrong(format!("the query failed: {error}")),
            (Ok(_), Some(text)) => wrong(format!(
                "the query must fail with an error that contains '{text}', but does not"
            )),
            (Ok(batches), None) => {
                let schema = batches
                    .first()
                    .map_or_else(|| Arc::new(Schema::empty()), EventBatch::schema);
                let captured = Captured::batches(schema, &batches);
                let mismatches = compare(&query.rows, &captured).into_iter();
                let subject = format!("step {number}: {}", query.text.trim());
                self.failures.extend(mismatches.map(|mismatch| {
                    FailureKind::Rows {
                        subject: subject.clone(),
                        mismatch,
                    }
                    .into()
                }));
                return;
            }
        };
        self.failures.push(failure);
    }

    fn check(&mut self, case: &ReadyCase) {
        let mut differ = false;
        for expectation in &case.case.expectations {
            let stream = match self.stream(&expectation.stream) {
                Ok(stream) => stream,
                Err(reason) => {
                    self.failures.push(Failure::plain(format!(
                        "expected stream {}: {reason}",
                        expectation.stream
                    )));
                    continue;
                }
            };
            let captured = match expectation.stream.starts_with(FAULT) {
                true => Captured::errors(
                    &stream,
                    &self.errors.get(&stream).map(Collected::items).unwrap_or_default(),
                ),
                false => {
                    let schema = self.app.stream(&stream).map(|def| def.schema.clone());
                    let batches = self.outputs.get(&stream).map(Collected::items).unwrap_or_default();
                    Captured::batches(schema.unwrap_or_else(|_| Arc::new(Schema::empty())), &batches)
                }
            };
            for mismatch in compare(&expectation.rows, &captured) {
                differ = true;
                let subject = expectation.stream.clone();
                self.failures.push(FailureKind::Rows { subject, mismatch }.into());
            }
        }
        if differ {
            self.tell_errors();
        }
    }

    /// Run-time errors often are why rows are missing.
    fn tell_errors(&mut self) {
        let all = self.errors.iter().flat_map(|(stream, errors)| {
            let told = |error: RowError| format!("!{stream}: {} (event: {})", error.message, error.event);
            errors.items().into_iter().map(told).collect::<Vec<_>>()
        });
        let all: Vec<String> = all.collect();
        if all.is_empty() {
            return;
        }
        let more = all.len().saturating_sub(ERRORS_TOLD);
        let mut text = "run-time errors of this case:".to_string();
        all.iter()
            .take(ERRORS_TOLD)
            .for_each(|error| text.push_str(&format!("\n  {error}")));
        if more > 0 {
            text.push_str(&format!("\n  … {more} more"));
        }
        self.failures.push(Failure::plain(text));
    }
}

/// Runs an on-demand query.
fn on_demand(app: &App, text: &str) -> Result<Vec<EventBatch>> {
    let batches = app.query(text)?;
    Ok(batches
        .into_iter()
        .map(|batch| EventBatch::inserts(batch, Times::Same(0)))
        .collect())
}
