//! Join of two streams or changelogs, all of whose rows are kept.

use super::candidates::{BLOCK, Candidates, Lonely, Meeting};
use super::kept::{Kept, Steps};
use super::keys::{JoinKeys, NO_KEY};
use super::layout::Layout;
use super::spec::{JoinSpec, Side};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::aggregates::GroupId;
use crate::operators::running_aggregate::adds;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::windows::row_store::{NO_ROW, RowId};

/// Joins all rows of one side with all of the other, as they come and are taken back: what has gone out is, at any time, a
/// changelog of the join of what has come in.
///
/// *Semantics.* A row that comes is joined with the rows that match it, in the order these came; one that is taken back takes its
/// pairs back. A row of a side that the kind of join keeps goes out with NULLs as long as it has no match: when the first one
/// comes, that is taken back before the pair goes out, and when the last one goes, it goes out again. A row that is taken back but
/// is not there is ignored. The event time of a row that goes out is the latest of the rows it is made of and the one that
/// caused it, so that a changelog sorted by time is still one.
///
/// *Ops.* Takes any; gives inserts and deletes, of an inner join of inserts only inserts. *State.* All rows of both sides, or
/// those not older than their `ttl`: the columns that are read and, by what is asked for, 20 to 60 bytes a row. *Cost.* O(1) a row
/// and O(1) a pair that the keys let meet. Rows are dropped in O(1), by timer or when a batch comes.
pub struct ChangelogJoin {
    plan: ChangelogJoinPlan,
    layout: Layout,
    keys: JoinKeys,
    kept: [Kept; 2],
    ids: Vec<GroupId>,
}

/// What a changelog join does.
#[derive(Debug, Clone)]
pub struct ChangelogJoinPlan {
    /// Which rows match.
    pub join: JoinSpec,
    /// The left and the right side.
    pub sides: [ChangelogSide; 2],
}

/// What is to be known of one side of a changelog join.
#[derive(Debug, Clone)]
pub struct ChangelogSide {
    /// What tells a row that is taken back.
    pub identity: Identity,
    /// How long a row is kept, in µs of processing time from its arrival; `None` for ever. With it the results are approximate:
    /// a row that came too late for its partner misses it, and what was joined with a dropped row is not taken back.
    pub ttl: Option<Micros>,
}

/// What tells a row that is taken back (`-D`, `-U`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Rows are only inserted.
    Inserts,
    /// All its columns: the earliest row that equals the one taken back is gone.
    Row,
    /// These columns, which are a primary key: other columns of a row taken back need not be filled in, and a row (`+I`, `+U`)
    /// whose key is there replaces that one.
    Key(Vec<usize>),
}

impl OperatorPlan for ChangelogJoinPlan {
    fn name(&self) -> &'static str {
        "StreamJoin"
    }

    fn details(&self) -> Vec<String> {
        let ttls = Side::BOTH.into_iter().zip(&self.sides).filter_map(|(side, of)| {
            let name = match side {
                Side::Left => "left",
                Side::Right => "right",
            };
            Some(format!("{name} rows of the last {} ms", of.ttl? / 1_000))
        });
        self.join.details().into_iter().chain(ttls).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let kept = |side: Side| {
            let of = &self.sides[side.port()];
            Kept::new(side, of, &self.join)
        };
        Ok(Box::new(ChangelogJoin {
            layout: Layout::new(&self.join)?,
            keys: JoinKeys::new(&self.join)?,
            kept: [kept(Side::Left)?, kept(Side::Right)?],
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for ChangelogJoin {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        self.drop_old(out.now())?;
        let side = Side::of(port);
        let batch = self.keys.assign(side, batch, &mut self.ids, out)?;
        let kept = self.layout.keep(side, &batch)?;
        let steps = self.kept[side.port()].change(&self.layout, &batch, kept, &self.ids, out.now())?;
        self.meet(side, &steps, out)?;
        self.kept[side.port()].settle()?;
        let kept = &self.kept;
        self.keys
            .forget(&steps.keys, |key| kept.iter().any(|side| side.has(key)));
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let TimeUpdate::Timer(now) = time {
            self.drop_old(now)?;
        }
        self.set_timer(out);
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        self.kept.iter().try_for_each(|side| side.snapshot(state))
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.keys.begin_snapshot(state)?;
        self.kept.iter().try_for_each(|side| side.snapshot(state))
    }

    fn continue_snapshot(&mut self, bytes: usize) -> Result<usize> {
        Ok(self.keys.continue_snapshot(bytes))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.kept.iter_mut().try_for_each(|side| side.restore(state))
    }
}

impl ChangelogJoin {
    /// Joins the steps of a side with the rows of the other.
    fn meet(&mut self, side: Side, steps: &Steps, out: &mut Output) -> Result<()> {
        let mut candidates = Candidates::new(match self.plan.join.kind.keeps(side) {
            true => Lonely::Kept,
            false => Lonely::Dropped,
        });
        let mut changes = Changes::default();
        for (step, &key) in steps.keys.iter().enumerate() {
            let mut next = match key {
                NO_KEY => None,
                key => self.kept[side.other().port()].first(key),
            };
            while let Some(met) = next {
                candidates.push(step, met);
                next = self.kept[side.other().port()].after(met);
                if candidates.room() == 0 {
                    self.select(side, steps, &mut candidates, &mut changes, out)?;
                }
            }
            candidates.close(step);
        }
        self.select(side, steps, &mut candidates, &mut changes, out)?;
        self.emit(side, steps, &mut changes, out)
    }

    /// Makes changes of the candidates that match.
    fn select(
        &mut self,
        side: Side,
        steps: &Steps,
        candidates: &mut Candidates,
        changes: &mut Changes,
        out: &mut Output,
    ) -> Result<()> {
        let meeting = Meeting {
            side,
            batch: &steps.batch,
            others: self.kept[side.other().port()].rows(),
        };
        candidates.select(&self.layout, &meeting, out)?;
        let (pairs, others) = candidates.pairs();
        let [left, right] = &mut self.kept;
        let (own, other) = match side {
            Side::Left => (left, right),
            Side::Right => (right, left),
        };
        for (&step, &met) in pairs.iter().zip(others) {
            let row = steps.rows[step as usize];
            match adds(steps.batch.op(step as usize)) {
                true => changes.came(step, own.met(row), met, other.met(met)),
                false => changes.went(step, own.met(row), met, other.met(met)),
            }
        }
        candidates.clear();
        match changes.ops.len() >= BLOCK {
            true => self.emit(side, steps, changes, out),
            false => Ok(()),
        }
    }

    fn emit(&self, side: Side, steps: &Steps, changes: &mut Changes, out: &mut Output) -> Result<()> {
        let Changes {
            causes,
            rows,
            others,
            ops,
        } = std::mem::take(changes);
        if ops.is_empty() {
            return Ok(());
        }
        let meeting = Meeting {
            side,
            batch: &steps.batch,
            others: self.kept[side.other().port()].rows(),
        };
        let columns = self.layout.joined(meeting.pairs(&rows, &others))?;
        let times = causes.iter().zip(&others).map(|(&step, &other)| {
            let time = steps.batch.time(step as usize);
            meeting.others.time(other).map_or(time, |other| other.max(time))
        });
        let times = Times::Each(times.collect());
        out.emit(EventBatch::changes(columns, times, ops.into()));
        Ok(())
    }

    fn drop_old(&mut self, now: Micros) -> Result<()> {
        let mut keys = Vec::new();
        for side in &mut self.kept {
            side.drop_old(now, &mut keys)?;
        }
        if !keys.is_empty() {
            let kept = &self.kept;
            self.keys.forget(&keys, |key| kept.iter().any(|side| side.has(key)));
        }
        Ok(())
    }

    fn set_timer(&self, out: &mut Output) {
        if let Some(at) = self.kept.iter().filter_map(Kept::next_drop).min() {
            out.wake_at(at);
        }
    }
}

/// What goes out: which step causes it; of which step and which row of the other side it is made, [`NO_ROW`] for NULLs.
#[derive(Default)]
struct Changes {
    causes: Vec<u32>,
    rows: Vec<u32>,
    others: Vec<RowId>,
    ops: Vec<Op>,
}

impl Changes {
    /// The row of a step has come and matches `other`, or nothing. How many rows they have met is counted where that is asked for.
    fn came(&mut self, step: u32, own_met: Option<&mut u32>, other: RowId, other_met: Option<&mut u32>) {
        if other == NO_ROW {
            return self.push(step, step, NO_ROW, Op::Insert);
        }
        if let Some(met) = other_met {
            if *met == 0 {
                self.push(step, NO_ROW, other, Op::Delete);
            }
            *met += 1;
        }
        if let Some(met) = own_met {
            *met += 1;
        }
        self.push(step, step, other, Op::Insert);
    }

    /// The row of a step has been taken back; it matches `other`, or nothing.
    fn went(&mut self, step: u32, own_met: Option<&mut u32>, other: RowId, other_met: Option<&mut u32>) {
        if other == NO_ROW {
            // Otherwise what it has met was dropped for its age, and there is no row with NULLs.
            if own_met.is_none_or(|met| *met == 0) {
                self.push(step, step, NO_ROW, Op::Delete);
            }
            return;
        }
        self.push(step, step, other, Op::Delete);
        if let Some(met) = other_met {
            *met = met.saturating_sub(1);
            if *met == 0 {
                self.push(step, NO_ROW, other, Op::Insert);
            }
        }
    }

    fn push(&mut self, cause: u32, row: u32, other: RowId, op: Op) {
        self.causes.push(cause);
        self.rows.push(row);
        self.others.push(other);
        self.ops.push(op);
    }
}
