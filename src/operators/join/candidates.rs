//! [`Candidates`]: pairs of rows that may match, a block at a time.

use arrow::buffer::BooleanBuffer;

use super::layout::{Layout, Picked};
use super::spec::Side;
use crate::error::{ErrorKind, Result, RowError};
use crate::event::EventBatch;
use crate::operators::Output;
use crate::operators::running_aggregate::adds;
use crate::windows::row_store::{NO_ROW, RowId, RowStore};

/// So many pairs are looked at together, and go out together.
pub const BLOCK: usize = 65_536;

/// Pairs of a row of the batch that has come and a row that the other side has. A row of the batch that matches nothing is paired
/// with [`NO_ROW`], if that is asked for.
///
/// Of one batch. Used in turns: [`Candidates::push`] and, after the last one of a row, [`Candidates::close`], until there is no
/// [`Candidates::room`] or the batch is through; [`Candidates::select`]; the pairs that are left are used, and
/// [`Candidates::clear`].
pub struct Candidates {
    rows: Vec<u32>,
    others: Vec<RowId>,
    lonely: Lonely,
    /// The last row that was found to match.
    matched: u32,
}

/// What becomes of rows that match nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lonely {
    /// They are left out.
    Dropped,
    /// They are paired with [`NO_ROW`].
    Kept,
}

/// The batch that meets the other side.
pub struct Meeting<'a> {
    /// The side that the batch is of.
    pub side: Side,
    /// The batch, of which only the columns are left that are kept.
    pub batch: &'a EventBatch,
    /// What the other side has.
    pub others: &'a RowStore,
}

impl Candidates {
    /// No pairs yet.
    pub fn new(lonely: Lonely) -> Self {
        Candidates {
            rows: Vec::new(),
            others: Vec::new(),
            lonely,
            matched: NO_ROW,
        }
    }

    /// Adds a pair. Those of one row come one after the other.
    #[inline]
    pub fn push(&mut self, row: usize, other: RowId) {
        self.rows.push(row as u32);
        self.others.push(other);
    }

    /// All pairs of a row have been added.
    #[inline]
    pub fn close(&mut self, row: usize) {
        if self.lonely == Lonely::Kept {
            self.push(row, NO_ROW);
        }
    }

    /// How many pairs may be added before it is time to select.
    pub fn room(&self) -> usize {
        BLOCK.saturating_sub(self.rows.len())
    }

    /// Leaves the pairs that match. A pair for which the condition fails does not; it is reported, once for each row of the
    /// batch, unless that row leaves.
    pub fn select(&mut self, layout: &Layout, meeting: &Meeting<'_>, out: &mut Output) -> Result<()> {
        match (layout.filter(), self.lonely) {
            (None, Lonely::Dropped) => return Ok(()),
            (None, Lonely::Kept) => self.retain(None),
            (Some(_), _) => {
                let mask = self.evaluate(layout, meeting, out)?;
                self.retain(Some(&mask));
            }
        }
        Ok(())
    }

    /// The pairs: rows of the batch, and numbers of rows of the other side.
    pub fn pairs(&self) -> (&[u32], &[RowId]) {
        (&self.rows, &self.others)
    }

    /// Takes the pairs out.
    pub fn drain_into(&mut self, rows: &mut Vec<u32>, others: &mut Vec<RowId>) {
        rows.append(&mut self.rows);
        others.append(&mut self.others);
    }

    /// Forgets the pairs, for the next block.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.others.clear();
    }

    /// What the condition says of the pairs that have two rows.
    fn evaluate(&self, layout: &Layout, meeting: &Meeting<'_>, out: &mut Output) -> Result<BooleanBuffer> {
        let Some(filter) = layout.filter() else {
            return Ok(BooleanBuffer::new_set(self.rows.len()));
        };
        let (rows, others) = match self.lonely {
            Lonely::Dropped => (None, None),
            Lonely::Kept => {
                let pairs = self
                    .rows
                    .iter()
                    .zip(&self.others)
                    .filter(|(_, other)| **other != NO_ROW);
                let (rows, others): (Vec<u32>, Vec<RowId>) = pairs.unzip();
                (Some(rows), Some(others))
            }
        };
        let rows = rows.as_deref().unwrap_or(&self.rows);
        let others = others.as_deref().unwrap_or(&self.others);
        if rows.is_empty() {
            return Ok(BooleanBuffer::new_set(0));
        }
        let pairs = meeting.pairs(rows, others);
        let (mask, failed) = filter.matches(layout, pairs)?;
        let mut reported = NO_ROW;
        for failed in failed {
            let row = rows[failed.pair];
            if row != reported && adds(meeting.batch.op(row as usize)) {
                reported = row;
                out.error(RowError {
                    kind: ErrorKind::Evaluate,
                    message: failed.reason,
                    event: failed.values,
                    line: None,
                    at: out.now(),
                    attempts: 1,
                });
            }
        }
        Ok(mask)
    }

    /// Drops pairs of two rows that are not in the mask, and the [`NO_ROW`] of rows that match.
    fn retain(&mut self, mask: Option<&BooleanBuffer>) {
        let (mut kept, mut pair) = (0, 0);
        for at in 0..self.rows.len() {
            let (row, other) = (self.rows[at], self.others[at]);
            let stays = if other == NO_ROW {
                self.matched != row
            } else {
                let matches = mask.is_none_or(|mask| mask.value(pair));
                pair += 1;
                if matches {
                    self.matched = row;
                }
                matches
            };
            if stays {
                self.rows[kept] = row;
                self.others[kept] = other;
                kept += 1;
            }
        }
        self.rows.truncate(kept);
        self.others.truncate(kept);
    }
}

impl<'a> Meeting<'a> {
    /// Rows of the batch and rows of the other side, as left and right rows.
    pub fn pairs<'b>(&self, rows: &'b [u32], others: &'b [RowId]) -> [Picked<'b>; 2]
    where
        'a: 'b,
    {
        let own = Picked::Of(self.batch.columns(), rows);
        let other = Picked::In(self.others, others);
        match self.side {
            Side::Left => [own, other],
            Side::Right => [other, own],
        }
    }
}
