//! The audit: who signed in, who was refused, who changed triggers, and who was sent what. A line of JSON each, in a file.
//!
//! Handlers put lines into a queue that is bounded, and a thread writes them. What happens when that cannot be, because the disk is full
//! or slower than what happens, is an option: what would have to be noted is not done, or it is done and counted as not noted.

mod file;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};
use serde_json::{Value, json};

use super::access::Principal;
use super::failure::{Failure, Kind};
use crate::config::access::AuditOptions;
use crate::error::{Error, Result};
use file::Rotated;

/// How many lines may wait to be written.
const QUEUE: usize = 10_000;

/// How long the end waits for what is to be written.
const LAST: Duration = Duration::from_secs(2);

/// What is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody signed in.
    SignIn,
    /// Something was refused.
    Refusal,
    /// A trigger was made, changed or removed.
    #[allow(dead_code)]
    Trigger,
    /// A client was sent rows.
    Sent,
}

impl Event {
    /// Its name, in options and in the file.
    pub fn name(self) -> &'static str {
        match self {
            Event::SignIn => "sign-in",
            Event::Refusal => "refusal",
            Event::Trigger => "trigger",
            Event::Sent => "sent",
        }
    }
}

/// Where it is written; copying it is cheap. Without `[server.audit]` nothing is.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    events: Vec<String>,
    rows: bool,
    refuse: bool,
    queue: Sender<Job>,
    state: Arc<State>,
}

/// What the writer and the handlers share.
#[derive(Debug, Default)]
struct State {
    /// Whether the last line could not be written.
    fails: AtomicBool,
    /// Whether the server ends.
    ends: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
}

enum Job {
    Line(String),
    /// Answered when all before it is written.
    Flush(Sender<()>),
}

impl Audit {
    /// As configured. *Errors.* A file that cannot be opened.
    pub fn new(options: Option<&AuditOptions>) -> Result<Self> {
        let Some(options) = options else {
            return Ok(Audit::default());
        };
        let mut file = Rotated::open(&options.file, options.max_size, options.keep)
            .map_err(|error| Error::io(format!("the audit: {}", options.file.display()), error))?;
        let (queue, jobs) = bounded(QUEUE);
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::Builder::new()
            .name("eventflux-audit".to_string())
            .spawn(move || {
                for job in jobs {
                    match job {
                        Job::Line(line) => write(&mut file, &line, &shared),
                        // Whoever asked may have given up.
                        Job::Flush(done) => drop(done.send(())),
                    }
                }
            })
            .map_err(|error| Error::io("starting the thread of the audit", error))?;
        Ok(Audit(Some(Arc::new(Inner {
            events: options.events.clone(),
            rows: options.rows,
            refuse: options.refuse,
            queue,
            state,
        }))))
    }

    /// Whether an event is noted at all.
    pub fn notes(&self, event: Event) -> bool {
        self.0
            .as_ref()
            .is_some_and(|inner| inner.events.iter().any(|name| name == event.name()))
    }

    /// Whether rows are noted that are sent.
    pub fn notes_rows(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.rows)
    }

    /// Notes something: who did what with which relation (empty: none), and more to it (`Value::Null`: nothing). `code` is an error code, or the
    /// name of what was done, such as `CREATED`. Never waits. *Errors.* If it cannot be noted, and then nothing may be done.
    pub fn note(
        &self,
        event: Event,
        who: &Principal,
        relation: &str,
        code: &str,
        more: Value,
    ) -> std::result::Result<(), Failure> {
        let Some(inner) = self.0.as_ref().filter(|_| self.notes(event)) else {
            return Ok(());
        };
        let sent = match inner.refuse && inner.state.fails.load(Ordering::Acquire) {
            true => false,
            false => match inner.queue.try_send(Job::Line(line(event, who, relation, code, more))) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            },
        };
        if sent {
            return Ok(());
        }
        inner.state.dropped.fetch_add(1, Ordering::Relaxed);
        match inner.refuse {
            true => Err(Failure::new(
                Kind::AuditFailed,
                "it cannot be noted, and is not done therefore",
            )),
            false => Ok(()),
        }
    }

    /// Lines written, and events that were not noted.
    pub fn counts(&self) -> Option<(u64, u64)> {
        let state = &self.0.as_ref()?.state;
        Some((
            state.written.load(Ordering::Relaxed),
            state.dropped.load(Ordering::Relaxed),
        ))
    }

    /// Waits a while until all is written.
    pub fn flush(&self) {
        let Some(inner) = &self.0 else {
            return;
        };
        inner.state.ends.store(true, Ordering::Release);
        let (done, written) = bounded(1);
        if inner.queue.send_timeout(Job::Flush(done), LAST).is_ok() {
            // Longer than that nothing waits for a disk.
            let _ = written.recv_timeout(LAST);
        }
    }
}

/// Writes a line, and if that fails tries again until it does not, or the server ends.
fn write(file: &mut Rotated, line: &str, state: &State) {
    while let Err(error) = file.write(line) {
        if !state.fails.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "the audit cannot be written");
        }
        if state.ends.load(Ordering::Acquire) {
            state.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        std::thread::sleep(file::PAUSE);
    }
    state.written.fetch_add(1, Ordering::Relaxed);
    if state.fails.swap(false, Ordering::AcqRel) {
        tracing::info!("the audit is written again");
    }
}

fn line(event: Event, who: &Principal, relation: &str, code: &str, more: Value) -> String {
    let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let at = who.place();
    // In this order, for people.
    let members = [
        ("time", json!(time)),
        ("event", json!(event.name())),
        ("principal", json!(who.name())),
        ("address", json!(at.address.map(|address| address.to_string()))),
        ("endpoint", json!(at.endpoint)),
        ("relation", json!((!relation.is_empty()).then_some(relation))),
        ("code", json!(code)),
    ];
    let mut text = String::with_capacity(256);
    for (name, value) in &members {
        text += &format!("{}\"{name}\":{value}", if text.is_empty() { "{" } else { "," });
    }
    if let Value::Object(more) = more {
        for (name, value) in more {
            text += &format!(",{}:{value}", json!(name));
        }
    }
    text.push_str("}\n");
    text
}

/// What is told of rows that are sent: how many, and the texts if they are given.
pub fn sent<T: AsRef<[u8]>>(count: usize, texts: &[T]) -> Value {
    let mut more = json!({"rows": count});
    if !texts.is_empty() {
        let rows = texts
            .iter()
            .map(|text| serde_json::from_slice(text.as_ref()).unwrap_or_default());
        more["data"] = Value::Array(rows.collect());
    }
    more
}
