//! `OUTPUT … EVERY`: a query's rows at a slower rate.

use arrow::datatypes::DataType;

use super::aggregates::GroupId;
use super::{Operator, OperatorPlan};
use crate::error::Result;
use crate::event::Micros;

mod collect;
mod last;
mod period;
mod snapshot;

use collect::Collect;
use snapshot::SnapshotRate;

/// What an output rate does.
#[derive(Debug, Clone)]
pub struct OutputRatePlan {
    /// Which rows of a period go out.
    pub kind: RateKind,
    /// How long a period is.
    pub every: Every,
    /// The columns of the group that a row belongs to; empty when all rows are one group.
    pub keys: Vec<usize>,
    /// Their types.
    pub key_types: Vec<DataType>,
    /// The columns that are aggregates: a snapshot shows the group's latest.
    pub aggregates: Vec<usize>,
}

/// Which rows of a period go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateKind {
    /// All, at its end.
    All,
    /// The first of each group, at once.
    First,
    /// The last of each group, at its end.
    Last,
    /// What the query's window holds, at its end.
    Snapshot(Content),
}

/// What a snapshot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The last row of each group: there is no window.
    LastRows,
    /// The rows that have entered and not left.
    Window,
    /// The rows of the last emission.
    Emission,
}

/// The length of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// So many output rows.
    Events(u64),
    /// So long, in processing time, from the start of the app.
    Time(Micros),
}

impl OperatorPlan for OutputRatePlan {
    fn name(&self) -> &'static str {
        match self.kind {
            RateKind::All => "OutputAll",
            RateKind::First => "OutputFirst",
            RateKind::Last => "OutputLast",
            RateKind::Snapshot(_) => "OutputSnapshot",
        }
    }

    fn details(&self) -> Vec<String> {
        vec![match self.every {
            Every::Events(events) => format!("every {events} events"),
            Every::Time(time) => format!("every {} ms", time / 1_000),
        }]
    }

    fn takes_chunks(&self) -> bool {
        self.kind != RateKind::First && matches!(self.every, Every::Time(_))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(match self.kind {
            RateKind::Snapshot(content) => Box::new(SnapshotRate::new(self.clone(), content)),
            _ => Box::new(Collect::new(self.clone())),
        })
    }
}

/// The group of every row when there are no keys.
const ONE_GROUP: GroupId = 0;
