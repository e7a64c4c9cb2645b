//! What time does: absence that is complete, WITHIN that is over; and what keeps the state in bounds.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use super::gather::Gathered;
use super::matcher::{Matched, Matcher, Partition, Was};
use super::program::{PartId, PartKind};
use super::shape::{Limit, Mode};
use super::stepping::{Deadlines, Moment, Step};
use super::timers::{AttemptId, Due, Timer};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::windows::gather::batch_of;

impl Matcher {
    /// Time has come to `clock`: what is due happens.
    pub fn reach(&mut self, clock: Micros) -> Result<()> {
        if !self.timers.may_be_due(clock) {
            self.clock = self.clock.max(clock);
            return Ok(());
        }
        while let Some(timer) = self.timers.take(clock) {
            if self.attempts.is_alive(timer.attempt, timer.generation) {
                self.clock = self.clock.max(timer.at);
                self.fire(&timer);
            }
        }
        self.clock = self.clock.max(clock);
        self.events.let_go();
        self.keep_within_bound()
    }

    /// No event will come: what is open ends as if all time had passed, and nothing begins again.
    pub fn end(&mut self) {
        self.ending = true;
        while let Some(timer) = self.timers.take(Micros::MAX) {
            if self.attempts.is_alive(timer.attempt, timer.generation) {
                self.clock = self.clock.max(timer.at);
                self.fire(&timer);
            }
        }
        self.events.let_go();
    }

    fn fire(&mut self, timer: &Timer) {
        let id = timer.attempt;
        let mut moment = self.moment(timer.at);
        moment.clock = timer.at;
        match timer.due {
            Due::Expiry => self.expire(id, moment),
            Due::GroupExpiry(part) => self.expire_group(id, part.into(), moment),
            Due::Silence(element) => self.silence(id, element.into(), moment),
        }
    }

    /// The WITHIN of a group may be over for an attempt.
    fn expire_group(&mut self, id: AttemptId, part: PartId, moment: Moment) {
        let was = Was::of(self.attempts.get(id));
        let mut step = Step::new(&self.plan.program, &mut self.events, &mut self.scratch, moment);
        let attempt = self.attempts.get_mut(id);
        if !step.is_expired(attempt, part) {
            return;
        }
        step.expire_group(attempt, part);
        match (step.dead, step.restarts) {
            (false, _) => step.all_again(attempt),
            (true, every) => step.only_again(attempt, every),
        }
        match step.dead {
            true => self.time_out(id, moment.time),
            false => self.finish(id, true, false, was, moment.time, Deadlines::new()),
        }
        self.add_all(false);
    }

    fn silence(&mut self, id: AttemptId, element: usize, moment: Moment) {
        let attempt = self.attempts.get(id);
        let deadline = self.plan.program.deadline_of(element);
        if attempt.waits >> element & 1 == 0
            || deadline.is_none_or(|slot| attempt.deadline(&self.plan.program, slot) != moment.time)
        {
            return;
        }
        // The time of the whole is over at the same moment: that comes first, whichever timer was set first.
        let by_time = matches!(self.plan.program.limit, Some(Limit::Time(_)));
        if by_time && self.is_too_late(attempt, moment) {
            return;
        }
        let was = Was::of(attempt);
        let mut step =
            Step::new(&self.plan.program, &mut self.events, &mut self.scratch, moment).at_the_end(self.ending);
        let attempt = self.attempts.get_mut(id);
        step.silence(attempt, element);
        let timers = std::mem::take(&mut step.timers);
        step.all_again(attempt);
        let matched = step.matched;
        self.finish(id, !matched, matched, was, moment.time, timers);
        if !matched && self.plan.program.mode == Mode::Strict && self.attempts.get(id).begun {
            self.make_room(id);
        }
        self.add_all(false);
    }

    /// The WITHIN of an attempt is over.
    fn expire(&mut self, id: AttemptId, moment: Moment) {
        let attempt = self.attempts.get(id);
        // It may have lost its first event since.
        if !attempt.has_started() || !self.is_too_late(attempt, moment) {
            return;
        }
        let mut step = Step::new(&self.plan.program, &mut self.events, &mut self.scratch, moment);
        let again = step.again_in_time(attempt);
        self.time_out(id, moment.time);
        self.scratch.begun.extend(again);
        self.add_all(false);
    }

    /// Takes an attempt away that has timed out; it goes out with what it has if that is asked for.
    fn time_out(&mut self, id: AttemptId, at: Micros) {
        let attempt = self.attempts.get(id);
        self.tally.timeouts += u64::from(attempt.has_started());
        if self.plan.expired && attempt.has_started() {
            let matched = Matched {
                link: attempt.link,
                time: at,
                op: Op::Delete,
                partition: attempt.partition,
                order: attempt.order,
            };
            self.events.links.retain(matched.link);
            self.emit(matched);
        }
        self.remove(id);
    }

    /// With WITHIN n EVENTS: from which event on an attempt, or a group of it, counts. `queue` is 0 for the whole, then the
    /// groups.
    pub(super) fn count_from(&mut self, id: AttemptId, queue: usize, first: u64) {
        let attempt = self.attempts.get(id);
        let entry = (first, id, attempt.generation);
        let firsts = &mut self.partitions[attempt.partition as usize].firsts;
        if firsts.len() <= queue {
            firsts.resize_with(queue + 1, VecDeque::new);
        }
        // Mostly the last; what EVERY begins again may have begun before others.
        let place = firsts[queue].partition_point(|(known, ..)| *known <= first);
        firsts[queue].insert(place, entry);
    }

    /// WITHIN n EVENTS: who began n events ago is too late.
    pub(super) fn expire_by_count(&mut self, partition: u32, moment: Moment) {
        let program = self.plan.program.clone();
        if let Some(Limit::Events(events)) = program.limit {
            while let Some(id) = self.next_by_count(partition, 0, events, moment) {
                self.expire(id, moment);
            }
        }
        for (index, &part) in program.counted.iter().enumerate() {
            if let PartKind::Within {
                limit: Limit::Events(events),
                ..
            } = program.part(part).kind
            {
                while let Some(id) = self.next_by_count(partition, index + 1, events, moment) {
                    self.expire_group(id, part, moment);
                }
            }
        }
    }

    /// Takes the next of a queue of [`Matcher::count_from`] that began so many events ago.
    fn next_by_count(&mut self, partition: u32, queue: usize, events: u64, moment: Moment) -> Option<AttemptId> {
        let attempts = &self.attempts;
        let firsts = self.partitions[partition as usize].firsts.get_mut(queue)?;
        while let Some(&(first, id, generation)) = firsts.front() {
            let alive = attempts.is_alive(id, generation);
            if alive && moment.number.saturating_sub(first) < events {
                return None;
            }
            firsts.pop_front();
            if alive {
                return Some(id);
            }
        }
        None
    }

    /// Forgets the keys of a PARTITION that have gone, with all that is open for them.
    pub fn forget_keys(&mut self, changes: &EventBatch) -> Result<()> {
        let gone = (0..changes.num_rows()).filter(|row| matches!(changes.op(*row), Op::Delete));
        let gone = changes.take(gone.map(|row| row as u32).collect())?;
        let gone = self.partitions_of(gone.column(0))?;
        if gone.is_empty() {
            return Ok(());
        }
        let forgotten: HashSet<u32> = gone.iter().copied().collect();
        let open: Vec<AttemptId> = self
            .attempts
            .ids()
            .filter(|id| forgotten.contains(&self.attempts.get(*id).partition))
            .collect();
        open.into_iter().for_each(|id| self.remove(id));
        self.events.let_go();
        for id in &gone {
            if let Some(partition) = self.partitions.get_mut(*id as usize) {
                *partition = Partition::default();
            }
        }
        if let Some(keys) = &mut self.keys {
            keys.forget(&gone);
        }
        Ok(())
    }

    /// The partitions of keys of a PARTITION, which are the first column of ours. O(all partitions) where PARTITION BY divides
    /// them further.
    fn partitions_of(&mut self, gone: &ArrayRef) -> Result<Vec<GroupId>> {
        let (Some(keys), Some((types, _))) = (&mut self.keys, &self.plan.partition) else {
            return Ok(Vec::new());
        };
        let mut ids = Vec::new();
        if types.len() == 1 {
            keys.assign(std::slice::from_ref(gone), gone.len(), &mut ids)?;
            return Ok(ids);
        }
        let mut first = GroupTable::new(&types[..1])?;
        first.assign(std::slice::from_ref(gone), gone.len(), &mut ids)?;
        let known: HashSet<GroupId> = ids.iter().copied().collect();
        let live = keys.live();
        let columns = keys.keys(&live)?;
        first.assign(&columns[..1], live.len(), &mut ids)?;
        let of_gone = live.into_iter().zip(ids).filter(|(_, id)| known.contains(id));
        Ok(of_gone.map(|(partition, _)| partition).collect())
    }

    /// The matches since the last call.
    pub fn flush(&mut self) -> Result<Option<EventBatch>> {
        self.sweep();
        if self.matches.is_empty() {
            return Ok(None);
        }
        let matches = std::mem::take(&mut self.matches);
        let chains: Vec<_> = matches.iter().map(|matched| matched.link).collect();
        let captures = self.events.captures();
        let outputs = self.plan.outputs.iter();
        let columns = outputs.map(|output: &Gathered| captures.column(&chains, output));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        if let (Some((_, Some(at))), Some(keys)) = (&self.plan.partition, &self.keys) {
            let ids: Vec<GroupId> = matches.iter().map(|matched| matched.partition).collect();
            columns.insert(*at, keys.keys(&ids)?.remove(0));
        }
        let rows = batch_of(self.plan.schema.clone(), columns, matches.len())?;
        let times: Vec<Micros> = matches.iter().map(|matched| matched.time).collect();
        let ops: Arc<[Op]> = matches.iter().map(|matched| matched.op).collect();
        self.release(&matches);
        Ok(Some(EventBatch::changes(rows, Times::Each(times.into()), ops)))
    }

    fn release(&mut self, matches: &[Matched]) {
        for matched in matches {
            self.events.release(matched.link);
        }
        self.events.let_go();
    }
}
