//! What an event, or time, does to one attempt.
//!
//! Only the attempt changes here, with its links; who waits where and what becomes of a match is the matcher's.

use super::captures::{EventId, Links, NOTHING};
use super::program::{ElementKind, PartId, PartKind, Program};
use super::progress::{Attempt, NOT_STARTED, link_of, mark_of};
use super::shape::{ElementId, Elements, Limit, Mode};
use super::timers::Due;
use crate::event::Micros;

/// When something happens.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The event's time; of a timer, when it was due.
    pub time: Micros,
    /// The time that deadlines go by: watermarks' or the clock's.
    pub clock: Micros,
    /// The number of the event in its partition.
    pub number: u64,
    /// The next number of [`Attempt::order`].
    pub order: u64,
}

/// One step of one attempt.
pub struct Step<'a> {
    /// The automaton.
    pub program: &'a Program,
    /// The events of attempts.
    pub links: &'a mut Links,
    /// When.
    pub moment: Moment,
    /// Links that are no longer used: their events are to be let go.
    pub freed: &'a mut Vec<(ElementId, EventId)>,
    /// Elements that took the event.
    pub took: Elements,
    /// The pattern is complete.
    pub matched: bool,
    /// The attempt has failed.
    pub dead: bool,
    /// Timers to set.
    pub timers: Vec<(Micros, Due)>,
    /// Parts are begun for the first time: nothing has happened yet.
    beginning: bool,
}

impl<'a> Step<'a> {
    /// At a moment.
    pub fn new(
        program: &'a Program,
        links: &'a mut Links,
        freed: &'a mut Vec<(ElementId, EventId)>,
        moment: Moment,
    ) -> Self {
        Step {
            program,
            links,
            moment,
            freed,
            took: 0,
            matched: false,
            dead: false,
            timers: Vec::new(),
            beginning: false,
        }
    }

    /// A new attempt at the whole pattern.
    pub fn start(&mut self, partition: u32) -> Attempt {
        let mut attempt = Attempt::new(self.program, partition);
        self.beginning = true;
        self.begin(&mut attempt, 0);
        self.beginning = false;
        attempt
    }

    /// Offers an event of which these elements' conditions hold.
    pub fn offer(&mut self, attempt: &mut Attempt, takers: Elements, event: EventId) {
        let takers = takers & attempt.waits;
        let mut absent = takers & self.program.absents;
        while absent != 0 {
            let element = absent.trailing_zeros() as ElementId;
            absent &= absent - 1;
            self.violate(attempt, element);
            if self.dead {
                return;
            }
        }
        let present = takers & !self.program.absents;
        if present != 0 {
            self.offer_to(attempt, 0, present, event);
        }
    }

    /// A time without what must not come is over.
    pub fn silence(&mut self, attempt: &mut Attempt, element: ElementId) {
        attempt.waits &= !(1 << element);
        self.complete(attempt, self.program.elements[element].part);
    }

    /// The time of a group is over.
    pub fn expire_group(&mut self, attempt: &mut Attempt, part: PartId) {
        attempt.waits &= !self.program.part(part).elements;
        self.dead = attempt.waits == 0;
    }

    /// The group whose time is over for an event, if there is one the attempt still waits in.
    pub fn expired_group(&self, attempt: &Attempt) -> Option<PartId> {
        let program = self.program;
        program
            .withins
            .iter()
            .copied()
            .find(|&part| match program.part(part).kind {
                PartKind::Within { time, mark, .. } => {
                    let from = attempt.mark(program, mark);
                    from != NOT_STARTED
                        && attempt.waits & program.part(part).elements != 0
                        && self.moment.time.saturating_sub(from) > time
                }
                _ => false,
            })
    }

    /// Offers to a part; whether it took the event. Of a chain the last that can take it does.
    fn offer_to(&mut self, attempt: &mut Attempt, part: PartId, takers: Elements, event: EventId) -> bool {
        let program = self.program;
        let takers = takers & program.part(part).elements & attempt.waits;
        if takers == 0 {
            return false;
        }
        match &program.part(part).kind {
            PartKind::Element(element) => self.take(attempt, *element, event),
            PartKind::Chain(parts) => {
                let mut parts = parts.iter().rev();
                parts.any(|&part| self.offer_to(attempt, part, takers, event))
            }
            PartKind::And { parts, guards, .. } => {
                if let Some(slots) = &mut attempt.slots
                    && slots.violated & guards != 0
                {
                    // What must not come has come before: this event only makes up for it.
                    slots.violated &= !guards;
                    return false;
                }
                self.offer_to_each(attempt, parts, takers, event)
            }
            PartKind::Or(parts) => self.offer_to_each(attempt, parts, takers, event),
            PartKind::Repeat { body, .. } | PartKind::Every { body, .. } | PartKind::Within { body, .. } => {
                self.offer_to(attempt, *body, takers, event)
            }
        }
    }

    /// One event may be what several operands wait for.
    fn offer_to_each(&mut self, attempt: &mut Attempt, parts: &[PartId], takers: Elements, event: EventId) -> bool {
        let mut taken = false;
        for &part in parts {
            taken |= self.offer_to(attempt, part, takers, event);
            if self.matched {
                break;
            }
        }
        taken
    }

    fn take(&mut self, attempt: &mut Attempt, element: ElementId, event: EventId) -> bool {
        let program = self.program;
        let place = &program.elements[element];
        if !attempt.has_started() {
            if attempt
                .slots
                .as_ref()
                .is_some_and(|slots| self.moment.time <= slots.quiet_until)
            {
                return false;
            }
            attempt.started = self.moment.time;
            attempt.order = self.moment.order;
            attempt.first = self.moment.number;
            if let Some(Limit::Time(time)) = program.limit {
                self.timers.push((after(self.moment.clock, time), Due::Expiry));
            }
        }
        for &repeat in &place.leaves {
            self.leave(attempt, repeat);
        }
        attempt.waits &= !place.closes;
        attempt.link = self.links.push(attempt.link, element, event);
        attempt.begun = true;
        self.took |= 1 << element;
        for &part in &place.withins {
            if let PartKind::Within { time, mark, .. } = program.part(part).kind
                && attempt.mark(program, mark) == NOT_STARTED
            {
                attempt.set_mark(program, mark, self.moment.time);
                self.timers
                    .push((after(self.moment.clock, time), Due::GroupExpiry(part)));
            }
        }
        match place.kind {
            ElementKind::Several { min, max, count } => {
                let taken = attempt.counter(count) + 1;
                attempt.set_counter(count, taken);
                if max.is_some_and(|max| taken >= u64::from(max)) {
                    attempt.waits &= !(1 << element);
                }
                if taken == u64::from(min) {
                    self.complete(attempt, place.part);
                }
            }
            _ => {
                attempt.waits &= !(1 << element);
                self.complete(attempt, place.part);
            }
        }
        true
    }

    /// A repeated group is left: a round that is not complete does not count.
    fn leave(&mut self, attempt: &mut Attempt, repeat: PartId) {
        let program = self.program;
        let part = program.part(repeat);
        if let PartKind::Repeat { max, count, mark, .. } = part.kind
            && attempt.waits & part.elements != 0
            && max.is_none_or(|max| attempt.counter(count) < u64::from(max))
        {
            self.back_to(attempt, attempt.mark(program, mark));
        }
    }

    /// Forgets the events after a mark.
    fn back_to(&mut self, attempt: &mut Attempt, mark: i64) {
        let link = link_of(mark);
        if link != attempt.link {
            self.links.retain(link);
            let freed = &mut *self.freed;
            self.links
                .release(attempt.link, |link| freed.push((usize::from(link.element), link.event)));
            attempt.link = link;
        }
    }

    /// What must not come has come.
    fn violate(&mut self, attempt: &mut Attempt, element: ElementId) {
        let program = self.program;
        let place = &program.elements[element];
        let restarts = program.mode == Mode::Skipping || program.leading_every.is_some();
        match place.kind {
            ElementKind::Silence { wait, deadline } => {
                if !attempt.begun && restarts {
                    let at = self.moment.clock.saturating_add(wait);
                    attempt.set_deadline(program, deadline, at);
                    self.timers.push((at, Due::Silence(element)));
                } else {
                    self.close_alternative(attempt, place.part);
                }
            }
            ElementKind::Guard if place.in_logical => match &mut attempt.slots {
                Some(slots) if program.mode == Mode::Skipping || (!attempt.begun && restarts) => {
                    slots.violated |= 1 << element;
                }
                _ => self.dead = true,
            },
            ElementKind::Guard if !attempt.has_started() => {
                let time = match program.limit {
                    Some(Limit::Time(time)) => time,
                    _ => Micros::MAX,
                };
                if let Some(slots) = &mut attempt.slots {
                    slots.quiet_until = self.moment.time.saturating_add(time);
                }
            }
            _ => self.dead = true,
        }
    }

    /// An alternative has become impossible; without another the attempt is.
    fn close_alternative(&mut self, attempt: &mut Attempt, part: PartId) {
        let program = self.program;
        let mut inner = part;
        while let Some((parent, _)) = program.part(inner).parent {
            if let PartKind::Or(_) = program.part(parent).kind {
                attempt.waits &= !program.part(inner).elements;
                self.dead = attempt.waits == 0;
                return;
            }
            inner = parent;
        }
        self.dead = true;
    }

    /// A part has what it needs: what follows begins. It may go on taking events.
    fn complete(&mut self, attempt: &mut Attempt, part: PartId) {
        let program = self.program;
        let mut part = part;
        loop {
            let Some((parent, index)) = program.part(part).parent else {
                self.matched = true;
                return;
            };
            match &program.part(parent).kind {
                PartKind::Chain(parts) => {
                    if let Some(&next) = parts.get(index + 1) {
                        attempt.begun |= !self.beginning;
                        self.begin(attempt, next);
                        return;
                    }
                }
                PartKind::And { parts, done, .. } => {
                    let all = attempt.counter(*done) | 1 << index;
                    attempt.set_counter(*done, all);
                    if all.count_ones() as usize != parts.len() {
                        return;
                    }
                    // Guards need not wait any longer.
                    attempt.waits &= !(program.part(parent).elements & program.absents);
                }
                PartKind::Or(_) => {
                    attempt.waits &= !(program.part(parent).elements & !program.part(part).elements);
                }
                PartKind::Repeat {
                    body,
                    min,
                    max,
                    count,
                    mark,
                } => {
                    let rounds = attempt.counter(*count) + 1;
                    attempt.set_counter(*count, rounds);
                    if max.is_none_or(|max| rounds < u64::from(max)) {
                        attempt.set_mark(program, *mark, mark_of(attempt.link));
                        attempt.waits &= !program.part(*body).elements;
                        self.begin(attempt, *body);
                    }
                    if rounds != u64::from(*min) {
                        return;
                    }
                }
                PartKind::Every { .. } => {
                    if let Some(every) = program.everies.iter().position(|every| *every == parent)
                        && let Some(slots) = &mut attempt.slots
                    {
                        slots.complete |= slots.inside & 1 << every;
                    }
                }
                PartKind::Within { .. } | PartKind::Element(_) => {}
            }
            part = parent;
        }
    }

    /// A part begins to wait.
    fn begin(&mut self, attempt: &mut Attempt, part: PartId) {
        let program = self.program;
        match &program.part(part).kind {
            PartKind::Element(element) => self.begin_element(attempt, *element),
            PartKind::Chain(parts) => self.begin(attempt, parts[0]),
            PartKind::And { parts, done, .. } => {
                let guards = parts.iter().enumerate().filter(|(_, part)| self.is_guard(**part));
                let guards = guards.fold(0, |all, (index, _)| all | 1 << index);
                attempt.set_counter(*done, guards);
                for &part in parts {
                    self.begin(attempt, part);
                }
            }
            PartKind::Or(parts) => {
                for &part in parts {
                    self.begin(attempt, part);
                }
            }
            PartKind::Repeat {
                body, min, count, mark, ..
            } => {
                attempt.set_counter(*count, 0);
                attempt.set_mark(program, *mark, mark_of(attempt.link));
                self.begin(attempt, *body);
                if *min == 0 {
                    self.complete(attempt, part);
                }
            }
            PartKind::Every { body, mark, .. } => {
                if let Some(mark) = mark {
                    attempt.set_mark(program, *mark, mark_of(attempt.link));
                }
                if !program.is_implied(part)
                    && let Some(every) = program.everies.iter().position(|every| *every == part)
                    && let Some(slots) = &mut attempt.slots
                {
                    slots.inside |= 1 << every;
                    slots.complete &= !(1 << every);
                }
                self.begin(attempt, *body);
            }
            PartKind::Within { body, mark, .. } => {
                attempt.set_mark(program, *mark, NOT_STARTED);
                self.begin(attempt, *body);
            }
        }
    }

    fn is_guard(&self, part: PartId) -> bool {
        match self.program.part(part).kind {
            PartKind::Element(element) => self.program.elements[element].kind == ElementKind::Guard,
            _ => false,
        }
    }

    fn begin_element(&mut self, attempt: &mut Attempt, element: ElementId) {
        let program = self.program;
        let place = &program.elements[element];
        attempt.waits |= 1 << element;
        match place.kind {
            ElementKind::One => {}
            ElementKind::Several { min, count, .. } => {
                attempt.set_counter(count, 0);
                if min == 0 {
                    self.complete(attempt, place.part);
                }
            }
            ElementKind::Silence { wait, deadline } => {
                let at = self.moment.clock.saturating_add(wait);
                attempt.set_deadline(program, deadline, at);
                self.timers.push((at, Due::Silence(element)));
            }
            ElementKind::Guard => {
                if let Some(slots) = &mut attempt.slots {
                    slots.violated &= !(1 << element);
                }
                // In an AND it is one of the operands; in a chain it stands beside what follows.
                if !matches!(self.parent_kind(place.part), Some(PartKind::And { .. })) {
                    self.complete(attempt, place.part);
                }
            }
        }
    }

    fn parent_kind(&self, part: PartId) -> Option<&'a PartKind> {
        let (parent, _) = self.program.part(part).parent?;
        Some(&self.program.part(parent).kind)
    }

    /// Attempts that EVERY makes of this one after the step: those EVERYs that are complete and closed.
    pub fn again(&mut self, attempt: &mut Attempt) -> Option<Attempt> {
        let program = self.program;
        let slots = attempt.slots.as_ref()?;
        let complete = slots.inside & slots.complete;
        let every = (0..program.everies.len()).find(|&every| {
            let open = attempt.waits & program.part(program.everies[every]).elements != 0;
            complete >> every & 1 == 1 && (self.matched || !open)
        })?;
        let again = self.restart(attempt, every);
        if let Some(slots) = &mut attempt.slots {
            slots.inside &= !(1 << every);
        }
        Some(again)
    }

    /// What begins again when an attempt has failed inside of an EVERY: the innermost that has taken an event. An EVERY whose
    /// past is too old does not.
    pub fn again_after_failure(&mut self, attempt: &Attempt, past_is_valid: bool) -> Option<Attempt> {
        let program = self.program;
        let every = (0..program.everies.len()).rev().find(|&every| {
            let before = self.before(attempt, every);
            attempt.is_inside(every) && attempt.link != before && (before == NOTHING || past_is_valid)
        })?;
        Some(self.restart(attempt, every))
    }

    fn before(&self, attempt: &Attempt, every: usize) -> u32 {
        match self.program.part(self.program.everies[every]).kind {
            PartKind::Every { mark: Some(mark), .. } => link_of(attempt.mark(self.program, mark)),
            _ => NOTHING,
        }
    }

    /// An attempt with what was before an EVERY, which begins.
    fn restart(&mut self, attempt: &Attempt, every: usize) -> Attempt {
        let program = self.program;
        let part = program.everies[every];
        let before = self.before(attempt, every);
        let resets = match program.part(part).kind {
            PartKind::Every { resets, .. } => resets,
            _ => 0,
        };
        let mut again = attempt.clone();
        again.places = u32::MAX;
        again.waits &= !resets;
        again.link = before;
        self.links.retain(before);
        let leading = program.leading_every == Some(part);
        if before == NOTHING {
            again.started = NOT_STARTED;
            again.order = u64::MAX;
        } else if let Some(Limit::Time(time)) = program.limit {
            let left = time.saturating_sub(self.moment.time.saturating_sub(attempt.started));
            self.again_expires(left);
        }
        again.begun = !leading;
        self.beginning = leading;
        self.begin(&mut again, part);
        self.beginning = false;
        again
    }

    /// The one that begins again inherits what is left of its past's time.
    fn again_expires(&mut self, left: Micros) {
        self.timers.push((after(self.moment.clock, left), Due::Expiry));
    }
}

/// Just after a time has passed: at its end an event still counts.
fn after(clock: Micros, time: Micros) -> Micros {
    clock.saturating_add(time).saturating_add(1)
}
