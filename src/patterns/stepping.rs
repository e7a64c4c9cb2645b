//! What an event, or time, does to one attempt.
//!
//! Only the attempt changes here, with its links; who waits where and what becomes of a match is the matcher's.

use smallvec::SmallVec;

use super::captures::EventId;
use super::gather::Events;
use super::program::{ElementKind, PartId, PartKind, Program};
use super::progress::{Attempt, NOT_STARTED, mark_of};
use super::shape::{ElementId, Elements, Limit};
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

/// Timers to set. Of groups bounded by a number of events it is the number of the first.
pub type Deadlines = SmallVec<[(Micros, Due); 1]>;

/// An attempt with the timers it needs.
pub type Begun = (Attempt, Deadlines);

/// What steps use, kept for its memory.
#[derive(Debug, Default)]
pub struct Scratch {
    /// What began again in the middle of the step, and after it.
    pub begun: Vec<Begun>,
    /// The ANDs whose operands the event is being offered to.
    holding: Vec<PartId>,
    /// The ORs that the event has decided.
    decided: Vec<PartId>,
}

/// One step of one attempt.
pub struct Step<'a> {
    /// The automaton.
    pub program: &'a Program,
    /// The events of attempts.
    pub events: &'a mut Events,
    /// When.
    pub moment: Moment,
    /// Elements that took the event.
    pub took: Elements,
    /// The pattern is complete.
    pub matched: bool,
    /// The attempt has failed.
    pub dead: bool,
    /// The EVERY that begins again because the attempt has failed, by its number.
    pub restarts: Option<usize>,
    /// Timers to set.
    pub timers: Deadlines,
    pub(super) scratch: &'a mut Scratch,
    /// Parts are begun for the first time: nothing has happened yet.
    pub(super) beginning: bool,
    /// Time completes parts: no event closes what is before them.
    pub(super) by_time: bool,
    /// Elements that began to wait with this event: they wait for the next.
    renewed: Elements,
    /// Events have ended: a group does not take more rounds than it must.
    ending: bool,
}

impl<'a> Step<'a> {
    /// At a moment.
    pub fn new(program: &'a Program, events: &'a mut Events, scratch: &'a mut Scratch, moment: Moment) -> Self {
        Step {
            program,
            events,
            moment,
            took: 0,
            matched: false,
            dead: false,
            restarts: None,
            timers: Deadlines::new(),
            scratch,
            beginning: false,
            by_time: false,
            renewed: 0,
            ending: false,
        }
    }

    /// When events have ended.
    pub fn at_the_end(mut self, ending: bool) -> Self {
        self.ending = ending;
        self
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
        self.renewed = 0;
        self.scratch.decided.clear();
        let mut absent = takers & self.program.absents;
        while absent != 0 {
            let element = absent.trailing_zeros() as ElementId;
            absent &= absent - 1;
            if attempt.waits >> element & 1 == 1 {
                self.violate(attempt, element);
            }
            if self.dead {
                return;
            }
        }
        let present = takers & !self.program.absents & attempt.waits & !self.renewed;
        if present == 0 {
            return;
        }
        let first = present.trailing_zeros() as ElementId;
        match present.count_ones() == 1 && self.program.elements[first].direct {
            true => self.take(attempt, first, event),
            false => self.offer_to(attempt, 0, present, event),
        };
        self.matched |= self.took != 0 && attempt.is_whole();
    }

    /// A time without what must not come is over.
    pub fn silence(&mut self, attempt: &mut Attempt, element: ElementId) {
        attempt.waits &= !(1 << element);
        self.by_time = true;
        self.complete(attempt, self.program.elements[element].part);
        self.by_time = false;
        self.matched |= attempt.is_whole();
    }

    /// Offers to a part; whether it took the event. Of a chain the last that can take it does.
    fn offer_to(&mut self, attempt: &mut Attempt, part: PartId, takers: Elements, event: EventId) -> bool {
        let program = self.program;
        let takers = takers & program.part(part).elements & attempt.waits & !self.renewed;
        if takers == 0 {
            return false;
        }
        match &program.part(part).kind {
            PartKind::Element(element) => self.take(attempt, *element, event),
            PartKind::Chain(parts) => {
                let has_takers = |part: &&PartId| program.part(**part).elements & takers != 0;
                let mut parts = parts.iter().rev().filter(has_takers);
                parts.any(|&part| self.offer_to(attempt, part, takers, event))
            }
            PartKind::And { parts, guards, done } => {
                if let Some(slots) = &mut attempt.slots
                    && slots.violated & guards != 0
                {
                    // What must not come has come before: this event only makes up for it.
                    slots.violated &= !guards;
                    return false;
                }
                // It is complete when all operands have met the event.
                let was_done = attempt.counter(*done).count_ones() as usize == parts.len();
                let known = self.scratch.begun.len();
                self.scratch.holding.push(part);
                let taken = self.offer_to_all(attempt, parts, takers, event);
                self.scratch.holding.pop();
                self.complete_forks(known, part);
                if !was_done && attempt.counter(*done).count_ones() as usize == parts.len() {
                    attempt.waits &= !guards;
                    self.complete(attempt, part);
                }
                taken
            }
            PartKind::Or { .. } => self.offer_to_each(attempt, part, takers, event),
            PartKind::Repeat { body, .. } | PartKind::Every { body, .. } | PartKind::Within { body, .. } => {
                self.offer_to(attempt, *body, takers, event)
            }
        }
    }

    /// One event may be what several operands wait for.
    fn offer_to_all(&mut self, attempt: &mut Attempt, parts: &[PartId], takers: Elements, event: EventId) -> bool {
        let mut taken = false;
        for (index, &part) in parts.iter().enumerate() {
            let known = self.scratch.begun.len();
            taken |= self.offer_to(attempt, part, takers, event);
            self.offer_to_forks(known, &parts[index + 1..], takers, event);
        }
        taken
    }

    /// Of several alternatives the first that is complete decides. What began again in those before it is lost with them.
    fn offer_to_each(&mut self, attempt: &mut Attempt, or: PartId, takers: Elements, event: EventId) -> bool {
        let PartKind::Or { parts, .. } = &self.program.part(or).kind else {
            return false;
        };
        let mut taken = false;
        let first = self.scratch.begun.len();
        let mut ends = SmallVec::<[usize; 4]>::new();
        for &part in parts {
            let before = self.scratch.begun.len();
            taken |= self.offer_to(attempt, part, takers, event);
            if self.scratch.decided.contains(&or) {
                for (lost, _) in self.scratch.begun.drain(first..before) {
                    self.events.release(lost.link);
                }
                return taken;
            }
            ends.push(self.scratch.begun.len());
        }
        // From the last: what that adds comes after those still to be looked at.
        for (index, end) in ends.iter().enumerate().rev() {
            let begin = index.checked_sub(1).map_or(first, |before| ends[before]);
            if begin < *end {
                let later = self.scratch.begun.split_off(*end);
                self.offer_to_forks(begin, &parts[index + 1..], takers, event);
                self.scratch.begun.extend(later);
            }
        }
        taken
    }

    /// What has begun again in one operand, from `known` on, has not met the event in those after it, and so has what begins
    /// again of that.
    fn offer_to_forks(&mut self, known: usize, later: &[PartId], takers: Elements, event: EventId) {
        if later.is_empty() || self.scratch.begun.len() == known {
            return;
        }
        for (mut fork, timers) in self.scratch.begun.split_off(known) {
            let own_timers = std::mem::replace(&mut self.timers, timers);
            let first = self.scratch.begun.len();
            self.offer_to_all(&mut fork, later, takers, event);
            let timers = std::mem::replace(&mut self.timers, own_timers);
            self.scratch.begun.insert(first, (fork, timers));
        }
    }

    /// An AND has met the event: what began again in its operands, from `known` on, may be complete as it is.
    fn complete_forks(&mut self, known: usize, and: PartId) {
        let PartKind::And { parts, guards, done } = &self.program.part(and).kind else {
            return;
        };
        for index in known..self.scratch.begun.len() {
            let all = self.scratch.begun[index].0.counter(*done);
            if all.count_ones() as usize != parts.len() {
                continue;
            }
            // What that does to the step is not the attempt's own.
            let matched = std::mem::take(&mut self.matched);
            let (renewed, decided) = (self.renewed, self.scratch.decided.len());
            let taken_out = &mut self.scratch.begun[index];
            let mut fork = taken_out.0.clone();
            let own_timers = std::mem::replace(&mut self.timers, std::mem::take(&mut taken_out.1));
            fork.waits &= !guards;
            self.complete(&mut fork, and);
            let timers = std::mem::replace(&mut self.timers, own_timers);
            fork.set_whole(self.matched);
            self.scratch.begun[index] = (fork, timers);
            self.scratch.decided.truncate(decided);
            (self.matched, self.renewed) = (matched, renewed);
        }
    }

    fn take(&mut self, attempt: &mut Attempt, element: ElementId, event: EventId) -> bool {
        let program = self.program;
        let place = &program.elements[element];
        let mut guards = place.guards.iter();
        if guards.any(|guard| self.moment.time <= attempt.quiet_until(program, *guard)) {
            return false;
        }
        for &repeat in &place.leaves {
            self.leave(attempt, repeat);
        }
        if !attempt.has_started() {
            attempt.started = self.moment.time;
            attempt.order = self.moment.order;
            attempt.first = self.moment.number;
            if let Some(Limit::Time(time)) = program.limit {
                self.timers.push((after(self.moment.clock, time), Due::Expiry));
            }
        }
        attempt.waits &= !place.closes;
        if program.supersedes >> element & 1 == 1 {
            attempt.link = self.events.pass_over(attempt.link);
        }
        attempt.link = self.events.push(attempt.link, element, event);
        attempt.begun = true;
        self.took |= 1 << element;
        for &part in &place.withins {
            self.start_group(attempt, part);
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

    /// The first event of a group: its time begins.
    fn start_group(&mut self, attempt: &mut Attempt, part: PartId) {
        let program = self.program;
        let PartKind::Within { limit, mark, .. } = program.part(part).kind else {
            return;
        };
        if attempt.mark(program, mark) != NOT_STARTED {
            return;
        }
        let due = Due::GroupExpiry(part as u16);
        match limit {
            Limit::Time(time) => {
                attempt.set_mark(program, mark, self.moment.time);
                self.timers.push((after(self.moment.clock, time), due));
            }
            Limit::Events(_) => {
                let number = self.moment.number as i64;
                attempt.set_mark(program, mark, number);
                self.timers.push((number, due));
            }
        }
    }

    /// A repeated group is left: a round that is not complete does not count.
    pub(super) fn leave(&mut self, attempt: &mut Attempt, repeat: PartId) {
        let program = self.program;
        let part = program.part(repeat);
        if let PartKind::Repeat { max, count, mark, .. } = part.kind
            && attempt.waits & part.elements != 0
            && max.is_none_or(|max| attempt.counter(count) < u64::from(max))
        {
            self.drop_round(attempt, repeat, mark);
        }
    }

    /// Forgets what a round of a repeated group has, and waits for no more of it.
    pub(super) fn drop_round(&mut self, attempt: &mut Attempt, repeat: PartId, mark: usize) {
        let part = self.program.part(repeat);
        let origin = attempt.link_mark(self.program, mark);
        attempt.waits &= !part.elements;
        attempt.leave_everies(part.everies);
        self.lose(attempt, part.elements, origin);
    }

    /// A part has what it needs: what follows begins. It may go on taking events.
    pub(super) fn complete(&mut self, attempt: &mut Attempt, part: PartId) {
        let program = self.program;
        let mut part = part;
        loop {
            let Some((parent, index)) = program.part(part).parent else {
                self.matched = true;
                return;
            };
            match &program.part(parent).kind {
                PartKind::Chain(parts) => {
                    if self.by_time {
                        attempt.waits &= !self.guards_before(parts, index);
                    }
                    if let Some(&next) = parts.get(index + 1) {
                        attempt.begun |= !self.beginning;
                        self.by_time = false;
                        self.begin(attempt, next);
                        return;
                    }
                }
                PartKind::And { parts, done, guards } => {
                    let all = attempt.counter(*done) | 1 << index;
                    attempt.set_counter(*done, all);
                    if all.count_ones() as usize != parts.len() || self.scratch.holding.contains(&parent) {
                        return;
                    }
                    // Guards need not wait any longer.
                    attempt.waits &= !guards;
                }
                PartKind::Or { origin, .. } => {
                    self.scratch.decided.push(parent);
                    self.begin_again_in(attempt, part, Closed::ByItself);
                    let lost = program.part(parent).elements & !program.part(part).elements;
                    attempt.waits &= !lost;
                    attempt.leave_everies(program.part(parent).everies & !program.part(part).everies);
                    if let Some(origin) = origin {
                        let origin = attempt.link_mark(program, *origin);
                        self.lose(attempt, lost, origin);
                    }
                }
                PartKind::Repeat {
                    body,
                    min,
                    max,
                    count,
                    mark,
                } => {
                    self.begin_again_in(attempt, part, Closed::ByRound);
                    let rounds = attempt.counter(*count) + 1;
                    attempt.set_counter(*count, rounds);
                    attempt.leave_everies(program.part(*body).everies);
                    let more = max.is_none_or(|max| rounds < u64::from(max));
                    attempt.begun |= !self.beginning;
                    attempt.waits &= !program.part(*body).elements;
                    if more && (!self.ending || rounds < u64::from(*min)) {
                        attempt.set_mark(program, *mark, mark_of(attempt.link));
                        let by_time = std::mem::take(&mut self.by_time);
                        self.begin(attempt, *body);
                        self.by_time = by_time;
                    }
                    if rounds != u64::from(*min) {
                        if self.by_time && rounds > u64::from(*min) {
                            self.end_guards_before(attempt, parent);
                        }
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
                PartKind::Within { number, .. } => {
                    if let Some(slots) = &mut attempt.slots {
                        slots.ended |= 1 << number;
                    }
                }
                PartKind::Element(_) => {}
            }
            part = parent;
        }
    }

    /// A part that was complete already has one more round by time: the guards right before it are over, as they are when
    /// it becomes complete.
    fn end_guards_before(&self, attempt: &mut Attempt, part: PartId) {
        let mut inner = part;
        while let Some((parent, index)) = self.program.part(inner).parent {
            match &self.program.part(parent).kind {
                PartKind::Chain(parts) => {
                    attempt.waits &= !self.guards_before(parts, index);
                    return;
                }
                PartKind::Every { .. } | PartKind::Within { .. } => inner = parent,
                _ => return,
            }
        }
    }

    /// The guards right before a part of a chain that is complete: they are over, too.
    fn guards_before(&self, parts: &[PartId], index: usize) -> Elements {
        let program = self.program;
        let guard = |part: &PartId| match program.part(*part).kind {
            PartKind::Element(element) => match program.elements[element].kind {
                ElementKind::Guard { .. } => Some(1 << element),
                _ => None,
            },
            _ => None,
        };
        parts[..index]
            .iter()
            .rev()
            .map_while(guard)
            .fold(0, |all, guard: Elements| all | guard)
    }

    /// A part begins to wait.
    pub(super) fn begin(&mut self, attempt: &mut Attempt, part: PartId) {
        let program = self.program;
        match &program.part(part).kind {
            PartKind::Element(element) => self.begin_element(attempt, *element),
            PartKind::Chain(parts) => self.begin(attempt, parts[0]),
            PartKind::And { parts, done, guards } => {
                let guard = |part: &PartId| program.part(*part).elements & guards != 0;
                let done_at_once = parts.iter().enumerate().filter(|(_, part)| guard(part));
                let done_at_once = done_at_once.fold(0, |all, (index, _)| all | 1 << index);
                attempt.set_counter(*done, done_at_once);
                // Guards first: what may be empty completes the AND at once, and with it them.
                let (first, then): (Vec<PartId>, Vec<PartId>) = parts.iter().partition(|part| guard(part));
                first.into_iter().chain(then).for_each(|part| self.begin(attempt, part));
            }
            PartKind::Or { parts, origin } => {
                if let Some(origin) = origin {
                    attempt.set_mark(program, *origin, mark_of(attempt.link));
                }
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
            PartKind::Within {
                body,
                mark,
                origin,
                number,
                ..
            } => {
                attempt.set_mark(program, *mark, NOT_STARTED);
                attempt.set_mark(program, *origin, mark_of(attempt.link));
                if let Some(slots) = &mut attempt.slots {
                    slots.ended &= !(1 << number);
                }
                self.begin(attempt, *body);
            }
        }
    }

    fn begin_element(&mut self, attempt: &mut Attempt, element: ElementId) {
        let program = self.program;
        let place = &program.elements[element];
        attempt.waits |= 1 << element;
        self.renewed |= 1 << element;
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
                self.timers.push((at, Due::Silence(element as u8)));
            }
            ElementKind::GuardOfAnd => {
                if let Some(slots) = &mut attempt.slots {
                    slots.violated &= !(1 << element);
                }
            }
            // It stands beside what follows.
            ElementKind::Guard { .. } => self.complete(attempt, place.part),
        }
    }
}

/// What closes an EVERY in the middle of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// It takes no more.
    ByItself,
    /// The round of a group that it stands in is complete.
    ByRound,
}

/// Just after a time has passed: at its end an event still counts.
pub(super) fn after(clock: Micros, time: Micros) -> Micros {
    clock.saturating_add(time).saturating_add(1)
}
