//! Aggregation over windows on a grid of time, slice by slice: `tumbling`, `hop`, `cumulate`.
//!
//! Events are not kept. Each adds to the groups of its slice, the piece of time that every window has whole or not at all, and
//! a window is the sum of its slices when it closes ("panes": Li et al., *No pane, no gain*, SIGMOD Record 2005). An event costs
//! the same however many windows it is in.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::DataType;

use super::aggregate_plan::{AggregatePlan, Built, Form};
use super::aggregates::GroupId;
use super::forever::Forever;
use super::group_table::GroupTable;
use super::state::{StateReader, StateWriter};
use super::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Times};
use crate::windows::TimeDomain;
use crate::windows::emission::Bounds;
use crate::windows::gather::batch_of;
use crate::windows::hop::{Grid, grid_text, runs};

/// Groups events by slice, and gives a row for each group of a window when it closes.
///
/// *Semantics.* As of the window's events aggregated at once. Event time need not be in order: a slice takes events until the
/// last of its windows has closed. A row's event time is that of its window's last event. In windows of one slice each event
/// may give a row with its group's values after it, too ([`Form::Changes`]).
///
/// *Ops.* Inserts; one batch out is one emission. *State.* The accumulators of the slices whose windows are open. *Cost.* O(1)
/// an event and aggregate; a window's close costs its groups times its slices.
pub struct SliceAggregate {
    plan: SliceAggregatePlan,
    slices: BTreeMap<Micros, Slice>,
    /// The end of the next window to close.
    next: Option<Micros>,
    empty: Built,
    /// What outlives the windows that have closed.
    forever: Option<Forever>,
    /// The same after each event, if events give rows.
    running_forever: Option<Forever>,
    ids: Vec<GroupId>,
    /// Slices that no window needs any more, but a snapshot that has begun.
    leaving: Vec<Slice>,
    copying: bool,
}

/// What a [`SliceAggregate`] does.
#[derive(Debug, Clone)]
pub struct SliceAggregatePlan {
    /// The windows.
    pub grid: Grid,
    /// What moves time.
    pub domain: TimeDomain,
    /// Keys and aggregates; the output's columns are those of `columns`.
    pub aggregate: AggregatePlan,
    /// Where each column of the output comes from.
    pub columns: Vec<SliceColumn>,
}

/// A column of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceColumn {
    /// A key, by its number.
    Key(usize),
    /// An aggregate, by its number.
    Aggregate(usize),
    /// Where the window begins.
    Start,
    /// Where it ends.
    End,
}

/// The groups of a piece of time.
struct Slice {
    groups: GroupTable,
    aggregates: Built,
    latest: Micros,
}

impl OperatorPlan for SliceAggregatePlan {
    fn name(&self) -> &'static str {
        match self.grid {
            Grid { cumulate: true, .. } => "CumulateAggregate",
            grid if grid.is_tumbling() => "TumblingAggregate",
            _ => "HopAggregate",
        }
    }

    fn details(&self) -> Vec<String> {
        let window = std::iter::once(grid_text(&self.grid, self.domain));
        window.chain(self.aggregate.details()).collect()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SliceAggregate {
            empty: Built::new(&self.aggregate)?,
            forever: Forever::of_windows(&self.aggregate)?,
            running_forever: match self.aggregate.form {
                Form::Changes => Forever::of_events(&self.aggregate)?,
                _ => None,
            },
            plan: self.clone(),
            slices: BTreeMap::new(),
            next: None,
            ids: Vec::new(),
            leaving: Vec::new(),
            copying: false,
        }))
    }
}

impl Operator for SliceAggregate {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let grid = self.plan.grid;
        for (start, part) in self.parts(batch)? {
            if self.plan.domain == TimeDomain::Processing {
                self.close_until(start, out)?;
            }
            self.add(start, &part, out)?;
            let end = grid.first_end(start);
            self.next = Some(self.next.map_or(end, |next| next.min(end)));
        }
        self.set_timer(out);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match (time, self.plan.domain) {
            (TimeUpdate::Watermark(time), TimeDomain::Event) | (TimeUpdate::Timer(time), TimeDomain::Processing) => {
                self.close_until(time, out)?;
            }
            (TimeUpdate::Watermark(END_OF_TIME), _) => self.close_until(END_OF_TIME, out)?,
            _ => {}
        }
        self.set_timer(out);
        Ok(())
    }

    fn watermark(&self, input: Micros) -> Micros {
        // A window's row has the time of its last event, which is not before its first slice.
        let oldest = self.slices.keys().next();
        oldest.map_or(input, |oldest| (*oldest).min(input))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&(self.next, self.slices.len()))?;
        for (start, slice) in &self.slices {
            state.value(&(*start, slice.latest))?;
            slice.groups.snapshot(state)?;
            slice.aggregates.snapshot(state)?;
        }
        self.snapshot_forever(state)
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        state.value(&(self.next, self.slices.len()))?;
        for (start, slice) in &mut self.slices {
            state.value(&(*start, slice.latest))?;
            slice.groups.begin_snapshot(state)?;
            slice.aggregates.begin_snapshot(state)?;
        }
        self.copying = true;
        self.snapshot_forever(state)
    }

    fn continue_snapshot(&mut self, bytes: usize) -> Result<usize> {
        let mut copied = 0;
        for slice in self.slices.values_mut().chain(&mut self.leaving) {
            if copied < bytes {
                copied += slice.groups.continue_snapshot(bytes - copied);
            }
            if copied < bytes {
                copied += slice.aggregates.continue_snapshot(bytes - copied);
            }
        }
        if copied == 0 {
            self.copying = false;
            self.leaving.clear();
        }
        Ok(copied)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let (next, slices): (Option<Micros>, usize) = state.value()?;
        self.next = next;
        for _ in 0..slices {
            let (start, latest): (Micros, Micros) = state.value()?;
            let mut slice = self.fresh_slice()?;
            slice.latest = latest;
            slice.groups.restore(state)?;
            slice.aggregates.restore(state)?;
            self.slices.insert(start, slice);
        }
        if let Some(forever) = &mut self.forever {
            forever.restore(state)?;
        }
        if let Some(forever) = &mut self.running_forever {
            forever.restore(state)?;
        }
        Ok(())
    }
}

impl SliceAggregate {
    /// What outlives windows, written at once.
    fn snapshot_forever(&self, state: &mut StateWriter) -> Result<()> {
        let all = self.forever.iter().chain(&self.running_forever);
        all.into_iter().try_for_each(|forever| forever.snapshot(state))
    }

    /// The events of each slice. Runs of events in order are not copied; a batch in disorder is sorted by slice first.
    fn parts(&self, batch: EventBatch) -> Result<Vec<(Micros, EventBatch)>> {
        let grid = self.plan.grid;
        let slice = grid.slice();
        if let Times::Each(times) = batch.times()
            && let (Some(least), Some(most)) = (times.iter().min(), times.iter().max())
        {
            let start = grid.slice_of(*least);
            if *most < start.saturating_add(slice) {
                return Ok(vec![(start, batch)]);
            }
            if !times.is_sorted() && self.plan.aggregate.form != Form::Changes {
                let mut rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
                rows.sort_by_key(|row| grid.slice_of(times[*row as usize]));
                return Ok(runs(&batch.take(rows)?, |time| grid.slice_of(time)));
            }
        }
        Ok(runs(&batch, |time| grid.slice_of(time)))
    }

    fn fresh_slice(&self) -> Result<Slice> {
        Ok(Slice {
            groups: GroupTable::new(&self.plan.aggregate.key_types())?,
            aggregates: self.empty.fresh(),
            latest: Micros::MIN,
        })
    }

    fn add(&mut self, start: Micros, events: &EventBatch, out: &mut Output) -> Result<()> {
        if !self.slices.contains_key(&start) {
            let slice = self.fresh_slice()?;
            self.slices.insert(start, slice);
        }
        let Some(slice) = self.slices.get_mut(&start) else {
            return Ok(());
        };
        let keys: Vec<ArrayRef> = self
            .plan
            .aggregate
            .keys
            .iter()
            .map(|&key| events.column(key).clone())
            .collect();
        slice.groups.assign(&keys, events.num_rows(), &mut self.ids)?;
        slice.latest = slice.latest.max(latest(events.times()));
        if self.plan.aggregate.form != Form::Changes {
            return slice.aggregates.update(&self.ids, None, events);
        }
        let mut values = slice.aggregates.running(&self.ids, None, events)?;
        if let Some(forever) = &mut self.running_forever {
            forever.merge_events(events, &mut values)?;
        }
        let end = self.plan.grid.first_end(start);
        let rows = events.with_columns(self.columns(&keys, &values, events.num_rows(), (start, end))?);
        let rows = match self.slices.get_mut(&start) {
            Some(slice) => slice.aggregates.checked(rows, out)?,
            None => rows,
        };
        out.emit(rows);
        Ok(())
    }

    fn close_until(&mut self, time: Micros, out: &mut Output) -> Result<()> {
        while let Some(end) = self.next.filter(|end| *end <= time) {
            let start = self.plan.grid.start(end);
            self.close(start, end, out)?;
            self.next = self.after(end);
        }
        Ok(())
    }

    fn close(&mut self, start: Micros, end: Micros, out: &mut Output) -> Result<()> {
        let mut open = self.slices.range_mut(start..end);
        let Some((_, first)) = open.next() else {
            return Ok(());
        };
        let rows = match open.next() {
            None => {
                let ids = first.groups.live();
                let values = first.aggregates.values(&ids)?;
                (first.groups.keys(&ids)?, values, first.latest)
            }
            Some(_) => return self.close_merged(start, end, out),
        };
        let emission = self.emission(rows, start, end)?;
        let emission = match self.slices.range_mut(start..end).next() {
            Some((_, slice)) => slice.aggregates.checked(emission, out)?,
            None => emission,
        };
        out.emit(emission);
        Ok(())
    }

    /// The groups of several slices as one.
    fn close_merged(&mut self, start: Micros, end: Micros, out: &mut Output) -> Result<()> {
        let mut whole = self.fresh_slice()?;
        let mut into = Vec::new();
        for slice in self.slices.range(start..end).map(|(_, slice)| slice) {
            let ids = slice.groups.live();
            whole.groups.assign(&slice.groups.keys(&ids)?, ids.len(), &mut into)?;
            whole.aggregates.merge(&slice.aggregates, &ids, &into)?;
            whole.latest = whole.latest.max(slice.latest);
        }
        let ids = whole.groups.live();
        let values = whole.aggregates.values(&ids)?;
        let emission = self.emission((whole.groups.keys(&ids)?, values, whole.latest), start, end)?;
        let emission = whole.aggregates.checked(emission, out)?;
        out.emit(emission);
        Ok(())
    }

    fn emission(
        &mut self,
        (keys, mut values, latest): (Vec<ArrayRef>, Vec<ArrayRef>, Micros),
        start: Micros,
        end: Micros,
    ) -> Result<EventBatch> {
        let rows = keys.first().or(values.first()).map_or(1, |column| column.len());
        if let Some(forever) = &mut self.forever {
            forever.merge_windows(&keys, &mut values)?;
        }
        let columns = self.columns(&keys, &values, rows, (start, end))?;
        Ok(EventBatch::inserts(columns, Times::Same(latest)))
    }

    /// The columns of the output.
    fn columns(
        &self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        rows: usize,
        (start, end): Bounds,
    ) -> Result<RecordBatch> {
        let schema = &self.plan.aggregate.schema;
        let bound = |time: Micros, column: usize| {
            let times = TimestampMicrosecondArray::from(vec![time; rows]);
            match schema.field(column).data_type() {
                DataType::Timestamp(_, zone) => Arc::new(times.with_timezone_opt(zone.clone())) as ArrayRef,
                _ => Arc::new(times),
            }
        };
        let columns = self
            .plan
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| match column {
                SliceColumn::Key(key) => keys[*key].clone(),
                SliceColumn::Aggregate(aggregate) => values[*aggregate].clone(),
                SliceColumn::Start => bound(start, index),
                SliceColumn::End => bound(end, index),
            });
        batch_of(schema.clone(), columns.collect(), rows)
    }

    /// The end of the next window that has events, once the one that ends at `end` is closed; drops what no window needs.
    fn after(&mut self, end: Micros) -> Option<Micros> {
        let grid = self.plan.grid;
        while let Some(slice) = self.slices.first_entry()
            && grid.last_end(*slice.key()) <= end
        {
            let slice = slice.remove();
            if self.copying {
                self.leaving.push(slice);
            }
        }
        let (first, _) = self.slices.first_key_value()?;
        Some(grid.first_end(*first).max(end.saturating_add(grid.slide)))
    }

    fn set_timer(&self, out: &mut Output) {
        if let (TimeDomain::Processing, Some(next)) = (self.plan.domain, self.next) {
            out.wake_at(next);
        }
    }
}

fn latest(times: &Times) -> Micros {
    match times {
        Times::Same(time) => *time,
        Times::Each(times) => times.iter().copied().max().unwrap_or(Micros::MIN),
    }
}
