//! What time does: absence that is complete, WITHIN that is over; and what keeps the state in bounds.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use super::gather::Gathered;
use super::matcher::{Matched, Matcher, Partition};
use super::shape::{Limit, Mode};
use super::stepping::{Moment, Step};
use super::timers::{AttemptId, Due, Timer};
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op, Times};
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;
use crate::windows::gather::batch_of;

/// Fewer entries of attempts that are gone are not worth sweeping.
const FEW: usize = 1_024;

impl Matcher {
    /// Time has come to `clock`: what is due happens.
    pub fn reach(&mut self, clock: Micros) {
        while let Some(timer) = self.timers.take(clock) {
            if self.attempts.is_alive(timer.attempt, timer.generation) {
                self.clock = self.clock.max(timer.at);
                self.fire(&timer);
            }
        }
        self.clock = self.clock.max(clock);
        self.let_go();
        self.keep_bounds();
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
        self.let_go();
    }

    fn fire(&mut self, timer: &Timer) {
        let id = timer.attempt;
        match timer.due {
            Due::Expiry => self.expire(id, timer.at),
            Due::GroupExpiry(part) => {
                let mut moment = self.moment(timer.at);
                moment.clock = timer.at;
                let attempt = self.attempts.get_mut(id);
                let mut step = Step::new(&self.plan.program, &mut self.links, &mut self.freed, moment);
                if step.expired_group(attempt) != Some(part) {
                    return;
                }
                step.expire_group(attempt, part);
                match step.dead {
                    false => self.stand(id),
                    true => {
                        let again = step.again_after_failure(attempt, true);
                        let timers = step.timers;
                        self.time_out(id, timer.at);
                        self.add_all(again.map(|attempt| (attempt, timers)).into_iter().collect(), u64::MAX);
                    }
                }
            }
            Due::Silence(element) => self.silence(id, element, timer.at),
        }
    }

    fn silence(&mut self, id: AttemptId, element: usize, at: Micros) {
        let mut moment = self.moment(at);
        moment.clock = at;
        let attempt = self.attempts.get_mut(id);
        let deadline = self.plan.program.deadline_of(element);
        if attempt.waits >> element & 1 == 0
            || deadline.is_none_or(|slot| attempt.deadline(&self.plan.program, slot) != at)
        {
            return;
        }
        moment.number = attempt.first;
        let was_begun = attempt.begun;
        let mut step = Step::new(&self.plan.program, &mut self.links, &mut self.freed, moment);
        step.silence(attempt, element);
        let timers = std::mem::take(&mut step.timers);
        let mut again = Vec::new();
        while let Some(attempt) = step.again(attempt) {
            again.push((attempt, std::mem::take(&mut step.timers)));
        }
        let matched = step.matched;
        self.finish(id, !matched, matched, was_begun, at, timers);
        if !matched && self.plan.program.mode == Mode::Strict && self.attempts.get(id).begun {
            self.make_room(id);
        }
        self.add_all(again, u64::MAX);
    }

    /// The WITHIN of an attempt is over.
    fn expire(&mut self, id: AttemptId, at: Micros) {
        if !self.attempts.get(id).has_started() {
            return;
        }
        let mut moment = self.moment(at);
        moment.clock = at;
        let attempt = self.attempts.get(id);
        let mut step = Step::new(&self.plan.program, &mut self.links, &mut self.freed, moment);
        let again = step.again_after_failure(attempt, false);
        let timers = step.timers;
        self.time_out(id, at);
        self.add_all(again.map(|attempt| (attempt, timers)).into_iter().collect(), u64::MAX);
    }

    /// Takes an attempt away that has timed out; it goes out with what it has if that is asked for.
    fn time_out(&mut self, id: AttemptId, at: Micros) {
        let attempt = self.attempts.get(id);
        if self.plan.expired && attempt.has_started() {
            let (link, partition) = (attempt.link, attempt.partition);
            self.links.retain(link);
            self.emit(link, at, Op::Delete, partition);
        }
        self.remove(id);
    }

    /// WITHIN n EVENTS: who began n events ago is too late.
    pub(super) fn expire_by_count(&mut self, partition: u32, moment: Moment) {
        let Some(Limit::Events(events)) = self.plan.program.limit else {
            return;
        };
        loop {
            let firsts = &mut self.partitions[partition as usize].firsts;
            let Some(&(first, id, generation)) = firsts.front() else {
                return;
            };
            let alive = self.attempts.is_alive(id, generation);
            if alive && moment.number - first < events {
                return;
            }
            firsts.pop_front();
            if alive {
                self.expire(id, moment.time);
            }
        }
    }

    /// Drops the oldest attempts while there are too many, and sweeps out what attempts that are gone have left.
    pub(super) fn keep_bounds(&mut self) {
        while self.attempts.len() > self.plan.max_attempts {
            let Some((id, generation)) = self.ages.pop_front() else {
                break;
            };
            if self.attempts.is_alive(id, generation) {
                self.dropped += 1;
                self.remove(id);
                self.let_go();
            }
        }
        let attempts = &self.attempts;
        if self.ages.len() > FEW.max(2 * attempts.len()) {
            self.ages.retain(|(id, generation)| attempts.is_alive(*id, *generation));
        }
        self.timers
            .sweep(|timer| attempts.is_alive(timer.attempt, timer.generation));
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
        self.let_go();
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
        if self.matches.is_empty() {
            return Ok(None);
        }
        let matches = std::mem::take(&mut self.matches);
        let chains: Vec<_> = matches.iter().map(|matched| matched.link).collect();
        let captures = self.captures();
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
            let freed = &mut self.freed;
            self.links
                .release(matched.link, |link| freed.push((link.element.into(), link.event)));
        }
        self.let_go();
    }
}
