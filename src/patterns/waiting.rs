//! Which attempt waits where: what an event can touch.
//!
//! Attempts that wait for an element stand in a bucket: one for the element, or, where the element's condition has an equality
//! with an earlier event or the pattern is partitioned, one for each value. An event looks into one bucket, so what it costs
//! does not grow with attempts of other values.

use hashbrown::HashMap;

use super::attempts::Attempts;
use super::shape::ElementId;
use super::timers::AttemptId;

/// No place.
const NONE: u32 = u32::MAX;

/// That an attempt stands in a bucket.
#[derive(Debug, Clone, Copy)]
struct Place {
    attempt: AttemptId,
    bucket: u32,
    /// Where in the bucket.
    position: u32,
    /// The attempt's next place.
    next: u32,
    element: u8,
}

#[derive(Debug, Default)]
struct Bucket {
    key: u64,
    places: Vec<u32>,
}

/// All buckets.
#[derive(Debug, Default)]
pub struct Waiting {
    places: Vec<Place>,
    free_places: Vec<u32>,
    buckets: Vec<Bucket>,
    free_buckets: Vec<u32>,
    by_key: HashMap<u64, u32>,
}

impl Waiting {
    /// Lets an attempt stand in the bucket of a key.
    pub fn enter(&mut self, attempts: &mut Attempts, attempt: AttemptId, element: ElementId, key: u64) {
        let bucket = match self.by_key.get(&key) {
            Some(bucket) => *bucket,
            None => self.new_bucket(key),
        };
        let places = &mut self.buckets[bucket as usize].places;
        let open = attempts.get_mut(attempt);
        let place = Place {
            attempt,
            bucket,
            position: places.len() as u32,
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
        places.push(id);
        open.places = id;
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

    /// The attempts in the bucket of a key, in no order.
    pub fn at(&self, key: u64) -> impl Iterator<Item = (AttemptId, ElementId)> {
        let bucket = self.by_key.get(&key).map(|bucket| &self.buckets[*bucket as usize]);
        let places = bucket.into_iter().flat_map(|bucket| &bucket.places);
        places.map(|id| {
            let place = &self.places[*id as usize];
            (place.attempt, ElementId::from(place.element))
        })
    }

    /// How much memory they take, in bytes; of what buckets hold as much as is used.
    pub fn bytes(&self) -> usize {
        self.places.capacity() * (size_of::<Place>() + size_of::<u32>())
            + self.buckets.capacity() * size_of::<Bucket>()
            + (self.free_places.capacity() + self.free_buckets.capacity()) * size_of::<u32>()
            + self.by_key.capacity() * (size_of::<(u64, u32)>() + 1)
    }

    fn new_bucket(&mut self, key: u64) -> u32 {
        let id = match self.free_buckets.pop() {
            Some(id) => id,
            None => {
                self.buckets.push(Bucket::default());
                (self.buckets.len() - 1) as u32
            }
        };
        self.buckets[id as usize].key = key;
        self.by_key.insert(key, id);
        id
    }

    fn remove(&mut self, id: u32) {
        let Place { bucket, position, .. } = self.places[id as usize];
        self.free_places.push(id);
        let emptied = &mut self.buckets[bucket as usize];
        emptied.places.swap_remove(position as usize);
        if let Some(&moved) = emptied.places.get(position as usize) {
            self.places[moved as usize].position = position;
        }
        if emptied.places.is_empty() {
            self.by_key.remove(&emptied.key);
            if emptied.places.capacity() > KEPT {
                emptied.places = Vec::new();
            }
            self.free_buckets.push(bucket);
        }
    }
}

/// An empty bucket keeps room for so many.
const KEPT: usize = 8;
