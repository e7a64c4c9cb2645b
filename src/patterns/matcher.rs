//! The matcher: events in, matches out.
//!
//! # An event
//! The rows where no filter holds are skipped (in a SEQUENCE each counts). For a row, the buckets of the elements whose filter
//! holds give the attempts that wait for it, the elements' conditions say which of them take it, and these make a step each,
//! in the order they started. What EVERY begins again waits for the next event; only the start of a SEQUENCE is offered the
//! event that ended the attempt before it.
//!
//! # One place each
//! In a SEQUENCE one attempt of a partition waits for an element. Of those that get there with one event the one that is furthest
//! along keeps the place; one that a timer brings there takes it.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, SchemaRef};
use hashbrown::DefaultHashBuilder;

use super::ahead::Ahead;
use super::attempts::Attempts;
use super::bounds::{Bound, Tally};
use super::captures::{EventId, LinkId, NOTHING};
use super::conditions::{Condition, Reports, filtered};
use super::finding::{At, FRESH, Hit};
use super::gather::{Events, Gathered, Store};
use super::opened::Opened;
use super::program::Program;
use super::progress::Attempt;
use super::shape::{ElementId, Elements, Limit, Mode};
use super::stepping::{Begun, Deadlines, Moment, Scratch, Step};
use super::timers::{AttemptId, Due, Timers};
use super::waiting::Waiting;
use crate::error::Result;
use crate::event::{EventBatch, Micros, Op};
use crate::operators::Port;
use crate::operators::aggregates::GroupId;
use crate::operators::group_table::GroupTable;

/// What a matcher does.
#[derive(Debug, Clone)]
pub struct MatcherPlan {
    /// The automaton.
    pub program: Arc<Program>,
    /// By element.
    pub elements: Vec<ElementPlan>,
    /// By stream.
    pub ports: Vec<PortPlan>,
    /// The columns of matches.
    pub outputs: Vec<Gathered>,
    /// Their names and types.
    pub schema: SchemaRef,
    /// The types of the partitions' keys, if there are partitions, and where in `schema` the first goes.
    pub partition: Option<(Vec<DataType>, Option<usize>)>,
    /// Whether attempts that time out are asked for.
    pub expired: bool,
    /// How many attempts may be open.
    pub bound: Bound,
}

/// An element of a pattern.
#[derive(Debug, Clone)]
pub struct ElementPlan {
    /// What it is called.
    pub name: String,
    /// Its stream.
    pub port: Port,
    /// What it asks of events.
    pub condition: Condition,
}

/// A stream of a pattern.
#[derive(Debug, Clone)]
pub struct PortPlan {
    /// Its name.
    pub stream: String,
    /// The columns of its batches.
    pub schema: SchemaRef,
    /// Those of them that are captured.
    pub captured: Vec<usize>,
    /// The columns of the key of its partitions.
    pub partition: Vec<usize>,
}

/// A batch with what is known of its rows at once.
pub struct Prepared {
    /// The stream.
    pub port: Port,
    /// The events.
    pub batch: EventBatch,
    /// Their columns.
    pub(super) columns: Vec<Opened>,
    /// By row: the elements of the stream whose filters hold.
    pub(super) takers: Vec<Elements>,
    /// Whose each row is; none for NULL.
    partitions: Option<Vec<Option<GroupId>>>,
}

impl Prepared {
    /// Whose a row is; none for NULL.
    pub(super) fn partition(&self, row: usize) -> Option<GroupId> {
        match &self.partitions {
            None => Some(0),
            Some(ids) => ids[row],
        }
    }
}

/// What a match is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matched {
    pub(super) link: LinkId,
    pub(super) time: Micros,
    pub(super) op: Op,
    pub(super) partition: u32,
    /// When the attempt began, by its events.
    pub(super) order: u64,
}

/// What the attempts of one key share.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// Whether its first attempt has been made.
    pub(super) armed: bool,
    /// Its attempts, in a SEQUENCE.
    pub(super) members: Vec<AttemptId>,
    /// How many events it has seen.
    pub(super) events: u64,
    /// With WITHIN n EVENTS: attempts by their first event; after that of the whole, that of each group so bounded.
    pub(super) firsts: Vec<VecDeque<(u64, AttemptId, u32)>>,
}

/// What an attempt was before a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Was {
    begun: bool,
    started: bool,
    first: u64,
}

impl Was {
    pub(super) fn of(attempt: &Attempt) -> Self {
        Was {
            begun: attempt.begun,
            started: attempt.has_started(),
            first: attempt.first,
        }
    }
}

/// The matcher's state.
pub struct Matcher {
    pub(super) plan: MatcherPlan,
    of_port: Vec<Vec<ElementId>>,
    /// Whether events that no element takes matter.
    counts: bool,
    pub(super) events: Events,
    pub(super) attempts: Attempts,
    pub(super) waiting: Waiting,
    pub(super) timers: Timers,
    pub(super) keys: Option<GroupTable>,
    pub(super) partitions: Vec<Partition>,
    /// Attempts with events, the oldest first, for when there are too many.
    pub(super) ages: VecDeque<(AttemptId, u32)>,
    pub(super) matches: Vec<Matched>,
    pub(super) clock: Micros,
    pub(super) orders: u64,
    pub(super) hasher: DefaultHashBuilder,
    /// How many attempts are open, and what became of others.
    pub(super) tally: Tally,
    hits: Vec<Hit>,
    pub(super) ahead: Ahead,
    pub(super) scratch: Scratch,
    /// Events have ended: what fires now does not begin again.
    pub(super) ending: bool,
    /// In a SEQUENCE: the start that waits again because an event that is not its own ended the attempt before it.
    pub(super) revived: Option<AttemptId>,
}

impl Matcher {
    /// Without attempts.
    pub fn new(plan: MatcherPlan) -> Result<Self> {
        let stores = plan.ports.iter().map(|port| Store::new(&port.schema, &port.captured));
        let elements = plan.elements.iter().enumerate();
        let mut of_port = vec![Vec::new(); plan.ports.len()];
        elements.for_each(|(element, place)| of_port[place.port].push(element));
        let keys = plan.partition.as_ref().map(|(types, _)| GroupTable::new(types));
        let program = &plan.program;
        let plain = plan.elements.iter().enumerate();
        let plain = plain.filter(|(_, element)| element.condition.equal.is_empty());
        let plain = plain.fold(0, |all, (element, _)| all | 1 << element);
        let by_events = matches!(program.limit, Some(Limit::Events(_))) || !program.counted.is_empty();
        Ok(Matcher {
            of_port,
            counts: program.mode == Mode::Strict || by_events,
            events: Events::new(
                stores.collect::<Result<_>>()?,
                plan.elements.iter().map(|element| element.port).collect(),
            ),
            attempts: Attempts::default(),
            waiting: Waiting::new(plain),
            timers: Timers::default(),
            keys: keys.transpose()?,
            partitions: Vec::new(),
            ages: VecDeque::new(),
            matches: Vec::new(),
            clock: Micros::MIN,
            orders: 0,
            hasher: DefaultHashBuilder::default(),
            tally: Tally::default(),
            hits: Vec::new(),
            ahead: Ahead::default(),
            scratch: Scratch::default(),
            ending: false,
            revived: None,
            plan,
        })
    }

    /// Evaluates what can be of a whole batch.
    pub fn prepare(&mut self, port: Port, batch: EventBatch, report: &mut Reports) -> Result<Prepared> {
        let elements = &self.plan.elements;
        let is_open = |element: &&ElementId| elements[**element].condition.filter.is_none();
        let open = self.of_port[port].iter().filter(is_open);
        let open = open.fold(0, |all, element| all | 1 << element);
        let mut takers: Vec<Elements> = vec![open; batch.num_rows()];
        for &element in &self.of_port[port] {
            if let Some(filter) = &elements[element].condition.filter {
                let holds = filtered(filter, &batch, report)?;
                holds.set_indices().for_each(|row| takers[row] |= 1 << element);
            }
        }
        let partitions = match &mut self.keys {
            Some(keys) => {
                let columns = self.plan.ports[port].partition.iter();
                let columns: Vec<ArrayRef> = columns.map(|column| batch.column(*column).clone()).collect();
                let mut ids = Vec::new();
                keys.assign(&columns, batch.num_rows(), &mut ids)?;
                let is_whole = |row: usize| columns.iter().all(|column| column.is_valid(row));
                let ids = ids.into_iter().enumerate();
                Some(ids.map(|(row, id)| is_whole(row).then_some(id)).collect())
            }
            None => None,
        };
        Ok(Prepared {
            columns: batch.columns().columns().iter().map(Opened::of).collect(),
            port,
            batch,
            takers,
            partitions,
        })
    }

    /// Takes one event.
    pub fn event(&mut self, prepared: &Prepared, row: usize, report: &mut Reports) -> Result<()> {
        let Some(partition) = prepared.partition(row) else {
            return Ok(());
        };
        // What must not come is counted from the key's first event, whatever that is.
        if self.plan.program.absents != 0 {
            self.arm(partition);
        }
        let counts = self.counts;
        if !counts && prepared.takers[row] == 0 {
            return Ok(());
        }
        self.arm(partition);
        let mut moment = self.moment(prepared.batch.time(row));
        if counts {
            let state = &mut self.partitions[partition as usize];
            state.events += 1;
            moment.number = state.events;
            self.expire_by_count(partition, moment);
        }
        let mut hits = std::mem::take(&mut self.hits);
        hits.clear();
        let at = At {
            prepared,
            row,
            partition,
            moment,
        };
        self.find(&at, None, &mut hits, report)?;
        let created = self.attempts.created();
        let before = self.matches.len();
        self.revived = None;
        self.apply(&at, &mut hits);
        if self.plan.program.mode == Mode::Strict {
            self.settle(&at, &mut hits, created, report)?;
        }
        hits.clear();
        self.hits = hits;
        // An alternative that is lost may have taken the first event with it: they go out by what they have.
        self.matches[before..].sort_by_key(|matched| matched.order);
        self.keep_within_bound()
    }

    /// Makes the first attempt of a partition, if there is none yet.
    pub fn arm(&mut self, partition: u32) {
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, Partition::default);
        }
        if !self.partitions[index].armed {
            self.partitions[index].armed = true;
            if self.plan.program.always_open.is_none() {
                self.start(partition);
            }
        }
    }

    /// Whether an event changes nothing, whatever is open.
    pub fn passes_by(&self, prepared: &Prepared, row: usize) -> bool {
        !self.counts && prepared.takers[row] == 0 && self.plan.program.absents == 0
    }

    pub(super) fn moment(&mut self, time: Micros) -> Moment {
        self.orders += 1;
        Moment {
            time,
            clock: self.clock.max(match self.clock {
                Micros::MIN => time,
                clock => clock,
            }),
            number: 0,
            order: self.orders,
        }
    }

    /// A new attempt at the whole pattern, waiting for its first event.
    pub(super) fn start(&mut self, partition: u32) -> AttemptId {
        let clock = self.clock;
        let moment = self.moment(clock);
        let mut step = Step::new(&self.plan.program, &mut self.events, &mut self.scratch, moment);
        let attempt = step.start(partition);
        let timers = step.timers;
        self.add((attempt, timers))
    }

    /// Takes an attempt in: its timers, its places.
    pub(super) fn add(&mut self, (attempt, timers): Begun) -> AttemptId {
        let (partition, begun) = (attempt.partition, attempt.begun);
        let id = self.attempts.add(attempt);
        if self.plan.program.mode == Mode::Strict {
            self.partitions[partition as usize].members.push(id);
        }
        self.set_timers(id, timers);
        self.stand(id);
        if begun {
            self.note_age(id);
        }
        id
    }

    pub(super) fn set_timers(&mut self, id: AttemptId, timers: Deadlines) {
        for (at, due) in timers {
            let counted = match due {
                Due::GroupExpiry(part) => self
                    .plan
                    .program
                    .counted
                    .iter()
                    .position(|counted| *counted == usize::from(part)),
                _ => None,
            };
            match counted {
                Some(index) => self.count_from(id, index + 1, at as u64),
                None => {
                    let generation = self.attempts.get(id).generation;
                    self.timers.set(at, id, generation, due);
                }
            }
        }
    }

    /// An attempt has begun.
    fn note_age(&mut self, id: AttemptId) {
        let attempt = self.attempts.get(id);
        self.ages.push_back((id, attempt.generation));
        self.tally.open += 1;
        if attempt.has_started() {
            self.note_first(id);
        }
    }

    /// An attempt has its first event.
    fn note_first(&mut self, id: AttemptId) {
        if let Some(Limit::Events(_)) = self.plan.program.limit {
            self.count_from(id, 0, self.attempts.get(id).first);
        }
    }

    /// Lets an attempt stand where it waits, and nowhere else.
    pub(super) fn stand(&mut self, id: AttemptId) {
        let waits = self.attempts.get(id).waits;
        let stands = self.waiting.leave(&mut self.attempts, id, !waits);
        let mut rest = waits & !stands;
        while rest != 0 {
            let element = rest.trailing_zeros() as ElementId;
            rest &= rest - 1;
            if let Some(bucket) = self.bucket_of(id, element) {
                self.waiting.enter(&mut self.attempts, id, element, bucket);
            }
        }
    }

    pub(super) fn is_too_late(&self, attempt: &Attempt, moment: Moment) -> bool {
        attempt.has_started()
            && match self.plan.program.limit {
                Some(Limit::Time(time)) => moment.time.saturating_sub(attempt.started) > time,
                Some(Limit::Events(events)) => moment.number - attempt.first >= events,
                None => false,
            }
    }

    /// Lets attempts take an event. Leaves of `hits` those that are still open, with the elements that took it.
    pub(super) fn apply(&mut self, at: &At, hits: &mut Vec<Hit>) {
        let At {
            prepared,
            row,
            partition,
            moment,
        } = *at;
        if hits.is_empty() {
            return;
        }
        let store = &mut self.events.stores[prepared.port];
        let event = store.add(moment.time, &prepared.columns, row);
        if self.plan.program.keeps_order() {
            store.uses.set_met(event, moment.order, moment.number);
        }
        hits.retain_mut(|hit| {
            let takers = hit.takers;
            let (open, took) = match hit.attempt {
                FRESH => self.step_fresh(partition, moment, takers, event),
                id => self.step(id, moment, takers, event),
            };
            hit.takers = took;
            if let Some(id) = open {
                hit.attempt = id;
            }
            open.is_some()
        });
        self.events.let_go();
        self.events.stores[prepared.port].release(event);
    }

    /// An event for the attempt that is always there: it becomes one.
    fn step_fresh(
        &mut self,
        partition: u32,
        moment: Moment,
        takers: Elements,
        event: EventId,
    ) -> (Option<AttemptId>, Elements) {
        let turns_away = self.turns_away();
        let mut step = Step::new(&self.plan.program, &mut self.events, &mut self.scratch, moment);
        let mut attempt = step.start(partition);
        step.offer(&mut attempt, takers, event);
        let (took, matched, timers) = (step.took, step.matched, step.timers);
        if matched {
            self.emit(Matched {
                link: attempt.link,
                time: moment.time,
                op: Op::Insert,
                partition,
                order: attempt.order,
            });
            return (None, took);
        }
        if turns_away {
            self.turn_away(attempt.link);
            return (None, 0);
        }
        (Some(self.add((attempt, timers))), took)
    }

    /// An event for an attempt.
    fn step(
        &mut self,
        id: AttemptId,
        moment: Moment,
        takers: Elements,
        event: EventId,
    ) -> (Option<AttemptId>, Elements) {
        let attempt = self.attempts.get(id);
        if attempt.waits == 0 {
            return (None, 0);
        }
        let was = Was::of(attempt);
        let turns_away = self.turns_away();
        if turns_away && !was.begun && takers & !self.plan.program.absents != 0 {
            self.turn_away(NOTHING);
            return (Some(id), 0);
        }
        let mut step = Step::new(&self.plan.program, &mut self.events, &mut self.scratch, moment);
        let attempt = self.attempts.get_mut(id);
        while !step.dead
            && let Some(part) = step.expired_group(attempt)
        {
            step.expire_group(attempt, part);
        }
        if !step.dead {
            step.offer(attempt, takers, event);
        }
        let took = step.took;
        let timers = std::mem::take(&mut step.timers);
        let skips = self.plan.program.mode == Mode::Skipping;
        match step.dead {
            false => step.all_again(attempt),
            // In a SEQUENCE the start looks after itself.
            true => step.only_again(attempt, step.restarts.filter(|_| skips)),
        }
        let (mut open, matched) = (!step.dead && !step.matched, step.matched);
        if open && turns_away && self.scratch.begun.iter().any(|(attempt, _)| attempt.begun) {
            // It makes two of one: what would be more goes.
            self.turn_away(NOTHING);
            open = false;
        }
        self.finish(id, open, matched, was, moment.time, timers);
        // A start that took the event itself is not offered it again.
        let offers = was.begun && took & self.leading() == 0;
        self.add_all(offers);
        (open.then_some(id), took)
    }

    /// After a step: the attempt stands where it waits now, or is gone.
    pub(super) fn finish(
        &mut self,
        id: AttemptId,
        open: bool,
        matched: bool,
        was: Was,
        time: Micros,
        timers: Deadlines,
    ) {
        let now = Was::of(self.attempts.get(id));
        if now.begun && !was.begun {
            self.note_age(id);
        } else if now.started && (!was.started || now.first != was.first) {
            self.note_first(id);
        }
        if open {
            self.set_timers(id, timers);
            self.stand(id);
            return;
        }
        if matched {
            let attempt = self.attempts.get_mut(id);
            let link = std::mem::replace(&mut attempt.link, NOTHING);
            let (partition, order) = (attempt.partition, attempt.order);
            self.emit(Matched {
                link,
                time,
                op: Op::Insert,
                partition,
                order,
            });
        }
        self.remove(id);
    }

    /// The elements of the EVERY at the start.
    fn leading(&self) -> Elements {
        let program = &self.plan.program;
        program.leading_every.map_or(0, |every| program.part(every).elements)
    }

    /// Takes in what EVERY begins again. `offers`: in a SEQUENCE the start that waits again is offered the event, too.
    pub(super) fn add_all(&mut self, offers: bool) {
        let mut begun = std::mem::take(&mut self.scratch.begun);
        for (attempt, timers) in begun.drain(..) {
            if self.ending {
                self.events.release(attempt.link);
            } else {
                let begun = attempt.begun;
                let id = self.add((attempt, timers));
                if !begun && offers {
                    self.revived = Some(id);
                }
            }
        }
        self.scratch.begun = begun;
    }

    pub(super) fn emit(&mut self, matched: Matched) {
        self.tally.matches += u64::from(matched.op == Op::Insert);
        self.matches.push(matched);
    }

    /// Takes an attempt away.
    pub(super) fn remove(&mut self, id: AttemptId) {
        self.waiting.leave(&mut self.attempts, id, Elements::MAX);
        let attempt = self.attempts.get(id);
        let (link, partition) = (attempt.link, attempt.partition);
        self.tally.open -= usize::from(attempt.begun);
        self.events.release(link);
        self.attempts.remove(id);
        if self.plan.program.mode == Mode::Strict {
            let members = &mut self.partitions[partition as usize].members;
            members.retain(|member| *member != id);
        }
    }
}
