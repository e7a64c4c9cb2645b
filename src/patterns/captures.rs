//! Captured events, and the chains of them that attempts have.
//!
//! An attempt has a list of events, the latest first: links that point to the one before. Attempts that came from one share
//! the links up to where they parted. Links and events are counted and reused.

use super::shape::ElementId;
use crate::event::Micros;

/// A link, or [`NOTHING`].
pub type LinkId = u32;

/// The end of every chain.
pub const NOTHING: LinkId = LinkId::MAX;

/// An event in the store of its stream.
pub type EventId = u32;

/// That an element took an event.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// The link before.
    pub before: LinkId,
    /// The event.
    pub event: EventId,
    /// The element.
    pub element: u8,
    uses: u32,
}

/// All links.
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub struct Links {
    links: Vec<Link>,
    free: Vec<LinkId>,
}

impl Links {
    /// Appends to a chain. The use of `before` passes to the new link; the event gets one more use by it, which is the
    /// caller's to count.
    pub fn push(&mut self, before: LinkId, element: ElementId, event: EventId) -> LinkId {
        let link = Link {
            before,
            event,
            element: element as u8,
            uses: 1,
        };
        match self.free.pop() {
            Some(id) => {
                self.links[id as usize] = link;
                id
            }
            None => {
                self.links.push(link);
                (self.links.len() - 1) as LinkId
            }
        }
    }

    /// One more use of a chain.
    pub fn retain(&mut self, link: LinkId) {
        if link != NOTHING {
            self.links[link as usize].uses += 1;
        }
    }

    /// One use of a chain less; `freed` is told of the links that nobody uses any more.
    pub fn release(&mut self, link: LinkId, mut freed: impl FnMut(&Link)) {
        let mut link = link;
        while link != NOTHING {
            let entry = &mut self.links[link as usize];
            entry.uses -= 1;
            if entry.uses > 0 {
                return;
            }
            freed(entry);
            self.free.push(link);
            link = entry.before;
        }
    }

    /// The links of a chain, the latest first.
    pub fn chain(&self, from: LinkId) -> impl Iterator<Item = &Link> {
        let mut next = from;
        std::iter::from_fn(move || {
            let link = (next != NOTHING).then(|| &self.links[next as usize])?;
            next = link.before;
            Some(link)
        })
    }

    /// A link.
    pub fn get(&self, link: LinkId) -> &Link {
        &self.links[link as usize]
    }

    /// The latest event of a chain, if there is one.
    pub fn event_of(&self, link: LinkId) -> EventId {
        self.links.get(link as usize).map_or(EventId::MAX, |link| link.event)
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.links.capacity() * size_of::<Link>() + self.free.capacity() * size_of::<LinkId>()
    }

    /// Whether there is such a link.
    pub fn has(&self, link: LinkId) -> bool {
        (link as usize) < self.links.len()
    }

    /// How many are in use.
    pub fn len(&self) -> usize {
        self.links.len() - self.free.len()
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The times and uses of one stream's captured events. Their columns are beside.
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub struct Uses {
    times: Vec<Micros>,
    uses: Vec<u32>,
    free: Vec<EventId>,
    /// Their places among all events, and among those of their partitions; empty where nobody asks.
    met: Vec<(u64, u64)>,
}

impl Uses {
    /// A new event with one use. Its columns are to be put at that place.
    pub fn add(&mut self, time: Micros) -> EventId {
        match self.free.pop() {
            Some(id) => {
                self.times[id as usize] = time;
                self.uses[id as usize] = 1;
                id
            }
            None => {
                self.times.push(time);
                self.uses.push(1);
                (self.times.len() - 1) as EventId
            }
        }
    }

    /// Remembers when an event came: its place among all events, and among those of its partition.
    pub fn set_met(&mut self, event: EventId, order: u64, number: u64) {
        let place = event as usize;
        if self.met.len() <= place {
            self.met.resize(place + 1, (0, 0));
        }
        self.met[place] = (order, number);
    }

    /// What was remembered.
    pub fn met(&self, event: EventId) -> (u64, u64) {
        self.met.get(event as usize).copied().unwrap_or_default()
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.times.capacity() * size_of::<Micros>()
            + (self.uses.capacity() + self.free.capacity()) * size_of::<u32>()
            + self.met.capacity() * size_of::<(u64, u64)>()
    }

    /// One more use.
    pub fn retain(&mut self, event: EventId) {
        self.uses[event as usize] += 1;
    }

    /// One less; whether it was the last.
    pub fn release(&mut self, event: EventId) -> bool {
        let uses = &mut self.uses[event as usize];
        *uses -= 1;
        let last = *uses == 0;
        if last {
            self.free.push(event);
        }
        last
    }

    /// The event's time.
    pub fn time(&self, event: EventId) -> Micros {
        self.times[event as usize]
    }

    /// The events there are.
    pub fn live(&self) -> impl Iterator<Item = EventId> {
        (0..self.times.len() as EventId).filter(|event| self.uses[*event as usize] > 0)
    }

    /// How many events are captured.
    pub fn len(&self) -> usize {
        self.times.len() - self.free.len()
    }

    /// Whether no event is captured.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
