//! `SELECT DISTINCT`: each row once.

use std::collections::VecDeque;

use arrow::array::BooleanArray;
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::running_aggregate::adds;
use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros};

/// Passes on the first of equal rows. What bounds it says which are compared.
///
/// *Semantics.* NULLs are equal. Of a stream ([`Bound::Never`], [`Bound::Unseen`]) a row goes out when it comes for the first
/// time, or again when it was not seen for so long. Of a sliding window ([`Bound::Present`]) when it becomes present among the
/// window's rows, and as a delete when its last copy leaves. Of a batch window ([`Bound::Emission`]) once in each emission, also
/// among the rows of the former one, which leave.
///
/// *Ops.* Of windows inserts and deletes, otherwise inserts; gives the same. *State.* The different rows, by what bounds them;
/// of emissions none. *Cost.* O(1) a row.
pub struct Distinct {
    plan: DistinctPlan,
    groups: GroupTable,
    /// By row: how often it is there, or when it was last seen. Rows that are not there have none.
    known: Vec<Option<i64>>,
    /// With a time to live: when each row is to be looked at, oldest first.
    due: VecDeque<(Micros, GroupId)>,
    ids: Vec<GroupId>,
}

/// What a [`Distinct`] does.
#[derive(Debug, Clone)]
pub struct DistinctPlan {
    /// What bounds it.
    pub bound: Bound,
    /// The columns.
    pub schema: SchemaRef,
}

/// Which rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// All.
    Never,
    /// Those that were seen less than so many µs ago.
    Unseen(Micros),
    /// Those in the sliding window.
    Present,
    /// Those of an emission.
    Emission,
}

impl OperatorPlan for DistinctPlan {
    fn name(&self) -> &'static str {
        "Distinct"
    }

    fn details(&self) -> Vec<String> {
        vec![match self.bound {
            Bound::Never => "of all rows".to_string(),
            Bound::Unseen(ttl) => format!("of rows seen in the last {} ms", ttl / 1_000),
            Bound::Present => "of the window's rows".to_string(),
            Bound::Emission => "of each emission".to_string(),
        }]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Distinct {
            groups: self.groups()?,
            known: Vec::new(),
            due: VecDeque::new(),
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl DistinctPlan {
    /// A table of rows; an error when there are columns that cannot be compared.
    pub fn groups(&self) -> Result<GroupTable> {
        let types = self.schema.fields().iter().map(|field| field.data_type().clone());
        GroupTable::new(&types.collect::<Vec<DataType>>())
    }
}

impl Operator for Distinct {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if self.plan.bound == Bound::Emission {
            self.groups = self.plan.groups()?;
            self.known.clear();
        }
        self.groups
            .assign(batch.columns().columns(), batch.num_rows(), &mut self.ids)?;
        let unknown = self.known.len().max(self.groups.capacity());
        self.known.resize(unknown, None);
        let kept: BooleanArray = match self.plan.bound {
            Bound::Never => self.first_seen(),
            Bound::Unseen(ttl) => self.long_unseen(&batch, ttl),
            Bound::Present => self.present(&batch),
            Bound::Emission => self.of_emission(&batch),
        };
        out.emit(batch.filter(&kept)?);
        match self.plan.bound {
            Bound::Unseen(ttl) => self.forget_unseen(latest(&batch), ttl),
            Bound::Present => self.forget_absent(),
            _ => {}
        }
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, _out: &mut Output) -> Result<()> {
        if let (TimeUpdate::Watermark(watermark), Bound::Unseen(ttl)) = (time, self.plan.bound) {
            self.forget_unseen(watermark, ttl);
        }
        Ok(())
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        if self.plan.bound == Bound::Emission {
            return Ok(());
        }
        self.groups.snapshot(state)?;
        state.value(&(&self.known, &self.due))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        if self.plan.bound == Bound::Emission {
            return Ok(());
        }
        self.groups.restore(state)?;
        (self.known, self.due) = state.value()?;
        Ok(())
    }
}

impl Distinct {
    fn first_seen(&mut self) -> BooleanArray {
        let known = &mut self.known;
        let first = self.ids.iter().map(|&id| Some(known[id as usize].replace(1).is_none()));
        first.collect()
    }

    fn long_unseen(&mut self, batch: &EventBatch, ttl: Micros) -> BooleanArray {
        let (known, due) = (&mut self.known, &mut self.due);
        let kept = self.ids.iter().enumerate().map(|(row, &id)| {
            let now = batch.time(row);
            let last = &mut known[id as usize];
            let unseen = last.is_none_or(|last| last.saturating_add(ttl) <= now);
            if last.is_none() {
                due.push_back((now.saturating_add(ttl), id));
            }
            // A late event does not make a row older.
            *last = Some(last.map_or(now, |last| last.max(now)));
            Some(unseen)
        });
        kept.collect()
    }

    /// Forgets rows that were not seen for so long. Each is looked at again once in that time, at most.
    fn forget_unseen(&mut self, now: Micros, ttl: Micros) {
        let mut gone = Vec::new();
        while let Some(&(at, id)) = self.due.front()
            && at <= now
        {
            self.due.pop_front();
            let last = &mut self.known[id as usize];
            match last.map(|last| last.saturating_add(ttl)).filter(|at| *at > now) {
                Some(later) => self.due.push_back((later, id)),
                None => {
                    *last = None;
                    gone.push(id);
                }
            }
        }
        self.groups.forget(&gone);
    }

    fn present(&mut self, batch: &EventBatch) -> BooleanArray {
        let known = &mut self.known;
        let kept = self.ids.iter().enumerate().map(|(row, &id)| {
            let copies = known[id as usize].get_or_insert(0);
            let enters = adds(batch.op(row));
            *copies += if enters { 1 } else { -1 };
            Some(*copies == i64::from(enters))
        });
        kept.collect()
    }

    fn forget_absent(&mut self) {
        let mut gone = Vec::new();
        for &id in &self.ids {
            let copies = &mut self.known[id as usize];
            if copies.is_some_and(|copies| copies <= 0) {
                *copies = None;
                gone.push(id);
            }
        }
        self.groups.forget(&gone);
    }

    fn of_emission(&mut self, batch: &EventBatch) -> BooleanArray {
        const ENTERED: i64 = 1;
        const LEFT: i64 = 2;
        let known = &mut self.known;
        let kept = self.ids.iter().enumerate().map(|(row, &id)| {
            let seen = known[id as usize].get_or_insert(0);
            let now = if adds(batch.op(row)) { ENTERED } else { LEFT };
            let first = *seen & now == 0;
            *seen |= now;
            Some(first)
        });
        kept.collect()
    }
}

fn latest(batch: &EventBatch) -> Micros {
    let times = (0..batch.num_rows()).map(|row| batch.time(row));
    times.max().unwrap_or(Micros::MIN)
}
