//! State that is kept beside an app's own: of those who watch its relations and whose state belongs to its checkpoints.
//!
//! They come in before the start, so that they miss nothing and begin where the checkpoint was taken, or later. What a checkpoint has
//! of one that does not come is handed on to the next checkpoint as it is.

use std::collections::BTreeMap;

use super::App;
use super::running::Running;
use crate::error::{Error, Result};
use crate::operators::state::State;
use crate::plan::fingerprint::Fingerprints;
use crate::plan::stream_plan::{StreamId, StreamPlan};
use crate::runtime::snapshot::Snapshot;
use crate::runtime::tap::Tap;
use crate::tables::watch::Watcher;

/// What the state of triggers is saved under: the relation's name and this.
const KEPT: &str = "$triggers";

/// States, by what they are saved under.
pub type KeptStates = BTreeMap<String, Vec<u8>>;

/// Called at the start with what was saved; gives who watches which table or stream.
pub type BeforeStart = Box<dyn FnOnce(&KeptStates) -> Result<Vec<(String, Watcher)>> + Send>;

/// What the state of the triggers of a relation is saved under.
pub fn kept_id(relation: &str) -> String {
    format!("{relation}{KEPT}")
}

/// What a snapshot has of such states.
pub(super) fn kept_in(snapshot: &Snapshot) -> BTreeMap<String, State> {
    let kept = snapshot.tables.iter().filter(|(id, _)| id.ends_with(KEPT));
    kept.map(|(id, state)| (id.clone(), state.clone())).collect()
}

impl App {
    /// What such states mean: their own form says whether they still fit.
    pub(super) fn with_kept(&self, mut fingerprints: Fingerprints) -> Fingerprints {
        for shown in self.shown() {
            fingerprints.tables.insert(kept_id(&shown.name), KEPT.to_string());
        }
        fingerprints
    }

    /// Lets them in before the start. Tables tell of their rows before any change; who watches streams is given back.
    pub(super) fn begin_kept(
        &self,
        hook: Option<BeforeStart>,
        saved: &KeptStates,
        plan: &StreamPlan,
    ) -> Result<Vec<(StreamId, Watcher)>> {
        let mut streams = Vec::new();
        let Some(hook) = hook else {
            return Ok(streams);
        };
        for (source, watcher) in hook(saved)? {
            if let Some(slot) = self.slot(&source) {
                slot.table()?.watch(watcher.clone())?;
                slot.table()?.tell_rows(&watcher)?;
                continue;
            }
            let id = plan.stream(&source);
            let id = id.ok_or_else(|| Error::usage(format!("there is no stream '{source}'")))?;
            streams.push((id, watcher));
        }
        Ok(streams)
    }

    /// Tells a watcher, whose state belongs to the checkpoints, of the changes of a table or stream from now on.
    pub(crate) fn keep(&self, source: &str, watcher: Watcher) -> Result<()> {
        if self.slot(source).is_some() {
            return self.watch(source, watcher);
        }
        let running = self.running()?;
        let id = self.id(running, source)?;
        self.tap(source, Tap::Watcher(watcher.clone()))?;
        running.instance.keep_watcher(id, watcher);
        Ok(())
    }

    /// Takes a checkpoint now and waits until it is written; one that begins after this call and is taken for somebody else will do. `false`:
    /// the app keeps none.
    pub(crate) fn checkpoint(&self) -> Result<bool> {
        let running = self.running()?;
        match &running.checkpoints {
            Some(checkpoints) => checkpoints.now(&running.instance).map(|()| true),
            None => Ok(false),
        }
    }

    /// What the checkpoint that the app went on from had of such states.
    pub(crate) fn kept_states(&self) -> Result<&KeptStates> {
        Ok(&self.running()?.saved)
    }

    /// Whether the app keeps checkpoints.
    pub(crate) fn is_durable(&self) -> bool {
        self.running()
            .is_ok_and(|running: &Running| running.checkpoints.is_some())
    }
}

/// The bytes of states.
pub(super) fn bytes_of(states: &BTreeMap<String, State>) -> Result<KeptStates> {
    let bytes = states
        .iter()
        .map(|(id, state)| Ok((id.clone(), state.bytes()?.into_owned())));
    bytes.collect()
}
