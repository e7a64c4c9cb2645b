//! Ways of keeping values in order, by what rows are taken back.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

use super::super::kinds::Kind;

/// Equal rows that stand together.
pub(in super::super) struct Run<'a, V: ?Sized> {
    /// Their value, `None` for NULL.
    pub value: Option<&'a V>,
    /// What they are ordered by.
    pub place: &'a [u8],
    /// How many they are.
    pub times: i64,
}

/// One row.
fn one<'a, V: ?Sized>(value: Option<&'a V>, place: &'a [u8]) -> Run<'a, V> {
    Run { value, place, times: 1 }
}

/// The values of a group.
pub(in super::super) trait Store<K: Kind>: Default + Clone + Send + Sync + 'static {
    /// Puts a row where it belongs: at the end, or where `place` says.
    fn add(&mut self, value: Option<&K::Key>, place: &[u8]);
    /// Takes a row back: the first that equals it.
    fn remove(&mut self, value: Option<&K::Key>, place: &[u8]);
    /// The rows in order.
    fn rows(&self) -> impl DoubleEndedIterator<Item = Run<'_, K::Key>>;
    /// Puts equal rows where they belong.
    fn add_run(&mut self, run: Run<'_, K::Key>) {
        for _ in 0..run.times {
            self.add(run.value, run.place);
        }
    }
}

fn borrowed<K: Kind>(held: &Option<K::Held>) -> Option<&K::Key> {
    held.as_ref().map(Borrow::borrow)
}

/// The first row only; nothing is taken back.
#[derive(Clone)]
pub(in super::super) struct First<K: Kind>(Option<Option<K::Held>>);

impl<K: Kind> Default for First<K> {
    fn default() -> Self {
        First(None)
    }
}

impl<K: Kind> Store<K> for First<K> {
    fn add(&mut self, value: Option<&K::Key>, _place: &[u8]) {
        if self.0.is_none() {
            self.0 = Some(value.map(K::hold));
        }
    }

    fn remove(&mut self, _value: Option<&K::Key>, _place: &[u8]) {}

    fn rows(&self) -> impl DoubleEndedIterator<Item = Run<'_, K::Key>> {
        self.0.iter().map(|held| one(borrowed::<K>(held), &[]))
    }
}

/// The last row only, and how many there are; rows are taken back in the order in which they were added, so the last is
/// there as long as any is.
#[derive(Clone)]
pub(in super::super) struct Last<K: Kind> {
    latest: Option<K::Held>,
    count: i64,
}

impl<K: Kind> Default for Last<K> {
    fn default() -> Self {
        Last { latest: None, count: 0 }
    }
}

impl<K: Kind> Store<K> for Last<K> {
    fn add(&mut self, value: Option<&K::Key>, _place: &[u8]) {
        match (&mut self.latest, value) {
            (Some(held), Some(value)) => K::hold_in(held, value),
            (latest, value) => *latest = value.map(K::hold),
        }
        self.count += 1;
    }

    fn remove(&mut self, _value: Option<&K::Key>, _place: &[u8]) {
        self.count -= 1;
    }

    /// The last row, as if all others equalled it.
    fn rows(&self) -> impl DoubleEndedIterator<Item = Run<'_, K::Key>> {
        let last = Run {
            value: borrowed::<K>(&self.latest),
            place: &[],
            times: self.count,
        };
        (self.count > 0).then_some(last).into_iter()
    }

    fn add_run(&mut self, run: Run<'_, K::Key>) {
        self.add(run.value, run.place);
        self.count += run.times - 1;
    }
}

/// All rows, taken back in the order in which they were added. O(1) a row.
#[derive(Clone)]
pub(in super::super) struct Queue<K: Kind>(VecDeque<Option<K::Held>>);

impl<K: Kind> Default for Queue<K> {
    fn default() -> Self {
        Queue(VecDeque::new())
    }
}

impl<K: Kind> Store<K> for Queue<K> {
    fn add(&mut self, value: Option<&K::Key>, _place: &[u8]) {
        self.0.push_back(value.map(K::hold));
    }

    fn remove(&mut self, _value: Option<&K::Key>, _place: &[u8]) {
        self.0.pop_front();
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = Run<'_, K::Key>> {
        self.0.iter().map(|held| one(borrowed::<K>(held), &[]))
    }
}

/// All rows, taken back in any order: a queue with gaps, and where each value stands in it. Amortised O(1) a row; each
/// value is held twice.
#[derive(Clone)]
pub(in super::super) struct Bag<K: Kind> {
    slots: VecDeque<Slot<K::Held>>,
    /// The number of the first slot.
    base: u64,
    gaps: usize,
    places: HashMap<K::Held, VecDeque<u64>>,
    null_places: VecDeque<u64>,
}

/// A row, or where one was.
#[derive(Clone)]
enum Slot<H> {
    Gap,
    Row(Option<H>),
}

impl<K: Kind> Default for Bag<K> {
    fn default() -> Self {
        Bag {
            slots: VecDeque::new(),
            base: 0,
            gaps: 0,
            places: HashMap::new(),
            null_places: VecDeque::new(),
        }
    }
}

impl<K: Kind> Bag<K> {
    /// Where the first row of this value stands; it stands there no more.
    fn take_place(&mut self, value: Option<&K::Key>) -> Option<u64> {
        let Some(value) = value else {
            return self.null_places.pop_front();
        };
        let places = self.places.get_mut(value)?;
        let place = places.pop_front();
        if places.is_empty() {
            self.places.remove(value);
        }
        place
    }

    /// Drops gaps: at the front always, everywhere once they are most.
    fn tidy(&mut self) {
        while let Some(Slot::Gap) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
            self.gaps -= 1;
        }
        if self.gaps * 2 > self.slots.len() {
            let rows = std::mem::take(self).slots.into_iter();
            for slot in rows {
                if let Slot::Row(value) = slot {
                    self.add(value.as_ref().map(Borrow::borrow), &[]);
                }
            }
        }
    }
}

impl<K: Kind> Store<K> for Bag<K> {
    fn add(&mut self, value: Option<&K::Key>, _place: &[u8]) {
        let place = self.base + self.slots.len() as u64;
        match value {
            None => self.null_places.push_back(place),
            Some(value) => match self.places.get_mut(value) {
                Some(places) => places.push_back(place),
                None => {
                    self.places.insert(K::hold(value), VecDeque::from([place]));
                }
            },
        }
        self.slots.push_back(Slot::Row(value.map(K::hold)));
    }

    fn remove(&mut self, value: Option<&K::Key>, _place: &[u8]) {
        let Some(place) = self.take_place(value) else { return };
        if let Some(slot) = self.slots.get_mut((place - self.base) as usize) {
            *slot = Slot::Gap;
            self.gaps += 1;
        }
        self.tidy();
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = Run<'_, K::Key>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Gap => None,
            Slot::Row(held) => Some(one(borrowed::<K>(held), &[])),
        })
    }
}

/// All rows by their place; those of one place in the order in which they were added. O(log n) a row, and the number of
/// rows of one place to take one back.
#[derive(Clone)]
pub(in super::super) struct Sorted<K: Kind> {
    rows: BTreeMap<Box<[u8]>, VecDeque<Option<K::Held>>>,
}

impl<K: Kind> Default for Sorted<K> {
    fn default() -> Self {
        Sorted { rows: BTreeMap::new() }
    }
}

impl<K: Kind> Store<K> for Sorted<K> {
    fn add(&mut self, value: Option<&K::Key>, place: &[u8]) {
        let value = value.map(K::hold);
        match self.rows.get_mut(place) {
            Some(rows) => rows.push_back(value),
            None => {
                self.rows.insert(place.into(), VecDeque::from([value]));
            }
        }
    }

    fn remove(&mut self, value: Option<&K::Key>, place: &[u8]) {
        let Some(rows) = self.rows.get_mut(place) else { return };
        if let Some(at) = rows.iter().position(|held| borrowed::<K>(held) == value) {
            rows.remove(at);
        }
        if rows.is_empty() {
            self.rows.remove(place);
        }
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = Run<'_, K::Key>> {
        let rows = self.rows.iter();
        rows.flat_map(|(place, rows)| rows.iter().map(move |held| one(borrowed::<K>(held), place)))
    }
}
