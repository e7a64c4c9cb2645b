//! The automaton of a pattern.
//!
//! # Theory
//! A pattern is a tree of parts. An attempt at it does not need a set of automaton states as in Thompson's construction,
//! because the language decides every choice at once: an event that both a collection and what follows it could take goes to
//! what follows, and an alternative that is complete ends the others. So an attempt is a *set of elements it waits for*
//! ([`Elements`]), a few counters, and the events it has. Only EVERY makes two attempts of one, which share the events before
//! it.
//!
//! What happens when an element takes an event depends on where it stands in the tree; all of it that is fixed is computed
//! here once: which elements that closes, which slots count it, which parts it begins.

use super::shape::{ElementId, Elements, Limit, Mode, Shape};
use crate::event::Micros;

/// The number of a part of the tree.
pub type PartId = usize;

/// A pattern, ready to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// PATTERN or SEQUENCE.
    pub mode: Mode,
    /// WITHIN of the whole.
    pub limit: Option<Limit>,
    /// All parts; children have larger numbers than their parent.
    pub parts: Vec<Part>,
    /// By element.
    pub elements: Vec<Element>,
    /// EVERY parts, outermost first.
    pub everies: Vec<PartId>,
    /// The pattern begins with this EVERY, under nothing but chains.
    pub leading_every: Option<PartId>,
    /// The pattern begins with EVERY and one event of this element: there is always an attempt waiting for it, which needs no
    /// memory.
    pub always_open: Option<ElementId>,
    /// How many counters an attempt has.
    pub counters: usize,
    /// How many marks an attempt has.
    pub marks: usize,
    /// How many deadlines an attempt has.
    pub deadlines: usize,
    /// How many times up to which a guard at the start counts an attempt has.
    pub quiets: usize,
    /// The WITHIN parts.
    pub withins: Vec<PartId>,
    /// Those of them that are bounded by a number of events.
    pub counted: Vec<PartId>,
    /// The marks that are links.
    pub links: Vec<usize>,
    /// The elements that must not come.
    pub absents: Elements,
    /// Whether what begins again of an EVERY may keep events that came since, and their places in time.
    pub keeps_beside: bool,
    /// Elements that take the place of the event before theirs, which nobody reads once they have taken one.
    pub supersedes: Elements,
}

/// A part of the tree and where it stands.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// What it is a part of, and the how-manieth.
    pub parent: Option<(PartId, usize)>,
    /// The elements in it.
    pub elements: Elements,
    /// The EVERY parts in it, and itself, by number.
    pub everies: u64,
}

/// What a part is.
#[derive(Debug, Clone)]
pub enum PartKind {
    /// One element.
    Element(ElementId),
    /// Parts one after the other.
    Chain(Vec<PartId>),
    /// All of the parts.
    And {
        /// The operands.
        parts: Vec<PartId>,
        /// The counter with a bit for each operand that is complete.
        done: usize,
        /// The elements that must not come while it waits.
        guards: Elements,
    },
    /// The first of the parts.
    Or {
        /// The alternatives.
        parts: Vec<PartId>,
        /// The mark of what was before it, if an alternative may have events without being complete.
        origin: Option<usize>,
    },
    /// A part again and again.
    Repeat {
        /// What.
        body: PartId,
        /// At least.
        min: u32,
        /// At most.
        max: Option<u32>,
        /// The counter of complete rounds.
        count: usize,
        /// Where the round began.
        mark: usize,
    },
    /// A part that begins again when it is complete.
    Every {
        /// What.
        body: PartId,
        /// The mark that remembers what was before it; nothing was if there is none.
        mark: Option<usize>,
        /// What is taken back to begin again: its own elements and those after it.
        resets: Elements,
        /// Whether events that came since it began stay: it stands in an AND or OR, or after a collection that is still open.
        keeps: bool,
        /// The EVERY parts, by number, in which what begins again is not: those in it and after it, and those around it and
        /// before it, which begin again once, out of the attempt that goes on.
        leaves: u64,
    },
    /// A part in limited time or events.
    Within {
        /// What.
        body: PartId,
        /// How much.
        limit: Limit,
        /// The time or the number of its first event.
        mark: usize,
        /// The mark of what was before it.
        origin: usize,
        /// Its number in [`Program::withins`].
        number: usize,
    },
}

/// An element and what is fixed about it.
#[derive(Debug, Clone)]
pub struct Element {
    /// Its part.
    pub part: PartId,
    /// What it waits for.
    pub kind: ElementKind,
    /// Elements that are closed when it takes an event: those before it in its chains.
    pub closes: Elements,
    /// Repeated groups among them.
    pub leaves: Vec<PartId>,
    /// The WITHIN parts it stands in, outermost first.
    pub withins: Vec<PartId>,
    /// Whether it may take events more than once: a collection, or a part of a repeated group.
    pub collects: bool,
    /// Whether an event that only it takes comes to it without being offered to the parts around it: no AND or OR is around it,
    /// or it takes one event and none of these ANDs has guards.
    pub direct: bool,
    /// Guards that stand right before it, or a part that it is in, in a chain, as their slots.
    pub guards: Vec<usize>,
}

/// What an element waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementKind {
    /// One event.
    One,
    /// Several; the counter counts them.
    Several {
        /// At least.
        min: u32,
        /// At most.
        max: Option<u32>,
        /// The counter.
        count: usize,
    },
    /// That no event comes for a time; the deadline's slot.
    Silence {
        /// How long.
        wait: Micros,
        /// The deadline's slot.
        deadline: usize,
    },
    /// That no event comes before the other operands of its AND.
    GuardOfAnd,
    /// That no event comes before what follows it; at the start, in the time before that. The slot of up to when.
    Guard {
        /// The slot.
        quiet: usize,
    },
}

impl PartKind {
    fn is_repeat(&self) -> bool {
        matches!(self, PartKind::Repeat { .. })
    }
}

impl Program {
    /// Of the parts.
    pub fn new(shape: &Shape, mode: Mode, limit: Option<Limit>) -> Self {
        let count = shape.elements().trailing_ones() as usize;
        let mut program = Program {
            mode,
            limit,
            parts: Vec::new(),
            elements: vec![
                Element {
                    part: 0,
                    kind: ElementKind::One,
                    closes: 0,
                    leaves: Vec::new(),
                    withins: Vec::new(),
                    collects: false,
                    direct: false,
                    guards: Vec::new(),
                };
                count
            ],
            everies: Vec::new(),
            leading_every: None,
            always_open: None,
            counters: 0,
            marks: 0,
            deadlines: 0,
            quiets: 0,
            withins: Vec::new(),
            counted: Vec::new(),
            links: Vec::new(),
            absents: 0,
            keeps_beside: false,
            supersedes: 0,
        };
        let context = Context {
            leading: true,
            ..Context::default()
        };
        program.add(shape, None, &context);
        program.relate_everies();
        program.find_direct();
        program
    }

    /// The part of a number.
    pub fn part(&self, part: PartId) -> &Part {
        &self.parts[part]
    }

    /// Whether attempts have more than elements they wait for and events.
    pub fn has_slots(&self) -> bool {
        let everies = self.everies.len() - usize::from(self.always_open.is_some());
        self.counters + self.marks + self.deadlines + self.quiets + everies > 0 || self.absents != 0
    }

    /// Where attempts begin: the whole, but for what repeats without memory.
    pub fn is_implied(&self, every: PartId) -> bool {
        self.always_open.is_some() && self.leading_every == Some(every)
    }

    fn add(&mut self, shape: &Shape, parent: Option<(PartId, usize)>, context: &Context) -> PartId {
        let id = self.parts.len();
        self.parts.push(Part {
            kind: PartKind::Chain(Vec::new()),
            parent,
            elements: shape.elements(),
            everies: 0,
        });
        let kind = match shape {
            Shape::Events { element, min, max } => {
                self.place(*element, id, context);
                if (*min, *max) != (1, Some(1)) {
                    let count = self.counter();
                    let (min, max) = (*min, *max);
                    self.elements[*element].kind = ElementKind::Several { min, max, count };
                    self.elements[*element].collects = true;
                }
                PartKind::Element(*element)
            }
            Shape::Absent { element, wait } => {
                self.place(*element, id, context);
                let in_and = parent.is_some_and(|(parent, _)| context.and == Some(parent));
                self.elements[*element].kind = match *wait {
                    None if in_and => ElementKind::GuardOfAnd,
                    None => {
                        self.quiets += 1;
                        let quiet = self.quiets - 1;
                        ElementKind::Guard { quiet }
                    }
                    Some(wait) => {
                        self.deadlines += 1;
                        let deadline = self.deadlines - 1;
                        ElementKind::Silence { wait, deadline }
                    }
                };
                self.absents |= 1 << element;
                PartKind::Element(*element)
            }
            Shape::Chain(parts) => {
                let mut context = context.clone();
                let mut ids = Vec::with_capacity(parts.len());
                let after: Vec<Elements> = (1..=parts.len())
                    .map(|next| parts[next..].iter().fold(0, |all, part| all | part.elements()))
                    .collect();
                let outer = context.after;
                let around = context.guards.clone();
                for (index, part) in parts.iter().enumerate() {
                    context.after = outer | after[index];
                    let added = self.add(part, Some((id, index)), &context);
                    ids.push(added);
                    // A guard comes to nothing: what follows it is still the start.
                    context.leading = false;
                    context.closes |= part.elements();
                    context.open_before |= !part.is_closed_when_complete();
                    self.repeats_in(added, &mut context.leaves);
                    context.guards = match self.guard_slot(added) {
                        Some(slot) => context.guards.iter().copied().chain([slot]).collect(),
                        // What may be left out does not end what they guard.
                        None if part.may_be_empty() => context.guards,
                        None => around.clone(),
                    };
                }
                PartKind::Chain(ids)
            }
            Shape::And(parts) => {
                let done = self.counter();
                let ids = self.operands(parts, id, Some(id), context);
                let guards = parts.iter().filter_map(|part| match part {
                    Shape::Absent { element, wait: None } => Some(1 << element),
                    _ => None,
                });
                PartKind::And {
                    guards: guards.fold(0, |all, guard: Elements| all | guard),
                    parts: ids,
                    done,
                }
            }
            Shape::Or(parts) => PartKind::Or {
                parts: self.operands(parts, id, None, context),
                origin: parts.iter().any(Shape::may_be_partial).then(|| self.link_mark()),
            },
            Shape::Repeat { body, min, max } => {
                let (count, mark) = (self.counter(), self.link_mark());
                let context = Context {
                    collects: true,
                    leading: false,
                    ..context.clone()
                };
                PartKind::Repeat {
                    body: self.add(body, Some((id, 0)), &context),
                    min: *min,
                    max: *max,
                    count,
                    mark,
                }
            }
            Shape::Every(body) => {
                self.everies.push(id);
                let resets = shape.elements() | context.after;
                let mark = (!context.leading).then(|| self.link_mark());
                let inner = Context {
                    leading: false,
                    ..context.clone()
                };
                let part = self.add(body, Some((id, 0)), &inner);
                if context.leading {
                    self.leading_every = Some(id);
                    self.always_open = match body.as_ref() {
                        Shape::Events {
                            element,
                            min: 1,
                            max: Some(1),
                        } => Some(*element),
                        _ => None,
                    };
                }
                PartKind::Every {
                    body: part,
                    mark,
                    resets,
                    keeps: context.in_logical || context.open_before,
                    leaves: 0,
                }
            }
            Shape::Within { body, limit } => {
                let (mark, origin) = (self.mark(), self.link_mark());
                let number = self.withins.len();
                self.withins.push(id);
                if let Limit::Events(_) = limit {
                    self.counted.push(id);
                }
                let mut context = context.clone();
                context.withins.push(id);
                context.leading = false;
                let body = self.add(body, Some((id, 0)), &context);
                PartKind::Within {
                    body,
                    limit: *limit,
                    mark,
                    origin,
                    number,
                }
            }
        };
        self.parts[id].kind = kind;
        id
    }

    fn operands(&mut self, parts: &[Shape], id: PartId, and: Option<PartId>, context: &Context) -> Vec<PartId> {
        let context = Context {
            in_logical: true,
            leading: false,
            and,
            ..context.clone()
        };
        let operands = parts.iter().enumerate();
        operands
            .map(|(index, part)| self.add(part, Some((id, index)), &context))
            .collect()
    }

    fn place(&mut self, element: ElementId, part: PartId, context: &Context) {
        self.elements[element] = Element {
            part,
            kind: ElementKind::One,
            closes: context.closes,
            leaves: context.leaves.clone(),
            withins: context.withins.clone(),
            collects: context.collects,
            direct: !context.in_logical,
            guards: context.guards.clone(),
        };
    }

    /// Whether attempts may lose their first events and go on: then each event's place among all must be known.
    pub fn keeps_order(&self) -> bool {
        let loses = |part: &Part| {
            matches!(
                part.kind,
                PartKind::Repeat { .. } | PartKind::Or { origin: Some(_), .. }
            )
        };
        self.keeps_beside || !self.counted.is_empty() || self.parts.iter().any(loses)
    }

    /// The repeated groups in a part.
    pub fn repeats(&self, part: PartId) -> impl Iterator<Item = PartId> {
        let inside = (part..self.parts.len()).filter(move |inner| self.is_in(*inner, part));
        inside.filter(|inner| self.parts[*inner].kind.is_repeat())
    }

    /// The slot of a part that is nothing but a guard.
    fn guard_slot(&self, part: PartId) -> Option<usize> {
        match self.parts[part].kind {
            PartKind::Element(element) => match self.elements[element].kind {
                ElementKind::Guard { quiet } => Some(quiet),
                _ => None,
            },
            _ => None,
        }
    }

    /// Says of each part which EVERYs it has, and of each EVERY in which others what begins again of it is not.
    fn relate_everies(&mut self) {
        let everies = self.everies.clone();
        for part in 0..self.parts.len() {
            let inside = everies
                .iter()
                .enumerate()
                .filter(|(_, every)| self.is_in(**every, part));
            self.parts[part].everies = inside.fold(0, |all, (number, _)| all | 1 << number);
        }
        for (number, &every) in everies.iter().enumerate() {
            let PartKind::Every { resets, .. } = self.parts[every].kind else {
                continue;
            };
            let gone = everies.iter().enumerate().filter(|(other, part)| {
                let reset = self.parts[**part].elements & !resets == 0;
                *other != number && (reset || !self.stand_beside(every, **part))
            });
            let gone = gone.fold(0, |all, (other, _)| all | 1 << other);
            if let PartKind::Every { leaves, keeps, .. } = &mut self.parts[every].kind {
                *leaves = gone;
                self.keeps_beside |= *keeps;
            }
        }
    }

    /// Finds the elements in ANDs and ORs that events come to directly.
    fn find_direct(&mut self) {
        for element in 0..self.elements.len() {
            let Element { part, kind, .. } = self.elements[element];
            self.elements[element].direct |= kind == ElementKind::One && !self.has_guards_around(part);
        }
    }

    /// Whether an AND with guards is around a part.
    fn has_guards_around(&self, part: PartId) -> bool {
        let mut around = part;
        while let Some((parent, _)) = self.parts[around].parent {
            if matches!(self.parts[parent].kind, PartKind::And { guards, .. } if guards != 0) {
                return true;
            }
            around = parent;
        }
        false
    }

    /// Whether two parts stand in different operands of an AND or OR.
    fn stand_beside(&self, part: PartId, other: PartId) -> bool {
        let mut around = part;
        while let Some((parent, _)) = self.parts[around].parent {
            if self.is_in(other, parent) {
                let logical = matches!(self.parts[parent].kind, PartKind::And { .. } | PartKind::Or { .. });
                return logical && other != parent;
            }
            around = parent;
        }
        false
    }

    /// Whether a part is another or stands in it.
    pub fn is_in(&self, part: PartId, other: PartId) -> bool {
        let mut part = part;
        loop {
            if part == other {
                return true;
            }
            match self.parts[part].parent {
                Some((parent, _)) => part = parent,
                None => return false,
            }
        }
    }

    /// The repeated groups in a part.
    fn repeats_in(&self, part: PartId, found: &mut Vec<PartId>) {
        let inside = |part: &PartId| self.parts[*part].kind.is_repeat();
        found.extend((part..self.parts.len()).filter(inside));
    }

    fn counter(&mut self) -> usize {
        self.counters += 1;
        self.counters - 1
    }

    /// A mark that is a link.
    fn link_mark(&mut self) -> usize {
        let mark = self.mark();
        self.links.push(mark);
        mark
    }

    fn mark(&mut self) -> usize {
        self.marks += 1;
        self.marks - 1
    }
}

/// What is around a part.
#[derive(Debug, Clone, Default)]
struct Context {
    /// Nothing comes before it.
    leading: bool,
    closes: Elements,
    /// The elements that come after it in its chains.
    after: Elements,
    leaves: Vec<PartId>,
    withins: Vec<PartId>,
    collects: bool,
    in_logical: bool,
    /// Something before it in its chains may take events while it waits.
    open_before: bool,
    /// The AND whose operand this is.
    and: Option<PartId>,
    /// The guards right before it.
    guards: Vec<usize>,
}

impl Program {
    /// The slot of an element's deadline.
    pub fn deadline_of(&self, element: ElementId) -> Option<usize> {
        match self.elements[element].kind {
            ElementKind::Silence { deadline, .. } => Some(deadline),
            _ => None,
        }
    }
}
