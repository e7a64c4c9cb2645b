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
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, SchemaRef};
use hashbrown::DefaultHashBuilder;

use super::attempts::Attempts;
use super::bounds::{Bound, Tally};
use super::captures::{EventId, LinkId, NOTHING};
use super::columns::Value;
use super::conditions::{Condition, Reports, filtered};
use super::gather::{Events, Gathered, Store};
use super::opened::Opened;
use super::program::Program;
use super::progress::Attempt;
use super::scalar::captured;
use super::shape::{ElementId, Elements, Limit, Mode};
use super::stepping::{Begun, Moment, Step};
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
    columns: Vec<Opened>,
    /// The elements of the stream and where their filters hold.
    holds: Vec<(ElementId, Option<BooleanBuffer>)>,
    /// Whose each row is; none for NULL.
    partitions: Option<Vec<Option<GroupId>>>,
}

/// What a match is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matched {
    pub(super) link: LinkId,
    pub(super) time: Micros,
    pub(super) op: Op,
    pub(super) partition: u32,
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

/// An attempt that takes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) order: u64,
    pub(super) id: u64,
    /// The place, or [`FRESH`].
    pub(super) attempt: AttemptId,
    pub(super) takers: Elements,
}

/// An event and when and to whom it comes.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) row: usize,
    pub(super) partition: u32,
    pub(super) moment: Moment,
}

/// An attempt that is to be made.
const FRESH: AttemptId = AttemptId::MAX;

/// The matcher's state.
pub struct Matcher {
    pub(super) plan: MatcherPlan,
    of_port: Vec<Vec<ElementId>>,
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
    hasher: DefaultHashBuilder,
    /// How many attempts are open, and what became of others.
    pub(super) tally: Tally,
    hits: Vec<Hit>,
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
        Ok(Matcher {
            of_port,
            events: Events::new(
                stores.collect::<Result<_>>()?,
                plan.elements.iter().map(|element| element.port).collect(),
            ),
            attempts: Attempts::default(),
            waiting: Waiting::default(),
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
            ending: false,
            revived: None,
            plan,
        })
    }

    /// Evaluates what can be of a whole batch.
    pub fn prepare(&mut self, port: Port, batch: EventBatch, report: &mut Reports) -> Result<Prepared> {
        let mut holds = Vec::with_capacity(self.of_port[port].len());
        for &element in &self.of_port[port] {
            let filter = self.plan.elements[element].condition.filter.as_ref();
            let filter = filter.map(|filter| filtered(filter, &batch, report));
            holds.push((element, filter.transpose()?));
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
            holds,
            partitions,
        })
    }

    /// Takes one event.
    pub fn event(&mut self, prepared: &Prepared, row: usize, report: &mut Reports) -> Result<()> {
        let partition = match &prepared.partitions {
            None => 0,
            Some(ids) => match ids[row] {
                Some(id) => id,
                None => return Ok(()),
            },
        };
        // What must not come is counted from the key's first event, whatever that is.
        if self.plan.program.absents != 0 {
            self.arm(partition);
        }
        let counts = self.counts_events();
        let any = |(_, holds): &(ElementId, Option<BooleanBuffer>)| holds.as_ref().is_none_or(|holds| holds.value(row));
        if !counts && !prepared.holds.iter().any(any) {
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
        self.revived = None;
        self.apply(&at, &mut hits);
        if self.plan.program.mode == Mode::Strict {
            self.settle(&at, &mut hits, created, report)?;
        }
        hits.clear();
        self.hits = hits;
        self.keep_bounds()
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

    /// Whether events that no element takes matter.
    fn counts_events(&self) -> bool {
        let program = &self.plan.program;
        program.mode == Mode::Strict || matches!(program.limit, Some(Limit::Events(_))) || !program.counted.is_empty()
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
        let mut step = Step::new(&self.plan.program, &mut self.events, moment);
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

    pub(super) fn set_timers(&mut self, id: AttemptId, timers: Vec<(Micros, Due)>) {
        for (at, due) in timers {
            let counted = match due {
                Due::GroupExpiry(part) => self.plan.program.counted.iter().position(|counted| *counted == part),
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
        self.waiting
            .leave(&mut self.attempts, id, |element| waits >> element & 1 == 0);
        let mut rest = waits;
        while rest != 0 {
            let element = rest.trailing_zeros() as ElementId;
            rest &= rest - 1;
            if !self.waiting.stands(&self.attempts, id, element)
                && let Some(key) = self.key_of(id, element)
            {
                self.waiting.enter(&mut self.attempts, id, element, key);
            }
        }
    }

    /// The bucket where an attempt waits for an element; none when it waits for what equals NULL.
    fn key_of(&self, id: AttemptId, element: ElementId) -> Option<u64> {
        let attempt = self.attempts.get(id);
        let mut hash = self.hasher.build_hasher();
        (element, attempt.partition).hash(&mut hash);
        let captures = self.events.captures();
        for (_, capture) in &self.plan.elements[element].condition.equal {
            hash_value(&captured(&captures, attempt.link, capture), &mut hash)?;
        }
        Some(hash.finish())
    }

    /// The bucket that an event looks into.
    fn key_for(&self, prepared: &Prepared, row: usize, element: ElementId, partition: u32) -> Option<u64> {
        let mut hash = self.hasher.build_hasher();
        (element, partition).hash(&mut hash);
        for (column, _) in &self.plan.elements[element].condition.equal {
            hash_value(&prepared.columns[*column].value(row)?, &mut hash)?;
        }
        Some(hash.finish())
    }

    /// Which attempts take an event, and as what. `only` looks at one attempt.
    pub(super) fn find(
        &self,
        at: &At,
        only: Option<AttemptId>,
        hits: &mut Vec<Hit>,
        report: &mut Reports,
    ) -> Result<()> {
        let At {
            prepared,
            row,
            partition,
            moment,
        } = *at;
        let program = &self.plan.program;
        for (element, holds) in &prepared.holds {
            if holds.as_ref().is_some_and(|holds| !holds.value(row)) {
                continue;
            }
            if program.always_open == Some(*element) && only.is_none() {
                hits.push(Hit {
                    order: u64::MAX,
                    id: u64::MAX,
                    attempt: FRESH,
                    takers: 1 << element,
                });
                continue;
            }
            let Some(key) = self.key_for(prepared, row, *element, partition) else {
                continue;
            };
            let standing = self.waiting.at(key).filter(|(id, waits_for)| {
                let attempt = self.attempts.get(*id);
                // Buckets are by hash: others may stand there, too.
                waits_for == element
                    && attempt.partition == partition
                    && only.is_none_or(|only| only == *id)
                    && !self.is_too_late(attempt, moment)
            });
            let condition = &self.plan.elements[*element].condition;
            let Some(join) = &condition.join else {
                hits.extend(standing.map(|(id, _)| self.hit(id, *element)));
                continue;
            };
            let standing: Vec<AttemptId> = standing.map(|(id, _)| id).collect();
            if standing.is_empty() {
                continue;
            }
            let chains: Vec<LinkId> = standing.iter().map(|id| self.attempts.get(*id).link).collect();
            let holding = join.holding(
                &prepared.batch,
                &prepared.columns,
                row,
                &chains,
                &self.events.captures(),
                report,
            )?;
            let holding = standing.into_iter().zip(holding).filter(|(_, holds)| *holds);
            hits.extend(holding.map(|(id, _)| self.hit(id, *element)));
        }
        merge(hits);
        Ok(())
    }

    fn hit(&self, id: AttemptId, element: ElementId) -> Hit {
        let attempt = self.attempts.get(id);
        Hit {
            order: attempt.order,
            id: attempt.id,
            attempt: id,
            takers: 1 << element,
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
        let event = store.add(&prepared.batch, row);
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
        let mut step = Step::new(&self.plan.program, &mut self.events, moment);
        let mut attempt = step.start(partition);
        step.offer(&mut attempt, takers, event);
        let (took, matched, timers) = (step.took, step.matched, step.timers);
        if matched {
            self.emit(attempt.link, moment.time, Op::Insert, partition);
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
        let mut step = Step::new(&self.plan.program, &mut self.events, moment);
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
        let again = match (step.dead, step.restarts) {
            (false, _) => step.all_again(attempt),
            // In a SEQUENCE the start looks after itself.
            (true, Some(every)) if skips => vec![step.restart(attempt, every)],
            (true, _) => Vec::new(),
        };
        let (mut open, matched) = (!step.dead && !step.matched, step.matched);
        if open && turns_away && again.iter().any(|(attempt, _)| attempt.begun) {
            // It makes two of one: what would be more goes.
            self.turn_away(NOTHING);
            open = false;
        }
        self.finish(id, open, matched, was, moment.time, timers);
        // A start that took the event itself is not offered it again.
        let offers = was.begun && took & self.leading() == 0;
        self.add_all(again, offers);
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
        timers: Vec<(Micros, Due)>,
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
            let partition = attempt.partition;
            self.emit(link, time, Op::Insert, partition);
        }
        self.remove(id);
    }

    /// The elements of the EVERY at the start.
    fn leading(&self) -> Elements {
        let program = &self.plan.program;
        program.leading_every.map_or(0, |every| program.part(every).elements)
    }

    /// Takes in what EVERY begins again. `offers`: in a SEQUENCE the start that waits again is offered the event, too.
    pub(super) fn add_all(&mut self, again: Vec<Begun>, offers: bool) {
        for (attempt, timers) in again {
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
    }

    pub(super) fn emit(&mut self, link: LinkId, time: Micros, op: Op, partition: u32) {
        self.tally.matches += u64::from(op == Op::Insert);
        self.matches.push(Matched {
            link,
            time,
            op,
            partition,
        });
    }

    /// Takes an attempt away.
    pub(super) fn remove(&mut self, id: AttemptId) {
        self.waiting.leave(&mut self.attempts, id, |_| true);
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

/// One hit for each attempt, in the order they started.
fn merge(hits: &mut Vec<Hit>) {
    if hits.len() < 2 {
        return;
    }
    hits.sort_unstable();
    hits.dedup_by(|later, earlier| {
        let same = earlier.attempt == later.attempt && earlier.attempt != FRESH;
        if same {
            earlier.takers |= later.takers;
        }
        same
    });
}

/// Hashes a value; NULL equals nothing. Numbers of one value have one hash, whatever their widths.
fn hash_value(value: &Value, hash: &mut impl Hasher) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::Int(value) => value.hash(hash),
        Value::Float(value) => value.to_bits().hash(hash),
        Value::Bool(value) => value.hash(hash),
        Value::Text(value) => value.hash(hash),
    }
    Some(())
}
