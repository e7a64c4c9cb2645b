//! Relations with their history, and the clock by which they change.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Cells as texts.
pub type Row = Vec<Option<String>>;

/// A row of texts.
pub fn row(cells: &[&str]) -> Row {
    cells
        .iter()
        .map(|cell| (*cell != "NULL").then(|| (*cell).to_string()))
        .collect()
}

/// A relation: its rows at `since`, and what has changed after it.
#[derive(Debug, Clone, Default)]
pub struct Relation {
    pub columns: Vec<(String, u32)>,
    pub since: u64,
    pub base: BTreeMap<Row, i64>,
    pub updates: BTreeMap<u64, Vec<(Row, i64)>>,
    /// Up to where those who read it now have come: what is later is kept for them.
    pub holds: BTreeMap<u64, u64>,
}

impl Relation {
    /// The rows at a time.
    pub fn at(&self, time: u64) -> BTreeMap<Row, i64> {
        let mut rows = self.base.clone();
        for changes in self.updates.range(..=time).map(|(_, changes)| changes) {
            apply(&mut rows, changes);
        }
        rows
    }
}

pub fn apply(rows: &mut BTreeMap<Row, i64>, changes: &[(Row, i64)]) {
    for (row, diff) in changes {
        let count = rows.entry(row.clone()).or_default();
        *count += diff;
        if *count == 0 {
            rows.remove(row);
        }
    }
}

/// What goes wrong.
#[derive(Debug, Default)]
pub struct Faults {
    /// Connections are cut after so many bytes: at least, at most.
    pub cut: Option<(u64, u64)>,
    /// Nothing is sent any more.
    pub stall: bool,
    /// A pause before each row.
    pub slow: Option<Duration>,
    /// The next statement that streams is refused with this code and text.
    pub refuse: Option<(&'static str, String)>,
    /// New connections are closed at once.
    pub away: bool,
}

#[derive(Debug, Default)]
pub struct State {
    pub relations: BTreeMap<String, Relation>,
    /// The least time that a write may have.
    pub frontier: u64,
    pub faults: Faults,
    /// Subscriptions of RisingWave, and their relations.
    pub subscriptions: BTreeMap<String, String>,
    /// How many SUBSCRIBEs or cursors began with a snapshot, and how many with a time.
    pub snapshots: u64,
    pub resumed: u64,
    /// How often all connections were cut.
    pub generation: u64,
    /// The number of the next reader.
    pub readers: u64,
    seed: u64,
}

/// All relations, and everybody who is connected.
#[derive(Debug, Default)]
pub struct World {
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub over: AtomicBool,
    pub connections: AtomicU64,
    pub sent: Arc<AtomicU64>,
    streams: Mutex<Vec<TcpStream>>,
}

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

impl World {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Makes a relation; columns are names and OIDs.
    pub fn create(&self, name: &str, columns: &[(&str, u32)]) {
        let mut state = self.state();
        let since = state.now();
        let columns = columns.iter().map(|(name, oid)| ((*name).to_string(), *oid)).collect();
        let relation = Relation {
            columns,
            since,
            ..Relation::default()
        };
        state.relations.insert(name.to_string(), relation);
        self.changed.notify_all();
    }

    /// Commits changes at one new time.
    pub fn write(&self, name: &str, changes: &[(Row, i64)]) -> u64 {
        let mut state = self.state();
        let time = state.now();
        state.frontier = time + 1;
        if let Some(relation) = state.relations.get_mut(name) {
            relation.updates.entry(time).or_default().extend_from_slice(changes);
        }
        self.changed.notify_all();
        time
    }

    /// Forgets the history up to now.
    pub fn compact(&self, name: &str) {
        let mut state = self.state();
        let now = state.now();
        state.frontier = now + 1;
        if let Some(relation) = state.relations.get_mut(name) {
            let since = relation.holds.values().copied().min().map_or(now, |held| held.min(now));
            if since > relation.since {
                relation.base = relation.at(since);
                relation.updates.retain(|time, _| *time > since);
                relation.since = since;
            }
        }
    }

    /// The rows now.
    pub fn rows(&self, name: &str) -> BTreeMap<Row, i64> {
        let state = self.state();
        state
            .relations
            .get(name)
            .map_or_else(BTreeMap::new, |relation| relation.at(u64::MAX))
    }

    /// Cuts all connections, wherever they are.
    pub fn kill(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.relations.values_mut().for_each(|relation| relation.holds.clear());
        drop(state);
        let mut streams = self.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn connected(&self, stream: &TcpStream) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut streams = self.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        streams.extend(stream.try_clone());
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl State {
    /// A time that no write has had yet, and none will have that comes after it is used.
    pub fn now(&mut self) -> u64 {
        clock().max(self.frontier)
    }

    /// Time goes on: nothing more comes before what is returned.
    pub fn close_time(&mut self) -> u64 {
        self.frontier = self.now();
        self.frontier
    }

    /// After how many bytes the next connection is cut.
    pub fn budget(&mut self) -> Option<u64> {
        let (least, most) = self.faults.cut?;
        // xorshift: which numbers does not matter, that they differ does.
        self.seed = (self.seed | 0x9E37_79B9_7F4A_7C15) ^ self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        Some(least + self.seed % (most - least).max(1))
    }
}
