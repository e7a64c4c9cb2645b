//! What ends an attempt, or a part of it: what must not come, and time that is over.

use super::program::{ElementKind, PartId, PartKind};
use super::progress::{Attempt, NOT_STARTED};
use super::shape::{ElementId, Limit, Mode};
use super::stepping::Step;
use super::timers::Due;
use crate::event::Micros;

impl Step<'_> {
    /// What must not come has come.
    pub(super) fn violate(&mut self, attempt: &mut Attempt, element: ElementId) {
        let program = self.program;
        let place = &program.elements[element];
        let restarts = program.mode == Mode::Skipping || program.leading_every.is_some();
        match place.kind {
            ElementKind::Silence { wait, deadline } if !attempt.begun && restarts => {
                let at = self.moment.clock.saturating_add(wait);
                attempt.set_deadline(program, deadline, at);
                self.timers.push((at, Due::Silence(element as u8)));
            }
            ElementKind::GuardOfAnd if program.mode == Mode::Skipping || (!attempt.begun && restarts) => {
                if let Some(slots) = &mut attempt.slots {
                    slots.violated |= 1 << element;
                }
            }
            ElementKind::Guard { quiet } if !attempt.has_started() => {
                let time = match program.limit {
                    Some(Limit::Time(time)) => time,
                    _ => Micros::MAX,
                };
                attempt.set_quiet_until(program, quiet, self.moment.time.saturating_add(time));
            }
            _ => self.fail(attempt, place.part),
        }
    }

    /// The time of a group is over. One that is complete takes no more; otherwise it has failed.
    pub fn expire_group(&mut self, attempt: &mut Attempt, group: PartId) {
        let PartKind::Within { number, mark, .. } = self.program.part(group).kind else {
            return;
        };
        if attempt
            .slots
            .as_ref()
            .is_some_and(|slots| slots.ended >> number & 1 == 1)
        {
            let program = self.program;
            program.repeats(group).for_each(|repeat| self.leave(attempt, repeat));
            attempt.waits &= !program.part(group).elements;
            attempt.set_mark(program, mark, NOT_STARTED);
        } else {
            self.fail(attempt, group);
        }
    }

    /// A group whose time is over for an event, if there is one the attempt still waits in.
    pub fn expired_group(&self, attempt: &Attempt) -> Option<PartId> {
        let mut withins = self.program.withins.iter().copied();
        withins.find(|&part| self.is_expired(attempt, part))
    }

    /// Whether a group's time is over and the attempt still waits in it.
    pub fn is_expired(&self, attempt: &Attempt, group: PartId) -> bool {
        let program = self.program;
        let PartKind::Within { limit, mark, .. } = program.part(group).kind else {
            return false;
        };
        let from = attempt.mark(program, mark);
        from != NOT_STARTED
            && attempt.waits & program.part(group).elements != 0
            && match limit {
                Limit::Time(time) => self.moment.time.saturating_sub(from) > time,
                Limit::Events(events) => self.moment.number.saturating_sub(from as u64) >= events,
            }
    }

    /// A part has become impossible, and all that needs it, up to what does without: another alternative, a group that has
    /// its rounds, an EVERY that begins again.
    fn fail(&mut self, attempt: &mut Attempt, part: PartId) {
        let program = self.program;
        let mut inner = part;
        while let Some((parent, index)) = program.part(inner).parent {
            match &program.part(parent).kind {
                PartKind::Or { origin, .. } => {
                    let lost = program.part(inner);
                    attempt.waits &= !lost.elements;
                    attempt.leave_everies(lost.everies);
                    if attempt.waits & program.part(parent).elements != 0 {
                        if let Some(origin) = origin {
                            let origin = attempt.link_mark(program, *origin);
                            self.lose(attempt, lost.elements, origin);
                        }
                        return;
                    }
                }
                PartKind::Repeat { min, count, mark, .. } => {
                    if attempt.counter(*count) >= u64::from(*min) {
                        self.drop_round(attempt, parent, *mark);
                        self.dead = attempt.waits == 0;
                        return;
                    }
                }
                PartKind::Chain(parts) => {
                    // One before that may still take events begins again.
                    let earlier = parts[..index]
                        .iter()
                        .fold(0, |all, part| all | program.part(*part).everies);
                    let inside = attempt.slots.as_ref().map_or(0, |slots| slots.inside & earlier);
                    let last = (0..program.everies.len()).rev().find(|every| inside >> every & 1 == 1);
                    if last.is_some() {
                        return self.die(last);
                    }
                }
                PartKind::Every { .. } => {
                    let every = program.everies.iter().position(|every| *every == parent);
                    let every = every.filter(|every| attempt.is_inside(*every) && self.has_taken(attempt, *every));
                    if every.is_some() {
                        return self.die(every);
                    }
                }
                PartKind::And { .. } | PartKind::Within { .. } | PartKind::Element(_) => {}
            }
            inner = parent;
        }
        self.die(None);
    }

    fn die(&mut self, restarts: Option<usize>) {
        self.dead = true;
        self.restarts = restarts;
    }
}
