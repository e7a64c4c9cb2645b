//! `ORDER BY … LIMIT n` without a batch window: the first rows of an order, at every moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::running_aggregate::adds;
use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};
use crate::windows::changes::Changes;
use crate::windows::gather::batch_of;
use crate::windows::row_store::{RowId, RowStore};

/// Keeps rows in order and tells which enter and leave the `fetch` first after `skip`.
///
/// *Semantics.* Each row that comes changes the result at its moment; what leaves the result by it goes out before what enters.
/// A row that would leave and enter at once stays. Of equal rows the earlier one is first. Rows of one group replace each
/// other ([`TopNInput::Latest`]); one that is as good as the former keeps its place among equals.
///
/// *Ops.* Takes inserts, the changes of a window, or the latest rows of groups; gives a changelog of `-D` and `+I`, also where
/// a group's row changes. *State.* Of inserts the `skip + fetch` first rows, otherwise all rows or groups that are there.
/// *Cost.* O(log n) a row.
pub struct TopN {
    plan: TopNPlan,
    converter: RowConverter,
    rows: RowStore,
    /// The rows that are left out at the beginning.
    skipped: Ordered,
    /// The result.
    shown: Ordered,
    /// All others, if a row may leave.
    rest: Ordered,
    /// What tells rows apart that may leave, and where those of each group stand, the first that came first.
    groups: GroupTable,
    places: Vec<VecDeque<(Place, RowId)>>,
    arrived: u64,
    ids: Vec<GroupId>,
}

/// Where a row stands: by its sort keys, then when it came.
type Place = (Arc<[u8]>, u64);

type Ordered = BTreeMap<Place, RowId>;

/// What a [`TopN`] does.
#[derive(Debug, Clone)]
pub struct TopNPlan {
    /// The columns of the input that are sorted by, most important first.
    pub keys: Vec<(usize, SortOptions)>,
    /// Rows left out at the beginning.
    pub skip: usize,
    /// Rows of the result.
    pub fetch: usize,
    /// What comes in.
    pub input: TopNInput,
    /// A column of the input that is true for groups that take part (HAVING).
    pub keep: Option<usize>,
    /// The columns that come in.
    pub columns: SchemaRef,
    /// Those that go out, which are the first of them.
    pub schema: SchemaRef,
}

/// What rows mean that come to a [`TopN`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopNInput {
    /// They stay.
    Inserts,
    /// Deleted ones leave: equal to one that came before.
    Changes,
    /// Each takes the place of the one before with the same values of these columns; a deleted one says that there is none.
    Latest(Vec<usize>),
}

impl OperatorPlan for TopNPlan {
    fn name(&self) -> &'static str {
        "TopN"
    }

    fn details(&self) -> Vec<String> {
        let key = |(column, options): &(usize, SortOptions)| {
            let order = if options.descending { "DESC" } else { "ASC" };
            format!("{} {order}", self.columns.field(*column).name())
        };
        let keys: Vec<String> = self.keys.iter().map(key).collect();
        let mut details = vec![
            format!("by {}", keys.join(", ")),
            format!("{} rows after {}", self.fetch, self.skip),
        ];
        if let TopNInput::Latest(_) = self.input {
            details.push("of the latest row of each group".to_string());
        }
        details
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let fields = self.keys.iter().map(|(column, options)| {
            let data_type = self.columns.field(*column).data_type().clone();
            SortField::new_with_options(data_type, *options)
        });
        Ok(Box::new(TopN {
            converter: RowConverter::new(fields.collect())?,
            rows: RowStore::default(),
            skipped: Ordered::new(),
            shown: Ordered::new(),
            rest: Ordered::new(),
            groups: self.groups()?,
            places: Vec::new(),
            arrived: 0,
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl TopNPlan {
    /// The columns that tell rows apart.
    fn identity(&self) -> Vec<usize> {
        match &self.input {
            TopNInput::Inserts => Vec::new(),
            TopNInput::Changes => (0..self.schema.fields().len()).collect(),
            TopNInput::Latest(columns) => columns.clone(),
        }
    }

    /// A table of what tells rows apart; an error when there are columns that cannot be compared.
    pub fn groups(&self) -> Result<GroupTable> {
        let types = self.identity().into_iter();
        let types = types.map(|column| self.columns.field(column).data_type().clone());
        GroupTable::new(&types.collect::<Vec<DataType>>())
    }
}

/// What one row changes.
#[derive(Default)]
struct Change {
    left: Vec<RowId>,
    entered: Vec<RowId>,
    /// Rows that are in no order any more.
    gone: Vec<RowId>,
}

impl Operator for TopN {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let batch = self.candidates(batch)?;
        let keys = self.sort_keys(&batch)?;
        self.assign(&batch)?;
        let keep = self.plan.keep.map(|column| batch.column(column).as_boolean().clone());
        let ids = self.rows.push(batch.clone())?;
        let mut changes = Changes::default();
        for (row, id) in ids.into_iter().enumerate() {
            let comes = adds(batch.op(row)) && keep.as_ref().is_none_or(|keep| keep.is_valid(row) && keep.value(row));
            let key = comes.then(|| keys.row(row));
            let mut change = Change::default();
            self.change(row, id, key.as_ref().map(AsRef::as_ref), &mut change);
            self.put(change, batch.time(row), &mut changes);
        }
        if let Some(changed) = changes.finish()? {
            out.emit(self.outgoing(changed)?);
        }
        self.forget_empty();
        self.rows.settle()
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.rows.snapshot(state)?;
        let all = [&self.skipped, &self.shown, &self.rest].into_iter().flatten();
        let all: Vec<(u64, RowId)> = all.map(|((_, arrived), id)| (*arrived, *id)).collect();
        state.value(&(all, self.arrived))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.rows.restore(state)?;
        let (mut all, arrived): (Vec<(u64, RowId)>, u64) = state.value()?;
        self.arrived = arrived;
        all.sort_unstable();
        let ids: Vec<RowId> = all.iter().map(|(_, id)| *id).collect();
        let Some(rows) = self.rows.get(&ids)? else {
            return Ok(());
        };
        let keys = self.sort_keys(&rows)?;
        self.assign(&rows)?;
        for (row, (arrived, id)) in all.into_iter().enumerate() {
            let place = (Arc::from(keys.row(row).as_ref()), arrived);
            self.remember(row, &place, id);
            self.insert(place, id, &mut Change::default());
        }
        Ok(())
    }
}

impl TopN {
    /// The rows that may change anything: of inserts only those before the last row that is kept.
    fn candidates(&mut self, batch: EventBatch) -> Result<EventBatch> {
        if self.plan.input != TopNInput::Inserts || self.shown.len() < self.plan.fetch {
            return Ok(batch);
        }
        let Some(((last, _), _)) = self.shown.last_key_value() else {
            return Ok(batch);
        };
        let last = last.clone();
        let keys = self.sort_keys(&batch)?;
        let before: BooleanArray = keys.iter().map(|key| Some(key.as_ref() < &*last)).collect();
        match before.true_count() == batch.num_rows() {
            true => Ok(batch),
            false => batch.filter(&before),
        }
    }

    fn sort_keys(&mut self, batch: &EventBatch) -> Result<Rows> {
        let columns = self.plan.keys.iter();
        let columns: Vec<ArrayRef> = columns.map(|(column, _)| batch.column(*column).clone()).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// Numbers what tells rows apart, if they may leave.
    fn assign(&mut self, batch: &EventBatch) -> Result<()> {
        self.ids.clear();
        if self.plan.input != TopNInput::Inserts {
            let identity = self.plan.identity().into_iter();
            let identity: Vec<ArrayRef> = identity.map(|column| batch.column(column).clone()).collect();
            self.groups.assign(&identity, batch.num_rows(), &mut self.ids)?;
            if self.places.len() < self.groups.capacity() {
                self.places.resize_with(self.groups.capacity(), VecDeque::new);
            }
        }
        Ok(())
    }

    /// A row of a batch comes, with a key, or leaves.
    fn change(&mut self, row: usize, id: RowId, key: Option<&[u8]>, change: &mut Change) {
        self.arrived += 1;
        let mut arrived = self.arrived;
        let former = match (&self.plan.input, key) {
            (TopNInput::Inserts, _) | (TopNInput::Changes, Some(_)) => None,
            (TopNInput::Changes, None) | (TopNInput::Latest(_), _) => self.places[self.ids[row] as usize].pop_front(),
        };
        if let Some((place, former)) = former {
            self.remove(&place, change);
            change.gone.push(former);
            if key == Some(&*place.0) {
                arrived = place.1;
            }
        }
        match key {
            Some(key) => {
                let place = (Arc::from(key), arrived);
                self.remember(row, &place, id);
                self.insert(place, id, change);
            }
            None => change.gone.push(id),
        }
    }

    /// Notes where a row stands, if it may leave.
    fn remember(&mut self, row: usize, place: &Place, id: RowId) {
        if let Some(group) = self.ids.get(row) {
            self.places[*group as usize].push_back((place.clone(), id));
        }
    }

    fn insert(&mut self, place: Place, id: RowId, change: &mut Change) {
        let Some((place, id)) = push(&mut self.skipped, self.plan.skip, place, id) else {
            return;
        };
        change.entered.push(id);
        let Some((place, id)) = push(&mut self.shown, self.plan.fetch, place, id) else {
            return;
        };
        change.left.push(id);
        match self.plan.input {
            TopNInput::Inserts => change.gone.push(id),
            _ => {
                self.rest.insert(place, id);
            }
        }
    }

    /// Takes a row out; the next ones move up.
    fn remove(&mut self, place: &Place, change: &mut Change) {
        if self.rest.remove(place).is_some() {
            return;
        }
        match self.shown.remove(place) {
            Some(id) => change.left.push(id),
            None if self.skipped.remove(place).is_some() => {
                if let Some((place, id)) = self.shown.pop_first() {
                    change.left.push(id);
                    self.skipped.insert(place, id);
                } else {
                    // Of LIMIT 0 nothing is ever shown.
                    self.skipped.extend(self.rest.pop_first());
                }
            }
            None => return,
        }
        if self.shown.len() < self.plan.fetch
            && let Some((place, id)) = self.rest.pop_first()
        {
            change.entered.push(id);
            self.shown.insert(place, id);
        }
    }

    /// Puts what a row changes into the changelog. Of an update the row that moved up may move down again: that is no change.
    fn put(&mut self, change: Change, time: Micros, changes: &mut Changes) {
        for id in change.left.iter().filter(|id| !change.entered.contains(id)) {
            self.rows.pick(*id, changes, Op::Delete, time);
        }
        for id in change.entered.iter().filter(|id| !change.left.contains(id)) {
            self.rows.pick(*id, changes, Op::Insert, time);
        }
        for id in change.gone {
            self.rows.remove(id);
        }
    }

    fn outgoing(&self, changed: EventBatch) -> Result<EventBatch> {
        let (columns, times, ops) = changed.into_parts();
        let (rows, schema) = (columns.num_rows(), self.plan.schema.clone());
        let first = columns.columns()[..schema.fields().len()].to_vec();
        let ops = ops.unwrap_or_else(|| vec![Op::Insert; rows].into());
        Ok(EventBatch::changelog(batch_of(schema, first, rows)?, times, ops))
    }

    /// Forgets the groups of the last batch that have no row.
    fn forget_empty(&mut self) {
        let empty = self.ids.iter().copied();
        let empty: BTreeSet<GroupId> = empty.filter(|id| self.places[*id as usize].is_empty()).collect();
        self.groups.forget(&empty.into_iter().collect::<Vec<_>>());
    }
}

/// Puts a row into its place; the last one, if there is one too many, comes out.
fn push(ordered: &mut Ordered, limit: usize, place: Place, id: RowId) -> Option<(Place, RowId)> {
    ordered.insert(place, id);
    match ordered.len() > limit {
        true => ordered.pop_last(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::event::Times;

    /// A group and the value it is sorted by.
    type Row = (i64, i64);

    fn schema() -> SchemaRef {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![field("k"), field("v")]))
    }

    fn plan(input: TopNInput, skip: usize, fetch: usize) -> TopNPlan {
        TopNPlan {
            keys: vec![(1, SortOptions::default())],
            skip,
            fetch,
            input,
            keep: None,
            columns: schema(),
            schema: schema(),
        }
    }

    fn batch(rows: &[(Op, Row)]) -> EventBatch {
        let column = |of: fn(&Row) -> i64| -> ArrayRef {
            Arc::new(rows.iter().map(|(_, row)| Some(of(row))).collect::<Int64Array>())
        };
        let columns = RecordBatch::try_new(schema(), vec![column(|row| row.0), column(|row| row.1)]).unwrap();
        EventBatch::changelog(columns, Times::Same(0), rows.iter().map(|(op, _)| *op).collect())
    }

    /// Applies what an operator gives to the result so far.
    fn apply(out: &mut Output, result: &mut Vec<Row>) {
        for batch in out.take().batches {
            for row in 0..batch.num_rows() {
                let value = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
                let changed = (value(0), value(1));
                match batch.op(row) {
                    Op::Insert => result.push(changed),
                    _ => {
                        let place = result.iter().position(|row| *row == changed);
                        result.remove(place.expect("what leaves was there"));
                    }
                }
            }
        }
    }

    /// The rows that are there, in the order in which they came to stand where they stand.
    fn model(input: &TopNInput, there: &mut Vec<Row>, (op, row): (Op, Row)) {
        match (input, op) {
            (TopNInput::Latest(_), _) => {
                let former = there.iter().position(|other| other.0 == row.0);
                let same = former.is_some_and(|place| there[place] == row);
                if let Some(place) = former.filter(|_| op == Op::Delete || !same) {
                    there.remove(place);
                }
                if op != Op::Delete && !same {
                    there.push(row);
                }
            }
            (_, Op::Delete) => {
                if let Some(place) = there.iter().position(|other| *other == row) {
                    there.remove(place);
                }
            }
            _ => there.push(row),
        }
    }

    fn check(input: &TopNInput, rows: &[(Op, Row)], sizes: &[usize], skip: usize, fetch: usize, cut: usize) {
        let plan = plan(input.clone(), skip, fetch);
        let mut operator = plan.build().unwrap();
        let (mut there, mut result, mut out) = (Vec::new(), Vec::new(), Output::new(0));
        let mut left = rows;
        for (number, size) in sizes.iter().cycle().enumerate() {
            let (now, later) = left.split_at((*size).min(left.len()));
            left = later;
            operator.process(0, batch(now), &mut out).unwrap();
            apply(&mut out, &mut result);
            now.iter().for_each(|change| model(input, &mut there, *change));
            let mut expected = there.clone();
            expected.sort_by_key(|row| row.1);
            let expected: BTreeSet<Row> = expected.into_iter().skip(skip).take(fetch).collect();
            assert_eq!(result.iter().copied().collect::<BTreeSet<Row>>(), expected);
            assert!(result.len() <= fetch);
            if number == cut {
                let mut state = StateWriter::default();
                operator.snapshot(&mut state).unwrap();
                operator = plan.build().unwrap();
                operator.restore(&mut StateReader::new(&state.into_bytes())).unwrap();
            }
            if left.is_empty() {
                break;
            }
        }
    }

    proptest! {
        #[test]
        fn the_changelog_gives_the_first_rows(
            rows in prop::collection::vec((prop::bool::weighted(0.35), 0_i64..12, 0_i64..8), 1..80),
            sizes in prop::collection::vec(1_usize..9, 1..4),
            (skip, fetch, cut) in (0_usize..3, 0_usize..5, 0_usize..9),
        ) {
            let inserts: Vec<(Op, Row)> = (0..).zip(&rows).map(|(n, row)| (Op::Insert, (n, row.2))).collect();
            check(&TopNInput::Inserts, &inserts, &sizes, skip, fetch, cut);
            let op = |deletes: bool| if deletes { Op::Delete } else { Op::UpdateAfter };
            let latest: Vec<(Op, Row)> = rows.iter().map(|(deletes, k, v)| (op(*deletes), (*k, *v))).collect();
            check(&TopNInput::Latest(vec![0]), &latest, &sizes, skip, fetch, cut);
            // Rows leave in any order, but only those that are there.
            let (mut there, mut changes): (Vec<Row>, Vec<(Op, Row)>) = (Vec::new(), Vec::new());
            for (deletes, k, v) in &rows {
                match *deletes && !there.is_empty() {
                    true => changes.push((Op::Delete, there.remove(*k as usize % there.len()))),
                    false => {
                        there.push((*k, *v));
                        changes.push((Op::Insert, (*k, *v)));
                    }
                }
            }
            check(&TopNInput::Changes, &changes, &sizes, skip, fetch, cut);
        }
    }
}
