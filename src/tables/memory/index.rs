//! [`Index`]: rows by the values of some columns.
//!
//! A hash table of hashes and positions; the values themselves stay in the columns and are looked at when hashes are equal. Rows
//! with equal keys are a ring of links, so that one of a million is taken out as fast as one of two. Rows with a NULL in the
//! key are in no index, since NULL equals nothing.

use hashbrown::HashTable;

use super::places::Position;

/// No position.
const NONE: Position = Position::MAX;

/// Rows by key. *Cost.* 9 bytes for each different key, over the load of the hash table (14 to 20 bytes), and 8 bytes a row
/// unless keys are unique.
#[derive(Debug)]
pub(super) struct Index {
    /// The columns of the key.
    pub columns: Vec<usize>,
    /// Hash of the key, and the first row that has it.
    heads: HashTable<(u32, Position)>,
    /// For keys of several rows, by position: the next row and the one before it, in a ring.
    links: Option<Vec<Link>>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    next: Position,
    before: Position,
}

/// The hash in the form the hash table wants: it takes buckets from the low bits and marks from the high ones.
#[inline]
fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

impl Index {
    /// An empty one.
    pub fn new(columns: Vec<usize>, uniqueness: Uniqueness) -> Self {
        Index {
            columns,
            heads: HashTable::new(),
            links: (uniqueness == Uniqueness::Shared).then(Vec::new),
        }
    }

    /// Whether no two rows have one key.
    pub fn is_unique(&self) -> bool {
        self.links.is_none()
    }

    /// Makes room for so many more keys.
    pub fn reserve(&mut self, keys: usize) {
        self.heads.reserve(keys, |(tag, _)| spread(*tag));
    }

    /// The first row of a key with that hash, for which `same` holds.
    #[inline]
    pub fn head(&self, tag: u32, mut same: impl FnMut(Position) -> bool) -> Option<Position> {
        let found = self.heads.find(spread(tag), |(of, at)| *of == tag && same(*at));
        found.map(|(_, at)| *at)
    }

    /// The rows that have the key of `head`.
    pub fn ring(&self, head: Position) -> impl Iterator<Item = Position> {
        let mut next = Some(head);
        std::iter::from_fn(move || {
            let at = next?;
            next = self
                .links
                .as_ref()
                .map(|links| links[at as usize].next)
                .filter(|next| *next != head);
            Some(at)
        })
    }

    /// Adds a row, behind those with the same key: of the rows asked, `same` says whether they have it. A unique index must not
    /// hold the key.
    pub fn add(&mut self, tag: u32, at: Position, same: impl FnMut(Position) -> bool) {
        let head = match self.links {
            Some(_) => self.head(tag, same),
            None => None,
        };
        if head.is_none() {
            self.heads
                .insert_unique(spread(tag), (tag, at), |(tag, _)| spread(*tag));
        }
        let Some(links) = &mut self.links else { return };
        if at as usize >= links.len() {
            let none = Link {
                next: NONE,
                before: NONE,
            };
            links.resize((at as usize + 1).next_power_of_two(), none);
        }
        let (next, before) = match head {
            None => (at, at),
            Some(head) => (head, links[head as usize].before),
        };
        links[at as usize] = Link { next, before };
        links[before as usize].next = at;
        links[next as usize].before = at;
    }

    /// Takes a row out; it need not be there.
    pub fn remove(&mut self, tag: u32, at: Position) {
        let mut rest = NONE;
        if let Some(links) = &mut self.links {
            let Some(link) = links.get_mut(at as usize).filter(|link| link.next != NONE) else {
                return;
            };
            let Link { next, before } = *link;
            link.next = NONE;
            if next != at {
                links[before as usize].next = next;
                links[next as usize].before = before;
                rest = next;
            }
        }
        let Ok(mut head) = self.heads.find_entry(spread(tag), |(_, head)| *head == at) else {
            return;
        };
        match rest {
            NONE => {
                head.remove();
            }
            rest => head.get_mut().1 = rest,
        }
    }

    /// Gives memory back that so many keys do not need.
    pub fn shrink(&mut self, chunks: usize) {
        if self.heads.capacity() > 4 * self.heads.len() + 1024 {
            self.heads.shrink_to(2 * self.heads.len(), |(tag, _)| spread(*tag));
        }
        let rows = chunks * super::places::CHUNK;
        if let Some(links) = &mut self.links
            && links.capacity() > 4 * rows.max(1024)
        {
            links.truncate(rows);
            links.shrink_to_fit();
        }
    }
}

/// Whether several rows may have one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uniqueness {
    /// No.
    Unique,
    /// Yes.
    Shared,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_key_are_a_ring_in_the_order_they_came() {
        let mut index = Index::new(vec![0], Uniqueness::Shared);
        // The key is the position modulo 3, and all hashes collide.
        let tag = 7;
        for at in 0..12 {
            index.add(tag, at, |other| other % 3 == at % 3);
        }
        let ring = |index: &Index, key: u32| -> Vec<u32> {
            let head = index.head(tag, |at| at % 3 == key);
            head.map_or_else(Vec::new, |head| index.ring(head).collect())
        };
        assert_eq!(ring(&index, 1), [1, 4, 7, 10]);
        index.remove(tag, 1);
        index.remove(tag, 7);
        index.remove(tag, 7);
        assert_eq!(ring(&index, 1), [4, 10]);
        index.remove(tag, 10);
        index.remove(tag, 4);
        assert_eq!(ring(&index, 1), [0u32; 0]);
        assert_eq!(ring(&index, 2), [2, 5, 8, 11]);
        index.add(tag, 1, |other| other % 3 == 1);
        assert_eq!(ring(&index, 1), [1]);
    }
}
