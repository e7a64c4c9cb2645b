//! [`MemoryWriter`]: one transaction on a table in memory.
//!
//! The transaction keeps its new rows in a store of its own and, of the table's rows, which are gone or have a new version there.
//! What it reads is the table without the ones and with the others. A commit moves all of it over under the table's lock;
//! until then nobody sees anything of it, and dropping it is all there is to undo.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave;
use hashbrown::HashMap;
use parking_lot::MutexGuard;

use super::index::{Index, Uniqueness};
use super::keys::{Hashed, Keys, in_type, keys_of, same};
use super::places::{Marks, Position};
use super::store::{Counting, Store};

use super::{MemoryTable, Shared};
use crate::error::{Error, Result, RowError};
use crate::event::Micros;
use crate::tables::rows::{RowCheck, project};
use crate::tables::watchers::{Committed, rows_of};
use crate::tables::{Access, Matches, Probe, Refused, RowId, TableWriter};

/// Marks the names of rows that the transaction itself wrote; the rest of such a name is 31 bits of the row's order and its
/// position, so that the name of a deleted one never becomes another's.
const OWN: u64 = 1 << 63;

/// One transaction.
pub(super) struct MemoryWriter<'a> {
    table: &'a MemoryTable,
    _turn: MutexGuard<'a, ()>,
    /// The rows it wrote, as they are now.
    own: Store,
    /// Of its rows: which row of the table each is a new version of.
    replaces: HashMap<Position, Position>,
    /// Of the table's rows: those that are gone, and their new version if they have one.
    gone: HashMap<Position, Option<Position>>,
    /// By how much the table has grown, in bytes.
    growth: i64,
    now: Micros,
}

/// A row as the transaction sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    Base(Position),
    Own(Position),
}

/// Rows about to be written, in the table's types.
struct Incoming<'a> {
    check: RowCheck<'a>,
    values: Vec<ArrayRef>,
    /// The primary key.
    keys: Vec<Keys>,
    hashed: Option<Hashed>,
    /// The bytes of each, if the table is bounded by them.
    bytes: Option<Vec<usize>>,
}

impl<'a> MemoryWriter<'a> {
    /// Begins when it is its turn.
    pub fn new(table: &'a MemoryTable, turn: MutexGuard<'a, ()>) -> Self {
        let hasher = table.shared.read().store.hasher.clone();
        MemoryWriter {
            table,
            _turn: turn,
            own: Store::new(&table.def, Marks::default(), hasher, Counting::No),
            replaces: HashMap::new(),
            gone: HashMap::new(),
            growth: 0,
            now: table.clock.now(),
        }
    }

    fn incoming<'r>(&self, rows: &'r RecordBatch) -> Result<Incoming<'r>>
    where
        'a: 'r,
    {
        let check = RowCheck::new(&self.table.def, rows, self.now)?;
        let fields = self.own.schema.fields();
        let typed = rows.columns().iter().zip(fields);
        let values: Vec<ArrayRef> = typed
            .map(|(values, field)| in_type(values, field.data_type()))
            .collect::<Result<_>>()?;
        let key: Vec<ArrayRef> = self.key_of(&values);
        let keys = keys_of(&key)?;
        let hashed = (!keys.is_empty()).then(|| Hashed::of(&keys, rows.num_rows(), &self.own.hasher));
        let is_bounded = self.table.limits.max_bytes.is_some();
        let bytes = is_bounded.then(|| {
            let width = self.own.row_width();
            let extra = self.own.extra_of(&values, rows.num_rows());
            extra.into_iter().map(|extra| width + extra).collect()
        });
        Ok(Incoming {
            check,
            values,
            keys,
            hashed,
            bytes,
        })
    }

    fn key_of(&self, values: &[ArrayRef]) -> Vec<ArrayRef> {
        let key = self.table.def.primary_key.iter();
        key.map(|column| values[*column].clone()).collect()
    }

    /// Why a row may not be in the table whatever else is in it.
    fn fault(&self, incoming: &Incoming<'_>, row: usize) -> Option<RowError> {
        incoming.check.fault(row).or_else(|| {
            let size = incoming.bytes.as_ref()?[row];
            let max = self.table.limits.max_bytes.filter(|max| size > *max)?;
            let message = format!("the row takes {size} bytes and max_memory is {max}");
            Some(incoming.check.error(row, message))
        })
    }

    /// Counts the bytes that a row brings, in the place of `old` bytes; an error when the table is full and refuses rows.
    fn grow(
        &mut self,
        incoming: &Incoming<'_>,
        row: usize,
        old: impl FnOnce(&Self, &[usize]) -> usize,
    ) -> Option<RowError> {
        let limits = &self.table.limits;
        let (bytes, max) = (incoming.bytes.as_ref()?, limits.max_bytes.filter(|_| limits.refuses)?);
        let growth = bytes[row] as i64 - old(self, bytes) as i64;
        let held = self.table.shared.read().store.bytes() as i64 + self.growth;
        if growth > 0 && held + growth > max as i64 {
            let message = format!("it is full: max_memory is {max} bytes");
            return Some(incoming.check.error(row, message));
        }
        self.growth += growth;
        None
    }

    /// The bytes of a row as it is.
    fn bytes_of(&self, row: Row) -> usize {
        match row {
            Row::Base(at) => self.table.shared.read().store.row_bytes(at),
            Row::Own(at) => self.own.row_bytes(at),
        }
    }

    /// For each row of a key: the row of the table, or of the transaction, that has it. Rows that are too old give way.
    fn holders(&mut self, key: &[ArrayRef], rows: usize) -> Result<Vec<Option<Row>>> {
        let access = Access {
            equal: self.table.def.primary_key.clone(),
            range: None,
        };
        let probe = Probe {
            rows,
            equal: key.to_vec(),
            low: None,
            high: None,
        };
        let mut holders = vec![None; rows];
        let shared = self.table.shared.read();
        let found = shared.store.find(&access, &probe)?;
        for (&row, &at) in found.probes.iter().zip(&found.at) {
            if self.gone.contains_key(&at) {
                continue;
            }
            match shared.retention.is_aged(&shared.store.places, at, self.now) {
                true => {
                    self.gone.insert(at, None);
                }
                false => holders[row as usize] = Some(Row::Base(at)),
            }
        }
        if self.own.places.len() > 0 {
            let found = self.own.find(&access, &probe)?;
            for (&row, &at) in found.probes.iter().zip(&found.at) {
                holders[row as usize] = Some(Row::Own(at));
            }
        }
        Ok(holders)
    }

    /// The row that a name names, if it is still there.
    fn resolve(&self, id: RowId) -> Option<Row> {
        if id.0 & OWN != 0 {
            let at = id.0 as Position;
            let is_it = self.own.places.is_live(at) && own_name(&self.own, at) == id;
            return is_it.then_some(Row::Own(at));
        }
        let at = id.0 as Position;
        match self.gone.get(&at) {
            Some(version) => version.map(Row::Own),
            None => self
                .table
                .shared
                .read()
                .store
                .places
                .is_live(at)
                .then_some(Row::Base(at)),
        }
    }

    /// Removes rows.
    fn remove(&mut self, rows: impl Iterator<Item = Row>) -> Result<()> {
        let mut own = Vec::new();
        for row in rows {
            match row {
                Row::Base(at) => {
                    self.gone.insert(at, None);
                }
                Row::Own(at) => {
                    if let Some(base) = self.replaces.remove(&at) {
                        self.gone.insert(base, None);
                    }
                    own.push(at);
                }
            }
        }
        self.own.remove(&own)
    }

    /// Adds rows, some of them new versions of the table's.
    fn add(&mut self, incoming: &Incoming<'_>, rows: &[u32], replaces: &[Option<Position>]) -> Result<()> {
        let at = self.own.add(&incoming.values, rows)?;
        for (at, base) in at.into_iter().zip(replaces) {
            if let Some(base) = base {
                self.replaces.insert(at, *base);
                self.gone.insert(*base, Some(at));
            }
        }
        Ok(())
    }

    /// Where a row stands among all the table's.
    fn order(&self, shared: &Shared, row: Row) -> u64 {
        let base = &shared.store.places;
        match row {
            Row::Base(at) => base.order(at),
            Row::Own(at) => match self.replaces.get(&at) {
                Some(base_at) => base.order(*base_at),
                None => base.next_order() + self.own.places.order(at),
            },
        }
    }
}

fn own_name(own: &Store, at: Position) -> RowId {
    RowId(OWN | (own.places.order(at) & 0x7fff_ffff) << 32 | u64::from(at))
}

impl TableWriter for MemoryWriter<'_> {
    fn lookup(&mut self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        self.table.prepare(access)?;
        let shared = self.table.shared.read();
        let (base, retention) = (&shared.store, &shared.retention);
        let mut theirs = base.find(access, probe)?;
        theirs.retain(|at| !self.gone.contains_key(&at) && !retention.is_aged(&base.places, at, self.now));
        retention.touch(&base.places, &theirs.at);
        if self.own.places.len() == 0 {
            return Ok(Matches {
                rows: base.read(&theirs.at, columns)?,
                ids: theirs.at.iter().map(|at| RowId(u64::from(*at))).collect(),
                probes: theirs.probes,
            });
        }
        let mine = self.own.find(access, probe)?;
        // Probe, order, from where, which of them.
        let mut merged = Vec::with_capacity(theirs.at.len() + mine.at.len());
        for (from, found) in [&theirs, &mine].into_iter().enumerate() {
            for (i, (&probe, &at)) in found.probes.iter().zip(&found.at).enumerate() {
                let row = if from == 0 { Row::Base(at) } else { Row::Own(at) };
                merged.push((probe, self.order(&shared, row), from, i));
            }
        }
        merged.sort_unstable();
        let base_values = base.read(&theirs.at, columns)?;
        let own_values = self.own.read(&mine.at, columns)?;
        let places: Vec<(usize, usize)> = merged.iter().map(|(_, _, from, i)| (*from, *i)).collect();
        let both = base_values.columns().iter().zip(own_values.columns());
        let values = both.map(|(base, own)| Ok(interleave(&[base.as_ref(), own.as_ref()], &places)?));
        let name = |&(_, _, from, i): &(u32, u64, usize, usize)| match from {
            0 => RowId(u64::from(theirs.at[i])),
            _ => own_name(&self.own, mine.at[i]),
        };
        Ok(Matches {
            rows: project(&base.schema, columns, values.collect::<Result<_>>()?, merged.len())?,
            ids: merged.iter().map(name).collect(),
            probes: merged.iter().map(|(probe, ..)| *probe).collect(),
        })
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        let incoming = self.incoming(rows)?;
        let mut taken = vec![None; rows.num_rows()];
        if incoming.hashed.is_some() {
            taken = self.holders(&self.key_of(&incoming.values), rows.num_rows())?;
        }
        let mut refused = Refused::new();
        let mut good = Vec::with_capacity(rows.num_rows());
        let mut seen = Index::new(Vec::new(), Uniqueness::Unique);
        seen.reserve(rows.num_rows());
        for (row, taken) in taken.iter().enumerate() {
            let mut fault = self.fault(&incoming, row);
            if fault.is_none()
                && let Some(hashed) = &incoming.hashed
            {
                let tag = hashed.tags[row];
                let is_taken = taken.is_some()
                    || seen
                        .head(tag, |other| same(&incoming.keys, other as usize, row))
                        .is_some();
                fault = is_taken.then(|| incoming.check.taken(row));
            }
            match fault.or_else(|| self.grow(&incoming, row, |_, _| 0)) {
                Some(error) => refused.push((row, error)),
                None => {
                    good.push(row as u32);
                    if let Some(hashed) = &incoming.hashed {
                        seen.add(hashed.tags[row], row as Position, |_| false);
                    }
                }
            }
        }
        self.add(&incoming, &good, &vec![None; good.len()])?;
        Ok(refused)
    }

    fn upsert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        let incoming = self.incoming(rows)?;
        let Some(hashed) = &incoming.hashed else {
            let name = &self.table.def.name;
            return Err(Error::failed(format!(
                "the table '{name}' has no primary key to upsert by"
            )));
        };
        let holders = self.holders(&self.key_of(&incoming.values), rows.num_rows())?;
        let mut refused = Refused::new();
        // Of each key: its first row, which says where it goes, and its last, which says what it is.
        let mut first = Index::new(Vec::new(), Uniqueness::Unique);
        first.reserve(rows.num_rows());
        let mut last: Vec<u32> = (0..rows.num_rows() as u32).collect();
        let mut order = Vec::with_capacity(rows.num_rows());
        for (row, holder) in holders.iter().enumerate() {
            let tag = hashed.tags[row];
            let fault = self.fault(&incoming, row);
            let earlier = match fault {
                Some(_) => None,
                None => first.head(tag, |other| same(&incoming.keys, other as usize, row)),
            };
            // What is there already, in this batch or in the table, gives its bytes back.
            let old = |writer: &Self, bytes: &[usize]| match (earlier, holder) {
                (Some(first), _) => bytes[last[first as usize] as usize],
                (None, Some(holder)) => writer.bytes_of(*holder),
                (None, None) => 0,
            };
            match (fault.or_else(|| self.grow(&incoming, row, old)), earlier) {
                (Some(error), _) => refused.push((row, error)),
                (None, Some(earlier)) => last[earlier as usize] = row as u32,
                (None, None) => {
                    first.add(tag, row as Position, |_| false);
                    order.push(row);
                }
            }
        }
        let (mut added, mut bases) = (Vec::new(), Vec::new());
        let (mut changed, mut places) = (Vec::new(), Vec::new());
        for row in order {
            match holders[row] {
                Some(Row::Own(at)) => {
                    places.push(at);
                    changed.push(last[row]);
                }
                Some(Row::Base(at)) => {
                    bases.push(Some(at));
                    added.push(last[row]);
                }
                None => {
                    bases.push(None);
                    added.push(last[row]);
                }
            }
        }
        self.own.replace(&places, &incoming.values, &changed)?;
        self.add(&incoming, &added, &bases)?;
        Ok(refused)
    }

    fn update(&mut self, ids: &[RowId], rows: &RecordBatch) -> Result<Option<RowError>> {
        let incoming = self.incoming(rows)?;
        if ids.len() != rows.num_rows() {
            return Err(Error::failed("an update names another number of rows than it gives"));
        }
        let targets: Vec<Option<Row>> = ids.iter().map(|id| self.resolve(*id)).collect();
        let mut updated = HashMap::with_capacity(ids.len());
        for (row, target) in targets.iter().enumerate() {
            if let Some(fault) = target.and_then(|_| self.fault(&incoming, row)) {
                return Ok(Some(fault));
            }
            if let Some(target) = target
                && updated.insert(*target, row).is_some()
            {
                return Err(Error::failed("an update names a row twice"));
            }
        }
        if let Some(hashed) = &incoming.hashed {
            let holders = self.holders(&self.key_of(&incoming.values), rows.num_rows())?;
            let mut seen = Index::new(Vec::new(), Uniqueness::Unique);
            for row in (0..rows.num_rows()).filter(|row| targets[*row].is_some()) {
                let tag = hashed.tags[row];
                let is_held = holders[row].is_some_and(|holder| !updated.contains_key(&holder));
                if is_held
                    || seen
                        .head(tag, |other| same(&incoming.keys, other as usize, row))
                        .is_some()
                {
                    return Ok(Some(incoming.check.taken(row)));
                }
                seen.add(tag, row as Position, |_| false);
            }
        }
        let growth = self.growth;
        for (row, target) in targets.iter().enumerate() {
            let Some(target) = *target else { continue };
            if let Some(error) = self.grow(&incoming, row, |writer, _| writer.bytes_of(target)) {
                self.growth = growth;
                return Ok(Some(error));
            }
        }
        let (mut added, mut bases) = (Vec::new(), Vec::new());
        let (mut changed, mut places) = (Vec::new(), Vec::new());
        for (row, target) in targets.iter().enumerate() {
            match target {
                Some(Row::Base(at)) => {
                    bases.push(Some(*at));
                    added.push(row as u32);
                }
                Some(Row::Own(at)) => {
                    places.push(*at);
                    changed.push(row as u32);
                }
                None => {}
            }
        }
        self.own.replace(&places, &incoming.values, &changed)?;
        self.add(&incoming, &added, &bases)?;
        Ok(None)
    }

    fn delete(&mut self, ids: &[RowId]) -> Result<()> {
        let rows: Vec<Row> = ids.iter().filter_map(|id| self.resolve(*id)).collect();
        self.remove(rows.into_iter())
    }

    fn delete_keys(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        let holders = self.holders(keys, rows)?;
        self.remove(holders.into_iter().flatten())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let deleted = self.gone.iter().filter(|(_, version)| version.is_none());
        let deleted: Vec<Position> = deleted.map(|(at, _)| *at).collect();
        let mut own = self.own.places.all();
        own.sort_unstable_by_key(|at| self.own.places.order(*at));
        if deleted.is_empty() && own.is_empty() {
            return Ok(());
        }
        let (versions, fresh): (Vec<Position>, Vec<Position>) =
            own.into_iter().partition(|at| self.replaces.contains_key(at));
        let replaced: Vec<Position> = versions.iter().map(|at| self.replaces[at]).collect();
        let (new_versions, new_rows) = (self.own.read_all(&versions)?, self.own.read_all(&fresh)?);
        let numbers = |rows: usize| -> Vec<u32> { (0..rows as u32).collect() };
        let mut guard = self.table.shared.write();
        let Shared { store, retention } = &mut *guard;
        let all: Vec<usize> = (0..store.schema.fields().len()).collect();
        let mut told = match self.table.watchers.is_empty() {
            true => None,
            false => Some(Committed {
                deleted: store.read(&deleted, &all)?,
                replaced: store.read(&replaced, &all)?,
                versions: rows_of(&store.schema, new_versions.clone())?,
                fresh: rows_of(&store.schema, new_rows.clone())?,
                evicted: Vec::new(),
            }),
        };
        if told.is_some() {
            retention.keep_evicted();
        }
        store.remove(&deleted)?;
        store.replace(&replaced, &new_versions, &numbers(replaced.len()))?;
        let added = store.add(&new_rows, &numbers(fresh.len()))?;
        retention.written(store, &replaced, &added)?;
        if let Some(told) = &mut told {
            told.evicted = retention.take_evicted();
        }
        guard.tidy(deleted.len())?;
        drop(guard);
        // It is still this writer's turn.
        if let Some(batch) = told
            .map(|told| told.changelog(&self.table.def.primary_key, self.now))
            .transpose()?
            .flatten()
        {
            self.table.watchers.tell(&batch);
        }
        Ok(())
    }
}
