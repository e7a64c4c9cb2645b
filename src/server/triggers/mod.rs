//! Triggers: webhooks that clients make, look at and delete over GraphQL. One fires when a condition comes to hold for a row, and clears when
//! another does.
//!
//! Each relation with triggers has a thread, its [`owner`], that hears of its changes; a [`machine`] for each trigger knows which keys are fired; what
//! is told goes to the courier of the `http` sink. All of that is part of the app's checkpoints. `feat/triggers/README.md` says why it is
//! built like this, what it costs, and what it does not do.

mod active;
mod dead;
mod definition;
mod event;
mod machine;
mod owner;
mod pace;
mod saved;
mod seen;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_channel::{Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use active::Trigger;
pub use definition::{Asked, Owner as TriggerOwner};
pub use event::time_text;

use super::failure::{Failure, Kind};
use super::live::Relation;
use crate::app::{App, KeptStates, WeakApp, kept_id};
use crate::catalog::error_policy::Retry;
use crate::config::triggers::TriggerOptions;
use crate::connectors::http::breaker::BreakerSettings;
use crate::connectors::http::courier::{Calling, Courier};
use crate::connectors::http::outbox::OutboxSettings;
use crate::error::{Error, Result};
use crate::tables::watch::Watcher;
use active::{Awaits, Conditions};
use definition::{Definition, allowed};
use owner::{Create, Order, Owner};
use saved::Saved;
use seen::Condition;

/// How many orders may wait for the owner of a relation's triggers.
const ORDERS: usize = 64;

/// How many triggers may be made or deleted at once.
const CHANGING: usize = 32;

/// The triggers of an app.
pub struct Triggers {
    app: WeakApp,
    options: TriggerOptions,
    relations: Vec<Arc<Relation>>,
    owners: Mutex<BTreeMap<String, Arc<Handle>>>,
    /// How many are being made or deleted.
    changing: AtomicUsize,
}

/// The triggers of a relation, as all may look at them.
struct Handle {
    orders: Sender<Order>,
    triggers: Mutex<BTreeMap<String, Arc<Trigger>>>,
}

/// What begins with the app, or comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeTheStart,
    Later,
}

impl Triggers {
    /// Those that the app's checkpoint has, and none if there is none. Before the app is started, so that they miss nothing; later, what they missed is
    /// found by a comparison with the rows.
    pub fn begin(app: &App, relations: Vec<Arc<Relation>>, options: &TriggerOptions) -> Result<Arc<Self>> {
        let triggers = Arc::new(Triggers {
            app: app.weak(),
            options: options.clone(),
            relations,
            owners: Mutex::default(),
            changing: AtomicUsize::new(0),
        });
        if app.is_started() {
            triggers.go_on(app, app.kept_states()?, When::Later)?;
            return Ok(triggers);
        }
        let (own, weak) = (triggers.clone(), app.weak());
        app.before_start(Box::new(move |saved| {
            let app = weak.upgrade().ok_or(Error::Closed)?;
            own.go_on(&app, saved, When::BeforeTheStart)
        }))?;
        Ok(triggers)
    }

    /// Starts the owners of what was saved; who watches what.
    fn go_on(&self, app: &App, saved: &KeptStates, when: When) -> Result<Vec<(String, Watcher)>> {
        let mut watchers = Vec::new();
        for relation in &self.relations {
            let Some(bytes) = saved.get(&kept_id(&relation.name)) else {
                continue;
            };
            let saved = Saved::from_bytes(&relation.name, bytes)?;
            if saved.triggers.is_empty() {
                continue;
            }
            let (handle, watcher) = self.start(app, relation, saved, when)?;
            if when == When::Later {
                app.keep(&relation.source, watcher)?;
                // There is room: nobody else knows it yet.
                let _ = handle.orders.try_send(Order::Compare);
            } else {
                watchers.push((relation.source.clone(), watcher));
            }
            self.owners.lock().insert(relation.name.clone(), handle);
        }
        Ok(watchers)
    }

    /// Starts the owner of a relation.
    fn start(&self, app: &App, relation: &Arc<Relation>, saved: Saved, when: When) -> Result<(Arc<Handle>, Watcher)> {
        let (watcher, heard) = Watcher::new();
        let watcher = watcher.kept_as(&kept_id(&relation.name));
        let (orders, inbox) = bounded(ORDERS);
        let courier = Courier::start(&format!("triggers {}", relation.name), &self.calling(), self.outbox())?;
        let mut owner = Owner::new(app.weak(), relation.clone(), &self.options, watcher.clone(), courier)?;
        let mut triggers = BTreeMap::new();
        for saved in saved.triggers {
            let (name, definition) = (saved.definition.name.clone(), saved.definition.clone());
            let (trigger, conditions) = match self.prepared(app, relation, definition) {
                Ok(prepared) => prepared,
                Err(failure) => {
                    // The relation has other columns now, say.
                    tracing::error!(
                        relation = relation.name,
                        trigger = name,
                        "a trigger is dropped: {}",
                        failure.message
                    );
                    continue;
                }
            };
            trigger.is_made.store(true, Ordering::Release);
            owner.go_on(saved, trigger.clone(), conditions, Awaits::Again)?;
            triggers.insert(name, trigger);
        }
        if when == When::BeforeTheStart {
            owner.expect_rows();
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Error::io("starting the thread of triggers", error))?;
        std::thread::Builder::new()
            .name(format!("triggers {}", relation.name))
            .spawn(move || owner.run(&runtime, &heard, &inbox))
            .map_err(|error| Error::io("starting the thread of triggers", error))?;
        let handle = Handle {
            orders,
            triggers: Mutex::new(triggers),
        };
        Ok((Arc::new(handle), watcher))
    }

    fn calling(&self) -> Calling {
        Calling {
            timeout: self.options.timeout,
            connect_timeout: self.options.timeout,
            allowed: allowed(&self.options),
        }
    }

    fn outbox(&self) -> OutboxSettings {
        OutboxSettings {
            concurrency: self.options.concurrency,
            retry: Retry {
                max_attempts: self.options.max_attempts,
                initial_delay: self.options.initial_delay,
                max_delay: self.options.max_delay,
                ..Retry::default()
            },
            breaker: BreakerSettings {
                failures: self.options.breaker_failures,
                pause: self.options.breaker_pause,
            },
            // The owner sees to that: it must not wait.
            max_events: usize::MAX,
            max_bytes: usize::MAX,
        }
    }

    fn prepared(
        &self,
        app: &App,
        relation: &Relation,
        definition: Definition,
    ) -> std::result::Result<(Arc<Trigger>, Conditions), Failure> {
        let compiled = |text: &str| -> Result<Condition> {
            Ok(Condition {
                text: text.into(),
                filter: app.row_filter(text, &relation.schema)?,
            })
        };
        let visible = Some(definition.row_filter.as_str()).filter(|text| !text.is_empty());
        let conditions = Conditions {
            fire: compiled(&definition.fire_sql)?,
            clear: definition.clear_sql.as_deref().map(compiled).transpose()?,
            visible: visible.map(compiled).transpose()?,
        };
        let sending = definition.sending(&self.options).map_err(Failure::bad)?;
        Ok((Trigger::new(definition, sending), conditions))
    }

    /// Makes a trigger; returns when it is durable, if the app is at all. Waits for the app and the disk.
    pub fn create(
        &self,
        app: &App,
        relation: &Arc<Relation>,
        asked: Asked,
        owner: TriggerOwner,
    ) -> std::result::Result<Arc<Trigger>, Failure> {
        let _one = self.one()?;
        let definition = Definition::new(asked, owner, &self.options, app.now())?;
        let (trigger, conditions) = self.prepared(app, relation, definition)?;
        let mut handle = self.owner(app, relation)?;
        while !self.reserve(&handle, relation, &trigger)? {
            // It has just ended with its last trigger.
            handle = self.owner(app, relation)?;
        }
        let done = self.run(app, &handle, &trigger, conditions);
        match &done {
            Err(_) => self.end_if_idle(relation, &handle, Some(&trigger.definition.name)),
            Ok(()) => trigger.is_made.store(true, Ordering::Release),
        }
        if done.is_ok() && !app.is_durable() {
            let (relation, trigger) = (&relation.name, &trigger.definition.name);
            tracing::warn!(
                relation,
                trigger,
                "there is no state directory: the trigger ends with the process"
            );
        }
        done.map(|()| trigger)
    }

    fn run(
        &self,
        app: &App,
        handle: &Handle,
        trigger: &Arc<Trigger>,
        conditions: Conditions,
    ) -> std::result::Result<(), Failure> {
        let (reply, begun) = oneshot::channel();
        let create = Order::Create(Box::new(Create {
            trigger: trigger.clone(),
            conditions,
            reply,
        }));
        handle.orders.send_blocking(create).map_err(|_| gone())?;
        begun.blocking_recv().map_err(|_| gone())??;
        if let Err(error) = app.checkpoint() {
            self.forget(handle, trigger)?;
            return Err(not_durable(&error));
        }
        Ok(())
    }

    fn forget(&self, handle: &Handle, trigger: &Trigger) -> std::result::Result<(), Failure> {
        let (reply, done) = oneshot::channel();
        let delete = Order::Delete(trigger.definition.uid.clone(), reply);
        handle.orders.send_blocking(delete).map_err(|_| gone())?;
        done.blocking_recv().map_err(|_| gone())
    }

    /// The owner of a relation's triggers, which is started if there is none.
    fn owner(&self, app: &App, relation: &Arc<Relation>) -> std::result::Result<Arc<Handle>, Failure> {
        let mut owners = self.owners.lock();
        if let Some(handle) = owners.get(&relation.name).filter(|handle| !handle.orders.is_closed()) {
            return Ok(handle.clone());
        }
        let (handle, watcher) = self.start(app, relation, Saved::new(Vec::new()), When::Later)?;
        app.keep(&relation.source, watcher)?;
        owners.insert(relation.name.clone(), handle.clone());
        Ok(handle)
    }

    /// A place among those who change triggers: each waits for the disk, and none shall wait behind too many.
    fn one(&self) -> std::result::Result<Changing<'_>, Failure> {
        let one = Changing(&self.changing);
        match self.changing.fetch_add(1, Ordering::AcqRel) < CHANGING {
            true => Ok(one),
            false => Err(Failure::new(
                Kind::TooMany,
                "too many triggers are being made or deleted",
            )),
        }
    }

    /// Forgets a name; the owner ends with the last, so that nobody watches the relation in vain.
    fn end_if_idle(&self, relation: &Relation, handle: &Arc<Handle>, name: Option<&str>) {
        let mut owners = self.owners.lock();
        let mut triggers = handle.triggers.lock();
        if let Some(name) = name {
            triggers.remove(name);
        }
        let is_it = owners
            .get(&relation.name)
            .is_some_and(|known| Arc::ptr_eq(known, handle));
        if triggers.is_empty() && is_it {
            owners.remove(&relation.name);
            handle.orders.close();
        }
    }

    /// Takes the name, if it is free and there is room. `false`: the owner has ended.
    fn reserve(
        &self,
        handle: &Arc<Handle>,
        relation: &Relation,
        trigger: &Arc<Trigger>,
    ) -> std::result::Result<bool, Failure> {
        let others = |other: &Arc<Handle>| other.triggers.lock().len();
        let owners = self.owners.lock();
        if !owners
            .get(&relation.name)
            .is_some_and(|known| Arc::ptr_eq(known, handle))
        {
            return Ok(false);
        }
        let all: usize = owners.values().map(others).sum();
        let mut triggers = handle.triggers.lock();
        let name = &trigger.definition.name;
        if triggers.contains_key(name) {
            let message = format!("'{}' has a trigger '{name}' already", relation.name);
            return Err(Failure::new(Kind::Conflict, message));
        }
        if all >= self.options.max {
            let message = format!("there are {all} triggers, as many as may be");
            return Err(Failure::new(Kind::TooMany, message));
        }
        if triggers.len() >= self.options.max_per_relation {
            let message = format!("'{}' has {} triggers, as many as may be", relation.name, triggers.len());
            return Err(Failure::new(Kind::TooMany, message));
        }
        triggers.insert(name.clone(), trigger.clone());
        Ok(true)
    }

    /// Deletes a trigger, and what waits of it; returns when that is durable. Waits for the disk.
    pub fn delete(&self, app: &App, relation: &Relation, trigger: &Trigger) -> std::result::Result<(), Failure> {
        let _one = self.one()?;
        let handle = self.owners.lock().get(&relation.name).cloned().ok_or_else(gone)?;
        let is_it = |known: &Arc<Trigger>| known.definition.uid == trigger.definition.uid;
        {
            let mut triggers = handle.triggers.lock();
            if !triggers.get(&trigger.definition.name).is_some_and(is_it) {
                return Err(missing(relation, &trigger.definition.name));
            }
            triggers.remove(&trigger.definition.name);
        }
        self.forget(&handle, trigger)?;
        let done = app.checkpoint().map(drop).map_err(|error| not_durable(&error));
        if done.is_ok() {
            self.end_if_idle(relation, &handle, None);
        }
        done
    }

    /// The triggers of a relation, by name.
    pub fn list(&self, relation: &str) -> Vec<Arc<Trigger>> {
        let handle = self.owners.lock().get(relation).cloned();
        let Some(handle) = handle else {
            return Vec::new();
        };
        let triggers = handle.triggers.lock();
        let made = triggers
            .values()
            .filter(|trigger| trigger.is_made.load(Ordering::Acquire));
        made.cloned().collect()
    }

    /// All triggers, with their relations.
    pub fn all(&self) -> Vec<(String, Arc<Trigger>)> {
        let relations: Vec<String> = self.owners.lock().keys().cloned().collect();
        let of = |relation: String| {
            let triggers = self.list(&relation);
            triggers.into_iter().map(move |trigger| (relation.clone(), trigger))
        };
        relations.into_iter().flat_map(of).collect()
    }

    /// Whether triggers outlive the process.
    pub fn is_durable(&self) -> bool {
        self.app.upgrade().is_some_and(|app| app.is_durable())
    }
}

/// A place among those who change triggers.
struct Changing<'a>(&'a AtomicUsize);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// That there is no such trigger.
pub fn missing(relation: &Relation, name: &str) -> Failure {
    let message = format!("'{}' has no trigger '{name}'", relation.name);
    Failure::new(Kind::NotFound, message)
}

fn gone() -> Failure {
    Failure::new(Kind::Unavailable, "the app has ended or is about to")
}

fn not_durable(error: &Error) -> Failure {
    tracing::warn!(%error, "a change of triggers is not durable");
    Failure::new(
        Kind::Unavailable,
        "the change cannot be made durable: no checkpoint could be written; the server's log says why",
    )
}
