//! [`Retention`]: which rows a table in memory lets go, and when.
//!
//! # Victims
//! Every policy lets go the row with the least rank, the oldest of those with equal rank: for LRU the rank is when a row was
//! last used, for LFU how often; for FIFO it is the same for all. Ranks only grow, and readers raise them without a lock. So the
//! queue of victims may hold ranks that are too low: a row that comes out with one goes back with its true rank, and the first
//! that comes out with its own is the true least. A use costs a few nanoseconds, an eviction O(log n).
//!
//! # Age
//! A row that was written `ttl` ago is not seen any more. It is freed by later commits, a few for each row that these
//! write, and by who watches the table.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use hashbrown::HashSet;

use super::places::{Marks, Places, Position};
use super::store::Store;
use crate::error::Result;
use crate::event::{Clock, Micros};

/// Aged rows that a commit frees: so many, and twice as many as it wrote.
const FREED: usize = 1024;

/// Who has to go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// The one inserted first.
    Fifo,
    /// The one not used for the longest time.
    Lru,
    /// The one used least often.
    Lfu,
}

/// What bounds a table.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub max_rows: Option<usize>,
    pub max_bytes: Option<usize>,
    /// Whether `max_bytes` refuses rows, rather than letting others go.
    pub refuses: bool,
    pub policy: Policy,
    pub ttl: Option<Micros>,
}

impl Limits {
    fn evicts(&self) -> bool {
        self.max_rows.is_some() || self.max_bytes.is_some() && !self.refuses
    }

    /// What must be known of each row.
    pub fn marks(&self) -> Marks {
        Marks {
            ranks: self.evicts() && self.policy != Policy::Fifo,
            written: self.ttl.is_some(),
        }
    }

    fn is_over(&self, rows: usize, bytes: usize) -> bool {
        self.max_rows.is_some_and(|max| rows > max) || !self.refuses && self.max_bytes.is_some_and(|max| bytes > max)
    }
}

/// A row in a queue: rank or time, then order, and where it stood.
type Queued = Reverse<(u64, u64, Position)>;

/// Keeps a table within its limits.
#[derive(Debug)]
pub(super) struct Retention {
    pub limits: Limits,
    clock: Arc<dyn Clock>,
    /// How many uses there were.
    uses: AtomicU64,
    victims: BinaryHeap<Queued>,
    aging: BinaryHeap<Queued>,
    /// What it has removed, if anybody wants to know.
    evicted: Option<Vec<RecordBatch>>,
}

/// A time as a number of the same order.
fn rank_of(time: Micros) -> u64 {
    time as u64 ^ (1 << 63)
}

impl Retention {
    /// For an empty table.
    pub fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        Retention {
            limits,
            clock,
            uses: AtomicU64::new(1),
            victims: BinaryHeap::new(),
            aging: BinaryHeap::new(),
            evicted: None,
        }
    }

    /// How many uses there were; after a restart they count on from there.
    pub fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Counts on from `uses`.
    pub fn set_uses(&self, uses: u64) {
        self.uses.store(uses, Ordering::Relaxed);
    }

    /// Whether a row is too old to be seen.
    #[inline]
    pub fn is_aged(&self, places: &Places, at: Position, now: Micros) -> bool {
        self.limits
            .ttl
            .is_some_and(|ttl| now.saturating_sub(places.written(at)) >= ttl)
    }

    /// Notes that rows were used, in that order.
    pub fn touch(&self, places: &Places, at: &[Position]) {
        if !self.limits.marks().ranks {
            return;
        }
        match self.limits.policy {
            Policy::Fifo => {}
            Policy::Lru => {
                let first = self.uses.fetch_add(at.len() as u64, Ordering::Relaxed);
                for (at, use_of) in at.iter().zip(first..) {
                    places.rank(*at).store(use_of, Ordering::Relaxed);
                }
            }
            Policy::Lfu => at.iter().for_each(|at| {
                places.rank(*at).fetch_add(1, Ordering::Relaxed);
            }),
        }
    }

    /// Notes that rows were written; `added` of them are new, and make others go if there are too many.
    pub fn written(&mut self, store: &mut Store, replaced: &[Position], added: &[Position]) -> Result<()> {
        let now = self.clock.now();
        if self.limits.ttl.is_some() {
            for &at in replaced.iter().chain(added) {
                store.places.set_written(at, now);
            }
        }
        self.touch(&store.places, replaced);
        self.touch(&store.places, added);
        self.admit(store, added, now)?;
        self.free_aged(store, 2 * (replaced.len() + added.len()) + FREED, now)?;
        Ok(())
    }

    /// Lets rows in, one after the other, each in the place of another if the table is full.
    pub fn admit(&mut self, store: &mut Store, added: &[Position], now: Micros) -> Result<()> {
        let mut rows = store.places.len() - added.len();
        let mut bytes = store.bytes();
        if self.limits.max_bytes.is_some() {
            bytes -= added.iter().map(|at| store.row_bytes(*at)).sum::<usize>();
        }
        let mut gone = HashSet::new();
        for at in added.iter().copied().map(Some).chain([None]) {
            let size = match (at, self.limits.max_bytes) {
                (Some(at), Some(_)) => store.row_bytes(at),
                _ => 0,
            };
            rows += usize::from(at.is_some());
            bytes += size;
            while self.limits.is_over(rows, bytes) {
                let Some(victim) = self.victim(&store.places, &gone, now) else {
                    break;
                };
                gone.insert(victim);
                rows -= 1;
                bytes = bytes.saturating_sub(store.row_bytes(victim));
            }
            if let Some(at) = at {
                self.queue(&store.places, at);
            }
        }
        if !gone.is_empty() {
            self.remove(store, &gone.into_iter().collect::<Vec<_>>())?;
        }
        self.forget_stale(store);
        Ok(())
    }

    /// Enters a row into the queues.
    fn queue(&mut self, places: &Places, at: Position) {
        let order = places.order(at);
        if self.limits.evicts() {
            self.victims.push(Reverse((self.rank(places, at), order, at)));
        }
        if self.limits.ttl.is_some() {
            self.aging.push(Reverse((rank_of(places.written(at)), order, at)));
        }
    }

    /// Enters rows again that stand elsewhere now.
    pub fn moved(&mut self, places: &Places, at: &[Position]) {
        at.iter().for_each(|at| self.queue(places, *at));
    }

    fn rank(&self, places: &Places, at: Position) -> u64 {
        match self.limits.policy {
            Policy::Fifo => 0,
            _ => places.rank(at).load(Ordering::Relaxed),
        }
    }

    /// The row that has to go first: one that is too old, else the policy's.
    fn victim(&mut self, places: &Places, gone: &HashSet<Position>, now: Micros) -> Option<Position> {
        let is_there =
            |order: u64, at: Position| places.is_live(at) && places.order(at) == order && !gone.contains(&at);
        if let Some(aged) = self.aged(places, is_there, now) {
            return Some(aged);
        }
        while let Some(Reverse((rank, order, at))) = self.victims.pop() {
            if !is_there(order, at) {
                continue;
            }
            let true_rank = self.rank(places, at);
            if true_rank <= rank {
                return Some(at);
            }
            self.victims.push(Reverse((true_rank, order, at)));
        }
        None
    }

    fn aged(&mut self, places: &Places, is_there: impl Fn(u64, Position) -> bool, now: Micros) -> Option<Position> {
        let ttl = self.limits.ttl?;
        loop {
            let Reverse((rank, order, at)) = *self.aging.peek()?;
            if now.saturating_sub((rank ^ (1 << 63)) as Micros) < ttl {
                return None;
            }
            self.aging.pop();
            if !is_there(order, at) {
                continue;
            }
            if now.saturating_sub(places.written(at)) >= ttl {
                return Some(at);
            }
            self.aging.push(Reverse((rank_of(places.written(at)), order, at)));
        }
    }

    /// Frees rows that are too old; how many.
    pub fn free_aged(&mut self, store: &mut Store, most: usize, now: Micros) -> Result<usize> {
        let mut aged = Vec::new();
        while aged.len() < most
            && let Some(at) = self.aged(
                &store.places,
                |order, at| store.places.is_live(at) && store.places.order(at) == order,
                now,
            )
        {
            aged.push(at);
        }
        self.remove(store, &aged)?;
        Ok(aged.len())
    }

    /// Removes rows; keeps them for who watches the table.
    fn remove(&mut self, store: &mut Store, at: &[Position]) -> Result<()> {
        if let Some(evicted) = &mut self.evicted
            && !at.is_empty()
        {
            let all: Vec<usize> = (0..store.schema.fields().len()).collect();
            evicted.push(store.read(at, &all)?);
        }
        store.remove(at)
    }

    /// From now on keeps the rows that it removes.
    pub fn keep_evicted(&mut self) {
        self.evicted = Some(Vec::new());
    }

    /// The rows that it has removed since, and keeps no more.
    pub fn take_evicted(&mut self) -> Vec<RecordBatch> {
        self.evicted.take().unwrap_or_default()
    }

    /// Drops entries of rows that are gone when these are the most.
    fn forget_stale(&mut self, store: &Store) {
        let places = &store.places;
        for queue in [&mut self.victims, &mut self.aging] {
            if queue.len() > 2 * places.len() + FREED {
                let is_there = |queued: &Queued| places.is_live(queued.0.2) && places.order(queued.0.2) == queued.0.1;
                queue.retain(is_there);
            }
        }
    }
}
