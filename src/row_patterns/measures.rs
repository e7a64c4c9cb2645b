//! The rows that go out: what each reads of its match, gathered and computed once a batch for all of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregate::{Aggregated, only};
use super::gather::{Located, names};
use super::leaf::{From, Leaf, Scope, Target};
use super::paths::Label;
use super::pattern::{Variables, has};
use super::track::{Found, FoundKind, RowNumber, Track, shifted};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Times};
use crate::operators::filter_project::FilterProjectPlan;
use crate::operators::{Operator, OperatorPlan, Output};
use crate::windows::gather::batch_of;
use crate::windows::row_store::{RowId, RowStore};

/// Which rows go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// One for each match.
    One,
    /// All rows of each match, but for excluded ones.
    All {
        /// A row for an empty match.
        empty: bool,
        /// Rows that are in no match.
        unmatched: bool,
    },
}

/// What goes out, and how it is computed.
#[derive(Debug, Clone)]
pub struct MeasuresPlan {
    /// Which rows.
    pub given: Given,
    /// What measures read.
    pub leaves: Vec<Leaf>,
    /// The aggregates among that.
    pub aggregates: Vec<Aggregated>,
    /// The columns that are passed on, of those that come in.
    pub passed: Vec<usize>,
    /// The leaves, the columns passed on, and whether a row is unmatched, as columns.
    pub schema: SchemaRef,
    /// From these to the columns that go out.
    pub project: FilterProjectPlan,
}

/// The rows that go out with the next flush.
pub struct Measures {
    plan: MeasuresPlan,
    project: Box<dyn Operator>,
    /// The row whose columns are passed on.
    rows: Vec<RowId>,
    times: Vec<Micros>,
    numbers: Vec<Option<i64>>,
    unmatched: Vec<bool>,
    /// For each leaf what it reads.
    read: Vec<Picks>,
    /// For each aggregate and scope that a leaf has.
    fed: Vec<Fed>,
    matches: u32,
}

/// What a leaf reads for each row that goes out.
enum Picks {
    Rows(Vec<RowId>),
    Labels(Vec<Option<Label>>),
    Exists(Vec<bool>),
    Number,
    /// Of which of the [`Fed`], which value; none is that of no rows.
    Values(usize, Vec<Option<u32>>),
}

/// The rows that an aggregate takes.
struct Fed {
    aggregate: usize,
    scope: Scope,
    groups: Vec<u32>,
    rows: Vec<RowId>,
    labels: Vec<Label>,
    numbers: Vec<i64>,
    empty: ArrayRef,
}

impl Measures {
    /// Nothing to go out yet.
    pub fn new(plan: MeasuresPlan) -> Result<Self> {
        let mut fed: Vec<Fed> = Vec::new();
        let mut read = Vec::with_capacity(plan.leaves.len());
        for leaf in &plan.leaves {
            read.push(match leaf {
                Leaf::Column { .. } => Picks::Rows(Vec::new()),
                Leaf::Label(_) => Picks::Labels(Vec::new()),
                Leaf::Exists(_) => Picks::Exists(Vec::new()),
                Leaf::Number => Picks::Number,
                Leaf::Aggregate { index, scope } => {
                    // With one row a match the current row is the last.
                    let scope = match plan.given {
                        Given::One => Scope::Final,
                        Given::All { .. } => *scope,
                    };
                    let known = fed.iter().position(|fed| (fed.aggregate, fed.scope) == (*index, scope));
                    let place = match known {
                        Some(place) => place,
                        None => {
                            fed.push(Fed::new(*index, scope, plan.aggregates[*index].of_nothing()?));
                            fed.len() - 1
                        }
                    };
                    Picks::Values(place, Vec::new())
                }
            });
        }
        Ok(Measures {
            project: plan.project.build()?,
            plan,
            rows: Vec::new(),
            times: Vec::new(),
            numbers: Vec::new(),
            unmatched: Vec::new(),
            read,
            fed,
            matches: 0,
        })
    }

    /// Adds what a match gives, or a row that is in none. All rows that measures read have arrived, or never will.
    pub fn add(&mut self, track: &Track, found: &Found) {
        let FoundKind::Match(number) = found.kind else {
            return self.without_rows(track, found.start, None);
        };
        let number = number as i64;
        let Some(last) = found.labels.len().checked_sub(1) else {
            if !matches!(self.plan.given, Given::All { empty: false, .. }) {
                self.without_rows(track, found.start, Some(number));
            }
            return;
        };
        let labels = &found.labels;
        let current: Vec<usize> = match self.plan.given {
            Given::One => vec![last],
            Given::All { .. } => (0..=last).filter(|row| !labels[*row].is_excluded()).collect(),
        };
        let number_of = |row: usize| found.start + row as u64;
        let time = track.row(number_of(last)).map_or(0, |row| row.time);
        for &row in &current {
            self.rows.push(track.id(Some(number_of(row))));
            self.times.push(time);
            self.numbers.push(Some(number));
            self.unmatched.push(false);
        }
        let given = Matched {
            track,
            start: found.start,
            labels,
            current: &current,
        };
        let offsets: Vec<u32> = self
            .fed
            .iter_mut()
            .map(|fed| fed.take(&given, &self.plan, self.matches, number))
            .collect();
        for (leaf, picks) in self.plan.leaves.iter().zip(&mut self.read) {
            match (leaf, picks) {
                (Leaf::Column { target, .. }, Picks::Rows(rows)) => {
                    given.each(target, |row| rows.push(track.id(row.and_then(|row| given.number(row)))));
                }
                (Leaf::Label(target), Picks::Labels(found)) => given.each(target, |row| {
                    let row = row.and_then(|row| usize::try_from(row).ok());
                    found.push(row.and_then(|row| labels.get(row)).copied());
                }),
                (Leaf::Exists(target), Picks::Exists(exists)) => given.each(target, |row| {
                    let number = row.and_then(|row| given.number(row));
                    exists.push(number.and_then(|number| track.row(number)).is_some());
                }),
                (Leaf::Aggregate { .. }, Picks::Values(fed, values)) => {
                    let place = &self.fed[*fed];
                    let variables = self.plan.aggregates[place.aggregate].variables;
                    given.values(variables, place.scope, offsets[*fed], self.matches, values);
                }
                _ => {}
            }
        }
        self.matches += 1;
    }

    /// An empty match, or a row that is in no match: there is nothing to read.
    fn without_rows(&mut self, track: &Track, row: RowNumber, number: Option<i64>) {
        self.rows.push(track.id(Some(row)));
        self.times.push(track.row(row).map_or(0, |row| row.time));
        self.numbers.push(number);
        self.unmatched.push(number.is_none());
        for picks in &mut self.read {
            match picks {
                Picks::Rows(rows) => rows.push(crate::windows::row_store::NO_ROW),
                Picks::Labels(labels) => labels.push(None),
                Picks::Exists(exists) => exists.push(false),
                Picks::Number => {}
                Picks::Values(_, values) => values.push(None),
            }
        }
    }

    /// Whether there is nothing to go out.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Emits what there is.
    pub fn flush(&mut self, store: &RowStore, variables: &[String], out: &mut Output) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let count = self.rows.len();
        let numbers: ArrayRef = Arc::new(Int64Array::from(std::mem::take(&mut self.numbers)));
        let mut values = Vec::with_capacity(self.fed.len());
        for fed in &mut self.fed {
            values.push(fed.values(&self.plan.aggregates[fed.aggregate], store, variables, out)?);
        }
        let mut columns = Vec::with_capacity(self.plan.schema.fields().len());
        for (index, picks) in self.read.iter_mut().enumerate() {
            let data_type = self.plan.schema.field(index).data_type();
            columns.push(match (picks, self.plan.leaves[index]) {
                (Picks::Rows(rows), Leaf::Column { column, .. }) => {
                    let rows = std::mem::take(rows);
                    Located::new(store, &rows).column(store, column, data_type)?
                }
                (Picks::Labels(labels), _) => names(std::mem::take(labels).into_iter(), variables),
                (Picks::Exists(exists), _) => Arc::new(BooleanArray::from(std::mem::take(exists))),
                (Picks::Values(fed, picks), _) => {
                    let nothing = values[*fed].len() as u32 - 1;
                    let picks = std::mem::take(picks).into_iter();
                    let picks: UInt32Array = picks.map(|pick| Some(pick.unwrap_or(nothing))).collect();
                    arrow::compute::take(values[*fed].as_ref(), &picks, None)?
                }
                _ => numbers.clone(),
            });
        }
        let located = Located::new(store, &std::mem::take(&mut self.rows));
        for (place, column) in self.plan.passed.iter().enumerate() {
            let data_type = self.plan.schema.field(self.plan.leaves.len() + place).data_type();
            columns.push(located.column(store, *column, data_type)?);
        }
        columns.push(Arc::new(BooleanArray::from(std::mem::take(&mut self.unmatched))));
        self.matches = 0;
        let rows = batch_of(self.plan.schema.clone(), columns, count)?;
        let times = Times::Each(std::mem::take(&mut self.times).into());
        self.project.process(0, EventBatch::inserts(rows, times), out)
    }
}

impl Fed {
    fn new(aggregate: usize, scope: Scope, empty: ArrayRef) -> Self {
        Fed {
            aggregate,
            scope,
            groups: Vec::new(),
            rows: Vec::new(),
            labels: Vec::new(),
            numbers: Vec::new(),
            empty,
        }
    }

    /// Takes the rows of a match; how many there were before.
    fn take(&mut self, given: &Matched, plan: &MeasuresPlan, group: u32, number: i64) -> u32 {
        let before = self.rows.len() as u32;
        let variables = plan.aggregates[self.aggregate].variables;
        for (row, label) in given.labels.iter().enumerate() {
            if has(variables, label.variable()) {
                self.groups.push(group);
                self.rows.push(given.track.id(Some(given.start + row as u64)));
                self.labels.push(*label);
                self.numbers.push(number);
            }
        }
        before
    }

    /// The values after each row, or of each match; the last is that of no rows.
    fn values(
        &mut self,
        aggregated: &Aggregated,
        store: &RowStore,
        variables: &[String],
        out: &mut Output,
    ) -> Result<ArrayRef> {
        let groups = std::mem::take(&mut self.groups);
        let rows = std::mem::take(&mut self.rows);
        let labels = std::mem::take(&mut self.labels);
        let numbers = std::mem::take(&mut self.numbers);
        if rows.is_empty() {
            return Ok(self.empty.clone());
        }
        let located = Located::new(store, &rows);
        let mut columns = Vec::with_capacity(aggregated.schema.fields().len());
        for (place, column) in aggregated.columns.iter().enumerate() {
            columns.push(located.column(store, *column, aggregated.schema.field(place).data_type())?);
        }
        if aggregated.labels {
            columns.push(names(labels.into_iter().map(Some), variables));
        }
        if aggregated.numbers {
            columns.push(Arc::new(Int64Array::from(numbers)));
        }
        let arguments = aggregated.arguments(columns, rows.len())?;
        let mut built = aggregated.build()?;
        let values = match self.scope {
            Scope::Running => built.running(&groups, None, &arguments)?,
            Scope::Final => {
                built.update(&groups, None, &arguments)?;
                let matches = groups.last().map_or(0, |last| last + 1);
                built.values(&(0..matches).collect::<Vec<_>>())?
            }
        };
        let values = only(values)?;
        // What could not be given (a sum that overflows) is NULL, and reported.
        let told = batch_of(aggregated.plan.schema.clone(), vec![values.clone()], values.len())?;
        built.checked(EventBatch::inserts(told, Times::Same(0)), out)?;
        Ok(arrow::compute::concat(&[values.as_ref(), self.empty.as_ref()])?)
    }
}

/// A match and the rows of it that go out.
struct Matched<'a> {
    track: &'a Track,
    start: RowNumber,
    labels: &'a [Label],
    current: &'a [usize],
}

impl Matched<'_> {
    /// The number of a row by its place in the match, which may lie outside of it.
    fn number(&self, row: i64) -> Option<RowNumber> {
        shifted(self.start, row)
    }

    /// Calls with the row that a target means, for each row that goes out.
    fn each(&self, target: &Target, mut call: impl FnMut(Option<i64>)) {
        let rows: Vec<u32> = self.of(target.variables).collect();
        let mut running = 0;
        for &current in self.current {
            let known = match target.scope {
                Scope::Final => rows.len(),
                Scope::Running => {
                    while running < rows.len() && rows[running] as usize <= current {
                        running += 1;
                    }
                    running
                }
            };
            let offset = target.offset as usize;
            let found = match target.from {
                From::First => (offset < known).then_some(offset),
                From::Last => known.checked_sub(offset + 1),
            };
            call(found.and_then(|found| i64::from(rows[found]).checked_add(target.shift)));
        }
    }

    /// The places of the rows of some variables.
    fn of(&self, variables: Variables) -> impl Iterator<Item = u32> {
        let rows = (0..).zip(self.labels);
        rows.filter(move |(_, label)| has(variables, label.variable()))
            .map(|(row, _)| row)
    }

    /// Which value of an aggregate each row that goes out has.
    fn values(&self, variables: Variables, scope: Scope, before: u32, group: u32, values: &mut Vec<Option<u32>>) {
        if scope == Scope::Final {
            let any = self.of(variables).next().is_some();
            values.extend(self.current.iter().map(|_| any.then_some(group)));
            return;
        }
        let mut rows = self.of(variables).peekable();
        let mut known = 0;
        for &current in self.current {
            while rows.next_if(|row| *row as usize <= current).is_some() {
                known += 1;
            }
            values.push((known > 0).then(|| before + known - 1));
        }
    }
}

/// Whether the type of a leaf's column.
pub fn leaf_type(leaf: &Leaf, columns: &SchemaRef, aggregates: &[Aggregated]) -> DataType {
    match leaf {
        Leaf::Column { column, .. } => columns.field(*column).data_type().clone(),
        Leaf::Label(_) => DataType::Utf8View,
        Leaf::Exists(_) => DataType::Boolean,
        Leaf::Number => DataType::Int64,
        Leaf::Aggregate { index, .. } => aggregates[*index].plan.schema.field(0).data_type().clone(),
    }
}
