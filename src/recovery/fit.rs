//! Whether a checkpoint fits the app: what of its state is taken, what is dropped, and when to refuse.
//!
//! An app may have changed since its last checkpoint was written. What is gone from it is dropped, what is new begins without state, and
//! both are said in the log. What has the name of something saved but another meaning (`plan::fingerprint`) is
//! refused: taken, the results would be wrong, and dropped, they would be, too, without anybody having asked for that.

use std::collections::BTreeMap;

use super::folder::{Saved, operator};
use crate::error::{Code, Diagnostic, Result};
use crate::plan::fingerprint::{Fingerprint, Fingerprints};
use crate::runtime::snapshot::{Snapshot, is_stateless};

/// What to do with state that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Refuse.
    Refused,
    /// Drop it, and take the rest.
    Allowed,
}

/// How many names a message lists.
const LISTED: usize = 5;

/// The state of a checkpoint that fits the app. *Errors.* `E0501` when some does not, and that is not allowed.
pub fn fit(saved: Saved, now: &Fingerprints, loss: Loss) -> Result<Snapshot> {
    let Saved { manifest, mut snapshot } = saved;
    let then = |entries: &[super::manifest::Entry]| -> BTreeMap<String, Fingerprint> {
        let entries = entries.iter();
        entries
            .map(|entry| (entry.name.clone(), entry.fingerprint.clone()))
            .collect()
    };
    let places = |places: &[super::manifest::Place]| -> BTreeMap<String, Fingerprint> {
        let places = places.iter();
        places
            .map(|place| (place.stream.clone(), place.fingerprint.clone()))
            .collect()
    };
    let (operators, tables) = (then(&manifest.operators), then(&manifest.tables));
    let (sources, sinks) = (places(&manifest.sources), places(&manifest.sinks));
    let mut found = Found::default();
    snapshot.operators.retain(|id, state| {
        let stateless = is_stateless(state);
        found.keeps(
            "operator",
            id,
            (&operators, id),
            (&now.operators, operator(id)),
            stateless,
        )
    });
    snapshot.tables.retain(|name, state| {
        found.keeps(
            "table",
            name,
            (&tables, name),
            (&now.tables, name),
            state.parts().is_empty(),
        )
    });
    snapshot
        .positions
        .retain(|stream, _| found.keeps("source", stream, (&sources, stream), (&now.sources, stream), false));
    snapshot
        .ended
        .retain(|stream| found.keeps("source", stream, (&sources, stream), (&now.sources, stream), true));
    snapshot
        .sinks
        .retain(|stream, _| found.keeps("sink", stream, (&sinks, stream), (&now.sinks, stream), false));
    for dropped in &found.gone {
        tracing::warn!(
            checkpoint = manifest.number,
            "the app has no {dropped} any more: its state is dropped"
        );
    }
    for changed in &found.changed {
        if loss == Loss::Allowed {
            tracing::warn!(
                checkpoint = manifest.number,
                "{changed} has changed: its state is dropped"
            );
        }
    }
    if loss == Loss::Refused && !found.changed.is_empty() {
        return Err(refusal(manifest.number, &found.changed).into());
    }
    if !operators.is_empty() {
        for new in now
            .operators
            .keys()
            .filter(|id| !operators.keys().any(|known| operator(known) == *id))
        {
            tracing::info!(checkpoint = manifest.number, operator = %new, "new in the app: it begins without state");
        }
    }
    Ok(snapshot)
}

fn refusal(number: u64, changed: &[String]) -> Diagnostic {
    let mut names = changed[..changed.len().min(LISTED)].join(", ");
    if changed.len() > LISTED {
        names.push_str(&format!(" and {} more", changed.len() - LISTED));
    }
    let message = format!("checkpoint {number} holds state that does not fit the app, which has changed: {names}");
    Diagnostic::new(Code::StateMismatch, message).hint(
        "go back to the app that wrote it; or --allow-state-loss lets what has changed begin anew, and keeps the rest",
    )
}

/// What does not fit.
#[derive(Default)]
struct Found {
    gone: Vec<String>,
    changed: Vec<String>,
}

type Fingerprinted<'a> = (&'a BTreeMap<String, Fingerprint>, &'a str);

impl Found {
    /// Whether something saved is kept.
    fn keeps(&mut self, what: &str, name: &str, then: Fingerprinted, now: Fingerprinted, stateless: bool) -> bool {
        let then = then.0.get(then.1);
        let now = now.0.get(now.1);
        if now.is_some() && now == then {
            return true;
        }
        match (now, stateless) {
            (_, true) => {}
            (None, false) => self.gone.push(format!("{what} '{name}'")),
            (Some(_), false) => self.changed.push(format!("{what} '{name}'")),
        }
        false
    }
}
