//! [`App`]: a compiled app, before and while it runs.

use std::collections::BTreeSet;
#[cfg(feature = "server")]
use std::sync::Weak;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use parking_lot::Mutex;

use super::checkpoints::{Checkpointer, Periodic};
#[cfg(feature = "server")]
use super::kept::{BeforeStart, KeptStates, bytes_of, kept_in};
use super::{CheckpointStats, Checkpoints, Input, Subscription};
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::streams::{Role, StreamDef};
#[cfg(feature = "server")]
use crate::catalog::tables::TableDef;
use crate::config::nearest::nearest;
use crate::config::server::ServerOptions;
use crate::connectors::Registry;
use crate::error::{Diagnostic, Error, Result, RowError};
use crate::event::{Clock, EventBatch, Micros, VirtualClock};
use crate::plan::compile::{Columns, Compiled};
use crate::plan::configured::Configured;
use crate::plan::explain::explain;
use crate::plan::stream_plan::{StreamId, StreamPlan};
use crate::runtime::errors::Listener;
use crate::runtime::instance::{Instance, Mode, Setup};
use crate::runtime::metrics::Stats;
use crate::runtime::snapshot::Snapshot;
use crate::runtime::tap::Tap;
use crate::tables::batch_engine::BatchEngine;
use crate::tables::registry::{Backends, Opening};
use crate::tables::slot::restore;
#[cfg(feature = "server")]
use crate::tables::{Table, told::ToldTable};

/// A compiled app. Cheap to clone; all clones are one app.
///
/// It goes through three states: built (subscribe to what you want to hear), started ([`App::start`]), ended ([`App::wait`] or
/// [`App::shutdown`]). Dropping the last clone stops it.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    compiled: Compiled,
    registry: Registry,
    backends: Backends,
    functions: Functions,
    engine: BatchEngine,
    mode: Mode,
    parallelism: usize,
    clock: Arc<dyn Clock>,
    virtual_clock: Option<Arc<VirtualClock>>,
    connect: bool,
    server: Option<ServerOptions>,
    #[cfg(feature = "server")]
    shown: Vec<super::Shown>,
    waiting: Mutex<Waiting>,
    running: OnceLock<Running>,
}

/// What an app is made of.
pub(super) struct Parts {
    pub(super) compiled: Compiled,
    pub(super) registry: Registry,
    pub(super) backends: Backends,
    pub(super) functions: Functions,
    pub(super) mode: Mode,
    pub(super) parallelism: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) virtual_clock: Option<Arc<VirtualClock>>,
    pub(super) connect: bool,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) server: Option<ServerOptions>,
    #[cfg(feature = "server")]
    pub(super) shown: Vec<super::Shown>,
}

/// What is to happen at the start.
#[derive(Default)]
struct Waiting {
    taps: Vec<(String, Tap)>,
    listeners: Vec<(String, Listener)>,
    snapshot: Option<Snapshot>,
    checkpoints: Option<Checkpoints>,
    #[cfg(feature = "server")]
    kept: Option<BeforeStart>,
}

pub(super) struct Running {
    pub(super) instance: Arc<Instance>,
    pub(super) checkpoints: Option<Periodic>,
    pub(super) plan: StreamPlan,
    /// What the snapshot had of states beside the app's own.
    #[cfg(feature = "server")]
    pub(super) saved: KeptStates,
}

/// An app that this does not keep alive.
#[cfg(feature = "server")]
#[derive(Clone)]
pub struct WeakApp(Weak<Inner>);

#[cfg(feature = "server")]
impl WeakApp {
    /// The app, unless it has been dropped.
    pub fn upgrade(&self) -> Option<App> {
        self.0.upgrade().map(|inner| App { inner })
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("started", &self.inner.running.get().is_some())
            .finish_non_exhaustive()
    }
}

impl App {
    pub(super) fn new(parts: Parts) -> Self {
        let waiting = Mutex::new(Waiting {
            snapshot: parts.snapshot,
            checkpoints: parts.checkpoints,
            ..Waiting::default()
        });
        App {
            inner: Arc::new(Inner {
                compiled: parts.compiled,
                registry: parts.registry,
                backends: parts.backends,
                functions: parts.functions,
                engine: BatchEngine::default(),
                mode: parts.mode,
                parallelism: parts.parallelism,
                clock: parts.clock,
                virtual_clock: parts.virtual_clock,
                connect: parts.connect,
                server: parts.server,
                #[cfg(feature = "server")]
                shown: parts.shown,
                waiting,
                running: OnceLock::new(),
            }),
        }
    }

    /// Starts sources, queries and sinks.
    pub fn start(&self) -> Result<()> {
        let mut waiting = self.inner.waiting.lock();
        if self.inner.running.get().is_some() {
            return Err(Error::usage("the app has been started already"));
        }
        if self.inner.connect {
            self.inner.compiled.check_outside(&self.inner.registry, |error| {
                tracing::warn!(hint = error.hint.as_deref().unwrap_or_default(), "{error}");
                Ok(())
            })?;
        }
        let mut tapped: BTreeSet<String> = waiting.taps.iter().map(|(stream, _)| stream.clone()).collect();
        tapped.extend(self.kept());
        let columns = match self.inner.connect {
            true => Columns::ReadOr(&tapped),
            false => Columns::All,
        };
        let plan = self.inner.compiled.stream_plan(columns)?;
        let checkpoints = waiting.checkpoints.take();
        let lossy = checkpoints.as_ref().is_some_and(Checkpoints::is_lossy);
        let checkpointer = match checkpoints {
            Some(checkpoints) => {
                let clock = self.inner.clock.clone();
                let fingerprints = plan.fingerprints()?;
                #[cfg(feature = "server")]
                let fingerprints = self.with_kept(fingerprints);
                let (checkpointer, found) = Checkpointer::open(checkpoints, fingerprints, clock)?;
                waiting.snapshot = found;
                Some(checkpointer)
            }
            None => None,
        };
        self.open_tables(waiting.snapshot.as_ref())?;
        #[cfg(feature = "server")]
        let (saved, keeping) = {
            let saved = waiting.snapshot.as_ref().map(kept_in).unwrap_or_default();
            let saved = bytes_of(&saved)?;
            let keeping = self.begin_kept(waiting.kept.take(), &saved, &plan)?;
            (saved, keeping)
        };
        for warning in &plan.warnings {
            tracing::warn!(hint = warning.hint.as_deref().unwrap_or_default(), "{warning}");
        }
        let id = |name: &str| {
            plan.stream(name)
                .ok_or_else(|| Error::usage(format!("there is no stream '{name}'")))
        };
        let taps = std::mem::take(&mut waiting.taps)
            .into_iter()
            .map(|(name, tap)| Ok((id(&name)?, tap)));
        let listeners = std::mem::take(&mut waiting.listeners)
            .into_iter()
            .map(|(name, listener)| Ok((id(&name)?, listener)));
        #[cfg(feature = "server")]
        let taps = taps.chain(
            keeping
                .iter()
                .map(|(id, watcher)| Ok((*id, Tap::Watcher(watcher.clone())))),
        );
        let setup = Setup {
            mode: self.inner.mode,
            clock: self.inner.clock.clone(),
            connect: self.inner.connect,
            parallelism: self.inner.parallelism,
            taps: taps.collect::<Result<_>>()?,
            listeners: listeners.collect::<Result<_>>()?,
            snapshot: waiting.snapshot.take(),
            lossy,
            opened: checkpointer.as_ref().map(Checkpointer::at_start),
        };
        let instance = Arc::new(Instance::start(&plan, &self.inner.registry, setup)?);
        #[cfg(feature = "server")]
        for (id, watcher) in keeping {
            instance.keep_watcher(id, watcher);
        }
        let checkpoints = match checkpointer {
            Some(checkpointer) => Some(Periodic::start(checkpointer, &instance)?),
            None => None,
        };
        let running = Running {
            instance,
            checkpoints,
            plan,
            #[cfg(feature = "server")]
            saved,
        };
        let started = self.inner.running.set(running);
        started.map_err(|_| Error::usage("the app has been started already"))
    }

    /// Asks every source whether what it reads is there and fits its stream, without starting anything.
    ///
    /// # Errors
    /// The first that does not, or cannot be reached.
    pub fn check_sources(&self) -> Result<()> {
        Ok(self.inner.compiled.check_outside(&self.inner.registry, Err)?)
    }

    /// Opens the tables, with the rows of a snapshot.
    fn open_tables(&self, snapshot: Option<&Snapshot>) -> Result<()> {
        let opening = Opening {
            clock: self.inner.clock.clone(),
        };
        for slot in self.inner.compiled.tables() {
            let table = self.inner.backends.open(slot.def().as_ref().clone(), &opening)?;
            if let Some(bytes) = snapshot.and_then(|snapshot| snapshot.tables.get(slot.def().state_id())) {
                restore(table.as_ref(), bytes)?;
            }
            #[cfg(feature = "server")]
            let table = self.told(slot.def(), table);
            slot.open(table);
        }
        Ok(())
    }

    /// A table that is shown to clients, and whose backend does not know what a write changes, is told of.
    #[cfg(feature = "server")]
    fn told(&self, def: &TableDef, table: Arc<dyn Table>) -> Arc<dyn Table> {
        let is_shown = self.inner.shown.iter().any(|shown| shown.source == def.name);
        match is_shown && super::shown::is_told(&def.backend) {
            true => Arc::new(ToldTable::new(table, self.inner.clock.clone())),
            false => table,
        }
    }

    pub(super) fn running(&self) -> Result<&Running> {
        self.inner
            .running
            .get()
            .ok_or_else(|| Error::usage("the app has not been started"))
    }

    /// What is configured of the HTTP server, if anything is.
    pub fn server_options(&self) -> Option<&ServerOptions> {
        self.inner.server.as_ref()
    }

    /// What clients of the HTTP server may see.
    #[cfg(feature = "server")]
    pub fn shown(&self) -> &[super::Shown] {
        &self.inner.shown
    }

    /// What is called at the start; before that only.
    #[cfg(feature = "server")]
    pub(crate) fn before_start(&self, hook: BeforeStart) -> Result<()> {
        let mut waiting = self.inner.waiting.lock();
        if self.inner.running.get().is_some() {
            return Err(Error::usage("the app has been started already"));
        }
        waiting.kept = Some(hook);
        Ok(())
    }

    /// Whether it has been started.
    #[cfg(feature = "server")]
    pub(crate) fn is_started(&self) -> bool {
        self.inner.running.get().is_some()
    }

    /// The app, without keeping it alive.
    #[cfg(feature = "server")]
    pub(crate) fn weak(&self) -> WeakApp {
        WeakApp(Arc::downgrade(&self.inner))
    }

    /// The names of streams and tables that clients may see: all of the former are built with all of their columns.
    fn kept(&self) -> impl Iterator<Item = String> + '_ {
        #[cfg(feature = "server")]
        let kept = self.inner.shown.iter().map(|shown| shown.name.clone());
        #[cfg(not(feature = "server"))]
        let kept = std::iter::empty();
        kept
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.inner.compiled
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.inner.functions
    }

    pub(super) fn engine(&self) -> &BatchEngine {
        &self.inner.engine
    }

    /// What a named window holds now.
    pub(super) fn window_content(&self, window: &str) -> Result<Vec<RecordBatch>> {
        let running = self.running()?;
        let id = self.id(running, window)?;
        running.instance.window_content(id)
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// A way to send events into a stream.
    pub fn input(&self, stream: &str) -> Result<Input> {
        let def = self.stream(stream)?.clone();
        Input::new(self.clone(), def)
    }

    /// The definition of a stream.
    pub fn stream(&self, name: &str) -> Result<&Arc<StreamDef>> {
        let names = || self.inner.compiled.streams().iter().map(|stream| stream.name.as_str());
        let found = match resolve(name, names()) {
            Resolved::One(exact) => self.inner.compiled.stream(exact),
            _ => None,
        };
        found.ok_or_else(|| match nearest(name, names()) {
            Some(near) => Error::usage(format!("there is no stream '{name}'; did you mean '{near}'?")),
            None => Error::usage(format!("there is no stream '{name}'")),
        })
    }

    /// All streams, in order of declaration.
    pub fn streams(&self) -> &[Arc<StreamDef>] {
        self.inner.compiled.streams()
    }

    /// The streams of the queries that have no target: `query_1`, `query_2`, …
    pub fn bare_queries(&self) -> Vec<String> {
        self.inner.compiled.bare_queries().map(str::to_string).collect()
    }

    /// The names of all queries that run, in statement order.
    pub fn queries(&self) -> Vec<String> {
        self.inner.compiled.queries().map(str::to_string).collect()
    }

    /// The options of all streams and tables as they hold, and where each comes from. Secrets have no value here.
    pub fn configured(&self) -> Vec<Configured> {
        self.inner.compiled.configured()
    }

    /// Whether anything but the API brings events: a source, or a trigger.
    pub fn has_sources(&self) -> bool {
        self.streams()
            .iter()
            .any(|stream| matches!(stream.role, Role::Source(_) | Role::Trigger(_)))
    }

    /// The events of a stream from now on, as an iterator of batches; [`Subscription::stream`] makes an async stream of it.
    ///
    /// A subscriber that does not keep up holds the app back once its queue is full. In inline mode, where the app cannot
    /// wait for its own thread, a full queue is an error of the `send` that meets it.
    pub fn subscribe(&self, stream: &str) -> Result<Subscription> {
        let (tap, subscription) = Subscription::new(self.inner.mode == Mode::Inline);
        self.tap(stream, tap)?;
        Ok(subscription)
    }

    /// Calls a function with every batch of a stream, on the thread that runs the pipeline.
    pub fn on(&self, stream: &str, callback: impl FnMut(&EventBatch) + Send + 'static) -> Result<()> {
        self.tap(stream, Tap::Callback(Box::new(callback)))
    }

    /// Adds a tap to a stream.
    pub(crate) fn tap(&self, stream: &str, tap: Tap) -> Result<()> {
        let name = self.stream(stream)?.name.clone();
        let mut waiting = self.inner.waiting.lock();
        let Some(running) = self.inner.running.get() else {
            waiting.taps.push((name, tap));
            return Ok(());
        };
        let id = self.id(running, &name)?;
        let place = &running.plan.streams[id];
        if place.wanted.len() < place.def.schema.fields().len() {
            return Err(Error::usage(format!(
                "subscribe to the source stream '{name}' before the start: by now only the columns that queries read are built"
            )));
        }
        running.instance.tap(id, tap)
    }

    /// Calls a function with every event of a stream that could not be processed. Before the start only.
    pub fn on_error(&self, stream: &str, listener: impl FnMut(&RowError) + Send + 'static) -> Result<()> {
        let name = self.stream(stream)?.name.clone();
        if self.inner.running.get().is_some() {
            return Err(Error::usage("listen to errors before the start"));
        }
        self.inner.waiting.lock().listeners.push((name, Box::new(listener)));
        Ok(())
    }

    pub(super) fn id(&self, running: &Running, name: &str) -> Result<StreamId> {
        running
            .plan
            .stream(name)
            .ok_or_else(|| Error::usage(format!("there is no stream '{name}'")))
    }

    /// Moves the virtual clock forward, firing every timer on the way at its time.
    pub fn advance_to(&self, time: Micros) -> Result<()> {
        let clock = self
            .inner
            .virtual_clock
            .as_ref()
            .ok_or_else(|| Error::usage("the app has no virtual clock"))?;
        self.running()?.instance.advance(clock, time)
    }

    /// Fires the timers that are due. Only inline mode needs it, between sends; threads do so by themselves.
    pub fn tick(&self) -> Result<()> {
        self.running()?.instance.tick()
    }

    /// The state between two events, for [`super::Builder::restore`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.running()?.instance.snapshot()
    }

    /// The counters now.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.running()?.instance.metrics.stats())
    }

    /// What became of the checkpoints, if any are taken.
    pub fn checkpoint_stats(&self) -> Result<Option<CheckpointStats>> {
        Ok(self.running()?.checkpoints.as_ref().map(Periodic::stats))
    }

    /// The operators of all queries, as text.
    pub fn explain(&self) -> Result<String> {
        Ok(explain(&self.inner.compiled.explain_plan()?, None))
    }

    /// The operators of the queries that EXPLAIN stands before.
    pub fn explained(&self) -> Result<String> {
        let names: Vec<&str> = self.inner.compiled.explained().collect();
        if names.is_empty() {
            return Ok(String::new());
        }
        let plan = self.inner.compiled.explain_plan()?;
        Ok(names.into_iter().map(|name| explain(&plan, Some(name))).collect())
    }

    /// Tells that the API will send nothing more: what is still open is closed and emitted, as at the end of a file.
    pub fn finish(&self) -> Result<()> {
        self.running()?.instance.finish()
    }

    /// Whether everything has ended by itself.
    pub fn is_finished(&self) -> bool {
        self.inner
            .running
            .get()
            .is_some_and(|running| running.instance.is_finished())
    }

    /// Tells sources to stop, without waiting: what they have handed over is still processed and flushed.
    pub fn stop(&self) -> Result<()> {
        self.running()?.instance.stop();
        Ok(())
    }

    /// [`App::finish`], then waits until all sources have ended and everything is processed and flushed. An `Err` tells why the
    /// app failed.
    pub fn wait(&self) -> Result<()> {
        self.finish()?;
        self.join()
    }

    /// What the app's author should know, though the app runs: state that grows with a stream, say.
    pub fn warnings(&self) -> Result<Vec<Diagnostic>> {
        Ok(self.inner.compiled.stream_plan(Columns::All)?.warnings)
    }

    /// Stops the sources, then waits until what they have handed over is processed and flushed.
    pub fn shutdown(&self) -> Result<()> {
        self.stop()?;
        self.join()
    }

    /// Waits for the end, and takes the last checkpoint.
    fn join(&self) -> Result<()> {
        let running = self.running()?;
        let ended = running.instance.join();
        if let Some(checkpoints) = &running.checkpoints {
            checkpoints.finish(&running.instance, ended.is_ok());
        }
        ended
    }
}
