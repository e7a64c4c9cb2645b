//! [`Queue`]: what waits for one subscriber. References only, never more of them than allowed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::selection::Message;
use super::snapshot::Snapshot;
use crate::server::failure::Kind;

/// What happens when a subscriber does not keep up and its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Changes of one row become one: the subscriber gets the latest of each row, and ends with the right rows.
    Coalesce,
    /// The oldest change goes.
    DropOldest,
    /// The newest change goes.
    DropNewest,
    /// The subscriber goes.
    Disconnect,
}

impl Policy {
    /// By its name in options and messages.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "coalesce" => Some(Policy::Coalesce),
            "drop-oldest" => Some(Policy::DropOldest),
            "drop-newest" => Some(Policy::DropNewest),
            "disconnect" => Some(Policy::Disconnect),
            _ => None,
        }
    }
}

/// Why a subscription has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The client did not keep up.
    TooSlow,
    /// The server shuts down, or the app has ended.
    Ended,
    /// The relation's rows cannot be read, or another error.
    Failed(String),
    /// What the client signed in with is over.
    Expired,
    /// What it is sent cannot be noted.
    NotNoted,
}

impl Closed {
    /// As clients are told.
    pub fn reason(&self) -> &'static str {
        match self {
            Closed::TooSlow => "too slow",
            Closed::Ended => "the server ends",
            Closed::Failed(_) => "failed",
            Closed::Expired => "the token has expired",
            Closed::NotNoted => "the audit fails",
        }
    }

    /// The error code.
    pub fn kind(&self) -> Kind {
        match self {
            Closed::TooSlow => Kind::TooSlow,
            Closed::Ended => Kind::Unavailable,
            Closed::Failed(_) => Kind::Internal,
            Closed::Expired => Kind::TokenExpired,
            Closed::NotNoted => Kind::AuditFailed,
        }
    }
}

/// How a subscription began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// With the rows at that point.
    Rows,
    /// Where an earlier one had come to.
    Resumed,
    /// With the next change.
    Live,
}

/// What a subscriber gets.
#[derive(Debug, Clone)]
pub enum Item {
    /// The subscription begins.
    Joined(Joined),
    /// A row that is there at the beginning.
    Row(Bytes),
    /// All such rows have been given. The changes after this number follow.
    AllRows(u64),
    /// A change.
    Change(Arc<Message>),
    /// So many changes were left out before the next one.
    Missed(u64),
    /// Nothing more comes.
    Closed(Closed),
}

/// What waits for a subscriber.
#[derive(Debug)]
pub struct Queue {
    policy: Policy,
    capacity: usize,
    /// How many rows `coalesce` tells apart at most.
    most: usize,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    joined: Option<Joined>,
    snapshot: Option<(Arc<Snapshot>, usize)>,
    messages: VecDeque<Arc<Message>>,
    /// When so many wait, those of one row become one; 0: at the capacity.
    fold_at: usize,
    missed: u64,
    closed: Option<Closed>,
    /// Whether the subscriber was told so.
    told: bool,
    /// Whether the subscriber has left.
    left: bool,
}

/// What pushing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Changes left out.
    pub missed: u64,
    /// Changes that became part of others.
    pub folded: u64,
    /// Whether the subscriber was too slow and has to go.
    pub too_slow: bool,
    /// Whether nothing needs to be pushed any more.
    pub gone: bool,
}

impl Queue {
    /// An empty one. `wake` is notified when there is something in it.
    pub fn new(policy: Policy, capacity: usize, most: usize, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Queue {
            policy,
            capacity: capacity.max(1),
            most: most.max(capacity),
            state: Mutex::default(),
            wake,
        })
    }

    /// The subscription begins, maybe with rows.
    pub(super) fn join(&self, joined: Joined, snapshot: Option<Arc<Snapshot>>) {
        let mut state = self.state.lock();
        state.joined = Some(joined);
        state.snapshot = snapshot.map(|snapshot| (snapshot, 0));
        drop(state);
        self.wake.notify_one();
    }

    /// Adds changes. Never waits.
    pub(super) fn push(&self, messages: &[Arc<Message>]) -> Pushed {
        let mut pushed = Pushed::default();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.left || state.closed.is_some() {
            pushed.gone = true;
            return pushed;
        }
        for message in messages {
            if state.messages.len() >= self.capacity.max(state.fold_at) {
                self.make_room(state, &mut pushed);
            }
            if pushed.too_slow {
                state.messages.clear();
                state.messages.shrink_to_fit();
                state.closed = Some(Closed::TooSlow);
                break;
            }
            match state.messages.len() >= self.capacity && self.policy == Policy::DropNewest {
                true => pushed.missed += 1,
                false => state.messages.push_back(message.clone()),
            }
        }
        state.missed += pushed.missed;
        drop(guard);
        self.wake.notify_one();
        pushed
    }

    fn make_room(&self, state: &mut State, pushed: &mut Pushed) {
        match self.policy {
            Policy::Disconnect => pushed.too_slow = true,
            Policy::DropOldest => {
                state.messages.pop_front();
                pushed.missed += 1;
            }
            Policy::DropNewest => {}
            Policy::Coalesce => {
                pushed.folded += fold(&mut state.messages);
                let rows = state.messages.len();
                // So much room that folding costs each change O(1).
                state.fold_at = (2 * rows).max(self.capacity);
                pushed.too_slow = rows >= self.most;
            }
        }
    }

    /// The next things, `most` at most. `fold`: changes of one row become one first.
    pub fn pop(&self, most: usize, folding: bool) -> Vec<Item> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut items = Vec::new();
        if let Some(joined) = state.joined.take() {
            items.push(Item::Joined(joined));
        }
        let next = state.snapshot.as_mut().map(|(snapshot, chunk)| {
            *chunk += 1;
            (snapshot.clone(), *chunk - 1)
        });
        if let Some((snapshot, chunk)) = next {
            // Written outside of the lock: changes may come meanwhile.
            drop(guard);
            let texts = snapshot.texts(chunk);
            match texts {
                Some(texts) => items.extend(texts.iter().cloned().map(Item::Row)),
                None => {
                    self.state.lock().snapshot = None;
                    items.push(Item::AllRows(snapshot.seq()));
                }
            }
            return items;
        }
        let missed = std::mem::take(&mut state.missed);
        // Those that were dropped were older than what is here, or newer.
        if missed > 0 && self.policy != Policy::DropNewest {
            items.push(Item::Missed(missed));
        }
        if folding && self.policy == Policy::Coalesce {
            fold(&mut state.messages);
        }
        let count = state.messages.len().min(most);
        items.extend(state.messages.drain(..count).map(Item::Change));
        if state.messages.is_empty() {
            state.fold_at = 0;
            if state.messages.capacity() > 64 {
                state.messages.shrink_to_fit();
            }
        }
        if missed > 0 && self.policy == Policy::DropNewest {
            match state.messages.is_empty() {
                true => items.push(Item::Missed(missed)),
                false => state.missed += missed,
            }
        }
        if state.messages.is_empty()
            && !state.told
            && let Some(closed) = &state.closed
        {
            state.told = true;
            items.push(Item::Closed(closed.clone()));
        }
        items
    }

    /// How many changes wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// Ends the subscription; what waits is still given.
    pub(super) fn close(&self, why: Closed) {
        self.state.lock().closed.get_or_insert(why);
        self.wake.notify_one();
    }

    /// The subscriber wants nothing more.
    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.left = true;
        state.messages = VecDeque::new();
        state.snapshot = None;
    }

    /// Whether it wants nothing more, or gets nothing more.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.left || state.closed.is_some()
    }
}

/// Makes changes of one row one, at the place of its first. How many have gone.
fn fold(messages: &mut VecDeque<Arc<Message>>) -> u64 {
    let before = messages.len();
    let mut places: HashMap<Arc<[u8]>, usize> = HashMap::with_capacity(before);
    let mut kept: Vec<Option<Arc<Message>>> = Vec::with_capacity(before);
    for message in messages.drain(..) {
        match places.get(&message.change.key) {
            Some(&place) if kept[place].is_some() => {
                kept[place] = kept[place].take().and_then(|older| older.folded(&message));
            }
            // A row that came and went begins anew, at its place in the order.
            _ => {
                places.insert(message.change.key.clone(), kept.len());
                kept.push(Some(message));
            }
        }
    }
    messages.extend(kept.into_iter().flatten());
    (before - messages.len()) as u64
}
