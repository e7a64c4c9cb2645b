//! A batch of changes of a relation, and what a filter lets be seen of it.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, BooleanArray, RecordBatch, make_comparator};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, SortField};

use super::Relation;
use super::change::{Change, Columns, Kind, Rows};
use crate::error::Result;
use crate::event::{EventBatch, Op};
use crate::plan::row_filter::RowFilter;

/// What happened to one row: where it was and where it is, in the batch.
struct Raw {
    seq: u64,
    old: Option<usize>,
    new: Option<usize>,
    key: Arc<[u8]>,
    changed: Columns,
}

/// A batch of changes, numbered.
pub(super) struct Commit {
    rows: Arc<Rows>,
    raw: Vec<Raw>,
    at: Instant,
}

impl Commit {
    /// Numbers the changes of a batch from `seq` on, which is left behind the last.
    pub fn new(relation: &Relation, batch: &EventBatch, seq: &mut u64, at: Instant) -> Result<Self> {
        let width = batch.columns().num_columns();
        let keys = keys(relation, batch)?;
        let same = comparators(batch)?;
        let key_of = |row: usize| keys.get(row).cloned().unwrap_or_else(|| Arc::from(&[][..]));
        let mut raw = Vec::with_capacity(batch.num_rows());
        let mut one = |old: Option<usize>, new: Option<usize>, changed: Columns| {
            *seq += 1;
            raw.push(Raw {
                seq: *seq,
                old,
                new,
                key: key_of(new.or(old).unwrap_or_default()),
                changed,
            });
        };
        let mut row = 0;
        while row < batch.num_rows() {
            match batch.op(row) {
                Op::Insert | Op::UpdateAfter => one(None, Some(row), Columns::none(width)),
                Op::Delete => one(Some(row), None, Columns::none(width)),
                Op::UpdateBefore => {
                    let after = (row + 1 < batch.num_rows()).then(|| row + 1);
                    let after = after.filter(|after| batch.op(*after) == Op::UpdateAfter);
                    let is_same_key = |after: usize| !relation.key.is_empty() && key_of(row) == key_of(after);
                    match after {
                        Some(after) if is_same_key(after) => {
                            let mut changed = Columns::none(width);
                            let differs = |column: &usize| same.get(*column).is_none_or(|same| !same(row, after));
                            (0..width).filter(differs).for_each(|column| changed.add(column));
                            one(Some(row), Some(after), changed);
                            row += 1;
                        }
                        _ => one(Some(row), None, Columns::none(width)),
                    }
                }
            }
            row += 1;
        }
        let rows = Rows::new(batch.columns().clone());
        Ok(Commit { rows, raw, at })
    }

    /// The changes as a filter lets them be seen.
    pub fn seen(&self, filter: Option<&RowFilter>) -> Vec<Arc<Change>> {
        let mask = filter.map(|filter| holds(filter, self.rows.batch()));
        let is_in = |row: Option<usize>| row.is_some_and(|row| mask.as_ref().is_none_or(|mask| mask.value(row)));
        let mut seen = Vec::new();
        for raw in &self.raw {
            let kind = match (is_in(raw.old), is_in(raw.new)) {
                (false, false) => continue,
                (false, true) => Kind::Insert,
                (true, false) => Kind::Delete,
                (true, true) if raw.changed.is_empty() => continue,
                (true, true) => Kind::Update,
            };
            let row = match kind {
                Kind::Delete => raw.old,
                _ => raw.new,
            };
            seen.push(Arc::new(Change {
                seq: raw.seq,
                kind,
                key: raw.key.clone(),
                rows: self.rows.clone(),
                row: row.unwrap_or_default(),
                changed: raw.changed.clone(),
                at: self.at,
            }));
        }
        seen
    }
}

/// Where a filter holds. A row for which it has no value is not in it.
pub fn holds(filter: &RowFilter, batch: &RecordBatch) -> BooleanArray {
    match filter.mask(batch) {
        Ok(mask) => mask,
        Err(_) => (0..batch.num_rows())
            .map(|row| Some(filter.mask(&batch.slice(row, 1)).is_ok_and(|mask| mask.value(0))))
            .collect(),
    }
}

fn keys(relation: &Relation, batch: &EventBatch) -> Result<Vec<Arc<[u8]>>> {
    if relation.key.is_empty() {
        return Ok(Vec::new());
    }
    let columns: Vec<_> = relation
        .key
        .iter()
        .map(|column| batch.column(*column).clone())
        .collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let keys = converter.convert_columns(&columns)?;
    Ok(keys.iter().map(|key| Arc::from(key.as_ref())).collect())
}

type Same = Box<dyn Fn(usize, usize) -> bool>;

/// For each column, whether two rows of the batch are the same there. Only changelogs have pairs to compare.
fn comparators(batch: &EventBatch) -> Result<Vec<Same>> {
    if !batch.ops().is_some_and(|ops| ops.contains(&Op::UpdateBefore)) {
        return Ok(Vec::new());
    }
    let columns = batch.columns().columns().iter().map(|column| -> Same {
        match make_comparator(column, column, SortOptions::default()) {
            Ok(compare) => Box::new(move |a, b| compare(a, b).is_eq()),
            // A type without an order, such as a map.
            Err(_) => {
                let column = column.clone();
                Box::new(move |a, b| column.slice(a, 1).to_data() == column.slice(b, 1).to_data())
            }
        }
    });
    Ok(columns.collect())
}
