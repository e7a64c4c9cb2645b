//! Which attempt waits where: what an event can touch.
//!
//! Attempts that wait for an element stand in a bucket: one for the element, or, where the element's condition has an equality
//! with an earlier event or the pattern is partitioned, one for each value. An event looks into one bucket, so what it costs
//! does not grow with attempts of other values.
//!
//! Where the condition compares a column with something of an earlier event (`price > a.price`), attempts have a *rank*: the
//! place of that in the order. A bucket of many keeps them by rank, so that an event meets only those on its side of the
//! comparison, however many wait: with one hot key an event still costs what it can touch.
//!
//! *Cost.* Entering and leaving is O(1), O(log n) in a bucket of many with ranks. A place takes 24 bytes, a rank 8, a bucket 24
//! and about 6 in the table.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::attempts::Attempts;
use super::shape::ElementId;
use super::timers::AttemptId;

/// No place.
const NONE: u32 = u32::MAX;

/// A bucket of more is kept by rank, too.
const MANY: u32 = 64;

/// That an attempt stands in a bucket.
#[derive(Debug, Clone, Copy)]
struct Place {
    attempt: AttemptId,
    bucket: u32,
    /// Its neighbours in the bucket.
    before: u32,
    after: u32,
    /// The attempt's next place.
    next: u32,
    element: u8,
}

/// Which bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The element, and whose attempts.
    place: u64,
    /// The value of the condition's equality; of several, and of texts, a hash.
    value: u64,
}

impl Key {
    /// Of an element's attempts of a partition that wait for a value.
    pub fn new(element: ElementId, partition: u32, value: u64) -> Self {
        let place = (element as u64) << 32 | u64::from(partition);
        Key { place, value }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    key: Key,
    first: u32,
    len: u32,
}

/// Where in a bucket, and in which.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Of the bucket.
    pub key: Key,
    /// The rank, if the element's condition compares.
    pub rank: Option<u64>,
}

/// Which ranks an event can touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All.
    All,
    /// This one and those below.
    UpTo(u64),
    /// This one and those above.
    From(u64),
}

/// All buckets.
#[derive(Debug, Default)]
pub struct Waiting {
    places: Vec<Place>,
    free_places: Vec<u32>,
    buckets: Vec<Bucket>,
    free_buckets: Vec<u32>,
    by_key: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// By place; empty where no condition compares.
    ranks: Vec<u64>,
    /// The places of buckets of many, by rank.
    ordered: HashMap<u32, BTreeSet<(u64, u32)>>,
}

impl Waiting {
    /// Lets an attempt stand in a bucket.
    pub fn enter(&mut self, attempts: &mut Attempts, attempt: AttemptId, element: ElementId, entry: Standing) {
        let bucket = self.bucket(entry.key);
        let entered = &mut self.buckets[bucket as usize];
        let open = attempts.get_mut(attempt);
        let place = Place {
            attempt,
            bucket,
            before: NONE,
            after: entered.first,
            next: open.places,
            element: element as u8,
        };
        let id = match self.free_places.pop() {
            Some(id) => {
                self.places[id as usize] = place;
                id
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        open.places = id;
        if place.after != NONE {
            self.places[place.after as usize].before = id;
        }
        entered.first = id;
        entered.len += 1;
        let many = entered.len > MANY;
        if let Some(rank) = entry.rank {
            if self.ranks.len() <= id as usize {
                self.ranks.resize(self.places.len(), 0);
            }
            self.ranks[id as usize] = rank;
            if many {
                self.order(bucket, (rank, id));
            }
        }
    }

    /// Keeps a bucket by rank, with a place that has just entered.
    fn order(&mut self, bucket: u32, entered: (u64, u32)) {
        if let Some(ordered) = self.ordered.get_mut(&bucket) {
            ordered.insert(entered);
            return;
        }
        let mut ordered = BTreeSet::new();
        let mut next = self.buckets[bucket as usize].first;
        while next != NONE {
            ordered.insert((self.ranks[next as usize], next));
            next = self.places[next as usize].after;
        }
        self.ordered.insert(bucket, ordered);
    }

    /// Takes an attempt out of the buckets of elements for which `leaves` holds.
    pub fn leave(&mut self, attempts: &mut Attempts, attempt: AttemptId, leaves: impl Fn(ElementId) -> bool) {
        let mut next = attempts.get(attempt).places;
        let mut kept = NONE;
        while next != NONE {
            let id = next;
            let place = self.places[id as usize];
            next = place.next;
            if leaves(ElementId::from(place.element)) {
                self.remove(id);
            } else {
                self.places[id as usize].next = kept;
                kept = id;
            }
        }
        attempts.get_mut(attempt).places = kept;
    }

    /// Whether an attempt stands in a bucket of an element.
    pub fn stands(&self, attempts: &Attempts, attempt: AttemptId, element: ElementId) -> bool {
        let mut next = attempts.get(attempt).places;
        while next != NONE {
            let place = &self.places[next as usize];
            if ElementId::from(place.element) == element {
                return true;
            }
            next = place.next;
        }
        false
    }

    /// Visits the attempts in the bucket of a key, in no order: all that an event of this reach can touch, and perhaps others.
    pub fn visit(&self, key: Key, reach: Reach, mut visit: impl FnMut(AttemptId)) {
        let is_it = |id: &u32| self.buckets[*id as usize].key == key;
        let Some(&bucket) = self.by_key.find(self.hasher.hash_one(key), is_it) else {
            return;
        };
        let mut meet = |id: u32| {
            let place = &self.places[id as usize];
            visit(place.attempt);
            place.after
        };
        let ordered = match reach {
            Reach::All => None,
            _ => self.ordered.get(&bucket),
        };
        match (ordered, reach) {
            (Some(ordered), Reach::UpTo(rank)) => ordered.range(..=(rank, NONE)).for_each(|(_, id)| {
                meet(*id);
            }),
            (Some(ordered), Reach::From(rank)) => ordered.range((rank, 0)..).for_each(|(_, id)| {
                meet(*id);
            }),
            _ => {
                let mut next = self.buckets[bucket as usize].first;
                while next != NONE {
                    next = meet(next);
                }
            }
        }
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        let ordered: usize = self.ordered.values().map(BTreeSet::len).sum();
        self.places.capacity() * size_of::<Place>()
            + self.buckets.capacity() * size_of::<Bucket>()
            + (self.free_places.capacity() + self.free_buckets.capacity()) * size_of::<u32>()
            + self.by_key.capacity() * (size_of::<u32>() + 1)
            + self.ranks.capacity() * size_of::<u64>()
            + ordered * size_of::<(u64, u32)>()
    }

    /// The bucket of a key, made if there is none.
    fn bucket(&mut self, key: Key) -> u32 {
        let (buckets, hasher) = (&mut self.buckets, &self.hasher);
        let is_it = |id: &u32| buckets[*id as usize].key == key;
        let hash = |id: &u32| hasher.hash_one(buckets[*id as usize].key);
        let vacant = match self.by_key.entry(hasher.hash_one(key), is_it, hash) {
            Entry::Occupied(bucket) => return *bucket.get(),
            Entry::Vacant(vacant) => vacant,
        };
        let (first, len) = (NONE, 0);
        let bucket = Bucket { key, first, len };
        let id = match self.free_buckets.pop() {
            Some(id) => {
                buckets[id as usize] = bucket;
                id
            }
            None => {
                buckets.push(bucket);
                (buckets.len() - 1) as u32
            }
        };
        vacant.insert(id);
        id
    }

    fn remove(&mut self, id: u32) {
        let Place {
            bucket, before, after, ..
        } = self.places[id as usize];
        self.free_places.push(id);
        if after != NONE {
            self.places[after as usize].before = before;
        }
        let emptied = &mut self.buckets[bucket as usize];
        match before {
            NONE => emptied.first = after,
            before => self.places[before as usize].after = after,
        }
        emptied.len -= 1;
        let Bucket { key, len, .. } = *emptied;
        if let Some(ordered) = self.ordered.get_mut(&bucket) {
            ordered.remove(&(self.ranks[id as usize], id));
            if len < MANY / 2 {
                self.ordered.remove(&bucket);
            }
        }
        if len == 0 {
            if let Ok(entry) = self.by_key.find_entry(self.hasher.hash_one(key), |id| *id == bucket) {
                entry.remove();
            }
            self.free_buckets.push(bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::captures::NOTHING;
    use crate::patterns::progress::{Attempt, NOT_STARTED};

    fn attempt() -> Attempt {
        Attempt {
            id: 0,
            order: 0,
            waits: 1,
            started: NOT_STARTED,
            first: 0,
            link: NOTHING,
            partition: 0,
            places: NONE,
            generation: 0,
            begun: true,
            slots: None,
        }
    }

    fn met(waiting: &Waiting, reach: Reach) -> Vec<AttemptId> {
        let mut met = Vec::new();
        waiting.visit(Key::new(0, 9, 5), reach, |id| met.push(id));
        met.sort_unstable();
        met
    }

    #[test]
    fn a_bucket_of_many_is_met_by_rank_whatever_enters_and_leaves() {
        let (mut waiting, mut attempts) = (Waiting::default(), Attempts::default());
        let ids: Vec<AttemptId> = (0..200_u64)
            .map(|number| {
                let id = attempts.add(attempt());
                let entry = Standing {
                    key: Key::new(0, 9, 5),
                    rank: Some(number % 100),
                };
                waiting.enter(&mut attempts, id, 0, entry);
                id
            })
            .collect();
        let upto = |most: u64| -> Vec<AttemptId> {
            let ids = ids.iter().copied();
            ids.filter(|id| u64::from(*id) % 100 <= most).collect()
        };
        assert_eq!(met(&waiting, Reach::UpTo(3)), upto(3));
        assert_eq!(met(&waiting, Reach::From(98)), [98, 99, 198, 199]);
        assert_eq!(met(&waiting, Reach::All).len(), 200);
        for id in &ids[..190] {
            waiting.leave(&mut attempts, *id, |_| true);
        }
        // Few are met as they stand: their conditions tell.
        assert_eq!(met(&waiting, Reach::UpTo(3)), ids[190..]);
        for id in &ids[190..] {
            waiting.leave(&mut attempts, *id, |_| true);
        }
        assert!(met(&waiting, Reach::All).is_empty());
        assert!(waiting.ordered.is_empty() && waiting.by_key.is_empty());
    }
}
