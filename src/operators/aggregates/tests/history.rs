//! Random changelogs, and the rows that they leave.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::take;
use proptest::prelude::*;

use super::cases::Case;
use crate::event::Op;
use crate::operators::aggregates::{Changes, Retraction};

/// A row: a place in the pool (`None` for NULL) and what it is ordered by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub value: Option<usize>,
    pub rank: i64,
}

/// One row of a changelog.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub group: u32,
    pub row: Row,
    pub op: Op,
    pub filter: Option<bool>,
}

/// What proptest draws for one change.
#[derive(Debug, Clone)]
pub struct Draw {
    group: u32,
    value: Option<usize>,
    rank: i64,
    retract: bool,
    victim: usize,
    filter: Option<bool>,
}

/// How many groups there are.
pub const GROUPS: u32 = 3;

/// Batches of draws.
pub fn draws() -> impl Strategy<Value = Vec<Vec<Draw>>> {
    let filter = prop_oneof![8 => Just(Some(true)), 1 => Just(Some(false)), 1 => Just(None)];
    let value = prop_oneof![6 => (0_usize..100).prop_map(Some), 1 => Just(None)];
    let draw = (0..GROUPS, value, 0_i64..4, any::<bool>(), 0_usize..100, filter);
    let draw = draw.prop_map(|(group, value, rank, retract, victim, filter)| Draw {
        group,
        value,
        rank,
        retract,
        victim,
        filter,
    });
    prop::collection::vec(prop::collection::vec(draw, 0..25), 1..6)
}

/// The rows of each group, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Left(pub [Vec<Row>; GROUPS as usize]);

impl Left {
    /// The change that a draw means here, which is done.
    pub fn change(&mut self, draw: &Draw, retraction: Retraction, case: &Case) -> Change {
        let rows = &mut self.0[draw.group as usize];
        let filter = draw.filter;
        let row = Row {
            value: draw.value.map(|value| value % case.pool.len()),
            rank: if case.spec.order_by.is_empty() { 0 } else { draw.rank },
        };
        let victim = match retraction {
            _ if !draw.retract || rows.is_empty() => None,
            Retraction::Never => None,
            Retraction::Fifo => Some(rows[0]),
            Retraction::Any => Some(rows[draw.victim % rows.len()]),
        };
        let takes = filter == Some(true);
        let (row, op) = match victim {
            None => {
                rows.extend(takes.then_some(row));
                (
                    row,
                    if draw.victim.is_multiple_of(2) {
                        Op::Insert
                    } else {
                        Op::UpdateAfter
                    },
                )
            }
            Some(victim) => {
                let first = rows.iter().position(|row| *row == victim).filter(|_| takes);
                first.map(|first| rows.remove(first));
                (
                    victim,
                    if draw.victim.is_multiple_of(2) {
                        Op::Delete
                    } else {
                        Op::UpdateBefore
                    },
                )
            }
        };
        Change {
            group: draw.group,
            row,
            op,
            filter,
        }
    }
}

/// A batch of changes as columns.
pub struct Batch {
    groups: Vec<u32>,
    ops: Option<Vec<Op>>,
    arguments: Vec<ArrayRef>,
    filter: Option<BooleanArray>,
}

impl Batch {
    /// Of a case's values.
    pub fn new(case: &Case, changes: &[Change]) -> Self {
        let all_insert = changes.iter().all(|change| change.op == Op::Insert);
        let all_pass = changes.iter().all(|change| change.filter == Some(true));
        let filter = changes.iter().map(|change| change.filter);
        Batch {
            groups: changes.iter().map(|change| change.group).collect(),
            ops: (!all_insert).then(|| changes.iter().map(|change| change.op).collect()),
            arguments: columns(case, changes.iter().map(|change| change.row)),
            filter: (!all_pass).then(|| filter.collect()),
        }
    }

    /// Itself as the aggregates take it.
    pub fn changes(&self) -> Changes<'_> {
        Changes {
            groups: &self.groups,
            ops: self.ops.as_deref(),
            arguments: &self.arguments,
            filter: self.filter.as_ref(),
        }
    }
}

/// Rows as argument columns: values, constants, ranks.
pub fn columns(case: &Case, rows: impl Iterator<Item = Row>) -> Vec<ArrayRef> {
    let (values, ranks): (Vec<Option<u32>>, Vec<i64>) =
        rows.map(|row| (row.value.map(|at| at as u32), row.rank)).unzip();
    let length = ranks.len();
    let mut columns = vec![take(&case.pool, &UInt32Array::from(values), None).unwrap()];
    let constants = case.spec.constants.iter().flatten();
    columns.extend(constants.map(|value| value.to_array_of_size(length).unwrap()));
    if !case.spec.order_by.is_empty() {
        columns.push(Arc::new(Int64Array::from(ranks)));
    }
    assert!(columns.iter().all(|column| column.len() == length));
    columns
}
