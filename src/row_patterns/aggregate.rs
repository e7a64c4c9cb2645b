//! Aggregates over rows of a match.
//!
//! A measure's aggregate takes the rows of all matches of a batch at once ([`Aggregated`]). One in a condition is asked after
//! each row, of each thread: count, sum, avg, min and max of a column are kept with each set of rows, made from the set without
//! its last row ([`Tally`]); others are computed once for each set that is asked for, from all its rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use super::paths::{Member, NOTHING, SetId, Sets};
use super::pattern::Variables;
use super::scalar::Fault;
use crate::error::{Error, Result};
use crate::event::{EventBatch, Times};
use crate::operators::aggregate_plan::{AggregatePlan, Built};
use crate::patterns::columns::Value;
use crate::windows::gather::batch_of;

/// An aggregate as planned.
#[derive(Debug, Clone)]
pub struct Aggregated {
    /// As written.
    pub text: String,
    /// The rows that it takes.
    pub variables: Variables,
    /// The columns that its arguments read, by their places in what comes in.
    pub columns: Vec<usize>,
    /// Whether they read CLASSIFIER(): a column after these.
    pub labels: bool,
    /// Whether they read MATCH_NUMBER(): the last column.
    pub numbers: bool,
    /// These columns.
    pub schema: SchemaRef,
    /// The arguments.
    pub inputs: Vec<Arc<dyn PhysicalExpr>>,
    /// The aggregate of the arguments.
    pub plan: AggregatePlan,
    /// How its values are kept with sets, if they can.
    pub simple: Option<Simple>,
}

/// An aggregate of a column whose value follows from the one without the last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simple {
    /// Which.
    pub kind: SimpleKind,
    /// Of which of the columns that come in; none counts rows.
    pub column: Option<usize>,
}

/// Aggregates that are kept with sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimpleKind {
    /// `count`.
    Count,
    /// `sum` of integers.
    SumInt,
    /// `sum` of DOUBLE.
    SumFloat,
    /// `avg`.
    Avg,
    /// `min`.
    Min,
    /// `max`.
    Max,
}

impl Aggregated {
    /// Fresh state.
    pub fn build(&self) -> Result<Built> {
        Built::new(&self.plan)
    }

    /// Rows with their arguments computed.
    pub fn arguments(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<EventBatch> {
        let rows = batch_of(self.schema.clone(), columns, rows)?;
        let inputs = self.inputs.iter();
        let inputs = inputs.map(|input| Ok(input.evaluate(&rows)?.into_array(rows.num_rows())?));
        let arguments: RecordBatch =
            batch_of(self.plan.input.clone(), inputs.collect::<Result<_>>()?, rows.num_rows())?;
        Ok(EventBatch::inserts(arguments, Times::Same(0)))
    }

    /// The value of no rows, as an array of one.
    pub fn of_nothing(&self) -> Result<ArrayRef> {
        let mut built = self.build()?;
        // A group is known once it was met; this one was not.
        only(built.values(&[0])?)
    }

    /// The value of some rows, as an array of one.
    pub fn of(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<ArrayRef> {
        if rows == 0 {
            return self.of_nothing();
        }
        let mut built = self.build()?;
        built.update(&vec![0; rows], None, &self.arguments(columns, rows)?)?;
        only(built.values(&[0])?)
    }
}

/// The only column.
pub fn only(mut columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    columns.pop().ok_or_else(|| Error::failed("an aggregate gave nothing"))
}

/// The values of one aggregate of a condition, by set.
#[derive(Debug, Default)]
pub struct Tally {
    simple: Vec<Option<Kept>>,
    others: HashMap<SetId, ArrayRef>,
}

/// What is kept of a simple aggregate.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kept {
    count: i64,
    sum: Sum,
    /// The row of the least or largest value.
    row: u32,
}

/// A sum so far.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sum {
    Int(i128),
    Float(f64),
}

const NONE: Kept = Kept {
    count: 0,
    sum: Sum::Int(0),
    row: NOTHING,
};

/// What a simple aggregate gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Told {
    /// A number.
    Int(i64),
    /// A number.
    Float(f64),
    /// NULL.
    Null,
    /// The value of the column in this row of the match.
    Row(u32),
}

impl Tally {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.simple.clear();
        self.others.clear();
    }

    /// Takes new numbers of sets over.
    pub fn renumber(&mut self, places: &[SetId]) {
        let simple = std::mem::take(&mut self.simple);
        for (from, kept) in simple.into_iter().enumerate() {
            if places[from] != NOTHING {
                self.simple.push(kept);
            }
        }
        let others = std::mem::take(&mut self.others).into_iter();
        self.others = others
            .filter_map(|(set, value)| match set {
                NOTHING => Some((set, value)),
                set => (places[set as usize] != NOTHING).then(|| (places[set as usize], value)),
            })
            .collect();
    }

    /// The value of a set; `value` reads the aggregate's column in a row of the match. O(1), if the set without its last row
    /// has been asked for.
    pub fn simple<'v>(
        &mut self,
        simple: Simple,
        sets: &Sets,
        set: SetId,
        value: &dyn Fn(u32) -> Result<Value<'v>, Fault>,
    ) -> Result<Told, Fault> {
        if self.simple.len() < sets.len() {
            self.simple.resize(sets.len(), None);
        }
        // Sets that were not asked for are made up for, the shortest first.
        let mut missing: Vec<(SetId, Member)> = Vec::new();
        let mut at = set;
        let mut kept = NONE;
        while let Some((before, member)) = sets.split(at) {
            if let Some(known) = self.simple[at as usize] {
                kept = known;
                break;
            }
            missing.push((at, member));
            at = before;
        }
        for (set, member) in missing.into_iter().rev() {
            kept = kept.with(simple, member.row, value)?;
            self.simple[set as usize] = Some(kept);
        }
        kept.told(simple.kind)
    }

    /// The value of a set of another aggregate; `compute` gives it when it is not known.
    pub fn other(&mut self, set: SetId, compute: impl FnOnce() -> Result<ArrayRef>) -> Result<ArrayRef> {
        if let Some(known) = self.others.get(&set) {
            return Ok(known.clone());
        }
        let value = compute()?;
        self.others.insert(set, value.clone());
        Ok(value)
    }
}

impl Kept {
    fn with<'v>(
        self,
        simple: Simple,
        row: u32,
        value: &dyn Fn(u32) -> Result<Value<'v>, Fault>,
    ) -> Result<Self, Fault> {
        if simple.column.is_none() {
            return Ok(Kept {
                count: self.count + 1,
                ..self
            });
        }
        let new = value(row)?;
        if new == Value::Null {
            return Ok(self);
        }
        let better = match simple.kind {
            _ if self.row == NOTHING => true,
            SimpleKind::Min => is_less(new, value(self.row)?),
            SimpleKind::Max => is_less(value(self.row)?, new),
            _ => false,
        };
        let sum = match (self.sum, new) {
            (Sum::Int(sum), Value::Int(new)) => Sum::Int(sum + i128::from(new)),
            (Sum::Int(_), Value::Float(new)) => Sum::Float(new),
            (Sum::Float(sum), Value::Float(new)) => Sum::Float(sum + new),
            (sum, _) => sum,
        };
        Ok(Kept {
            count: self.count + 1,
            sum,
            row: if better { row } else { self.row },
        })
    }

    fn told(self, kind: SimpleKind) -> Result<Told, Fault> {
        Ok(match (kind, self.sum) {
            (SimpleKind::Count, _) => Told::Int(self.count),
            _ if self.count == 0 => Told::Null,
            (SimpleKind::Min | SimpleKind::Max, _) => Told::Row(self.row),
            (SimpleKind::SumInt, Sum::Int(sum)) => Told::Int(i64::try_from(sum).map_err(|_| Fault::Overflow)?),
            (SimpleKind::Avg, Sum::Int(sum)) => Told::Float(sum as f64 / self.count as f64),
            (SimpleKind::Avg, Sum::Float(sum)) => Told::Float(sum / self.count as f64),
            (_, Sum::Float(sum)) => Told::Float(sum),
            (_, Sum::Int(sum)) => Told::Float(sum as f64),
        })
    }
}

fn is_less(left: Value, right: Value) -> bool {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left < right,
        (Value::Float(left), Value::Float(right)) => left.total_cmp(&right).is_lt(),
        (Value::Text(left), Value::Text(right)) => left < right,
        (Value::Bool(left), Value::Bool(right)) => !left && right,
        _ => false,
    }
}

impl Told {
    /// As an array of one, unless it is a row's value.
    pub fn array(self, kind: SimpleKind) -> Option<ArrayRef> {
        let is_int = matches!(kind, SimpleKind::Count | SimpleKind::SumInt);
        Some(match self {
            Told::Int(value) => Arc::new(Int64Array::from(vec![value])),
            Told::Float(value) => Arc::new(Float64Array::from(vec![value])),
            Told::Null if is_int => Arc::new(Int64Array::from(vec![None])),
            Told::Null => match kind {
                SimpleKind::Min | SimpleKind::Max => return None,
                _ => Arc::new(Float64Array::from(vec![None])),
            },
            Told::Row(_) => return None,
        })
    }
}
