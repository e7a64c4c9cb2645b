//! Checkpoints of a running app: taken every so often, written by a thread of their own.
//!
//! The pipeline stands still only while its state is taken. Writing it is this thread's work; when that takes longer than the
//! interval, the next one is taken at once. What cannot be written is reported and counted, and the app goes on: the checkpoint
//! before is still there.

#[cfg(feature = "server")]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use serde::Serialize;

use crate::config::checkpoints::{CheckpointOptions, KeySource, StateDir, WHAT_A_DIR_IS};
use crate::config::s3::S3Options;
use crate::error::{Code, Diagnostic, Error, Result};
use crate::event::Clock;
#[cfg(feature = "server")]
use crate::operators::state::State;
use crate::plan::fingerprint::Fingerprints;
use crate::recovery::cipher::{Cipher, WHAT_A_KEY_IS};
use crate::recovery::fit::{Loss, fit};
use crate::recovery::folder::Folder;
use crate::runtime::instance::{Instance, Opened};
use crate::runtime::snapshot::Snapshot;

/// How often a checkpoint is taken if nobody says.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many checkpoints are kept if nobody says.
const RETAIN: usize = 3;

/// Where checkpoints are kept, and how often they are taken.
///
/// ```no_run
/// use std::time::Duration;
/// use eventflux::{Checkpoints, EventFlux};
///
/// let app = EventFlux::builder()
///     .sql("CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.json');
///           SELECT count(*) AS n FROM S;")
///     .checkpoints(Checkpoints::in_folder("state").every(Duration::from_secs(1)))
///     .build()?;
/// app.start()?;
/// app.wait()?;
/// # Ok::<(), eventflux::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// `Err`: what was given that is no place.
    at: Result<StateDir, String>,
    s3: S3Options,
    interval: Option<Duration>,
    retain: Option<usize>,
    loss: Loss,
    key: Option<KeySource>,
}

impl Checkpoints {
    /// In a folder, which is made if it is not there. One app at a time uses it.
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        Checkpoints::at(StateDir::Folder(folder.as_ref().to_path_buf()))
    }

    /// In S3 or a server that speaks its language, as `s3://bucket/prefix`; or in a folder. One app at a time uses a prefix.
    ///
    /// How the server is reached, and by whom, is configured by `application.checkpoint.s3.*`, or by the environment variables
    /// that tools of S3 know (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …). What is wrong with the URL, or that the
    /// feature `s3` is missing, is said by [`crate::App::start`].
    pub fn at_url(url: impl AsRef<str>) -> Self {
        Checkpoints::placed(StateDir::parse(url.as_ref()).ok_or_else(|| url.as_ref().to_string()))
    }

    pub(crate) fn at(place: StateDir) -> Self {
        Checkpoints::placed(Ok(place))
    }

    fn placed(at: Result<StateDir, String>) -> Self {
        Checkpoints {
            at,
            s3: S3Options::default(),
            interval: None,
            retain: None,
            loss: Loss::Refused,
            key: None,
        }
    }

    /// One every so often; every 10 seconds if this is not said.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// Keeps the newest `count`; 3 if this is not said.
    pub fn keep(mut self, count: usize) -> Self {
        self.retain = Some(count.max(1));
        self
    }

    /// Encrypts all that is written there, with AES-256-GCM. The key is 32 bytes as 64 hexadecimal digits or in base64.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(KeySource::Text(key.into()));
        self
    }

    /// As [`Checkpoints::key`], with the key that stands in a file.
    pub fn key_file(mut self, file: impl AsRef<Path>) -> Self {
        self.key = Some(KeySource::File(file.as_ref().to_path_buf()));
        self
    }

    /// Lets state that does not fit the app begin anew, instead of refusing to start.
    pub fn allow_state_loss(mut self) -> Self {
        self.loss = Loss::Allowed;
        self
    }

    /// The same, with what is configured where nothing is said.
    pub(super) fn or(mut self, configured: &CheckpointOptions) -> Self {
        let interval = configured
            .interval
            .map(|micros| Duration::from_micros(micros.unsigned_abs()));
        self.interval = self.interval.or(interval);
        self.retain = self.retain.or(configured.retain);
        self.key = self.key.or(configured.key.clone());
        self.s3 = configured.s3.clone();
        self
    }

    fn place(&self) -> Result<&StateDir> {
        self.at.as_ref().map_err(|text| {
            let message = format!("checkpoints cannot be kept in '{text}'");
            Diagnostic::new(Code::OptionValue, message).hint(WHAT_A_DIR_IS).into()
        })
    }

    fn cipher(&self) -> Result<Option<Cipher>> {
        match &self.key {
            None => Ok(None),
            Some(KeySource::File(file)) => Cipher::of_file(file).map(Some),
            Some(KeySource::Text(key)) => match Cipher::of_text(key) {
                Some(cipher) => Ok(Some(cipher)),
                None => Err(
                    Diagnostic::new(Code::OptionValue, "the key of the checkpoints is not one")
                        .hint(format!("a key is {WHAT_A_KEY_IS}"))
                        .into(),
                ),
            },
        }
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.loss == Loss::Allowed
    }

    fn retained(&self) -> usize {
        self.retain.unwrap_or(RETAIN)
    }
}

/// What became of an app's checkpoints.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct CheckpointStats {
    /// The checkpoint that the app went on from.
    pub restored: Option<u64>,
    /// How many have been written since.
    pub written: u64,
    /// How many could not be.
    pub failed: u64,
    /// The number of the newest.
    pub newest: Option<u64>,
    /// The length of its state, in bytes.
    pub state_bytes: u64,
    /// What was written to the disk, or to S3, for it, in bytes.
    pub written_bytes: u64,
    /// How long taking and writing it took.
    pub milliseconds: f64,
    /// How long the pipeline stood still for it.
    pub pause_milliseconds: f64,
    /// The longest that it ever stood still.
    pub longest_pause_milliseconds: f64,
    /// Why the last one that failed did.
    pub error: Option<String>,
}

/// The checkpoints of one app that is being started or runs.
pub(super) struct Checkpointer {
    /// Gone when the app has ended, so that others may use it.
    folder: Mutex<Option<Folder>>,
    fingerprints: Fingerprints,
    options: Checkpoints,
    clock: Arc<dyn Clock>,
    stats: Mutex<CheckpointStats>,
    /// What the last one has of states that are kept beside the app's own: handed on while nobody answers for them.
    #[cfg(feature = "server")]
    carried: Mutex<BTreeMap<String, State>>,
    /// One is taken at a time, so that a later one is the newer. How many have been begun.
    taking: Mutex<u64>,
    begun: AtomicU64,
}

impl Checkpointer {
    /// Opens the folder; the state to go on from, if there is any.
    pub(super) fn open(
        options: Checkpoints,
        fingerprints: Fingerprints,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Self>, Option<Snapshot>)> {
        let place = options.place()?;
        let mut folder = Folder::open(place, &options.s3, options.cipher()?)?;
        let found = match folder.newest() {
            Err(error @ Error::Compile(_)) if options.is_lossy() => {
                tracing::warn!(%error, "the app begins anew");
                None
            }
            found => found?,
        };
        let mut stats = CheckpointStats::default();
        let mut snapshot = None;
        if let Some((saved, skipped)) = found {
            for skipped in skipped {
                tracing::warn!(
                    checkpoint = skipped.number,
                    "a checkpoint is damaged, the one before it is used: {}",
                    skipped.why
                );
            }
            stats.restored = Some(saved.manifest.number);
            tracing::info!(checkpoint = saved.manifest.number, %place, "going on");
            snapshot = Some(fit(saved, &fingerprints, options.loss)?);
        }
        let checkpointer = Checkpointer {
            #[cfg(feature = "server")]
            carried: Mutex::new(snapshot.as_ref().map(super::kept::kept_in).unwrap_or_default()),
            taking: Mutex::new(0),
            begun: AtomicU64::new(0),
            folder: Mutex::new(Some(folder)),
            fingerprints,
            options,
            clock,
            stats: Mutex::new(stats),
        };
        Ok((Arc::new(checkpointer), snapshot))
    }

    /// For the start: before anything is written to a sink, a checkpoint knows where it stood.
    pub(super) fn at_start(self: &Arc<Self>) -> Opened {
        let checkpointer = self.clone();
        Box::new(move |opened: &Snapshot, restored: Option<&Snapshot>| {
            let known: BTreeSet<&String> = restored.iter().flat_map(|snapshot| snapshot.sinks.keys()).collect();
            if restored.is_some() && opened.sinks.keys().all(|sink| known.contains(sink)) {
                return Ok(());
            }
            let mut first = restored.cloned().unwrap_or_default();
            (first.workers, first.sinks) = (opened.workers, opened.sinks.clone());
            checkpointer.write(&first, Instant::now())
        })
    }

    fn write(&self, snapshot: &Snapshot, began: Instant) -> Result<()> {
        let mut folder = self.folder.lock();
        let folder = folder.as_mut().ok_or(Error::Closed)?;
        let now = self.clock.now();
        let written = folder.write(snapshot, &self.fingerprints, now, self.options.retained())?;
        let mut stats = self.stats.lock();
        stats.written += 1;
        stats.newest = Some(written.number);
        (stats.state_bytes, stats.written_bytes) = (written.bytes, written.written_bytes);
        stats.milliseconds = began.elapsed().as_secs_f64() * 1e3;
        stats.pause_milliseconds = snapshot.pause.as_secs_f64() * 1e3;
        stats.longest_pause_milliseconds = stats.longest_pause_milliseconds.max(stats.pause_milliseconds);
        Ok(())
    }

    /// Takes a checkpoint and writes it; what goes wrong is reported and counted.
    fn checkpoint(&self, instance: &Instance) -> Result<()> {
        let began = Instant::now();
        let mut taken = self.taking.lock();
        self.take(instance, &mut taken, began)
    }

    /// As [`Checkpointer::checkpoint`], unless one that began after this call has been written meanwhile.
    #[cfg(feature = "server")]
    fn now(&self, instance: &Instance) -> Result<()> {
        let before = self.begun.load(Ordering::Acquire);
        let began = Instant::now();
        let mut taken = self.taking.lock();
        match *taken > before {
            true => Ok(()),
            false => self.take(instance, &mut taken, began),
        }
    }

    /// `taken` is the number of the last one that was written.
    fn take(&self, instance: &Instance, taken: &mut u64, began: Instant) -> Result<()> {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let done = instance.snapshot().and_then(|snapshot| {
            #[cfg(feature = "server")]
            let snapshot = self.with_carried(snapshot);
            self.write(&snapshot, began)?;
            #[cfg(feature = "server")]
            {
                *self.carried.lock() = super::kept::kept_in(&snapshot);
            }
            instance.keep(&snapshot);
            Ok(())
        });
        match &done {
            Ok(()) => *taken = number,
            Err(error) => {
                // The app goes on: the checkpoint before is still there.
                tracing::error!(%error, "a checkpoint could not be written");
                let mut stats = self.stats.lock();
                stats.failed += 1;
                stats.error = Some(error.to_string());
            }
        }
        done
    }

    /// Hands on what nobody has answered for.
    #[cfg(feature = "server")]
    fn with_carried(&self, mut snapshot: Snapshot) -> Snapshot {
        for (id, state) in self.carried.lock().iter() {
            snapshot.tables.entry(id.clone()).or_insert_with(|| state.clone());
        }
        snapshot
    }

    pub(super) fn stats(&self) -> CheckpointStats {
        self.stats.lock().clone()
    }
}

/// The thread that takes checkpoints. Dropped, it ends by itself.
pub(super) struct Periodic {
    checkpointer: Arc<Checkpointer>,
    thread: Mutex<Option<(Sender<Infallible>, JoinHandle<()>)>>,
}

impl Periodic {
    pub(super) fn start(checkpointer: Arc<Checkpointer>, instance: &Arc<Instance>) -> Result<Self> {
        let (stop, stopped) = bounded(0);
        let (instance, taking) = (Arc::downgrade(instance), checkpointer.clone());
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_string())
            .spawn(move || run(&taking, &instance, &stopped))
            .map_err(|error| Error::io("starting the thread of checkpoints", error))?;
        Ok(Periodic {
            checkpointer,
            thread: Mutex::new(Some((stop, thread))),
        })
    }

    /// The app has ended, well or not. Takes the last checkpoint if it ended well.
    pub(super) fn finish(&self, instance: &Instance, ended_well: bool) {
        let Some((stop, thread)) = self.thread.lock().take() else {
            return;
        };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("the thread of checkpoints has failed (please report it)");
        }
        if ended_well {
            // What goes wrong has been reported.
            let _ = self.checkpointer.checkpoint(instance);
        }
        self.checkpointer.folder.lock().take();
    }

    /// One that begins now.
    #[cfg(feature = "server")]
    pub(super) fn now(&self, instance: &Instance) -> Result<()> {
        self.checkpointer.now(instance)
    }

    pub(super) fn stats(&self) -> CheckpointStats {
        self.checkpointer.stats()
    }
}

fn run(checkpointer: &Checkpointer, instance: &Weak<Instance>, stopped: &Receiver<Infallible>) {
    let interval = checkpointer.options.interval.unwrap_or(INTERVAL);
    let mut due = Instant::now() + interval;
    while stopped.recv_deadline(due) == Err(RecvTimeoutError::Timeout) {
        let began = Instant::now();
        let Some(instance) = instance.upgrade() else {
            return;
        };
        // One that ends just now takes its last checkpoint itself, or says why it failed.
        if !instance.is_finished() {
            let _ = checkpointer.checkpoint(&instance);
        }
        due = began + interval;
    }
}
