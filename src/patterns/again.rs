//! EVERY: what begins again, and with which events.
//!
//! An EVERY makes a second attempt of one: what was before it stays, its own events and those of what follows it go. In an AND or
//! OR the events of what stands beside it stay, too. It begins again when its part is complete and takes no more: when that is
//! seen after a step, or, if the step ends the round of a group or decides an OR that it stands in, right before that. EVERYs
//! around it and before it begin again once, out of the attempt that goes on, whatever it made of that.

use super::captures::{LinkId, NOTHING, Uses};
use super::program::{ElementKind, PartId, PartKind};
use super::progress::{Attempt, NOT_STARTED, mark_of};
use super::shape::{Elements, Limit};
use super::stepping::{Begun, Closed, Step, after};
use super::timers::Due;
use crate::event::Micros;

impl Step<'_> {
    /// All that begins again after a step: EVERYs that are complete and closed, of the attempt and of what began of it.
    pub fn all_again(&mut self, attempt: &mut Attempt) {
        let mut begun = std::mem::take(&mut self.scratch.begun);
        while let Some(every) = self.closed(attempt, self.matched) {
            begun.push(self.again(attempt, every));
        }
        let mut next = 0;
        while next < begun.len() {
            while let Some(every) = self.closed(&begun[next].0, false) {
                let again = self.again(&mut begun[next].0, every);
                begun.push(again);
            }
            next += 1;
        }
        self.scratch.begun = begun;
    }

    /// The attempt has failed, and with it what began of it in the middle of the step; only this EVERY begins again, if one does.
    pub fn only_again(&mut self, attempt: &Attempt, every: Option<usize>) {
        let mut begun = std::mem::take(&mut self.scratch.begun);
        for (lost, _) in begun.drain(..) {
            self.events.release(lost.link);
        }
        if let Some(every) = every {
            begun.push(self.restart(attempt, every));
        }
        self.scratch.begun = begun;
    }

    /// The outermost EVERY that is complete and takes no more, by its number.
    fn closed(&self, attempt: &Attempt, matched: bool) -> Option<usize> {
        let program = self.program;
        let slots = attempt.slots.as_ref()?;
        let complete = slots.inside & slots.complete;
        if complete == 0 {
            return None;
        }
        (0..program.everies.len()).find(|&every| {
            let open = attempt.waits & program.part(program.everies[every]).elements != 0;
            complete >> every & 1 == 1 && (matched || !open)
        })
    }

    fn again(&mut self, attempt: &mut Attempt, every: usize) -> Begun {
        let again = self.restart(attempt, every);
        attempt.leave_everies(1 << every);
        again
    }

    /// A part is complete, which will change what is around it: what is complete in it begins again now.
    pub(super) fn begin_again_in(&mut self, attempt: &mut Attempt, part: PartId, closed: Closed) {
        let program = self.program;
        let Some(slots) = &attempt.slots else {
            return;
        };
        let mut complete = slots.inside & slots.complete & program.part(part).everies;
        while complete != 0 {
            let every = complete.trailing_zeros() as usize;
            complete &= complete - 1;
            let open = attempt.waits & program.part(program.everies[every]).elements != 0;
            if closed == Closed::ByRound || !open {
                let again = self.again(attempt, every);
                self.scratch.begun.push(again);
            }
        }
    }

    /// What begins again of an attempt whose time is over: the innermost EVERY that took an event, if what stays is not too old.
    pub fn again_in_time(&mut self, attempt: &Attempt) -> Option<Begun> {
        let everies = (0..self.program.everies.len()).rev();
        for every in everies.filter(|every| attempt.is_inside(*every)) {
            if !self.has_taken(attempt, every) {
                continue;
            }
            if !self.would_be_old(attempt, every) {
                return Some(self.restart(attempt, every));
            }
        }
        None
    }

    /// Whether what would stay of an attempt is too old itself.
    fn would_be_old(&self, attempt: &Attempt, every: usize) -> bool {
        let PartKind::Every { resets, keeps, .. } = self.program.part(self.program.everies[every]).kind else {
            return true;
        };
        if self.before(attempt, every) != NOTHING {
            return true;
        }
        let kept = self.oldest(attempt.link, NOTHING, !resets).filter(|_| keeps);
        kept.is_some_and(|link| match self.program.limit {
            Some(Limit::Time(time)) => self.moment.time.saturating_sub(self.time_of(link)) > time,
            Some(Limit::Events(events)) => self.moment.number.saturating_sub(self.met(link).1) >= events,
            None => false,
        })
    }

    /// Whether an EVERY has an event since it began.
    pub(super) fn has_taken(&self, attempt: &Attempt, every: usize) -> bool {
        let elements = self.program.part(self.program.everies[every]).elements;
        let before = self.before(attempt, every);
        self.oldest(attempt.link, before, elements).is_some()
    }

    pub(super) fn before(&self, attempt: &Attempt, every: usize) -> LinkId {
        match self.program.part(self.program.everies[every]).kind {
            PartKind::Every { mark: Some(mark), .. } => attempt.link_mark(self.program, mark),
            _ => NOTHING,
        }
    }

    /// The oldest link of a chain after another that is of one of these elements.
    fn oldest(&self, chain: LinkId, after: LinkId, elements: Elements) -> Option<LinkId> {
        let mut found = None;
        let mut next = chain;
        while next != NOTHING && next != after {
            let link = self.events.links.get(next);
            if elements >> link.element & 1 == 1 {
                found = Some(next);
            }
            next = link.before;
        }
        found
    }

    fn time_of(&self, link: LinkId) -> Micros {
        let link = self.events.links.get(link);
        self.uses_of(link.element).time(link.event)
    }

    /// The event's place among all of the matcher, and among those of its partition.
    fn met(&self, link: LinkId) -> (u64, u64) {
        let link = self.events.links.get(link);
        self.uses_of(link.element).met(link.event)
    }

    fn uses_of(&self, element: u8) -> &Uses {
        &self.events.stores[self.events.ports[usize::from(element)]].uses
    }

    /// An attempt with what was before an EVERY and what stands beside it; the EVERY begins.
    pub fn restart(&mut self, attempt: &Attempt, every: usize) -> Begun {
        let program = self.program;
        let own_timers = std::mem::take(&mut self.timers);
        let by_time = std::mem::take(&mut self.by_time);
        let part = program.everies[every];
        let before = self.before(attempt, every);
        let mut again = attempt.clone();
        again.places = u32::MAX;
        if let PartKind::Every {
            resets, keeps, leaves, ..
        } = program.part(part).kind
        {
            again.waits &= !resets;
            again.leave_everies(leaves);
            self.events.links.retain(again.link);
            match keeps {
                true => {
                    self.forget(&mut again, resets, before);
                }
                false => self.go_back(&mut again, before),
            }
        }
        self.reopen(&mut again, part);
        self.start_anew(&mut again, before);
        self.keep_silences(&mut again);
        let leading = program.leading_every == Some(part);
        again.begun = !leading;
        let was = std::mem::replace(&mut self.beginning, leading);
        let matched = std::mem::take(&mut self.matched);
        self.begin(&mut again, part);
        self.go_on_after_rounds(&mut again, part);
        again.set_whole(self.matched);
        self.matched = matched;
        self.beginning = was;
        self.by_time = by_time;
        let timers = std::mem::replace(&mut self.timers, own_timers);
        (again, timers)
    }

    /// What follows a group that has its rounds waits beside the round that an EVERY in it begins again.
    fn go_on_after_rounds(&mut self, again: &mut Attempt, every: PartId) {
        let program = self.program;
        let mut inner = every;
        while let Some((parent, _)) = program.part(inner).parent {
            if let PartKind::Repeat { min, count, .. } = program.part(parent).kind
                && again.counter(count) >= u64::from(min)
            {
                self.complete(again, parent);
            }
            inner = parent;
        }
    }

    /// What an EVERY stands in is not complete any more.
    fn reopen(&mut self, again: &mut Attempt, every: PartId) {
        let program = self.program;
        let mut inner = every;
        while let Some((parent, index)) = program.part(inner).parent {
            match program.part(parent).kind {
                PartKind::And {
                    ref parts,
                    done,
                    guards,
                } => {
                    let all = again.counter(done);
                    if all.count_ones() as usize == parts.len() {
                        again.waits |= guards;
                    }
                    again.set_counter(done, all & !(1 << index));
                }
                PartKind::Within { .. } => self.reopen_group(again, parent),
                _ => {}
            }
            inner = parent;
        }
    }

    /// A group that is complete no more.
    fn reopen_group(&mut self, again: &mut Attempt, group: PartId) {
        if let PartKind::Within { number, .. } = self.program.part(group).kind
            && let Some(slots) = &mut again.slots
        {
            slots.ended &= !(1 << number);
        }
        self.start_group_anew(again, group);
    }

    /// A group with less events than it had: its time is that of the first that stays.
    fn start_group_anew(&mut self, again: &mut Attempt, group: PartId) {
        let program = self.program;
        let PartKind::Within {
            limit, mark, origin, ..
        } = program.part(group).kind
        else {
            return;
        };
        let origin = again.link_mark(program, origin);
        let Some(first) = self.oldest(again.link, origin, program.part(group).elements) else {
            again.set_mark(program, mark, NOT_STARTED);
            return;
        };
        match limit {
            Limit::Time(time) => {
                let from = self.time_of(first);
                again.set_mark(program, mark, from);
                let left = time.saturating_sub(self.moment.time.saturating_sub(from));
                self.timers
                    .push((after(self.moment.clock, left), Due::GroupExpiry(group as u16)));
            }
            Limit::Events(_) => {
                let (_, number) = self.met(first);
                again.set_mark(program, mark, number as i64);
                self.timers.push((number as i64, Due::GroupExpiry(group as u16)));
            }
        }
    }

    /// When the attempt began, by the events that it still has; and what is left of its time.
    fn start_anew(&mut self, again: &mut Attempt, before: LinkId) {
        if before == NOTHING {
            match self.oldest(again.link, NOTHING, Elements::MAX) {
                None => {
                    again.started = NOT_STARTED;
                    again.order = u64::MAX;
                }
                Some(first) => {
                    again.started = self.time_of(first);
                    (again.order, again.first) = self.met(first);
                }
            }
        }
        if let Some(Limit::Time(time)) = self.program.limit
            && again.has_started()
        {
            let left = time.saturating_sub(self.moment.time.saturating_sub(again.started));
            self.timers.push((after(self.moment.clock, left), Due::Expiry));
        }
    }

    /// Absences beside the EVERY go on.
    fn keep_silences(&mut self, again: &mut Attempt) {
        let program = self.program;
        let mut silences = again.waits & program.absents;
        while silences != 0 {
            let element = silences.trailing_zeros() as usize;
            silences &= silences - 1;
            if let ElementKind::Silence { deadline, .. } = program.elements[element].kind {
                let at = again.deadline(program, deadline).max(self.moment.clock);
                again.set_deadline(program, deadline, at);
                self.timers.push((at, Due::Silence(element as u8)));
            }
        }
    }

    /// Goes back to a link of the chain.
    fn go_back(&mut self, attempt: &mut Attempt, link: LinkId) {
        if link == attempt.link {
            return;
        }
        self.events.links.retain(link);
        self.events.release(attempt.link);
        attempt.link = link;
    }

    /// Forgets the events of some elements that came after a link; if the first event of the attempt or of a group is among
    /// them, its time begins with the first that stays.
    pub(super) fn lose(&mut self, attempt: &mut Attempt, elements: Elements, origin: LinkId) {
        if !self.forget(attempt, elements, origin) {
            return;
        }
        let program = self.program;
        for &group in &program.withins {
            if let PartKind::Within { mark, .. } = program.part(group).kind
                && program.part(group).elements & elements != 0
                && attempt.mark(program, mark) != NOT_STARTED
            {
                self.start_group_anew(attempt, group);
            }
        }
        self.start_anew(attempt, NOTHING);
    }

    /// Forgets the events of some elements that came after a link; whether there were any. O(events after it).
    fn forget(&mut self, attempt: &mut Attempt, elements: Elements, origin: LinkId) -> bool {
        let mut chain = Vec::new();
        let mut next = attempt.link;
        while next != origin && next != NOTHING {
            let link = *self.events.links.get(next);
            chain.push((next, link));
            next = link.before;
        }
        // Those before the first that goes stay as they are.
        while chain.pop_if(|(_, link)| elements >> link.element & 1 == 0).is_some() {}
        let Some((_, first)) = chain.last() else {
            return false;
        };
        let mut new = first.before;
        self.events.links.retain(new);
        let mut moved = Vec::with_capacity(chain.len());
        for (old, link) in chain.into_iter().rev() {
            let element = usize::from(link.element);
            if elements >> element & 1 == 0 {
                new = self.events.push(new, element, link.event);
            }
            moved.push((old, new));
        }
        self.events.release(attempt.link);
        attempt.link = new;
        for &mark in &self.program.links {
            let old = attempt.link_mark(self.program, mark);
            if old != NOTHING
                && let Some((_, new)) = moved.iter().find(|(link, _)| *link == old)
            {
                attempt.set_mark(self.program, mark, mark_of(*new));
            }
        }
        true
    }
}
