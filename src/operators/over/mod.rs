//! `OVER (PARTITION BY … ORDER BY <event time> ROWS|RANGE BETWEEN … PRECEDING AND CURRENT ROW)`.
//!
//! A window function gives each row a value from rows of its partition that are not after it: an aggregate of them, one of
//! them, or their number. In SQL it reads a finished table. A stream is the table's prefix that has arrived, and since a frame
//! ends at its row, at the latest, the value for the prefix is the value for the table: no result is ever corrected.
//!
//! A frame slides: what leaves is taken back from the aggregates, what enters is added, so a row costs the same however long
//! the frame. A `RANGE` frame is a time window for each partition; time is the same for all, so rows leave all partitions in
//! the order in which they came. A `ROWS` frame is a queue for each partition.
//!
//! | file | what |
//! |---|---|
//! | [`frame`] | the functions of one frame: aggregates, `FIRST_VALUE`, `LAST_VALUE`, `NTH_VALUE`, `LAG` |
//! | [`rank`] | `ROW_NUMBER`, `RANK`, `DENSE_RANK` |
//! | [`lead`] | `LEAD`, an operator of its own, since its rows wait for others |
//! | [`store`] | the rows that frames remember |

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregates::GroupId;
use super::group_table::GroupTable;
use super::state::{StateReader, StateWriter};
use super::{BEGINNING_OF_TIME, END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::{ErrorKind, Result, RowError};
use crate::event::{EventBatch, Micros, Times, json_row};
use crate::windows::TimeDomain;
use crate::windows::emission::{read_batches, write_batches};

pub mod frame;
pub mod lead;
pub mod rank;
pub mod store;

#[cfg(test)]
mod tests;

use frame::{Arrivals, Frame, FrameCall, FrameState};
use rank::{RankKind, Ranks};

/// Gives each row a column for each function.
///
/// *Semantics.* PostgreSQL's, over the rows so far. Rows come in event-time order. In event time, rows of one time are peers:
/// the end `CURRENT ROW` of a `RANGE` frame takes them all in, so rows of such a query wait until the watermark has passed
/// their time. In processing time they do not wait, and see the peers that came before them. A late event that is accepted
/// counts as of the latest time.
///
/// *Ops.* Takes inserts, gives inserts: a row for each row. *State.* Of a `RANGE` frame the rows in it, of a `ROWS` frame so
/// many of each partition, without a start the accumulators of each partition. Partitions are forgotten when time limits all
/// frames. *Cost.* O(1) a row and function.
pub struct Over {
    plan: OverPlan,
    groups: GroupTable,
    functions: Vec<Functions>,
    /// For each function of the plan its place.
    places: Vec<Place>,
    /// Rows of a time that the watermark has not passed.
    waiting: Vec<EventBatch>,
    watermark: Micros,
    /// The latest time of any row.
    latest: Micros,
    forgetting: Option<Forgetting>,
    ids: Vec<GroupId>,
}

/// What an [`Over`] does.
#[derive(Debug, Clone)]
pub struct OverPlan {
    /// The columns that partition.
    pub keys: Vec<usize>,
    /// The functions, in the order of their columns.
    pub functions: Vec<OverFunction>,
    /// What moves time.
    pub domain: TimeDomain,
    /// How many of the input's columns are passed on, the first ones. The others are computed for the functions.
    pub passed: usize,
    /// The columns that come in.
    pub input: SchemaRef,
    /// The columns that go out.
    pub schema: SchemaRef,
}

/// A function of a query.
#[derive(Debug, Clone)]
pub struct OverFunction {
    /// As written.
    pub text: String,
    /// What it is.
    pub call: OverCall,
}

/// What a function is.
#[derive(Debug, Clone)]
pub enum OverCall {
    /// A number of its row.
    Rank(RankKind),
    /// A value of a frame.
    Framed(Frame, FrameCall),
}

/// Where a function's results are: which of the [`Functions`], and which of theirs.
type Place = (usize, usize);

/// Functions that are computed together.
enum Functions {
    Rank(Ranks),
    Frame(Box<FrameState>),
}

/// When all frames are limited by time: what it takes to know that a partition is empty.
struct Forgetting {
    /// The functions of the frame that reaches back the farthest.
    widest: usize,
    /// The rows of each partition in it.
    rows: Vec<u64>,
}

impl OverPlan {
    /// The types of the keys.
    fn key_types(&self) -> Vec<DataType> {
        key_types(&self.keys, &self.input)
    }

    /// Whether rows wait for others of their time.
    fn waits(&self) -> bool {
        let by_time = |function: &OverFunction| matches!(function.call, OverCall::Framed(Frame::Range { .. }, _));
        self.domain == TimeDomain::Event && self.functions.iter().any(by_time)
    }

    /// The functions by frame, and where each one's results are.
    fn grouped(&self) -> Result<(Vec<Functions>, Vec<Place>)> {
        let mut functions: Vec<Functions> = Vec::new();
        let mut frames: Vec<(usize, Frame, Vec<FrameCall>)> = Vec::new();
        let mut places = Vec::new();
        for function in &self.functions {
            match &function.call {
                OverCall::Rank(kind) => {
                    places.push((functions.len(), 0));
                    functions.push(Functions::Rank(Ranks::new(*kind)));
                }
                OverCall::Framed(frame, call) => {
                    let known = frames.iter().position(|(_, known, _)| known == frame);
                    let at = known.unwrap_or_else(|| {
                        // Its place is taken now and filled when all its calls are known.
                        frames.push((functions.len(), *frame, Vec::new()));
                        functions.push(Functions::Rank(Ranks::new(RankKind::RowNumber)));
                        frames.len() - 1
                    });
                    let (place, _, calls) = &mut frames[at];
                    places.push((*place, calls.len()));
                    calls.push(call.clone());
                }
            }
        }
        for (place, frame, calls) in frames {
            functions[place] = Functions::Frame(Box::new(FrameState::new(frame, calls, &self.input)?));
        }
        Ok((functions, places))
    }

    /// The frame that reaches back the farthest, by its function's place; `None` if one is not limited by time.
    fn widest(&self, places: &[Place]) -> Option<usize> {
        let reach = |function: &OverFunction| match &function.call {
            OverCall::Framed(frame, _) => frame.reach(),
            OverCall::Rank(_) => None,
        };
        let reaches: Option<Vec<Micros>> = self.functions.iter().map(reach).collect();
        let widest = reaches?.into_iter().zip(places).max_by_key(|(reach, _)| *reach);
        widest.map(|(_, place)| place.0)
    }
}

impl OperatorPlan for OverPlan {
    fn name(&self) -> &'static str {
        "Over"
    }

    fn details(&self) -> Vec<String> {
        let keys = partition_text(&self.keys, &self.input);
        let functions = self.functions.iter().map(|function| match &function.call {
            OverCall::Framed(frame, _) => format!("{} of {frame}", function.text),
            OverCall::Rank(_) => function.text.clone(),
        });
        let waits = self.waits().then(|| "rows wait for the watermark".to_string());
        keys.into_iter().chain(functions).chain(waits).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let (functions, places) = self.grouped()?;
        let forgetting = self.widest(&places).map(|widest| Forgetting {
            widest,
            rows: Vec::new(),
        });
        Ok(Box::new(Over {
            groups: GroupTable::new(&self.key_types())?,
            functions,
            places,
            waiting: Vec::new(),
            watermark: BEGINNING_OF_TIME,
            latest: Micros::MIN,
            forgetting: forgetting.filter(|_| !self.keys.is_empty()),
            ids: Vec::new(),
            plan: self.clone(),
        }))
    }
}

impl Operator for Over {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        if !self.plan.waits() {
            return self.give(&batch, out);
        }
        self.waiting.push(batch);
        self.release(out)
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        if let TimeUpdate::Watermark(watermark) = time {
            self.watermark = self.watermark.max(watermark);
            self.release(out)?;
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        self.waiting.first().map(|batch| batch.time(0))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.groups.snapshot(state)?;
        state.value(&(self.watermark, self.latest))?;
        write_batches(&self.waiting, state)?;
        state.value(&self.forgetting.as_ref().map(|forgetting| &forgetting.rows))?;
        self.functions.iter().try_for_each(|functions| match functions {
            Functions::Rank(ranks) => ranks.snapshot(state),
            Functions::Frame(frame) => frame.snapshot(state),
        })
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.groups.restore(state)?;
        (self.watermark, self.latest) = state.value()?;
        self.waiting = read_batches(state)?;
        let rows: Option<Vec<u64>> = state.value()?;
        if let (Some(forgetting), Some(rows)) = (&mut self.forgetting, rows) {
            forgetting.rows = rows;
        }
        self.functions.iter_mut().try_for_each(|functions| match functions {
            Functions::Rank(ranks) => ranks.restore(state),
            Functions::Frame(frame) => frame.restore(state),
        })
    }
}

impl Over {
    /// Gives the rows whose time the watermark has passed.
    fn release(&mut self, out: &mut Output) -> Result<()> {
        let passed = |time: Micros| time < self.watermark || self.watermark == END_OF_TIME;
        if !self.waiting.first().is_some_and(|batch| passed(batch.time(0))) {
            return Ok(());
        }
        let all = EventBatch::concat(&self.plan.input, &std::mem::take(&mut self.waiting))?;
        let rows = all.num_rows();
        let ready = match all.times() {
            Times::Same(_) => rows,
            Times::Each(times) => times.iter().position(|time| !passed(*time)).unwrap_or(rows),
        };
        if ready < rows {
            self.waiting.push(all.slice(ready, rows - ready));
        }
        match ready {
            0 => Ok(()),
            _ => self.give(&all.slice(0, ready), out),
        }
    }

    /// Gives rows with their values.
    fn give(&mut self, batch: &EventBatch, out: &mut Output) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|&key| batch.column(key).clone()).collect();
        self.groups.assign(&keys, rows, &mut self.ids)?;
        let times = batch.times().to_buffer(rows);
        let marks = not_before(self.latest, &times);
        self.latest = marks.last().copied().unwrap_or(self.latest);
        let peers = self.peers(&marks);
        let arrivals = Arrivals {
            batch,
            groups: &self.ids,
            marks: &marks,
            peers: &peers,
        };
        let mut results = Vec::with_capacity(self.functions.len());
        for functions in &mut self.functions {
            results.push(match functions {
                Functions::Rank(ranks) => vec![ranks.process(arrivals.groups, arrivals.marks)],
                Functions::Frame(frame) => frame.process(&arrivals)?,
            });
        }
        let mut columns = batch.columns().columns()[..self.plan.passed].to_vec();
        columns.extend(self.places.iter().map(|(at, result)| results[*at][*result].clone()));
        let columns = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        let given = EventBatch::inserts(columns, batch.times().clone());
        let given = self.checked(given, out)?;
        out.emit(given);
        self.forget();
        Ok(())
    }

    /// The rows without those that an aggregate could give no value for: they are reported.
    fn checked(&mut self, given: EventBatch, out: &mut Output) -> Result<EventBatch> {
        let mut failed = BTreeMap::new();
        for functions in &mut self.functions {
            if let Functions::Frame(frame) = functions {
                failed.extend(frame.failures());
            }
        }
        if failed.is_empty() {
            return Ok(given);
        }
        let passed: Vec<usize> = (0..self.plan.passed).collect();
        let event = given.columns().project(&passed)?;
        for (row, message) in &failed {
            out.error(RowError {
                kind: ErrorKind::Evaluate,
                message: message.clone(),
                event: json_row::row(&event, *row),
                line: None,
                at: out.now(),
                attempts: 1,
            });
        }
        let good = (0..given.num_rows()).filter(|row| !failed.contains_key(row));
        given.take(good.map(|row| row as u32).collect())
    }

    /// Where the rows end that share their values.
    fn peers(&self, marks: &[Micros]) -> Vec<usize> {
        match self.plan.domain {
            TimeDomain::Processing => (1..=marks.len()).collect(),
            TimeDomain::Event => {
                let ends = (1..=marks.len()).filter(|end| marks.get(*end) != marks.get(end - 1));
                ends.collect()
            }
        }
    }

    /// Forgets partitions whose rows have all left.
    fn forget(&mut self) {
        let Some(forgetting) = &mut self.forgetting else {
            return;
        };
        let rows = &mut forgetting.rows;
        rows.resize(rows.len().max(self.groups.capacity()), 0);
        for &id in &self.ids {
            rows[id as usize] += 1;
        }
        let Functions::Frame(widest) = &self.functions[forgetting.widest] else {
            return;
        };
        let mut empty = Vec::new();
        for &id in widest.left() {
            let left = &mut rows[id as usize];
            *left = left.saturating_sub(1);
            if *left == 0 {
                empty.push(id);
            }
        }
        if empty.is_empty() {
            return;
        }
        self.groups.forget(&empty);
        for functions in &mut self.functions {
            if let Functions::Frame(frame) = functions {
                frame.clear(&empty);
            }
        }
    }
}

/// Times that do not go back, from `latest` on.
fn not_before(latest: Micros, times: &[Micros]) -> Cow<'_, [Micros]> {
    if times.first().is_none_or(|first| *first >= latest) && times.is_sorted() {
        return Cow::Borrowed(times);
    }
    let mut latest = latest;
    let later = times.iter().map(|time| {
        latest = latest.max(*time);
        latest
    });
    Cow::Owned(later.collect())
}

/// The types of key columns.
fn key_types(keys: &[usize], input: &SchemaRef) -> Vec<DataType> {
    keys.iter().map(|&key| input.field(key).data_type().clone()).collect()
}

/// `by symbol`, for EXPLAIN.
fn partition_text(keys: &[usize], input: &SchemaRef) -> Option<String> {
    let keys: Vec<&str> = keys.iter().map(|&key| input.field(key).name().as_str()).collect();
    (!keys.is_empty()).then(|| format!("by {}", keys.join(", ")))
}
