//! [`Folder`]: a folder of checkpoints, on this machine or in S3, in use by this process.
//!
//! *Writing* a checkpoint puts the objects that are new there, waits until they are on the disk, and then puts the manifest. Cost: a
//! hash of all state, and compression and writing of what changed. *Removing*: manifests beyond those that are kept, first; then
//! the objects that no manifest refers to any more. Whatever is left behind by a kill in between is removed at the next start.
//!
//! Only objects that this process has written, or read and found whole, are referred to anew: a damaged one is never handed on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::cipher::Cipher;
use super::lock::Lock;
use super::manifest::{Content, Entry, Manifest, Part, Place, Unusable};
use super::object::{hash, pack, unpack};
use super::store::Store;
use crate::config::checkpoints::StateDir;
use crate::config::s3::S3Options;
use crate::error::{Code, Diagnostic, Result};
use crate::event::Micros;
use crate::operators::state::State;
use crate::plan::fingerprint::{Fingerprint, Fingerprints};
use crate::runtime::snapshot::Snapshot;

/// Where manifests are.
pub const CHECKPOINTS: &str = "checkpoints";

/// Where state is.
pub const OBJECTS: &str = "objects";

/// Up to this length state stands in the manifest.
const INLINE_BYTES: usize = 256;

/// A folder of checkpoints. Dropped, it is free for others.
#[derive(Debug)]
pub struct Folder {
    store: Store,
    /// Ours as long as it is open.
    lock: Lock,
    /// The number of the next checkpoint. None is used twice: one that could not be written may yet be there, or come to be.
    next: u64,
    /// The checkpoints that are there, oldest first.
    kept: VecDeque<Kept>,
    /// The objects that are there and whole, by name.
    whole: BTreeMap<String, Stored>,
    /// The objects that are there, but of which nobody knows whether they are whole.
    unknown: BTreeSet<String>,
}

/// A checkpoint that is there.
#[derive(Debug)]
struct Kept {
    number: u64,
    /// What it refers to; nothing if its manifest cannot be read.
    objects: BTreeSet<String>,
}

/// An object as it is kept.
#[derive(Debug, Clone)]
struct Stored {
    bytes: u64,
    checksum: String,
}

/// A checkpoint that has been read.
#[derive(Debug)]
pub struct Saved {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The state.
    pub snapshot: Snapshot,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its number.
    pub number: u64,
    /// Why.
    pub why: String,
}

/// What writing a checkpoint took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// The checkpoint's number.
    pub number: u64,
    /// The length of all state.
    pub bytes: u64,
    /// How much was written to the disk.
    pub written_bytes: u64,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Checkpoints.
    pub checkpoints: usize,
    /// Objects.
    pub objects: usize,
}

impl Folder {
    /// Opens a folder, which is made if it is not there, for this process alone. With a key all that is in it is encrypted.
    pub fn open(at: &StateDir, s3: &S3Options, cipher: Option<Cipher>) -> Result<Self> {
        let store = Store::open(at, s3)?;
        let lock = store.lock()?;
        let store = store.encrypted(cipher)?;
        for folder in [CHECKPOINTS, OBJECTS] {
            store.remove_half_written(folder)?;
        }
        let mut folder = Folder {
            store,
            lock,
            next: 1,
            kept: VecDeque::new(),
            whole: BTreeMap::new(),
            unknown: BTreeSet::new(),
        };
        for number in numbers(&folder.store)? {
            let objects = match read_manifest(&folder.store, number)? {
                Ok(manifest) => manifest.objects().map(str::to_string).collect(),
                Err(_) => BTreeSet::new(),
            };
            folder.kept.push_back(Kept { number, objects });
            folder.next = number.saturating_add(1);
        }
        let objects = folder.store.list(OBJECTS)?;
        folder.unknown = objects.into_iter().map(|object| object.name).collect();
        Ok(folder)
    }

    /// The newest checkpoint that is whole, and those that are newer but not; `None` if there is no checkpoint at all.
    ///
    /// *Errors.* `E0502` when there are checkpoints and none is whole, or one was written by a newer version.
    pub fn newest(&mut self) -> Result<Option<(Saved, Vec<Skipped>)>> {
        let mut skipped = Vec::new();
        for number in self.kept.iter().rev().map(|kept| kept.number) {
            match read(&self.store, number)? {
                Ok(saved) => {
                    let entries = saved.manifest.operators.iter().chain(&saved.manifest.tables);
                    for part in entries.flat_map(|entry| &entry.parts) {
                        if let Content::Object {
                            object,
                            stored,
                            checksum,
                        } = &part.content
                        {
                            self.unknown.remove(object);
                            let (bytes, checksum) = (*stored, checksum.clone());
                            self.whole.insert(object.clone(), Stored { bytes, checksum });
                        }
                    }
                    return Ok(Some((saved, skipped)));
                }
                Err(why) => skipped.push(Skipped { number, why }),
            }
        }
        let Some(first) = skipped.first() else {
            return Ok(None);
        };
        let message = format!(
            "none of the {} checkpoint(s) in {} is whole; the newest, {}: {}",
            skipped.len(),
            self.store.place(),
            first.number,
            first.why
        );
        Err(Diagnostic::new(Code::StateDamaged, message)
            .hint("put the folder back from a copy, or start anew with --allow-state-loss")
            .into())
    }

    /// Writes a checkpoint; then removes those beyond the newest `retain`.
    pub fn write(
        &mut self,
        snapshot: &Snapshot,
        now: &Fingerprints,
        taken_at: Micros,
        retain: usize,
    ) -> Result<Written> {
        let number = self.next;
        self.next = number.saturating_add(1);
        let mut fresh = Vec::new();
        let mut written_bytes = 0;
        let mut entries = |states: &BTreeMap<String, State>, of: &dyn Fn(&str) -> Fingerprint| {
            let entries = states.iter().map(|(name, state)| {
                let mut parts = Vec::new();
                for part in state.parts() {
                    let bytes = part.bytes()?;
                    let (content, written) = self.keep(&bytes, &mut fresh)?;
                    written_bytes += written;
                    let bytes = bytes.len() as u64;
                    parts.push(Part { bytes, content });
                }
                Ok(Entry {
                    name: name.clone(),
                    fingerprint: of(name),
                    parts,
                })
            });
            entries.collect::<Result<Vec<_>>>()
        };
        let operators = entries(&snapshot.operators, &|id| of(&now.operators, operator(id)))?;
        let tables = entries(&snapshot.tables, &|name| of(&now.tables, name))?;
        let manifest = Manifest {
            number,
            taken_at,
            engine: env!("CARGO_PKG_VERSION").to_string(),
            workers: snapshot.workers,
            sources: sources(snapshot, now),
            sinks: sinks(snapshot, now),
            operators,
            tables,
        };
        if !fresh.is_empty() {
            self.store.sync(OBJECTS, &fresh)?;
        }
        let bytes = manifest.to_bytes()?;
        written_bytes += bytes.len() as u64;
        let name = file_name(number);
        self.lock.confirm()?;
        self.store.publish(&format!("{CHECKPOINTS}/{name}"), bytes)?;
        let objects = manifest.objects().map(str::to_string).collect();
        self.kept.push_back(Kept { number, objects });
        self.store.sync(CHECKPOINTS, &[name])?;
        self.remove_old(retain)?;
        Ok(Written {
            number,
            bytes: manifest.bytes(),
            written_bytes,
        })
    }

    /// Keeps state, unless it is kept already; how much was written.
    fn keep(&mut self, state: &[u8], fresh: &mut Vec<String>) -> Result<(Content, u64)> {
        if state.len() <= INLINE_BYTES {
            let inline = BASE64.encode(state);
            return Ok((Content::Inline { inline }, 0));
        }
        let object = self.store.name_of(state);
        let mut written = 0;
        let stored = match self.whole.get(&object) {
            Some(stored) => stored.clone(),
            None => {
                let packed = pack(state)?;
                let stored = Stored {
                    bytes: packed.len() as u64,
                    checksum: hash(&packed),
                };
                written = stored.bytes;
                self.store.put(&format!("{OBJECTS}/{object}"), packed)?;
                self.unknown.remove(&object);
                self.whole.insert(object.clone(), stored.clone());
                fresh.push(object.clone());
                stored
            }
        };
        let (stored, checksum) = (stored.bytes, stored.checksum);
        let content = Content::Object {
            object,
            stored,
            checksum,
        };
        Ok((content, written))
    }

    /// Removes the checkpoints beyond the newest `retain`, and the objects that none refers to.
    pub fn remove_old(&mut self, retain: usize) -> Result<Removed> {
        let mut checkpoints = 0;
        while self.kept.len() > retain.max(1) {
            if let Some(old) = self.kept.front() {
                self.store.delete(&format!("{CHECKPOINTS}/{}", file_name(old.number)))?;
            }
            self.kept.pop_front();
            checkpoints += 1;
        }
        let used: BTreeSet<&String> = self.kept.iter().flat_map(|kept| &kept.objects).collect();
        let there = self.whole.keys().chain(&self.unknown);
        let unused: Vec<String> = there.filter(|object| !used.contains(object)).cloned().collect();
        for object in &unused {
            self.store.delete(&format!("{OBJECTS}/{object}"))?;
            self.whole.remove(object);
            self.unknown.remove(object);
        }
        Ok(Removed {
            checkpoints,
            objects: unused.len(),
        })
    }
}

/// The numbers of the checkpoints that are there, ascending.
pub fn numbers(store: &Store) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> = store
        .list(CHECKPOINTS)?
        .into_iter()
        .filter_map(|listed| listed.name.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The manifest of a checkpoint; inner `Err`: why it cannot be used.
pub fn read_manifest(store: &Store, number: u64) -> Result<Result<Manifest, String>> {
    let Some(bytes) = store.get(&format!("{CHECKPOINTS}/{}", file_name(number)))? else {
        return Ok(Err("it is not there".to_string()));
    };
    match Manifest::from_bytes(&bytes) {
        Ok(manifest) => Ok(Ok(manifest)),
        Err(Unusable::Damaged(why)) => Ok(Err(why)),
        Err(Unusable::Format(format)) => {
            let message = format!("checkpoint {number} has the format {format}, which this version does not know");
            Err(Diagnostic::new(Code::StateDamaged, message)
                .hint("use the version that wrote it, or a newer one")
                .into())
        }
    }
}

/// A checkpoint, every checksum looked at; inner `Err`: why it cannot be used.
pub fn read(store: &Store, number: u64) -> Result<Result<Saved, String>> {
    let manifest = match read_manifest(store, number)? {
        Ok(manifest) => manifest,
        Err(why) => return Ok(Err(why)),
    };
    let mut snapshot = Snapshot {
        workers: manifest.workers,
        ..Snapshot::default()
    };
    for (entries, states) in [
        (&manifest.operators, &mut snapshot.operators),
        (&manifest.tables, &mut snapshot.tables),
    ] {
        for entry in entries {
            let mut state = Vec::new();
            for part in &entry.parts {
                match content(store, part)? {
                    Ok(bytes) => state.extend_from_slice(&bytes),
                    Err(why) => return Ok(Err(format!("the state of {}: {why}", entry.name))),
                }
            }
            states.insert(entry.name.clone(), State::of_bytes(state));
        }
    }
    for source in &manifest.sources {
        if let Some(position) = &source.position {
            snapshot.positions.insert(source.stream.clone(), position.clone());
        }
        if source.ended {
            snapshot.ended.insert(source.stream.clone());
        }
    }
    for sink in &manifest.sinks {
        if let Some(position) = &sink.position {
            snapshot.sinks.insert(sink.stream.clone(), position.clone());
        }
    }
    Ok(Ok(Saved { manifest, snapshot }))
}

/// A part of state; inner `Err`: how it is damaged.
fn content(store: &Store, part: &Part) -> Result<Result<Vec<u8>, String>> {
    let (object, stored, checksum) = match &part.content {
        Content::Inline { inline } => return Ok(BASE64.decode(inline).map_err(|error| error.to_string())),
        Content::Object {
            object,
            stored,
            checksum,
        } => (object, *stored, checksum),
    };
    let Some(kept) = store.get(&format!("{OBJECTS}/{object}"))? else {
        return Ok(Err(format!("the object {object} is not there")));
    };
    if kept.len() as u64 != stored {
        let there = kept.len();
        return Ok(Err(format!(
            "the object {object} has {there} bytes instead of {stored}"
        )));
    }
    if hash(&kept) != *checksum {
        return Ok(Err(format!("the checksum of the object {object} does not hold")));
    }
    Ok(unpack(&kept, part.bytes).map_err(|why| format!("the object {object}: {why}")))
}

/// Copies a checkpoint into a folder that holds none; the bytes written. Inner `Err`: how it is damaged.
///
/// The copy is encrypted with the same key, if the original is.
pub fn copy(
    from: &Store,
    number: u64,
    to: (&StateDir, &S3Options),
    cipher: Option<Cipher>,
) -> Result<Result<u64, String>> {
    let manifest = match read(from, number)? {
        Ok(saved) => saved.manifest,
        Err(why) => return Ok(Err(why)),
    };
    let folder = Folder::open(to.0, to.1, cipher)?;
    if !folder.kept.is_empty() {
        let message = format!("there are checkpoints in {} already", to.0);
        return Err(Diagnostic::new(Code::StateInUse, message)
            .hint("name a folder that holds none")
            .into());
    }
    let mut bytes = 0;
    let objects: BTreeSet<&str> = manifest.objects().collect();
    for object in &objects {
        let name = format!("{OBJECTS}/{object}");
        let Some(kept) = from.get(&name)? else {
            return Ok(Err(format!("the object {object} is not there any more")));
        };
        bytes += kept.len() as u64;
        folder.store.put(&name, kept)?;
    }
    if !objects.is_empty() {
        let objects: Vec<String> = objects.into_iter().map(str::to_string).collect();
        folder.store.sync(OBJECTS, &objects)?;
    }
    let text = manifest.to_bytes()?;
    bytes += text.len() as u64;
    folder.lock.confirm()?;
    folder
        .store
        .publish(&format!("{CHECKPOINTS}/{}", file_name(number)), text)?;
    folder.store.sync(CHECKPOINTS, &[file_name(number)])?;
    Ok(Ok(bytes))
}

fn sources(snapshot: &Snapshot, now: &Fingerprints) -> Vec<Place> {
    let streams: BTreeSet<&String> = snapshot.positions.keys().chain(&snapshot.ended).collect();
    let place = |stream: &String| Place {
        stream: stream.clone(),
        fingerprint: of(&now.sources, stream),
        position: snapshot.positions.get(stream).cloned(),
        ended: snapshot.ended.contains(stream),
    };
    streams.into_iter().map(place).collect()
}

fn sinks(snapshot: &Snapshot, now: &Fingerprints) -> Vec<Place> {
    let place = |(stream, position): (&String, &serde_json::Value)| Place {
        stream: stream.clone(),
        fingerprint: of(&now.sinks, stream),
        position: Some(position.clone()),
        ended: false,
    };
    snapshot.sinks.iter().map(place).collect()
}

fn of(fingerprints: &BTreeMap<String, Fingerprint>, name: &str) -> Fingerprint {
    fingerprints.get(name).cloned().unwrap_or_default()
}

/// An operator's id without the number of its worker.
pub fn operator(id: &str) -> &str {
    match id.rsplit_once('@') {
        Some((operator, worker)) if worker.bytes().all(|byte| byte.is_ascii_digit()) => operator,
        _ => id,
    }
}

/// The name of a manifest. Names sort as numbers do.
fn file_name(number: u64) -> String {
    format!("{number:020}")
}
