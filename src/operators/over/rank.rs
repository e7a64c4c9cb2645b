//! `ROW_NUMBER`, `RANK`, `DENSE_RANK`: the place of a row among those of its partition.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::Micros;
use crate::operators::aggregates::GroupId;
use crate::operators::state::{StateReader, StateWriter};

/// Which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankKind {
    /// How many rows there are up to this one.
    RowNumber,
    /// The row number of the first row of the same time.
    Rank,
    /// How many different times there are up to this one's.
    DenseRank,
}

/// Numbers the rows of each partition.
///
/// *State.* Three numbers a partition, for ever. *Cost.* O(1) a row.
pub struct Ranks {
    kind: RankKind,
    partitions: Vec<Place>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Place {
    rows: u64,
    rank: u64,
    dense: u64,
    time: Micros,
}

impl Ranks {
    /// Without any row yet.
    pub fn new(kind: RankKind) -> Self {
        Ranks {
            kind,
            partitions: Vec::new(),
        }
    }

    /// The numbers of rows, given their partitions and times.
    pub fn process(&mut self, groups: &[GroupId], marks: &[Micros]) -> ArrayRef {
        let most = groups.iter().max().map_or(0, |most| *most as usize + 1);
        if most > self.partitions.len() {
            self.partitions.resize(most, Place::default());
        }
        let numbers = groups.iter().zip(marks).map(|(&group, &time)| {
            let place = &mut self.partitions[group as usize];
            place.rows += 1;
            if place.rows == 1 || place.time != time {
                (place.rank, place.time) = (place.rows, time);
                place.dense += 1;
            }
            match self.kind {
                RankKind::RowNumber => place.rows,
                RankKind::Rank => place.rank,
                RankKind::DenseRank => place.dense,
            }
        });
        Arc::new(UInt64Array::from_iter_values(numbers))
    }

    /// Writes the numbers.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&self.partitions)
    }

    /// Reads them back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.partitions = state.value()?;
        Ok(())
    }
}
