//! [`FrameState`]: the functions of one frame, `ROWS` or `RANGE`.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and, take};
use arrow::datatypes::{Schema, SchemaRef};

use super::store::{Pick, Queues, RowStore, Seq, read_numbers, write_numbers};
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Op};
use crate::operators::aggregate_plan::AggregateColumn;
use crate::operators::aggregates::{Aggregate, Changes, GroupId, Retraction, build};
use crate::operators::running_aggregate::filter_mask;
use crate::operators::state::{StateReader, StateWriter};

/// The rows that a function sees, of its row's partition. Bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// By position: from `start` rows before (`None`: from the first) to `end` rows before the current one.
    Rows { start: Option<u64>, end: u64 },
    /// By time: from `start` µs before (`None`: from the first) to `end` µs before the current one's.
    Range { start: Option<Micros>, end: Micros },
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, start, end) = match self {
            Frame::Rows { start, end } => ("ROWS", start.map(|rows| rows.to_string()), end.to_string()),
            Frame::Range { start, end } => {
                let millis = |time: Micros| format!("{} ms", time as f64 / 1_000.0);
                ("RANGE", start.map(millis), millis(*end))
            }
        };
        let start = start.unwrap_or_else(|| "UNBOUNDED".to_string());
        match self {
            Frame::Rows { end: 0, .. } | Frame::Range { end: 0, .. } => {
                write!(f, "{unit} BETWEEN {start} PRECEDING AND CURRENT ROW")
            }
            _ => write!(f, "{unit} BETWEEN {start} PRECEDING AND {end} PRECEDING"),
        }
    }
}

impl Frame {
    /// How far back it reaches in time; `None` if time does not limit it.
    pub fn reach(&self) -> Option<Micros> {
        match self {
            Frame::Range { start, .. } => *start,
            Frame::Rows { .. } => None,
        }
    }

    fn has_no_start(&self) -> bool {
        matches!(self, Frame::Rows { start: None, .. } | Frame::Range { start: None, .. })
    }

    fn ends_before_current(&self) -> bool {
        match self {
            Frame::Rows { end, .. } => *end > 0,
            Frame::Range { end, .. } => *end > 0,
        }
    }
}

/// Which row of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The first one, or the one so many after it.
    FromFirst(u64),
    /// The last one.
    Last,
}

/// `FIRST_VALUE`, `LAST_VALUE`, `NTH_VALUE`, `LAG`: the value of one row of the frame.
#[derive(Debug, Clone, Copy)]
pub struct ValueCall {
    /// Which row.
    pub position: Position,
    /// The column of the value.
    pub argument: usize,
    /// The column of the value in place of a row that is not there; NULL otherwise.
    pub default: Option<usize>,
}

/// What is computed of a frame.
#[derive(Debug, Clone)]
pub enum FrameCall {
    /// An aggregate of its rows.
    Aggregate(Box<AggregateColumn>),
    /// The value of one of its rows.
    Value(ValueCall),
}

/// Rows for which the frames move, with what all frames need of them.
pub struct Arrivals<'a> {
    /// The rows, in order.
    pub batch: &'a EventBatch,
    /// Their partitions.
    pub groups: &'a [GroupId],
    /// Their times, which do not go back.
    pub marks: &'a [Micros],
    /// Where the rows of one time that share their values end, each counted from the first row.
    pub peers: &'a [usize],
}

/// The functions of one frame.
///
/// Moving a frame is a list of steps: rows that leave are taken back from the aggregates, rows that enter are added, and the
/// value after a row's last step is its result. For the whole batch each aggregate is called once.
///
/// *State.* The columns that its functions read, of the rows that are in a frame or will leave one; the aggregates.
/// *Cost.* O(1) a row and function.
pub struct FrameState {
    frame: Frame,
    /// The columns of the input that are kept.
    columns: Vec<usize>,
    store: RowStore,
    calls: Vec<Running>,
    /// `ROWS`: the rows of each partition that are in its frame, or will be. `RANGE`, for [`ValueCall`]s: those in it.
    queues: Queues,
    /// Of frames without a start, for [`ValueCall`]s: the first rows of each partition.
    heads: Queues,
    /// How many of these are needed.
    head: u64,
    has_values: bool,
    /// `RANGE`: time and partition of the rows that have not left.
    log: VecDeque<(Micros, GroupId)>,
    /// How many of these have entered.
    entered: usize,
    steps: Steps,
    left: Vec<GroupId>,
    /// By partition: its last step for the rows of one time.
    latest: Vec<u32>,
    /// The rows of the last batch that an aggregate could give no value for, and why.
    failures: Vec<(usize, String)>,
}

enum Running {
    Aggregate(Box<AggregateColumn>, Box<dyn Aggregate>),
    Value(ValueCall, Vec<Pick>),
}

/// What to do to the aggregates, one after the other.
#[derive(Default)]
struct Steps {
    seqs: Vec<Seq>,
    groups: Vec<GroupId>,
    ops: Vec<Op>,
    /// Whether a row is added or taken back; otherwise the step only asks for the value.
    counts: Vec<bool>,
    retracts: bool,
    /// For each arriving row the step after which it has its result.
    results: Vec<u32>,
}

impl Steps {
    fn clear(&mut self) {
        self.seqs.clear();
        self.groups.clear();
        self.ops.clear();
        self.counts.clear();
        self.results.clear();
        self.retracts = false;
    }

    #[inline]
    fn push(&mut self, seq: Seq, group: GroupId, op: Op, counts: bool) -> u32 {
        self.seqs.push(seq);
        self.groups.push(group);
        self.ops.push(op);
        self.counts.push(counts);
        (self.seqs.len() - 1) as u32
    }

    #[inline]
    fn enter(&mut self, seq: Seq, group: GroupId) -> u32 {
        self.push(seq, group, Op::Insert, true)
    }

    #[inline]
    fn leave(&mut self, seq: Seq, group: GroupId) {
        self.retracts = true;
        self.push(seq, group, Op::Delete, true);
    }

    #[inline]
    fn ask(&mut self, seq: Seq, group: GroupId) -> u32 {
        self.push(seq, group, Op::Insert, false)
    }

    /// Whether every row has its result after its own step, and there are no other steps.
    fn is_plain(&self) -> bool {
        self.seqs.len() == self.results.len() && self.results.iter().zip(0..).all(|(result, row)| *result == row)
    }
}

impl FrameState {
    /// Before any row. The calls read columns of `input`.
    pub fn new(frame: Frame, calls: Vec<FrameCall>, input: &Schema) -> Result<Self> {
        let columns = columns_of(&calls);
        let fields: Vec<_> = columns.iter().map(|&column| input.fields()[column].clone()).collect();
        let head = calls.iter().map(|call| match call {
            FrameCall::Value(ValueCall {
                position: Position::FromFirst(after),
                ..
            }) => after.saturating_add(1),
            _ => 0,
        });
        let head = if frame.has_no_start() {
            head.max().unwrap_or(0)
        } else {
            0
        };
        let has_values = calls.iter().any(|call| matches!(call, FrameCall::Value(_)));
        let within = |column: usize| columns.iter().position(|known| *known == column).unwrap_or_default();
        let calls = calls.into_iter().map(|call| running(call, frame, within));
        Ok(FrameState {
            frame,
            calls: calls.collect::<Result<_>>()?,
            store: RowStore::new(Arc::new(Schema::new(fields))),
            columns,
            queues: Queues::default(),
            heads: Queues::default(),
            head,
            has_values,
            log: VecDeque::new(),
            entered: 0,
            steps: Steps::default(),
            left: Vec::new(),
            latest: Vec::new(),
            failures: Vec::new(),
        })
    }

    /// The partitions of the rows that have left by time, in the last [`FrameState::process`].
    pub fn left(&self) -> &[GroupId] {
        &self.left
    }

    /// The values of each function for rows that arrive.
    pub fn process(&mut self, arrivals: &Arrivals) -> Result<Vec<ArrayRef>> {
        self.steps.clear();
        self.left.clear();
        let rows = self.kept_columns(arrivals.batch)?;
        if !self.keeps_rows() {
            self.add_only(arrivals);
            return self.results(&rows);
        }
        let first = self.store.push(rows)?;
        match self.frame {
            Frame::Rows { start, end } => self.by_position(arrivals, first, start, end),
            Frame::Range { start, end } => self.by_time(arrivals, first, start, end),
        }
        let rows = match self.has_aggregates() {
            true => self.store.gather(&self.steps.seqs)?,
            false => self.store.gather(&[])?,
        };
        let results = self.results(&rows)?;
        if let Some(renumbered) = self.store.settle()? {
            self.queues.renumber(&renumbered);
            self.heads.renumber(&renumbered);
        }
        Ok(results)
    }

    /// Forgets partitions that have no rows in the frame.
    pub fn clear(&mut self, groups: &[GroupId]) {
        for call in &mut self.calls {
            if let Running::Aggregate(_, aggregate) = call {
                aggregate.clear(groups);
            }
        }
    }

    fn has_aggregates(&self) -> bool {
        self.calls.iter().any(|call| matches!(call, Running::Aggregate(..)))
    }

    /// Whether rows are asked for after they came.
    fn keeps_rows(&self) -> bool {
        !self.frame.has_no_start() || self.frame.ends_before_current() || self.has_values
    }

    fn kept_columns(&self, batch: &EventBatch) -> Result<RecordBatch> {
        let columns = self
            .columns
            .iter()
            .map(|&column| batch.column(column).clone())
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema: &SchemaRef = self.store.schema();
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }

    /// From the first row to the current one, aggregates only: rows enter, that is all.
    fn add_only(&mut self, arrivals: &Arrivals) {
        let by_time = matches!(self.frame, Frame::Range { .. });
        let mut begin = 0;
        for &end in arrivals.peers {
            for row in begin..end {
                let group = arrivals.groups[row];
                let step = self.steps.enter(row as Seq, group);
                set_latest(&mut self.latest, group, step);
            }
            for row in begin..end {
                let shared = self.latest[arrivals.groups[row] as usize];
                self.steps.results.push(if by_time { shared } else { row as u32 });
            }
            begin = end;
        }
    }

    fn by_position(&mut self, arrivals: &Arrivals, first: Seq, start: Option<u64>, end: u64) {
        let most = start.unwrap_or(end).saturating_add(1);
        for (seq, &group) in (first..).zip(arrivals.groups) {
            let queue = self.queues.of(group);
            queue.push_back(seq);
            if queue.len() as u64 > most
                && let Some(oldest) = queue.pop_front()
            {
                if start.is_some() {
                    self.steps.leave(oldest, group);
                }
                self.store.release(oldest);
            }
            let inside = (queue.len() as u64).saturating_sub(end) as usize;
            let step = match inside.checked_sub(1).map(|last| queue[last]) {
                Some(entering) => {
                    if self.head > 0 {
                        keep_head(&mut self.heads, self.head, &mut self.store, group, entering);
                    }
                    self.steps.enter(entering, group)
                }
                None => self.steps.ask(seq, group),
            };
            self.steps.results.push(step);
            if self.has_values {
                self.pick(seq, group, inside);
            }
        }
    }

    fn by_time(&mut self, arrivals: &Arrivals, first: Seq, start: Option<Micros>, end: Micros) {
        let mut oldest = first - self.log.len() as u64;
        let mut begin = 0;
        for &until in arrivals.peers {
            let now = arrivals.marks[begin];
            let rows = begin..until;
            if end > 0 {
                let arriving = rows.clone().map(|row| (now, arrivals.groups[row]));
                self.log.extend(arriving);
                self.enter_until(now.saturating_sub(end), oldest);
            }
            if let Some(start) = start {
                self.leave_before(now.saturating_sub(start), &mut oldest);
            }
            if end == 0 {
                self.enter_now(arrivals, rows.clone(), first, now);
            }
            if start.is_none() {
                // What has entered stays: there is nothing to remember of it.
                oldest += self.forget_entered(oldest);
            }
            for row in rows {
                let (seq, group) = (first + row as u64, arrivals.groups[row]);
                let step = match end {
                    0 => self.latest[group as usize],
                    _ => self.steps.ask(seq, group),
                };
                self.steps.results.push(step);
                if self.has_values {
                    let inside = self.queues.of(group).len();
                    self.pick(seq, group, inside);
                }
            }
            begin = until;
        }
    }

    /// Rows of one time enter as they come.
    fn enter_now(&mut self, arrivals: &Arrivals, rows: std::ops::Range<usize>, first: Seq, now: Micros) {
        for row in rows {
            let group = arrivals.groups[row];
            self.log.push_back((now, group));
            self.entered += 1;
            let step = self.enter(first + row as u64, group);
            set_latest(&mut self.latest, group, step);
        }
    }

    /// Rows that came earlier enter when they are old enough.
    fn enter_until(&mut self, time: Micros, oldest: Seq) {
        while let Some(&(mark, group)) = self.log.get(self.entered)
            && mark <= time
        {
            let seq = oldest + self.entered as u64;
            self.entered += 1;
            self.enter(seq, group);
        }
    }

    #[inline]
    fn enter(&mut self, seq: Seq, group: GroupId) -> u32 {
        if self.has_values {
            let queue = self.queues.of(group);
            queue.push_back(seq);
            if self.frame.has_no_start() {
                // Of all that stay only the last, and the first ones, are asked for.
                self.store.retain(seq);
                if queue.len() > 1
                    && let Some(former) = queue.pop_front()
                {
                    self.store.release(former);
                }
            }
            if self.head > 0 {
                keep_head(&mut self.heads, self.head, &mut self.store, group, seq);
            }
        }
        self.steps.enter(seq, group)
    }

    fn leave_before(&mut self, time: Micros, oldest: &mut Seq) {
        while let Some(&(mark, group)) = self.log.front()
            && mark < time
        {
            self.log.pop_front();
            self.entered = self.entered.saturating_sub(1);
            self.steps.leave(*oldest, group);
            self.left.push(group);
            if self.has_values {
                self.queues.of(group).pop_front();
            }
            self.store.release(*oldest);
            *oldest += 1;
        }
    }

    fn forget_entered(&mut self, oldest: Seq) -> u64 {
        let entered = std::mem::take(&mut self.entered);
        self.log.drain(..entered);
        (oldest..).take(entered).for_each(|seq| self.store.release(seq));
        entered as u64
    }

    /// Which rows give the values for the row `seq`, when its partition has `inside` rows in the frame.
    fn pick(&mut self, seq: Seq, group: GroupId, inside: usize) {
        let unbounded = self.frame.has_no_start();
        for call in &mut self.calls {
            let Running::Value(call, picks) = call else {
                continue;
            };
            let of = match call.position {
                Position::Last => inside.checked_sub(1).and_then(|last| self.queues.of(group).get(last)),
                Position::FromFirst(after) => {
                    let from = if unbounded { &mut self.heads } else { &mut self.queues };
                    let inside = if unbounded { usize::MAX } else { inside };
                    let after = usize::try_from(after).ok().filter(|after| *after < inside);
                    after.and_then(|after| from.of(group).get(after))
                }
            };
            picks.push(match of {
                Some(of) => Pick::Of(*of),
                None => Pick::DefaultOf(seq),
            });
        }
    }

    /// Calls each function once for all steps.
    fn results(&mut self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let steps = &self.steps;
        let batch = EventBatch::inserts(rows.clone(), crate::event::Times::Same(0));
        let counts = steps.counts.contains(&false).then(|| {
            let counts: BooleanBuffer = steps.counts.iter().copied().collect();
            BooleanArray::new(counts, None)
        });
        let plain = steps.is_plain();
        let order = UInt32Array::from(steps.results.clone());
        let store = &self.store;
        let mut failures = Vec::new();
        let results = self.calls.iter_mut().map(|call| match call {
            Running::Value(call, picks) => {
                let values = store.pick(call.argument, call.default, picks);
                picks.clear();
                values
            }
            Running::Aggregate(column, aggregate) => {
                let arguments = column.arguments.iter().map(|&index| batch.column(index).clone());
                let arguments: Vec<ArrayRef> = arguments.collect();
                let filter = match (filter_mask(&batch, column.filter), &counts) {
                    (Some(filter), Some(counts)) => Some(and(&filter, counts)?),
                    (filter, counts) => filter.or_else(|| counts.clone()),
                };
                let changes = Changes {
                    groups: &steps.groups,
                    ops: steps.retracts.then_some(steps.ops.as_slice()),
                    arguments: &arguments,
                    filter: filter.as_ref(),
                };
                let values = aggregate.running(&changes)?;
                for failure in aggregate.failures() {
                    let message = format!("{}: {}", column.text, failure.message);
                    let of_row = |row: usize| if plain { row } else { order.value(row) as usize };
                    let rows = (0..order.len()).filter(|row| of_row(*row) == failure.row);
                    failures.extend(rows.map(|row| (row, message.clone())));
                }
                match plain {
                    true => Ok(values),
                    false => Ok(take(&values, &order, None)?),
                }
            }
        });
        let results = results.collect();
        self.failures = failures;
        results
    }

    /// The rows of the last batch that an aggregate could give no value for, and why.
    pub fn failures(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.failures)
    }

    /// Writes the rows, where they stand, and the aggregates.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.store.snapshot(state)?;
        self.queues.snapshot(state)?;
        self.heads.snapshot(state)?;
        state.value(&self.entered)?;
        write_numbers(self.log.iter().map(|(mark, _)| mark.cast_unsigned()), state)?;
        write_numbers(self.log.iter().map(|(_, group)| u64::from(*group)), state)?;
        self.calls.iter().try_for_each(|call| match call {
            Running::Aggregate(_, aggregate) => aggregate.snapshot(state),
            Running::Value(..) => Ok(()),
        })
    }

    /// Reads back what [`FrameState::snapshot`] wrote.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.store.restore(state)?;
        self.queues.restore(state)?;
        self.heads.restore(state)?;
        self.entered = state.value()?;
        let marks = read_numbers(state)?.into_iter().map(u64::cast_signed);
        let groups = read_numbers(state)?.into_iter().map(|group| group as GroupId);
        self.log = marks.zip(groups).collect();
        self.calls.iter_mut().try_for_each(|call| match call {
            Running::Aggregate(_, aggregate) => aggregate.restore(state),
            Running::Value(..) => Ok(()),
        })
    }
}

#[inline]
fn set_latest(latest: &mut Vec<u32>, group: GroupId, step: u32) {
    let index = group as usize;
    if latest.len() <= index {
        latest.resize(index + 1, 0);
    }
    latest[index] = step;
}

/// Keeps a row if it is among the first `head` ones of its partition.
fn keep_head(heads: &mut Queues, head: u64, store: &mut RowStore, group: GroupId, seq: Seq) {
    let first = heads.of(group);
    if (first.len() as u64) < head {
        first.push_back(seq);
        store.retain(seq);
    }
}

/// The columns that calls read, ascending.
fn columns_of(calls: &[FrameCall]) -> Vec<usize> {
    let mut columns = Vec::new();
    for call in calls {
        match call {
            FrameCall::Aggregate(column) => columns.extend(column.arguments.iter().copied().chain(column.filter)),
            FrameCall::Value(call) => columns.extend([call.argument].into_iter().chain(call.default)),
        }
    }
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// A call, its columns counted among those that are kept.
fn running(call: FrameCall, frame: Frame, within: impl Fn(usize) -> usize) -> Result<Running> {
    Ok(match call {
        FrameCall::Value(call) => {
            let call = ValueCall {
                argument: within(call.argument),
                default: call.default.map(&within),
                ..call
            };
            Running::Value(call, Vec::new())
        }
        FrameCall::Aggregate(column) => {
            let retraction = retraction(frame);
            let aggregate = build(&column.spec, retraction).map_err(Error::failed)?;
            let column = AggregateColumn {
                arguments: column.arguments.iter().map(|column| within(*column)).collect(),
                filter: column.filter.map(&within),
                ..*column
            };
            Running::Aggregate(Box::new(column), aggregate)
        }
    })
}

/// How rows leave a frame.
pub fn retraction(frame: Frame) -> Retraction {
    match frame.has_no_start() {
        true => Retraction::Never,
        false => Retraction::Fifo,
    }
}
