//! Join of windows: what arrives on either side meets what the other side's window holds.

use super::candidates::{BLOCK, Candidates, Lonely, Meeting};
use super::keys::{JoinKeys, NO_KEY};
use super::layout::Layout;
use super::lists::Lists;
use super::row_table::RowTable;
use super::spec::{JoinSpec, Side};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::operators::aggregates::GroupId;
use crate::operators::running_aggregate::adds;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Operator, OperatorPlan, Output, Port};
use crate::windows::row_store::{NO_ROW, RowId, RowStore};

/// Joins what enters or leaves one window with what the other one holds.
///
/// *Semantics.* A row that enters a side that triggers meets the rows that the other side holds, in the order they came, and is
/// then held itself. A row that leaves meets them, too, which gives deletes, and is gone: so a joined row leaves once, when the
/// first of its two rows does. A row that meets nothing is joined with NULLs, if the kind of join keeps its side. The event time
/// of a joined row is that of the row that came or left.
///
/// *Ops.* Takes inserts and deletes; gives the same, deletes only if the plan asks for what expires. For an emission of a batch
/// window one batch goes out. *State.* What the windows hold: the columns that are read, and 20 bytes a row, twice that where rows
/// leave in any order. *Cost.* O(1) a row and O(1) a pair that the keys let meet, whatever the windows hold. Without keys each
/// row meets all that the other side holds, in blocks of [`BLOCK`] pairs.
pub struct WindowJoin {
    plan: WindowJoinPlan,
    layout: Layout,
    keys: JoinKeys,
    contents: [Content; 2],
    ids: Vec<GroupId>,
}

/// What a window join does.
#[derive(Debug, Clone)]
pub struct WindowJoinPlan {
    /// Which rows match.
    pub join: JoinSpec,
    /// The left and the right side.
    pub sides: [WindowSide; 2],
    /// Whether rows that leave a window give output.
    pub expired: bool,
}

/// What is to be known of one side of a window join.
#[derive(Debug, Clone, Copy)]
pub struct WindowSide {
    /// Whether its rows give output. Not, when the other side is UNIDIRECTIONAL.
    pub triggers: bool,
    /// Whether it has a window. Without one its rows meet the other side and are gone.
    pub holds: bool,
    /// In which order its rows leave.
    pub leaving: Leaving,
    /// What a batch of it is.
    pub batches: Batches,
}

/// In which order rows leave a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// As they came. The oldest row of a key is then the one that leaves, and nothing has to be compared.
    InOrder,
    /// In any order: the earliest row that equals the one that leaves is gone.
    AnyOrder,
}

/// What a batch of a window's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batches {
    /// A run of changes, of any length. What goes out for it may be cut.
    Run,
    /// An emission of a batch window. What goes out for it is one batch.
    Emission,
}

impl OperatorPlan for WindowJoinPlan {
    fn name(&self) -> &'static str {
        "WindowJoin"
    }

    fn details(&self) -> Vec<String> {
        let silent = Side::BOTH.into_iter().filter(|side| !self.sides[side.port()].triggers);
        let only = silent.map(|side| match side {
            Side::Left => "triggered by the right side".to_string(),
            Side::Right => "triggered by the left side".to_string(),
        });
        self.join.details().into_iter().chain(only).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let content = |side: Side| -> Result<Content> {
            let schema = &self.join.input(side).schema;
            let all = (0..schema.fields().len()).collect();
            let of = self.sides[side.port()];
            let compared = of.holds && of.leaving == Leaving::AnyOrder;
            Ok(Content {
                equal: compared.then(|| RowTable::new(schema, all)).transpose()?,
                rows: RowStore::default(),
                by_key: Lists::default(),
            })
        };
        Ok(Box::new(WindowJoin {
            layout: Layout::new(&self.join)?,
            keys: JoinKeys::new(&self.join)?,
            contents: [content(Side::Left)?, content(Side::Right)?],
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for WindowJoin {
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let side = Side::of(port);
        let of = self.plan.sides[side.port()];
        let batch = self.keys.assign(side, batch, &mut self.ids, out)?;
        let kept = self.layout.keep(side, &batch)?;
        if of.triggers {
            self.meet(side, &kept, out)?;
        }
        if of.holds {
            self.contents[side.port()].change(&batch, kept, &self.ids)?;
        }
        let contents = &self.contents;
        let used = |key| contents.iter().any(|content| !content.by_key.is_empty(key));
        self.keys.forget(&[], used);
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        self.contents.iter().try_for_each(|content| content.snapshot(state))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.contents.iter_mut().try_for_each(|content| content.restore(state))
    }
}

impl WindowJoin {
    /// Joins a batch with what the other side holds.
    fn meet(&self, side: Side, batch: &EventBatch, out: &mut Output) -> Result<()> {
        let other = &self.contents[side.other().port()];
        let meeting = Meeting {
            side,
            batch,
            others: &other.rows,
        };
        let mut candidates = Candidates::new(match self.plan.join.kind.keeps(side) {
            true => Lonely::Kept,
            false => Lonely::Dropped,
        });
        let mut pairs = Pairs::default();
        for (row, &key) in self.ids.iter().enumerate() {
            if !self.plan.expired && !adds(batch.op(row)) {
                continue;
            }
            if key != NO_KEY {
                for met in other.by_key.rows(key) {
                    candidates.push(row, met);
                    if candidates.room() == 0 {
                        self.select(&mut candidates, &meeting, &mut pairs, out)?;
                    }
                }
            }
            candidates.close(row);
        }
        self.select(&mut candidates, &meeting, &mut pairs, out)?;
        self.emit(&meeting, &mut pairs, out)
    }

    /// Adds the candidates that match to the pairs, which go out when there are many, unless they must go out together.
    fn select(
        &self,
        candidates: &mut Candidates,
        meeting: &Meeting<'_>,
        pairs: &mut Pairs,
        out: &mut Output,
    ) -> Result<()> {
        candidates.select(&self.layout, meeting, out)?;
        candidates.drain_into(&mut pairs.rows, &mut pairs.others);
        let together = self.plan.sides[meeting.side.port()].batches == Batches::Emission;
        match pairs.rows.len() >= BLOCK && !together {
            true => self.emit(meeting, pairs, out),
            false => Ok(()),
        }
    }

    fn emit(&self, meeting: &Meeting<'_>, pairs: &mut Pairs, out: &mut Output) -> Result<()> {
        let Pairs { rows, others } = std::mem::take(pairs);
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.layout.joined(meeting.pairs(&rows, &others))?;
        let times = meeting.batch.times().take(&rows);
        out.emit(match meeting.batch.ops() {
            None => EventBatch::inserts(columns, times),
            Some(ops) => {
                let ops = rows.iter().map(|&row| ops[row as usize]).collect();
                EventBatch::changes(columns, times, ops)
            }
        });
        Ok(())
    }
}

/// Rows of a batch, each with the row that it met.
#[derive(Default)]
struct Pairs {
    rows: Vec<u32>,
    others: Vec<RowId>,
}

/// What a window holds. Rows whose key matches nothing are not kept.
struct Content {
    rows: RowStore,
    by_key: Lists,
    /// Finds the row that leaves; without it, it is the oldest one of its key.
    equal: Option<RowTable>,
}

impl Content {
    /// Rows enter and leave. `kept` are the columns of the batch that are kept.
    fn change(&mut self, batch: &EventBatch, kept: EventBatch, keys: &[GroupId]) -> Result<()> {
        if let Some(equal) = &mut self.equal {
            equal.begin(batch)?;
        }
        let enters = |row: usize| keys[row] != NO_KEY && adds(batch.op(row));
        let ids = self.rows.push_where(kept, enters)?;
        for (row, (&id, &key)) in ids.iter().zip(keys).enumerate() {
            if id != NO_ROW {
                self.by_key.push(key, id);
                if let Some(equal) = &mut self.equal {
                    equal.push(row, id);
                }
            } else if key != NO_KEY {
                self.leave(row, key);
            }
        }
        if let Some(equal) = &mut self.equal {
            equal.end();
        }
        self.rows.settle()
    }

    /// The row leaves that row `at` of the batch stands for.
    fn leave(&mut self, at: usize, key: GroupId) {
        let gone = match &self.equal {
            Some(equal) => equal.earliest(at),
            None => self.by_key.first(key),
        };
        if let Some(gone) = gone {
            self.by_key.remove(gone);
            if let Some(equal) = &mut self.equal {
                equal.remove(gone);
            }
            self.rows.remove(gone);
        }
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.rows.snapshot(state)?;
        self.by_key.snapshot(state)?;
        self.equal.as_ref().map_or(Ok(()), |equal| equal.snapshot(state))
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.rows.restore(state)?;
        self.by_key.restore(state)?;
        self.equal.as_mut().map_or(Ok(()), |equal| equal.restore(state))
    }
}
