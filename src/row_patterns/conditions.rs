//! The conditions of DEFINE, in two parts.
//!
//! What needs only the candidate and rows at a fixed distance from it is evaluated once a batch, vectorised, to a word of bits for
//! each row. What reads the thread's past is evaluated for each thread, if the first part holds.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use super::aggregate::{Aggregated, Tally, Told};
use super::gather::{Located, array_of, names};
use super::paths::{Label, SetId, Sets};
use super::pattern::Variable;
use super::registers::{Place, Read, Registers};
use super::scalar::{Evaluated, Fault, Scalar};
use super::track::{RowNumber, Track, shifted};
use crate::error::{Error, Result};
use crate::operators::expressions::{mask, reason};
use crate::patterns::columns::{Value, value_of};
use crate::windows::gather::batch_of;
use crate::windows::row_store::{NO_ROW, RowStore};

/// All conditions of a pattern.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// What the first parts read.
    pub leaves: Vec<RowLeaf>,
    /// These as columns.
    pub schema: SchemaRef,
    /// By variable the first part; none holds for every row.
    pub of_row: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// By variable the second part.
    pub of_past: Vec<Option<PastCondition>>,
    /// What the second parts read of the past.
    pub registers: Registers,
    /// The aggregates among that.
    pub aggregates: Vec<Aggregated>,
    /// Whether a second part depends on where the attempt began, or on what it did.
    pub reads_past: bool,
}

/// A value at a fixed distance from the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLeaf {
    /// How far away.
    pub shift: i64,
    /// Which column; none for whether there is such a row.
    pub column: Option<usize>,
}

/// The second part of a condition.
#[derive(Debug, Clone)]
pub struct PastCondition {
    /// Where its leaves come from.
    pub reads: Vec<Read>,
    /// The leaves as columns.
    pub schema: SchemaRef,
    /// The condition over them.
    pub expr: Arc<dyn PhysicalExpr>,
    /// The same, compiled, if it is of the known forms.
    pub scalar: Option<Scalar>,
}

/// A thread and the row that it would take.
pub struct Candidate<'a> {
    /// The rows of all partitions.
    pub store: &'a RowStore,
    /// Those of its partition.
    pub track: &'a Track,
    /// The first row of the attempt.
    pub start: RowNumber,
    /// The row's place in the match.
    pub row: u32,
    /// The thread's words with the row.
    pub words: &'a [u64],
    /// The sets in them.
    pub sets: &'a Sets,
    /// MATCH_NUMBER().
    pub number: u64,
    /// What variables are called.
    pub variables: &'a [String],
}

impl Conditions {
    /// Which of the given rows fit which variables by themselves. `rows` are the columns of the leaves. `failed` is told of rows
    /// on which an expression fails; these do not fit.
    pub fn fits(&self, leaves: Vec<ArrayRef>, rows: usize, failed: &mut dyn FnMut(usize, String)) -> Result<Vec<u64>> {
        let mut fits = vec![0; rows];
        let batch = batch_of(self.schema.clone(), leaves, rows)?;
        for (variable, condition) in self.of_row.iter().enumerate() {
            let bit = 1_u64 << variable;
            let Some(condition) = condition else {
                fits.iter_mut().for_each(|fits| *fits |= bit);
                continue;
            };
            let mut parts = vec![(0, rows)];
            while let Some((from, count)) = parts.pop() {
                match mask(condition, &batch.slice(from, count)) {
                    Ok(holds) => set_bits(&mut fits[from..from + count], bit, &holds),
                    Err(error) if count <= 1 => failed(from, reason(&error)),
                    Err(_) => {
                        parts.push((from + count / 2, count - count / 2));
                        parts.push((from, count / 2));
                    }
                }
            }
        }
        Ok(fits)
    }

    /// The column of a leaf for rows of partitions.
    pub fn leaf(&self, index: usize, store: &RowStore, rows: &[(&Track, RowNumber)]) -> Result<ArrayRef> {
        let leaf = self.leaves[index];
        let ids = rows.iter().map(|(track, row)| track.id(shifted(*row, leaf.shift)));
        match leaf.column {
            None => Ok(Arc::new(ids.map(|id| Some(id != NO_ROW)).collect::<BooleanArray>())),
            Some(column) => {
                let ids: Vec<u32> = ids.collect();
                Located::new(store, &ids).column(store, column, self.schema.field(index).data_type())
            }
        }
    }

    /// Whether the second part of a variable's condition holds.
    pub fn holds(&self, variable: Variable, candidate: &Candidate, tallies: &mut [Tally]) -> Result<bool, String> {
        let Some(condition) = &self.of_past[variable as usize] else {
            return Ok(true);
        };
        let reader = Reader {
            conditions: self,
            candidate,
        };
        let Some(scalar) = &condition.scalar else {
            return reader.evaluated(condition, tallies);
        };
        let value = scalar.value(&mut |leaf| reader.value(&condition.reads[leaf], tallies));
        match value {
            Ok(value) => Ok(value == Value::Bool(true)),
            // What has no value of the simple kinds.
            Err(Fault::Leaf) => reader.evaluated(condition, tallies),
            Err(fault) => Err(fault.message().to_string()),
        }
    }
}

fn set_bits(fits: &mut [u64], bit: u64, holds: &BooleanArray) {
    for (fits, holds) in fits.iter_mut().zip(holds.values()) {
        if holds {
            *fits |= bit;
        }
    }
}

struct Reader<'a> {
    conditions: &'a Conditions,
    candidate: &'a Candidate<'a>,
}

impl<'a> Reader<'a> {
    fn number(&self, place: Place, shift: i64) -> Option<RowNumber> {
        let row = place.row(self.candidate.words, self.candidate.row)?;
        shifted(self.candidate.start + u64::from(row), shift)
    }

    fn column(&self, number: Option<RowNumber>, column: usize) -> Evaluated<'a> {
        let id = self.candidate.track.id(number);
        if id == NO_ROW {
            return Ok(Value::Null);
        }
        let (chunk, row) = self.candidate.store.locate(id).ok_or(Fault::Leaf)?;
        let array = array_of(self.candidate.store, chunk, column).map_err(|_| Fault::Leaf)?;
        value_of(array, row).ok_or(Fault::Leaf)
    }

    fn variable(&self, place: Place, shift: i64, past: usize) -> Option<Variable> {
        let words = self.candidate.words;
        if shift == 0 {
            return place.variable(words);
        }
        let row = i64::from(place.row(words, self.candidate.row)?).checked_add(shift)?;
        let row = u32::try_from(row).ok()?;
        let mut at = words[past] as SetId;
        while let Some((before, member)) = self.candidate.sets.split(at) {
            if member.row == row {
                return Some(member.variable);
            }
            at = before;
        }
        None
    }

    fn value(&self, read: &Read, tallies: &mut [Tally]) -> Evaluated<'a> {
        match *read {
            Read::Column { place, shift, column } => self.column(self.number(place, shift), column),
            Read::Exists { place, shift } => {
                let id = self.candidate.track.id(self.number(place, shift));
                Ok(Value::Bool(id != NO_ROW))
            }
            Read::Label { place, shift, past } => Ok(match self.variable(place, shift, past) {
                Some(variable) => Value::Text(&self.candidate.variables[variable as usize]),
                None => Value::Null,
            }),
            Read::Number => Ok(Value::Int(self.candidate.number as i64)),
            Read::Aggregate { index, word } => {
                let aggregated = &self.conditions.aggregates[index];
                let simple = aggregated.simple.ok_or(Fault::Leaf)?;
                match self.simple(index, word, tallies)? {
                    Told::Int(value) => Ok(Value::Int(value)),
                    Told::Float(value) => Ok(Value::Float(value)),
                    Told::Null => Ok(Value::Null),
                    Told::Row(row) => match simple.column {
                        Some(column) => self.column(Some(self.candidate.start + u64::from(row)), column),
                        None => Ok(Value::Null),
                    },
                }
            }
        }
    }

    fn simple(&self, index: usize, word: usize, tallies: &mut [Tally]) -> Result<Told, Fault> {
        let simple = self.conditions.aggregates[index].simple.ok_or(Fault::Leaf)?;
        let set = self.candidate.words[word] as SetId;
        let value = |row: u32| match simple.column {
            Some(column) => self.column(Some(self.candidate.start + u64::from(row)), column),
            None => Ok(Value::Null),
        };
        tallies[index].simple(simple, self.candidate.sets, set, &value)
    }

    /// By the SQL engine, over a batch of one row.
    fn evaluated(&self, condition: &PastCondition, tallies: &mut [Tally]) -> Result<bool, String> {
        let leaves = condition.reads.iter().zip(condition.schema.fields());
        let leaves = leaves.map(|(read, field)| self.array(read, field.data_type(), tallies));
        let leaves: Result<Vec<ArrayRef>> = leaves.collect();
        let batch = leaves.and_then(|leaves| batch_of(condition.schema.clone(), leaves, 1));
        let batch = batch.map_err(|error| error.to_string())?;
        let holds = mask(&condition.expr, &batch).map_err(|error| reason(&error))?;
        Ok(holds.value(0))
    }

    fn array(&self, read: &Read, data_type: &DataType, tallies: &mut [Tally]) -> Result<ArrayRef> {
        let store = self.candidate.store;
        match *read {
            Read::Column { place, shift, column } => {
                let id = self.candidate.track.id(self.number(place, shift));
                Located::new(store, &[id]).column(store, column, data_type)
            }
            Read::Exists { place, shift } => {
                let id = self.candidate.track.id(self.number(place, shift));
                Ok(Arc::new(BooleanArray::from(vec![id != NO_ROW])))
            }
            Read::Label { place, shift, past } => {
                let label = self
                    .variable(place, shift, past)
                    .map(|variable| Label::new(variable, false));
                Ok(names(std::iter::once(label), self.candidate.variables))
            }
            Read::Number => Ok(Arc::new(Int64Array::from(vec![self.candidate.number as i64]))),
            Read::Aggregate { index, word } => self.aggregate(index, word, tallies),
        }
    }

    fn aggregate(&self, index: usize, word: usize, tallies: &mut [Tally]) -> Result<ArrayRef> {
        let aggregated = &self.conditions.aggregates[index];
        let set = self.candidate.words[word] as SetId;
        if let Some(simple) = aggregated.simple {
            let told = self.simple(index, word, tallies);
            let told = told.map_err(|fault| Error::failed(fault.message()))?;
            if let Some(array) = told.array(simple.kind) {
                return Ok(array);
            }
            if let (Told::Row(row), Some(column)) = (told, simple.column) {
                let id = self.candidate.track.id(Some(self.candidate.start + u64::from(row)));
                let data_type = aggregated.plan.schema.field(0).data_type();
                return Located::new(self.candidate.store, &[id]).column(self.candidate.store, column, data_type);
            }
            return aggregated.of_nothing();
        }
        let compute = || self.whole(aggregated, set);
        tallies[index].other(set, compute)
    }

    /// An aggregate from all its rows.
    fn whole(&self, aggregated: &Aggregated, set: SetId) -> Result<ArrayRef> {
        let members = self.candidate.sets.members(set);
        let track = self.candidate.track;
        let ids = members
            .iter()
            .map(|member| track.id(Some(self.candidate.start + u64::from(member.row))));
        let ids: Vec<u32> = ids.collect();
        let located = Located::new(self.candidate.store, &ids);
        let mut columns = Vec::with_capacity(aggregated.schema.fields().len());
        for (place, column) in aggregated.columns.iter().enumerate() {
            let data_type = aggregated.schema.field(place).data_type();
            columns.push(located.column(self.candidate.store, *column, data_type)?);
        }
        if aggregated.labels {
            let labels = members.iter().map(|member| Some(Label::new(member.variable, false)));
            columns.push(names(labels, self.candidate.variables));
        }
        if aggregated.numbers {
            columns.push(Arc::new(Int64Array::from(vec![
                self.candidate.number as i64;
                members.len()
            ])));
        }
        aggregated.of(columns, members.len())
    }
}
