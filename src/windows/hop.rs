//! `tumbling`, `hop`, `cumulate`: windows on a grid of time.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

use super::announce::{Announce, Mark, marked};
use super::emission::{Emissions, read_batches, write_batches};
use super::gather::{SMALL, gather};
use super::{Retained, TimeDomain};
use crate::error::Result;
use crate::event::{EventBatch, Micros};
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};

/// Windows on a grid. An event belongs to one *slice*, and each window is a run of slices, so that windows that overlap share
/// them: `hop` windows are `size` long and begin every slide, `cumulate` windows begin every `size` and end after each slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The longest window.
    pub size: Micros,
    /// The distance between the ends of two windows.
    pub slide: Micros,
    /// Where the grid begins after the epoch.
    pub offset: Micros,
    /// Whether windows begin together and grow, instead of moving.
    pub cumulate: bool,
}

impl Grid {
    /// The length of a slice: it divides every window.
    pub fn slice(&self) -> Micros {
        greatest_common_divisor(self.size, self.slide)
    }

    /// Whether windows touch, so that an event is in one.
    pub fn is_tumbling(&self) -> bool {
        self.size == self.slide
    }

    /// The beginning of the slice of an event.
    pub fn slice_of(&self, time: Micros) -> Micros {
        floor(time, self.offset, self.slice())
    }

    /// The first end of a window that has the slice beginning at `slice`.
    pub fn first_end(&self, slice: Micros) -> Micros {
        floor(slice, self.offset + self.size % self.slide, self.slide).saturating_add(self.slide)
    }

    /// The beginning of the window that ends at `end`.
    pub fn start(&self, end: Micros) -> Micros {
        match self.cumulate {
            true => floor(end - 1, self.offset, self.size),
            false => end.saturating_sub(self.size),
        }
    }

    /// The number of the window that ends at `end`: each has its own.
    pub fn number(&self, end: Micros) -> i64 {
        end.div_euclid(self.slide)
    }

    /// The last end of a window that has the slice beginning at `slice`.
    pub fn last_end(&self, slice: Micros) -> Micros {
        match self.cumulate {
            true => floor(slice, self.offset, self.size).saturating_add(self.size),
            false => {
                let first = self.first_end(slice);
                let limit = slice.saturating_add(self.size);
                floor(limit, first, self.slide)
            }
        }
    }
}

/// The latest point of the grid `offset + n * step` at or before `time`.
pub fn floor(time: Micros, offset: Micros, step: Micros) -> Micros {
    time.saturating_sub((time.saturating_sub(offset)).rem_euclid(step))
}

fn greatest_common_divisor(a: Micros, b: Micros) -> Micros {
    match b {
        0 => a.max(1),
        b => greatest_common_divisor(b, a % b),
    }
}

/// Gives the events of each window when it closes.
///
/// *Semantics.* A window closes when time reaches its end: the watermark's, or the clock's in processing time. A window
/// without events gives nothing. Late events that were accepted make a window of their own once more.
///
/// *Ops.* Takes inserts; one batch out is one emission. *State.* The events of the windows that are open, each once.
/// *Cost.* O(1) an event in, and one copy for each window it belongs to.
pub struct Hop {
    plan: HopPlan,
    slices: BTreeMap<Micros, Vec<EventBatch>>,
    /// The end of the next window to close.
    next: Option<Micros>,
    emissions: Emissions,
}

/// What a [`Hop`] does.
#[derive(Debug, Clone)]
pub struct HopPlan {
    /// The windows.
    pub grid: Grid,
    /// What moves time.
    pub domain: TimeDomain,
    /// Whether anybody asks for what leaves.
    pub retained: Retained,
    /// What is given before a window closes.
    pub announce: Announce,
    /// The columns, the window's bounds last.
    pub schema: SchemaRef,
}

impl OperatorPlan for HopPlan {
    fn name(&self) -> &'static str {
        match self.grid {
            Grid { cumulate: true, .. } => "CumulateWindow",
            grid if grid.is_tumbling() => "TumblingWindow",
            _ => "HopWindow",
        }
    }

    fn details(&self) -> Vec<String> {
        vec![grid_text(&self.grid, self.domain)]
    }

    fn takes_chunks(&self) -> bool {
        self.domain == TimeDomain::Event
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Hop {
            emissions: Emissions::new(self.schema.clone(), true, self.retained).announcing(self.announce),
            plan: self.clone(),
            slices: BTreeMap::new(),
            next: None,
        }))
    }
}

/// A grid, for EXPLAIN.
pub fn grid_text(grid: &Grid, domain: TimeDomain) -> String {
    let (size, slide) = (grid.size / 1_000, grid.slide / 1_000);
    match size == slide {
        true => format!("{size} ms of {domain}"),
        false => format!("{size} ms every {slide} ms of {domain}"),
    }
}

impl Operator for Hop {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let grid = self.plan.grid;
        for (slice, part) in runs(&batch, |time| grid.slice_of(time)) {
            if self.plan.domain == TimeDomain::Processing {
                self.close_until(slice, out)?;
            }
            if self.plan.announce != Announce::Nothing {
                self.announce(slice, &part, out)?;
            }
            gather(self.slices.entry(slice).or_default(), part)?;
            let end = grid.first_end(slice);
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
        // Without aggregation the events keep their times.
        let oldest = self.slices.keys().next();
        oldest.map_or(input, |oldest| (*oldest).min(input))
    }

    fn next_watermark(&self) -> Option<Micros> {
        self.next.filter(|_| self.plan.domain == TimeDomain::Event)
    }

    fn content(&self) -> Result<Option<Vec<EventBatch>>> {
        Ok(Some(self.emissions.content()))
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&(self.next, self.slices.len()))?;
        for (slice, events) in &self.slices {
            state.value(slice)?;
            write_batches(events, state)?;
        }
        self.emissions.snapshot(state)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let (next, slices): (Option<Micros>, usize) = state.value()?;
        self.next = next;
        for _ in 0..slices {
            let slice = state.value()?;
            self.slices.insert(slice, read_batches(state)?);
        }
        self.emissions.restore(state)
    }
}

impl Hop {
    /// Closes the windows that end at `time` or before.
    fn close_until(&mut self, time: Micros, out: &mut Output) -> Result<()> {
        while let Some(end) = self.next.filter(|end| *end <= time) {
            let start = self.plan.grid.start(end);
            let events: Vec<EventBatch> = self
                .slices
                .range(start..end)
                .flat_map(|(_, events)| events.clone())
                .collect();
            if !events.is_empty() {
                let window = self.plan.grid.number(end);
                self.emissions.close(&events, (start, end), end - 1, window, out)?;
            }
            self.next = self.after(end);
        }
        Ok(())
    }

    /// Gives events of a slice at once, each for every window that it is in, the one that ends first first.
    fn announce(&self, slice: Micros, events: &EventBatch, out: &mut Output) -> Result<()> {
        let grid = self.plan.grid;
        let (first, last) = (grid.first_end(slice), grid.last_end(slice));
        let windows = ((last - first) / grid.slide + 1) as usize;
        // What goes out at once is bounded, however many windows an event is in.
        let at_once = (SMALL / windows).max(1);
        for from in (0..events.num_rows()).step_by(at_once) {
            let rows = at_once.min(events.num_rows() - from);
            for some in 0..windows.div_ceil(SMALL) {
                let some: Vec<usize> = (some * SMALL..windows.min((some + 1) * SMALL)).collect();
                let ends = some.iter().map(|&window| first + window as Micros * grid.slide);
                let ends: Vec<Micros> = ends.collect();
                self.announce_in(&events.slice(from, rows), &ends, out)?;
            }
        }
        Ok(())
    }

    /// Gives events at once for the windows with these ends.
    fn announce_in(&self, events: &EventBatch, ends: &[Micros], out: &mut Output) -> Result<()> {
        let grid = self.plan.grid;
        let rows = 0..events.num_rows() as u32;
        let repeated = rows.flat_map(|row| std::iter::repeat_n(row, ends.len())).collect();
        let ends = || std::iter::repeat_n(ends, events.num_rows()).flatten().copied();
        let bounds = ends().map(|end| (grid.start(end), end));
        let events_of = self.emissions.bounded_each(&events.take(repeated)?, bounds)?;
        out.emit(match self.plan.announce {
            Announce::Marked => {
                let marks = ends().map(|end| Mark::Arrived.of(grid.number(end)));
                marked(&events_of, marks.collect::<Vec<_>>().into())?
            }
            _ => events_of,
        });
        Ok(())
    }

    /// The end of the next window that has events, once the one that ends at `end` is closed; drops what no window needs.
    fn after(&mut self, end: Micros) -> Option<Micros> {
        let grid = self.plan.grid;
        while let Some(slice) = self.slices.first_entry()
            && grid.last_end(*slice.key()) <= end
        {
            slice.remove();
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

/// Cuts a batch into runs of rows with the same key, in order. One slice a run, without copying.
pub fn runs(batch: &EventBatch, key: impl Fn(Micros) -> Micros) -> Vec<(Micros, EventBatch)> {
    use crate::event::Times;
    let rows = batch.num_rows();
    let times = match batch.times() {
        Times::Same(time) => return vec![(key(*time), batch.clone())],
        Times::Each(times) => times,
    };
    let mut runs = Vec::new();
    let mut from = 0;
    while from < rows {
        let of = key(times[from]);
        let length = times[from..].iter().take_while(|time| key(**time) == of).count();
        runs.push((of, batch.slice(from, length)));
        from += length;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::Grid;

    fn grid(size: i64, slide: i64, offset: i64) -> Grid {
        Grid {
            size,
            slide,
            offset,
            cumulate: false,
        }
    }

    #[test]
    fn ends_of_the_windows_of_a_slice() {
        // size, slide, offset, time: the ends of the windows that have it
        let cases = [
            (10, 10, 0, 0, vec![10]),
            (10, 10, 3, 2, vec![3]),
            (10, 2, 0, 5, vec![6, 8, 10, 12, 14]),
            (10, 4, 0, 5, vec![6, 10, 14]),
            (10, 4, 0, -1, vec![2, 6]),
            (7, 3, 1, 4, vec![5, 8, 11]),
        ];
        for (size, slide, offset, time, ends) in cases {
            let grid = grid(size, slide, offset);
            let slice = grid.slice_of(time);
            let (first, last) = (grid.first_end(slice), grid.last_end(slice));
            let all: Vec<i64> = (0..)
                .map(|n| first + n * slide)
                .take_while(|end| *end <= last)
                .collect();
            let brute: Vec<i64> = (-100..100)
                .map(|n| offset + n * slide)
                .filter(|start| *start <= time && time < start + size)
                .map(|start| start + size)
                .collect();
            assert_eq!(all, brute, "{size} {slide} {offset} {time}");
            assert_eq!(all, ends, "{size} {slide} {offset} {time}");
        }
    }

    #[test]
    fn cumulating_windows_begin_together() {
        let grid = Grid {
            size: 10,
            slide: 2,
            offset: 0,
            cumulate: true,
        };
        let slice = grid.slice_of(5);
        assert_eq!((grid.first_end(slice), grid.last_end(slice)), (6, 10));
        assert_eq!((grid.start(6), grid.start(10), grid.start(12)), (0, 0, 10));
    }
}
