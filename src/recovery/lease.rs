//! [`Lease`]: one process at a time uses a place in S3.
//!
//! *Background.* A file's lock goes with its process; in S3 nobody notices that a process is gone. So whoever uses the place renews
//! an object, `lock`, every so often, with conditional writes (`If-Match`): of two that want to write it one wins, and who was
//! overtaken is told. Whoever wants the place watches the object: if it changes, somebody is alive; if it does not for as long
//! as a lease holds, it is taken over. Nobody compares clocks; each measures with its own how long it has watched (C. G. Gray and
//! D. R. Cheriton, *Leases: an efficient fault-tolerant mechanism for distributed file cache consistency*, 1989).
//!
//! A process that was stopped for longer than its lease, and overtaken, finds that out before its next manifest ([`Lease::confirm`]).
//! Between that look and the manifest it could be stopped once more; so manifests are never written over one another
//! (`Store::publish`).
//!
//! *Cost.* A request every third of the lease. At the start one or two; after a kill, waiting for as long as the lease holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::s3::Io;
use crate::error::{Code, Diagnostic, Error, Result};

/// The object.
const LOCK: &str = "lock";

/// How long a lease holds if nobody says.
pub const LEASE: Duration = Duration::from_secs(15);

/// No lease of others is believed to hold longer.
const LONGEST: Duration = Duration::from_secs(600);

/// How often a lease is renewed while it holds.
const RENEWALS: u32 = 3;

/// How often taking and writing are tried while others do the same.
const ATTEMPTS: usize = 5;

/// How long giving the place back may take at the end.
const RELEASE: Duration = Duration::from_secs(5);

/// Between two looks at the lease of somebody else, at most.
const LOOK: Duration = Duration::from_millis(500);

/// What the object holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// Who holds it: a random number. Empty: nobody.
    owner: String,
    /// Who that is, for people.
    who: String,
    /// Grows with each renewal.
    beat: u64,
    /// How long it holds after it was written.
    milliseconds: u64,
}

/// The object as it was seen.
struct Seen {
    content: Content,
    version: UpdateVersion,
}

/// A place that is ours, until this is dropped.
#[derive(Debug)]
pub struct Lease {
    held: Arc<Held>,
    io: Arc<Io>,
    heartbeat: AbortHandle,
}

#[derive(Debug)]
struct Held {
    objects: Arc<dyn ObjectStore>,
    /// The place, for messages.
    place: String,
    length: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    content: Content,
    version: UpdateVersion,
    /// When the last renewal began that succeeded.
    renewed: Instant,
    /// Who has taken the place over.
    lost: Option<String>,
}

impl Lease {
    /// Makes the place ours.
    ///
    /// *Errors.* `E0500` when somebody is using it.
    pub fn take(io: &Arc<Io>, objects: Arc<dyn ObjectStore>, place: &str, length: Duration) -> Result<Self> {
        let held = Arc::new(io.wait(take(objects, place.to_string(), length))??);
        let heartbeat = io.begin(beat(held.clone()))?;
        Ok(Lease {
            held,
            io: io.clone(),
            heartbeat,
        })
    }

    /// Makes sure that the place is still ours, and will be for a while.
    ///
    /// *Errors.* `E0500` when another process has taken it over.
    pub fn confirm(&self) -> Result<()> {
        let held = self.held.clone();
        self.io.wait(async move { held.confirm().await })?
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.heartbeat.abort();
        let held = self.held.clone();
        let released = self.io.wait(async move { timeout(RELEASE, held.release()).await });
        if !matches!(released, Ok(Ok(Ok(())))) {
            tracing::warn!(place = %self.held.place, "the place could not be given back: who wants it waits for a while");
        }
    }
}

/// Renews it, for ever or until it is lost.
async fn beat(held: Arc<Held>) {
    let every = held.length / RENEWALS;
    loop {
        sleep(every).await;
        match timeout(held.length, held.renew()).await {
            Ok(Ok(())) => {}
            Ok(Err(error @ Error::Compile(_))) => {
                tracing::error!(%error, "no more checkpoints are written");
                return;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lock could not be renewed"),
            Err(_) => tracing::warn!(place = %held.place, "the lock could not be renewed in time"),
        }
    }
}

impl Held {
    async fn confirm(&self) -> Result<()> {
        {
            let state = self.state.lock().await;
            if let Some(who) = &state.lost {
                return Err(overtaken(&self.place, who));
            }
            if state.renewed.elapsed() < self.length / 2 {
                return Ok(());
            }
        }
        self.renew().await
    }

    async fn renew(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let mut content = state.content.clone();
        content.beat += 1;
        self.write(&mut state, content).await
    }

    async fn release(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.lost.is_some() {
            return Ok(());
        }
        let mut content = state.content.clone();
        content.owner.clear();
        self.write(&mut state, content).await
    }

    /// Writes the object over what we wrote last.
    async fn write(&self, state: &mut State, content: Content) -> Result<()> {
        if let Some(who) = &state.lost {
            return Err(overtaken(&self.place, who));
        }
        for _ in 0..ATTEMPTS {
            let began = Instant::now();
            match put(&self.objects, &content, PutMode::Update(state.version.clone())).await {
                Ok(version) => {
                    (state.content, state.version, state.renewed) = (content, version, began);
                    return Ok(());
                }
                Err(object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(cannot(&self.place, &error)),
            }
            match look(&self.objects, &self.place).await? {
                // An earlier renewal had arrived whose answer had not.
                Some(seen) if seen.content == content => {
                    (state.content, state.version, state.renewed) = (content, seen.version, began);
                    return Ok(());
                }
                Some(seen) if seen.content.owner == state.content.owner => state.version = seen.version,
                other => {
                    let who = other.map_or("somebody, who removed the lock".to_string(), |seen| seen.content.who);
                    state.lost = Some(who.clone());
                    return Err(overtaken(&self.place, &who));
                }
            }
        }
        Err(Error::failed(format!("cannot renew the lock of {}", self.place)))
    }
}

async fn take(objects: Arc<dyn ObjectStore>, place: String, length: Duration) -> Result<Held> {
    let content = Content {
        owner: format!("{:032x}", rand::random::<u128>()),
        who: who(),
        beat: 0,
        milliseconds: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
    };
    for _ in 0..ATTEMPTS {
        let mode = match look(&objects, &place).await? {
            None => PutMode::Create,
            Some(seen) if seen.content.owner.is_empty() => PutMode::Update(seen.version),
            // A try of ours that had arrived, but its answer had not.
            Some(seen) if seen.content.owner == content.owner => PutMode::Update(seen.version),
            Some(seen) => match watch(&objects, &place, seen, length).await? {
                Some(abandoned) => PutMode::Update(abandoned),
                None => continue,
            },
        };
        let began = Instant::now();
        match put(&objects, &content, mode).await {
            Ok(version) => {
                let state = State {
                    content,
                    version,
                    renewed: began,
                    lost: None,
                };
                return Ok(Held {
                    objects,
                    place,
                    length,
                    state: Mutex::new(state),
                });
            }
            // Somebody was faster.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
            Err(error) => return Err(cannot(&place, &error)),
        }
    }
    Err(in_use(&place, "others, who are starting"))
}

/// Watches the lease of somebody else until it has run out: what to write over. `None`: it was given back.
async fn watch(
    objects: &Arc<dyn ObjectStore>,
    place: &str,
    first: Seen,
    own: Duration,
) -> Result<Option<UpdateVersion>> {
    let length = Duration::from_millis(first.content.milliseconds).max(own).min(LONGEST);
    let began = Instant::now();
    tracing::warn!(
        place,
        "the lock is held by {}: waiting for {length:?}, if it was killed",
        first.content.who
    );
    while began.elapsed() < length {
        sleep((length / 20).min(LOOK)).await;
        match look(objects, place).await? {
            None => return Ok(None),
            Some(seen) if seen.content.owner.is_empty() => return Ok(None),
            Some(seen) if seen.version.e_tag != first.version.e_tag => return Err(in_use(place, &seen.content.who)),
            Some(_) => {}
        }
    }
    Ok(Some(first.version))
}

async fn look(objects: &Arc<dyn ObjectStore>, place: &str) -> Result<Option<Seen>> {
    let found = match objects.get(&Path::from(LOCK)).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(cannot(place, &error)),
    };
    let version = UpdateVersion {
        e_tag: found.meta.e_tag.clone(),
        version: found.meta.version.clone(),
    };
    let bytes = found.bytes().await.map_err(|error| cannot(place, &error))?;
    // One that is not ours to read is watched as any other.
    let content = serde_json::from_slice(&bytes).unwrap_or_else(|_| Content {
        owner: "unknown".to_string(),
        who: "something unknown".to_string(),
        beat: 0,
        milliseconds: 0,
    });
    Ok(Some(Seen { content, version }))
}

async fn put(objects: &Arc<dyn ObjectStore>, content: &Content, mode: PutMode) -> object_store::Result<UpdateVersion> {
    let bytes = serde_json::to_vec(content).unwrap_or_default();
    let options = PutOptions::from(mode);
    let written = objects
        .put_opts(&Path::from(LOCK), PutPayload::from(bytes), options)
        .await?;
    Ok(written.into())
}

/// This process, for people.
fn who() -> String {
    let process = format!("process {}", std::process::id());
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{process} on {}", host.trim()),
        Err(_) => process,
    }
}

fn cannot(place: &str, error: &object_store::Error) -> Error {
    Error::failed(format!("cannot lock {place}: {}", super::store::reason(error)))
}

fn in_use(place: &str, who: &str) -> Error {
    Diagnostic::new(Code::StateInUse, format!("{place} is in use by {who}"))
        .hint("wait for it to end, or give this app a place of its own")
        .into()
}

fn overtaken(place: &str, who: &str) -> Error {
    let message = format!("{place} was taken over by {who}, while this process could not reach it or stood still");
    Diagnostic::new(Code::StateInUse, message)
        .hint("end one of the two; this one writes no more checkpoints")
        .into()
}

#[cfg(test)]
#[path = "lease/tests.rs"]
mod tests;
