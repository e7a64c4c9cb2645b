//! What is particular to SEQUENCE: every event must match.

use std::cmp::Reverse;

use super::conditions::Reports;
use super::finding::{At, Hit};
use super::matcher::Matcher;
use super::shape::Elements;
use super::timers::AttemptId;
use crate::error::Result;

impl Matcher {
    /// After an event: who has not taken it has failed, of those that have one keeps each place, and the start waits again.
    /// `created`: attempts with larger ids were made by this event.
    pub(super) fn settle(&mut self, at: &At, hits: &mut [Hit], created: u64, report: &mut Reports) -> Result<()> {
        let members = self.partitions[at.partition as usize].members.clone();
        for id in members {
            let attempt = self.attempts.get(id);
            let took = hits.iter().any(|hit| hit.attempt == id && hit.takers != 0);
            if attempt.begun && attempt.id <= created && !took {
                self.remove(id);
            }
        }
        let mut occupied = 0;
        self.one_place_each(hits, &mut occupied);
        if let Some(start) = self.revive(at.partition, hits) {
            let mut own = Vec::new();
            self.find(at, Some(start), &mut own, report)?;
            self.apply(at, &mut own);
            self.one_place_each(&mut own, &mut occupied);
            self.revive(at.partition, &own);
        }
        self.events.let_go();
        Ok(())
    }

    /// Of the attempts that took an event, the one that is furthest along keeps each place.
    fn one_place_each(&mut self, hits: &mut [Hit], occupied: &mut Elements) {
        hits.sort_by_key(|hit| (Reverse(hit.takers.checked_ilog2()), hit.order, hit.id));
        for hit in hits.iter().filter(|hit| hit.takers != 0) {
            let attempt = self.attempts.get_mut(hit.attempt);
            let free = attempt.waits & !*occupied;
            *occupied |= free;
            if free == attempt.waits {
                continue;
            }
            attempt.waits = free;
            match free {
                0 => self.remove(hit.attempt),
                _ => self.stand(hit.attempt),
            }
        }
    }

    /// Makes the start wait again if nobody is in it; the start if it is to be offered the event, too.
    fn revive(&mut self, partition: u32, hits: &[Hit]) -> Option<AttemptId> {
        let program = &self.plan.program;
        let leading = program.leading_every?;
        if program.always_open.is_some() || self.ending {
            return None;
        }
        let every = program.everies.iter().position(|every| *every == leading)?;
        let elements = program.part(leading).elements;
        let mut members = self.partitions[partition as usize].members.iter();
        let held = members.any(|id| {
            let attempt = self.attempts.get(*id);
            !attempt.begun || attempt.is_inside(every)
        });
        if held {
            return self.revived.take();
        }
        let start = self.start(partition);
        // Who took the event in the start and then lost its place has used it up.
        let used = hits.iter().any(|hit| hit.takers & elements != 0);
        (!used).then_some(start)
    }

    /// A timer has brought an attempt to its places: others that wait there make room.
    pub(super) fn make_room(&mut self, id: AttemptId) {
        let attempt = self.attempts.get(id);
        let (waits, partition) = (attempt.waits, attempt.partition);
        let members = self.partitions[partition as usize].members.clone();
        for other in members {
            let attempt = self.attempts.get(other);
            if other != id && attempt.begun && attempt.waits & waits != 0 {
                self.remove(other);
            }
        }
    }
}
