//! The changes of a stream with a PRIMARY KEY: what each event does to the row of its key.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use hashbrown::HashSet;

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Mark, Micros, Op, Times};
use crate::windows::gather::batch_of;

/// Makes a changelog of events that may say no more than how the row of a key is now.
///
/// *Semantics.* The first row of a key is `+I`; another one `-U` of the old row and `+U` of the new; the same one again is
/// nothing. `-D` takes the row as it was, whatever columns came with it; of a key that is not there it is nothing. `-U` says
/// nothing by itself, but when the `+U` behind it has another key: then the row of its own is deleted.
///
/// Of a snapshot of a relation only what differs goes on: rows of other values, and when it is whole `-D` of the keys that did not
/// come in it. One that is given up takes nothing away.
///
/// *Ops.* Takes any, gives a changelog whose updates are whole. *State.* The row of each live key, encoded. *Cost.* O(1) an
/// event: a probe, and encoding the row.
pub struct KeyedChanges {
    plan: KeyedChangesPlan,
    keys: GroupTable,
    /// The row of each key, by its number.
    rows: Vec<Option<Box<[u8]>>>,
    converter: RowConverter,
    /// How many keys are alive.
    live: usize,
    /// The keys alive that have not come yet in the snapshot that is open.
    unseen: Option<HashSet<GroupId>>,
}

/// What a [`KeyedChanges`] does.
#[derive(Debug, Clone)]
pub struct KeyedChangesPlan {
    /// The columns.
    pub schema: SchemaRef,
    /// Those of the key.
    pub key: Vec<usize>,
    /// How many keys may be alive, where that is bounded.
    pub limit: Option<usize>,
}

impl OperatorPlan for KeyedChangesPlan {
    fn name(&self) -> &'static str {
        "KeyedChanges"
    }

    fn details(&self) -> Vec<String> {
        let names = self.key.iter().map(|&column| self.schema.field(column).name().as_str());
        vec![format!("by {}", names.collect::<Vec<_>>().join(", "))]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let types: Vec<_> = self
            .key
            .iter()
            .map(|&column| self.schema.field(column).data_type().clone())
            .collect();
        let fields = self
            .schema
            .fields()
            .iter()
            .map(|field| SortField::new(field.data_type().clone()));
        Ok(Box::new(KeyedChanges {
            keys: GroupTable::new(&types)?,
            rows: Vec::new(),
            live: 0,
            unseen: None,
            converter: RowConverter::new(fields.collect())?,
            plan: self.clone(),
        }))
    }
}

/// The changes that go out, encoded.
struct Changes<'a> {
    parser: &'a RowParser,
    bytes: Vec<Box<[u8]>>,
    ops: Vec<Op>,
    times: Vec<Micros>,
}

impl Changes<'_> {
    fn push(&mut self, row: Box<[u8]>, op: Op, time: Micros) {
        self.bytes.push(row);
        self.ops.push(op);
        self.times.push(time);
    }
}

impl Operator for KeyedChanges {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let keys: Vec<ArrayRef> = self
            .plan
            .key
            .iter()
            .map(|&column| batch.column(column).clone())
            .collect();
        let mut ids: Vec<GroupId> = Vec::new();
        self.keys.assign(&keys, batch.num_rows(), &mut ids)?;
        let encoded = self.converter.convert_columns(batch.columns().columns())?;
        let parser = self.converter.parser();
        let mut changes = Changes {
            parser: &parser,
            bytes: Vec::new(),
            ops: Vec::new(),
            times: Vec::new(),
        };
        let mut gone = Vec::new();
        for row in 0..batch.num_rows() {
            let moves = |next: usize| batch.op(next) == Op::UpdateAfter && ids[next] != ids[row];
            match batch.op(row) {
                Op::Insert | Op::UpdateAfter => self.put(&encoded, row, ids[row], batch.time(row), &mut changes),
                Op::UpdateBefore if row + 1 < ids.len() && !moves(row + 1) => {}
                Op::Delete | Op::UpdateBefore => {
                    self.remove(ids[row], batch.time(row), &mut changes);
                    gone.push(ids[row]);
                }
            }
        }
        gone.sort_unstable();
        gone.dedup();
        gone.retain(|id| self.rows.get(*id as usize).is_none_or(Option::is_none));
        let emitted = self.decode(changes)?;
        self.keys.forget(&gone);
        if let Some(emitted) = emitted {
            out.emit(emitted);
        }
        self.check_limit()
    }

    fn mark(&mut self, mark: Mark, out: &mut Output) -> Result<()> {
        let time = match mark {
            Mark::SnapshotBegins => {
                let live = self.rows.iter().enumerate().filter(|(_, row)| row.is_some());
                self.unseen = Some(live.map(|(id, _)| id as GroupId).collect());
                return Ok(());
            }
            Mark::SnapshotEnds(time) => time,
        };
        let mut gone: Vec<GroupId> = self.unseen.take().unwrap_or_default().into_iter().collect();
        gone.sort_unstable();
        let parser = self.converter.parser();
        let mut changes = Changes {
            parser: &parser,
            bytes: Vec::new(),
            ops: Vec::new(),
            times: Vec::new(),
        };
        gone.iter().for_each(|id| self.remove(*id, time, &mut changes));
        let emitted = self.decode(changes)?;
        self.keys.forget(&gone);
        if let Some(emitted) = emitted {
            out.emit(emitted);
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        let live = self
            .rows
            .iter()
            .enumerate()
            .filter_map(|(id, row)| Some((id, row.as_ref()?)));
        let (ids, rows): (Vec<usize>, Vec<&Box<[u8]>>) = live.unzip();
        state.value(&ids)?;
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?;
        state.columns(&batch_of(self.plan.schema.clone(), columns, ids.len())?)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        let ids: Vec<usize> = state.value()?;
        let columns: RecordBatch = state.columns()?;
        let encoded = self.converter.convert_columns(columns.columns())?;
        for (row, id) in ids.into_iter().enumerate() {
            let slot = self.slot(id);
            *slot = Some(encoded.row(row).as_ref().into());
            self.live += 1;
        }
        Ok(())
    }
}

impl KeyedChanges {
    fn slot(&mut self, id: usize) -> &mut Option<Box<[u8]>> {
        if self.rows.len() <= id {
            self.rows.resize_with(id + 1, || None);
        }
        &mut self.rows[id]
    }

    fn put(&mut self, encoded: &Rows, row: usize, id: GroupId, time: Micros, changes: &mut Changes) {
        let new: Box<[u8]> = encoded.row(row).as_ref().into();
        if let Some(unseen) = &mut self.unseen {
            unseen.remove(&id);
        }
        let slot = self.slot(id as usize);
        match slot.replace(new.clone()) {
            None => {
                changes.push(new, Op::Insert, time);
                self.live += 1;
            }
            Some(old) if old == new => {}
            Some(old) => {
                changes.push(old, Op::UpdateBefore, time);
                changes.push(new, Op::UpdateAfter, time);
            }
        }
    }

    fn remove(&mut self, id: GroupId, time: Micros, changes: &mut Changes) {
        if let Some(unseen) = &mut self.unseen {
            unseen.remove(&id);
        }
        if let Some(old) = self.slot(id as usize).take() {
            self.live -= 1;
            changes.push(old, Op::Delete, time);
        }
    }

    fn check_limit(&self) -> Result<()> {
        match self.plan.limit {
            Some(limit) if self.live > limit => Err(Error::failed(format!(
                "the relation has more than {limit} rows, and each takes memory: raise max_rows, or read less of it"
            ))),
            _ => Ok(()),
        }
    }

    fn decode(&self, changes: Changes) -> Result<Option<EventBatch>> {
        if changes.ops.is_empty() {
            return Ok(None);
        }
        let rows = changes.bytes.iter().map(|row| changes.parser.parse(row));
        let columns = self.converter.convert_rows(rows).map_err(Error::failed)?;
        let columns = batch_of(self.plan.schema.clone(), columns, changes.ops.len())?;
        Ok(Some(EventBatch::changes(
            columns,
            Times::Each(changes.times.into()),
            changes.ops.into(),
        )))
    }
}
