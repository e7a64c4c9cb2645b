//! Which attempt waits where: what an event can touch.
//!
//! Attempts that wait for an element stand in a bucket: one for the element and partition, and, where the element's condition has
//! an equality with an earlier event, for each value. An event looks into one bucket, so what it costs does not grow with
//! attempts of other values. Buckets without a value are found by their number, the others by a hash.
//!
//! Where the condition compares a column with something of an earlier event (`price > a.price`), attempts have a *rank*: the
//! place of that in the order. A bucket of many keeps them by rank, so that an event meets only those on its side of the
//! comparison, however many wait: with one hot key an event still costs what it can touch.
//!
//! *Cost.* Entering and leaving is O(1), O(log n) in a bucket of many with ranks. A place takes 24 bytes, a rank 8, a bucket 24
//! and about 6 in the table, or 4 for each partition and element without a value.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::attempts::Attempts;
use super::shape::{ElementId, Elements};
use super::timers::AttemptId;

/// No place.
const NONE: u32 = u32::MAX;

/// A bucket of more is kept by rank, too.
const MANY: u32 = 64;

/// It is until there are less than so many, so that one that goes up and down is not put in order again and again.
const FEW: u32 = MANY / 2;

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
    fn element(self) -> ElementId {
        (self.place >> 32) as ElementId
    }

    fn partition(self) -> usize {
        self.place as u32 as usize
    }

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
    /// The elements whose buckets have no value, and their number.
    plain: Elements,
    plain_count: usize,
    /// Their buckets, by partition and then element.
    by_number: Vec<u32>,
    hasher: DefaultHashBuilder,
    /// By place; empty where no condition compares.
    ranks: Vec<u64>,
    /// The places of buckets of many, by rank.
    ordered: HashMap<u32, BTreeSet<(u64, u32)>>,
}

impl Waiting {
    /// Without anybody; `plain` elements have one bucket for each partition.
    pub fn new(plain: Elements) -> Self {
        Waiting {
            plain,
            plain_count: plain.count_ones() as usize,
            ..Waiting::default()
        }
    }

    /// The number of a bucket without a value.
    fn number(&self, key: Key) -> Option<usize> {
        let element = key.element();
        if self.plain >> element & 1 == 0 {
            return None;
        }
        let before = self.plain & ((1 << element) - 1);
        Some(key.partition() * self.plain_count + before.count_ones() as usize)
    }

    /// The bucket of a key, if anybody stands there.
    fn find(&self, key: Key) -> Option<u32> {
        match self.number(key) {
            Some(number) => self.by_number.get(number).copied().filter(|bucket| *bucket != NONE),
            None => {
                let is_it = |id: &u32| self.buckets[*id as usize].key == key;
                self.by_key.find(self.hasher.hash_one(key), is_it).copied()
            }
        }
    }

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
        let len = entered.len;
        if let Some(rank) = entry.rank {
            if self.ranks.len() <= id as usize {
                self.ranks.resize(self.places.len(), 0);
            }
            self.ranks[id as usize] = rank;
            if len > MANY || len >= FEW && self.ordered.contains_key(&bucket) {
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

    /// Takes an attempt out of the buckets of these elements. The elements in whose buckets it still stands.
    pub fn leave(&mut self, attempts: &mut Attempts, attempt: AttemptId, leaves: Elements) -> Elements {
        let mut next = attempts.get(attempt).places;
        let mut kept = NONE;
        let mut stands = 0;
        while next != NONE {
            let id = next;
            let Place {
                next: after, element, ..
            } = self.places[id as usize];
            next = after;
            if leaves >> element & 1 == 1 {
                self.remove(id);
            } else {
                self.places[id as usize].next = kept;
                kept = id;
                stands |= 1 << element;
            }
        }
        attempts.get_mut(attempt).places = kept;
        stands
    }

    /// Visits the attempts in the bucket of a key, in no order: all that an event of this reach can touch, and perhaps others.
    pub fn visit(&self, key: Key, reach: Reach, mut visit: impl FnMut(AttemptId)) {
        let Some(bucket) = self.find(key) else {
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

    /// The buckets of keys: the first step of [`Waiting::visit`], for many at once.
    pub fn buckets_of(&self, keys: &[Key], buckets: &mut Vec<u32>) {
        buckets.extend(keys.iter().filter_map(|key| self.find(*key)));
    }

    /// Who came to a bucket last.
    pub fn latest_in(&self, bucket: u32) -> Option<AttemptId> {
        let first = self.buckets[bucket as usize].first;
        (first != NONE).then(|| self.places[first as usize].attempt)
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        let ordered: usize = self.ordered.values().map(BTreeSet::len).sum();
        self.places.capacity() * size_of::<Place>()
            + self.buckets.capacity() * size_of::<Bucket>()
            + (self.free_places.capacity() + self.free_buckets.capacity()) * size_of::<u32>()
            + self.by_key.capacity() * (size_of::<u32>() + 1)
            + self.by_number.capacity() * size_of::<u32>()
            + self.ranks.capacity() * size_of::<u64>()
            + ordered * size_of::<(u64, u32)>()
    }

    /// The bucket of a key, made if there is none.
    fn bucket(&mut self, key: Key) -> u32 {
        if let Some(number) = self.number(key) {
            if self.by_number.len() <= number {
                self.by_number.resize(number + 1, NONE);
            }
            if self.by_number[number] == NONE {
                self.by_number[number] = empty_bucket(&mut self.buckets, &mut self.free_buckets, key);
            }
            return self.by_number[number];
        }
        let (buckets, hasher) = (&mut self.buckets, &self.hasher);
        let is_it = |id: &u32| buckets[*id as usize].key == key;
        let hash = |id: &u32| hasher.hash_one(buckets[*id as usize].key);
        let vacant = match self.by_key.entry(hasher.hash_one(key), is_it, hash) {
            Entry::Occupied(bucket) => return *bucket.get(),
            Entry::Vacant(vacant) => vacant,
        };
        let id = empty_bucket(buckets, &mut self.free_buckets, key);
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
            if len < FEW {
                self.ordered.remove(&bucket);
            }
        }
        if len == 0 {
            if let Some(number) = self.number(key) {
                self.by_number[number] = NONE;
            } else if let Ok(entry) = self.by_key.find_entry(self.hasher.hash_one(key), |id| *id == bucket) {
                entry.remove();
            }
            self.free_buckets.push(bucket);
        }
    }
}

fn empty_bucket(buckets: &mut Vec<Bucket>, free: &mut Vec<u32>, key: Key) -> u32 {
    let (first, len) = (NONE, 0);
    let bucket = Bucket { key, first, len };
    match free.pop() {
        Some(id) => {
            buckets[id as usize] = bucket;
            id
        }
        None => {
            buckets.push(bucket);
            (buckets.len() - 1) as u32
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
        met_by_rank(Waiting::default());
        met_by_rank(Waiting::new(0b101));
    }

    fn met_by_rank(mut waiting: Waiting) {
        let mut attempts = Attempts::default();
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
        // Still in order: who enters now, too.
        for id in &ids[..150] {
            waiting.leave(&mut attempts, *id, Elements::MAX);
        }
        let rank = Some(3);
        let key = Key::new(0, 9, 5);
        waiting.enter(&mut attempts, ids[0], 0, Standing { key, rank });
        assert_eq!(met(&waiting, Reach::UpTo(50)), [&ids[..1], &ids[150..151]].concat());
        for id in ids[150..190].iter().chain(&ids[..1]) {
            waiting.leave(&mut attempts, *id, Elements::MAX);
        }
        // Few are met as they stand: their conditions tell.
        assert_eq!(met(&waiting, Reach::UpTo(3)), ids[190..]);
        for id in &ids[190..] {
            waiting.leave(&mut attempts, *id, Elements::MAX);
        }
        assert!(met(&waiting, Reach::All).is_empty());
        assert!(waiting.ordered.is_empty() && waiting.by_key.is_empty());
        assert!(waiting.by_number.iter().all(|bucket| *bucket == NONE));
    }
}
