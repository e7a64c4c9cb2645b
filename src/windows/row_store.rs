//! Events that a window holds and that leave in any order: each has a number.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};

use super::changes::{Changes, Source};
use super::gather::{SMALL, interleave, is_joined, without_slack};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::state::{StateReader, StateWriter};

/// The number of an event in a [`RowStore`]. Given again once the event has left.
pub type RowId = u32;

/// What stands for a row that there is not.
pub const NO_ROW: RowId = RowId::MAX;

/// So many rows that have left are no reason to copy the others.
const SLACK: usize = 1_024;

/// Chunks of fewer rows are written when the snapshot is taken: a part of its own costs more.
const SHARED: usize = 1_024;

/// About so many rows are put together at once.
const COMPACTED: usize = 65_536;

/// Events by number. Batches are shared, not copied, as long as most of their rows are there; what is left of the others is
/// put together, so that the store stays near the size of its events.
///
/// *Cost.* O(1) an event in and out, amortised; small batches are copied O(log) times.
#[derive(Default)]
pub struct RowStore {
    chunks: Vec<Option<Chunk>>,
    free_chunks: Vec<u32>,
    /// Small chunks, the latest last.
    small: Vec<u32>,
    places: Vec<Place>,
    free_ids: Vec<RowId>,
    /// Chunks that rows were picked from since [`RowStore::settle`].
    touched: Vec<u32>,
    rows: usize,
    live: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    row: u32,
}

const NOWHERE: u32 = u32::MAX;

struct Chunk {
    events: EventBatch,
    /// The number of each row; [`NOWHERE`] for those that have left. Shared with snapshots whose bytes have not been made yet.
    ids: Arc<Vec<RowId>>,
    live: usize,
    source: Option<Source>,
}

impl RowStore {
    /// The number of events.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Adds events; the number of each.
    pub fn push(&mut self, events: EventBatch) -> Result<Vec<RowId>> {
        self.push_where(events, |_| true)
    }

    /// Adds those of the events that are `kept`; the number of each, [`NO_ROW`] for the others.
    pub fn push_where(&mut self, events: EventBatch, kept: impl Fn(usize) -> bool) -> Result<Vec<RowId>> {
        let rows = events.num_rows();
        let mut ids = Vec::with_capacity(rows);
        let mut added = 0;
        for row in 0..rows {
            ids.push(match kept(row) {
                true => {
                    added += 1;
                    self.free_id()?
                }
                false => NO_ROW,
            });
        }
        if added > 0 {
            self.rows += rows;
            self.live += added;
            self.add_chunk(events, ids.clone(), added);
        }
        Ok(ids)
    }

    /// Where an event is: its chunk, and which of its rows. Holds until [`RowStore::settle`], also when the event leaves.
    pub fn locate(&self, id: RowId) -> Option<(usize, usize)> {
        let (chunk, row) = self.place(id)?;
        Some((chunk as usize, row as usize))
    }

    /// The number of chunks, also of those that are gone.
    pub fn num_chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The events of a chunk; `None` if it is gone.
    pub fn chunk(&self, index: usize) -> Option<&EventBatch> {
        let chunk = self.chunks.get(index)?.as_ref()?;
        Some(&chunk.events)
    }

    /// Puts a change of an event into a changelog; the event stays.
    pub fn pick(&mut self, id: RowId, changes: &mut Changes, op: Op, time: Micros) {
        let Some((index, row)) = self.place(id) else {
            return;
        };
        let Some(chunk) = self.chunks[index as usize].as_mut() else {
            return;
        };
        let source = *chunk.source.get_or_insert_with(|| {
            self.touched.push(index);
            changes.source(&chunk.events)
        });
        changes.push(source, row as usize, op, time);
    }

    /// Lets an event leave, as a deletion at `time`.
    pub fn expire(&mut self, id: RowId, changes: &mut Changes, time: Micros) {
        self.pick(id, changes, Op::Delete, time);
        self.remove(id);
    }

    /// Forgets an event.
    pub fn remove(&mut self, id: RowId) {
        let Some((index, row)) = self.place(id) else {
            return;
        };
        if let Some(chunk) = self.chunks[index as usize].as_mut() {
            Arc::make_mut(&mut chunk.ids)[row as usize] = NOWHERE;
            chunk.live -= 1;
            self.live -= 1;
            if chunk.live == 0 {
                self.touched.push(index);
            }
            self.places[id as usize].chunk = NOWHERE;
            self.free_ids.push(id);
        }
    }

    /// Events by their numbers, in that order; `None` for none.
    pub fn get(&self, ids: &[RowId]) -> Result<Option<EventBatch>> {
        let mut copy = Changes::default();
        let sources: Vec<Option<Source>> = self
            .chunks
            .iter()
            .map(|chunk| chunk.as_ref().map(|chunk| copy.source(&chunk.events)))
            .collect();
        for (chunk, row) in ids.iter().filter_map(|id| self.place(*id)) {
            if let Some(source) = sources[chunk as usize] {
                copy.push(source, row as usize, Op::Insert, 0);
            }
        }
        copy.finish()
    }

    /// The event time of an event.
    pub fn time(&self, id: RowId) -> Option<Micros> {
        let (chunk, row) = self.place(id)?;
        let chunk = self.chunks.get(chunk as usize)?.as_ref()?;
        Some(chunk.events.time(row as usize))
    }

    /// Forgets the places taken in a changelog, that another may begin.
    pub fn unpick(&mut self) {
        for &index in &self.touched {
            if let Some(chunk) = self.chunks[index as usize].as_mut() {
                chunk.source = None;
            }
        }
        let chunks = &self.chunks;
        self.touched
            .retain(|&index| chunks[index as usize].as_ref().is_some_and(|chunk| chunk.live == 0));
    }

    /// Call when a changelog is finished: forgets the places taken in it, and puts together what has become small.
    pub fn settle(&mut self) -> Result<()> {
        for index in std::mem::take(&mut self.touched) {
            if let Some(chunk) = self.chunks[index as usize].as_mut() {
                chunk.source = None;
                if chunk.live == 0 {
                    self.drop_chunk(index);
                }
            }
        }
        if self.rows > self.live + self.live / 2 + SLACK {
            return self.compact();
        }
        while let [.., before, last] = self.small.as_slice() {
            let (before, last) = (*before, *last);
            if !is_joined(self.chunk_rows(before), self.chunk_rows(last)) {
                break;
            }
            self.small.truncate(self.small.len() - 2);
            self.merge(vec![before, last])?;
        }
        Ok(())
    }

    /// Writes the events and their numbers. Large chunks are shared until their bytes are made: *cost* O(1) each.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let chunks: Vec<&Chunk> = self.chunks.iter().flatten().filter(|chunk| chunk.live > 0).collect();
        state.value(&(chunks.len(), self.places.len()))?;
        for chunk in chunks {
            let (events, ids) = (chunk.events.clone(), chunk.ids.clone());
            match ids.len() < SHARED {
                true => write_chunk(&events, &ids, state)?,
                false => state.unwritten(move |state| write_chunk(&events, &ids, state))?,
            }
        }
        Ok(())
    }

    /// Reads back what [`RowStore::snapshot`] wrote.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        *self = RowStore::default();
        let (chunks, ids): (usize, usize) = state.value()?;
        let nowhere = Place { chunk: NOWHERE, row: 0 };
        self.places = vec![nowhere; ids];
        for _ in 0..chunks {
            let events = state.events()?;
            let columns = state.columns()?;
            let ids = columns.column(0).as_any().downcast_ref::<UInt32Array>();
            let ids = ids.map(|ids| ids.values().to_vec()).unwrap_or_default();
            let known = ids.iter().all(|id| (*id as usize) < self.places.len());
            if ids.len() != events.num_rows() || !known {
                return Err(Error::failed("the snapshot is damaged: events without numbers"));
            }
            self.rows += ids.len();
            self.live += ids.len();
            let live = ids.len();
            self.add_chunk(events, ids, live);
        }
        let places = (0..).zip(&self.places);
        self.free_ids = places
            .filter_map(|(id, place)| (place.chunk == NOWHERE).then_some(id))
            .collect();
        self.free_ids.reverse();
        Ok(())
    }

    fn free_id(&mut self) -> Result<RowId> {
        if let Some(id) = self.free_ids.pop() {
            return Ok(id);
        }
        let id = RowId::try_from(self.places.len()).map_err(Error::failed)?;
        self.places.push(Place { chunk: NOWHERE, row: 0 });
        Ok(id)
    }

    fn place(&self, id: RowId) -> Option<(u32, u32)> {
        let place = self.places.get(id as usize)?;
        (place.chunk != NOWHERE).then_some((place.chunk, place.row))
    }

    fn chunk_rows(&self, index: u32) -> usize {
        let chunk = self.chunks.get(index as usize).and_then(Option::as_ref);
        chunk.map_or(0, |chunk| chunk.events.num_rows())
    }

    /// Adds a chunk of which `live` rows have numbers.
    fn add_chunk(&mut self, events: EventBatch, ids: Vec<RowId>, live: usize) {
        let index = self.free_chunks.pop().unwrap_or(self.chunks.len() as u32);
        if index as usize == self.chunks.len() {
            self.chunks.push(None);
        }
        for (row, &id) in (0..).zip(&ids).filter(|(_, id)| **id != NO_ROW) {
            self.places[id as usize] = Place { chunk: index, row };
        }
        if ids.len() < SMALL {
            self.small.push(index);
        } else {
            self.small.clear();
        }
        // A chunk whose rows leave within the call that adds it is dropped by settle, too.
        self.touched.push(index);
        self.chunks[index as usize] = Some(Chunk {
            live,
            events,
            ids: Arc::new(ids),
            source: None,
        });
    }

    fn drop_chunk(&mut self, index: u32) {
        if let Some(chunk) = self.chunks[index as usize].take() {
            self.rows -= chunk.ids.len();
            self.free_chunks.push(index);
            self.small.retain(|small| *small != index);
        }
    }

    /// Puts together what is left of the emptiest chunks, until few rows are held that have left. Some at a time, so that at no
    /// moment everything is there twice.
    fn compact(&mut self) -> Result<()> {
        let chunks = (0..).zip(&self.chunks);
        let mut emptiest: Vec<(u32, usize, usize)> = chunks
            .filter_map(|(index, chunk)| chunk.as_ref().map(|chunk| (index, chunk.live, chunk.ids.len())))
            .filter(|(_, live, rows)| live < rows)
            .collect();
        emptiest.sort_by(|(_, live, rows), (_, other, of)| (live * of).cmp(&(other * rows)));
        let enough = self.live + self.live / 4;
        let (mut group, mut rows_left, mut gone) = (Vec::new(), 0, 0);
        for (index, live, rows) in emptiest {
            group.push(index);
            rows_left += live;
            gone += rows - live;
            let done = self.rows - gone <= enough;
            if rows_left >= COMPACTED || done {
                self.merge(std::mem::take(&mut group))?;
                (rows_left, gone) = (0, 0);
            }
            if done {
                break;
            }
        }
        self.merge(group)
    }

    /// Puts what is left of chunks into one.
    fn merge(&mut self, indices: Vec<u32>) -> Result<()> {
        let mut chunks = Vec::new();
        for index in indices {
            if let Some(chunk) = self.chunks[index as usize].take() {
                self.rows -= chunk.ids.len();
                self.free_chunks.push(index);
                self.small.retain(|small| *small != index);
                chunks.push(chunk);
            }
        }
        let mut picks = Vec::new();
        let mut times = Vec::new();
        let mut ids = Vec::new();
        for (number, chunk) in chunks.iter().enumerate() {
            for (row, &id) in chunk.ids.iter().enumerate() {
                if id != NOWHERE {
                    picks.push((number, row));
                    times.push(chunk.events.time(row));
                    ids.push(id);
                }
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let sources: Vec<&RecordBatch> = chunks.iter().map(|chunk| chunk.events.columns()).collect();
        let columns = without_slack(&interleave(&sources, &picks)?)?;
        let live = ids.len();
        self.rows += live;
        self.add_chunk(EventBatch::inserts(columns, Times::Each(times.into())), ids, live);
        // It is settled as it is.
        self.touched.pop();
        Ok(())
    }
}

fn write_chunk(events: &EventBatch, ids: &[RowId], state: &mut StateWriter) -> Result<()> {
    let living = (0..).zip(ids).filter(|(_, id)| **id != NOWHERE);
    let (rows, ids): (Vec<u32>, Vec<RowId>) = living.map(|(row, id)| (row, *id)).unzip();
    state.events(&events.take(rows)?)?;
    let column = Arc::new(UInt32Array::from(ids));
    let schema = Schema::new(vec![Field::new("id", DataType::UInt32, false)]);
    state.columns(&RecordBatch::try_new(schema.into(), vec![column])?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    /// Rows leave in any order: what is held stays near what is there, and is what it was.
    #[test]
    fn what_has_left_does_not_stay() {
        let mut store = RowStore::default();
        let mut held: BTreeMap<RowId, i64> = BTreeMap::new();
        let mut ids: Vec<RowId> = Vec::new();
        let mut state = 7_u64;
        for round in 0..400_i64 {
            let values: Vec<i64> = (round * 512..(round + 1) * 512).collect();
            let column: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            let columns = RecordBatch::try_from_iter([("v", column)]).expect("a column");
            let new = store
                .push(EventBatch::inserts(columns, Times::Same(round)))
                .expect("room");
            held.extend(new.iter().copied().zip(values));
            ids.extend(new);
            while ids.len() > 20_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let gone = ids.swap_remove((state >> 33) as usize % ids.len());
                store.remove(gone);
                held.remove(&gone);
            }
            store.settle().expect("it settles");
            assert!(
                store.rows <= store.live + store.live / 2 + SLACK,
                "{} of {}",
                store.live,
                store.rows
            );
            assert_eq!(store.live, held.len());
        }
        let all: Vec<RowId> = held.keys().copied().collect();
        let events = store.get(&all).expect("they are there").expect("there are some");
        let values = events.column(0).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(values, held.values().copied().collect::<Vec<_>>());
        assert!(store.time(all[0]).is_some_and(|time| time == held[&all[0]] / 512));
    }
}
