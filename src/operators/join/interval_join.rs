//! Join of rows whose times are near each other.

use std::ops::Bound;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use super::candidates::{BLOCK, Candidates, Lonely, Meeting};
use super::keys::{JoinKeys, NO_KEY};
use super::layout::{Layout, Picked};
use super::spec::{JoinSpec, Side};
use super::waiting::{Marked, Waiting};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Times};
use crate::operators::aggregates::GroupId;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::windows::TimeDomain;
use crate::windows::row_store::{NO_ROW, RowId};

/// Joins rows of equal keys whose times are near each other.
///
/// *Semantics.* A right row matches a left one if `right.time - left.time` is in the [`Interval`]. A pair goes out when the second
/// of its rows comes, with the later one of their times; the pairs of one row are in the order of the other side's times. Each
/// side comes in the order of its times; a row that does not (a late one that was accepted) is joined all the same, as far as
/// what it could meet has not been dropped yet. A row of a side that the kind of join keeps goes out with NULLs once the other
/// side can bring nothing more for it, with its own time; at once if its key is NULL. Rows that go out at the same watermark do
/// so in the order of their times, left ones first.
///
/// *Ops.* Inserts. *State.* The rows that the watermark has not passed by more than the interval: the columns that are read, and
/// about 70 bytes a row. *Cost.* O(log rows of the key) a row and O(1) a pair; a row is dropped in O(1). A watermark that drops
/// nothing costs nothing.
pub struct IntervalJoin {
    plan: IntervalJoinPlan,
    layout: Layout,
    keys: JoinKeys,
    waiting: [Waiting; 2],
    ids: Vec<GroupId>,
}

/// What an interval join does.
#[derive(Debug, Clone)]
pub struct IntervalJoinPlan {
    /// Which rows match, besides the times.
    pub join: JoinSpec,
    /// How far their times may be apart.
    pub interval: Interval,
    /// The columns that hold the times of the left and the right rows, TIMESTAMP; `None` for the events' times. A column must
    /// be the one that the watermark is about. Rows that have NULL there match nothing.
    pub times: [Option<usize>; 2],
    /// What moves time: watermarks, or the clock when events' times are those of their arrival.
    pub domain: TimeDomain,
}

/// The times that a right row may have, counted from the left row's: `left + lower ..= left + upper`.
///
/// Both ends must be there: were one missing, the rows of one side could never be dropped (that is a plain join with a
/// condition). An interval whose upper end is before its lower one holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// From here on.
    pub lower: Micros,
    /// Up to and including this.
    pub upper: Micros,
}

impl Interval {
    /// Between two bounds of `right.time - left.time`; `None` if either is missing. Times are whole µs, so an end that does not
    /// belong is the same as one µs less.
    pub fn between(lower: Bound<Micros>, upper: Bound<Micros>) -> Option<Self> {
        let lower = match lower {
            Bound::Included(lower) => lower,
            Bound::Excluded(lower) => lower.saturating_add(1),
            Bound::Unbounded => return None,
        };
        let upper = match upper {
            Bound::Included(upper) => upper,
            Bound::Excluded(upper) => upper.saturating_sub(1),
            Bound::Unbounded => return None,
        };
        Some(Interval { lower, upper })
    }

    /// The times of the other side that a row of `side` matches.
    fn around(&self, side: Side, time: Micros) -> (Micros, Micros) {
        match side {
            Side::Left => (time.saturating_add(self.lower), time.saturating_add(self.upper)),
            Side::Right => (time.saturating_sub(self.upper), time.saturating_sub(self.lower)),
        }
    }

    /// The last time of the other side that a row of `side` matches.
    fn last(&self, side: Side, time: Micros) -> Micros {
        self.around(side, time).1
    }
}

impl OperatorPlan for IntervalJoinPlan {
    fn name(&self) -> &'static str {
        "IntervalJoin"
    }

    fn details(&self) -> Vec<String> {
        let Interval { lower, upper } = self.interval;
        let within = format!("right - left from {lower} to {upper} µs of {}", self.domain);
        self.join.details().into_iter().chain([within]).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let waiting = |side: Side| match self.join.kind.keeps(side) {
            true => Waiting::new(Marked::Yes),
            false => Waiting::new(Marked::No),
        };
        Ok(Box::new(IntervalJoin {
            layout: Layout::new(&self.join)?,
            keys: JoinKeys::new(&self.join)?,
            waiting: Side::BOTH.map(waiting),
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for IntervalJoin {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let side = Side::of(port);
        let batch = self.keys.assign(side, batch, &mut self.ids, out)?;
        let times = self.times(side, &batch)?;
        let kept = self.layout.keep(side, &batch)?.with_times(times);
        let rows = self.waiting[side.port()].push(&kept, &self.ids)?;
        self.meet(side, &kept, &rows, out)?;
        let waiting = &self.waiting;
        self.keys.forget(&[], |key| waiting.iter().any(|side| side.has(key)));
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let Some(now) = self.plan.domain.reached_or_ended(time) {
            self.drop_before(now, out)?;
        }
        self.set_timer(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        // Rows that may yet go out with NULLs have their own times.
        let kept = Side::BOTH.into_iter().filter(|side| self.plan.join.kind.keeps(*side));
        let oldest = kept.filter_map(|side| self.waiting[side.port()].oldest());
        oldest.fold(input, Micros::min)
    }

    fn next_watermark(&self) -> Option<Micros> {
        match self.plan.domain {
            TimeDomain::Event => self.next_drop(),
            TimeDomain::Processing => None,
        }
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        self.waiting.iter().try_for_each(|side| side.snapshot(state))
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.keys.begin_snapshot(state)?;
        self.waiting.iter().try_for_each(|side| side.snapshot(state))
    }

    fn continue_snapshot(&mut self, bytes: usize) -> Result<usize> {
        Ok(self.keys.continue_snapshot(bytes))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.waiting.iter_mut().try_for_each(|side| side.restore(state))
    }
}

impl IntervalJoin {
    /// The times of a batch's rows. Those of a column that are NULL become the events', and their rows match nothing.
    fn times(&mut self, side: Side, batch: &EventBatch) -> Result<Times> {
        let Some(column) = self.plan.times[side.port()] else {
            return Ok(batch.times().clone());
        };
        let times = batch.column(column).as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| Error::failed("a join is on a time that is not TIMESTAMP"))?;
        if times.null_count() == 0 {
            return Ok(Times::Each(times.values().clone()));
        }
        let absent = self.ids.iter_mut().enumerate().filter(|(row, _)| times.is_null(*row));
        absent.for_each(|(_, id)| *id = NO_KEY);
        let time = |row: usize| match times.is_valid(row) {
            true => times.value(row),
            false => batch.time(row),
        };
        Ok(Times::Each((0..batch.num_rows()).map(time).collect()))
    }

    /// Joins a batch, whose rows have these numbers, with what waits on the other side.
    fn meet(&mut self, side: Side, batch: &EventBatch, rows: &[RowId], out: &mut Output) -> Result<()> {
        let keeps = self.plan.join.kind.keeps(side);
        let mut candidates = Candidates::new(match keeps {
            true => Lonely::Kept,
            false => Lonely::Dropped,
        });
        for row in 0..batch.num_rows() {
            match self.ids[row] {
                // Rows that have a key wait before they go out with NULLs.
                NO_KEY => candidates.close(row),
                key => {
                    let mut met = 0;
                    while self.add(side, batch, (row, key), &mut met, &mut candidates) {
                        self.select(side, batch, rows, &mut candidates, out)?;
                    }
                }
            }
        }
        self.select(side, batch, rows, &mut candidates, out)
    }

    /// Adds a row's candidates, after the first `met` ones, as far as there is room; whether there are more.
    fn add(
        &self,
        side: Side,
        batch: &EventBatch,
        (row, key): (usize, GroupId),
        met: &mut usize,
        candidates: &mut Candidates,
    ) -> bool {
        let (from, to) = self.plan.interval.around(side, batch.time(row));
        let within = self.waiting[side.other().port()].within(key, from, to);
        let (left, room) = (within.len().saturating_sub(*met), candidates.room());
        let rest = within.skip(*met).take(room);
        rest.for_each(|other| candidates.push(row, other));
        *met += room;
        left > room
    }

    /// Emits the candidates that match.
    fn select(
        &mut self,
        side: Side,
        batch: &EventBatch,
        rows: &[RowId],
        candidates: &mut Candidates,
        out: &mut Output,
    ) -> Result<()> {
        let [left, right] = &mut self.waiting;
        let (own, other) = match side {
            Side::Left => (left, right),
            Side::Right => (right, left),
        };
        let meeting = Meeting {
            side,
            batch,
            others: other.rows(),
        };
        candidates.select(&self.layout, &meeting, out)?;
        let (matched, others) = candidates.pairs();
        if !matched.is_empty() {
            let columns = self.layout.joined(meeting.pairs(matched, others))?;
            let times = matched.iter().zip(others).map(|(&row, &met)| {
                let time = batch.time(row as usize);
                other.rows().time(met).map_or(time, |met| met.max(time))
            });
            out.emit(EventBatch::inserts(columns, Times::Each(times.collect())));
        }
        for (&row, &met) in matched.iter().zip(others).filter(|(_, met)| **met != NO_ROW) {
            own.mark(rows[row as usize]);
            other.mark(met);
        }
        candidates.clear();
        Ok(())
    }

    /// Drops the rows that nothing from `now` on can meet; those that have met nothing go out with NULLs.
    fn drop_before(&mut self, now: Micros, out: &mut Output) -> Result<()> {
        let interval = self.plan.interval;
        let [of_left, of_right] = &mut self.waiting;
        let over = |side: Side| move |time| now == END_OF_TIME || interval.last(side, time) < now;
        let left = of_left.take_while(over(Side::Left));
        let right = of_right.take_while(over(Side::Right));
        if left.is_empty() && right.is_empty() {
            return Ok(());
        }
        let of_left = left.lonely.iter().map(|&(time, row)| (time, row, NO_ROW));
        let of_right = right.lonely.iter().map(|&(time, row)| (time, NO_ROW, row));
        let mut lonely: Vec<(Micros, RowId, RowId)> = of_left.chain(of_right).collect();
        lonely.sort_by_key(|(time, _, _)| *time);
        for block in lonely.chunks(BLOCK) {
            self.emit_lonely(block, out)?;
        }
        for (side, gone) in self.waiting.iter_mut().zip([&left, &right]) {
            side.forget(gone)?;
        }
        let keys: Vec<GroupId> = left.keys().chain(right.keys()).collect();
        let waiting = &self.waiting;
        self.keys.forget(&keys, |key| waiting.iter().any(|side| side.has(key)));
        Ok(())
    }

    /// Emits rows with NULLs; of each, the number on one side is [`NO_ROW`].
    fn emit_lonely(&self, lonely: &[(Micros, RowId, RowId)], out: &mut Output) -> Result<()> {
        let left: Vec<RowId> = lonely.iter().map(|(_, left, _)| *left).collect();
        let right: Vec<RowId> = lonely.iter().map(|(_, _, right)| *right).collect();
        let [of_left, of_right] = &self.waiting;
        let pairs = [Picked::In(of_left.rows(), &left), Picked::In(of_right.rows(), &right)];
        let columns = self.layout.joined(pairs)?;
        let times = lonely.iter().map(|(time, _, _)| *time).collect();
        out.emit(EventBatch::inserts(columns, Times::Each(times)));
        Ok(())
    }

    /// The least time at which something is dropped.
    fn next_drop(&self) -> Option<Micros> {
        let next = Side::BOTH.into_iter().filter_map(|side| {
            let oldest = self.waiting[side.port()].oldest()?;
            Some(self.plan.interval.last(side, oldest).saturating_add(1))
        });
        next.min()
    }

    fn set_timer(&self, out: &mut Output) {
        if self.plan.domain == TimeDomain::Processing
            && let Some(at) = self.next_drop()
        {
            out.wake_at(at);
        }
    }
}
