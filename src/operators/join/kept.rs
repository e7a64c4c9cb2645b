//! [`Kept`]: the rows of one side of a changelog join.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::changelog_join::{ChangelogSide, Identity};
use super::keys::NO_KEY;
use super::layout::{Layout, Picked};
use super::lists::{Lists, read_pairs, write_pairs};
use super::row_table::RowTable;
use super::spec::{JoinSpec, Side};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Op};
use crate::operators::aggregates::GroupId;
use crate::operators::running_aggregate::adds;
use crate::operators::state::{StateReader, StateWriter};
use crate::windows::row_store::{NO_ROW, RowId, RowStore};

/// Rows by key, by what tells them when they are taken back, and by age.
///
/// *Cost.* O(1) a row in and out.
pub struct Kept {
    side: Side,
    rows: RowStore,
    by_key: Lists,
    /// Finds the row that is taken back; `None` if none is.
    identity: Option<RowTable>,
    /// Whether a row takes the place of the one that has its identity.
    replaces: bool,
    ages: Option<Ages>,
    /// How many rows each has met, by row; `None` when nobody asks.
    met: Option<Vec<u32>>,
}

/// What a batch does, step by step: its inserts and deletes, without those of rows that are not there. A row that takes another's
/// place is two steps.
pub struct Steps {
    /// A row a step, with the columns that are kept.
    pub batch: EventBatch,
    /// The key of each.
    pub keys: Vec<GroupId>,
    /// The number of each; [`NO_ROW`] for those that are not kept. It holds until [`Kept::settle`].
    pub rows: Vec<RowId>,
}

/// A row of the batch, and the row of ours that it is or takes back.
#[derive(Clone, Copy)]
struct Step {
    at: u32,
    row: RowId,
    key: GroupId,
    op: Op,
}

impl Kept {
    /// No rows.
    pub fn new(side: Side, of: &ChangelogSide, join: &JoinSpec) -> Result<Self> {
        let schema = &join.input(side).schema;
        let identity = match &of.identity {
            Identity::Inserts => None,
            Identity::Row => Some((0..schema.fields().len()).collect()),
            Identity::Key(columns) => Some(columns.clone()),
        };
        let identity = identity.map(|columns| RowTable::new(schema, columns));
        Ok(Kept {
            side,
            rows: RowStore::default(),
            by_key: Lists::default(),
            identity: identity.transpose()?,
            replaces: matches!(of.identity, Identity::Key(_)),
            ages: of.ttl.map(Ages::new),
            met: join.kind.keeps(side).then(Vec::new),
        })
    }

    /// The rows.
    pub fn rows(&self) -> &RowStore {
        &self.rows
    }

    /// The row of a key that came first.
    pub fn first(&self, key: GroupId) -> Option<RowId> {
        self.by_key.first(key)
    }

    /// The row of the same key that came next.
    pub fn after(&self, row: RowId) -> Option<RowId> {
        self.by_key.after(row)
    }

    /// Whether there is a row of a key.
    pub fn has(&self, key: GroupId) -> bool {
        !self.by_key.is_empty(key)
    }

    /// How many rows a row has met; `None` if nobody asks.
    pub fn met(&mut self, row: RowId) -> Option<&mut u32> {
        self.met.as_mut()?.get_mut(row as usize)
    }

    /// Rows come and are taken back, at `now`. `kept` are the columns of the batch that are kept.
    pub fn change(
        &mut self,
        layout: &Layout,
        batch: &EventBatch,
        kept: EventBatch,
        keys: &[GroupId],
        now: Micros,
    ) -> Result<Steps> {
        if let Some(identity) = &mut self.identity {
            identity.begin(batch)?;
        }
        // Rows that match nothing are kept only where it matters that they are taken back.
        let lonely = self.identity.is_some() && self.met.is_some();
        let stays = |row: usize| adds(batch.op(row)) && (keys[row] != NO_KEY || lonely);
        let ids = self.rows.push_where(kept.clone(), stays)?;
        let mut steps = Vec::with_capacity(batch.num_rows());
        for (at, (&row, &key)) in ids.iter().zip(keys).enumerate() {
            let adds = adds(batch.op(at));
            if !adds || self.replaces {
                steps.extend(self.take_back(at));
            }
            // A row that is not kept matters only where rows without a match go out.
            if adds && (row != NO_ROW || self.met.is_some()) {
                self.enter(at, row, key, now);
                steps.push(Step {
                    at: at as u32,
                    row,
                    key,
                    op: Op::Insert,
                });
            }
        }
        if let Some(identity) = &mut self.identity {
            identity.end();
        }
        let deleted = steps.iter().filter(|step| step.op == Op::Delete);
        let deleted: Vec<RowId> = deleted.map(|step| step.row).collect();
        let steps = self.steps(layout, kept, &steps)?;
        deleted.iter().for_each(|row| self.rows.remove(*row));
        Ok(steps)
    }

    fn enter(&mut self, at: usize, row: RowId, key: GroupId, now: Micros) {
        if row == NO_ROW {
            return;
        }
        if key != NO_KEY {
            self.by_key.push(key, row);
        }
        if let Some(identity) = &mut self.identity {
            identity.push(at, row);
        }
        if let Some(ages) = &mut self.ages {
            ages.push(row, now);
        }
        if let Some(met) = &mut self.met {
            if met.len() <= row as usize {
                met.resize(row as usize + 1, 0);
            }
            met[row as usize] = 0;
        }
    }

    /// The row that row `at` of the batch takes back is gone, but still in the store.
    fn take_back(&mut self, at: usize) -> Option<Step> {
        let identity = self.identity.as_mut()?;
        let row = identity.earliest(at)?;
        identity.remove(row);
        if let Some(ages) = &mut self.ages {
            ages.order.remove(row);
        }
        Some(Step {
            at: at as u32,
            row,
            key: self.by_key.remove(row).unwrap_or(NO_KEY),
            op: Op::Delete,
        })
    }

    /// The rows of the steps: as they came, or as they are kept where what takes a row back need not have all of its columns.
    fn steps(&self, layout: &Layout, kept: EventBatch, steps: &[Step]) -> Result<Steps> {
        let rows: Vec<RowId> = steps.iter().map(|step| step.row).collect();
        let batch = match steps.len() == kept.num_rows() && (0..).zip(steps).all(|(at, step)| step.at == at) {
            true => kept,
            false => kept.take(steps.iter().map(|step| step.at).collect())?,
        };
        let ops: Vec<Op> = steps.iter().map(|step| step.op).collect();
        let columns = match self.replaces && ops.contains(&Op::Delete) {
            // All of them are kept: rows have an identity.
            true => layout.rows(self.side, Picked::In(&self.rows, &rows))?,
            false => batch.columns().clone(),
        };
        Ok(Steps {
            batch: EventBatch::changes(columns, batch.times().clone(), ops.into()),
            keys: steps.iter().map(|step| step.key).collect(),
            rows,
        })
    }

    /// The batch is through.
    pub fn settle(&mut self) -> Result<()> {
        self.rows.settle()
    }

    /// Drops the rows that have been kept long enough; their keys are added to `keys`.
    pub fn drop_old(&mut self, now: Micros, keys: &mut Vec<GroupId>) -> Result<()> {
        let Some(ages) = &mut self.ages else {
            return Ok(());
        };
        let before = keys.len();
        while let Some(row) = ages.oldest().filter(|row| ages.ends(*row) <= now) {
            ages.order.remove(row);
            keys.push(self.by_key.remove(row).unwrap_or(NO_KEY));
            if let Some(identity) = &mut self.identity {
                identity.remove(row);
            }
            self.rows.remove(row);
        }
        if keys.len() == before {
            return Ok(());
        }
        if let Some(identity) = &mut self.identity {
            identity.end();
        }
        self.rows.settle()
    }

    /// When the next row is dropped.
    pub fn next_drop(&self) -> Option<Micros> {
        let ages = self.ages.as_ref()?;
        ages.oldest().map(|row| ages.ends(row))
    }

    /// Writes the rows and all that is known of them.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.rows.snapshot(state)?;
        self.by_key.snapshot(state)?;
        if let Some(identity) = &self.identity {
            identity.snapshot(state)?;
        }
        if let Some(ages) = &self.ages {
            ages.snapshot(state)?;
        }
        if let Some(met) = &self.met {
            let met = met.clone();
            state.unwritten(move |state| write_pairs((0..met.len() as u32).collect(), met.clone(), state))?;
        }
        Ok(())
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.rows.restore(state)?;
        self.by_key.restore(state)?;
        if let Some(identity) = &mut self.identity {
            identity.restore(state)?;
        }
        if let Some(ages) = &mut self.ages {
            ages.restore(state)?;
        }
        if let Some(met) = &mut self.met {
            *met = read_pairs(state)?.into_iter().map(|(_, met)| met).collect();
        }
        Ok(())
    }
}

/// How long rows are kept.
struct Ages {
    ttl: Micros,
    /// All rows in list 0, in the order they came.
    order: Lists,
    /// When each came, by row; never earlier than the one before.
    born: Vec<Micros>,
    latest: Micros,
}

impl Ages {
    fn new(ttl: Micros) -> Self {
        Ages {
            ttl,
            order: Lists::default(),
            born: Vec::new(),
            latest: Micros::MIN,
        }
    }

    fn push(&mut self, row: RowId, now: Micros) {
        // Should the clock go back, the order holds.
        self.latest = self.latest.max(now);
        if self.born.len() <= row as usize {
            self.born.resize(row as usize + 1, self.latest);
        }
        self.born[row as usize] = self.latest;
        self.order.push(0, row);
    }

    fn oldest(&self) -> Option<RowId> {
        self.order.first(0)
    }

    fn ends(&self, row: RowId) -> Micros {
        let born = self.born.get(row as usize).copied().unwrap_or(Micros::MIN);
        born.saturating_add(self.ttl)
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.order.snapshot(state)?;
        state.value(&self.latest)?;
        let born = self.born.clone();
        state.unwritten(move |state| {
            let born: ArrayRef = Arc::new(Int64Array::from(born.clone()));
            state.columns(&RecordBatch::try_from_iter([("born", born)])?)
        })
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.order.restore(state)?;
        self.latest = state.value()?;
        let saved = state.columns()?;
        let born = saved.columns().first();
        let born = born.and_then(|born| born.as_primitive_opt::<Int64Type>());
        let born = born.ok_or_else(|| Error::failed("the snapshot is damaged: rows without age"))?;
        self.born = born.values().to_vec();
        Ok(())
    }
}
