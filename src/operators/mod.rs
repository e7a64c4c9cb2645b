//! Operators: synchronous state machines over batches, one a file.
//!
//! An operator never locks, waits or looks at a clock: batches, watermarks and due timers are handed to it, and what it
//! produces goes to its [`Output`]. The runtime owns it on one thread.

use crate::error::{Result, RowError};
use crate::event::{EventBatch, Mark, Micros};

pub mod aggregate_plan;
pub mod aggregates;
pub mod batch_aggregate;
pub mod broadcast;
pub mod changes_aggregate;
pub mod distinct;
pub mod emission_order;
pub mod event_time_order;
pub mod expressions;
pub mod filter_project;
pub mod forever;
pub mod gradual;
pub mod group_table;
pub mod join;
pub mod keyed;
pub mod keyed_changes;
pub mod limit;
pub mod live_keys;
pub mod lookup;
pub mod lookup_join;
pub mod merge_order;
pub mod output_events;
pub mod output_rate;
pub mod over;
pub mod partition_keys;
pub mod relation_rows;
pub mod route;
pub mod row_errors;
pub mod running_aggregate;
pub mod session_aggregate;
pub mod slice_aggregate;
pub mod source_time;
pub mod split_rows;
pub mod state;
pub mod table_query_join;
pub mod table_write;
pub mod top_n;
pub mod trigger;
pub mod wake_ups;
pub mod watermark;

use state::{StateReader, StateWriter};

/// Which input of an operator a batch comes in by: 0 for operators with one input.
pub type Port = usize;

/// The port of what tells an operator something beside its inputs: which keys of a PARTITION have come and gone. It has no
/// part in the operator's watermark.
pub const CONTROL: Port = Port::MAX;

/// Time has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUpdate {
    /// Event time: no event older than this will come (but late ones). [`END_OF_TIME`] when the input has ended.
    Watermark(Micros),
    /// Processing time: a wake-up asked for by [`Output::wake_at`] is due.
    Timer(Micros),
}

/// The watermark of an input that has ended: later than every event.
pub const END_OF_TIME: Micros = Micros::MAX;

/// The watermark before any event.
pub const BEGINNING_OF_TIME: Micros = Micros::MIN;

/// A node of the running pipeline.
pub trait Operator: Send {
    /// Takes a batch on one of its inputs.
    fn process(&mut self, port: Port, batch: EventBatch, out: &mut Output) -> Result<()>;

    /// Learns that time has moved. Called before the watermark is passed on downstream, so that what the operator emits
    /// now goes ahead of it.
    fn advance(&mut self, _time: TimeUpdate, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Learns what a source that copies a relation says between its rows. Only the operator at the entry of its stream hears it.
    fn mark(&mut self, _mark: Mark, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Goes on with what it kept back by [`Output::call_again`]. Called when what it emitted before is through.
    fn resume(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// The watermark to pass on when the least of the inputs' is `input`; later for operators that hold nothing back,
    /// earlier for those that delay.
    fn watermark(&self, input: Micros) -> Micros {
        input
    }

    /// The least watermark at which [`Operator::advance`] would do anything; `None` when none but the last. Spares those who
    /// own many operators to tell all of them of every watermark.
    fn next_watermark(&self) -> Option<Micros> {
        Some(BEGINNING_OF_TIME)
    }

    /// What it holds now, for a window that is asked on demand; `None` for operators that are none.
    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(None)
    }

    /// Whether nothing more will come from it whatever comes in (LIMIT reached).
    fn is_done(&self) -> bool {
        false
    }

    /// Writes its state. Stateless operators write nothing.
    fn snapshot(&self, _state: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    /// As [`Operator::snapshot`]; what is large may be left for [`Operator::continue_snapshot`], which writes it as it is now. One
    /// snapshot is completed before the next begins.
    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.snapshot(state)
    }

    /// Copies about so many bytes more of what a snapshot has begun with; how many it were. None: it is complete. Called between
    /// batches.
    fn continue_snapshot(&mut self, _bytes: usize) -> Result<usize> {
        Ok(0)
    }

    /// Reads back what [`Operator::snapshot`] wrote. Called once, before any batch.
    fn restore(&mut self, _state: &mut StateReader) -> Result<()> {
        Ok(())
    }
}

/// An operator as planned: what EXPLAIN prints and what the running operator is built from.
pub trait OperatorPlan: Send + Sync {
    /// Its name in EXPLAIN.
    fn name(&self) -> &'static str;
    /// What it does, a line an item.
    fn details(&self) -> Vec<String>;
    /// Whether event time begins at it.
    fn begins_event_time(&self) -> bool {
        false
    }
    /// Whether it matters which events come in one batch, so that batches that wait must not be joined.
    fn keeps_batches(&self) -> bool {
        false
    }
    /// Whether a PARTITION may hand it all rows that its key has in a batch at once: it closes with each batch, or what it gives
    /// waits for time to move. Otherwise rows come in runs of one key, so that what it gives for different keys stays in the
    /// order of the events.
    fn takes_chunks(&self) -> bool {
        false
    }
    /// Whether it may stay in front of where a PARTITION's keys go their ways, on the thread of its streams: it has no state for a key,
    /// and gives the rows it takes in their columns, or the key as one of new columns.
    fn forwards(&self) -> bool {
        false
    }
    /// Whether several of it, each with some of a PARTITION's keys, do the same as one. Not what works on things that
    /// others see, such as tables.
    fn splits_by_key(&self) -> bool {
        !self.begins_event_time()
    }
    /// Whether it gives its events to every key of a PARTITION.
    fn gives_to_every_key(&self) -> bool {
        false
    }
    /// Whether it tells how much a pattern has open: [`Output::count_patterns`].
    fn counts_patterns(&self) -> bool {
        false
    }
    /// One operator that does for every key of a PARTITION what this one does; `None` if there is none but one for each key.
    fn for_keys(&self, _keys: &keyed::KeyedBy) -> Option<std::sync::Arc<dyn OperatorPlan>> {
        None
    }
    /// A fresh operator.
    fn build(&self) -> Result<Box<dyn Operator>>;
}

/// How much a pattern has open, and what became of the rest: by how much that changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PatternCounts {
    /// Open attempts.
    pub open: i64,
    /// What they take, in bytes.
    pub bytes: i64,
    /// Matches.
    pub matches: u64,
    /// Attempts that timed out.
    pub timeouts: u64,
    /// Attempts dropped because there were too many.
    pub dropped: u64,
}

/// What an operator produces in one call.
#[derive(Debug, Default)]
pub struct Output {
    now: Micros,
    batches: Vec<EventBatch>,
    errors: Vec<RowError>,
    wake_at: Option<Micros>,
    watermark: Option<Watermark>,
    again: bool,
    late: u64,
    late_rows: Vec<EventBatch>,
    patterns: PatternCounts,
}

/// What an input says of its event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Watermark {
    /// No event older than this will come, but late ones.
    At(Micros),
    /// Nothing comes at present: the input holds nobody back.
    Idle,
}

impl Output {
    /// An empty output; `now` is the processing time of the call.
    pub fn new(now: Micros) -> Self {
        Output {
            now,
            ..Output::default()
        }
    }

    /// Sets the processing time of the next call.
    pub fn set_now(&mut self, now: Micros) {
        self.now = now;
    }

    /// Processing time.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Emits a batch; empty ones are dropped.
    pub fn emit(&mut self, batch: EventBatch) {
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }

    /// Reports an event that could not be processed.
    pub fn error(&mut self, error: RowError) {
        self.errors.push(error);
    }

    /// Asks for [`TimeUpdate::Timer`] once processing time reaches `at`. The earliest of several requests of one call
    /// holds; an operator asks again when it is called.
    pub fn wake_at(&mut self, at: Micros) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Asks for [`Operator::resume`] once what is emitted now is through: for operators that make very much of one batch, so
    /// that it need not be there all at once.
    pub fn call_again(&mut self) {
        self.again = true;
    }

    /// For operators where event time begins: the watermark from here on.
    pub fn set_watermark(&mut self, watermark: Micros) {
        self.watermark = Some(Watermark::At(watermark));
    }

    /// For operators where event time begins: nothing comes at present, so nobody shall wait for this input.
    pub fn set_idle(&mut self) {
        self.watermark = Some(Watermark::Idle);
    }

    /// Counts late events.
    pub fn count_late(&mut self, rows: u64) {
        self.late += rows;
    }

    /// Tells how the counts of a pattern changed.
    pub fn count_patterns(&mut self, change: PatternCounts) {
        self.patterns.open += change.open;
        self.patterns.bytes += change.bytes;
        self.patterns.matches += change.matches;
        self.patterns.timeouts += change.timeouts;
        self.patterns.dropped += change.dropped;
    }

    /// Sends late events to the stream named by the `late` option.
    pub fn emit_late(&mut self, batch: EventBatch) {
        if !batch.is_empty() {
            self.late_rows.push(batch);
        }
    }

    /// The parts, for the runtime.
    pub fn take(&mut self) -> Outcome {
        Outcome {
            batches: std::mem::take(&mut self.batches),
            errors: std::mem::take(&mut self.errors),
            wake_at: self.wake_at.take(),
            watermark: self.watermark.take(),
            again: std::mem::take(&mut self.again),
            late: std::mem::take(&mut self.late),
            late_rows: std::mem::take(&mut self.late_rows),
            patterns: std::mem::take(&mut self.patterns),
        }
    }
}

/// What [`Output::take`] gives.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Emitted batches in order.
    pub batches: Vec<EventBatch>,
    /// Bad events.
    pub errors: Vec<RowError>,
    /// When to wake the operator.
    pub wake_at: Option<Micros>,
    /// A watermark that begins here.
    pub watermark: Option<Watermark>,
    /// Whether there is more to come.
    pub again: bool,
    /// How many events were late.
    pub late: u64,
    /// Late events for the stream that takes them.
    pub late_rows: Vec<EventBatch>,
    /// How the counts of patterns changed.
    pub patterns: PatternCounts,
}
