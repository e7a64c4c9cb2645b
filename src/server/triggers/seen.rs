//! [`Seen`]: rows that came, changed or went, as triggers look at them: which rows of a batch count, their keys, and where conditions hold.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, DynComparator, RecordBatch, make_comparator};
use arrow::compute::SortOptions;

use crate::error::{Error, Result};
use crate::event::{EventBatch, Op};
use crate::plan::row_filter::RowFilter;
use crate::server::live::{Relation, Style, holds, rows_as_json};

/// A condition, known by its text.
#[derive(Debug, Clone)]
pub struct Condition {
    /// As SQL.
    pub text: Arc<str>,
    /// Compiled.
    pub filter: RowFilter,
}

/// What happened to a row of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct One {
    /// Which row.
    pub row: usize,
    /// Whether it has gone; else it is there, new or changed.
    pub gone: bool,
}

/// See the module.
pub struct Seen {
    /// The rows.
    pub rows: RecordBatch,
    /// What happened, in order.
    pub all: Vec<One>,
    /// The columns of the key.
    key: Vec<usize>,
    /// The key of each row, as a JSON object, once somebody has asked for one; empty for a relation without a key.
    keys: Option<Vec<String>>,
    /// Where conditions hold, by their text: equal ones are evaluated once.
    masks: HashMap<Arc<str>, BooleanArray>,
}

impl Seen {
    /// Of a batch of changes.
    pub fn changes(relation: &Relation, batch: &EventBatch) -> Result<Self> {
        let mut seen = Seen::of(relation, batch.columns().clone());
        let same = match batch.ops() {
            Some(ops) if ops.contains(&Op::UpdateBefore) => comparators(&seen)?,
            _ => Vec::new(),
        };
        let is_same_key = |a: usize, b: usize| same.iter().all(|compare| compare(a, b).is_eq());
        let count = batch.num_rows();
        for row in 0..count {
            let gone = match batch.op(row) {
                Op::Insert | Op::UpdateAfter => false,
                Op::Delete => true,
                // Of a row that has a new version the new one counts.
                Op::UpdateBefore if row + 1 < count && batch.op(row + 1) == Op::UpdateAfter => {
                    if is_same_key(row, row + 1) {
                        continue;
                    }
                    true
                }
                Op::UpdateBefore => true,
            };
            // Without a key nobody can say which row has gone.
            if !gone || !relation.key.is_empty() {
                seen.all.push(One { row, gone });
            }
        }
        Ok(seen)
    }

    /// Of rows that are there.
    pub fn there(relation: &Relation, rows: RecordBatch) -> Result<Self> {
        let mut seen = Seen::of(relation, rows);
        let count = seen.rows.num_rows();
        seen.all.extend((0..count).map(|row| One { row, gone: false }));
        Ok(seen)
    }

    fn of(relation: &Relation, rows: RecordBatch) -> Self {
        Seen {
            rows,
            all: Vec::new(),
            key: relation.key.clone(),
            keys: None,
            masks: HashMap::new(),
        }
    }

    /// Makes the keys, for whoever asks for some of them next.
    pub fn make_keys(&mut self) -> Result<()> {
        if self.keys.is_none() && !self.key.is_empty() {
            self.keys = Some(texts(&self.rows.project(&self.key)?)?);
        }
        Ok(())
    }

    /// The key of a row.
    pub fn key(&self, row: usize) -> &str {
        let key = self.keys.as_ref().and_then(|keys| keys.get(row));
        key.map_or("", String::as_str)
    }

    /// Where a condition holds. A row for which it has no value is not in it.
    pub fn mask(&mut self, condition: &Condition) -> BooleanArray {
        if let Some(known) = self.masks.get(&condition.text) {
            return known.clone();
        }
        let mask = holds(&condition.filter, &self.rows);
        self.masks.insert(condition.text.clone(), mask.clone());
        mask
    }

    /// Rows as JSON objects, of these columns alone.
    pub fn data(&self, rows: Vec<u32>, columns: &[usize]) -> Result<Vec<String>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let rows = arrow::array::UInt32Array::from(rows);
        let taken = arrow::compute::take_record_batch(&self.rows.project(columns)?, &rows)?;
        texts(&taken)
    }
}

fn comparators(seen: &Seen) -> Result<Vec<DynComparator>> {
    let columns = seen.key.iter().map(|column| seen.rows.column(*column));
    let compare = columns.map(|column| make_comparator(column, column, SortOptions::default()));
    Ok(compare.collect::<Result<_, _>>()?)
}

fn texts(rows: &RecordBatch) -> Result<Vec<String>> {
    let texts = rows_as_json(rows, Style::Json)?.into_iter();
    texts
        .map(|text| String::from_utf8(text).map_err(Error::failed))
        .collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;
    use crate::event::Times;

    #[test]
    fn what_counts_of_a_changelog() {
        let rows = [
            (Op::Insert, 1, 1),
            (Op::UpdateBefore, 1, 1),
            (Op::UpdateAfter, 1, 2),
            // Another key: one row goes, another comes.
            (Op::UpdateBefore, 2, 1),
            (Op::UpdateAfter, 3, 1),
            (Op::Delete, 1, 2),
            (Op::UpdateBefore, 4, 1),
        ];
        let column = |of: fn(&(Op, i64, i64)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
        };
        let columns = RecordBatch::try_from_iter([("k", column(|row| row.1)), ("v", column(|row| row.2))]).unwrap();
        let mut relation = Relation {
            name: "t".to_string(),
            source: "t".to_string(),
            schema: columns.schema(),
            key: vec![0],
            has_rows: true,
        };
        let batch = EventBatch::changes(columns, Times::Same(0), rows.iter().map(|row| row.0).collect());
        let of = |relation: &Relation| -> Vec<(String, usize, bool)> {
            let mut seen = Seen::changes(relation, &batch).unwrap();
            seen.make_keys().unwrap();
            let all = seen.all.iter();
            all.map(|one| (seen.key(one.row).to_string(), one.row, one.gone))
                .collect()
        };
        let expected = [
            (1, 0, false),
            (1, 2, false),
            (2, 3, true),
            (3, 4, false),
            (1, 5, true),
            (4, 6, true),
        ];
        assert_eq!(
            of(&relation),
            expected.map(|(key, row, gone)| (format!("{{\"k\":{key}}}"), row, gone))
        );
        relation.key.clear();
        let rows: Vec<usize> = of(&relation).into_iter().map(|(_, row, _)| row).collect();
        assert_eq!(rows, [0, 2, 4]);
    }
}
