//! Lookups: which rows each probe finds.
//!
//! A batch of probes is worked off in steps, each a loop over all of them: hash, look into the index, compare the values, keep.
//! So the processor waits for many rows' memory at once.

use super::index::{Index, Uniqueness};
use super::keys::{Hashed, Keys, comparable, in_type, keys_of, same};
use super::ordered::{Limit, Ordered};
use super::places::Position;
use super::store::Store;
use crate::error::{Error, Result};
use crate::tables::{Access, Bound, Probe, RangeAccess};

/// Up to so many lookups of a range that no index serves each look at all rows; more of them sort the rows first.
const LINEAR: usize = 8;

/// Rows found, grouped by probe, in the order rows were inserted.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub probes: Vec<u32>,
    pub at: Vec<Position>,
}

impl Found {
    fn push(&mut self, probe: u32, at: Position) {
        self.probes.push(probe);
        self.at.push(at);
    }

    /// Keeps the rows whose bit is set.
    fn keep(&mut self, keep: &[bool]) {
        let mut bits = keep.iter();
        self.probes.retain(|_| bits.next().is_some_and(|bit| *bit));
        let mut bits = keep.iter();
        self.at.retain(|_| bits.next().is_some_and(|bit| *bit));
    }

    /// Keeps the rows for which a condition holds.
    pub fn retain(&mut self, holds: impl Fn(Position) -> bool) {
        let keep: Vec<bool> = self.at.iter().map(|at| holds(*at)).collect();
        if !keep.iter().all(|keep| *keep) {
            self.keep(&keep);
        }
    }
}

/// The probes with the table's types.
struct Wanted<'a> {
    access: &'a Access,
    rows: usize,
    equal: Vec<arrow::array::ArrayRef>,
    low: Option<Keys>,
    high: Option<Keys>,
}

impl Store {
    /// The column whose order a lookup needs and is not made yet.
    pub fn unordered(&self, access: &Access) -> Option<usize> {
        let column = access.range.as_ref()?.column;
        let served = self.best(&access.equal).is_some() || self.order(column).is_some();
        let indexed = self.indexes.iter().any(|index| index.columns == [column]);
        (!served && indexed).then_some(column)
    }

    /// The rows that the probes find.
    pub fn find(&self, access: &Access, probe: &Probe) -> Result<Found> {
        let wanted = self.wanted(access, probe)?;
        if let Some(index) = self.best(&access.equal) {
            return self.by_index(index, &wanted);
        }
        let ordered = access.range.as_ref().and_then(|range| self.order(range.column));
        if let Some(ordered) = ordered {
            return self.by_order(ordered, &wanted);
        }
        self.by_scan(&wanted)
    }

    fn wanted<'a>(&self, access: &'a Access, probe: &Probe) -> Result<Wanted<'a>> {
        let typed = |column: usize, values: &arrow::array::ArrayRef| match self.schema.fields().get(column) {
            Some(field) if values.len() >= probe.rows => in_type(values, field.data_type()),
            _ => Err(Error::failed("a lookup does not fit its table")),
        };
        if access.equal.len() != probe.equal.len() {
            return Err(Error::failed("a lookup does not fit its table"));
        }
        let equal = access.equal.iter().zip(&probe.equal);
        let bound = |bound: Option<Bound>, values: &Option<arrow::array::ArrayRef>| match (&access.range, bound, values)
        {
            (Some(range), Some(_), Some(values)) => Keys::of(&typed(range.column, values)?).map(Some),
            (_, None, _) => Ok(None),
            _ => Err(Error::failed("a lookup of a range has no bound")),
        };
        let range = access.range.as_ref();
        Ok(Wanted {
            access,
            rows: probe.rows,
            equal: equal
                .map(|(column, values)| typed(*column, values))
                .collect::<Result<_>>()?,
            low: bound(range.and_then(|range| range.low), &probe.low)?,
            high: bound(range.and_then(|range| range.high), &probe.high)?,
        })
    }

    /// The index that finds the fewest rows: a unique one, else the one of the most columns.
    fn best(&self, equal: &[usize]) -> Option<&Index> {
        let fit = self
            .indexes
            .iter()
            .filter(|index| index.columns.iter().all(|column| equal.contains(column)));
        fit.max_by_key(|index| (index.is_unique(), index.columns.len()))
    }

    fn order(&self, column: usize) -> Option<&Ordered> {
        let found = self.ordered.iter().find(|(of, _)| *of == column);
        found.map(|(_, ordered)| ordered)
    }

    fn by_index(&self, index: &Index, wanted: &Wanted<'_>) -> Result<Found> {
        let place = |column: &usize| wanted.access.equal.iter().position(|of| of == column);
        let keys = index.columns.iter().filter_map(place);
        let keys: Vec<_> = keys.map(|i| wanted.equal[i].clone()).collect();
        let hashed = Hashed::of(&keys_of(&keys)?, wanted.rows, &self.hasher);
        let mut heads = Found {
            probes: Vec::with_capacity(wanted.rows),
            at: Vec::with_capacity(wanted.rows),
        };
        for (row, &tag) in hashed.tags.iter().enumerate() {
            if let Some(at) = index.head(tag, |_| true).filter(|_| !hashed.is_null(row)) {
                heads.push(row as u32, at);
            }
        }
        let mut equal = vec![true; heads.at.len()];
        for (&column, values) in index.columns.iter().zip(&keys) {
            self.columns[column].equal(&heads.at, values, &heads.probes, &mut equal)?;
        }
        // Another key of the same hash came first: rare, so one by one.
        for i in (0..equal.len()).filter(|i| !equal[*i]).collect::<Vec<_>>() {
            let probe = heads.probes[i];
            let same = |at: Position| {
                let mut columns = index.columns.iter().zip(&keys);
                columns.all(|(column, values)| {
                    let mut equal = [true];
                    let compared = self.columns[*column].equal(&[at], values, &[probe], &mut equal);
                    compared.is_ok() && equal[0]
                })
            };
            if let Some(at) = index.head(hashed.tags[probe as usize], same) {
                (heads.at[i], equal[i]) = (at, true);
            }
        }
        if !equal.iter().all(|equal| *equal) {
            heads.keep(&equal);
        }
        let found = match index.is_unique() {
            true => heads,
            false => {
                let mut found = Found::default();
                for (&probe, &head) in heads.probes.iter().zip(&heads.at) {
                    index.ring(head).for_each(|at| found.push(probe, at));
                }
                self.in_order(found)
            }
        };
        self.filtered(found, &index.columns, wanted)
    }

    fn by_order(&self, ordered: &Ordered, wanted: &Wanted<'_>) -> Result<Found> {
        let mut found = Found::default();
        for row in 0..wanted.rows {
            if let Some((low, high)) = limits(wanted, row) {
                ordered.find(low, high, &mut found.at);
                found.probes.resize(found.at.len(), row as u32);
            }
        }
        let mut found = self.in_order(found);
        self.keep_equal(&mut found, &[], wanted)?;
        Ok(found)
    }

    /// A pass over all rows.
    fn by_scan(&self, wanted: &Wanted<'_>) -> Result<Found> {
        let is_comparable = |column: &usize| comparable(self.schema.field(*column).data_type());
        let equal = &wanted.access.equal;
        let hashed: Vec<usize> = equal.iter().copied().filter(|column| is_comparable(column)).collect();
        let found = if !hashed.is_empty() {
            self.scan_equal(&hashed, wanted)?
        } else if wanted.access.range.is_some() && wanted.rows > LINEAR {
            return self.scan_sorted(wanted);
        } else {
            let all = self.places.all();
            let mut found = Found::default();
            for row in 0..wanted.rows {
                found.at.extend_from_slice(&all);
                found.probes.resize(found.at.len(), row as u32);
            }
            found
        };
        let found = self.filtered(found, &hashed, wanted)?;
        Ok(self.in_order(found))
    }

    /// Every row looks for the probes that equal it.
    fn scan_equal(&self, columns: &[usize], wanted: &Wanted<'_>) -> Result<Found> {
        let place = |column: &usize| wanted.access.equal.iter().position(|of| of == column);
        let probes: Vec<_> = columns
            .iter()
            .filter_map(place)
            .map(|i| wanted.equal[i].clone())
            .collect();
        let probes = keys_of(&probes)?;
        let hashed = Hashed::of(&probes, wanted.rows, &self.hasher);
        let mut index = Index::new(Vec::new(), Uniqueness::Shared);
        for row in (0..wanted.rows).filter(|row| !hashed.is_null(*row)) {
            let equal = |other: Position| same(&probes, other as usize, row);
            index.add(hashed.tags[row], row as Position, equal);
        }
        let mut found: Vec<(u32, Position)> = Vec::new();
        for chunk in 0..self.places.chunks() {
            let at = self.places.positions(chunk);
            if at.is_empty() {
                continue;
            }
            let values: Vec<_> = columns
                .iter()
                .map(|column| self.columns[*column].read(&at))
                .collect::<Result<_>>()?;
            let keys = keys_of(&values)?;
            let hashed = Hashed::of(&keys, at.len(), &self.hasher);
            for (row, &at) in at.iter().enumerate().filter(|(row, _)| !hashed.is_null(*row)) {
                let equal = |probe: Position| {
                    let mut parts = keys.iter().zip(&probes);
                    parts.all(|(mine, theirs)| mine.compare(row, theirs, probe as usize).is_eq())
                };
                if let Some(head) = index.head(hashed.tags[row], equal) {
                    found.extend(index.ring(head).map(|probe| (probe, at)));
                }
            }
        }
        found.sort_unstable();
        let (probes, at) = found.into_iter().unzip();
        Ok(Found { probes, at })
    }

    /// Many ranges over a column without an index: its order is made for this batch.
    fn scan_sorted(&self, wanted: &Wanted<'_>) -> Result<Found> {
        let Some(range) = &wanted.access.range else {
            return Ok(Found::default());
        };
        let at = self.places.all();
        let keys = Keys::of(&self.columns[range.column].read(&at)?)?;
        self.by_order(&Ordered::new(&keys, &at), wanted)
    }

    /// Keeps what satisfies the parts of the access that finding the rows did not look at.
    fn filtered(&self, mut found: Found, looked_at: &[usize], wanted: &Wanted<'_>) -> Result<Found> {
        self.keep_equal(&mut found, looked_at, wanted)?;
        if let Some(range) = &wanted.access.range {
            self.keep_range(&mut found, range, wanted)?;
        }
        Ok(found)
    }

    fn keep_equal(&self, found: &mut Found, looked_at: &[usize], wanted: &Wanted<'_>) -> Result<()> {
        let mut keep = Vec::new();
        for (column, values) in wanted.access.equal.iter().zip(&wanted.equal) {
            if !looked_at.contains(column) {
                keep.resize(found.at.len(), true);
                self.columns[*column].equal(&found.at, values, &found.probes, &mut keep)?;
            }
        }
        if !keep.is_empty() {
            found.keep(&keep);
        }
        Ok(())
    }

    fn keep_range(&self, found: &mut Found, range: &RangeAccess, wanted: &Wanted<'_>) -> Result<()> {
        let keys = Keys::of(&self.columns[range.column].read(&found.at)?)?;
        let holds = |(row, probe): (usize, &u32)| {
            limits(wanted, *probe as usize).is_some_and(|(low, high)| {
                let above = low.is_none_or(|(bounds, probe, bound)| {
                    let order = keys.compare(row, bounds, probe);
                    order.is_gt() || bound == Bound::Inclusive && order.is_eq()
                });
                let below = high.is_none_or(|(bounds, probe, bound)| {
                    let order = keys.compare(row, bounds, probe);
                    order.is_lt() || bound == Bound::Inclusive && order.is_eq()
                });
                above && below && !keys.is_null(row)
            })
        };
        let keep: Vec<bool> = found.probes.iter().enumerate().map(holds).collect();
        found.keep(&keep);
        Ok(())
    }

    /// The rows of each probe in the order they were inserted.
    fn in_order(&self, mut found: Found) -> Found {
        let mut start = 0;
        while start < found.at.len() {
            let probe = found.probes[start];
            let length = found.probes[start..].iter().take_while(|of| **of == probe).count();
            let group = &mut found.at[start..start + length];
            if length > 1 && !group.is_sorted_by_key(|at| self.places.order(*at)) {
                group.sort_unstable_by_key(|at| self.places.order(*at));
            }
            start += length;
        }
        found
    }
}

/// A probe's bounds; `None` when one of them is NULL.
fn limits<'a>(wanted: &'a Wanted<'_>, row: usize) -> Option<(Limit<'a>, Limit<'a>)> {
    let range = wanted.access.range.as_ref()?;
    let limit = |keys: &'a Option<Keys>, bound: Option<Bound>| match (keys, bound) {
        (Some(keys), Some(_)) if keys.is_null(row) => None,
        (Some(keys), Some(bound)) => Some(Some((keys, row, bound))),
        _ => Some(None),
    };
    Some((limit(&wanted.low, range.low)?, limit(&wanted.high, range.high)?))
}
